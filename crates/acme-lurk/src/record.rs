//! What survives a restart: records, each under a name, that a driver puts into whatever it has.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use crate::limits::Limits;

/// A record that was made, changed or dropped.
///
/// A machine that keeps records gives those that have changed (`take_records`). Put them away, all that were taken
/// together in one transaction, *before* anything is sent that the machine has said since: then a machine that is made
/// from the records (`restore`) has forgotten nothing that anybody was told. The name is the primary key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "drivers make it")]
pub struct Record {
    /// The name: `order/` and the like, ASCII, up to a few dozen characters.
    pub name: String,
    /// JSON; none when the record is dropped.
    pub value: Option<Vec<u8>>,
}

/// What records may be: we have made them, and they are larger than messages.
pub(crate) const LIMITS: Limits =
    Limits::DEFAULT.with_body(8 << 20).with_values(262_144).with_members(4096).with_csr(1 << 20);

/// A map that knows which of its entries have changed. Large ones are better boxed: a third of the places in a map with
/// keys that come at random is empty.
#[derive(Debug)]
pub(crate) struct Tracked<K, V> {
    map: BTreeMap<K, V>,
    changed: BTreeSet<K>,
}

impl<K: Ord + Clone, V> Tracked<K, V> {
    pub(crate) const fn new() -> Self {
        Self { map: BTreeMap::new(), changed: BTreeSet::new() }
    }

    /// The entry, to be changed.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let entry = self.map.get_mut(key)?;
        self.changed.insert(key.clone());
        Some(entry)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.changed.insert(key.clone());
        self.map.insert(key, value);
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let entry = self.map.remove(key)?;
        self.changed.insert(key.clone());
        Some(entry)
    }

    /// Something that belongs to the entry has changed.
    pub(crate) fn touch(&mut self, key: &K) {
        self.changed.insert(key.clone());
    }

    /// The entry, to be changed in a way that no record knows.
    pub(crate) fn get_untracked(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(key)
    }

    /// Puts an entry in that was read from a record.
    pub(crate) fn restore(&mut self, key: K, value: V) {
        self.map.insert(key, value);
    }

    /// The entries that have changed since this was called last.
    pub(crate) fn take_changed(&mut self) -> BTreeSet<K> {
        std::mem::take(&mut self.changed)
    }
}

impl<K, V> Deref for Tracked<K, V> {
    type Target = BTreeMap<K, V>;

    fn deref(&self) -> &Self::Target {
        &self.map
    }
}
