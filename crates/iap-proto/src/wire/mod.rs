//! Octets. draft-ietf-idwg-iap-01 sections 4.2 and 4.3, with the defects of its grammar repaired as `SPEC.md` says.
//!
//! Each message decodes itself from the front of a slice and says how many octets it took, and encodes itself to any
//! [`BufMut`](bytes::BufMut). [`HeadFramer`] finds the end of a message head in octets that come in pieces.

mod content;
mod cursor;
mod head;
mod http_like;
mod setup;

use crate::compat::Compat;
use crate::config::Limits;
use crate::error::Limit;

pub(crate) use content::trailer;
pub use head::HeadFramer;

/// What a decoder needs to know: the forms to accept and the limits to keep.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Syntax {
    /// Forms accepted.
    pub compat: Compat,
    /// Limits kept: line, lines, via.
    pub limits: Limits,
}

impl Syntax {
    /// These forms within these limits.
    pub const fn new(compat: Compat, limits: Limits) -> Self {
        Self { compat, limits }
    }
}

/// Why octets are not a message, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at octet {offset}")]
#[non_exhaustive]
pub struct DecodeError {
    /// What is wrong.
    pub kind: DecodeErrorKind,
    /// Where, counted from the first octet of the message.
    pub offset: usize,
}

impl DecodeError {
    pub(crate) const fn new(kind: DecodeErrorKind, offset: usize) -> Self {
        Self { kind, offset }
    }
}

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// More octets are needed. Only decoders say so, never machines.
    #[error("the message is not complete")]
    Incomplete,
    /// LF without CR.
    #[error("line feed without carriage return")]
    BareLineFeed,
    /// CR without LF.
    #[error("carriage return without line feed")]
    BareCarriageReturn,
    /// A control character.
    #[error("control character")]
    ControlCharacter,
    /// A line that starts with white space.
    #[error("folded line")]
    FoldedLine,
    /// White space missing, or more of it than allowed.
    #[error("white space missing or unexpected")]
    WhiteSpace,
    /// Neither `IAP/` nor a request line of the later drafts.
    #[error("not an iap message")]
    NotIap,
    /// Not `IAP/<major>.<minor>`.
    #[error("version malformed")]
    Version,
    /// No request of any phase.
    #[error("unknown request")]
    UnknownRequest,
    /// Text behind the end of what was expected.
    #[error("unexpected text")]
    UnexpectedText,
    /// A line that does not belong to this message.
    #[error("unexpected line")]
    UnexpectedLine,
    /// Not a host.
    #[error("host malformed")]
    Host,
    /// Not a port.
    #[error("port malformed")]
    Port,
    /// Not three digits between 100 and 599.
    #[error("status malformed")]
    Status,
    /// Not `TLS/1.x`.
    #[error("upgrade token unknown")]
    TlsToken,
    /// Neither `Sender` nor `Receiver`.
    #[error("role unknown")]
    Role,
    /// No `IAP-Role`.
    #[error("role missing")]
    MissingRole,
    /// Not `name: value`.
    #[error("header malformed")]
    Header,
    /// The same header twice.
    #[error("header repeated")]
    RepeatedHeader,
    /// Headers in another order than the grammar's, or one that it does not have.
    #[error("header not expected here")]
    HeaderOrder,
    /// No `Content-Type`.
    #[error("content-type missing")]
    MissingType,
    /// Not a media type.
    #[error("content-type malformed")]
    MediaType,
    /// No `Content-Length`.
    #[error("content-length missing")]
    MissingLength,
    /// Not a number of at most 19 digits.
    #[error("content-length malformed")]
    Length,
    /// A `Transfer-Encoding`, which no draft after the first has.
    #[error("transfer-encoding is not part of iap")]
    TransferEncoding,
    /// A PUT target that no draft has for this request.
    #[error("unknown request target")]
    Target,
    /// Something else than two CRLF behind a body.
    #[error("body not followed by two empty lines")]
    Trailer,
    /// A limit is exceeded.
    #[error("{0} above the limit")]
    Limit(Limit),
}
