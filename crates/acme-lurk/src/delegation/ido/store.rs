//! The orders of a name owner's server, and when each wants something.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use watchfire_core::{Instant, UnixTime};

use crate::acme::client::CallId;
use crate::acme::server::OrderId;
use crate::acme::server::id::{AccountId, Id};
use crate::acme::{Identifier, OrderStatus, Problem};
use crate::certificate::Certificate;
use crate::limits::Limits;
use crate::record::Tracked;
use crate::star::{AutoRenewal, RollTimer, StarOrder};

/// An order of a delegate, and the one at the CA that it leads to.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) account: AccountId,
    pub(super) delegation: String,
    pub(super) status: OrderStatus,
    pub(super) expires: UnixTime,
    pub(super) identifiers: Vec<Identifier>,
    pub(super) validity: (Option<UnixTime>, Option<UnixTime>),
    pub(super) auto_renewal: Option<AutoRenewal>,
    pub(super) certificate_get: Option<bool>,
    pub(super) hops: u64,
    pub(super) csr: Option<Arc<[u8]>>,
    pub(super) error: Option<Problem>,
    /// The order at the CA.
    pub(super) upstream: Option<String>,
    /// Where its certificate is there.
    pub(super) certificate: Option<String>,
    /// The last part of our own URL for the certificate, unguessable.
    pub(super) handle: Option<Id>,
    /// What is served there.
    pub(super) served: Option<ServedChain>,
    /// Certificates of our own schedule that were served before, and are still good: DER. They are revoked with the last.
    pub(super) superseded: Vec<Vec<u8>>,
    /// The one that the CA is asked to revoke.
    pub(super) recalled: Option<Vec<u8>>,
    /// The schedule that we follow ourselves.
    pub(super) emulated: Option<StarOrder>,
    /// The order is to be stopped.
    pub(super) stopping: bool,
    /// The last certificate is to be revoked.
    pub(super) revoking: bool,
    /// The order was given up here, and may have become valid at the CA: it is to be stopped there.
    pub(super) discarding: bool,
    pub(super) work: Work,
    pub(super) retry_at: Option<Instant>,
    pub(super) attempts: u32,
    /// When to look for a newer certificate of a CA that renews by itself.
    pub(super) roll: Option<RollTimer>,
    /// When to look, or to renew earlier than the schedule says.
    pub(super) look_at: Option<UnixTime>,
    pub(super) gap_said: bool,
    /// When to ask the CA whether a certificate that we renew ourselves is to be renewed earlier (RFC 9773).
    pub(super) ask_at: Option<UnixTime>,
    /// When the last certificate of our own schedule was made.
    pub(super) issued_at: Option<UnixTime>,
    /// The CA takes no word of which certificate a new one replaces.
    pub(super) no_replaces: bool,
}

/// Superseded certificates of an order that are remembered; of more the oldest is forgotten.
const SUPERSEDED: usize = 512;

impl Entry {
    /// Takes note of a certificate that is good and not served any more.
    pub(super) fn supersede(&mut self, now: UnixTime, leaf: Vec<u8>) {
        self.superseded.retain(|leaf| is_good(leaf, now));
        if self.superseded.len() >= SUPERSEDED {
            self.superseded.remove(0);
        }
        if self.emulated.is_some() && is_good(&leaf, now) {
            self.superseded.push(leaf);
        }
    }

    /// A certificate that is good and was given out: the one that is served first.
    pub(super) fn to_revoke(&self, now: UnixTime) -> Option<Vec<u8>> {
        let served = self.served.as_ref().and_then(|served| served.chain.first());
        served.into_iter().chain(&self.superseded).find(|leaf| is_good(leaf, now)).cloned()
    }

    /// A certificate is revoked, or will not be.
    pub(super) fn forget(&mut self, leaf: &[u8]) {
        self.superseded.retain(|known| known != leaf);
        if self.served.as_ref().and_then(|served| served.chain.first()).is_some_and(|known| known == leaf) {
            self.served = None;
        }
    }
}

