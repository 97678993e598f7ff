//! Connections: who gets one, TLS, HTTP/1.1 and HTTP/2, and when they end.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::events::ConnectionEvent;
use crate::limits::ConnectionLimits;
use crate::lines::{Busy, Line, Lines};
use crate::stream::Stream;

/// What answers requests.
pub trait Site: Send + Sync + 'static {
    /// What answers carry: `Full<Bytes>` of http-body-util, unless some come bit by bit. Those that have no end of their
    /// own must end when the site does, or a polite shutdown waits for them in vain.
    type Body: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static;

    /// Answers a request, whose body has not been read yet: see [`read_body`](crate::read_body).
    fn respond(&self, request: Request<Incoming>, peer: Peer) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Something happened to a connection. It must not wait.
    fn tell(&self, event: ConnectionEvent<'_>) {
        let _ = event;
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// From where.
    pub address: SocketAddr,
    /// Who can read along.
    pub security: Security,
}

/// How requests come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "these are all there are")]
pub enum Security {
    /// In clear text: everybody on the way can read along.
    Clear,
    /// In clear text, and from this machine.
    Loopback,
    /// Over TLS.
    Tls,
}

/// Serves a site. Dropping it cuts everything off; [`shutdown`](Self::shutdown) is polite.
pub struct Server<S: Site> {
    shared: Arc<Shared<S>>,
    /// Whether somebody looks for connections that do nothing.
    is_swept: AtomicBool,
}

impl<S: Site> Server<S> {
    /// A server of this site; sockets are added to it.
    pub fn start(site: Arc<S>, limits: ConnectionLimits) -> Self {
        let shared = Shared {
            site,
            limits,
            places: Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS))),
            lines: Arc::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        Self { shared: Arc::new(shared), is_swept: AtomicBool::new(false) }
    }

    /// The site.
    pub fn site(&self) -> &Arc<S> {
        &self.shared.site
    }

    /// Serves HTTP/1.1 and HTTP/2 at a listener: over TLS with `tls` (which should offer `h2` and `http/1.1` by ALPN),
    /// in the clear without, where HTTP/2 is for those who know before. Any number of listeners may be served; call it
    /// in a tokio runtime.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn serve(&self, listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>) -> io::Result<SocketAddr> {
        let address = listener.local_addr()?;
        if !self.is_swept.swap(true, Ordering::Relaxed) {
            tokio::spawn(sweep(Arc::clone(&self.shared)));
        }
        self.shared.tasks.spawn(serve(listener, tls, Arc::clone(&self.shared)));
        Ok(address)
    }

    /// Takes nothing new, answers what was asked, and ends; after `grace` whatever is left is cut off.
    /// False when something was.
    pub async fn shutdown(self, grace: Duration) -> bool {
        self.shared.stop.cancel();
        self.shared.lines.end();
        self.shared.tasks.close();
        let is_drained = tokio::time::timeout(grace, self.shared.tasks.wait()).await.is_ok();
        self.shared.cut();
        is_drained
    }
}

impl<S: Site> Drop for Server<S> {
    fn drop(&mut self) {
        self.shared.cut();
    }
}

impl<S: Site> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("limits", &self.shared.limits).finish_non_exhaustive()
    }
}

/// What all connections share.
struct Shared<S> {
    site: Arc<S>,
    limits: ConnectionLimits,
    places: Arc<Semaphore>,
    lines: Arc<Lines>,
    /// Takes nothing new.
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl<S: Site> Shared<S> {
    /// Cuts all connections off.
    fn cut(&self) {
        self.stop.cancel();
        self.lines.cut();
    }

    fn broken(&self, from: SocketAddr, error: &(dyn std::error::Error + 'static)) {
        self.site.tell(ConnectionEvent::Broken { from, error });
    }
}

/// Takes connections until the server stops.
async fn serve<S: Site>(listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>, shared: Arc<Shared<S>>) {
    let acceptor = tls.map(TlsAcceptor::from);
    loop {
        let place = shared.stop.run_until_cancelled(Arc::clone(&shared.places).acquire_owned()).await;
        let Some(Ok(place)) = place else { return };
        let Some(accepted) = shared.stop.run_until_cancelled(listener.accept()).await else { return };
        let (tcp, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Usually no descriptor is free; one will be when a connection ends.
                shared.site.tell(ConnectionEvent::AcceptFailed { error: &error });
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(seat) = shared.lines.take(from, shared.limits.connections_per_address) else {
            shared.site.tell(ConnectionEvent::Refused { from });
            continue;
        };
        shared.site.tell(ConnectionEvent::Connected { from });
        let (id, lines) = (seat.id, Arc::clone(&shared.lines));
        let (acceptor, connected) = (acceptor.clone(), Arc::clone(&shared));
        let task = shared.tasks.spawn(async move {
            connection(tcp, from, acceptor, &connected, &seat.line).await;
            drop((seat, place));
        });
        lines.set_task(id, task.abort_handle());
    }
}

/// Ends connections that neither ask nor wait for an answer, after [`ConnectionLimits::head`] and twice that at the
/// latest, be it that their peers are silent or that a head never comes to its end.
async fn sweep<S: Site>(shared: Arc<Shared<S>>) {
    let half = (shared.limits.head / 2).max(Duration::from_millis(1));
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

async fn connection<S: Site>(
    tcp: TcpStream,
    from: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    shared: &Arc<Shared<S>>,
    line: &Arc<Line>,
) {
    // Answers are small, and each is waited for.
    let _ = tcp.set_nodelay(true);
    let limits = &shared.limits;
    let Some(acceptor) = acceptor else {
        let security = if from.ip().to_canonical().is_loopback() { Security::Loopback } else { Security::Clear };
        return exchanges(Stream::new(tcp, limits.write), Peer { address: from, security }, shared, line).await;
    };
    let late = || io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long");
    let shaken = tokio::time::timeout(limits.handshake, acceptor.accept(tcp)).await;
    match shaken.unwrap_or_else(|_| Err(late())) {
        Ok(stream) => {
            let peer = Peer { address: from, security: Security::Tls };
            exchanges(Stream::new(stream, limits.write), peer, shared, line).await;
        }
        Err(error) => shared.site.tell(ConnectionEvent::HandshakeFailed { from, error: &error }),
    }
}

async fn exchanges<S: Site, T>(stream: T, peer: Peer, shared: &Arc<Shared<S>>, line: &Arc<Line>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &shared.limits;
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
    let here = Arc::new((Arc::clone(&shared.site), Arc::clone(line)));
    let service = service_fn(|request| {
        let here = Arc::clone(&here);
        async move {
            let (site, line) = &*here;
            let busy = line.request();
            let answer = site.respond(request, peer).await;
            Ok::<_, Infallible>(answer.map(|body| Answering { body, _busy: busy }))
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
        shared.broken(peer.address, &*error);
    }
}

/// A body on its way: until its end the connection is not one that does nothing.
struct Answering<B> {
    body: B,
    _busy: Busy,
}

impl<B: Body + Unpin> Body for Answering<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
