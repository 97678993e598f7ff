//! A cursor over the spool.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::handle::Handle;
use super::index::{CachedRow, Lookup};
use super::pack;
use super::state::Read;
use super::{SpoolError, Spooled};

/// How many octets one trip to the disk brings.
const AHEAD: u64 = 256 << 10;

/// Yields the unsettled records in order. Each reader has its own position; it may go back to the oldest unsettled
/// record at any time, which is what a sender does after its connection was lost.
#[derive(Debug)]
pub struct Reader {
    handle: Arc<Handle>,
    buffer: VecDeque<Spooled>,
    /// All records below are in the buffer, were yielded, or are settled.
    loaded: u64,
}

impl Reader {
    pub(super) fn new(handle: Arc<Handle>) -> Self {
        let mut reader = Self { handle, buffer: VecDeque::new(), loaded: 0 };
        reader.rewind();
        reader
    }

    /// Goes back to the oldest unsettled record: everything that was yielded and not settled is yielded again.
    pub fn rewind(&mut self) {
        self.buffer.clear();
        self.loaded = self.handle.shared().lock().index.head();
    }

    /// The next unsettled records: at least one, at most `max_records`, with bodies of `max_octets` together (one
    /// record may have more). Waits until there is one. Takes what is at hand and does not wait for a full batch.
    ///
    /// Dropping the future loses nothing: the next call yields the same records.
    ///
    /// # Errors
    /// [`SpoolError::Closed`]; [`SpoolError::Io`] and [`SpoolError::Corrupt`] when the disk does not give the records
    /// back: the position stays, so the call may be repeated.
    pub async fn next_batch(&mut self, max_records: usize, max_octets: usize) -> Result<Vec<Spooled>, SpoolError> {
        loop {
            self.fill(max_records.max(1), max_octets).await?;
            let mut batch = Vec::new();
            let mut octets = 0;
            while let Some(one) = self.buffer.front() {
                octets += one.record.body.len();
                if batch.len() >= max_records.max(1) || (octets > max_octets && !batch.is_empty()) {
                    break;
                }
                batch.extend(self.buffer.pop_front());
            }
            // Some may have been settled or dropped since they were loaded.
            self.handle.shared().lock().index.retain_live(&mut batch);
            if !batch.is_empty() {
                return Ok(batch);
            }
        }
    }

    /// Loads what a batch needs; waits only while there is nothing at all.
    async fn fill(&mut self, max_records: usize, max_octets: usize) -> Result<(), SpoolError> {
        let handle = Arc::clone(&self.handle);
        let shared = handle.shared();
        let mut octets: usize = self.buffer.iter().take(max_records).map(|one| one.record.body.len()).sum();
        while self.buffer.len() < max_records && octets < max_octets.max(1) {
            let arrived = shared.arrived.notified();
            tokio::pin!(arrived);
            // From here on no arrival is missed.
            arrived.as_mut().enable();
            let lookup = {
                let state = shared.lock();
                if state.closed {
                    return Err(SpoolError::Closed);
                }
                state.index.lookup(self.loaded, AHEAD)
            };
            match lookup {
                Lookup::Memory(rows, end) => octets += self.take(&rows, end)?,
                Lookup::Disk(range) if self.buffer.is_empty() => octets += self.read(range).await?,
                Lookup::Nothing if self.buffer.is_empty() => arrived.await,
                Lookup::Disk(_) | Lookup::Nothing => break,
            }
        }
        Ok(())
    }

    async fn read(&mut self, range: Range<u64>) -> Result<usize, SpoolError> {
        let handle = Arc::clone(&self.handle);
        let shared = handle.shared();
        let (reply, rows) = oneshot::channel();
        {
            let state = shared.lock();
            let reads = state.reads.as_ref().ok_or(SpoolError::Closed)?;
            reads.send(Read { range: range.clone(), reply }).map_err(|_| SpoolError::Closed)?;
        }
        let rows = rows.await.map_err(|_| SpoolError::Closed)??;
        let state = shared.lock();
        // What went from the disk meanwhile must be settled or dropped.
        if let Some(gap) = gaps(&rows, &range).into_iter().find(|gap| state.index.any_live(gap.clone())) {
            return Err(self.damage(&format!("no row holds the records {} to {}", gap.start, gap.end - 1)));
        }
        drop(state);
        self.take(&rows, range.end)
    }

    /// Moves records of rows into the buffer; returns the octets of their bodies.
    fn take(&mut self, rows: &[CachedRow], end: u64) -> Result<usize, SpoolError> {
        let (loaded, before) = (self.loaded, self.buffer.len());
        let mut octets = 0;
        for row in rows {
            let taken = pack::unpack(row.first, row.count, &row.data, |one| {
                if one.seq >= loaded {
                    octets += one.record.body.len();
                    self.buffer.push_back(one);
                }
            });
            if let Err(what) = taken {
                self.buffer.truncate(before);
                return Err(self.damage(&format!("the row of record {}: {what}", row.first)));
            }
        }
        self.loaded = end;
        Ok(octets)
    }

    fn damage(&self, what: &str) -> SpoolError {
        SpoolError::corrupt(self.handle.shared().place.as_ref(), what)
    }
}

/// The parts of `range` that no row covers.
fn gaps(rows: &[CachedRow], range: &Range<u64>) -> Vec<Range<u64>> {
    let mut gaps = Vec::new();
    let mut at = range.start;
    for row in rows {
        if row.first > at {
            gaps.push(at..row.first);
        }
        at = at.max(row.first + u64::from(row.count));
    }
    if at < range.end {
        gaps.push(at..range.end);
    }
    gaps
}
