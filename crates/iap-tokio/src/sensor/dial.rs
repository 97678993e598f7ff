//! Connections that the sensor dials: ordered fail-over, and back-off. draft-ietf-idwg-iap-01 sections 5.1 and 5.2.

use std::sync::Arc;
use std::time::Duration;

use iap_proto::{DataRole, Sender};
use tokio_util::sync::CancellationToken;
use watchfire_core::Backoff;

use super::Shared;
use super::deliver::run;
use crate::setup::{Endpoint, Open, SetupError};

/// A channel that held so long, or delivered something, makes the next wait short again.
const STABLE: Duration = Duration::from_secs(60);

/// Dials the managers in their order until one works, uses it until it ends, and begins again.
pub(super) async fn keep_dialling(managers: Vec<Endpoint>, (min, max): (Duration, Duration), shared: Arc<Shared>) {
    let mut backoff = Backoff::new(min, max, crate::random_seed());
    // Where the next round starts: at the first, unless that one asked for somebody else.
    let mut first = 0;
    loop {
        let mut next_first = 0;
        for (index, manager) in managers.iter().enumerate().skip(first) {
            let open = tokio::select! {
                open = open(manager, &shared) => open,
                () = shared.stop.cancelled() => return,
            };
            match open {
                Ok(open) => {
                    let began = tokio::time::Instant::now();
                    let ended = run(&manager.address, open, &shared, CancellationToken::new()).await;
                    if ended.progress || began.elapsed() >= STABLE {
                        backoff.reset();
                    }
                    if ended.try_next {
                        next_first = (index + 1) % managers.len();
                    }
                    break;
                }
                Err(error) => {
                    shared.counters.fail(error.label(), format!("{}: {error}", manager.address));
                    tracing::warn!(manager = %manager.address, %error, "no channel");
                }
            }
        }
        first = next_first;
        if shared.stop.is_cancelled() {
            return;
        }
        let wait = backoff.next_delay();
        tracing::debug!(?wait, "dialling again later");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shared.stop.cancelled() => return,
        }
    }
}

async fn open(manager: &Endpoint, shared: &Shared) -> Result<Open<Sender>, SetupError> {
    let tcp = manager.dial(shared.node.config.timeouts.next_hop).await?;
    shared.node.initiate(tcp, manager.target.clone(), DataRole::Sender).await?.into_sending()
}
