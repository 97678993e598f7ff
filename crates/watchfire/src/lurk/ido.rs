//! `lurk ido`: the server of a name owner.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use acme_lurk::acme::OrderStatus;
use acme_lurk::crypto::{Ring, Signer};
use acme_lurk::delegation::{Audit, DelegationRule, Emulation, Ido, IdoConfig, Serving};
use acme_lurk::star::{StarMeta, StarPolicy};
use acme_lurk_hyper::ca::Authority;
use acme_lurk_hyper::journal;
use acme_lurk_hyper::owner::{OwnerNotice, OwnerSite};
use acme_lurk_hyper::respond::{DnsHook, DnsUpdate, Http01, Responder, Responders, TsigKey, TsigKeyError};
use acme_lurk_hyper::server::{Server, ServerLimits};

use tokio_util::sync::CancellationToken;

use super::audit::AuditLog;
use super::console::OwnerOrders;
use super::front::{self, DAYS};
use super::records::Records;
use super::shared::{Identity, Known, SharedRecords, lead};
use super::{account, delegations, peer};
use crate::cli::IdoArgs;
use crate::exit::{Failure, file_failure};
use crate::https::ServerCertificate;
use crate::metrics::{self, Counter, Health, Registry};
use crate::pki::files;
use crate::service::Context;
use crate::store::PostgresServer;
use crate::values::StoreUrl;

/// How long requests that are under way may take when the server ends.
const GRACE: Duration = Duration::from_secs(5);

/// For one call to the CA.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the CA is waited for before delegates are let in: until it has been reached they are told to come back later,
/// and not all of them do.
const REACH: Duration = Duration::from_secs(5);

/// The server of a name owner that listens.
#[derive(Debug)]
pub struct IdoService {
    server: Server,
    site: OwnerSite,
    address: SocketAddr,
    directory: String,
    /// Another instance leads.
    lost: CancellationToken,
}

impl IdoService {
    /// Reads all files, opens the sockets and says where it listens.
    ///
    /// # Errors
    /// A file that cannot be read or is wrong, an address that cannot be listened at.
    pub async fn start(args: &IdoArgs, context: &Context) -> Result<Self, Failure> {
        let rules = delegations::read(&args.delegations)?;
        files::make_folder(&args.dir)?;
        let signer = account::read_or_make(&args.dir.join("account.key"))?;
        let shared = shared(args, &signer, context).await?;
        let upstream = peer::config(&args.upstream, "--upstream", PATIENCE)?;
        let pool = peer::pool(args.upstream_ca.as_deref())?;
        let responder = responder(args).await?;
        let listener = metrics::bind(&args.listen).await?;
        let address = listener.local_addr().map_err(|error| Failure::usage(error.to_string()).at(&args.listen))?;
        let metrics = metrics::bind_optional(args.metrics.as_ref()).await?;
        let base = front::base(args.url.as_deref(), &args.listen, address)?;
        let tls = tls(args, &base, context)?;
        let config = Arc::new(config(args, &base, rules, &responder)?);
        let site = OwnerSite::builder(pool);
        let (site, mut known, lost, state) = match shared {
            Some((records, known, lost, name)) => (site.with_keeper(records), known, lost, name),
            None => {
                let state = args.dir.join("state.db");
                let (records, known) = Records::open(&state)?;
                (site.with_keeper(records), known, CancellationToken::new(), state.display().to_string())
            }
        };
        let audit = AuditLog::open(&args.dir.join("audit.ndjson"))?;
        let meters = Meters::new(&context.metrics, context.health.clone());
        let seed = watchfire_hyper::seed().map_err(|error| Failure::usage(format!("no randomness: {error}")))?;
        let shown = OwnerOrders::new(&context.hub);
        let heard = shown.clone();
        let site = site.with_responder(Arc::new(responder)).on_notice(move |notice| {
            told(&notice);
            heard.heard(&notice);
            meters.count(&notice);
        });
        let site = site.with_journal(audit, journal::unwritten(&mut known));
        let site = site.start(|now| Ido::restore(config, upstream, signer, Arc::new(Ring::new()), seed, now, known));
        let site = site.map_err(|error| {
            let failure = Failure::usage(error.to_string()).at(&state);
            failure.remedy("restore it from a backup, or move it away and begin anew")
        })?;
        // Until all of this has come about only what is here has the site, and it ends with that.
        let is_reached = tokio::time::timeout(REACH, known_ca(&site)).await.is_ok();
        if !is_reached {
            tracing::warn!(upstream = %args.upstream, "the CA has not been reached yet; it is tried again");
            context.health.set("lurk-ido-upstream", Err("the CA has not been reached yet".to_owned()));
        }
        let mut limits = ServerLimits::default();
        limits.connection.connections = args.max_connections as usize;
        let server = Server::builder(front::origin_of(&base), site.clone()).with_limits(limits);
        let server = server.on_event(front::told).start();
        let served = server.serve(listener, Some(tls));
        served.map_err(|error| Failure::usage(error.to_string()).at(&args.listen))?;
        let directory = format!("{base}/directory");
        context.announce_with("lurk-ido", address, &serde_json::json!({ "directory": &directory }))?;
        if !context.json {
            tracing::info!(%directory, trust = %args.dir.join("ca.pem").display(), "the server of a name owner");
        }
        let (accounts, orders) = site.with(Ido::len);
        if accounts > 0 {
            tracing::info!(accounts, orders, "the server goes on");
        }
        context.serve_metrics(metrics)?;
        if !is_reached {
            reach(&site, context);
        }
        shown.show(&site, &context.shutdown);
        count(&server, &site, &context.metrics);
        tokio::spawn(reload(site.clone(), args.delegations.clone(), context.clone()));
        Ok(Self { server, site, address, directory, lost })
    }

