//! The client's side: binds a device to an account, refreshes the binding, ends it. draft-hallambaker-wsconnect-08
//! sections 3 to 5.
//!
//! ```text
//! bind_by_pin  OpenPINRequest ─▶ 281 ─▶ TicketRequest ─▶ 200 Bound
//!                                                     └▶ 282 ─▶ PollRequest ... ─▶ 200 Bound
//! bind         BindRequest ─▶ 200 Bound
//!                          └▶ 282 ─▶ PollRequest ... ─▶ 200 Bound
//! refresh      TicketRequest ─▶ 200 Bound
//! unbind       UnbindRequest ─▶ 200 Unbound
//! ```

use std::convert::Infallible;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use watchfire_core::{Duration, ExchangeMachine, Instant, Machine, Output, OutputQueue};

use super::account::AccountName;
use super::binding::Binding;
use super::config::ConnectClientConfig;
use super::exchange::{ExchangeId, Request, Response};
use super::pin::{Pin, Prover, check_challenge, random};
use super::{negotiate, poll};
use crate::error::{ApiMisuse, Error, ExchangeFailure, PeerIncompatible, PeerMisbehaved};
use crate::message::{
    Binary, BindRequest, Cryptographic, ImageLink, List, Message, OpenPinRequest, OpenPinResponse, PollRequest,
    TicketRequest, TicketResponse, UnbindRequest,
};
use crate::status::Status;

/// What a [`ConnectClient`] reports or asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectClientEvent {
    /// Make this request; answer by [`ExchangeMachine::handle_response`] or [`ExchangeMachine::handle_failure`].
    Request(Request),
    /// Show these images: the user compares them with those shown where the binding is confirmed.
    Images(Vec<ImageLink>),
    /// The binding waits for somebody to confirm it.
    Pending {
        /// How long until the service is asked again.
        retry: Duration,
    },
    /// The end: the binding. Keep it well.
    Bound(Binding),
    /// The end: the binding is no more, and this machine has wiped its keys. Wipe every copy of it.
    Unbound,
    /// The end without success.
    Closed {
        /// Why.
        error: Error,
    },
}

/// Talks to a broker's service-connect, for one binding, until it is bound, unbound or refused.
///
/// Requests go over TLS, to a host whose certificate is that of the account's service; the machine cannot see to that.
#[derive(Debug)]
pub struct ConnectClient {
    config: Arc<ConnectClientConfig>,
    out: OutputQueue<ConnectClientEvent>,
    rng: StdRng,
    next_exchange: u64,
    now: Instant,
    state: State,
}

#[derive(Debug)]
enum State {
    /// A request is with the driver.
    Asked {
        what: Asked,
        exchange: ExchangeId,
        deadline: Instant,
    },
    /// Between two polls.
    Waiting {
        pending: Pending,
        poll_at: Instant,
    },
    Done,
}

#[derive(Debug)]
enum Asked {
    Open { pin: Pin, challenge: [u8; 32], body: Bytes },
    Ticket { key: Cryptographic },
    Bind,
    Poll(Pending),
    Refresh(Binding),
    Unbind(Binding),
}

/// A binding that waits to be confirmed.
#[derive(Debug)]
struct Pending {
    transaction: Option<Binary>,
    key: Option<Cryptographic>,
    began: Instant,
    min_retry: Option<u32>,
}

impl ConnectClient {
    /// Binds to `account` by a PIN, which the other side must know as well. `seed` must come from a good source of
    /// randomness.
    pub fn bind_by_pin(
        config: Arc<ConnectClientConfig>,
        account: &AccountName,
        pin: Pin,
        seed: [u8; 32],
        now: Instant,
    ) -> Self {
        let mut client = Self::new(config, seed, now);
        let challenge: [u8; 32] = random(&mut client.rng);
        let device = &client.config.device;
        let request = OpenPinRequest {
            encryption: List::present(client.config.encryption.clone()),
            authentication: List::present(client.config.authentication.clone()),
            account: Some(account.local_part()),
            service: client.config.services.clone().into(),
            domain: Some(account.service().clone()),
            have_passcode: Some(true),
            have_display: Some(device.have_display),
            challenge: Some(challenge.into()),
            device_id: device.id.clone(),
            device_uri: device.uri.clone(),
            device_image: device.image.clone(),
            device_name: device.name.clone(),
            ..OpenPinRequest::default()
        };
        let body = client.encode(request);
        client.ask(Asked::Open { pin, challenge, body: body.clone() }, body, None);
        client
    }

