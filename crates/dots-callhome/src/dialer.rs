//! Who to connect to, and when: Happy Eyeballs, reconnection, redirection. RFC 9132 sections 4.3 and 4.6, RFC 9066
//! sections 5.1 and 5.2. In Call Home the server dials; in base DOTS the client does.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use watchfire_core::{Backoff, ConfigError, Duration, Instant, Machine, Output, config_builder};

use crate::body::RedirectedSignal;
use crate::endpoint::Transport;

/// How a dialer behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DialerConfig {
    /// The peer that is provisioned, by the name that it must prove.
    pub name: String,
    /// Its port. See [`Profile::default_port`](crate::Profile::default_port).
    pub port: u16,
    /// Which transports to try. Default both.
    pub transports: Vec<Transport>,
    /// The least time from the beginning of one failing establishment to the next. Default and by RFC 9132 60 s.
    pub retry_min: Duration,
    /// The most. Default 300 s.
    pub retry_max: Duration,
    /// Between the attempts of one establishment. Default 250 ms (RFC 8305).
    pub attempt_delay: Duration,
    /// The same during an attack. Default 100 ms.
    pub attack_delay: Duration,
    /// How long the outcome of attempts is remembered. Default 600 s.
    pub remember: Duration,
    /// How long one attempt may take. Default 30 s.
    pub attempt_timeout: Duration,
    /// After TCP had to do, when UDP is tried again. Default 24 h; not below 5 minutes.
    pub probe_udp_every: Duration,
    /// How long a redirection holds that does not say. Default 3600 s.
    pub default_ttl: Duration,
    /// A peer that was contacted so recently is not redirected to. Default 300 s.
    pub loop_guard: Duration,
}

impl DialerConfig {
    /// The defaults for this peer.
    pub fn builder(name: impl Into<String>, port: u16) -> DialerConfigBuilder {
        DialerConfigBuilder(Self {
            name: name.into(),
            port,
            transports: vec![Transport::Datagram, Transport::Stream],
            retry_min: Duration::from_secs(60),
            retry_max: Duration::from_secs(300),
            attempt_delay: Duration::from_millis(250),
            attack_delay: Duration::from_millis(100),
            remember: Duration::from_secs(600),
            attempt_timeout: Duration::from_secs(30),
            probe_udp_every: Duration::from_secs(24 * 3600),
            default_ttl: Duration::from_secs(3600),
            loop_guard: Duration::from_secs(300),
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        ConfigError::unless(!self.name.is_empty(), "name", "must say whom to connect to")?;
        ConfigError::unless(self.port != 0, "port", "must not be 0")?;
        ConfigError::unless(!self.transports.is_empty(), "transports", "must name one at least")?;
        ConfigError::unless(!self.retry_min.is_zero(), "retry_min", "must not be zero")?;
        ConfigError::unless(self.retry_min <= self.retry_max, "retry_min", "must not be longer than retry_max")
    }
}

config_builder! {
    /// What becomes a [`DialerConfig`].
    pub struct DialerConfigBuilder for DialerConfig {
        with_transports => transports: Vec<Transport>,
        with_retry_min => retry_min: Duration,
        with_retry_max => retry_max: Duration,
        with_attempt_delay => attempt_delay: Duration,
        with_attack_delay => attack_delay: Duration,
        with_remember => remember: Duration,
        with_attempt_timeout => attempt_timeout: Duration,
        with_probe_udp_every => probe_udp_every: Duration,
        with_default_ttl => default_ttl: Duration,
        with_loop_guard => loop_guard: Duration,
    }
}

/// Names an attempt; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(u64);

/// What the driver shall do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DialerEvent {
    /// Look the name up, then call [`Dialer::resolved`], or [`Dialer::found`] with what was discovered.
    Resolve {
        /// The name.
        name: String,
    },
    /// Connect, shake hands, check that the peer is `name`; then call [`Dialer::connected`] or [`Dialer::failed`].
    Connect {
        /// Which attempt.
        attempt: AttemptId,
        /// By what.
        transport: Transport,
        /// Where to.
        to: SocketAddr,
        /// The name that the peer must prove.
        name: String,
        /// Whether a former (D)TLS session with this name should be resumed, if there is one.
        resume: bool,
        /// A probe beside a session that works; see [`DialerEvent::Switch`].
        probe: bool,
    },
    /// Give this attempt up: another one won, or it took too long.
    Cancel {
        /// Which.
        attempt: AttemptId,
    },
    /// This attempt is the session now.
    Up {
        /// Which.
        attempt: AttemptId,
        /// By what.
        transport: Transport,
    },
    /// UDP works again: this attempt replaces the session over TCP, which may be closed.
    Switch {
        /// Which.
        attempt: AttemptId,
    },
    /// Close the session: a redirection, or the end of one.
    Close,
    /// All attempts failed. Administrators should know (RFC 9132 section 4.7).
    Unreachable {
        /// Whom.
        name: String,
        /// When it is tried again.
        again: Instant,
    },
}

/// What becomes of a redirection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotFollowed {
    /// We were there less than five minutes ago.
    #[error("the alternate was contacted moments ago")]
    Loop,
    /// It has no name.
    #[error("the redirection names nobody")]
    Nobody,
}

