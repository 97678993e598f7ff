//! `run --config FILE.toml`: any set of services in one file.
//!
//! ```toml
//! log-format = "json"            # as the flag
//! metrics = "127.0.0.1:9464"     # one address for all services of the file
//!
//! [console]                      # a page for browsers; beyond the loopback only with a token
//! listen = "127.0.0.1:7080"
//!
//! [[iap.manager]]                # one table per service; a single one may be written [iap.manager]
//! listen = ["0.0.0.0:7000"]      # keys are the flags' names; flags that may be given again take arrays
//! cert = "manager.pem"           # relative paths start at the file's folder
//! key = "manager.key"
//! ca = "ca.pem"
//! store = "sqlite:alerts.db"
//! ```
//!
//! A table is turned into the flags it names and read by the very parser of the command line. So keys, values,
//! defaults, and what contradicts what cannot differ between the two.

mod check;
mod source;

use std::fmt;
use std::path::{Path, PathBuf};

use clap::{ArgAction, Args, FromArgMatches, ValueEnum as _};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::cli::{
    BrokerArgs, CaArgs, CallHomeClientArgs, CallHomeServerArgs, ConsoleArgs, DnsArgs, DnsblArgs, IdoArgs, LogFormat,
    ManagerArgs, NdcArgs, ProxyArgs, RelayArgs, ReputeServeArgs, SensorArgs,
};
use crate::exit::{Failure, file_failure};
use crate::values::{HostPort, has_scheme};
use source::Source;

pub use check::check;
pub(crate) use check::{Proto, sockets};

/// A configuration file is not read beyond this many octets.
const FILE_LIMIT: u64 = 4 << 20;

/// A whole configuration file.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// How log lines look; the flag wins.
    pub log_format: Option<LogFormat>,
    /// Where metrics of the whole process are served.
    pub metrics: Option<HostPort>,
    /// The page for browsers.
    pub console: Option<Box<ConsoleArgs>>,
    /// The services, in the order of the file within each kind.
    pub services: Vec<Service>,
}

/// One service and where it stands in the file.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Service {
    /// Its flags.
    pub args: ServiceArgs,
    /// `FILE:LINE` of its table, for errors found later; empty when it comes from the command line.
    pub place: String,
    /// Of its kind and its flags: two services with the same one are the same service.
    pub identity: Identity,
    /// Where its table names which files.
    named: Vec<Named>,
}

/// A file that a value may name, and where the value stands.
#[derive(Debug, Clone)]
struct Named {
    path: PathBuf,
    /// `FILE:LINE:COLUMN: KEY`.
    place: String,
}

/// A hash of what a table of the file says, whatever the order of its keys and its place.
///
/// It is a hash and not the flags themselves because URLs in them may hold passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity([u8; 32]);

impl Identity {
    /// `argv` are flags as `--name=value`.
    fn new(dotted: &str, mut argv: Vec<String>) -> Self {
        use sha2::Digest as _;
        // What is given again keeps its order.
        argv.sort_by(|a, b| a.split('=').next().cmp(&b.split('=').next()));
        let mut hash = sha2::Sha256::new();
        for word in std::iter::once(dotted).chain(argv.iter().map(String::as_str)) {
            hash.update((word.len() as u64).to_be_bytes());
            hash.update(word);
        }
        Self(hash.finalize().into())
    }
}

impl Service {
    /// What readiness and the log call it: its name, and where it stands in the file.
    pub fn label(&self) -> String {
        let name = self.args.name();
        if self.place.is_empty() { name.to_owned() } else { format!("{name} ({})", self.place) }
    }

    /// Says of something that is wrong with the service where the configuration names it: the value if it is found, else
    /// the table.
    fn locate(&self, failure: Failure) -> Failure {
        let place = failure.place().unwrap_or_default().to_owned();
        let is_it = |path: &Path| {
            let rest = place.strip_prefix(&*path.to_string_lossy());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        };
        let file = self.named.iter().find(|named| is_it(&named.path));
        // What is missing may be its folder.
        let found = file.or_else(|| self.named.iter().find(|named| named.path.parent().is_some_and(is_it)));
        failure.within(found.map_or(&self.place, |named| &named.place))
    }
}

