//! `watchfire dots`

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use dots_callhome::{Profile as Document, body::PortRange, body::Prefix};

use super::Resolver;
use crate::values::{HostPort, Octets, Span, is_host_name};

/// The commands of DOTS Call Home.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum DotsCommand {
    /// See attacks and ask for their end: waits to be called by the networks where they come from
    CallHomeClient(Box<CallHomeClientArgs>),
    /// Stop attacks that come from here: calls the operator that sees them, and does what it asks
    CallHomeServer(Box<CallHomeServerArgs>),
    /// Ask a network to stop sources, or to go on stopping them
    Mitigate(Box<MitigateArgs>),
    /// Let sources through again
    Withdraw(WithdrawArgs),
    /// Say how mitigations stand
    Status(StatusArgs),
    /// Print what Suricata's alerts suggest to ask for
    Proposals(ApiArgs),
    /// Ask for what a proposal says
    Confirm(ProposalArgs),
    /// Drop a proposal
    Dismiss(ProposalArgs),
    /// Print what waits for an administrator of this network
    Consents(ApiArgs),
    /// Let what waits be stopped
    Agree(ConsentArgs),
    /// Do not let it be stopped
    Refuse(ConsentArgs),
    /// Turn JSON (RFC 7951) into application/dots+cbor and back, from standard input to standard output
    #[command(subcommand)]
    Codec(DotsCodecCommand),
}

/// Certificates of DOTS agents. Both sides prove who they are, always.
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct DotsTlsArgs {
    /// Certificate chain, PEM, leaf first
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub cert: PathBuf,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key: PathBuf,
    /// Certificate authorities of the peers, PEM
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ca: PathBuf,
    /// CA certificates between those and the peers' own, PEM: over DTLS only a peer's own certificate arrives
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub intermediates: Option<PathBuf>,
    /// Revocation lists of those authorities, PEM; may be given again
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub crl: Vec<PathBuf>,
    /// Longest time for a handshake
    #[arg(long, default_value = "30s", value_name = "SPAN", help_heading = "Limits")]
    pub handshake_timeout: Span,
}

impl DotsTlsArgs {
    fn rebase(&mut self, base: &Path) {
        let one = [&mut self.cert, &mut self.key, &mut self.ca].into_iter();
        for path in one.chain(&mut self.intermediates).chain(&mut self.crl) {
            *path = base.join(&*path);
        }
    }

    /// All files that are read.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let one = [&self.cert, &self.key, &self.ca].into_iter();
        one.chain(&self.intermediates).chain(&self.crl).map(PathBuf::as_path)
    }
}

/// `dots call-home-client`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct CallHomeClientArgs {
    /// Where to be called: tls://HOST:PORT or dtls://HOST:PORT, port 4647 if none is said; may be given again
    #[arg(long, value_name = "tls|dtls://ADDR", required = true)]
    pub listen: Vec<ListenAt>,
    /// Certificates
    #[command(flatten)]
    pub tls: DotsTlsArgs,
    /// Let in only peers of this name in their certificate, or *.example.net; may be given again [default: all that the CA knows]
    #[arg(long, value_name = "NAME")]
    pub allow: Vec<String>,
    /// HTTP and JSON for the commands and for programs; on the loopback unless --api-token-file
    #[arg(long, value_name = "HOST:PORT")]
    pub api: Option<HostPort>,
    /// Whoever uses the interface must show what is in this file
    #[arg(long, value_name = "FILE", requires = "api", value_hint = ValueHint::FilePath)]
    pub api_token_file: Option<PathBuf>,
    /// Suricata's eve.json: its alerts become proposals, by --rule
    #[arg(long, value_name = "FILE", requires = "rule", value_hint = ValueHint::FilePath)]
    pub eve: Option<PathBuf>,
    /// Go on reading when more is written, and when the file is rotated
    #[arg(long, requires = "eve")]
    pub follow: bool,
    /// TOML: which alert is proposed, or asked for at once, and of whom
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub rule: Option<PathBuf>,
    /// Prometheus text at /metrics, also /healthz and /readyz
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics: Option<HostPort>,
    /// Sessions at a time
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..), value_name = "N", help_heading = "Limits")]
    pub max_sessions: u32,
    /// Requests at the interface at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096), value_name = "N", help_heading = "Limits")]
    pub api_requests: u32,
    /// The longest body of a request at the interface
    #[arg(long, default_value = "64K", value_name = "OCTETS", help_heading = "Limits")]
    pub api_body: Octets,
}

