//! `obp broker`: the service.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use obp_broker::connect::{Broker, BrokerConfig as KnowledgeConfig, Question};
use obp_broker::policy::{Policy, PolicyStore};
use obp_broker::proof::Anchors;
use obp_broker::sources::{DnsSource, ResolverConfig, Validation};
use obp_broker::validate::{CrlStore, HttpFetcher, Roots, Validator, ValidatorConfig};
use obp_broker::{Clock, SystemClock};
use obp_hyper::server::{Accounts as Enrolling, Admission, Knowledge, Server, ServerLimits};
use obp_proto::broker::{BrokerConfig, BrokerLimits, Identity, RateLimit, Replacement};
use obp_proto::crypto::{Authentication, Encryption, RustCrypto};
use obp_proto::message::{ErrorResponse, InstanceConnection, InstanceTransport, Name, Port, QueryConnectResponse};
use obp_proto::service_connect::{ConnectBrokerConfig, Device, Pin};
use obp_proto::{Message, Status};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use watchfire_core::UnixTime;

use super::audit::{self, Audit};
use super::directory::Directory;
use super::members::Members;
use super::remember::{Ending, Memory};
use crate::cli::{BrokerArgs, Dialect, Dnssec};
use crate::console::{Happened, Hub};
use crate::exit::{Failure, file_failure};
use crate::https::{self, Entrance};
use crate::listening;
use crate::metrics::{self, Registry};
use crate::service::Context;

/// How long requests that are under way may take when the broker ends.
const GRACE: Duration = Duration::from_secs(5);

/// How often files are looked at.
const WATCH: Duration = Duration::from_secs(2);

/// A broker that listens.
#[derive(Debug)]
pub struct BrokerService {
    server: Server<Arc<Known>>,
    memory: Memory,
    http: Vec<SocketAddr>,
    policy: Arc<PolicyStore>,
    crls: Arc<CrlStore>,
    members: Members,
}

impl BrokerService {
    /// Reads all files, opens all sockets, and says where it listens.
    ///
    /// # Errors
    /// A file that cannot be read or is wrong, an address that cannot be listened at.
    pub async fn start(args: &BrokerArgs, context: &Context) -> Result<Self, Failure> {
        let now = jiff::Timestamp::now().as_second();
        let (broker, policy, crls) = knowledge(args)?;
        let directory = Directory::open(&args.accounts, args.accounts_password_file.as_deref()).await?;
        let members = Members::load(directory.clone(), &args.accounts, args.anonymous).await?;
        let (memory, ring, ended) = Memory::load(args, &directory, now).await?;
        let entrance = Entrance::load(args.cert.as_deref(), args.key.as_deref())?;

        let mut listeners = Vec::new();
        for address in &args.listen {
            listeners.push((metrics::bind(address).await?, address.host().to_owned()));
        }
        let mut sockets = Vec::new();
        for address in &args.udp {
            sockets.push((listening::bind_udp(address).await?, address.host().to_owned()));
        }
        let metrics = metrics::bind_optional(args.metrics.as_ref()).await?;
        let local = |result: std::io::Result<SocketAddr>| result.map_err(|error| Failure::usage(error.to_string()));
        let host = match &args.advertise {
            Some(there) => Some(there.host.clone()),
            None => args.cert.as_deref().map(certified_name).transpose()?.flatten(),
        };
        let port = args.advertise.as_ref().and_then(|there| there.port);
        let mut instances = Vec::new();
        for (socket, from) in &sockets {
            let address = advertised(local(socket.local_addr())?, port);
            instances.push(instance(InstanceTransport::Udp, address, from, host.as_deref(), 10)?);
        }
        for (listener, from) in &listeners {
            let address = advertised(local(listener.local_addr())?, port);
            instances.push(instance(InstanceTransport::Http, address, from, host.as_deref(), 20)?);
        }

        let provider = Arc::new(RustCrypto);
        let mut replacement = Replacement::default();
        replacement.lifetime = args.ticket_lifetime.0;
        let body = usize::try_from(args.body_limit.0).unwrap_or(usize::MAX);
        let rate = RateLimit { per_second: args.rate_ticket, burst: args.rate_ticket };
        let config = BrokerConfig::builder(provider.clone(), ring)
            .with_seed_profile(args.dialect == Dialect::Seed)
            // What is stale is only found to be all there is when the sources have had their time.
            .with_application_timeout(args.query_timeout.0 + Duration::from_secs(1))
            .with_replacement(replacement)
            .with_limits(BrokerLimits::default().with_body(body))
            .with_rate((args.rate_ticket > 0).then_some(rate))
            .build()
            .map_err(|error| Failure::usage(error.to_string()))?;
        let mut connect = ConnectBrokerConfig::builder(provider, instances)
            .with_ticket_lifetime(args.ticket_lifetime.0)
            .with_management_lifetime(args.ticket_lifetime.0);
        if args.dialect == Dialect::Seed {
            // What every device of 2014 knows; those that know more bind to a strict broker.
            connect = connect
                .with_authentication(vec![Authentication::Hs256T128, Authentication::Hs256])
                .with_encryption(vec![Encryption::A128Cbc]);
        }
        let connect = connect.build().map_err(|error| Failure::usage(error.to_string()))?;
        let audit = args.audit.as_deref().map(|path| Audit::open(path, args.audit_redact)).transpose()?;
        let known = Arc::new(Known {
            broker: broker.clone(),
            members: members.clone(),
            audit: audit.clone(),
            hub: context.hub.clone(),
            misses: AtomicU64::new(0),
        });
        let enrolling = Enrolling_ { members: members.clone(), directory, ending: memory.ending() };
        let mut limits = ServerLimits::default();
        limits.connection.connections = args.max_connections as usize;
        limits.connection.connections_per_address = limits.connection.connections;
        limits.per_address = args.rate_address;
        let server = Server::builder(config, known)
            .with_service_connect(connect, enrolling)
            .with_ended(ended)
            .with_limits(limits)
            .start()
            .map_err(|error| Failure::usage(format!("cannot start: {error}")))?;

        let tls = entrance.tls()?;
        let mut http = Vec::new();
        for (listener, _) in listeners {
            let address = local(server.serve_http(listener, tls.clone()))?;
            http.push(address);
            context.announce("obp-broker", address)?;
        }
        for (socket, _) in sockets {
            context.announce("obp-broker-udp", local(socket.local_addr())?)?;
            server.serve_udp(socket);
        }
        context.serve_metrics(metrics)?;
        entrance.keep_fresh(context);
        count(&server, &broker, audit, &context.metrics);
        Ok(Self { server, memory, http, policy, crls, members })
    }

