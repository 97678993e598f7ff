//! Why octets are no CoAP message.

use crate::error::Limit;

/// Where and why reading failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at octet {offset}")]
#[non_exhaustive]
pub struct DecodeError {
    /// What is wrong.
    pub kind: DecodeErrorKind,
    /// Where: octets from the start of the message.
    pub offset: usize,
}

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// It ends too early.
    #[error("the message ends too early")]
    Truncated,
    /// The version is not 1 (RFC 7252 section 3).
    #[error("the version is not 1")]
    Version,
    /// A token of more than eight octets.
    #[error("the token is longer than eight octets")]
    TokenLength,
    /// An option nibble of 15 that is no payload marker.
    #[error("a reserved option nibble")]
    ReservedNibble,
    /// Option numbers run beyond 65535.
    #[error("an option number beyond 65535")]
    OptionNumber,
    /// A payload marker with nothing behind it.
    #[error("a payload marker without a payload")]
    EmptyPayload,
    /// An empty message that is not empty (RFC 7252 section 4.1).
    #[error("an empty message with content")]
    NotEmpty,
    /// Beyond a limit.
    #[error("limit exceeded: {0}")]
    Limit(#[source] Limit),
}

impl DecodeErrorKind {
    pub(crate) const fn at(self, offset: usize) -> DecodeError {
        DecodeError { kind: self, offset }
    }
}
