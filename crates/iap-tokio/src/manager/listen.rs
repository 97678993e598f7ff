//! Connections that analyzers dial: who is let in, and how far.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use iap_proto::Status;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::{Handover, Shared};

/// Takes connections until the manager stops.
pub(super) async fn serve<H: Handover>(
    listener: TcpListener,
    places: Arc<Semaphore>,
    shared: Arc<Shared<H>>,
    tasks: TaskTracker,
) {
    loop {
        let place = tokio::select! {
            () = shared.stop.cancelled() => return,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let (tcp, address) = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Usually no descriptor is free; one will be when a connection ends.
                    tracing::warn!(%error, "cannot accept a connection; trying again in a moment");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        shared.counters.connections.fetch_add(1, Ordering::Relaxed);
        let Some(counted) = Counted::admit(&shared, address.ip().to_canonical()) else {
            shared.counters.refuse("address");
            tracing::warn!(%address, "connection closed: its address is not allowed or has too many already");
            continue;
        };
        let shared = Arc::clone(&shared);
        tasks.spawn(async move {
            connection(tcp, address, &shared).await;
            drop((counted, place));
        });
    }
}

async fn connection<H: Handover>(tcp: TcpStream, address: SocketAddr, shared: &Arc<Shared<H>>) {
    let setup = shared.node.respond(
        tcp,
        |connect| {
            tracing::debug!(%address, host = %connect.host, via = ?connect.via, "connect");
            Ok(())
        },
        |peer| {
            let free = shared.channels_of(peer) < shared.limits.max_per_peer;
            if free { Ok(()) } else { Err(Status::SERVICE_UNAVAILABLE) }
        },
    );
    let opened = tokio::select! {
        opened = setup => opened,
        () = shared.stop.cancelled() => return,
    };
    match opened {
        Ok(open) => drop(shared.run(open, address).await),
        Err(error) => {
            shared.counters.refuse(error.label());
            tracing::warn!(%address, %error, "connection refused");
        }
    }
}

/// Counts a connection of an address while it lasts.
struct Counted<H> {
    shared: Arc<Shared<H>>,
    address: IpAddr,
}

impl<H> Counted<H> {
    fn admit(shared: &Arc<Shared<H>>, address: IpAddr) -> Option<Self> {
        let limits = &shared.limits;
        if !limits.allow_from.is_empty() && !limits.allow_from.iter().any(|net| net.contains(&address)) {
            return None;
        }
        let mut addresses = shared.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry(address).or_insert(0);
        if *count >= limits.max_per_address {
            return None;
        }
        *count += 1;
        Some(Self { shared: Arc::clone(shared), address })
    }
}

impl<H> Drop for Counted<H> {
    fn drop(&mut self) {
        let mut addresses = self.shared.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}
