//! What is in the spool, without the bodies: spans of records in order, and which of them are settled.
//!
//! Pure bookkeeping: no disk, no clock, no lock. A span is up to one group of octets, however many rows it has on
//! disk, so that a gibibyte of records costs some two megabytes here.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use super::pack;
use super::record::Spooled;

/// A row of a span that is held in memory.
#[derive(Clone, Debug)]
pub(super) struct CachedRow {
    pub(super) first: u64,
    pub(super) count: u32,
    pub(super) data: Bytes,
}

impl CachedRow {
    /// Octets that it takes, with what surrounds a short one.
    fn weight(&self) -> usize {
        self.data.len() + 96
    }
}

/// A row that is new or was found on opening.
#[derive(Debug)]
pub(super) struct NewRow {
    pub(super) first: u64,
    pub(super) count: u32,
    /// Octets of the bodies.
    pub(super) octets: u64,
    pub(super) time_ms: u64,
    /// The packed records if they are to stay in memory.
    pub(super) data: Option<Bytes>,
}

#[derive(Debug)]
struct Span {
    first: u64,
    /// Behind the last record.
    end: u64,
    live: u32,
    /// Octets of the unsettled bodies (not yet lessened by what `Partial::lengths` is needed for).
    octets: u64,
    oldest_ms: u64,
    newest_ms: u64,
    rows: Option<Vec<CachedRow>>,
    /// Present once some but not all are settled.
    partial: Option<Box<Partial>>,
}

#[derive(Debug)]
struct Partial {
    settled: Vec<u64>,
    /// What each body counts for; unknown while the span's rows are only on disk.
    lengths: Option<Vec<u32>>,
}

impl Partial {
    fn has(&self, offset: u64) -> bool {
        self.settled[(offset / 64) as usize] >> (offset % 64) & 1 == 1
    }
}

/// Where the records behind a reader's position are.
#[derive(Debug)]
pub(super) enum Lookup {
    /// In memory: rows, and the number behind the last.
    Memory(Vec<CachedRow>, u64),
    /// On disk: the rows that start in this range.
    Disk(Range<u64>),
    /// There is nothing yet.
    Nothing,
}

/// Records and octets that left otherwise than by being settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) records: u64,
    pub(super) octets: u64,
}

#[derive(Debug)]
pub(super) struct Index {
    spans: VecDeque<Span>,
    next_seq: u64,
    depth: u64,
    octets: u64,
    group_octets: u64,
    group_ms: u64,
    cache_limit: usize,
    cached: usize,
    /// First numbers of spans whose rows are in memory, oldest first; some may be gone already.
    cached_spans: VecDeque<u64>,
    /// Spans that are wholly settled but may still be on disk; neighbours are joined.
    removed: Vec<Range<u64>>,
    partial_changed: bool,
}

impl Index {
    /// `group_octets` and `group_ms` say how large and how long a span may be.
    pub(super) fn new(next_seq: u64, group_octets: usize, group_ms: u64, cache_limit: usize) -> Self {
        Self {
            spans: VecDeque::new(),
            next_seq,
            depth: 0,
            octets: 0,
            group_octets: group_octets as u64,
            group_ms,
            cache_limit,
            cached: 0,
            cached_spans: VecDeque::new(),
            removed: Vec::new(),
            partial_changed: false,
        }
    }

    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Makes the next record's number at least `seq`.
    pub(super) fn skip_to(&mut self, seq: u64) {
        self.next_seq = self.next_seq.max(seq);
    }

    pub(super) fn depth(&self) -> u64 {
        self.depth
    }

    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    pub(super) fn cached(&self) -> usize {
        self.cached
    }

    /// When the oldest record came in, in milliseconds since 1970 (that of its span, so at most a span's time early).
    pub(super) fn oldest_ms(&self) -> Option<u64> {
        self.spans.front().map(|span| span.oldest_ms)
    }

    /// The number of the oldest span's first record, or the next number if there is none.
    pub(super) fn head(&self) -> u64 {
        self.spans.front().map_or(self.next_seq, |span| span.first)
    }

