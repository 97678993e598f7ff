//! Connections: who gets one, TLS, HTTP/1.1 and HTTP/2, and when they end.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::core::{Core, Security};
use super::events::{ServerEvent, count};
use super::rate::network;
use super::stream::Stream;

/// What all connections share.
pub(super) struct Shared {
    pub(super) core: Core,
    pub(super) places: Arc<Semaphore>,
    /// Connections of each network.
    pub(super) networks: Mutex<HashMap<u128, usize>>,
    /// Takes nothing new.
    pub(super) stop: CancellationToken,
    /// Ends everything.
    pub(super) cut: CancellationToken,
    pub(super) tasks: TaskTracker,
}

/// Takes connections until the server stops.
pub(super) async fn serve(listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>, shared: Arc<Shared>) {
    let acceptor = tls.map(TlsAcceptor::from);
    loop {
        let place = shared.stop.run_until_cancelled(Arc::clone(&shared.places).acquire_owned()).await;
        let Some(Ok(place)) = place else { return };
        let Some(accepted) = shared.stop.run_until_cancelled(listener.accept()).await else { return };
        let (tcp, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Usually no descriptor is free; one will be when a connection ends.
                shared.core.tell(ServerEvent::AcceptFailed { error: &error });
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(seat) = Seat::take(&shared, from) else {
            count(&shared.core.counters.connections_refused);
            shared.core.tell(ServerEvent::ConnectionRefused { from });
            continue;
        };
        count(&shared.core.counters.connections);
        let (shared, acceptor) = (Arc::clone(&shared), acceptor.clone());
        let tasks = shared.tasks.clone();
        tasks.spawn(async move {
            shared.cut.run_until_cancelled(connection(tcp, from, acceptor, &shared)).await;
            drop((seat, place));
        });
    }
}

/// A place among the connections of a network.
struct Seat {
    shared: Arc<Shared>,
    network: u128,
}

impl Seat {
    fn take(shared: &Arc<Shared>, from: SocketAddr) -> Option<Self> {
        let network = network(from.ip());
        let mut networks = shared.networks.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = networks.entry(network).or_insert(0);
        if *taken >= shared.core.limits.connections_per_address.max(1) {
            return None;
        }
        *taken += 1;
        Some(Self { shared: Arc::clone(shared), network })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut networks = self.shared.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = networks.get_mut(&self.network) {
            *taken -= 1;
            if *taken == 0 {
                networks.remove(&self.network);
            }
        }
    }
}

async fn connection(tcp: TcpStream, from: SocketAddr, acceptor: Option<TlsAcceptor>, shared: &Arc<Shared>) {
    // Answers are small, and each is waited for.
    let _ = tcp.set_nodelay(true);
    let limits = &shared.core.limits;
    let Some(acceptor) = acceptor else {
        let security = if from.ip().to_canonical().is_loopback() { Security::Loopback } else { Security::Clear };
        return exchanges(Stream::new(tcp, limits.write), from, security, shared).await;
    };
    let late = || io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long");
    let shaken = tokio::time::timeout(limits.handshake, acceptor.accept(tcp)).await;
    match shaken.unwrap_or_else(|_| Err(late())) {
        Ok(stream) => exchanges(Stream::new(stream, limits.write), from, Security::Tls, shared).await,
        Err(error) => {
            count(&shared.core.counters.handshakes_failed);
            shared.core.tell(ServerEvent::HandshakeFailed { from, error: &error });
        }
    }
}

async fn exchanges<S>(stream: S, from: SocketAddr, security: Security, shared: &Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &shared.core.limits;
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(limits.fields)
        .max_buf_size(limits.head_octets.max(8192));
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_octets).unwrap_or(u32::MAX))
        .keep_alive_interval(Some(limits.head))
        .keep_alive_timeout(limits.head);
    let requests = Arc::new(AtomicU64::new(0));
    let service = service_fn(|request| {
        requests.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(shared);
        async move { Ok::<_, Infallible>(shared.core.exchange(request, from, security).await) }
    });
    let connection = server.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shared.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = idle(&requests, limits.head) => {
            connection.as_mut().graceful_shutdown();
            let late = || io::Error::new(io::ErrorKind::TimedOut, "the peer neither asks nor goes");
            tokio::time::timeout(limits.head, connection).await.unwrap_or_else(|_| Err(late().into()))
        }
    };
    if let Err(error) = ended {
        count(&shared.core.counters.broken);
        shared.core.tell(ServerEvent::Broken { from, error: &*error });
    }
}

/// Returns when no request has come for so long, and up to twice as long. HTTP/1 has its own time-out between requests;
/// a connection of HTTP/2 would live as long as its peer answers pings.
async fn idle(requests: &AtomicU64, patience: Duration) {
    let mut seen = None;
    loop {
        let now = requests.load(Ordering::Relaxed);
        if seen == Some(now) {
            return;
        }
        seen = Some(now);
        tokio::time::sleep(patience).await;
    }
}
