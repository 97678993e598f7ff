//! How much a client may make a server hold or do.

use std::time::Duration;

use repute_proto::server::RateLimit;
use watchfire_hyper::ConnectionLimits;

/// Bounds of the HTTP side; those of requests are in [`ServerConfig::limits`](repute_proto::ServerConfig::limits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerLimits {
    /// Connections at one time; more wait in the system's queue. 4096.
    pub connections: usize,
    /// Connections of one address (of one /64 of IPv6) at one time; more are closed at once. 1024.
    pub connections_per_address: usize,
    /// For the TLS handshake. 10 s.
    pub handshake: Duration,
    /// For the head of a request, and between two requests of a connection. Who has no request then is let go, and cut
    /// off after twice that at the latest. 30 s.
    pub head: Duration,
    /// Octets of the head of a request, at least 8192. 16 KiB.
    pub head_octets: usize,
    /// Header fields of a request. 64.
    pub fields: usize,
    /// For the body of a batch, all of it. 10 s.
    pub body: Duration,
    /// Octets of the body of a batch. 1 MiB.
    pub body_octets: usize,
    /// For a peer that does not read its answers. 30 s.
    pub write: Duration,
    /// Requests under way at one time on a connection of HTTP/2. 128.
    pub streams: u32,
    /// For the store, until it has found what is known. 5 s.
    pub lookup: Duration,
    /// Look-ups that the store is asked to make at one time, beside those that it has at hand; more wait, within the
    /// same time. 256.
    pub lookups: usize,
    /// Requests of one address (of one /64 of IPv6), or of one key where keys are asked for. No limit.
    pub rate: Option<RateLimit>,
}

impl ServerLimits {
    /// Those that are about connections.
    pub(super) fn of_connections(&self) -> ConnectionLimits {
        let mut limits = ConnectionLimits::default();
        limits.connections = self.connections;
        limits.connections_per_address = self.connections_per_address;
        limits.handshake = self.handshake;
        limits.head = self.head;
        limits.head_octets = self.head_octets;
        limits.fields = self.fields;
        limits.write = self.write;
        limits.streams = self.streams;
        limits
    }
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_per_address: 1024,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            head_octets: 16 << 10,
            fields: 64,
            body: Duration::from_secs(10),
            body_octets: 1 << 20,
            write: Duration::from_secs(30),
            streams: 128,
            lookup: Duration::from_secs(5),
            lookups: 256,
            rate: None,
        }
    }
}
