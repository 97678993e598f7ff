//! The flags of the console: keys of `[console]` in a configuration file.

use std::path::{Path, PathBuf};

use clap::{Args, FromArgMatches as _, ValueHint};

use super::iap::positive;
use crate::console::HubLimits;
use crate::values::{HostPort, Octets, Span};

/// `[console]`
#[derive(Debug, Clone, PartialEq, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct ConsoleArgs {
    /// Serve the page here; beyond the loopback only with a token
    #[arg(long, default_value = "127.0.0.1:7080", value_name = "HOST:PORT")]
    pub listen: HostPort,
    /// First line is the token that must be shown: 16 printable characters or more
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub token_file: Option<PathBuf>,
    /// Certificate chain for https, PEM, leaf first
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "cert")]
    pub key: Option<PathBuf>,
    /// A name by which browsers know this host, besides addresses and localhost; may be given again
    #[arg(long, value_name = "NAME")]
    pub host: Vec<String>,
    /// How long a login lasts
    #[arg(long, default_value = "12h", value_name = "SPAN", help_heading = "Limits")]
    pub session_lifetime: Span,
    /// Connections at one time
    #[arg(long, default_value_t = 128, value_parser = positive(), value_name = "N", help_heading = "Limits")]
    pub max_connections: u32,
    /// Pages that follow what happens, at one time
    #[arg(long, default_value_t = 32, value_parser = positive(), value_name = "N", help_heading = "Limits")]
    pub max_readers: u32,
    /// Cut off a page that takes nothing for so long
    #[arg(long, default_value = "30s", value_name = "SPAN", help_heading = "Limits")]
    pub write_timeout: Span,
    /// Alerts that are kept in memory
    #[arg(long, default_value_t = 2000, value_parser = positive(), value_name = "N", help_heading = "Limits")]
    pub keep_alerts: u32,
    /// Entries of each other page that are kept in memory
    #[arg(long, default_value_t = 500, value_parser = positive(), value_name = "N", help_heading = "Limits")]
    pub keep_entries: u32,
    /// Memory for each page, about
    #[arg(long, default_value = "32M", value_name = "OCTETS", help_heading = "Limits")]
    pub keep_octets: Octets,
    /// Sensors whose rates are counted
    #[arg(long, default_value_t = 1000, value_parser = positive(), value_name = "N", help_heading = "Limits")]
    pub keep_sensors: u32,
    /// Alerts of a store that are looked at for one answer, the newest
    #[arg(long, default_value_t = 10_000, value_parser = positive(), value_name = "N", help_heading = "Limits")]
    pub scan: u32,
}

impl ConsoleArgs {
    /// A console at this address, all else by default.
    pub fn at(listen: HostPort) -> Self {
        let command = Self::augment_args(clap::Command::new("console").no_binary_name(true));
        let matches = command.try_get_matches_from(Vec::<String>::new());
        let defaults = matches.and_then(|matches| Self::from_arg_matches(&matches)).expect("all flags have defaults");
        Self { listen, ..defaults }
    }

    /// How much the hub keeps.
    pub fn hub_limits(&self) -> HubLimits {
        HubLimits {
            alerts: self.keep_alerts as usize,
            entries: self.keep_entries as usize,
            octets: usize::try_from(self.keep_octets.0).unwrap_or(usize::MAX),
            sensors: self.keep_sensors as usize,
        }
    }

    /// Makes relative paths start at `base`.
    pub fn rebase(&mut self, base: &Path) {
        for path in [&mut self.token_file, &mut self.cert, &mut self.key].into_iter().flatten() {
            *path = base.join(&*path);
        }
    }
}
