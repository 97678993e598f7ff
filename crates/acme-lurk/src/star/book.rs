//! All the orders of a CA, and which of them wants something next. Finding it takes a time that grows with the logarithm
//! of their number.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

use watchfire_core::UnixTime;

use super::order::{CancelError, Served, StarOrder, Task};

/// Names an order of one book; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StarId(NonZeroU64);

impl StarId {
    /// The number behind it, for a store.
    pub const fn as_u64(self) -> u64 {
        self.0.get() - 1
    }
}

/// What an order wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StarEvent {
    /// Which.
    pub id: StarId,
    /// What.
    pub task: Task,
}

/// Any number of orders, each with whatever belongs to it: the CSR, the certificate, the account.
#[derive(Debug)]
pub struct StarBook<T> {
    /// Boxed: half of the places in a map with keys that only grow is empty.
    orders: BTreeMap<StarId, Box<Entry<T>>>,
    /// The same orders by the time at which they want something. Exactly those that do.
    due: BTreeSet<(UnixTime, StarId)>,
    next: NonZeroU64,
    max: usize,
}

#[derive(Debug)]
struct Entry<T> {
    order: StarOrder,
    data: T,
    /// Where it stands in `due`: nowhere if never.
    wake: UnixTime,
}

const NEVER: UnixTime = UnixTime::from_secs(i64::MAX);

impl<T> StarBook<T> {
    /// A book that takes new orders while it has fewer than so many.
    pub const fn new(max: usize) -> Self {
        Self { orders: BTreeMap::new(), due: BTreeSet::new(), next: NonZeroU64::MIN, max }
    }

    /// Takes an order in; gives `data` back when the book is full.
    ///
    /// # Errors
    /// When it is full. Nothing has changed then.
    pub fn insert(&mut self, order: StarOrder, data: T) -> Result<StarId, T> {
        if self.orders.len() >= self.max { Err(data) } else { Ok(self.restore(order, data)) }
    }

    /// Takes an order in that was in a book before, however many there are: the limit is for new ones.
    pub fn restore(&mut self, order: StarOrder, data: T) -> StarId {
        let id = StarId(self.next);
        self.next = self.next.saturating_add(1);
        let wake = order.wake();
        self.orders.insert(id, Box::new(Entry { order, data, wake: NEVER }));
        self.reschedule(id, wake.unwrap_or(NEVER));
        id
    }

    /// How many orders there are.
    pub fn len(&self) -> usize {
        self.orders.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// When to call [`poll`](Self::poll) next.
    pub fn wake(&self) -> Option<UnixTime> {
        self.due.first().map(|(wake, _)| *wake)
    }

    /// What is to be done now. Call until there is nothing. An order that was asked to make a certificate is not asked
    /// again for a while ([`StarOrder::hold`]); say [`issued`](Self::issued) or [`failed`](Self::failed) before that.
    pub fn poll(&mut self, now: UnixTime) -> Option<StarEvent> {
        loop {
            let (_, id) = self.due.first().copied().filter(|(wake, _)| *wake <= now)?;
            let task = self.change(id, |order| {
                let task = order.task(now);
                if matches!(task, Some(Task::Issue(_))) {
                    order.hold(now);
                }
                task
            });
            if let Some(task) = task.flatten() {
                return Some(StarEvent { id, task });
            }
            // It has nothing to say at a time at which it wanted to be asked: do not ask again at once.
            self.rest(now, id);
        }
    }

    /// The certificate was made. See [`StarOrder::issued`]; an order that is gone has no use for it either.
    #[must_use]
    pub fn issued(&mut self, now: UnixTime, id: StarId, index: u64) -> bool {
        self.change(id, |order| order.issued(now, index)).unwrap_or(false)
    }

    /// The certificate could not be made. See [`StarOrder::failed`].
    pub fn failed(&mut self, now: UnixTime, id: StarId) {
        self.change(id, |order| order.failed(now));
    }

    /// Stops an order.
    ///
    /// # Errors
    /// As [`StarOrder::cancel`]; also when there is no such order.
    pub fn cancel(&mut self, now: UnixTime, id: StarId) -> Result<(), CancelError> {
        self.change(id, |order| order.cancel(now)).unwrap_or(Err(CancelError))
    }

    /// What a request for the certificate of an order gets; none if there is no such order.
    pub fn serve(&mut self, now: UnixTime, id: StarId) -> Option<(Served, &T)> {
        self.orders.get_mut(&id).map(|entry| (entry.order.serve(now), &entry.data))
    }

    /// An order and what belongs to it.
    pub fn get(&self, id: StarId) -> Option<(&StarOrder, &T)> {
        self.orders.get(&id).map(|entry| (&entry.order, &entry.data))
    }

    /// What belongs to an order, to be changed.
    pub fn data_mut(&mut self, id: StarId) -> Option<&mut T> {
        self.orders.get_mut(&id).map(|entry| &mut entry.data)
    }

    /// Takes an order out.
    pub fn remove(&mut self, id: StarId) -> Option<(StarOrder, T)> {
        let entry = *self.orders.remove(&id)?;
        self.due.remove(&(entry.wake, id));
        Some((entry.order, entry.data))
    }

    /// Changes an order, and when it is woken.
    fn change<R>(&mut self, id: StarId, change: impl FnOnce(&mut StarOrder) -> R) -> Option<R> {
        let entry = self.orders.get_mut(&id)?;
        let result = change(&mut entry.order);
        let wake = entry.order.wake();
        self.reschedule(id, wake.unwrap_or(NEVER));
        Some(result)
    }

    /// Asks an order again a second later at the earliest.
    fn rest(&mut self, now: UnixTime, id: StarId) {
        let soonest = UnixTime::from_secs(now.as_secs().saturating_add(1));
        let wake = self.orders.get(&id).map_or(NEVER, |entry| entry.wake);
        self.reschedule(id, wake.max(soonest));
    }

    fn reschedule(&mut self, id: StarId, wake: UnixTime) {
        let Some(entry) = self.orders.get_mut(&id) else { return };
        let before = std::mem::replace(&mut entry.wake, wake);
        if before != wake {
            self.due.remove(&(before, id));
            if wake < NEVER {
                self.due.insert((wake, id));
            }
        }
    }
}
