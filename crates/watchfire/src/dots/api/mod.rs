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

pub use guard::{Guard, read_token};

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dots_tokio::{CallHomeClient, CallHomeServer};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::proposals::Book;

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);
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

impl Door {
    /// Serves until shutdown.
    pub(super) async fn serve<A: Answers>(self, answers: Arc<A>, listener: TcpListener, shutdown: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.requests));
        let guard = Arc::new(self.guard);
        let all = tokio_util::task::TaskTracker::new();
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "api: cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (guard, answers, shutdown) = (Arc::clone(&guard), Arc::clone(&answers), shutdown.clone());
            all.spawn(async move {
                exchange(guard, answers, stream, from, shutdown).await;
                drop(place);
            });
        }
        all.close();
        let _ = tokio::time::timeout(GRACE, all.wait()).await;
    }
}

/// One connection, one request.
async fn exchange<A: Answers>(
    guard: Arc<Guard>,
    answers: Arc<A>,
    stream: tokio::net::TcpStream,
    from: SocketAddr,
    shutdown: CancellationToken,
) {
    let until = shutdown.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (guard, answers, shutdown) = (Arc::clone(&guard), Arc::clone(&answers), shutdown.clone());
        async move {
            Ok::<_, Infallible>(match guard.admit(request.method(), request.headers()) {
                Ok(()) => answers.answer(request, shutdown).await,
                Err((status, what)) => answers::refused(status, what),
            })
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_headers(64)
        .max_buf_size(16 * 1024)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = until.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%from, %error, "api: the connection broke");
    }
}
