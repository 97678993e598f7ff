//! Peers A and B over HTTP.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use acme_lurk::ConfigError;
use acme_lurk::rendezvous::{
    ExchangeFailure, ExchangeId, FetchError, FetchRequest, NotWritten, Notification, RelayUrl, Sink, SinkConfig,
    SinkEvent, Source, SourceConfig, SourceEvent, StoreError, StoreRequest,
};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use watchfire_core::{ExchangeMachine as _, Instant, Machine as _, Output};
use watchfire_hyper::{BasicCredentials, BodyError, Clock, Connector, causes, is_coded, read_body, seed};
use zeroize::Zeroizing;

/// Bounds of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayClientConfig {
    /// For a connection: name, TCP and TLS. 10 s.
    pub connect: Duration,
    /// For one exchange with the relay. 30 s.
    pub exchange: Duration,
    /// How often an exchange is tried: 3.
    pub attempts: u32,
    /// Octets of the largest chunk, opened. 64 MiB.
    pub chunk: usize,
    /// Octets of the head of a response, at least 8192. 32 KiB.
    pub head_octets: usize,
    /// Header fields of a response. 100.
    pub fields: usize,
}

impl Default for RelayClientConfig {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            exchange: Duration::from_secs(30),
            attempts: 3,
            chunk: 64 << 20,
            head_octets: 32 << 10,
            fields: 100,
        }
    }
}

/// Puts chunks into relays and gets them. Redirects are not followed, codings not undone. Clones share connections.
#[derive(Clone)]
pub struct RelayClient {
    http: legacy::Client<Connector, Full<Bytes>>,
    config: RelayClientConfig,
    credentials: Option<HeaderValue>,
}

/// Why nothing was put there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Putting {
    /// A setting of the client cannot be.
    #[error("the setting {0}")]
    Config(#[source] ConfigError),
    /// The password would go over the network in clear text.
    #[error("the password would go to {0} in clear text")]
    ClearText(String),
    /// The system has no randomness.
    #[error("the system has no randomness: {0}")]
    Randomness(String),
    /// The chunk is larger than the client takes.
    #[error("{0}")]
    TooLarge(NotWritten),
    /// The relay did not take it.
    #[error("{error}{}", in_brackets(detail))]
    Store {
        /// Why.
        error: StoreError,
        /// What the system, TLS or HTTP said.
        detail: Option<String>,
    },
}

/// Why nothing was got.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Getting {
    /// A setting of the client cannot be.
    #[error("the setting {0}")]
    Config(#[source] ConfigError),
    /// The system has no randomness.
    #[error("the system has no randomness: {0}")]
    Randomness(String),
    /// The relay did not have it, or what it had was not what was put there.
    #[error("{error}{}", in_brackets(detail))]
    Fetch {
        /// Why.
        error: FetchError,
        /// What the system, TLS or HTTP said.
        detail: Option<String>,
    },
}

fn in_brackets(detail: &Option<String>) -> String {
    detail.as_ref().map_or_else(String::new, |detail| format!(" ({detail})"))
}

const AGENT: HeaderValue = HeaderValue::from_static(concat!("acme-lurk-hyper/", env!("CARGO_PKG_VERSION")));

/// What an exchange brought, or why it did not.
type Brought<T> = Result<T, (ExchangeFailure, String)>;

type UnderWay<'a, T> = Option<(ExchangeId, Pin<Box<dyn Future<Output = Brought<T>> + Send + 'a>>)>;

impl RelayClient {
    /// A client that trusts whom `tls` trusts.
    pub fn new(tls: rustls::ClientConfig, config: RelayClientConfig) -> Self {
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .http1_max_buf_size(config.head_octets.max(8192))
            .http1_max_headers(config.fields)
            .http2_max_header_list_size(u32::try_from(config.head_octets).unwrap_or(u32::MAX))
            .build(Connector::new(tls, config.connect));
        Self { http, config, credentials: None }
    }

    /// With a user and a password, for putting chunks there. They are sent over https, and to the loopback.
    #[must_use]
    pub fn with_credentials(mut self, credentials: &BasicCredentials) -> Self {
        self.credentials = credentials.to_header().ok();
        self
    }