    /// Adds a row behind all others.
    pub(super) fn push(&mut self, row: NewRow) {
        let end = row.first + u64::from(row.count);
        self.next_seq = end;
        self.depth += u64::from(row.count);
        self.octets += row.octets;
        let cached = row.data.map(|data| CachedRow { first: row.first, count: row.count, data });
        self.cached += cached.as_ref().map_or(0, CachedRow::weight);
        match self.spans.back_mut() {
            Some(span)
                if span.end == row.first
                    && span.octets + row.octets <= self.group_octets
                    && span.partial.is_none()
                    && span.rows.is_some() == cached.is_some()
                    && row.time_ms.saturating_sub(span.oldest_ms) <= self.group_ms =>
            {
                span.end = end;
                span.live += row.count;
                span.octets += row.octets;
                span.newest_ms = span.newest_ms.max(row.time_ms);
                if let (Some(rows), Some(cached)) = (&mut span.rows, cached) {
                    rows.push(cached);
                }
            }
            _ => {
                if cached.is_some() {
                    self.cached_spans.push_back(row.first);
                }
                self.spans.push_back(Span {
                    first: row.first,
                    end,
                    live: row.count,
                    octets: row.octets,
                    oldest_ms: row.time_ms,
                    newest_ms: row.time_ms,
                    rows: cached.map(|row| vec![row]),
                    partial: None,
                });
            }
        }
        while self.cached > self.cache_limit {
            let Some(first) = self.cached_spans.pop_front() else { break };
            if let Some(rows) = self.find(first).and_then(|at| self.spans[at].rows.take()) {
                self.cached -= rows.iter().map(CachedRow::weight).sum::<usize>();
            }
        }
    }

    /// The position of the span that holds `seq`.
    fn find(&self, seq: u64) -> Option<usize> {
        let at = match self.spans.front() {
            Some(front) if seq < front.end => 0,
            _ => self.spans.partition_point(|span| span.end <= seq),
        };
        self.spans.get(at).filter(|span| span.first <= seq).map(|_| at)
    }

    /// Whether `seq` is in the spool and not settled.
    pub(super) fn is_live(&self, seq: u64) -> bool {
        self.find(seq).is_some_and(|at| {
            let span = &self.spans[at];
            span.partial.as_ref().is_none_or(|partial| !partial.has(seq - span.first))
        })
    }

    /// Whether any record in `range` is unsettled.
    pub(super) fn any_live(&self, range: Range<u64>) -> bool {
        let at = self.spans.partition_point(|span| span.end <= range.start);
        self.spans.range(at..).take_while(|span| span.first < range.end).any(|span| {
            let mut seqs = span.first.max(range.start)..span.end.min(range.end);
            span.partial.as_ref().is_none_or(|partial| seqs.any(|seq| !partial.has(seq - span.first)))
        })
    }

    /// Keeps those of `batch` (rising numbers) that are not settled.
    pub(super) fn retain_live(&self, batch: &mut Vec<Spooled>) {
        let Some((first, last)) = batch.first().zip(batch.last()) else { return };
        // Nearly always the whole batch lies in few spans without any settled record.
        let mut at = self.spans.partition_point(|span| span.end <= first.seq);
        let mut seq = first.seq;
        let whole = loop {
            match self.spans.get(at) {
                Some(span) if span.first <= seq && span.partial.is_none() => {
                    if last.seq < span.end {
                        break true;
                    }
                    seq = span.end;
                    at += 1;
                }
                _ => break false,
            }
        };
        if !whole {
            batch.retain(|one| self.is_live(one.seq));
        }
    }

    /// Settles a record; `false` if it was settled before or is not here.
    pub(super) fn settle(&mut self, seq: u64) -> bool {
        let Some(at) = self.find(seq) else { return false };
        let span = &mut self.spans[at];
        let offset = seq - span.first;
        if span.partial.as_ref().is_some_and(|partial| partial.has(offset)) {
            return false;
        }
        self.depth -= 1;
        span.live -= 1;
        if span.live == 0 {
            self.remove(at);
            return true;
        }
        self.partial_changed = true;
        let partial = span.partial.get_or_insert_with(|| {
            let lengths = |rows: &Vec<CachedRow>| rows.iter().flat_map(|row| pack::charges(&row.data)).collect();
            Box::new(Partial {
                settled: vec![0; (span.end - span.first).div_ceil(64) as usize],
                lengths: span.rows.as_ref().map(lengths),
            })
        });
        partial.settled[(offset / 64) as usize] |= 1 << (offset % 64);
        if let Some(length) = partial.lengths.as_ref().and_then(|lengths| lengths.get(offset as usize)) {
            span.octets -= u64::from(*length);
            self.octets -= u64::from(*length);
        }
        true
    }

