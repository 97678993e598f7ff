//! The two threads of a spool: one writes, and gathers into one commit what came meanwhile; one reads.

use std::ops::Range;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::backend::Backend;
use super::disk::{Dying, Source, StoredRow, Work};
use super::index::NewRow;
use super::pack::{self, Packed};
use super::state::{Append, Op, Plan, Read, Reply, Shared, State};
use super::stats::DropLog;
use super::{Accepted, Checkpoint, SpoolError, now_ms};

/// How long settlements wait after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// How long after removals unused space is looked for, and between pieces of giving it back.
const TIDY_SOON: Duration = Duration::from_secs(1);
const TIDY_AGAIN: Duration = Duration::from_millis(200);
/// How many spans are read at most, in one save, to learn how long their bodies are.
const LEARN: usize = 64;

/// Starts the thread that reads from disk; it ends when all senders are gone.
pub(super) fn start_reading(source: Source, wishes: mpsc::Receiver<Read>) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("spool-read".to_owned()).spawn(move || {
        while let Ok(wish) = wishes.recv() {
            if !wish.reply.is_closed() {
                // Whoever asked may have gone meanwhile.
                let _ = wish.reply.send(source.read(&wish.range));
            }
        }
    })
}

/// Starts the thread that writes; it ends when the state says `closing` and nothing is left to do.
pub(super) fn start_writing(
    shared: Arc<Shared>,
    backend: Backend,
    reading: Option<JoinHandle<()>>,
) -> std::io::Result<()> {
    let writer = Writer { shared, backend, drop_log: DropLog::default(), tidy_at: None, failing: false };
    thread::Builder::new().name("spool-write".to_owned()).spawn(move || writer.run(reading)).map(drop)
}

struct Writer {
    shared: Arc<Shared>,
    backend: Backend,
    drop_log: DropLog,
    tidy_at: Option<Instant>,
    failing: bool,
}

/// Says that the spool is closed when the writer ends, in whatever way.
struct Closing(Arc<Shared>);

impl Drop for Closing {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        (state.closing, state.closed) = (true, true);
        state.reads = None;
        // Dropped replies read as closed.
        state.appends.clear();
        state.ops.clear();
        state.flushes.clear();
        state.closers.clear();
        drop(state);
        self.0.arrived.notify_waiters();
    }
}

/// What was settled, on its way to the store.
#[derive(Default)]
struct Settlements {
    removed: Vec<Range<u64>>,
    partial: Option<Vec<Range<u64>>>,
    dying: Vec<Dying>,
    unsaved: u64,
    inexact: Vec<Range<u64>>,
}

impl Settlements {
    fn take(state: &mut State) -> Self {
        let partial = state.index.take_partial();
        state.unsaved_since = None;
        Self {
            partial,
            removed: state.index.take_removed(),
            dying: std::mem::take(&mut state.dying),
            unsaved: std::mem::take(&mut state.unsaved),
            inexact: state.index.inexact(),
        }
    }

    fn give_back(mut self, state: &mut State, now: Instant) {
        state.index.give_back(self.removed);
        self.dying.append(&mut state.dying);
        state.dying = self.dying;
        state.unsaved += self.unsaved;
        state.unsaved_since = Some(now);
        state.retry_at = Some(now + RETRY);
    }
}

impl Writer {
    fn run(mut self, reading: Option<JoinHandle<()>>) {
        let closing = Closing(Arc::clone(&self.shared));
        let mut outcome = Ok(());
        while let Some(plan) = self.wait() {
            let last = plan.closing;
            outcome = self.perform(plan);
            if last && outcome.is_err() {
                break;
            }
        }
        let closers = {
            let mut state = self.shared.lock();
            if state.unsaved == 0 {
                outcome = Ok(());
            }
            state.reads = None;
            std::mem::take(&mut state.closers)
        };
        if let Some(reading) = reading {
            // The reader's connection goes first, so that closing ours moves the log into the store.
            let _ = reading.join();
        }
        let closed = self.backend.close();
        let outcome = outcome.and(closed);
        drop(closing);
        for reply in closers {
            let _ = reply.send(outcome.clone());
        }
    }