    /// Binds without a PIN: at once where the service takes anybody, else when somebody has confirmed it.
    pub fn bind(config: Arc<ConnectClientConfig>, seed: [u8; 32], now: Instant) -> Self {
        let mut client = Self::new(config, seed, now);
        let request = BindRequest {
            service: client.config.services.clone().into(),
            encryption: List::present(client.config.encryption.clone()),
            authentication: List::present(client.config.authentication.clone()),
            ..BindRequest::default()
        };
        let body = client.encode(request);
        client.ask(Asked::Bind, body, None);
        client
    }

    /// Asks for new tickets in place of those of `binding`.
    ///
    /// # Errors
    /// When the binding is anonymous: bind again.
    pub fn refresh(config: Arc<ConnectClientConfig>, binding: Binding, now: Instant) -> Result<Self, ApiMisuse> {
        let key = binding.management().cloned().ok_or(ANONYMOUS)?;
        let mut client = Self::new(config, [0; 32], now);
        let request = TicketRequest { service: client.config.services.clone().into(), ..TicketRequest::default() };
        let body = client.encode(request);
        client.ask(Asked::Refresh(binding), body, Some(key));
        Ok(client)
    }

    /// Ends `binding`.
    ///
    /// # Errors
    /// When the binding is anonymous: there is nothing to end, forget it.
    pub fn unbind(config: Arc<ConnectClientConfig>, binding: Binding, now: Instant) -> Result<Self, ApiMisuse> {
        let key = binding.management().cloned().ok_or(ANONYMOUS)?;
        let mut client = Self::new(config, [0; 32], now);
        let body = client.encode(UnbindRequest::default());
        client.ask(Asked::Unbind(binding), body, Some(key));
        Ok(client)
    }

    fn new(config: Arc<ConnectClientConfig>, seed: [u8; 32], now: Instant) -> Self {
        Self {
            config,
            out: OutputQueue::new(usize::MAX),
            rng: StdRng::from_seed(seed),
            next_exchange: 0,
            now,
            state: State::Done,
        }
    }

    /// The binding that is being refreshed or ended, while it is not: what failed left it as it was.
    pub fn binding(&self) -> Option<&Binding> {
        match &self.state {
            State::Asked { what: Asked::Refresh(binding) | Asked::Unbind(binding), .. } => Some(binding),
            _ => None,
        }
    }

    fn encode(&self, message: impl Into<Message>) -> Bytes {
        let encoded = message.into().encode(self.config.encoding);
        encoded.expect("only unknown members cannot be encoded, and there are none").into()
    }

    /// Asks the driver for an exchange.
    fn ask(&mut self, what: Asked, body: Bytes, credentials: Option<Cryptographic>) {
        let exchange = ExchangeId(self.next_exchange);
        self.next_exchange = self.next_exchange.saturating_add(1);
        let encoding = self.config.encoding;
        self.out.event(ConnectClientEvent::Request(Request { id: exchange, encoding, body, credentials }));
        let deadline = self.now + self.config.response_timeout;
        self.state = State::Asked { what, exchange, deadline };
    }

    fn end(&mut self, last: ConnectClientEvent) {
        self.state = State::Done;
        self.out.event(last);
    }

    fn fail(&mut self, error: Error) -> Error {
        self.end(ConnectClientEvent::Closed { error: error.clone() });
        error
    }

