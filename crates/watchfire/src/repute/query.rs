//! `repute query`: asks raters, and puts together what they say.

use std::io::BufRead as _;
use std::path::Path;

use futures_util::StreamExt as _;
use repute_hyper::client::{Access, Address, Client, ClientError, Panel};
use repute_proto::client::{ClientConfig, ExchangeFailure, NoData, QueryError, TemplateProblem};
use repute_proto::panel::{Standing, combine};
use repute_proto::wire::Digits;
use repute_proto::{
    Application, Applications, List, LocalLists, Policy, Query, Rater, Reputon, Scheme, Service, SubjectSyntax,
    Verdict, Weighing,
};
use zeroize::Zeroizing;

use super::blocklist::Blocklist;
use super::codes::Codes;
use super::serve::wall;
use crate::cli::{ReputeQueryArgs, WebScheme};
use crate::exit::{Blame, Failure, file_failure};
use crate::progress::Progress;
use crate::{https, out};

/// Questions of a batch that are under way at one time.
const TOGETHER: usize = 64;

/// Octets of the longest line of a batch.
const LINE: u64 = 4_096;

/// Runs the command.
///
/// # Errors
/// No data (exit 1), no answer (3), an answer that is none (4), or a question that is none (2).
pub async fn run(args: &ReputeQueryArgs, json: bool) -> Result<(), Failure> {
    let asker = Asker::start(args)?;
    match (&args.subject, &args.input) {
        (Some(subject), _) => {
            let finding = asker.ask(subject).await?;
            asker.print(&finding, json)?;
            finding.end()
        }
        (None, Some(path)) => asker.batch(path, json).await,
        (None, None) => Err(Failure::usage("no subject").remedy("give --subject, or --input for many")),
    }
}

/// A rater that is asked.
#[derive(Debug, Clone)]
enum Source {
    Repute(Address),
    Dnsbl(Blocklist),
}

/// Asks the same raters any number of questions.
#[derive(Debug)]
pub struct Asker {
    args: ReputeQueryArgs,
    sources: Vec<Source>,
    applications: Applications,
    lists: LocalLists,
    codes: Codes,
    panel: Option<Panel>,
}

/// What came of one question.
#[derive(Debug)]
#[non_exhaustive]
pub struct Finding {
    /// The question.
    pub query: Query,
    /// What the raters say together.
    pub verdict: Verdict,
    /// Those of the opinions that are no reputons, as the panel has them.
    asked: Option<Verdict>,
    /// What the system, TLS or HTTP said about services that could not be asked.
    troubles: Vec<(Service, String)>,
    /// Whether several were asked, so that what counts is what they say together.
    is_combined: bool,
    /// What the lists said.
    lists: Vec<(Blocklist, Result<Vec<Reputon<'static>>, Failure>)>,
}

impl Asker {
    /// Reads all files, and connects to nobody yet.
    ///
    /// # Errors
    /// A service, file or name that is none.
    pub fn start(args: &ReputeQueryArgs) -> Result<Self, Failure> {
        let sources: Vec<Source> =
            args.service.iter().map(|text| source(text, args.scheme)).collect::<Result<_, _>>()?;
        let mut applications = Applications::default();
        if applications.find(&args.application).is_none() {
            let application = Application::new(args.application.clone(), SubjectSyntax::Free, Vec::new());
            let application = application.map_err(|error| Failure::usage(error.to_string()).at("--application"))?;
            applications.add(application).map_err(|error| Failure::usage(error.to_string()).at("--application"))?;
        }
        let mut lists = LocalLists::new();
        if let Some(application) = applications.find(&args.application) {
            for (path, list) in [(&args.allow_list, List::Allow), (&args.deny_list, List::Deny)] {
                let Some(path) = path else { continue };
                let octets =
                    crate::pki::read_bounded(path).map_err(|error| file_failure("read the list", path, &error))?;
                for (number, line) in String::from_utf8_lossy(&octets).lines().enumerate() {
                    let line = line.trim();
                    if !line.is_empty() && !line.starts_with('#') {
                        let place = || format!("{}:{}", path.display(), number + 1);
                        let added = lists.add(application, line, list);
                        added.map_err(|error| Failure::usage(error.to_string()).at(place()))?;
                    }
                }
            }
        }
        let panel = panel(args, &sources, &lists)?;
        let codes = Codes::new(&args.code);
        Ok(Self { args: args.clone(), sources, applications, lists, codes, panel })
    }

