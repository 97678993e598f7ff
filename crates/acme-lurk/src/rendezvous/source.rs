//! Peer A: gathers octets into chunks, stores each, tells B, and goes on when B has been told.
//! draft-hartke-xmpp-stupid-00 sections 3.3, 3.4 and 4.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use watchfire_core::{Backoff, ConfigError, Duration, ExchangeMachine, Instant, Machine, Output, config_builder};
use zeroize::{Zeroize as _, Zeroizing};

use super::notification::Notification;
use super::seal::{SEAL_OVERHEAD, SealKey};
use super::url::RelayUrl;
use super::{ExchangeFailure, ExchangeId, is_passing};
use crate::base64url;

/// How A works.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceConfig {
    /// Where chunks are put.
    pub relay: RelayUrl,
    /// Whether the relay may not read them. Off: it is ours, and B must know it.
    pub sealed: bool,
    /// Octets of one chunk at the relay, at least 29: 65,536, which the draft wants relays to take.
    pub chunk: usize,
    /// Octets that wait to be put: 1 MiB.
    pub waiting: usize,
    /// How often one chunk is tried under one name, and under how many names: 3.
    pub attempts: u32,
    /// For one attempt: 30 s.
    pub patience: Duration,
    /// Between attempts, doubling from the first to the second: 500 ms, 10 s.
    pub retry: (Duration, Duration),
}

impl SourceConfig {
    /// The defaults, each said at its field.
    pub fn builder(relay: RelayUrl) -> SourceConfigBuilder {
        SourceConfigBuilder(Self {
            relay,
            sealed: false,
            chunk: 65_536,
            waiting: 1 << 20,
            attempts: 3,
            patience: Duration::from_secs(30),
            retry: (Duration::from_millis(500), Duration::from_secs(10)),
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        ConfigError::unless(self.chunk > SEAL_OVERHEAD, "chunk", "must be at least 29")?;
        ConfigError::unless(self.attempts > 0, "attempts", "must be at least 1")?;
        ConfigError::unless(self.retry.0 <= self.retry.1, "retry", "must not begin above its end")
    }

    /// Octets of what is written that go into one chunk.
    const fn room(&self) -> usize {
        let room = if self.sealed { self.chunk.saturating_sub(SEAL_OVERHEAD) } else { self.chunk };
        if room == 0 { 1 } else { room }
    }
}

config_builder! {
    /// What becomes a [`SourceConfig`].
    pub struct SourceConfigBuilder for SourceConfig {
        with_sealed => sealed: bool,
        with_chunk => chunk: usize,
        with_waiting => waiting: usize,
        with_attempts => attempts: u32,
        with_patience => patience: Duration,
        with_retry => retry: (Duration, Duration),
    }
}

/// A POST to be made: `body` to `url`, as `application/octet-stream`.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreRequest {
    /// Names it.
    pub id: ExchangeId,
    /// Where to.
    pub url: String,
    /// What: the data itself, not encoded.
    pub body: Arc<[u8]>,
}

impl fmt::Debug for StoreRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreRequest").field("id", &self.id).field("octets", &self.body.len()).finish_non_exhaustive()
    }
}

/// What A wants done, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceEvent {
    /// Make this request, and tell by [`handle_response`](Source::handle_response) or
    /// [`handle_failure`](Source::handle_failure).
    Exchange(StoreRequest),
    /// The response to this request is not wanted any more.
    Abandon(ExchangeId),
    /// The chunk is at the relay: tell B, and say by [`notified`](Source::notified) when B has been told.
    Notify(Notification),
    /// A chunk could not be stored. Nothing more is done: B would miss it.
    Failed {
        /// Its number.
        seq: u64,
        /// Why.
        error: StoreError,
    },
    /// All that was written is at the relay, B has been told, and there will be no more.
    Closed,
}

