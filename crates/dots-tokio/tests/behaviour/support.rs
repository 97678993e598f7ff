//! Credentials, a back end that tells what it did, and pairs of a client and a server.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use dots_callhome::body::{List, Scope};
use dots_callhome::{AnySource, Counters, Rules, Transport};
use dots_tokio::client::{CallHomeClientEvent, ClientEvents, ClientLimits};
use dots_tokio::server::{Mitigator, MitigatorError, Order, Report, ServerLimits, Upstream};
use dots_tokio::{Backend, CallHomeClient, CallHomeServer, Security, SecurityConfig};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::net::{TcpListener, UdpSocket};

/// The name of the Call Home client.
pub const CLIENT: &str = "client.example";
/// The name of the Call Home server.
pub const SERVER: &str = "home.example";
/// How long an end may take.
pub const GRACE: Duration = Duration::from_secs(5);
/// Patience with a slow machine.
pub const WAIT: Duration = Duration::from_secs(30);

pub struct Ca {
    pub pem: String,
    pub issuer: Issuer<'static, KeyPair>,
    /// What stands behind a leaf.
    pub above: String,
}

pub struct Leaf {
    pub chain: String,
    pub key: String,
    pub spki_sha256: [u8; 32],
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Ca {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key), above: String::new() }
    }

    pub fn below(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let above = params.signed_by(&key, &self.issuer).unwrap().pem();
        Self { pem: self.pem.clone(), issuer: Issuer::new(params, key), above }
    }

    pub fn issue(&self, name: &str) -> Leaf {
        self.issue_with(name, |_| {})
    }

    pub fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        use sha2::Digest as _;
        let key = KeyPair::generate().unwrap();
        let mut params = params(name);
        params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().unwrap())];
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf {
            chain: certificate.pem() + &self.above,
            key: key.serialize_pem(),
            spki_sha256: sha2::Sha256::digest(key.subject_public_key_info()).into(),
        }
    }

    /// Credentials of this CA, for a node of this name.
    pub fn config(&self, name: &str) -> SecurityConfig {
        self.config_of(&self.issue(name))
    }

    pub fn config_of(&self, leaf: &Leaf) -> SecurityConfig {
        SecurityConfig::new()
            .with_certificate(leaf.chain.as_bytes(), leaf.key.as_bytes())
            .unwrap()
            .with_ca(self.pem.as_bytes())
            .unwrap()
    }
}

use rcgen::PublicKeyData as _;

/// What the back end was told.
#[derive(Debug, Default)]
pub struct Filters {
    pub in_force: Mutex<BTreeMap<u32, Order>>,
    pub starts: AtomicU32,
    pub refreshes: AtomicU32,
    pub stops: AtomicU32,
    pub fail: AtomicBool,
    pub busy: AtomicU32,
    pub hang: AtomicBool,
}

#[async_trait]
impl Mitigator for Filters {
    async fn start(&self, order: &Order) -> Result<(), MitigatorError> {
        self.starts.fetch_add(1, Ordering::SeqCst);
        if self.hang.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.fail.load(Ordering::SeqCst) {
            return Err(MitigatorError::new("no such table"));
        }
        self.in_force.lock().unwrap().insert(order.mid, order.clone());
        Ok(())
    }

    async fn refresh(&self, _: &Order) -> Result<(), MitigatorError> {
        self.refreshes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn stop(&self, order: &Order) -> Result<(), MitigatorError> {
        self.stops.fetch_add(1, Ordering::SeqCst);
        self.in_force.lock().unwrap().remove(&order.mid);
        Ok(())
    }

    async fn report(&self, _: &Order) -> Result<Report, MitigatorError> {
        Ok(Report::default().with_counters(Counters { bytes: 4200, bps: 42, pkts: 7, pps: 1 }))
    }

    fn busy(&self) -> Option<u32> {
        Some(self.busy.load(Ordering::SeqCst)).filter(|seconds| *seconds > 0)
    }
}

impl Filters {
    pub fn count(&self) -> usize {
        self.in_force.lock().unwrap().len()
    }
}

/// Which DTLS back ends there are to be tested.
pub fn backends() -> Vec<Backend> {
    vec![
        #[cfg(feature = "dimpl")]
        Backend::Dimpl,
        #[cfg(feature = "openssl")]
        Backend::OpenSsl,
    ]
}

/// What a session can be carried by: TLS, or DTLS of either kind.
pub fn carriers() -> Vec<Carrier> {
    let dtls = backends().into_iter().map(Carrier::Dtls);
    std::iter::once(Carrier::Tls).chain(dtls).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    Tls,
    Dtls(Backend),
}

impl Carrier {
    pub fn transport(self) -> Transport {
        match self {
            Self::Tls => Transport::Stream,
            Self::Dtls(_) => Transport::Datagram,
        }
    }

