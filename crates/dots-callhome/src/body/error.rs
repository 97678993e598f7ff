//! Why octets are no DOTS body.

use super::prefix::InvalidPrefix;

/// Where and why reading failed. Its text is fit for a diagnostic payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at octet {offset}")]
#[non_exhaustive]
pub struct BodyError {
    /// What is wrong.
    pub kind: BodyErrorKind,
    /// Where: octets from the start of the body.
    pub offset: usize,
}

/// What is wrong with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyErrorKind {
    /// It ends inside an item, or is no CBOR.
    #[error("malformed cbor")]
    Malformed,
    /// Another kind of item than the key asks for.
    #[error("unexpected cbor type")]
    UnexpectedType,
    /// Something behind the item.
    #[error("trailing octets")]
    Trailing,
    /// A key that stands there twice.
    #[error("duplicate key {0}")]
    DuplicateKey(u32),
    /// A key that must be understood (RFC 9132 section 10.6.1.1), and is not.
    #[error("unknown comprehension-required key {0}")]
    UnknownKey(u64),
    /// A key that belongs into the path, not into a body.
    #[error("key {0} must not be in a body")]
    Misplaced(u32),
    /// An empty list, text or map where something is needed.
    #[error("empty value for key {0}")]
    Empty(u32),
    /// A value out of its range.
    #[error("value out of range for key {0}")]
    Range(u32),
    /// No prefix.
    #[error("{0}")]
    Prefix(#[source] InvalidPrefix),
    /// A name or text that cannot be one.
    #[error("invalid text")]
    Text,
    /// A member that must be there is missing.
    #[error("missing key {0}")]
    Missing(u32),
    /// No root that is known.
    #[error("no dots message")]
    NoRoot,
    /// Two roots.
    #[error("more than one dots message")]
    SecondRoot,
    /// Nested too deeply.
    #[error("nested too deeply")]
    TooDeep,
    /// Too many items.
    #[error("too many items")]
    TooMany,
    /// A text that is too long.
    #[error("text too long")]
    TooLong,
}
