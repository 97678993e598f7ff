//! What carries one session: a DTLS association, or a TLS stream. Machines write to it and need not wait.

mod datagram;
mod stream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use dots_callhome::Transport;

pub(crate) use datagram::{Arrived, DatagramLink, Wire};
pub(crate) use stream::StreamLink;

use crate::error::SecurityError;

/// Where the content of a session goes.
pub(crate) trait Content: Send + Sync {
    /// Octets of one datagram, or any part of a stream.
    fn arrived(&self, link: u64, octets: &[u8]);

    /// It is over; without an error when the peer said goodbye.
    fn ended(&self, link: u64, why: Option<SecurityError>);
}

#[derive(Debug, Clone)]
pub(crate) enum Link {
    Datagram(Arc<DatagramLink>),
    Stream(Arc<StreamLink>),
}

impl Link {
    pub(crate) fn id(&self) -> u64 {
        match self {
            Self::Datagram(link) => link.id(),
            Self::Stream(link) => link.id(),
        }
    }

    pub(crate) fn transport(&self) -> Transport {
        match self {
            Self::Datagram(_) => Transport::Datagram,
            Self::Stream(_) => Transport::Stream,
        }
    }

    /// Where the peer is now.
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Datagram(link) => link.address(),
            Self::Stream(link) => link.address(),
        }
    }

    /// Sends one message. A datagram may be lost; a stream that has too much queued is closed.
    pub(crate) fn send(&self, message: Bytes) {
        match self {
            Self::Datagram(link) => link.send(&message),
            Self::Stream(link) => link.send(message),
        }
    }

    /// Says goodbye, after what is queued.
    pub(crate) fn close(&self) {
        match self {
            Self::Datagram(link) => link.close(),
            Self::Stream(link) => link.close(),
        }
    }
}

/// Names a link; never used twice in a process.
pub(crate) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
