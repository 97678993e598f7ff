//! The broker machine: requests over HTTP and datagrams in, questions out to the application, signed answers back
//! (draft-hallambaker-omnibroker-08 sections 2 and 7).

mod config;
mod event;
mod http;
mod pending;
mod replies;
mod tickets;
mod udp;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use watchfire_core::{DatagramMachine, Instant, Machine, Output, UnixTime};

pub use config::{BrokerConfig, BrokerConfigBuilder, BrokerLimits, BrokerStats, RateLimit, Replacement};
pub use event::{BrokerEvent, BrokerTransmit, QueryId, Question};
use pending::Pending;
use replies::Replies;
pub use tickets::Identity;
use tickets::Tickets;

use crate::crypto::Authentication;
use crate::error::{ApiMisuse, Error};
use crate::session::{Clock, ReplayGuard, SessionKey};
use crate::ticket::KeyRingError;

/// Answers clients, as far as the protocol goes: what it cannot verify never reaches the application.
///
/// - [`handle_request`](Self::handle_request) and [`handle_datagram`](DatagramMachine::handle_datagram) take what came;
/// - [`BrokerEvent`] says what is asked, and by whom; [`respond`](Self::respond) answers;
/// - [`BrokerTransmit`] is what to send.
///
/// Replay is noticed by this machine alone: a service that runs several of them must send all that comes under one
/// ticket to the same one.
#[derive(Debug)]
pub struct Broker {
    config: BrokerConfig,
    rng: StdRng,
    clock: Clock,
    tickets: Tickets,
    /// Verified against when there is no ticket, so that the time taken does not tell.
    decoy: SessionKey,
    guard: ReplayGuard,
    replies: Replies,
    pending: BTreeMap<QueryId, Pending>,
    /// When each query is given up, in order; answered ones leave it late.
    deadlines: VecDeque<(Instant, QueryId)>,
    next_id: u64,
    now: Instant,
    out: VecDeque<Output<BrokerTransmit, BrokerEvent>>,
    /// What was decrypted last; kept to be written over.
    plain: zeroize::Zeroizing<Vec<u8>>,
    stats: BrokerStats,
}

