//! The rendezvous over HTTP: a relay, and the peers that put and get chunks there. draft-hartke-xmpp-stupid-00 section 3.
//!
//! ```no_run
//! use acme_lurk_hyper::relay::RelayServer;
//!
//! # async fn serve() -> std::io::Result<()> {
//! let server = RelayServer::builder().start();
//! let address = server.serve(tokio::net::TcpListener::bind("127.0.0.1:0").await?, None)?;
//! println!("http://{address}/");
//! // ... and in the end
//! server.shutdown(std::time::Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```

mod client;
mod events;
mod front;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use acme_lurk::rendezvous::{Relay, RelayLimits};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use watchfire_hyper::Clock;

use self::front::{Front, Users};

pub use client::{Getting, Putting, RelayClient, RelayClientConfig};
pub use events::{RelayCounters, RelayEvent};
pub use watchfire_hyper::{
    BasicCredentials, ConnectionCounters, ConnectionEvent, ConnectionLimits, InvalidCredentials,
};

/// How often chunks whose time has passed are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// Bounds of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayServerLimits {
    /// Those of connections.
    pub connection: ConnectionLimits,
    /// Those of what is kept.
    pub relay: RelayLimits,
    /// For a chunk to come in, all of it. 30 s.
    pub body: Duration,
    /// Chunks of 64 KiB that come in at one time; larger ones count for several, and more wait, within that time. 256.
    pub bodies: usize,
}

impl Default for RelayServerLimits {
    fn default() -> Self {
        Self {
            connection: ConnectionLimits::default(),
            relay: RelayLimits::default(),
            body: Duration::from_secs(30),
            bodies: 256,
        }
    }
}

/// Puts a [`RelayServer`] together.
#[must_use = "nothing is served before `start`"]
#[derive(Default)]
pub struct RelayServerBuilder {
    limits: RelayServerLimits,
    users: Option<Users>,
    auth_in_clear_text: bool,
    observer: Option<events::Observer>,
}

impl RelayServerBuilder {
    /// Other bounds.
    pub fn with_limits(mut self, limits: RelayServerLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Takes chunks from these users alone; everybody may get them. Without, everybody may put chunks there, and an
    /// address of IPv4 or a /64 of IPv6 is one owner.
    pub fn with_users(mut self, users: impl IntoIterator<Item = BasicCredentials>) -> Self {
        self.users = Some(Users::new(users));
        self
    }

    /// Whether passwords are also taken in clear text from elsewhere than the loopback, as when TLS ends at another
    /// host. Without, such a request is refused: 403.
    pub fn with_auth_in_clear_text(mut self, taken: bool) -> Self {
        self.auth_in_clear_text = taken;
        self
    }

    /// Calls this with what happens, for a log. It is called where requests are answered: it must not wait.
    pub fn on_event(mut self, observer: impl Fn(RelayEvent<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// The server; sockets are added to it.
    pub fn start(self) -> RelayServer {
        let Self { limits, users, auth_in_clear_text, observer } = self;
        let front = Front {
            relay: Mutex::new(Relay::new(limits.relay)),
            limits,
            users,
            auth_in_clear_text,
            bodies: Semaphore::new(limits.bodies.clamp(1, Semaphore::MAX_PERMITS)),
            counters: Arc::default(),
            observer,
            clock: Clock::start(),
        };
        RelayServer {
            inner: watchfire_hyper::Server::start(Arc::new(front), limits.connection),
            sweeper: Mutex::default(),
        }
    }
}

impl fmt::Debug for RelayServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayServerBuilder").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// A relay that serves. Its resource is `/`. Dropping it cuts everything off; [`shutdown`](Self::shutdown) is polite.
pub struct RelayServer {
    inner: watchfire_hyper::Server<Front>,
    /// Drops chunks whose time has passed while nobody asks.
    sweeper: Mutex<Option<Sweeper>>,
}

struct Sweeper(AbortHandle);

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl RelayServer {
    /// A relay with the defaults, open to everybody.
    pub fn builder() -> RelayServerBuilder {
        RelayServerBuilder::default()
    }

    /// Serves HTTP/1.1 and HTTP/2 at a listener: over TLS with `tls` (which should offer `h2` and `http/1.1` by ALPN),
    /// in the clear without. Any number of listeners may be served; call it in a tokio runtime.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn serve(&self, listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>) -> std::io::Result<SocketAddr> {
        let address = self.inner.serve(listener, tls)?;
        let mut sweeper = self.sweeper.lock().unwrap_or_else(PoisonError::into_inner);
        if sweeper.is_none() {
            let front = Arc::clone(self.inner.site());
            let sweeping = async move {
                loop {
                    tokio::time::sleep(SWEEP).await;
                    front.forget();
                }
            };
            *sweeper = Some(Sweeper(tokio::spawn(sweeping).abort_handle()));
        }
        Ok(address)
    }

    /// What happened so far.
    pub fn counters(&self) -> &Arc<RelayCounters> {
        &self.inner.site().counters
    }

    /// How many chunks are there, and how many octets they have, with 128 for each.
    pub fn usage(&self) -> (usize, usize) {
        self.inner.site().usage()
    }

    /// The same later, also when the server has ended.
    pub fn usage_probe(&self) -> impl Fn() -> (usize, usize) + Send + Sync + 'static {
        let front = Arc::clone(self.inner.site());
        move || front.usage()
    }

    /// Takes nothing new, answers what was asked, and ends; after `grace` whatever is left is cut off. False when
    /// something was.
    pub async fn shutdown(self, grace: Duration) -> bool {
        self.inner.shutdown(grace).await
    }
}

impl fmt::Debug for RelayServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayServer").field("limits", &self.inner.site().limits).finish_non_exhaustive()
    }
}
