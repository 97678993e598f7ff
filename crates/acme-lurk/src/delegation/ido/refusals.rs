//! Refusals that are said. Anybody can have as many made as he likes: what is said of them has a rate.

use watchfire_core::Instant;

use super::config::IdoLimits;

/// So many refusals are said at once, and then one now and then; the others are counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gauge {
    /// Microseconds that one costs.
    every: u64,
    most: u64,
    /// Microseconds that are left to spend.
    credit: u64,
    latest: Instant,
    omitted: u64,
}

impl Gauge {
    pub(super) fn new(limits: &IdoLimits) -> Self {
        let every = 60_000_000 / u64::from(limits.refusals_a_minute.max(1));
        let most = every.saturating_mul(u64::from(limits.refusals.max(1)));
        Self { every, most, credit: most, latest: Instant::ZERO, omitted: 0 }
    }

    /// Whether a refusal is to be said, and how many were not before it. One that is not is counted.
    pub(super) fn admit(&mut self, now: Instant, has_room: bool) -> Option<u64> {
        if has_room && self.spend(now) {
            return Some(std::mem::take(&mut self.omitted));
        }
        self.omitted = self.omitted.saturating_add(1);
        None
    }

    /// How many were not said, if that can be said now.
    pub(super) fn settle(&mut self, now: Instant) -> Option<u64> {
        (self.omitted > 0 && self.spend(now)).then(|| std::mem::take(&mut self.omitted))
    }

    /// When to ask that.
    pub(super) fn wake(&self) -> Option<Instant> {
        let wait = watchfire_core::Duration::from_micros(self.every.saturating_sub(self.credit));
        (self.omitted > 0).then(|| self.latest + wait)
    }

    fn spend(&mut self, now: Instant) -> bool {
        let passed = now.saturating_since(self.latest).as_micros();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        self.latest = self.latest.max(now);
        self.credit = self.credit.saturating_add(passed).min(self.most);
        let left = self.credit.checked_sub(self.every);
        self.credit = left.unwrap_or(self.credit);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_said_at_once_and_the_others_are_counted() {
        let at = Instant::from_secs;
        let mut gauge = Gauge::new(&IdoLimits::default().with_refusals(3, 6));
        assert_eq!([0, 0, 1, 1].map(|secs| gauge.admit(at(secs), true)), [Some(0), Some(0), Some(0), None]);
        assert_eq!((gauge.settle(at(5)), gauge.wake()), (None, Some(at(10))), "six a minute");
        assert_eq!(gauge.admit(at(6), true), None);
        assert_eq!(gauge.settle(at(10)), Some(2));
        assert_eq!((gauge.settle(at(30)), gauge.wake()), (None, None), "said once");
        assert_eq!(gauge.admit(at(30), true), Some(0));
        // A clock that goes back gives nothing; a long time gives no more than at the beginning.
        assert_eq!(gauge.admit(at(1), false), None, "there is no room");
        assert_eq!([1, 1].map(|secs| gauge.admit(at(secs), true)), [Some(1), None]);
        let said = (0..10).filter(|_| gauge.admit(at(100_000), true).is_some()).count();
        assert_eq!(said, 3);
    }
}