    fn query(&self, subject: &str) -> Result<Query, Failure> {
        let mut query = Query::builder(&self.args.application, subject);
        for assertion in &self.args.assertion {
            query = query.assertion(assertion);
        }
        if let Some(identity) = self.args.identity {
            query = query.identity(identity);
        }
        query.build(&self.applications).map_err(|error| Failure::usage(error.to_string()).at(format!("{subject:?}")))
    }

    /// Asks all raters about a subject.
    ///
    /// # Errors
    /// A subject that is none, or too many questions at once. Raters that fail are part of what is found.
    pub async fn ask(&self, subject: &str) -> Result<Finding, Failure> {
        let query = self.query(subject)?;
        let budget = self.args.timeout.0;
        let local = self.lists.find(&query).is_some();
        let lists = self.sources.iter().filter_map(|source| match source {
            Source::Dnsbl(list) if !local => Some(list.clone()),
            _ => None,
        });
        let ask_list = |list: Blocklist| {
            let query = &query;
            async move {
                let said = list.ask(query, &self.codes, budget, self.args.explain).await;
                (list, said)
            }
        };
        let asking = futures_util::future::join_all(lists.map(ask_list));
        let consulting = async {
            match &self.panel {
                Some(panel) => panel.consult(query.clone(), budget).await.map(Some),
                None => Ok(None),
            }
        };
        let (lists, asked) = tokio::join!(asking, consulting);
        let asked = asked.map_err(|error| client_failure(&error))?;
        let mut verdict = if lists.is_empty()
            && let Some(asked) = &asked
        {
            asked.clone()
        } else {
            let mut reputons = Vec::new();
            for opinion in asked.iter().flat_map(|asked| &asked.opinions) {
                if let Standing::Counted { reputon, .. } | Standing::Uncounted { reputon, .. } = &opinion.standing {
                    reputons.push((opinion.service.clone(), opinion.trust, reputon.clone()));
                }
            }
            for (list, said) in &lists {
                let Ok(service) = Service::new(Scheme::Https, &list.zone) else { continue };
                let said = said.iter().flatten();
                reputons.extend(said.map(|reputon| (service.clone(), self.trust(&list.to_string()), reputon.clone())));
            }
            combine(&query, reputons, &Weighing::default(), wall())
        };
        if let Some(asked) = &asked {
            verdict.local.clone_from(&asked.local);
            verdict.is_complete = asked.is_complete;
        }
        verdict.is_complete &= lists.iter().all(|(_, said)| said.is_ok());
        let mut troubles = Vec::new();
        for opinion in asked.iter().flat_map(|asked| &asked.opinions) {
            if let Standing::Failed(error) = &opinion.standing
                && is_below(error)
            {
                let trouble = self.panel.as_ref().and_then(|panel| panel.last_trouble(&opinion.service));
                troubles.extend(trouble.map(|trouble| (opinion.service.clone(), trouble)));
            }
        }
        Ok(Finding { query, verdict, asked, troubles, is_combined: self.sources.len() > 1, lists })
    }

    /// How many exchanges were made so far, of templates and of answers.
    pub fn exchanges(&self) -> u64 {
        let load = |panel: &Panel| panel.counters().exchanges.load(std::sync::atomic::Ordering::Relaxed);
        self.panel.as_ref().map_or(0, load)
    }

    fn trust(&self, service: &str) -> f64 {
        trust(&self.args, service)
    }

