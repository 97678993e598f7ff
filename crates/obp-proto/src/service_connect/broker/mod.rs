//! The broker's side: offers and checks PINs, keeps what waits for confirmation, hands out tickets.
//! draft-hallambaker-wsconnect-08 sections 3 to 5.
//!
//! Who may have what is the application's to say: each request that could be granted is an event, answered by a call.

mod attempts;
mod event;
mod issue;
mod pending;
mod unbound;

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use watchfire_core::{Duration, Instant, Machine, Output, UnixTime};

use super::config::{ConnectBrokerConfig, Device};
use super::negotiate::Suite;
use super::pin::{Pin, Prover, check_challenge, random};
use crate::codec::Encoding;
use crate::crypto::Mac;
use crate::error::{ApiMisuse, Error, Limit, PeerIncompatible, PeerMisbehaved};
use crate::message::{
    Binary, BindRequest, Cryptographic, ErrorResponse, Message, OpenPinRequest, OpenPinResponse, PollRequest,
    TicketRequest, TicketResponse, UnbindResponse,
};
use crate::status::Status;
use crate::ticket::{KeyRing, Scope, SealError, TicketContent, TicketKind};
use attempts::{Attempts, UsedUp};
pub use event::{ConnectBrokerEvent, ConnectReply, ConnectRequestId};
use issue::Issuer;
pub use pending::TransactionId;
use pending::{Progress, Transactions, Wanted};
use unbound::Unbound;

/// How long the application may take to answer an event.
const ANSWER: Duration = Duration::from_secs(30);

/// Service-connect at a broker. One machine serves all clients.
///
/// - [`handle_request`](Self::handle_request) takes the body of a request, and what its ticket says once its Session
///   header is verified;
/// - [`ConnectBrokerEvent`] asks the application; [`offer_pin`](Self::offer_pin), [`grant`](Self::grant),
///   [`hold`](Self::hold) and [`refuse`](Self::refuse) answer;
/// - [`confirm`](Self::confirm) and [`deny`](Self::deny) end what was held;
/// - [`ConnectReply`] is the response.
///
/// Nothing a client sends makes a call fail. Challenges, held transactions and ended bindings are known to this machine
/// alone: a service that runs several of them must send each client to the same one.
#[derive(Debug)]
pub struct ConnectBroker {
    config: Arc<ConnectBrokerConfig>,
    keys: KeyRing,
    rng: StdRng,
    replies: VecDeque<ConnectReply>,
    events: VecDeque<ConnectBrokerEvent>,
    next_request: u64,
    waiting: BTreeMap<ConnectRequestId, Waiting>,
    challenges: BTreeMap<[u8; 16], Challenge>,
    transactions: Transactions,
    attempts: Attempts,
    unbound: Unbound,
    now: Instant,
    wake: Option<Instant>,
}

/// A request that waits for the application.
#[derive(Debug)]
struct Waiting {
    encoding: Encoding,
    deadline: Instant,
    what: What,
}

#[derive(Debug)]
enum What {
    Open { request: Box<OpenPinRequest>, body: Bytes, suite: Suite, account: String },
    Proven { wanted: Wanted, account: String, binding: [u8; 16] },
    Bind(Wanted),
    Refresh { wanted: Wanted, account: String, binding: [u8; 16] },
    Unbind { binding: [u8; 16] },
}

/// A challenge that a client has to answer.
#[derive(Debug)]
struct Challenge {
    account: String,
    /// What the proof is about: the account may have another PIN by the time that it is proved.
    pin: Pin,
    proof: Mac,
    wanted: Wanted,
    deadline: Instant,
}

/// Which response a request is answered by.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Open,
    Ticket,
    Unbind,
    Error,
}

