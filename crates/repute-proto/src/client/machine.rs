//! The client's machine. Per service one template at a time is fetched, and equal questions share one exchange.

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
use super::config::Config;
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
    config: Arc<Config>,
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
    pub fn new(config: Arc<Config>, seed: [u8; 32], now: Instant) -> Self {
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

    fn template_response(&mut self, service: &Service, response: &Received) {
        let Some(state) = self.services.get_mut(service) else { return };
        let TemplateState::Fetching { stale } = &state.template else { return };
        let lifetime = lifetime(&response.headers, response.at, self.config.template_lifetime);
        // What must not be stored is good for those that wait, and for the floor.
        let fresh_until = self.now + lifetime.fresh_for;
        let etag = response.headers.get(ETAG).cloned();
        let stored = match (response.status, stale) {
            (StatusCode::OK, _) => templates(response, &self.config).map(|templates| Stored {
                templates: templates.into(),
                fetched: self.now,
                fresh_until,
                etag,
            }),
            (StatusCode::NOT_MODIFIED, Some(stale)) => Ok(Stored {
                fetched: self.now,
                fresh_until,
                etag: etag.or_else(|| stale.etag.clone()),
                ..stale.clone()
            }),
            (status, _) => Err(TemplateProblem::Status(status.as_u16())),
        };
        match stored {
            Ok(stored) => {
                state.backoff.reset();
                state.template = TemplateState::Ready(stored.clone());
                self.release(service, &stored);
            }
            Err(problem) => {
                let after = retry_after(&response.headers, response.at);
                self.template_failed(service, problem, after);
            }
        }
    }

    fn template_failed(&mut self, service: &Service, problem: TemplateProblem, after: Option<Duration>) {
        let Some(state) = self.services.get_mut(service) else { return };
        let TemplateState::Fetching { stale } = std::mem::replace(&mut state.template, TemplateState::Empty) else {
            return;
        };
        let wait = state.backoff.next_delay();
        let wait = after.map_or(wait, |after| after.clamp(wait, self.config.backoff.1.max(wait)));
        let is_usable = |stale: &Stored| self.now < stale.fresh_until + self.config.stale_if_error;
        let stale = stale.filter(is_usable);
        state.template =
            TemplateState::Failed { retry_at: self.now + wait, cause: problem.clone(), stale: stale.clone() };
        match stale {
            Some(stale) => self.release(service, &stale),
            None => {
                let waiting = std::mem::take(&mut state.waiting);
                for flight in waiting {
                    self.land(flight, Err(QueryError::Template(problem.clone())));
                }
            }
        }
    }

    /// Lets go who waited for the templates.
    fn release(&mut self, service: &Service, stored: &Stored) {
        let waiting = self.services.get_mut(service).map(|state| std::mem::take(&mut state.waiting));
        for id in waiting.unwrap_or_default() {
            if let Some(flight) = self.flights.get_mut(&id) {
                flight.templates = Some(Arc::clone(&stored.templates));
                flight.fetched = stored.fetched;
                flight.next = 0;
                self.depart(id);
            }
        }
    }

    // --- answers -----------------------------------------------------------------------------------------------------

    fn answer_response(&mut self, id: FlightId, response: Received) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let Some(state) = self.services.get_mut(&flight.service) else { return };
        match response.status.as_u16() {
            200 => {
                state.query_backoff.reset();
                let result = self.read_answer(id, &response);
                self.land(id, result);
            }
            404 => {
                let is_suspicious =
                    self.now.saturating_since(flight.fetched) >= self.config.suspicious_age && !flight.refetched;
                if is_suspicious {
                    flight.refetched = true;
                    if let TemplateState::Ready(stored) = &mut state.template {
                        stored.fresh_until = self.now;
                    }
                    return self.board(id);
                }
                let result = self.not_found(id, &response);
                self.land(id, Ok(result));
            }
            status @ (401 | 403) => self.land(id, Err(QueryError::Auth(status))),
            429 | 503 => self.told_to_wait(id, &response),
            status @ (300..=303 | 305..=399) => {
                let location = response.headers.get(LOCATION).and_then(|value| value.to_str().ok());
                match location.filter(|_| flight.redirects < self.config.redirects.min(3)) {
                    Some(location) => match redirected(flight, location, &self.config) {
                        Ok(target) => {
                            flight.redirects = flight.redirects.saturating_add(1);
                            flight.target = Some(target);
                            self.send(id);
                        }
                        Err(_) => self.land(id, Err(QueryError::Redirect(status))),
                    },
                    None => self.land(id, Err(QueryError::Redirect(status))),
                }
            }
            status @ 500.. if flight.attempts < self.config.retries => {
                flight.attempts = flight.attempts.saturating_add(1);
                let at = self.now + state.query_backoff.next_delay();
                // Not worth a wait that nobody lives to see.
                let latest = flight.waiters.iter().filter_map(|waiter| self.queries.get(waiter)).map(|(_, at)| *at);
                if latest.max().is_some_and(|latest| latest <= at) {
                    return self.break_off(id, QueryError::Status(status));
                }
                self.timers.insert((at, Timer::Retry(id)));
            }
            status => self.break_off(id, QueryError::Status(status)),
        }
    }

    fn told_to_wait(&mut self, id: FlightId, response: &Received) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let Some(state) = self.services.get_mut(&flight.service) else { return };
        let said = retry_after(&response.headers, response.at);
        let wait = said.unwrap_or_else(|| state.query_backoff.next_delay());
        let wait = wait.clamp(self.config.backoff.0, self.config.backoff.1.max(self.config.backoff.0));
        let until = self.now + wait;
        let error = QueryError::RateLimited { retry_after: Some(wait) };
        let latest = flight.waiters.iter().filter_map(|waiter| self.queries.get(waiter)).map(|(_, at)| *at).max();
        state.blocked = Some((until, error.clone()));
        if latest.is_some_and(|latest| latest > until) && flight.attempts < self.config.retries {
            flight.attempts = flight.attempts.saturating_add(1);
            self.timers.insert((until, Timer::Retry(id)));
        } else {
            self.land(id, Err(error));
        }
    }

    fn read_answer(&mut self, id: FlightId, response: &Received) -> Result<Arc<Answer>, QueryError> {
        let flight = self.flights.get(&id).ok_or(QueryError::TimedOut)?;
        let media = response.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let decoder = Decoder::new().with_limits(self.config.limits.clone());
        let document = decoder.decode(media, &response.body).map_err(QueryError::InvalidMessage)?;
        let mut answer = filter(document, &flight.query, &flight.service, response.at, &self.config)?;
        let by_headers = lifetime(&response.headers, response.at, self.config.answer_lifetime);
        let cap = Duration::from_secs(
            u64::try_from(answer.expires_at.as_secs().saturating_sub(response.at.as_secs())).unwrap_or(0),
        );
        // The reputons' own word counts; the header only where they are silent, or where it is stricter.
        let is_silent = answer.expires_at == UnixTime::from_secs(i64::MAX);
        let fresh = match (is_silent, by_headers.is_explicit) {
            (true, _) => by_headers.fresh_for,
            (false, true) => cap.min(by_headers.fresh_for),
            (false, false) => cap.min(self.config.answer_lifetime.most),
        };
        answer.expires_at = later(response.at, fresh);
        let answer = Arc::new(answer);
        if by_headers.may_store {
            self.cache.insert(&flight.key, Arc::clone(&answer), self.now, self.now + fresh);
        }
        Ok(answer)
    }

    fn not_found(&mut self, id: FlightId, response: &Received) -> Arc<Answer> {
        let fresh = self.config.not_found_lifetime;
        let service = self.flights.get(&id).map(|flight| flight.service.clone());
        let answer = Arc::new(Answer {
            service: service.unwrap_or_else(Service::nobody),
            reputons: Vec::new(),
            no_data: Some(NoData::NotFound),
            dropped: Dropped::default(),
            expires_at: later(response.at, fresh),
        });
        if let Some(flight) = self.flights.get(&id) {
            self.cache.insert(&flight.key, Arc::clone(&answer), self.now, self.now + fresh);
        }
        answer
    }

    fn failed(&mut self, purpose: Purpose, failure: ExchangeFailure) {
        match purpose {
            Purpose::Template(service) => self.template_failed(&service, TemplateProblem::Exchange(failure), None),
            Purpose::Flight(id) if failure == ExchangeFailure::Connect => {
                if let Some(flight) = self.flights.get_mut(&id) {
                    flight.unreachable = true;
                    self.depart(id);
                }
            }
            Purpose::Flight(id) => self.break_off(id, QueryError::Exchange(failure)),
        }
    }
}