    /// Answers of many subjects, in their order.
    async fn batch(&self, path: &Path, json: bool) -> Result<(), Failure> {
        let (sender, lines) = tokio::sync::mpsc::channel::<Result<String, Failure>>(TOGETHER);
        let source = path.to_owned();
        tokio::task::spawn_blocking(move || {
            let read = subjects(&source, |subject| sender.blocking_send(Ok(subject)).is_ok());
            if let Err(failure) = read {
                let _ = sender.blocking_send(Err(failure));
            }
        });
        let progress = Progress::new(json, "asking", None);
        let lines =
            futures_util::stream::unfold(lines, |mut lines| async { lines.recv().await.map(|line| (line, lines)) });
        let mut findings = std::pin::pin!(
            lines
                .map(|line| async {
                    let subject = line?;
                    Ok::<_, Failure>((self.ask(&subject).await, subject))
                })
                .buffered(TOGETHER)
        );
        let mut worst: Option<Failure> = None;
        while let Some(next) = findings.next().await {
            let (finding, subject) = next?;
            progress.add(1);
            let ended = match finding {
                Ok(finding) => {
                    self.print(&finding, json)?;
                    if finding.is_silent() {
                        none(&finding.query.subject().to_string(), "no data", json)?;
                    }
                    finding.end()
                }
                Err(failure) => {
                    none(&subject, &failure.to_string(), json)?;
                    Err(failure)
                }
            };
            match ended {
                // That there is no data is an answer.
                Err(failure) if failure.blame() != Blame::PeerRefused && worst.is_none() => worst = Some(failure),
                _ => {}
            }
        }
        progress.finish();
        worst.map_or(Ok(()), Err)
    }

    /// Prints what was found: the reputons of one rater, what several say together, and with `--explain` who said what.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub fn print(&self, finding: &Finding, json: bool) -> Result<(), Failure> {
        let application = finding.query.application().name.clone();
        let subject = finding.query.subject().to_string();
        if let Some((list, entry)) = &finding.verdict.local {
            let word = if *list == List::Allow { "allowed" } else { "denied" };
            let object = serde_json::json!({ "event": "local", "rated": subject, "list": word, "entry": entry });
            return out::line(&if json {
                object.to_string()
            } else {
                format!("{subject}\t{word} by the local entry {entry}")
            });
        }
        if self.sources.len() > 1 {
            for (assertion, combined) in &finding.verdict.combined {
                out::line(&if json {
                    let object = serde_json::json!({
                        "application": application, "rater": "combined", "assertion": assertion, "rated": subject,
                        "rating": round(combined.rating), "opinions": combined.opinions,
                        "weight": round(combined.weight), "spread": round(combined.spread),
                    });
                    object.to_string()
                } else {
                    let (rating, opinions, spread) = (combined.rating, combined.opinions, combined.spread);
                    clean(&format!("{subject}\t{assertion}\t{rating:.3}\tof {opinions} opinions, spread {spread:.3}"))
                })?;
            }
        } else {
            for reputon in finding.reputons() {
                out::line(&if json {
                    let mut octets = Vec::new();
                    reputon.encode_line(Some(&application), Digits::AsReceived, &mut octets);
                    String::from_utf8_lossy(&octets).into_owned()
                } else {
                    clean(&format!("{subject}\t{}\t{}\t{}", reputon.assertion, reputon.rating, details(reputon)))
                })?;
            }
        }
        if self.args.explain { self.explain(finding, json) } else { Ok(()) }
    }

    fn explain(&self, finding: &Finding, json: bool) -> Result<(), Failure> {
        let line = |service: &str, standing: &str, said: Option<&Reputon<'_>>, weight: f64, why: &str| {
            let trust = self.trust(service);
            out::line(&if json {
                let reputon = said.map(|reputon| {
                    let mut octets = Vec::new();
                    reputon.encode_line(None, Digits::AsReceived, &mut octets);
                    serde_json::from_slice::<serde_json::Value>(&octets).unwrap_or_default()
                });
                let object = serde_json::json!({
                    "event": "opinion", "service": service, "trust": trust, "standing": standing,
                    "weight": round(weight), "why": why, "reputon": reputon,
                });
                object.to_string()
            } else {
                let said = said.map_or_else(String::new, |reputon| {
                    format!(": {} {} by {}, {}", reputon.assertion, reputon.rating, reputon.rater, details(reputon))
                });
                let why = if why.is_empty() { String::new() } else { format!(": {why}") };
                let weight = if standing == "counted" { format!(", weight {weight:.3}") } else { String::new() };
                clean(&format!("  {service} (trust {trust:.2}): {standing}{why}{said}{weight}"))
            })
        };
        for opinion in finding.asked.iter().flat_map(|asked| &asked.opinions) {
            let service = opinion.service.to_string();
            match &opinion.standing {
                Standing::Counted { reputon, weight } => line(&service, "counted", Some(reputon), *weight, "")?,
                Standing::Uncounted { reputon, reason } => line(&service, "uncounted", Some(reputon), 0.0, reason)?,
                Standing::NoData(NoData::NotFound) => line(&service, "no-data", None, 0.0, "not this application")?,
                Standing::NoData(NoData::Unusable) => line(&service, "no-data", None, 0.0, "nothing of it answers")?,
                Standing::NoData(_) => line(&service, "no-data", None, 0.0, "")?,
                Standing::Failed(error) => {
                    line(&service, "failed", None, 0.0, &finding.told(&opinion.service, error))?;
                }
                _ => line(&service, "pending", None, 0.0, "no answer in time")?,
            }
        }
        for (list, said) in &finding.lists {
            let service = list.to_string();
            match said {
                Ok(reputons) if reputons.is_empty() => line(&service, "no-data", None, 0.0, "not listed")?,
                Ok(reputons) => {
                    for reputon in reputons {
                        let weight = finding.weight(reputon, &list.zone);
                        line(&service, "counted", Some(reputon), weight, "")?;
                    }
                }
                Err(failure) => line(&service, "failed", None, 0.0, &failure.to_string())?,
            }
        }
        Ok(())
    }
}

