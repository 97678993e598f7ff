//! Bindings that have ended. draft-hallambaker-wsconnect-08 section 4.5.2.

use std::collections::{BTreeMap, BTreeSet};

use watchfire_core::UnixTime;

/// Remembered until the last ticket of each has expired.
#[derive(Debug)]
pub(super) struct Unbound {
    until: BTreeMap<[u8; 16], UnixTime>,
    order: BTreeSet<(UnixTime, [u8; 16])>,
    most: usize,
}

impl Unbound {
    pub(super) fn new(most: usize) -> Self {
        Self { until: BTreeMap::new(), order: BTreeSet::new(), most }
    }

    /// Remembers one; when there is no room, forgets the one that expires first.
    pub(super) fn insert(&mut self, binding: [u8; 16], until: UnixTime) {
        if let Some(old) = self.until.insert(binding, until) {
            self.order.remove(&(old, binding));
        }
        self.order.insert((until, binding));
        while self.until.len() > self.most {
            let Some((_, first)) = self.order.pop_first() else { break };
            self.until.remove(&first);
        }
    }

    pub(super) fn contains(&self, binding: &[u8; 16]) -> bool {
        self.until.contains_key(binding)
    }

    pub(super) fn expire(&mut self, now: UnixTime) {
        while let Some((until, binding)) = self.order.first().copied() {
            if until > now {
                break;
            }
            self.order.pop_first();
            self.until.remove(&binding);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_remembered_within_bounds() {
        let at = UnixTime::from_secs;
        let mut unbound = Unbound::new(2);
        unbound.insert([1; 16], at(100));
        unbound.insert([2; 16], at(50));
        unbound.insert([1; 16], at(200));
        assert!(unbound.contains(&[1; 16]) && unbound.contains(&[2; 16]));
        unbound.insert([3; 16], at(300));
        assert!(!unbound.contains(&[2; 16]), "it would have expired first");
        unbound.expire(at(200));
        assert!(!unbound.contains(&[1; 16]) && unbound.contains(&[3; 16]));
        unbound.expire(at(300));
        assert!(unbound.until.is_empty() && unbound.order.is_empty());
    }
}
