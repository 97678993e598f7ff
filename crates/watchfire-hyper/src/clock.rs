//! From tokio's clock to the numbers that machines understand.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant as TokioInstant;
use watchfire_core::{Instant, UnixTime};

/// Counts microseconds since it was made. Follows tokio's clock, so a test that pauses that one pauses this.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    epoch: TokioInstant,
}

impl Clock {
    /// A clock that begins now.
    pub fn start() -> Self {
        Self { epoch: TokioInstant::now() }
    }

    /// The instant that it is.
    pub fn now(&self) -> Instant {
        Instant::ZERO + self.epoch.elapsed()
    }

    /// Waits for `due`, for ever if there is none.
    pub async fn until(&self, due: Option<Instant>) {
        match due {
            Some(due) => {
                // The machine's far future may lie beyond what tokio can count.
                let wait = due.saturating_since(Instant::ZERO).min(Duration::from_secs(365 * 86_400));
                tokio::time::sleep_until(self.epoch + wait).await;
            }
            None => std::future::pending().await,
        }
    }

    /// What the wall clock reads.
    pub fn wall() -> UnixTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixTime::from_secs(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }
}

/// A seed that nobody can guess.
///
/// # Errors
/// When the system has no randomness: then nothing that depends on it may begin.
pub fn seed() -> std::io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_is_that_of_the_runtime() {
        let clock = Clock::start();
        clock.until(Some(Instant::from_secs(90))).await;
        assert_eq!(clock.now(), Instant::from_secs(90));
        let never = tokio::time::timeout(Duration::from_secs(86_400), clock.until(Some(Instant::FAR_FUTURE)));
        assert!(never.await.is_err());
        assert_ne!(seed().unwrap(), seed().unwrap());
    }
}
