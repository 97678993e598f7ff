//! The delegate's side. draft-sheffer-acme-star-request-02 section 3.1

use std::collections::VecDeque;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use watchfire_core::{Backoff, Duration, Instant};
use zeroize::Zeroizing;

use super::message::{Progress, Registration, RegistrationStatus};
use crate::acme::client::{Exchange, ExchangeFailure, ExchangeId, Received};
use crate::error::DecodeError;
use crate::limits::Limits;
use crate::now::Now;
use crate::url::{Reach, UrlRefusal, UrlRules};

/// Between looks there are so many seconds at least (draft-sheffer-lurk-cert-delegation-00 section 3.2).
const SOONEST: u64 = 5;
const TIMEOUT: Duration = Duration::from_secs(30);

/// What a delegate wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistrantEvent {
    /// Make this exchange.
    Exchange(Exchange),
    /// It is over.
    Ended(Outcome),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Outcome {
    /// There is a certificate that renews itself, at the URL that is said.
    #[error("there is a certificate")]
    Success(Box<Progress>),
    /// There will be none.
    #[error("the name owner has failed{}", .0.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Failed(Option<String>),
    /// The name owner does not know the registration any more.
    #[error("the registration is gone")]
    Gone,
    /// The name owner does not take it.
    #[error("the name owner refuses with status {0}")]
    Refused(u16),
    /// The answer cannot be read, or lacks what must be there.
    #[error("the answer is wrong: {0}")]
    InvalidMessage(DecodeError),
    /// The registration is somewhere else than the name owner's server.
    #[error("the registration is at {url:?}: {refusal}")]
    Url {
        /// Where.
        url: String,
        /// Why it is not gone to.
        refusal: UrlRefusal,
    },
    /// There was no answer for too long.
    #[error("it took too long{}", .0.as_ref().map(|last| format!("; last: {last}")).unwrap_or_default())]
    TimedOut(Option<String>),
}

/// Registers one request, and looks until there is a certificate.
pub struct Registrant {
    url: String,
    registration: Registration,
    authorization: Option<Zeroizing<String>>,
    urls: UrlRules,
    limits: Limits,
    location: Option<String>,
    until: Instant,
    next: u64,
    flight: Option<(ExchangeId, Instant)>,
    wake: Option<Instant>,
    backoff: Backoff,
    last: Option<String>,
    events: VecDeque<RegistrantEvent>,
    ended: bool,
}

impl Registrant {
    /// Registers at this URL, `https://ido.example/star/delegation`, and gives up after `budget`.
    pub fn new(url: impl Into<String>, registration: Registration, budget: Duration, seed: [u8; 32], now: Now) -> Self {
        let least = Duration::from_secs(2 * SOONEST);
        Self {
            url: url.into(),
            registration,
            authorization: None,
            urls: UrlRules::new(),
            limits: Limits::default(),
            location: None,
            until: now.instant + budget,
            next: 0,
            flight: None,
            wake: Some(now.instant),
            backoff: Backoff::new(least, Duration::from_secs(300), seed),
            last: None,
            events: VecDeque::new(),
            ended: false,
        }
    }

    /// The same as a user with a password (HTTP Basic).
    #[must_use]
    pub fn with_password(mut self, user: &str, password: &str) -> Self {
        let credentials = Zeroizing::new(format!("{user}:{password}"));
        self.authorization = Some(Zeroizing::new(format!("Basic {}", STANDARD.encode(credentials.as_bytes()))));
        self
    }

    /// The same with these rules for URLs.
    #[must_use]
    pub fn with_urls(mut self, urls: UrlRules) -> Self {
        self.urls = urls;
        self
    }

