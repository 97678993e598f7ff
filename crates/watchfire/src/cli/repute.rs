//! `watchfire repute`

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Subcommand, ValueEnum, ValueHint};

use repute_proto::{Dialect, Identity};

use crate::repute::codes::CodeRule;
use crate::repute::data::DataUrl;
use crate::values::{HostPort, Span};

/// The commands of REPUTE.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum ReputeCommand {
    /// Answer what is known about names and addresses
    Serve(Box<ReputeServeArgs>),
    /// Ask raters, and put together what they say
    Query(Box<ReputeQueryArgs>),
    /// Put entries into a store: all of a file, or nothing of it
    Import(Box<ImportArgs>),
    /// Answer as a DNSBL (RFC 5782), for programs that ask such lists
    Dnsbl(Box<DnsblArgs>),
    /// Look at URI templates
    #[command(subcommand)]
    Template(TemplateCommand),
}

/// `repute serve`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct ReputeServeArgs {
    /// Answer over HTTP here, over HTTPS with --cert; may be given again
    #[arg(long, value_name = "HOST:PORT", required = true)]
    pub listen: Vec<HostPort>,
    /// Where the entries are: FILE.ndjson, FILE.json, sqlite:PATH or postgres://USER@HOST/DATABASE; read again when
    /// they change
    #[arg(long, value_name = "URL", value_hint = ValueHint::AnyPath)]
    pub data: DataUrl,
    /// First line is the password of PostgreSQL [default: the variable PGPASSWORD]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub data_password_file: Option<PathBuf>,
    /// URI template that clients are given; may be given again, the preferred one first
    /// [default: http(s)://{service}/{application}/{subject}/{assertion}]
    #[arg(long, value_name = "TEMPLATE")]
    pub template: Vec<String>,
    /// In whose words clients are answered that do not say: auto, rfc7072 or draft2012
    #[arg(long, default_value = "auto", value_name = "DIALECT")]
    pub dialect: Dialect,
    /// Rater of entries that name none [default: the host of --listen]
    #[arg(long, value_name = "NAME")]
    pub rater: Option<String>,
    /// Answer only who has a key of this file: lines NAME KEY or USER:PASSWORD; read again when it changes
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub keys: Option<PathBuf>,
    /// Take keys in clear text from elsewhere than the loopback, as when TLS ends at another host
    #[arg(long, requires = "keys")]
    pub keys_in_clear_text: bool,
    /// Certificate chain, PEM, leaf first
    #[arg(long, value_name = "FILE", requires = "key", value_hint = ValueHint::FilePath)]
    pub cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "cert", value_hint = ValueHint::FilePath)]
    pub key: Option<PathBuf>,
    /// Leave out what answers about email-id have for OpenDKIM, where Accept names no media type of reputons
    #[arg(long)]
    pub no_opendkim: bool,
    /// Also answer many queries in one request, at /batch; this is no REPUTE
    #[arg(long)]
    pub batch: bool,
    /// Prometheus text at /metrics, also /healthz and /readyz
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics: Option<HostPort>,
    /// Requests a second of one address, or of one key with --keys; 0 does not limit
    #[arg(long, default_value_t = 0, value_name = "N", help_heading = "Limits")]
    pub rate: u32,
    /// Connections at one time
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..), value_name = "N", help_heading = "Limits")]
    pub max_connections: u32,
}

impl ReputeServeArgs {
    /// Makes relative paths start at `base`.
    pub fn rebase(&mut self, base: &Path) {
        self.data.rebase(base);
        for path in [&mut self.data_password_file, &mut self.keys, &mut self.cert, &mut self.key].into_iter().flatten()
        {
            *path = base.join(&*path);
        }
    }
}

