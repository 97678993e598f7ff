//! `watchfire lurk ido`

use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};

use crate::values::{HostPort, Span, StoreUrl};

/// `lurk ido`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct IdoArgs {
    /// Answer delegates over HTTPS here
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: HostPort,
    /// The directory of the CA, or of another name owner whose delegations are passed on
    #[arg(long, value_name = "URL")]
    pub upstream: String,
    /// Who may have certificates for what: `[[delegation]]` tables, TOML
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub delegations: PathBuf,
    /// Keys, all orders and the audit log; made when missing. DIR/ca.pem is what delegates must trust
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// All orders in PostgreSQL in the place of DIR, for several instances of which one serves and the others stand by:
    /// postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "URL", requires = "url")]
    pub store: Option<StoreUrl>,
    /// First line is the password of the store [default: the variable PGPASSWORD]
    #[arg(long, value_name = "FILE", requires = "store", value_hint = ValueHint::FilePath)]
    pub store_password_file: Option<PathBuf>,
    /// Certificate authorities that may vouch for the CA, PEM [default: the system's]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub upstream_ca: Option<PathBuf>,
    /// Meets dns-01: called without shell as `CMD present NAME TXT-VALUE` and `CMD cleanup NAME TXT-VALUE`
    #[arg(long, value_name = "CMD", value_hint = ValueHint::CommandString)]
    pub dns_hook: Option<String>,
    /// Meets dns-01 by dynamic updates (RFC 2136) at this server, the primary one of the zone
    #[arg(long, value_name = "HOST:PORT", requires = "dns_update_key", conflicts_with = "dns_hook")]
    pub dns_update: Option<HostPort>,
    /// The TSIG key that signs them: `key "NAME" { algorithm ..; secret ".."; };` of BIND, or algorithm:name:secret
    #[arg(long, value_name = "FILE", requires = "dns_update", value_hint = ValueHint::FilePath)]
    pub dns_update_key: Option<PathBuf>,
    /// The zone that is updated [default: the one that the server says the name is in]
    #[arg(long, value_name = "ZONE", requires = "dns_update")]
    pub dns_update_zone: Option<String>,
    /// How long to wait until secondary servers have an update, too
    #[arg(long, value_name = "SPAN", default_value = "0s", requires = "dns_update")]
    pub dns_update_wait: Span,
    /// Meets http-01 here; whoever serves the name must lead /.well-known/acme-challenge/ to it
    #[arg(long, value_name = "HOST:PORT")]
    pub http01_listen: Option<HostPort>,
    /// Renew certificates ourselves, where the CA does not: this is ours, and no RFC's
    #[arg(long)]
    pub emulate_star: bool,
    /// The profile of certificates that are renewed so, where the CA has profiles
    #[arg(long, value_name = "NAME", requires = "emulate_star")]
    pub emulate_profile: Option<String>,
    /// Serve certificates here too, instead of leading delegates to the CA
    #[arg(long)]
    pub serve_certificates: bool,
    /// Let clients that know nothing of delegation order under the only one that their account has
    #[arg(long)]
    pub infer_delegation: bool,
    /// The shortest lifetime of certificates that renew themselves, in seconds; the CA may want more
    #[arg(long, default_value_t = 1, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=31_622_400))]
    pub min_lifetime: u64,
    /// How long an order of such certificates may go on
    #[arg(long, default_value = "366d", value_name = "SPAN")]
    pub max_duration: Span,
    /// How URLs begin, as delegates see them [default: https:// with the address of --listen]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Certificate chain of this server, PEM, leaf first [default: one of its own authority]
    #[arg(long, value_name = "FILE", requires = "key", value_hint = ValueHint::FilePath)]
    pub cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "cert", value_hint = ValueHint::FilePath)]
    pub key: Option<PathBuf>,
    /// Prometheus text at /metrics, also /healthz and /readyz
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics: Option<HostPort>,
    /// Connections at one time
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..), value_name = "N", help_heading = "Limits")]
    pub max_connections: u32,
}

impl IdoArgs {
    /// Makes relative paths start at `base`.
    pub fn rebase(&mut self, base: &Path) {
        let more = self
            .upstream_ca
            .iter_mut()
            .chain(&mut self.store_password_file)
            .chain(&mut self.cert)
            .chain(&mut self.key)
            .chain(&mut self.dns_update_key);
        for path in [&mut self.delegations, &mut self.dir].into_iter().chain(more) {
            *path = base.join(&*path);
        }
    }
}