impl ConnectBroker {
    /// Serves by this configuration, with tickets sealed by these keys. `seed` must come from a good source of
    /// randomness: every secret handed out is drawn from it.
    pub fn new(config: Arc<ConnectBrokerConfig>, keys: KeyRing, seed: [u8; 32], now: Instant) -> Self {
        let mut rng = StdRng::from_seed(seed);
        Self {
            transactions: Transactions::new(&*config.provider, random(&mut rng), config.max_pending),
            attempts: Attempts::new(config.pin_attempts, config.pin_lockout, config.max_counted),
            unbound: Unbound::new(config.max_unbound),
            config,
            keys,
            rng,
            replies: VecDeque::new(),
            events: VecDeque::new(),
            next_request: 0,
            waiting: BTreeMap::new(),
            challenges: BTreeMap::new(),
            now,
            wake: None,
        }
    }

    /// The keys that seal tickets, to be changed from time to time.
    pub fn keys_mut(&mut self) -> &mut KeyRing {
        &mut self.keys
    }

    /// Remembers a binding that has ended: one ended elsewhere, or before a restart.
    pub fn remember_unbound(&mut self, unix: UnixTime, binding: [u8; 16]) {
        self.unbound.expire(unix);
        self.unbound.insert(binding, self.last_expiry(unix));
    }

    /// When the last ticket will have expired that was issued by now, or that another machine of the same keys issues to
    /// one that was: it may not have heard of the end.
    fn last_expiry(&self, unix: UnixTime) -> UnixTime {
        let longest = self.config.management_lifetime.max(self.config.ticket_lifetime);
        let longest = i64::try_from(longest.as_secs()).unwrap_or(i64::MAX).saturating_mul(2);
        UnixTime::from_secs(unix.as_secs().saturating_add(longest))
    }

    /// A request came over TLS. `client` is what its ticket says, if a Session header of it has been verified; `unix`
    /// the time of day.
    pub fn handle_request(
        &mut self,
        now: Instant,
        unix: UnixTime,
        client: Option<&TicketContent>,
        encoding: Encoding,
        body: &[u8],
    ) -> ConnectRequestId {
        self.now = self.now.max(now);
        let id = ConnectRequestId(self.next_request);
        self.next_request = self.next_request.saturating_add(1);
        // Whoever does not drain gets no answers: there is no other way left to bound them.
        if self.replies.len().saturating_add(self.events.len()) >= self.config.max_undrained {
            return id;
        }
        let message = match Message::decode(body, encoding, &self.config.limits) {
            Ok(message) => message,
            Err(error) => {
                self.reply(id, encoding, Kind::Error, error.status());
                return id;
            }
        };
        let (kind, result) = match message {
            Message::OpenPinRequest(request) => {
                (Kind::Open, self.open(id, client, encoding, request, Bytes::copy_from_slice(body)))
            }
            Message::BindRequest(request) => (Kind::Ticket, self.bind(id, client, encoding, request)),
            Message::PollRequest(request) => (Kind::Ticket, self.poll(id, unix, encoding, &request)),
            Message::TicketRequest(request) => (Kind::Ticket, self.ticket(id, client, encoding, request)),
            Message::UnbindRequest(_) => (Kind::Unbind, self.unbind(id, client, encoding)),
            other if other.is_request() => (Kind::Error, Err(Status::NOT_IMPLEMENTED)),
            _ => (Kind::Error, Err(Status::SYNTAX)),
        };
        if let Err(status) = result {
            self.reply(id, encoding, kind, status);
        }
        id
    }

    fn reply(&mut self, id: ConnectRequestId, encoding: Encoding, kind: Kind, status: Status) {
        let message: Message = match kind {
            Kind::Open => OpenPinResponse {
                status: Some(status),
                status_description: status.description().map(str::to_owned),
                ..OpenPinResponse::default()
            }
            .into(),
            Kind::Ticket => TicketResponse::new(status).into(),
            Kind::Unbind => UnbindResponse::new(status).into(),
            Kind::Error => ErrorResponse::new(status).into(),
        };
        self.reply_with(id, encoding, &message);
    }

    fn reply_with(&mut self, id: ConnectRequestId, encoding: Encoding, message: &Message) -> Bytes {
        let body = message.encode(encoding).expect("only unknown members cannot be encoded, and there are none");
        let body = Bytes::from(body);
        let status = message.status().unwrap_or(Status::SUCCESS);
        self.replies.push_back(ConnectReply { id, status, encoding, body: body.clone() });
        body
    }

