//! Peer B: gets the chunks that it is told of, in their order, and gives out what is in them.
//! draft-hartke-xmpp-stupid-00 section 3.5 and appendix C.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;

use watchfire_core::{Backoff, ConfigError, Duration, ExchangeMachine, Instant, Machine, Output, config_builder};

use super::notification::Notification;
use super::seal::SEAL_OVERHEAD;
use super::{ExchangeFailure, ExchangeId, is_passing};

/// How B works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkConfig {
    /// Octets that a chunk may have, opened: 1 MiB.
    pub chunk: usize,
    /// Notifications that wait for their turn: 64.
    pub waiting: usize,
    /// How often one chunk is asked for: 3.
    pub attempts: u32,
    /// For one attempt: 30 s.
    pub patience: Duration,
    /// Between attempts, doubling from the first to the second: 500 ms, 10 s.
    pub retry: (Duration, Duration),
}

impl Default for SinkConfig {
    fn default() -> Self {
        Self {
            chunk: 1 << 20,
            waiting: 64,
            attempts: 3,
            patience: Duration::from_secs(30),
            retry: (Duration::from_millis(500), Duration::from_secs(10)),
        }
    }
}

impl SinkConfig {
    /// The defaults, each said at its field.
    pub fn builder() -> SinkConfigBuilder {
        SinkConfigBuilder(Self::default())
    }

    fn check(&self) -> Result<(), ConfigError> {
        ConfigError::unless(self.attempts > 0, "attempts", "must be at least 1")?;
        ConfigError::unless(self.retry.0 <= self.retry.1, "retry", "must not begin above its end")
    }
}

config_builder! {
    /// What becomes a [`SinkConfig`].
    pub struct SinkConfigBuilder for SinkConfig {
        with_chunk => chunk: usize,
        with_waiting => waiting: usize,
        with_attempts => attempts: u32,
        with_patience => patience: Duration,
        with_retry => retry: (Duration, Duration),
    }
}

/// A GET to be made. Redirects are not followed: the notification says where the chunk is.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchRequest {
    /// Names it.
    pub id: ExchangeId,
    /// From where.
    pub url: String,
    /// Octets of the response; if there are more, it is [`ExchangeFailure::TooLarge`].
    pub max_body: usize,
}

/// The URL is as good as the chunk.
impl fmt::Debug for FetchRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchRequest").field("id", &self.id).field("max_body", &self.max_body).finish_non_exhaustive()
    }
}

/// What B wants done, and what came of it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SinkEvent {
    /// Make this request, and tell by [`handle_response`](Sink::handle_response) or
    /// [`handle_failure`](Sink::handle_failure).
    Exchange(FetchRequest),
    /// The response to this request is not wanted any more.
    Abandon(ExchangeId),
    /// What A put: checked, and opened if it was sealed.
    Deliver {
        /// The number of the chunk.
        seq: u64,
        /// What is in it.
        octets: Vec<u8>,
    },
    /// The session is invalid: this chunk is not there, and what comes behind it is not looked at.
    Failed {
        /// The number that it has or should have had.
        seq: u64,
        /// Why.
        error: FetchError,
    },
}

impl fmt::Debug for SinkEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange(request) => f.debug_tuple("Exchange").field(request).finish(),
            Self::Abandon(id) => f.debug_tuple("Abandon").field(id).finish(),
            Self::Deliver { seq, octets } => {
                f.debug_struct("Deliver").field("seq", seq).field("octets", &octets.len()).finish()
            }
            Self::Failed { seq, error } => f.debug_struct("Failed").field("seq", seq).field("error", error).finish(),
        }
    }
}

/// Why a chunk was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// What came is not what A put there: its digest is another.
    #[error("what the relay has is not what was put there: its digest is another")]
    Altered,
    /// No attempt brought a response.
    #[error("{0}")]
    Exchange(ExchangeFailure),
    /// The relay does not have it, or not any more.
    #[error("the relay does not have the chunk, or not any more (status 404)")]
    Lost,
    /// A notification came that is not the next one: one before it was lost, or this one came twice.
    #[error("notification {found} came where {expected} was due")]
    OutOfSequence {
        /// The number that was due.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// It does not open with the key of the notification.
    #[error("the chunk does not open with the key of the notification")]
    Sealed,
    /// The relay said something else.
    #[error("the relay answered with status {0}")]
    Status(u16),
}