    /// The message in a response, or how it refuses.
    fn read(&self, response: &Response, signed: bool) -> Result<Message, Error> {
        if signed && !response.authenticated && !self.config.accept_unsigned_responses {
            // An unsigned refusal is believed as far as it goes: it ends the attempt, as no answer would.
            return match self.decode(response) {
                Ok(message) if !is_refusal(&message) => Err(PeerMisbehaved::NotAuthenticated.into()),
                other => other,
            };
        }
        self.decode(response)
    }

    fn decode(&self, response: &Response) -> Result<Message, Error> {
        let http = Status::new(response.http_status.into());
        let decoded = match response.encoding {
            Some(encoding) => Message::decode(&response.body, encoding, &self.config.limits).map_err(Error::from),
            None => Err(PeerIncompatible::MediaType.into()),
        };
        match decoded {
            Ok(message) => Ok(message),
            // A service may refuse before it has come as far as messages.
            Err(_) if response.http_status >= 400 => Err(Error::Refused(http)),
            Err(error) => Err(error),
        }
    }

    fn opened(
        &mut self,
        response: OpenPinResponse,
        body: &[u8],
        pin: &Pin,
        challenge: &[u8; 32],
        request: &[u8],
    ) -> Result<(), Error> {
        let status = response.status.unwrap_or(Status::PIN_REQUIRED);
        if !status.needs_pin() {
            return Err(refusal_or(status));
        }
        let theirs = response.challenge.ok_or(PeerMisbehaved::MissingField("Challenge"))?;
        let proof = response.challenge_response.ok_or(PeerMisbehaved::MissingField("ChallengeResponse"))?;
        let key = response.cryptographic.ok_or(PeerMisbehaved::MissingField("Cryptographic"))?;
        check_challenge(theirs.as_bytes())?;
        // With our own challenge thrown back at us, our answer would be what we asked for.
        if theirs.as_bytes() == challenge {
            return Err(PeerMisbehaved::WrongProof.into());
        }
        negotiate::check(&key, (&self.config.authentication, &self.config.encryption))?;
        let config = Arc::clone(&self.config);
        let prover = Prover::new(&*config.provider, &key.authentication).ok_or(PeerMisbehaved::NotOffered)?;
        let due = prover.server(config.server_proof, pin, challenge, &key.secret, request);
        if !prover.accepts(&due, proof.as_bytes()) {
            return Err(PeerMisbehaved::WrongProof.into());
        }
        if !response.verification_image.is_empty() {
            self.out.event(ConnectClientEvent::Images(response.verification_image.into_vec()));
        }
        let answer = prover.client(pin, theirs.as_bytes(), body);
        let request = TicketRequest {
            service: config.services.clone().into(),
            challenge_response: Some(answer.as_bytes().into()),
            ..TicketRequest::default()
        };
        let body = self.encode(request);
        self.ask(Asked::Ticket { key: key.clone() }, body, Some(key));
        Ok(())
    }

    /// Tickets, or the news that they have to wait.
    fn tickets(&mut self, response: TicketResponse, pending: Pending) -> Result<(), Error> {
        let status = response.status.unwrap_or(Status::SUCCESS);
        if status.is_pending() {
            return self.wait(pending, response.transaction_id, response.min_retry);
        }
        if status != Status::SUCCESS {
            return Err(refusal_or(status));
        }
        let binding = self.usable(response)?;
        self.end(ConnectClientEvent::Bound(binding));
        Ok(())
    }

    fn usable(&self, response: TicketResponse) -> Result<Binding, Error> {
        let binding = Binding::from_response(response);
        let keys = binding.service.iter().filter_map(|instance| instance.cryptographic.as_ref());
        for key in binding.cryptographic.iter().chain(keys) {
            negotiate::check(key, (&self.config.authentication, &self.config.encryption))?;
        }
        if binding.service.is_empty() {
            return Err(PeerIncompatible::NoUsableInstance.into());
        }
        Ok(binding)
    }

