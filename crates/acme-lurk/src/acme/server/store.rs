//! What a CA knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use watchfire_core::UnixTime;

use super::desk::AccountId;
use super::event::{ChallengeId, OrderId};
use crate::acme::{AuthorizationStatus, Challenge, Identifier, OrderStatus, Problem};
use crate::record::Tracked;
use crate::star::{AutoRenewal, StarBook, StarId};

#[derive(Debug)]
pub(super) struct OrderEntry {
    pub(super) account: AccountId,
    pub(super) status: OrderStatus,
    pub(super) expires: UnixTime,
    pub(super) identifiers: Vec<Identifier>,
    pub(super) validity: (Option<UnixTime>, Option<UnixTime>),
    pub(super) authorizations: Vec<Arc<str>>,
    pub(super) auto_renewal: Option<AutoRenewal>,
    pub(super) certificate_get: Option<bool>,
    pub(super) error: Option<Box<Problem>>,
    pub(super) csr: Option<Arc<[u8]>>,
    pub(super) star: Option<StarId>,
    /// The last part of the URL of the certificate, unguessable.
    pub(super) certificate: Option<Arc<str>>,
    /// The certificate of this moment, DER.
    pub(super) leaf: Option<Arc<[u8]>>,
    /// The validity that a certificate was asked for with, while it is.
    pub(super) awaited: Option<(u64, UnixTime, UnixTime)>,
}

#[derive(Debug)]
pub(super) struct AuthorizationEntry {
    pub(super) order: OrderId,
    pub(super) identifier: Identifier,
    pub(super) status: AuthorizationStatus,
    pub(super) challenges: Vec<(ChallengeId, Challenge)>,
}

/// A certificate that was issued and has not run out.
#[derive(Debug)]
pub(super) struct IssuedEntry {
    pub(super) order: OrderId,
    pub(super) not_after: UnixTime,
    /// None for one that is renewed automatically, of which there are many, and which is never revoked.
    pub(super) single: Option<Box<SingleEntry>>,
}

/// What is known of a certificate that is not renewed automatically.
#[derive(Debug)]
pub(super) struct SingleEntry {
    pub(super) fingerprint: [u8; 32],
    pub(super) not_before: UnixTime,
    pub(super) revoked: bool,
}

/// A serial number.
pub(super) type Serial = Arc<[u8]>;

#[derive(Debug)]
pub(super) struct Store {
    pub(super) orders: Tracked<OrderId, OrderEntry>,
    expiring: BTreeSet<(UnixTime, OrderId)>,
    pub(super) authorizations: BTreeMap<Arc<str>, Box<AuthorizationEntry>>,
    pub(super) challenges: BTreeMap<ChallengeId, Arc<str>>,
    pub(super) certificates: BTreeMap<Arc<str>, OrderId>,
    pub(super) issued: Tracked<Serial, IssuedEntry>,
    running_out: BTreeSet<(UnixTime, Serial)>,
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
            issued: Tracked::new(),
            running_out: BTreeSet::new(),
            renewals: BTreeMap::new(),
            book: StarBook::new(orders),
        }
    }

    /// An order of this account.
    pub(super) fn order_of(&self, id: &str, account: &AccountId) -> Option<(OrderId, &OrderEntry)> {
        let found = self.orders.get_key_value(&OrderId(id.into()));
        found.filter(|(_, order)| order.account == *account).map(|(id, order)| (id.clone(), &**order))
    }

    pub(super) fn insert_order(&mut self, id: OrderId, order: OrderEntry) {
        self.expiring.insert((order.expires, id.clone()));
        self.count(&order, true);
        self.orders.insert(id, order);
    }

    /// Puts an order in that was read from a record.
    pub(super) fn restore_order(&mut self, id: OrderId, order: OrderEntry) {
        self.expiring.insert((order.expires, id.clone()));
        self.count(&order, true);
        self.orders.restore(id, order);
    }

    /// Certificates a day that the orders of an account make by themselves, until they are forgotten.
    pub(super) fn renewals(&self, account: &AccountId) -> u64 {
        self.renewals.get(account).copied().unwrap_or(0)
    }

    fn count(&mut self, order: &OrderEntry, is_new: bool) {
        let Some(agreed) = &order.auto_renewal else { return };
        let count = self.renewals.entry(order.account.clone()).or_default();
        let more = renewals_a_day(agreed);
        *count = if is_new { count.saturating_add(more) } else { count.saturating_sub(more) };
        if *count == 0 {
            self.renewals.remove(&order.account);
        }
    }

    /// Puts a certificate in that was read from a record.
    pub(super) fn restore_issued(&mut self, serial: Serial, entry: IssuedEntry) {
        self.running_out.insert((entry.not_after, serial.clone()));
        self.issued.restore(serial, entry);
    }

    /// Sets until when an order is kept.
    pub(super) fn keep_until(&mut self, id: &OrderId, expires: UnixTime) {
        if let Some(order) = self.orders.get_mut(id) {
            self.expiring.remove(&(order.expires, id.clone()));
            order.expires = expires;
            self.expiring.insert((expires, id.clone()));
        }
    }

    pub(super) fn insert_issued(&mut self, serial: Serial, entry: IssuedEntry) {
        self.running_out.insert((entry.not_after, serial.clone()));
        self.issued.insert(serial, entry);
    }

    pub(super) fn wake(&self) -> Option<UnixTime> {
        let expiring = self.expiring.first().map(|(time, _)| *time);
        let running_out = self.running_out.first().map(|(time, _)| *time);
        [self.book.wake(), expiring, running_out].into_iter().flatten().min()
    }

    /// Forgets orders whose time has passed, and certificates that have run out.
    pub(super) fn forget(&mut self, now: UnixTime) -> Vec<(AccountId, OrderId)> {
        let mut forgotten = Vec::new();
        while let Some((_, id)) = self.expiring.pop_first_if(|(time, _)| *time <= now) {
            let Some(order) = self.orders.remove(&id) else { continue };
            for authorization in &order.authorizations {
                if let Some(entry) = self.authorizations.remove(authorization) {
                    for (challenge, _) in entry.challenges {
                        self.challenges.remove(&challenge);
                    }
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
        while let Some((_, serial)) = self.running_out.pop_first_if(|(time, _)| *time <= now) {
            self.issued.remove(&serial);
        }
        forgotten
    }
}

/// Certificates a day that an order makes by itself, one at least.
pub(super) const fn renewals_a_day(agreed: &AutoRenewal) -> u64 {
    let lifetime = if agreed.lifetime == 0 { 1 } else { agreed.lifetime };
    86_400_u64.div_ceil(lifetime)
}

trait PopFirstIf<T> {
    fn pop_first_if(&mut self, condition: impl FnOnce(&T) -> bool) -> Option<T>;
}

impl<T: Ord> PopFirstIf<T> for BTreeSet<T> {
    fn pop_first_if(&mut self, condition: impl FnOnce(&T) -> bool) -> Option<T> {
        if self.first().is_some_and(condition) { self.pop_first() } else { None }
    }
}
