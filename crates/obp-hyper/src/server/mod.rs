//! A broker: answers over HTTP and in datagrams, from what a [`Knowledge`] knows.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use obp_hyper::server::{Knowledge, Server};
//! use obp_proto::broker::{BrokerConfig, Identity};
//! use obp_proto::message::{QueryConnectResponse, ValidateResponse};
//! use obp_proto::{Message, Status};
//!
//! /// Knows nothing.
//! struct Nothing;
//!
//! impl Knowledge for Nothing {
//!     async fn find(&self, _client: Arc<Identity>, question: Message) -> Arc<Message> {
//!         Arc::new(match question {
//!             Message::QueryConnectRequest(_) => QueryConnectResponse::new(Status::NON_EXISTENT_DOMAIN).into(),
//!             _ => ValidateResponse::new(Status::SERVER_FAILURE).into(),
//!         })
//!     }
//! }
//!
//! # async fn serve(config: BrokerConfig) -> std::io::Result<()> {
//! let server = Server::builder(config, Nothing).start()?;
//! server.serve_http(tokio::net::TcpListener::bind("127.0.0.1:0").await?, None)?;
//! server.serve_udp(tokio::net::UdpSocket::bind("127.0.0.1:0").await?);
//! // ... and in the end
//! server.shutdown(std::time::Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```

mod core;
mod enroll;
mod http;
mod rate;
mod udp;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use obp_proto::broker::{Broker, BrokerConfig, BrokerStats, Identity};
use obp_proto::service_connect::{ConnectBroker, ConnectBrokerConfig, TransactionId};
use obp_proto::ticket::{KeyRing, KeyRingError};
use obp_proto::{Message, Status};
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use watchfire_core::UnixTime;
use watchfire_hyper::{Clock, seed};

use self::core::Core;
use enroll::Enrolment;
pub use enroll::{Accounts, Admission};
use rate::Rates;
pub use watchfire_hyper::{ConnectionCounters, ConnectionEvent, ConnectionLimits};

/// How often the machine's idea of the wall clock is set right.
const WALL_CLOCK: Duration = Duration::from_secs(60);

/// What the broker knows.
///
/// A validation can veto a certificate; that it has nothing against one is no statement that the certificate is good.
/// The client's own check of its path is never replaced by it (draft-hallambaker-omnibroker-08 section 4.2).
pub trait Knowledge: Send + Sync + 'static {
    /// The answer, if it is at hand. Called with the broker's lock held, for every query: it must not wait.
    fn at_hand(&self, client: &Arc<Identity>, question: &Message) -> Option<Arc<Message>> {
        let _ = (client, question);
        None
    }

    /// The answer to a QueryConnectRequest (a QueryConnectResponse) or a ValidateRequest (a ValidateResponse), or an
    /// ErrorResponse. What takes longer than [`BrokerConfig::application_timeout`] is answered 504 without it.
    fn find(&self, client: Arc<Identity>, question: Message) -> impl Future<Output = Arc<Message>> + Send;

    /// Answers to DNS messages (draft-hallambaker-privatedns-01). By default each is refused as not implemented.
    fn find_dns(&self, client: Arc<Identity>, questions: Vec<Bytes>) -> impl Future<Output = Vec<Bytes>> + Send {
        let _ = client;
        std::future::ready(questions.iter().filter_map(|question| not_implemented(question)).collect())
    }
}

/// The header of the response that refuses a DNS message: its ID and operation, and NOTIMP (RFC 1035 section 4.1.1).
fn not_implemented(question: &[u8]) -> Option<Bytes> {
    let [id_high, id_low, flags, ..] = *question.first_chunk::<12>()?;
    Some(Bytes::copy_from_slice(&[id_high, id_low, flags & 0x79 | 0x80, 4, 0, 0, 0, 0, 0, 0, 0, 0]))
}

impl<K: Knowledge> Knowledge for Arc<K> {
    fn at_hand(&self, client: &Arc<Identity>, question: &Message) -> Option<Arc<Message>> {
        (**self).at_hand(client, question)
    }

    fn find(&self, client: Arc<Identity>, question: Message) -> impl Future<Output = Arc<Message>> + Send {
        (**self).find(client, question)
    }

    fn find_dns(&self, client: Arc<Identity>, questions: Vec<Bytes>) -> impl Future<Output = Vec<Bytes>> + Send {
        (**self).find_dns(client, questions)
    }
}

/// Bounds of the HTTP side; those of the protocol are in [`BrokerConfig::limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerLimits {
    /// Those of connections. Devices behind one address share it, so that one address may have all of them: 4096.
    /// 256 requests under way at one time on a connection of HTTP/2.
    pub connection: ConnectionLimits,
    /// For the body of a request, all of it. 10 s.
    pub body: Duration,
    /// Requests and datagrams a second of one address (of one /64 of IPv6), with as many at once; 0 does not limit.
    /// Requests beyond it are answered 429, datagrams not at all. 0.
    pub per_address: u32,
}

impl Default for ServerLimits {
    fn default() -> Self {
        let mut connection = ConnectionLimits::default();
        connection.connections_per_address = connection.connections;
        connection.streams = 256;
        Self { connection, body: Duration::from_secs(10), per_address: 0 }
    }
}

