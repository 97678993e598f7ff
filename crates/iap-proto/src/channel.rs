//! What comes out of a setup: the machine of the data phase. And how machines end.

use crate::error::Error;
use crate::message::{DataRole, Status};
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::wire::{DecodeError, HeadFramer, Syntax};

/// The data phase of a connection whose setup is done: this node sends, or this node receives.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums)]
pub enum Channel {
    /// This node sends.
    Sender(Sender),
    /// This node receives.
    Receiver(Receiver),
}

impl Channel {
    /// This node's role.
    pub const fn role(&self) -> DataRole {
        match self {
            Self::Sender(_) => DataRole::Sender,
            Self::Receiver(_) => DataRole::Receiver,
        }
    }

    /// The sender, if this node sends.
    pub fn into_sender(self) -> Option<Sender> {
        match self {
            Self::Sender(sender) => Some(sender),
            Self::Receiver(_) => None,
        }
    }

    /// The receiver, if this node receives.
    pub fn into_receiver(self) -> Option<Receiver> {
        match self {
            Self::Sender(_) => None,
            Self::Receiver(receiver) => Some(receiver),
        }
    }
}

/// Why a machine ended. After this the driver closes the connection: with a TLS close_notify if TLS is up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// This node wanted it.
    Finished,
    /// The peer said goodbye. What a sender had no answer for is [unconfirmed](Sender::unconfirmed).
    PeerFinished,
    /// One side said no to a setup request.
    Refused {
        /// Which request.
        step: Step,
        /// With which status.
        status: Status,
    },
    /// The driver said that the TLS handshake failed, or that the peer's certificate is not good; it knows why.
    TlsFailed,
    /// Something went wrong.
    Failed(Error),
}

impl std::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::PeerFinished => f.write_str("finished by the peer"),
            Self::Refused { step, status } => write!(f, "{step} refused with status {status}"),
            Self::TlsFailed => f.write_str("the tls handshake failed"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

/// The three requests of a setup, in their order. draft-ietf-idwg-iap-01 section 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_enums)]
pub enum Step {
    /// TCP setup, section 3.1.
    Connect,
    /// Security setup, section 3.2.
    Upgrade,
    /// Channel setup, section 3.3.
    Channel,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Upgrade => "upgrade",
            Self::Channel => "channel setup",
        })
    }
}

/// Gathers a head that comes in pieces.
#[derive(Debug, Default)]
pub(crate) struct HeadBuffer {
    octets: Vec<u8>,
    framer: HeadFramer,
}

impl HeadBuffer {
    /// Takes octets. When a head is complete, gives it and how many octets of `input` belonged to it, and is empty
    /// again.
    pub(crate) fn push(&mut self, input: &[u8], syntax: &Syntax) -> Result<Option<(Vec<u8>, usize)>, DecodeError> {
        let known = self.octets.len();
        self.octets.extend_from_slice(input);
        Ok(self.framer.find_end(&self.octets, false, syntax)?.map(|end| {
            let mut head = std::mem::take(self).octets;
            head.truncate(end);
            (head, end.saturating_sub(known))
        }))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }
}
