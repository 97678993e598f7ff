//! The Call Home server: the side near the sources. It calls, is the (D)TLS client, and mitigates. RFC 9066 section 5.

mod core;
mod dial;
mod discovery;
mod mitigator;
mod work;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dots_callhome::body::{Lifetime, RedirectedSignal, Scope, Status};
use dots_callhome::{
    Dialer, DialerConfig, DialerConfigBuilder, MitigationId, MitigationRequest, NotFollowed, Server, ServerConfig,
    ServerConfigBuilder, ServerPolicy, Transport,
};
use rustls_pki_types::ServerName;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

pub use self::core::UpstreamInfo;
pub use discovery::{Discover, Discovered, DiscoveredPlace};
pub use mitigator::{Mitigator, MitigatorError, Order, Report};

use self::core::{Core, Guarded};
use crate::clock::Clock;
use crate::context::Security;
use crate::error::{ConfigError, RequestError, SecurityError, StartError};
use crate::identity::Identity;

/// Everything that can grow here, and how far. What is inside the machine is in [`dots_callhome::Limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerLimits {
    /// Octets queued for a stream whose peer does not read; beyond them it is closed. Default 256 KiB.
    pub queued_octets: usize,
    /// How long one write to a stream may take. Default 20 s.
    pub write_timeout: Duration,
    /// Octets taken of a datagram. Default 2048, at most 65535.
    pub datagram: usize,
    /// How long one call of the back end may take. Default 10 s.
    pub back_end: Duration,
    /// Calls of the back end at a time, reports aside. Default 16.
    pub back_end_calls: usize,
    /// How often the back end is asked how a mitigation stands. Default 10 s.
    pub report_every: Duration,
    /// How long a client may ask us to stay away. Default 300 s.
    pub hold_off: Duration,
    /// The least time after which discovery is asked again, however short what it says is good for. Default 30 s.
    pub rediscover: Duration,
    /// Events kept for a subscriber that does not fetch them. Default 4096.
    pub events: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            queued_octets: 256 << 10,
            write_timeout: Duration::from_secs(20),
            datagram: 2048,
            back_end: Duration::from_secs(10),
            back_end_calls: 16,
            report_every: Duration::from_secs(10),
            hold_off: Duration::from_secs(300),
            rediscover: Duration::from_secs(30),
            events: 4096,
        }
    }
}

/// What the back end was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackEndCall {
    /// [`Mitigator::start`].
    Start,
    /// [`Mitigator::refresh`].
    Refresh,
    /// [`Mitigator::stop`].
    Stop,
}

/// What happened at a Call Home server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum CallHomeServerEvent {
    /// A client was reached, and is who it must be.
    Up {
        /// The name that it has proved.
        name: String,
        /// Where.
        address: SocketAddr,
        /// By what.
        transport: Transport,
        /// Whether an earlier (D)TLS session was resumed.
        resumed: bool,
        /// All that it has proved.
        identity: Identity,
    },
    /// A session ended. Mitigations have not.
    Down {
        /// With whom.
        name: String,
        /// Why, if it was not on purpose.
        why: Option<SecurityError>,
    },
    /// One attempt came to nothing; others may be under way.
    AttemptFailed {
        /// To reach whom.
        name: String,
        /// Where.
        to: SocketAddr,
        /// By what.
        transport: Transport,
        /// Why.
        error: SecurityError,
    },
    /// All attempts have failed.
    Unreachable {
        /// To reach whom.
        name: String,
        /// When it is tried again.
        again_in: Duration,
    },
    /// The client sends us elsewhere.
    Redirected {
        /// Where to.
        to: RedirectedSignal,
        /// Whether we go.
        followed: Result<(), NotFollowed>,
    },
    /// The client chose other settings.
    Configured {
        /// Which client.
        name: String,
    },
    /// A mitigation stands differently now.
    Mitigation {
        /// Which.
        id: MitigationId,
        /// Who asked for it.
        cuid: String,
        /// Under which number.
        mid: u32,
        /// How it stands.
        status: Status,
    },
    /// Somebody has to agree: [`CallHomeServer::consent`].
    ConsentNeeded {
        /// To what.
        id: MitigationId,
    },
    /// The back end failed. It is asked again as long as it is needed.
    BackEndFailed {
        /// At what.
        id: MitigationId,
        /// Under which number it was asked for.
        mid: u32,
        /// What it was to do.
        call: BackEndCall,
        /// Why it did not.
        error: MitigatorError,
    },
}

/// A Call Home client to keep a session with.
#[derive(Debug, Clone)]
pub struct Upstream {
    dialer: DialerConfigBuilder,
    place: Place,
}

/// Where an upstream is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// Where its name leads.
    Name,
    At(Vec<IpAddr>),
    /// Where other names lead.
    Hosts(Vec<String>),
    /// Where discovery says.
    Discovered(Arc<dyn Discover>),
}