impl From<ServiceArgs> for Service {
    /// A service of the command line: it has no place in a file.
    fn from(args: ServiceArgs) -> Self {
        Self { args, place: String::new(), identity: Identity([0; 32]), named: Vec::new() }
    }
}

/// The flags of one service.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ServiceArgs {
    /// `iap manager`
    IapManager(Box<ManagerArgs>),
    /// `iap sensor`
    IapSensor(Box<SensorArgs>),
    /// `iap proxy`
    IapProxy(Box<ProxyArgs>),
    /// `obp broker`
    ObpBroker(Box<BrokerArgs>),
    /// `obp dns`
    ObpDns(Box<DnsArgs>),
    /// `repute serve`
    ReputeServe(Box<ReputeServeArgs>),
    /// `repute dnsbl`
    ReputeDnsbl(Box<DnsblArgs>),
    /// `lurk relay`
    LurkRelay(Box<RelayArgs>),
    /// `lurk ca`
    LurkCa(Box<CaArgs>),
    /// `lurk ido`
    LurkIdo(Box<IdoArgs>),
    /// `lurk ndc`
    LurkNdc(Box<NdcArgs>),
    /// `dots call-home-client`
    DotsClient(Box<CallHomeClientArgs>),
    /// `dots call-home-server`
    DotsServer(Box<CallHomeServerArgs>),
}

impl ServiceArgs {
    /// The name in listening lines and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::IapManager(_) => "iap manager",
            Self::IapSensor(_) => "iap sensor",
            Self::IapProxy(_) => "iap proxy",
            Self::ObpBroker(_) => "obp broker",
            Self::ObpDns(_) => "obp dns",
            Self::ReputeServe(_) => "repute serve",
            Self::ReputeDnsbl(_) => "repute dnsbl",
            Self::LurkRelay(_) => "lurk relay",
            Self::LurkCa(_) => "lurk ca",
            Self::LurkIdo(_) => "lurk ido",
            Self::LurkNdc(_) => "lurk ndc",
            Self::DotsClient(_) => "dots call-home-client",
            Self::DotsServer(_) => "dots call-home-server",
        }
    }

    /// Makes relative paths start at `base`.
    fn rebase(&mut self, base: &Path) {
        match self {
            Self::IapManager(args) => args.rebase(base),
            Self::IapSensor(args) => args.rebase(base),
            Self::IapProxy(_) => {}
            Self::ObpBroker(args) => args.rebase(base),
            Self::ObpDns(args) => args.rebase(base),
            Self::ReputeServe(args) => args.rebase(base),
            Self::ReputeDnsbl(args) => args.rebase(base),
            Self::LurkRelay(args) => args.rebase(base),
            Self::LurkCa(args) => args.rebase(base),
            Self::LurkIdo(args) => args.rebase(base),
            Self::LurkNdc(args) => args.rebase(base),
            Self::DotsClient(args) => args.rebase(base),
            Self::DotsServer(args) => args.rebase(base),
        }
    }
}

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The key, dotted; empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Config {
    /// Nothing but these services.
    pub fn of(services: Vec<Service>) -> Self {
        Self { log_format: None, metrics: None, console: None, services }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file.display(), self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.what)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let place = format!("{}:{}:{}", problem.file.display(), problem.line, problem.column);
        let what = if problem.key.is_empty() { problem.what } else { format!("{}: {}", problem.key, problem.what) };
        let failure = Self::usage(what).at(place);
        if problem.remedy.is_empty() { failure } else { failure.remedy(problem.remedy) }
    }
}

/// Reads a file.
///
/// # Errors
/// When it cannot be read at all.
pub fn load(path: &Path) -> Result<Result<Config, Vec<Problem>>, Failure> {
    use std::io::Read as _;
    let mut octets = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_LIMIT + 1).read_to_end(&mut octets))
        .map_err(|error| file_failure("read the configuration", path, &error))?;
    if octets.len() as u64 > FILE_LIMIT {
        return Err(Failure::usage(format!("larger than {FILE_LIMIT} octets: not a configuration")).at(path.display()));
    }
    let text = String::from_utf8(octets).map_err(|error| {
        Failure::usage(format!("not UTF-8 at octet {}", error.utf8_error().valid_up_to()))
            .at(path.display())
            .remedy("save it as UTF-8")
    })?;
    Ok(parse(path, &text))
}

