//! What happens to connections: told, and counted.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// What happens to connections, to be counted and told.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum ConnectionEvent<'a> {
    /// No connection can be taken at the moment: usually there are no descriptors left. It is tried again.
    AcceptFailed {
        /// What the system says.
        error: &'a io::Error,
    },
    /// A connection broke the rules of HTTP, or came to a time-out.
    Broken {
        /// Whose.
        from: SocketAddr,
        /// How.
        error: &'a (dyn std::error::Error + 'static),
    },
    /// A connection was taken.
    Connected {
        /// Whose.
        from: SocketAddr,
    },
    /// TLS did not come about.
    HandshakeFailed {
        /// Whose.
        from: SocketAddr,
        /// Why; a time-out is one too.
        error: &'a io::Error,
    },
    /// A connection was closed at once, because its address has too many.
    Refused {
        /// Whose.
        from: SocketAddr,
    },
}

impl fmt::Display for ConnectionEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AcceptFailed { error } => write!(f, "cannot accept a connection, trying again: {error}"),
            Self::Broken { from, error } => write!(f, "connection of {from} broken: {error}"),
            Self::Connected { from } => write!(f, "{from} has connected"),
            Self::HandshakeFailed { from, error } => write!(f, "no TLS with {from}: {error}"),
            Self::Refused { from } => write!(f, "{from} has too many connections"),
        }
    }
}

/// What happened to connections, counted from the start.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ConnectionCounters {
    /// Connections taken.
    pub taken: AtomicU64,
    /// Connections closed at once because their address has too many.
    pub refused: AtomicU64,
    /// TLS handshakes that failed.
    pub handshakes_failed: AtomicU64,
    /// Connections that broke the rules of HTTP or came to a time-out.
    pub broken: AtomicU64,
}

impl ConnectionCounters {
    /// Counts what happened.
    pub fn count(&self, event: &ConnectionEvent<'_>) {
        let counter = match event {
            ConnectionEvent::Connected { .. } => &self.taken,
            ConnectionEvent::Refused { .. } => &self.refused,
            ConnectionEvent::HandshakeFailed { .. } => &self.handshakes_failed,
            ConnectionEvent::Broken { .. } => &self.broken,
            // No connection came of it.
            ConnectionEvent::AcceptFailed { .. } => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
