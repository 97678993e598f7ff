//! `watchfire iap`

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Subcommand, ValueEnum, ValueHint};
use ipnet::IpNet;

use crate::output::NatsOptions;
use crate::values::{HostPort, Moment, Octets, OutputSpec, Span, StoreUrl, parse_cidr};

/// The commands of the Intrusion Alert Protocol.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum IapCommand {
    /// Receive alerts, keep them, acknowledge them
    Manager(Box<ManagerArgs>),
    /// Send alerts until each is acknowledged
    Sensor(Box<SensorArgs>),
    /// Let sensors reach managers through this host, without reading along
    Proxy(Box<ProxyArgs>),
    /// Print the stored alerts, oldest first
    Alerts(AlertsArgs),
}

/// Certificates and what TLS must offer.
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct TlsArgs {
    /// Own certificate chain, PEM, leaf first
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "TLS")]
    pub cert: PathBuf,
    /// Private key, PEM
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "TLS")]
    pub key: PathBuf,
    /// Certificate authorities that may vouch for the peer, PEM
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "TLS")]
    pub ca: PathBuf,
    /// Revocation lists, PEM; may be given again
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "TLS")]
    pub crl: Vec<PathBuf>,
    /// Whether the peer's certificate must carry the IAP key usage of its role
    #[arg(long, value_enum, default_value_t, help_heading = "TLS")]
    pub eku: EkuMode,
    /// Oldest TLS version to speak
    #[arg(long, value_enum, default_value_t, value_name = "VERSION", help_heading = "TLS")]
    pub tls_min: TlsVersion,
    /// Longest time for a TLS handshake
    #[arg(long, default_value = "10s", value_name = "SPAN", help_heading = "TLS")]
    pub tls_timeout: Span,
}

impl TlsArgs {
    fn rebase(&mut self, base: &Path) {
        for path in [&mut self.cert, &mut self.key, &mut self.ca].into_iter().chain(&mut self.crl) {
            *path = base.join(&*path);
        }
    }
}

/// How to treat the IAP extended key usages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum EkuMode {
    /// Refuse a certificate without it, as the protocol demands.
    #[default]
    Require,
    /// Refuse one that has IAP usages, but not the one of its role.
    IfPresent,
    /// Admit by name alone.
    Ignore,
}

/// A TLS version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    #[value(name = "1.2")]
    V12,
    /// TLS 1.3.
    #[value(name = "1.3")]
    V13,
}

/// How strictly to read the peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum Compat {
    /// The repaired grammar and nothing else.
    Strict,
    /// What sensible peers send.
    #[default]
    Default,
    /// What can be understood without risk.
    Liberal,
}

/// Where alerts are kept.
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct StoreArgs {
    /// sqlite:PATH or postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "URL", env = "WATCHFIRE_STORE", hide_env_values = true)]
    pub store: Option<StoreUrl>,
    /// First line is the password of a postgres store [default: the variable PGPASSWORD]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub store_password_file: Option<PathBuf>,
}

