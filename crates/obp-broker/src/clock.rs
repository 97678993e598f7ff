//! The two clocks: one that only goes forward, for lifetimes, and the calendar, for certificates and signatures.

use std::time::{SystemTime, UNIX_EPOCH};

use watchfire_core::{Instant, UnixTime};

/// Where the broker reads the time; tests hand in one that they move.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// Time since some fixed moment; never goes back.
    fn now(&self) -> Instant;
    /// The calendar, in seconds since 1970 (UTC).
    fn unix(&self) -> UnixTime;
}

/// The operating system's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    epoch: std::time::Instant,
}

impl SystemClock {
    /// A clock that counts from now on.
    #[must_use]
    pub fn start() -> Self {
        Self { epoch: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::ZERO + self.epoch.elapsed()
    }

    fn unix(&self) -> UnixTime {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        UnixTime::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
    }
}

/// A clock that stands still until it is told to move. For tests, of this crate and of those who use it.
#[derive(Debug, Default)]
pub struct ManualClock {
    micros: std::sync::atomic::AtomicU64,
    unix_at_zero: i64,
}

impl ManualClock {
    /// Stands at zero, which is `unix` in the calendar.
    #[must_use]
    pub fn at(unix: UnixTime) -> Self {
        Self { micros: 0.into(), unix_at_zero: unix.as_secs() }
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: std::time::Duration) {
        let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant::from_micros(self.micros.load(std::sync::atomic::Ordering::SeqCst))
    }

    fn unix(&self) -> UnixTime {
        let seconds = self.micros.load(std::sync::atomic::Ordering::SeqCst) / 1_000_000;
        UnixTime::from_secs(self.unix_at_zero.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX)))
    }
}