/// Why a chunk could not be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No attempt brought a response.
    #[error("{0}")]
    Exchange(ExchangeFailure),
    /// The relay wants to know who puts chunks there, or does not know us.
    #[error("the relay does not take chunks from us (status {0})")]
    NotAuthorized(u16),
    /// The relay has chunks of every name that was tried, or takes none.
    #[error("the relay refused {0} names (status 403)")]
    Names(u32),
    /// The chunk is too large for the relay.
    #[error("the chunk is too large for the relay (status 413)")]
    TooLarge,
    /// The relay said something else.
    #[error("the relay answered with status {0}")]
    Status(u16),
}

/// Why octets were not taken. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotWritten {
    /// More of them wait than may.
    #[error("more than {0} octets wait to be put")]
    Full(usize),
    /// The source has been finished, or has failed.
    #[error("the source has ended")]
    Ended,
}

/// Peer A of the rendezvous.
///
/// Octets that are written while a chunk is on its way go into the next one together, so that little is asked of the
/// relay. Each chunk gets a name of 192 bits that nobody can guess, and, if it is sealed, a key of its own.
///
/// ```
/// use acme_lurk::rendezvous::{RelayUrl, Source, SourceConfig, SourceEvent};
/// use watchfire_core::{ExchangeMachine as _, Instant, Machine as _, Output};
///
/// let relay = RelayUrl::parse("https://relay.example/", 2048)?;
/// let now = Instant::ZERO;
/// let seed = [7; 32]; // of the system, in earnest; never the same twice
/// let mut source = Source::new(SourceConfig::builder(relay).build()?, seed);
/// source.write(now, b"Hello World")?;
/// let Output::Event(SourceEvent::Exchange(request)) = source.poll_output(now) else { panic!() };
/// assert_eq!(&request.body[..], b"Hello World");
/// // ... POST it, and when the relay has answered with 200:
/// source.handle_response(now, request.id, 200)?;
/// let Output::Event(SourceEvent::Notify(notification)) = source.poll_output(now) else { panic!() };
/// assert_eq!(notification.url(), request.url);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Source {
    config: SourceConfig,
    secrets: Secrets,
    waiting: Zeroizing<Vec<u8>>,
    seq: u64,
    state: State,
    events: VecDeque<SourceEvent>,
    next_id: u64,
    backoff: Backoff,
    is_finished: bool,
    now: Instant,
}

enum State {
    Idle,
    /// A chunk is on its way to the relay.
    Storing(Chunk),
    /// B is being told.
    Notifying,
    Ended,
}

/// A chunk that is not at the relay yet, as far as we know.
struct Chunk {
    chid: String,
    key: Option<SealKey>,
    body: Arc<[u8]>,
    /// Names that were tried.
    names: u32,
    /// Attempts under this name.
    attempts: u32,
    /// The relay may have it: an attempt had no response.
    may_be_there: bool,
    step: Step,
}

#[derive(Clone, Copy)]
enum Step {
    Waiting { until: Instant },
    Asking { id: ExchangeId, deadline: Instant },
}

impl Source {
    /// A source with this seed, which must be random, secret, and never the same twice: names and keys come from it. It
    /// is wiped with the source.
    pub fn new(config: SourceConfig, seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        let mut secrets = Secrets::new(&seed);
        let backoff = Backoff::new(config.retry.0, config.retry.1, *secrets.next(b"retry"));
        Self {
            config,
            secrets,
            waiting: Zeroizing::default(),
            seq: 0,
            state: State::Idle,
            events: VecDeque::new(),
            next_id: 0,
            backoff,
            is_finished: false,
            now: Instant::ZERO,
        }
    }

    /// Takes octets. What fits into one chunk and comes while nothing is on its way is one chunk.
    ///
    /// # Errors
    /// When too many wait, or the source has ended. Nothing of them is taken then.
    pub fn write(&mut self, now: Instant, octets: &[u8]) -> Result<(), NotWritten> {
        self.pass(now);
        if self.is_finished || matches!(self.state, State::Ended) {
            return Err(NotWritten::Ended);
        }
        let len = self.waiting.len().saturating_add(octets.len());
        if len > self.config.waiting {
            return Err(NotWritten::Full(self.config.waiting));
        }
        if len > self.waiting.capacity() {
            // A vector that grows leaves what it held behind.
            let mut larger = Zeroizing::new(Vec::with_capacity(len.next_power_of_two().min(self.config.waiting)));
            larger.extend_from_slice(&self.waiting);
            self.waiting = larger;
        }
        self.waiting.extend_from_slice(octets);
        self.go_on();
        Ok(())
    }