    /// The next thing to do; or when to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_event(&mut self) -> Result<RegistrantEvent, Option<Instant>> {
        if let Some(event) = self.events.pop_front() {
            return Ok(event);
        }
        let flight = self.flight.map(|(_, until)| until);
        let until = Some(self.until).filter(|_| !self.ended);
        Err([self.wake, flight, until].into_iter().flatten().min())
    }

    /// The instant has come.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.ended {
            return;
        }
        if self.until <= now.instant {
            let last = self.last.take();
            return self.end(Outcome::TimedOut(last));
        }
        if self.flight.is_some_and(|(_, until)| until <= now.instant) {
            self.flight = None;
            self.later(now, Some("the server did not answer in time".into()), None);
        }
        if self.flight.is_none() && self.wake.is_some_and(|at| at <= now.instant) {
            self.wake = None;
            self.send(now);
        }
    }

    /// The exchange was made.
    pub fn handle_response(&mut self, now: Now, id: ExchangeId, received: &Received) {
        if self.flight.take_if(|(known, _)| *known == id).is_none() || self.ended {
            return;
        }
        let retry_after = received.retry_after(now.unix);
        let is_passing = received.status >= 500 || received.status == 429;
        match (&self.location, received.status) {
            (_, status) if is_passing => self.later(now, Some(format!("status {status}")), retry_after),
            (None, 201) => {
                let Some(location) = received.header("location").map(str::to_owned) else {
                    let missing = crate::DecodeErrorKind::Missing.at("Location");
                    return self.end(Outcome::InvalidMessage(missing));
                };
                if let Err(refusal) = self.urls.signed(&self.url, &location) {
                    return self.end(Outcome::Url { url: location, refusal });
                }
                self.location = Some(location);
                self.later(now, None, retry_after);
            }
            (Some(_), 200) => match Progress::decode(&received.body, &self.limits) {
                Ok(progress) if progress.status == RegistrationStatus::Success => {
                    self.end(Outcome::Success(Box::new(progress)));
                }
                Ok(progress) if progress.status == RegistrationStatus::Failed => {
                    self.end(Outcome::Failed(progress.reason));
                }
                Ok(_) => {
                    self.backoff.reset();
                    self.later(now, None, retry_after);
                }
                Err(error) => self.end(Outcome::InvalidMessage(error)),
            },
            // One that was in use answered 400 to what it does not know.
            (Some(_), 400 | 404 | 410) => self.end(Outcome::Gone),
            (_, status) => self.end(Outcome::Refused(status)),
        }
    }

    /// The exchange could not be made.
    pub fn handle_failure(&mut self, now: Now, id: ExchangeId, failure: &ExchangeFailure) {
        if self.flight.take_if(|(known, _)| *known == id).is_some() && !self.ended {
            self.later(now, Some(failure.to_string()), None);
        }
    }

    fn send(&mut self, now: Now) {
        let url = self.location.clone().unwrap_or_else(|| self.url.clone());
        if let Err(refusal) = self.urls.signed(&self.url, &url) {
            return self.end(Outcome::Url { url, refusal });
        }
        let is_first = self.location.is_none();
        let mut headers = vec![("accept", "application/json".to_owned())];
        headers.extend(self.authorization.as_ref().map(|value| ("authorization", value.as_str().to_owned())));
        if is_first {
            headers.push(("content-type", "application/json".to_owned()));
        }
        self.next = self.next.saturating_add(1);
        let id = ExchangeId(self.next);
        self.flight = Some((id, now.instant + TIMEOUT));
        let body = if is_first { self.registration.encode() } else { Vec::new() };
        let method = if is_first { "POST" } else { "GET" };
        let max_body = self.limits.body;
        let exchange = Exchange { id, method, url, headers, body, max_body, timeout: TIMEOUT, reach: Reach::Any };
        self.events.push_back(RegistrantEvent::Exchange(exchange));
    }

    fn later(&mut self, now: Now, last: Option<String>, retry_after: Option<u64>) {
        if last.is_some() {
            self.last = last;
        }
        let wait = Duration::from_secs(retry_after.unwrap_or(0).max(SOONEST));
        let wait = if retry_after.is_some() { wait } else { wait.max(self.backoff.next_delay()) };
        self.wake = Some(now.instant + wait);
    }

    fn end(&mut self, outcome: Outcome) {
        self.ended = true;
        (self.wake, self.flight) = (None, None);
        self.events.push_back(RegistrantEvent::Ended(outcome));
    }
}

impl fmt::Debug for Registrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registrant").field("url", &self.url).field("location", &self.location).finish_non_exhaustive()
    }
}
