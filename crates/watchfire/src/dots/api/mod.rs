//! The interface of a Call Home client: JSON over HTTP/1.1, for the commands and for programs of the same machine.
//!
//! | request | what |
//! | --- | --- |
//! | `GET /v1/peers` | who has called |
//! | `GET /v1/mitigations?peer=P` | how mitigations stand; with `follow=1` a line for each, then for each change |
//! | `PUT /v1/peers/P/mitigations/MID` | asks; the body is a `mitigation-scope` of RFC 7951 with one scope |
//! | `POST /v1/peers/P/mitigations` | the same under the next mid |
//! | `DELETE /v1/peers/P/mitigations/MID` | withdraws |
//! | `GET /v1/proposals` | what alerts suggest |
//! | `POST /v1/proposals/ID/confirm`, `DELETE /v1/proposals/ID` | asks for it, or drops it |
//!
//! What goes wrong is `{"error":"..","blame":"refused|usage|unreachable|misbehaved"}`. `?timeout=SECONDS` says how long
//! the peer may take.
//!
//! A page in a browser of the same machine must not be able to ask: requests with an `Origin`, and those that name
//! another host than the loopback, are refused, and bodies must say that they are JSON.

mod answers;
mod guard;
mod routes;

pub use guard::{Guard, read_token};

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dots_tokio::CallHomeClient;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
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

/// The interface.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs)]
pub struct Api {
    /// Who is asked.
    pub client: CallHomeClient,
    /// What alerts suggest.
    pub book: Arc<Book>,
    /// Who may ask.
    pub guard: Guard,
    /// The longest body.
    pub body: usize,
    /// Requests at a time.
    pub requests: usize,
}

impl Api {
    /// Serves until shutdown.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, shutdown: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.requests));
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
            let (api, shutdown) = (Arc::clone(&self), shutdown.clone());
            all.spawn(async move {
                api.exchange(stream, from, shutdown).await;
                drop(place);
            });
        }
        all.close();
        let _ = tokio::time::timeout(GRACE, all.wait()).await;
    }

    /// One connection, one request.
    async fn exchange(self: Arc<Self>, stream: tokio::net::TcpStream, from: SocketAddr, shutdown: CancellationToken) {
        let until = shutdown.clone();
        let service = service_fn(move |request| {
            let (api, shutdown) = (Arc::clone(&self), shutdown.clone());
            async move { Ok::<_, Infallible>(api.answer(request, shutdown).await) }
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
}
