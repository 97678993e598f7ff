//! Single flight: however many ask the same at the same time, the work is done once.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};

type Flying<V> = WeakShared<BoxFuture<'static, V>>;

/// Work under way, by key.
pub(crate) struct Flights<K, V: Clone>(Arc<Mutex<HashMap<K, Flying<V>>>>);

impl<K, V: Clone> Default for Flights<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, V> Flights<K, V>
where
    K: Hash + Eq + Clone + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Joins the work on `key`, or starts it. The work goes on as long as one of those who wait for it does.
    pub(crate) fn join<F>(&self, key: &K, work: impl FnOnce() -> F) -> Shared<BoxFuture<'static, V>>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut flying = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flying.get(key).and_then(WeakShared::upgrade) {
            return flight;
        }
        // Work that everybody walked away from leaves its entry behind.
        if flying.len() >= 1024 && flying.len().is_power_of_two() {
            flying.retain(|_, flight| flight.upgrade().is_some());
        }
        let all = Arc::clone(&self.0);
        let done = key.clone();
        let work = work();
        let flight = async move {
            let value = work.await;
            all.lock().unwrap_or_else(PoisonError::into_inner).remove(&done);
            value
        }
        .boxed()
        .shared();
        if let Some(weak) = flight.downgrade() {
            flying.insert(key.clone(), weak);
        }
        flight
    }
}

impl<K, V: Clone> std::fmt::Debug for Flights<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Flights")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn work_is_done_once_and_again_when_over() {
        let flights = Flights::<u8, usize>::default();
        let count = Arc::new(AtomicUsize::new(0));
        let work = || {
            let count = Arc::clone(&count);
            async move {
                tokio::task::yield_now().await;
                count.fetch_add(1, Ordering::SeqCst)
            }
        };
        let (a, b) = (flights.join(&1, work), flights.join(&1, work));
        assert_eq!(tokio::join!(a, b), (0, 0));
        assert_eq!(flights.join(&1, work).await, 1);
        drop(flights.join(&2, work));
        assert_eq!(flights.join(&2, work).await, 2, "work that was abandoned starts over");
    }
}
