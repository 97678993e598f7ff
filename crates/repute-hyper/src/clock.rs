//! From tokio's clock to the numbers that machines understand.

use std::time::{SystemTime, UNIX_EPOCH};

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

    /// Waits for `due`, for ever if there is none.
    #[cfg(feature = "client")]
    pub(crate) async fn until(&self, due: Option<Instant>) {
        match due {
            Some(due) => {
                // The machine's far future may lie beyond what tokio can count.
                let wait = due.saturating_since(Instant::ZERO).min(std::time::Duration::from_secs(365 * 86_400));
                tokio::time::sleep_until(self.epoch + wait).await;
            }
            None => std::future::pending().await,
        }
    }

    /// What the wall clock reads.
    pub(crate) fn wall() -> UnixTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixTime::from_secs(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }
}
