//! The DOTS client: it sees the attack and asks. One machine for each server it asks, which outlives sessions.
//! RFC 9132 sections 4.4 to 4.7, RFC 9066 section 5.

mod exchanges;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use watchfire_core::{ConfigError, Duration, Eof, Instant, Machine, Output, StreamMachine, config_builder};

use crate::body::{
    AttackStatus, Body, ConflictCause, ConflictInformation, Direction, Lifetime, List, PortRange, RedirectedSignal,
    Scope, SignalConfig, Status,
};
use crate::cuid::random_cuid;
use crate::endpoint::{Answer, Ask, Input, Mode, Stats, Transport};
use crate::error::{ApiMisuse, Error};
use crate::limits::Limits;
use crate::liveness::Side;
use crate::params::SessionConfig;
use crate::path::{MitigatePath, Resource, resource};
use crate::policy::{ClientPolicy, nat64};
use crate::request::{MitigationRequest, Profile};
use crate::session::{Session, diagnostic, request};
use crate::wire::{Code, MessageBuf, OptionNumber};

/// From here on mids begin again at 0, when nothing is active: three quarters of 2^32 - 1 (RFC 9132 section 4.4.1).
const MID_WRAP: u32 = 3_221_225_471;

/// How a client behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Which document. Default RFC 9066.
    pub profile: Profile,
    /// Who we are: see [`cuid`](crate::cuid()).
    pub cuid: String,
    /// The server, by the name that (D)TLS proves; policies are asked about it.
    pub server: String,
    /// Whether a heartbeat follows each one of the server at once (RFC 9066 section 5.2.1 allows it). Default no.
    pub echo_heartbeats: bool,
    /// How far things may grow.
    pub limits: Limits,
}

