//! Drives the client's machine: makes the exchanges that it asks for, keeps its time, meets its challenges, and brings
//! each call its answer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use acme_lurk::Now;
use acme_lurk::acme::client::{Answer, CallId, Client as Machine, ClientConfig, ClientError, ClientEvent, ExchangeId};
use acme_lurk::acme::{NewAccount, Order};
use acme_lurk::crypto::Signer;
use acme_lurk::jose::MacKey;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use watchfire_core::{Instant, Output};
use watchfire_hyper::Clock;

use super::pool::Pool;
use crate::respond::{Nobody, Responder};

type Placed = Box<dyn Fn(&str, &Order) + Send + Sync>;

/// Puts a [`Client`] together.
#[must_use = "nothing is asked before `start`"]
pub struct ClientBuilder {
    config: ClientConfig,
    signer: Arc<dyn Signer>,
    pool: Pool,
    account: Option<String>,
    responder: Arc<dyn Responder>,
}

impl ClientBuilder {
    /// Knows the URL of its account from before.
    pub fn with_account(mut self, url: impl Into<String>) -> Self {
        self.account = Some(url.into());
        self
    }

    /// Who meets challenges. Without, none is met.
    pub fn with_responder(mut self, responder: Arc<dyn Responder>) -> Self {
        self.responder = responder;
        self
    }

