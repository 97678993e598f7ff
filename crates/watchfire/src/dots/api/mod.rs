//! The interfaces of both sides: JSON over HTTP/1.1, for the commands and for programs of the same machine.
//!
//! | request to a Call Home client | what |
//! | --- | --- |
//! | `GET /v1/peers` | who has called |
//! | `GET /v1/mitigations?peer=P` | how mitigations stand; with `follow=1` a line for each, then for each change |
//! | `PUT /v1/peers/P/mitigations/MID` | asks; the body is a `mitigation-scope` of RFC 7951 with one scope |
//! | `POST /v1/peers/P/mitigations` | the same under the next mid |
//! | `DELETE /v1/peers/P/mitigations/MID` | withdraws |
//! | `GET /v1/proposals` | what alerts suggest |
//! | `POST /v1/proposals/ID/confirm`, `DELETE /v1/proposals/ID` | asks for it, or drops it |
//!
//! | request to a Call Home server | what |
//! | --- | --- |
//! | `GET /v1/mitigations?peer=P` | how mitigations stand |
//! | `GET /v1/consents` | what waits for an administrator |
//! | `POST /v1/consents/ID/agree`, `DELETE /v1/consents/ID` | agrees to it, or refuses it |
//!
//! What goes wrong is `{"error":"..","blame":"refused|usage|unreachable|misbehaved"}`. `?timeout=SECONDS` says how long
//! the peer may take.
//!
//! A page in a browser of the same machine must not be able to ask: requests with an `Origin`, and those that name
//! another host than the loopback, are refused, and bodies must say that they are JSON.

mod answers;
mod asked;
mod guard;
mod network;
mod routes;

pub(crate) use guard::for_the_loopback_only;
pub use guard::{Guard, read_token};

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dots_tokio::{CallHomeClient, CallHomeServer};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use watchfire_hyper::{ConnectionEvent, ConnectionLimits, Peer, Server, Site};

use super::proposals::Book;

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);
/// For one who does not read.
const WRITE: Duration = Duration::from_secs(30);
/// How long requests that are under way may take when everything ends.
const GRACE: Duration = Duration::from_secs(2);

/// An answer, whole or a line at a time.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// What an interface answers to whom was let in.
pub(super) trait Answers: Send + Sync + 'static {
    /// Answers a request; what goes on ends at shutdown.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        shutdown: CancellationToken,
    ) -> impl Future<Output = Answer> + Send;
}

/// The interface of a Call Home client.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs)]
pub struct OperatorApi {
    /// Who is asked.
    pub client: CallHomeClient,
    /// What alerts suggest.
    pub book: Arc<Book>,
    /// The longest body.
    pub body: usize,
}

/// The interface of a Call Home server.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs)]
pub struct NetworkApi {
    /// Who is asked.
    pub server: CallHomeServer,
}

/// The way in.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs)]
pub struct Door {
    /// Who may ask.
    pub guard: Guard,
    /// Requests at a time.
    pub requests: usize,
}

/// An interface that is served. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl Served {
    /// Answers what is under way, and ends.
    pub(super) async fn close(self) {
        drop(self.stop);
        let _ = self.task.await;
    }
}

impl Door {
    /// Serves at a socket, whose address this is.
    pub(super) fn open<A: Answers>(self, answers: Arc<A>, listener: TcpListener, address: SocketAddr) -> Served {
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone().drop_guard();
        Served { address, task: tokio::spawn(self.serve(answers, listener, shutdown)), stop }
    }

    async fn serve<A: Answers>(self, answers: Arc<A>, listener: TcpListener, shutdown: CancellationToken) {
        let mut limits = ConnectionLimits::default();
        (limits.connections, limits.connections_per_address) = (self.requests, self.requests);
        (limits.head, limits.write) = (HEAD, WRITE);
        let gate = Gate { guard: self.guard, answers, shutdown: shutdown.clone() };
        let server = Server::start(Arc::new(gate), limits);
        if let Err(error) = server.serve(listener, None) {
            tracing::error!(%error, "api: cannot be served");
        }
        shutdown.cancelled().await;
        server.shutdown(GRACE).await;
    }
}

/// Whoever passes is answered.
struct Gate<A> {
    guard: Guard,
    answers: Arc<A>,
    shutdown: CancellationToken,
}

impl<A: Answers> Site for Gate<A> {
    type Body = UnsyncBoxBody<Bytes, Infallible>;

    async fn respond(&self, request: Request<Incoming>, _peer: Peer) -> Answer {
        match self.guard.admit(request.method(), request.headers()) {
            Ok(()) => Arc::clone(&self.answers).answer(request, self.shutdown.clone()).await,
            Err((status, what)) => answers::refused(status, what),
        }
    }

    fn tell(&self, event: ConnectionEvent<'_>) {
        match event {
            ConnectionEvent::AcceptFailed { .. } => tracing::warn!("api: {event}"),
            _ => tracing::debug!("api: {event}"),
        }
    }
}
