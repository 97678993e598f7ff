//! What stops the traffic: the back end of a Call Home server.

use std::fmt;

use async_trait::async_trait;
use dots_callhome::body::{Lifetime, List, Prefix};
use dots_callhome::{Counters, MitigationId, MitigationRequest};

/// What shall be stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Order {
    /// Names it; never used twice while the process lives.
    pub id: MitigationId,
    /// Who asked, as (D)TLS proved.
    pub peer: String,
    /// Under which name.
    pub cuid: String,
    /// Under which number.
    pub mid: u32,
    /// For what.
    pub request: MitigationRequest,
    /// Which hosts here send it: the sources, or what stands behind them.
    pub hosts: List<Prefix>,
    /// How long, from now, unless it is refreshed or stopped before.
    pub lifetime: Lifetime,
}

/// What is known of a mitigation in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Report {
    /// What was dropped so far, if it is counted.
    pub counters: Option<Counters>,
    /// Whether the attack is seen to have stopped, if that can be seen.
    pub attack_stopped: Option<bool>,
}

impl Report {
    /// With these counters.
    #[must_use]
    pub fn with_counters(mut self, counters: Counters) -> Self {
        self.counters = Some(counters);
        self
    }

    /// Whether the attack has stopped.
    #[must_use]
    pub fn with_attack_stopped(mut self, stopped: bool) -> Self {
        self.attack_stopped = Some(stopped);
        self
    }
}

/// Why the back end could not do it. The text goes to logs and events, not to the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MitigatorError(String);

impl MitigatorError {
    /// With these words.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for MitigatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MitigatorError {}

/// Installs filters, and removes them.
///
/// Calls for one mitigation never overlap; those for different ones may. A call that takes longer than
/// [`ServerLimits::back_end`](super::ServerLimits::back_end) counts as failed and is dropped where it waits. What failed
/// is reported to the client as status 4, and tried again as long as it is wanted; it is never reported as success.
#[async_trait]
pub trait Mitigator: Send + Sync + 'static {
    /// Stops this traffic. It may be in force already, from before: then nothing shall change.
    ///
    /// # Errors
    /// When it is not in force.
    async fn start(&self, order: &Order) -> Result<(), MitigatorError>;

    /// It was asked for again: filters stay for this lifetime, from now.
    ///
    /// # Errors
    /// When it is not in force.
    async fn refresh(&self, order: &Order) -> Result<(), MitigatorError> {
        let _ = order;
        Ok(())
    }

    /// Lets this traffic through again. Also called after a start that failed, or whose end is not known.
    ///
    /// # Errors
    /// When it may still be stopped; it is tried again.
    async fn stop(&self, order: &Order) -> Result<(), MitigatorError>;

    /// How it stands. Asked every [`ServerLimits::report_every`](super::ServerLimits::report_every).
    ///
    /// # Errors
    /// When that cannot be said, which changes nothing.
    async fn report(&self, order: &Order) -> Result<Report, MitigatorError> {
        let _ = order;
        Ok(Report::default())
    }

    /// Whether there is no room for another mitigation, and then in how many seconds there may be: the client is told
    /// so by 5.03. Must answer at once.
    fn busy(&self) -> Option<u32> {
        None
    }
}

#[async_trait]
impl<M: Mitigator + ?Sized> Mitigator for std::sync::Arc<M> {
    async fn start(&self, order: &Order) -> Result<(), MitigatorError> {
        (**self).start(order).await
    }

    async fn refresh(&self, order: &Order) -> Result<(), MitigatorError> {
        (**self).refresh(order).await
    }

    async fn stop(&self, order: &Order) -> Result<(), MitigatorError> {
        (**self).stop(order).await
    }

    async fn report(&self, order: &Order) -> Result<Report, MitigatorError> {
        (**self).report(order).await
    }

    fn busy(&self) -> Option<u32> {
        (**self).busy()
    }
}