    fn wait(&mut self, mut pending: Pending, transaction: Option<Binary>, retry: Option<u32>) -> Result<(), Error> {
        pending.transaction = transaction.or(pending.transaction);
        pending.min_retry = retry.or(pending.min_retry);
        let poll_at = poll::next(self.now, pending.began, pending.min_retry);
        if self.config.patience.is_some_and(|patience| poll_at > pending.began + patience) {
            return Err(Error::TimedOut(CONFIRMATION));
        }
        self.out.event(ConnectClientEvent::Pending { retry: poll_at - self.now });
        self.state = State::Waiting { pending, poll_at };
        Ok(())
    }

    fn respond(&mut self, what: Asked, response: &Response) -> Result<(), Error> {
        let signed = matches!(
            &what,
            Asked::Ticket { .. } | Asked::Refresh(_) | Asked::Unbind(_) | Asked::Poll(Pending { key: Some(_), .. })
        );
        let message = match self.read(response, signed) {
            Ok(Message::ErrorResponse(error)) => Err(refusal_or(error.status.unwrap_or(Status::UNKNOWN))),
            other => other,
        };
        let message = match message {
            Ok(message) => message,
            Err(error) => return self.later(what, error),
        };
        match (what, message) {
            (Asked::Open { pin, challenge, body }, Message::OpenPinResponse(message)) => {
                self.opened(message, &response.body, &pin, &challenge, &body)
            }
            (Asked::Ticket { key }, Message::TicketResponse(message)) => {
                let pending = Pending { transaction: None, key: Some(key), began: self.now, min_retry: None };
                self.tickets(message, pending)
            }
            (Asked::Bind, Message::TicketResponse(message)) => {
                let pending = Pending { transaction: None, key: None, began: self.now, min_retry: None };
                self.tickets(message, pending)
            }
            (Asked::Poll(pending), Message::TicketResponse(message)) => match message.status.unwrap_or(Status::SUCCESS)
            {
                status if passes(status) => self.wait(pending, None, message.min_retry),
                _ => self.tickets(message, pending),
            },
            (Asked::Refresh(old), Message::TicketResponse(message)) => {
                match message.status.unwrap_or(Status::SUCCESS) {
                    Status::SUCCESS => {}
                    status => return Err(refusal_or(status)),
                }
                let mut binding = self.usable(message)?;
                if binding.management().is_none() {
                    binding.cryptographic = old.cryptographic;
                }
                self.end(ConnectClientEvent::Bound(binding));
                Ok(())
            }
            (Asked::Unbind(binding), Message::UnbindResponse(message)) => {
                match message.status.unwrap_or(Status::SUCCESS) {
                    Status::SUCCESS => {}
                    status => return Err(refusal_or(status)),
                }
                drop(binding); // which wipes its keys
                self.end(ConnectClientEvent::Unbound);
                Ok(())
            }
            (what, message) => {
                // A response of the right kind of refusal may come in the wrong kind of message.
                match message.status() {
                    Some(status) if !status.is_success() && !status.is_pending() => Err(Error::Refused(status)),
                    _ => {
                        let (expected, got) = (what.response(), message.name());
                        Err(PeerMisbehaved::UnexpectedMessage { expected, got }.into())
                    }
                }
            }
        }
    }

    /// A poll that a service refuses because it is busy or broken is made again.
    fn later(&mut self, what: Asked, error: Error) -> Result<(), Error> {
        match (what, error) {
            (Asked::Poll(pending), Error::Refused(status)) if passes(status) => self.wait(pending, None, None),
            (_, error) => Err(error),
        }
    }

    /// A poll that got no answer is made again, when it would be time for the next.
    fn unanswered(&mut self, what: Asked, error: Error) -> Result<(), Error> {
        match what {
            Asked::Poll(pending) => match self.wait(pending, None, None) {
                Ok(()) => Ok(()),
                Err(error) => Err(self.fail(error)),
            },
            _ => Err(self.fail(error)),
        }
    }

    fn poll_again(&mut self, pending: Pending) {
        let request = PollRequest { transaction_id: pending.transaction.clone(), ..PollRequest::default() };
        let body = self.encode(request);
        let key = pending.key.clone();
        self.ask(Asked::Poll(pending), body, key);
    }

