//! What happens in a server: counted, and told to whoever wants to know.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use watchfire_hyper::{ConnectionCounters, ConnectionEvent};

use super::store::StoreError;

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
    /// Requests above a rate.
    pub rate_limited: AtomicU64,
    /// Requests without a key, or with a wrong one.
    pub unauthorized: AtomicU64,
    /// Subjects that the store was asked about; those of batches each.
    pub lookups: AtomicU64,
    /// Batches.
    pub batches: AtomicU64,
    /// Answers of 304.
    pub not_modified: AtomicU64,
    /// Look-ups to which the store had no answer, or none in time.
    pub store_failed: AtomicU64,
    /// Other answers of 400 and above.
    pub refused: AtomicU64,
}

/// One more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Something that an operator may want to know of. Addresses of peers are in it, keys and subjects never.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum ServerEvent<'a> {
    /// Something happened to a connection.
    Connection(ConnectionEvent<'a>),
    /// A request was above a rate.
    RateLimited {
        /// Whose.
        from: SocketAddr,
        /// By the name of its key, if it has one.
        key: Option<&'a str>,
    },
    /// The store could not say: the client was told to come back later.
    StoreFailed {
        /// Why.
        error: &'a StoreError,
    },
    /// A request without a key, or with a wrong one.
    Unauthorized {
        /// Whose.
        from: SocketAddr,
    },
}

impl fmt::Display for ServerEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(event) => write!(f, "{event}"),
            Self::RateLimited { from, key: Some(key) } => write!(f, "{from} asks too often with key {key:?}"),
            Self::RateLimited { from, key: None } => write!(f, "{from} asks too often"),
            Self::StoreFailed { error } => write!(f, "the store cannot say: {error}"),
            Self::Unauthorized { from } => write!(f, "{from} has no good key"),
        }
    }
}

/// Who is told.
pub(super) type Observer = Arc<dyn Fn(ServerEvent<'_>) + Send + Sync>;
