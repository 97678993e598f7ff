//! Connections that analyzers dial: who is let in, and how far.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
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
        let Some(admitted) = shared.admission.admit(address.ip()) else {
            shared.counters.refuse("address");
            tracing::warn!(%address, "connection closed: its address is not allowed or has too many already");
            continue;
        };
        let shared = Arc::clone(&shared);
        tasks.spawn(async move {
            shared.cut.run_until_cancelled(connection(tcp, address, &shared)).await;
            drop((admitted, place));
        });
    }
}

async fn connection<H: Handover>(tcp: TcpStream, address: SocketAddr, shared: &Arc<Shared<H>>) {
    let mut listed = None;
    let setup = shared.node.respond(
        tcp,
        |connect| {
            tracing::debug!(%address, host = %connect.host, via = ?connect.via, "connect");
            Ok(())
        },
        |peer| {
            listed = shared.list(peer, address, shared.limits.max_per_peer);
            if listed.is_some() {
                return Ok(());
            }
            tracing::warn!(%address, %peer, most = shared.limits.max_per_peer, "this peer has too many channels already");
            Err(Status::SERVICE_UNAVAILABLE)
        },
    );
    let opened = tokio::select! {
        opened = setup => opened,
        () = shared.stop.cancelled() => return,
    };
    match opened {
        Ok(open) => {
            shared.run(open, address, listed).await;
        }
        Err(error) => {
            shared.counters.refuse(error.label());
            tracing::warn!(%address, %error, "connection refused");
        }
    }
}
