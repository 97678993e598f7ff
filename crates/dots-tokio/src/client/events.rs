//! A subscription to what happens.

use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::peer::CallHomeClientEvent;

/// Why there is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Missed {
    /// They were not fetched in time; how things stand can be asked for.
    #[error("{0} events were not fetched in time")]
    Events(u64),
    /// There will be no more.
    #[error("stopped")]
    Stopped,
}

/// What happens at a Call Home client: [`CallHomeClient::events`](super::CallHomeClient::events).
#[derive(Debug)]
pub struct ClientEvents {
    all: broadcast::Receiver<CallHomeClientEvent>,
    of: Option<Arc<str>>,
    stop: CancellationToken,
}

impl ClientEvents {
    pub(super) fn new(
        all: broadcast::Receiver<CallHomeClientEvent>,
        of: Option<Arc<str>>,
        stop: CancellationToken,
    ) -> Self {
        Self { all, of, stop }
    }

    /// The next event. May be cancelled without loss.
    ///
    /// # Errors
    /// When some were missed, or everything has stopped and all that was said before has been fetched.
    pub async fn next(&mut self) -> Result<CallHomeClientEvent, Missed> {
        loop {
            let event = tokio::select! {
                biased;
                event = self.all.recv() => event,
                () = self.stop.cancelled() => return Err(Missed::Stopped),
            };
            match event {
                Ok(event) if self.of.as_ref().is_none_or(|of| of == event.peer()) => return Ok(event),
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => return Err(Missed::Events(missed)),
                Err(RecvError::Closed) => return Err(Missed::Stopped),
            }
        }
    }
}
