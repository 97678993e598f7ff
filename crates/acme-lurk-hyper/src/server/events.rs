//! What happens in a server: counted, and told to whoever wants to know.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use watchfire_hyper::{ConnectionCounters, ConnectionEvent};

/// What happened, counted from the start.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ServerCounters {
    /// Those of connections.
    pub connection: ConnectionCounters,
    /// Requests whose head was read.
    pub requests: AtomicU64,
    /// Bodies that were too long or came too slowly.
    pub bodies_refused: AtomicU64,
    /// Answers of 304.
    pub not_modified: AtomicU64,
    /// Answers of 400 and above.
    pub refused: AtomicU64,
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Something that an operator may want to know of.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum ServerEvent<'a> {
    /// Something happened to a connection.
    Connection(ConnectionEvent<'a>),
    /// A request was refused.
    Refused {
        /// Whose.
        from: SocketAddr,
        /// Of what.
        path: &'a str,
        /// How.
        status: u16,
        /// The problem document.
        problem: &'a [u8],
    },
}

impl fmt::Display for ServerEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(event) => write!(f, "{event}"),
            Self::Refused { from, path, status, problem } => {
                write!(f, "{from} was refused {path:?}: {status} {}", String::from_utf8_lossy(problem).escape_debug())
            }
        }
    }
}

/// Who is told.
pub(super) type Observer = Box<dyn Fn(ServerEvent<'_>) + Send + Sync>;