impl Finding {
    /// Everything that was said, counted or not.
    pub fn reputons(&self) -> impl Iterator<Item = &Reputon<'static>> {
        self.verdict.opinions.iter().filter_map(|opinion| match &opinion.standing {
            Standing::Counted { reputon, .. } | Standing::Uncounted { reputon, .. } => Some(reputon),
            _ => None,
        })
    }

    fn weight(&self, said: &Reputon<'_>, zone: &str) -> f64 {
        let weight = self.verdict.opinions.iter().find_map(|opinion| match &opinion.standing {
            Standing::Counted { reputon, weight } if reputon == said && opinion.service.host() == zone => Some(*weight),
            _ => None,
        });
        weight.unwrap_or(0.0)
    }

    /// Why a service gave no answer, with what lies below it.
    fn told(&self, service: &Service, error: &QueryError) -> String {
        match self.troubles.iter().find(|(troubled, _)| troubled == service) {
            Some((_, trouble)) => format!("{error} ({trouble})"),
            None => error.to_string(),
        }
    }

    fn is_silent(&self) -> bool {
        let is_nothing =
            if self.is_combined { self.verdict.combined.is_empty() } else { self.reputons().next().is_none() };
        self.verdict.local.is_none() && is_nothing
    }

    /// How the command ends: with data it is done; without, somebody must have said that there is none.
    ///
    /// # Errors
    /// No data, or why there is no answer.
    pub fn end(&self) -> Result<(), Failure> {
        if !self.is_silent() {
            return Ok(());
        }
        let subject = self.query.subject();
        if self.reputons().next().is_some() {
            return Err(Failure::refused("nothing that was said has any weight").at(subject));
        }
        let nobody =
            if self.verdict.is_complete { "no rater has data" } else { "no rater has data, of those that answered" };
        let mut failed = None;
        for opinion in self.asked.iter().flat_map(|asked| &asked.opinions) {
            match &opinion.standing {
                Standing::Failed(error) => {
                    failed.get_or_insert_with(|| {
                        Failure::new(blame(error), self.told(&opinion.service, error)).at(&opinion.service)
                    });
                }
                Standing::NoData(_) => return Err(Failure::refused(nobody).at(subject)),
                _ => {
                    failed.get_or_insert_with(|| Failure::unreachable("no answer in time").at(&opinion.service));
                }
            }
        }
        for (_, said) in &self.lists {
            match said {
                Ok(_) => return Err(Failure::refused(nobody).at(subject)),
                Err(failure) => {
                    failed.get_or_insert_with(|| failure.clone());
                }
            }
        }
        Err(failed.unwrap_or_else(|| Failure::refused("no rater has data").at(subject)))
    }
}

fn source(text: &str, scheme: WebScheme) -> Result<Source, Failure> {
    if let Some(list) = text.strip_prefix("dnsbl:") {
        let list = list.parse().map_err(|error| Failure::usage(format!("`{text}`: {error}")).at("--service"));
        return list.map(Source::Dnsbl);
    }
    let whole = match scheme {
        _ if text.contains("://") => Zeroizing::new(text.to_owned()),
        WebScheme::Http => Zeroizing::new(format!("http://{text}")),
        WebScheme::Https => Zeroizing::new(format!("https://{text}")),
    };
    // What is wrong is not shown: it may have a password in it.
    let address = whole.parse().map_err(|error| Failure::usage(format!("{error}")).at("--service"));
    address.map(Source::Repute)
}