impl Upstream {
    /// By the name that it must prove, and that is looked up; at this port over both transports.
    pub fn new(name: impl Into<String>, port: u16) -> Self {
        Self { dialer: DialerConfig::builder(name, port), place: Place::Name }
    }

    /// At these addresses, without a look-up. A redirection elsewhere is looked up all the same.
    #[must_use]
    pub fn at(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.place = Place::At(addresses.into_iter().collect());
        self
    }

    /// At these hosts, the best first, which are looked up each time; it must still prove its own name. At most 16.
    #[must_use]
    pub fn found_at(mut self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.place = Place::Hosts(hosts.into_iter().take(16).map(Into::into).collect());
        self
    }

    /// Where this says, which is asked for each attempt that is not at what worked moments ago, and again when what it
    /// said is not good any more; it must still prove its own name.
    #[must_use]
    pub fn discovered_by(mut self, discovery: impl Discover) -> Self {
        self.place = Place::Discovered(Arc::new(discovery));
        self
    }

    /// Over this transport alone.
    #[must_use]
    pub fn over(mut self, transport: Transport) -> Self {
        self.dialer = self.dialer.with_transports(vec![transport]);
        self
    }

    /// How the dialer behaves: waits, delays, what is remembered.
    #[must_use]
    pub fn with_dialer(mut self, change: impl FnOnce(DialerConfigBuilder) -> DialerConfigBuilder) -> Self {
        self.dialer = change(self.dialer);
        self
    }
}

/// A mitigation at a Call Home server, as it stands.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ActiveMitigation {
    /// Names it.
    pub id: MitigationId,
    /// Who asked, as (D)TLS proved.
    pub peer: String,
    /// Under which name.
    pub cuid: String,
    /// Under which number.
    pub mid: u32,
    /// For what.
    pub request: MitigationRequest,
    /// How it stands.
    pub status: Status,
    /// Not in force before [`CallHomeServer::consent`].
    pub awaits_consent: bool,
    /// What clients are told.
    pub report: Scope,
}

/// What a Call Home server is made of.
pub struct CallHomeServerBuilder {
    security: Security,
    policy: Box<dyn ServerPolicy + Send>,
    mitigator: Arc<dyn Mitigator>,
    machine: ServerConfigBuilder,
    limits: ServerLimits,
    upstreams: Vec<Upstream>,
}

impl fmt::Debug for CallHomeServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallHomeServerBuilder").field("upstreams", &self.upstreams).finish_non_exhaustive()
    }
}

impl CallHomeServerBuilder {
    /// Keeps a session with this client: one for each upstream provider (RFC 9066 section 1).
    #[must_use]
    pub fn call(mut self, upstream: Upstream) -> Self {
        self.upstreams.push(upstream);
        self
    }

    /// How the machine behaves: profile, ranges, rules, limits. The epoch is set for you.
    #[must_use]
    pub fn with_machine(mut self, change: impl FnOnce(ServerConfigBuilder) -> ServerConfigBuilder) -> Self {
        self.machine = change(self.machine);
        self
    }

    /// How far things may grow.
    #[must_use]
    pub fn with_limits(mut self, limits: ServerLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Begins, on the tokio runtime that calls.
    ///
    /// # Errors
    /// When there is nobody to call, the credentials are not for it, or a machine cannot be as it was set.
    pub fn start(self) -> Result<CallHomeServer, StartError> {
        if self.upstreams.is_empty() {
            return Err(StartError::Nothing);
        }
        let clock = Clock::start();
        let machine = self.machine.with_epoch(clock.unix_epoch()).build().map_err(ConfigError::from)?;
        let guarded = Guarded { policy: self.policy, mitigator: Arc::clone(&self.mitigator) };
        let server = Server::new(Arc::new(machine), guarded, crate::random_seed(), clock.now());
        let mut upstreams = Vec::new();
        for Upstream { dialer, place } in self.upstreams {
            let mut config = dialer.build().map_err(ConfigError::from)?;
            if ServerName::try_from(config.name.as_str()).is_err() {
                return Err(ConfigError::BadName(config.name).into());
            }
            let wanted = config.transports.first().copied().unwrap_or(Transport::Stream);
            config.transports.retain(|transport| self.security.supports(*transport));
            if config.transports.is_empty() {
                return Err(StartError::Transport(wanted));
            }
            // An attempt ends itself in time; the dialer's own limit is for those that do not.
            config.attempt_timeout = config.attempt_timeout.min(self.security.handshake_timeout());
            upstreams.push(core::Upstream {
                place: (config.name.clone(), place),
                port: config.port,
                transports: config.transports.clone(),
                patience: config.attempt_timeout / 2,
                dialer: Dialer::new(config, crate::random_seed(), clock.now()),
                attempts: BTreeMap::new(),
                session: None,
                known: Vec::new(),
                again: None,
            });
        }
        let core = Arc::new(Core::new(clock, self.limits, self.mitigator, self.security, server, upstreams));
        core.start();
        Ok(CallHomeServer { inner: Arc::new(Inner { core }) })
    }
}

/// A running Call Home server. Clones are handles to the same; when the last is dropped, its sessions end, and filters
/// stay as they are.
#[derive(Clone)]
pub struct CallHomeServer {
    inner: Arc<Inner>,
}

struct Inner {
    core: Arc<Core>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.core.hang_up();
        self.core.ended.cancel();
    }
}