    /// Puts octets there as one chunk, and gives the notification for B.
    ///
    /// # Errors
    /// When the relay does not take it.
    pub async fn put(&self, relay: &RelayUrl, octets: &[u8], sealed: bool) -> Result<Notification, Putting> {
        if self.credentials.is_some() && !relay.is_https() && !is_loopback(relay) {
            return Err(Putting::ClearText(relay.to_string()));
        }
        let secret = seed().map(Zeroizing::new).map_err(|error| Putting::Randomness(error.to_string()))?;
        let clock = Clock::start();
        let config = SourceConfig::builder(relay.clone())
            .with_sealed(sealed)
            .with_chunk(self.config.chunk.saturating_add(acme_lurk::rendezvous::SEAL_OVERHEAD))
            .with_waiting(self.config.chunk)
            .with_attempts(self.config.attempts)
            .with_patience(self.config.exchange)
            .build()
            .map_err(Putting::Config)?;
        let mut source = Source::new(config, *secret);
        // An empty chunk is none: the relay is told nothing, and so is B.
        source.write(clock.now(), octets).map_err(Putting::TooLarge)?;
        source.finish(clock.now());
        let (mut under_way, mut detail, mut told): (UnderWay<'_, u16>, _, _) = (None, None, None);
        loop {
            match source.poll_output(clock.now()) {
                Output::Event(SourceEvent::Exchange(request)) => {
                    under_way = Some((request.id, Box::pin(self.store(request))));
                }
                Output::Event(SourceEvent::Abandon(_)) => under_way = None,
                Output::Event(SourceEvent::Notify(notification)) => {
                    source.notified(clock.now(), notification.seq());
                    told = Some(notification);
                }
                Output::Event(SourceEvent::Failed { error, .. }) => {
                    let detail = detail.filter(|_| matches!(error, StoreError::Exchange(_)));
                    return Err(Putting::Store { error, detail });
                }
                Output::Event(SourceEvent::Closed) => {
                    return told.ok_or(Putting::TooLarge(NotWritten::Ended));
                }
                Output::Event(_) => {}
                Output::Timeout(due) => match wait(&clock, due, &mut under_way).await {
                    Some((id, Ok(status))) => infallible(source.handle_response(clock.now(), id, status)),
                    Some((id, Err((failure, what)))) => {
                        detail = Some(what);
                        infallible(source.handle_failure(clock.now(), id, failure));
                    }
                    None => infallible(source.handle_timeout(clock.now())),
                },
            }
        }
    }

    /// Gets what a notification tells of: checked, and opened if it is sealed.
    ///
    /// # Errors
    /// When it is not there, or not what was put there.
    pub async fn get(&self, notification: Notification) -> Result<Vec<u8>, Getting> {
        let spread = seed().map_err(|error| Getting::Randomness(error.to_string()))?;
        let clock = Clock::start();
        let config = SinkConfig::builder()
            .with_chunk(self.config.chunk)
            .with_attempts(self.config.attempts)
            .with_patience(self.config.exchange)
            .build()
            .map_err(Getting::Config)?;
        let mut sink = Sink::new(config, spread).starting_at(notification.seq());
        // The first one is always taken.
        let _ = sink.notify(clock.now(), notification);
        let (mut under_way, mut detail): (UnderWay<'_, (u16, Vec<u8>)>, _) = (None, None);
        loop {
            match sink.poll_output(clock.now()) {
                Output::Event(SinkEvent::Exchange(request)) => {
                    under_way = Some((request.id, Box::pin(self.fetch(request))));
                }
                Output::Event(SinkEvent::Abandon(_)) => under_way = None,
                Output::Event(SinkEvent::Deliver { octets, .. }) => return Ok(octets),
                Output::Event(SinkEvent::Failed { error, .. }) => {
                    let detail = detail.filter(|_| matches!(error, FetchError::Exchange(_)));
                    return Err(Getting::Fetch { error, detail });
                }
                Output::Event(_) => {}
                Output::Timeout(due) => match wait(&clock, due, &mut under_way).await {
                    Some((id, Ok(response))) => infallible(sink.handle_response(clock.now(), id, response)),
                    Some((id, Err((failure, what)))) => {
                        detail = Some(what);
                        infallible(sink.handle_failure(clock.now(), id, failure));
                    }
                    None => infallible(sink.handle_timeout(clock.now())),
                },
            }
        }
    }

    async fn store(&self, request: StoreRequest) -> Brought<u16> {
        let mut message = Request::new(Full::from(Bytes::from_owner(request.body)));
        *message.method_mut() = Method::POST;
        message.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        if let Some(credentials) = &self.credentials {
            message.headers_mut().insert(AUTHORIZATION, credentials.clone());
        }
        // What it says beyond the status is not read.
        Ok(self.send(message, &request.url).await?.status().as_u16())
    }

    async fn fetch(&self, request: FetchRequest) -> Brought<(u16, Vec<u8>)> {
        let response = self.send(Request::new(Full::default()), &request.url).await?;
        let (head, body) = response.into_parts();
        if head.status != http::StatusCode::OK {
            return Ok((head.status.as_u16(), Vec::new()));
        }
        if is_coded(&head.headers) {
            return Err((ExchangeFailure::Broken, "a content coding that was not asked for".into()));
        }
        let body = read_body(body, request.max_body, self.config.exchange).await.map_err(|error| {
            let failure = match error {
                BodyError::TooLarge => ExchangeFailure::TooLarge,
                BodyError::TooSlow => ExchangeFailure::TimedOut,
                _ => ExchangeFailure::Broken,
            };
            (failure, error.to_string())
        })?;
        Ok((head.status.as_u16(), body.into()))
    }

    async fn send(&self, mut message: Request<Full<Bytes>>, url: &str) -> Brought<Response<Incoming>> {
        let uri: Result<http::Uri, _> = url.parse();
        *message.uri_mut() = uri.map_err(|error| (ExchangeFailure::Connect, error.to_string()))?;
        message.headers_mut().insert(USER_AGENT, AGENT);
        self.http.request(message).await.map_err(|error| {
            let failure = if error.is_connect() { ExchangeFailure::Connect } else { ExchangeFailure::Broken };
            (failure, causes(&error))
        })
    }
}

impl fmt::Debug for RelayClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayClient").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Waits for what is under way; none when its time has come.
async fn wait<T>(
    clock: &Clock,
    due: Option<Instant>,
    under_way: &mut UnderWay<'_, T>,
) -> Option<(ExchangeId, Brought<T>)> {
    let brought = match under_way {
        Some((id, exchange)) => tokio::select! {
            brought = exchange => (*id, brought),
            () = clock.until(due) => return None,
        },
        None => {
            clock.until(due).await;
            return None;
        }
    };
    *under_way = None;
    Some(brought)
}

/// Machines of the rendezvous say what is wrong by events.
fn infallible(result: Result<(), std::convert::Infallible>) {
    let Ok(()) = result;
}

/// Whether a relay is on this machine, by its address or by the name that always is.
fn is_loopback(relay: &RelayUrl) -> bool {
    use acme_lurk::url::{Host, HttpUrl};
    match HttpUrl::parse(relay.as_str()).map(|url| url.host().clone()) {
        Some(Host::Address(address)) => address.to_canonical().is_loopback(),
        Some(Host::Name(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}