    fn remove(&mut self, at: usize) {
        let Some(span) = self.spans.remove(at) else { return };
        self.octets -= span.octets;
        self.depth -= u64::from(span.live);
        self.partial_changed |= span.partial.is_some();
        if let Some(rows) = span.rows {
            self.cached -= rows.iter().map(CachedRow::weight).sum::<usize>();
        }
        while self.cached_spans.front().is_some_and(|first| *first <= span.first && at == 0) {
            self.cached_spans.pop_front();
        }
        match self.removed.last_mut() {
            Some(last) if last.end == span.first => last.end = span.end,
            _ => self.removed.push(span.first..span.end),
        }
    }

    /// Up to where the oldest spans must go so that `need` octets become free: the number behind them.
    pub(super) fn plan_drop(&self, need: u64) -> u64 {
        let mut free = 0;
        let enough = self.spans.iter().find(|span| {
            free += span.octets;
            free >= need
        });
        enough.map_or(self.next_seq, |span| span.end)
    }

    /// Up to where the oldest spans are older than `before_ms`, if any is.
    pub(super) fn plan_expiry(&self, before_ms: u64) -> Option<u64> {
        self.spans.iter().take_while(|span| span.newest_ms < before_ms).last().map(|span| span.end)
    }

    /// Drops all spans below `end` and says how much that was.
    pub(super) fn drop_below(&mut self, end: u64) -> Gone {
        let mut gone = Gone::default();
        while let Some(span) = self.spans.front().filter(|span| span.end <= end) {
            gone.records += u64::from(span.live);
            gone.octets += span.octets;
            self.remove(0);
        }
        gone
    }

    /// Where to get the records from number `from` on; on disk, up to `ahead` octets of them.
    pub(super) fn lookup(&self, from: u64, ahead: u64) -> Lookup {
        let at = self.spans.partition_point(|span| span.end <= from);
        let Some(span) = self.spans.get(at) else { return Lookup::Nothing };
        if let Some(rows) = &span.rows {
            let start = rows.partition_point(|row| row.first + u64::from(row.count) <= from);
            return Lookup::Memory(rows[start..].to_vec(), span.end);
        }
        let mut octets = 0;
        let mut end = span.end;
        for span in self.spans.range(at..).take_while(|span| span.rows.is_none()) {
            if octets > 0 && octets + span.octets > ahead {
                break;
            }
            octets += span.octets;
            end = span.end;
        }
        // A row is never cut by a span, so the row that holds `from` starts at or behind the span's start.
        Lookup::Disk(span.first..end)
    }

    /// Forgets what was to be removed from disk below `end`: it went already.
    pub(super) fn forget_removed(&mut self, end: u64) {
        self.removed.retain(|range| range.end > end);
    }

    /// Takes what must be removed from disk.
    pub(super) fn take_removed(&mut self) -> Vec<Range<u64>> {
        std::mem::take(&mut self.removed)
    }

