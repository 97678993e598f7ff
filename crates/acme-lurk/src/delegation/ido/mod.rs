//! The server of a name owner: a server to its delegates, a client to the CA.
//! [RFC 9115 sections 2.2](https://www.rfc-editor.org/rfc/rfc9115#section-2.2) to
//! [2.4](https://www.rfc-editor.org/rfc/rfc9115#section-2.4)

mod certificate;
mod config;
mod event;
mod records;
mod refusals;
mod server;
mod store;
mod upstream;

pub use config::{DelegationRule, Emulation, IdoConfig, IdoConfigBuilder, IdoLimits, Serving};
pub use event::{Audit, IdoEvent, OrderSummary};

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use watchfire_core::{Backoff, ConfigError, Instant, Output};

use self::refusals::Gauge;
use self::store::{Store, Work};
use crate::acme::client::{
    CallId, Client, ClientConfig, ClientError, ExchangeFailure, ExchangeId, ProvisionId, Received,
};
use crate::acme::server::desk::Desk;
use crate::acme::server::id::AccountId;
use crate::acme::server::{OrderId, Request, Response, dispatch};
use crate::acme::{OrderStatus, Problem, ProblemType};
use crate::crypto::{Signer, Verifier};
use crate::error::ApiMisuse;
use crate::now::Now;
use crate::record::Record;

/// The server of a name owner.
///
/// Delegates' requests are answered at once ([`handle_request`](Self::handle_request)). What they lead to is done with
/// the CA by exchanges and challenges that are asked for in events. An order goes so:
///
/// ```text
/// ready -> processing: the request fits -> order at the CA -> challenges -> certificate -> valid -> canceled
///    '-> invalid: it does not               '-> invalid: the CA refuses, or would not let the delegate fetch
/// ```
///
/// After each call into it, in this order: keep what [`take_records`](Self::take_records) gives; send the response, if
/// the call was a request; [`poll_output`](Self::poll_output) until it gives the time-out, and keep records again before
/// an exchange that it asks for is made. A server that is made from
/// the records ([`restore`](Self::restore)) goes on with every order where the other one was.
pub struct Ido {
    config: Arc<IdoConfig>,
    desk: Desk,
    client: Client,
    random: StdRng,
    store: Store,
    /// The call that makes the account at the CA, or the directory.
    account_call: Option<CallId>,
    account_at: Option<Instant>,
    backoff: Backoff,
    /// What was kept about the CA last.
    upstream_kept: Option<String>,
    events: VecDeque<IdoEvent>,
    /// What is refused to whoever has a delegation, and to whoever has none: strangers hide nothing of delegates.
    refusals: [Gauge; 2],
}

impl Ido {
    /// A server without accounts and orders. `key` is the one of its account at the CA; the seed must be secret and new,
    /// since nonces and URLs that nobody may guess come from it.
    ///
    /// # Errors
    /// When the key is of a kind that does not sign requests.
    pub fn new(
        config: Arc<IdoConfig>,
        upstream: Arc<ClientConfig>,
        key: Arc<dyn Signer>,
        verifier: Arc<dyn Verifier>,
        seed: [u8; 32],
        now: Now,
    ) -> Result<Self, ClientError> {
        let mut ido = Self::bare(config, upstream, key, verifier, seed)?;
        ido.want_account(now);
        Ok(ido)
    }

