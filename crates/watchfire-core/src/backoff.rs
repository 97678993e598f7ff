//! Exponential back-off with full jitter, from a seed.

use core::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// How long to wait before trying again.
///
/// The `n`-th wait is drawn evenly from `min/2 ..= min(max, min * 2^n)`: the spread keeps many peers that lost the
/// same partner from coming back at the same moment, the floor keeps one from coming back at once.
///
/// ```
/// use watchfire_core::{Backoff, Duration};
///
/// let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60), [7; 32]);
/// let first = backoff.next_delay();
/// assert!(first >= Duration::from_millis(250) && first <= Duration::from_millis(500));
/// backoff.reset(); // after the connection proved stable
/// ```
#[derive(Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    attempt: u32,
    rng: StdRng,
}

impl Backoff {
    /// Waits from `min` on, doubling up to `max`. The same seed gives the same waits.
    pub fn new(min: Duration, max: Duration, seed: [u8; 32]) -> Self {
        Self { min, max: max.max(min), attempt: 0, rng: StdRng::from_seed(seed) }
    }

    /// The next wait.
    pub fn next_delay(&mut self) -> Duration {
        let factor = 1u32.checked_shl(self.attempt).unwrap_or(u32::MAX);
        let ceiling = self.min.saturating_mul(factor).min(self.max);
        self.attempt = self.attempt.saturating_add(1).min(31);
        let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        let floor = micros(self.min) / 2;
        Duration::from_micros(self.rng.random_range(floor..=micros(ceiling).max(floor)))
    }

    /// How many waits have been taken since the start or the last reset.
    pub fn attempts(&self) -> u32 {
        self.attempt
    }

    /// Starts again from the shortest wait.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn waits(seed: u8) -> Vec<Duration> {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60), [seed; 32]);
        (0..40).map(|_| backoff.next_delay()).collect()
    }

    #[test]
    fn grows_within_bounds_and_is_reproducible() {
        let first = waits(1);
        assert_eq!(first, waits(1));
        assert_ne!(first, waits(2));
        for (n, wait) in first.iter().enumerate() {
            let ceiling = Duration::from_millis(500 << n.min(7)).min(Duration::from_secs(60));
            assert!(*wait >= Duration::from_millis(250) && *wait <= ceiling, "wait {n} is {wait:?}");
        }
        assert!(first.iter().max() > Some(&Duration::from_secs(30)));
    }

    #[test]
    fn odd_bounds_do_not_panic() {
        let mut zero = Backoff::new(Duration::ZERO, Duration::ZERO, [0; 32]);
        assert_eq!(zero.next_delay(), Duration::ZERO);
        let mut huge = Backoff::new(Duration::MAX, Duration::ZERO, [0; 32]);
        for _ in 0..80 {
            let _ = huge.next_delay();
        }
    }
}
