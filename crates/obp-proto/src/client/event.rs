//! What a client says.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::Message;
use crate::error::Error;
use crate::http::Request;
use crate::message::Name;
use crate::service_connect::ExchangeId;

/// Names a query; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub(super) u64);

/// Names a name that is to be resolved; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResolveId(pub(super) u64);

/// Where a request over HTTP goes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpTarget {
    /// The address to connect to.
    pub address: SocketAddr,
    /// The name of the host: for the `Host` header, and for its certificate. Without one, both are about the address.
    pub name: Option<Name>,
    /// Whether TLS must be used.
    pub tls: bool,
}

impl HttpTarget {
    /// A target at this address.
    pub const fn new(address: SocketAddr, name: Option<Name>, tls: bool) -> Self {
        Self { address, name, tls }
    }
}

/// What happened, or is to be done.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "messages are matched by value, and nearly every event has one")]
#[non_exhaustive]
pub enum ClientEvent {
    /// The answer to a query, verified. Its status may well be a refusal of what was asked.
    Answer {
        /// Which query.
        id: QueryId,
        /// A QueryConnectResponse or ValidateResponse, as was asked.
        message: Message,
    },
    /// The answers to DNS messages, verified; in any order, and perhaps not all.
    DnsAnswer {
        /// Which query.
        id: QueryId,
        /// DNS messages.
        messages: Vec<Bytes>,
    },
    /// There is no answer to a query.
    Failed {
        /// Which query.
        id: QueryId,
        /// Why: the last reason, when several instances were tried.
        error: Error,
    },
    /// Make this exchange, and answer by `handle_response` or `handle_failure`.
    Exchange {
        /// Names the exchange.
        id: ExchangeId,
        /// Where to.
        to: HttpTarget,
        /// What.
        request: Request,
    },
    /// The response to this exchange is not waited for any more.
    CancelExchange {
        /// Which exchange.
        id: ExchangeId,
    },
    /// Look up the addresses of this name, and answer by [`Client::resolved`](super::Client::resolved).
    Resolve {
        /// Names the look-up.
        id: ResolveId,
        /// The name.
        name: Name,
    },
    /// The broker replaced a ticket: save [`Client::binding`](super::Client::binding).
    BindingChanged,
    /// No ticket of the binding is good any more: refresh it or bind again, then call
    /// [`Client::rebind`](super::Client::rebind).
    Rebind,
}
