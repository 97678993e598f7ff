//! How much a peer may make a server hold, and for how long.

use std::time::Duration;

/// Bounds of connections. Those of what is asked on them are the site's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionLimits {
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
    /// For a peer that does not read its answers. 30 s.
    pub write: Duration,
    /// Requests under way at one time on a connection of HTTP/2. 128.
    pub streams: u32,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_per_address: 1024,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            head_octets: 16 << 10,
            fields: 64,
            write: Duration::from_secs(30),
            streams: 128,
        }
    }
}
