//! The client of an ACME server. [RFC 8555 section 7](https://www.rfc-editor.org/rfc/rfc8555#section-7),
//! [RFC 8739](https://www.rfc-editor.org/rfc/rfc8739), [RFC 9115](https://www.rfc-editor.org/rfc/rfc9115),
//! [RFC 9773](https://www.rfc-editor.org/rfc/rfc9773)
//!
//! A [`Client`] has one key at one server. Each verb ([`new_account`](Client::new_account),
//! [`obtain`](Client::obtain), [`cancel`](Client::cancel), ...) is a call, and each call is answered by one
//! [`ClientEvent::Answered`]. The client asks for HTTP exchanges by [`ClientEvent::Exchange`]; the driver makes them and
//! says what came of each ([`handle_response`](Client::handle_response), [`handle_failure`](Client::handle_failure)).
//! Directory, nonces, signatures, waiting and trying again are the client's affair.
//!
//! After every call into it, [`poll_output`](Client::poll_output) until it gives the time-out; then
//! [`handle_timeout`](Client::handle_timeout) at that instant. The same inputs and the same seed give the same outputs.
//!
//! ```
//! # #[cfg(feature = "ring")] {
//! use std::sync::Arc;
//! use acme_lurk::Now;
//! use acme_lurk::acme::NewAccount;
//! use acme_lurk::acme::client::{Client, ClientConfig, ClientEvent, Received};
//! use acme_lurk::crypto::RingSigner;
//! use watchfire_core::{Instant, Output, UnixTime};
//!
//! let (key, _pkcs8) = RingSigner::generate_p256()?;
//! let config = Arc::new(ClientConfig::builder("https://ca.example/directory").build()?);
//! let now = Now::new(Instant::ZERO, UnixTime::from_secs(1_700_000_000));
//! let mut client = Client::new(config, Arc::new(key), [7; 32])?;
//! client.new_account(now, NewAccount::default(), None)?;
//! let Output::Event(ClientEvent::Exchange(first)) = client.poll_output(now) else { panic!() };
//! assert_eq!((first.method, first.url.as_str()), ("GET", "https://ca.example/directory"));
//! // Make the exchange, and:
//! client.handle_response(now, first.id, Received::new(503, [("retry-after", "5")], ""));
//! assert!(matches!(client.poll_output(now), Output::Timeout(Some(at)) if at >= Instant::from_secs(5)));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod call;
mod config;
mod error;
mod event;
mod exchange;
mod http;
mod obtain;
mod verbs;

pub use config::{ClientConfig, ClientConfigBuilder, ClientLimits};
pub use error::{ClientError, PeerIncompatible, PeerMisbehaved};
pub use event::{Answer, CallId, ClientEvent, Fetched, Provision, ProvisionId};
pub use http::{Exchange, ExchangeFailure, ExchangeId, Received};
pub use obtain::Obtain;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use watchfire_core::{Backoff, Duration, Instant, Output};

use self::call::Call;
use self::obtain::Pursuit;
use super::Directory;
use crate::crypto::Signer;
use crate::error::ApiMisuse;
use crate::now::Now;

/// A client of one server, with one key.
pub struct Client {
    config: Arc<ClientConfig>,
    signer: Arc<dyn Signer>,
    random: StdRng,
    latest: Instant,
    counter: u64,
    directory: Option<Arc<Directory>>,
    account: Option<String>,
    nonces: VecDeque<String>,
    calls: BTreeMap<CallId, Pending>,
    /// Calls that may be made as soon as there is room, and what else they need.
    signed: VecDeque<CallId>,
    open: VecDeque<CallId>,
    /// Calls that wait for an account that is being made.
    homeless: Vec<CallId>,
    exchanges: BTreeMap<ExchangeId, (Purpose, Instant)>,
    pursuits: BTreeMap<CallId, Pursuit>,
    provisions: BTreeMap<ProvisionId, CallId>,
    /// For what all calls need: directory and nonces.
    common: Backoff,
    common_at: Option<Instant>,
    last_failure: Option<String>,
    timers: BTreeSet<(Instant, Timer)>,
    events: VecDeque<ClientEvent>,
}

/// A call that is not answered yet.
#[derive(Debug)]
struct Pending {
    call: Call,
    /// The pursuit of an order that it belongs to.
    owner: Option<CallId>,
    until: Instant,
    nonce: Option<String>,
    nonce_retries: u8,
    backoff: Backoff,
    flight: Option<ExchangeId>,
    retry_at: Option<Instant>,
    last_failure: Option<String>,
}

/// What an exchange is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Directory,
    Nonce,
    Call(CallId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Exchange(ExchangeId),
    Call(CallId),
    Retry(CallId),
    Common,
    Pursuit(CallId),
    Poll(CallId),
}

