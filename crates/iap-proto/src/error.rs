//! Errors, sorted by who is to blame, and the status code that each sends to the peer. draft-ietf-idwg-iap-01
//! names 4xx, 403, 500 and 502; the others are HTTP's for the same situation.

use crate::message::{Status, Version};
use crate::wire::{DecodeError, DecodeErrorKind};

/// Why a machine is finished. Fatal, always; the farewell is queued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer's octets are malformed.
    #[error("invalid message: {0}")]
    InvalidMessage(#[source] DecodeError),
    /// The peer's message is well-formed, but must not come now.
    #[error("peer misbehaved: {0}")]
    PeerMisbehaved(#[source] PeerMisbehaved),
    /// The peer asks for something legal that this node does not do.
    #[error("peer incompatible: {0}")]
    PeerIncompatible(#[source] PeerIncompatible),
    /// The peer goes beyond one of our [`Limits`](crate::Limits).
    #[error("limit exceeded: {0}")]
    LimitExceeded(#[source] Limit),
    /// The peer took too long.
    #[error("timed out: {0}")]
    TimedOut(&'static str),
    /// The driver called something that cannot be called now. Nothing the peer does causes this.
    #[error("api misuse: {0}")]
    ApiMisuse(#[source] ApiMisuse),
}

/// Well-formed and illegal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// Another request than the one whose turn it is (section 3).
    #[error("a {got} request where a {expected} request was due")]
    UnexpectedRequest {
        /// Whose turn it was.
        expected: &'static str,
        /// What came.
        got: &'static str,
    },
    /// A request came before the answer to the one before it.
    #[error("octets arrived before the answer to the request before them")]
    Impatient,
    /// Clear text behind the 101, where only TLS may follow. Somebody may be injecting it.
    #[error("clear text injected around the switch to TLS")]
    InjectedPlaintext,
    /// An answer that nobody waits for.
    #[error("an answer to no request")]
    UnsolicitedResponse,
    /// A status that is no answer in this phase.
    #[error("status {0} is no answer here")]
    UnexpectedStatus(Status),
    /// The version inside TLS is not the one in clear text (section 3.3): a downgrade attack.
    #[error("version {inside} inside TLS, {outside} outside")]
    VersionMismatch {
        /// The version of CONNECT.
        outside: Version,
        /// The version of the channel setup.
        inside: Version,
    },
    /// The stream ended inside a message or before the setup was done.
    #[error("the stream ended too early")]
    EarlyEof,
    /// TCP urgent data, which section 6.2 forbids.
    #[error("tcp urgent data")]
    UrgentData,
    /// Our own name stands in a Via line: the request runs in a circle (section 3.1).
    #[error("a loop: the request passed here before")]
    ViaLoop,
}

/// Legal and not supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerIncompatible {
    /// A version we do not speak.
    #[error("version {0} is not supported")]
    Version(Version),
    /// The data role that is left for us is one we do not implement.
    #[error("the role is not implemented here")]
    Role,
    /// A target that we do not serve.
    #[error("the target is not served here")]
    Host,
    /// An upgrade was asked for, and there is no certificate.
    #[error("no certificate is configured here")]
    NoCertificate,
}

/// Which limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::line`](crate::Limits::line).
    #[error("line length")]
    Line,
    /// [`Limits::lines`](crate::Limits::lines).
    #[error("lines in a message")]
    Lines,
    /// [`Limits::via`](crate::Limits::via).
    #[error("proxies on the way")]
    Via,
    /// [`Limits::body`](crate::Limits::body).
    #[error("body length")]
    Body,
    /// [`Limits::unanswered_octets`](crate::Limits::unanswered_octets) was ignored by the driver: see
    /// [`Receiver::wants_input`](crate::Receiver::wants_input).
    #[error("unanswered messages")]
    Unanswered,
}

/// A call at the wrong time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiMisuse {
    /// The machine is finished.
    #[error("the machine is finished")]
    Finished,
    /// Nothing is waiting for this answer.
    #[error("nothing is waiting for this call")]
    NotNow,
    /// The window is full: wait for an answer.
    #[error("the window is full")]
    WindowFull,
    /// The output was not drained.
    #[error("the output was not drained")]
    OutputFull,
    /// The body is above [`Limits::body`](crate::Limits::body).
    #[error("the body is above the limit")]
    BodyTooLarge,
    /// No such message, or it is answered already.
    #[error("no such message, or answered already")]
    UnknownMessage,
    /// A final answer was needed, and this status is none.
    #[error("not a final answer to a request")]
    NotAnAnswer,
}

impl Error {
    /// The status with which the peer's request is answered, if this error can be told by one. Total: every error
    /// has its row.
    pub const fn status(&self) -> Option<Status> {
        match self {
            Self::InvalidMessage(error) => Some(error.kind.status()),
            Self::PeerMisbehaved(PeerMisbehaved::ViaLoop) => Some(Status::BAD_GATEWAY),
            Self::PeerMisbehaved(PeerMisbehaved::VersionMismatch { .. })
            | Self::PeerIncompatible(PeerIncompatible::Version(_)) => Some(Status::VERSION_NOT_SUPPORTED),
            Self::PeerMisbehaved(PeerMisbehaved::EarlyEof | PeerMisbehaved::UrgentData) => None,
            Self::PeerMisbehaved(_) => Some(Status::BAD_REQUEST),
            Self::PeerIncompatible(PeerIncompatible::Role) => Some(Status::NOT_IMPLEMENTED),
            Self::PeerIncompatible(PeerIncompatible::Host) => Some(Status::NOT_FOUND),
            Self::PeerIncompatible(PeerIncompatible::NoCertificate) => Some(Status::INTERNAL_ERROR),
            Self::LimitExceeded(Limit::Body) => Some(Status::CONTENT_TOO_LARGE),
            Self::LimitExceeded(Limit::Via) => Some(Status::BAD_GATEWAY),
            Self::LimitExceeded(Limit::Unanswered) => Some(Status::SERVICE_UNAVAILABLE),
            Self::LimitExceeded(Limit::Line | Limit::Lines) => Some(Status::BAD_REQUEST),
            Self::TimedOut(_) => Some(Status::REQUEST_TIMEOUT),
            Self::ApiMisuse(_) => Some(Status::INTERNAL_ERROR),
        }
    }
}

impl DecodeErrorKind {
    /// The status that answers a request with this defect.
    pub const fn status(self) -> Status {
        match self {
            Self::MissingLength => Status::LENGTH_REQUIRED,
            Self::TransferEncoding => Status::NOT_IMPLEMENTED,
            Self::Limit(Limit::Body) => Status::CONTENT_TOO_LARGE,
            Self::Limit(Limit::Via) => Status::BAD_GATEWAY,
            _ => Status::BAD_REQUEST,
        }
    }
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

impl From<PeerIncompatible> for Error {
    fn from(error: PeerIncompatible) -> Self {
        Self::PeerIncompatible(error)
    }
}

impl From<ApiMisuse> for Error {
    fn from(error: ApiMisuse) -> Self {
        Self::ApiMisuse(error)
    }
}