    /// Where it answers over HTTP.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.http
    }

    /// Serves until `context.shutdown`.
    ///
    /// # Errors
    /// None; it has the form of every service.
    pub async fn run(mut self, context: Context) -> Result<(), Failure> {
        let watching = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&self.policy).watch(WATCH)));
        let mut reload = context.reload.clone();
        let mut keys = tokio::time::interval(self.memory.pace());
        let mut files = tokio::time::interval(WATCH);
        let turning = async {
            loop {
                tokio::select! {
                    _ = files.tick() => self.look_at_files().await,
                    () = reload.requested() => {
                        let policy = Arc::clone(&self.policy);
                        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || policy.reload()).await {
                            tracing::error!("the old policy stays in force: {error}");
                        }
                        self.look_at_files().await;
                    }
                    _ = keys.tick() => {
                        let now = jiff::Timestamp::now().as_second();
                        self.memory.look(&self.server, now).await;
                    }
                }
            }
        };
        // A database that is silent is not waited for.
        context.shutdown.run_until_cancelled(turning).await;
        drop(watching);
        self.server.shutdown(GRACE).await;
        Ok(())
    }

    async fn look_at_files(&self) {
        let crls = Arc::clone(&self.crls);
        let looked = tokio::task::spawn_blocking(move || match crls.reload() {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "revocation lists read again"),
            Err(error) => tracing::error!("the old revocation list stays in force: {error}"),
        });
        let _ = looked.await;
        if let Err(error) = self.members.refresh().await {
            tracing::error!("the accounts stay as they were: {error}");
        }
    }
}

