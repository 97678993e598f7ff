//! What the handles, the readers and the writer share, and what the writer should do next.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use super::disk::{Dead, Dying};
use super::index::{CachedRow, Index};
use super::pack::{self, Packed};
use super::stats::{Dropped, Latency};
use super::{Accepted, Checkpoint, DeadLetter, OnFull, Settled, SpoolConfig, SpoolError, now_ms};

pub(super) type Reply<T> = oneshot::Sender<Result<T, SpoolError>>;

/// Settlements beyond this number are written without waiting for the interval.
const MANY_SETTLED: u64 = 16_384;
/// Octets of bodies beyond which no further append joins a commit.
const COMMIT_OCTETS: u64 = 4 << 20;

/// An append on its way.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) rows: Vec<Packed>,
    pub(super) octets: u64,
    pub(super) dropped: u64,
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) reply: Reply<Accepted>,
}

/// What only the writer can answer.
#[derive(Debug)]
pub(super) enum Op {
    DeadLetters { after: u64, limit: usize, reply: Reply<Vec<DeadLetter>> },
    Requeue { seqs: Vec<u64>, reply: Reply<u64> },
}

/// A wish to read from disk.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) range: Range<u64>,
    pub(super) reply: Reply<Vec<CachedRow>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Counters {
    pub(super) appended: u64,
    pub(super) delivered: u64,
    pub(super) dead_lettered: u64,
    pub(super) requeued: u64,
    pub(super) dropped: Dropped,
    pub(super) commits: u64,
    pub(super) failed_commits: u64,
    pub(super) latency: Latency,
    pub(super) dead: Dead,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) index: Index,
    pub(super) appends: VecDeque<Append>,
    pub(super) ops: VecDeque<Op>,
    pub(super) flushes: Vec<Reply<()>>,
    pub(super) closers: Vec<Reply<()>>,
    pub(super) dying: Vec<Dying>,
    /// Settlements that are not written.
    pub(super) unsaved: u64,
    pub(super) unsaved_since: Option<Instant>,
    /// After a failure: not before this.
    pub(super) retry_at: Option<Instant>,
    pub(super) checkpoints: BTreeMap<String, Vec<u8>>,
    pub(super) counters: Counters,
    pub(super) closing: bool,
    pub(super) closed: bool,
    /// The writer sleeps.
    pub(super) idle: bool,
    /// The writer would take an append if there were so many octets of room.
    pub(super) blocked: Option<u64>,
    pub(super) reads: Option<mpsc::Sender<Read>>,
}

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) work: Condvar,
    /// Records came in, or the spool was closed.
    pub(super) arrived: Notify,
    pub(super) config: SpoolConfig,
    /// For log lines.
    pub(super) place: String,
    pub(super) in_memory: bool,
}

impl Shared {
    pub(super) fn new(
        index: Index,
        checkpoints: Vec<Checkpoint>,
        config: SpoolConfig,
        place: String,
        reads: Option<mpsc::Sender<Read>>,
    ) -> Self {
        let in_memory = reads.is_none();
        let state = State {
            index,
            appends: VecDeque::new(),
            ops: VecDeque::new(),
            flushes: Vec::new(),
            closers: Vec::new(),
            dying: Vec::new(),
            unsaved: 0,
            unsaved_since: None,
            retry_at: None,
            checkpoints: checkpoints.into_iter().map(|one| (one.source, one.position)).collect(),
            counters: Counters::default(),
            closing: false,
            closed: false,
            idle: false,
            blocked: None,
            reads,
        };
        let state = Mutex::new(state);
        Self { state, work: Condvar::new(), arrived: Notify::new(), config, place, in_memory }
    }

    /// The state. A panic elsewhere while it was locked leaves it usable: every change to it is made in steps that
    /// each leave it whole.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the writer if it sleeps.
    pub(super) fn wake(&self, state: &State) {
        if state.idle {
            self.work.notify_one();
        }
    }

    /// Settles records.
    pub(super) fn settle(&self, outcomes: impl IntoIterator<Item = (u64, Settled)>) -> u64 {
        let mut state = self.lock();
        let state = &mut *state;
        let before = state.unsaved;
        let mut time_ms = None;
        for (seq, outcome) in outcomes {
            let status = match outcome {
                Settled::Delivered => None,
                Settled::DeadLetter { status } => Some(status),
            };
            // In memory nothing else will have the record afterwards.
            let record = status.filter(|_| self.in_memory).and_then(|_| state.index.cached_record(seq));
            if !state.index.settle(seq) {
                continue;
            }
            state.unsaved += 1;
            match status {
                None => state.counters.delivered += 1,
                Some(status) => {
                    state.counters.dead_lettered += 1;
                    let time_ms = *time_ms.get_or_insert_with(now_ms);
                    state.dying.push(Dying { seq, status, time_ms, record });
                }
            }
        }
        let settled = state.unsaved - before;
        if settled > 0 {
            let first = state.unsaved_since.is_none();
            if first {
                state.unsaved_since = Some(Instant::now());
            }
            let room = self.config.max_bytes.saturating_sub(state.index.octets());
            if first || state.blocked.is_some_and(|need| need <= room) || state.unsaved >= MANY_SETTLED {
                self.wake(state);
            }
        }
        settled
    }
}

