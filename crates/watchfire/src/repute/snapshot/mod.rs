//! All entries of a source in memory, as small as they get: about 35 octets each, in place of the 200 of a line.
//!
//! Entries are octets in segments of one MiB; what many of them share (application, assertion, rater, extensions) is
//! kept once. A table of six octets an entry leads from the hash of a subject to its entries. Hashes are keyed: whoever
//! writes lists cannot make them collide. A snapshot never changes; a new one takes its place.

mod builder;
mod record;
mod table;

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) use builder::CODE;
pub use builder::{Builder, Loaded, Loader, Shapes};
pub use record::{Head, Record};

use super::place::{self, Target};
use table::Table;

/// Octets of a segment, and the bits of an offset in it.
const SEGMENT: usize = 1 << SEGMENT_BITS;
const SEGMENT_BITS: u32 = 20;

/// Entries, found by their subjects.
pub struct Snapshot {
    segments: Vec<Vec<u8>>,
    heads: Vec<Head>,
    table: Table,
    hasher: RandomState,
    /// Lengths of the networks' prefixes, longest first.
    prefixes_v4: Vec<u8>,
    prefixes_v6: Vec<u8>,
    /// A bit for each number of labels that names have below which all names count.
    tree_depths: u128,
    /// Hashes of names that have entries below them, in order.
    above: Vec<u32>,
}

/// An entry that was found.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Hit<'s> {
    /// What it shares with others.
    pub head: &'s Head,
    /// Its own.
    pub record: Record<'s>,
    /// How far from the subject the entry is: 0 is the subject itself.
    level: usize,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("entries", &self.entries()).finish_non_exhaustive()
    }
}

impl Snapshot {
    /// One without entries.
    pub fn empty() -> Self {
        Builder::new().finish(Vec::new())
    }

    /// How many entries there are.
    pub fn entries(&self) -> usize {
        self.table.len()
    }

    /// About how many octets it takes.
    pub fn octets(&self) -> usize {
        let segments: usize = self.segments.iter().map(Vec::len).sum();
        segments + self.table.octets() + self.above.len() * 4 + self.heads.len() * size_of::<Head>()
    }

    /// What the entries share: every application, assertion and rater stands in one of these.
    pub fn heads(&self) -> &[Head] {
        &self.heads
    }

    /// Puts into `found` what is known about a subject at this time: for each statement the entry that is nearest, and
    /// nothing farther where a nearer entry says that there is no data. `application` leaves out others.
    pub fn find<'s>(&'s self, target: Target<'_>, application: Option<&str>, now: u64, found: &mut Vec<Hit<'s>>) {
        found.clear();
        let mut search = Search { snapshot: self, application, now, found, key: Vec::with_capacity(64) };
        match target {
            Target::Free(text) => {
                place::named(b'f', text, &mut search.key);
                search.collect(0);
            }
            Target::Name(name) => search.name(name),
            Target::Address(address) => search.address(address),
        }
        // An entry without data stands for nothing, and only hides others.
        found.retain(|hit| hit.record.sample_size != Some(0));
    }

    /// Whether names below this one have entries.
    pub fn has_below(&self, name: &str) -> bool {
        !self.above.is_empty() && self.above.binary_search(&self.hash(name.as_bytes())).is_ok()
    }

    fn hash(&self, key: &[u8]) -> u32 {
        // The upper half: the lower one is as good.
        (self.hasher.hash_one(key) >> 32) as u32
    }

    fn record(&self, place: u32) -> Option<Record<'_>> {
        let segment = self.segments.get((place >> SEGMENT_BITS) as usize)?;
        Record::read(segment.get(place as usize & (SEGMENT - 1)..)?)
    }

    /// The records with this key.
    fn matches<'s>(&'s self, key: &[u8], mut each: impl FnMut(Record<'s>)) {
        for place in self.table.places(self.hash(key)) {
            if let Some(record) = self.record(place).filter(|record| record.key == key) {
                each(record);
            }
        }
    }
}

struct Search<'s, 'q> {
    snapshot: &'s Snapshot,
    application: Option<&'q str>,
    now: u64,
    found: &'q mut Vec<Hit<'s>>,
    key: Vec<u8>,
}

impl<'s> Search<'s, '_> {
    /// Takes what the current key has, unless something nearer says otherwise.
    fn collect(&mut self, level: usize) {
        let (snapshot, found) = (self.snapshot, &mut *self.found);
        let (application, now) = (self.application, self.now);
        snapshot.matches(&self.key, |record| {
            let Some(head) = snapshot.heads.get(record.head as usize) else { return };
            if application.is_some_and(|wanted| !head.application.eq_ignore_ascii_case(wanted))
                || record.expires.is_some_and(|expires| expires <= now)
            {
                return;
            }
            let is_hidden = found.iter().any(|nearer| {
                nearer.level < level
                    && (nearer.head.statement == head.statement
                        || (nearer.record.sample_size == Some(0)
                            && nearer.head.application == head.application
                            && nearer.head.rater == head.rater
                            && nearer.head.assertion == head.assertion))
            });
            if !is_hidden {
                found.push(Hit { head, record, level });
            }
        });
    }

    fn name(&mut self, name: &str) {
        place::named(b'n', name, &mut self.key);
        self.collect(0);
        if self.snapshot.tree_depths == 0 {
            return;
        }
        let mut rest = Some(name);
        let mut labels = 1 + name.bytes().filter(|octet| *octet == b'.').count();
        let mut level = 0;
        while let Some(suffix) = rest {
            if labels < 128 && self.snapshot.tree_depths & (1 << labels) != 0 {
                place::named(b't', suffix, &mut self.key);
                self.collect(level);
                if level > 0 {
                    place::named(b'b', suffix, &mut self.key);
                    self.collect(level);
                }
            }
            rest = suffix.split_once('.').map(|(_, parent)| parent);
            labels -= 1;
            level += 1;
        }
    }

    fn address(&mut self, address: IpAddr) {
        let prefixes = match address {
            IpAddr::V4(_) => &self.snapshot.prefixes_v4,
            IpAddr::V6(_) => &self.snapshot.prefixes_v6,
        };
        for (level, len) in prefixes.iter().enumerate() {
            place::network(masked(address, *len), *len, &mut self.key);
            self.collect(level);
        }
    }
}

/// The address without the bits behind a prefix.
fn masked(address: IpAddr, len: u8) -> IpAddr {
    let len = u32::from(len);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(len)).unwrap_or(0);
            Ipv4Addr::from(u32::from(address) & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(len)).unwrap_or(0);
            Ipv6Addr::from(u128::from(address) & mask).into()
        }
    }
}

#[cfg(test)]
mod tests;
