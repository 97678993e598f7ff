//! Datagrams in, datagrams out (draft-hallambaker-wsconnect-08 section 8).

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;

use super::core::{Core, send};
use super::rate::Rates;
use super::{Knowledge, ServerCounters, count};

/// Longer datagrams are cut off here, and then fail to verify: nobody may send one that long.
const BUFFER: usize = 16 * 1024;

/// Datagrams taken under one lock.
const AT_ONCE: usize = 64;

/// Serves until dropped.
pub(super) async fn serve<K: Knowledge>(
    socket: Arc<UdpSocket>,
    core: Arc<Core<K>>,
    rates: Arc<Rates>,
    counters: Arc<ServerCounters>,
) {
    let admit = |from: SocketAddr| {
        let admitted = rates.admit(from.ip(), core.clock.now());
        if !admitted {
            count(&counters.rate_limited);
        }
        admitted
    };
    let mut buffer = vec![0; BUFFER];
    loop {
        if socket.readable().await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        loop {
            let (count, datagrams) = core.datagrams(&socket, &mut buffer, AT_ONCE, &admit);
            send(datagrams).await;
            if count < AT_ONCE {
                break;
            }
            // Others want the thread as well.
            tokio::task::yield_now().await;
        }
    }
}
