//! The client machine: queries out by the best instance of a binding that answers, verified answers in
//! (draft-hallambaker-omnibroker-08 sections 2.2 and 6).

mod answer;
mod attempt;
mod config;
mod event;
mod instance;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use watchfire_core::{Datagram, DatagramMachine, ExchangeMachine, Instant, Machine, Output, UnixTime};

use attempt::{Attempt, Step};
pub use config::{ClientConfig, ClientConfigBuilder, ClientStats, Retransmission};
pub use event::{ClientEvent, HttpTarget, QueryId, ResolveId};
use instance::{Credentials, Instance, Slot};

use crate::Message;
use crate::error::{ApiMisuse, Error, ExchangeFailure, Limit, PeerIncompatible};
use crate::http::Response;
use crate::message::{QueryConnectRequest, QueryConnectResponse};
use crate::service_connect::{Binding, ExchangeId};
use crate::session::Clock;
use crate::uyfm::Reassembler;

/// Asks a broker, through the instances of a [`Binding`].
///
/// - [`query`](Self::query) asks; [`ClientEvent::Answer`] or [`ClientEvent::Failed`] follows, exactly one;
/// - datagrams are sent where [`Output::Transmit`] says, and what comes back goes to
///   [`handle_datagram`](DatagramMachine::handle_datagram);
/// - [`ClientEvent::Exchange`] asks for an exchange over HTTP, [`ClientEvent::Resolve`] for the addresses of a name.
///
/// Instances that take datagrams are tried first, by priority and weight; one that stays silent is asked again a few
/// times, then under its name, then the next one is asked, those over HTTP last.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    rng: StdRng,
    /// For dates of expiry.
    clock: Clock,
    /// For `Time` in headers; follows the broker's.
    session_clock: Clock,
    /// Whether a time of that clock was ever accepted: from then on it never goes back.
    time_accepted: bool,
    binding: Binding,
    /// Counts the bindings there have been, so that what belongs to an old one is told from the new.
    generation: u32,
    instances: Vec<Instance>,
    queries: BTreeMap<QueryId, Query>,
    timers: BTreeSet<(Instant, QueryId)>,
    /// MACs of the requests that wait for a response.
    waiting: BTreeMap<Box<[u8]>, QueryId>,
    /// Under which tickets datagrams may come from an address, and how many requests are under way there.
    routes: BTreeMap<SocketAddr, Vec<(Arc<Credentials>, usize)>>,
    exchanges: BTreeMap<ExchangeId, QueryId>,
    resolving: BTreeMap<ResolveId, QueryId>,
    reassembler: Reassembler,
    next_id: u64,
    now: Instant,
    told_to_rebind: bool,
    out: VecDeque<Output<Datagram, ClientEvent>>,
    stats: ClientStats,
}

/// What is asked.
#[derive(Debug, Clone)]
enum Ask {
    Message(Box<Message>),
    Dns(Vec<Bytes>),
}

#[derive(Debug)]
struct Query {
    ask: Ask,
    /// Instances that are still to be tried.
    plan: VecDeque<Slot>,
    /// The one being tried.
    current: Option<Slot>,
    /// Addresses of it that are still to be tried.
    targets: VecDeque<SocketAddr>,
    /// Whether its name has been made use of.
    name_used: bool,
    step: Step,
    /// Everything sent in datagrams so far: a late answer is an answer.
    attempts: Vec<Attempt>,
    deadline: Instant,
    timer: Instant,
    /// Why the last attempt failed.
    error: Error,
    clock_corrected: bool,
}

impl Client {
    /// A client of `binding` at the instant `now`, when the wall clock reads `wall`. `seed` must come from a good
    /// source of randomness: initialisation vectors and nonces are drawn from it.
    ///
    /// # Errors
    /// [`PeerIncompatible::NoUsableInstance`] when the binding has no instance of `omni-query` that can be used.
    pub fn new(
        config: ClientConfig,
        binding: Binding,
        seed: [u8; 32],
        now: Instant,
        wall: UnixTime,
    ) -> Result<Self, Error> {
        let mut client = Self {
            rng: StdRng::from_seed(seed),
            clock: Clock::new(now, wall),
            session_clock: Clock::new(now, wall),
            time_accepted: false,
            binding: Binding::default(),
            generation: 0,
            instances: Vec::new(),
            queries: BTreeMap::new(),
            timers: BTreeSet::new(),
            waiting: BTreeMap::new(),
            routes: BTreeMap::new(),
            exchanges: BTreeMap::new(),
            resolving: BTreeMap::new(),
            reassembler: Reassembler::new(config.reassembly),
            next_id: 0,
            now,
            told_to_rebind: false,
            out: VecDeque::new(),
            stats: ClientStats::default(),
            config,
        };
        client.rebind(now, binding)?;
        Ok(client)
    }

