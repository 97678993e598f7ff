//! One machine for each server that is asked: it outlives sessions, and has the timers of one task.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use dots_callhome::body::{
    AttackStatus, Lifetime, List, PortRange, Prefix, RedirectedSignal, Scope, SignalConfig, Status,
};
use dots_callhome::{Client, ClientConfig, ClientEvent, ClientPolicy, Stats, Transport};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use watchfire_core::{Instant, Machine as _, Output, StreamMachine as _};

use crate::clock::{Clock, sleep_until};
use crate::error::{RequestError, SecurityError};
use crate::identity::Identity;
use crate::limits::ClientLimits;
use crate::link::{Content, Link};
use crate::told::Told;

/// A policy for all peers.
#[derive(Clone)]
pub(crate) struct SharedPolicy(pub(crate) Arc<dyn ClientPolicy + Send + Sync>);

impl ClientPolicy for SharedPolicy {
    fn is_in_domain(&self, server: &str, source: &Prefix) -> bool {
        self.0.is_in_domain(server, source)
    }

    fn map_external(&self, server: &str, source: &Prefix, ports: &[PortRange]) -> Option<(Prefix, List<PortRange>)> {
        self.0.map_external(server, source, ports)
    }

    fn shares_by_ports(&self, source: &Prefix) -> bool {
        self.0.shares_by_ports(source)
    }

    fn nat64_prefix(&self, server: &str) -> Option<Prefix> {
        self.0.nat64_prefix(server)
    }
}

/// What happened at a Call Home client.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "most events are of the large kind")]
pub enum CallHomeClientEvent {
    /// A server has called, and is who it says.
    Connected {
        /// Which.
        peer: Arc<str>,
        /// From where.
        address: SocketAddr,
        /// By what.
        transport: Transport,
        /// Whether an earlier (D)TLS session was resumed.
        resumed: bool,
    },
    /// Its session ended. Its mitigations have not.
    Disconnected {
        /// Which.
        peer: Arc<str>,
        /// Why, if not by a goodbye.
        why: Option<SecurityError>,
    },
    /// Its address changed under it.
    Moved {
        /// Which.
        peer: Arc<str>,
        /// From where.
        from: SocketAddr,
        /// To where.
        to: SocketAddr,
    },
    /// What its machine says: about settings, mitigations, silence.
    Signal {
        /// Which.
        peer: Arc<str>,
        /// What.
        event: ClientEvent,
    },
}

impl CallHomeClientEvent {
    /// Whom it is about.
    pub fn peer(&self) -> &Arc<str> {
        match self {
            Self::Connected { peer, .. }
            | Self::Disconnected { peer, .. }
            | Self::Moved { peer, .. }
            | Self::Signal { peer, .. } => peer,
        }
    }
}

/// One peer, as it stands.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PeerInfo {
    /// What it is called.
    pub peer: Arc<str>,
    /// The cuid under which it is asked.
    pub cuid: String,
    /// Its session, if there is one.
    pub session: Option<SessionInfo>,
    /// What it was asked for.
    pub mitigations: usize,
}

/// One session.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Who, as (D)TLS proved.
    pub identity: Identity,
    /// Where.
    pub address: SocketAddr,
    /// By what.
    pub transport: Transport,
    /// Whether an earlier (D)TLS session was resumed.
    pub resumed: bool,
    /// What was noticed in it.
    pub stats: Stats,
}

/// One mitigation, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MitigationInfo {
    /// Its number.
    pub mid: u32,
    /// What was asked.
    pub scope: Scope,
    /// What the server said last.
    pub status: Option<Status>,
    /// All that it said last.
    pub report: Option<Scope>,
}

/// All peers, and what they share.
pub(crate) struct Peers {
    pub(crate) clock: Clock,
    pub(crate) limits: ClientLimits,
    pub(crate) events: Arc<Told<CallHomeClientEvent>>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// Sessions there are.
    pub(crate) sessions: AtomicUsize,
    pub(crate) template: ClientConfig,
    pub(crate) policy: SharedPolicy,
    map: Mutex<BTreeMap<Arc<str>, Arc<Peer>>>,
    /// Sessions that found no place.
    pub(crate) refused: AtomicU64,
}

impl Peers {
    pub(crate) fn new(
        clock: Clock,
        limits: ClientLimits,
        template: ClientConfig,
        policy: SharedPolicy,
        stop: CancellationToken,
    ) -> Self {
        Self {
            clock,
            limits,
            events: Arc::new(Told::new(limits.events)),
            stop,
            tasks: TaskTracker::new(),
            sessions: AtomicUsize::new(0),
            template,
            policy,
            map: Mutex::default(),
            refused: AtomicU64::new(0),
        }
    }

    fn map(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Peer>>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, name: &str) -> Result<Arc<Peer>, RequestError> {
        self.map().get(name).cloned().ok_or_else(|| RequestError::UnknownPeer(name.to_owned()))
    }

    pub(crate) fn all(&self) -> Vec<Arc<Peer>> {
        self.map().values().cloned().collect()
    }