#[derive(Debug)]
struct Attempt {
    transport: Transport,
    to: SocketAddr,
    deadline: Instant,
    probe: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Not started, or stopped.
    Off,
    Resolving(Instant),
    Racing {
        next: Instant,
    },
    Up {
        transport: Transport,
        to: SocketAddr,
        since: Instant,
    },
    Waiting(Instant),
}

#[derive(Debug)]
struct Redirected {
    name: String,
    records: Vec<IpAddr>,
    until: Option<Instant>,
    /// TTL 0: for one connection only.
    once: bool,
}

/// The connection machine. It knows no sockets: events say what to do, calls say what came of it.
#[derive(Debug)]
pub struct Dialer {
    config: DialerConfig,
    state: State,
    redirected: Option<Redirected>,
    candidates: VecDeque<(Transport, SocketAddr)>,
    attempts: BTreeMap<AttemptId, Attempt>,
    next_attempt: u64,
    began: Instant,
    backoff: Backoff,
    attack: bool,
    worked: Option<(String, Transport, SocketAddr, Instant)>,
    failed: Vec<(Transport, SocketAddr, Instant)>,
    contacted: VecDeque<(String, Instant)>,
    probe_at: Option<Instant>,
    /// Where the peer is to be had, as was said last.
    places: Vec<(Transport, SocketAddr)>,
    had_session: bool,
    /// So far only what worked before is tried.
    from_memory: bool,
    /// A lost session was tried again at once, and none has lasted since.
    hurried: bool,
    events: VecDeque<DialerEvent>,
    now: Instant,
}

impl Dialer {
    /// A dialer that has not started.
    pub fn new(config: DialerConfig, seed: [u8; 32], now: Instant) -> Self {
        let backoff = Backoff::new(config.retry_min.saturating_mul(2), config.retry_max, seed);
        Self {
            config,
            state: State::Off,
            redirected: None,
            candidates: VecDeque::new(),
            attempts: BTreeMap::new(),
            next_attempt: 0,
            began: now,
            backoff,
            attack: false,
            worked: None,
            failed: Vec::new(),
            contacted: VecDeque::new(),
            probe_at: None,
            places: Vec::new(),
            had_session: false,
            from_memory: false,
            hurried: false,
            events: VecDeque::new(),
            now,
        }
    }

    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// Whom to connect to, and who must be there.
    pub fn peer_name(&self) -> &str {
        self.redirected.as_ref().map_or(&self.config.name, |redirected| &redirected.name)
    }

    /// Whether a session is up.
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// An attack began or ended: attempts follow faster on each other while it lasts, and a redirection is kept.
    pub fn set_attack(&mut self, now: Instant, attack: bool) {
        self.advance(now);
        self.attack = attack;
    }

    /// Begins; later calls do nothing: one session is enough (RFC 9066 section 1).
    pub fn start(&mut self, now: Instant) {
        let now = self.advance(now);
        if self.state == State::Off {
            self.establish(now);
        }
    }

    /// Gives up whatever goes on. [`Dialer::start`] begins anew.
    pub fn stop(&mut self, now: Instant) {
        self.advance(now);
        self.cancel_all();
        if self.is_up() {
            self.events.push_back(DialerEvent::Close);
        }
        self.state = State::Off;
    }

    fn establish(&mut self, now: Instant) {
        self.began = now;
        self.from_memory = false;
        self.cancel_all();
        self.candidates.clear();
        let name = self.peer_name().to_owned();
        let records = self.redirected.as_ref().map(|redirected| redirected.records.clone()).unwrap_or_default();
        self.contacted.retain(|(_, at)| *at + self.config.loop_guard > now);
        self.contacted.push_back((name.clone(), now));
        if let Some((of, transport, to, at)) = &self.worked
            && *of == name
            && *at + self.config.remember > now
        {
            // What worked moments ago works first; addresses are looked up when it does not.
            self.candidates.push_back((*transport, *to));
            self.from_memory = true;
            self.race(now);
        } else if records.is_empty() {
            self.state = State::Resolving(now + self.config.attempt_timeout);
            self.events.push_back(DialerEvent::Resolve { name });
        } else {
            self.with_addresses(now, records);
        }
    }

