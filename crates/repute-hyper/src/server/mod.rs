//! A rater: answers queries over HTTP from what a [`Store`] knows.
//! [RFC 7072 section 3](https://www.rfc-editor.org/rfc/rfc7072#section-3)
//!
//! ```no_run
//! use repute_hyper::repute_proto::{Lookup, Reputon, ServerConfig};
//! use repute_hyper::server::{Finding, Server, Store};
//!
//! /// Knows nothing.
//! struct Nothing;
//!
//! impl Store for Nothing {
//!     fn find<'a>(&'a self, _lookup: &'a Lookup) -> Finding<'a, Vec<Reputon<'static>>> {
//!         Box::pin(async { Ok(Vec::new()) })
//!     }
//! }
//!
//! # async fn serve() -> std::io::Result<()> {
//! let server = Server::builder(ServerConfig::builder("rep.example.net").build().unwrap(), Nothing).start();
//! let address = server.serve(tokio::net::TcpListener::bind("127.0.0.1:0").await?, None)?;
//! println!("http://{address}/.well-known/repute-template");
//! // ... and in the end
//! server.shutdown(std::time::Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```

mod core;
mod events;
mod expiry;
mod keys;
mod limits;
mod rate;
mod store;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use repute_proto::{Server as Machine, ServerConfig};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::core::Core;
use events::Observer;
pub use events::{ServerCounters, ServerEvent};
pub use expiry::ExpiryPolicy;
pub use keys::{InvalidKey, Keys};
pub use limits::ServerLimits;
pub use store::{Finding, Store, StoreError};
use watchfire_hyper::Clock;
pub use watchfire_hyper::{ConnectionCounters, ConnectionEvent, ConnectionLimits};

/// Puts a [`Server`] together.
#[must_use = "nothing is served before `start`"]
pub struct ServerBuilder {
    config: ServerConfig,
    store: Box<dyn Store>,
    limits: ServerLimits,
    keys: Option<Arc<Keys>>,
    keys_in_clear_text: bool,
    expiry: Option<ExpiryPolicy>,
    observer: Option<Observer>,
}

impl ServerBuilder {
    /// Other bounds.
    pub fn with_limits(mut self, limits: ServerLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Answers only who has one of these keys. Templates stay public: they say nothing but how to ask.
    pub fn with_keys(mut self, keys: Keys) -> Self {
        self.keys = Some(Arc::new(keys));
        self
    }

    /// Whether keys are also taken in clear text from elsewhere than the loopback, as when TLS ends at another host.
    /// Without, such a request is refused: 403.
    pub fn with_keys_in_clear_text(mut self, taken: bool) -> Self {
        self.keys_in_clear_text = taken;
        self
    }

    /// How long reputons are good for that do not say; with `None` such an answer has
    /// [`ServerConfig::answer_lifetime`], and its reputons still do not say. [`ExpiryPolicy::default`] unless changed.
    pub fn with_expiry(mut self, policy: impl Into<Option<ExpiryPolicy>>) -> Self {
        self.expiry = policy.into();
        self
    }

    /// Calls this with what happens, for a log. It is called where requests are answered: it must not wait.
    pub fn on_event(mut self, observer: impl Fn(ServerEvent<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// The server; sockets are added to it.
    pub fn start(self) -> Server {
        let config = Arc::new(self.config);
        let core = Core {
            machine: Machine::new(Arc::clone(&config)),
            config,
            store: self.store,
            limits: self.limits,
            keys: RwLock::new(self.keys),
            keys_in_clear_text: self.keys_in_clear_text,
            expiry: self.expiry,
            rates: rate::Rates::new(self.limits.rate),
            places: Semaphore::new(self.limits.lookups.clamp(1, Semaphore::MAX_PERMITS)),
            counters: Arc::default(),
            observer: self.observer,
            clock: Clock::start(),
        };
        Server { inner: watchfire_hyper::Server::start(Arc::new(core), self.limits.connection) }
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// A rater that serves. Dropping it cuts everything off; [`shutdown`](Self::shutdown) is polite.
pub struct Server {
    inner: watchfire_hyper::Server<Core>,
}

impl Server {
    /// A server of this configuration that answers from `store`.
    pub fn builder(config: ServerConfig, store: impl Store) -> ServerBuilder {
        ServerBuilder {
            config,
            store: Box::new(store),
            limits: ServerLimits::default(),
            keys: None,
            keys_in_clear_text: false,
            expiry: Some(ExpiryPolicy::default()),
            observer: None,
        }
    }

    /// Serves HTTP/1.1 and HTTP/2 at a listener: over TLS with `tls` (which should offer `h2` and `http/1.1` by ALPN),
    /// in the clear without, where HTTP/2 is for those who know before. Any number of listeners may be served; call it
    /// in a tokio runtime.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn serve(&self, listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>) -> std::io::Result<SocketAddr> {
        self.inner.serve(listener, tls)
    }

    /// Other keys from now on; `None` lets everybody ask.
    pub fn set_keys(&self, keys: Option<Keys>) {
        *self.inner.site().keys.write().unwrap_or_else(PoisonError::into_inner) = keys.map(Arc::new);
    }

    /// What happened so far.
    pub fn counters(&self) -> &Arc<ServerCounters> {
        &self.inner.site().counters
    }

    /// Takes nothing new, answers what was asked, and ends; after `grace` whatever is left is cut off.
    /// False when something was.
    pub async fn shutdown(self, grace: Duration) -> bool {
        self.inner.shutdown(grace).await
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("limits", &self.inner.site().limits).finish_non_exhaustive()
    }
}
