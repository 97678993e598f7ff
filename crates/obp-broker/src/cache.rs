//! A cache with lifetimes: bounded, sharded, and able to keep what is stale for the day the sources fail (RFC 8767).
//!
//! Eviction is the clock algorithm: an entry that was asked for since the hand last passed stays. A hit costs one
//! lock of one shard, one look into a hash table and one clone of the value, so keep values behind an `Arc`.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use watchfire_core::Instant;

/// What the cache has for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hit<V> {
    /// Within its lifetime, which ends then.
    Fresh(V, Instant),
    /// Past its lifetime, and not longer than the cache keeps such.
    Stale(V),
}

struct Slot<K, V> {
    key: K,
    value: V,
    fresh_until: Instant,
    /// Seconds for which it is kept beyond that.
    stale: u32,
    asked_for: bool,
}

impl<K, V> Slot<K, V> {
    fn kept_until(&self) -> Instant {
        self.fresh_until + Duration::from_secs(self.stale.into())
    }
}

struct Shard<K, V> {
    /// Open addressing over the slots: a slot's number plus one, 0 for a free place. Four octets where a map of keys
    /// would need as many as a key has, and that again for the room it leaves free.
    places: Vec<u32>,
    slots: Vec<Slot<K, V>>,
    hand: usize,
}

impl<K: Eq, V> Shard<K, V> {
    /// The slot of `key`, whose hash is `hash`.
    fn find<Q>(&self, key: &Q, hash: u64) -> Option<usize>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let mask = self.places.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        loop {
            let slot = (*self.places.get(at)?).checked_sub(1)? as usize;
            if self.slots.get(slot)?.key.borrow() == key {
                return Some(slot);
            }
            at = (at + 1) & mask;
        }
    }

    fn place(&mut self, slot: usize, hash: u64) {
        let Some(mask) = self.places.len().checked_sub(1) else { return };
        let mut at = hash as usize & mask;
        // At most half of the places are taken, so a free one comes.
        while let Some(place) = self.places.get_mut(at) {
            if *place == 0 {
                *place = u32::try_from(slot + 1).expect("a shard has fewer than 2^32 slots");
                return;
            }
            at = (at + 1) & mask;
        }
    }

    /// Frees the place of a slot, and moves those behind it that had to step aside for it.
    fn displace(&mut self, slot: usize, hash: impl Fn(&K) -> u64) {
        let Some(mask) = self.places.len().checked_sub(1) else { return };
        let Some(key) = self.slots.get(slot).map(|slot| &slot.key) else { return };
        let mut at = hash(key) as usize & mask;
        while self.places.get(at).is_some_and(|place| *place != 0 && *place as usize != slot + 1) {
            at = (at + 1) & mask;
        }
        let mut free = at;
        loop {
            at = (at + 1) & mask;
            let Some(moved) = self.places.get(at).copied().filter(|place| *place != 0) else { break };
            let Some(home) = self.slots.get(moved as usize - 1).map(|slot| hash(&slot.key) as usize & mask) else {
                break;
            };
            // It may move if its home does not lie between the free place and where it is.
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(free) & mask) {
                if let Some(place) = self.places.get_mut(free) {
                    *place = moved;
                }
                free = at;
            }
        }
        if let Some(place) = self.places.get_mut(free) {
            *place = 0;
        }
    }

    fn grow(&mut self, hash: impl Fn(&K) -> u64) {
        // By an eighth, not by twice: there are many shards, and few of them are full.
        self.slots.reserve_exact(self.slots.len() / 8 + 8);
        if self.places.len() < 2 * self.slots.capacity() {
            self.places = vec![0; (2 * self.slots.capacity()).next_power_of_two()];
            for slot in 0..self.slots.len() {
                let hash = self.slots.get(slot).map_or(0, |slot| hash(&slot.key));
                self.place(slot, hash);
            }
        }
    }
}

/// See the module's documentation.
pub(crate) struct Cache<K, V> {
    shards: Box<[Mutex<Shard<K, V>>]>,
    per_shard: usize,
    hasher: RandomState,
}