    /// Answers [`DialerEvent::Resolve`]; no addresses when there are none.
    pub fn resolved(&mut self, now: Instant, addresses: Vec<IpAddr>) {
        let now = self.advance(now);
        if matches!(self.state, State::Resolving(_)) {
            self.with_addresses(now, addresses);
        }
    }

    /// Answers [`DialerEvent::Resolve`] where discovery says by what and at which port, the best first; and may be told
    /// at any time that it says something else now (RFC 8973 section 4). While a session is up at a place that is not
    /// among these any more, the best of these that has not failed moments ago is tried beside it, and replaces it if it
    /// works; during an attack, nothing is moved.
    pub fn found(&mut self, now: Instant, places: Vec<(Transport, SocketAddr)>) {
        let now = self.advance(now);
        match self.state {
            // Where the alternate is, discovery does not know.
            _ if self.redirected.is_some() => {}
            State::Resolving(_) => self.with_places(now, places),
            State::Up { transport, to, .. } => {
                let places = self.in_order(now, places);
                let best = places.iter().find(|(by, at)| !self.has_failed(*by, *at)).copied();
                let stays = places.contains(&(transport, to));
                self.places = places;
                let probing = self.attempts.values().any(|attempt| attempt.probe);
                if let Some((transport, to)) = best
                    && !(stays || self.attack || probing)
                {
                    self.connect(now, transport, to, true);
                }
            }
            _ => {}
        }
    }

    fn with_addresses(&mut self, now: Instant, addresses: Vec<IpAddr>) {
        let port = self.config.port;
        let everywhere = |transport: &Transport| {
            let transport = *transport;
            addresses.iter().map(move |address| (transport, SocketAddr::new(*address, port)))
        };
        let places = self.config.transports.iter().flat_map(everywhere).collect();
        self.with_places(now, places);
    }

    fn with_places(&mut self, now: Instant, places: Vec<(Transport, SocketAddr)>) {
        self.places = self.in_order(now, places);
        let under_way =
            |place: &&(Transport, SocketAddr)| self.attempts.values().any(|a| (a.transport, a.to) == **place);
        self.candidates = self.places.iter().filter(|place| !under_way(place)).copied().collect();
        self.race(now);
    }

    /// UDP over IPv6, UDP over IPv4, TCP over IPv6, TCP over IPv4 (RFC 9132 section 4.3); what failed moments ago last.
    fn in_order(&mut self, now: Instant, mut places: Vec<(Transport, SocketAddr)>) -> Vec<(Transport, SocketAddr)> {
        let remember = self.config.remember;
        self.failed.retain(|(_, _, at)| *at + remember > now);
        let rank = |of: &Transport| self.config.transports.iter().position(|transport| transport == of);
        places.retain(|(transport, _)| rank(transport).is_some());
        places.sort_by_key(|(transport, to)| (rank(transport), to.is_ipv4()));
        places.truncate(32);
        places.sort_by_key(|(transport, to)| self.has_failed(*transport, *to));
        places
    }

    fn has_failed(&self, transport: Transport, to: SocketAddr) -> bool {
        self.failed.iter().any(|(t, a, _)| (*t, *a) == (transport, to))
    }

    fn race(&mut self, now: Instant) {
        self.state = State::Racing { next: now };
        self.next_candidate(now);
    }

    fn next_candidate(&mut self, now: Instant) {
        let Some((transport, to)) = self.candidates.pop_front() else {
            if core::mem::take(&mut self.from_memory) {
                // That was only what had worked; now everything, beside it if it has not failed yet.
                let name = self.peer_name().to_owned();
                self.state = State::Resolving(now + self.config.attempt_timeout);
                self.events.push_back(DialerEvent::Resolve { name });
                return;
            }
            self.state = State::Racing { next: Instant::FAR_FUTURE };
            if self.attempts.is_empty() {
                self.out_of_candidates(now);
            }
            return;
        };
        let delay = if self.attack { self.config.attack_delay } else { self.config.attempt_delay };
        self.state = State::Racing { next: now + delay };
        self.connect(now, transport, to, false);
    }

