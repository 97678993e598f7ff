//! From tokio's clock to the number that machines understand, and back.

use std::time::Duration;

use tokio::time::Instant as TokioInstant;
use watchfire_core::{Instant, UnixTime};

/// Counts microseconds since it was made. Follows tokio's clock, so a test that pauses that one pauses this.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    epoch: TokioInstant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { epoch: TokioInstant::now() }
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::ZERO + self.epoch.elapsed()
    }

    pub(crate) fn at(&self, instant: Instant) -> TokioInstant {
        // The machine's far future may lie beyond what tokio can count.
        self.epoch + (instant - Instant::ZERO).min(Duration::from_secs(365 * 86_400))
    }

    /// The wall-clock time at [`Instant::ZERO`], as the system has it now.
    pub(crate) fn unix_epoch(&self) -> UnixTime {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let start = since.saturating_sub(self.epoch.elapsed());
        UnixTime::from_secs(i64::try_from(start.as_secs()).unwrap_or(i64::MAX))
    }
}

/// Waits until then; for ever without one.
pub(crate) async fn sleep_until(at: Option<TokioInstant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
