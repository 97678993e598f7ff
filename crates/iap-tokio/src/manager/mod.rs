//! The manager: takes alerts from many analyzers, whoever dialled, and hands them over.
//! draft-ietf-idwg-iap-01 sections 3.4, 5.3, 6.1, 7.2.
//!
//! ```no_run
//! use iap_tokio::manager::{Delivery, Manager};
//! use iap_tokio::tls::{Source, Tls, TlsConfig};
//!
//! # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
//! let tls = Tls::new(TlsConfig::new(
//!     Source::file("manager.pem"), Source::file("manager.key"), Source::file("ca.pem")))?;
//! let (handover, mut deliveries) = tokio::sync::mpsc::channel::<Delivery>(16);
//! let listener = tokio::net::TcpListener::bind("0.0.0.0:4690").await?;
//! let manager = Manager::builder(tls, handover).listen(listener).start()?;
//!
//! while let Some(delivery) = deliveries.recv().await {
//!     for alert in delivery.alerts() {
//!         println!("{}: {:?}", alert.peer, alert.message);
//!     }
//!     delivery.accept(); // only now are they answered 200
//! }
//! # manager.shutdown(std::time::Duration::from_secs(5)).await;
//! # Ok(()) }
//! ```

mod dial;
mod handover;
mod listen;
mod receive;
mod recent;
mod validate;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use iap_proto::{Channel, CloseReason, Config, Party};
use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use handover::{Alert, AlertKey, Delivery, Handover};
pub use validate::Validation;

use crate::admission::Admission;
use crate::ending::Tasks;
use crate::setup::{Endpoint, Node, Open, error_label};
use crate::tls::{Identity, Tls};
use recent::Recent;

/// How many connections, and from where.
///
/// How large a body may be is a limit of the protocol: [`ManagerBuilder::with_config`]. Which certificates are admitted is
/// the business of [`TlsConfig::with_allow_list`](crate::tls::TlsConfig::with_allow_list).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ManagerLimits {
    /// Connections at the same time, setups included. Default 4096.
    pub max_connections: usize,
    /// Connections at the same time from one address. Default 256: many sensors may sit behind one proxy.
    pub max_per_address: usize,
    /// Channels at the same time with one certificate identity. Default 8.
    pub max_per_peer: usize,
    /// Networks that may connect; any if empty. Looked at before anything else is done for a connection.
    pub allow_from: Vec<IpNet>,
    /// Alerts of each peer that are remembered, to know those that come again. Default 4096.
    pub recent: usize,
}

impl Default for ManagerLimits {
    fn default() -> Self {
        Self { max_connections: 4096, max_per_address: 256, max_per_peer: 8, allow_from: Vec::new(), recent: 4096 }
    }
}

/// What a manager has done so far.
#[derive(Debug, Default)]
pub struct ManagerCounters {
    /// TCP connections taken.
    pub connections: AtomicU64,
    /// Channels opened.
    pub channels: AtomicU64,
    /// Channels whose TLS session was resumed.
    pub resumed: AtomicU64,
    /// Alerts received whole.
    pub received: AtomicU64,
    /// Alerts handed over and answered with success.
    pub accepted: AtomicU64,
    /// Alerts that had been received before.
    pub duplicates: AtomicU64,
    /// Octets received inside TLS.
    pub octets: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

impl ManagerCounters {
    /// Connections and alerts refused, by reason.
    pub fn refused(&self) -> BTreeMap<&'static str, u64> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn refuse(&self, reason: &'static str) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_insert(0) += 1;
    }
}

/// An open channel, for an overview.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Who.
    pub peer: Arc<Identity>,
    /// From where; behind a proxy, the proxy's address.
    pub address: SocketAddr,
    /// Since when.
    pub since: SystemTime,
}

/// What all connections of a manager share.
struct Shared<H> {
    handover: H,
    validation: Validation,
    limits: ManagerLimits,
    counters: Arc<ManagerCounters>,
    recent: Recent,
    node: Node,
    admission: Admission,
    /// Open channels, each by a number of its own.
    channels: Mutex<BTreeMap<u64, ConnectionInfo>>,
    next_channel: AtomicU64,
    stop: CancellationToken,
    /// Ends what outlives the grace of a shutdown.
    cut: CancellationToken,
}

/// Builds a [`Manager`].
#[derive(Debug)]
#[must_use]
pub struct ManagerBuilder<H> {
    tls: Tls,
    handover: H,
    config: Config,
    limits: ManagerLimits,
    validation: Validation,
    listeners: Vec<TcpListener>,
    dial: Vec<Endpoint>,
}