    /// Gives back what could not be removed.
    pub(super) fn give_back(&mut self, mut removed: Vec<Range<u64>>) {
        removed.append(&mut self.removed);
        removed.sort_unstable_by_key(|range| range.start);
        for range in removed {
            match self.removed.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => self.removed.push(range),
            }
        }
        self.partial_changed = true;
    }

    /// The settled records of partly settled spans, as ranges, if they changed since the last call.
    pub(super) fn take_partial(&mut self) -> Option<Vec<Range<u64>>> {
        if !std::mem::take(&mut self.partial_changed) && self.removed.is_empty() {
            return None;
        }
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for span in &self.spans {
            let Some(partial) = &span.partial else { continue };
            for seq in (span.first..span.end).filter(|seq| partial.has(seq - span.first)) {
                match ranges.last_mut() {
                    Some(last) if last.end == seq => last.end += 1,
                    _ => ranges.push(seq..seq + 1),
                }
            }
        }
        Some(ranges)
    }

    /// The partly settled spans whose octets are not known exactly because their rows were not at hand.
    pub(super) fn inexact(&self) -> Vec<Range<u64>> {
        let inexact = |span: &&Span| span.partial.as_ref().is_some_and(|partial| partial.lengths.is_none());
        self.spans.iter().filter(inexact).map(|span| span.first..span.end).collect()
    }

    /// Tells what each body counts for of an inexact span.
    pub(super) fn learn(&mut self, first: u64, lengths: Vec<u32>) {
        let Some(at) = self.find(first) else { return };
        let span = &mut self.spans[at];
        let Some(partial) = &mut span.partial else { return };
        if span.first != first || partial.lengths.is_some() || lengths.len() as u64 != span.end - span.first {
            return;
        }
        let settled = (0u64..).zip(&lengths).filter(|(offset, _)| partial.has(*offset));
        let octets = settled.map(|(_, length)| u64::from(*length)).sum::<u64>();
        partial.lengths = Some(lengths);
        span.octets -= octets;
        self.octets -= octets;
    }

    /// The record itself, if its row is in memory.
    pub(super) fn cached_record(&self, seq: u64) -> Option<Spooled> {
        let rows = self.spans[self.find(seq)?].rows.as_ref()?;
        let row = rows.iter().find(|row| seq < row.first + u64::from(row.count))?;
        let mut found = None;
        let _ = pack::unpack(row.first, row.count, &row.data, |one| {
            if one.seq == seq {
                found = Some(one);
            }
        });
        found
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // one range is what is meant
mod tests {
    use super::*;
    use crate::spool::Record;

    fn push(index: &mut Index, lengths: &[usize], time_ms: u64, keep: bool) {
        let records: Vec<Record> = lengths.iter().map(|length| Record::new("a/b", vec![1; *length])).collect();
        for row in pack::pack(&records, usize::MAX) {
            let data = keep.then(|| row.data.into());
            let first = index.next_seq();
            index.push(NewRow { first, count: row.count, octets: row.octets, time_ms, data });
        }
    }

    #[test]
    fn a_span_goes_when_all_its_records_are_settled_in_any_order() {
        let mut index = Index::new(1, 1000, u64::MAX, 10_000);
        push(&mut index, &[100, 200, 300], 0, true);
        push(&mut index, &[400, 500], 0, true);
        for seq in [3, 1, 5] {
            assert!(index.settle(seq));
            assert!(!index.settle(seq), "twice");
        }
        assert_eq!((index.depth(), index.octets()), (2, 600));
        assert_eq!(index.take_partial(), Some(vec![1..2, 3..4, 5..6]));
        assert_eq!(index.take_partial(), None);
        assert!(index.settle(2));
        assert_eq!(index.take_removed(), [1..4]);
        assert_eq!((index.depth(), index.octets(), index.head()), (1, 400, 4));
        assert!(!index.settle(2) && !index.settle(0) && !index.settle(6));
    }

    #[test]
    fn octets_become_exact_when_lengths_are_told() {
        let mut index = Index::new(1, 1000, u64::MAX, 0);
        push(&mut index, &[100, 200, 300], 0, false);
        index.settle(2);
        assert_eq!(index.octets(), 600);
        assert_eq!(index.inexact(), [1..4]);
        index.learn(1, vec![100, 200, 300]);
        assert_eq!((index.octets(), index.inexact().len()), (400, 0));
        index.settle(3);
        assert_eq!(index.octets(), 100);
    }

    #[test]
    fn the_cache_keeps_the_newest() {
        let mut index = Index::new(1, 100, u64::MAX, 500);
        for _ in 0..4 {
            push(&mut index, &[90], 0, true);
        }
        assert!(index.cached() <= 500);
        assert!(matches!(index.lookup(1, 1000), Lookup::Disk(range) if range == (1..3)));
        assert!(matches!(index.lookup(3, 1000), Lookup::Memory(rows, 4) if rows.len() == 1));
        assert!(matches!(index.lookup(5, 1000), Lookup::Nothing));
        for seq in 1..=4 {
            index.settle(seq);
        }
        assert_eq!((index.cached(), index.octets(), index.depth()), (0, 0, 0));
    }

    #[test]
    fn dropping_takes_whole_spans_from_the_front() {
        let mut index = Index::new(1, 100, 1000, 10_000);
        push(&mut index, &[50, 50], 10, true);
        push(&mut index, &[50, 50], 20, true);
        assert_eq!(index.plan_drop(1), 3);
        assert_eq!(index.plan_drop(101), 5);
        assert_eq!(index.plan_drop(1000), 5);
        assert_eq!(index.plan_expiry(10), None);
        assert_eq!(index.plan_expiry(11), Some(3));
        index.settle(1);
        assert_eq!(index.drop_below(3), Gone { records: 1, octets: 50 });
        assert_eq!((index.depth(), index.octets(), index.oldest_ms()), (2, 100, Some(20)));
    }

    #[test]
    fn what_could_not_be_removed_comes_back_joined() {
        let mut index = Index::new(1, 20, u64::MAX, 10_000);
        for _ in 0..3 {
            push(&mut index, &[20], 0, true);
        }
        index.settle(1);
        let removed = index.take_removed();
        index.settle(2);
        index.give_back(removed);
        assert_eq!(index.take_removed(), [1..3]);
    }
}