    /// Goes on with another binding: after a refresh, or when [`ClientEvent::Rebind`] asked for one. Queries under way
    /// go on with its instances when those that they try now fail.
    ///
    /// # Errors
    /// [`PeerIncompatible::NoUsableInstance`]; then nothing is changed.
    pub fn rebind(&mut self, now: Instant, binding: Binding) -> Result<(), Error> {
        self.tick(now);
        let instances = instance::usable(&binding, &*self.config.provider);
        if instances.is_empty() {
            return Err(PeerIncompatible::NoUsableInstance.into());
        }
        self.instances = instances;
        self.binding = binding;
        self.generation = self.generation.wrapping_add(1);
        self.told_to_rebind = false;
        let ids: Vec<QueryId> = self.queries.keys().copied().collect();
        for id in ids {
            let plan = self.plan();
            if let Some(query) = self.queries.get_mut(&id) {
                query.plan = plan;
            }
        }
        Ok(())
    }

    /// The binding as it is now. Tickets in it are replaced when the broker does so: save it after
    /// [`ClientEvent::BindingChanged`].
    pub const fn binding(&self) -> &Binding {
        &self.binding
    }

    /// What happened so far.
    pub const fn stats(&self) -> &ClientStats {
        &self.stats
    }

    /// Queries under way.
    pub fn len(&self) -> usize {
        self.queries.len()
    }

    /// Whether no query is under way.
    pub fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }

    /// Corrects the wall clock. Never goes back in effect.
    pub fn set_wall_clock(&mut self, now: Instant, wall: UnixTime) {
        self.clock.correct(now, wall);
        self.session_clock.correct(now, wall);
    }

    /// Asks a QueryConnectRequest or ValidateRequest.
    ///
    /// # Errors
    /// *ApiMisuse* when the message is no query, *LimitExceeded* when too many are under way. Neither changes anything.
    pub fn query(&mut self, now: Instant, request: impl Into<Message>) -> Result<QueryId, Error> {
        let request = request.into();
        if !matches!(request, Message::QueryConnectRequest(_) | Message::ValidateRequest(_)) {
            return Err(ApiMisuse::Unusable("the message is no query").into());
        }
        self.ask(now, Ask::Message(Box::new(request)))
    }

    /// Asks DNS messages (draft-hallambaker-privatedns-01), which only datagrams carry.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub fn query_dns(&mut self, now: Instant, messages: Vec<Bytes>) -> Result<QueryId, Error> {
        if messages.is_empty() || messages.iter().any(|message| message.len() > usize::from(u16::MAX)) {
            return Err(ApiMisuse::Unusable("no DNS message, or one longer than 65535 octets").into());
        }
        self.ask(now, Ask::Dns(messages))
    }

    /// Reports that every connection of `response` failed, and asks for the next answer. None when there is no other
    /// (by the response's `Count`): then nothing is asked.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub fn report_failure(
        &mut self,
        now: Instant,
        request: &QueryConnectRequest,
        response: &QueryConnectResponse,
    ) -> Result<Option<QueryId>, Error> {
        request.after_failure(response).map(|next| self.query(now, next)).transpose()
    }

    /// Gives a query up; no more is said about it. Unknown ones are ignored.
    pub fn cancel(&mut self, id: QueryId) {
        self.remove(id);
    }

    /// The addresses of a name that [`ClientEvent::Resolve`] asked for; none when it has none. Late ones are ignored.
    pub fn resolved(&mut self, now: Instant, id: ResolveId, addresses: &[IpAddr]) {
        self.tick(now);
        let Some(query_id) = self.resolving.remove(&id) else { return };
        let most = self.config.addresses_per_name;
        let Some(query) = self.queries.get_mut(&query_id) else { return };
        let Step::Resolving { port, tried, .. } = &query.step else { return };
        let fresh = addresses.iter().filter(|address| Some(**address) != *tried).take(most);
        query.targets = fresh.map(|address| SocketAddr::new(*address, *port)).collect();
        query.step = Step::Idle;
        self.advance(query_id);
    }

    fn ask(&mut self, now: Instant, ask: Ask) -> Result<QueryId, Error> {
        self.tick(now);
        if self.queries.len() >= self.config.max_queries || self.out.len() >= self.config.max_queued {
            return Err(Limit::Unanswered.into());
        }
        let id = QueryId(self.next());
        let deadline = self.now + self.config.total_timeout;
        let query = Query {
            ask,
            plan: self.plan(),
            current: None,
            targets: VecDeque::new(),
            name_used: true,
            step: Step::Idle,
            attempts: Vec::new(),
            deadline,
            timer: deadline,
            error: Error::TimedOut("answer of the broker"),
            clock_corrected: false,
        };
        self.queries.insert(id, query);
        self.timers.insert((deadline, id));
        self.stats.queries = self.stats.queries.saturating_add(1);
        self.advance(id);
        Ok(id)
    }

    fn next(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id = id.saturating_add(1);
        id
    }

    fn tick(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn event(&mut self, event: ClientEvent) {
        self.out.push_back(Output::Event(event));
    }

    /// Moves the timer of a query, which never goes beyond its deadline.
    fn set_timer(&mut self, id: QueryId, at: Instant) {
        if let Some(query) = self.queries.get_mut(&id) {
            self.timers.remove(&(query.timer, id));
            query.timer = at.min(query.deadline);
            self.timers.insert((query.timer, id));
        }
    }

    /// Forgets a query and all that belongs to it.
    fn remove(&mut self, id: QueryId) -> Option<Query> {
        self.stop(id);
        let query = self.queries.remove(&id)?;
        self.timers.remove(&(query.timer, id));
        for attempt in &query.attempts {
            self.waiting.remove(attempt.mac.as_bytes());
            if let Some(route) = self.routes.get_mut(&attempt.to) {
                for (credentials, count) in route.iter_mut() {
                    if Arc::ptr_eq(credentials, &attempt.credentials) {
                        *count = count.saturating_sub(1);
                    }
                }
                route.retain(|(_, count)| *count > 0);
                if route.is_empty() {
                    self.routes.remove(&attempt.to);
                }
            }
        }
        Some(query)
    }

    fn answer(&mut self, id: QueryId, event: impl FnOnce(QueryId) -> ClientEvent) {
        if self.remove(id).is_some() {
            self.stats.answers = self.stats.answers.saturating_add(1);
            self.event(event(id));
        }
    }

    fn fail(&mut self, id: QueryId, error: Error) {
        if self.remove(id).is_some() {
            self.stats.failures = self.stats.failures.saturating_add(1);
            self.event(ClientEvent::Failed { id, error });
        }
    }
}

