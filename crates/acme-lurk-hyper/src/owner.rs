//! Drives the server of a name owner ([`acme_lurk::delegation::Ido`]): requests of delegates, exchanges with the CA,
//! challenges, time.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use acme_lurk::acme::client::ExchangeId;
use acme_lurk::acme::server::{OrderId, Request, Response};
use acme_lurk::delegation::{Audit, DelegationRule, Ido, IdoEvent};
use acme_lurk::{ApiMisuse, Now, Record};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use watchfire_core::{ConfigError, Instant, Output};
use watchfire_hyper::Clock;

use crate::Going;
use crate::client::Pool;
use crate::journal::{Journal, Line};
use crate::keep::{Forgetful, KeepError, Keeper};
use crate::ledger::{self, Ledger};
use crate::respond::{Nobody, Responder};
use crate::server::Site;

type Observer = Box<dyn Fn(OwnerNotice<'_>) + Send + Sync>;

/// Between two tries to keep what could not be kept.
const KEEP_AGAIN: Duration = Duration::from_secs(1);

/// Between two tries to write what could not be written.
const WRITE_AGAIN: Duration = Duration::from_secs(2);

/// Lines that are written are forgotten with what changes next, or else after this time.
const FORGET: Duration = Duration::from_secs(1);

/// How long what is to be kept and written may take at the end.
const LAST: Duration = Duration::from_secs(5);

/// So many events, or lines of the audit log, wait to be kept and written; what is said beyond is counted only.
const WAITING: usize = 200_000;

/// Something that an operator may want to know of.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum OwnerNotice<'a> {
    /// A line for the audit log.
    Audit {
        /// The order that it is about, if it is about one.
        order: Option<&'a OrderId>,
        /// What.
        what: &'a Audit,
    },
    /// What has changed could not be kept. Nothing is promised, and the CA is asked nothing, until it can.
    NotKept {
        /// Why.
        error: &'a KeepError,
    },
    /// All that has changed is kept again.
    Kept,
    /// Lines of the audit log could not be written. They are kept, and tried again.
    NotWritten {
        /// Why.
        error: &'a KeepError,
    },
    /// All lines of the audit log are written again.
    Written,
    /// More happened than there was room for while nothing could be kept or written: so many lines of the audit log are
    /// lost.
    Lost {
        /// How many.
        lines: u64,
    },
}

/// Puts an [`OwnerSite`] together.
#[must_use = "nothing happens before `start`"]
pub struct OwnerBuilder {
    pool: Pool,
    responder: Arc<dyn Responder>,
    keeper: Box<dyn Keeper>,
    journal: Option<Box<dyn Journal>>,
    unwritten: Vec<Line>,
    observer: Option<Observer>,
}

impl OwnerBuilder {
    /// Who meets the challenges of the CA. Without, none is met.
    pub fn with_responder(mut self, responder: Arc<dyn Responder>) -> Self {
        self.responder = responder;
        self
    }

    /// Keeps what must survive a restart here. Without, nothing survives.
    pub fn with_keeper(mut self, keeper: impl Keeper) -> Self {
        self.keeper = Box::new(keeper);
        self
    }

    /// Writes an audit log here, beginning with the lines that were not written before
    /// ([`unwritten`](crate::journal::unwritten)).
    pub fn with_journal(mut self, journal: impl Journal, unwritten: Vec<Line>) -> Self {
        self.journal = Some(Box::new(journal));
        self.unwritten = unwritten;
        self
    }

