//! The client's machine. Per service one template at a time is fetched, and equal questions share one exchange.

mod responses;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode};
use watchfire_core::{Backoff, ExchangeMachine, Instant, Machine, Output, UnixTime};

use super::answer::{Answer, Dropped, NoData, filter};
use super::cache::Cache;
use super::config::ClientConfig;
use super::failure::{ExchangeFailure, QueryError, TemplateProblem};
use super::query::Query;
use super::service::{ServiceState, Stored, TemplateState};
use crate::error::Limit;
use crate::lifetime::{lifetime, retry_after};
use crate::template::{Credentials, Refusal, Scheme, Service, Target, Template, TemplateFile};
use crate::wire::{Decoder, Dialect};

/// Names a query of one client; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(u64);

/// Names an exchange of one client; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FlightId(u64);

/// A GET to make. The response goes to [`Client::handle_response`](ExchangeMachine::handle_response); redirects are not
/// to be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExchangeRequest {
    /// Names the exchange.
    pub id: ExchangeId,
    /// What to ask for, and whom.
    pub target: Target,
    /// Header fields, `Host` and those of the connection left to the driver.
    pub headers: HeaderMap,
    /// Octets after which the body is too large: stop there and say [`ExchangeFailure::TooLarge`].
    pub max_body: usize,
}

/// A response, as the driver got it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Bytes,
    /// What time it was: dates in it are compared with that.
    pub at: UnixTime,
}

impl Received {
    /// A response of that time.
    pub fn new(status: StatusCode, headers: HeaderMap, body: impl Into<Bytes>, at: UnixTime) -> Self {
        Self { status, headers, body: body.into(), at }
    }
}

/// What a client wants done, or has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// Nobody waits for this exchange any more: drop it. Whatever it still brings is ignored.
    Abandon(ExchangeId),
    /// The answer to a query.
    Answered {
        /// Which query.
        id: QueryId,
        /// What the service says.
        answer: Arc<Answer>,
        /// Whether it was known before the query.
        cached: bool,
    },
    /// Make this exchange.
    Exchange(ExchangeRequest),
    /// A query without answer. This says nothing about its subject.
    Failed {
        /// Which query.
        id: QueryId,
        /// Why.
        error: QueryError,
    },
}

/// What a service wants to see, sent to that service alone.
#[derive(Debug, Clone, Default)]
struct Access {
    credentials: Option<Credentials>,
    headers: HeaderMap,
    generation: u64,
}