    /// The peer of this name, made if there was none.
    pub(crate) fn find_or_make(self: &Arc<Self>, name: &str) -> Result<Arc<Peer>, RequestError> {
        if self.stop.is_cancelled() {
            return Err(RequestError::Stopped);
        }
        let mut map = self.map();
        if let Some(peer) = map.get(name) {
            return Ok(Arc::clone(peer));
        }
        if map.len() >= self.limits.peers {
            // One that nobody needs gives way.
            let idle = map.iter().find(|(_, peer)| peer.is_idle()).map(|(name, _)| Arc::clone(name));
            let gone = idle.and_then(|name| map.remove(&name)).ok_or(RequestError::TooManyPeers)?;
            gone.gone.cancel();
        }
        let mut config = self.template.clone();
        config.server = name.to_owned();
        let seed = crate::random_seed();
        let now = self.clock.now();
        let peer = Arc::new(Peer {
            name: Arc::from(name),
            state: Mutex::new(State {
                client: Client::new(Arc::new(config), self.policy.clone(), seed, now),
                session: None,
                due: None,
                armed: None,
                reports: BTreeMap::new(),
            }),
            wake: Notify::new(),
            gone: self.stop.child_token(),
            peers: Arc::downgrade(self),
            clock: self.clock,
            events: Arc::clone(&self.events),
        });
        map.insert(Arc::clone(&peer.name), Arc::clone(&peer));
        drop(map);
        self.tasks.spawn(Arc::clone(&peer).keep_time());
        Ok(peer)
    }
}

/// One server that is asked.
pub(crate) struct Peer {
    name: Arc<str>,
    state: Mutex<State>,
    wake: Notify,
    gone: CancellationToken,
    peers: Weak<Peers>,
    clock: Clock,
    events: Arc<Told<CallHomeClientEvent>>,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("name", &self.name).finish_non_exhaustive()
    }
}

struct State {
    client: Client<SharedPolicy>,
    session: Option<Session>,
    /// When the machine wants to be called.
    due: Option<Instant>,
    /// Until when the task sleeps.
    armed: Option<Instant>,
    /// What the server said last of each mitigation.
    reports: BTreeMap<u32, Scope>,
}

struct Session {
    link: Link,
    identity: Identity,
    resumed: bool,
}

impl Peer {
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_idle(&self) -> bool {
        let state = self.state();
        state.session.is_none() && state.client.mitigations().next().is_none()
    }

    pub(crate) fn is_mitigating(&self) -> bool {
        self.state().client.mitigations().next().is_some()
    }

    /// A session of this peer is up; it replaces the one before, which is closed and given back.
    pub(crate) fn up(&self, link: Link, identity: Identity, resumed: bool) -> Option<Link> {
        let mut state = self.state();
        let (address, transport) = (link.address(), link.transport());
        let old = state.session.replace(Session { link, identity, resumed }).map(|old| old.link);
        match &old {
            Some(old) => old.close(),
            None => self.count(|sessions| sessions.fetch_add(1, Ordering::Relaxed)),
        }
        self.tell(CallHomeClientEvent::Connected { peer: Arc::clone(&self.name), address, transport, resumed });
        state.client.session_up(self.clock.now(), transport);
        self.settle(&mut state);
        old
    }

    fn count(&self, change: impl Fn(&AtomicUsize) -> usize) {
        if let Some(peers) = self.peers.upgrade() {
            change(&peers.sessions);
        }
    }

    fn tell(&self, event: CallHomeClientEvent) {
        self.events.tell(event);
    }

    pub(crate) fn moved(&self, link: u64, from: SocketAddr, to: SocketAddr) {
        if self.state().session.as_ref().is_some_and(|session| session.link.id() == link) {
            self.tell(CallHomeClientEvent::Moved { peer: Arc::clone(&self.name), from, to });
        }
    }

    fn end(&self, state: &mut State, why: Option<SecurityError>) {
        if let Some(session) = state.session.take() {
            session.link.close();
            self.count(|sessions| sessions.fetch_sub(1, Ordering::Relaxed));
            state.client.session_down(self.clock.now());
            self.tell(CallHomeClientEvent::Disconnected { peer: Arc::clone(&self.name), why });
        }
    }

    /// Says goodbye.
    pub(crate) fn disconnect(&self) {
        let mut state = self.state();
        self.end(&mut state, None);
        self.settle(&mut state);
    }

