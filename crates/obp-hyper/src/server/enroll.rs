//! Service-connect: who may bind is asked of the application's [`Accounts`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use obp_proto::Status;
use obp_proto::message::Name;
use obp_proto::service_connect::{ConnectBroker, ConnectBrokerEvent, ConnectRequestId, Device, Pin, TransactionId};
use tokio::sync::OwnedMutexGuard;
use watchfire_core::{Duration, Instant, Machine as _, Output, UnixTime};
use watchfire_hyper::Clock;

use super::core::Connect;

/// Who may bind to the broker. Calls may read files or ask a database: they are made on a thread where that may take its
/// time, and one after the other. The server goes on meanwhile; no lock of it is held.
pub trait Accounts: Send + Sync + 'static {
    /// The PIN that a new device of this account has to prove; none when there is no such account, or it has none.
    fn pin(&self, account: &str, domain: Option<&Name>, device: &Device) -> Option<Pin>;

    /// The device has proved this PIN of the account, which is the one that [`pin`](Self::pin) gave when the device
    /// began: takes it back, so that nobody can use it again. False when it was taken back before, or its time has
    /// passed; then the device is refused.
    fn take_pin(&self, account: &str, pin: &Pin) -> bool;

    /// The PIN was guessed at too often: takes it back.
    fn pin_used_up(&self, account: &str, pin: &Pin) {
        let _ = self.take_pin(account, pin);
    }

    /// Whether a device may bind without PIN. Nobody may, unless this says otherwise.
    fn bind(&self, services: &[String]) -> Admission {
        let _ = services;
        Admission::Refuse
    }

    /// A device waits to be confirmed under this number.
    fn held(&self, transaction: TransactionId) {
        let _ = transaction;
    }

    /// Whether the account may go on with this binding.
    fn may_refresh(&self, account: &str, binding: &[u8; 16]) -> bool;

    /// The device ends its binding. To be remembered until `until`, when the last of its tickets has expired, also one
    /// that another broker of the same service issues meanwhile, and over a restart: see
    /// [`ServerBuilder::with_ended`](super::ServerBuilder::with_ended). False when that cannot be written
    /// down: then the device is told so, and its binding goes on.
    fn ended(&self, account: &str, binding: [u8; 16], until: UnixTime) -> bool;
}

/// What becomes of a device that has no PIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the protocol has these")]
pub enum Admission {
    /// It is bound to no account.
    Anonymous,
    /// It waits until somebody confirms it.
    Hold,
    /// It is refused.
    Refuse,
}

/// The machine and whom it asks.
pub(super) struct Enrolment {
    /// Held for calls of the machine alone, which do not wait: tasks of the server call it too.
    machine: Mutex<ConnectBroker>,
    accounts: Box<dyn Accounts>,
    /// Whoever has it is the one that asks the accounts.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// How long to wait for it. Who asked has been told by then that it took too long.
    patience: Duration,
    /// The longest time for which a ticket is good.
    longest: Duration,
}

/// Bindings that have ended, and until when that has to be remembered.
pub(super) type Ended = Vec<([u8; 16], UnixTime)>;

