//! The DOTS client: it sees the attack and asks. One machine for each server it asks, which outlives sessions.
//! RFC 9132 sections 4.4 to 4.7, RFC 9066 section 5.

mod config;
mod doubt;
mod event;
mod exchanges;
mod row;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use watchfire_core::{Duration, Eof, Instant, Machine, Output, StreamMachine};

pub use config::{ClientConfig, ClientConfigBuilder};
pub use event::{ClientEvent, Refused, Unreadable};

use crate::body::{
    AttackStatus, Body, ConflictCause, Direction, Lifetime, List, PortRange, RedirectedSignal, Scope, SignalConfig,
    Status,
};
use crate::cuid::random_cuid;
use crate::endpoint::{Answer, Ask, Broken, Input, Mode, Stats, Transport};
use crate::error::{ApiMisuse, Error};
use crate::liveness::Side;
use crate::params::SessionConfig;
use crate::path::{MitigatePath, Resource, resource};
use crate::policy::{ClientPolicy, nat64};
use crate::request::{MitigationRequest, Profile, overlap};
use crate::session::{Session, diagnostic, request};
use crate::wire::{Code, MessageBuf, OptionNumber};
use doubt::Doubt;
use row::{Row, State};

/// From here on mids begin again at 0, when nothing is active: three quarters of 2^32 - 1 (RFC 9132 section 4.4.1).
const MID_WRAP: u32 = 3_221_225_471;
/// After a second name in a row that is taken; then twice as long each time.
const COLLISION_WAIT: Duration = Duration::from_secs(3);
/// The longest of these waits.
const COLLISION_WAIT_MAX: Duration = Duration::from_secs(300);
/// After how long a server is asked again for settings, or to take ours, that did not answer.
const CONFIG_AGAIN: Duration = Duration::from_secs(60);

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
    /// The server of this session has not been asked for them.
    unconfigured: bool,
    sid: u32,
    redirect: u32,
    config_due: Option<Instant>,
    /// After a reconnection: until the server said what it has, or this instant.
    resync: Option<Instant>,
    silent: bool,
    /// Notifications about our mitigations must be asked for.
    status_due: bool,
    /// A notification was only the beginning of a report.
    report_due: bool,
    /// Our name is another than that of what is under way.
    renamed: bool,
    /// How many names in a row were taken, and until when nothing is asked for because of that.
    collisions: u32,
    quiet: Instant,
    doubt: Doubt,
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
            unconfigured: false,
            sid: 0,
            redirect: 0,
            config_due: None,
            resync: None,
            silent: false,
            status_due: false,
            report_due: false,
            renamed: false,
            collisions: 0,
            quiet: now,
            doubt: Doubt::new(now),
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

    /// How long a mitigation that was granted goes on if it is not asked for again, in whole seconds, the last one begun
    /// among them.
    pub fn remaining(&self, now: Instant, mid: u32) -> Option<Lifetime> {
        let row = self.rows.get(&mid).filter(|row| row.state == State::Active)?;
        Some(row.expires.map_or(Lifetime::Indefinite, |expires| {
            let left = expires.saturating_since(now);
            let begun = u64::from(left.subsec_nanos() > 0);
            Lifetime::Seconds(u32::try_from(left.as_secs().saturating_add(begun)).unwrap_or(u32::MAX))
        }))
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
        let mut session = Session::new(Side::Client, transport, self.config.limits, self.rng.random(), now);
        session.echo = self.config.echo_heartbeats;
        self.session = Some(session);
        self.silent = false;
        self.rows.values_mut().for_each(Row::session_up);
        self.unconfigured = self.wanted.is_some();
        self.apply();
        self.ask_config(now);
        // What may be known to the server waits for its report; what is on its way already goes first.
        if self.rows.values().any(|row| row.state == State::Active) {
            self.resync = Some(now + Duration::from_secs(10));
        }
        self.doubt.session_up(now);
        (self.status_due, self.report_due) = (true, false);
        self.tidy(now);
    }

    /// The session ended. Mitigations stay, here and at the server.
    pub fn session_down(&mut self, now: Instant) {
        self.advance(now);
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
        // What may be left at the server would come behind those that begin anew.
        if self.next_mid >= MID_WRAP && !self.is_mitigating() && !self.doubt.is_open() {
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
        // The server deletes what this overrides once it takes this (RFC 9132 section 4.4.1): what is in force stays ours
        // until then. What was never granted is not asked for any more.
        let mut dropped = Vec::new();
        for (earlier, row) in
            self.rows.iter_mut().filter(|(_, row)| row.is_live() && overlap(&row.scope, &scope, false))
        {
            row.overridden = Some(mid);
            if !row.granted {
                dropped.push(*earlier);
            }
        }
        dropped.into_iter().for_each(|earlier| self.end(earlier, false));
        self.rows.insert(mid, Row::new(scope));
        self.apply();
        self.tidy(now);
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

    /// Asks again, for a new lifetime if one is given; otherwise this happens by itself in time. It is sent until it is
    /// answered, by a session to come if there is none now.
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
        row.renew(lifetime);
        if let Some(session) = &mut self.session {
            // One that is under way may be for another lifetime.
            session.endpoint.retain(|ask| ask != Ask::Put { mid });
        }
        self.tidy(now);
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
        row.state = State::Withdrawing;
        self.doubt_unless_settled();
        self.tidy(now);
        Ok(())
    }

    /// Asks for other settings, now and in every session to come. What is out of the server's range is refused by it.
    ///
    /// # Errors
    /// When nothing is set.
    pub fn configure(&mut self, now: Instant, config: SignalConfig) -> Result<(), Error> {
        let now = self.advance(now);
        if [&config.mitigating, &config.idle].into_iter().flatten().all(|set| set.is_empty()) {
            return Err(ApiMisuse::EmptyConfig.into());
        }
        (self.wanted, self.unconfigured) = (Some(config), true);
        self.send_config(now);
        Ok(())
    }

    /// Returns to the server's defaults.
    pub fn reset_config(&mut self, now: Instant) {
        let now = self.advance(now);
        (self.wanted, self.unconfigured) = (None, false);
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
    /// While something is, or may be.
    pub fn change_cuid(&mut self, cuid: impl Into<String>) -> Result<(), Error> {
        if !self.rows.is_empty() || self.doubt.is_open() {
            return Err(ApiMisuse::Active.into());
        }
        self.cuid = cuid.into();
        self.renamed = true;
        Ok(())
    }

    // --- time ---------------------------------------------------------------------------------------------------------

    fn time(&mut self, now: Instant) {
        if let Some(session) = &mut self.session {
            let failed = session.handle_timeout(now);
            if session.liveness.is_lost(now) && !self.silent {
                self.silent = true;
                self.events.push_back(ClientEvent::SessionSilent);
            }
            for ask in failed {
                match ask {
                    Ask::Config => self.config_due = Some(now + CONFIG_AGAIN),
                    Ask::ConfigPut { .. } => {
                        self.unconfigured = self.wanted.is_some();
                        self.config_due = Some(now + CONFIG_AGAIN);
                    }
                    Ask::Status => self.doubt.unanswered(now),
                    _ => {}
                }
            }
        }
        let due: Vec<u32> = self.rows.iter().filter(|(_, row)| row.is_over(now)).map(|(m, _)| *m).collect();
        for mid in due {
            let Some(row) = self.rows.get_mut(&mid) else { continue };
            match row.state {
                State::Waiting(_) => row.state = State::Requesting,
                State::Terminating(_) => self.end(mid, true),
                State::Active => self.lapse(mid),
                State::Requesting | State::Withdrawing => {}
            }
        }
        if self.resync.is_some_and(|at| at <= now) {
            // The report does not come; a server that has them merely refreshes them.
            self.resynchronise(&[]);
        }
        // RFC 9132 section 4.5.3: settings are fetched again in time, but not during an attack.
        if self.config_due().is_some_and(|at| at <= now) {
            if self.is_mitigating() {
                self.config_due = None;
                self.send_config(now);
            } else {
                self.ask_config(now);
            }
        }
        self.tidy(now);
        self.apply();
    }

    /// When settings are to be asked for; during an attack only to be changed.
    fn config_due(&self) -> Option<Instant> {
        let due = self.config_due.filter(|_| self.session.is_some())?;
        (self.unconfigured || !self.is_mitigating()).then_some(due)
    }

    fn deadline(&self) -> Option<Instant> {
        let config = self.config_due();
        let session = self.session.as_ref().and_then(Session::deadline);
        let can_send = self.has_room();
        let doubt = self.doubt.due().filter(|_| can_send && !self.is_pending(Ask::Status));
        let rows = self.rows.values().filter_map(|row| row.deadline(can_send));
        let quiet = (self.quiet > self.now && can_send && self.rows.values().any(|row| row.state == State::Requesting))
            .then_some(self.quiet);
        rows.chain(config).chain(session).chain(self.resync).chain(doubt).chain(quiet).min()
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
        let session = self.session.as_mut().ok_or(ApiMisuse::NoSession)?;
        session.liveness.heard(now);
        let goodbye = if session.endpoint.transport() == Transport::Datagram {
            let input = session.endpoint.datagram(now, octets);
            self.take(now, input)
        } else {
            self.take_stream(now, octets)?
        };
        if let Some(hold_off) = goodbye {
            self.session_down(now);
            self.events.push_back(ClientEvent::SessionEnded { hold_off });
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