impl CallHomeClientArgs {
    /// Makes relative paths start at `base`.
    pub fn rebase(&mut self, base: &Path) {
        self.tls.rebase(base);
        for path in self.api_token_file.iter_mut().chain(&mut self.eve).chain(&mut self.rule) {
            *path = base.join(&*path);
        }
    }
}

/// `dots call-home-server`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct CallHomeServerArgs {
    /// Whom to call: tls://HOST:PORT, dtls://HOST:PORT or HOST:PORT (whichever works; port 4647 if none is said), or
    /// srv:DOMAIN to ask the DNS; may be given again, with a --peer-name each
    #[arg(long, value_name = "ADDR", required_unless_present = "discover")]
    pub connect: Vec<ConnectTo>,
    /// Ask the DNS where the operator of this domain is to be called, by NAPTR and SRV (RFC 8973)
    #[arg(long, value_name = "DOMAIN", value_parser = domain, conflicts_with = "connect")]
    pub discover: Option<String>,
    /// The name that its certificate must have
    #[arg(long, value_name = "NAME", required = true)]
    pub peer_name: Vec<String>,
    /// Certificates
    #[command(flatten)]
    pub tls: DotsTlsArgs,
    /// Sources that are here and may be stopped, as 192.0.2.0/24; may be given again [default: any]
    #[arg(long, value_name = "PREFIX", value_parser = prefix)]
    pub domain: Vec<Prefix>,
    /// Sources that are never stopped, whoever asks; may be given again
    #[arg(long, value_name = "PREFIX", value_parser = prefix)]
    pub exempt: Vec<Prefix>,
    /// Stop nothing before an administrator of this network agrees: `watchfire dots consents`, `agree` and `refuse`
    #[arg(long, requires = "api")]
    pub consent: bool,
    /// HTTP and JSON for `consents`, `agree`, `refuse` and `status`; on the loopback unless --api-token-file
    #[arg(long, value_name = "HOST:PORT")]
    pub api: Option<HostPort>,
    /// Whoever uses the interface must show what is in this file
    #[arg(long, value_name = "FILE", requires = "api", value_hint = ValueHint::FilePath)]
    pub api_token_file: Option<PathBuf>,
    /// What stops the traffic: log, nftables, flowspec, exec (with --hook) or exec:CMD
    #[arg(long, default_value = "log", value_name = "HOW")]
    pub enforce: Enforce,
    /// For exec: the program that is called as CMD [ARG..] start|refresh|stop PEER CUID MID, the request on its standard
    /// input
    #[arg(long, value_name = "CMD", value_hint = ValueHint::CommandName)]
    pub hook: Option<PathBuf>,
    /// For exec: an argument before the others; may be given again
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub hook_arg: Vec<String>,
    /// For nftables: the table of the family inet that is made and used, by nobody else
    #[arg(long, default_value = "watchfire_dots", value_name = "NAME", value_parser = table)]
    pub nft_table: String,
    /// For flowspec: where lines are written, a FIFO or a file; - is standard output
    #[arg(long, default_value = "-", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub flowspec_output: PathBuf,
    /// For flowspec: in whose words
    #[arg(long, value_enum, default_value_t, value_name = "DIALECT")]
    pub flowspec_dialect: FlowSpecDialect,
    /// Where mitigations are kept, so that they are in force again after a restart
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub state: Option<PathBuf>,
    /// The least time from one attempt that fails to the next, in seconds
    #[arg(long, default_value = "60s", value_name = "SPAN")]
    pub reconnect_min: Span,
    /// How long a mitigation that is withdrawn stays in force (RFC 9132 section 4.4.4)
    #[arg(long, default_value = "120s", value_name = "SPAN")]
    pub terminating: Span,
    /// The longest lifetime that is granted; 0 grants all, for ever too
    #[arg(long, default_value = "0", value_name = "SPAN")]
    pub max_lifetime: Span,
    /// An attack that has sent nothing for so long has stopped; 0 never says so
    #[arg(long, default_value = "60s", value_name = "SPAN")]
    pub quiet: Span,
    /// How often what was dropped is counted
    #[arg(long, default_value = "10s", value_name = "SPAN")]
    pub report_every: Span,
    /// DNS server for --discover, or `system`
    #[arg(long, default_value = "system", value_name = "ADDR")]
    pub resolver: Resolver,
    /// Prometheus text at /metrics, also /healthz and /readyz
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics: Option<HostPort>,
    /// Mitigations at a time; more are told to come later (5.03)
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N", help_heading = "Limits")]
    pub max_mitigations: u32,
    /// Requests at the interface at a time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096), value_name = "N", help_heading = "Limits")]
    pub api_requests: u32,
    /// How long stopping or letting through may take
    #[arg(long, default_value = "10s", value_name = "SPAN", help_heading = "Limits")]
    pub enforce_timeout: Span,
}

