//! Drives a machine: makes the exchanges that it asks for, keeps its time, and brings each question its outcome.
//!
//! There is no task between a question and the machine: who asks locks it, and an answer that is known is there at
//! once. One task keeps the time, and each exchange has one of its own.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use repute_proto::client::{ExchangeFailure, ExchangeId, ExchangeRequest, Received};
use repute_proto::{Limit, Service};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use watchfire_core::{ExchangeMachine, Instant, Output};
use watchfire_hyper::Clock;

use super::ClientError;
use super::pool::{ClientCounters, Pool, Trouble};

/// A machine that asks for exchanges and answers questions.
pub(super) trait Asking:
    ExchangeMachine<
        Id = ExchangeId,
        Response = Received,
        Failure = ExchangeFailure,
        Transmit = Infallible,
        Error = Infallible,
    > + Send
    + 'static
{
    /// Names a question.
    type Key: Ord + Copy + Send;
    /// What becomes of it.
    type Outcome: Send;

    /// What an event wants done.
    fn sort(event: Self::Event) -> Option<Deed<Self::Key, Self::Outcome>>;

    /// Nobody waits for the outcome any more.
    fn give_up(&mut self, now: Instant, key: Self::Key);
}

/// What is to be done.
#[allow(clippy::large_enum_variant, reason = "none of them lives longer than a call")]
pub(super) enum Deed<K, O> {
    Abandon(ExchangeId),
    Exchange(ExchangeRequest),
    Tell(K, O),
}

/// Services of which the last trouble is remembered.
const TROUBLES: usize = 1024;

pub(super) struct Driver<M: Asking> {
    state: Mutex<State<M>>,
    pool: Arc<Pool>,
    clock: Clock,
    /// The machine wants to be called sooner than it said before.
    sooner: Arc<Notify>,
    runtime: Handle,
    this: Weak<Self>,
    timer: Option<AbortHandle>,
}

struct State<M: Asking> {
    machine: M,
    waiting: BTreeMap<M::Key, oneshot::Sender<M::Outcome>>,
    under_way: BTreeMap<ExchangeId, AbortHandle>,
    troubles: BTreeMap<Service, String>,
    wake: Option<Instant>,
}

impl<M: Asking> Driver<M> {
    pub(super) fn start(machine: M, pool: Pool, clock: Clock) -> Arc<Self> {
        let runtime = Handle::current();
        let sooner = Arc::new(Notify::new());
        Arc::new_cyclic(|this: &Weak<Self>| {
            let timer = runtime.spawn(keep_time(this.clone(), Arc::clone(&sooner), clock)).abort_handle();
            let state = State {
                machine,
                waiting: BTreeMap::new(),
                under_way: BTreeMap::new(),
                troubles: BTreeMap::new(),
                wake: None,
            };
            Self {
                state: Mutex::new(state),
                pool: Arc::new(pool),
                clock,
                sooner,
                runtime,
                this: this.clone(),
                timer: Some(timer),
            }
        })
    }

    /// Asks, and waits for the outcome.
    pub(super) async fn ask(
        &self,
        begin: impl FnOnce(&mut M, Instant) -> Result<M::Key, Limit>,
    ) -> Result<M::Outcome, ClientError> {
        let (tell, told) = oneshot::channel();
        let key = {
            let mut state = self.lock();
            let key = begin(&mut state.machine, self.clock.now()).map_err(ClientError::LimitExceeded)?;
            state.waiting.insert(key, tell);
            self.drain(&mut state);
            key
        };
        let mut left = Left { driver: self, key: Some(key) };
        let outcome = told.await.map_err(|_| ClientError::Ended);
        left.key = None;
        outcome
    }

    /// Does something else with the machine.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut M) -> T) -> T {
        let mut state = self.lock();
        let result = act(&mut state.machine);
        self.drain(&mut state);
        result
    }

    /// What went wrong last between here and the service.
    pub(super) fn trouble(&self, service: &Service) -> Option<String> {
        self.lock().troubles.get(service).cloned()
    }

    pub(super) fn counters(&self) -> &Arc<ClientCounters> {
        self.pool.counters()
    }

    fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what the machine says.
    fn drain(&self, state: &mut State<M>) {
        loop {
            let event = match state.machine.poll_output(self.clock.now()) {
                Output::Event(event) => event,
                Output::Timeout(wake) => {
                    let is_sooner = wake.is_some_and(|wake| state.wake.is_none_or(|before| wake < before));
                    state.wake = wake;
                    if is_sooner {
                        self.sooner.notify_one();
                    }
                    return;
                }
                Output::Transmit(never) => match never {},
            };
            match M::sort(event) {
                Some(Deed::Abandon(id)) => {
                    if let Some(task) = state.under_way.remove(&id) {
                        task.abort();
                    }
                }
                Some(Deed::Exchange(request)) => {
                    let id = request.id;
                    let (pool, this) = (Arc::clone(&self.pool), self.this.clone());
                    let task = self.runtime.spawn(async move {
                        let result = pool.exchange(&request).await;
                        if let Some(driver) = this.upgrade() {
                            driver.finish(request, result);
                        }
                    });
                    state.under_way.insert(id, task.abort_handle());
                }
                Some(Deed::Tell(key, outcome)) => {
                    // Whoever asked may have gone.
                    let _ = state.waiting.remove(&key).map(|tell| tell.send(outcome));
                }
                None => {}
            }
        }
    }

    /// Gives the machine what an exchange brought.
    fn finish(&self, request: ExchangeRequest, result: Result<Received, Trouble>) {
        let mut state = self.lock();
        if state.under_way.remove(&request.id).is_none() {
            return;
        }
        let now = self.clock.now();
        let Ok(()) = match result {
            Ok(received) => state.machine.handle_response(now, request.id, received),
            Err(Trouble { failure, what }) => {
                if state.troubles.len() >= TROUBLES {
                    state.troubles.clear();
                }
                state.troubles.insert(request.target.service, what);
                state.machine.handle_failure(now, request.id, failure)
            }
        };
        self.drain(&mut state);
    }
}

impl<M: Asking> Drop for Driver<M> {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            timer.abort();
        }
        for task in self.lock().under_way.values() {
            task.abort();
        }
    }
}

/// Calls the machine when its time has come, until the driver is dropped.
async fn keep_time<M: Asking>(driver: Weak<Driver<M>>, sooner: Arc<Notify>, clock: Clock) {
    // The driver is being made.
    sooner.notified().await;
    loop {
        let Some(wake) = driver.upgrade().map(|driver| driver.lock().wake) else { return };
        tokio::select! {
            () = clock.until(wake) => {
                let Some(driver) = driver.upgrade() else { return };
                let mut state = driver.lock();
                let Ok(()) = state.machine.handle_timeout(clock.now());
                driver.drain(&mut state);
            }
            () = sooner.notified() => {}
        }
    }
}

/// Gives a question up when whoever waits for its outcome goes.
struct Left<'d, M: Asking> {
    driver: &'d Driver<M>,
    key: Option<M::Key>,
}

impl<M: Asking> Drop for Left<'_, M> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let mut state = self.driver.lock();
            if state.waiting.remove(&key).is_some() {
                state.machine.give_up(self.driver.clock.now(), key);
                self.driver.drain(&mut state);
            }
        }
    }
}
