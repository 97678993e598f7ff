//! The DOTS server: near the sources in Call Home. It is told of sessions, answers requests, and says what to enforce.
//! RFC 9132 sections 4.4 to 4.7 and 9, RFC 9066 section 5.

mod requests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use watchfire_core::{ConfigError, Duration, Instant, Machine, Output, UnixTime, config_builder};

use crate::body::{
    Body, ConflictCause, ConflictInformation, Direction, Lifetime, List, Prefix, RedirectedSignal, Scope, SignalConfig,
    Status,
};
use crate::dialer::NotFollowed;
use crate::endpoint::{Input, ReplyTo, Stats, Transport};
use crate::error::{ApiMisuse, Error};
use crate::limits::Limits;
use crate::liveness::Side;
use crate::params::{Ranges, SessionConfig};
use crate::path::{InvalidPath, MitigatePath, Resource, resource};
use crate::policy::{Judgement, Refusal, ServerPolicy};
use crate::request::{MitigationRequest, Profile};
use crate::session::{Session, diagnostic};
use crate::table::{Change, Counters, MitigationId, Put, Rules, Table};
use crate::wire::{Code, Message, MessageBuf, OptionNumber, Token};

/// Names a session at a server; chosen by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs, reason = "a number")]
pub struct SessionId(pub u64);

/// How a server behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Which document. Default RFC 9066.
    pub profile: Profile,
    /// What clients may choose.
    pub ranges: Ranges,
    /// What is in force until they do.
    pub session: SessionConfig,
    /// Seconds that a configuration is good. Default 3600; `u32::MAX` is for ever.
    pub config_max_age: u32,
    /// What overlaps, and how mitigations end.
    pub rules: Rules,
    /// How far things may grow.
    pub limits: Limits,
    /// Between notifications when nothing changes. Default 60 s.
    pub notify_every: Duration,
    /// Requests for mitigation that a peer may make in a second, on average; it may save up ten seconds of them.
    /// Default 100.
    pub requests_per_second: u32,
    /// The time at [`Instant::ZERO`], for `mitigation-start`.
    pub epoch: UnixTime,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            profile: Profile::Rfc9066,
            ranges: Ranges::default(),
            session: SessionConfig::default(),
            config_max_age: 3600,
            rules: Rules::default(),
            limits: Limits::default(),
            notify_every: Duration::from_secs(60),
            requests_per_second: 100,
            epoch: UnixTime::from_secs(0),
        }
    }
}

impl ServerConfig {
    /// The defaults, each said above.
    pub fn builder() -> ServerConfigBuilder {
        ServerConfigBuilder(Self::default())
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.ranges.check()?;
        ConfigError::unless(!self.notify_every.is_zero(), "notify_every", "must not be zero")?;
        ConfigError::unless(self.requests_per_second > 0, "requests_per_second", "must be at least 1")?;
        self.limits.check()
    }
}

config_builder! {
    /// What becomes a [`ServerConfig`].
    pub struct ServerConfigBuilder for ServerConfig {
        with_profile => profile: Profile,
        with_ranges => ranges: Ranges,
        with_session => session: SessionConfig,
        with_config_max_age => config_max_age: u32,
        with_rules => rules: Rules,
        with_limits => limits: Limits,
        with_notify_every => notify_every: Duration,
        with_requests_per_second => requests_per_second: u32,
        with_epoch => epoch: UnixTime,
    }
}