/// Sources, policy and judge from the flags.
fn knowledge(args: &BrokerArgs) -> Result<(Broker, Arc<PolicyStore>, Arc<CrlStore>), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let anchors = match &args.trust_anchor {
        Some(path) => {
            let octets = crate::pki::read_bounded(path).map_err(|error| file_failure("read", path, &error))?;
            let text = String::from_utf8_lossy(&octets);
            Anchors::parse(&text).map_err(|error| Failure::usage(error.to_string()).at(path.display()))?
        }
        None => Anchors::root(),
    };
    let mut dns = super::services::configured(args.resolver)?;
    dns = dns.with_anchors(anchors.clone()).with_validation(match args.dnssec {
        Dnssec::Strict => Validation::Strict,
        Dnssec::Permissive => Validation::Permissive,
        Dnssec::Off => Validation::Off,
    });
    dns.deadline = args.query_timeout.0;
    dns.attempt = dns.attempt.min(args.query_timeout.0);
    let source = DnsSource::new(&dns).map_err(|error| Failure::usage(error.to_string()).at("--resolver"))?;
    let mut memory = ResolverConfig::default();
    // A name takes a record for each of its kinds, and for its hosts.
    memory.capacity = (args.cache_entries as usize).saturating_mul(4);
    memory.stale = args.serve_stale.0;
    let resolver = obp_broker::sources::Resolver::new(Arc::new(source), Arc::clone(&clock), memory);

    let policy = Arc::new(match &args.policy {
        Some(path) => PolicyStore::open(path).map_err(|error| Failure::usage(error.to_string()))?,
        None => PolicyStore::of(Policy::default()),
    });
    let crls = Arc::new(CrlStore::new());
    for path in &args.crl {
        crls.add_file(path).map_err(|error| Failure::usage(error.to_string()))?;
    }
    let roots = match &args.roots {
        Some(path) => Roots::from_der(https::certificates(path)?)
            .map_err(|error| Failure::usage(error.to_string()).at(path.display()))?,
        // Without any a broker still answers; nothing but DANE can vouch for a certificate then.
        None => Roots::from_der(rustls_native_certs::load_native_certs().certs).unwrap_or_else(|error| {
            tracing::warn!(%error, "the system's certificate authorities are not used");
            Roots::none()
        }),
    };
    let mut judge = ValidatorConfig::default();
    judge.fetcher = Some(Arc::new(HttpFetcher::new(resolver.clone())));
    let validator = Validator::new(roots, Arc::clone(&crls), clock, judge);
    let mut config = KnowledgeConfig::default();
    config.answers = args.cache_entries as usize;
    config.deadline = args.query_timeout.0;
    config.stale = args.serve_stale.0;
    config.anchors = anchors;
    Ok((Broker::new(resolver, Arc::clone(&policy), validator, config), policy, crls))
}

/// One instance of the service, as bindings name it.
fn instance(
    transport: InstanceTransport,
    address: SocketAddr,
    listen: &str,
    host: Option<&str>,
    priority: u16,
) -> Result<InstanceConnection, Failure> {
    let mut instance = InstanceConnection::default();
    instance.service = Some("omni-query".to_owned());
    instance.transport = Some(transport);
    instance.port = Port::try_from(address.port()).ok();
    instance.priority = Some(priority);
    instance.weight = Some(1);
    let names = [host, Some(listen)].into_iter().flatten();
    for name in names {
        match name.parse::<std::net::IpAddr>() {
            Ok(ip) if !ip.is_unspecified() => instance.address = instance.address.or(Some(ip)),
            Ok(_) => {}
            Err(_) if instance.name.is_none() => {
                let parsed = name.parse::<Name>().map_err(|error| Failure::usage(format!("`{name}`: {error}")));
                instance.name = Some(parsed.map_err(|failure| failure.at("--advertise"))?);
            }
            Err(_) => {}
        }
    }
    if !address.ip().is_unspecified() {
        instance.address.get_or_insert_with(|| address.ip());
    }
    if instance.address.is_none() && instance.name.is_none() {
        let failure = Failure::usage("bindings would name no host").at(address);
        return Err(failure.remedy("say with --advertise under which name or address devices reach this broker"));
    }
    Ok(instance)
}

/// Where devices find a listener: at another port, when it stands behind something.
fn advertised(mut address: SocketAddr, port: Option<u16>) -> SocketAddr {
    if let Some(port) = port {
        address.set_port(port);
    }
    address
}

/// The first name that the certificate is for, if it is for one.
fn certified_name(path: &std::path::Path) -> Result<Option<String>, Failure> {
    use x509_parser::extensions::GeneralName;
    use x509_parser::prelude::{FromDer as _, X509Certificate};
    let certificates = https::certificates(path)?;
    let Some(Ok((_, leaf))) = certificates.first().map(|der| X509Certificate::from_der(der)) else { return Ok(None) };
    let Ok(Some(names)) = leaf.subject_alternative_name() else { return Ok(None) };
    let name = names.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) if !name.contains('*') => Some((*name).to_owned()),
        _ => None,
    });
    Ok(name)
}

/// What the broker knows, for those who have an account.
#[derive(Debug)]
struct Known {
    broker: Broker,
    members: Members,
    audit: Option<Audit>,
    hub: Hub,
    misses: AtomicU64,
}

