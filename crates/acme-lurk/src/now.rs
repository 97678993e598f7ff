//! Both clocks at once.

use watchfire_core::{Duration, Instant, UnixTime};

/// What time it is: on the clock that only goes forward, by which machines wait, and on the wall, by which certificates
/// are valid.
///
/// The clock on the wall may jump. A machine that waits for a date asks to be woken a minute later at the latest, and
/// looks at the wall again.
///
/// ```
/// use acme_lurk::Now;
/// use watchfire_core::{Instant, UnixTime};
/// let now = Now::new(Instant::from_secs(5), UnixTime::from_secs(1_700_000_000));
/// assert_eq!(now.instant_of(UnixTime::from_secs(1_700_000_030)), Instant::from_secs(35));
/// assert_eq!(now.instant_of(UnixTime::from_secs(0)), now.instant, "what has passed is due now");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "drivers make it")]
pub struct Now {
    /// Never goes back.
    pub instant: Instant,
    /// May jump.
    pub unix: UnixTime,
}

impl Now {
    /// How long machines wait before they look at the wall again.
    pub const LOOK: Duration = Duration::from_secs(60);

    /// This moment on both clocks.
    pub const fn new(instant: Instant, unix: UnixTime) -> Self {
        Self { instant, unix }
    }

    /// When a date comes, if the wall clock does not jump.
    pub fn instant_of(&self, date: UnixTime) -> Instant {
        let ahead = date.as_secs().saturating_sub(self.unix.as_secs());
        self.instant + Duration::from_secs(u64::try_from(ahead).unwrap_or(0))
    }

    /// When to wake for a date: when it comes, and no later than [`LOOK`](Self::LOOK) from now.
    pub fn wake_for(&self, date: UnixTime) -> Instant {
        self.instant_of(date).min(self.instant + Self::LOOK)
    }

    /// The date so many seconds from now.
    pub fn date_in(&self, secs: u64) -> UnixTime {
        UnixTime::from_secs(self.unix.as_secs().saturating_add_unsigned(secs))
    }
}
