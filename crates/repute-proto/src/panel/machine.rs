//! The panel's machine: a client, its raters, and the clock of each consultation.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use watchfire_core::{ExchangeMachine, Instant, Machine, Output, UnixTime};

use super::combine::{Brought, Verdict, Weighing, put_together};
use super::local::LocalLists;
use crate::client::{
    Client, ClientEvent, ExchangeFailure, ExchangeId, ExchangeRequest, Query, QueryError, QueryId, Received,
};
use crate::error::Limit;
use crate::template::Service;

/// A rater of the panel.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Rater {
    /// Where it is asked.
    pub service: Service,
    /// How much it counts, from 0.0 up; 1.0 as usual.
    pub trust: f64,
}

impl Rater {
    /// A rater that counts this much.
    pub const fn new(service: Service, trust: f64) -> Self {
        Self { service, trust }
    }
}

/// Names a consultation of one panel; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsultationId(u64);

/// What a panel wants done, or has to say.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum PanelEvent {
    /// Nobody waits for this exchange any more.
    Abandon(ExchangeId),
    /// Make this exchange.
    Exchange(ExchangeRequest),
    /// What the panel says, complete or not.
    Verdict {
        /// Which consultation.
        id: ConsultationId,
        /// What it says.
        verdict: Verdict,
    },
}

#[derive(Debug)]
struct Consultation {
    query: Query,
    raters: Vec<(Rater, Option<QueryId>, Brought)>,
    deadline: Instant,
    /// What time it was when it began.
    began: (Instant, UnixTime),
}

/// Asks all its raters at once and says what they say together, after the time there is at the latest.
#[derive(Debug)]
pub struct Panel {
    client: Client,
    raters: Vec<Rater>,
    lists: LocalLists,
    weighing: Weighing,
    now: Instant,
    counter: u64,
    consultations: BTreeMap<ConsultationId, Consultation>,
    by_query: BTreeMap<QueryId, ConsultationId>,
    timers: BTreeSet<(Instant, ConsultationId)>,
    events: VecDeque<PanelEvent>,
}

impl Panel {
    /// A panel of these raters.
    pub fn new(client: Client, raters: Vec<Rater>, lists: LocalLists, weighing: Weighing) -> Self {
        Self {
            client,
            raters,
            lists,
            weighing,
            now: Instant::ZERO,
            counter: 0,
            consultations: BTreeMap::new(),
            by_query: BTreeMap::new(),
            timers: BTreeSet::new(),
            events: VecDeque::new(),
        }
    }

    /// The client that asks.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Asks all raters. [`PanelEvent::Verdict`] comes when all have answered, or after `budget` with what there is:
    /// answers that come later are kept for the next time. `time` is what the clock on the wall says now.
    ///
    /// # Errors
    /// When too many queries wait. Nothing was asked then.
    pub fn consult(
        &mut self,
        now: Instant,
        time: UnixTime,
        query: Query,
        budget: Duration,
    ) -> Result<ConsultationId, Limit> {
        self.now = self.now.max(now);
        self.counter = self.counter.saturating_add(1);
        let id = ConsultationId(self.counter);
        if let Some((list, entry)) = self.lists.find(&query) {
            let entry = entry.to_owned();
            let mut verdict = put_together(&query, Vec::new(), &self.weighing, time);
            verdict.local = Some((list, entry));
            self.events.push_back(PanelEvent::Verdict { id, verdict });
            return Ok(id);
        }
        let deadline = self.now + budget;
        let mut raters: Vec<(Rater, Option<QueryId>, Brought)> = Vec::with_capacity(self.raters.len());
        for rater in self.raters.clone() {
            let asked = self.client.query(self.now, &rater.service, query.clone(), budget);
            match asked {
                Ok(query) => {
                    self.by_query.insert(query, id);
                    raters.push((rater, Some(query), Brought::Nothing));
                }
                Err(Limit::Queries) => {
                    for query in raters.iter().filter_map(|(_, query, _)| *query) {
                        self.by_query.remove(&query);
                        self.client.cancel(self.now, query);
                    }
                    return Err(Limit::Queries);
                }
                // The others can still be asked.
                Err(limit) => raters.push((rater, None, Brought::Failed(QueryError::LimitExceeded(limit)))),
            }
        }
        self.timers.insert((deadline, id));
        self.consultations.insert(id, Consultation { query, raters, deadline, began: (self.now, time) });
        self.hear();
        self.close_if_done(id);
        Ok(id)
    }

