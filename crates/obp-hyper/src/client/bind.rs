//! Binding to a broker, and what follows from it: refreshing and ending a binding (draft-hallambaker-wsconnect-08).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use obp_proto::client::HttpTarget;
use obp_proto::crypto::RustCrypto;
use obp_proto::error::ExchangeFailure;
use obp_proto::message::Name;
use obp_proto::order::by_priority_and_weight;
use obp_proto::service_connect::{
    AccountName, Binding, ConnectClient, ConnectClientConfig, ConnectClientEvent, PATH, Pin, Request, Response,
};
use obp_proto::session::{HEADER_NAME, Profile, Signer};
use obp_proto::{Encoding, Error};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use watchfire_core::{ExchangeMachine as _, Machine as _, Output};
use watchfire_hyper::{Clock, seed};

use super::http::{Pool, Trouble};
use crate::race::{Race, RaceError};

/// Where a broker's service-connect is: `https://HOST[:PORT]`, or `http://` with a host of the loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    host: String,
    /// As it is in the URL.
    said: Option<u16>,
    tls: bool,
}

/// Why a text is no [`BrokerUrl`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; write https://HOST or https://HOST:PORT")]
pub struct InvalidUrl(&'static str);

impl BrokerUrl {
    /// The host: a name or an address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port: that of the URL, or of its scheme.
    pub const fn port(&self) -> u16 {
        match self.said {
            Some(port) => port,
            None if self.tls => 443,
            None => 80,
        }
    }

    /// The name under which SRV records say where the service is (draft-hallambaker-wsconnect-08 section 7): the
    /// prefix is that of its well-known path. None when the URL has a port or an address, which say it already.
    pub fn srv_name(&self) -> Option<String> {
        let is_name = self.host.parse::<std::net::IpAddr>().is_err() && !self.host.eq_ignore_ascii_case("localhost");
        (self.tls && self.said.is_none() && is_name).then(|| format!("_sxs-connect._tcp.{}", self.host))
    }

    /// Whether it is reached over TLS.
    pub const fn is_tls(&self) -> bool {
        self.tls
    }
}

impl FromStr for BrokerUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let uri: hyper::Uri = text.parse().map_err(|_| InvalidUrl("not a URL"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(InvalidUrl("the scheme must be https")),
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(InvalidUrl("the path of the service is fixed, so there must be none"));
        }
        let authority = uri.authority().ok_or(InvalidUrl("there is no host"))?;
        if authority.as_str().contains('@') {
            return Err(InvalidUrl("there must be no user in it"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let said = authority.port_u16();
        let ip = host.parse::<std::net::IpAddr>();
        if ip.is_err() && host.parse::<Name>().is_err() {
            return Err(InvalidUrl("the host is neither a name nor an address"));
        }
        let loopback = ip.is_ok_and(|ip| ip.is_loopback()) || host.eq_ignore_ascii_case("localhost");
        if !tls && !loopback {
            return Err(InvalidUrl("keys are handed out, so it must be https but on the loopback"));
        }
        Ok(Self { host, said, tls })
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]", self.host)?;
        } else {
            write!(f, "{scheme}://{}", self.host)?;
        }
        match self.said {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// Looks up SRV records, by whatever the program has for that.
pub trait Services: fmt::Debug + Send + Sync {
    /// The records of a name, in any order. None when there are none, or they cannot be had: then the host itself is
    /// tried. A target of `.`, which says that there is no such service, is an empty name.
    fn srv<'a>(
        &'a self,
        name: &'a str,
    ) -> std::pin::Pin<Box<dyn Future<Output = Option<Vec<ServiceRecord>>> + Send + 'a>>;
}

/// One SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the record has four fields")]
pub struct ServiceRecord {
    /// Lower ones first.
    pub priority: u16,
    /// The share among those of the same priority.
    pub weight: u16,
    /// Where it listens.
    pub port: u16,
    /// The host.
    pub target: String,
}

/// The most hosts that are tried.
const MOST_HOSTS: usize = 8;

/// How to bind.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BindOptions {
    /// What the protocol's machine is told.
    pub connect: Arc<ConnectClientConfig>,
    /// Whom to trust about the broker's certificate.
    pub tls: Arc<rustls::ClientConfig>,
    /// How SRV records are looked up. Nothing: only the addresses of the host in the URL are.
    pub services: Option<Arc<dyn Services>>,
    /// How the addresses of its host are tried.
    pub race: Race,
    /// Octets of a response: 256 KiB.
    pub body_limit: usize,
}

impl BindOptions {
    /// The defaults.
    pub fn new(tls: Arc<rustls::ClientConfig>) -> Self {
        let connect =
            Arc::new(ConnectClientConfig::builder(Arc::new(RustCrypto)).build().expect("the defaults are good"));
        Self { connect, tls, services: None, race: Race::default(), body_limit: 256 * 1024 }
    }
}

/// Why a device is not bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The host has no address, or none that answers.
    #[error("{url}: {what}")]
    Unreachable {
        /// Where.
        url: BrokerUrl,
        /// Why.
        what: String,
    },
    /// The protocol's machine says why.
    #[error("{0}")]
    Protocol(Error),
    /// There is no account in the binding: it cannot be refreshed or ended.
    #[error("the binding is anonymous: bind again instead")]
    Anonymous,
    /// The system has no randomness.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Binds to an account by a PIN, or without: then the broker lets anybody in, or somebody has to confirm the device
/// while this waits.
///
/// # Errors
/// When the broker cannot be reached, refuses, or does not prove that it knows the PIN.
pub async fn bind(
    url: &BrokerUrl,
    by: Option<(&AccountName, Pin)>,
    options: &BindOptions,
) -> Result<Binding, BindError> {
    let (clock, seed, config) = (Clock::start(), seed()?, Arc::clone(&options.connect));
    let machine = match by {
        Some((account, pin)) => ConnectClient::bind_by_pin(config, account, pin, seed, clock.now()),
        None => ConnectClient::bind(config, seed, clock.now()),
    };
    let outcome = drive(machine, clock, url, options).await?;
    outcome.ok_or(BindError::Protocol(Error::TimedOut("binding")))
}

/// Asks for new tickets in place of those of `binding`.
///
/// # Errors
/// As [`bind`]; then the old binding is as good as it was.
pub async fn refresh(url: &BrokerUrl, binding: Binding, options: &BindOptions) -> Result<Binding, BindError> {
    let clock = Clock::start();
    let machine = ConnectClient::refresh(Arc::clone(&options.connect), binding, clock.now());
    let outcome = drive(machine.map_err(|_| BindError::Anonymous)?, clock, url, options).await?;
    outcome.ok_or(BindError::Protocol(Error::TimedOut("refreshing")))
}

/// Ends `binding`. Every copy of it should be wiped afterwards.
///
/// # Errors
/// As [`bind`]; then the binding is as good as it was.
pub async fn unbind(url: &BrokerUrl, binding: Binding, options: &BindOptions) -> Result<(), BindError> {
    let clock = Clock::start();
    let machine = ConnectClient::unbind(Arc::clone(&options.connect), binding, clock.now());
    drive(machine.map_err(|_| BindError::Anonymous)?, clock, url, options).await.map(drop)
}

/// Runs the machine to its end; the binding it ends with, if it does.
async fn drive(
    mut machine: ConnectClient,
    clock: Clock,
    url: &BrokerUrl,
    options: &BindOptions,
) -> Result<Option<Binding>, BindError> {
    let unreachable = |what: String| BindError::Unreachable { url: url.clone(), what };
    let pool = Pool::new(Arc::clone(&options.tls), options.body_limit, Duration::from_secs(10));
    let mut rng = StdRng::from_seed(seed()?);
    let target = target(url, options, &pool, &mut rng).await.map_err(unreachable)?;
    let mut trouble = None;
    loop {
        match machine.poll_output(clock.now()) {
            Output::Transmit(never) => match never {},
            Output::Event(ConnectClientEvent::Request(request)) => {
                let id = request.id;
                // The machine's time-out for a response is about a service that answers nothing at all.
                let limit = options.connect.response_timeout;
                let exchanged = tokio::time::timeout(limit, exchange(&pool, &target, request, options, &mut rng)).await;
                let now = clock.now();
                let _ = match exchanged {
                    Ok(Ok(response)) => machine.handle_response(now, id, response),
                    Ok(Err(Trouble { failure, what })) => {
                        trouble = Some(what);
                        machine.handle_failure(now, id, failure)
                    }
                    Err(_) => machine.handle_failure(now, id, ExchangeFailure::TimedOut),
                };
            }
            Output::Event(ConnectClientEvent::Pending { retry }) => {
                tracing::info!(?retry, "the broker waits for somebody to confirm this device");
            }
            Output::Event(ConnectClientEvent::Bound(binding)) => return Ok(Some(binding)),
            Output::Event(ConnectClientEvent::Unbound) => return Ok(None),
            Output::Event(ConnectClientEvent::Closed { error }) => {
                return Err(match trouble {
                    Some(what) if matches!(error, Error::Unreachable(_)) => unreachable(what),
                    _ => BindError::Protocol(error),
                });
            }
            Output::Event(_) => {}
            Output::Timeout(wake) => {
                if machine.is_finished() {
                    return Ok(None);
                }
                clock.until(wake).await;
                let _ = machine.handle_timeout(clock.now());
            }
        }
    }
}

/// The address to ask: the first that takes a connection, which is kept for the first request. The certificate must be
/// for the host in the URL wherever SRV records lead (RFC 6125 section 6.2.1): the DNS is not asked whom to trust.
async fn target(url: &BrokerUrl, options: &BindOptions, pool: &Pool, rng: &mut StdRng) -> Result<HttpTarget, String> {
    let mut failure = "the host has no address".to_owned();
    for (host, port) in hosts(url, options.services.as_deref(), rng).await? {
        let found = tokio::net::lookup_host((host.as_str(), port)).await;
        let addresses: Vec<_> = match found {
            Ok(found) => found.collect(),
            Err(error) => {
                failure = format!("{host} has no address: {error}");
                continue;
            }
        };
        match options.race.connect(&addresses).await {
            Ok(won) => {
                let name = url.host.parse().ok().filter(|_| url.host.parse::<std::net::IpAddr>().is_err());
                let target = HttpTarget::new(won.address, name, url.tls);
                pool.adopt(won.value, &target).await.map_err(|trouble| trouble.what)?;
                return Ok(target);
            }
            Err(RaceError::NoAddress) => {}
            Err(other) => failure = other.to_string(),
        }
    }
    Err(failure)
}

/// The hosts and ports to try, in their order.
async fn hosts(
    url: &BrokerUrl,
    services: Option<&dyn Services>,
    rng: &mut StdRng,
) -> Result<Vec<(String, u16)>, String> {
    if let Some(services) = services
        && let Some(name) = url.srv_name()
        && let Some(mut records) = services.srv(&name).await.filter(|records| !records.is_empty())
    {
        if records.iter().all(|record| record.target.trim_end_matches('.').is_empty()) {
            return Err(format!("its SRV records at {name} say that there is no such service"));
        }
        by_priority_and_weight(&mut records, rng, |record| (record.priority, record.weight));
        return Ok(records.into_iter().take(MOST_HOSTS).map(|record| (record.target, record.port)).collect());
    }
    Ok(vec![(url.host.clone(), url.port())])
}

async fn exchange(
    pool: &Pool,
    target: &HttpTarget,
    request: Request,
    options: &BindOptions,
    rng: &mut StdRng,
) -> Result<Response, Trouble> {
    let content_type = request.encoding.content_type();
    let mut headers = vec![
        ("content-type", content_type.to_owned()),
        ("accept", content_type.to_owned()),
        ("cache-control", "no-store".to_owned()),
    ];
    let mut expected = None;
    if let Some(credentials) = &request.credentials {
        let signer = Signer::new(&*options.connect.provider, credentials);
        let signer = signer.ok_or_else(|| Trouble {
            failure: ExchangeFailure::NotHttp,
            what: "the algorithm of the ticket is unknown".to_owned(),
        })?;
        let time = u64::try_from(Clock::wall().as_secs()).unwrap_or_default();
        let (header, check) = signer.sign(Profile::Strict, time, rng, &request.body);
        headers.push((HEADER_NAME, header));
        expected = Some(check);
    }
    let response = pool.exchange(target, PATH, &headers, request.body).await?;
    let encoding = response.header("content-type").and_then(Encoding::from_content_type);
    let authenticated =
        expected.is_some_and(|check| check.check(response.headers(HEADER_NAME), &response.body).is_ok());
    let answer = Response::new(response.status, response.body).with_encoding(encoding);
    Ok(answer.with_authenticated(authenticated))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Told(Vec<ServiceRecord>);

    impl Services for Told {
        fn srv<'a>(
            &'a self,
            name: &'a str,
        ) -> std::pin::Pin<Box<dyn Future<Output = Option<Vec<ServiceRecord>>> + Send + 'a>> {
            assert_eq!(name, "_sxs-connect._tcp.example.com");
            Box::pin(async { Some(self.0.clone()) })
        }
    }

    #[tokio::test]
    async fn srv_records_say_where_unless_the_url_does() {
        let record = |priority, target: &str| {
            let (weight, port) = (0, 8443);
            ServiceRecord { priority, weight, port, target: target.to_owned() }
        };
        let told = Told(vec![record(2, "two.example.net"), record(1, "one.example.net")]);
        let mut rng = StdRng::from_seed([1; 32]);
        let mut ask = async |url: &str, told: &Told| hosts(&url.parse().unwrap(), Some(told), &mut rng).await;
        let own = |text: &str, port| (text.to_owned(), port);
        let both = vec![own("one.example.net", 8443), own("two.example.net", 8443)];
        assert_eq!(ask("https://example.com", &told).await, Ok(both));
        assert_eq!(ask("https://example.com:443", &told).await, Ok(vec![own("example.com", 443)]));
        assert_eq!(ask("https://192.0.2.1", &told).await, Ok(vec![own("192.0.2.1", 443)]));
        assert_eq!(ask("https://example.com", &Told(Vec::new())).await, Ok(vec![own("example.com", 443)]));
        let none = ask("https://example.com", &Told(vec![record(0, ".")])).await.unwrap_err();
        assert!(none.contains("no such service"), "{none}");
    }

    #[test]
    fn urls_of_brokers() {
        let url: BrokerUrl = "https://broker.example.com".parse().unwrap();
        assert_eq!((url.host(), url.port(), url.is_tls()), ("broker.example.com", 443, true));
        assert_eq!("https://[::1]:8443/".parse::<BrokerUrl>().unwrap().to_string(), "https://[::1]:8443");
        assert_eq!(url.to_string(), "https://broker.example.com");
        assert!(!"http://127.0.0.1:8080".parse::<BrokerUrl>().unwrap().is_tls());
        for bad in [
            "broker.example.com",
            "http://broker.example.com",
            "ftp://broker.example.com",
            "https://user@broker.example.com",
            "https://broker.example.com/path",
            "https://",
            "https://bro ker",
        ] {
            assert!(bad.parse::<BrokerUrl>().is_err(), "{bad}");
        }
    }
}
