//! Connections that analyzers dial: who is let in, and how far.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use iap_proto::Status;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::{Handover, Shared};
use crate::admission::Arrival;

/// Takes connections until the manager stops.
pub(super) async fn serve<H: Handover>(
    listener: TcpListener,
    places: Arc<Semaphore>,
    shared: Arc<Shared<H>>,
    tasks: TaskTracker,
) {
    while let Some(arrival) = shared.admission.next(&listener, &places, &shared.stop).await {
        let Arrival { tcp, address, admitted } = arrival;
        shared.counters.connections.fetch_add(1, Ordering::Relaxed);
        let Some(place) = admitted else {
            shared.counters.refuse("address");
            continue;
        };
        let shared = Arc::clone(&shared);
        tasks.spawn(async move {
            shared.cut.run_until_cancelled(connection(tcp, address, &shared)).await;
            drop(place);
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