    /// Takes the state that waits for `id`. `Ok(None)` for an exchange that this machine gave up.
    fn take(&mut self, id: ExchangeId) -> Result<Option<Asked>, Error> {
        match mem::replace(&mut self.state, State::Done) {
            State::Asked { what, exchange, .. } if exchange == id => Ok(Some(what)),
            other => {
                self.state = other;
                if id.0 < self.next_exchange { Ok(None) } else { Err(ApiMisuse::UnknownId.into()) }
            }
        }
    }
}

const ANONYMOUS: ApiMisuse = ApiMisuse::Unusable("the binding has no key of its own, as anonymous ones have none");
const CONFIRMATION: &str = "nobody confirmed the binding";

/// Whether a refusal may pass by itself.
const fn passes(status: Status) -> bool {
    matches!(status.code(), 429 | 500 | 502..=504)
}

/// Whether a message says no.
fn is_refusal(message: &Message) -> bool {
    message.status().is_some_and(|status| !status.is_success() && !status.is_pending())
}

/// A status that is not the one that was due: a refusal, or nonsense.
fn refusal_or(status: Status) -> Error {
    if status.is_success() { PeerMisbehaved::UnexpectedStatus(status).into() } else { Error::Refused(status) }
}

impl Asked {
    /// The name of the response that is due.
    const fn response(&self) -> &'static str {
        match self {
            Self::Open { .. } => "OpenPINResponse",
            Self::Ticket { .. } | Self::Bind | Self::Poll(_) | Self::Refresh(_) => "TicketResponse",
            Self::Unbind(_) => "UnbindResponse",
        }
    }
}

impl Machine for ConnectClient {
    type Transmit = Infallible;
    type Event = ConnectClientEvent;
    type Error = Error;

    fn poll_output(&mut self, now: Instant) -> Output<Infallible, ConnectClientEvent> {
        self.now = self.now.max(now);
        match self.out.poll() {
            Some(Output::Event(event)) => Output::Event(event),
            _ => Output::Timeout(match &self.state {
                State::Asked { deadline, .. } => Some(*deadline),
                State::Waiting { poll_at, .. } => Some(*poll_at),
                State::Done => None,
            }),
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.now = self.now.max(now);
        match mem::replace(&mut self.state, State::Done) {
            State::Asked { what, deadline, .. } if deadline <= self.now => {
                self.unanswered(what, Error::Unreachable(ExchangeFailure::TimedOut))
            }
            State::Waiting { pending, poll_at } if poll_at <= self.now => {
                self.poll_again(pending);
                Ok(())
            }
            other => {
                self.state = other;
                Ok(())
            }
        }
    }

    fn timeout_reason(&self) -> &'static str {
        match &self.state {
            State::Asked { .. } => "response to service-connect",
            State::Waiting { .. } => "next poll of service-connect",
            State::Done => "",
        }
    }

    fn is_finished(&self) -> bool {
        matches!(self.state, State::Done)
    }
}

impl ExchangeMachine for ConnectClient {
    type Id = ExchangeId;
    type Response = Response;
    type Failure = ExchangeFailure;

    /// The response to exchange `id`. One that comes after its time is ignored.
    ///
    /// # Errors
    /// Fatal, but for [`ApiMisuse::UnknownId`] about an exchange that was never asked for.
    fn handle_response(&mut self, now: Instant, id: ExchangeId, response: Response) -> Result<(), Error> {
        self.now = self.now.max(now);
        let Some(what) = self.take(id)? else { return Ok(()) };
        self.respond(what, &response).map_err(|error| self.fail(error))
    }

    /// Exchange `id` got no response. A poll is made again later; everything else ends with it.
    ///
    /// # Errors
    /// As [`Self::handle_response`].
    fn handle_failure(&mut self, now: Instant, id: ExchangeId, failure: ExchangeFailure) -> Result<(), Error> {
        self.now = self.now.max(now);
        let Some(what) = self.take(id)? else { return Ok(()) };
        self.unanswered(what, Error::Unreachable(failure))
    }
}