impl fmt::Debug for CallHomeServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallHomeServer").field("upstreams", &self.upstreams()).finish()
    }
}

/// What happens at a Call Home server: [`CallHomeServer::events`].
#[derive(Debug)]
pub struct ServerEvents {
    all: broadcast::Receiver<CallHomeServerEvent>,
    ended: tokio_util::sync::CancellationToken,
}

impl ServerEvents {
    /// The next event. May be cancelled without loss.
    ///
    /// # Errors
    /// When some were missed, or everything has stopped and all that was said before has been fetched.
    pub async fn next(&mut self) -> Result<CallHomeServerEvent, crate::client::Missed> {
        let event = tokio::select! {
            biased;
            event = self.all.recv() => event,
            () = self.ended.cancelled() => return Err(crate::client::Missed::Stopped),
        };
        event.map_err(|error| match error {
            RecvError::Lagged(missed) => crate::client::Missed::Events(missed),
            RecvError::Closed => crate::client::Missed::Stopped,
        })
    }
}

impl CallHomeServer {
    /// Begins with these credentials, this policy and this back end.
    pub fn builder(
        security: Security,
        policy: impl ServerPolicy + Send + 'static,
        mitigator: impl Mitigator,
    ) -> CallHomeServerBuilder {
        CallHomeServerBuilder {
            security,
            policy: Box::new(policy),
            mitigator: Arc::new(mitigator),
            machine: ServerConfig::builder(),
            limits: ServerLimits::default(),
            upstreams: Vec::new(),
        }
    }

    /// Every handshake from now on is made with these credentials: see [`Security::replace`].
    pub fn set_security(&self, security: &Security) {
        self.inner.core.security.replace(security);
    }

    /// The clients that are called, and the sessions with them.
    pub fn upstreams(&self) -> Vec<UpstreamInfo> {
        self.inner.core.upstreams()
    }

    /// What is mitigated, or was a moment ago.
    pub fn mitigations(&self) -> Vec<ActiveMitigation> {
        self.inner.core.with(|server, now| {
            let rows = server.mitigations().iter().map(|(id, row)| ActiveMitigation {
                id,
                peer: row.peer.clone(),
                cuid: row.cuid.clone(),
                mid: row.mid,
                request: row.request.clone(),
                status: row.status,
                awaits_consent: row.awaits_consent,
                report: server.report_of(now, id).unwrap_or_default(),
            });
            rows.collect()
        })
    }

    /// Everything that happens from now on; the first who asks hears everything since the start.
    pub fn events(&self) -> ServerEvents {
        let core = &self.inner.core;
        ServerEvents { all: core.events.listen(), ended: core.ended.clone() }
    }

    /// Answers [`CallHomeServerEvent::ConsentNeeded`].
    ///
    /// # Errors
    /// When there is no such mitigation any more, or it awaits no consent.
    pub fn consent(&self, id: MitigationId, agreed: bool) -> Result<(), RequestError> {
        Ok(self.inner.core.with(|server, now| server.consent(now, id, agreed))?)
    }

    /// Ends a mitigation from here.
    ///
    /// # Errors
    /// When there is no such mitigation any more.
    pub fn withdraw(&self, id: MitigationId) -> Result<(), RequestError> {
        Ok(self.inner.core.with(|server, now| server.withdraw(now, id))?)
    }

    /// The traffic turned out to be legitimate: filters go, and the client is told why.
    ///
    /// # Errors
    /// When there is no such mitigation any more.
    pub fn judge_legitimate(&self, id: MitigationId) -> Result<(), RequestError> {
        Ok(self.inner.core.with(|server, now| server.judge_legitimate(now, id))?)
    }

    /// Puts a mitigation of before a restart in force again. `None` when its name is taken.
    pub fn restore(
        &self,
        peer: &str,
        cuid: &str,
        mid: u32,
        request: MitigationRequest,
        lifetime: Lifetime,
    ) -> Option<MitigationId> {
        self.inner.core.with(|server, now| server.restore(now, (peer, cuid, mid), request, lifetime))
    }

    /// Stops: says goodbye, and waits for it, at most for `grace`; five seconds are enough for most back ends. With
    /// `lift`, the back end takes all filters away before, which may take as long again; without, they stay until
    /// whoever starts next says otherwise.
    pub async fn shutdown(&self, grace: Duration, lift: bool) {
        let core = &self.inner.core;
        core.hang_up();
        core.tasks.close();
        if lift {
            core.lift_all();
            let lifted = async {
                while core.has_work() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            let _ = tokio::time::timeout(grace, lifted).await;
        }
        core.ended.cancel();
        let _ = tokio::time::timeout(grace, core.tasks.wait()).await;
    }
}