    /// Hands a request to the application.
    fn wait(
        &mut self,
        id: ConnectRequestId,
        encoding: Encoding,
        what: What,
        event: ConnectBrokerEvent,
    ) -> Result<(), Status> {
        if self.waiting.len() >= self.config.max_unanswered {
            return Err(Status::TOO_MANY);
        }
        let deadline = self.now + ANSWER;
        self.wake_at(deadline);
        self.waiting.insert(id, Waiting { encoding, deadline, what });
        self.events.push_back(event);
        Ok(())
    }

    fn wake_at(&mut self, deadline: Instant) {
        self.wake = Some(self.wake.map_or(deadline, |wake| wake.min(deadline)));
    }

    /// A client that shows a ticket of a binding that has ended is told so, whatever it asks.
    fn live<'a>(&self, client: Option<&'a TicketContent>) -> Result<Option<&'a TicketContent>, Status> {
        match client {
            Some(client) if self.unbound.contains(&client.binding) => Err(Status::TICKET_NOT_RECOGNIZED),
            client => Ok(client),
        }
    }

    /// The ticket by which a binding is managed; those of services do not do.
    fn manager<'a>(&self, client: Option<&'a TicketContent>) -> Result<&'a TicketContent, Status> {
        let client = self.live(client)?.ok_or(Status::AUTHENTICATION)?;
        if client.scope == Scope::Management { Ok(client) } else { Err(Status::TICKET_NOT_RECOGNIZED) }
    }

    fn suite(
        &self,
        request: (&[crate::crypto::Authentication], &[crate::crypto::Encryption]),
    ) -> Result<Suite, Status> {
        Suite::select((&self.config.authentication, &self.config.encryption), request).map_err(PeerIncompatible::status)
    }

    fn open(
        &mut self,
        id: ConnectRequestId,
        client: Option<&TicketContent>,
        encoding: Encoding,
        request: OpenPinRequest,
        body: Bytes,
    ) -> Result<(), Status> {
        self.live(client)?;
        let local = request.account.clone().filter(|account| !account.is_empty()).ok_or(Status::SYNTAX)?;
        let challenge = request.challenge.as_ref().ok_or(Status::SYNTAX)?;
        check_challenge(challenge.as_bytes()).map_err(PeerMisbehaved::status)?;
        let suite = self.suite((&request.authentication, &request.encryption))?;
        let domain = request.domain.as_ref().map(crate::message::Name::to_canonical).unwrap_or_default();
        let account = format!("{local}@{domain}");
        if account.len() > 255 || account.contains(char::is_control) {
            return Err(Status::SYNTAX);
        }
        if self.attempts.left(self.now, &account) == 0 {
            return Err(Status::TOO_MANY);
        }
        let device = Device {
            id: request.device_id.clone(),
            uri: request.device_uri.clone(),
            name: request.device_name.clone(),
            image: request.device_image.clone(),
            have_display: request.have_display == Some(true),
        };
        let event = ConnectBrokerEvent::Open {
            id,
            account: local,
            domain: request.domain.clone(),
            services: request.service.to_vec(),
            device,
        };
        self.wait(id, encoding, What::Open { request: Box::new(request), body, suite, account }, event)
    }

    fn bind(
        &mut self,
        id: ConnectRequestId,
        client: Option<&TicketContent>,
        encoding: Encoding,
        request: BindRequest,
    ) -> Result<(), Status> {
        let client = self.live(client)?;
        let suite = self.suite((&request.authentication, &request.encryption))?;
        let services = request.service.into_vec();
        let account = client.map(|client| client.account.clone()).filter(|account| !account.is_empty());
        let event = ConnectBrokerEvent::Bind { id, account, services: services.clone() };
        self.wait(id, encoding, What::Bind(Wanted { suite, services }), event)
    }

    fn ticket(
        &mut self,
        id: ConnectRequestId,
        client: Option<&TicketContent>,
        encoding: Encoding,
        request: TicketRequest,
    ) -> Result<(), Status> {
        let client = self.manager(client)?;
        let services = request.service.into_vec();
        match &client.kind {
            TicketKind::Temporary { .. } => {
                // Whatever comes of it, a challenge is answered once.
                let challenge = self.challenges.remove(&client.binding).ok_or(Status::TICKET_NOT_RECOGNIZED)?;
                let shown = request.challenge_response.unwrap_or_default();
                let authentication = &challenge.wanted.suite.authentication;
                let prover = Prover::new(&*self.config.provider, authentication).ok_or(Status::UNKNOWN)?;
                if challenge.deadline <= self.now {
                    return Err(Status::TICKET_NOT_RECOGNIZED);
                }
                let (account, pin) = (challenge.account, challenge.pin);
                if !prover.accepts(&challenge.proof, shown.as_bytes()) {
                    let left = self.attempts.left(self.now, &account);
                    self.events.push_back(ConnectBrokerEvent::PinFailed { account: account.clone(), left });
                    if left == 0 {
                        self.events.push_back(ConnectBrokerEvent::PinUsedUp { account, pin });
                    }
                    return Err(Status::AUTHENTICATION);
                }
                // The PIN is used: nobody else who was challenged for it may use it again.
                self.challenges.retain(|_, other| other.account != account || other.pin != pin);
                let mut wanted = challenge.wanted;
                if !services.is_empty() {
                    wanted.services = services;
                }
                let binding = client.binding;
                let event = ConnectBrokerEvent::Proven { id, account: account.clone(), pin, binding };
                self.wait(id, encoding, What::Proven { wanted, account, binding }, event)
            }
            TicketKind::Binding => {
                let suite =
                    Suite { authentication: client.authentication.clone(), encryption: client.encryption.clone() };
                let (account, binding) = (client.account.clone(), client.binding);
                let event =
                    ConnectBrokerEvent::Refresh { id, account: account.clone(), binding, services: services.clone() };
                self.wait(id, encoding, What::Refresh { wanted: Wanted { suite, services }, account, binding }, event)
            }
        }
    }

    fn unbind(
        &mut self,
        id: ConnectRequestId,
        client: Option<&TicketContent>,
        encoding: Encoding,
    ) -> Result<(), Status> {
        let client = self.manager(client)?;
        if client.kind != TicketKind::Binding {
            return Err(Status::TICKET_NOT_RECOGNIZED);
        }
        let (account, binding) = (client.account.clone(), client.binding);
        self.wait(id, encoding, What::Unbind { binding }, ConnectBrokerEvent::Unbind { id, account, binding })
    }

    fn poll(
        &mut self,
        id: ConnectRequestId,
        unix: UnixTime,
        encoding: Encoding,
        request: &PollRequest,
    ) -> Result<(), Status> {
        let name = request.transaction_id.as_ref().ok_or(Status::REFUSED)?;
        let (now, min_retry) = (self.now, self.config.min_retry);
        let (transaction, found) = self.transactions.named(name.as_bytes()).ok_or(Status::REFUSED)?;
        if now < found.not_before {
            return Err(Status::TOO_MANY);
        }
        match &found.state {
            Progress::Waiting => {
                found.not_before = now + lenient(min_retry);
                let message = pending(name.clone(), min_retry);
                self.reply_with(id, encoding, &message.into());
            }
            Progress::Denied(status) => {
                let status = *status;
                self.transactions.remove(transaction);
                return Err(status);
            }
            Progress::Delivered(body) => {
                let body = body.clone();
                self.replies.push_back(ConnectReply { id, status: Status::SUCCESS, encoding, body });
            }
            Progress::Granted { account } => {
                let (account, wanted) = (account.clone(), found.wanted.clone());
                let response = self.issue(unix, &wanted, &account, None)?;
                let body = self.reply_with(id, encoding, &response.into());
                let deadline = now + self.config.delivery_grace;
                if let Some(found) = self.transactions.get(transaction) {
                    found.deliver(now, body, self.config.delivery_grace);
                }
                self.wake_at(deadline);
            }
        }
        Ok(())
    }

    fn issuer(&mut self, unix: UnixTime) -> Issuer<'_> {
        Issuer { config: &self.config, keys: &self.keys, rng: &mut self.rng, now: unix }
    }

    /// Tickets for a binding, a new one unless it is named.
    fn issue(
        &mut self,
        unix: UnixTime,
        wanted: &Wanted,
        account: &str,
        binding: Option<[u8; 16]>,
    ) -> Result<TicketResponse, Status> {
        let binding = binding.unwrap_or_else(|| random(&mut self.rng));
        let response = self.issuer(unix).binding(wanted, account, binding).map_err(unsealed)?;
        // None of the services wanted is to be had here.
        if response.service.is_empty() { Err(Status::REFUSED) } else { Ok(response) }
    }

    fn take(&mut self, id: ConnectRequestId) -> Result<Waiting, ApiMisuse> {
        self.waiting.remove(&id).ok_or(ApiMisuse::UnknownId)
    }

    /// Puts back what was asked for by the wrong call.
    fn put_back(&mut self, id: ConnectRequestId, waiting: Waiting) -> ApiMisuse {
        self.waiting.insert(id, waiting);
        ApiMisuse::NotNow
    }

    /// Answers [`ConnectBrokerEvent::Open`]: the account has this PIN. The machine keeps it until the client has answered
    /// the challenge, or came too late.
    ///
    /// # Errors
    /// [`ApiMisuse`] when nothing of the kind waits; [`Error::LimitExceeded`] when the client was told to come later.
    pub fn offer_pin(&mut self, now: Instant, unix: UnixTime, id: ConnectRequestId, pin: &Pin) -> Result<(), Error> {
        self.now = self.now.max(now);
        let waiting = self.take(id)?;
        let Waiting { encoding, what: What::Open { request, body, suite, account }, .. } = waiting else {
            return Err(self.put_back(id, waiting).into());
        };
        if self.challenges.len() >= self.config.max_challenges {
            self.reply(id, encoding, Kind::Open, Status::TOO_MANY);
            return Err(Limit::Transactions.into());
        }
        if let Err(UsedUp) = self.attempts.count(self.now, &account) {
            self.events.push_back(ConnectBrokerEvent::PinUsedUp { account, pin: pin.clone() });
            self.reply(id, encoding, Kind::Open, Status::TOO_MANY);
            return Err(Limit::PinAttempts.into());
        }
        match self.challenge(unix, encoding, &request, &body, suite, account, pin) {
            Ok(response) => {
                self.replies.push_back(ConnectReply { id, ..response });
                Ok(())
            }
            Err(error) => {
                self.reply(id, encoding, Kind::Open, unsealed(error));
                Err(ApiMisuse::Unusable("a ticket could not be sealed").into())
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one request, taken apart by its only caller")]
    fn challenge(
        &mut self,
        unix: UnixTime,
        encoding: Encoding,
        request: &OpenPinRequest,
        body: &[u8],
        suite: Suite,
        account: String,
        pin: &Pin,
    ) -> Result<ConnectReply, SealError> {
        let theirs = request.challenge.clone().unwrap_or_default();
        let ours: [u8; 32] = random(&mut self.rng);
        let binding: [u8; 16] = random(&mut self.rng);
        let kind =
            TicketKind::Temporary { client_challenge: theirs.as_bytes().to_vec(), server_challenge: ours.to_vec() };
        let lifetime = self.config.pin_timeout;
        let mut key = self.issuer(unix).key(&suite, kind, Scope::Management, lifetime, &account, binding)?;
        key.protocol = Some(Cryptographic::CONNECT.to_owned());
        let config = Arc::clone(&self.config);
        let unknown = || SealError::Algorithm(suite.authentication.label().into());
        let prover = Prover::new(&*config.provider, &suite.authentication).ok_or_else(unknown)?;
        let proof = prover.server(config.server_proof, pin, theirs.as_bytes(), &key.secret, body);
        let response = OpenPinResponse {
            status: Some(Status::PIN_REQUIRED),
            status_description: Status::PIN_REQUIRED.description().map(str::to_owned),
            challenge: Some(ours.into()),
            challenge_response: Some(proof.as_bytes().into()),
            cryptographic: Some(key),
            ..OpenPinResponse::default()
        };
        let body = Message::from(response).encode(encoding);
        let body = Bytes::from(body.expect("only unknown members cannot be encoded, and there are none"));
        let deadline = self.now + lifetime;
        self.wake_at(deadline);
        let proof = prover.client(pin, &ours, &body);
        let wanted = Wanted { suite: suite.clone(), services: request.service.to_vec() };
        self.challenges.insert(binding, Challenge { account, pin: pin.clone(), proof, wanted, deadline });
        Ok(ConnectReply { id: ConnectRequestId(0), status: Status::PIN_REQUIRED, encoding, body })
    }

    /// Answers [`ConnectBrokerEvent::Proven`], [`ConnectBrokerEvent::Refresh`] and [`ConnectBrokerEvent::Unbind`] with
    /// yes, and [`ConnectBrokerEvent::Bind`] with service for an unknown client.
    ///
    /// # Errors
    /// When nothing of the kind waits.
    pub fn grant(&mut self, now: Instant, unix: UnixTime, id: ConnectRequestId) -> Result<(), ApiMisuse> {
        self.now = self.now.max(now);
        let waiting = self.take(id)?;
        let encoding = waiting.encoding;
        let issued = match waiting.what {
            What::Open { .. } => return Err(self.put_back(id, waiting)),
            What::Unbind { binding } => {
                self.remember_unbound(unix, binding);
                self.reply(id, encoding, Kind::Unbind, Status::SUCCESS);
                return Ok(());
            }
            What::Bind(wanted) => self.issue(unix, &wanted, "", None),
            What::Proven { wanted, account, binding } => {
                self.attempts.clear(&account);
                self.issue(unix, &wanted, &account, Some(binding))
            }
            What::Refresh { wanted, account, binding } => self.issue(unix, &wanted, &account, Some(binding)),
        };
        match issued {
            Ok(response) => drop(self.reply_with(id, encoding, &response.into())),
            Err(status) => self.reply(id, encoding, Kind::Ticket, status),
        }
        Ok(())
    }

    /// Answers [`ConnectBrokerEvent::Bind`]: somebody has to confirm it, by [`Self::confirm`].
    ///
    /// # Errors
    /// [`ApiMisuse`] when nothing of the kind waits; [`Error::LimitExceeded`] when too much is held already and the
    /// client was told to come later.
    pub fn hold(&mut self, now: Instant, id: ConnectRequestId) -> Result<TransactionId, Error> {
        self.now = self.now.max(now);
        let waiting = self.take(id)?;
        let Waiting { encoding, what: What::Bind(wanted), .. } = waiting else {
            return Err(self.put_back(id, waiting).into());
        };
        let name: [u8; 16] = random(&mut self.rng);
        let min_retry = self.config.min_retry;
        let deadline = self.now + self.config.confirmation_timeout;
        let Some(transaction) = self.transactions.insert(wanted, &name, self.now + lenient(min_retry), deadline) else {
            self.reply(id, encoding, Kind::Ticket, Status::TOO_MANY);
            return Err(Limit::Transactions.into());
        };
        self.wake_at(deadline);
        self.reply_with(id, encoding, &pending(name.into(), min_retry).into());
        Ok(transaction)
    }

    /// Confirms what was held: the device is bound to `account`, written `account@domain`, when it asks next.
    ///
    /// # Errors
    /// When nothing of the name is held, or it was confirmed or denied before; or the account is empty or longer than
    /// 255 octets.
    pub fn confirm(&mut self, transaction: TransactionId, account: &str) -> Result<(), ApiMisuse> {
        if account.is_empty() || account.len() > 255 {
            return Err(ApiMisuse::Unusable("an account has 1 to 255 octets"));
        }
        self.settle(transaction, Progress::Granted { account: account.to_owned() })
    }

    /// Denies what was held; the device is told when it asks next.
    ///
    /// # Errors
    /// As [`Self::confirm`]; or the status means success.
    pub fn deny(&mut self, transaction: TransactionId, status: Status) -> Result<(), ApiMisuse> {
        refusing(status)?;
        self.settle(transaction, Progress::Denied(status))
    }

    fn settle(&mut self, transaction: TransactionId, progress: Progress) -> Result<(), ApiMisuse> {
        let found = self.transactions.get(transaction).ok_or(ApiMisuse::UnknownId)?;
        if !matches!(found.state, Progress::Waiting) {
            return Err(ApiMisuse::NotNow);
        }
        found.state = progress;
        Ok(())
    }

    /// Answers any event that asks with no: [`Status::REFUSED`], or another status that says why.
    ///
    /// # Errors
    /// When nothing waits, or the status means success.
    pub fn refuse(&mut self, now: Instant, id: ConnectRequestId, status: Status) -> Result<(), ApiMisuse> {
        refusing(status)?;
        self.now = self.now.max(now);
        let waiting = self.take(id)?;
        self.reply(id, waiting.encoding, waiting.what.kind(), status);
        Ok(())
    }
}

impl What {
    fn kind(&self) -> Kind {
        match self {
            Self::Open { .. } => Kind::Open,
            Self::Unbind { .. } => Kind::Unbind,
            Self::Proven { .. } | Self::Bind(_) | Self::Refresh { .. } => Kind::Ticket,
        }
    }
}

fn refusing(status: Status) -> Result<(), ApiMisuse> {
    if status.is_success() || status.is_pending() {
        return Err(ApiMisuse::Unusable("a status that refuses nothing"));
    }
    Ok(())
}

fn unsealed(error: SealError) -> Status {
    match error {
        SealError::TooLong => Status::SYNTAX,
        _ => Status::SERVER_FAILURE,
    }
}

/// What is held, in the words of the protocol.
fn pending(name: Binary, min_retry: Duration) -> TicketResponse {
    let mut response = TicketResponse::new(Status::PENDING);
    response.transaction_id = Some(name);
    response.min_retry = Some(u32::try_from(min_retry.as_secs()).unwrap_or(u32::MAX));
    response
}

/// A second less than the client was told: its clock need not run as ours does.
fn lenient(min_retry: Duration) -> Duration {
    min_retry.saturating_sub(Duration::from_secs(1))
}

impl Machine for ConnectBroker {
    type Transmit = ConnectReply;
    type Event = ConnectBrokerEvent;
    type Error = Infallible;

    fn poll_output(&mut self, now: Instant) -> Output<ConnectReply, ConnectBrokerEvent> {
        self.now = self.now.max(now);
        if let Some(reply) = self.replies.pop_front() {
            return Output::Transmit(reply);
        }
        match self.events.pop_front() {
            Some(event) => Output::Event(event),
            None => Output::Timeout(self.wake),
        }
    }

    /// Forgets what took too long.
    ///
    /// # Errors
    /// Never.
    fn handle_timeout(&mut self, now: Instant) -> Result<(), Infallible> {
        self.now = self.now.max(now);
        let now = self.now;
        let late: Vec<_> =
            self.waiting.iter().filter(|(_, waiting)| waiting.deadline <= now).map(|(id, _)| *id).collect();
        for id in late {
            if let Some(waiting) = self.waiting.remove(&id) {
                self.reply(id, waiting.encoding, waiting.what.kind(), Status::TIME_OUT);
            }
        }
        self.challenges.retain(|_, challenge| challenge.deadline > now);
        for transaction in self.transactions.expire(now) {
            self.events.push_back(ConnectBrokerEvent::Unconfirmed { transaction });
        }
        let waiting = self.waiting.values().map(|waiting| waiting.deadline);
        let challenges = self.challenges.values().map(|challenge| challenge.deadline);
        self.wake = waiting.chain(challenges).chain(self.transactions.next_deadline()).min();
        Ok(())
    }

    fn timeout_reason(&self) -> &'static str {
        if self.wake.is_some() { "requests, challenges or confirmations that take too long" } else { "" }
    }

    /// Never: there may always be another request.
    fn is_finished(&self) -> bool {
        false
    }
}
