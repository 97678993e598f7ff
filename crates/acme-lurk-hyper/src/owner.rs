//! Drives the server of a name owner ([`acme_lurk::delegation::Ido`]): requests of delegates, exchanges with the CA,
//! challenges, time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use acme_lurk::ApiMisuse;
use acme_lurk::Now;
use acme_lurk::acme::client::ExchangeId;
use acme_lurk::acme::server::{OrderId, Request, Response};
use acme_lurk::delegation::{Audit, DelegationRule, Ido, IdoEvent};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use watchfire_core::{ConfigError, Instant, Output};
use watchfire_hyper::Clock;

use crate::Going;
use crate::client::Pool;
use crate::keep::{Forgetful, KeepError, Keeper};
use crate::ledger::{self, Kept, Ledger};
use crate::respond::{Nobody, Responder};
use crate::server::Site;

type Observer = Box<dyn Fn(OwnerNotice<'_>) + Send + Sync>;

/// Between two tries to keep what could not be kept.
const KEEP_AGAIN: Duration = Duration::from_secs(1);

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
}

/// Puts an [`OwnerSite`] together.
#[must_use = "nothing happens before `start`"]
pub struct OwnerBuilder {
    pool: Pool,
    responder: Arc<dyn Responder>,
    keeper: Box<dyn Keeper>,
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
            state: Mutex::new(State { machine, under_way: BTreeMap::new() }),
            pool: self.pool,
            responder: self.responder,
            ledger: Ledger::new(self.keeper),
            observer: self.observer,
            clock,
            changed: Notify::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        inner.tasks.spawn(work(Arc::clone(&inner)));
        Ok(OwnerSite { inner })
    }
}

impl fmt::Debug for OwnerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnerBuilder").finish_non_exhaustive()
    }
}

/// The server of a name owner at work. Clones are the same server.
#[derive(Clone)]
pub struct OwnerSite {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    pool: Pool,
    responder: Arc<dyn Responder>,
    ledger: Ledger,
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
}

impl OwnerSite {
    /// A server that asks its CA over these connections.
    pub fn builder(pool: Pool) -> OwnerBuilder {
        OwnerBuilder { pool, responder: Arc::new(Nobody), keeper: Box::new(Forgetful), observer: None }
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
            (response, self.inner.ledger.catch_up(state.machine.take_records()))
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

    /// What the machine says, after what it knows is kept; and when to call it.
    async fn hear(&self) -> (Vec<IdoEvent>, Option<Instant>) {
        let mut events = Vec::new();
        let (wake, mut kept) = {
            let mut state = self.lock();
            let wake = loop {
                match state.machine.poll_output(self.now()) {
                    Output::Event(event) => events.push(event),
                    Output::Timeout(at) => break at,
                    Output::Transmit(never) => match never {},
                }
            };
            // Records are kept in the order of the calls: with these all before them are.
            (wake, self.ledger.keep(state.machine.take_records()))
        };
        while let Err(error) = kept.done().await {
            self.say(OwnerNotice::NotKept { error: &error });
            tokio::time::sleep(KEEP_AGAIN).await;
            kept = self.again();
        }
        (events, wake)
    }

    /// Tries once more to keep what could not be kept.
    fn again(&self) -> Kept {
        let mut state = self.lock();
        self.ledger.keep(state.machine.take_records())
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
                let this = Arc::clone(self);
                // Not given up at the end: what was put somewhere is taken away.
                self.tasks.spawn(async move { this.responder.clean_up(&provision).await });
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
        loop {
            let (events, wake) = inner.hear().await;
            for event in events {
                inner.attend(event);
            }
            tokio::select! {
                () = inner.changed.notified() => {}
                () = inner.clock.until(wake) => {
                    let now = inner.now();
                    inner.lock().machine.handle_timeout(now);
                }
            }
        }
    };
    stop.run_until_cancelled(working).await;
}
