//! `watchfire lurk relay`, `put` and `get`

use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};

use crate::values::{HostPort, Octets, Span};

/// `lurk relay`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct RelayArgs {
    /// Answer over HTTP here, over HTTPS with --cert; the resource is `/`; may be given again
    #[arg(long, value_name = "HOST:PORT", required = true)]
    pub listen: Vec<HostPort>,
    /// Take chunks only from who knows a line USER:PASSWORD of this file; everybody may get them
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub post_auth: Option<PathBuf>,
    /// Take passwords in clear text from elsewhere than the loopback, as when TLS ends at another host
    #[arg(long, requires = "post_auth")]
    pub auth_in_clear_text: bool,
    /// Certificate chain, PEM, leaf first
    #[arg(long, value_name = "FILE", requires = "key", value_hint = ValueHint::FilePath)]
    pub cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "cert", value_hint = ValueHint::FilePath)]
    pub key: Option<PathBuf>,
    /// How long a chunk is kept; the protocol wants five minutes at least
    #[arg(long, default_value = "5m", value_name = "SPAN")]
    pub keep: Span,
    /// Prometheus text at /metrics, also /healthz and /readyz
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics: Option<HostPort>,
    /// Octets of one chunk; the protocol wants 64K at least
    #[arg(long, default_value = "1M", value_name = "OCTETS", help_heading = "Limits")]
    pub max_chunk: Octets,
    /// Octets of all chunks of one user, or of one address without --post-auth
    #[arg(long, default_value = "4M", value_name = "OCTETS", help_heading = "Limits")]
    pub max_client: Octets,
    /// Octets of all chunks
    #[arg(long, default_value = "64M", value_name = "OCTETS", help_heading = "Limits")]
    pub max_total: Octets,
    /// Connections at one time
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..), value_name = "N", help_heading = "Limits")]
    pub max_connections: u32,
}

impl RelayArgs {
    /// Makes relative paths start at `base`.
    pub fn rebase(&mut self, base: &Path) {
        for path in [&mut self.post_auth, &mut self.cert, &mut self.key].into_iter().flatten() {
            *path = base.join(&*path);
        }
    }
}

/// `lurk put`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct PutArgs {
    /// Where the relay is
    #[arg(long, value_name = "URL")]
    pub relay: String,
    /// Seal it: the relay cannot read it, and the key is in the notification alone
    #[arg(long)]
    pub seal: bool,
    /// First line is USER:PASSWORD, for relays that want to know who puts something there
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub post_auth: Option<PathBuf>,
    /// Print the notification as one link, with everything beyond the URL in its fragment, which is never sent
    #[arg(long, conflicts_with = "json")]
    pub link: bool,
    /// Certificate authorities that may vouch for the relay, PEM [default: the system's]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ca: Option<PathBuf>,
    /// Give up after this long
    #[arg(long, default_value = "30s", value_name = "SPAN")]
    pub timeout: Span,
    /// What to put there; `-` is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
}

/// `lurk get`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct GetArgs {
    /// Certificate authorities that may vouch for the relay, PEM [default: the system's]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ca: Option<PathBuf>,
    /// Give up after this long
    #[arg(long, default_value = "30s", value_name = "SPAN")]
    pub timeout: Span,
    /// Octets of what is got
    #[arg(long, default_value = "64M", value_name = "OCTETS", help_heading = "Limits")]
    pub max_octets: Octets,
    /// The notification, as JSON or as a link, or a file that holds it; `-` is standard input. Other users of this machine
    /// can see arguments: a file is the better place for a key
    #[arg(value_name = "NOTIFICATION|FILE", value_hint = ValueHint::FilePath)]
    pub notification: String,
}