/// Why a notification was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotTaken {
    /// The session is invalid.
    #[error("the session is invalid")]
    Ended,
    /// As many wait as may. Nothing has changed: it may be given again later.
    #[error("{0} notifications wait already")]
    Full(usize),
}

/// Peer B of the rendezvous.
///
/// ```
/// use acme_lurk::Limits;
/// use acme_lurk::rendezvous::{Notification, Sink, SinkConfig, SinkEvent};
/// use watchfire_core::{ExchangeMachine as _, Instant, Machine as _, Output};
///
/// let now = Instant::ZERO;
/// let mut sink = Sink::new(SinkConfig::default(), [3; 32]);
/// sink.notify(now, Notification::new("http://example.org/stupid.php?chid=i781hf64-0", 0, &Limits::DEFAULT)?)?;
/// let Output::Event(SinkEvent::Exchange(request)) = sink.poll_output(now) else { panic!() };
/// // ... GET it, and with what comes:
/// sink.handle_response(now, request.id, (200, b"Hello World".to_vec()))?;
/// assert_eq!(sink.poll_output(now), Output::Event(SinkEvent::Deliver { seq: 0, octets: b"Hello World".to_vec() }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sink {
    config: SinkConfig,
    waiting: VecDeque<Notification>,
    /// The number of the next notification.
    expected: u64,
    current: Option<Fetch>,
    events: VecDeque<SinkEvent>,
    next_id: u64,
    backoff: Backoff,
    has_ended: bool,
    now: Instant,
}

/// A chunk that is being got.
struct Fetch {
    notification: Notification,
    attempts: u32,
    step: Step,
}

#[derive(Clone, Copy)]
enum Step {
    Waiting { until: Instant },
    Asking { id: ExchangeId, deadline: Instant },
}

impl Sink {
    /// A sink; the seed only spreads its attempts.
    pub fn new(config: SinkConfig, seed: [u8; 32]) -> Self {
        Self {
            config,
            waiting: VecDeque::new(),
            expected: 0,
            current: None,
            events: VecDeque::new(),
            next_id: 0,
            backoff: Backoff::new(config.retry.0, config.retry.1, seed),
            has_ended: false,
            now: Instant::ZERO,
        }
    }

    /// The same, whose first notification has this number: for a single chunk, of whatever session.
    #[must_use]
    pub const fn starting_at(mut self, seq: u64) -> Self {
        self.expected = seq;
        self
    }

    /// A notification came. If its number is not the next one, the session is invalid from here on: neither it nor any
    /// later one is looked at.
    ///
    /// # Errors
    /// When the session is invalid already, or too many wait.
    pub fn notify(&mut self, now: Instant, notification: Notification) -> Result<(), NotTaken> {
        self.pass(now);
        if self.has_ended {
            return Err(NotTaken::Ended);
        }
        let (expected, found) = (self.expected, notification.seq());
        if found != expected {
            self.fail(expected, FetchError::OutOfSequence { expected, found });
            return Ok(());
        }
        if self.waiting.len() >= self.config.waiting.max(1) {
            return Err(NotTaken::Full(self.config.waiting.max(1)));
        }
        self.expected = self.expected.saturating_add(1);
        self.waiting.push_back(notification);
        self.go_on();
        Ok(())
    }

    /// The number that the next notification must have.
    pub const fn expected(&self) -> u64 {
        self.expected
    }