/// What happened on the HTTP side, counted; [`Server::stats`] has the rest.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ServerCounters {
    /// Those of connections.
    pub connection: ConnectionCounters,
    /// Bodies that were too long or came too slowly.
    pub bodies_refused: AtomicU64,
    /// Requests and datagrams above the rate of their address.
    pub rate_limited: AtomicU64,
}

/// Puts a [`Server`] together.
#[must_use = "nothing is served before `start`"]
pub struct ServerBuilder<K> {
    config: BrokerConfig,
    knowledge: K,
    connect: Option<(Arc<ConnectBrokerConfig>, Box<dyn Accounts>)>,
    ended: Vec<([u8; 16], UnixTime)>,
    limits: ServerLimits,
}

impl<K: Knowledge> ServerBuilder<K> {
    /// Lets devices bind: serves service-connect (draft-hallambaker-wsconnect-08).
    pub fn with_service_connect(mut self, config: ConnectBrokerConfig, accounts: impl Accounts) -> Self {
        self.connect = Some((Arc::new(config), Box::new(accounts)));
        self
    }

    /// Bindings that ended before the start, as [`Accounts::ended`] was told.
    pub fn with_ended(mut self, bindings: impl IntoIterator<Item = ([u8; 16], UnixTime)>) -> Self {
        self.ended.extend(bindings);
        self
    }

    /// Other bounds.
    pub fn with_limits(mut self, limits: ServerLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Starts the machine; sockets are added to what this returns. Call it in a tokio runtime.
    ///
    /// # Errors
    /// When the system has no randomness, or more bindings have ended than
    /// [`BrokerLimits::revoked`](obp_proto::broker::BrokerLimits::revoked) allows.
    pub fn start(self) -> std::io::Result<Server<K>> {
        let (clock, wall) = (Clock::start(), Clock::wall());
        let body_limit = self.config.limits.body;
        let keys = self.config.keys.clone();
        let patience = self.config.application_timeout;
        let mut broker = Broker::new(self.config, seed()?, clock.now(), wall);
        for (binding, until) in &self.ended {
            let revoked = broker.revoke(clock.now(), *binding, *until);
            revoked.map_err(|error| std::io::Error::other(error.to_string()))?;
        }
        let enrolment = match self.connect {
            Some((config, accounts)) => {
                let longest = config.ticket_lifetime.max(config.management_lifetime);
                let mut machine = ConnectBroker::new(config, keys, seed()?, clock.now());
                for (binding, _) in self.ended {
                    machine.remember_unbound(wall, binding);
                }
                Some(Enrolment::new(machine, accounts, patience, longest))
            }
            None => None,
        };
        let core = Arc::new(Core::new(broker, Arc::new(self.knowledge), enrolment, clock));
        let rates = Arc::new(Rates::new(self.limits.per_address));
        let counters = Arc::default();
        let front = http::Front { core, limits: self.limits, body_limit, counters, rates };
        let connections = self.limits.connection;
        let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
        let server = Server {
            http: watchfire_hyper::Server::start(Arc::new(front), connections),
            datagrams: TaskTracker::new(),
            stop: stop.clone(),
            at_end: [stop.drop_guard(), cut.clone().drop_guard()],
        };
        let core = Arc::clone(&server.front().core);
        tokio::spawn(async move {
            let set_right = async {
                loop {
                    tokio::time::sleep(WALL_CLOCK).await;
                    let now = core.clock.now();
                    core.with_broker(|broker| broker.set_wall_clock(now, Clock::wall()));
                }
            };
            tokio::select! {
                () = cut.cancelled() => {}
                () = Arc::clone(&core).keep_time() => {}
                () = set_right => {}
            }
        });
        Ok(server)
    }
}

/// A broker that serves. Dropping it cuts everything off; [`shutdown`](Self::shutdown) is polite.
pub struct Server<K: Knowledge> {
    http: watchfire_hyper::Server<http::Front<K>>,
    datagrams: TaskTracker,
    /// Takes no more datagrams.
    stop: CancellationToken,
    /// Ends everything when this is dropped.
    at_end: [DropGuard; 2],
}

impl<K: Knowledge> Server<K> {
    /// A server of this configuration that answers from `knowledge`.
    pub fn builder(config: BrokerConfig, knowledge: K) -> ServerBuilder<K> {
        ServerBuilder { config, knowledge, connect: None, ended: Vec::new(), limits: ServerLimits::default() }
    }

    /// Serves HTTP/1.1 and HTTP/2 at a listener: over TLS with `tls` (which should offer `h2` and `http/1.1` by ALPN),
    /// in the clear without. In the clear, keys are only handed out, and requests without protection against replay
    /// only taken, over the loopback.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn serve_http(
        &self,
        listener: TcpListener,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> std::io::Result<SocketAddr> {
        self.http.serve(listener, tls)
    }

