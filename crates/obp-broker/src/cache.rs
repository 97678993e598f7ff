//! A cache with lifetimes: bounded, sharded, and able to keep what is stale for the day the sources fail (RFC 8767).
//!
//! Eviction is the clock algorithm: an entry that was asked for since the hand last passed stays. A hit costs one
//! lock of one shard, one look into a hash table and one clone of the value, so keep values behind an `Arc`.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use watchfire_core::Instant;

/// What the cache has for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hit<V> {
    /// Within its lifetime.
    Fresh(V),
    /// Past its lifetime, and not longer than the cache keeps such.
    Stale(V),
}

struct Slot<K, V> {
    key: K,
    value: V,
    fresh_until: Instant,
    kept_until: Instant,
    asked_for: bool,
}

struct Shard<K, V> {
    places: HashMap<K, u32>,
    slots: Vec<Slot<K, V>>,
    hand: usize,
}

/// See the module's documentation. Keys are cloned once per entry: make that cheap.
pub(crate) struct Cache<K, V> {
    shards: Box<[Mutex<Shard<K, V>>]>,
    per_shard: usize,
    hasher: RandomState,
}

const SHARDS: usize = 16;

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    /// Room for about `capacity` entries.
    pub(crate) fn new(capacity: usize) -> Self {
        let shard = || Mutex::new(Shard { places: HashMap::new(), slots: Vec::new(), hand: 0 });
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            per_shard: capacity.div_ceil(SHARDS).max(1),
            hasher: RandomState::new(),
        }
    }

    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> &Mutex<Shard<K, V>> {
        let at = (self.hasher.hash_one(key) >> 32) as usize % SHARDS;
        self.shards.get(at).expect("the remainder is below the number of shards")
    }

    /// What is known under `key`.
    pub(crate) fn get<Q>(&self, key: &Q, now: Instant) -> Option<Hit<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        let place = *shard.places.get(key)?;
        let slot = shard.slots.get_mut(place as usize)?;
        if now >= slot.kept_until {
            return None;
        }
        slot.asked_for = true;
        let value = slot.value.clone();
        Some(if now < slot.fresh_until { Hit::Fresh(value) } else { Hit::Stale(value) })
    }

    /// Remembers `value` for `fresh`, and for `stale` beyond that in case of need.
    pub(crate) fn insert(&self, key: K, value: V, now: Instant, fresh: Duration, stale: Duration) {
        let fresh_until = now + fresh;
        let slot = Slot { key, value, fresh_until, kept_until: fresh_until + stale, asked_for: false };
        let mut guard = self.shard(&slot.key).lock().unwrap_or_else(PoisonError::into_inner);
        let shard = &mut *guard;
        if let Some(place) = shard.places.get(&slot.key) {
            if let Some(old) = shard.slots.get_mut(*place as usize) {
                *old = slot;
            }
            return;
        }
        if shard.slots.len() < self.per_shard {
            let place = u32::try_from(shard.slots.len()).expect("a shard has fewer than 2^32 slots");
            shard.places.insert(slot.key.clone(), place);
            shard.slots.push(slot);
            return;
        }
        // Two rounds at most: the first clears the marks.
        for _ in 0..=2 * shard.slots.len() {
            shard.hand = (shard.hand + 1) % shard.slots.len();
            let place = shard.hand;
            let Some(victim) = shard.slots.get_mut(place) else { return };
            if victim.asked_for && now < victim.kept_until {
                victim.asked_for = false;
                continue;
            }
            shard.places.remove(&victim.key);
            let place = u32::try_from(place).expect("a shard has fewer than 2^32 slots");
            shard.places.insert(slot.key.clone(), place);
            *victim = slot;
            return;
        }
    }

    /// Makes a stale entry count as fresh for `fresh`, but not beyond the time for which it is kept at all: after a
    /// failure, so that the sources are not asked again at once.
    pub(crate) fn hold<Q>(&self, key: &Q, now: Instant, fresh: Duration)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = shard.places.get(key).copied() else { return };
        if let Some(slot) = shard.slots.get_mut(place as usize) {
            slot.fresh_until = (now + fresh).min(slot.kept_until);
        }
    }

    /// Entries, stale ones included.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).slots.len()).sum()
    }
}

impl<K, V> std::fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("capacity", &(self.per_shard * SHARDS)).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn fresh_then_stale_then_gone() {
        let cache = Cache::new(100);
        let t0 = Instant::from_secs(1000);
        cache.insert("a", 1, t0, s(10), s(20));
        assert_eq!(cache.get("a", t0 + s(9)), Some(Hit::Fresh(1)));
        assert_eq!(cache.get("a", t0 + s(10)), Some(Hit::Stale(1)));
        cache.hold("a", t0 + s(12), s(5));
        assert_eq!(cache.get("a", t0 + s(16)), Some(Hit::Fresh(1)));
        assert_eq!(cache.get("a", t0 + s(17)), Some(Hit::Stale(1)));
        cache.hold("a", t0 + s(28), s(60));
        assert_eq!(cache.get("a", t0 + s(29)), Some(Hit::Fresh(1)));
        assert_eq!(cache.get("a", t0 + s(30)), None, "held no longer than kept");
        cache.insert("a", 2, t0 + s(31), s(1), s(0));
        assert_eq!(cache.get("a", t0 + s(31)), Some(Hit::Fresh(2)));
        assert_eq!(cache.get("b", t0), None);
    }

    #[test]
    fn it_never_outgrows_its_capacity_and_keeps_what_is_asked_for() {
        let cache = Cache::new(SHARDS * 8);
        let now = Instant::from_secs(1);
        cache.insert(0_u32, 0_u32, now, s(1000), s(0));
        for n in 1..10_000_u32 {
            assert_eq!(cache.get(&0, now), Some(Hit::Fresh(0)), "asked for before each insertion, {n}");
            cache.insert(n, n, now, s(1000), s(0));
        }
        assert!(cache.len() <= SHARDS * 8, "{}", cache.len());
        assert_eq!(cache.get(&9_999, now), Some(Hit::Fresh(9_999)));
    }
}
