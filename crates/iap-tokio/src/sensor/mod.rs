//! The sensor: brings alerts from a spool to a manager, and lets go of each only when the manager has it.
//! draft-ietf-idwg-iap-01 sections 3.4, 5.1, 5.2, 6.1, 6.7.
//!
//! ```no_run
//! use iap_tokio::Endpoint;
//! use iap_tokio::sensor::Sensor;
//! use iap_tokio::spool::{Record, Spool, SpoolConfig};
//! use iap_tokio::tls::{Source, Tls, TlsConfig};
//!
//! # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
//! let tls = Tls::new(TlsConfig::new(
//!     Source::file("sensor.pem"), Source::file("sensor.key"), Source::file("ca.pem")))?;
//! let spool = Spool::open("/var/spool/sensor", SpoolConfig::default())?;
//! let sensor = Sensor::builder(tls, "manager.example.com", spool)?
//!     .connect(Endpoint::new("proxy.example.com:4690", "manager.example.com".parse()?))
//!     .start()?;
//!
//! // Safe on disk when this returns; delivered when the manager says so.
//! sensor.spool().append(vec![Record::new("application/x-idef-alert", "<IDMEF-Message/>")], None).await?;
//! sensor.drained().await;
//! sensor.shutdown(std::time::Duration::from_secs(5)).await;
//! # Ok(()) }
//! ```

mod deliver;
mod dial;
mod listen;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use iap_proto::{Config, MediaType, Party};
use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::ending::Tasks;
use crate::setup::{Endpoint, Node};
use crate::spool::Spool;
use crate::tls::{ConfigError, Tls, manager_name};

/// What a sensor has done so far.
#[derive(Debug, Default)]
pub struct SensorCounters {
    /// Alerts sent, each counted once.
    pub sent: AtomicU64,
    /// Alerts sent again after a broken connection or a "come back later".
    pub resent: AtomicU64,
    /// Alerts answered with success.
    pub acked: AtomicU64,
    /// Alerts refused for good and put aside as dead letters.
    pub rejected: AtomicU64,
    /// Answers "come back later".
    pub deferred: AtomicU64,
    /// Heartbeats answered with success.
    pub heartbeats: AtomicU64,
    /// Channels opened.
    pub channels: AtomicU64,
    /// Channels whose TLS session was resumed.
    pub resumed: AtomicU64,
    /// Whether a channel is open now.
    pub connected: AtomicBool,
    failures: Mutex<BTreeMap<&'static str, u64>>,
    last_failure: Mutex<Option<String>>,
}

impl SensorCounters {
    /// Failed setups and broken channels, by reason.
    pub fn failures(&self) -> BTreeMap<&'static str, u64> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last failure in words; none once a channel is open again.
    pub fn last_failure(&self) -> Option<String> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fail(&self, reason: &'static str, words: String) {
        *self.failures.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_insert(0) += 1;
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
    }

    fn open(&self, resumed: bool) {
        self.channels.fetch_add(1, Ordering::Relaxed);
        self.resumed.fetch_add(u64::from(resumed), Ordering::Relaxed);
        self.connected.store(true, Ordering::Relaxed);
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Makes a heartbeat: its type and body.
pub type MakeHeartbeat = Arc<dyn Fn() -> (MediaType, Bytes) + Send + Sync>;

/// What the tasks of a sensor share.
struct Shared {
    node: Node,
    spool: Spool,
    counters: Arc<SensorCounters>,
    heartbeat: Option<(Duration, MakeHeartbeat)>,
    /// Wakes those who wait for the spool to run empty.
    settled: Notify,
    /// The highest number ever sent, to tell what is sent again.
    high_water: AtomicU64,
    /// How often an alert was too large for a manager.
    too_large: Mutex<BTreeMap<u64, usize>>,
    /// Managers to try before an alert counts as too large for all.
    managers: usize,
    admission: Admission,
    stop: CancellationToken,
    /// Ends what outlives the grace of a shutdown.
    cut: CancellationToken,
}

/// Builds a [`Sensor`].
#[must_use]
pub struct SensorBuilder {
    tls: Tls,
    manager: rustls_pki_types::ServerName<'static>,
    spool: Spool,
    config: Config,
    connect: Vec<Endpoint>,
    listeners: Vec<TcpListener>,
    heartbeat: Option<(Duration, MakeHeartbeat)>,
    allow_from: Vec<IpNet>,
    retry: (Duration, Duration),
}

impl std::fmt::Debug for SensorBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SensorBuilder").field("connect", &self.connect).finish_non_exhaustive()
    }
}

impl SensorBuilder {
    /// Dials this manager, or a proxy on the way to it. Called several times, the first that works is used, in this
    /// order, at every new attempt.
    pub fn connect(mut self, manager: Endpoint) -> Self {
        self.connect.push(manager);
        self
    }