fn later(at: UnixTime, by: Duration) -> UnixTime {
    UnixTime::from_secs(at.as_secs().saturating_add(i64::try_from(by.as_secs()).unwrap_or(i64::MAX)))
}

/// The templates in a response.
fn templates(response: &Received, config: &Config) -> Result<Vec<Template>, TemplateProblem> {
    let media = response.headers.get(CONTENT_TYPE).map(HeaderValue::to_str);
    let is_text = match media {
        Some(Ok(media)) => media.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("text/plain"),
        Some(Err(_)) => false,
        // The draft only recommends it.
        None => config.dialect != Dialect::Rfc7072,
    };
    if !is_text {
        return Err(TemplateProblem::MediaType);
    }
    let file = TemplateFile::decode(&response.body, &config.limits).map_err(TemplateProblem::LimitExceeded)?;
    if file.templates.is_empty() { Err(TemplateProblem::NoneValid) } else { Ok(file.templates) }
}

/// Where a redirect leads: to the same host by the same or a better scheme, or nowhere.
fn redirected(flight: &Flight, location: &str, config: &Config) -> Result<Target, Refusal> {
    let from = flight.target.as_ref().ok_or(Refusal::Authority)?;
    let absolute = if location.starts_with('/') && !location.starts_with("//") {
        format!("{}{location}", from.service)
    } else {
        location.to_owned()
    };
    let is_plain = absolute.bytes().all(|octet| octet.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&octet));
    if !is_plain || absolute.len() > config.limits.uri {
        return Err(Refusal::Authority);
    }
    let policy = crate::template::Policy { https_only: config.policy.https_only, ..Default::default() };
    let target = crate::template::check(&absolute, &from.service, &policy)?;
    // Credentials in a Location are not ours; those that were sent go along to the same place.
    let is_same = target.service == from.service;
    Ok(Target { credentials: from.credentials.clone().filter(|_| is_same), is_secret: from.is_secret, ..target })
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
                        self.failed(purpose, ExchangeFailure::Timeout);
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