    /// Does what the machine says. Everything that is sent goes out in the order in which it was said, because nobody
    /// else has the machine meanwhile.
    fn settle(&self, state: &mut State) {
        let due = loop {
            match state.client.poll_output(self.clock.now()) {
                Output::Transmit(message) => {
                    if let Some(session) = &state.session {
                        session.link.send(message);
                    }
                }
                Output::Event(event) => {
                    match &event {
                        ClientEvent::Status { scope } => {
                            if let Some(mid) = scope.mid {
                                state.reports.insert(mid, (**scope).clone());
                            }
                        }
                        ClientEvent::Ended { mid } | ClientEvent::Refused { mid, .. } => {
                            state.reports.remove(mid);
                        }
                        ClientEvent::SessionEnded { .. } => {
                            self.tell(CallHomeClientEvent::Signal {
                                peer: Arc::clone(&self.name),
                                event: event.clone(),
                            });
                            self.end(state, None);
                            continue;
                        }
                        _ => {}
                    }
                    self.tell(CallHomeClientEvent::Signal { peer: Arc::clone(&self.name), event });
                }
                Output::Timeout(due) => break due,
            }
        };
        // A server may report what nobody asked for: no more of that is kept than there are mitigations.
        if !state.reports.is_empty() {
            let known: Vec<u32> = state.client.mitigations().map(|(mid, _, _)| mid).collect();
            state.reports.retain(|mid, _| known.contains(mid));
        }
        state.due = due;
        if due.is_some_and(|due| state.armed.is_none_or(|armed| due < armed)) {
            self.wake.notify_one();
        }
    }

    /// Calls the machine when it wants to be called.
    async fn keep_time(self: Arc<Self>) {
        loop {
            let due = {
                let mut state = self.state();
                if state.due.is_some_and(|due| due <= self.clock.now()) {
                    // No error: only streams have some, and they come by input.
                    let _ = state.client.handle_timeout(self.clock.now());
                    self.settle(&mut state);
                }
                state.armed = state.due;
                state.due
            };
            tokio::select! {
                () = sleep_until(due.map(|due| self.clock.at(due))) => {}
                () = self.wake.notified() => {}
                () = self.gone.cancelled() => return,
            }
        }
    }

    /// Asks the machine for something.
    pub(crate) fn ask<T>(
        &self,
        what: impl FnOnce(&mut Client<SharedPolicy>, Instant) -> Result<T, dots_callhome::Error>,
    ) -> Result<T, RequestError> {
        if self.gone.is_cancelled() {
            return Err(RequestError::Stopped);
        }
        let mut state = self.state();
        let outcome = what(&mut state.client, self.clock.now());
        self.settle(&mut state);
        Ok(outcome?)
    }

    pub(crate) fn mitigate(&self, mid: Option<u32>, scope: Scope) -> Result<u32, RequestError> {
        self.ask(|client, now| match mid {
            Some(mid) => client.request_mitigation_as(now, mid, scope).map(|()| mid),
            None => client.request_mitigation(now, scope),
        })
    }

    pub(crate) fn withdraw(&self, mid: u32) -> Result<(), RequestError> {
        self.ask(|client, now| client.withdraw(now, mid))
    }

    pub(crate) fn refresh(&self, mid: u32, lifetime: Option<Lifetime>) -> Result<(), RequestError> {
        self.ask(|client, now| client.refresh(now, mid, lifetime))
    }

    pub(crate) fn efficacy(&self, mid: u32, status: AttackStatus) -> Result<(), RequestError> {
        self.ask(|client, now| client.report_efficacy(now, mid, status))
    }

    pub(crate) fn configure(&self, config: SignalConfig) -> Result<(), RequestError> {
        self.ask(|client, now| client.configure(now, config))
    }

    pub(crate) fn redirect(&self, to: RedirectedSignal, force: bool) -> Result<(), RequestError> {
        self.ask(|client, now| client.redirect(now, to, force))
    }

    pub(crate) fn mitigations(&self) -> Vec<MitigationInfo> {
        let (state, now) = (self.state(), self.clock.now());
        let info = |(mid, scope, status): (u32, &Scope, Option<Status>)| {
            let mut report = state.reports.get(&mid).cloned();
            if let (Some(report), Some(left)) = (&mut report, state.client.remaining(now, mid)) {
                // Time went on since it came, and what was granted meanwhile is not in it.
                report.lifetime = Some(left);
            }
            MitigationInfo { mid, scope: scope.clone(), status, report }
        };
        state.client.mitigations().map(info).collect()
    }

    pub(crate) fn info(&self) -> PeerInfo {
        let state = self.state();
        let session = state.session.as_ref().map(|session| SessionInfo {
            identity: session.identity.clone(),
            address: session.link.address(),
            transport: session.link.transport(),
            resumed: session.resumed,
            stats: state.client.stats().unwrap_or_default(),
        });
        PeerInfo {
            peer: Arc::clone(&self.name),
            cuid: state.client.cuid().to_owned(),
            session,
            mitigations: state.client.mitigations().count(),
        }
    }
}

impl Content for Peer {
    fn arrived(&self, link: u64, octets: &[u8]) {
        let mut state = self.state();
        if state.session.as_ref().is_none_or(|session| session.link.id() != link) {
            // The session has a successor.
            return;
        }
        let outcome = state.client.handle_input(self.clock.now(), octets);
        self.settle(&mut state);
        if let Err(error) = outcome {
            tracing::info!(peer = %self.name, %error, "session closed");
            self.end(&mut state, Some(SecurityError::Io(error.to_string())));
            self.settle(&mut state);
        }
    }

    fn ended(&self, link: u64, why: Option<SecurityError>) {
        let mut state = self.state();
        if state.session.as_ref().is_some_and(|session| session.link.id() == link) {
            self.end(&mut state, why);
            self.settle(&mut state);
        }
    }
}