    /// Sleeps until there is something to do; `None` when everything is done for good.
    fn wait(&mut self) -> Option<Plan> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        loop {
            let now = Instant::now();
            if let Some(plan) = state.plan(&shared.config, now) {
                return Some(plan);
            }
            if state.closing {
                return None;
            }
            let mut sleep = state.sleep(&shared.config, now);
            if let Some(at) = self.tidy_at {
                if at <= now {
                    drop(state);
                    self.tidy();
                    state = shared.lock();
                    continue;
                }
                sleep = Some(sleep.map_or(at - now, |sleep| sleep.min(at - now)));
            }
            state.idle = true;
            let sleep = sleep.unwrap_or(Duration::from_secs(3600));
            state =
                shared.work.wait_timeout(state, sleep).map_or_else(|poisoned| poisoned.into_inner().0, |both| both.0);
            state.idle = false;
        }
    }

    fn tidy(&mut self) {
        self.tidy_at = match self.backend.tidy() {
            Ok(true) => Some(Instant::now() + TIDY_AGAIN),
            Ok(false) => None,
            Err(error) => {
                tracing::debug!(%error, "the spool could not give space back yet");
                Some(Instant::now() + 10 * RETRY)
            }
        };
    }

    fn perform(&mut self, mut plan: Plan) -> Result<(), SpoolError> {
        let shared = Arc::clone(&self.shared);
        let time_ms = now_ms();
        let (first, settlements) = {
            let mut state = shared.lock();
            let settlements = if plan.save { Settlements::take(&mut state) } else { Settlements::default() };
            (state.index.next_seq(), settlements)
        };
        let (replies, rows, checkpoints) = number(&mut plan.appends, first, time_ms, shared.config.group_octets());
        let next_seq = rows.last().map_or(first, |row| row.first + u64::from(row.count));
        let lengths = self.lengths(&settlements.inexact);
        let work = Work {
            rows: &rows,
            checkpoints: &checkpoints,
            removed: &settlements.removed,
            drop_below: plan.drop_below,
            partial: settlements.partial.as_deref(),
            dying: &settlements.dying,
            undead: &[],
            next_seq,
        };
        let needed = plan.save || plan.drop_below > 0 || !replies.is_empty();
        let start = Instant::now();
        let outcome = if needed { self.backend.commit(&work) } else { Ok(()) };
        let mut saved = outcome.clone();
        if plan.save && !replies.is_empty() && matches!(outcome, Err(SpoolError::DiskFull { .. })) {
            // There is no room for the new; that must not keep the old from leaving.
            let work = Work { rows: &[], checkpoints: &[], drop_below: 0, next_seq: first, ..work };
            saved = self.backend.commit(&work);
        }
        let now = Instant::now();
        if !settlements.removed.is_empty() || plan.drop_below > 0 {
            self.tidy_at.get_or_insert(now + TIDY_SOON);
        }
        let mut state = shared.lock();
        for (first, lengths) in lengths {
            state.index.learn(first, lengths);
        }
        if needed {
            self.count(&mut state, &outcome, (!replies.is_empty()).then(|| now - start));
        }
        match &outcome {
            Ok(()) => {
                state.retry_at = None;
                self.keep(&mut state, &plan, rows, time_ms);
                for checkpoint in checkpoints {
                    state.checkpoints.insert(checkpoint.source, checkpoint.position);
                }
            }
            Err(_) if plan.save && saved.is_ok() => state.retry_at = None,
            Err(_) if plan.save => settlements.give_back(&mut state, now),
            Err(_) if plan.drop_below > 0 && replies.is_empty() => state.retry_at = Some(now + RETRY),
            Err(_) => {}
        }
        self.drop_log.say(&shared.place, &state.counters.dropped, now);
        drop(state);
        if outcome.is_ok() && !replies.is_empty() {
            shared.arrived.notify_waiters();
        }
        for (reply, accepted) in replies {
            let _ = reply.send(outcome.clone().map(|()| accepted));
        }
        for reply in plan.flushes {
            let _ = reply.send(saved.clone());
        }
        if let Some(op) = plan.op {
            match op {
                Op::DeadLetters { after, limit, reply } => {
                    let letters = saved.clone().and_then(|()| self.backend.dead_letters(after, limit));
                    let _ = reply.send(letters);
                }
                Op::Requeue { seqs, reply } => {
                    let outcome = saved.clone().and_then(|()| self.requeue(&seqs));
                    let _ = reply.send(outcome);
                }
            }
        }
        saved
    }

    /// Enters what was committed into the index.
    fn keep(&self, state: &mut State, plan: &Plan, rows: Vec<StoredRow>, time_ms: u64) {
        if plan.drop_below > 0 {
            let expired = state.index.drop_below(plan.expire_below);
            let oldest = state.index.drop_below(plan.drop_below);
            state.index.forget_removed(plan.drop_below);
            state.counters.dropped.expired += expired.records;
            state.counters.dropped.oldest += oldest.records;
        }
        state.counters.dropped.newest += plan.appends.iter().map(|append| append.dropped).sum::<u64>();
        let caches = self.shared.in_memory || self.shared.config.cache_bytes > 0;
        for row in rows {
            state.counters.appended += u64::from(row.count);
            let data = caches.then_some(row.data);
            state.index.push(NewRow { first: row.first, count: row.count, octets: row.octets, time_ms, data });
        }
    }

    fn count(&mut self, state: &mut State, outcome: &Result<(), SpoolError>, append: Option<Duration>) {
        let counters = &mut state.counters;
        match outcome {
            Ok(()) => {
                counters.commits += 1;
                if let Some(took) = append {
                    counters.latency.add(took);
                }
                if std::mem::take(&mut self.failing) {
                    tracing::info!(spool = self.shared.place, "the spool can write again");
                }
            }
            Err(error) => {
                counters.failed_commits += 1;
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(spool = self.shared.place, %error, "the spool cannot write");
                }
            }
        }
        counters.dead = self.backend.dead();
        counters.dropped.dead_letters = counters.dead.dropped;
    }

    /// Reads how long the bodies of partly settled spans are.
    fn lengths(&self, spans: &[Range<u64>]) -> Vec<(u64, Vec<u32>)> {
        let read = |span: &Range<u64>| {
            let rows = self.backend.read(span).ok()?;
            Some((span.start, rows.iter().flat_map(|row| pack::charges(&row.data)).collect()))
        };
        spans.iter().take(LEARN).filter_map(read).collect()
    }

    fn requeue(&mut self, seqs: &[u64]) -> Result<u64, SpoolError> {
        let mut seqs: Vec<u64> = seqs.iter().copied().filter(|seq| *seq > 0).collect();
        seqs.sort_unstable();
        seqs.dedup();
        let config = &self.shared.config;
        let (first, used) = {
            let state = self.shared.lock();
            (state.index.next_seq(), state.index.octets())
        };
        let (mut records, mut undead, mut octets) = (Vec::new(), Vec::new(), used);
        for seq in seqs {
            let found = self.backend.dead_letters(seq - 1, 1)?.into_iter().find(|letter| letter.seq == seq);
            let Some(letter) = found else { continue };
            octets += pack::charge(letter.record.body.len());
            if octets > config.max_bytes {
                return Err(SpoolError::Full { octets: used, limit: config.max_bytes });
            }
            undead.push(seq);
            records.push(letter.record);
        }
        if records.is_empty() {
            return Ok(0);
        }
        let time_ms = now_ms();
        let mut appends = pack::pack(&records, config.group_octets());
        let rows = store(&mut appends, first, time_ms, config.group_octets());
        let next_seq = first + records.len() as u64;
        let work = Work { rows: &rows, undead: &undead, next_seq, ..Work::default() };
        let outcome = self.backend.commit(&work);
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        self.count(&mut state, &outcome, None);
        outcome?;
        self.keep(&mut state, &Plan::default(), rows, time_ms);
        // They came back, they did not come in.
        state.counters.appended -= records.len() as u64;
        state.counters.requeued += records.len() as u64;
        drop(state);
        shared.arrived.notify_waiters();
        Ok(records.len() as u64)
    }
}