fn is_good(leaf: &[u8], now: UnixTime) -> bool {
    Certificate::decode(leaf, &Limits::DEFAULT).is_ok_and(|leaf| leaf.not_after() > now)
}

/// A chain that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServedChain {
    /// DER, the certificate itself first.
    pub(super) chain: Vec<Vec<u8>>,
    pub(super) not_before: UnixTime,
    pub(super) not_after: UnixTime,
}

/// What the CA is being asked for an order. Not kept over a restart: it follows from the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Nothing,
    Directory,
    Obtaining,
    /// A certificate for this slot of our own schedule.
    Issuing(u64),
    /// When to renew.
    Asking,
    /// The certificate of this moment.
    Fetching,
    /// Whether the order of a certificate that is handed through is still renewed.
    Checking,
    Canceling,
    /// To stop an order that came too late.
    Discarding,
    /// The certificate, to revoke it.
    Recalling,
    Revoking,
}

#[derive(Debug)]
pub(super) struct Store {
    pub(super) orders: Tracked<OrderId, Box<Entry>>,
    pub(super) handles: BTreeMap<Id, OrderId>,
    pub(super) jobs: BTreeMap<CallId, OrderId>,
    /// When orders want something, by the wall; each order once.
    dates: BTreeSet<(UnixTime, OrderId)>,
    by_order: BTreeMap<OrderId, UnixTime>,
    /// When orders try again.
    pub(super) retries: BTreeSet<(Instant, OrderId)>,
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            orders: Tracked::new(),
            handles: BTreeMap::new(),
            jobs: BTreeMap::new(),
            dates: BTreeSet::new(),
            by_order: BTreeMap::new(),
            retries: BTreeSet::new(),
        }
    }

    /// An order of this account.
    pub(super) fn order_of(&self, id: &str, account: &AccountId) -> Option<(OrderId, &Entry)> {
        let id = OrderId::from_text(id)?;
        let order = self.orders.get(&id).filter(|order| order.account == *account)?;
        Some((id, order))
    }

    /// Enters anew when an order wants something: not before the next second, so that none is woken without end.
    pub(super) fn reschedule(&mut self, now: UnixTime, id: &OrderId) {
        if let Some(before) = self.by_order.remove(id) {
            self.dates.remove(&(before, *id));
        }
        let Some(order) = self.orders.get(id) else { return };
        let is_open = order.work == Work::Nothing && order.retry_at.is_none();
        let own = order.emulated.as_ref().filter(|_| is_open && !order.stopping).and_then(StarOrder::wake);
        let look = order.look_at.filter(|_| is_open);
        let ask = order.ask_at.filter(|_| is_open && order.status == OrderStatus::Valid);
        let date = [Some(order.expires), own, look, ask].into_iter().flatten().min();
        let next = UnixTime::from_secs(now.as_secs().saturating_add(1));
        if let Some(date) = date.map(|date| date.max(next)) {
            self.dates.insert((date, *id));
            self.by_order.insert(*id, date);
        }
    }

    pub(super) fn next_date(&self) -> Option<UnixTime> {
        self.dates.first().map(|(date, _)| *date)
    }

    /// An order that wants something now. It is out of the list until it is entered anew.
    pub(super) fn due(&mut self, now: UnixTime) -> Option<OrderId> {
        let (date, _) = self.dates.first()?;
        if *date > now {
            return None;
        }
        let (_, id) = self.dates.pop_first()?;
        self.by_order.remove(&id);
        Some(id)
    }

    pub(super) fn remove(&mut self, id: &OrderId) -> Option<Entry> {
        let order = self.orders.remove(id)?;
        if let Some(handle) = &order.handle {
            self.handles.remove(handle);
        }
        if let Some(at) = order.retry_at {
            self.retries.remove(&(at, *id));
        }
        self.jobs.retain(|_, of| of != id);
        if let Some(date) = self.by_order.remove(id) {
            self.dates.remove(&(date, *id));
        }
        Some(*order)
    }
}
