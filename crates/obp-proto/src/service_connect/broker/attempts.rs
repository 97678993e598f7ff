//! How often a PIN was tried.

use std::collections::BTreeMap;

use watchfire_core::{Duration, Instant};

/// Counts by account, whatever the case of its letters: else each way to write a name had its own attempts. An account
/// that is left alone long enough is forgotten.
#[derive(Debug)]
pub(super) struct Attempts {
    counted: BTreeMap<Box<str>, Counted>,
    most: u32,
    lockout: Duration,
    max_accounts: usize,
}

#[derive(Debug, Clone, Copy)]
struct Counted {
    times: u32,
    until: Instant,
}

/// No more attempts, or no room to count another account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UsedUp;

impl Attempts {
    pub(super) fn new(most: u32, lockout: Duration, max_accounts: usize) -> Self {
        Self { counted: BTreeMap::new(), most, lockout, max_accounts }
    }

    /// How many attempts are left.
    pub(super) fn left(&self, now: Instant, account: &str) -> u32 {
        let times = self
            .counted
            .get(&*folded(account))
            .filter(|counted| counted.until > now)
            .map_or(0, |counted| counted.times);
        self.most.saturating_sub(times)
    }

    /// Counts an attempt; says how many are left behind it.
    pub(super) fn count(&mut self, now: Instant, account: &str) -> Result<u32, UsedUp> {
        let left = self.left(now, account).checked_sub(1).ok_or(UsedUp)?;
        let account = folded(account);
        if !self.counted.contains_key(&account) && self.counted.len() >= self.max_accounts {
            self.counted.retain(|_, counted| counted.until > now);
            if self.counted.len() >= self.max_accounts {
                return Err(UsedUp);
            }
        }
        let counted = Counted { times: self.most.saturating_sub(left), until: now + self.lockout };
        self.counted.insert(account, counted);
        Ok(left)
    }

    /// Forgets an account: its PIN has served.
    pub(super) fn clear(&mut self, account: &str) {
        self.counted.remove(&folded(account));
    }
}

fn folded(account: &str) -> Box<str> {
    account.to_ascii_lowercase().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_run_out_and_come_back() {
        let at = Instant::from_secs;
        let mut attempts = Attempts::new(2, Duration::from_secs(60), 2);
        assert_eq!(attempts.count(at(0), "a"), Ok(1));
        assert_eq!(attempts.count(at(30), "a"), Ok(0));
        assert_eq!(attempts.count(at(89), "a"), Err(UsedUp), "what fails does not prolong it");
        assert_eq!(attempts.left(at(89), "a"), 0);
        assert_eq!(attempts.count(at(90), "a"), Ok(1));
        attempts.clear("a");
        assert_eq!(attempts.left(at(90), "a"), 2);
    }

    #[test]
    fn an_account_has_its_attempts_however_it_is_written() {
        let at = Instant::from_secs;
        let mut attempts = Attempts::new(2, Duration::from_secs(60), 2);
        assert_eq!(attempts.count(at(0), "alice@a.test"), Ok(1));
        assert_eq!(attempts.count(at(0), "aLice@a.test"), Ok(0));
        assert_eq!(attempts.count(at(0), "Alice@a.test"), Err(UsedUp));
        attempts.clear("ALICE@a.test");
        assert_eq!(attempts.left(at(0), "alice@a.test"), 2);
    }

    #[test]
    fn what_is_counted_is_bounded() {
        let at = Instant::from_secs;
        let mut attempts = Attempts::new(2, Duration::from_secs(60), 2);
        assert_eq!(attempts.count(at(0), "a"), Ok(1));
        assert_eq!(attempts.count(at(1), "b"), Ok(1));
        assert_eq!(attempts.count(at(2), "c"), Err(UsedUp), "no room");
        assert_eq!(attempts.count(at(2), "a"), Ok(0), "those counted go on");
        assert_eq!(attempts.count(at(61), "c"), Ok(1), "b was forgotten");
    }
}
