//! Everything that can grow, and how far.

use watchfire_core::{ConfigError, setters};

use crate::body::MAX_SCOPES;

/// Each is enforced before memory is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Octets in a datagram that we send: what fits a path of 1280 octets (RFC 9132 section 7.3) with IPv6, UDP and DTLS
    /// around it. Where the path is known to be worse (576 octets in old IPv4), less. Default 1152.
    pub datagram: usize,
    /// Octets in a message on a stream that we take, and say so. Default 8192.
    pub message: usize,
    /// Octets in a body that arrives in blocks, and in all of a session that are on their way. Default 2 MiB: a report of as
    /// many mitigations as there may be, each of which fills a datagram.
    pub body: usize,
    /// Mitigations in a report that a client reads; not below `mitigations` there. Default 4096.
    pub scopes: usize,
    /// Requests of ours that wait for an answer, heartbeats aside. Default 64.
    pub requests: usize,
    /// Message IDs kept to tell duplicates. Default 512.
    pub duplicates: usize,
    /// Observers of one session. Default 64.
    pub observers: usize,
    /// Mitigations of one client at a server, and of one server at a client. Default 1024.
    pub mitigations: usize,
    /// Mitigations of all clients at a server. Default 65536.
    pub all_mitigations: usize,
    /// cuids under which one peer may ask. Default 16.
    pub cuids: usize,
    /// Messages queued and not polled. Beyond it the oldest are dropped on datagrams; a stream fails. Default 1024.
    pub queued: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            datagram: 1152,
            message: 8192,
            body: 2 << 20,
            scopes: MAX_SCOPES,
            requests: 64,
            duplicates: 512,
            observers: 64,
            mitigations: 1024,
            all_mitigations: 65536,
            cuids: 16,
            queued: 1024,
        }
    }
}

setters! { Limits {
    with_datagram => datagram: usize,
    with_message => message: usize,
    with_body => body: usize,
    with_scopes => scopes: usize,
    with_requests => requests: usize,
    with_duplicates => duplicates: usize,
    with_observers => observers: usize,
    with_mitigations => mitigations: usize,
    with_all_mitigations => all_mitigations: usize,
    with_cuids => cuids: usize,
    with_queued => queued: usize,
} }

impl Limits {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        // RFC 7252 section 4.6 and RFC 8323 section 5.3.1: what every node must take.
        ConfigError::unless(self.datagram >= 256, "limits.datagram", "must be at least 256")?;
        ConfigError::unless(self.message >= 1152, "limits.message", "must be at least 1152")?;
        ConfigError::unless(self.requests > 0, "limits.requests", "must be at least 1")?;
        ConfigError::unless(self.queued > 0, "limits.queued", "must be at least 1")
    }
}
