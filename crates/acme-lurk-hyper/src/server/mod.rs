//! A server: HTTPS in front of whatever answers requests.
//!
//! A [`Site`] is one of the machines of `acme-lurk` with what it needs around it, such as [`crate::ca::CaSite`].

mod events;
mod front;
mod limits;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use acme_lurk::acme::server::{Request, Response};
use tokio::net::TcpListener;

use self::front::Front;
use crate::Going;

pub use events::{ServerCounters, ServerEvent};
pub use limits::ServerLimits;
pub use watchfire_hyper::{ConnectionCounters, ConnectionEvent, ConnectionLimits};

/// Answers requests.
pub trait Site: Send + Sync + 'static {
    /// Answers a request. Its URL is [`Server::origin`] with the path that was asked for, whatever host the client has
    /// named.
    fn answer<'a>(&'a self, request: Request<'a>) -> Going<'a, Response>;
}

impl<S: Site + ?Sized> Site for Arc<S> {
    fn answer<'a>(&'a self, request: Request<'a>) -> Going<'a, Response> {
        (**self).answer(request)
    }
}

/// Puts a [`Server`] together.
#[must_use = "nothing is served before `start`"]
pub struct ServerBuilder {
    origin: String,
    site: Box<dyn Site>,
    limits: ServerLimits,
    observer: Option<events::Observer>,
}

impl ServerBuilder {
    /// Other bounds.
    pub fn with_limits(mut self, limits: ServerLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Calls this with what happens, for a log. It is called where requests are answered: it must not wait.
    pub fn on_event(mut self, observer: impl Fn(ServerEvent<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// The server; sockets are added to it.
    pub fn start(self) -> Server {
        let Self { origin, site, limits, observer } = self;
        let front = Front { origin, site, limits, observer, counters: Arc::default() };
        Server { inner: watchfire_hyper::Server::start(Arc::new(front), limits.connection) }
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Serves a site. Dropping it cuts everything off; [`shutdown`](Self::shutdown) is polite.
pub struct Server {
    inner: watchfire_hyper::Server<Front>,
}

impl Server {
    /// A server of this site. `origin` is how its URLs begin, as in `https://ca.example`: what clients sign is compared
    /// with it, so it must not come from the requests.
    pub fn builder(origin: impl Into<String>, site: impl Site) -> ServerBuilder {
        let origin = origin.into().trim_end_matches('/').to_owned();
        ServerBuilder { origin, site: Box::new(site), limits: ServerLimits::default(), observer: None }
    }

    /// Serves HTTP/1.1 and HTTP/2 at a listener: over TLS with `tls` (which should offer `h2` and `http/1.1` by ALPN),
    /// in the clear without. Any number of listeners may be served; call it in a tokio runtime.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn serve(&self, listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>) -> std::io::Result<SocketAddr> {
        self.inner.serve(listener, tls)
    }

    /// How its URLs begin.
    pub fn origin(&self) -> &str {
        &self.inner.site().origin
    }

    /// What happened so far.
    pub fn counters(&self) -> &Arc<ServerCounters> {
        &self.inner.site().counters
    }

    /// Takes nothing new, answers what was asked, and ends; after `grace` whatever is left is cut off. False when
    /// something was.
    pub async fn shutdown(self, grace: Duration) -> bool {
        self.inner.shutdown(grace).await
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("origin", &self.origin()).finish_non_exhaustive()
    }
}
