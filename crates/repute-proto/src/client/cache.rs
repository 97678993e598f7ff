//! Answers that are still good, the least recently used leaving first.

use std::collections::BTreeMap;
use std::sync::Arc;

use watchfire_core::Instant;

use super::answer::Answer;

#[derive(Debug)]
struct Entry {
    answer: Arc<Answer>,
    until: Instant,
    used: u64,
}

/// The cache. A key says which service over which transport with which credentials, and which question.
#[derive(Debug)]
pub(super) struct Cache {
    entries: BTreeMap<Arc<str>, Entry>,
    /// By when they were used last.
    order: BTreeMap<u64, Arc<str>>,
    clock: u64,
    reputons: usize,
    most_entries: usize,
    most_reputons: usize,
}

impl Cache {
    pub(super) fn new(most_entries: usize, most_reputons: usize) -> Self {
        Self { entries: BTreeMap::new(), order: BTreeMap::new(), clock: 0, reputons: 0, most_entries, most_reputons }
    }

    pub(super) fn find(&mut self, key: &str, now: Instant) -> Option<Arc<Answer>> {
        let entry = self.entries.get_mut(key)?;
        if entry.until <= now {
            self.remove(key);
            return None;
        }
        self.clock = self.clock.saturating_add(1);
        let name = self.order.remove(&entry.used)?;
        entry.used = self.clock;
        self.order.insert(self.clock, name);
        Some(Arc::clone(&entry.answer))
    }

    pub(super) fn insert(&mut self, key: &str, answer: Arc<Answer>, now: Instant, until: Instant) {
        self.remove(key);
        if until <= now || self.most_entries == 0 || answer.reputons.len() > self.most_reputons {
            return;
        }
        self.clock = self.clock.saturating_add(1);
        self.reputons = self.reputons.saturating_add(answer.reputons.len());
        let key: Arc<str> = key.into();
        self.order.insert(self.clock, Arc::clone(&key));
        self.entries.insert(key, Entry { answer, until, used: self.clock });
        while self.entries.len() > self.most_entries || self.reputons > self.most_reputons {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            if let Some(entry) = self.entries.remove(&oldest) {
                self.reputons = self.reputons.saturating_sub(entry.answer.reputons.len());
            }
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.used);
            self.reputons = self.reputons.saturating_sub(entry.answer.reputons.len());
        }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
        self.reputons = 0;
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
