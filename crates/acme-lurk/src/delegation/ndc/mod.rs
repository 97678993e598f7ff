//! The machine of a delegate. [RFC 9115 sections 2.2](https://www.rfc-editor.org/rfc/rfc9115#section-2.2),
//! [2.3](https://www.rfc-editor.org/rfc/rfc9115#section-2.3)

mod config;
mod event;
mod keep;
mod order;
mod roll;

pub use config::{NdcConfig, NdcConfigBuilder};
pub use event::{Installation, NdcEnd, NdcError, NdcEvent, Unfit, WrongCertificate};

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use watchfire_core::{Backoff, Duration, Instant, Output, UnixTime};

use self::keep::Kept;
use crate::acme::client::{
    Answer, CallId, Client, ClientConfig, ClientError, ClientEvent, ExchangeFailure, ExchangeId, Received,
};
use crate::certificate::Certificate;
use crate::crypto::{Signer, Verifier};
use crate::error::ApiMisuse;
use crate::error::DecodeError;
use crate::now::Now;
use crate::star::RollTimer;

/// A delegate: one account at one name owner's server, and one certificate that is kept fresh.
///
/// ```text
/// directory -> account -> delegations -> template -> request -> order -> certificate -> installed
///                                                                 ^                        |
///                                                                 '---- the next one ------'
/// ```
///
/// The driver makes exchanges and installs certificates. After each call into it: keep what
/// [`take_snapshot`](Self::take_snapshot) gives, then [`poll_output`](Self::poll_output) until it gives the time-out.
/// A delegate that is made from the last snapshot goes on where the other one was.
///
/// What is fetched is looked at before anybody sees it: it must be for the key and the names that were ordered.
pub struct Ndc {
    config: Arc<NdcConfig>,
    client: Client,
    key: Arc<dyn Signer>,
    verifier: Arc<dyn Verifier>,
    random: StdRng,
    kept: Kept,
    said: Kept,
    state: State,
    /// When to look for the next certificate of an order that is renewed automatically.
    timer: Option<RollTimer>,
    wake: Option<Wake>,
    backoff: Backoff,
    last_failure: Option<String>,
    /// Of the certificate that is installed.
    alarm_said: bool,
    gap_said: bool,
    alarm_at: Option<UnixTime>,
    installing: Option<Installation>,
    events: VecDeque<NdcEvent>,
}

/// What is being done.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Directory(CallId),
    Account(CallId),
    Listing(CallId),
    Reading {
        call: CallId,
        rest: VecDeque<String>,
        unfit: Vec<(String, Unfit)>,
    },
    Ordering(CallId),
    Fetching(CallId),
    Installing,
    /// Until it is time to look, or to order again.
    Resting,
    Ended,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wake {
    /// To fetch the next certificate.
    Fetch(UnixTime),
    /// To order anew.
    Order(UnixTime),
    /// To try again, on the clock that does not jump.
    Again(Instant),
}

impl Ndc {
    /// A delegate that begins. `account_key` signs its requests, `key` is the one that the certificate is for, and
    /// `verifier` checks its own request before it is sent. The seed spreads waits.
    ///
    /// # Errors
    /// When the account's key is of a kind that does not sign requests, or when both keys are the same.
    pub fn new(
        config: Arc<NdcConfig>,
        server: Arc<ClientConfig>,
        account_key: Arc<dyn Signer>,
        key: Arc<dyn Signer>,
        verifier: Arc<dyn Verifier>,
        seed: [u8; 32],
        now: Now,
    ) -> Result<Self, ClientError> {
        Self::begin(config, server, account_key, key, verifier, seed, now, Kept::default())
    }

    /// A delegate that goes on from a snapshot.
    ///
    /// # Errors
    /// As [`new`](Self::new), and when the snapshot is none.
    #[allow(clippy::too_many_arguments, reason = "those of `new`, and one")]
    pub fn restore(
        config: Arc<NdcConfig>,
        server: Arc<ClientConfig>,
        account_key: Arc<dyn Signer>,
        key: Arc<dyn Signer>,
        verifier: Arc<dyn Verifier>,
        seed: [u8; 32],
        now: Now,
        snapshot: &[u8],
    ) -> Result<Self, ClientError> {
        let kept = Kept::decode(snapshot, &server.messages).map_err(ClientError::InvalidMessage)?;
        Self::begin(config, server, account_key, key, verifier, seed, now, kept)
    }

