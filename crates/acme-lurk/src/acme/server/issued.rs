//! Certificates that were issued and have not run out, by their serial number.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use watchfire_core::UnixTime;

use super::id::OrderId;
use crate::record::Tracked;

/// A serial number, as it stands in the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Serial {
    octets: [u8; Self::MAX],
    length: u8,
}

impl Serial {
    /// 20 octets are what a serial number may have
    /// ([RFC 5280 section 4.1.2.2](https://www.rfc-editor.org/rfc/rfc5280#section-4.1.2.2)), and one for its sign.
    const MAX: usize = 21;

    /// None if it is too long for one.
    pub(super) fn new(serial: &[u8]) -> Option<Self> {
        let mut octets = [0; Self::MAX];
        octets.get_mut(..serial.len())?.copy_from_slice(serial);
        Some(Self { octets, length: u8::try_from(serial.len()).ok()? })
    }

    pub(super) fn octets(&self) -> &[u8] {
        self.octets.get(..usize::from(self.length)).unwrap_or_default()
    }
}

/// A certificate that was issued and has not run out.
#[derive(Debug)]
pub(super) struct IssuedEntry {
    pub(super) order: OrderId,
    pub(super) not_after: UnixTime,
    /// None for one that is renewed automatically, of which there are many, and which is never revoked.
    pub(super) single: Option<Box<SingleEntry>>,
}

/// What is known of a certificate that is not renewed automatically.
#[derive(Debug)]
pub(super) struct SingleEntry {
    pub(super) fingerprint: [u8; 32],
    pub(super) not_before: UnixTime,
    pub(super) revoked: bool,
}

/// The certificates.
#[derive(Debug)]
pub(super) struct Issued {
    entries: Tracked<Serial, IssuedEntry>,
    /// The same by their end. None is forgotten earlier.
    ends: BinaryHeap<Reverse<(UnixTime, Serial)>>,
}

impl Issued {
    pub(super) const fn new() -> Self {
        Self { entries: Tracked::new(), ends: BinaryHeap::new() }
    }

    pub(super) fn get(&self, serial: &Serial) -> Option<&IssuedEntry> {
        self.entries.get(serial)
    }

    pub(super) fn get_mut(&mut self, serial: &Serial) -> Option<&mut IssuedEntry> {
        self.entries.get_mut(serial)
    }

    pub(super) fn insert(&mut self, serial: Serial, entry: IssuedEntry) {
        self.ends.push(Reverse((entry.not_after, serial)));
        self.entries.insert(serial, entry);
    }

    /// Puts a certificate in that was read from a record.
    pub(super) fn restore(&mut self, serial: Serial, entry: IssuedEntry) {
        self.ends.push(Reverse((entry.not_after, serial)));
        self.entries.restore(serial, entry);
    }

    /// When the next one runs out.
    pub(super) fn wake(&self) -> Option<UnixTime> {
        self.ends.peek().map(|Reverse((end, _))| *end)
    }

    /// Forgets those that have run out.
    pub(super) fn forget(&mut self, now: UnixTime) {
        while self.wake().is_some_and(|end| end <= now) {
            let Some(Reverse((_, serial))) = self.ends.pop() else { return };
            self.entries.remove(&serial);
        }
    }

    /// Those that have changed since this was called last.
    pub(super) fn take_changed(&mut self) -> BTreeSet<Serial> {
        self.entries.take_changed()
    }
}
