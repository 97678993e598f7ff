//! The rendezvous of the seed: one peer puts octets into a relay under a name that nobody can guess, tells the other the
//! URL by another way, and that one gets them. draft-hartke-xmpp-stupid-00 section 3.
//!
//! [`Relay`] is the relay, [`Source`] peer A, [`Sink`] peer B, all without the HTTP around them; [`Notification`] is what
//! A tells B, as JSON, as a link, or as stanzas of XMPP ([`xmpp`]).
//!
//! The draft has no encryption: who can read at the relay reads everything. In the *sealed mode*, which is ours, the
//! relay keeps what it cannot read, and the key is in the notification alone ([`SealKey`]).

mod notification;
mod query;
mod relay;
mod seal;
mod sink;
mod source;
mod url;
pub mod xmpp;

pub use notification::Notification;
pub use query::chid;
pub use relay::{PutError, Relay, RelayLimits, RelayRequest, RelayResponse};
pub use seal::{InvalidSeal, SEAL_OVERHEAD, SealAlgorithm, SealKey};
pub use sink::{FetchError, FetchRequest, NotTaken, Sink, SinkConfig, SinkConfigBuilder, SinkEvent};
pub use source::{NotWritten, Source, SourceConfig, SourceConfigBuilder, SourceEvent, StoreError, StoreRequest};
pub use url::{InvalidUrl, RelayUrl};

/// Names an exchange of a peer with its relay; never used twice by the same machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(u64);

/// Why an exchange brought no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeFailure {
    /// There was no connection: nothing was sent.
    #[error("there is no connection to it")]
    Connect,
    /// The connection broke, or what came was no HTTP.
    #[error("the connection broke")]
    Broken,
    /// The response has more octets than were wanted.
    #[error("the response is too large")]
    TooLarge,
    /// There was no response in time.
    #[error("there was no answer in time")]
    TimedOut,
}

/// Whether a status says that asking again may help.
const fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}