    #[allow(clippy::too_many_arguments, reason = "those of `restore`")]
    fn begin(
        config: Arc<NdcConfig>,
        server: Arc<ClientConfig>,
        account_key: Arc<dyn Signer>,
        key: Arc<dyn Signer>,
        verifier: Arc<dyn Verifier>,
        seed: [u8; 32],
        now: Now,
        kept: Kept,
    ) -> Result<Self, ClientError> {
        // RFC 8555 section 11.1: whoever can read the one must not have the other.
        if account_key.public_key() == key.public_key() {
            return Err(ClientError::ApiMisuse(ApiMisuse::Key));
        }
        let mut kept = kept;
        kept.drop_unless_for(key.public_key(), &config.names, &server.messages);
        let mut random = StdRng::from_seed(seed);
        let mut client = Client::new(server, account_key, random.random())?;
        if let Some(account) = &kept.account {
            client = client.with_account(account.clone());
        }
        let (first, longest) = config.retry;
        let backoff = Backoff::new(first, longest, random.random());
        let mut ndc = Self {
            config,
            client,
            key,
            verifier,
            random,
            said: kept.clone(),
            kept,
            state: State::Resting,
            timer: None,
            wake: None,
            backoff,
            last_failure: None,
            alarm_said: false,
            gap_said: false,
            alarm_at: None,
            installing: None,
            events: VecDeque::new(),
        };
        ndc.resume(now);
        Ok(ndc)
    }