/// What a server reports or asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerEvent {
    /// An administrator has to agree: [`Server::consent`].
    ConsentNeeded {
        /// To what.
        id: MitigationId,
    },
    /// Install filters, then say so by [`Server::enforced`].
    Enforce {
        /// For what.
        id: MitigationId,
        /// Which hosts here, as [`ServerPolicy::resolve_local`] says.
        hosts: List<Prefix>,
        /// How long it is granted.
        lifetime: Lifetime,
    },
    /// It was asked for again: filters stay so much longer.
    Extended {
        /// What.
        id: MitigationId,
        /// How long.
        lifetime: Lifetime,
    },
    /// Remove the filters.
    Lift {
        /// Of what.
        id: MitigationId,
    },
    /// A mitigation stands differently now.
    StatusChanged {
        /// Which.
        id: MitigationId,
        /// Who asked for it.
        cuid: String,
        /// Under which number.
        mid: u32,
        /// How it stands.
        status: Status,
    },
    /// The client sends us to another one. Ask [`Dialer::redirect`](crate::Dialer::redirect) whether that can be
    /// followed, and answer by [`Server::redirected`].
    Redirect {
        /// Of which session.
        session: SessionId,
        /// Where to.
        to: RedirectedSignal,
    },
    /// The client chose other settings.
    Configured {
        /// Of which session.
        session: SessionId,
    },
    /// Nothing was heard for the whole span, or the peer said goodbye. The session is gone; its mitigations are not.
    SessionLost {
        /// Which.
        session: SessionId,
        /// Seconds that the peer wants us to stay away.
        hold_off: Option<u32>,
    },
}

