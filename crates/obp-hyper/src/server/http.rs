//! HTTP/1.1 and HTTP/2 (draft-hallambaker-omnibroker-08 section 7.2).

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use obp_proto::http::{RequestHead, Security};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::core::Core;
use super::gather::Gather;
use super::rate::Rates;
use super::{Knowledge, ServerCounters, ServerLimits, count};

/// What all connections share.
pub(super) struct Shared<K> {
    pub(super) core: Arc<Core<K>>,
    pub(super) limits: ServerLimits,
    pub(super) body_limit: usize,
    pub(super) places: Arc<Semaphore>,
    pub(super) counters: Arc<ServerCounters>,
    pub(super) rates: Arc<Rates>,
    pub(super) stop: CancellationToken,
    pub(super) cut: CancellationToken,
    pub(super) tasks: TaskTracker,
}

/// Takes connections until the server stops.
pub(super) async fn serve<K: Knowledge>(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    shared: Arc<Shared<K>>,
) {
    let acceptor = tls.map(TlsAcceptor::from);
    loop {
        let place = shared.stop.run_until_cancelled(Arc::clone(&shared.places).acquire_owned()).await;
        let Some(Ok(place)) = place else { return };
        let Some(accepted) = shared.stop.run_until_cancelled(listener.accept()).await else { return };
        let (tcp, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Usually no descriptor is free; one will be when a connection ends.
                tracing::warn!(%error, "cannot accept a connection; trying again in a moment");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        count(&shared.counters.connections);
        let (shared, acceptor) = (Arc::clone(&shared), acceptor.clone());
        let tasks = shared.tasks.clone();
        tasks.spawn(async move {
            shared.cut.run_until_cancelled(connection(tcp, from, acceptor, &shared)).await;
            drop(place);
        });
    }
}

async fn connection<K: Knowledge>(
    tcp: TcpStream,
    from: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    shared: &Arc<Shared<K>>,
) {
    // Answers are small, and each is waited for.
    let _ = tcp.set_nodelay(true);
    let Some(acceptor) = acceptor else {
        let security = if from.ip().to_canonical().is_loopback() { Security::Loopback } else { Security::Clear };
        return exchanges(Gather::new(tcp), from, security, shared).await;
    };
    match tokio::time::timeout(shared.limits.handshake, acceptor.accept(tcp)).await {
        Ok(Ok(stream)) => exchanges(Gather::new(stream), from, Security::Tls, shared).await,
        Ok(Err(error)) => {
            count(&shared.counters.handshakes_failed);
            tracing::debug!(%from, %error, "TLS failed");
        }
        Err(_) => {
            count(&shared.counters.handshakes_failed);
            tracing::debug!(%from, "TLS took too long");
        }
    }
}

async fn exchanges<S, K>(stream: S, from: SocketAddr, security: Security, shared: &Arc<Shared<K>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    K: Knowledge,
{
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(shared.limits.head).max_headers(64);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(shared.limits.streams)
        .max_header_list_size(16 * 1024)
        .keep_alive_interval(Some(shared.limits.head))
        .keep_alive_timeout(shared.limits.head);
    let service = service_fn(|request| {
        let shared = Arc::clone(shared);
        async move { Ok::<_, Infallible>(exchange(request, from.ip(), security, &shared).await) }
    });
    let connection = server.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shared.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        count(&shared.counters.broken);
        tracing::debug!(%from, %error, "connection broken");
    }
}

async fn exchange<K: Knowledge>(
    request: Request<Incoming>,
    from: IpAddr,
    security: Security,
    shared: &Arc<Shared<K>>,
) -> Response<Full<Bytes>> {
    if !shared.rates.admit(from, shared.core.clock.now()) {
        count(&shared.counters.rate_limited);
        let mut response = bare(StatusCode::TOO_MANY_REQUESTS);
        response.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"));
        return response;
    }
    let (parts, body) = request.into_parts();
    // An announced length is only believed where it is too much.
    if body.size_hint().lower() > shared.body_limit as u64 {
        count(&shared.counters.bodies_refused);
        return bare(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let whole = tokio::time::timeout(shared.limits.body, Limited::new(body, shared.body_limit).collect()).await;
    let body = match whole {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => {
            count(&shared.counters.bodies_refused);
            let long = error.downcast_ref::<http_body_util::LengthLimitError>().is_some();
            return bare(if long { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST });
        }
        Err(_) => {
            count(&shared.counters.bodies_refused);
            return bare(StatusCode::REQUEST_TIMEOUT);
        }
    };
    let mut head = RequestHead::new(parts.method.as_str(), parts.uri.path());
    for (name, value) in &parts.headers {
        // What is not text is none of the headers that mean something; a Session header of that kind is a broken one.
        head = head.with_header(name.as_str(), value.to_str().unwrap_or("\u{0}"));
    }
    match shared.core.exchange(&head, body, security).await {
        Some(response) => written(response),
        None => bare(StatusCode::SERVICE_UNAVAILABLE),
    }
}

fn written(response: obp_proto::http::Response) -> Response<Full<Bytes>> {
    let mut written = Response::new(Full::new(response.body));
    // Codes such as 281 are no errors to hyper, only unusual.
    *written.status_mut() = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in response.headers {
        if let (Ok(name), Ok(value)) = (http::HeaderName::try_from(name), http::HeaderValue::try_from(value)) {
            written.headers_mut().append(name, value);
        }
    }
    written
}

fn bare(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    response
}