    /// Where it answers.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The URL of its directory.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// The server itself, to look at its orders and to stop them.
    pub fn site(&self) -> &OwnerSite {
        &self.site
    }

    /// Serves until `context.shutdown`.
    ///
    /// # Errors
    /// When another instance of it serves by now.
    pub async fn run(self, context: Context) -> Result<(), Failure> {
        let is_lost = tokio::select! {
            () = context.shutdown.cancelled() => false,
            () = self.lost.cancelled() => true,
        };
        self.server.shutdown(GRACE).await;
        self.site.shutdown().await;
        match is_lost {
            true => {
                Err(Failure::unreachable("another instance serves now").remedy("start this one again: it stands by"))
            }
            false => Ok(()),
        }
    }
}

type Shared = (SharedRecords, Known, CancellationToken, String);

/// The state in a database, once this instance leads; none without `--store`.
async fn shared(args: &IdoArgs, signer: &Arc<dyn Signer>, context: &Context) -> Result<Option<Shared>, Failure> {
    let Some(url) = &args.store else { return Ok(None) };
    let StoreUrl::Postgres(database) = url else {
        let failure = Failure::usage("several instances share PostgreSQL alone").at("--store");
        return Err(failure.remedy("write postgres://USER@HOST/DATABASE, or leave it out: SQLite is in --dir"));
    };
    let server = PostgresServer::new(database, args.store_password_file.as_deref())?;
    let account = signer.public_key().thumbprint_text();
    let identity = Identity { account, url: args.url.clone().unwrap_or_default() };
    let (records, known, lost) = lead(server, &identity, context).await?;
    Ok(Some((records, known, lost, url.to_string())))
}

/// Says so when the CA has been reached.
fn reach(site: &OwnerSite, context: &Context) {
    let (site, health, shutdown) = (site.clone(), context.health.clone(), context.shutdown.clone());
    tokio::spawn(shutdown.run_until_cancelled_owned(async move {
        known_ca(&site).await;
        tracing::info!("the CA has been reached");
        health.set("lurk-ido-upstream", Ok(()));
    }));
}

