//! The three role axes: who dialled, who is TLS client, who sends alerts. They are independent, which is what lets
//! IAP cross perimeters in either direction. draft-ietf-idwg-iap-01 sections 2, 3.2 and 4.2.
//!
//! The words client and server are kept for TLS alone; the draft uses them for three different things.

use std::fmt;
use std::str::FromStr;

/// Who dialled the TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_enums)]
pub enum Side {
    /// The node that dialled; it makes all setup requests.
    Initiator,
    /// The node that was dialled; it answers them.
    Responder,
}

/// What a node is in intrusion detection. A matter of configuration, never negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_enums)]
pub enum Party {
    /// Detects and reports.
    Analyzer,
    /// Collects and acts.
    Manager,
}

/// What a node does in the TLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_enums)]
pub enum TlsRole {
    /// Sends the first flight.
    Client,
    /// Waits for it.
    Server,
}

/// What a node does in the data phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_enums)]
pub enum DataRole {
    /// Sends requests, that is: alerts or commands.
    Sender,
    /// Answers them.
    Receiver,
}

impl DataRole {
    /// The role of the other end.
    pub const fn opposite(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
        }
    }
}

/// `Sender` or `Receiver`, as `IAP-Role` writes it.
impl fmt::Display for DataRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sender => "Sender",
            Self::Receiver => "Receiver",
        })
    }
}

/// Reads what `IAP-Role` writes, in any case.
impl FromStr for DataRole {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Sender, Self::Receiver]
            .into_iter()
            .find(|role| text.eq_ignore_ascii_case(if *role == Self::Sender { "Sender" } else { "Receiver" }))
            .ok_or(())
    }
}
