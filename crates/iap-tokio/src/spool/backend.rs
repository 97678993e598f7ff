//! Where the writer puts what it is given: the disk, or nowhere.

use std::collections::BTreeMap;
use std::ops::Range;

use super::disk::{Dead, Disk, Work};
use super::index::CachedRow;
use super::{DeadLetter, SpoolConfig, SpoolError, time_from_ms};

/// A store for the writer.
#[derive(Debug)]
pub(super) enum Backend {
    Disk(Box<Disk>),
    Memory(Memory),
}

impl Backend {
    /// Does all of `work` or nothing.
    pub(super) fn commit(&mut self, work: &Work<'_>) -> Result<(), SpoolError> {
        match self {
            Self::Disk(disk) => disk.commit(work),
            Self::Memory(memory) => {
                memory.commit(work);
                Ok(())
            }
        }
    }

    /// The rows that start in `range`; a spool in memory has them in its index.
    pub(super) fn read(&self, range: &Range<u64>) -> Result<Vec<CachedRow>, SpoolError> {
        match self {
            Self::Disk(disk) => disk.read(range),
            Self::Memory(_) => Ok(Vec::new()),
        }
    }

    pub(super) fn dead(&self) -> Dead {
        match self {
            Self::Disk(disk) => disk.dead(),
            Self::Memory(memory) => memory.dead,
        }
    }

    /// Up to `limit` dead letters with numbers above `after`, in order.
    pub(super) fn dead_letters(&self, after: u64, limit: usize) -> Result<Vec<DeadLetter>, SpoolError> {
        match self {
            Self::Disk(disk) => disk.dead_letters(after, limit),
            Self::Memory(memory) => {
                let Some(from) = after.checked_add(1) else { return Ok(Vec::new()) };
                Ok(memory.letters.range(from..).take(limit).map(|(_, letter)| letter.clone()).collect())
            }
        }
    }

    /// Gives unused space back; whether there may be more to give.
    pub(super) fn tidy(&self) -> Result<bool, SpoolError> {
        match self {
            Self::Disk(disk) => disk.tidy(),
            Self::Memory(_) => Ok(false),
        }
    }

    pub(super) fn close(self) -> Result<(), SpoolError> {
        match self {
            Self::Disk(disk) => disk.close(),
            Self::Memory(_) => Ok(()),
        }
    }
}

/// The dead letters of a spool in memory; everything else is in the index.
#[derive(Debug)]
pub(super) struct Memory {
    letters: BTreeMap<u64, DeadLetter>,
    dead: Dead,
    max_count: u64,
    max_octets: u64,
}

impl Memory {
    pub(super) fn new(config: &SpoolConfig) -> Self {
        Self {
            letters: BTreeMap::new(),
            dead: Dead::default(),
            max_count: config.max_dead_letters,
            max_octets: config.max_dead_letter_bytes,
        }
    }

    fn commit(&mut self, work: &Work<'_>) {
        for one in work.dying {
            let Some(spooled) = &one.record else { continue };
            let (seq, status, time) = (one.seq, one.status, time_from_ms(one.time_ms));
            self.dead.count += 1;
            self.dead.octets += spooled.record.body.len() as u64;
            self.letters.insert(seq, DeadLetter { seq, status, time, record: spooled.record.clone() });
        }
        for seq in work.undead {
            if let Some(letter) = self.letters.remove(seq) {
                self.dead.count -= 1;
                self.dead.octets -= letter.record.body.len() as u64;
            }
        }
        while self.dead.count > self.max_count || self.dead.octets > self.max_octets {
            let Some((_, letter)) = self.letters.pop_first() else { break };
            self.dead.count -= 1;
            self.dead.octets -= letter.record.body.len() as u64;
            self.dead.dropped += 1;
        }
    }
}
