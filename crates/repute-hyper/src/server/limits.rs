//! How much a client may make a server hold or do.

use std::time::Duration;

use repute_proto::server::RateLimit;
use watchfire_hyper::ConnectionLimits;

/// Bounds of the HTTP side; those of requests are in [`ServerConfig::limits`](repute_proto::ServerConfig::limits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerLimits {
    /// Those of connections.
    pub connection: ConnectionLimits,
    /// For the body of a batch, all of it. 10 s.
    pub body: Duration,
    /// Octets of the body of a batch. 1 MiB.
    pub body_octets: usize,
    /// For the store, until it has found what is known. 5 s.
    pub lookup: Duration,
    /// Look-ups that the store is asked to make at one time, beside those that it has at hand; more wait, within the
    /// same time. 256.
    pub lookups: usize,
    /// Requests of one address (of one /64 of IPv6), or of one key where keys are asked for. No limit.
    pub rate: Option<RateLimit>,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connection: ConnectionLimits::default(),
            body: Duration::from_secs(10),
            body_octets: 1 << 20,
            lookup: Duration::from_secs(5),
            lookups: 256,
            rate: None,
        }
    }
}
