//! Connections that a manager dials, to a sensor that must not dial out. draft-ietf-idwg-iap-01 section 6.1.

use std::sync::Arc;

use iap_proto::Sender;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::deliver::run;
use crate::admission::Arrival;
use crate::setup::{Open, SetupError};

/// Setups at the same time. One manager needs one; the rest is room for it among those who only try.
const MOST_SETUPS: usize = 32;

/// Setups at the same time from one address, so that nobody takes all the places alone.
pub(super) const MOST_FROM_ONE: usize = 8;

type Opened = (String, Open<Sender>);

/// Waits for managers. Of several channels the newest is used: the one before it is most likely dead.
pub(super) async fn serve(listeners: Vec<TcpListener>, shared: Arc<Shared>, tasks: TaskTracker) {
    let (opened_in, mut opened) = mpsc::channel::<Opened>(1);
    let places = Arc::new(Semaphore::new(MOST_SETUPS));
    for listener in listeners {
        tasks.spawn(accept(listener, Arc::clone(&places), Arc::clone(&shared), opened_in.clone(), tasks.clone()));
    }
    drop(opened_in);
    let mut next = opened.recv().await;
    while let Some((address, open)) = next.take() {
        let superseded = CancellationToken::new();
        let channel = run(&address, open, &shared, superseded.clone());
        tokio::pin!(channel);
        next = tokio::select! {
            _ = &mut channel => None,
            newer = opened.recv() => {
                superseded.cancel();
                let _ = channel.await;
                newer
            }
        };
        if next.is_none() {
            next = opened.recv().await;
        }
    }
}

async fn accept(
    listener: TcpListener,
    places: Arc<Semaphore>,
    shared: Arc<Shared>,
    opened: mpsc::Sender<Opened>,
    tasks: TaskTracker,
) {
    while let Some(arrival) = shared.admission.next(&listener, &places, &shared.stop).await {
        let Arrival { tcp, address, admitted } = arrival;
        let Some(place) = admitted else {
            let why = format!("{address}: its address is not allowed or has too many connections");
            shared.counters.fail("address", why);
            continue;
        };
        let (shared, opened) = (Arc::clone(&shared), opened.clone());
        tasks.spawn(async move {
            let Some(result) = shared.stop.run_until_cancelled(setup(tcp, &shared)).await else { return };
            match result {
                Ok(open) => {
                    let _ = opened.send((address.to_string(), open)).await;
                }
                Err(error) => {
                    shared.counters.fail(error.label(), format!("{address}: {error}"));
                    tracing::warn!(%address, %error, "connection refused");
                }
            }
            drop(place);
        });
    }
}

async fn setup(tcp: TcpStream, shared: &Shared) -> Result<Open<Sender>, SetupError> {
    shared.node.respond(tcp, |_| Ok(()), |_| Ok(())).await?.into_sending()
}