    /// Whether nothing waits and nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.current.is_none() && self.waiting.is_empty()
    }

    fn pass(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn go_on(&mut self) {
        if self.current.is_some() {
            return;
        }
        if let Some(notification) = self.waiting.pop_front() {
            self.backoff.reset();
            self.ask(Fetch { notification, attempts: 0, step: Step::Waiting { until: self.now } });
        }
    }

    fn ask(&mut self, mut fetch: Fetch) {
        let id = ExchangeId(self.next_id);
        self.next_id = self.next_id.saturating_add(1);
        fetch.attempts = fetch.attempts.saturating_add(1);
        fetch.step = Step::Asking { id, deadline: self.now + self.config.patience };
        let overhead = if fetch.notification.key().is_some() { SEAL_OVERHEAD } else { 0 };
        let max_body = self.config.chunk.saturating_add(overhead);
        let url = fetch.notification.url().to_owned();
        self.events.push_back(SinkEvent::Exchange(FetchRequest { id, url, max_body }));
        self.current = Some(fetch);
    }

    /// What this is the response to; none if nobody waits for it.
    fn take(&mut self, id: ExchangeId) -> Option<Fetch> {
        self.current.take_if(|fetch| matches!(fetch.step, Step::Asking { id: asked, .. } if asked == id))
    }

    fn try_again(&mut self, mut fetch: Fetch, error: FetchError) {
        if fetch.attempts >= self.config.attempts {
            return self.fail(fetch.notification.seq(), error);
        }
        fetch.step = Step::Waiting { until: self.now + self.backoff.next_delay() };
        self.current = Some(fetch);
    }

    /// Ends the session.
    fn fail(&mut self, seq: u64, error: FetchError) {
        if let Some(Fetch { step: Step::Asking { id, .. }, .. }) = self.current.take() {
            self.events.push_back(SinkEvent::Abandon(id));
        }
        self.waiting.clear();
        self.has_ended = true;
        self.events.push_back(SinkEvent::Failed { seq, error });
    }

    fn received(&mut self, fetch: &Fetch, body: Vec<u8>) {
        let seq = fetch.notification.seq();
        // The digest comes first: what was altered is not even decrypted.
        if !fetch.notification.is_of(&body) {
            return self.fail(seq, FetchError::Altered);
        }
        let octets = match fetch.notification.key() {
            Some(key) => match key.open(&body) {
                Ok(octets) => octets,
                Err(_) => return self.fail(seq, FetchError::Sealed),
            },
            None => body,
        };
        if octets.len() > self.config.chunk {
            return self.fail(seq, FetchError::Exchange(ExchangeFailure::TooLarge));
        }
        self.events.push_back(SinkEvent::Deliver { seq, octets });
        self.go_on();
    }
}

impl Machine for Sink {
    type Transmit = Infallible;
    type Event = SinkEvent;
    type Error = Infallible;

    fn poll_output(&mut self, now: Instant) -> Output<Infallible, SinkEvent> {
        self.pass(now);
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        Output::Timeout(self.current.as_ref().map(|fetch| match fetch.step {
            Step::Waiting { until } => until,
            Step::Asking { deadline, .. } => deadline,
        }))
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Infallible> {
        self.pass(now);
        let Some(fetch) = self.current.take() else { return Ok(()) };
        match fetch.step {
            Step::Waiting { until } if until <= self.now => self.ask(fetch),
            Step::Asking { id, deadline } if deadline <= self.now => {
                self.events.push_back(SinkEvent::Abandon(id));
                self.try_again(fetch, FetchError::Exchange(ExchangeFailure::TimedOut));
            }
            _ => self.current = Some(fetch),
        }
        Ok(())
    }

    fn timeout_reason(&self) -> &'static str {
        match self.current.as_ref().map(|fetch| fetch.step) {
            Some(Step::Waiting { .. }) => "fetch again",
            Some(Step::Asking { .. }) => "relay silent",
            None => "",
        }
    }

    /// When the session is invalid. A session that is not has no end that B could know of.
    fn is_finished(&self) -> bool {
        self.has_ended
    }
}

impl ExchangeMachine for Sink {
    type Id = ExchangeId;
    /// The status and the content.
    type Response = (u16, Vec<u8>);
    type Failure = ExchangeFailure;

    fn handle_response(
        &mut self,
        now: Instant,
        id: ExchangeId,
        (status, body): (u16, Vec<u8>),
    ) -> Result<(), Infallible> {
        self.pass(now);
        let Some(fetch) = self.take(id) else { return Ok(()) };
        let seq = fetch.notification.seq();
        match status {
            200 => self.received(&fetch, body),
            404 | 410 => self.fail(seq, FetchError::Lost),
            status if is_passing(status) => self.try_again(fetch, FetchError::Status(status)),
            status => self.fail(seq, FetchError::Status(status)),
        }
        Ok(())
    }

    fn handle_failure(&mut self, now: Instant, id: ExchangeId, failure: ExchangeFailure) -> Result<(), Infallible> {
        self.pass(now);
        let Some(fetch) = self.take(id) else { return Ok(()) };
        let error = FetchError::Exchange(failure);
        match failure {
            // It would be no smaller the next time.
            ExchangeFailure::TooLarge => self.fail(fetch.notification.seq(), error),
            _ => self.try_again(fetch, error),
        }
        Ok(())
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("expected", &self.expected)
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}