    fn bare(
        config: Arc<IdoConfig>,
        upstream: Arc<ClientConfig>,
        key: Arc<dyn Signer>,
        verifier: Arc<dyn Verifier>,
        seed: [u8; 32],
    ) -> Result<Self, ClientError> {
        let mut random = StdRng::from_seed(seed);
        let client = Client::new(upstream, key, random.random())?;
        let desk = Desk::new(config.desk.clone(), config.desk_limits(), verifier, random.random());
        let (first, longest) = (watchfire_core::Duration::from_secs(5), watchfire_core::Duration::from_secs(600));
        let backoff = Backoff::new(first, longest, random.random());
        let refusals = [Gauge::new(&config.limits); 2];
        Ok(Self {
            config,
            desk,
            client,
            random,
            store: Store::new(),
            account_call: None,
            account_at: None,
            backoff,
            upstream_kept: None,
            events: VecDeque::new(),
            refusals,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &Arc<IdoConfig> {
        &self.config
    }

    /// The client of the CA: its account, its directory.
    pub const fn upstream(&self) -> &Client {
        &self.client
    }

    /// How many accounts and orders there are.
    pub fn len(&self) -> (usize, usize) {
        (self.desk.accounts.len(), self.store.orders.len())
    }

    /// What the CA says of itself, once it has been reached. Until then its limits are not known: the directory here and
    /// new orders are answered with 503 and `Retry-After`.
    pub fn upstream_directory(&self) -> Option<&crate::acme::Directory> {
        self.client.directory().map(AsRef::as_ref)
    }

    /// All orders.
    pub fn orders(&self) -> impl Iterator<Item = OrderSummary> {
        self.store.orders.iter().map(|(id, order)| OrderSummary {
            id: *id,
            url: self.config.url(&format!("/order/{id}")),
            account: self.thumbprint_of(&order.account),
            delegation: order.delegation.clone(),
            identifiers: order.identifiers.clone(),
            status: order.status,
            upstream: order.upstream.clone(),
            emulated: order.emulated.is_some(),
            stopping: order.stopping,
            auto_renewal: order.auto_renewal,
        })
    }

    /// What each order is: the cheap part of [`orders`](Self::orders).
    pub fn statuses(&self) -> impl Iterator<Item = OrderStatus> {
        self.store.orders.values().map(|order| order.status)
    }

    /// The order with this URL.
    pub fn order_by_url(&self, url: &str) -> Option<OrderId> {
        let id = url.strip_prefix(self.config.base())?.strip_prefix("/order/")?;
        OrderId::from_text(id).filter(|id| self.store.orders.contains_key(id))
    }

    /// Stops an order: cancels it at the CA, or revokes its certificate if it is not renewed automatically
    /// ([RFC 9115 section 2.3.2](https://www.rfc-editor.org/rfc/rfc9115#section-2.3.2)). It is tried until the CA has
    /// answered; [`Audit::Canceled`] says that it has.
    ///
    /// # Errors
    /// When there is no such order, or it is not `valid`.
    pub fn cancel(&mut self, now: Now, id: &OrderId) -> Result<(), ApiMisuse> {
        let order = self.store.orders.get(id).ok_or(ApiMisuse::NoOrder)?;
        if order.status != OrderStatus::Valid || order.stopping {
            return Err(ApiMisuse::NotValid);
        }
        if let Some(order) = self.store.orders.get_mut(id) {
            order.stopping = true;
            // What else was to be tried again can wait.
            if let Some(at) = order.retry_at.take() {
                self.store.retries.remove(&(at, *id));
            }
        }
        self.work(now, id);
        Ok(())
    }

    /// Replaces all delegations. Whoever has none any more orders nothing from now on. An order of his that waits for its
    /// certificate ends `invalid`, and what the CA makes of it all the same is stopped there; those that are `valid` go on
    /// until they are stopped ([`cancel`](Self::cancel)).
    ///
    /// # Errors
    /// When two have the same name, or one is passed on to this server itself. Nothing has changed then.
    pub fn replace_delegations(
        &mut self,
        now: Now,
        rules: impl IntoIterator<Item = DelegationRule>,
    ) -> Result<(), ConfigError> {
        self.config = Arc::new(self.config.with_only(rules)?);
        self.drain(now);
        let waiting = self.store.orders.iter().filter(|(_, order)| order.status == OrderStatus::Processing);
        let lost =
            waiting.filter_map(|(id, order)| Some((*id, self.rule_for(&order.account, &order.delegation).err()?)));
        for (id, gone) in lost.collect::<Vec<_>>() {
            self.give_up(now, &id, Some(&gone), gone.to_string());
        }
        Ok(())
    }

    /// Answers a request of a delegate, or of whoever fetches a certificate.
    pub fn handle_request(&mut self, now: Now, request: &Request<'_>) -> Response {
        self.wake_orders(now);
        dispatch::answer(self, now, request)
    }

    /// The next thing to do or to know, or when to wake.
    #[must_use = "an output that is dropped is lost"]
    pub fn poll_output(&mut self, now: Now) -> Output<Infallible, IdoEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Output::Event(event);
            }
            match self.client.poll_output(now) {
                Output::Event(event) => self.heard(now, event),
                Output::Timeout(at) => {
                    let omitted = self.refusals.iter_mut().find_map(|gauge| gauge.settle(now.instant));
                    if let Some(refusals) = omitted {
                        self.audit(None, Audit::Omitted { refusals });
                        continue;
                    }
                    let omitted = self.refusals.iter().filter_map(Gauge::wake).min();
                    let date = self.store.next_date().map(|date| now.wake_for(date));
                    let retry = self.store.retries.first().map(|(at, _)| *at);
                    return Output::Timeout([at, date, retry, omitted, self.account_at].into_iter().flatten().min());
                }
                Output::Transmit(never) => match never {},
            }
        }
    }

