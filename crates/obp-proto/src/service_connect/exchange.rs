//! One request and its response, as the driver carries them over HTTP.

use bytes::Bytes;

use crate::codec::Encoding;
use crate::message::Cryptographic;

/// Names an exchange of one machine; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub(crate) u64);

/// A request to make: POST `body` to [`PATH`](super::PATH) over TLS, and give the response back under the same `id`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// Names the exchange.
    pub id: ExchangeId,
    /// What the body is encoded in: its media type, and the one to ask for in the response.
    pub encoding: Encoding,
    /// The message. Not an octet of it may change: proofs are made over it.
    pub body: Bytes,
    /// What authenticates the request in its Session header, and the response in its own.
    pub credentials: Option<Cryptographic>,
}

/// A response that came.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// The status of HTTP.
    pub http_status: u16,
    /// What the body is encoded in, if that is an encoding of messages.
    pub encoding: Option<Encoding>,
    /// The octets.
    pub body: Bytes,
    /// Whether a Session header authenticated the body by the credentials of the request.
    pub authenticated: bool,
}

impl Response {
    /// A response without Session header, in JSON.
    pub fn new(http_status: u16, body: impl Into<Bytes>) -> Self {
        Self { http_status, encoding: Some(Encoding::Json), body: body.into(), authenticated: false }
    }

    /// The same, of this encoding.
    #[must_use]
    pub fn with_encoding(mut self, encoding: Option<Encoding>) -> Self {
        self.encoding = encoding;
        self
    }

    /// The same, and authenticated or not.
    #[must_use]
    pub fn with_authenticated(mut self, authenticated: bool) -> Self {
        self.authenticated = authenticated;
        self
    }
}
