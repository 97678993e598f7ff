//! What a CA knows.

use std::collections::{BTreeMap, BTreeSet};

use watchfire_core::UnixTime;

use super::id::{AccountId, ChallengeId, Id, OrderId};
use super::issued::Issued;
use super::papers::{Papers, Press};
use crate::acme::{AuthorizationStatus, ChallengeKind, ChallengeStatus, Identifier, OrderStatus, Problem};
use crate::record::Tracked;
use crate::star::{AutoRenewal, StarBook, StarId};

/// An order. There may be very many.
#[derive(Debug)]
pub(super) struct OrderEntry {
    pub(super) account: AccountId,
    pub(super) status: OrderStatus,
    pub(super) expires: UnixTime,
    /// What it is for, as the order says it, each with its authorization.
    pub(super) names: Box<[NameEntry]>,
    pub(super) validity: (Option<UnixTime>, Option<UnixTime>),
    pub(super) auto_renewal: Option<AutoRenewal>,
    pub(super) certificate_get: Option<bool>,
    pub(super) error: Option<Box<Problem>>,
    /// The request, and the certificate of this moment.
    pub(super) papers: Option<Papers>,
    pub(super) star: Option<StarId>,
    /// The last part of the URL of the certificate, unguessable.
    pub(super) certificate: Option<Id>,
    /// The certificate that was asked for, while it is.
    pub(super) awaited: Option<Box<Awaited>>,
}

/// A certificate that was asked for, and its validity.
#[derive(Debug, Clone, Copy)]
pub(super) struct Awaited {
    pub(super) index: u64,
    pub(super) not_before: UnixTime,
    pub(super) not_after: UnixTime,
}

/// An identifier of an order, and its authorization.
#[derive(Debug)]
pub(super) struct NameEntry {
    pub(super) identifier: Identifier,
    /// The last part of the URL of the authorization.
    pub(super) id: Id,
    pub(super) status: AuthorizationStatus,
    pub(super) challenges: Box<[ChallengeEntry]>,
}

/// A challenge. Its URL follows from its name.
#[derive(Debug, Clone)]
pub(super) struct ChallengeEntry {
    pub(super) id: ChallengeId,
    pub(super) kind: ChallengeKind,
    pub(super) status: ChallengeStatus,
    pub(super) token: Id,
    pub(super) validated: Option<UnixTime>,
    pub(super) error: Option<Box<Problem>>,
}

impl OrderEntry {
    /// The certificate of this moment, DER.
    pub(super) fn leaf(&self) -> Option<Vec<u8>> {
        self.papers.as_ref()?.certificate()
    }

    pub(super) fn identifiers(&self) -> Vec<Identifier> {
        self.names.iter().map(|name| name.identifier.clone()).collect()
    }
}

#[derive(Debug)]
pub(super) struct Store {
    pub(super) orders: Tracked<OrderId, Box<OrderEntry>>,
    expiring: BTreeSet<(UnixTime, OrderId)>,
    /// Which order has the authorization, the challenge, the certificate of this name.
    pub(super) authorizations: BTreeMap<Id, OrderId>,
    pub(super) challenges: BTreeMap<ChallengeId, OrderId>,
    pub(super) certificates: BTreeMap<Id, OrderId>,
    pub(super) issued: Issued,
    pub(super) press: Press,
    /// Certificates a day that the orders of an account make by themselves.
    renewals: BTreeMap<AccountId, u64>,
    pub(super) book: StarBook<OrderId>,
}

impl Store {
    pub(super) fn new(orders: usize) -> Self {
        Self {
            orders: Tracked::new(),
            expiring: BTreeSet::new(),
            authorizations: BTreeMap::new(),
            challenges: BTreeMap::new(),
            certificates: BTreeMap::new(),
            issued: Issued::new(),
            press: Press::default(),
            renewals: BTreeMap::new(),
            book: StarBook::new(orders),
        }
    }

    /// An order of this account.
    pub(super) fn order_of(&self, id: &str, account: &AccountId) -> Option<(OrderId, &OrderEntry)> {
        let id = OrderId::from_text(id)?;
        let order = self.orders.get(&id).filter(|order| order.account == *account)?;
        Some((id, order))
    }

    pub(super) fn insert_order(&mut self, id: OrderId, order: OrderEntry) {
        self.enter(id, &order);
        self.orders.insert(id, Box::new(order));
    }

    /// Puts an order in that was read from a record.
    pub(super) fn restore_order(&mut self, id: OrderId, order: OrderEntry) {
        self.enter(id, &order);
        self.orders.restore(id, Box::new(order));
    }

    fn enter(&mut self, id: OrderId, order: &OrderEntry) {
        self.expiring.insert((order.expires, id));
        self.certificates.extend(order.certificate.map(|certificate| (certificate, id)));
        for name in &order.names {
            self.authorizations.insert(name.id, id);
            self.challenges.extend(name.challenges.iter().map(|challenge| (challenge.id, id)));
        }
        self.count(order, true);
    }

    /// Certificates a day that the orders of an account make by themselves, until they are forgotten.
    pub(super) fn renewals(&self, account: &AccountId) -> u64 {
        self.renewals.get(account).copied().unwrap_or(0)
    }

    fn count(&mut self, order: &OrderEntry, is_new: bool) {
        let Some(agreed) = &order.auto_renewal else { return };
        let count = self.renewals.entry(order.account).or_default();
        let more = renewals_a_day(agreed);
        *count = if is_new { count.saturating_add(more) } else { count.saturating_sub(more) };
        if *count == 0 {
            self.renewals.remove(&order.account);
        }
    }

    /// Sets until when an order is kept.
    pub(super) fn keep_until(&mut self, id: &OrderId, expires: UnixTime) {
        if let Some(order) = self.orders.get_mut(id) {
            self.expiring.remove(&(order.expires, *id));
            order.expires = expires;
            self.expiring.insert((expires, *id));
        }
    }

    pub(super) fn wake(&self) -> Option<UnixTime> {
        let expiring = self.expiring.first().map(|(time, _)| *time);
        [self.book.wake(), expiring, self.issued.wake()].into_iter().flatten().min()
    }

    /// Forgets orders whose time has passed, and certificates that have run out.
    pub(super) fn forget(&mut self, now: UnixTime) -> Vec<(AccountId, OrderId)> {
        let mut forgotten = Vec::new();
        while self.expiring.first().is_some_and(|(time, _)| *time <= now) {
            let Some((_, id)) = self.expiring.pop_first() else { break };
            let Some(order) = self.orders.remove(&id) else { continue };
            for name in &order.names {
                self.authorizations.remove(&name.id);
                for challenge in &name.challenges {
                    self.challenges.remove(&challenge.id);
                }
            }
            if let Some(certificate) = &order.certificate {
                self.certificates.remove(certificate);
            }
            if let Some(star) = order.star {
                self.book.remove(star);
            }
            self.count(&order, false);
            forgotten.push((order.account, id));
        }
        self.issued.forget(now);
        forgotten
    }
}

/// Certificates a day that an order makes by itself, one at least.
pub(super) const fn renewals_a_day(agreed: &AutoRenewal) -> u64 {
    let lifetime = if agreed.lifetime == 0 { 1 } else { agreed.lifetime };
    86_400_u64.div_ceil(lifetime)
}
