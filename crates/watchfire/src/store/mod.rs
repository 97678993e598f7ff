//! Where alerts are kept: SQLite or PostgreSQL behind one trait.
//!
//! An alert is stored once. Its identity is the peer that sent it together with its (analyzerid, messageid), or with
//! the SHA-256 of its body when it has none; what was inserted before is a [`Insertion::Duplicate`], also after a
//! restart. Nothing else makes it safe for a sensor to send again whatever it has no answer for.

mod connect;
mod hosts;
mod postgres;
mod record;
mod server;
mod sqlite;
mod tables;
mod tls;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ipnet::IpNet;
use tokio::sync::mpsc;

pub use connect::{Access, open};
pub use postgres::PostgresStore;
pub use record::AlertRecord;
pub(crate) use record::ip;
pub(crate) use server::{ANSWER, LONG_ANSWER, Server as PostgresServer, is_read_only};
pub use sqlite::SqliteStore;
pub(crate) use sqlite::{remedy_of_sqlite, what_of_sqlite};
pub(crate) use tables::make_tables;

/// The network by which stored addresses are found, which are kept as IPv4 where they can be: one of mapped addresses
/// (`::ffff:192.0.2.0/120`) is one of IPv4, and any other of IPv6 has no addresses of IPv4 in it.
fn network(net: IpNet) -> IpNet {
    let IpNet::V6(wide) = net else { return net };
    let bits = wide.prefix_len().checked_sub(96);
    let plain = bits.zip(wide.network().to_ipv4_mapped()).and_then(|(bits, addr)| ipnet::Ipv4Net::new(addr, bits).ok());
    plain.map_or(net, IpNet::V4)
}

/// A future that can be sent to another thread.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A store of alerts.
pub trait AlertStore: fmt::Debug + Send + Sync {
    /// Stores a batch: all of it is durable when this returns, or none of it was stored. The answers are in the order
    /// of the batch. Concurrent calls share one transaction, so call it as often and as parallel as you like.
    fn insert_batch(&self, batch: Vec<Arc<AlertRecord>>) -> BoxFuture<'_, Result<Vec<Insertion>, StoreError>>;

    /// The alerts that match, oldest first. A snapshot: what is inserted meanwhile is not seen.
    fn query(&self, filter: Filter) -> BoxFuture<'_, Result<AlertStream, StoreError>>;

    /// Drops what is older or more than allowed, oldest first; gives the number of alerts that were dropped. A dropped
    /// alert that is sent again is stored again.
    fn prune(&self, retention: Retention) -> BoxFuture<'_, Result<u64, StoreError>>;
}

/// What became of one alert of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Insertion {
    /// It is stored now.
    Inserted,
    /// It had been stored before, or stands in the same batch twice.
    Duplicate,
}

/// Which alerts to give. The default is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Filter {
    /// Received at or after this moment, in microseconds since 1970.
    pub since: Option<i64>,
    /// Received before this moment, in microseconds since 1970.
    pub until: Option<i64>,
    /// With a source address in this network.
    pub source: Option<IpNet>,
    /// Only the newest so many of those that match.
    pub limit: Option<u64>,
}

/// How much to keep. The default is everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Retention {
    /// Alerts received before this moment go, in microseconds since 1970.
    pub before: Option<i64>,
    /// The oldest go while all bodies together have more octets.
    pub octets: Option<u64>,
}

/// Alerts as they come from the store; at most a few hundred are in memory at one time.
#[derive(Debug)]
pub struct AlertStream {
    rows: mpsc::Receiver<Result<AlertRecord, StoreError>>,
}

impl AlertStream {
    /// The next alert; `None` after the last. The query ends when the stream is dropped.
    pub async fn next(&mut self) -> Option<Result<AlertRecord, StoreError>> {
        self.rows.recv().await
    }
}

/// Why the store did not do it. Nothing of a failed batch is stored, unless the connection broke during its commit:
/// then it may be, and inserting it again answers [`Insertion::Duplicate`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It is not there or not ours to use; a matter of configuration.
    #[error("{store}: {what}")]
    Unusable {
        /// Which.
        store: String,
        /// Why.
        what: String,
    },
    /// A later version of this program has been here.
    #[error("{store}: has schema version {found}, this program knows up to {known}; use the newer program")]
    NewerSchema {
        /// Which.
        store: String,
        /// The store's version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Not reachable, or too busy, right now.
    #[error("{store}: {what}")]
    Unavailable {
        /// Which.
        store: String,
        /// Why.
        what: String,
    },
    /// No room.
    #[error("{store}: full: {what}")]
    Full {
        /// Which.
        store: String,
        /// Why.
        what: String,
    },
    /// Anything else, a damaged file for one.
    #[error("{store}: {what}")]
    Failed {
        /// Which.
        store: String,
        /// Why.
        what: String,
    },
}

impl StoreError {
    /// Whether the same call may work later without anybody's doing: the sender should be told to come again.
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Full { .. })
    }
}

impl From<StoreError> for crate::exit::Failure {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Unavailable { .. } => Self::unreachable(error.to_string()),
            _ => Self::usage(error.to_string()),
        }
    }
}

#[cfg(test)]
pub(crate) use record::tests as tests_support;
#[cfg(test)]
mod tests;