    /// There will be no more octets: [`SourceEvent::Closed`] comes when all are delivered.
    pub fn finish(&mut self, now: Instant) {
        self.pass(now);
        self.is_finished = true;
        self.go_on();
    }

    /// B has been told of the chunk of this number. False if that was not what was waited for.
    pub fn notified(&mut self, now: Instant, seq: u64) -> bool {
        self.pass(now);
        if !matches!(self.state, State::Notifying) || seq != self.seq {
            return false;
        }
        self.seq = self.seq.saturating_add(1);
        self.state = State::Idle;
        self.go_on();
        true
    }

    /// Octets that wait to be put.
    pub fn waiting_octets(&self) -> usize {
        self.waiting.len()
    }

    fn pass(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Begins the next chunk, if there is one and nothing is on its way.
    fn go_on(&mut self) {
        if !matches!(self.state, State::Idle) {
            return;
        }
        if self.waiting.is_empty() {
            if self.is_finished {
                self.state = State::Ended;
                self.events.push_back(SourceEvent::Closed);
            }
            return;
        }
        let len = self.config.room().min(self.waiting.len());
        let data = self.waiting.get(..len).unwrap_or_default();
        let (key, body) = if self.config.sealed {
            let key = SealKey::new(*self.secrets.next(b"key"));
            let nonce = self.secrets.next(b"nonce");
            let nonce = nonce.first_chunk().copied().unwrap_or_default();
            let sealed = key.seal(nonce, data);
            (Some(key), sealed.into())
        } else {
            (None, data.into())
        };
        self.waiting.copy_within(len.., 0);
        let left = self.waiting.len().saturating_sub(len);
        self.waiting.get_mut(left..).unwrap_or_default().zeroize();
        self.waiting.truncate(left);
        let step = Step::Waiting { until: self.now };
        let chunk = Chunk { chid: self.new_name(), key, body, names: 1, attempts: 0, may_be_there: false, step };
        self.backoff.reset();
        self.ask(chunk);
    }

    /// Of 192 bits, and of the alphabet of base64url.
    fn new_name(&mut self) -> String {
        let octets = self.secrets.next(b"chid");
        base64url::encode(octets.get(..24).unwrap_or_default())
    }

    fn ask(&mut self, mut chunk: Chunk) {
        let id = ExchangeId(self.next_id);
        self.next_id = self.next_id.saturating_add(1);
        chunk.attempts = chunk.attempts.saturating_add(1);
        chunk.step = Step::Asking { id, deadline: self.now + self.config.patience };
        let url = self.config.relay.of(&chunk.chid);
        self.events.push_back(SourceEvent::Exchange(StoreRequest { id, url, body: Arc::clone(&chunk.body) }));
        self.state = State::Storing(chunk);
    }

    /// The chunk whose response this is, taken out; none if nobody waits for it.
    fn take(&mut self, id: ExchangeId) -> Option<Chunk> {
        let is_it = |chunk: &Chunk| matches!(chunk.step, Step::Asking { id: asked, .. } if asked == id);
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Storing(chunk) if is_it(&chunk) => Some(chunk),
            other => {
                self.state = other;
                None
            }
        }
    }

    fn try_again(&mut self, mut chunk: Chunk, error: StoreError) {
        if chunk.attempts >= self.config.attempts {
            return self.fail(error);
        }
        chunk.step = Step::Waiting { until: self.now + self.backoff.next_delay() };
        self.state = State::Storing(chunk);
    }

    fn stored(&mut self, chunk: Chunk) {
        let url = self.config.relay.of(&chunk.chid);
        let notification = Notification::of(url, self.seq, chunk.key, &chunk.body);
        self.state = State::Notifying;
        self.events.push_back(SourceEvent::Notify(notification));
    }

