//! The machine of a Call Home server, its dialers, and what they share.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dots_callhome::body::{Lifetime, List, Prefix, Status};
use dots_callhome::{
    AttemptId, Dialer, DialerEvent, Judgement, MitigationId, MitigationRequest, Refusal, Server, ServerEvent,
    ServerPolicy, SessionId, Transport,
};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use watchfire_core::{Instant, Machine as _, Output};

use super::dial::{Ready, attempt, carry};
use super::mitigator::{Mitigator, Order, Report};
use super::work::Work;
use super::{CallHomeServerEvent, Place, ServerLimits};
use crate::clock::{Clock, sleep_until};
use crate::context::Security;
use crate::error::SecurityError;
use crate::identity::Identity;
use crate::link::{Content, Link, StreamLink};
use crate::told::Told;

/// The policy, and what the back end says about room.
pub(super) struct Guarded {
    pub(super) policy: Box<dyn ServerPolicy + Send>,
    pub(super) mitigator: Arc<dyn Mitigator>,
}

impl ServerPolicy for Guarded {
    fn owns_source(&self, source: &Prefix) -> bool {
        self.policy.owns_source(source)
    }

    fn authorize(&self, peer: &str, request: &MitigationRequest) -> Result<(), Refusal> {
        self.policy.authorize(peer, request)?;
        self.mitigator.busy().map_or(Ok(()), |seconds| Err(Refusal::Busy(seconds)))
    }

    fn judge(&self, peer: &str, request: &MitigationRequest) -> Judgement {
        self.policy.judge(peer, request)
    }

    fn grant(&self, peer: &str, asked: Lifetime) -> Lifetime {
        self.policy.grant(peer, asked)
    }

    fn resolve_local(&self, request: &MitigationRequest) -> List<Prefix> {
        self.policy.resolve_local(request)
    }

    fn trusts_gateway(&self, peer: &str) -> bool {
        self.policy.trusts_gateway(peer)
    }
}

pub(super) struct Core {
    pub(super) clock: Clock,
    pub(super) limits: ServerLimits,
    pub(super) mitigator: Arc<dyn Mitigator>,
    /// Calls of the back end at a time.
    pub(super) calls: Semaphore,
    pub(super) tasks: TaskTracker,
    /// Connections end.
    pub(super) stop: CancellationToken,
    /// The back end is not called any more.
    pub(super) ended: CancellationToken,
    pub(super) events: Told<CallHomeServerEvent>,
    pub(super) security: Security,
    state: Mutex<State>,
    wake: Notify,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}

pub(super) struct State {
    server: Server<Guarded>,
    pub(super) upstreams: Vec<Upstream>,
    sessions: BTreeMap<SessionId, Session>,
    work: BTreeMap<MitigationId, Arc<Work>>,
    due: Option<Instant>,
    armed: Option<Instant>,
}

/// One Call Home client that is called.
pub(super) struct Upstream {
    pub(super) dialer: Dialer,
    /// Where the one of this name is.
    pub(super) place: (String, Place),
    pub(super) port: u16,
    pub(super) attempts: BTreeMap<AttemptId, Attempt>,
    pub(super) session: Option<SessionId>,
    /// What it may be called by.
    pub(super) transports: Vec<Transport>,
    /// How long discovery is waited for.
    pub(super) patience: Duration,
    /// Where discovery said last.
    pub(super) known: Vec<(Transport, SocketAddr)>,
    /// Ends the task that discovers.
    pub(super) again: Option<CancellationToken>,
}

pub(super) struct Attempt {
    stop: CancellationToken,
    name: String,
    ready: Option<Ready>,
}

struct Session {
    upstream: usize,
    link: Link,
    name: String,
    stop: CancellationToken,
    /// Something came from the peer.
    heard: bool,
}

/// One session of a Call Home server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct UpstreamInfo {
    /// Who must be there, as things stand: after a redirection, somebody else than was provisioned.
    pub name: String,
    /// Where, and by what, when there is a session.
    pub session: Option<(SocketAddr, Transport)>,
}