    fn connect(&mut self, now: Instant, transport: Transport, to: SocketAddr, probe: bool) {
        let attempt = AttemptId(self.next_attempt);
        self.next_attempt = self.next_attempt.saturating_add(1);
        self.attempts.insert(attempt, Attempt { transport, to, deadline: now + self.config.attempt_timeout, probe });
        let (name, resume) = (self.peer_name().to_owned(), self.had_session);
        self.events.push_back(DialerEvent::Connect { attempt, transport, to, name, resume, probe });
    }

    fn out_of_candidates(&mut self, now: Instant) {
        let name = self.peer_name().to_owned();
        // The alternate cannot be reached: back to whom we know (RFC 9066 section 5.2.2).
        if self.redirected.take().is_some() {
            return self.establish(now);
        }
        let again = self.wait(now);
        self.events.push_back(DialerEvent::Unreachable { name, again });
    }

    fn wait(&mut self, now: Instant) -> Instant {
        // Full jitter reaches down to half of the least wait: that half is the floor.
        let wait = self.backoff.next_delay().max(self.config.retry_min);
        let again = (self.began + wait).max(now);
        self.state = State::Waiting(again);
        again
    }

    /// A session that has lasted was no failure: waits begin anew. One that has not may be refused each time it is up.
    fn settle(&mut self, now: Instant) {
        if let State::Up { since, .. } = self.state
            && now >= since + self.config.retry_min
        {
            self.backoff.reset();
            self.hurried = false;
        }
    }

    fn cancel_all(&mut self) {
        for attempt in core::mem::take(&mut self.attempts).into_keys() {
            self.events.push_back(DialerEvent::Cancel { attempt });
        }
    }

    /// An attempt is up: the handshake is done and the peer is who it must be.
    pub fn connected(&mut self, now: Instant, id: AttemptId) {
        let now = self.advance(now);
        let Some(attempt) = self.attempts.remove(&id) else {
            // Too late: another one won.
            self.events.push_back(DialerEvent::Cancel { attempt: id });
            return;
        };
        self.cancel_all();
        self.candidates.clear();
        self.settle(now);
        self.had_session = true;
        self.worked = Some((self.peer_name().to_owned(), attempt.transport, attempt.to, now));
        self.probe_at = (attempt.transport == Transport::Stream
            && self.config.transports.contains(&Transport::Datagram))
        .then(|| now + self.config.probe_udp_every.max(Duration::from_secs(300)));
        self.state = State::Up { transport: attempt.transport, to: attempt.to, since: now };
        self.events.push_back(if attempt.probe {
            DialerEvent::Switch { attempt: id }
        } else {
            DialerEvent::Up { attempt: id, transport: attempt.transport }
        });
    }

    /// An attempt failed.
    pub fn failed(&mut self, now: Instant, id: AttemptId) {
        let now = self.advance(now);
        let Some(attempt) = self.attempts.remove(&id) else { return };
        self.attempt_failed(now, &attempt);
    }

    fn attempt_failed(&mut self, now: Instant, attempt: &Attempt) {
        self.remember_failure(now, attempt.transport, attempt.to);
        if attempt.probe {
            return;
        }
        if matches!(self.state, State::Racing { .. }) {
            // The next one need not wait for its turn.
            self.next_candidate(now);
        }
    }

    fn remember_failure(&mut self, now: Instant, transport: Transport, to: SocketAddr) {
        self.worked.take_if(|(_, by, at, _)| (*by, *at) == (transport, to));
        self.failed.retain(|(t, a, _)| (*t, *a) != (transport, to));
        self.failed.truncate(63);
        self.failed.push((transport, to, now));
    }

    /// The session was lost. The first attempt is made at once, with resumption.
    pub fn lost(&mut self, now: Instant) {
        let now = self.advance(now);
        if let State::Up { .. } = self.state {
            self.settle(now);
            self.cancel_all();
            self.probe_at = None;
            if self.redirected.as_ref().is_some_and(|redirected| redirected.once) {
                self.redirected = None;
            }
            // At once, but not again and again: a session that breaks as soon as it is up is a failing establishment.
            if core::mem::replace(&mut self.hurried, true) {
                self.wait(now);
            } else {
                self.establish(now);
            }
        }
    }

    /// The session ended before anything was heard in it: in TLS 1.3 a peer refuses our certificate when for us the
    /// handshake is over. That is an attempt that failed, and the next keeps its distance as after any other.
    pub fn refused(&mut self, now: Instant) {
        let now = self.advance(now);
        if let State::Up { transport, to, .. } = self.state {
            self.settle(now);
            self.cancel_all();
            self.probe_at = None;
            self.from_memory = false;
            self.remember_failure(now, transport, to);
            self.out_of_candidates(now);
        }
    }