/// What the writer does in one transaction, and for whom.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) appends: Vec<Append>,
    /// Settlements are written.
    pub(super) save: bool,
    /// All rows below are dropped.
    pub(super) drop_below: u64,
    pub(super) expire_below: u64,
    pub(super) flushes: Vec<Reply<()>>,
    pub(super) op: Option<Op>,
    /// The spool is being closed.
    pub(super) closing: bool,
}

impl State {
    /// What to do now, if anything.
    pub(super) fn plan(&mut self, config: &SpoolConfig, now: Instant) -> Option<Plan> {
        let mut plan = Plan { closing: self.closing, ..Plan::default() };
        let demanded = !self.flushes.is_empty() || !self.ops.is_empty() || self.closing;
        if self.retry_at.is_none_or(|at| now >= at) || demanded {
            let waited = |since: Instant| now.duration_since(since) >= config.settle_interval;
            let due = self.unsaved >= MANY_SETTLED || self.unsaved_since.is_some_and(waited);
            plan.save = self.unsaved > 0 && (due || demanded);
        }
        plan.flushes = std::mem::take(&mut self.flushes);
        plan.op = self.ops.pop_front();
        if let Some(age) = config.max_age.filter(|_| self.retry_at.is_none_or(|at| now >= at)) {
            let before = now_ms().saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
            plan.expire_below = self.index.plan_expiry(before).unwrap_or(0);
            plan.drop_below = plan.expire_below;
        }
        self.gather(config, &mut plan);
        let something = plan.save
            || plan.drop_below > 0
            || !plan.appends.is_empty()
            || !plan.flushes.is_empty()
            || plan.op.is_some();
        something.then_some(plan)
    }

    /// Takes appends into the plan for as long as there is room, in the order in which they came.
    fn gather(&mut self, config: &SpoolConfig, plan: &mut Plan) {
        self.blocked = None;
        let mut gathered = 0;
        let mut room = config.max_bytes.saturating_sub(self.index.octets());
        while let Some(append) = self.appends.front_mut() {
            if append.reply.is_closed() {
                // Whoever asked has gone before anything was done.
                self.appends.pop_front();
                continue;
            }
            if gathered > 0 && gathered + append.octets > COMMIT_OCTETS.min(config.max_bytes) {
                break;
            }
            if append.octets > room {
                match config.on_full {
                    OnFull::Block => {
                        self.blocked = Some(append.octets);
                        break;
                    }
                    OnFull::DropOldest => {
                        let used = self.index.octets();
                        let need = (used + gathered + append.octets).saturating_sub(config.max_bytes);
                        plan.drop_below = plan.drop_below.max(self.index.plan_drop(need));
                    }
                    OnFull::DropNewest => append.cut(room),
                }
            }
            gathered += append.octets;
            room = room.saturating_sub(append.octets);
            plan.appends.extend(self.appends.pop_front());
        }
    }

    /// How long the writer may sleep.
    pub(super) fn sleep(&self, config: &SpoolConfig, now: Instant) -> Option<Duration> {
        let save = self.unsaved_since.map(|since| (since + config.settle_interval).max(self.retry_at.unwrap_or(now)));
        let save = save.map(|at| at.saturating_duration_since(now));
        let expiry = config.max_age.filter(|_| self.index.depth() > 0).map(|age| (age / 8).max(MIN_SLEEP));
        save.into_iter().chain(expiry).min()
    }
}

const MIN_SLEEP: Duration = Duration::from_millis(1);

impl Append {
    /// Cuts off what is beyond `room` octets.
    fn cut(&mut self, room: u64) {
        let before: u64 = self.rows.iter().map(|row| u64::from(row.count)).sum();
        let mut left = room;
        let mut fitting = 0;
        for row in &mut self.rows {
            let whole = row.octets;
            if whole > left {
                pack::truncate(row, left);
            }
            left -= row.octets;
            fitting += usize::from(row.count > 0);
            if row.octets < whole {
                break;
            }
        }
        self.rows.truncate(fitting);
        self.octets = self.rows.iter().map(|row| row.octets).sum();
        self.dropped = before - self.rows.iter().map(|row| u64::from(row.count)).sum::<u64>();
    }
}
