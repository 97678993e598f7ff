//! Connections that the manager dials, to analyzers that must not dial out. draft-ietf-idwg-iap-01 section 6.1.

use std::sync::Arc;
use std::time::Duration;

use iap_proto::{CloseReason, DataRole};
use watchfire_core::Backoff;

use super::{Handover, Shared};
use crate::setup::{Endpoint, SetupError, peer_address};

/// A connection that held so long counts as a success: the next wait is short again.
const STABLE: Duration = Duration::from_secs(60);

/// Dials, and dials again, until the manager stops.
pub(super) async fn keep_dialling<H: Handover>(endpoint: Endpoint, shared: Arc<Shared<H>>) {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60), crate::random_seed());
    loop {
        let started = tokio::time::Instant::now();
        let ended = tokio::select! {
            ended = once(&endpoint, &shared) => Some(ended),
            // An open channel ends by itself when it is told to stop, so that its alerts are answered.
            () = async { shared.stop.cancelled().await; tokio::time::sleep(Duration::from_secs(60)).await } => None,
        };
        if shared.stop.is_cancelled() {
            return;
        }
        if let Some(Err(error)) = ended {
            shared.counters.refuse(error.label());
            tracing::warn!(analyzer = %endpoint.address, %error, "no channel");
        }
        if started.elapsed() >= STABLE {
            backoff.reset();
        }
        let wait = backoff.next_delay();
        tracing::debug!(analyzer = %endpoint.address, ?wait, "dialling again later");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shared.stop.cancelled() => return,
        }
    }
}

async fn once<H: Handover>(endpoint: &Endpoint, shared: &Arc<Shared<H>>) -> Result<CloseReason, SetupError> {
    let opened = async {
        let tcp = endpoint.dial(shared.node.config.timeouts.next_hop).await?;
        let address = peer_address(&tcp)?;
        let open = shared.node.initiate(tcp, endpoint.target.clone(), DataRole::Receiver).await?;
        Ok::<_, SetupError>((open, address))
    };
    let (open, address) = tokio::select! {
        opened = opened => opened?,
        () = shared.stop.cancelled() => return Err(SetupError::GivenUp),
    };
    Ok(shared.run(open, address, None).await)
}