    /// Takes what the client has to say.
    fn hear(&mut self) {
        while let Output::Event(event) = self.client.poll_output(self.now) {
            let (query, brought) = match event {
                ClientEvent::Abandon(id) => {
                    self.events.push_back(PanelEvent::Abandon(id));
                    continue;
                }
                ClientEvent::Exchange(request) => {
                    self.events.push_back(PanelEvent::Exchange(request));
                    continue;
                }
                ClientEvent::Answered { id, answer, .. } => match answer.no_data {
                    Some(reason) => (id, Brought::NoData(reason)),
                    None => (id, Brought::Reputons(answer.reputons.clone())),
                },
                ClientEvent::Failed { id, error: QueryError::TimedOut } => (id, Brought::Nothing),
                ClientEvent::Failed { id, error } => (id, Brought::Failed(error)),
            };
            let Some(id) = self.by_query.remove(&query) else { continue };
            if let Some(consultation) = self.consultations.get_mut(&id) {
                for (_, asked, slot) in &mut consultation.raters {
                    if *asked == Some(query) {
                        *asked = None;
                        *slot = brought.clone();
                    }
                }
            }
            self.close_if_done(id);
        }
    }

    fn close_if_done(&mut self, id: ConsultationId) {
        let is_done = |consultation: &Consultation| consultation.raters.iter().all(|(_, query, _)| query.is_none());
        if self.consultations.get(&id).is_some_and(is_done) {
            self.close(id);
        }
    }

    fn close(&mut self, id: ConsultationId) {
        let Some(consultation) = self.consultations.remove(&id) else { return };
        self.timers.remove(&(consultation.deadline, id));
        let (began, time) = consultation.began;
        let passed = i64::try_from(self.now.saturating_since(began).as_secs()).unwrap_or(i64::MAX);
        let time = UnixTime::from_secs(time.as_secs().saturating_add(passed));
        let mut raters = Vec::with_capacity(consultation.raters.len());
        for (rater, query, brought) in consultation.raters {
            if let Some(query) = query {
                self.by_query.remove(&query);
                self.client.cancel(self.now, query);
            }
            raters.push((rater.service, rater.trust, brought));
        }
        let verdict = put_together(&consultation.query, raters, &self.weighing, time);
        self.events.push_back(PanelEvent::Verdict { id, verdict });
    }
}

impl Machine for Panel {
    type Transmit = Infallible;
    type Event = PanelEvent;
    type Error = Infallible;

    fn poll_output(&mut self, now: Instant) -> Output<Infallible, PanelEvent> {
        if self.events.is_empty() {
            self.hear();
        }
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        let own = self.timers.first().map(|(at, _)| *at);
        let client = match self.client.poll_output(now) {
            Output::Timeout(at) => at,
            // Heard just now: there is nothing else.
            _ => None,
        };
        Output::Timeout(own.into_iter().chain(client).min())
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Infallible> {
        self.now = self.now.max(now);
        self.client.handle_timeout(self.now)?;
        self.hear();
        while let Some((at, id)) = self.timers.first().copied() {
            if at > self.now {
                break;
            }
            self.timers.pop_first();
            self.close(id);
        }
        Ok(())
    }

    fn timeout_reason(&self) -> &'static str {
        if self.timers.is_empty() { self.client.timeout_reason() } else { "the raters of a panel" }
    }

    fn is_finished(&self) -> bool {
        false
    }
}

impl ExchangeMachine for Panel {
    type Id = ExchangeId;
    type Response = Received;
    type Failure = ExchangeFailure;

    fn handle_response(&mut self, now: Instant, id: ExchangeId, response: Received) -> Result<(), Infallible> {
        self.now = self.now.max(now);
        self.client.handle_response(self.now, id, response)?;
        self.hear();
        Ok(())
    }

    fn handle_failure(&mut self, now: Instant, id: ExchangeId, failure: ExchangeFailure) -> Result<(), Infallible> {
        self.now = self.now.max(now);
        self.client.handle_failure(self.now, id, failure)?;
        self.hear();
        Ok(())
    }
}