impl Core {
    pub(super) fn new(
        clock: Clock,
        limits: ServerLimits,
        mitigator: Arc<dyn Mitigator>,
        security: Security,
        server: Server<Guarded>,
        upstreams: Vec<Upstream>,
    ) -> Self {
        Self {
            clock,
            limits,
            mitigator,
            calls: Semaphore::new(limits.back_end_calls.max(1)),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
            events: Told::new(limits.events),
            security,
            state: Mutex::new(State {
                server,
                upstreams,
                sessions: BTreeMap::new(),
                work: BTreeMap::new(),
                due: None,
                armed: None,
            }),
            wake: Notify::new(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell(&self, event: CallHomeServerEvent) {
        self.events.tell(event);
    }

    /// Begins to dial.
    pub(super) fn start(self: &Arc<Self>) {
        let mut state = self.state();
        let now = self.clock.now();
        state.upstreams.iter_mut().for_each(|upstream| upstream.dialer.start(now));
        self.settle(&mut state);
        drop(state);
        self.tasks.spawn(Arc::clone(self).keep_time());
    }

    /// Does something with the machine, and then what comes of it.
    pub(super) fn with<T>(self: &Arc<Self>, what: impl FnOnce(&mut Server<Guarded>, Instant) -> T) -> T {
        let mut state = self.state();
        let outcome = what(&mut state.server, self.clock.now());
        self.settle(&mut state);
        outcome
    }

    pub(super) fn upstreams(&self) -> Vec<UpstreamInfo> {
        let state = self.state();
        let session = |upstream: &Upstream| {
            let session = state.sessions.get(&upstream.session?)?;
            Some((session.link.address(), session.link.transport()))
        };
        let info = |upstream: &Upstream| UpstreamInfo {
            name: upstream.dialer.peer_name().to_owned(),
            session: session(upstream),
        };
        state.upstreams.iter().map(info).collect()
    }

    /// Ends all connections.
    pub(super) fn hang_up(self: &Arc<Self>) {
        let mut state = self.state();
        let now = self.clock.now();
        state.upstreams.iter_mut().for_each(|upstream| upstream.dialer.stop(now));
        self.settle(&mut state);
        self.stop.cancel();
    }

    /// Gives up all that is in force, so that the back end takes it away.
    pub(super) fn lift_all(&self) {
        self.state().work.values().for_each(|work| work.lift());
    }

    /// Whether the back end still has something to do.
    pub(super) fn has_work(&self) -> bool {
        !self.state().work.is_empty()
    }

    // --- what the back end says ---------------------------------------------------------------------------------------

    pub(super) fn enforced(self: &Arc<Self>, id: MitigationId, installed: bool) {
        // An error says that nobody wants it any more: then the filters go, because nobody wants the work either.
        let _ = self.with(|server, now| server.enforced(now, id, installed));
    }

    pub(super) fn report(self: &Arc<Self>, id: MitigationId, report: Report) {
        self.with(|server, now| {
            if let Some(counters) = report.counters {
                let _ = server.report_counters(now, id, counters);
            }
            let stopped = server.mitigations().get(id).map(|row| row.status == Status::Stopped);
            if let (Some(seen), Some(known)) = (report.attack_stopped, stopped)
                && seen != known
            {
                let _ = server.attack_stopped(now, id, seen);
            }
        });
    }

    /// Whether the work on a mitigation is really over; then it is forgotten.
    pub(super) fn is_done(&self, id: MitigationId, work: &Arc<Work>) -> bool {
        let mut state = self.state();
        if work.is_wanted() {
            return false;
        }
        if state.work.get(&id).is_some_and(|known| Arc::ptr_eq(known, work)) {
            state.work.remove(&id);
        }
        true
    }

    // --- what the machines say ----------------------------------------------------------------------------------------

    pub(super) fn settle(self: &Arc<Self>, state: &mut State) {
        loop {
            let now = self.clock.now();
            let mut due = match state.server.poll_output(now) {
                Output::Transmit((session, message)) => {
                    if let Some(session) = state.sessions.get(&session) {
                        session.link.send(message);
                    }
                    continue;
                }
                Output::Event(event) => {
                    self.server_event(state, now, event);
                    continue;
                }
                Output::Timeout(due) => due,
            };
            let mut said = None;
            for (at, upstream) in state.upstreams.iter_mut().enumerate() {
                match upstream.dialer.poll_output(now) {
                    Output::Event(event) => {
                        said = Some((at, event));
                        break;
                    }
                    Output::Timeout(also) => due = [due, also].into_iter().flatten().min(),
                    Output::Transmit(never) => match never {},
                }
            }
            if let Some((at, event)) = said {
                self.dialer_event(state, now, at, event);
                continue;
            }
            state.due = due;
            if due.is_some_and(|due| state.armed.is_none_or(|armed| due < armed)) {
                self.wake.notify_one();
            }
            return;
        }
    }

    fn server_event(self: &Arc<Self>, state: &mut State, now: Instant, event: ServerEvent) {
        match event {
            ServerEvent::Enforce { id, hosts, lifetime } => {
                let Some(row) = state.server.mitigations().get(id) else { return };
                let order = Order {
                    id,
                    peer: row.peer.clone(),
                    cuid: row.cuid.clone(),
                    mid: row.mid,
                    request: row.request.clone(),
                    hosts,
                    lifetime,
                };
                match state.work.get(&id) {
                    Some(work) => work.enforce(order),
                    None => {
                        let work = Arc::new(Work::new(order));
                        state.work.insert(id, Arc::clone(&work));
                        self.tasks.spawn(work.run(id, Arc::clone(self)));
                    }
                }
            }
            ServerEvent::Extended { id, lifetime } => {
                if let Some(work) = state.work.get(&id) {
                    work.extend(lifetime);
                }
            }
            ServerEvent::Lift { id } => {
                if let Some(work) = state.work.get(&id) {
                    work.lift();
                }
            }
            ServerEvent::StatusChanged { id, cuid, mid, status } => {
                let attack = state.server.mitigations().iter().any(|(_, row)| row.is_wanted());
                state.upstreams.iter_mut().for_each(|upstream| upstream.dialer.set_attack(now, attack));
                self.tell(CallHomeServerEvent::Mitigation { id, cuid, mid, status });
            }
            ServerEvent::ConsentNeeded { id } => self.tell(CallHomeServerEvent::ConsentNeeded { id }),
            ServerEvent::Redirect { session, to } => {
                let upstream = state.sessions.get(&session).map(|session| session.upstream);
                let Some(upstream) = upstream.and_then(|at| state.upstreams.get_mut(at)) else { return };
                let followed = upstream.dialer.redirect(now, &to);
                // The answer goes out before the dialer's wish to close is heard.
                let _ = state.server.redirected(now, session, followed);
                self.tell(CallHomeServerEvent::Redirected { to, followed });
            }
            ServerEvent::SessionLost { session, hold_off } => {
                let hold_off = hold_off.map(|seconds| Duration::from_secs(seconds.into()));
                self.lose(state, session, Some(SecurityError::TimedOut), hold_off);
            }
            ServerEvent::Configured { session } => {
                if let Some(session) = state.sessions.get(&session) {
                    self.tell(CallHomeServerEvent::Configured { name: session.name.clone() });
                }
            }
            _ => {}
        }
    }

    fn dialer_event(self: &Arc<Self>, state: &mut State, now: Instant, at: usize, event: DialerEvent) {
        let Some(upstream) = state.upstreams.get_mut(at) else { return };
        match event {
            DialerEvent::Resolve { name } => self.resolve(upstream, at, name),
            DialerEvent::Connect { attempt: id, transport, to, name, .. } => {
                let stop = self.stop.child_token();
                let place = Attempt { stop: stop.clone(), name: name.clone(), ready: None };
                upstream.attempts.insert(id, place);
                let core = Arc::clone(self);
                self.tasks.spawn(async move {
                    let done = stop.run_until_cancelled(attempt(&core.security, transport, to, &name)).await;
                    if let Some(done) = done {
                        core.attempted(at, id, to, transport, done);
                    }
                });
            }
            DialerEvent::Cancel { attempt } => {
                if let Some(attempt) = upstream.attempts.remove(&attempt) {
                    attempt.stop.cancel();
                    attempt.ready.into_iter().for_each(Ready::discard);
                }
            }
            DialerEvent::Up { attempt, .. } | DialerEvent::Switch { attempt } => {
                let old = upstream.session.take();
                let ready = upstream.attempts.remove(&attempt);
                if let Some(old) = old {
                    self.close(state, now, old);
                }
                if let Some((ready, name)) = ready.and_then(|attempt| Some((attempt.ready?, attempt.name))) {
                    self.up(state, now, at, ready, name);
                }
            }
            DialerEvent::Close => {
                if let Some(session) = upstream.session.take() {
                    self.close(state, now, session);
                }
            }
            DialerEvent::Unreachable { name, again } => {
                tracing::warn!(name, "cannot be reached; trying again later");
                self.tell(CallHomeServerEvent::Unreachable { name, again_in: again - now });
            }
            _ => {}
        }
    }

    fn resolve(self: &Arc<Self>, upstream: &mut Upstream, at: usize, name: String) {
        // A redirection leads elsewhere.
        let place = if upstream.place.0 == name { upstream.place.1.clone() } else { Place::Name };
        if let Place::Discovered(with) = place {
            return self.rediscover(upstream, at, with);
        }
        let (core, port) = (Arc::clone(self), upstream.port);
        self.tasks.spawn(async move {
            let hosts = match place {
                Place::At(addresses) => addresses.iter().map(IpAddr::to_string).collect(),
                Place::Hosts(hosts) => hosts,
                Place::Name | Place::Discovered(_) => vec![name],
            };
            let Some(addresses) = core.stop.run_until_cancelled(look_up(&hosts, port)).await else { return };
            let mut state = core.state();
            let now = core.clock.now();
            if let Some(upstream) = state.upstreams.get_mut(at) {
                upstream.dialer.resolved(now, addresses);
            }
            core.settle(&mut state);
        });
    }

    fn attempted(
        self: &Arc<Self>,
        at: usize,
        id: AttemptId,
        to: SocketAddr,
        transport: Transport,
        done: Result<Ready, SecurityError>,
    ) {
        let mut state = self.state();
        let now = self.clock.now();
        let Some(upstream) = state.upstreams.get_mut(at) else { return };
        match done {
            Ok(ready) => match upstream.attempts.get_mut(&id) {
                Some(attempt) => {
                    attempt.ready = Some(ready);
                    upstream.dialer.connected(now, id);
                }
                // Another one won meanwhile.
                None => ready.discard(),
            },
            Err(error) => {
                tracing::info!(%to, ?transport, %error, "no session");
                let name = upstream.attempts.remove(&id).map(|attempt| attempt.name).unwrap_or_default();
                upstream.dialer.failed(now, id);
                self.tell(CallHomeServerEvent::AttemptFailed { name, to, transport, error });
            }
        }
        self.settle(&mut state);
    }

    fn up(self: &Arc<Self>, state: &mut State, now: Instant, at: usize, ready: Ready, name: String) {
        let stop = self.stop.child_token();
        let (link, identity, resumed): (Link, Identity, bool);
        match ready {
            Ready::Stream { stream, address, identity: who, resumed: again } => {
                let own = Arc::new(StreamLink::new(address, self.limits.queued_octets));
                (link, identity, resumed) = (Link::Stream(Arc::clone(&own)), who, again);
                let content: Arc<dyn Content> = Arc::new(Inbox(Arc::clone(self)));
                self.tasks.spawn(own.run(*stream, content, self.limits.write_timeout));
            }
            Ready::Datagram { link: own, socket, early, identity: who } => {
                resumed = own.is_resumed();
                (link, identity) = (Link::Datagram(Arc::clone(&own)), who);
                let content: Arc<dyn Content> = Arc::new(Inbox(Arc::clone(self)));
                let (most, until) = (self.limits.datagram, stop.clone());
                self.tasks.spawn(async move {
                    until.run_until_cancelled(carry(own, socket, early, most, content)).await;
                });
            }
        }
        let (session, transport, address) = (SessionId(link.id()), link.transport(), link.address());
        state.sessions.insert(session, Session { upstream: at, link, name: name.clone(), stop, heard: false });
        if let Some(upstream) = state.upstreams.get_mut(at) {
            upstream.session = Some(session);
        }
        state.server.session_up(now, session, &name, transport);
        self.tell(CallHomeServerEvent::Up { name, address, transport, resumed, identity });
    }

    /// We end it.
    fn close(&self, state: &mut State, now: Instant, session: SessionId) {
        state.server.session_down(now, session);
        if let Some(session) = state.sessions.remove(&session) {
            session.link.close();
            session.stop.cancel();
            self.tell(CallHomeServerEvent::Down { name: session.name, why: None });
        }
    }

    /// It ended.
    fn lose(
        self: &Arc<Self>,
        state: &mut State,
        id: SessionId,
        why: Option<SecurityError>,
        hold_off: Option<Duration>,
    ) {
        let now = self.clock.now();
        state.server.session_down(now, id);
        let Some(session) = state.sessions.remove(&id) else { return };
        session.link.close();
        session.stop.cancel();
        self.tell(CallHomeServerEvent::Down { name: session.name, why });
        let Some(upstream) = state.upstreams.get_mut(session.upstream) else { return };
        if upstream.session.take_if(|current| *current == id).is_none() {
            return;
        }
        match hold_off.filter(|wait| !wait.is_zero()) {
            None if session.heard => upstream.dialer.lost(now),
            None => upstream.dialer.refused(now),
            // As it asked, within reason: an attacker must not silence us by one word.
            Some(wait) => {
                let (core, at) = (Arc::clone(self), session.upstream);
                let wait = wait.min(self.limits.hold_off);
                self.tasks.spawn(async move {
                    if core.stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_some() {
                        let mut state = core.state();
                        let now = core.clock.now();
                        if let Some(upstream) = state.upstreams.get_mut(at) {
                            upstream.dialer.lost(now);
                        }
                        core.settle(&mut state);
                    }
                });
            }
        }
    }

    async fn keep_time(self: Arc<Self>) {
        loop {
            let due = {
                let mut state = self.state();
                let now = self.clock.now();
                if state.due.is_some_and(|due| due <= now) {
                    // Neither has errors here.
                    let _ = state.server.handle_timeout(now);
                    for upstream in &mut state.upstreams {
                        let _ = upstream.dialer.handle_timeout(now);
                    }
                    self.settle(&mut state);
                }
                state.armed = state.due;
                state.due
            };
            tokio::select! {
                () = sleep_until(due.map(|due| self.clock.at(due))) => {}
                () = self.wake.notified() => {}
                () = self.ended.cancelled() => return,
            }
        }
    }
}

/// The addresses of all hosts, in their order.
pub(super) async fn look_up(hosts: &[String], port: u16) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for host in hosts {
        match host.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => match tokio::net::lookup_host((host.as_str(), port)).await {
                Ok(found) => addresses.extend(found.map(|address| address.ip())),
                Err(error) => tracing::warn!(host, %error, "no address"),
            },
        }
    }
    addresses.truncate(32);
    addresses
}

/// Where the content of sessions goes.
struct Inbox(Arc<Core>);

impl Content for Inbox {
    fn arrived(&self, link: u64, octets: &[u8]) {
        let core = &self.0;
        let mut state = core.state();
        let id = SessionId(link);
        if let Some(session) = state.sessions.get_mut(&id) {
            session.heard = true;
        }
        let outcome = state.server.handle_input(core.clock.now(), id, octets);
        core.settle(&mut state);
        if let Err(error) = outcome
            && state.sessions.contains_key(&id)
        {
            tracing::info!(%error, "session closed");
            core.lose(&mut state, id, Some(SecurityError::Io(error.to_string())), None);
            core.settle(&mut state);
        }
    }

    fn ended(&self, link: u64, why: Option<SecurityError>) {
        let mut state = self.0.state();
        self.0.lose(&mut state, SessionId(link), why, None);
        self.0.settle(&mut state);
    }
}