/// `repute query`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct ReputeQueryArgs {
    /// Rater to ask: `HOST[:PORT]`, `http[s]://[USER:PASSWORD@]HOST[:PORT]`, or a DNSBL as `dnsbl:ZONE[@SERVER[:PORT]]`;
    /// may be given again, then all are asked at once and what they say is combined
    #[arg(long, value_name = "RATER", required = true)]
    pub service: Vec<String>,
    /// How raters are reached that do not say
    #[arg(long, value_enum, default_value_t, value_name = "SCHEME")]
    pub scheme: WebScheme,
    /// Whose vocabulary
    #[arg(long, default_value = "email-id", value_name = "NAME")]
    pub application: String,
    /// About whom: a name or an address
    #[arg(long, value_name = "SUBJECT", required_unless_present = "input")]
    pub subject: Option<String>,
    /// A subject in each line; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "subject", value_hint = ValueHint::FilePath)]
    pub input: Option<PathBuf>,
    /// What is said; may be given again [default: everything]
    #[arg(long, value_name = "NAME")]
    pub assertion: Vec<String>,
    /// Which identity of a message the subject is: dkim, ipv4, ipv6, rfc5321.helo, rfc5321.mailfrom, rfc5322.from, spf
    #[arg(long, value_name = "IDENTITY")]
    pub identity: Option<Identity>,
    /// In whose words raters are asked: auto, rfc7072 or draft2012
    #[arg(long, default_value = "auto", value_name = "DIALECT")]
    pub dialect: Dialect,
    /// Say who said what, and what it weighs
    #[arg(long)]
    pub explain: bool,
    /// Give up after this long; what has come by then counts
    #[arg(long, default_value = "10s", value_name = "SPAN")]
    pub timeout: Span,
    /// How much a rater counts, as in rep.example.net=0.5 [default: 1.0]
    #[arg(long, value_name = "RATER=N")]
    pub trust: Vec<TrustRule>,
    /// What the codes of a DNSBL mean, as in malware=127.0.0.4; may be given again [default: those of `repute dnsbl`];
    /// others mean spam
    #[arg(long, value_name = "ASSERTION=ADDRESS")]
    pub code: Vec<CodeRule>,
    /// Subjects that are good whatever raters say, one in each line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub allow_list: Option<PathBuf>,
    /// Subjects that are bad whatever raters say, one in each line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub deny_list: Option<PathBuf>,
    /// Certificate authorities that may vouch for raters, PEM [default: the system's]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ca: Option<PathBuf>,
    /// First line is a key that a rater wants, sent to it alone as `Authorization: Bearer`; may be given again. RATER
    /// can be left out where there is one --service
    #[arg(long, value_name = "[RATER=]FILE")]
    pub key_file: Vec<KeyRule>,
    /// Send keys and passwords over http too, where everybody on the way can read them
    #[arg(long)]
    pub credentials_in_clear_text: bool,
}

/// How a rater is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum WebScheme {
    /// In clear text.
    #[default]
    Http,
    /// Over TLS.
    Https,
}

/// How much a rater counts: `RATER=N`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TrustRule {
    /// The rater, as it is named by --service.
    pub service: String,
    /// From 0.0 up.
    pub trust: f64,
}

impl std::str::FromStr for TrustRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "write RATER=N, as in rep.example.net=0.5, where N is from 0 to 1000";
        let (service, trust) = text.rsplit_once('=').ok_or(wanted)?;
        let trust: f64 = trust.parse().map_err(|_| wanted)?;
        if service.is_empty() || !(0.0..=1000.0).contains(&trust) {
            return Err(wanted.into());
        }
        Ok(Self { service: service.to_owned(), trust })
    }
}

/// Who gets a key: `RATER=FILE`, or a file alone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyRule {
    /// The rater, as it is named by --service; `None` is the only one.
    pub service: Option<String>,
    /// The file whose first line is the key.
    pub file: PathBuf,
}

impl std::str::FromStr for KeyRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (service, file) = text.split_once('=').map_or((None, text), |(service, file)| (Some(service), file));
        if file.is_empty() || service == Some("") {
            return Err("write RATER=FILE, as in rep.example.net=key.txt, or FILE".into());
        }
        Ok(Self { service: service.map(str::to_owned), file: file.into() })
    }
}

/// `repute import`
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("source").required(true))]
#[allow(clippy::exhaustive_structs)]
pub struct ImportArgs {
    /// Where the entries go: FILE.ndjson, sqlite:PATH or postgres://USER@HOST/DATABASE; made when missing
    #[arg(long, value_name = "URL", value_hint = ValueHint::AnyPath)]
    pub store: DataUrl,
    /// First line is the password of PostgreSQL [default: the variable PGPASSWORD]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub store_password_file: Option<PathBuf>,
    /// An entry in each line, as `repute serve` reads them; `-` is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, group = "source")]
    pub ndjson: Option<PathBuf>,
    /// A table whose first line names the members: rated, rating, confidence, ...
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, group = "source")]
    pub csv: Option<PathBuf>,
    /// A zone of rbldnsd
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, group = "source")]
    pub dnsbl_zone: Option<PathBuf>,
    /// A warning list of MISP: what is known to be good
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, group = "source")]
    pub misp: Option<PathBuf>,
    /// How the zone is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT", conflicts_with_all = ["ndjson", "csv", "misp"])]
    pub format: ZoneFormat,
    /// The application, where the source names none
    #[arg(long, default_value = "email-id", value_name = "NAME")]
    pub application: String,
    /// The assertion, where the source names none
    #[arg(long, default_value = "spam", value_name = "NAME")]
    pub assertion: String,
    /// The rater, where the source names none
    #[arg(long, default_value = "", value_name = "NAME", hide_default_value = true)]
    pub rater: String,
    /// The rating, where the source has none [default: 1.0, and 0.0 for --misp]
    #[arg(long, value_name = "0..1")]
    pub rating: Option<f64>,
    /// The confidence, where the source has none
    #[arg(long, value_name = "0..1")]
    pub confidence: Option<f64>,
    /// How long entries are good that do not say
    #[arg(long, value_name = "SPAN")]
    pub expires_in: Option<Span>,
    /// Which codes of the zone mean which assertion, as in malware=127.0.0.4; may be given again
    #[arg(long, value_name = "ASSERTION=ADDRESS", conflicts_with_all = ["ndjson", "csv", "misp"])]
    pub code: Vec<CodeRule>,
    /// First remove what the store has of --application and --rater: what is no longer listed goes
    #[arg(long)]
    pub replace: bool,
}