impl Broker {
    /// A broker at the instant `now`, when the wall clock reads `wall`. `seed` must come from a good source of
    /// randomness: initialisation vectors, nonces and keys are drawn from it.
    pub fn new(config: BrokerConfig, seed: [u8; 32], now: Instant, wall: UnixTime) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let provider = &*config.provider;
        let decoy_key: [u8; 32] = rng.random();
        let decoy = SessionKey::new(provider, &decoy_key, &Authentication::Hs256).expect("HS256 is known");
        Self {
            clock: Clock::new(now, wall),
            tickets: Tickets::new(config.limits.tickets, config.limits.revoked, rng.random()),
            decoy,
            guard: ReplayGuard::new(config.limits.replay, provider, &rng.random()),
            replies: Replies::new(&config.limits, rng.random()),
            pending: BTreeMap::new(),
            deadlines: VecDeque::new(),
            next_id: 0,
            now,
            out: VecDeque::new(),
            plain: zeroize::Zeroizing::new(Vec::new()),
            stats: BrokerStats::default(),
            rng,
            config,
        }
    }

    /// Corrects the wall clock, which decides about expiry and about the time in messages. Never goes back in effect.
    pub fn set_wall_clock(&mut self, now: Instant, wall: UnixTime) {
        self.clock.correct(now, wall);
    }

    /// What happened so far.
    pub const fn stats(&self) -> &BrokerStats {
        &self.stats
    }

    /// Seals tickets by this key from now on; the older keys still open theirs.
    ///
    /// # Errors
    /// As [`KeyRing::rotate`](crate::ticket::KeyRing::rotate).
    pub fn rotate_ticket_key(&mut self, id: u32, key: &[u8]) -> Result<(), KeyRingError> {
        self.config.keys.rotate(id, key)
    }

    /// Takes tickets of this key too, which another broker of the same service seals with.
    ///
    /// # Errors
    /// As [`KeyRing::add`](crate::ticket::KeyRing::add).
    pub fn add_ticket_key(&mut self, id: u32, key: &[u8]) -> Result<(), KeyRingError> {
        self.config.keys.add(id, key)
    }

    /// Seals tickets from now on by a key that was added.
    ///
    /// # Errors
    /// As [`KeyRing::seal_with`](crate::ticket::KeyRing::seal_with).
    pub fn seal_with_ticket_key(&mut self, id: u32) -> Result<(), KeyRingError> {
        self.config.keys.seal_with(id)
    }

    /// Takes no more tickets of this key.
    ///
    /// # Errors
    /// As [`KeyRing::retire`](crate::ticket::KeyRing::retire).
    pub fn retire_ticket_key(&mut self, id: u32) -> Result<(), KeyRingError> {
        self.config.keys.retire(id)?;
        self.tickets.forget_all();
        Ok(())
    }

    /// Takes no more tickets of this binding, which has ended. `until` is when the last of them expires.
    ///
    /// # Errors
    /// When [`BrokerLimits::revoked`] bindings are remembered already, none of which has expired: retire the key
    /// instead, or raise the limit.
    pub fn revoke(&mut self, now: Instant, binding: [u8; 16], until: UnixTime) -> Result<(), ApiMisuse> {
        let time = self.clock.unix(now);
        if self.tickets.revoke(binding, until, time) {
            return Ok(());
        }
        Err(ApiMisuse::Unusable("too many revoked bindings are remembered"))
    }

    /// Queries that wait for the application.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    fn tick(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn is_full(&self) -> bool {
        self.pending.len() >= self.config.limits.pending || self.out.len() >= self.config.limits.queued
    }

    /// Remembers a query and tells the application.
    fn ask(&mut self, pending: Pending, event: impl FnOnce(QueryId) -> BrokerEvent) -> QueryId {
        let id = QueryId(self.next_id);
        self.next_id = self.next_id.saturating_add(1);
        self.pending.insert(id, pending);
        self.deadlines.push_back((self.now + self.config.application_timeout, id));
        self.out.push_back(Output::Event(event(id)));
        id
    }

    /// Takes a query off the list.
    fn take(&mut self, id: QueryId) -> Result<Pending, ApiMisuse> {
        let pending = self.pending.remove(&id).ok_or(ApiMisuse::UnknownId)?;
        while self.deadlines.front().is_some_and(|(_, id)| !self.pending.contains_key(id)) {
            self.deadlines.pop_front();
        }
        // One slow query must not keep the tail of all that came after it.
        if self.deadlines.len() > self.pending.len().saturating_mul(2).saturating_add(1024) {
            self.deadlines.retain(|(_, id)| self.pending.contains_key(id));
        }
        Ok(pending)
    }
}

impl Machine for Broker {
    type Transmit = BrokerTransmit;
    type Event = BrokerEvent;
    type Error = Error;

    fn poll_output(&mut self, now: Instant) -> Output<BrokerTransmit, BrokerEvent> {
        self.tick(now);
        self.out.pop_front().unwrap_or_else(|| Output::Timeout(self.deadlines.front().map(|(at, _)| *at)))
    }

    /// Answers what the application did not answer in time with Status 504.
    ///
    /// # Errors
    /// Never.
    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.tick(now);
        while let Some((_, id)) = self.deadlines.front().copied().filter(|(at, _)| *at <= self.now) {
            self.deadlines.pop_front();
            let Ok(pending) = self.take(id) else { continue };
            self.stats.timed_out = self.stats.timed_out.saturating_add(1);
            self.out.push_back(Output::Event(BrokerEvent::Cancelled { id }));
            self.refuse(id, pending, crate::Status::TIME_OUT);
        }
        Ok(())
    }

    fn timeout_reason(&self) -> &'static str {
        if self.deadlines.is_empty() { "" } else { "answer of the application" }
    }

    fn is_finished(&self) -> bool {
        false
    }
}

impl DatagramMachine for Broker {
    /// Takes a datagram. What cannot be verified is counted, and never answered.
    ///
    /// # Errors
    /// Never.
    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, payload: &[u8]) -> Result<(), Error> {
        self.tick(now);
        self.datagram(from, payload);
        Ok(())
    }
}