    pub fn set(self, config: SecurityConfig) -> SecurityConfig {
        match self {
            Self::Tls => config,
            Self::Dtls(backend) => config.with_backend(backend),
        }
    }
}

pub fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A listening Call Home client, for one carrier; its address.
pub async fn listen(carrier: Carrier, config: SecurityConfig, limits: ClientLimits) -> (CallHomeClient, SocketAddr) {
    let security = Security::new(&carrier.set(config)).unwrap();
    let builder = CallHomeClient::builder(security, AnySource).with_limits(limits);
    let builder = match carrier {
        Carrier::Tls => builder.listen_tls(TcpListener::bind(loopback()).await.unwrap()),
        Carrier::Dtls(_) => builder.listen_dtls(UdpSocket::bind(loopback()).await.unwrap()),
    };
    let client = builder.start().unwrap();
    let address = *client.tls_addrs().first().or_else(|| client.dtls_addrs().first()).unwrap();
    (client, address)
}

/// An upstream at this address, that is dialled again soon.
pub fn upstream(carrier: Carrier, at: SocketAddr) -> Upstream {
    Upstream::new(CLIENT, at.port()).at([at.ip()]).over(carrier.transport()).with_dialer(|dialer| {
        dialer.with_retry_min(Duration::from_millis(100)).with_retry_max(Duration::from_millis(400))
    })
}

pub fn call(carrier: Carrier, config: SecurityConfig, at: SocketAddr, filters: &Arc<Filters>) -> CallHomeServer {
    let security = Security::new(&carrier.set(config)).unwrap();
    let mut limits = ServerLimits::default();
    limits.report_every = Duration::from_millis(50);
    CallHomeServer::builder(security, AnySource, Arc::clone(filters))
        .with_limits(limits)
        .with_machine(|machine| {
            let rules = Rules::default().with_terminating(Duration::from_millis(200));
            machine.with_rules(rules).with_notify_every(Duration::from_secs(1))
        })
        .call(upstream(carrier, at))
        .start()
        .unwrap()
}

/// Both, and what the client sees.
pub struct Pair {
    pub client: CallHomeClient,
    pub server: CallHomeServer,
    pub filters: Arc<Filters>,
    pub events: ClientEvents,
    pub address: SocketAddr,
}

impl Pair {
    pub async fn new(carrier: Carrier) -> Self {
        let ca = Ca::new("Test CA");
        Self::with(carrier, ca.config(CLIENT), ca.config(SERVER)).await
    }

    pub async fn with(carrier: Carrier, client: SecurityConfig, server: SecurityConfig) -> Self {
        let (client, address) = listen(carrier, client, ClientLimits::default()).await;
        let mut events = client.events();
        let filters = Arc::new(Filters::default());
        let server = call(carrier, server, address, &filters);
        connected(&mut events).await;
        Self { client, server, filters, events, address }
    }
}

/// Waits for an event.
pub async fn until<T>(events: &mut ClientEvents, what: &str, fits: impl Fn(&CallHomeClientEvent) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = fits(&events.next().await.unwrap()) {
                return found;
            }
        }
    };
    tokio::time::timeout(WAIT, found).await.unwrap_or_else(|_| panic!("no {what} in time"))
}

/// Waits for a peer, and says who it is.
pub async fn connected(events: &mut ClientEvents) -> String {
    until(events, "session", |event| match event {
        CallHomeClientEvent::Connected { peer, .. } => Some(peer.to_string()),
        _ => None,
    })
    .await
}

/// Waits until it is so.
pub async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(WAIT, waiting).await.unwrap_or_else(|_| panic!("{what}: not in time"));
}

pub fn scope(target: &str, source: &str) -> Scope {
    let mut scope = Scope::default();
    scope.target_prefix = List::one(target.parse().unwrap());
    scope.source_prefix = List::one(source.parse().unwrap());
    scope
}

pub fn attack() -> Scope {
    scope("198.51.100.7/32", "192.0.2.10/32")
}