    /// Calls this with what happens. It must not wait for long.
    pub fn on_notice(mut self, observer: impl Fn(OwnerNotice<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Makes the machine with the time that it begins at, and starts. Call it in a tokio runtime.
    ///
    /// # Errors
    /// Whatever `make` says.
    pub fn start<E>(self, make: impl FnOnce(Now) -> Result<Ido, E>) -> Result<OwnerSite, E> {
        let clock = Clock::start();
        let machine = make(Now::new(clock.now(), Clock::wall()))?;
        let inner = Arc::new(Inner {
            state: Mutex::new(State {
                machine,
                under_way: BTreeMap::new(),
                said: VecDeque::new(),
                unwritten: self.unwritten,
                write_at: None,
                written: Vec::new(),
                lost: 0,
            }),
            pool: self.pool,
            responder: self.responder,
            ledger: Ledger::new(self.keeper),
            journal: self.journal,
            observer: self.observer,
            clock,
            changed: Notify::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        inner.tasks.spawn(work(Arc::clone(&inner)));
        let last = Arc::new(inner.stop.clone().drop_guard());
        Ok(OwnerSite { inner, _last: last })
    }
}

impl fmt::Debug for OwnerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnerBuilder").finish_non_exhaustive()
    }
}

/// The server of a name owner at work. Clones are the same server, which ends with the last of them;
/// [`shutdown`](Self::shutdown) waits for that.
#[derive(Clone)]
pub struct OwnerSite {
    inner: Arc<Inner>,
    /// What works for it has the rest, and not this.
    _last: Arc<DropGuard>,
}

struct Inner {
    state: Mutex<State>,
    pool: Pool,
    responder: Arc<dyn Responder>,
    ledger: Ledger,
    journal: Option<Box<dyn Journal>>,
    observer: Option<Observer>,
    clock: Clock,
    /// The machine may have something to say.
    changed: Notify,
    stop: CancellationToken,
    tasks: TaskTracker,
}

struct State {
    machine: Ido,
    under_way: BTreeMap<ExchangeId, AbortHandle>,
    /// What the machine has said and nobody has attended to, with the lines of the audit log about it. Only who hears takes
    /// something out.
    said: VecDeque<(IdoEvent, Option<Line>)>,
    /// Lines that are kept and could not be written.
    unwritten: Vec<Line>,
    /// Not to be tried before, since it failed.
    write_at: Option<Instant>,
    /// Lines that are written and still kept.
    written: Vec<String>,
    /// Lines that there was no room for.
    lost: u64,
}

impl OwnerSite {
    /// A server that asks its CA over these connections.
    pub fn builder(pool: Pool) -> OwnerBuilder {
        OwnerBuilder {
            pool,
            responder: Arc::new(Nobody),
            keeper: Box::new(Forgetful),
            journal: None,
            unwritten: Vec::new(),
            observer: None,
        }
    }

    /// Looks at the machine.
    pub fn with<T>(&self, look: impl FnOnce(&Ido) -> T) -> T {
        look(&self.inner.lock().machine)
    }

    /// Stops an order, at the CA too.
    ///
    /// # Errors
    /// As [`Ido::cancel`].
    pub fn cancel(&self, id: &OrderId) -> Result<(), ApiMisuse> {
        let stopped = {
            let mut state = self.inner.lock();
            state.machine.cancel(self.inner.now(), id)
        };
        self.inner.changed.notify_one();
        stopped
    }

    /// Replaces all delegations.
    ///
    /// # Errors
    /// As [`Ido::replace_delegations`].
    pub fn replace_delegations(&self, rules: impl IntoIterator<Item = DelegationRule>) -> Result<(), ConfigError> {
        let replaced = {
            let mut state = self.inner.lock();
            state.machine.replace_delegations(self.inner.now(), rules)
        };
        // Orders may have ended by that.
        self.inner.changed.notify_one();
        replaced
    }

    /// Ends. What is under way goes on after a restart.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

impl Site for OwnerSite {
    fn answer<'a>(&'a self, request: Request<'a>) -> Going<'a, Response> {
        let (mut response, kept) = {
            let mut state = self.inner.lock();
            let response = state.machine.handle_request(self.inner.now(), &request);
            let (_, records) = self.inner.gather(&mut state);
            (response, self.inner.ledger.catch_up(records))
        };
        // Before it waits: it is attended to also when the delegate goes away meanwhile.
        self.inner.changed.notify_one();
        let kept = kept.filter(|_| ledger::promises(&request));
        Box::pin(async move {
            if let Some(kept) = kept
                && let Err(error) = kept.done().await
            {
                ledger::refuse(&mut response, &error);
            }
            response
        })
    }
}

impl fmt::Debug for OwnerSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnerSite").finish_non_exhaustive()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Now {
        Now::new(self.clock.now(), Clock::wall())
    }

    fn say(&self, notice: OwnerNotice<'_>) {
        if let Some(observer) = &self.observer {
            observer(notice);
        }
    }

    /// Tells the machine something.
    fn tell(&self, what: impl FnOnce(&mut Ido, Now)) {
        what(&mut self.lock().machine, self.now());
        self.changed.notify_one();
    }

    /// Takes in all that the machine says, and when to call it. What has changed is to be kept, with the lines about it.
    fn gather(&self, state: &mut State) -> (Option<Instant>, Vec<Record>) {
        let mut lines = Vec::new();
        let wake = loop {
            match state.machine.poll_output(self.now()) {
                Output::Event(IdoEvent::Audit { .. }) if state.said.len() + state.unwritten.len() >= WAITING => {
                    state.lost += 1;
                }
                Output::Event(event) => {
                    let line = match (&self.journal, &event) {
                        (Some(journal), IdoEvent::Audit { order, what }) => Some(journal.line(order.as_ref(), what)),
                        _ => None,
                    };
                    lines.extend(line.as_ref().map(Line::record));
                    state.said.push_back((event, line));
                }
                Output::Timeout(at) => break at,
                Output::Transmit(never) => match never {},
            }
        };
        let mut records = state.machine.take_records();
        records.append(&mut lines);
        // Nobody waits for that alone.
        if !records.is_empty() {
            records.extend(state.written.drain(..).map(|id| Line::gone(&id)));
        }
        (wake, records)
    }

    /// Attends to what the machine says, after what it knows is kept, and writes the audit log. Gives when to call it;
    /// nothing if it is to end before that could be kept.
    async fn hear(self: &Arc<Self>) -> Option<Option<Instant>> {
        let mut has_failed = false;
        let (mut wake, said, lost) = loop {
            let (wake, until, kept) = {
                let mut state = self.lock();
                let (wake, mut records) = self.gather(&mut state);
                records.extend(state.written.drain(..).map(|id| Line::gone(&id)));
                // Records are kept in the order of the calls: with these all before them are.
                (wake, state.said.len(), self.ledger.keep(records))
            };
            match kept.done().await {
                Ok(()) => {
                    let mut state = self.lock();
                    let said: Vec<_> = state.said.drain(..until).collect();
                    break (wake, said, std::mem::take(&mut state.lost));
                }
                Err(error) => {
                    has_failed = true;
                    self.say(OwnerNotice::NotKept { error: &error });
                    self.stop.run_until_cancelled(tokio::time::sleep(KEEP_AGAIN)).await?;
                }
            }
        };
        if has_failed {
            self.say(OwnerNotice::Kept);
        }
        if lost > 0 {
            self.say(OwnerNotice::Lost { lines: lost });
        }
        let mut lines = Vec::new();
        for (event, line) in said {
            lines.extend(line);
            self.attend(event);
        }
        if let Some(again) = self.write(lines).await {
            wake = Some(wake.map_or(again, |wake| wake.min(again)));
        }
        Some(wake)
    }

    /// Writes these lines behind those that could not be written before. Gives when there is more to do about it.
    async fn write(&self, mut lines: Vec<Line>) -> Option<Instant> {
        let journal = self.journal.as_ref()?;
        {
            let mut state = self.lock();
            state.unwritten.append(&mut lines);
            let is_early = state.write_at.is_some_and(|at| self.clock.now() < at) && !self.stop.is_cancelled();
            if state.unwritten.is_empty() || is_early {
                return state.write_at;
            }
            lines.append(&mut state.unwritten);
        }
        let outcome = journal.write(lines.clone()).await;
        let mut state = self.lock();
        match outcome {
            Ok(()) => {
                state.written.extend(lines.into_iter().map(|line| line.id));
                let has_failed = state.write_at.take().is_some();
                drop(state);
                if has_failed {
                    self.say(OwnerNotice::Written);
                }
                Some(self.clock.now() + FORGET)
            }
            Err(error) => {
                state.unwritten = lines;
                let again = self.clock.now() + WRITE_AGAIN;
                state.write_at = Some(again);
                drop(state);
                self.say(OwnerNotice::NotWritten { error: &error });
                Some(again)
            }
        }
    }

    fn attend(self: &Arc<Self>, event: IdoEvent) {
        match event {
            IdoEvent::Exchange(exchange) => {
                let (this, id) = (Arc::clone(self), exchange.id);
                let mut state = self.lock();
                let work = async move {
                    let made = this.pool.exchange(&exchange).await;
                    this.lock().under_way.remove(&id);
                    this.tell(|machine, now| match made {
                        Ok(received) => machine.handle_response(now, id, received),
                        Err(failure) => machine.handle_failure(now, id, failure),
                    });
                };
                let stop = self.stop.clone();
                let task = self.tasks.spawn(async move { stop.run_until_cancelled(work).await });
                state.under_way.insert(id, task.abort_handle());
            }
            IdoEvent::Abandon(id) => {
                if let Some(task) = self.lock().under_way.remove(&id) {
                    task.abort();
                }
            }
            IdoEvent::Provision(provision) => {
                let (this, stop) = (Arc::clone(self), self.stop.clone());
                let work = async move {
                    let done = this.responder.present(&provision).await;
                    this.tell(|machine, now| match done {
                        Ok(()) => machine.provisioned(now, provision.id),
                        Err(detail) => machine.provision_failed(now, provision.id, detail),
                    });
                };
                self.tasks.spawn(async move { stop.run_until_cancelled(work).await });
            }
            IdoEvent::CleanUp(provision) => {
                // Not given up at the end: what was put somewhere is taken away. It holds nothing else back.
                let responder = Arc::clone(&self.responder);
                self.tasks.spawn(async move { responder.clean_up(&provision).await });
            }
            IdoEvent::Audit { order, what } => self.say(OwnerNotice::Audit { order: order.as_ref(), what: &what }),
            _ => {}
        }
    }
}

/// Does what the machine says, and calls it when it wants to be called.
async fn work(inner: Arc<Inner>) {
    let stop = inner.stop.clone();
    let working = async {
        while let Some(wake) = inner.hear().await {
            tokio::select! {
                () = stop.cancelled() => break,
                () = inner.changed.notified() => {}
                () = inner.clock.until(wake) => {
                    let now = inner.now();
                    inner.lock().machine.handle_timeout(now);
                }
            }
        }
        // What was said since is written, and then forgotten.
        for _ in 0..2 {
            inner.hear().await;
        }
    };
    tokio::select! {
        () = working => {}
        () = async { stop.cancelled().await; tokio::time::sleep(LAST).await } => {}
    }
}