/// `iap manager`
#[derive(Debug, Clone, Args)]
#[command(group(ArgGroup::new("where").args(["listen", "dial"]).required(true).multiple(true)))]
#[allow(clippy::exhaustive_structs)]
pub struct ManagerArgs {
    /// Accept sensors here; may be given again
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Vec<HostPort>,
    /// Call a sensor that listens there; may be given again
    #[arg(long, value_name = "HOST:PORT")]
    pub dial: Vec<HostPort>,
    /// Certificates and TLS.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Store.
    #[command(flatten)]
    pub store: StoreArgs,
    /// ndjson:PATH, xml:PATH, nats://HOST:PORT/STREAM, or - for NDJSON on standard output; may be given again
    #[arg(long, value_name = "SINK", allow_hyphen_values = true)]
    pub output: Vec<OutputSpec>,
    /// Whether alerts are forced to the disk of an output file before they are acknowledged
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub output_sync: OutputSync,
    /// NATS.
    #[command(flatten)]
    pub nats: NatsArgs,
    /// Admit only these names (subject alternative or common name); may be given again [default: all the CA vouches for]
    #[arg(long, value_name = "NAME")]
    pub allow: Vec<String>,
    /// Admit sensors only from these networks; may be given again [default: all]
    #[arg(long, value_name = "CIDR", value_parser = parse_cidr)]
    pub allow_from: Vec<IpNet>,
    /// Name by which sensors and proxies know this manager; may be given again [default: any name]
    #[arg(long, value_name = "NAME")]
    pub served_name: Vec<String>,
    /// Page for a browser: alerts and sensors as they come
    #[arg(long, value_name = "HOST:PORT")]
    pub console: Option<HostPort>,
    /// First line is the token that the page demands; needed beyond the loopback
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "console")]
    pub console_token_file: Option<PathBuf>,
    /// Prometheus text at /metrics, also /healthz and /readyz
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics: Option<HostPort>,
    /// How strictly to read sensors
    #[arg(long, value_enum, default_value_t, help_heading = "Limits")]
    pub compat: Compat,
    /// Connections at one time
    #[arg(long, default_value_t = 4096, value_parser = positive(), value_name = "N", help_heading = "Limits")]
    pub max_connections: u32,
    /// Connections at one time from one address; many sensors may sit behind one proxy
    #[arg(long, default_value_t = 256, value_parser = positive(), value_name = "N", help_heading = "Limits")]
    pub max_per_address: u32,
    /// Channels at one time of one sensor, by the name in its certificate
    #[arg(long, default_value_t = 8, value_parser = positive(), value_name = "N", help_heading = "Limits")]
    pub max_per_peer: u32,
    /// Largest alert
    #[arg(long, default_value = "1M", value_name = "OCTETS", help_heading = "Limits")]
    pub body_limit: Octets,
    /// Longest time from connection to the first alert
    #[arg(long, default_value = "30s", value_name = "SPAN", help_heading = "Limits")]
    pub setup_timeout: Span,
    /// Close a connection that is silent for so long; 0 never does
    #[arg(long, default_value = "0s", value_name = "SPAN", help_heading = "Limits")]
    pub idle_timeout: Span,
    /// Drop stored alerts older than so many days [default: keep all]
    #[arg(long, value_parser = positive(), value_name = "DAYS", requires = "store", help_heading = "Limits")]
    pub retain_days: Option<u32>,
    /// Drop the oldest stored alerts when all bodies together are larger [default: keep all]
    #[arg(long, value_name = "OCTETS", requires = "store", help_heading = "Limits")]
    pub retain_bytes: Option<Octets>,
}

impl ManagerArgs {
    /// Makes relative paths start at `base`.
    pub fn rebase(&mut self, base: &Path) {
        self.tls.rebase(base);
        self.store.rebase(base);
        self.output.iter_mut().for_each(|output| output.rebase(base));
        self.nats.rebase(base);
        rebase(&mut self.console_token_file, base);
    }
}

impl StoreArgs {
    /// Makes relative paths start at `base`.
    pub fn rebase(&mut self, base: &Path) {
        if let Some(store) = &mut self.store {
            store.rebase(base);
        }
        rebase(&mut self.store_password_file, base);
    }
}

/// How the streams of `--output nats://` are reached and made.
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct NatsArgs {
    /// Credentials of NATS, as `nsc` writes them
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "nats_password_file", help_heading = "NATS")]
    pub nats_credentials: Option<PathBuf>,
    /// First line is USER:PASSWORD or a token [default: the variables NATS_USER and NATS_PASSWORD, or NATS_TOKEN]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "NATS")]
    pub nats_password_file: Option<PathBuf>,
    /// Certificate authorities that may vouch for the servers, PEM; with it TLS is demanded [default: the system's]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "NATS")]
    pub nats_ca: Option<PathBuf>,
    /// Certificate to show the servers, PEM
    #[arg(long, value_name = "FILE", requires = "nats_key", value_hint = ValueHint::FilePath, help_heading = "NATS")]
    pub nats_cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "nats_cert", value_hint = ValueHint::FilePath, help_heading = "NATS")]
    pub nats_key: Option<PathBuf>,
    /// Messages on their way without an acknowledgement
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=65536), value_name = "N", help_heading = "NATS")]
    pub nats_window: u32,
    /// Longest time for a connection, and for an acknowledgement
    #[arg(long, default_value = "10s", value_name = "SPAN", help_heading = "NATS")]
    pub nats_timeout: Span,
    /// When the stream is made: on so many servers
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=5), value_name = "N", help_heading = "NATS")]
    pub nats_replicas: u32,
    /// When the stream is made: how long it knows an alert again
    #[arg(long, default_value = "2m", value_name = "SPAN", help_heading = "NATS")]
    pub nats_duplicates: Span,
}