    fn fail(&mut self, error: StoreError) {
        self.state = State::Ended;
        self.waiting = Zeroizing::default();
        self.events.push_back(SourceEvent::Failed { seq: self.seq, error });
    }
}

impl Machine for Source {
    type Transmit = Infallible;
    type Event = SourceEvent;
    type Error = Infallible;

    fn poll_output(&mut self, now: Instant) -> Output<Infallible, SourceEvent> {
        self.pass(now);
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        Output::Timeout(match &self.state {
            State::Storing(chunk) => match chunk.step {
                Step::Waiting { until } => Some(until),
                Step::Asking { deadline, .. } => Some(deadline),
            },
            _ => None,
        })
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Infallible> {
        self.pass(now);
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Storing(chunk) => match chunk.step {
                Step::Waiting { until } if until <= self.now => self.ask(chunk),
                Step::Asking { id, deadline } if deadline <= self.now => {
                    self.events.push_back(SourceEvent::Abandon(id));
                    let chunk = Chunk { may_be_there: true, ..chunk };
                    self.try_again(chunk, StoreError::Exchange(ExchangeFailure::TimedOut));
                }
                _ => self.state = State::Storing(chunk),
            },
            other => self.state = other,
        }
        Ok(())
    }

    fn timeout_reason(&self) -> &'static str {
        match &self.state {
            State::Storing(Chunk { step: Step::Waiting { .. }, .. }) => "store again",
            State::Storing(_) => "relay silent",
            _ => "",
        }
    }

    fn is_finished(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}

impl ExchangeMachine for Source {
    type Id = ExchangeId;
    /// The status.
    type Response = u16;
    type Failure = ExchangeFailure;

    fn handle_response(&mut self, now: Instant, id: ExchangeId, status: u16) -> Result<(), Infallible> {
        self.pass(now);
        let Some(mut chunk) = self.take(id) else { return Ok(()) };
        match status {
            200..=299 => self.stored(chunk),
            // Nobody else can know the name: it is the attempt that had no response.
            403 if chunk.may_be_there => self.stored(chunk),
            403 if chunk.names < self.config.attempts => {
                chunk.chid = self.new_name();
                (chunk.names, chunk.attempts) = (chunk.names.saturating_add(1), 0);
                self.ask(chunk);
            }
            403 => self.fail(StoreError::Names(chunk.names)),
            401 | 407 => self.fail(StoreError::NotAuthorized(status)),
            413 => self.fail(StoreError::TooLarge),
            status if is_passing(status) => {
                // What is in front of a relay may give up before the relay does.
                chunk.may_be_there |= status != 503;
                self.try_again(chunk, StoreError::Status(status));
            }
            status => self.fail(StoreError::Status(status)),
        }
        Ok(())
    }

    fn handle_failure(&mut self, now: Instant, id: ExchangeId, failure: ExchangeFailure) -> Result<(), Infallible> {
        self.pass(now);
        let Some(mut chunk) = self.take(id) else { return Ok(()) };
        chunk.may_be_there |= failure != ExchangeFailure::Connect;
        self.try_again(chunk, StoreError::Exchange(failure));
        Ok(())
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("seq", &self.seq).field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

/// Names and keys out of a seed that is wiped with it, where a generator of random numbers would stay in memory.
struct Secrets {
    seed: Zeroizing<[u8; 32]>,
    count: u64,
}

impl Secrets {
    fn new(seed: &[u8; 32]) -> Self {
        Self { seed: Zeroizing::new(*seed), count: 0 }
    }

    /// 32 octets that were never given out before.
    fn next(&mut self, purpose: &[u8]) -> Zeroizing<[u8; 32]> {
        self.count = self.count.wrapping_add(1);
        let mut mac = Hmac::<Sha256>::new_from_slice(self.seed.as_slice()).expect("HMAC takes keys of any length");
        mac.update(&self.count.to_be_bytes());
        mac.update(purpose);
        Zeroizing::new(mac.finalize().into_bytes().into())
    }
}
