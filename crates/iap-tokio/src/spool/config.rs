//! What a spool may hold and what it does beyond that.

use std::time::Duration;

use super::SpoolError;

/// What `append` does when [`SpoolConfig::with_max_bytes`] is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)] // the three that there are
pub enum OnFull {
    /// Wait until enough has been settled. Right for intakes that can wait: a followed file is its own spool.
    #[default]
    Block,
    /// Make room by dropping the oldest unsettled records, in groups of up to 64 KiB (a sixteenth of the limit if
    /// that is less). Counted in [`Dropped::oldest`](super::Dropped::oldest).
    DropOldest,
    /// Drop what does not fit of the append. Counted in [`Dropped::newest`](super::Dropped::newest) and told in
    /// [`Accepted::dropped`](super::Accepted::dropped).
    DropNewest,
}

/// Against which accident an accepted record is safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)] // the two that there are
pub enum Durability {
    /// Power loss and crash of the operating system: each commit is flushed to the device.
    #[default]
    PowerLoss,
    /// End of the process by whatever signal. A power loss may undo the last commits, and with them the checkpoints
    /// of their intakes, so that an intake that can go back reads the same again; nothing older is lost.
    ProcessKill,
}

/// Limits and habits of a spool. The defaults fit a sensor: 1 GiB, blocking, safe against power loss.
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    pub(super) max_bytes: u64,
    pub(super) max_age: Option<Duration>,
    pub(super) on_full: OnFull,
    pub(super) durability: Durability,
    pub(super) max_record: usize,
    pub(super) cache_bytes: usize,
    pub(super) settle_interval: Duration,
    pub(super) max_dead_letters: u64,
    pub(super) max_dead_letter_bytes: u64,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self {
            max_bytes: 1 << 30,
            max_age: None,
            on_full: OnFull::Block,
            durability: Durability::PowerLoss,
            max_record: 1 << 20,
            cache_bytes: 4 << 20,
            settle_interval: Duration::from_millis(100),
            max_dead_letters: 10_000,
            max_dead_letter_bytes: 64 << 20,
        }
    }
}

impl SpoolConfig {
    /// The most octets that the bodies of unsettled records may have together (a body counts at
    /// least 16); at least 4096, default 1 GiB. On disk
    /// it is a little more (in memory, for a spool in memory, as well): some 10 octets per record and 40 per commit.
    #[must_use]
    pub fn with_max_bytes(self, octets: u64) -> Self {
        Self { max_bytes: octets, ..self }
    }

    /// Drops records that nobody settled in this time (counted in [`Dropped::expired`](super::Dropped::expired)), at
    /// most an eighth of it late; `None`, the default, keeps them for ever. At least 8 ms.
    #[must_use]
    pub fn with_max_age(self, age: impl Into<Option<Duration>>) -> Self {
        Self { max_age: age.into(), ..self }
    }

    /// What happens at `max_bytes`; default [`OnFull::Block`].
    #[must_use]
    pub fn with_on_full(self, on_full: OnFull) -> Self {
        Self { on_full, ..self }
    }

    /// Default [`Durability::PowerLoss`].
    #[must_use]
    pub fn with_durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// The most octets of one body; 1 octet to 256 MiB, default 1 MiB.
    #[must_use]
    pub fn with_max_record(self, octets: usize) -> Self {
        Self { max_record: octets, ..self }
    }

    /// How many octets of just appended records stay in memory, so that a reader that keeps up never reads from disk;
    /// default 4 MiB. A spool in memory ignores it.
    #[must_use]
    pub fn with_cache_bytes(self, octets: usize) -> Self {
        Self { cache_bytes: octets, ..self }
    }

    /// How long a settlement may wait before it is written; default 100 ms. A crash forgets the settlements of that
    /// time, and their records are sent twice.
    #[must_use]
    pub fn with_settle_interval(self, interval: Duration) -> Self {
        Self { settle_interval: interval, ..self }
    }

    /// How many dead letters are kept, and how many octets of them; the oldest are dropped beyond (counted in
    /// [`Dropped::dead_letters`](super::Dropped::dead_letters)). Default 10,000 and 64 MiB.
    #[must_use]
    pub fn with_max_dead_letters(self, count: u64, octets: u64) -> Self {
        Self { max_dead_letters: count, max_dead_letter_bytes: octets, ..self }
    }

    pub(super) fn check(&self) -> Result<(), SpoolError> {
        let complain = |what| Err(SpoolError::InvalidConfig(what));
        if self.max_bytes < 4096 || self.max_bytes > i64::MAX as u64 {
            return complain("max_bytes must be at least 4096 octets (and below 2^63)");
        }
        if self.max_record == 0 || self.max_record > 256 << 20 || self.max_record as u64 > self.max_bytes {
            return complain("max_record must be 1 octet to 256 MiB and not above max_bytes");
        }
        if self.max_age.is_some_and(|age| age < Duration::from_millis(8)) {
            return complain("max_age must be at least 8 ms");
        }
        Ok(())
    }

    /// How many octets of bodies are stored, dropped and deleted together.
    pub(super) fn group_octets(&self) -> usize {
        usize::try_from(self.max_bytes / 16).unwrap_or(usize::MAX).min(64 << 10)
    }
}