    /// The peer sends us elsewhere: closes the session and connects there.
    ///
    /// # Errors
    /// When it must not be followed: answer 4.00, keep the session.
    pub fn redirect(&mut self, now: Instant, to: &RedirectedSignal) -> Result<(), NotFollowed> {
        let now = self.advance(now);
        let name = to.alt_ch_client.as_ref().or(to.alt_server.as_ref()).ok_or(NotFollowed::Nobody)?;
        let guard = self.config.loop_guard;
        if name == self.peer_name() || self.contacted.iter().any(|(of, at)| of == name && *at + guard > now) {
            return Err(NotFollowed::Loop);
        }
        let ttl = to.ttl.map_or(self.config.default_ttl, |ttl| Duration::from_secs(u64::from(ttl)));
        let mut records: Vec<IpAddr> = to.alt_ch_client_record.iter().chain(&to.alt_server_record).copied().collect();
        records.truncate(16);
        if let Some(last) = self.contacted.back_mut() {
            // Contacted until just now.
            last.1 = now;
        }
        let for_ever = to.ttl == Some(u32::MAX);
        self.redirected = Some(Redirected {
            name: name.clone(),
            records,
            until: (!for_ever && !ttl.is_zero()).then(|| now + ttl),
            once: ttl.is_zero(),
        });
        self.had_session = false;
        self.settle(now);
        self.events.push_back(DialerEvent::Close);
        self.establish(now);
        Ok(())
    }

    /// Where UDP is to be had, best at the address where TCP is.
    fn place_for_udp(&self, tcp: SocketAddr) -> SocketAddr {
        let udp = || self.places.iter().filter(|(transport, _)| *transport == Transport::Datagram).map(|(_, to)| *to);
        udp().find(|to| to.ip() == tcp.ip()).or_else(|| udp().next()).unwrap_or(tcp)
    }

    fn deadline(&self) -> Option<Instant> {
        let state = match self.state {
            State::Resolving(at) | State::Racing { next: at } | State::Waiting(at) => Some(at),
            State::Off | State::Up { .. } => None,
        };
        let ttl = self.redirected.as_ref().and_then(|r| r.until).filter(|_| self.is_up() && !self.attack);
        let probe = self.probe_at.filter(|_| self.is_up());
        let attempts = self.attempts.values().map(|attempt| attempt.deadline);
        [state, ttl, probe].into_iter().flatten().chain(attempts).min().filter(|at| *at < Instant::FAR_FUTURE)
    }
}

impl Machine for Dialer {
    type Transmit = core::convert::Infallible;
    type Event = DialerEvent;
    type Error = core::convert::Infallible;

    fn poll_output(&mut self, _now: Instant) -> Output<Self::Transmit, DialerEvent> {
        match self.events.pop_front() {
            Some(event) => Output::Event(event),
            None => Output::Timeout(self.deadline()),
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Self::Error> {
        let now = self.advance(now);
        let late: Vec<AttemptId> = self.attempts.iter().filter(|(_, a)| a.deadline <= now).map(|(id, _)| *id).collect();
        for id in late {
            if let Some(attempt) = self.attempts.remove(&id) {
                self.events.push_back(DialerEvent::Cancel { attempt: id });
                self.attempt_failed(now, &attempt);
            }
        }
        match self.state {
            State::Resolving(at) if at <= now => self.with_addresses(now, Vec::new()),
            State::Racing { next } if next <= now => self.next_candidate(now),
            State::Waiting(at) if at <= now => self.establish(now),
            State::Up { to, .. } => {
                let expired = self.redirected.as_ref().is_some_and(|r| r.until.is_some_and(|until| until <= now));
                if expired && !self.attack {
                    self.redirected = None;
                    self.had_session = false;
                    self.events.push_back(DialerEvent::Close);
                    self.establish(now);
                } else if self.probe_at.is_some_and(|at| at <= now) {
                    self.probe_at = Some(now + self.config.probe_udp_every.max(Duration::from_secs(300)));
                    let to = self.place_for_udp(to);
                    self.connect(now, Transport::Datagram, to, true);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn timeout_reason(&self) -> &'static str {
        match self.state {
            State::Off => "",
            State::Resolving(_) => "name resolution",
            State::Racing { .. } => "the next connection attempt",
            State::Up { .. } => "redirection's end or udp probe",
            State::Waiting(_) => "before trying again",
        }
    }

    fn is_finished(&self) -> bool {
        false
    }
}