/// How a zone of rbldnsd is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum ZoneFormat {
    /// Seen from each line: an IPv4 address, network or range, an IPv6 address or network, or a name; a file that begins
    /// with `$ORIGIN` or an SOA record is a master file.
    #[default]
    Auto,
    /// IPv4 addresses, networks and ranges.
    Ip4set,
    /// IPv4 networks, of which the longest counts.
    Ip4trie,
    /// IPv6 networks, of which the longest counts.
    Ip6trie,
    /// Names.
    Dnset,
    /// Names with A and TXT records.
    Generic,
    /// A zone as BIND and other name servers read it.
    Master,
}

/// `repute dnsbl`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct DnsblArgs {
    /// Answer DNS here, over UDP and TCP; may be given again
    #[arg(long, value_name = "HOST:PORT", required = true)]
    pub listen: Vec<HostPort>,
    /// Where the entries are: FILE.ndjson, FILE.json, sqlite:PATH or postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "URL", value_hint = ValueHint::AnyPath)]
    pub store: DataUrl,
    /// First line is the password of PostgreSQL [default: the variable PGPASSWORD]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub store_password_file: Option<PathBuf>,
    /// Zone in which the list answers; may be given again
    #[arg(long, value_name = "NAME", required = true)]
    pub zone: Vec<String>,
    /// What is answered for which assertion, from which rating on; may be given again, the highest rating that is
    /// reached counts [default: spam:0.5=127.0.0.2 fraud:0.5=127.0.0.3 malware:0.5=127.0.0.4 abusive:0.5=127.0.0.5
    /// invalid-recipients:0.5=127.0.0.6]
    #[arg(long, value_name = "ASSERTION[:RATING]=ADDRESS")]
    pub code: Vec<CodeRule>,
    /// What TXT records say; {subject}, {assertion}, {rating} and {rater} are put in
    #[arg(long, default_value = "{subject}: {assertion} {rating}", value_name = "TEXT")]
    pub text: String,
    /// Name server in NS and SOA records; may be given again [default: the zone's own name, in SOA alone]
    #[arg(long, value_name = "NAME")]
    pub ns: Vec<String>,
    /// How long an answer may be kept
    #[arg(long, default_value = "35m", value_name = "SPAN")]
    pub ttl: Span,
    /// How long it may be remembered that something is not listed
    #[arg(long, default_value = "15m", value_name = "SPAN")]
    pub negative_ttl: Span,
    /// Leave out the test entries of RFC 5782 (127.0.0.2, ::ffff:7f00:2, TEST)
    #[arg(long)]
    pub no_test_entries: bool,
    /// Prometheus text at /metrics, also /healthz and /readyz
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics: Option<HostPort>,
    /// Responses a second for one network (IPv4 /24, IPv6 /56) over UDP; 0 does not limit
    #[arg(long, default_value_t = 1_000, value_name = "N", help_heading = "Limits")]
    pub rate: u32,
    /// Threads that answer over UDP, for each address
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64), value_name = "N", help_heading = "Limits")]
    pub threads: u32,
    /// Connections over TCP at one time
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..), value_name = "N", help_heading = "Limits")]
    pub max_connections: u32,
}

impl DnsblArgs {
    /// Makes relative paths start at `base`.
    pub fn rebase(&mut self, base: &Path) {
        self.store.rebase(base);
        if let Some(file) = &mut self.store_password_file {
            *file = base.join(&*file);
        }
    }
}

/// `repute template`
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum TemplateCommand {
    /// Say what is wrong or unwise about a template for a REPUTE service
    Lint(LintArgs),
    /// Print the URI of a template (RFC 6570) with these values
    Expand(ExpandArgs),
}

/// `repute template lint`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct LintArgs {
    /// The template
    #[arg(value_name = "TEMPLATE")]
    pub template: String,
}

/// `repute template expand`
#[derive(Debug, Clone, Args)]
#[allow(clippy::exhaustive_structs)]
pub struct ExpandArgs {
    /// The template
    #[arg(value_name = "TEMPLATE")]
    pub template: String,
    /// Values of variables; they win over those of --vars
    #[arg(value_name = "NAME=VALUE")]
    pub values: Vec<String>,
    /// A JSON object of strings, lists and maps; `-` is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub vars: Option<PathBuf>,
}