/// Whether a flag that names a rater means this service.
fn is_named(name: &str, service: &str) -> bool {
    service == name || service.strip_suffix(name).is_some_and(|scheme| scheme.ends_with("://"))
}

fn trust(args: &ReputeQueryArgs, service: &str) -> f64 {
    args.trust.iter().find(|rule| is_named(&rule.service, service)).map_or(1.0, |rule| rule.trust)
}

/// Keys by the service that each is for: a key is told to nobody else.
fn keys(args: &ReputeQueryArgs, services: &[String]) -> Result<Vec<(String, Zeroizing<String>)>, Failure> {
    let mut keys: Vec<(String, Zeroizing<String>)> = Vec::new();
    for rule in &args.key_file {
        let named = services.iter().filter(|service| rule.service.as_ref().is_none_or(|name| is_named(name, service)));
        let service = match (named.collect::<Vec<_>>().as_slice(), &rule.service) {
            ([service], _) => (*service).clone(),
            ([], Some(name)) => {
                let failure = Failure::usage(format!("{name} is no --service that speaks REPUTE")).at("--key-file");
                return Err(failure.remedy("write RATER=FILE with a rater as --service names it"));
            }
            _ => {
                let failure = Failure::usage("several raters could be meant").at("--key-file");
                return Err(failure.remedy("say who gets the key: RATER=FILE"));
            }
        };
        let path = &rule.file;
        if keys.iter().any(|(known, _)| *known == service) {
            return Err(Failure::usage(format!("a second key for {service}")).at(path.display()));
        }
        let octets = crate::pki::read_bounded(path).map_err(|error| file_failure("read the key", path, &error))?;
        let octets = Zeroizing::new(octets);
        let text = std::str::from_utf8(&octets).map_err(|_| Failure::usage("not UTF-8").at(path.display()))?;
        let line = text.lines().next().map(str::trim).filter(|line| !line.is_empty());
        let line = line.ok_or_else(|| Failure::usage("the first line is empty").at(path.display()))?;
        Access::default().with_bearer(line).map_err(|error| Failure::usage(error.to_string()).at(path.display()))?;
        keys.push((service, Zeroizing::new(line.to_owned())));
    }
    Ok(keys)
}

/// The panel of all raters that speak REPUTE, if there are any.
fn panel(args: &ReputeQueryArgs, sources: &[Source], lists: &LocalLists) -> Result<Option<Panel>, Failure> {
    let addresses: Vec<&Address> = sources
        .iter()
        .filter_map(|source| match source {
            Source::Repute(address) => Some(address),
            Source::Dnsbl(_) => None,
        })
        .collect();
    if addresses.is_empty() {
        return Ok(None);
    }
    let mut policy = Policy::default();
    policy.clear_text_credentials = args.credentials_in_clear_text;
    let config = ClientConfig::builder()
        .with_dialect(args.dialect)
        .with_exchange_timeout(args.timeout.0)
        .with_policy(policy)
        .build()
        .map_err(|error| Failure::usage(error.to_string()))?;
    let mut builder = Client::builder().with_config(config);
    if addresses.iter().any(|address| address.service().scheme() == Scheme::Https) || args.ca.is_some() {
        builder = builder.with_tls(https::client_config(https::roots(args.ca.as_deref())?)?);
    }
    let names: Vec<String> = addresses.iter().map(|address| address.service().to_string()).collect();
    let twice =
        names.iter().enumerate().find(|(index, name)| names.iter().take(*index).any(|earlier| earlier == *name));
    if let Some((_, name)) = twice {
        return Err(Failure::usage(format!("{name} is there twice, and would count twice")).at("--service"));
    }
    let keys = keys(args, &names)?;
    let mut raters = Vec::new();
    for (address, name) in addresses.iter().zip(&names) {
        let service = address.service();
        let mut access: Access = address.access();
        if let Some((_, key)) = keys.iter().find(|(service, _)| service == name) {
            access = access.with_bearer(key).map_err(|error| Failure::usage(error.to_string()).at("--key-file"))?;
        }
        builder = builder.with_access(service, access);
        raters.push(Rater::new(service.clone(), trust(args, name)));
    }
    let panel = builder.start_panel(raters, lists.clone(), Weighing::default());
    panel.map(Some).map_err(|error| Failure::usage(error.to_string()))
}

