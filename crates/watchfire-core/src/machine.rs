//! The traits. They carry no behaviour; the promises behind them are the contract on the crate's front page.

use core::net::SocketAddr;

use crate::{Instant, Output};

/// What every machine can do.
pub trait Machine {
    /// What it sends: [`bytes::Bytes`] on a stream, [`Datagram`](crate::Datagram) on packets.
    type Transmit;
    /// What it reports or asks for.
    type Event;
    /// Why it can fail.
    type Error;

    /// The next output. Call until [`Output::Timeout`] after every call that changes the machine.
    #[must_use = "an output that is dropped is lost"]
    fn poll_output(&mut self, now: Instant) -> Output<Self::Transmit, Self::Event>;

    /// Tells that the instant of the last [`Output::Timeout`] has come.
    ///
    /// # Errors
    /// Fatal, like all errors of `handle_*` calls: usually that the peer took too long.
    fn handle_timeout(&mut self, now: Instant) -> Result<(), Self::Error>;

    /// What the current time-out waits for, for logs; empty when there is none.
    fn timeout_reason(&self) -> &'static str;

    /// Whether the machine takes no more calls. Outputs may still be queued: drain first, then look.
    fn is_finished(&self) -> bool;
}

/// A machine on an ordered octet stream.
pub trait StreamMachine: Machine {
    /// Octets arrived. May be cut anywhere; all of `input` is taken.
    ///
    /// # Errors
    /// Fatal; the farewell is queued already.
    fn handle_input(&mut self, now: Instant, input: &[u8]) -> Result<(), Self::Error>;

    /// No more octets will arrive.
    ///
    /// # Errors
    /// When the end comes where the protocol does not allow it.
    fn handle_eof(&mut self, now: Instant, eof: Eof) -> Result<(), Self::Error>;
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums)]
pub enum Eof {
    /// The peer said goodbye: a TLS close_notify, or a FIN on a stream without TLS.
    Closed,
    /// The stream broke off: a reset, or a FIN without close_notify.
    Truncated,
}

/// A machine on datagrams. Malformed or replayed datagrams are no errors: they are counted and dropped.
pub trait DatagramMachine: Machine {
    /// A datagram arrived.
    ///
    /// # Errors
    /// Fatal; never caused by the content of one datagram.
    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, payload: &[u8]) -> Result<(), Self::Error>;
}

/// A machine whose messages ride on somebody else's request and response protocol, such as HTTP.
///
/// It asks for exchanges by events that carry an `Id`; the driver makes the exchange and answers with exactly one of
/// these calls.
pub trait ExchangeMachine: Machine {
    /// Names one exchange; never used twice.
    type Id;
    /// A whole response.
    type Response;
    /// Why there was none.
    type Failure;

    /// The response to exchange `id`.
    ///
    /// # Errors
    /// Fatal.
    fn handle_response(&mut self, now: Instant, id: Self::Id, response: Self::Response) -> Result<(), Self::Error>;

    /// Exchange `id` got no response.
    ///
    /// # Errors
    /// Fatal.
    fn handle_failure(&mut self, now: Instant, id: Self::Id, failure: Self::Failure) -> Result<(), Self::Error>;
}
