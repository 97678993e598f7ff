//! Bindings that wait for somebody to confirm them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use watchfire_core::{Duration, Instant};

use crate::crypto::{HashAlgorithm, MacKey, Provider};
use crate::service_connect::negotiate::Suite;
use crate::status::Status;

/// Names a binding that waits to be confirmed. For the application alone: the client knows it by another name, which
/// nobody else may learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(u64);

/// What the client asked for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) suite: Suite,
    pub(super) services: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) wanted: Wanted,
    pub(super) state: Progress,
    /// Polls before are refused.
    pub(super) not_before: Instant,
    deadline: Instant,
    lookup: [u8; 16],
}

#[derive(Debug)]
pub(super) enum Progress {
    Waiting,
    Granted { account: String },
    Denied(Status),
    Delivered(Bytes),
}

/// The transactions, found by the application's name or by a code over the client's: how long that takes tells nothing
/// of the names there are.
#[derive(Debug)]
pub(super) struct Transactions {
    by_id: BTreeMap<TransactionId, Transaction>,
    by_code: BTreeMap<[u8; 16], TransactionId>,
    key: Arc<dyn MacKey>,
    next: u64,
    most: usize,
}

impl Transactions {
    pub(super) fn new(provider: &dyn Provider, key: [u8; 32], most: usize) -> Self {
        let key = provider.mac_key(HashAlgorithm::Sha256, &key);
        Self { by_id: BTreeMap::new(), by_code: BTreeMap::new(), key, next: 0, most }
    }

    fn code(&self, name: &[u8]) -> [u8; 16] {
        let mac = self.key.sign(&[name]);
        mac.as_bytes().first_chunk().copied().unwrap_or_default()
    }

    /// None when there are as many as there may be.
    pub(super) fn insert(
        &mut self,
        wanted: Wanted,
        name: &[u8; 16],
        not_before: Instant,
        deadline: Instant,
    ) -> Option<TransactionId> {
        if self.by_id.len() >= self.most {
            return None;
        }
        let id = TransactionId(self.next);
        self.next = self.next.saturating_add(1);
        let lookup = self.code(name);
        self.by_code.insert(lookup, id);
        self.by_id.insert(id, Transaction { wanted, state: Progress::Waiting, not_before, deadline, lookup });
        Some(id)
    }

    pub(super) fn named(&mut self, name: &[u8]) -> Option<(TransactionId, &mut Transaction)> {
        let id = *self.by_code.get(&self.code(name))?;
        Some((id, self.by_id.get_mut(&id)?))
    }

    pub(super) fn get(&mut self, id: TransactionId) -> Option<&mut Transaction> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn remove(&mut self, id: TransactionId) {
        if let Some(gone) = self.by_id.remove(&id) {
            self.by_code.remove(&gone.lookup);
        }
    }

    /// Takes out what is over; gives those that nobody confirmed.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<TransactionId> {
        let over = self.by_id.iter().filter(|(_, transaction)| transaction.deadline <= now);
        let over: Vec<_> = over.map(|(id, gone)| (*id, matches!(gone.state, Progress::Waiting))).collect();
        over.iter().for_each(|(id, _)| self.remove(*id));
        over.into_iter().filter_map(|(id, unconfirmed)| unconfirmed.then_some(id)).collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.by_id.values().map(|transaction| transaction.deadline).min()
    }
}

impl Transaction {
    /// Says the same again for a while to a client that did not hear it.
    pub(super) fn deliver(&mut self, now: Instant, body: Bytes, grace: Duration) {
        self.state = Progress::Delivered(body);
        self.deadline = now + grace;
        self.not_before = now;
    }
}