async fn known_ca(site: &OwnerSite) {
    while site.with(|ido| ido.upstream_directory().is_none()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Reads the delegations again when that is asked for. Those that were there stay when the file is wrong.
async fn reload(site: OwnerSite, file: PathBuf, context: Context) {
    let (mut reload, shutdown) = (context.reload.clone(), context.shutdown.clone());
    let stays = |failure: &Failure| {
        tracing::error!("nothing was reloaded, the old delegations stay: {failure}");
        context.health.set("lurk-ido-delegations", Err(format!("the file of delegations is wrong: {failure}")));
    };
    while shutdown.run_until_cancelled(reload.requested()).await.is_some() {
        let path = file.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || delegations::read(&path)).await else { return };
        let replaced = read.and_then(|rules| {
            let count = rules.len();
            site.replace_delegations(rules).map_err(|_| to_itself(&file))?;
            Ok(count)
        });
        match replaced {
            Ok(delegations) => {
                tracing::info!(file = %file.display(), delegations, "the delegations were read again");
                context.health.set("lurk-ido-delegations", Ok(()));
            }
            Err(failure) => stays(&failure),
        }
    }
}

fn to_itself(file: &Path) -> Failure {
    let failure = Failure::usage("a delegation is passed on to this server itself").at(file.display());
    failure.remedy("give its `upstream` the URL of another name owner's delegation")
}

async fn responder(args: &IdoArgs) -> Result<Responders, Failure> {
    let mut responders = Responders::new();
    if let Some(hook) = &args.dns_hook {
        // A program with arguments, or one with spaces in its name.
        let whole = Path::new(hook).exists();
        let mut words = hook.split_ascii_whitespace();
        let program = if whole { Some(hook.as_str()) } else { words.next() };
        let program = program.ok_or_else(|| Failure::usage("names no program").at("--dns-hook"))?;
        let arguments: Vec<String> = if whole { Vec::new() } else { words.map(str::to_owned).collect() };
        responders = responders.with(Arc::new(DnsHook::new(program).with_arguments(arguments)));
    }
    if let Some(updates) = updates(args)? {
        responders = responders.with(Arc::new(updates));
    }
    if let Some(listen) = &args.http01_listen {
        let http01 = Http01::start(metrics::bind(listen).await?);
        let http01 = http01.map_err(|error| Failure::usage(error.to_string()).at(listen))?;
        tracing::info!(addr = %http01.local_addr(), "http-01 is met");
        responders = responders.with(Arc::new(http01));
    }
    Ok(responders)
}

/// Dynamic updates, if the flags want them.
///
/// # Errors
/// A file of the key that cannot be read or has none, a zone that is none.
pub(crate) fn updates(args: &IdoArgs) -> Result<Option<DnsUpdate>, Failure> {
    let (Some(server), Some(path)) = (&args.dns_update, &args.dns_update_key) else { return Ok(None) };
    let octets = files::read_bounded(path).map_err(|error| file_failure("read the TSIG key", path, &error))?;
    let octets = zeroize::Zeroizing::new(octets);
    let wrong = |why: String| {
        let failure = Failure::usage(format!("no TSIG key: {why}")).at(path.display());
        failure.remedy("write what `tsig-keygen -a hmac-sha256 NAME` writes, for one key")
    };
    let text = std::str::from_utf8(&octets).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
    let key: TsigKey = text.parse().map_err(|error: TsigKeyError| wrong(error.to_string()))?;
    let updates = DnsUpdate::new(server.to_string(), key).with_settling(args.dns_update_wait.0);
    match &args.dns_update_zone {
        Some(zone) => updates.with_zone(zone).map(Some).map_err(|error| {
            Failure::usage(format!("`{zone}`: {error}")).at("--dns-update-zone").remedy("write one as example.com")
        }),
        None => Ok(Some(updates)),
    }
}

/// The operator's certificate, or one of an authority of our own. Its anchor, and those of the CA, are put where delegates
/// find both.
fn tls(args: &IdoArgs, base: &str, context: &Context) -> Result<Arc<rustls::ServerConfig>, Failure> {
    if let (Some(cert), Some(key)) = (&args.cert, &args.key) {
        let certificate = ServerCertificate::load(cert, key)?;
        certificate.keep_fresh(context);
        return certificate.server_config();
    }
    let root = front::authority(&args.dir, "root", || Authority::root("Watchfire name owner", DAYS))?;
    let mut anchors = vec![root.certificate().to_vec()];
    if let Some(ca) = &args.upstream_ca {
        anchors.extend(crate::https::certificates(ca)?.iter().map(|certificate| certificate.to_vec()));
    }
    let bundle = acme_lurk::certificate::encode_chain(anchors.iter().map(Vec::as_slice));
    files::write_public(&args.dir.join("ca.pem"), &bundle, true)?;
    front::tls(&root, &args.listen, base)
}

fn config(
    args: &IdoArgs,
    base: &str,
    rules: Vec<DelegationRule>,
    responder: &Responders,
) -> Result<IdoConfig, Failure> {
    let policy = StarPolicy::new(StarMeta::new(args.min_lifetime, args.max_duration.0.as_secs(), true));
    let serving = if args.serve_certificates { Serving::Own } else { Serving::HandThrough };
    let mut config = IdoConfig::builder(base)
        .with_star(Some(policy))
        .with_serving(serving)
        .with_inferred_delegation(args.infer_delegation)
        .with_challenges(responder.kinds());
    if args.emulate_star {
        let mut emulation = Emulation::new(policy);
        if let Some(profile) = &args.emulate_profile {
            emulation = emulation.with_profile(profile);
        }
        config = config.with_emulation(emulation);
    }
    for rule in rules {
        config = config.with_delegation(rule).map_err(|_| to_itself(&args.delegations))?;
    }
    config.build().map_err(|error| Failure::usage(error.to_string()))
}

fn told(notice: &OwnerNotice<'_>) {
    match notice {
        OwnerNotice::Audit { order, what } => {
            let order = order.map(ToString::to_string).unwrap_or_default();
            match what {
                Audit::Gap => tracing::error!(%order, "the certificate has run out, and there is no newer one"),
                Audit::Invalid { detail } => tracing::warn!(%order, "the order has failed: {detail}"),
                Audit::Trouble { detail } => tracing::warn!(%order, "tried again: {detail}"),
                Audit::NotCanceled { detail } => tracing::error!(%order, "cannot be stopped: {detail}"),
                Audit::Refused { account, problem } => tracing::warn!(%order, %account, "refused: {problem}"),
                Audit::Placed { url } => tracing::info!(%order, upstream = %url, "the CA has taken the order"),
                what => tracing::info!(%order, "{what:?}"),
            }
        }
        OwnerNotice::NotKept { error } => tracing::error!("{error}"),
        OwnerNotice::Kept => tracing::info!("the state is kept again"),
        OwnerNotice::NotWritten { error } => tracing::error!("the audit log cannot be written: {error}"),
        OwnerNotice::Written => tracing::info!("the audit log is written again"),
        OwnerNotice::Lost { lines } => tracing::error!(lines, "too much waits to be kept: not in the audit log"),
        notice => tracing::debug!("{notice:?}"),
    }
}

/// What happened, counted.
struct Meters {
    refused: Counter,
    issued: Counter,
    failed: Counter,
    troubles: Counter,
    gaps: Counter,
    canceled: Counter,
    not_kept: Counter,
    health: Health,
}

impl Meters {
    fn new(registry: &Registry, health: Health) -> Self {
        Self {
            refused: registry.counter("watchfire_lurk_ido_orders_refused_total", "Orders that were refused.", &[]),
            issued: registry.counter("watchfire_lurk_ido_certificates_total", "Certificates obtained.", &[]),
            failed: registry.counter("watchfire_lurk_ido_orders_failed_total", "Orders that failed.", &[]),
            troubles: registry.counter("watchfire_lurk_ido_troubles_total", "Tries that came to nothing.", &[]),
            gaps: registry.counter("watchfire_lurk_ido_gaps_total", "Certificates that ran out.", &[]),
            canceled: registry.counter("watchfire_lurk_ido_canceled_total", "Orders that were stopped.", &[]),
            not_kept: registry.counter("watchfire_lurk_ido_not_kept_total", "Changes that could not be kept.", &[]),
            health,
        }
    }

    fn count(&self, notice: &OwnerNotice<'_>) {
        match notice {
            OwnerNotice::NotKept { error } => {
                self.not_kept.increment();
                self.health.set("lurk-ido", Err(error.to_string()));
            }
            OwnerNotice::Kept => self.health.set("lurk-ido", Ok(())),
            OwnerNotice::NotWritten { error } => self.health.set("lurk-ido-audit", Err(error.to_string())),
            OwnerNotice::Written => self.health.set("lurk-ido-audit", Ok(())),
            OwnerNotice::Audit { what, .. } => match what {
                Audit::Refused { .. } => self.refused.increment(),
                Audit::Valid | Audit::Issued { .. } => self.issued.increment(),
                Audit::Invalid { .. } => self.failed.increment(),
                Audit::Trouble { .. } => self.troubles.increment(),
                Audit::Gap => self.gaps.increment(),
                Audit::Canceled => self.canceled.increment(),
                _ => {}
            },
            _ => {}
        }
    }
}

fn count(server: &Server, site: &OwnerSite, registry: &Registry) {
    let (http, site) = (Arc::clone(server.counters()), site.clone());
    registry.at_each_look(move |registry| {
        let names = [
            "watchfire_lurk_ido_connections_total",
            "watchfire_lurk_ido_connections_refused_total",
            "watchfire_lurk_ido_handshakes_failed_total",
        ];
        registry.connections(names, &http.connection);
        registry.total("watchfire_lurk_ido_requests_total", "Requests.", &http.requests);
        registry.total("watchfire_lurk_ido_refused_total", "Requests that were refused.", &http.refused);
        let ((accounts, orders), valid) =
            site.with(|ido| (ido.len(), ido.statuses().filter(|status| *status == OrderStatus::Valid).count()));
        registry.level("watchfire_lurk_ido_accounts", "Accounts.", accounts);
        registry.level("watchfire_lurk_ido_orders", "Orders that are kept.", orders);
        registry.level("watchfire_lurk_ido_orders_valid", "Orders with a certificate.", valid);
    });
}

#[cfg(test)]
mod tests {
    use acme_lurk_hyper::keep::KeepError;
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command, LurkCommand};
    use crate::signals::Reload;
    use crate::testing::TempDir;

    fn context() -> Context {
        Context::new(true, CancellationToken::new(), Reload::manual().1)
    }

    #[test]
    fn who_can_keep_again_is_ready_again() {
        let context = context();
        let meters = Meters::new(&context.metrics, context.health.clone());
        let error = KeepError("no room".into());
        meters.count(&OwnerNotice::NotKept { error: &error });
        meters.count(&OwnerNotice::NotWritten { error: &error });
        assert!(!context.health.is_well("lurk-ido") && !context.health.is_well("lurk-ido-audit"));
        // What was kept before is said meanwhile.
        meters.count(&OwnerNotice::Audit { order: None, what: &Audit::Gap });
        assert!(!context.health.is_well("lurk-ido"));
        meters.count(&OwnerNotice::Kept);
        meters.count(&OwnerNotice::Written);
        assert_eq!(context.health.ready(), Ok(()));
    }

    async fn is_free(state: &Path) {
        let free = tokio::time::timeout(Duration::from_secs(30), async {
            while Records::open(state).is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(free.await.is_ok(), "somebody has {}", state.display());
    }

    #[tokio::test]
    async fn a_start_that_fails_late_or_is_given_up_leaves_nothing() {
        let dir = TempDir::new("ido-start");
        let file = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(file("delegations.toml"), "").unwrap();
        let args = |dir: &str, upstream: &str, more: [&str; 2]| {
            let words = ["watchfire", "lurk", "ido", "--listen", "127.0.0.1:0", "--upstream", upstream, "--dir", dir];
            let rules = file("delegations.toml");
            let words = [&words[..], &["--delegations", &rules], &more].concat();
            match Cli::try_parse_from(words).unwrap().command {
                Command::Lurk(LurkCommand::Ido(args)) => args,
                other => panic!("{other:?}"),
            }
        };
        // Given up while it waits for a CA that is not there.
        let given_up = args(&file("one"), "https://127.0.0.1:9/directory", ["--http01-listen", "127.0.0.1:0"]);
        let context_of_one = context();
        let has_begun = async {
            while !dir.path().join("one/audit.ndjson").exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            started = IdoService::start(&given_up, &context_of_one) => panic!("{started:?}"),
            () = has_begun => {}
        }
        is_free(&dir.path().join("one/state.db")).await;

        // Something that fails when the state is open already.
        std::fs::create_dir_all(dir.path().join("two/audit.ndjson")).unwrap();
        let late = args(&file("two"), "https://127.0.0.1:9/directory", ["--http01-listen", "127.0.0.1:0"]);
        let error = IdoService::start(&late, &context()).await.unwrap_err().to_string();
        assert!(error.contains("audit.ndjson"), "{error}");
        assert!(dir.path().join("two/state.db").exists());
        is_free(&dir.path().join("two/state.db")).await;
    }
}
