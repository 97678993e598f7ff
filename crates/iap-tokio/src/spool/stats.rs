//! What a spool tells about itself.

use std::time::{Duration, Instant};

/// A spool's counters since it was opened, and what it holds now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Records that are not settled.
    pub depth: u64,
    /// Octets of their bodies. For a group of which some records were settled while its bodies were only on disk,
    /// exact again after the next write of settlements.
    pub bytes: u64,
    /// How long the oldest of them has been waiting; `None` if there is none.
    pub oldest_age: Option<Duration>,
    /// Octets of just appended records held in memory.
    pub cached_bytes: usize,
    /// Records accepted.
    pub appended: u64,
    /// Records settled as delivered.
    pub delivered: u64,
    /// Records settled as dead letters.
    pub dead_lettered: u64,
    /// Dead letters held now.
    pub dead_letters: u64,
    /// Octets of their bodies.
    pub dead_letter_bytes: u64,
    /// Dead letters put back.
    pub requeued: u64,
    /// Records that were lost, by reason.
    pub dropped: Dropped,
    /// Appends that are waiting: for the disk, or with [`OnFull::Block`](super::OnFull::Block) for room.
    pub waiting: usize,
    /// Successful commits.
    pub commits: u64,
    /// Failed commits; each was told to whoever waited for it, or is repeated.
    pub failed_commits: u64,
    /// How long commits of appends took.
    pub commit_latency: Latency,
}

/// Records that the spool gave up, by reason. Each is also logged as a warning, at a limited rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// Oldest records that made room, with [`OnFull::DropOldest`](super::OnFull::DropOldest).
    pub oldest: u64,
    /// New records for which there was no room, with [`OnFull::DropNewest`](super::OnFull::DropNewest).
    pub newest: u64,
    /// Records older than the configured age.
    pub expired: u64,
    /// Dead letters beyond their limits.
    pub dead_letters: u64,
}

impl Dropped {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.oldest + self.newest + self.expired + self.dead_letters
    }
}

/// A distribution of times, exact to a factor of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// How many took less than 2^i microseconds (and not less than the one before).
    buckets: [u64; 32],
    max: Duration,
}

impl Default for Latency {
    fn default() -> Self {
        Self { buckets: [0; 32], max: Duration::ZERO }
    }
}

impl Latency {
    pub(super) fn add(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = (64 - micros.leading_zeros() as usize).min(self.buckets.len() - 1);
        self.buckets[bucket] += 1;
        self.max = self.max.max(took);
    }

    /// How many were measured.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Duration {
        self.max
    }

    /// A time that `share` (0 to 1) of them did not exceed; up to twice too large.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.count() as f64 * share.clamp(0.0, 1.0)).ceil() as u64;
        let mut sum = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            sum += count;
            if sum >= wanted && sum > 0 {
                return Duration::from_micros(1 << bucket).min(self.max);
            }
        }
        Duration::ZERO
    }
}

/// Says what was dropped, at most once in ten seconds, so that a full spool does not fill the log as well.
#[derive(Debug, Default)]
pub(super) struct DropLog {
    said: Dropped,
    said_at: Option<Instant>,
}

impl DropLog {
    const PAUSE: Duration = Duration::from_secs(10);

    /// Logs if something was dropped that was not said yet and the pause is over.
    pub(super) fn say(&mut self, place: &str, dropped: &Dropped, now: Instant) {
        if *dropped == self.said || self.said_at.is_some_and(|at| now.duration_since(at) < Self::PAUSE) {
            return;
        }
        tracing::warn!(
            spool = place,
            oldest = dropped.oldest - self.said.oldest,
            newest = dropped.newest - self.said.newest,
            expired = dropped.expired - self.said.expired,
            dead_letters = dropped.dead_letters - self.said.dead_letters,
            total = dropped.total(),
            "the spool dropped records: oldest and newest for lack of room (max_bytes), expired for their age \
             (max_age), dead letters beyond their limit"
        );
        self.said = *dropped;
        self.said_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_a_factor_of_two() {
        let mut latency = Latency::default();
        assert_eq!(latency.quantile(0.5), Duration::ZERO);
        for millis in 1..=100 {
            latency.add(Duration::from_millis(millis));
        }
        let median = latency.quantile(0.5);
        assert!(median >= Duration::from_millis(50) && median <= Duration::from_millis(100), "{median:?}");
        assert_eq!(latency.quantile(1.0), Duration::from_millis(100));
        assert_eq!((latency.count(), latency.max()), (100, Duration::from_millis(100)));
        latency.add(Duration::MAX);
    }
}
