//! The DOTS server: near the sources in Call Home. It is told of sessions, answers requests, and says what to enforce.
//! RFC 9132 sections 4.4 to 4.7 and 9, RFC 9066 section 5.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use watchfire_core::{Duration, Instant, Machine, Output, UnixTime};

use crate::body::{
    Body, ConflictCause, ConflictInformation, Direction, Lifetime, List, Prefix, RedirectedSignal, Scope, SignalConfig,
    Status,
};
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
    /// The client sends us to another one: close this session, connect there, prove its name. See [`crate::Dialer`].
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
            Input::Nothing => {}
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

    // --- requests -----------------------------------------------------------------------------------------------------

    fn answer(
        &mut self,
        now: Instant,
        id: SessionId,
        peer: &mut Peer,
        to: ReplyTo,
        message: &Message<'_>,
    ) -> Option<MessageBuf> {
        if let Err(refused) = Session::check_options(message, to.is_con()) {
            return refused;
        }
        let resource = match resource(message) {
            Ok(resource) => resource,
            Err(InvalidPath::Unknown) => return Some(diagnostic(Code::NOT_FOUND, "no such resource")),
            Err(invalid) => return Some(diagnostic(Code::BAD_REQUEST, &invalid.to_string())),
        };
        match (resource, message.code) {
            (Resource::Heartbeat, _) => {
                peer.session.heartbeat(now, to, message);
                None
            }
            (Resource::Mitigate(path), Code::PUT) => self.put(now, peer, path, message),
            (Resource::Mitigate(path), Code::GET) => Some(self.get(now, peer, path, message)),
            (Resource::Mitigate(path), Code::DELETE) => Some(self.delete(now, peer, path)),
            (Resource::Config { sid }, Code::GET) => Some(self.get_config(peer, sid, message)),
            (Resource::Config { sid }, Code::PUT) => Some(self.put_config(id, peer, sid, message)),
            (Resource::Config { .. }, Code::DELETE) => {
                peer.session.config = self.config.session;
                peer.sid = None;
                self.events.push_back(ServerEvent::Configured { session: id });
                Some(MessageBuf::new(Code::DELETED, Token::default()))
            }
            (Resource::Redirect { mid, .. }, Code::PUT) if self.config.profile == Profile::Rfc9066 => {
                Some(self.redirect(id, peer, mid, message))
            }
            (Resource::Redirect { .. }, _) if self.config.profile != Profile::Rfc9066 => {
                Some(diagnostic(Code::NOT_FOUND, "no such resource"))
            }
            (_, method) => Some(diagnostic(Code::METHOD_NOT_ALLOWED, &format!("not with {method} here"))),
        }
    }

    fn put(
        &mut self,
        now: Instant,
        peer: &mut Peer,
        path: MitigatePath<'_>,
        message: &Message<'_>,
    ) -> Option<MessageBuf> {
        let bad = |text: &str| Some(diagnostic(Code::BAD_REQUEST, text));
        let Some(mid) = path.mid else { return bad("mid is missing in the path") };
        if !self.take_credit(now, peer) {
            return Some(busy(1, "too many requests"));
        }
        let request = match MitigationRequest::from_message(message, self.config.profile) {
            Ok(request) => request,
            Err(invalid) => return Some(diagnostic(invalid.code(), &invalid.to_string())),
        };
        if self.config.profile.is_call_home()
            && let Some(foreign) = request.sources().iter().find(|source| !self.policy.owns_source(source))
        {
            return bad(&format!("source-prefix {foreign} is not in this domain"));
        }
        let cuid = self.client(peer, path);
        match self.policy.authorize(&peer.name, &request) {
            Ok(()) => {}
            Err(Refusal::Unauthorized) => return Some(diagnostic(Code::UNAUTHORIZED, "not allowed to ask for this")),
            Err(Refusal::ForeignSource(source)) => {
                return bad(&format!("source-prefix {source} is not in this domain"));
            }
            Err(Refusal::Conflict(cause)) => {
                let conflict = ConflictInformation::caused_by(cause);
                return Some(conflict_answer(Some(mid), conflict));
            }
            Err(Refusal::Busy(seconds)) => return Some(busy(seconds, "no capacity for another mitigation")),
        }
        let efficacy = message.option(OptionNumber::IF_MATCH).is_some();
        let known = self.table.find(&cuid, mid).and_then(|id| self.table.get(id)).is_some_and(|row| row.is_wanted());
        let judgement = if known { Judgement::Attack } else { self.policy.judge(&peer.name, &request) };
        if judgement == Judgement::Legitimate && !efficacy && !self.table.collides(&peer.name, &cuid) {
            let conflict = ConflictInformation::caused_by(ConflictCause::LegitimateTraffic);
            return Some(conflict_answer(Some(mid), conflict));
        }
        let lifetime = self.policy.grant(&peer.name, request.lifetime());
        let (code, id) = match self.table.put(now, (&peer.name, &cuid, mid), request, efficacy, lifetime) {
            Put::Created(id) => {
                if judgement == Judgement::AskConsent {
                    self.events.push_back(ServerEvent::ConsentNeeded { id });
                } else {
                    self.enforce(now, id);
                }
                (Code::CREATED, id)
            }
            Put::Refreshed(id) => {
                self.events.push_back(ServerEvent::Extended { id, lifetime });
                (Code::CHANGED, id)
            }
            Put::Conflict(conflict) => return Some(conflict_answer(None, conflict)),
            Put::Changed => {
                return bad("parameters other than lifetime differ from those of this mid: use a higher mid");
            }
            Put::Ignored => return None,
            Put::Full => return Some(busy(60, "too many mitigations")),
        };
        let row = self.table.get(id)?;
        let mut scope = Scope { mid: Some(mid), lifetime: Some(row.lifetime(now)), ..Scope::default() };
        if code == Code::CREATED {
            scope.status = Some(row.status);
            scope.conflict = row.conflict.clone().map(Box::new);
        }
        let mut answer = MessageBuf::new(code, Token::default());
        answer.set_dots_payload(&Body::from(scope).to_vec());
        Some(answer)
    }

    /// Under which name a client is kept. A cdid is believed from gateways only; otherwise it is as if it were not there.
    fn client(&self, peer: &Peer, path: MitigatePath<'_>) -> String {
        match path.cdid.filter(|_| self.policy.trusts_gateway(&peer.name)) {
            Some(cdid) => format!("{cdid}/{}", path.cuid),
            None => path.cuid.to_owned(),
        }
    }

    fn enforce(&mut self, now: Instant, id: MitigationId) {
        let Some(row) = self.table.get(id).filter(|row| row.is_active()) else { return };
        let hosts = self.policy.resolve_local(&row.request);
        self.events.push_back(ServerEvent::Enforce { id, hosts, lifetime: row.lifetime(now) });
    }

    fn take_credit(&self, now: Instant, peer: &mut Peer) -> bool {
        peer.credit = peer.credit.saturating_add(now - peer.credit_at).min(Duration::from_secs(10));
        peer.credit_at = now;
        let cost = Duration::from_secs(1).checked_div(self.config.requests_per_second).unwrap_or_default();
        match peer.credit.checked_sub(cost) {
            Some(left) => {
                peer.credit = left;
                true
            }
            None => false,
        }
    }

    fn get(&mut self, now: Instant, peer: &mut Peer, path: MitigatePath<'_>, message: &Message<'_>) -> MessageBuf {
        let query = message.option(OptionNumber::URI_QUERY);
        let filter = match query {
            Some(b"c=c") => Filter::Configured,
            Some(b"c=n") => Filter::NonConfigured,
            _ => Filter::All,
        };
        let cuid = self.client(peer, path);
        let Some(body) = self.report(now, &peer.name, &cuid, path.mid, filter) else {
            return diagnostic(Code::NOT_FOUND, "no such mitigation");
        };
        let resource = format!("{cuid}/{:?}/{filter:?}", path.mid);
        let what = Observed::Mitigations { cuid, mid: path.mid, filter };
        let mut answer = MessageBuf::new(Code::CONTENT, Token::default());
        observe(peer, message, what, self.config.limits.observers, &mut answer);
        peer.session.endpoint.put_body(&mut answer, Some(message), resource.as_bytes(), body);
        answer
    }

    fn report(&self, now: Instant, peer: &str, cuid: &str, mid: Option<u32>, filter: Filter) -> Option<Vec<u8>> {
        let rows =
            self.table.of_client(cuid).filter(|(_, row)| row.peer == peer && mid.is_none_or(|mid| mid == row.mid));
        let scopes: Vec<Scope> = rows
            .map(|(_, row)| {
                let mut scope = row.to_scope(now);
                match filter {
                    Filter::All => {}
                    Filter::Configured => {
                        (scope.bytes_dropped, scope.bps_dropped) = (None, None);
                        (scope.pkts_dropped, scope.pps_dropped) = (None, None);
                    }
                    Filter::NonConfigured => {
                        let all = scope;
                        scope = Scope {
                            mid: all.mid,
                            lifetime: all.lifetime,
                            status: all.status,
                            mitigation_start: all.mitigation_start,
                            conflict: all.conflict,
                            bytes_dropped: all.bytes_dropped,
                            bps_dropped: all.bps_dropped,
                            pkts_dropped: all.pkts_dropped,
                            pps_dropped: all.pps_dropped,
                            ..Scope::default()
                        };
                    }
                }
                scope
            })
            .collect();
        (!scopes.is_empty()).then(|| Body::Mitigation(scopes).to_vec())
    }

    fn delete(&mut self, now: Instant, peer: &Peer, path: MitigatePath<'_>) -> MessageBuf {
        let Some(mid) = path.mid else { return diagnostic(Code::BAD_REQUEST, "mid is missing in the path") };
        let cuid = self.client(peer, path);
        self.table.withdraw(now, &peer.name, &cuid, mid);
        MessageBuf::new(Code::DELETED, Token::default())
    }

    fn get_config(&self, peer: &mut Peer, sid: Option<u32>, message: &Message<'_>) -> MessageBuf {
        if sid.is_some() && sid != peer.sid {
            return diagnostic(Code::NOT_FOUND, "no such sid");
        }
        let mut answer = MessageBuf::new(Code::CONTENT, Token::default());
        observe(peer, message, Observed::Config, self.config.limits.observers, &mut answer);
        self.fill_config(peer, &mut answer);
        answer
    }

    fn fill_config(&self, peer: &Peer, answer: &mut MessageBuf) {
        let current = &peer.session.config;
        let ranges = &self.config.ranges;
        let body = SignalConfig::new(Some(ranges.offer(&current.mitigating)), Some(ranges.offer(&current.idle)));
        answer.push_uint(OptionNumber::MAX_AGE, u64::from(self.config.config_max_age.max(1)));
        answer.set_dots_payload(&Body::Config(body).to_vec());
    }

    fn put_config(&mut self, id: SessionId, peer: &mut Peer, sid: Option<u32>, message: &Message<'_>) -> MessageBuf {
        let bad = |text: &str| diagnostic(Code::BAD_REQUEST, text);
        let Some(sid) = sid else { return bad("sid is missing in the path") };
        if !message.is_dots() {
            return diagnostic(Code::UNSUPPORTED_CONTENT_FORMAT, "content format is not application/dots+cbor (271)");
        }
        let config = match Body::decode(message.payload, Direction::Request) {
            Ok(Body::Config(config)) => config,
            Ok(_) => return bad("the body is no signal-config"),
            Err(error) => return bad(&error.to_string()),
        };
        let sets: Vec<_> = [&config.mitigating, &config.idle].into_iter().flatten().collect();
        if sets.iter().all(|set| set.is_empty()) {
            return bad("a configuration must set something");
        }
        if peer.sid.is_some_and(|last| sid < last) {
            return bad("sid is below the last one");
        }
        if let Some(member) = sets.iter().find_map(|set| self.config.ranges.violation(set)) {
            return diagnostic(Code::UNPROCESSABLE_ENTITY, &format!("{member} is out of range"));
        }
        let code = if peer.sid == Some(sid) { Code::CHANGED } else { Code::CREATED };
        peer.sid = Some(sid);
        peer.session.config = SessionConfig::from_signal(&config);
        peer.session.apply(self.table.is_mitigating(&peer.name));
        peer.observers.iter_mut().filter(|o| o.what == Observed::Config).for_each(|observer| observer.dirty = true);
        self.events.push_back(ServerEvent::Configured { session: id });
        MessageBuf::new(code, Token::default())
    }

    fn redirect(&mut self, id: SessionId, peer: &mut Peer, mid: Option<u32>, message: &Message<'_>) -> MessageBuf {
        let bad = |text: &str| diagnostic(Code::BAD_REQUEST, text);
        if !message.is_dots() {
            return diagnostic(Code::UNSUPPORTED_CONTENT_FORMAT, "content format is not application/dots+cbor (271)");
        }
        let to = match Body::decode(message.payload, Direction::Request) {
            Ok(Body::Redirect(to)) => to,
            Ok(_) => return bad("the body is no redirected-signal"),
            Err(error) => return bad(&error.to_string()),
        };
        let Some(name) = &to.alt_ch_client else { return bad("alt-ch-client is missing") };
        if to.alt_server.is_some() || !to.alt_server_record.is_empty() {
            return bad("alt-server is not for call home");
        }
        if *name == peer.name || mid.is_some() && mid <= peer.redirect_mid {
            return bad("this redirection leads nowhere new");
        }
        peer.redirect_mid = mid.or(peer.redirect_mid);
        self.events.push_back(ServerEvent::Redirect { session: id, to });
        MessageBuf::new(Code::CREATED, Token::default())
    }

    // --- what the application knows -----------------------------------------------------------------------------------

    fn known(&self, id: MitigationId) -> Result<(), Error> {
        let wanted = self.table.get(id).is_some_and(|row| row.is_wanted() || row.status == Status::ClientWithdrawn);
        if wanted { Ok(()) } else { Err(ApiMisuse::UnknownMitigation.into()) }
    }

    /// Answers [`ServerEvent::ConsentNeeded`]. Without consent the client is told that the mitigation was withdrawn.
    ///
    /// # Errors
    /// When there is no such mitigation any more.
    pub fn consent(&mut self, now: Instant, id: MitigationId, agreed: bool) -> Result<(), Error> {
        let now = self.advance(now);
        self.known(id)?;
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