const SHARDS: usize = 16;

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    /// Room for about `capacity` entries.
    pub(crate) fn new(capacity: usize) -> Self {
        let shard = || Mutex::new(Shard { places: Vec::new(), slots: Vec::new(), hand: 0 });
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            per_shard: capacity.div_ceil(SHARDS).max(1),
            hasher: RandomState::new(),
        }
    }

    /// The shard of a key, and the key's hash within it.
    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> (&Mutex<Shard<K, V>>, u64) {
        let hash = self.hasher.hash_one(key);
        let at = (hash >> 48) as usize % SHARDS;
        (self.shards.get(at).expect("the remainder is below the number of shards"), hash)
    }

    /// What is known under `key`, and until when it is fresh.
    pub(crate) fn get<Q>(&self, key: &Q, now: Instant) -> Option<Hit<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (shard, hash) = self.shard(key);
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let place = shard.find(key, hash)?;
        let slot = shard.slots.get_mut(place)?;
        if now >= slot.kept_until() {
            return None;
        }
        slot.asked_for = true;
        let value = slot.value.clone();
        Some(if now < slot.fresh_until { Hit::Fresh(value, slot.fresh_until) } else { Hit::Stale(value) })
    }

    /// Remembers `value` for `fresh`, and for `stale` beyond that in case of need.
    pub(crate) fn insert(&self, key: K, value: V, now: Instant, fresh: Duration, stale: Duration) {
        let stale = u32::try_from(stale.as_secs()).unwrap_or(u32::MAX);
        let slot = Slot { key, value, fresh_until: now + fresh, stale, asked_for: false };
        let (shard, hash) = self.shard(&slot.key);
        let mut guard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let shard = &mut *guard;
        if let Some(place) = shard.find(&slot.key, hash) {
            if let Some(old) = shard.slots.get_mut(place) {
                *old = slot;
            }
            return;
        }
        let hash_of = |key: &K| self.hasher.hash_one(key);
        if shard.slots.len() < self.per_shard {
            if shard.slots.len() == shard.slots.capacity() {
                shard.grow(hash_of);
            }
            shard.slots.push(slot);
            shard.place(shard.slots.len() - 1, hash);
            return;
        }
        // Two rounds at most: the first clears the marks.
        for _ in 0..=2 * shard.slots.len() {
            shard.hand = (shard.hand + 1) % shard.slots.len();
            let place = shard.hand;
            let Some(victim) = shard.slots.get_mut(place) else { return };
            if victim.asked_for && now < victim.kept_until() {
                victim.asked_for = false;
                continue;
            }
            shard.displace(place, hash_of);
            if let Some(victim) = shard.slots.get_mut(place) {
                *victim = slot;
            }
            shard.place(place, hash);
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
        let (shard, hash) = self.shard(key);
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = shard.find(key, hash) else { return };
        if let Some(slot) = shard.slots.get_mut(place) {
            let kept_until = slot.kept_until();
            slot.fresh_until = (now + fresh).min(kept_until);
            // Whole seconds, never more than were left.
            let left = kept_until.saturating_since(slot.fresh_until).as_secs();
            slot.stale = u32::try_from(left).unwrap_or(u32::MAX);
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
        assert_eq!(cache.get("a", t0 + s(9)), Some(Hit::Fresh(1, t0 + s(10))));
        assert_eq!(cache.get("a", t0 + s(10)), Some(Hit::Stale(1)));
        cache.hold("a", t0 + s(12), s(5));
        assert_eq!(cache.get("a", t0 + s(16)), Some(Hit::Fresh(1, t0 + s(17))));
        assert_eq!(cache.get("a", t0 + s(17)), Some(Hit::Stale(1)));
        cache.hold("a", t0 + s(28), s(60));
        assert_eq!(cache.get("a", t0 + s(29)), Some(Hit::Fresh(1, t0 + s(30))));
        assert_eq!(cache.get("a", t0 + s(30)), None, "held no longer than kept");
        cache.insert("a", 2, t0 + s(31), s(1), s(0));
        assert_eq!(cache.get("a", t0 + s(31)), Some(Hit::Fresh(2, t0 + s(32))));
        assert_eq!(cache.get("b", t0), None);
    }

    #[test]
    fn it_never_outgrows_its_capacity_and_keeps_what_is_asked_for() {
        let cache = Cache::new(SHARDS * 8);
        let now = Instant::from_secs(1);
        let end = now + s(1000);
        cache.insert(0_u32, 0_u32, now, s(1000), s(0));
        for n in 1..10_000_u32 {
            assert_eq!(cache.get(&0, now), Some(Hit::Fresh(0, end)), "asked for before each insertion, {n}");
            cache.insert(n, n, now, s(1000), s(0));
        }
        assert!(cache.len() <= SHARDS * 8, "{}", cache.len());
        assert_eq!(cache.get(&9_999, now), Some(Hit::Fresh(9_999, end)));
    }

    /// The table of places against a map that does the same, through thousands of evictions.
    #[test]
    fn entries_are_found_where_they_are_and_nowhere_else() {
        let cache = Cache::new(SHARDS * 32);
        let now = Instant::from_secs(1);
        let mut last = std::collections::BTreeMap::new();
        let mut state = 1_u64;
        for round in 0..50_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = state >> 53;
            if state & 1 << 20 == 0 {
                cache.insert(key, round, now, s(10), s(0));
                last.insert(key, round);
            } else if let Some(Hit::Fresh(value, _)) = cache.get(&key, now) {
                assert_eq!(last.get(&key), Some(&value), "an old value came back");
            }
            if round % 5000 == 0 {
                let found = last.keys().filter(|key| cache.get(*key, now).is_some()).count();
                assert_eq!(found, cache.len(), "every entry is found, and only those");
            }
        }
        assert!(cache.len() > SHARDS * 16);
    }
}