/// A request that is the next one to be handled.
pub(super) struct Turn(#[allow(dead_code, reason = "it is held")] OwnedMutexGuard<()>);

/// What the machine said to one request.
struct Said {
    id: ConnectRequestId,
    reply: Option<(Status, Bytes)>,
    events: VecDeque<ConnectBrokerEvent>,
}

/// What the accounts say to an event.
enum Verdict {
    Offer(ConnectRequestId, Pin),
    Grant(ConnectRequestId),
    Hold(ConnectRequestId),
    Refuse(ConnectRequestId, Status),
    Noted,
}

impl Enrolment {
    pub(super) fn new(
        machine: ConnectBroker,
        accounts: Box<dyn Accounts>,
        patience: Duration,
        longest: Duration,
    ) -> Self {
        Self { machine: Mutex::new(machine), accounts, turn: Arc::default(), patience, longest }
    }

    /// Calls the machine, for confirmations, keys and what was ended elsewhere.
    pub(super) fn with_machine<T>(&self, change: impl FnOnce(&mut ConnectBroker) -> T) -> T {
        change(&mut self.machine.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until no other request is being handled; none when that takes too long.
    pub(super) async fn turn(&self) -> Option<Turn> {
        let turn = Arc::clone(&self.turn).lock_owned();
        tokio::time::timeout(self.patience, turn).await.ok().map(Turn)
    }

    /// One request, to its reply. This may take as long as the accounts take.
    pub(super) fn handle(&self, _turn: Turn, clock: &Clock, connect: &Connect) -> (Option<(Status, Bytes)>, Ended) {
        let unix = Clock::wall();
        let mut said = self.with_machine(|machine| {
            let now = clock.now();
            let _ = machine.handle_timeout(now);
            let ticket = connect.client.as_ref().map(|client| client.content());
            let id = machine.handle_request(now, unix, ticket, connect.encoding, &connect.body);
            let mut said = Said { id, reply: None, events: VecDeque::new() };
            said.drain(machine, now);
            said
        });
        let mut ended = Ended::new();
        // Every request is answered in its turn, so that no verdict comes too late.
        while let Some(event) = said.events.pop_front() {
            let verdict = self.decide(unix, event, &mut ended);
            let outcome = self.with_machine(|machine| {
                let now = clock.now();
                let outcome = verdict.tell(machine, now, unix);
                said.drain(machine, now);
                outcome
            });
            match outcome {
                Ok(Some(transaction)) => self.accounts.held(transaction),
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "service-connect: an event could not be answered"),
            }
        }
        (said.reply, ended)
    }

    /// Asks the accounts.
    fn decide(&self, unix: UnixTime, event: ConnectBrokerEvent, ended: &mut Ended) -> Verdict {
        match event {
            ConnectBrokerEvent::Open { id, account, domain, device, .. } => {
                match self.accounts.pin(&account, domain.as_ref(), &device) {
                    Some(pin) => Verdict::Offer(id, pin),
                    None => Verdict::Refuse(id, Status::REFUSED),
                }
            }
            ConnectBrokerEvent::Proven { id, account, pin, .. } => match self.accounts.take_pin(&account, &pin) {
                true => {
                    tracing::info!(%account, "a device was bound");
                    Verdict::Grant(id)
                }
                false => Verdict::Refuse(id, Status::REFUSED),
            },
            ConnectBrokerEvent::PinFailed { account, left } => {
                tracing::warn!(%account, left, "a wrong PIN");
                Verdict::Noted
            }
            ConnectBrokerEvent::PinUsedUp { account, pin } => {
                tracing::warn!(%account, "too many wrong PINs: the PIN is taken back");
                self.accounts.pin_used_up(&account, &pin);
                Verdict::Noted
            }
            ConnectBrokerEvent::Bind { id, services, .. } => match self.accounts.bind(&services) {
                Admission::Anonymous => Verdict::Grant(id),
                Admission::Hold => Verdict::Hold(id),
                Admission::Refuse => Verdict::Refuse(id, Status::REFUSED),
            },
            ConnectBrokerEvent::Refresh { id, account, binding, .. } => {
                match self.accounts.may_refresh(&account, &binding) {
                    true => Verdict::Grant(id),
                    false => Verdict::Refuse(id, Status::REFUSED),
                }
            }
            ConnectBrokerEvent::Unbind { id, account, binding } => {
                // Another broker that has not heard of it yet may refresh a copy, for as long as the copy is good.
                let longest = i64::try_from(self.longest.as_secs()).unwrap_or(i64::MAX).saturating_mul(2);
                let until = UnixTime::from_secs(unix.as_secs().saturating_add(longest));
                if !self.accounts.ended(&account, binding, until) {
                    return Verdict::Refuse(id, Status::SERVER_FAILURE);
                }
                ended.push((binding, until));
                tracing::info!(%account, "a binding has ended");
                Verdict::Grant(id)
            }
            _ => Verdict::Noted,
        }
    }
}

impl Said {
    /// Takes all that the machine has to say.
    fn drain(&mut self, machine: &mut ConnectBroker, now: Instant) {
        loop {
            match machine.poll_output(now) {
                Output::Transmit(said) if said.id == self.id => self.reply = Some((said.status, said.body)),
                // To a request that was given up.
                Output::Transmit(_) => {}
                Output::Event(event) => self.events.push_back(event),
                Output::Timeout(_) => return,
            }
        }
    }
}

impl Verdict {
    /// Tells the machine; what is held from now on has a number.
    fn tell(
        self,
        machine: &mut ConnectBroker,
        now: Instant,
        unix: UnixTime,
    ) -> Result<Option<TransactionId>, obp_proto::Error> {
        match self {
            Self::Offer(id, pin) => machine.offer_pin(now, unix, id, &pin)?,
            Self::Grant(id) => machine.grant(now, unix, id)?,
            // When too much is held the device was told to come later.
            Self::Hold(id) => return Ok(machine.hold(now, id).ok()),
            Self::Refuse(id, status) => machine.refuse(now, id, status)?,
            Self::Noted => {}
        }
        Ok(None)
    }
}