impl Known {
    fn note(&self, client: &Identity, question: &Message, answer: &Message, cached: bool) {
        let account = client.account();
        let shown = || match &self.audit {
            Some(audit) => audit.answer(account, question, answer, cached),
            None => audit::of(account, question, answer, cached, str::to_owned),
        };
        self.hub.tell(|| Happened::Answer(Arc::new(shown())));
        if let Some(audit) = &self.audit {
            audit.note(&shown());
        }
    }
}

/// An account as policies know it: none is no account.
fn account(client: &Identity) -> Option<&str> {
    Some(client.account()).filter(|account| !account.is_empty())
}

impl Knowledge for Known {
    fn at_hand(&self, client: &Arc<Identity>, question: &Message) -> Option<Arc<Message>> {
        if !self.members.knows(client.account()) {
            return None;
        }
        let Message::QueryConnectRequest(request) = question else { return None };
        let asked = Question::from_request(account(client), request).ok()?;
        let answer = self.broker.cached(&asked)?;
        let answer = answer.once(|answer| Message::from(QueryConnectResponse::from(answer)));
        self.note(client, question, &answer, true);
        Some(answer)
    }

    async fn find(&self, client: Arc<Identity>, question: Message) -> Arc<Message> {
        if !self.members.knows_now(client.account()).await {
            return Arc::new(ErrorResponse::new(Status::TICKET_NOT_RECOGNIZED).into());
        }
        self.misses.fetch_add(1, Relaxed);
        let answer = self.broker.answer(account(&client), &question).await;
        let answer = answer.unwrap_or_else(|| ErrorResponse::new(Status::NOT_IMPLEMENTED).into());
        self.note(&client, &question, &answer, false);
        Arc::new(answer)
    }
}

/// Who may bind, by the accounts. It is called where a call may take its time.
struct Enrolling_ {
    members: Members,
    directory: Directory,
    ending: Ending,
}

impl Enrolling_ {
    fn full(account: &str, domain: Option<&Name>) -> String {
        match domain {
            Some(domain) if !account.contains('@') => format!("{account}@{}", domain.to_canonical()),
            _ => account.to_owned(),
        }
    }
}

impl Enrolling for Enrolling_ {
    fn pin(&self, account: &str, domain: Option<&Name>, _device: &Device) -> Option<Pin> {
        let name = Self::full(account, domain);
        match Handle::current().block_on(self.directory.pins(&name, jiff::Timestamp::now())) {
            Ok(pins) => pins?.pop()?.parse().ok(),
            Err(error) => {
                tracing::error!("nobody can bind: {error}");
                None
            }
        }
    }

    fn take_pin(&self, account: &str, pin: &Pin) -> bool {
        let taken = Handle::current().block_on(async {
            let taken = self.directory.use_pin(account, pin, jiff::Timestamp::now()).await?;
            // The account may be newer than the last look at all of them.
            let _ = self.members.refresh().await;
            Ok::<_, Failure>(taken)
        });
        taken.unwrap_or_else(|error| {
            tracing::error!(%account, "the PIN cannot be taken back, so nobody is bound by it: {error}");
            false
        })
    }

    fn bind(&self, _services: &[String]) -> Admission {
        if self.members.admits_anybody() { Admission::Anonymous } else { Admission::Refuse }
    }

    fn may_refresh(&self, account: &str, _binding: &[u8; 16]) -> bool {
        Handle::current().block_on(self.members.knows_now(account))
    }

    fn ended(&self, account: &str, binding: [u8; 16], until: UnixTime) -> bool {
        match Handle::current().block_on(self.ending.add(binding, until)) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%account, "a binding goes on, as its end cannot be written: {error}");
                false
            }
        }
    }
}

