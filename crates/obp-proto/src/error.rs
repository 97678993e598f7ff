//! Errors, sorted by who is to blame, and the status that each sends to the peer.

use std::fmt;

use crate::message::InvalidRequest;
use crate::status::Status;

/// Why a machine is finished, or a message cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer's octets are no message.
    #[error("invalid message: {0}")]
    InvalidMessage(#[source] DecodeError),
    /// The peer's message is well-formed, but must not be sent like this or now.
    #[error("peer misbehaved: {0}")]
    PeerMisbehaved(#[source] PeerMisbehaved),
    /// The peer asks for, or offers, something legal that is not done here.
    #[error("peer incompatible: {0}")]
    PeerIncompatible(#[source] PeerIncompatible),
    /// The peer refused, by this status.
    #[error("the peer refused: {0}")]
    Refused(Status),
    /// A limit is reached.
    #[error("limit exceeded: {0}")]
    LimitExceeded(#[source] Limit),
    /// It took too long.
    #[error("timed out: {0}")]
    TimedOut(&'static str),
    /// The exchanges with the peer fail.
    #[error("the peer cannot be reached: {0}")]
    Unreachable(#[source] ExchangeFailure),
    /// The application called something that cannot be called now. Nothing the peer does causes this.
    #[error("api misuse: {0}")]
    ApiMisuse(#[source] ApiMisuse),
}

/// Well-formed and illegal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// Another message than the one that is due.
    #[error("a {got} where a {expected} was due")]
    UnexpectedMessage {
        /// What was due.
        expected: &'static str,
        /// What came.
        got: &'static str,
    },
    /// A request that makes no sense by itself.
    #[error(transparent)]
    Request(#[from] InvalidRequest),
    /// A response lacks what it must have.
    #[error("the response has no {0}")]
    MissingField(&'static str),
    /// A status that is no answer here.
    #[error("status {0} is no answer here")]
    UnexpectedStatus(Status),
    /// The peer does not know the PIN, or somebody in between changed a message.
    #[error("the peer's proof of the PIN is wrong")]
    WrongProof,
    /// A challenge that is too short or too long, or the same as ours.
    #[error("a challenge of {0} octets; it must have 16 to 80, and not fewer than the key of the algorithm")]
    ChallengeLength(usize),
    /// The peer selected what was not offered.
    #[error("the peer selected an algorithm that was not offered")]
    NotOffered,
    /// A key that its algorithm cannot take.
    #[error("a key of {0} octets does not fit its algorithm")]
    KeyLength(usize),
    /// A message that must be authenticated is not.
    #[error("the message is not authenticated")]
    NotAuthenticated,
    /// A ticket of a binding that has ended.
    #[error("the binding of the ticket has ended")]
    Unbound,
    /// A poll for a transaction that nobody knows.
    #[error("no such transaction")]
    UnknownTransaction,
    /// A poll before its time.
    #[error("polled before its time")]
    TooSoon,
}

/// Legal and not done here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerIncompatible {
    /// None of the algorithms is common to both.
    #[error("no algorithm is common to both")]
    NoCommonAlgorithm,
    /// A content type that is no encoding of messages.
    #[error("the content is not in an encoding of messages")]
    MediaType,
    /// A binding in which nothing is usable.
    #[error("the binding has no instance that can be used")]
    NoUsableInstance,
}

/// Which limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::message`](crate::Limits::message).
    #[error("octets of a message")]
    Message,
    /// [`Limits::depth`](crate::Limits::depth).
    #[error("levels of a message")]
    Depth,
    /// [`Limits::items`](crate::Limits::items).
    #[error("elements of an array, or members of an object")]
    Items,
    /// [`Limits::values`](crate::Limits::values).
    #[error("values in a message")]
    Values,
    /// [`Limits::string`](crate::Limits::string).
    #[error("octets of a string")]
    String,
    /// [`Limits::unknown_fields`](crate::Limits::unknown_fields).
    #[error("unknown members of a structure")]
    UnknownFields,
    /// Codes and dictionaries of JSON-C.
    #[error("codes and dictionaries")]
    Codes,
    /// Transactions that a broker keeps at a time.
    #[error("transactions at a time")]
    Transactions,
    /// Attempts at a PIN.
    #[error("attempts at a PIN")]
    PinAttempts,
    /// Events and requests that the application did not fetch or answer.
    #[error("events not fetched or requests not answered")]
    Unanswered,
}

/// Why an exchange got no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeFailure {
    /// No connection could be made.
    #[error("no connection")]
    Connect,
    /// The peer's certificate is not good, or TLS failed otherwise.
    #[error("TLS failed")]
    Tls,
    /// The connection was lost before the whole response had come.
    #[error("the connection was lost")]
    Broken,
    /// No response came in time.
    #[error("no response in time")]
    TimedOut,
    /// The response broke the rules of HTTP, or was too long.
    #[error("not a response")]
    NotHttp,
}

/// A call at the wrong time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiMisuse {
    /// The machine is finished.
    #[error("the machine is finished")]
    Finished,
    /// Nothing is waiting for this call.
    #[error("nothing is waiting for this call")]
    NotNow,
    /// No such exchange, request or transaction, or it is answered already.
    #[error("no such thing, or it is answered already")]
    UnknownId,
    /// What was configured or passed cannot be used.
    #[error("unusable: {0}")]
    Unusable(&'static str),
}

/// Why octets are no message, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    kind: DecodeErrorKind,
    path: Box<str>,
    offset: Option<usize>,
}

/// Why octets are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The octets are not of the encoding, or a value is not of its type.
    #[error("{0}")]
    Encoding(jsonbcd::ErrorKind),
    /// An object without members.
    #[error("an empty object: a message is an object with one member that names it")]
    EmptyEnvelope,
    /// An object with more than one member.
    #[error("a second member behind the message: a message is an object with one member that names it")]
    SecondMember,
    /// A message that this crate does not know, by its name, of which the first 64 characters are kept.
    #[error("the message {0:?} is unknown")]
    UnknownMessage(String),
    /// A required member is not there.
    #[error("the member {0} is missing")]
    MissingField(&'static str),
    /// A member stands twice.
    #[error("the member {0:?} stands twice")]
    DuplicateField(String),
    /// A member that is unknown, where unknown ones are denied.
    #[error("the member {0:?} is unknown")]
    UnknownField(String),
    /// Beyond a limit.
    #[error("limit exceeded: {0}")]
    Limit(Limit),
}

impl DecodeError {
    #[cold]
    pub(crate) fn new(kind: DecodeErrorKind, path: String, offset: Option<usize>) -> Self {
        Self { kind, path: path.into(), offset }
    }

    /// What is wrong.
    pub fn kind(&self) -> &DecodeErrorKind {
        &self.kind
    }

    /// In which member: `QueryConnectResponse.Connection[1].IPPort`. Empty when it is the whole.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// At or behind which octet, when that is known.
    pub fn offset(&self) -> Option<usize> {
        self.offset
    }

    /// The status that answers such a request.
    pub const fn status(&self) -> Status {
        match &self.kind {
            DecodeErrorKind::UnknownMessage(_) => Status::NOT_IMPLEMENTED,
            _ => Status::SYNTAX,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        if !self.path.is_empty() {
            write!(f, ", in {}", self.path)?;
        }
        match self.offset {
            Some(offset) => write!(f, ", at octet {offset}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Why a message cannot be written: one of its unknown members is the cause, always.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an unknown member cannot be written: {0}")]
pub struct EncodeError(pub(crate) jsonbcd::Error);

impl Error {
    /// The status that tells the peer. Total: every error has its row.
    pub const fn status(&self) -> Status {
        match self {
            Self::InvalidMessage(error) => error.status(),
            Self::PeerMisbehaved(error) => error.status(),
            Self::PeerIncompatible(error) => error.status(),
            Self::Refused(status) => *status,
            Self::LimitExceeded(Limit::Transactions | Limit::PinAttempts | Limit::Unanswered) => Status::TOO_MANY,
            Self::LimitExceeded(_) => Status::SYNTAX,
            Self::TimedOut(_) => Status::TIME_OUT,
            Self::Unreachable(_) => Status::SERVER_FAILURE,
            Self::ApiMisuse(_) => Status::UNKNOWN,
        }
    }
}

impl PeerMisbehaved {
    /// The status that tells the peer.
    pub const fn status(self) -> Status {
        match self {
            Self::WrongProof | Self::NotAuthenticated => Status::AUTHENTICATION,
            Self::Unbound => Status::TICKET_NOT_RECOGNIZED,
            Self::UnknownTransaction => Status::NON_EXISTENT_DOMAIN,
            Self::TooSoon => Status::TOO_MANY,
            Self::UnexpectedMessage { .. }
            | Self::Request(_)
            | Self::MissingField(_)
            | Self::UnexpectedStatus(_)
            | Self::ChallengeLength(_)
            | Self::NotOffered
            | Self::KeyLength(_) => Status::SYNTAX,
        }
    }
}

impl PeerIncompatible {
    /// The status that tells the peer.
    pub const fn status(self) -> Status {
        match self {
            Self::NoCommonAlgorithm | Self::NoUsableInstance => Status::REFUSED,
            Self::MediaType => Status::SYNTAX,
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

impl From<InvalidRequest> for Error {
    fn from(error: InvalidRequest) -> Self {
        Self::PeerMisbehaved(error.into())
    }
}

impl From<PeerIncompatible> for Error {
    fn from(error: PeerIncompatible) -> Self {
        Self::PeerIncompatible(error)
    }
}

impl From<Limit> for Error {
    fn from(limit: Limit) -> Self {
        Self::LimitExceeded(limit)
    }
}

impl From<ApiMisuse> for Error {
    fn from(error: ApiMisuse) -> Self {
        Self::ApiMisuse(error)
    }
}