/// Reads a file and takes the first problem, if any, as the failure.
///
/// # Errors
/// Unreadable or wrong.
pub fn load_or_fail(path: &Path) -> Result<Config, Failure> {
    load(path)?.map_err(|problems| match problems.into_iter().next() {
        Some(problem) => problem.into(),
        None => Failure::usage("invalid configuration").at(path.display()),
    })
}

/// Reads the text of a file; `path` is for messages, and its folder is where relative paths start.
///
/// # Errors
/// Everything that is wrong, in the order of the text; the first mistake of each service's table.
pub fn parse(path: &Path, text: &str) -> Result<Config, Vec<Problem>> {
    let source = Source::new(path, text);
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        vec![source.problem(at, "", error.message(), "this is not TOML")]
    })?;
    let mut reader = Reader { source, problems: Vec::new(), services: Vec::new() };
    let config = reader.root(table.get_ref());
    if reader.problems.is_empty() {
        return Ok(Config { services: reader.services, ..config });
    }
    reader.problems.sort_by_key(|problem| (problem.line, problem.column));
    Err(reader.problems)
}

const ROOT_KEYS: [&str; 8] = ["log-format", "metrics", "console", "iap", "obp", "repute", "dots", "lurk"];

/// The services of each family.
const FAMILIES: [(&str, &[&str]); 5] = [
    ("iap", &["manager", "sensor", "proxy"]),
    ("obp", &["broker", "dns"]),
    ("repute", &["serve", "dnsbl"]),
    ("lurk", &["relay", "ca", "ido", "ndc"]),
    ("dots", &["call-home-client", "call-home-server"]),
];

struct Reader<'a> {
    source: Source<'a>,
    problems: Vec<Problem>,
    services: Vec<Service>,
}

