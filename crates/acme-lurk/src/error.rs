//! What can be wrong with a message: where, and what was due there instead.

use std::fmt;

use crate::url::UrlRefusal;

/// Why a message could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {kind}")]
pub struct DecodeError {
    path: String,
    kind: DecodeErrorKind,
}

impl DecodeError {
    pub(crate) fn new(path: impl Into<String>, kind: DecodeErrorKind) -> Self {
        Self { path: path.into(), kind }
    }

    /// Which part of which message: `order.auto-renewal.lifetime`.
    pub fn path(&self) -> &str {
        &self.path
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
    pub(crate) fn at(self, path: impl Into<String>) -> DecodeError {
        DecodeError::new(path, self)
    }
}

/// A limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::body`](crate::Limits::body), in octets.
    Body(usize),
    /// [`ClientLimits::calls`](crate::acme::client::ClientLimits::calls).
    Calls(usize),
    /// [`Limits::csr`](crate::Limits::csr), in octets.
    Csr(usize),
    /// [`Limits::identifiers`](crate::Limits::identifiers).
    Identifiers(usize),
    /// [`Limits::url`](crate::Limits::url), in octets.
    Url(usize),
}

/// A call at the wrong time, or with what does not fit. It has changed nothing, and nothing that a peer does causes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiMisuse {
    // Of a client.
    /// The directory is not at a URL of https, and its origin is not allowed otherwise.
    #[error("the URL of the directory will not do: {0}")]
    Directory(UrlRefusal),
    /// There is no account yet.
    #[error("there is no account: make one, or find it, first")]
    NoAccount,
    /// The certificate has no key identifier of who has signed it, and so no name by which to ask for its renewal.
    #[error("the certificate does not say which key has signed it")]
    NoCertificateId,
    /// The names of the certification request are not those of the order (RFC 8555 section 7.4).
    #[error("the names in the certification request are not those of the order")]
    OtherNames,
    /// A key that does not sign requests.
    #[error("this kind of key does not sign requests")]
    Key,
    // Of a CA.
    /// There is no such order, or it does not wait for a certificate: perhaps it was canceled.
    #[error("no such order waits for this certificate")]
    NotAwaited,
    /// The certificate is not the one that was asked for.
    #[error("the certificate is not what was asked for: {0}")]
    WrongCertificate(&'static str),
    // Of a name owner's server.
    /// There is no such order.
    #[error("there is no such order")]
    NoOrder,
    /// It has no certificate, or is stopped already.
    #[error("only an order that is valid can be stopped")]
    NotValid,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(octets) => write!(f, "{octets} octets in a body"),
            Self::Calls(count) => write!(f, "{count} calls that are not answered yet"),
            Self::Csr(octets) => write!(f, "{octets} octets in a certification request"),
            Self::Identifiers(count) => write!(f, "{count} identifiers"),
            Self::Url(octets) => write!(f, "{octets} octets in a URL"),
        }
    }
}
