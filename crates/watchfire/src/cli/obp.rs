//! `watchfire obp`

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum, ValueHint};

use crate::obp::directory::AccountsUrl;
use crate::values::{HostPort, Octets, Span};

/// The commands of the OmniBroker protocol.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum ObpCommand {
    /// Answer how services are best reached and which certificates are not to be trusted
    Broker(Box<BrokerArgs>),
    /// Who may ask a broker
    #[command(subcommand)]
    Account(AccountCommand),
    /// Bind this device to an account of a broker
    Bind(BindArgs),
    /// Get new keys in place of those of a binding
    Refresh(ManageArgs),
    /// End a binding, as when a device is given away
    Unbind(ManageArgs),
    /// Ask how a service is best reached
    Connect(ConnectArgs),
    /// Ask whether there is anything against certificates
    Validate(ValidateArgs),
    /// Let programs that only speak DNS ask the broker
    Dns(DnsArgs),
    /// Turn JSON into JSON-B, JSON-C or JSON-D and back, from standard input to standard output
    #[command(subcommand)]
    Codec(CodecCommand),
}

/// `obp broker`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct BrokerArgs {
    /// Answer over HTTP here, over HTTPS with --cert; may be given again
    #[arg(long, value_name = "HOST:PORT", required = true)]
    pub listen: Vec<HostPort>,
    /// Answer over UDP here; may be given again
    #[arg(long, value_name = "HOST:PORT")]
    pub udp: Vec<HostPort>,
    /// Certificate chain of the HTTPS server, PEM, leaf first
    #[arg(long, value_name = "FILE", requires = "key", value_hint = ValueHint::FilePath)]
    pub cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "cert", value_hint = ValueHint::FilePath)]
    pub key: Option<PathBuf>,
    /// Accounts and their one-time PINs (see `watchfire obp account`): a file, or postgres://USER@HOST/DATABASE, which
    /// several brokers of one service share
    #[arg(long, value_name = "FILE|URL", value_hint = ValueHint::FilePath)]
    pub accounts: AccountsUrl,
    /// First line is the password of postgres accounts [default: the variable PGPASSWORD]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub accounts_password_file: Option<PathBuf>,
    /// DNS server to ask, or `system` for those of /etc/resolv.conf
    #[arg(long, default_value = "system", value_name = "ADDR")]
    pub resolver: Resolver,
    /// DNSSEC trust anchors (DNSKEY records as in a zone file) [default: the root's]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub trust_anchor: Option<PathBuf>,
    /// How strictly DNSSEC is checked
    #[arg(long, value_enum, default_value_t, value_name = "MODE")]
    pub dnssec: Dnssec,
    /// Certificate authorities that `validate` accepts, PEM [default: the system's]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub roots: Option<PathBuf>,
    /// Revocation lists, PEM or DER; may be given again
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub crl: Vec<PathBuf>,
    /// Rules: what is denied, allowed, upgraded; read again when the file changes
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub policy: Option<PathBuf>,
    /// `seed` hands out the algorithms of the 2014 drafts, and takes requests authenticated as in their examples where
    /// TLS or the loopback protects them; `strict` hands out AES-GCM and longer MACs, and demands protection against
    /// replay in every request
    #[arg(long, value_enum, default_value_t, value_name = "DIALECT")]
    pub dialect: Dialect,
    /// Host that bindings name, with a port where several brokers are behind one address [default: those of --listen
    /// and --udp]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub advertise: Option<Advertised>,
    /// Keys that seal tickets; made when missing [default: the accounts file with .keys added, or the database]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ticket_keys: Option<PathBuf>,
    /// How long a ticket is good
    #[arg(long, default_value = "30d", value_name = "SPAN")]
    pub ticket_lifetime: Span,
    /// Whether devices without an account may bind
    #[arg(long)]
    pub anonymous: bool,
    /// A line of JSON for each answer; `-` is the log
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub audit: Option<PathBuf>,
    /// Leave names, accounts and addresses out of the audit lines, but for a keyed hash
    #[arg(long, requires = "audit")]
    pub audit_redact: bool,
    /// Prometheus text at /metrics, also /healthz and /readyz
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics: Option<HostPort>,
    /// Names kept in memory
    #[arg(long, default_value_t = 100_000, value_parser = positive(), value_name = "N", help_heading = "Limits")]
    pub cache_entries: u32,
    /// How long an answer that has expired may still be given when no source answers; 0 never
    #[arg(long, default_value = "1h", value_name = "SPAN", help_heading = "Limits")]
    pub serve_stale: Span,
    /// Longest time for the sources to answer
    #[arg(long, default_value = "5s", value_name = "SPAN", help_heading = "Limits")]
    pub query_timeout: Span,
    /// Connections at one time
    #[arg(long, default_value_t = 4096, value_parser = positive(), value_name = "N", help_heading = "Limits")]
    pub max_connections: u32,
    /// Largest request over HTTP
    #[arg(long, default_value = "256K", value_name = "OCTETS", help_heading = "Limits")]
    pub body_limit: Octets,
    /// Requests a second of one ticket; 0 does not limit
    #[arg(long, default_value_t = 0, value_name = "N", help_heading = "Limits")]
    pub rate_ticket: u32,
    /// Requests a second of one address; 0 does not limit
    #[arg(long, default_value_t = 0, value_name = "N", help_heading = "Limits")]
    pub rate_address: u32,
}