    /// Starts. Call it in a tokio runtime.
    ///
    /// # Errors
    /// When the key is of a kind that does not sign requests, or the system has no randomness.
    pub fn start(self) -> Result<Client, ClientError> {
        // Only waits are spread by it.
        let seed = watchfire_hyper::seed().unwrap_or_default();
        let mut machine = Machine::new(Arc::new(self.config), self.signer, seed)?;
        if let Some(account) = self.account {
            machine = machine.with_account(account);
        }
        let driver = Arc::new_cyclic(|this: &Weak<Driver>| Driver {
            state: Mutex::new(State {
                machine,
                waiting: BTreeMap::new(),
                placed: BTreeMap::new(),
                under_way: BTreeMap::new(),
                wake: None,
            }),
            pool: self.pool,
            responder: self.responder,
            clock: Clock::start(),
            sooner: Arc::new(Notify::new()),
            this: this.clone(),
            timer: Mutex::new(None),
        });
        let timer = tokio::spawn(keep_time(Arc::downgrade(&driver), Arc::clone(&driver.sooner), driver.clock));
        *driver.timer.lock().unwrap_or_else(PoisonError::into_inner) = Some(timer.abort_handle());
        Ok(Client { driver })
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A client of one server, with one key. Clones are the same client; when the last is dropped, what is under way is given
/// up.
#[derive(Clone)]
pub struct Client {
    driver: Arc<Driver>,
}

impl Client {
    /// A client of the server that the configuration names.
    pub fn builder(config: ClientConfig, signer: Arc<dyn Signer>, pool: Pool) -> ClientBuilder {
        ClientBuilder { config, signer, pool, account: None, responder: Arc::new(Nobody) }
    }

    /// Makes a call of the machine, and waits for its answer:
    /// `client.call(|machine, now| machine.read_order(now, url))`.
    ///
    /// # Errors
    /// Whatever the machine says.
    pub async fn call(
        &self,
        begin: impl FnOnce(&mut Machine, Now) -> Result<CallId, ClientError>,
    ) -> Result<Answer, ClientError> {
        self.driver.call(begin, None).await
    }

    /// The same for [`obtain`](Machine::obtain), telling where the order is as soon as it was made: whoever keeps that can
    /// go on after a restart.
    ///
    /// # Errors
    /// Whatever the machine says.
    pub async fn call_telling(
        &self,
        begin: impl FnOnce(&mut Machine, Now) -> Result<CallId, ClientError>,
        placed: impl Fn(&str, &Order) + Send + Sync + 'static,
    ) -> Result<Answer, ClientError> {
        self.driver.call(begin, Some(Box::new(placed))).await
    }

    /// Makes an account, or finds the one that this key has, and gives its URL.
    ///
    /// # Errors
    /// Whatever the machine says.
    pub async fn account(&self, asked: NewAccount, external: Option<(String, MacKey)>) -> Result<String, ClientError> {
        match self.call(|machine, now| machine.new_account(now, asked, external)).await? {
            Answer::Account { url, .. } => Ok(url),
            // Calls have answers of their own kind.
            _ => Ok(self.with(|machine| machine.account().unwrap_or_default().to_owned())),
        }
    }

    /// Looks at the machine.
    pub fn with<T>(&self, look: impl FnOnce(&Machine) -> T) -> T {
        look(&self.driver.lock().machine)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

struct Driver {
    state: Mutex<State>,
    pool: Pool,
    responder: Arc<dyn Responder>,
    clock: Clock,
    /// The machine wants to be called sooner than it said before.
    sooner: Arc<Notify>,
    this: Weak<Self>,
    timer: Mutex<Option<AbortHandle>>,
}

struct State {
    machine: Machine,
    waiting: BTreeMap<CallId, oneshot::Sender<Result<Answer, ClientError>>>,
    placed: BTreeMap<CallId, Placed>,
    under_way: BTreeMap<ExchangeId, AbortHandle>,
    wake: Option<Instant>,
}

impl Driver {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Now {
        Now::new(self.clock.now(), Clock::wall())
    }

    async fn call(
        &self,
        begin: impl FnOnce(&mut Machine, Now) -> Result<CallId, ClientError>,
        placed: Option<Placed>,
    ) -> Result<Answer, ClientError> {
        let (tell, told) = oneshot::channel();
        {
            let mut state = self.lock();
            let id = begin(&mut state.machine, self.now())?;
            state.waiting.insert(id, tell);
            if let Some(placed) = placed {
                state.placed.insert(id, placed);
            }
            self.drain(&mut state);
        }
        // The runtime is ending if nobody tells.
        told.await.unwrap_or(Err(ClientError::TimedOut(None)))
    }

    /// Tells the machine something, and does what it says.
    fn tell(&self, what: impl FnOnce(&mut Machine, Now)) {
        let mut state = self.lock();
        what(&mut state.machine, self.now());
        self.drain(&mut state);
    }

    fn drain(&self, state: &mut State) {
        loop {
            match state.machine.poll_output(self.now()) {
                Output::Event(event) => self.attend(state, event),
                Output::Timeout(at) => {
                    let is_sooner = at.is_some_and(|at| state.wake.is_none_or(|wake| at < wake));
                    state.wake = at;
                    if is_sooner {
                        self.sooner.notify_one();
                    }
                    return;
                }
            }
        }
    }

    fn attend(&self, state: &mut State, event: ClientEvent) {
        match event {
            ClientEvent::Exchange(exchange) => {
                let (this, pool, id) = (self.this.clone(), self.pool.clone(), exchange.id);
                let task = tokio::spawn(async move {
                    let made = pool.exchange(&exchange).await;
                    let Some(this) = this.upgrade() else { return };
                    this.lock().under_way.remove(&id);
                    this.tell(|machine, now| match made {
                        Ok(received) => machine.handle_response(now, id, received),
                        Err(failure) => machine.handle_failure(now, id, failure),
                    });
                });
                state.under_way.insert(id, task.abort_handle());
            }
            ClientEvent::Abandon(id) => {
                if let Some(task) = state.under_way.remove(&id) {
                    task.abort();
                }
            }
            ClientEvent::Placed { id, url, order } => {
                if let Some(placed) = state.placed.get(&id) {
                    placed(&url, &order);
                }
            }
            ClientEvent::Provision(provision) => {
                let (this, responder) = (self.this.clone(), Arc::clone(&self.responder));
                tokio::spawn(async move {
                    let done = responder.present(&provision).await;
                    let Some(this) = this.upgrade() else { return };
                    this.tell(|machine, now| match done {
                        Ok(()) => machine.provisioned(now, provision.id),
                        Err(detail) => machine.provision_failed(now, provision.id, detail),
                    });
                });
            }
            ClientEvent::CleanUp(provision) => {
                let responder = Arc::clone(&self.responder);
                tokio::spawn(async move { responder.clean_up(&provision).await });
            }
            ClientEvent::Answered { id, result } => {
                state.placed.remove(&id);
                if let Some(waiting) = state.waiting.remove(&id) {
                    let _ = waiting.send(result);
                }
            }
            _ => {}
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.get_mut().unwrap_or_else(PoisonError::into_inner) {
            timer.abort();
        }
        for task in self.state.get_mut().unwrap_or_else(PoisonError::into_inner).under_way.values() {
            task.abort();
        }
    }
}

async fn keep_time(driver: Weak<Driver>, sooner: Arc<Notify>, clock: Clock) {
    loop {
        let Some(wake) = driver.upgrade().map(|driver| driver.lock().wake) else { return };
        tokio::select! {
            () = clock.until(wake) => {
                let Some(driver) = driver.upgrade() else { return };
                driver.tell(Machine::handle_timeout);
            }
            () = sooner.notified() => {}
        }
    }
}
