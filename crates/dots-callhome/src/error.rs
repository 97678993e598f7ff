//! Errors, sorted by who is to blame.

use crate::request::InvalidRequest;
use crate::wire::{DecodeError, DecodeErrorKind, InvalidSignal};

/// Why a session is finished. Only streams end so: what is wrong with a datagram is counted and dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer's octets are malformed.
    #[error("invalid message: {0}")]
    InvalidMessage(#[source] DecodeError),
    /// The peer's message is well-formed, but must not come now.
    #[error("peer misbehaved: {0}")]
    PeerMisbehaved(#[source] PeerMisbehaved),
    /// One of our [`Limits`](crate::Limits) is reached.
    #[error("limit exceeded: {0}")]
    LimitExceeded(#[source] Limit),
    /// The driver called something that cannot be called now. It changed nothing.
    #[error("api misuse: {0}")]
    ApiMisuse(#[source] ApiMisuse),
}

/// Well-formed and illegal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// The first message on a stream is not a CSM (RFC 8323 section 3.3).
    #[error("the first message was no csm")]
    MissingCsm,
    /// A signal that cannot be taken.
    #[error("{0}")]
    Signal(#[source] InvalidSignal),
}

/// Which limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::message`](crate::Limits::message).
    #[error("octets of a message")]
    Message,
    /// Options of a message: 64.
    #[error("options of a message")]
    Options,
    /// [`Limits::queued`](crate::Limits::queued).
    #[error("queued output")]
    Queued,
}

/// A call at the wrong time, or with the wrong value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiMisuse {
    /// There is no session.
    #[error("there is no session")]
    NoSession,
    /// No redirection awaits an answer.
    #[error("no redirection awaits an answer")]
    NoRedirect,
    /// No such mitigation, or not in this state.
    #[error("no such mitigation, or not in this state")]
    UnknownMitigation,
    /// The mid is used already, or not above the last one.
    #[error("the mid is not above the last one used")]
    MidNotAscending,
    /// The request breaks a rule that the server would refuse it for.
    #[error("{0}")]
    Request(#[from] InvalidRequest),
    /// A source is not in the server's domain.
    #[error("source {0} is not in the domain of the server")]
    ForeignSource(crate::body::Prefix),
    /// A source that is shared by ports needs its ports.
    #[error("source {0} is shared: its ports must be said")]
    SharedSource(crate::body::Prefix),
    /// It does not fit a datagram: see [`split_request`](crate::split_request).
    #[error("the request does not fit a datagram")]
    TooLarge,
    /// Too many of them.
    #[error("too many mitigations or requests")]
    TooMany,
    /// Not in this profile.
    #[error("not in this profile")]
    Profile,
    /// Mitigations are active.
    #[error("mitigations are active")]
    Active,
    /// Nothing is set.
    #[error("a configuration must set something")]
    EmptyConfig,
}

/// Limits keep their own family, whoever noticed them.
impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        match error.kind {
            DecodeErrorKind::Limit(limit) => Self::LimitExceeded(limit),
            _ => Self::InvalidMessage(error),
        }
    }
}

impl From<PeerMisbehaved> for Error {
    fn from(error: PeerMisbehaved) -> Self {
        Self::PeerMisbehaved(error)
    }
}

impl From<ApiMisuse> for Error {
    fn from(error: ApiMisuse) -> Self {
        Self::ApiMisuse(error)
    }
}
