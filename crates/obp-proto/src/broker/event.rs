//! What a broker says.

use std::sync::Arc;

use bytes::Bytes;
use watchfire_core::Datagram;

use super::Identity;
use crate::http::Response;
use crate::{Encoding, Message};

/// Names a query, and the HTTP request that it came in; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub(super) u64);

/// Something to send.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a new kind must break every driver")]
pub enum BrokerTransmit {
    /// A datagram.
    Datagram(Datagram),
    /// The response to a request over HTTP.
    Response {
        /// Which one, as [`Broker::handle_request`](super::Broker::handle_request) named it.
        id: QueryId,
        /// The response.
        response: Response,
    },
}

/// What the application must know.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "messages are matched by value, and nearly every event has one")]
#[non_exhaustive]
pub enum BrokerEvent {
    /// A verified client asks. Answer by [`Broker::respond`](super::Broker::respond), or
    /// [`respond_dns`](super::Broker::respond_dns).
    Query {
        /// Names the query.
        id: QueryId,
        /// Who asks.
        client: Arc<Identity>,
        /// What.
        question: Question,
    },
    /// A request of service-connect, for whoever manages bindings. Answer by
    /// [`Broker::respond_octets`](super::Broker::respond_octets).
    Connect {
        /// Names the request.
        id: QueryId,
        /// Whose ticket authenticates it; none for a request without `Session` header.
        client: Option<Arc<Identity>>,
        /// What the body is encoded in.
        encoding: Encoding,
        /// The message, octet for octet: proofs are made over it.
        body: Bytes,
    },
    /// A query was given up: the application took too long, or the client went away. Do not answer it.
    Cancelled {
        /// Which one.
        id: QueryId,
    },
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "nearly every question is a message")]
#[non_exhaustive]
pub enum Question {
    /// A QueryConnectRequest or ValidateRequest.
    Message(Message),
    /// DNS messages (draft-hallambaker-privatedns-01), at least one. Each has an ID of its own.
    Dns(Vec<Bytes>),
}
