//! What happens in a relay: counted, and told to whoever wants to know. Names of chunks are never in it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use watchfire_hyper::{ConnectionCounters, ConnectionEvent};

/// What happened, counted from the start.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RelayCounters {
    /// Those of connections.
    pub connection: ConnectionCounters,
    /// Requests whose head was read.
    pub requests: AtomicU64,
    /// Chunks that were put there.
    pub stored: AtomicU64,
    /// Chunks that were got, or looked at with HEAD.
    pub fetched: AtomicU64,
    /// Requests for chunks that are not there.
    pub missing: AtomicU64,
    /// Requests to put a chunk there without a good password.
    pub unauthorized: AtomicU64,
    /// Chunks that were too large, or for which there was no room.
    pub full: AtomicU64,
    /// Other answers of 400 and above.
    pub refused: AtomicU64,
}

/// One more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Something that an operator may want to know of.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum RelayEvent<'a> {
    /// Something about a connection.
    Connection(ConnectionEvent<'a>),
    /// A chunk was not taken.
    Refused {
        /// Whose.
        from: SocketAddr,
        /// What was answered.
        status: u16,
    },
    /// A chunk was put there.
    Stored {
        /// By whom.
        from: SocketAddr,
        /// How large it is.
        octets: usize,
    },
}

impl fmt::Display for RelayEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(event) => write!(f, "{event}"),
            Self::Refused { from, status } => write!(f, "no chunk was taken from {from}: {status}"),
            Self::Stored { from, octets } => write!(f, "{from} put a chunk of {octets} octets here"),
        }
    }
}

/// Who is told.
pub(super) type Observer = Box<dyn Fn(RelayEvent<'_>) + Send + Sync>;
