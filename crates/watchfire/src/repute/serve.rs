//! `repute serve`: a rater that answers from the entries of a source.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use repute_hyper::server::{Finding, Keys, Server, ServerEvent, ServerLimits, Store};
use repute_proto::server::RateLimit;
use repute_proto::{Application, Limits, Lookup, Reputon, ServerConfig, SubjectSyntax, Template};
use watchfire_core::UnixTime;
use zeroize::Zeroizing;

use super::data::Data;
use super::place::Target;
use super::snapshot::Hit;
use crate::cli::ReputeServeArgs;
use crate::console::{self, Happened, Hub, Opinion, Rater, ReputationAnswer};
use crate::exit::{Failure, file_failure};
use crate::https::{self, Entrance};
use crate::metrics::{self, Registry};
use crate::service::Context;

/// How long requests that are under way may take when the rater ends.
const GRACE: Duration = Duration::from_secs(5);

/// How often the file of keys is looked at.
const WATCH: Duration = Duration::from_secs(2);

/// A rater that listens.
#[derive(Debug)]
pub struct ServeService {
    server: Server,
    data: Arc<Data>,
    keys: Option<PathBuf>,
    addresses: Vec<SocketAddr>,
}

impl ServeService {
    /// Reads all files, opens the sockets and says where it listens.
    ///
    /// # Errors
    /// A file that cannot be read or is wrong, an address that cannot be listened at.
    pub async fn start(args: &ReputeServeArgs, context: &Context) -> Result<Self, Failure> {
        let entrance = Entrance::load(args.cert.as_deref(), args.key.as_deref())?;
        let data = Data::open(&args.data, args.data_password_file.as_deref()).await?;
        let config = config(args, &data)?;
        let mut limits = ServerLimits::default();
        limits.connection.connections = args.max_connections as usize;
        limits.rate = (args.rate > 0).then(|| RateLimit::per_second(args.rate));
        let listeners = metrics::bind_all(&args.listen).await?;
        let metrics = metrics::bind_optional(args.metrics.as_ref()).await?;
        let store = Entries { data: Arc::clone(&data), rater: config.rater.clone(), hub: context.hub.clone() };
        context.hub.has_rater(&context.shutdown, store.for_console());
        let mut builder = Server::builder(config, store)
            .with_limits(limits)
            .with_keys_in_clear_text(args.keys_in_clear_text)
            .on_event(told);
        if let Some(path) = &args.keys {
            builder = builder.with_keys(read_keys(path)?);
        }
        let server = builder.start();
        let serve = |listener, tls| server.serve(listener, tls);
        let addresses = entrance.open(listeners, "repute-serve", context, serve)?;
        context.serve_metrics(metrics)?;
        count(&server, &context.metrics);
        data.count(&context.metrics);
        Ok(Self { server, data, keys: args.keys.clone(), addresses })
    }