impl Machine for Client {
    type Transmit = Datagram;
    type Event = ClientEvent;
    type Error = Error;

    fn poll_output(&mut self, now: Instant) -> Output<Datagram, ClientEvent> {
        self.tick(now);
        self.out.pop_front().unwrap_or_else(|| Output::Timeout(self.timers.first().map(|(at, _)| *at)))
    }

    /// Sends again, goes on to the next instance, or gives up, whatever is due.
    ///
    /// # Errors
    /// Never.
    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.tick(now);
        while let Some((_, id)) = self.timers.first().copied().filter(|(at, _)| *at <= self.now) {
            let Some(query) = self.queries.get(&id) else {
                self.timers.pop_first();
                continue;
            };
            if query.deadline <= self.now {
                let error = query.error.clone();
                self.fail(id, error);
            } else {
                self.step_timed_out(id);
            }
        }
        Ok(())
    }

    fn timeout_reason(&self) -> &'static str {
        if self.timers.is_empty() { "" } else { "answer of the broker" }
    }

    fn is_finished(&self) -> bool {
        false
    }
}

impl DatagramMachine for Client {
    /// Takes a datagram. What is not an authentic answer to a query under way is counted and dropped.
    ///
    /// # Errors
    /// Never.
    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, payload: &[u8]) -> Result<(), Error> {
        self.tick(now);
        self.datagram(from, payload);
        Ok(())
    }
}

impl ExchangeMachine for Client {
    type Id = ExchangeId;
    type Response = Response;
    type Failure = ExchangeFailure;

    /// The response to an exchange. One that comes after its time is ignored.
    ///
    /// # Errors
    /// Never.
    fn handle_response(&mut self, now: Instant, id: ExchangeId, response: Response) -> Result<(), Error> {
        self.tick(now);
        if let Some(query) = self.exchanges.remove(&id) {
            self.response(query, &response);
        }
        Ok(())
    }

    /// An exchange got no response.
    ///
    /// # Errors
    /// Never.
    fn handle_failure(&mut self, now: Instant, id: ExchangeId, failure: ExchangeFailure) -> Result<(), Error> {
        self.tick(now);
        if let Some(id) = self.exchanges.remove(&id) {
            self.attempt_failed(id, Error::Unreachable(failure));
        }
        Ok(())
    }
}