impl ClientConfig {
    /// The defaults, for this client and that server.
    pub fn builder(cuid: impl Into<String>, server: impl Into<String>) -> ClientConfigBuilder {
        ClientConfigBuilder(Self {
            profile: Profile::Rfc9066,
            cuid: cuid.into(),
            server: server.into(),
            echo_heartbeats: false,
            limits: Limits::default(),
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        // It is a part of a path: an option of CoAP (RFC 9132 section 4.4.1, RFC 7252 section 5.10).
        ConfigError::unless((1..=255).contains(&self.cuid.len()), "cuid", "must have 1 to 255 octets")?;
        self.limits.check()
    }
}

config_builder! {
    /// What becomes a [`ClientConfig`].
    pub struct ClientConfigBuilder for ClientConfig {
        with_profile => profile: Profile,
        with_cuid => cuid: String,
        with_server => server: String,
        with_echo_heartbeats => echo_heartbeats: bool,
        with_limits => limits: Limits,
    }
}

/// Why a mitigation came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "answers are few")]
pub enum Refused {
    /// 4.09: the traffic is legitimate. Do not ask again.
    LegitimateTraffic,
    /// 4.09 for another reason; it says with what.
    Conflict(ConflictInformation),
    /// Another code, with the diagnostic text of the server.
    Code(Code, String),
    /// The server rejected the message itself.
    Reset,
}

/// What a client reports.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "events are few")]
pub enum ClientEvent {
    /// The server's settings are known, and in force.
    Configured {
        /// Which.
        config: SessionConfig,
    },
    /// A configuration of ours was refused: 4.22 and others.
    ConfigRefused {
        /// By which code.
        code: Code,
        /// The server's words.
        text: String,
    },
    /// The server mitigates, or will.
    Granted {
        /// What.
        mid: u32,
        /// How long.
        lifetime: Lifetime,
        /// In spite of a conflict with another client.
        conflict: Option<ConflictInformation>,
    },
    /// It will not.
    Refused {
        /// What.
        mid: u32,
        /// Why.
        why: Refused,
    },
    /// It will be asked again in so many seconds: the server is busy, or another client comes first.
    Waiting {
        /// What.
        mid: u32,
        /// Seconds.
        seconds: u32,
    },
    /// What the server says about a mitigation.
    Status {
        /// All of it; `mid` is there.
        scope: Box<Scope>,
    },
    /// The withdrawal arrived.
    Withdrawn {
        /// What.
        mid: u32,
    },
    /// It is over, by lifetime, withdrawal, or the server's decision.
    Ended {
        /// What.
        mid: u32,
    },
    /// Our cuid is another client's; this is the new one (RFC 9132 section 4.4.1). Keep it.
    CuidChanged {
        /// The new one.
        cuid: String,
    },
    /// The server follows the redirection, or does not.
    Redirected {
        /// Whether it does.
        accepted: bool,
    },
    /// Heartbeats stay unanswered, and no attack explains it. The session stays usable: only a server reconnects.
    SessionSilent,
    /// It answers again.
    SessionRevived,
    /// The server said goodbye.
    SessionEnded {
        /// Seconds to stay away.
        hold_off: Option<u32>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Requesting,
    Active,
    /// Until then we must not ask.
    Waiting(Instant),
    Withdrawing,
    /// The server is winding it up.
    Terminating(Instant),
}

#[derive(Debug)]
struct Row {
    scope: Scope,
    state: State,
    expires: Option<Instant>,
    refresh: Option<Instant>,
    status: Option<Status>,
    /// The server said that it mitigates while the withdrawal was under way: a request may have arrived behind it.
    overtaken: bool,
    /// A session before this one may have brought it to the server, or it was granted.
    known: bool,
}

impl Row {
    fn is_live(&self) -> bool {
        matches!(self.state, State::Requesting | State::Active | State::Waiting(_))
    }
}

/// The machine. [`Client::session_up`] and [`Client::session_down`] tell it of sessions, whoever dialled;
/// [`StreamMachine::handle_input`] takes the content of one datagram, or any part of a stream.
#[derive(Debug)]
pub struct Client<P> {
    config: Arc<ClientConfig>,
    policy: P,
    rng: StdRng,
    cuid: String,
    next_mid: u32,
    session: Option<Session>,
    farewells: VecDeque<Bytes>,
    rows: BTreeMap<u32, Row>,
    wanted: Option<SignalConfig>,
    sid: u32,
    redirect: u32,
    config_due: Option<Instant>,
    /// After a reconnection: until the server said what it has, or this instant.
    resync: Option<Instant>,
    silent: bool,
    /// Notifications about our mitigations must be asked for.
    status_due: bool,
    /// And under another name than before.
    reobserve: bool,
    /// Requests whose place a later one of ours took; the newest of them.
    superseded: VecDeque<exchanges::Superseded>,
    /// Mids that the server may have and nobody wants, to be withdrawn.
    orphans: Vec<u32>,
    events: VecDeque<ClientEvent>,
    now: Instant,
}

impl<P: ClientPolicy> Client<P> {
    /// A client without a session. What is asked now is sent when there is one.
    pub fn new(config: Arc<ClientConfig>, policy: P, seed: [u8; 32], now: Instant) -> Self {
        Self {
            cuid: config.cuid.clone(),
            config,
            policy,
            rng: StdRng::from_seed(seed),
            next_mid: 1,
            session: None,
            farewells: VecDeque::new(),
            rows: BTreeMap::new(),
            wanted: None,
            sid: 0,
            redirect: 0,
            config_due: None,
            resync: None,
            silent: false,
            status_due: false,
            reobserve: false,
            superseded: VecDeque::new(),
            orphans: Vec::new(),
            events: VecDeque::new(),
            now,
        }
    }

    /// The name under which it asks now.
    pub fn cuid(&self) -> &str {
        &self.cuid
    }

    /// Whether there is a session.
    pub fn has_session(&self) -> bool {
        self.session.is_some()
    }

    /// What was noticed in the session.
    pub fn stats(&self) -> Option<Stats> {
        self.session.as_ref().map(|session| session.endpoint.stats)
    }

    /// Mitigations that are asked for: mid, what was asked, how it stands.
    pub fn mitigations(&self) -> impl Iterator<Item = (u32, &Scope, Option<Status>)> {
        self.rows.iter().map(|(mid, row)| (*mid, &row.scope, row.status))
    }

    /// Where mids go on, after a restart: the next is at least `mid`.
    pub fn set_next_mid(&mut self, mid: u32) {
        self.next_mid = self.next_mid.max(mid);
    }

    // --- sessions -----------------------------------------------------------------------------------------------------

    /// A session is up: authenticated, and the last flight of the handshake sent as a datagram of its own. It replaces
    /// the one before. Asks for the settings, for all mitigations, and again for what the server has forgotten.
    pub fn session_up(&mut self, now: Instant, transport: Transport) {
        let now = self.advance(now);
        self.remember_sent();
        let mut session = Session::new(Side::Client, transport, self.config.limits, self.rng.random(), now);
        session.echo = self.config.echo_heartbeats;
        self.session = Some(session);
        self.silent = false;
        self.apply();
        self.ask_config(now);
        // Requests that are on their way already go first; what may be known to the server waits for its report.
        let requesting: Vec<u32> =
            self.rows.iter().filter(|(_, row)| row.state == State::Requesting).map(|(mid, _)| *mid).collect();
        requesting.into_iter().for_each(|mid| self.send_put(now, mid, None));
        let withdrawing: Vec<u32> =
            self.rows.iter().filter(|(_, row)| row.state == State::Withdrawing).map(|(mid, _)| *mid).collect();
        withdrawing.into_iter().for_each(|mid| self.send_delete(now, mid));
        if self.rows.values().any(|row| row.state == State::Active) {
            self.resync = Some(now + Duration::from_secs(10));
        }
        self.ask_status(now);
    }

    /// The session ended. Mitigations stay, here and at the server.
    pub fn session_down(&mut self, now: Instant) {
        self.advance(now);
        self.remember_sent();
        self.session = None;
        self.config_due = None;
        self.resync = None;
    }

    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    fn is_mitigating(&self) -> bool {
        self.rows.values().any(|row| row.is_live() || row.state == State::Withdrawing)
    }

    fn apply(&mut self) {
        let mitigating = self.is_mitigating();
        if let Some(session) = &mut self.session {
            session.apply(mitigating);
        }
    }

    // --- what the application wants -----------------------------------------------------------------------------------

    /// Asks for mitigation under the next mid. All sources of one target belong into one request: by RFC 9132 a later
    /// request for the same target takes the place of the earlier one.
    ///
    /// # Errors
    /// When a check fails, here or in the policy; nothing is sent then.
    pub fn request_mitigation(&mut self, now: Instant, scope: Scope) -> Result<u32, Error> {
        if self.next_mid >= MID_WRAP && !self.is_mitigating() {
            self.next_mid = 0;
        }
        let mid = self.next_mid;
        self.request_mitigation_as(now, mid, scope)?;
        Ok(mid)
    }

    /// As [`Self::request_mitigation`], under a mid that is not below the next one.
    ///
    /// # Errors
    /// As above, and when the mid is.
    pub fn request_mitigation_as(&mut self, now: Instant, mid: u32, mut scope: Scope) -> Result<(), Error> {
        let now = self.advance(now);
        if mid < self.next_mid || self.rows.contains_key(&mid) {
            return Err(ApiMisuse::MidNotAscending.into());
        }
        if self.rows.len() >= self.config.limits.mitigations {
            return Err(ApiMisuse::TooMany.into());
        }
        scope.lifetime.get_or_insert(Lifetime::DEFAULT);
        if self.config.profile.is_call_home() {
            self.translate(&mut scope)?;
        }
        let request = MitigationRequest::check(scope, self.config.profile, false).map_err(ApiMisuse::from)?;
        let scope = request.scope().clone();
        let message = self.put_message(mid, &scope, None);
        // Without a session nobody knows how large it may be; a datagram is the least.
        let fits_datagram = message.udp_len() <= self.config.limits.datagram;
        let fits = self.session.as_ref().map_or(fits_datagram, |session| {
            session.endpoint.transport() == Transport::Stream || session.endpoint.fits(&message)
        });
        if !fits {
            return Err(ApiMisuse::TooLarge.into());
        }
        self.next_mid = mid.saturating_add(1);
        // The server deletes what this overrides; so do we.
        let overridden: Vec<u32> = self
            .rows
            .iter()
            .filter(|(_, row)| row.is_live())
            .filter(|(_, row)| {
                MitigationRequest::check(row.scope.clone(), self.config.profile, false)
                    .is_ok_and(|old| old.overlaps(&request, false))
            })
            .map(|(mid, _)| *mid)
            .collect();
        for earlier in overridden {
            self.supersede(now, earlier, mid);
        }
        let state = State::Requesting;
        self.rows.insert(
            mid,
            Row { scope, state, expires: None, refresh: None, status: None, overtaken: false, known: false },
        );
        self.apply();
        self.send_put(now, mid, None);
        Ok(())
    }

    /// Sources and targets as the server's domain sees them (RFC 9066 section 5.3.2), and the check that they are its own.
    fn translate(&self, scope: &mut Scope) -> Result<(), Error> {
        let server = &self.config.server;
        let mut ports: Vec<PortRange> = scope.source_port_range.to_vec();
        let mut sources = Vec::with_capacity(scope.source_prefix.len());
        for source in &scope.source_prefix {
            let source = match self.policy.map_external(server, source, &scope.source_port_range) {
                Some((internal, internal_ports)) => {
                    ports = internal_ports.to_vec();
                    internal
                }
                None => *source,
            };
            if !self.policy.is_in_domain(server, &source) {
                return Err(ApiMisuse::ForeignSource(source).into());
            }
            if self.policy.shares_by_ports(&source) && ports.is_empty() {
                return Err(ApiMisuse::SharedSource(source).into());
            }
            sources.push(source);
        }
        if let Some(nat64_prefix) = self.policy.nat64_prefix(server)
            && sources.iter().all(|source| !source.is_ipv4())
        {
            scope.target_prefix =
                scope.target_prefix.iter().map(|target| nat64(&nat64_prefix, target).unwrap_or(*target)).collect();
        }
        scope.source_prefix = sources.into_iter().collect();
        scope.source_port_range = ports.into_iter().collect::<List<_>>();
        Ok(())
    }

    /// Asks again, for a new lifetime if one is given; otherwise this happens by itself in time.
    ///
    /// # Errors
    /// When there is no such mitigation.
    pub fn refresh(&mut self, now: Instant, mid: u32, lifetime: Option<Lifetime>) -> Result<(), Error> {
        let now = self.advance(now);
        let row =
            self.rows.get_mut(&mid).filter(|row| row.state == State::Active).ok_or(ApiMisuse::UnknownMitigation)?;
        if lifetime == Some(Lifetime::Seconds(0)) {
            return Err(ApiMisuse::Request(crate::request::InvalidRequest::ZeroLifetime).into());
        }
        row.scope.lifetime = lifetime.or(row.scope.lifetime);
        self.send_put(now, mid, None);
        Ok(())
    }

    /// Tells how the attack looks from here (RFC 9132 section 4.4.3).
    ///
    /// # Errors
    /// When there is no such mitigation.
    pub fn report_efficacy(&mut self, now: Instant, mid: u32, status: AttackStatus) -> Result<(), Error> {
        let now = self.advance(now);
        self.rows.get(&mid).filter(|row| row.state == State::Active).ok_or(ApiMisuse::UnknownMitigation)?;
        self.send_put(now, mid, Some(status));
        Ok(())
    }

    /// Withdraws a mitigation. Better once the server says that the attack stopped, not when it merely looks so here.
    ///
    /// # Errors
    /// When there is no such mitigation.
    pub fn withdraw(&mut self, now: Instant, mid: u32) -> Result<(), Error> {
        let now = self.advance(now);
        let row = self.rows.get_mut(&mid).filter(|row| row.is_live()).ok_or(ApiMisuse::UnknownMitigation)?;
        (row.state, row.refresh) = (State::Withdrawing, None);
        if let Some(session) = &mut self.session {
            session.endpoint.recall(now, Ask::Put { mid });
            session.endpoint.recall(now, Ask::Efficacy { mid });
        }
        self.send_delete(now, mid);
        self.disown(mid);
        Ok(())
    }

    /// Asks for other settings, now and after every reconnection. What is out of the server's range is refused by it.
    ///
    /// # Errors
    /// When nothing is set.
    pub fn configure(&mut self, now: Instant, config: SignalConfig) -> Result<(), Error> {
        let now = self.advance(now);
        if [&config.mitigating, &config.idle].into_iter().flatten().all(|set| set.is_empty()) {
            return Err(ApiMisuse::EmptyConfig.into());
        }
        self.wanted = Some(config);
        self.send_config(now);
        Ok(())
    }

    /// Returns to the server's defaults.
    pub fn reset_config(&mut self, now: Instant) {
        let now = self.advance(now);
        self.wanted = None;
        let message = request(Code::DELETE, Resource::Config { sid: (self.sid > 0).then_some(self.sid) });
        if let Some(session) = &mut self.session {
            session.endpoint.request(now, Ask::ConfigDelete, Mode::Con, message);
        }
    }

    /// Sends the server to another client (RFC 9066 section 5.2.2). Not while a mitigation is active, if that can be
    /// helped: `force` says that it cannot.
    ///
    /// # Errors
    /// In another profile, without a name or a session, or while mitigations are active.
    pub fn redirect(&mut self, now: Instant, to: RedirectedSignal, force: bool) -> Result<(), Error> {
        let now = self.advance(now);
        if self.config.profile != Profile::Rfc9066 || to.alt_ch_client.as_deref().unwrap_or_default().is_empty() {
            return Err(ApiMisuse::Profile.into());
        }
        if self.is_mitigating() && !force {
            return Err(ApiMisuse::Active.into());
        }
        self.redirect = self.redirect.saturating_add(1);
        let path = Resource::Redirect { cuid: Some(&self.cuid), mid: Some(self.redirect) };
        let mut message = request(Code::PUT, path);
        message.set_dots_payload(&Body::from(to).to_vec());
        let session = self.session.as_mut().ok_or(ApiMisuse::NoSession)?;
        session.endpoint.request(now, Ask::Redirect, Mode::Repeat, message);
        Ok(())
    }

    /// Another name to ask under: only while nothing is active (RFC 9132 section 4.4.1).
    ///
    /// # Errors
    /// While something is.
    pub fn change_cuid(&mut self, cuid: impl Into<String>) -> Result<(), Error> {
        if !self.rows.is_empty() {
            return Err(ApiMisuse::Active.into());
        }
        self.cuid = cuid.into();
        Ok(())
    }

    // --- time ---------------------------------------------------------------------------------------------------------

    fn time(&mut self, now: Instant) {
        if let Some(mut session) = self.session.take() {
            let failed = session.handle_timeout(now);
            if session.liveness.is_lost(now) && !self.silent {
                self.silent = true;
                self.events.push_back(ClientEvent::SessionSilent);
            }
            self.session = Some(session);
            if failed.contains(&Ask::Config) {
                self.config_due = Some(now + Duration::from_secs(60));
            }
            for ask in failed {
                if let Ask::Put { mid } = ask {
                    self.unanswered(mid);
                }
            }
        }
        let due: Vec<u32> = self
            .rows
            .iter()
            .filter(|(_, row)| row_deadline(row).is_some_and(|at| at <= now))
            .map(|(m, _)| *m)
            .collect();
        for mid in due {
            let Some(row) = self.rows.get_mut(&mid) else { continue };
            match row.state {
                State::Waiting(_) => {
                    row.state = State::Requesting;
                    self.send_put(now, mid, None);
                }
                State::Terminating(_) => self.end(mid),
                State::Active if row.expires.is_some_and(|at| at <= now) => self.end(mid),
                State::Active => {
                    row.refresh = None;
                    self.send_put(now, mid, None);
                }
                State::Requesting | State::Withdrawing => {}
            }
        }
        if self.resync.is_some_and(|at| at <= now)
            && let Some(mut session) = self.session.take()
        {
            // The report does not come; a server that has them merely refreshes them.
            self.resynchronise(now, &mut session, &[]);
            self.session = Some(session);
        }
        // RFC 9132 section 4.5.3: settings are fetched again in time, but not during an attack.
        if self.config_due.is_some_and(|at| at <= now) && !self.is_mitigating() && self.session.is_some() {
            self.ask_config(now);
        }
        if core::mem::take(&mut self.reobserve) {
            self.ask_status(now);
        }
        self.tidy(now);
        self.apply();
    }

    fn deadline(&self) -> Option<Instant> {
        let config = self.config_due.filter(|_| !self.is_mitigating() && self.session.is_some());
        let session = self.session.as_ref().and_then(Session::deadline);
        self.rows.values().filter_map(row_deadline).chain(config).chain(session).chain(self.resync).min()
    }
}

fn row_deadline(row: &Row) -> Option<Instant> {
    match row.state {
        State::Waiting(at) | State::Terminating(at) => Some(at),
        State::Active => [row.expires, row.refresh].into_iter().flatten().min(),
        State::Requesting | State::Withdrawing => None,
    }
}

impl<P: ClientPolicy> Machine for Client<P> {
    type Transmit = Bytes;
    type Event = ClientEvent;
    type Error = Error;

    fn poll_output(&mut self, _now: Instant) -> Output<Bytes, ClientEvent> {
        if let Some(octets) = self.farewells.pop_front() {
            return Output::Transmit(octets);
        }
        if let Some(octets) = self.session.as_mut().and_then(|session| session.endpoint.poll()) {
            return Output::Transmit(octets);
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
        if self.deadline().is_none() { "" } else { "heartbeat, refresh or repetition" }
    }

    fn is_finished(&self) -> bool {
        false
    }
}

impl<P: ClientPolicy> StreamMachine for Client<P> {
    /// Octets arrived on the session: the content of one datagram, or any part of a stream. An error ends the session,
    /// not the machine.
    fn handle_input(&mut self, now: Instant, octets: &[u8]) -> Result<(), Error> {
        let now = self.advance(now);
        let mut session = self.session.take().ok_or(ApiMisuse::NoSession)?;
        session.liveness.heard(now);
        let mut goodbye = None;
        if session.endpoint.transport() == Transport::Datagram {
            let input = session.endpoint.datagram(now, octets);
            goodbye = self.take(now, &mut session, input);
        } else {
            let buffer = session.endpoint.take_stream(octets);
            let mut at = 0usize;
            loop {
                match session.endpoint.frame(now, buffer.get(at..).unwrap_or_default()) {
                    Ok(Some((input, used))) => {
                        at = at.saturating_add(used);
                        goodbye = self.take(now, &mut session, input);
                        if goodbye.is_some() {
                            break;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        while let Some(octets) = session.endpoint.poll() {
                            self.farewells.push_back(octets);
                        }
                        return Err(error);
                    }
                }
            }
            session.endpoint.keep_stream(buffer.get(at..).unwrap_or_default().to_vec());
        }
        match goodbye {
            Some(hold_off) => {
                self.session_down(now);
                self.events.push_back(ClientEvent::SessionEnded { hold_off });
            }
            None => self.session = Some(session),
        }
        self.tidy(now);
        self.apply();
        Ok(())
    }

    fn handle_eof(&mut self, now: Instant, _eof: Eof) -> Result<(), Error> {
        if self.session.is_some() {
            self.session_down(now);
            self.events.push_back(ClientEvent::SessionEnded { hold_off: None });
        }
        Ok(())
    }
}
