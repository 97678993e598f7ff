//! How much a client may make a server hold or do.

use std::time::Duration;

use watchfire_hyper::ConnectionLimits;

/// Bounds of the HTTP side; those of messages are [`acme_lurk::Limits`], those of a CA
/// [`CaLimits`](acme_lurk::acme::server::CaLimits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerLimits {
    /// Those of connections.
    pub connection: ConnectionLimits,
    /// For the body of a request, all of it. 10 s.
    pub body: Duration,
    /// Octets of the body of a request. 64 KiB.
    pub body_octets: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self { connection: ConnectionLimits::default(), body: Duration::from_secs(10), body_octets: 64 << 10 }
    }
}