impl BrokerArgs {
    /// Makes relative paths start at `base`.
    pub fn rebase(&mut self, base: &Path) {
        let single = [
            &mut self.cert,
            &mut self.key,
            &mut self.trust_anchor,
            &mut self.roots,
            &mut self.policy,
            &mut self.ticket_keys,
            &mut self.accounts_password_file,
        ];
        self.accounts.rebase(base);
        for path in single.into_iter().flatten().chain(&mut self.crl) {
            *path = base.join(&*path);
        }
        if let Some(audit) = self.audit.as_mut().filter(|path| path.as_os_str() != "-") {
            *audit = base.join(&*audit);
        }
    }
}

/// Whom the broker asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resolver {
    /// The servers of `/etc/resolv.conf`.
    System,
    /// This one.
    Server(SocketAddr),
}

impl std::str::FromStr for Resolver {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "system" {
            return Ok(Self::System);
        }
        let with_port = text.parse().or_else(|_| text.parse().map(|ip| SocketAddr::new(ip, 53)));
        with_port.map(Self::Server).map_err(|_| "write an address as in 192.0.2.53 or [::1]:53, or `system`".into())
    }
}

impl std::fmt::Display for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Server(addr) => write!(f, "{addr}"),
        }
    }
}

/// Where devices reach a broker: `HOST` or `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Advertised {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port, if it is another than that of the listener.
    pub port: Option<u16>,
}

impl std::str::FromStr for Advertised {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_bare = text.parse::<std::net::Ipv6Addr>().is_ok() || !text.contains(':');
        if is_bare {
            let is_one = text.contains(':') || crate::values::is_host_name(text);
            let host = is_one.then(|| text.to_owned()).ok_or("write HOST or HOST:PORT")?;
            return Ok(Self { host, port: None });
        }
        let there: HostPort = text.parse()?;
        if there.port() == 0 {
            return Err("the port must be a number from 1 to 65535".into());
        }
        Ok(Self { host: there.host().to_owned(), port: Some(there.port()) })
    }
}

impl std::fmt::Display for Advertised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// How strictly DNSSEC is checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum Dnssec {
    /// Every answer must be signed, or proven to lie in an unsigned zone. The resolver must hand DNSSEC on.
    Strict,
    /// Signatures that are there must be right; what has none is taken without.
    #[default]
    Permissive,
    /// Not at all; nothing can be proven.
    Off,
}

/// How requests are authenticated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum Dialect {
    /// The body alone, as in the draft's examples; requests may also be strict.
    #[default]
    Seed,
    /// Header and body, with a nonce and the time or a count.
    Strict,
}