impl CallHomeServerArgs {
    /// Makes relative paths start at `base`.
    pub fn rebase(&mut self, base: &Path) {
        self.tls.rebase(base);
        for path in self.state.iter_mut().chain(&mut self.api_token_file) {
            *path = base.join(&*path);
        }
        // A bare name is looked for among the programs.
        for program in self.hook.iter_mut().chain(self.enforce.program_mut()) {
            if program.components().count() > 1 {
                *program = base.join(&*program);
            }
        }
        if self.flowspec_output.as_os_str() != "-" {
            self.flowspec_output = base.join(&self.flowspec_output);
        }
    }
}

/// What carries a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the two of RFC 9132")]
pub enum Carrier {
    /// TLS over TCP.
    Tls,
    /// DTLS over UDP.
    Dtls,
}

impl Carrier {
    /// Its scheme.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Dtls => "dtls",
        }
    }

    fn split(text: &str) -> (Option<Self>, &str) {
        [Self::Tls, Self::Dtls]
            .into_iter()
            .find_map(|carrier| Some((Some(carrier), text.strip_prefix(carrier.name())?.strip_prefix("://")?)))
            .unwrap_or((None, text))
    }
}

/// `HOST[:PORT]`, with the port of Call Home where none is said.
fn host_port(text: &str) -> Result<HostPort, String> {
    text.parse().or_else(|error| {
        let with_port = format!("{text}:{}", Document::Rfc9066.default_port());
        let is_bare = text.ends_with(']') || !text.contains(':');
        if is_bare { with_port.parse() } else { Err(error) }
    })
}

/// Where to be called.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct ListenAt {
    /// By what.
    pub carrier: Carrier,
    /// Where.
    pub address: HostPort,
}

impl std::str::FromStr for ListenAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (carrier, rest) = Carrier::split(text);
        let carrier = carrier.ok_or("write tls://HOST:PORT or dtls://HOST:PORT")?;
        Ok(Self { carrier, address: host_port(rest)? })
    }
}

/// Whom to call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectTo {
    /// At an address, by one carrier or whichever works.
    Address(Option<Carrier>, HostPort),
    /// Where the DNS says for this domain.
    Discover(String),
}

impl std::str::FromStr for ConnectTo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("srv:") {
            return domain(name).map(Self::Discover);
        }
        let (carrier, rest) = Carrier::split(text);
        if rest.contains("://") {
            return Err("write tls://HOST:PORT, dtls://HOST:PORT, HOST:PORT or srv:DOMAIN".to_owned());
        }
        let address = host_port(rest)?;
        if address.port() == 0 {
            return Err("nobody can be called at port 0".to_owned());
        }
        Ok(Self::Address(carrier, address))
    }
}

fn domain(text: &str) -> Result<String, String> {
    if is_host_name(text) { Ok(text.to_owned()) } else { Err("not a domain name".to_owned()) }
}

fn table(text: &str) -> Result<String, String> {
    let well_formed = text.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'_')
        && text.bytes().next().is_some_and(|octet| octet.is_ascii_alphabetic())
        && text.len() <= 64;
    if well_formed { Ok(text.to_owned()) } else { Err("write letters, digits and _, a letter first".to_owned()) }
}