    /// Where it stands, in a word, for status pages: `ordering`, `resting`, ...
    pub fn phase(&self) -> &'static str {
        match &self.state {
            State::Directory(_) => "directory",
            State::Account(_) => "account",
            State::Listing(_) | State::Reading { .. } => "delegations",
            State::Ordering(_) => "ordering",
            State::Fetching(_) => "fetching",
            State::Installing => "installing",
            State::Resting => "resting",
            State::Ended => "ended",
        }
    }

    /// The URL of the order, when there is one.
    pub fn order_url(&self) -> Option<&str> {
        self.kept.order.as_ref()?.url.as_deref()
    }

    /// Until when the certificate that is installed is good.
    pub fn installed_until(&self) -> Option<UnixTime> {
        self.kept.installed
    }

    /// Whether nothing more will be done. Outputs may still be queued.
    pub fn is_finished(&self) -> bool {
        self.state == State::Ended
    }

    /// What must be kept over a restart, if it has changed since it was taken last. It has no secrets but the URL of
    /// the certificate.
    #[must_use = "what is not kept is lost"]
    pub fn take_snapshot(&mut self) -> Option<Vec<u8>> {
        if self.kept == self.said {
            return None;
        }
        self.said = self.kept.clone();
        Some(self.kept.encode())
    }

    /// The next thing to do or to know, or when to wake.
    #[must_use = "an output that is dropped is lost"]
    pub fn poll_output(&mut self, now: Now) -> Output<Infallible, NdcEvent> {
        if self.events.is_empty() {
            let at = self.drain(now);
            if self.events.is_empty() {
                let own = self.wake_at(now);
                return Output::Timeout([at, own].into_iter().flatten().min());
            }
        }
        self.events.pop_front().map_or(Output::Timeout(None), Output::Event)
    }

    /// The instant of the last time-out has come.
    pub fn handle_timeout(&mut self, now: Now) {
        self.client.handle_timeout(now);
        self.drain(now);
        self.watch(now);
        let is_due = match self.wake {
            Some(Wake::Fetch(date) | Wake::Order(date)) => date <= now.unix,
            Some(Wake::Again(at)) => at <= now.instant,
            None => false,
        };
        if is_due && self.state == State::Resting {
            match self.wake.take() {
                Some(Wake::Fetch(_)) => self.fetch(now),
                Some(Wake::Order(_)) => {
                    self.kept.order = None;
                    self.find_delegation(now);
                }
                Some(Wake::Again(_)) => self.resume(now),
                None => {}
            }
            self.drain(now);
        }
    }

    /// An exchange was made.
    pub fn handle_response(&mut self, now: Now, id: ExchangeId, received: Received) {
        self.client.handle_response(now, id, received);
        self.drain(now);
    }

    /// An exchange could not be made.
    pub fn handle_failure(&mut self, now: Now, id: ExchangeId, failure: ExchangeFailure) {
        self.client.handle_failure(now, id, failure);
        self.drain(now);
    }

    /// Takes in what the client has to say, so that a snapshot is complete before anything is sent.
    fn drain(&mut self, now: Now) -> Option<Instant> {
        loop {
            match self.client.poll_output(now) {
                Output::Event(event) => self.heard(now, event),
                Output::Timeout(at) => return at,
                Output::Transmit(never) => match never {},
            }
        }
    }

    fn wake_at(&self, now: Now) -> Option<Instant> {
        let own = match self.wake.filter(|_| self.state == State::Resting) {
            Some(Wake::Fetch(date) | Wake::Order(date)) => Some(now.wake_for(date)),
            Some(Wake::Again(at)) => Some(at),
            None => None,
        };
        let running = (self.state != State::Ended).then_some(self.kept.installed).flatten();
        let gap = running.filter(|_| !self.gap_said).map(|date| now.wake_for(date));
        let alarm = self.alarm_at.filter(|_| running.is_some() && !self.alarm_said).map(|date| now.wake_for(date));
        [own, gap, alarm].into_iter().flatten().min()
    }

    /// Says what has become late.
    fn watch(&mut self, now: Now) {
        let Some(not_after) = self.kept.installed.filter(|_| self.state != State::Ended) else { return };
        if !self.alarm_said && self.alarm_at.is_some_and(|at| at <= now.unix) {
            self.alarm_said = true;
            self.events.push_back(NdcEvent::Alarm { not_after, last: self.last_failure.clone() });
        }
        if !self.gap_said && not_after <= now.unix {
            self.gap_said = true;
            self.events.push_back(NdcEvent::Gap { not_after });
        }
    }

    /// Begins, or goes on, by what is known.
    fn resume(&mut self, now: Now) {
        let order = self.kept.order.as_ref();
        let certificate = order.and_then(|order| order.certificate.clone());
        match (certificate, order.is_some()) {
            (Some(_), _) => {
                self.restart_timer(now);
                self.fetch(now);
            }
            (None, true) => self.pursue(now),
            (None, false) => self.find_delegation(now),
        }
    }

    fn heard(&mut self, now: Now, event: ClientEvent) {
        match event {
            ClientEvent::Exchange(exchange) => self.events.push_back(NdcEvent::Exchange(exchange)),
            ClientEvent::Abandon(id) => self.events.push_back(NdcEvent::Abandon(id)),
            ClientEvent::Placed { url, order, .. } => self.placed(now, url, &order),
            ClientEvent::Answered { id, result } => self.answered(now, id, result),
            // A delegated order has nothing to authorize; the client does not let others pass.
            ClientEvent::Provision(provision) => {
                self.client.provision_failed(now, provision.id, "a delegate proves nothing");
            }
            ClientEvent::CleanUp(_) => {}
        }
    }

    fn answered(&mut self, now: Now, id: CallId, result: Result<Answer, ClientError>) {
        match self.state.clone() {
            State::Directory(call) if call == id => self.saw_directory(now, result),
            State::Account(call) if call == id => self.saw_account(now, result),
            State::Listing(call) if call == id => self.saw_list(now, result),
            State::Reading { call, rest, unfit } if call == id => self.saw_delegation(now, rest, unfit, result),
            State::Ordering(call) if call == id => self.saw_order(now, result),
            State::Fetching(call) if call == id => self.saw_certificate(now, result),
            _ => {}
        }
    }

    /// Nothing more will be done.
    fn end(&mut self, end: NdcEnd) {
        if self.state != State::Ended {
            self.state = State::Ended;
            self.wake = None;
            self.events.push_back(NdcEvent::Ended(end));
        }
    }

    /// Something failed. Who has had a certificate tries again for ever, and is heard by its alarms; who has not is told.
    fn fail(&mut self, now: Now, error: NdcError) {
        if self.config.once || self.kept.installed.is_none() {
            self.end(NdcEnd::Failed(error));
            return;
        }
        self.last_failure = Some(error.to_string());
        let wait = self.backoff.next_delay().max(Duration::from_secs(1));
        self.state = State::Resting;
        self.wake = Some(Wake::Again(now.instant + wait));
    }

    /// Whether a certificate is the one that was ordered, and valid.
    fn check(&self, now: Now, leaf: &[u8]) -> Result<(UnixTime, UnixTime), WrongCertificate> {
        let limits = &self.client.config().messages;
        let leaf =
            Certificate::decode(leaf, limits).map_err(|error: DecodeError| WrongCertificate::Unreadable(error))?;
        if !leaf.is_for_key(self.key.public_key()) {
            return Err(WrongCertificate::Key);
        }
        let names = self.ordered_names(limits);
        if !leaf.is_for_names(&names) {
            return Err(WrongCertificate::Names);
        }
        if leaf.not_after() <= now.unix {
            return Err(WrongCertificate::Expired);
        }
        // Our clock may be slow by some minutes.
        if leaf.not_before() > now.date_in(300) {
            return Err(WrongCertificate::NotYet);
        }
        Ok((leaf.not_before(), leaf.not_after()))
    }
}

impl fmt::Debug for Ndc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ndc")
            .field("phase", &self.phase())
            .field("order", &self.order_url())
            .field("installed", &self.kept.installed)
            .finish_non_exhaustive()
    }
}