impl Reader<'_> {
    fn root(&mut self, table: &DeTable<'_>) -> Config {
        let mut config = Config::of(Vec::new());
        for (key, value) in table {
            let at = value.span().start;
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("log-format", DeValue::String(text)) => match LogFormat::from_str(text, false) {
                    Ok(format) => config.log_format = Some(format),
                    Err(_) => self.problem(at, "log-format", "unknown format", "write \"text\" or \"json\""),
                },
                ("metrics", DeValue::String(text)) => match text.parse() {
                    Ok(addr) => config.metrics = Some(addr),
                    Err(error) => self.problem(at, "metrics", &format!("`{text}`: {error}"), ""),
                },
                (name @ ("log-format" | "metrics"), other) => {
                    self.problem(at, name, &format!("must be a string, not {}", kind(other)), "put it in quotes");
                }
                ("console", DeValue::Table(table)) => {
                    let args = self.flags::<ConsoleArgs>("console", at, table).map(|(mut args, _)| {
                        args.rebase(self.source.folder());
                        Box::new(args)
                    });
                    config.console = args;
                }
                ("console", other) => {
                    self.problem(at, "console", &format!("must be a table, not {}", kind(other)), "write [console]");
                }
                (name, value) => match (FAMILIES.iter().find(|(family, _)| *family == name), value) {
                    (Some((family, services)), DeValue::Table(table)) => self.family(family, services, table),
                    (Some((family, services)), other) => {
                        let remedy = format!("write [[{family}.{}]]", services[0]);
                        self.problem(at, family, &format!("must be a table, not {}", kind(other)), &remedy);
                    }
                    (None, _) => self.unknown(key.span().start, name, name, &ROOT_KEYS),
                },
            }
        }
        if self.services.is_empty() && self.problems.is_empty() {
            self.problem(0, "", "no service", "add a table such as [[iap.manager]]");
        }
        config
    }

    fn family(&mut self, family: &str, services: &[&str], table: &DeTable<'_>) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let dotted = format!("{family}.{name}");
            if !services.contains(&name) {
                self.unknown(key.span().start, &dotted, name, services);
                continue;
            }
            match value.get_ref() {
                DeValue::Table(inner) => self.service(&dotted, value.span().start, inner),
                DeValue::Array(list) => {
                    for entry in list.iter() {
                        match entry.get_ref() {
                            DeValue::Table(inner) => self.service(&dotted, entry.span().start, inner),
                            other => self.problem(
                                entry.span().start,
                                &dotted,
                                &format!("must be a table, not {}", kind(other)),
                                &format!("write [[{dotted}]]"),
                            ),
                        }
                    }
                }
                other => self.problem(
                    value.span().start,
                    &dotted,
                    &format!("must be a table, not {}", kind(other)),
                    &format!("write [[{dotted}]]"),
                ),
            }
        }
    }

    fn service(&mut self, dotted: &str, at: usize, table: &DeTable<'_>) {
        macro_rules! flags {
            ($kind:ident) => {
                self.flags(dotted, at, table).map(|(args, identity)| (ServiceArgs::$kind(Box::new(args)), identity))
            };
        }
        let read = match dotted {
            "iap.manager" => flags!(IapManager),
            "iap.sensor" => flags!(IapSensor),
            "iap.proxy" => flags!(IapProxy),
            "obp.broker" => flags!(ObpBroker),
            "obp.dns" => flags!(ObpDns),
            "repute.serve" => flags!(ReputeServe),
            "repute.dnsbl" => flags!(ReputeDnsbl),
            "dots.call-home-client" => flags!(DotsClient),
            "dots.call-home-server" => flags!(DotsServer),
            "lurk.relay" => flags!(LurkRelay),
            "lurk.ca" => flags!(LurkCa),
            "lurk.ido" => flags!(LurkIdo),
            // The last of `FAMILIES`.
            _ => flags!(LurkNdc),
        };
        let Some((mut args, identity)) = read else { return };
        args.rebase(self.source.folder());
        let place = format!("{}:{}", self.source.path().display(), self.source.line_column(at).0);
        let named = self.named(dotted, table);
        self.services.push(Service { args, place, identity, named });
    }

    /// The values of a table that may name a file, `SCHEME:PATH` too. URLs are left out: they may have passwords.
    fn named(&self, dotted: &str, table: &DeTable<'_>) -> Vec<Named> {
        let mut named = Vec::new();
        for (key, value) in table {
            let texts = match value.get_ref() {
                DeValue::Array(list) => list.iter().collect(),
                _ => vec![value],
            };
            for value in texts {
                let DeValue::String(text) = value.get_ref() else { continue };
                let (line, column) = self.source.line_column(value.span().start);
                let place = format!("{}:{line}:{column}: {dotted}.{}", self.source.path().display(), key.get_ref());
                let path =
                    text.split_once(':').filter(|_| has_scheme(text)).map_or_else(|| text.as_ref(), |(_, path)| path);
                if !text.contains("://") {
                    named.push(Named { path: self.source.folder().join(path), place });
                }
            }
        }
        named
    }

    /// The table as flags, read by the command line's parser; and what they are together.
    fn flags<A: Args + FromArgMatches>(
        &mut self,
        dotted: &str,
        at: usize,
        table: &DeTable<'_>,
    ) -> Option<(A, Identity)> {
        let command = A::augment_args(clap::Command::new("watchfire run").no_binary_name(true).disable_help_flag(true));
        let known: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
        let before = self.problems.len();
        let mut argv = Vec::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let full = format!("{dotted}.{name}");
            match command.get_arguments().find(|arg| arg.get_long() == Some(name)) {
                Some(arg) => self.flag(&full, arg, value, &mut argv),
                None => self.unknown(key.span().start, &full, name, &known),
            }
        }
        if self.problems.len() > before {
            return None;
        }
        let parsed = command.try_get_matches_from(&argv).and_then(|matches| A::from_arg_matches(&matches));
        let args = parsed.map_err(|error| self.mistake(dotted, at, table, &error)).ok()?;
        Some((args, Identity::new(dotted, argv)))
    }

    fn flag(&mut self, full: &str, arg: &clap::Arg, value: &Spanned<DeValue<'_>>, argv: &mut Vec<String>) {
        let long = arg.get_long().unwrap_or_default();
        let at = value.span().start;
        if matches!(arg.get_action(), ArgAction::SetTrue) {
            match value.get_ref() {
                DeValue::Boolean(true) => argv.push(format!("--{long}")),
                DeValue::Boolean(false) => {}
                other => {
                    self.problem(at, full, &format!("must be true or false, not {}", kind(other)), "remove the quotes")
                }
            }
            return;
        }
        let many = matches!(arg.get_action(), ArgAction::Append);
        match value.get_ref() {
            DeValue::Array(list) if many => {
                for entry in list.iter() {
                    match scalar(entry.get_ref()) {
                        Some(text) => argv.push(format!("--{long}={text}")),
                        None => self.problem(entry.span().start, full, "must be a string or number", ""),
                    }
                }
            }
            other => match scalar(other) {
                Some(text) => argv.push(format!("--{long}={text}")),
                None if many => {
                    self.problem(at, full, &format!("must be an array of strings, not {}", kind(other)), "")
                }
                None => self.problem(at, full, &format!("must be a string or number, not {}", kind(other)), ""),
            },
        }
    }

    /// Finds the place in the file that clap complains about.
    fn mistake(&mut self, dotted: &str, at: usize, table: &DeTable<'_>, error: &clap::Error) {
        use clap::error::{ContextKind, ContextValue};
        let named = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => vec![text.clone()],
            Some(ContextValue::Strings(list)) => list.clone(),
            _ => Vec::new(),
        };
        let long = |text: &String| {
            text.trim_start_matches("--")
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
                .next()
                .map(str::to_owned)
        };
        let args: Vec<String> = named(ContextKind::InvalidArg).iter().filter_map(long).collect();
        let bad_value = named(ContextKind::InvalidValue).into_iter().next();
        let entry = args.first().and_then(|key| table.iter().find(|(name, _)| name.get_ref().as_ref() == key));
        let place = entry.map_or(at, |(_, value)| match (value.get_ref(), &bad_value) {
            (DeValue::Array(list), Some(bad)) => list
                .iter()
                .find(|entry| scalar(entry.get_ref()).as_deref() == Some(bad))
                .map_or_else(|| value.span().start, |entry| entry.span().start),
            _ => value.span().start,
        });
        let key = match (entry, args.first()) {
            (Some(_), Some(key)) => format!("{dotted}.{key}"),
            _ => dotted.to_owned(),
        };
        let reason = std::error::Error::source(error).map(ToString::to_string);
        let (what, remedy) = match error.kind() {
            clap::error::ErrorKind::MissingRequiredArgument => {
                let list: Vec<String> = named(ContextKind::InvalidArg)
                    .iter()
                    .map(|text| {
                        text.split(['<', '>', '|'])
                            .map(str::trim)
                            .filter(|t| t.starts_with("--"))
                            .map(|t| t.trim_start_matches("--").to_owned())
                            .collect::<Vec<_>>()
                            .join(" or ")
                    })
                    .collect();
                (format!("missing: {}", list.join(", ")), "add the key".to_owned())
            }
            clap::error::ErrorKind::ArgumentConflict => {
                let prior: Vec<String> = named(ContextKind::PriorArg).iter().filter_map(long).collect();
                (format!("cannot be used with {}", prior.join(", ")), "remove one of them".to_owned())
            }
            _ => match (reason, bad_value) {
                (Some(reason), Some(bad)) => (format!("`{bad}` is wrong"), reason),
                (None, Some(bad)) => {
                    let values = named(ContextKind::ValidValue);
                    (
                        format!("`{bad}` is wrong"),
                        if values.is_empty() { String::new() } else { format!("write one of {}", values.join(", ")) },
                    )
                }
                _ => (crate::exit::clap_failure(error).to_string(), String::new()),
            },
        };
        self.problem(place, &key, &what, &remedy);
    }

    fn problem(&mut self, at: usize, key: &str, what: &str, remedy: &str) {
        self.problems.push(self.source.problem(at, key, what, remedy));
    }

    fn unknown(&mut self, at: usize, full: &str, name: &str, known: &[&str]) {
        let remedy = match source::nearest(name, known) {
            Some(best) => format!("did you mean `{best}`?"),
            None => format!("known are {}", known.join(", ")),
        };
        self.problem(at, full, "unknown key", &remedy);
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.as_ref().to_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        _ => None,
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests;