    /// Waits to be dialled here. The newest connection is used.
    pub fn listen(mut self, listener: TcpListener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Networks that may dial; any if none are given. Looked at before anything else is done for a connection.
    pub fn with_allowed_networks(mut self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        self.allow_from = networks.into_iter().collect();
        self
    }

    /// Waits at least `min` and at most `max` between attempts to connect; 0.5 s and 60 s by default. The waits double
    /// from `min`, and half of `min` is the least after chance has spread them.
    pub fn with_retry(mut self, min: Duration, max: Duration) -> Self {
        self.retry = (min, max);
        self
    }

    /// Protocol limits, timers, window and tolerance; [`Config::analyzer`] by default. Whatever it says, this is an
    /// analyzer, and takes no commands: a manager that wants to send some is answered 501.
    pub fn with_config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sends a heartbeat so often while a channel is open. Heartbeats are not spooled: an old one says nothing.
    pub fn with_heartbeat(mut self, every: Duration, make: MakeHeartbeat) -> Self {
        self.heartbeat = (!every.is_zero()).then_some((every, make));
        self
    }

    /// Starts. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When there is neither a manager to dial nor a place to wait, when there are both (a sensor serves one manager at
    /// a time, section 5.1), or when a listener has no address.
    pub fn start(self) -> io::Result<Sensor> {
        if self.connect.is_empty() && self.listeners.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a sensor needs a manager to dial or a listener"));
        }
        if !self.connect.is_empty() && !self.listeners.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a sensor dials or waits to be dialled, not both"));
        }
        let mut config = self.config;
        (config.party, config.commands) = (Party::Analyzer, false);
        let local = self.listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
        let tasks = Tasks::default();
        let shared = Arc::new(Shared {
            node: Node { config: Arc::new(config), tls: self.tls, manager: Some(self.manager) },
            spool: self.spool.clone(),
            counters: Arc::new(SensorCounters::default()),
            heartbeat: self.heartbeat,
            settled: Notify::new(),
            high_water: AtomicU64::new(0),
            too_large: Mutex::default(),
            managers: self.connect.len().max(1),
            admission: Admission::new(&self.allow_from, listen::MOST_FROM_ONE),
            stop: tasks.stop.clone(),
            cut: tasks.cut.clone(),
        });
        if self.connect.is_empty() {
            let serving = listen::serve(self.listeners, Arc::clone(&shared), tasks.tracker.clone());
            tasks.tracker.spawn(shared.cut.clone().run_until_cancelled_owned(serving));
        } else {
            let dialling = dial::keep_dialling(self.connect, self.retry, Arc::clone(&shared));
            tasks.tracker.spawn(shared.cut.clone().run_until_cancelled_owned(dialling));
        }
        Ok(Sensor { local, shared, tasks })
    }
}

/// A running sensor. Dropping it cuts everything off, and what is not answered stays in the spool;
/// [`shutdown`](Self::shutdown) is polite.
pub struct Sensor {
    local: Vec<SocketAddr>,
    shared: Arc<Shared>,
    tasks: Tasks,
}

impl std::fmt::Debug for Sensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sensor").field("counters", &self.shared.counters).finish_non_exhaustive()
    }
}

impl Sensor {
    /// A sensor with this certificate, that empties this spool to the manager whose certificate carries `manager`.
    ///
    /// # Errors
    /// When `manager` is neither a host name nor an address.
    pub fn builder(tls: Tls, manager: &str, spool: Spool) -> Result<SensorBuilder, ConfigError> {
        Ok(SensorBuilder {
            tls,
            manager: manager_name(manager)?,
            spool,
            config: Config::analyzer(),
            connect: Vec::new(),
            listeners: Vec::new(),
            heartbeat: None,
            allow_from: Vec::new(),
            retry: (Duration::from_millis(500), Duration::from_secs(60)),
        })
    }

    /// Where alerts go in.
    pub fn spool(&self) -> &Spool {
        &self.shared.spool
    }

    /// What it has done.
    pub fn counters(&self) -> &Arc<SensorCounters> {
        &self.shared.counters
    }

    /// Where it waits to be dialled.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local
    }

    /// Waits until every alert in the spool has been answered for good.
    pub async fn drained(&self) {
        loop {
            let settled = self.shared.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if self.shared.spool.stats().depth == 0 {
                return;
            }
            // Alerts also leave by age, which nobody announces.
            let _ = tokio::time::timeout(Duration::from_millis(500), settled).await;
        }
    }

    /// Sends nothing more, waits up to `grace` for the answers that are due, says goodbye; what is not done by then is
    /// cut off. The spool stays open.
    pub async fn shutdown(self, grace: Duration) {
        self.tasks.shutdown(grace).await;
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        // A channel that is cut off does not say so.
        self.shared.counters.connected.store(false, Ordering::Relaxed);
    }
}
