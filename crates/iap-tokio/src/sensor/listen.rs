//! Connections that a manager dials, to a sensor that must not dial out. draft-ietf-idwg-iap-01 section 6.1.

use std::sync::Arc;
use std::time::Duration;

use iap_proto::Sender;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::dial::run;
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
                    tracing::warn!(%error, "cannot accept a connection; trying again in a moment");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let Some(admitted) = shared.admission.admit(address.ip()) else {
            shared
                .counters
                .fail("address", format!("{address}: its address is not allowed or has too many connections"));
            tracing::warn!(%address, "connection closed: its address is not allowed or has too many already");
            continue;
        };
        let (shared, opened) = (Arc::clone(&shared), opened.clone());
        tasks.spawn(async move {
            let setup = setup(tcp, &shared);
            let result = tokio::select! {
                result = setup => result,
                () = shared.stop.cancelled() => return,
            };
            match result {
                Ok(open) => {
                    let _ = opened.send((address.to_string(), open)).await;
                }
                Err(error) => {
                    shared.counters.fail(error.label(), format!("{address}: {error}"));
                    tracing::warn!(%address, %error, "connection refused");
                }
            }
            drop((admitted, place));
        });
    }
}

async fn setup(tcp: TcpStream, shared: &Shared) -> Result<Open<Sender>, SetupError> {
    shared.node.respond(tcp, |_| Ok(()), |_| Ok(())).await?.into_sending()
}
