//! Service-connect: who may bind is asked of the application's [`Accounts`].

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use obp_proto::Status;
use obp_proto::message::Name;
use obp_proto::service_connect::{ConnectBroker, ConnectBrokerEvent, Device, Pin, TransactionId};
use watchfire_core::{Duration, Instant, Machine as _, Output, UnixTime};
use watchfire_hyper::Clock;

use super::core::Connect;

/// Who may bind to the broker. Calls may read files or ask a database: they are made where that may take its time, and
/// one after the other.
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

    /// The binding has ended. To be remembered until `until`, when the last of its tickets has expired, also over a
    /// restart: see [`ServerBuilder::with_ended`](super::ServerBuilder::with_ended).
    fn ended(&self, account: &str, binding: [u8; 16], until: UnixTime);
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
    machine: Mutex<ConnectBroker>,
    accounts: Box<dyn Accounts>,
    /// The longest time for which a ticket is good.
    longest: Duration,
}

/// Bindings that have ended, and until when that has to be remembered.
pub(super) type Ended = Vec<([u8; 16], UnixTime)>;

impl Enrolment {
    pub(super) fn new(machine: ConnectBroker, accounts: Box<dyn Accounts>, longest: Duration) -> Self {
        Self { machine: Mutex::new(machine), accounts, longest }
    }

    /// Calls the machine, for confirmations, keys and what was ended elsewhere.
    pub(super) fn with_machine<T>(&self, change: impl FnOnce(&mut ConnectBroker) -> T) -> T {
        change(&mut self.machine.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One request, to its reply.
    pub(super) fn handle(&self, now: Instant, connect: &Connect) -> (Option<(Status, Bytes)>, Ended) {
        let unix = Clock::wall();
        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = machine.handle_timeout(now);
        let ticket = connect.client.as_ref().map(|client| client.content());
        let id = machine.handle_request(now, unix, ticket, connect.encoding, &connect.body);
        let (mut reply, mut ended) = (None, Ended::new());
        loop {
            match machine.poll_output(now) {
                Output::Transmit(said) if said.id == id => reply = Some((said.status, said.body)),
                // To a request that was given up.
                Output::Transmit(_) => {}
                Output::Event(event) => self.decide(&mut machine, now, unix, event, &mut ended),
                Output::Timeout(_) => return (reply, ended),
            }
        }
    }

    fn decide(
        &self,
        machine: &mut ConnectBroker,
        now: Instant,
        unix: UnixTime,
        event: ConnectBrokerEvent,
        ended: &mut Ended,
    ) {
        // Every request is answered in the turn in which it came, so that none of these calls comes too late.
        let outcome: Result<(), obp_proto::Error> = match event {
            ConnectBrokerEvent::Open { id, account, domain, device, .. } => {
                match self.accounts.pin(&account, domain.as_ref(), &device) {
                    Some(pin) => machine.offer_pin(now, unix, id, &pin),
                    None => machine.refuse(now, id, Status::REFUSED).map_err(Into::into),
                }
            }
            ConnectBrokerEvent::Proven { id, account, pin, .. } => match self.accounts.take_pin(&account, &pin) {
                true => {
                    tracing::info!(%account, "a device was bound");
                    machine.grant(now, unix, id).map_err(Into::into)
                }
                false => machine.refuse(now, id, Status::REFUSED).map_err(Into::into),
            },
            ConnectBrokerEvent::PinFailed { account, left } => {
                tracing::warn!(%account, left, "a wrong PIN");
                Ok(())
            }
            ConnectBrokerEvent::PinUsedUp { account, pin } => {
                tracing::warn!(%account, "too many wrong PINs: the PIN is taken back");
                self.accounts.pin_used_up(&account, &pin);
                Ok(())
            }
            ConnectBrokerEvent::Bind { id, services, .. } => match self.accounts.bind(&services) {
                Admission::Anonymous => machine.grant(now, unix, id).map_err(Into::into),
                Admission::Hold => {
                    if let Ok(transaction) = machine.hold(now, id) {
                        self.accounts.held(transaction);
                    }
                    Ok(())
                }
                Admission::Refuse => machine.refuse(now, id, Status::REFUSED).map_err(Into::into),
            },
            ConnectBrokerEvent::Refresh { id, account, binding, .. } => {
                match self.accounts.may_refresh(&account, &binding) {
                    true => machine.grant(now, unix, id).map_err(Into::into),
                    false => machine.refuse(now, id, Status::REFUSED).map_err(Into::into),
                }
            }
            ConnectBrokerEvent::Unbind { id, account, binding } => {
                let longest = i64::try_from(self.longest.as_secs()).unwrap_or(i64::MAX);
                let until = UnixTime::from_secs(unix.as_secs().saturating_add(longest));
                self.accounts.ended(&account, binding, until);
                ended.push((binding, until));
                tracing::info!(%account, "a binding has ended");
                machine.grant(now, unix, id).map_err(Into::into)
            }
            _ => Ok(()),
        };
        if let Err(error) = outcome {
            tracing::error!(%error, "service-connect: an event could not be answered");
        }
    }
}