fn count(server: &Server<Arc<Known>>, broker: &Broker, audit: Option<Audit>, registry: &Registry) {
    let (counters, stats, broker) = (Arc::clone(server.counters()), server.stats_handle(), broker.clone());
    let known = Arc::clone(server.knowledge());
    registry.at_each_look(move |registry| {
        let total = |name, help, labels: &[(&str, &str)], value| registry.counter(name, help, labels).set(value);
        let stats = stats();
        let help = "Requests and datagrams, by what became of them.";
        for (outcome, value) in [
            ("accepted", stats.accepted),
            ("malformed", stats.malformed),
            ("bad_ticket", stats.bad_ticket),
            ("bad_mac", stats.bad_mac),
            ("replayed", stats.replayed),
            ("rate_limited", stats.rate_limited),
            ("overloaded", stats.overloaded),
        ] {
            total("watchfire_obp_outcomes_total", help, &[("outcome", outcome)], value);
        }
        total("watchfire_obp_http_requests_total", "Requests over HTTP.", &[], stats.requests);
        total("watchfire_obp_datagrams_total", "Datagrams.", &[], stats.datagrams);
        total("watchfire_obp_retransmitted_total", "Datagrams that came again.", &[], stats.retransmitted);
        total("watchfire_obp_responses_total", "Answers.", &[], stats.responses);
        total("watchfire_obp_timed_out_total", "Questions that took too long.", &[], stats.timed_out);
        let names = [
            "watchfire_obp_connections_total",
            "watchfire_obp_connections_refused_total",
            "watchfire_obp_handshakes_failed_total",
        ];
        registry.connections(names, &counters.connection);
        let limited = counters.rate_limited.load(Relaxed);
        total("watchfire_obp_address_limited_total", "Requests above the rate of their address.", &[], limited);
        let help = "Questions answered, from memory (hit) or not (miss).";
        let hits = broker.hits();
        total("watchfire_obp_answers_total", help, &[("memory", "hit")], hits);
        total("watchfire_obp_answers_total", help, &[("memory", "miss")], known.misses.load(Relaxed));
        let answers = i64::try_from(broker.answers()).unwrap_or(i64::MAX);
        registry.gauge("watchfire_obp_cached_answers", "Answers in memory.", &[]).set(answers);
        if let Some(audit) = &audit {
            total("watchfire_obp_audit_dropped_total", "Audit lines that were lost.", &[], audit.dropped());
        }
    });
}

#[cfg(test)]
mod tests {
    use watchfire_testkit::servers::Postgres;

    use super::*;
    use crate::obp::directory::AccountsUrl;
    use crate::obp::keys::Ended;
    use crate::testing::TempDir;

    async fn enrolling(url: &AccountsUrl, folder: &TempDir) -> Arc<Enrolling_> {
        let directory = Directory::open(url, None).await.unwrap();
        let members = Members::load(directory.clone(), url, false).await.unwrap();
        let ending = Ending::File(Arc::new(Ended::at(&folder.path().join("ended"))));
        Arc::new(Enrolling_ { members, directory, ending })
    }

    /// Calls it as the server does.
    async fn calls<T: Send + 'static>(at: &Arc<Enrolling_>, call: impl FnOnce(&Enrolling_) -> T + Send + 'static) -> T {
        let at = Arc::clone(at);
        tokio::task::spawn_blocking(move || call(&at)).await.unwrap()
    }

    async fn offered(at: &Arc<Enrolling_>) -> Option<Pin> {
        let domain: Name = "example.com".parse().unwrap();
        calls(at, move |at| at.pin("alice", Some(&domain), &Device::default())).await
    }

    async fn taken(at: &Arc<Enrolling_>, pin: &Pin) -> bool {
        let pin = pin.clone();
        calls(at, move |at| at.take_pin("alice@example.com", &pin)).await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_pin_that_is_proved_twice_binds_one_device_and_costs_no_other_pin() {
        let folder = TempDir::new("enrolling");
        let server = Postgres::start();
        let file = folder.path().join("accounts.toml").display().to_string();
        for place in [Some(file), server.as_ref().map(Postgres::url)].into_iter().flatten() {
            let url: AccountsUrl = place.parse().unwrap();
            let (one, two) = (enrolling(&url, &folder).await, enrolling(&url, &folder).await);
            let now = jiff::Timestamp::now();
            let later = now + Duration::from_secs(3600);
            for pin in ["11111-11111", "22222-22222"] {
                one.directory.add("alice@example.com", Some((pin, later)), now).await.unwrap();
            }
            // Devices begin at both brokers, and one of them ends where the other did not begin.
            let (first, second) = (offered(&one).await.unwrap(), offered(&two).await.unwrap());
            assert_eq!((&first, &second), (&"2222222222".parse().unwrap(), &"2222222222".parse().unwrap()));
            assert!(taken(&two, &second).await, "{place}");
            let third = offered(&one).await.unwrap();
            assert_eq!(third, "1111111111".parse().unwrap());
            assert!(!taken(&one, &first).await, "{place}: a used PIN binds another device");
            assert!(taken(&one, &third).await, "{place}: the other PIN is gone");
            assert_eq!(offered(&one).await, None);
        }
    }
}
