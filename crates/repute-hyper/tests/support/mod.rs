//! A rater on the loopback, and clients of it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use repute_hyper::client::{Answered, Client, ClientBuilder, ClientError};
use repute_hyper::repute_proto::{Applications, Lookup, Query, Reputon, Score, ServerConfig, Service};
use repute_hyper::server::{Finding, Server, ServerBuilder, Store, StoreError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Longer than anything here takes, however slow the machine.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Says of `bad.example` that it is spam, of `slow.example` the same in a while, of `broken.example` that it does not
/// know, and nothing of others.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) at_hand: AtomicBool,
    pub(crate) slow: Mutex<Duration>,
    pub(crate) asked: AtomicU64,
    /// Look-ups under way, and the most that there were.
    pub(crate) under_way: Mutex<(usize, usize)>,
}

impl Table {
    fn known(lookup: &Lookup) -> Vec<Reputon<'static>> {
        let subject = lookup.subject.as_str().to_owned();
        if !["bad.example", "slow.example"].contains(&subject.as_str()) && !subject.ends_with(".listed.example") {
            return Vec::new();
        }
        let reputon = |assertion: &'static str, rating| {
            let rating = Score::new(rating).unwrap();
            let reputon = Reputon::new("rep.example", assertion, subject.clone(), rating);
            reputon.with_sample_size(1_000).with_confidence(Score::new(0.9).unwrap()).with_generated(1_600_000_000)
        };
        vec![reputon("spam", 0.987), reputon("malware", 0.125)]
    }
}

impl Store for Table {
    fn at_hand(&self, lookup: &Lookup, answer: &mut dyn FnMut(Vec<Reputon<'_>>)) {
        if self.at_hand.load(Ordering::Relaxed) {
            self.asked.fetch_add(1, Ordering::Relaxed);
            answer(Self::known(lookup));
        }
    }

    fn find<'a>(&'a self, lookup: &'a Lookup) -> Finding<'a, Vec<Reputon<'static>>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let _busy = Busy::new(&self.under_way);
            match lookup.subject.as_str() {
                "broken.example" => return Err(StoreError::new("the disk is on fire")),
                "slow.example" => {
                    let slow = *self.slow.lock().unwrap();
                    tokio::time::sleep(slow).await;
                }
                _ => {}
            }
            Ok(Self::known(lookup))
        })
    }
}

/// Something that is under way.
pub(crate) struct Busy<'c>(&'c Mutex<(usize, usize)>);

impl<'c> Busy<'c> {
    pub(crate) fn new(counted: &'c Mutex<(usize, usize)>) -> Self {
        let mut now = counted.lock().unwrap();
        *now = (now.0 + 1, now.1.max(now.0 + 1));
        Self(counted)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap().0 -= 1;
    }
}

pub(crate) struct Site {
    pub(crate) server: Server,
    pub(crate) table: Arc<Table>,
    pub(crate) address: SocketAddr,
    pub(crate) service: Service,
    pub(crate) tls: Arc<rustls::ClientConfig>,
}

/// What [`ServerConfig::new`] gives, with a template that fits either scheme.
pub(crate) fn config() -> ServerConfig {
    let mut config = ServerConfig::builder("rep.example").build().unwrap();
    config.templates = vec!["{scheme}://{service}/{application}/{subject}{/assertion}{?identity}".parse().unwrap()];
    config.batch = true;
    config
}

impl Site {
    pub(crate) async fn start(config: ServerConfig, change: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        Self::start_with(config, false, change).await
    }

    pub(crate) async fn start_tls(config: ServerConfig) -> Self {
        Self::start_with(config, true, |builder| builder).await
    }

    pub(crate) async fn start_tls_with(
        config: ServerConfig,
        change: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Self {
        Self::start_with(config, true, change).await
    }

    async fn start_with(
        config: ServerConfig,
        is_tls: bool,
        change: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Self {
        let table = Arc::new(Table::default());
        let server = change(Server::builder(config, Arc::clone(&table))).start();
        let (server_tls, tls) = certificates(&["h2", "http/1.1"]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.serve(listener, is_tls.then_some(server_tls)).unwrap();
        let scheme = if is_tls { "https" } else { "http" };
        let service = format!("{scheme}://localhost:{}", address.port()).parse().unwrap();
        Self { server, table, address, service, tls }
    }

    /// A client that trusts this site.
    pub(crate) fn client(&self) -> ClientBuilder {
        Client::builder().with_tls(Arc::clone(&self.tls))
    }

    pub(crate) fn requests(&self) -> u64 {
        self.server.counters().requests.load(Ordering::Relaxed)
    }
}

pub(crate) fn query(subject: &str) -> Query {
    Query::builder("email-id", subject).assertion("spam").build(&Applications::default()).unwrap()
}

pub(crate) async fn ask(client: &Client, service: &Service, subject: &str) -> Result<Answered, ClientError> {
    client.query(service, query(subject), LONG).await
}

/// Sends octets, and gives what comes until the connection closes.
pub(crate) async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    rest(&mut stream).await
}

/// What comes until the connection closes.
pub(crate) async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // It may be reset, which is closed too.
    let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.expect("it closes");
    String::from_utf8(answer).unwrap()
}

/// A request with these header fields, the last of its connection.
pub(crate) async fn get(address: SocketAddr, method: &str, path: &str, fields: &str) -> String {
    raw(address, &format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n")).await
}

/// The value of a header field of a response.
pub(crate) fn field<'r>(response: &'r str, name: &str) -> Option<&'r str> {
    let head = response.split("\r\n\r\n").next()?;
    let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Its body.
pub(crate) fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// Waits until it is so; the test fails when it never is.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, waiting).await.is_ok(), "never: {what}");
}

/// A certificate for `localhost` and who trusts it.
pub(crate) fn certificates(alpn: &[&str]) -> (Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let der = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
    let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut server = server.with_single_cert(vec![der.clone()], key).unwrap();
    server.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(der).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    (Arc::new(server), Arc::new(client.with_root_certificates(roots).with_no_client_auth()))
}