/// `obp account`
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum AccountCommand {
    /// Add an account, or a new PIN to one that exists
    Add(AccountAddArgs),
    /// Remove an account; its tickets are refused from then on
    Remove(AccountNameArgs),
    /// Print the accounts
    List(AccountFileArgs),
}

/// `obp account add`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct AccountAddArgs {
    /// The file and the account.
    #[command(flatten)]
    pub account: AccountNameArgs,
    /// Make a PIN, for one device, and print it
    #[arg(long)]
    pub pin: bool,
    /// How long the PIN is good
    #[arg(long, default_value = "1d", value_name = "SPAN", requires = "pin")]
    pub pin_lifetime: Span,
}

/// The accounts file and an account.
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct AccountNameArgs {
    /// The file.
    #[command(flatten)]
    pub file: AccountFileArgs,
    /// Such as alice@example.com
    #[arg(value_name = "ACCOUNT")]
    pub account: String,
}

/// Where the accounts are.
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct AccountFileArgs {
    /// Accounts of the broker: a file, made when missing, or postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "FILE|URL", value_hint = ValueHint::FilePath)]
    pub accounts: AccountsUrl,
    /// First line is the password of postgres accounts [default: the variable PGPASSWORD]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub accounts_password_file: Option<PathBuf>,
}

/// `obp bind`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct BindArgs {
    /// Such as `https://broker.example.com`; without a port, SRV records of `_sxs-connect._tcp` there may say where
    #[arg(long, value_name = "URL")]
    pub broker: String,
    /// Whom to ask for those SRV records: an address, or `system`
    #[arg(long, default_value_t = Resolver::System, value_name = "ADDR")]
    pub resolver: Resolver,
    /// Such as alice@example.com
    #[arg(long, value_name = "ACCOUNT", required_unless_present = "anonymous")]
    pub account: Option<String>,
    /// Where the binding goes; it is a secret, and only its owner may read it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: PathBuf,
    /// First line is the PIN [default: the variable WATCHFIRE_PIN]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "anonymous")]
    pub pin_file: Option<PathBuf>,
    /// Bind to no account
    #[arg(long, conflicts_with = "account")]
    pub anonymous: bool,
    /// Certificate authorities that may vouch for the broker, PEM [default: the system's]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ca: Option<PathBuf>,
    /// Give up after this long
    #[arg(long, default_value = "10s", value_name = "SPAN")]
    pub timeout: Span,
}

/// `obp refresh`, `obp unbind`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct ManageArgs {
    /// What `watchfire obp bind` wrote
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub binding: PathBuf,
    /// Whom to ask for SRV records of the broker: an address, or `system`
    #[arg(long, default_value_t = Resolver::System, value_name = "ADDR")]
    pub resolver: Resolver,
    /// Certificate authorities that may vouch for the broker, PEM [default: those with which it was bound]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ca: Option<PathBuf>,
    /// Give up after this long
    #[arg(long, default_value = "10s", value_name = "SPAN")]
    pub timeout: Span,
}

/// The binding with which to ask.
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct BindingArgs {
    /// What `watchfire obp bind` wrote
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub binding: PathBuf,
    /// Ask over this only [default: UDP first, then HTTP]
    #[arg(long, value_enum, value_name = "TRANSPORT")]
    pub transport: Option<Transport>,
    /// Certificate authorities that may vouch for the broker, PEM [default: those with which it was bound]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ca: Option<PathBuf>,
    /// Give up after this long
    #[arg(long, default_value = "10s", value_name = "SPAN")]
    pub timeout: Span,
}

/// How to reach the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum Transport {
    /// HTTP or HTTPS.
    Http,
    /// Sealed datagrams.
    Udp,
}