    /// The instant of the last time-out has come.
    pub fn handle_timeout(&mut self, now: Now) {
        self.client.handle_timeout(now);
        if self.account_at.is_some_and(|at| at <= now.instant) {
            self.account_at = None;
            self.want_account(now);
        }
        self.wake_orders(now);
    }

    /// An exchange with the CA was made.
    pub fn handle_response(&mut self, now: Now, id: ExchangeId, received: Received) {
        self.client.handle_response(now, id, received);
        self.drain(now);
    }

    /// An exchange with the CA could not be made.
    pub fn handle_failure(&mut self, now: Now, id: ExchangeId, failure: ExchangeFailure) {
        self.client.handle_failure(now, id, failure);
        self.drain(now);
    }

    /// A challenge is provisioned.
    pub fn provisioned(&mut self, now: Now, id: ProvisionId) {
        self.client.provisioned(now, id);
    }

    /// A challenge cannot be provisioned. The order is tried again later.
    pub fn provision_failed(&mut self, now: Now, id: ProvisionId, detail: impl Into<String>) {
        self.client.provision_failed(now, id, detail);
        self.drain(now);
    }

    /// What has changed since this was called last. Keep it before anything is sent that was said since.
    #[must_use = "what is not kept is lost"]
    pub fn take_records(&mut self) -> Vec<Record> {
        self.changed_records()
    }

    /// Takes in what the client has to say, so that records are complete before anything is sent.
    fn drain(&mut self, now: Now) {
        while let Output::Event(event) = self.client.poll_output(now) {
            self.heard(now, event);
        }
    }

    /// Orders whose time has come.
    fn wake_orders(&mut self, now: Now) {
        while let Some((at, _)) = self.store.retries.first()
            && *at <= now.instant
        {
            let Some((_, id)) = self.store.retries.pop_first() else { break };
            if let Some(order) = self.store.orders.get_mut(&id) {
                order.retry_at = None;
            }
            self.work(now, &id);
        }
        // Each order once: one that wants something again at once gets it at the next call.
        let mut woken = Vec::new();
        while let Some(id) = self.store.due(now.unix) {
            woken.push(id);
        }
        for id in woken {
            if !self.expire(now, &id) {
                self.work(now, &id);
            }
        }
        self.drain(now);
    }

    /// Ends what has lasted too long. True if there is nothing more to do about it.
    fn expire(&mut self, now: Now, id: &OrderId) -> bool {
        let Some(order) = self.store.orders.get(id).filter(|order| order.expires <= now.unix) else { return false };
        match order.status {
            OrderStatus::Processing => {
                self.give_up(now, id, None, "the CA did not make the certificate in time".to_owned());
            }
            OrderStatus::Ready => {
                if let Some(order) = self.store.orders.get_mut(id) {
                    order.status = OrderStatus::Invalid;
                    order.error = Some(Problem::new(ProblemType::Malformed, "the order was not finalized in time"));
                    order.expires = now.date_in(server::DAY);
                }
                self.store.reschedule(now.unix, id);
            }
            _ => {
                if let Some(order) = self.store.remove(id) {
                    self.desk.forgot(&order.account, id);
                }
            }
        }
        true
    }

    fn audit(&mut self, order: Option<&OrderId>, what: Audit) {
        self.events.push_back(IdoEvent::Audit { order: order.copied(), what });
    }

    /// Something was refused to an account.
    fn refused(&mut self, now: Now, order: Option<&OrderId>, account: &AccountId, problem: &Problem) {
        let (account, problem) = (self.thumbprint_of(account), problem.clone());
        let is_stranger = !self.config.rules.values().any(|rule| rule.accounts.contains(&account));
        let has_room = self.events.len() < self.config.limits.waiting;
        let [delegates, strangers] = &mut self.refusals;
        let gauge = if is_stranger { strangers } else { delegates };
        let Some(refusals) = gauge.admit(now.instant, has_room) else { return };
        if refusals > 0 {
            self.audit(None, Audit::Omitted { refusals });
        }
        self.audit(order, Audit::Refused { account, problem });
    }

    fn thumbprint_of(&self, account: &AccountId) -> String {
        self.desk.accounts.get(account).map(|entry| entry.key.thumbprint_text()).unwrap_or_default()
    }
}

impl fmt::Debug for Ido {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ido")
            .field("base", &self.config.base())
            .field("orders", &self.store.orders.len())
            .field("upstream", &self.client)
            .finish_non_exhaustive()
    }
}

/// Whether a call for an order may be started: nothing else is being done for it.
const fn is_idle(work: Work) -> bool {
    matches!(work, Work::Nothing)
}
