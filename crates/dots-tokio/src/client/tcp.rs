//! The listener for TLS.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::peer::Peers;
use crate::context::Security;
use crate::link::{Link, StreamLink};

/// What one address has: handshakes and all connections.
type Counts = Arc<Mutex<BTreeMap<IpAddr, (usize, usize)>>>;

/// A connection that was let in, as far as its address goes.
struct Place {
    counts: Counts,
    address: IpAddr,
    handshaking: bool,
}

impl Place {
    fn take(counts: &Counts, address: IpAddr, peers: &Peers) -> Option<Self> {
        let mut all = counts.lock().unwrap_or_else(PoisonError::into_inner);
        let handshakes: usize = all.values().map(|(handshakes, _)| handshakes).sum();
        let (own, sessions) = all.get(&address).copied().unwrap_or_default();
        let limits = &peers.limits;
        if handshakes >= limits.handshakes
            || own >= limits.handshakes_per_address
            || sessions >= limits.sessions_per_address
            || peers.sessions.load(Ordering::Relaxed) >= limits.sessions
        {
            peers.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        all.insert(address, (own + 1, sessions + 1));
        drop(all);
        Some(Self { counts: Arc::clone(counts), address, handshaking: true })
    }

    fn change(&self, change: impl FnOnce(&mut (usize, usize))) {
        let mut all = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.address) {
            change(count);
            if *count == (0, 0) {
                all.remove(&self.address);
            }
        }
    }

    /// The handshake is over.
    fn settle(&mut self) {
        if std::mem::take(&mut self.handshaking) {
            self.change(|(handshakes, _)| *handshakes = handshakes.saturating_sub(1));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.settle();
        self.change(|(_, sessions)| *sessions = sessions.saturating_sub(1));
    }
}

/// Takes connections until it is over.
pub(super) async fn listen(listener: TcpListener, security: Security, peers: Arc<Peers>) {
    let counts = Counts::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = peers.stop.cancelled() => return,
        };
        match accepted {
            Ok((tcp, address)) => match Place::take(&counts, address.ip().to_canonical(), &peers) {
                Some(place) => {
                    peers.tasks.spawn(serve(tcp, address, place, security.clone(), Arc::clone(&peers)));
                }
                None => tracing::debug!(%address, "connection closed: there are too many"),
            },
            Err(error) => {
                // Usually no descriptor is free; one will be when a connection ends.
                tracing::warn!(%error, "cannot accept a connection; trying again in a moment");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(tcp: TcpStream, address: SocketAddr, mut place: Place, security: Security, peers: Arc<Peers>) {
    // The first request of a session would wait for an acknowledgement that is delayed.
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%address, %error, "no TCP_NODELAY");
    }
    let handshake = async {
        let tls = security.tls()?;
        timeout(security.handshake_timeout(), tls.accept(tcp)).await.unwrap_or(Err(crate::SecurityError::TimedOut))
    };
    let established = tokio::select! {
        established = handshake => established,
        () = peers.stop.cancelled() => return,
    };
    let established = match established {
        Ok(established) => established,
        Err(error) => {
            tracing::info!(%address, %error, "no session");
            return;
        }
    };
    place.settle();
    let link = Arc::new(StreamLink::new(address, peers.limits.queued_octets));
    let peer = match peers.find_or_make(&established.identity.name) {
        Ok(peer) => peer,
        Err(error) => {
            tracing::warn!(%address, %error, "no session");
            return;
        }
    };
    peer.up(Link::Stream(Arc::clone(&link)), established.identity, established.resumed);
    link.run(established.stream, peer, peers.limits.write_timeout).await;
}