/// `obp connect`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct ConnectArgs {
    /// The binding.
    #[command(flatten)]
    pub binding: BindingArgs,
    /// DNS name; international ones may be written as they are read
    pub name: String,
    /// Service as in DNS: http, _https._tcp, _xmpp-client._tcp
    pub service: Option<String>,
    /// Port
    #[arg(long, value_name = "N", required_unless_present = "service")]
    pub port: Option<NonZeroU16>,
    /// Ask for evidence, and check it
    #[arg(long)]
    pub prove: bool,
    /// DNSSEC trust anchors for --prove (DNSKEY records as in a zone file) [default: the root's]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "prove")]
    pub trust_anchor: Option<PathBuf>,
    /// Policy under which certificates must have been checked; may be given again
    #[arg(long, value_name = "LABEL")]
    pub policy: Vec<String>,
    /// Which of several answers, from 1 [default: the best]
    #[arg(long, value_name = "N")]
    pub index: Option<u32>,
}

/// `obp validate`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct ValidateArgs {
    /// The binding.
    #[command(flatten)]
    pub binding: BindingArgs,
    /// DNS name for which they were shown
    #[arg(long, value_name = "DNS")]
    pub name: String,
    /// Service for which they were shown [default: none in particular]
    #[arg(long, value_name = "SERVICE")]
    pub service: Option<String>,
    /// Policy under which they must hold; may be given again
    #[arg(long, value_name = "LABEL")]
    pub policy: Vec<String>,
    /// Certificates, PEM or DER, the server's own first
    #[arg(required = true, value_name = "CERT", value_hint = ValueHint::FilePath)]
    pub certificates: Vec<PathBuf>,
}

/// `obp dns`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct DnsArgs {
    /// The binding.
    #[command(flatten)]
    pub binding: BindingArgs,
    /// Answer DNS here, over UDP and TCP; may be given again
    #[arg(long, value_name = "HOST:PORT", required = true)]
    pub listen: Vec<HostPort>,
    /// Prometheus text at /metrics, also /healthz and /readyz
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics: Option<HostPort>,
    /// TTL of the answers; the broker's protocol carries none
    #[arg(long, default_value = "30s", value_name = "SPAN")]
    pub ttl: Span,
}

impl DnsArgs {
    /// Makes relative paths start at `base`.
    pub fn rebase(&mut self, base: &Path) {
        self.binding.binding = base.join(&self.binding.binding);
        if let Some(ca) = &mut self.binding.ca {
            *ca = base.join(&*ca);
        }
    }
}

/// `obp codec`
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum CodecCommand {
    /// JSON to the format
    Encode(CodecArgs),
    /// The format to JSON
    Decode(CodecArgs),
}

/// Which format.
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct CodecArgs {
    /// The format
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: CodecFormat,
    /// Code table: of the 2014 drafts, or of those since 2016
    #[arg(long, value_enum, default_value_t, value_name = "PROFILE")]
    pub profile: CodecProfile,
    /// Longest input
    #[arg(long, default_value = "64M", value_name = "OCTETS")]
    pub limit: Octets,
}

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum CodecFormat {
    /// RFC 8259.
    Json,
    /// Binary lexemes.
    JsonB,
    /// And a dictionary.
    JsonC,
    /// And further number formats.
    JsonD,
}

/// A code table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum CodecProfile {
    /// draft-hallambaker-jsonbcd-01.
    #[value(name = "2014")]
    Bcd01,
    /// draft-hallambaker-jsonbcd-16 and later.
    #[default]
    #[value(name = "2016")]
    Bcd16,
}

fn positive() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_at_a_host_and_maybe_a_port() {
        for (text, host, port) in [
            ("broker.example.com", "broker.example.com", None),
            ("broker.example.com:8443", "broker.example.com", Some(8443)),
            ("192.0.2.1", "192.0.2.1", None),
            ("2001:db8::1", "2001:db8::1", None),
            ("[2001:db8::1]:443", "2001:db8::1", Some(443)),
        ] {
            let there: Advertised = text.parse().unwrap();
            assert_eq!((there.host.as_str(), there.port, there.to_string().as_str()), (host, port, text));
        }
        for bad in ["", "a b", "a:0", "a:b", "[::1]", ":443"] {
            assert!(bad.parse::<Advertised>().is_err(), "{bad} was taken");
        }
    }
}