/// A prefix; an address stands for itself alone.
pub(crate) fn prefix(text: &str) -> Result<Prefix, String> {
    let read = match text.parse() {
        Ok(address) => Ok(Prefix::host(address)),
        Err(_) => text.parse::<Prefix>(),
    };
    read.map_err(|error| format!("{error}: write 192.0.2.0/24 or 2001:db8::/32, or one address"))
}

/// What stops the traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Enforce {
    /// Nothing; it is only said.
    Log,
    /// The kernel's packet filter.
    Nftables,
    /// A program of the user's.
    Exec(Option<PathBuf>),
    /// Routers, by BGP.
    FlowSpec,
}

impl Enforce {
    fn program_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Exec(program) => program.as_mut(),
            _ => None,
        }
    }
}

impl std::str::FromStr for Enforce {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "log" => Ok(Self::Log),
            None if text == "nftables" => Ok(Self::Nftables),
            None if text == "flowspec" => Ok(Self::FlowSpec),
            None if text == "exec" => Ok(Self::Exec(None)),
            Some(("exec", program)) if !program.is_empty() => Ok(Self::Exec(Some(program.into()))),
            _ => Err("write log, nftables, flowspec, exec or exec:CMD".to_owned()),
        }
    }
}

impl std::fmt::Display for Enforce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Log => "log",
            Self::Nftables => "nftables",
            Self::Exec(_) => "exec",
            Self::FlowSpec => "flowspec",
        })
    }
}

/// Whose commands FlowSpec is written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum FlowSpecDialect {
    /// The text interface of ExaBGP.
    #[default]
    Exabgp,
    /// Commands of GoBGP's `gobgp`, a line each.
    Gobgp,
}

/// Where a Call Home client, or server, has its interface.
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct ApiArgs {
    /// The --api of the Call Home client, or server
    #[arg(long, value_name = "HOST:PORT")]
    pub api: HostPort,
    /// What is in its --api-token-file
    #[arg(long, value_name = "FILE", env = "WATCHFIRE_DOTS_TOKEN_FILE", value_hint = ValueHint::FilePath)]
    pub token_file: Option<PathBuf>,
    /// Longest time for the answer, that of the peer included
    #[arg(long, default_value = "20s", value_name = "SPAN")]
    pub timeout: Span,
}

/// `dots mitigate`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct MitigateArgs {
    /// The Call Home client.
    #[command(flatten)]
    pub api: ApiArgs,
    /// The network that is asked, by the name in its certificate
    #[arg(long, value_name = "NAME")]
    pub peer: String,
    /// The number of the mitigation, above all before; that of one that goes on gives it a new lifetime [default: the next]
    #[arg(long, value_name = "N")]
    pub mid: Option<u32>,
    /// Who attacks; may be given again
    #[arg(long, value_name = "PREFIX", required = true, value_parser = prefix)]
    pub source_prefix: Vec<Prefix>,
    /// Who is attacked; may be given again
    #[arg(long, value_name = "PREFIX", required = true, value_parser = prefix)]
    pub target_prefix: Vec<Prefix>,
    /// From which ports, as 53 or 1000-2000; may be given again
    #[arg(long, value_name = "PORTS", value_parser = ports)]
    pub source_port: Vec<PortRange>,
    /// To which ports; may be given again
    #[arg(long, value_name = "PORTS", value_parser = ports)]
    pub target_port: Vec<PortRange>,
    /// By which protocol, as a number or tcp, udp, icmp, icmpv6, sctp; may be given again
    #[arg(long, value_name = "PROTOCOL", value_parser = protocol)]
    pub target_protocol: Vec<u8>,
    /// For how many seconds; -1 for ever
    #[arg(long, default_value_t = 3600, value_name = "S", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..=4_294_967_295))]
    pub lifetime: i64,
}

fn ports(text: &str) -> Result<PortRange, String> {
    let wrong = || "write a port or two with - between, as in 53 or 1000-2000".to_owned();
    let (lower, upper) = match text.split_once('-') {
        Some((lower, upper)) => (lower, Some(upper.parse::<u16>().map_err(|_| wrong())?)),
        None => (text, None),
    };
    let lower = lower.parse().map_err(|_| wrong())?;
    if upper.is_some_and(|upper| upper < lower) { Err(wrong()) } else { Ok(PortRange { lower, upper }) }
}