#[derive(Debug)]
struct Observer {
    token: Token,
    /// Of configuration, or of mitigations.
    what: Observed,
    sequence: u32,
    last_mid: u16,
    dirty: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Observed {
    Config,
    Mitigations { cuid: String, mid: Option<u32>, filter: Filter },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filter {
    All,
    /// `c=c`: what was configured.
    Configured,
    /// `c=n`: what changes.
    NonConfigured,
}

#[derive(Debug)]
struct Peer {
    name: String,
    session: Session,
    observers: Vec<Observer>,
    sid: Option<u32>,
    redirect_mid: Option<u32>,
    /// A redirection that awaits [`Server::redirected`], and its number.
    redirect: Option<(ReplyTo, Option<u32>)>,
    credit: Duration,
    credit_at: Instant,
    next_periodic: Instant,
}

/// The machine. Inputs name the session; so do transmits.
#[derive(Debug)]
pub struct Server<P> {
    config: Arc<ServerConfig>,
    policy: P,
    rng: StdRng,
    // In boxes, because they are taken out and put back around every call.
    peers: BTreeMap<SessionId, Box<Peer>>,
    table: Table,
    farewells: VecDeque<(SessionId, Bytes)>,
    events: VecDeque<ServerEvent>,
    now: Instant,
}

impl<P: ServerPolicy> Server<P> {
    /// A server without sessions.
    pub fn new(config: Arc<ServerConfig>, policy: P, seed: [u8; 32], now: Instant) -> Self {
        Self {
            table: Table::new(config.rules, config.limits),
            config,
            policy,
            rng: StdRng::from_seed(seed),
            peers: BTreeMap::new(),
            farewells: VecDeque::new(),
            events: VecDeque::new(),
            now,
        }
    }

    /// The policy, to be changed.
    pub fn policy_mut(&mut self) -> &mut P {
        &mut self.policy
    }

    /// Its mitigations.
    pub fn mitigations(&self) -> &Table {
        &self.table
    }

    /// What is reported about a mitigation, as clients see it.
    pub fn report_of(&self, now: Instant, id: MitigationId) -> Option<Scope> {
        self.table.get(id).map(|row| row.to_scope(now))
    }

    /// What was noticed in a session.
    pub fn stats(&self, session: SessionId) -> Option<Stats> {
        self.peers.get(&session).map(|peer| peer.session.endpoint.stats)
    }

    /// Mitigations that were in force before a restart are enforced again. The client need not ask; `None` when the name
    /// is taken.
    pub fn restore(
        &mut self,
        now: Instant,
        (peer, cuid, mid): (&str, &str, u32),
        request: MitigationRequest,
        lifetime: Lifetime,
    ) -> Option<MitigationId> {
        let id = self.table.restore(now, (peer, cuid, mid), request, lifetime)?;
        self.enforce(now, id);
        self.settle(now);
        Some(id)
    }

    // --- sessions -----------------------------------------------------------------------------------------------------

    /// A session with an authenticated peer is up; `name` is what (D)TLS proved. A session of the same name is replaced,
    /// its mitigations stay. The driver lets nothing through before the handshake is over.
    pub fn session_up(&mut self, now: Instant, id: SessionId, name: &str, transport: Transport) {
        let now = self.advance(now);
        let old: Vec<SessionId> = self.peers.iter().filter(|(_, p)| p.name == name).map(|(id, _)| *id).collect();
        old.into_iter().for_each(|old| drop(self.peers.remove(&old)));
        let mut session = Session::new(Side::Server, transport, self.config.limits, self.rng.random(), now);
        session.config = self.config.session;
        session.apply(self.table.is_mitigating(name));
        let peer = Peer {
            name: name.to_owned(),
            session,
            observers: Vec::new(),
            sid: None,
            redirect_mid: None,
            redirect: None,
            credit: Duration::from_secs(10),
            credit_at: now,
            next_periodic: now + self.config.notify_every,
        };
        self.peers.insert(id, Box::new(peer));
    }

    /// A session ended: closed by the peer, or by us. Mitigations stay.
    pub fn session_down(&mut self, now: Instant, id: SessionId) {
        self.advance(now);
        self.peers.remove(&id);
    }

    /// Whether there is a session with this peer: a second one is not needed (RFC 9066 section 1).
    pub fn has_session_with(&self, name: &str) -> bool {
        self.peers.values().any(|peer| peer.name == name)
    }

    /// Octets arrived on a session: the content of one datagram, or any part of a stream.
    ///
    /// # Errors
    /// On streams only; the session is gone, and its farewell is queued.
    pub fn handle_input(&mut self, now: Instant, id: SessionId, octets: &[u8]) -> Result<(), Error> {
        let now = self.advance(now);
        let Some(mut peer) = self.peers.remove(&id) else { return Err(ApiMisuse::NoSession.into()) };
        let outcome = self.input(now, id, &mut peer, octets);
        match outcome {
            Ok(None) => drop(self.peers.insert(id, peer)),
            Ok(Some(hold_off)) => {
                self.events.push_back(ServerEvent::SessionLost { session: id, hold_off });
            }
            Err(_) => self.save_output(id, &mut peer),
        }
        self.settle(now);
        outcome.map(|_| ())
    }

    fn save_output(&mut self, id: SessionId, peer: &mut Peer) {
        while let Some(octets) = peer.session.endpoint.poll() {
            self.farewells.push_back((id, octets));
        }
    }

    /// `Some` when the peer said goodbye.
    fn input(
        &mut self,
        now: Instant,
        id: SessionId,
        peer: &mut Peer,
        octets: &[u8],
    ) -> Result<Option<Option<u32>>, Error> {
        if peer.session.endpoint.transport() == Transport::Datagram {
            let input = peer.session.endpoint.datagram(now, octets);
            peer.session.liveness.heard(now);
            return Ok(self.take(now, id, peer, input));
        }
        peer.session.liveness.heard(now);
        let buffer = peer.session.endpoint.take_stream(octets);
        let mut at = 0usize;
        while let Some((input, used)) = peer.session.endpoint.frame(now, buffer.get(at..).unwrap_or_default())? {
            at = at.saturating_add(used);
            let goodbye = self.take(now, id, peer, input);
            if goodbye.is_some() {
                return Ok(goodbye);
            }
        }
        peer.session.endpoint.keep_stream(buffer.get(at..).unwrap_or_default().to_vec());
        Ok(None)
    }

    fn take(&mut self, now: Instant, id: SessionId, peer: &mut Peer, input: Input<'_>) -> Option<Option<u32>> {
        match input {
            Input::Nothing | Input::Unexpected | Input::Broken(..) => {}
            Input::Request(to, message) => {
                if let Some(answer) = self.answer(now, id, peer, to, &message) {
                    peer.session.endpoint.reply(to, answer);
                }
            }
            // The server asks for nothing but life signs.
            Input::Answer(answer) => {
                if answer.code.is_success() {
                    peer.session.liveness.answered(now);
                }
            }
            Input::Rejected(_, mid) => peer.observers.retain(|observer| observer.last_mid != mid),
            Input::Goodbye { hold_off } => return Some(hold_off),
        }
        None
    }

    // --- what the application knows -----------------------------------------------------------------------------------

    fn known(&self, id: MitigationId) -> Result<(), Error> {
        let wanted = self.table.get(id).is_some_and(|row| row.is_wanted() || row.status == Status::ClientWithdrawn);
        if wanted { Ok(()) } else { Err(ApiMisuse::UnknownMitigation.into()) }
    }

    /// Answers [`ServerEvent::ConsentNeeded`]. Without consent the client is told that the mitigation was withdrawn.
    ///
    /// # Errors
    /// When there is no such mitigation any more, or it awaits no consent.
    pub fn consent(&mut self, now: Instant, id: MitigationId, agreed: bool) -> Result<(), Error> {
        let now = self.advance(now);
        let row = self.table.get_mut(id).filter(|row| row.is_wanted() && row.awaits_consent);
        row.ok_or(ApiMisuse::UnknownMitigation)?.awaits_consent = false;
        if agreed {
            self.enforce(now, id);
        } else {
            self.table.end(now, id, Status::Withdrawn);
        }
        self.settle(now);
        Ok(())
    }

    /// Answers [`ServerEvent::Enforce`]: filters are installed, or they cannot be, which the client is told as status 4.
    ///
    /// # Errors
    /// When there is no such mitigation any more: then the filters must go.
    pub fn enforced(&mut self, now: Instant, id: MitigationId, installed: bool) -> Result<(), Error> {
        let now = self.advance(now);
        self.known(id)?;
        let unix = self.config.epoch.as_secs().saturating_add_unsigned(now.as_micros() / 1_000_000);
        if let Some(row) = self.table.get_mut(id).filter(|_| installed) {
            row.started = row.started.or_else(|| u64::try_from(unix).ok());
        }
        let status = if installed { Status::SuccessfullyMitigated } else { Status::ExceededCapability };
        self.table.set_status(id, status);
        self.settle(now);
        Ok(())
    }

    /// The back end's counters.
    ///
    /// # Errors
    /// When there is no such mitigation any more.
    pub fn report_counters(&mut self, now: Instant, id: MitigationId, counters: Counters) -> Result<(), Error> {
        self.advance(now);
        self.known(id)?;
        if let Some(row) = self.table.get_mut(id) {
            row.counters = Some(counters);
        }
        Ok(())
    }

    /// Whether the attack is seen to have stopped, or goes on after all.
    ///
    /// # Errors
    /// When there is no such mitigation any more.
    pub fn attack_stopped(&mut self, now: Instant, id: MitigationId, stopped: bool) -> Result<(), Error> {
        let now = self.advance(now);
        self.known(id)?;
        self.table.set_status(id, if stopped { Status::Stopped } else { Status::SuccessfullyMitigated });
        self.settle(now);
        Ok(())
    }

    /// The traffic turned out to be legitimate: filters go, and the client is told why (conflict-cause 4).
    ///
    /// # Errors
    /// When there is no such mitigation any more.
    pub fn judge_legitimate(&mut self, now: Instant, id: MitigationId) -> Result<(), Error> {
        let now = self.advance(now);
        self.known(id)?;
        if let Some(row) = self.table.get_mut(id) {
            row.conflict = Some(ConflictInformation::caused_by(ConflictCause::LegitimateTraffic));
        }
        self.table.end(now, id, Status::Withdrawn);
        self.settle(now);
        Ok(())
    }

    /// The operator here ends it.
    ///
    /// # Errors
    /// When there is no such mitigation any more.
    pub fn withdraw(&mut self, now: Instant, id: MitigationId) -> Result<(), Error> {
        let now = self.advance(now);
        self.known(id)?;
        self.table.end(now, id, Status::Withdrawn);
        self.settle(now);
        Ok(())
    }

    /// Answers [`ServerEvent::Redirect`]: 2.01 when it is followed, and then the session is to be closed once that is
    /// sent; 4.00 when it is not (RFC 9066 section 5.2.2), and everything stays as it is.
    ///
    /// # Errors
    /// When the session is gone, or nothing was asked.
    pub fn redirected(
        &mut self,
        now: Instant,
        session: SessionId,
        followed: Result<(), NotFollowed>,
    ) -> Result<(), Error> {
        self.advance(now);
        let peer = self.peers.get_mut(&session).ok_or(ApiMisuse::NoSession)?;
        let (to, mid) = peer.redirect.take().ok_or(ApiMisuse::NoRedirect)?;
        let answer = match followed {
            Ok(()) => {
                peer.redirect_mid = mid.or(peer.redirect_mid);
                MessageBuf::new(Code::CREATED, Token::default())
            }
            Err(why) => diagnostic(Code::BAD_REQUEST, &why.to_string()),
        };
        peer.session.endpoint.reply(to, answer);
        Ok(())
    }

    // --- time ---------------------------------------------------------------------------------------------------------

    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// Tells what changed, to the application and to observers.
    fn settle(&mut self, now: Instant) {
        let changes = self.table.take_changes();
        let settled = changes.is_empty();
        for change in changes {
            match change {
                Change::Status(id) => {
                    let Some(row) = self.table.get(id) else { continue };
                    let (cuid, mid, status) = (row.cuid.clone(), row.mid, row.status);
                    self.events.push_back(ServerEvent::StatusChanged { id, cuid, mid, status });
                }
                Change::Lifted(id) => self.events.push_back(ServerEvent::Lift { id }),
                Change::Activated(id) => self.enforce(now, id),
            }
        }
        let mut dirty: Vec<(String, u32)> = Vec::new();
        let ids: Vec<MitigationId> = self.table.iter().filter(|(_, row)| row.dirty).map(|(id, _)| id).collect();
        for id in ids {
            if let Some(row) = self.table.get_mut(id) {
                row.dirty = false;
                dirty.push((row.cuid.clone(), row.mid));
            }
        }
        for peer in self.peers.values_mut() {
            if !settled || !dirty.is_empty() {
                peer.session.apply(self.table.is_mitigating(&peer.name));
            }
            for observer in &mut peer.observers {
                if let Observed::Mitigations { cuid, mid, .. } = &observer.what {
                    observer.dirty |= dirty.iter().any(|(of, m)| of == cuid && mid.is_none_or(|mid| mid == *m));
                }
            }
        }
        self.notify(now);
    }

    /// Sends notifications, as fast as they may go.
    fn notify(&mut self, now: Instant) {
        let ids: Vec<SessionId> = self.peers.keys().copied().collect();
        for id in ids {
            let Some(mut peer) = self.peers.remove(&id) else { continue };
            if now >= peer.next_periodic {
                peer.next_periodic = now + self.config.notify_every;
                for observer in &mut peer.observers {
                    observer.dirty |= observer.what != Observed::Config;
                }
            }
            while peer.session.endpoint.slot() <= now
                && let Some(at) = peer.observers.iter().position(|observer| observer.dirty)
            {
                self.notify_one(now, &mut peer, at);
            }
            self.peers.insert(id, peer);
        }
    }

    fn notify_one(&self, now: Instant, peer: &mut Peer, at: usize) {
        let Some(observer) = peer.observers.get_mut(at) else { return };
        observer.dirty = false;
        let (token, what) = (observer.token, observer.what.clone());
        let mut message = MessageBuf::new(Code::CONTENT, Token::default());
        match &what {
            Observed::Config => {
                observer.sequence = observer.sequence.wrapping_add(1) & 0xff_ffff;
                message.push_uint(OptionNumber::OBSERVE, u64::from(observer.sequence));
                self.fill_config(peer, &mut message);
            }
            Observed::Mitigations { cuid, mid, filter } => match self.report(now, &peer.name, cuid, *mid, *filter) {
                Some(body) => {
                    observer.sequence = observer.sequence.wrapping_add(1) & 0xff_ffff;
                    message.push_uint(OptionNumber::OBSERVE, u64::from(observer.sequence));
                    let resource = format!("{cuid}/{mid:?}/{filter:?}");
                    peer.session.endpoint.put_body(&mut message, None, resource.as_bytes(), body);
                }
                // Nothing to be said about nothing, until there is again something.
                None => return,
            },
        }
        let mid = peer.session.endpoint.notify(now, token, message);
        if let Some(observer) = peer.observers.get_mut(at) {
            observer.last_mid = mid;
        }
    }

    /// Takes down all that time ends.
    fn time(&mut self, now: Instant) {
        self.table.handle_timeout(now);
        let mut lost = Vec::new();
        for (id, peer) in &mut self.peers {
            let _ = peer.session.handle_timeout(now);
            if peer.session.liveness.is_lost(now) {
                lost.push(*id);
            }
        }
        for id in lost {
            self.peers.remove(&id);
            self.events.push_back(ServerEvent::SessionLost { session: id, hold_off: None });
        }
        self.settle(now);
    }

    fn deadline(&self) -> Option<Instant> {
        let peers = self.peers.values().flat_map(|peer| {
            let waiting = peer.observers.iter().any(|observer| observer.dirty).then(|| peer.session.endpoint.slot());
            let periodic = peer.observers.iter().any(|o| o.what != Observed::Config).then_some(peer.next_periodic);
            [peer.session.deadline(), waiting, periodic]
        });
        peers.flatten().chain(self.table.deadline()).min()
    }
}

/// Registers, or takes back, an observation (RFC 7641 section 4.1).
fn observe(peer: &mut Peer, message: &Message<'_>, what: Observed, max: usize, answer: &mut MessageBuf) {
    let token = message.token;
    match message.option_uint(OptionNumber::OBSERVE) {
        Some(0) => {
            peer.observers.retain(|observer| observer.token != token && observer.what != what);
            if peer.observers.len() < max {
                let observer = Observer { token, what, sequence: 1, last_mid: 0, dirty: false };
                peer.observers.push(observer);
                answer.push_uint(OptionNumber::OBSERVE, 1);
            }
        }
        Some(_) => peer.observers.retain(|observer| observer.token != token),
        None => {}
    }
}

fn conflict_answer(mid: Option<u32>, conflict: ConflictInformation) -> MessageBuf {
    let scope = Scope { mid, conflict: Some(Box::new(conflict)), ..Scope::default() };
    let mut answer = MessageBuf::new(Code::CONFLICT, Token::default());
    answer.set_dots_payload(&Body::from(scope).to_vec());
    answer
}

fn busy(seconds: u32, text: &str) -> MessageBuf {
    let mut answer = diagnostic(Code::SERVICE_UNAVAILABLE, text);
    answer.push_uint(OptionNumber::MAX_AGE, u64::from(seconds));
    answer
}

impl<P: ServerPolicy> Machine for Server<P> {
    type Transmit = (SessionId, Bytes);
    type Event = ServerEvent;
    type Error = Error;

    fn poll_output(&mut self, _now: Instant) -> Output<(SessionId, Bytes), ServerEvent> {
        if let Some(farewell) = self.farewells.pop_front() {
            return Output::Transmit(farewell);
        }
        for (id, peer) in &mut self.peers {
            if let Some(octets) = peer.session.endpoint.poll() {
                return Output::Transmit((*id, octets));
            }
        }
        match self.events.pop_front() {
            Some(event) => Output::Event(event),
            None => Output::Timeout(self.deadline()),
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        let now = self.advance(now);
        self.time(now);
        Ok(())
    }

    fn timeout_reason(&self) -> &'static str {
        match (self.table.deadline(), self.deadline()) {
            (_, None) => "",
            (Some(table), Some(all)) if table == all => "a mitigation's lifetime",
            _ => "heartbeat, notification or repetition",
        }
    }

    fn is_finished(&self) -> bool {
        false
    }
}
