//! What can be wrong with a message: where, and what was due there instead.

use std::fmt;

/// Why a message could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {kind}")]
pub struct DecodeError {
    place: String,
    kind: DecodeErrorKind,
}

impl DecodeError {
    pub(crate) fn new(place: impl Into<String>, kind: DecodeErrorKind) -> Self {
        Self { place: place.into(), kind }
    }

    /// Which part of which message: `order.auto-renewal.lifetime`.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What is wrong there.
    pub fn kind(&self) -> &DecodeErrorKind {
        &self.kind
    }
}

/// What is wrong with a part of a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// It is not unpadded base64url (RFC 7515 section 2).
    #[error("is not base64url without padding")]
    Base64,
    /// Something else is due here.
    #[error("must be {0}")]
    Expected(&'static str),
    /// It is not JSON, has a name twice in an object, or is beyond a limit of JSON.
    #[error("{0}")]
    Json(jsonbcd::Error),
    /// It is larger than [`Limits`](crate::Limits) admit.
    #[error("is beyond the limit of {0}")]
    Limit(Limit),
    /// It is required.
    #[error("is missing")]
    Missing,
    /// It may not be there.
    #[error("may not be there: {0}")]
    Forbidden(&'static str),
    /// A member that a closed object does not have.
    #[error("has a member {0:?}, which it may not have")]
    Unknown(String),
}

impl DecodeErrorKind {
    pub(crate) fn at(self, place: impl Into<String>) -> DecodeError {
        DecodeError::new(place, self)
    }
}

/// A limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::body`](crate::Limits::body), in octets.
    Body(usize),
    /// [`Limits::csr`](crate::Limits::csr), in octets.
    Csr(usize),
    /// [`Limits::identifiers`](crate::Limits::identifiers).
    Identifiers(usize),
    /// [`Limits::url`](crate::Limits::url), in octets.
    Url(usize),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(octets) => write!(f, "{octets} octets in a body"),
            Self::Csr(octets) => write!(f, "{octets} octets in a certification request"),
            Self::Identifiers(count) => write!(f, "{count} identifiers"),
            Self::Url(octets) => write!(f, "{octets} octets in a URL"),
        }
    }
}