/// Queries with the same answer.
#[derive(Debug)]
struct Flight {
    key: String,
    service: Service,
    query: Query,
    waiters: Vec<QueryId>,
    templates: Option<Arc<[Template]>>,
    fetched: Instant,
    next: usize,
    attempts: u32,
    redirects: u32,
    refetched: bool,
    refusal: Option<Refusal>,
    unreachable: bool,
    target: Option<Target>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Purpose {
    Template(Service),
    Flight(FlightId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Exchange(ExchangeId),
    Query(QueryId),
    Retry(FlightId),
}

/// Asks any number of services, each within its own limits.
///
/// See the crate's front page for a run. The driver makes the exchanges that [`ClientEvent::Exchange`] asks for, each
/// answered by one call of [`ExchangeMachine`].
#[derive(Debug)]
pub struct Client {
    config: Arc<ClientConfig>,
    seed: [u8; 32],
    now: Instant,
    counter: u64,
    services: BTreeMap<Service, ServiceState>,
    access: BTreeMap<Service, Access>,
    queries: BTreeMap<QueryId, (FlightId, Instant)>,
    flights: BTreeMap<FlightId, Flight>,
    same: BTreeMap<String, FlightId>,
    exchanges: BTreeMap<ExchangeId, (Purpose, Instant)>,
    timers: BTreeSet<(Instant, Timer)>,
    cache: Cache,
    events: VecDeque<ClientEvent>,
}

impl Client {
    /// A client that has asked nobody yet. The same seed gives the same waits after failures.
    pub fn new(config: Arc<ClientConfig>, seed: [u8; 32], now: Instant) -> Self {
        let cache = Cache::new(config.cache_entries, config.cache_reputons);
        Self {
            config,
            seed,
            now,
            counter: 0,
            services: BTreeMap::new(),
            access: BTreeMap::new(),
            queries: BTreeMap::new(),
            flights: BTreeMap::new(),
            same: BTreeMap::new(),
            exchanges: BTreeMap::new(),
            timers: BTreeSet::new(),
            cache,
            events: VecDeque::new(),
        }
    }

    /// What a service wants to see from now on: a user and password, header fields such as a key. They are sent to
    /// that service alone, and over http only where the policy says so.
    pub fn set_access(&mut self, service: &Service, credentials: Option<Credentials>, mut headers: HeaderMap) {
        for value in headers.values_mut() {
            value.set_sensitive(true);
        }
        let generation = self.id();
        self.access.insert(service.clone(), Access { credentials, headers, generation });
    }

    /// Asks a service, and gives up after `timeout`. One event answers it: at once when the answer is known.
    ///
    /// # Errors
    /// When too many queries wait, or too many services are in use. Nothing has changed then.
    pub fn query(
        &mut self,
        now: Instant,
        service: &Service,
        query: Query,
        timeout: Duration,
    ) -> Result<QueryId, Limit> {
        self.tell(now);
        let generation = self.access.get(service).map_or(0, |access| access.generation);
        let key = format!("{service}\n{generation}\n{}", query.key());
        if self.queries.len() >= self.config.queries {
            return Err(Limit::Queries);
        }
        if let Some(answer) = self.cache.find(&key, self.now) {
            let id = QueryId(self.id());
            self.events.push_back(ClientEvent::Answered { id, answer, cached: true });
            return Ok(id);
        }
        self.make_room(service)?;
        let id = QueryId(self.id());
        let deadline = self.now + timeout;
        self.timers.insert((deadline, Timer::Query(id)));
        if let Some(flight) = self.same.get(&key).copied() {
            self.queries.insert(id, (flight, deadline));
            if let Some(flight) = self.flights.get_mut(&flight) {
                flight.waiters.push(id);
            }
            return Ok(id);
        }
        let flight = FlightId(self.id());
        self.queries.insert(id, (flight, deadline));
        self.same.insert(key.clone(), flight);
        self.flights.insert(
            flight,
            Flight {
                key,
                service: service.clone(),
                query,
                waiters: vec![id],
                templates: None,
                fetched: self.now,
                next: 0,
                attempts: 0,
                redirects: 0,
                refetched: false,
                refusal: None,
                unreachable: false,
                target: None,
            },
        );
        if let Some(state) = self.services.get_mut(service) {
            state.flights = state.flights.saturating_add(1);
        }
        self.board(flight);
        Ok(id)
    }

    /// Gives a query up: no event will answer it. The exchange goes on, so that its answer is known next time.
    pub fn cancel(&mut self, now: Instant, id: QueryId) {
        self.tell(now);
        self.leave(id);
    }

    /// Forgets all answers; templates are kept.
    pub fn forget_answers(&mut self) {
        self.cache.clear();
    }

    /// How many answers are known.
    pub fn cached_answers(&self) -> usize {
        self.cache.len()
    }

    /// How many queries wait.
    pub fn waiting_queries(&self) -> usize {
        self.queries.len()
    }

    fn tell(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn id(&mut self) -> u64 {
        self.counter = self.counter.saturating_add(1);
        self.counter
    }

    /// Takes a service into the table, in place of the one that was used least recently if that is idle.
    fn make_room(&mut self, service: &Service) -> Result<(), Limit> {
        let used = self.id();
        if let Some(state) = self.services.get_mut(service) {
            state.used = used;
            return Ok(());
        }
        if self.services.len() >= self.config.services {
            let idle = self.services.iter().filter(|(_, state)| state.is_idle()).min_by_key(|(_, state)| state.used);
            let oldest = idle.map(|(service, _)| service.clone()).ok_or(Limit::Services)?;
            self.services.remove(&oldest);
        }
        let (min, max) = self.config.backoff;
        let seed = |kind: u8| {
            let mut seed = self.seed;
            for (octet, own) in seed.iter_mut().zip(used.to_be_bytes().into_iter().chain([kind])) {
                *octet ^= own;
            }
            seed
        };
        let state = ServiceState {
            template: TemplateState::Empty,
            waiting: Vec::new(),
            backoff: Backoff::new(min, max, seed(1)),
            last_fetch: None,
            blocked: None,
            failing: None,
            query_backoff: Backoff::new(min, max, seed(2)),
            flights: 0,
            used,
        };
        self.services.insert(service.clone(), state);
        Ok(())
    }

    /// Gets the flight its templates, and off.
    fn board(&mut self, id: FlightId) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let service = flight.service.clone();
        let Some(state) = self.services.get_mut(&service) else { return };
        if let Some(error) = state.hold_off(self.now) {
            return self.land(id, Err(error));
        }
        if self.config.policy.https_only && service.scheme() == Scheme::Http {
            return self.land(id, Err(QueryError::Template(TemplateProblem::Refused(Refusal::HttpsOnly))));
        }
        let now = self.now;
        let is_too_early = state.last_fetch.is_some_and(|last| last + self.config.template_floor > now);
        let usable = |stored: &Stored| now < stored.fresh_until + self.config.stale_if_error;
        let stored = match &state.template {
            TemplateState::Ready(stored) if stored.fresh_until > now || is_too_early => stored.clone(),
            TemplateState::Failed { retry_at, stale: Some(stale), .. } if *retry_at > now && usable(stale) => {
                stale.clone()
            }
            TemplateState::Failed { retry_at, cause, .. } if *retry_at > now => {
                let cause = cause.clone();
                return self.land(id, Err(QueryError::Template(cause)));
            }
            TemplateState::Fetching { .. } => return state.waiting.push(id),
            TemplateState::Empty | TemplateState::Ready(_) | TemplateState::Failed { .. } => {
                state.waiting.push(id);
                return self.fetch(&service);
            }
        };
        flight.templates = Some(stored.templates);
        flight.fetched = stored.fetched;
        flight.next = 0;
        self.depart(id);
    }

    /// Asks for the service's templates.
    fn fetch(&mut self, service: &Service) {
        let exchange = ExchangeId(self.id());
        let Some(state) = self.services.get_mut(service) else { return };
        let stale = match std::mem::replace(&mut state.template, TemplateState::Empty) {
            TemplateState::Ready(stored) | TemplateState::Failed { stale: Some(stored), .. } => Some(stored),
            _ => None,
        };
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/plain"));
        if let Some(etag) = stale.as_ref().and_then(|stale| stale.etag.clone()) {
            headers.insert(IF_NONE_MATCH, etag);
        }
        state.template = TemplateState::Fetching { stale };
        state.last_fetch = Some(self.now);
        let target = Target {
            service: service.clone(),
            path_and_query: "/.well-known/repute-template".to_owned(),
            credentials: None,
            is_secret: false,
        };
        let max_body = self.config.limits.template_file;
        self.exchange(exchange, Purpose::Template(service.clone()), service, target, headers, max_body);
    }

    /// Asks for an exchange.
    fn exchange(
        &mut self,
        id: ExchangeId,
        purpose: Purpose,
        service: &Service,
        target: Target,
        mut headers: HeaderMap,
        max_body: usize,
    ) {
        let is_own = target.service.host() == service.host();
        let may_tell = target.service.scheme() == Scheme::Https || self.config.policy.clear_text_credentials;
        let access = self.access.get(service).filter(|_| is_own && may_tell);
        let configured = access.and_then(|access| access.credentials.as_ref()).filter(|_| !target.is_secret);
        if let Some(credentials) = target.credentials.as_ref().or(configured)
            && let Ok(mut value) = HeaderValue::from_str(&credentials.basic())
        {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        if let Some(access) = access {
            headers.extend(access.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        let deadline = self.now + self.config.exchange_timeout;
        self.timers.insert((deadline, Timer::Exchange(id)));
        self.exchanges.insert(id, (purpose, deadline));
        self.events.push_back(ClientEvent::Exchange(ExchangeRequest { id, target, headers, max_body }));
    }

    /// Sends the query by the first template from the flight's next one on that leads where it may.
    fn depart(&mut self, id: FlightId) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let Some(templates) = flight.templates.clone() else { return };
        let mut variables = flight.query.variables(self.config.dialect);
        if let Some(credentials) = self.access.get(&flight.service).and_then(|access| access.credentials.as_ref()) {
            variables.set("user", credentials.user());
            variables.set("passwd", credentials.passwd());
        }
        while let Some(template) = templates.get(flight.next) {
            flight.next = flight.next.saturating_add(1);
            match template.target(&flight.service, &variables, &self.config.policy, &self.config.limits) {
                Ok(target) => {
                    flight.target = Some(target);
                    return self.send(id);
                }
                Err(refusal) => drop(flight.refusal.get_or_insert(refusal)),
            }
        }
        let error = if flight.unreachable {
            QueryError::Exchange(ExchangeFailure::Connect)
        } else {
            let refusal = flight.refusal.clone().unwrap_or(Refusal::Authority);
            QueryError::Template(TemplateProblem::Refused(refusal))
        };
        self.break_off(id, error);
    }

    /// Sends the query to the flight's target.
    fn send(&mut self, id: FlightId) {
        let exchange = ExchangeId(self.id());
        let Some(flight) = self.flights.get(&id) else { return };
        let (Some(target), service) = (flight.target.clone(), flight.service.clone()) else { return };
        let accept = match self.config.dialect {
            Dialect::Draft2012 => "application/reputon",
            Dialect::Rfc7072 => "application/reputon+json",
            Dialect::Auto => "application/reputon+json, application/reputon;q=0.5",
        };
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        let max_body = self.config.limits.document;
        self.exchange(exchange, Purpose::Flight(id), &service, target, headers, max_body);
    }

    /// The service failed: it is left alone for a while.
    fn break_off(&mut self, id: FlightId, error: QueryError) {
        if let Some(flight) = self.flights.get(&id)
            && let Some(state) = self.services.get_mut(&flight.service)
            && matches!(error, QueryError::Exchange(_) | QueryError::Status(500..))
            && state.failing.is_none()
        {
            let until = self.now + state.query_backoff.next_delay();
            state.failing = Some((until, error.clone()));
        }
        self.land(id, Err(error));
    }

    /// Tells all who wait.
    fn land(&mut self, id: FlightId, result: Result<Arc<Answer>, QueryError>) {
        let Some(flight) = self.flights.remove(&id) else { return };
        self.same.remove(&flight.key);
        if let Some(state) = self.services.get_mut(&flight.service) {
            state.flights = state.flights.saturating_sub(1);
        }
        for query in flight.waiters {
            let Some((_, deadline)) = self.queries.remove(&query) else { continue };
            self.timers.remove(&(deadline, Timer::Query(query)));
            self.events.push_back(match &result {
                Ok(answer) => ClientEvent::Answered { id: query, answer: Arc::clone(answer), cached: false },
                Err(error) => ClientEvent::Failed { id: query, error: error.clone() },
            });
        }
    }

    fn leave(&mut self, id: QueryId) {
        let Some((flight, deadline)) = self.queries.remove(&id) else { return };
        self.timers.remove(&(deadline, Timer::Query(id)));
        if let Some(flight) = self.flights.get_mut(&flight) {
            flight.waiters.retain(|waiter| *waiter != id);
        }
    }

    fn finish_exchange(&mut self, id: ExchangeId) -> Option<Purpose> {
        let (purpose, deadline) = self.exchanges.remove(&id)?;
        self.timers.remove(&(deadline, Timer::Exchange(id)));
        Some(purpose)
    }

    // --- templates ---------------------------------------------------------------------------------------------------
}

impl Machine for Client {
    type Transmit = Infallible;
    type Event = ClientEvent;
    type Error = Infallible;

    fn poll_output(&mut self, _now: Instant) -> Output<Infallible, ClientEvent> {
        match self.events.pop_front() {
            Some(event) => Output::Event(event),
            None => Output::Timeout(self.timers.first().map(|(at, _)| *at)),
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Infallible> {
        self.tell(now);
        while let Some((_, timer)) = self.timers.pop_first_if(self.now) {
            match timer {
                Timer::Query(id) => {
                    self.leave(id);
                    self.events.push_back(ClientEvent::Failed { id, error: QueryError::TimedOut });
                }
                Timer::Exchange(id) => {
                    if let Some(purpose) = self.finish_exchange(id) {
                        self.events.push_back(ClientEvent::Abandon(id));
                        self.failed(purpose, ExchangeFailure::TimedOut);
                    }
                }
                Timer::Retry(id) => {
                    let is_wanted = self.flights.get(&id).is_some_and(|flight| !flight.waiters.is_empty());
                    if is_wanted {
                        self.send(id);
                    } else {
                        self.land(id, Err(QueryError::TimedOut));
                    }
                }
            }
        }
        Ok(())
    }

    fn timeout_reason(&self) -> &'static str {
        match self.timers.first() {
            Some((_, Timer::Exchange(_))) => "a response",
            Some((_, Timer::Query(_))) => "the time that a query was given",
            Some((_, Timer::Retry(_))) => "the next attempt",
            None => "",
        }
    }

    fn is_finished(&self) -> bool {
        false
    }
}

/// What is due.
trait Due {
    fn pop_first_if(&mut self, now: Instant) -> Option<(Instant, Timer)>;
}

impl Due for BTreeSet<(Instant, Timer)> {
    fn pop_first_if(&mut self, now: Instant) -> Option<(Instant, Timer)> {
        if self.first()?.0 <= now { self.pop_first() } else { None }
    }
}

impl ExchangeMachine for Client {
    type Id = ExchangeId;
    type Response = Received;
    type Failure = ExchangeFailure;

    fn handle_response(&mut self, now: Instant, id: ExchangeId, response: Received) -> Result<(), Infallible> {
        self.tell(now);
        match self.finish_exchange(id) {
            Some(Purpose::Template(service)) => self.template_response(&service, &response),
            Some(Purpose::Flight(flight)) => self.answer_response(flight, response),
            None => {}
        }
        Ok(())
    }

    fn handle_failure(&mut self, now: Instant, id: ExchangeId, failure: ExchangeFailure) -> Result<(), Infallible> {
        self.tell(now);
        if let Some(purpose) = self.finish_exchange(id) {
            self.failed(purpose, failure);
        }
        Ok(())
    }
}