impl<H: Handover> ManagerBuilder<H> {
    /// Takes connections here. May be called several times.
    pub fn listen(mut self, listener: TcpListener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Dials this analyzer, and again whenever the connection ends. May be called several times.
    pub fn dial(mut self, analyzer: Endpoint) -> Self {
        self.dial.push(analyzer);
        self
    }

    /// Protocol limits, timers and tolerance; [`Config::manager`] by default. Whatever it says, this is a manager, and
    /// sends no commands: who asks for some is answered 501.
    pub fn with_config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// How many connections, and from where.
    pub fn with_limits(mut self, limits: ManagerLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether bodies are looked into.
    pub fn with_validation(mut self, validation: Validation) -> Self {
        self.validation = validation;
        self
    }

    /// Starts. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When a listener has no address.
    pub fn start(self) -> io::Result<Manager> {
        let local = self.listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
        let counters = Arc::new(ManagerCounters::default());
        let tasks = Tasks::default();
        let mut config = self.config;
        (config.party, config.commands) = (Party::Manager, false);
        let admission = Admission::new(&self.limits.allow_from, self.limits.max_per_address);
        let shared = Arc::new(Shared {
            handover: self.handover,
            validation: self.validation,
            recent: Recent::new(self.limits.recent),
            limits: self.limits,
            counters: Arc::clone(&counters),
            node: Node { config: Arc::new(config), tls: self.tls, manager: None },
            admission,
            channels: Mutex::default(),
            next_channel: AtomicU64::new(0),
            stop: tasks.stop.clone(),
            cut: tasks.cut.clone(),
        });
        let places = shared.limits.max_connections.min(Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(places));
        for listener in self.listeners {
            let serving = listen::serve(listener, Arc::clone(&places), Arc::clone(&shared), tasks.tracker.clone());
            tasks.tracker.spawn(serving);
        }
        for endpoint in self.dial {
            let dialling = dial::keep_dialling(endpoint, Arc::clone(&shared));
            tasks.tracker.spawn(tasks.cut.clone().run_until_cancelled_owned(dialling));
        }
        let overview = Arc::clone(&shared);
        let connections: Overview = Arc::new(move || overview.connections());
        Ok(Manager { local, counters, tasks, connections })
    }
}

/// Gives the channels that are open at the moment of the call.
pub type Overview = Arc<dyn Fn() -> Vec<ConnectionInfo> + Send + Sync>;

/// A running manager. Dropping it cuts everything off; [`shutdown`](Self::shutdown) is polite.
pub struct Manager {
    local: Vec<SocketAddr>,
    counters: Arc<ManagerCounters>,
    tasks: Tasks,
    connections: Overview,
}

impl std::fmt::Debug for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manager").field("local", &self.local).field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl Manager {
    /// A manager with this certificate, that hands alerts over here.
    pub fn builder<H: Handover>(tls: Tls, handover: H) -> ManagerBuilder<H> {
        ManagerBuilder {
            tls,
            handover,
            config: Config::manager(),
            limits: ManagerLimits::default(),
            validation: Validation::default(),
            listeners: Vec::new(),
            dial: Vec::new(),
        }
    }

    /// Where it listens, in the order of [`ManagerBuilder::listen`].
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local
    }

    /// What it has done.
    pub const fn counters(&self) -> &Arc<ManagerCounters> {
        &self.counters
    }

    /// The channels open now.
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        (self.connections)()
    }

    /// A way to look at the open channels from elsewhere.
    pub fn overview(&self) -> Overview {
        Arc::clone(&self.connections)
    }

    /// Takes no more connections and alerts, answers what it has, says goodbye; what is not done within `grace` is cut
    /// off. Batches that are being handed over then go on, unanswered.
    pub async fn shutdown(self, grace: Duration) {
        self.tasks.shutdown(grace).await;
    }
}

impl<H: Handover> Shared<H> {
    fn connections(&self) -> Vec<ConnectionInfo> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Lists a channel that is about to open, unless there are `most` with this peer. Asking and listing are one step,
    /// so that connections which come at the same moment cannot all pass.
    fn list(self: &Arc<Self>, peer: &Arc<Identity>, address: SocketAddr, most: usize) -> Option<Listed<H>> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if channels.values().filter(|info| info.peer.display() == peer.display()).count() >= most {
            return None;
        }
        let number = self.next_channel.fetch_add(1, Ordering::Relaxed);
        channels.insert(number, ConnectionInfo { peer: Arc::clone(peer), address, since: SystemTime::now() });
        Some(Listed { shared: Arc::clone(self), number })
    }

    /// Runs an open channel to its end.
    async fn run(self: &Arc<Self>, open: Open, address: SocketAddr, listed: Option<Listed<H>>) -> CloseReason {
        let Open { channel, wire, peer, handshake } = open;
        self.counters.channels.fetch_add(1, Ordering::Relaxed);
        self.counters.resumed.fetch_add(u64::from(handshake.resumed), Ordering::Relaxed);
        tracing::info!(%peer, %address, version = %handshake.version, resumed = handshake.resumed, "channel open");
        // The limit is for those who come by themselves; whom this manager dials it wants.
        let _listed = listed.or_else(|| self.list(&peer, address, usize::MAX));
        let reason = match channel {
            Channel::Receiver(receiver) => {
                receive::receive(wire, receiver, Arc::clone(&peer), Arc::clone(self), self.stop.clone()).await
            }
            // Its configuration lets it play no other part, so it does not come to this.
            Channel::Sender(_) => CloseReason::Finished,
        };
        if let CloseReason::Failed(error) = &reason {
            self.counters.refuse(error_label(error));
            tracing::warn!(%peer, %address, %error, "channel closed");
        } else {
            tracing::info!(%peer, %address, %reason, "channel closed");
        }
        reason
    }
}

/// Keeps a channel in the overview while it is open.
struct Listed<H> {
    shared: Arc<Shared<H>>,
    number: u64,
}

impl<H> Drop for Listed<H> {
    fn drop(&mut self) {
        self.shared.channels.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}
