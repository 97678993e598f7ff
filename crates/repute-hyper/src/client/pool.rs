//! Exchanges over HTTP/1.1 and HTTP/2, with the connections kept for the next one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderValue, USER_AGENT};
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Body as _;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use repute_proto::Service;
use repute_proto::client::{ExchangeFailure, ExchangeRequest, Received};
use tokio::sync::Semaphore;
use watchfire_hyper::{Clock, Connector, causes, is_coded};

/// Bounds of the HTTP side of a client; those of the protocol are in [`ClientConfig`](repute_proto::ClientConfig), of which
/// `exchange_timeout` holds for all of an exchange: waiting for its turn, connecting, TLS, head and body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientLimits {
    /// For the name, TCP and TLS together. After it the next template is tried. 5 s.
    pub connect: Duration,
    /// Exchanges under way at one time; more wait. 256.
    pub exchanges: usize,
    /// Exchanges with one service under way at one time; more wait. 32.
    pub exchanges_per_service: usize,
    /// Connections of HTTP/1.1 that are kept for a service while nobody uses them. 32.
    pub idle_per_service: usize,
    /// How long a connection is kept while nobody uses it. 60 s.
    pub idle: Duration,
    /// Octets of the head of a response, at least 8192. 32 KiB.
    pub head_octets: usize,
    /// Header fields of a response. 100.
    pub fields: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            exchanges: 256,
            exchanges_per_service: 32,
            idle_per_service: 32,
            idle: Duration::from_secs(60),
            head_octets: 32 << 10,
            fields: 100,
        }
    }
}

/// What happened in a client, counted from the start.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ClientCounters {
    /// Connections that were made, TLS included.
    pub connections: AtomicU64,
    /// Requests that were sent, or tried to.
    pub exchanges: AtomicU64,
    /// Those without a response.
    pub failures: AtomicU64,
}

/// Why there is no response.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) failure: ExchangeFailure,
    pub(super) what: String,
}

impl Trouble {
    fn new(failure: ExchangeFailure, what: impl ToString) -> Self {
        Self { failure, what: what.to_string() }
    }
}

/// Connections to services.
pub(super) struct Pool {
    client: legacy::Client<Connector, Empty<Bytes>>,
    limits: ClientLimits,
    places: Semaphore,
    of_service: Mutex<HashMap<Service, Arc<Semaphore>>>,
    counters: Arc<ClientCounters>,
}

/// Services whose places are counted, beyond which those that nobody uses are forgotten.
const SERVICES: usize = 1024;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("repute-hyper/", env!("CARGO_PKG_VERSION")));

impl Pool {
    pub(super) fn new(tls: rustls::ClientConfig, limits: ClientLimits) -> Self {
        let counters = Arc::new(ClientCounters::default());
        let counted = Arc::clone(&counters);
        let connector = Connector::new(tls, limits.connect).on_connected(move || {
            counted.connections.fetch_add(1, Ordering::Relaxed);
        });
        let head = u32::try_from(limits.head_octets).unwrap_or(u32::MAX);
        let client = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(limits.idle)
            .pool_max_idle_per_host(limits.idle_per_service)
            .http1_max_buf_size(limits.head_octets.max(8192))
            .http1_max_headers(limits.fields)
            .http2_max_header_list_size(head)
            // An idle connection that has died is noticed before the next query needs it.
            .http2_keep_alive_interval(Duration::from_secs(20))
            .http2_keep_alive_timeout(limits.connect)
            .build(connector);
        Self {
            client,
            limits,
            places: Semaphore::new(limits.exchanges.clamp(1, Semaphore::MAX_PERMITS)),
            of_service: Mutex::default(),
            counters,
        }
    }

    pub(super) fn counters(&self) -> &Arc<ClientCounters> {
        &self.counters
    }

    /// Makes one request. How long it may take is for the caller to say, by dropping this.
    pub(super) async fn exchange(&self, request: &ExchangeRequest) -> Result<Received, Trouble> {
        let of_service = self.of_service(&request.target.service);
        // Never closed. A service that hangs keeps its own waiting, and not the others.
        let _place = (of_service.acquire().await.ok(), self.places.acquire().await.ok());
        self.counters.exchanges.fetch_add(1, Ordering::Relaxed);
        let result = self.transfer(request).await;
        if result.is_err() {
            self.counters.failures.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    async fn transfer(&self, request: &ExchangeRequest) -> Result<Received, Trouble> {
        let broken = |what: &dyn ToString| Trouble::new(ExchangeFailure::Broken, what.to_string());
        let too_large =
            || Trouble::new(ExchangeFailure::TooLarge, format_args!("more than {} octets", request.max_body));
        let uri: Uri = request.target.uri().parse().map_err(|error: http::uri::InvalidUri| broken(&error))?;
        let mut message = Request::new(Empty::new());
        *message.uri_mut() = uri;
        *message.headers_mut() = request.headers.clone();
        message.headers_mut().entry(USER_AGENT).or_insert(AGENT);
        let response = self.client.request(message).await.map_err(|error| {
            let failure = if error.is_connect() { ExchangeFailure::Connect } else { ExchangeFailure::Broken };
            Trouble::new(failure, causes(&error))
        })?;
        let (head, body) = response.into_parts();
        if is_coded(&head.headers) {
            return Err(broken(&"a content coding that was not asked for"));
        }
        // An announced length is only believed where it is too much.
        if body.size_hint().lower() > request.max_body as u64 {
            return Err(too_large());
        }
        let body = Limited::new(body, request.max_body).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() { too_large() } else { broken(&error) }
        })?;
        Ok(Received::new(head.status, head.headers, body.to_bytes(), Clock::wall()))
    }

    /// The places that the exchanges of a service share.
    fn of_service(&self, service: &Service) -> Arc<Semaphore> {
        let mut all = self.of_service.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = all.get(service) {
            return Arc::clone(places);
        }
        if all.len() >= SERVICES {
            all.retain(|_, places| Arc::strong_count(places) > 1);
        }
        let most = self.limits.exchanges_per_service.clamp(1, Semaphore::MAX_PERMITS);
        Arc::clone(all.entry(service.clone()).or_insert_with(|| Arc::new(Semaphore::new(most))))
    }
}