impl NatsArgs {
    /// As the output takes them.
    pub fn options(&self) -> NatsOptions {
        let mut options = NatsOptions::default();
        options.credentials.clone_from(&self.nats_credentials);
        options.password_file.clone_from(&self.nats_password_file);
        options.ca.clone_from(&self.nats_ca);
        options.identity = self.nats_cert.clone().zip(self.nats_key.clone());
        options.timeout = self.nats_timeout.0;
        options.window = self.nats_window as usize;
        options.replicas = self.nats_replicas as usize;
        options.duplicates = self.nats_duplicates.0;
        options
    }

    /// The files that are named.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let files = [&self.nats_credentials, &self.nats_password_file, &self.nats_ca, &self.nats_cert, &self.nats_key];
        files.into_iter().flatten()
    }

    fn rebase(&mut self, base: &Path) {
        for path in [
            &mut self.nats_credentials,
            &mut self.nats_password_file,
            &mut self.nats_ca,
            &mut self.nats_cert,
            &mut self.nats_key,
        ] {
            rebase(path, base);
        }
    }
}

/// When output files are forced to disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum OutputSync {
    /// When there is no store: then the file is all there is.
    #[default]
    Auto,
    /// Before every acknowledgement.
    Always,
    /// Leave it to the system.
    Never,
}

/// `iap sensor`
#[derive(Debug, Clone, Args)]
#[command(group(ArgGroup::new("where").args(["connect", "listen"]).required(true)))]
#[command(group(ArgGroup::new("what").args(["eve", "input"]).required(true)))]
#[allow(clippy::exhaustive_structs)]
pub struct SensorArgs {
    /// Managers, best first; the next is tried when one does not answer
    #[arg(long, value_name = "HOST:PORT[,..]", value_delimiter = ',')]
    pub connect: Vec<HostPort>,
    /// Wait for the manager to call here
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<HostPort>,
    /// The name that the manager's certificate must have
    #[arg(long, value_name = "NAME")]
    pub manager_name: String,
    /// Certificates and TLS.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Suricata's eve.json: each alert event is sent as IDMEF
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub eve: Option<PathBuf>,
    /// Stay at the end of the file, through rotation
    #[arg(long)]
    pub follow: bool,
    /// Lines (or records, see --framed) to send as they are; - is standard input
    #[arg(long, value_name = "FILE|-", value_hint = ValueHint::FilePath, allow_hyphen_values = true)]
    pub input: Option<PathBuf>,
    /// The records of --input are each preceded by their length as 4 octets, big-endian
    #[arg(long, requires = "input", conflicts_with = "eve")]
    pub framed: bool,
    /// Media type of what --input sends
    #[arg(long, value_name = "TYPE", default_value = "application/x-idef-alert")]
    pub content_type: String,
    /// Keep unacknowledged alerts here across restarts [default: in memory]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub spool: Option<PathBuf>,
    /// Largest spool; when it is full the input waits (in memory at most 16M)
    #[arg(long, default_value = "1G", value_name = "OCTETS", help_heading = "Spool")]
    pub spool_max_bytes: Octets,
    /// Drop and count spooled alerts older than this [default: keep all]
    #[arg(long, value_name = "SPAN", help_heading = "Spool")]
    pub spool_max_age: Option<Span>,
    /// Alerts on their way without an answer yet
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65536), value_name = "N")]
    pub window: u32,
    /// End when the input is read and all is acknowledged
    #[arg(long)]
    pub exit_when_drained: bool,
    /// With --exit-when-drained: end with code 3 (or 1 when refused) when there was no channel for so long, or the manager
    /// put everything off; 0 never does
    #[arg(long, default_value = "30s", value_name = "SPAN")]
    pub give_up_after: Span,
    /// Name in the IDMEF Analyzer element [default: the certificate's name]
    #[arg(long, value_name = "ID")]
    pub analyzer_id: Option<String>,
    /// Send an IDMEF heartbeat so often; 0 never does
    #[arg(long, default_value = "0s", value_name = "SPAN")]
    pub heartbeat: Span,
    /// Prometheus text at /metrics, also /healthz and /readyz
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics: Option<HostPort>,
    /// How strictly to read managers
    #[arg(long, value_enum, default_value_t, help_heading = "Limits")]
    pub compat: Compat,
    /// Call the connection dead when an alert is unanswered for so long
    #[arg(long, default_value = "30s", value_name = "SPAN", help_heading = "Limits")]
    pub ack_timeout: Span,
    /// Longest time for a connection and its set-up
    #[arg(long, default_value = "30s", value_name = "SPAN", help_heading = "Limits")]
    pub setup_timeout: Span,
    /// Shortest wait before trying again
    #[arg(long, default_value = "500ms", value_name = "SPAN", help_heading = "Limits")]
    pub retry_min: Span,
    /// Longest wait before trying again
    #[arg(long, default_value = "60s", value_name = "SPAN", help_heading = "Limits")]
    pub retry_max: Span,
    /// Longest line or record of the input; longer lines are skipped and counted
    #[arg(long, default_value = "1M", value_name = "OCTETS", help_heading = "Limits")]
    pub line_limit: Octets,
}