    /// Serves datagrams at a socket.
    pub fn serve_udp(&self, socket: UdpSocket) {
        let front = self.front();
        let (core, rates, counters) = (Arc::clone(&front.core), Arc::clone(&front.rates), Arc::clone(&front.counters));
        let serving = udp::serve(Arc::new(socket), core, rates, counters);
        let stop = self.stop.clone();
        self.datagrams.spawn(async move { stop.run_until_cancelled(serving).await });
    }

    fn front(&self) -> &http::Front<K> {
        self.http.site()
    }

    /// What the protocol's machine counted.
    pub fn stats(&self) -> BrokerStats {
        self.front().core.stats()
    }

    /// The same, for whoever outlives this value.
    pub fn stats_handle(&self) -> impl Fn() -> BrokerStats + Send + Sync + use<K> {
        let core = Arc::clone(&self.front().core);
        move || core.stats()
    }

    /// What the HTTP side counted.
    pub fn counters(&self) -> &Arc<ServerCounters> {
        &self.front().counters
    }

    /// What answers.
    pub fn knowledge(&self) -> &Arc<K> {
        &self.front().core.knowledge
    }

    /// Seals tickets by this key from now on; the older keys still open theirs.
    ///
    /// # Errors
    /// As [`KeyRing::rotate`].
    pub fn rotate_ticket_key(&self, id: u32, key: &[u8]) -> Result<(), KeyRingError> {
        self.front().core.with_broker(|broker| broker.rotate_ticket_key(id, key))?;
        self.on_enrolment(|keys| keys.rotate(id, key))
    }

    /// Takes tickets of this key too, which another broker of the same service seals with.
    ///
    /// # Errors
    /// As [`KeyRing::add`].
    pub fn add_ticket_key(&self, id: u32, key: &[u8]) -> Result<(), KeyRingError> {
        self.front().core.with_broker(|broker| broker.add_ticket_key(id, key))?;
        self.on_enrolment(|keys| keys.add(id, key))
    }

    /// Seals tickets from now on by a key that was added.
    ///
    /// # Errors
    /// As [`KeyRing::seal_with`].
    pub fn seal_with_ticket_key(&self, id: u32) -> Result<(), KeyRingError> {
        self.front().core.with_broker(|broker| broker.seal_with_ticket_key(id))?;
        self.on_enrolment(|keys| keys.seal_with(id))
    }

    /// Takes no more tickets of a binding that has ended at another broker of the same service; `until` is when the
    /// last of them expires.
    ///
    /// # Errors
    /// When too many are remembered; see [`Broker::revoke`].
    pub fn end_binding(&self, binding: [u8; 16], until: UnixTime) -> Result<(), obp_proto::error::ApiMisuse> {
        let core = &self.front().core;
        if let Some(enrolment) = &core.enrolment {
            enrolment.with_machine(|machine| machine.remember_unbound(Clock::wall(), binding));
        }
        let now = core.clock.now();
        core.with_broker(|broker| broker.revoke(now, binding, until))
    }

    /// Takes no more tickets of this key.
    ///
    /// # Errors
    /// As [`KeyRing::retire`].
    pub fn retire_ticket_key(&self, id: u32) -> Result<(), KeyRingError> {
        self.front().core.with_broker(|broker| broker.retire_ticket_key(id))?;
        self.on_enrolment(|keys| keys.retire(id))
    }

    fn on_enrolment(&self, change: impl FnOnce(&mut KeyRing) -> Result<(), KeyRingError>) -> Result<(), KeyRingError> {
        let enrolment = self.front().core.enrolment.as_ref();
        enrolment.map_or(Ok(()), |enrolment| enrolment.with_machine(|machine| change(machine.keys_mut())))
    }

    /// Confirms that the device that waits under this number belongs to the account. False when none waits.
    pub fn confirm(&self, transaction: TransactionId, account: &str) -> bool {
        let enrolment = self.front().core.enrolment.as_ref();
        enrolment
            .is_some_and(|enrolment| enrolment.with_machine(|machine| machine.confirm(transaction, account).is_ok()))
    }

    /// Refuses the device that waits under this number. False when none waits.
    pub fn deny(&self, transaction: TransactionId) -> bool {
        let enrolment = self.front().core.enrolment.as_ref();
        enrolment.is_some_and(|enrolment| {
            enrolment.with_machine(|machine| machine.deny(transaction, Status::REFUSED).is_ok())
        })
    }

    /// Takes nothing new, answers what was asked, and ends; after `grace` whatever is left is cut off.
    pub async fn shutdown(self, grace: Duration) {
        let core = Arc::clone(&self.front().core);
        let Self { http, datagrams, stop, at_end: _ends } = self;
        stop.cancel();
        datagrams.close();
        core.tasks.close();
        let drained = async {
            let is_drained = http.shutdown(grace).await;
            datagrams.wait().await;
            core.tasks.wait().await;
            is_drained
        };
        if tokio::time::timeout(grace, drained).await != Ok(true) {
            tracing::warn!("not everything was answered in time");
        }
    }
}

impl<K: Knowledge> fmt::Debug for Server<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("limits", &self.front().limits).finish_non_exhaustive()
    }
}

impl<K> fmt::Debug for ServerBuilder<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// One more.
fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