fn protocol(text: &str) -> Result<u8, String> {
    let named = [("icmp", 1), ("tcp", 6), ("udp", 17), ("icmpv6", 58), ("sctp", 132)];
    let known = named.into_iter().find(|(name, _)| text.eq_ignore_ascii_case(name)).map(|(_, number)| number);
    known.or_else(|| text.parse().ok()).ok_or_else(|| "write tcp, udp, icmp, icmpv6, sctp or a number".to_owned())
}

/// `dots withdraw`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct WithdrawArgs {
    /// The Call Home client.
    #[command(flatten)]
    pub api: ApiArgs,
    /// The network that was asked
    #[arg(long, value_name = "NAME")]
    pub peer: String,
    /// The number of the mitigation
    #[arg(long, value_name = "N")]
    pub mid: u32,
}

/// `dots status`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct StatusArgs {
    /// The Call Home client.
    #[command(flatten)]
    pub api: ApiArgs,
    /// Only this network
    #[arg(long, value_name = "NAME")]
    pub peer: Option<String>,
    /// Go on, and say what changes
    #[arg(long)]
    pub follow: bool,
}

/// `dots confirm` and `dots dismiss`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct ProposalArgs {
    /// The Call Home client.
    #[command(flatten)]
    pub api: ApiArgs,
    /// The proposal
    #[arg(value_name = "ID")]
    pub id: u64,
}

/// `dots agree` and `dots refuse`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct ConsentArgs {
    /// The Call Home server.
    #[command(flatten)]
    pub api: ApiArgs,
    /// What `consents` prints first
    #[arg(value_name = "ID")]
    pub id: u64,
}

/// `dots codec`
#[derive(Debug, Clone, Copy, Subcommand)]
#[non_exhaustive]
pub enum DotsCodecCommand {
    /// JSON to CBOR
    Encode,
    /// CBOR to JSON
    Decode,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_home_has_a_port_of_its_own() {
        let listen: ListenAt = "dtls://[::1]".parse().unwrap();
        assert_eq!((listen.carrier, listen.address.to_string().as_str()), (Carrier::Dtls, "[::1]:4647"));
        let connect: ConnectTo = "isp.example".parse().unwrap();
        assert_eq!(connect, ConnectTo::Address(None, "isp.example:4647".parse().unwrap()));
        let base = Document::Base.default_port();
        assert!(base != Document::Rfc9066.default_port());
    }

    #[test]
    fn addresses_name_their_carrier_and_mistakes_are_named() {
        assert_eq!("tls://a:1".parse(), Ok(ConnectTo::Address(Some(Carrier::Tls), "a:1".parse().unwrap())));
        assert_eq!("srv:isp.example".parse(), Ok(ConnectTo::Discover("isp.example".to_owned())));
        for bad in ["a:0", "http://a:1", "srv:", "srv:a b", "tls://", "::1:7", "a:x"] {
            assert!(bad.parse::<ConnectTo>().is_err(), "{bad} was taken");
        }
        for bad in ["a:1", "udp://a:1", "tls://a:b"] {
            assert!(bad.parse::<ListenAt>().is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn values_of_requests() {
        assert_eq!(ports("53"), Ok(PortRange { lower: 53, upper: None }));
        assert_eq!(ports("1-2"), Ok(PortRange { lower: 1, upper: Some(2) }));
        assert!(ports("2-1").is_err() && ports("").is_err() && ports("65536").is_err());
        assert_eq!((protocol("UDP"), protocol("132")), (Ok(17), Ok(132)));
        assert!(protocol("x").is_err() && protocol("256").is_err());
        assert_eq!(prefix("192.0.2.1").unwrap().to_string(), "192.0.2.1/32");
        assert!(prefix("192.0.2.1/33").is_err() && prefix("x").is_err());
        assert_eq!("exec:/bin/x".parse(), Ok(Enforce::Exec(Some("/bin/x".into()))));
        assert!("exec:".parse::<Enforce>().is_err() && "nft".parse::<Enforce>().is_err());
        assert!(table("a b").is_err() && table("1a").is_err() && table("watchfire_dots").is_ok());
    }
}