impl SensorArgs {
    /// Makes relative paths start at `base`; `-` stays.
    pub fn rebase(&mut self, base: &Path) {
        self.tls.rebase(base);
        rebase(&mut self.eve, base);
        rebase(&mut self.spool, base);
        if self.input.as_deref() != Some(Path::new("-")) {
            rebase(&mut self.input, base);
        }
    }
}

/// `iap proxy`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct ProxyArgs {
    /// Accept sensors, managers or proxies here; may be given again
    #[arg(long, value_name = "HOST:PORT", required = true)]
    pub listen: Vec<HostPort>,
    /// The only place that connections are made to
    #[arg(long, value_name = "HOST:PORT")]
    pub next_hop: HostPort,
    /// This proxy's name, said in Via
    #[arg(long, value_name = "HOST")]
    pub name: String,
    /// Serve only these networks; may be given again [default: all]
    #[arg(long, value_name = "CIDR", value_parser = parse_cidr)]
    pub allow_from: Vec<IpNet>,
    /// Pass only connections for these names; may be given again [default: all]
    #[arg(long, value_name = "HOST")]
    pub allow_target: Vec<String>,
    /// Prometheus text at /metrics, also /healthz and /readyz
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics: Option<HostPort>,
    /// How strictly to read both sides
    #[arg(long, value_enum, default_value_t, help_heading = "Limits")]
    pub compat: Compat,
    /// Connections at one time
    #[arg(long, default_value_t = 1024, value_parser = positive(), value_name = "N", help_heading = "Limits")]
    pub max_connections: u32,
    /// Connections at one time from one address
    #[arg(long, default_value_t = 256, value_parser = positive(), value_name = "N", help_heading = "Limits")]
    pub max_per_address: u32,
    /// Longest time from connection to the tunnel
    #[arg(long, default_value = "30s", value_name = "SPAN", help_heading = "Limits")]
    pub setup_timeout: Span,
    /// Longest time to reach the next hop
    #[arg(long, default_value = "10s", value_name = "SPAN", help_heading = "Limits")]
    pub connect_timeout: Span,
    /// Close a tunnel that is silent for so long; 0 never does
    #[arg(long, default_value = "0s", value_name = "SPAN", help_heading = "Limits")]
    pub idle_timeout: Span,
}

impl ProxyArgs {
    /// Whether `addr` may connect.
    pub fn admits(&self, addr: IpAddr) -> bool {
        self.allow_from.is_empty() || self.allow_from.iter().any(|net| net.contains(&addr.to_canonical()))
    }
}

/// `iap alerts`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct AlertsArgs {
    /// sqlite:PATH or postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "URL", env = "WATCHFIRE_STORE", hide_env_values = true)]
    pub store: StoreUrl,
    /// First line is the password of a postgres store [default: the variable PGPASSWORD]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub store_password_file: Option<PathBuf>,
    /// Only alerts received at or after this moment (RFC 3339), or so long ago (15m, 2h, 7d)
    #[arg(long, value_name = "T")]
    pub since: Option<Moment>,
    /// Only alerts received before this moment
    #[arg(long, value_name = "T")]
    pub until: Option<Moment>,
    /// Only alerts with a source address in this network
    #[arg(long, value_name = "CIDR", value_parser = parse_cidr)]
    pub source: Option<IpNet>,
    /// Only the newest N of those that match; still printed oldest first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=i64::MAX as u64))]
    pub limit: Option<u64>,
}

fn rebase(path: &mut Option<PathBuf>, base: &Path) {
    if let Some(path) = path {
        *path = base.join(&*path);
    }
}

pub(super) fn positive() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}
