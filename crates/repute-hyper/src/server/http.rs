//! Connections: who gets one, TLS, HTTP/1.1 and HTTP/2, and when they end.

use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
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
use super::lines::{Line, Lines};
use super::stream::Stream;

/// What all connections share.
pub(super) struct Shared {
    pub(super) core: Core,
    pub(super) places: Arc<Semaphore>,
    pub(super) lines: Arc<Lines>,
    /// Takes nothing new.
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Shared {
    /// Lets every connection answer what it was asked, and end.
    pub(super) fn end(&self) {
        self.stop.cancel();
        self.lines.end();
    }

    /// Cuts all connections off.
    pub(super) fn cut(&self) {
        self.stop.cancel();
        self.lines.cut();
    }

    fn broken(&self, from: SocketAddr, error: &(dyn std::error::Error + 'static)) {
        count(&self.core.counters.broken);
        self.core.tell(ServerEvent::Broken { from, error });
    }
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
        let Some(seat) = shared.lines.take(from, shared.core.limits.connections_per_address) else {
            count(&shared.core.counters.connections_refused);
            shared.core.tell(ServerEvent::ConnectionRefused { from });
            continue;
        };
        count(&shared.core.counters.connections);
        let (id, lines) = (seat.id, Arc::clone(&shared.lines));
        let (acceptor, connected) = (acceptor.clone(), Arc::clone(&shared));
        let task = shared.tasks.spawn(async move {
            connection(tcp, from, acceptor, &connected, &seat.line).await;
            drop((seat, place));
        });
        lines.set_task(id, task.abort_handle());
    }
}

/// Ends connections that neither ask nor wait for an answer, after [`ServerLimits::head`](super::ServerLimits::head) and
/// twice that at the latest, be it that their peers are silent or that a head never comes to its end.
pub(super) async fn sweep(shared: Arc<Shared>) {
    let half = (shared.core.limits.head / 2).max(Duration::from_millis(1));
    let sweeping = async {
        loop {
            tokio::time::sleep(half).await;
            for from in shared.lines.sweep() {
                shared.broken(from, &io::Error::new(io::ErrorKind::TimedOut, "the peer neither asks nor goes"));
            }
        }
    };
    shared.stop.run_until_cancelled(sweeping).await;
}

async fn connection(
    tcp: TcpStream,
    from: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    shared: &Arc<Shared>,
    line: &Arc<Line>,
) {
    // Answers are small, and each is waited for.
    let _ = tcp.set_nodelay(true);
    let limits = &shared.core.limits;
    let Some(acceptor) = acceptor else {
        let security = if from.ip().to_canonical().is_loopback() { Security::Loopback } else { Security::Clear };
        return exchanges(Stream::new(tcp, limits.write), from, security, shared, line).await;
    };
    let late = || io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long");
    let shaken = tokio::time::timeout(limits.handshake, acceptor.accept(tcp)).await;
    match shaken.unwrap_or_else(|_| Err(late())) {
        Ok(stream) => exchanges(Stream::new(stream, limits.write), from, Security::Tls, shared, line).await,
        Err(error) => {
            count(&shared.core.counters.handshakes_failed);
            shared.core.tell(ServerEvent::HandshakeFailed { from, error: &error });
        }
    }
}

async fn exchanges<S>(stream: S, from: SocketAddr, security: Security, shared: &Arc<Shared>, line: &Arc<Line>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &shared.core.limits;
    let mut server = auto::Builder::new(TokioExecutor::new());
    // The time that a head has is kept by `sweep`: a timer for each of them would cost more than most answers.
    server
        .http1()
        .header_read_timeout(None)
        .max_headers(limits.fields)
        .max_buf_size(limits.head_octets.max(8192))
        // One small write costs less than two pieces in one.
        .writev(false);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_octets).unwrap_or(u32::MAX))
        .keep_alive_interval(Some(limits.head))
        .keep_alive_timeout(limits.head);
    // Counted by this connection alone, so that its requests do not touch what all share.
    let here = Arc::new((Arc::clone(shared), Arc::clone(line)));
    let service = service_fn(|request| {
        let here = Arc::clone(&here);
        async move {
            let (shared, line) = &*here;
            let _busy = line.request();
            Ok::<_, Infallible>(shared.core.exchange(request, from, security).await)
        }
    });
    let connection = server.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut is_ending = false;
    let ended = poll_fn(|cx| {
        if !is_ending {
            line.waker.register(cx.waker());
            if line.ends() {
                is_ending = true;
                connection.as_mut().graceful_shutdown();
            }
        }
        connection.as_mut().poll(cx)
    });
    if let Err(error) = ended.await {
        shared.broken(from, &*error);
    }
}
