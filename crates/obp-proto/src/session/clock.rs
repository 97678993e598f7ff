//! Seconds for the `Time` attribute, from the driver's clock, corrected and never going back.

use watchfire_core::{Instant, UnixTime};

/// Turns instants into seconds since 1970. Corrections may move it ahead at once; back only by standing still until
/// time has caught up (draft-hallambaker-httpsession-02 section 2.2.2.1).
#[derive(Debug, Clone)]
pub struct Clock {
    /// Seconds to add to those of an instant.
    offset: i64,
    last: u64,
}

impl Clock {
    /// A clock that reads `wall` at `now`.
    pub fn new(now: Instant, wall: UnixTime) -> Self {
        Self { offset: wall.as_secs().saturating_sub(secs(now)), last: 0 }
    }

    /// The time, never less than the last one.
    pub fn now(&mut self, now: Instant) -> u64 {
        let time = secs(now).saturating_add(self.offset);
        self.last = self.last.max(u64::try_from(time).unwrap_or_default());
        self.last
    }

    /// The same as [`UnixTime`].
    pub fn unix(&mut self, now: Instant) -> UnixTime {
        UnixTime::from_secs(i64::try_from(self.now(now)).unwrap_or(i64::MAX))
    }

    /// Corrects the clock to read `wall` at `now`.
    pub fn correct(&mut self, now: Instant, wall: UnixTime) {
        self.offset = wall.as_secs().saturating_sub(secs(now));
    }
}

fn secs(now: Instant) -> i64 {
    // 2^64 microseconds are far fewer seconds than 2^63.
    i64::try_from(now.as_micros() / 1_000_000).unwrap_or(i64::MAX)
}
