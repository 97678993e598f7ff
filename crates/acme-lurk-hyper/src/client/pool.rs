//! The exchanges that machines ask for, over connections that are kept.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use acme_lurk::acme::client::{Exchange, ExchangeFailure, Received};
use acme_lurk::url::{Reach, is_public};
use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Semaphore;
use watchfire_hyper::{BodyError, Connector, NotAllowed, causes, is_coded, read_body};

/// How much is asked at once, and held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolLimits {
    /// Exchanges at one time; more wait, within their own time. 64.
    pub exchanges: usize,
    /// For a connection: name, TCP and TLS. 10 s.
    pub connect: Duration,
    /// How long a connection is kept that nobody uses. 60 s.
    pub idle: Duration,
    /// Octets of the head of a response, at least 8192. 32 KiB.
    pub head_octets: usize,
    /// Header fields of a response. 100.
    pub fields: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            exchanges: 64,
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            head_octets: 32 << 10,
            fields: 100,
        }
    }
}

/// What happened, counted from the start.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct PoolCounters {
    /// Connections that were made.
    pub connections: AtomicU64,
    /// Exchanges that were asked for.
    pub exchanges: AtomicU64,
    /// Those that came to nothing.
    pub failures: AtomicU64,
}

type HttpClient = legacy::Client<Connector, Full<Bytes>>;

/// Makes exchanges. Redirects are not followed, cookies not kept, codings not undone. Clones share connections.
#[derive(Clone)]
pub struct Pool {
    any: HttpClient,
    /// Connects to addresses of the public network alone.
    public: HttpClient,
    places: Arc<Semaphore>,
    counters: Arc<PoolCounters>,
}

const AGENT: HeaderValue = HeaderValue::from_static(concat!("acme-lurk-hyper/", env!("CARGO_PKG_VERSION")));

impl Pool {
    /// A pool that trusts whom `tls` trusts.
    pub fn new(tls: &rustls::ClientConfig, limits: PoolLimits) -> Self {
        let counters = Arc::new(PoolCounters::default());
        let connector = || {
            let counters = Arc::clone(&counters);
            let connector = Connector::new(tls.clone(), limits.connect);
            connector.on_connected(move || {
                counters.connections.fetch_add(1, Ordering::Relaxed);
            })
        };
        let client = |connector| {
            legacy::Client::builder(TokioExecutor::new())
                .timer(TokioTimer::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(limits.idle)
                .http1_max_buf_size(limits.head_octets.max(8192))
                .http1_max_headers(limits.fields)
                .http2_max_header_list_size(u32::try_from(limits.head_octets).unwrap_or(u32::MAX))
                .build(connector)
        };
        let (any, public) = (client(connector()), client(connector().only_to(is_public)));
        let places = Arc::new(Semaphore::new(limits.exchanges.clamp(1, Semaphore::MAX_PERMITS)));
        Self { any, public, places, counters }
    }

    /// What happened so far.
    pub fn counters(&self) -> &Arc<PoolCounters> {
        &self.counters
    }

    /// Makes an exchange, in the time that it has.
    ///
    /// # Errors
    /// When there is no response, or one that is too large.
    pub async fn exchange(&self, exchange: &Exchange) -> Result<Received, ExchangeFailure> {
        self.counters.exchanges.fetch_add(1, Ordering::Relaxed);
        let patience = exchange.timeout;
        let making = async {
            // Never closed.
            let _place = self.places.acquire().await.ok();
            self.make(exchange, patience).await
        };
        let made = tokio::time::timeout(patience, making).await.unwrap_or(Err(ExchangeFailure::TimedOut));
        if made.is_err() {
            self.counters.failures.fetch_add(1, Ordering::Relaxed);
        }
        made
    }

    async fn make(&self, exchange: &Exchange, patience: Duration) -> Result<Received, ExchangeFailure> {
        let broken = |what: String| ExchangeFailure::Unreachable(what);
        let uri: Uri = exchange.url.parse().map_err(|error: http::uri::InvalidUri| broken(error.to_string()))?;
        let mut request = Request::new(Full::from(exchange.body.clone()));
        *request.uri_mut() = uri;
        *request.method_mut() =
            Method::from_bytes(exchange.method.as_bytes()).map_err(|error| broken(error.to_string()))?;
        for (name, value) in &exchange.headers {
            let value = HeaderValue::try_from(value).map_err(|error| broken(error.to_string()))?;
            request.headers_mut().append(HeaderName::from_static(name), value);
        }
        request.headers_mut().insert(USER_AGENT, AGENT);
        let client = match exchange.reach {
            Reach::Any => &self.any,
            Reach::Public => &self.public,
        };
        let response = client.request(request).await.map_err(|error| failure_of(&error))?;
        let (head, body) = response.into_parts();
        if is_coded(&head.headers) {
            return Err(broken("the answer has a content coding that was not asked for".into()));
        }
        let body = read_body(body, exchange.max_body, patience).await.map_err(|error| match error {
            BodyError::TooLarge => ExchangeFailure::TooLarge,
            BodyError::TooSlow => ExchangeFailure::TimedOut,
            error => broken(error.to_string()),
        })?;
        let field = |(name, value): (&HeaderName, &HeaderValue)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        };
        let headers: Vec<(String, String)> = head.headers.iter().filter_map(field).collect();
        Ok(Received::new(head.status.as_u16(), headers, body))
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("counters", &self.counters).finish_non_exhaustive()
    }
}

/// Why there is no response: what is behind the error.
fn failure_of(error: &legacy::Error) -> ExchangeFailure {
    let mut source = error.source();
    while let Some(error) = source {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if error.is::<NotAllowed>() || inner.is_some_and(|inner| inner.is::<NotAllowed>()) {
            return ExchangeFailure::NotPublic;
        }
        source = error.source();
    }
    ExchangeFailure::Unreachable(causes(error))
}
