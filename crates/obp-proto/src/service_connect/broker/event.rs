//! What the broker's side reports and asks.

use bytes::Bytes;

use super::pending::TransactionId;
use crate::codec::Encoding;
use crate::message::Name;
use crate::service_connect::config::Device;
use crate::service_connect::pin::Pin;
use crate::status::Status;

/// Names a request of a client; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectRequestId(pub(super) u64);

/// A response to send.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectReply {
    /// To which request.
    pub id: ConnectRequestId,
    /// The status in the message; [`Status::http_status`] tells that of HTTP.
    pub status: Status,
    /// What the body is encoded in.
    pub encoding: Encoding,
    /// The message. Not an octet of it may change: proofs are made over it. When a Session header authenticated the
    /// request, sign this under the same ticket.
    pub body: Bytes,
}

/// What a [`ConnectBroker`](super::ConnectBroker) asks of the application, and what it tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectBrokerEvent {
    /// Somebody wants to bind a device to this account, by PIN. Answer by
    /// [`offer_pin`](super::ConnectBroker::offer_pin) with the account's PIN, or
    /// [`refuse`](super::ConnectBroker::refuse) when there is no such account, or it has no PIN: with the same status
    /// for both, lest strangers learn which accounts there are.
    Open {
        /// Names the request.
        id: ConnectRequestId,
        /// The account, without its domain, as the client wrote it.
        account: String,
        /// The domain.
        domain: Option<Name>,
        /// Labels of the services wanted; none means all.
        services: Vec<String>,
        /// What the client says of its device.
        device: Device,
    },
    /// The client has proved that it knows the PIN. Take this PIN back, so that nobody can use it again, and then
    /// answer by [`grant`](super::ConnectBroker::grant); or [`refuse`](super::ConnectBroker::refuse), when it was
    /// taken back before.
    Proven {
        /// Names the request.
        id: ConnectRequestId,
        /// The account, as `account@domain`.
        account: String,
        /// The PIN that was offered for the challenge which the client has answered; by now the account may have another.
        pin: Pin,
        /// Names the new binding.
        binding: [u8; 16],
    },
    /// A client proved that it does not know the PIN.
    PinFailed {
        /// The account, as `account@domain`.
        account: String,
        /// How many attempts are left.
        left: u32,
    },
    /// Too many attempts: take the PIN back, and tell the account's owner.
    PinUsedUp {
        /// The account, as `account@domain`.
        account: String,
        /// The PIN that the last attempt was about.
        pin: Pin,
    },
    /// Somebody wants service without PIN. Answer by [`grant`](super::ConnectBroker::grant) to let it in without
    /// account, by [`hold`](super::ConnectBroker::hold) to have it confirmed, or by
    /// [`refuse`](super::ConnectBroker::refuse).
    Bind {
        /// Names the request.
        id: ConnectRequestId,
        /// The account whose ticket the request shows, as `account@domain`, if it shows one.
        account: Option<String>,
        /// Labels of the services wanted; none means all.
        services: Vec<String>,
    },
    /// Nobody confirmed this binding in time. It is forgotten.
    Unconfirmed {
        /// Which one.
        transaction: TransactionId,
    },
    /// A client wants new tickets. Answer by [`grant`](super::ConnectBroker::grant), or by
    /// [`refuse`](super::ConnectBroker::refuse) when the account or the binding are no more.
    Refresh {
        /// Names the request.
        id: ConnectRequestId,
        /// The account, as `account@domain`.
        account: String,
        /// The binding.
        binding: [u8; 16],
        /// Labels of the services wanted; none means all.
        services: Vec<String>,
    },
    /// A client wants its binding ended. Write down that it has, then answer by
    /// [`grant`](super::ConnectBroker::grant); or [`refuse`](super::ConnectBroker::refuse), when it cannot be written,
    /// with [`Status::SERVER_FAILURE`]: the client comes again, and its binding goes on until then. Make the tickets of its services unusable too, where that can be done.
    Unbind {
        /// Names the request.
        id: ConnectRequestId,
        /// The account, as `account@domain`.
        account: String,
        /// The binding.
        binding: [u8; 16],
    },
}