/// Whom to tell what, the rows, the checkpoints.
type Numbered = (Vec<(Reply<Accepted>, Accepted)>, Vec<StoredRow>, Vec<Checkpoint>);

/// Gives numbers to gathered appends and joins their rows.
fn number(appends: &mut [Append], first: u64, time_ms: u64, group: usize) -> Numbered {
    let mut replies = Vec::with_capacity(appends.len());
    let mut checkpoints = Vec::new();
    let mut packed: Vec<Packed> = Vec::new();
    let mut next = first;
    for append in appends {
        let first_seq = next;
        next += append.rows.iter().map(|row| u64::from(row.count)).sum::<u64>();
        packed.append(&mut append.rows);
        checkpoints.extend(append.checkpoint.take());
        // The reply's place is taken by one that nobody waits for.
        let (nobody, _) = tokio::sync::oneshot::channel();
        let reply = std::mem::replace(&mut append.reply, nobody);
        replies.push((reply, Accepted { first_seq, last_seq: next - 1, dropped: append.dropped }));
    }
    let rows = store(&mut packed, first, time_ms, group);
    (replies, rows, checkpoints)
}

/// Joins small rows and numbers them.
fn store(packed: &mut Vec<Packed>, first: u64, time_ms: u64, group: usize) -> Vec<StoredRow> {
    let mut joined: Vec<Packed> = Vec::with_capacity(packed.len());
    for row in packed.drain(..) {
        match joined.last_mut() {
            Some(last) if last.octets + row.octets <= group as u64 => {
                last.data.extend_from_slice(&row.data);
                last.count += row.count;
                last.octets += row.octets;
            }
            _ => joined.push(row),
        }
    }
    let mut next = first;
    let number = |row: Packed| {
        let first = next;
        next += u64::from(row.count);
        let mut data = row.data;
        // What is kept in memory is kept without slack.
        data.shrink_to_fit();
        StoredRow { first, count: row.count, octets: row.octets, time_ms, data: Bytes::from(data) }
    };
    joined.into_iter().map(number).collect()
}