impl Client {
    /// A client that has asked nothing yet. The seed spreads the waits; it need not be secret.
    ///
    /// # Errors
    /// When the key is of a kind that does not sign requests, and when the directory is neither at a URL of https nor
    /// of an origin that is allowed ([`UrlRules::with_origin`](crate::url::UrlRules::with_origin)).
    pub fn new(config: Arc<ClientConfig>, signer: Arc<dyn Signer>, seed: [u8; 32]) -> Result<Self, ClientError> {
        call::check_signer(&*signer)?;
        let refused = |refusal| ClientError::ApiMisuse(ApiMisuse::Directory(refusal));
        config.urls.signed(&config.directory, &config.directory).map_err(refused)?;
        let (min, max) = config.limits.retry;
        let mut random = StdRng::from_seed(seed);
        let common = Backoff::new(min, max, random.random());
        Ok(Self {
            config,
            signer,
            random,
            latest: Instant::ZERO,
            counter: 0,
            directory: None,
            account: None,
            nonces: VecDeque::new(),
            calls: BTreeMap::new(),
            signed: VecDeque::new(),
            open: VecDeque::new(),
            homeless: Vec::new(),
            exchanges: BTreeMap::new(),
            pursuits: BTreeMap::new(),
            provisions: BTreeMap::new(),
            common,
            common_at: None,
            last_failure: None,
            timers: BTreeSet::new(),
            events: VecDeque::new(),
        })
    }

    /// The same, knowing the URL of its account from before.
    #[must_use]
    pub fn with_account(mut self, url: impl Into<String>) -> Self {
        self.account = Some(url.into());
        self
    }

    /// The URL of the account, when it is known.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// The directory, when it was read.
    pub fn directory(&self) -> Option<&Arc<Directory>> {
        self.directory.as_ref()
    }

    /// The key of the account.
    pub fn signer(&self) -> &Arc<dyn Signer> {
        &self.signer
    }

    /// The configuration.
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// How many calls are not answered yet.
    pub fn pending(&self) -> usize {
        self.calls.values().filter(|call| call.owner.is_none()).count().saturating_add(self.pursuits.len())
    }

    /// The next thing to do or to know, or when to wake.
    #[must_use = "an output that is dropped is lost"]
    pub fn poll_output(&mut self, now: Now) -> Output<Infallible, ClientEvent> {
        self.tell(now);
        self.pump(now);
        match self.events.pop_front() {
            Some(event) => Output::Event(event),
            None => Output::Timeout(self.timers.first().map(|(at, _)| *at)),
        }
    }

    /// What the next time-out is for, for logs.
    pub fn timeout_reason(&self) -> &'static str {
        match self.timers.first() {
            None => "",
            Some((_, Timer::Exchange(_))) => "an exchange",
            Some((_, Timer::Call(_) | Timer::Pursuit(_))) => "the end of a call",
            Some((_, Timer::Retry(_) | Timer::Common)) => "trying again",
            Some((_, Timer::Poll(_))) => "looking again",
        }
    }

    /// The instant of the last time-out has come.
    pub fn handle_timeout(&mut self, now: Now) {
        self.tell(now);
        while let Some((_, timer)) = self.timers.first().copied().filter(|(at, _)| *at <= now.instant) {
            self.timers.pop_first();
            match timer {
                Timer::Exchange(id) => {
                    self.events.push_back(ClientEvent::Abandon(id));
                    self.failed(now, id, &ExchangeFailure::TimedOut);
                }
                Timer::Call(id) => self.out_of_time(now, id),
                Timer::Retry(id) => {
                    if let Some(pending) = self.calls.get_mut(&id) {
                        pending.retry_at = None;
                        self.enqueue(id);
                    }
                }
                Timer::Common => self.common_at = None,
                Timer::Pursuit(id) => self.pursuit_out_of_time(now, id),
                Timer::Poll(id) => self.poll_pursuit(now, id),
            }
        }
        self.pump(now);
    }

    /// An exchange was made. One that was abandoned, or is not known, does not count.
    pub fn handle_response(&mut self, now: Now, id: ExchangeId, received: Received) {
        self.tell(now);
        self.received(now, id, received);
        self.pump(now);
    }

    /// An exchange could not be made.
    pub fn handle_failure(&mut self, now: Now, id: ExchangeId, failure: ExchangeFailure) {
        self.tell(now);
        self.failed(now, id, &failure);
        self.pump(now);
    }

    fn tell(&mut self, now: Now) {
        self.latest = self.latest.max(now.instant);
    }

    fn number(&mut self) -> u64 {
        self.counter = self.counter.saturating_add(1);
        self.counter
    }

    fn backoff(&mut self) -> Backoff {
        let (min, max) = self.config.limits.retry;
        Backoff::new(min, max, self.random.random())
    }

    fn later(now: Now, wait: Duration, retry_after: Option<u64>) -> Instant {
        now.instant + wait.max(Duration::from_secs(retry_after.unwrap_or(0)))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("directory", &self.config.directory)
            .field("account", &self.account)
            .field("calls", &self.calls.len())
            .field("pursuits", &self.pursuits.len())
            .finish_non_exhaustive()
    }
}