/// Reads subjects, one in each line, until `take` has enough.
fn subjects(path: &Path, mut take: impl FnMut(String) -> bool) -> Result<(), Failure> {
    use std::io::Read as _;
    let failed = |error: std::io::Error| file_failure("read the subjects", path, &error);
    let mut source: Box<dyn std::io::BufRead> = if path == Path::new("-") {
        Box::new(std::io::BufReader::new(std::io::stdin()))
    } else {
        Box::new(std::io::BufReader::new(std::fs::File::open(path).map_err(failed)?))
    };
    let mut line = String::new();
    for number in 1.. {
        line.clear();
        if source.by_ref().take(LINE).read_line(&mut line).map_err(failed)? == 0 {
            break;
        }
        if line.len() as u64 >= LINE {
            let place = format!("{}:{number}", path.display());
            return Err(Failure::usage(format!("the line is longer than {LINE} octets")).at(place));
        }
        let subject = line.trim();
        if !subject.is_empty() && !take(subject.to_owned()) {
            break;
        }
    }
    Ok(())
}

fn none(subject: &str, why: &str, json: bool) -> Result<(), Failure> {
    out::line(&if json {
        serde_json::json!({ "event": "none", "rated": subject, "why": why }).to_string()
    } else {
        clean(&format!("{subject}\t{why}"))
    })
}

/// What else a reputon says, in words.
fn details(reputon: &Reputon<'_>) -> String {
    let mut words = vec![format!("rater {}", reputon.rater)];
    words.extend(reputon.effective_confidence().map(|confidence| format!("confidence {confidence}")));
    words.extend(reputon.sample_size.map(|samples| format!("{samples} samples")));
    words.extend(reputon.identity().map(|identity| format!("identity {identity}")));
    let moment = |seconds: u64| jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or(i64::MAX)).ok();
    words.extend(reputon.generated.and_then(moment).map(|made| format!("made {made}")));
    words.extend(reputon.expires.and_then(moment).map(|end| format!("good until {end}")));
    let text = reputon.extension(super::import::TEXT).and_then(|text| text.as_text());
    words.extend(text.map(|text| format!("{text:?}")));
    words.join(", ")
}

/// Raters' words never write to the terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect()
}

/// Three decimals are more than these numbers are worth.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn client_failure(error: &ClientError) -> Failure {
    match error {
        ClientError::Query { service, error, .. } => Failure::new(blame(error), error.to_string()).at(service),
        error => Failure::usage(error.to_string()),
    }
}

/// Whether the reason lies below the protocol.
fn is_below(error: &QueryError) -> bool {
    matches!(error, QueryError::Exchange(_) | QueryError::Template(TemplateProblem::Exchange(_)) | QueryError::TimedOut)
}

/// Whose fault an error is. Only a refusal is a "no": a service in trouble must not look like one without data.
fn blame(error: &QueryError) -> Blame {
    let exchange = |failure: &ExchangeFailure| match failure {
        ExchangeFailure::TooLarge => Blame::PeerMisbehaved,
        _ => Blame::Unreachable,
    };
    match error {
        QueryError::Exchange(failure) | QueryError::Template(TemplateProblem::Exchange(failure)) => exchange(failure),
        QueryError::TimedOut
        | QueryError::RateLimited { .. }
        | QueryError::Status(500..)
        | QueryError::Template(TemplateProblem::Status(429 | 500..)) => Blame::Unreachable,
        QueryError::Template(TemplateProblem::Status(400..=499)) => Blame::PeerRefused,
        QueryError::InvalidMessage(_)
        | QueryError::WrongApplication(_)
        | QueryError::Redirect(_)
        | QueryError::Template(_) => Blame::PeerMisbehaved,
        QueryError::LimitExceeded(_) => Blame::Usage,
        _ => Blame::PeerRefused,
    }
}

#[cfg(test)]
mod tests;