    /// Where it answers.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until `context.shutdown`.
    ///
    /// # Errors
    /// None; it has the form of every service.
    pub async fn run(self, context: Context) -> Result<(), Failure> {
        let fresh = tokio::spawn(Arc::clone(&self.data).keep_fresh(context.clone()));
        let mut reload = context.reload.clone();
        let mut seen = self.keys.as_deref().and_then(stamp);
        loop {
            let asked = tokio::select! {
                () = context.shutdown.cancelled() => break,
                () = reload.requested() => true,
                () = tokio::time::sleep(WATCH) => false,
            };
            let Some(path) = &self.keys else { continue };
            let now = stamp(path);
            if now == seen && !asked {
                continue;
            }
            seen = now;
            match read_keys(path) {
                Ok(keys) => {
                    tracing::info!(keys = keys.len(), "keys read again");
                    self.server.set_keys(Some(keys));
                }
                Err(failure) => tracing::error!("the old keys stay: {failure}"),
            }
        }
        let _ = fresh.await;
        self.server.shutdown(GRACE).await;
        Ok(())
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

fn config(args: &ReputeServeArgs, data: &Data) -> Result<ServerConfig, Failure> {
    let host = args.listen.first().map_or("localhost", |address| address.host());
    let rater = args.rater.clone().unwrap_or_else(|| host.to_owned());
    if rater.is_empty() || rater.chars().any(char::is_control) {
        return Err(Failure::usage("not a name").at("--rater"));
    }
    let mut config =
        ServerConfig::builder(rater).with_dialect(args.dialect).with_opendkim(!args.no_opendkim).with_batch(args.batch);
    let parse = |text: &String| {
        let parsed = Template::parse(text, &Limits::default());
        parsed.map_err(|error| Failure::usage(format!("{text}: {error}")).at("--template"))
    };
    if !args.template.is_empty() {
        config = config.with_templates(args.template.iter().map(parse).collect::<Result<_, _>>()?);
    } else if args.cert.is_some() {
        let template = "https://{service}/{application}/{subject}/{assertion}".to_owned();
        config = config.with_templates(vec![parse(&template)?]);
    }
    let config = config.build().map_err(|error| Failure::usage(error.to_string()))?;
    for template in &config.templates {
        for lint in template.lint() {
            tracing::warn!(%template, "{lint}");
        }
    }
    if config.opendkim {
        for fault in config.opendkim_faults() {
            tracing::warn!("{fault}");
        }
    }
    let mut applications = config.applications.clone();
    for head in data.snapshot().heads() {
        if applications.find(&head.application).is_none() {
            let wrong =
                |error: repute_proto::vocabulary::InvalidApplication| Failure::usage(error.to_string()).at(&args.data);
            let application =
                Application::new(head.application.clone(), SubjectSyntax::Free, Vec::new()).map_err(wrong)?;
            applications.add(application).map_err(wrong)?;
        }
    }
    let config = config.into_builder().with_applications(applications);
    config.build().map_err(|error| Failure::usage(error.to_string()))
}

/// Keys of a file: a line has a name and a key (`gateway 7f3a..`), or a user and a password (`alice:secret`).
fn read_keys(path: &Path) -> Result<Keys, Failure> {
    let octets = crate::pki::read_bounded(path).map_err(|error| file_failure("read the keys", path, &error))?;
    let octets = Zeroizing::new(octets);
    let text = std::str::from_utf8(&octets).map_err(|_| Failure::usage("not UTF-8").at(path.display()))?;
    let mut keys = Keys::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let added = match (line.split_once(char::is_whitespace), line.split_once(':')) {
            (Some((name, key)), _) => keys.add_key(name, key.trim(), None),
            (None, Some((user, passwd))) => keys.add_user(user, passwd, None),
            (None, None) => {
                let failure = Failure::usage("neither NAME KEY nor USER:PASSWORD");
                return Err(failure.at(format!("{}:{}", path.display(), number + 1)));
            }
        };
        added.map_err(|error| Failure::usage(error.to_string()).at(format!("{}:{}", path.display(), number + 1)))?;
    }
    if keys.is_empty() {
        let failure = Failure::usage("holds no key: nobody could ask").at(path.display());
        return Err(failure.remedy("write a line with a name and a key, or leave out --keys"));
    }
    Ok(keys)
}

/// The entries, for the server.
struct Entries {
    data: Arc<Data>,
    rater: String,
    hub: Hub,
}

impl Entries {
    /// The same for the console of this process.
    fn for_console(&self) -> Rater {
        let (applications, data, rater) = (Arc::clone(&self.data), Arc::clone(&self.data), self.rater.clone());
        Rater {
            name: rater.clone(),
            applications: Arc::new(move || {
                applications.snapshot().heads().iter().map(|head| head.application.to_string()).collect()
            }),
            ask: Arc::new(move |application, subject| {
                let snapshot = data.snapshot();
                let mut hits = Vec::new();
                let target = Target::of(application.subject, subject);
                snapshot.find(target, Some(&application.name), unix_now(), &mut hits);
                let reputon = |hit: &Hit<'_>| hit.record.reputon(hit.head, subject, &rater).into_owned();
                hits.iter().map(reputon).collect()
            }),
        }
    }
}

impl Store for Entries {
    fn at_hand(&self, lookup: &Lookup, answer: &mut dyn FnMut(Vec<Reputon<'_>>)) {
        let snapshot = self.data.snapshot();
        let target = Target::of(lookup.application.subject, lookup.subject.as_str());
        let mut hits = Vec::new();
        snapshot.find(target, Some(&lookup.application.name), unix_now(), &mut hits);
        let subject = lookup.subject.as_str();
        let reputons: Vec<_> = hits.iter().map(|hit| hit.record.reputon(hit.head, subject, &self.rater)).collect();
        self.hub.tell(|| {
            Happened::Reputation(Arc::new(ReputationAnswer {
                time: console::now(),
                by: "client",
                application: lookup.application.name.to_string(),
                subject: subject.to_owned(),
                combined: Vec::new(),
                opinions: reputons.iter().map(Opinion::from).collect(),
                silent: Vec::new(),
            }))
        });
        answer(reputons);
    }

    /// Everything is at hand.
    fn find<'a>(&'a self, _lookup: &'a Lookup) -> Finding<'a, Vec<Reputon<'static>>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What this program's clock says, as the protocol counts.
pub(super) fn wall() -> UnixTime {
    UnixTime::from_secs(i64::try_from(unix_now()).unwrap_or(i64::MAX))
}

fn told(event: ServerEvent<'_>) {
    match event {
        ServerEvent::Connection(event) => https::told(&event),
        ServerEvent::StoreFailed { .. } => tracing::warn!("{event}"),
        _ => tracing::debug!("{event}"),
    }
}

fn count(server: &Server, registry: &Registry) {
    let counters = Arc::clone(server.counters());
    registry.at_each_look(move |registry| {
        let names = [
            "watchfire_repute_connections_total",
            "watchfire_repute_connections_refused_total",
            "watchfire_repute_handshakes_failed_total",
        ];
        registry.connections(names, &counters.connection);
        registry.total("watchfire_repute_requests_total", "Requests.", &counters.requests);
        registry.total("watchfire_repute_lookups_total", "Look-ups that were answered.", &counters.lookups);
        registry.total("watchfire_repute_batches_total", "Batches that were answered.", &counters.batches);
        registry.total(
            "watchfire_repute_not_modified_total",
            "Answers that the client had already (304).",
            &counters.not_modified,
        );
        registry.total("watchfire_repute_refused_total", "Requests that were refused.", &counters.refused);
        registry.total(
            "watchfire_repute_rate_limited_total",
            "Requests beyond the rate (429).",
            &counters.rate_limited,
        );
        registry.total(
            "watchfire_repute_unauthorized_total",
            "Requests without a good key (401).",
            &counters.unauthorized,
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn keys_are_read_and_mistakes_are_named() {
        let dir = TempDir::new("repute-keys");
        let path = dir.path().join("keys");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_keys(&path).map(|keys| keys.len()).map_err(|failure| failure.to_string())
        };
        assert_eq!(read("# who\ngateway 0123456789abcdef\n\nalice:s3cret\n"), Ok(2));
        for (bad, why) in [
            ("", "holds no key"),
            ("alone\n", "keys:1: neither"),
            ("a key\nb key\n", "keys:2: the same key"),
            ("a k\u{e9}y\n", "keys:1: a key has"),
        ] {
            let failure = read(bad).unwrap_err();
            assert!(failure.contains(why), "{failure}");
        }
    }
}
