//! The connections that there are: how many each address has, and who has to end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::task::AtomicWaker;
use tokio::task::AbortHandle;

use crate::network::network;

/// A connection, as everybody else sees it.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// Looks whether it has to end, when woken.
    pub(crate) waker: AtomicWaker,
    ends: AtomicBool,
    requests: AtomicU64,
    /// Requests that are being answered.
    busy: AtomicUsize,
}

impl Line {
    /// Whether it shall take no more requests.
    pub(crate) fn ends(&self) -> bool {
        self.ends.load(Ordering::Acquire)
    }

    fn end(&self) {
        self.ends.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// A request is being answered, until what this returns is dropped.
    pub(crate) fn request(self: &Arc<Self>) -> Busy {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }
}

/// A request that is being answered.
pub(crate) struct Busy(Arc<Line>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    lines: HashMap<u64, Entry>,
    /// How many each network has.
    networks: HashMap<u128, usize>,
    next: u64,
    has_ended: bool,
}

#[derive(Debug)]
struct Entry {
    line: Arc<Line>,
    from: SocketAddr,
    task: Option<AbortHandle>,
    /// How many requests it had made when it was looked at last.
    seen: Option<u64>,
    /// How often it was found to have done nothing since.
    quiet: u32,
}

impl Lines {
    /// A place for a connection; `None` when its network has as many as it may, or the server ends.
    pub(crate) fn take(self: &Arc<Self>, from: SocketAddr, most: usize) -> Option<Seat> {
        let mut table = self.lock();
        let network = network(from.ip());
        let taken = table.networks.get(&network).copied().unwrap_or(0);
        if table.has_ended || taken >= most.max(1) {
            return None;
        }
        table.networks.insert(network, taken + 1);
        let (id, line) = (table.next, Arc::new(Line::default()));
        table.next += 1;
        let entry = Entry { line: Arc::clone(&line), from, task: None, seen: None, quiet: 0 };
        table.lines.insert(id, entry);
        Some(Seat { lines: Arc::clone(self), id, network, line })
    }

    /// How the connection is cut off, unless it has gone already.
    pub(crate) fn set_task(&self, id: u64, task: AbortHandle) {
        if let Some(entry) = self.lock().lines.get_mut(&id) {
            entry.task = Some(task);
        }
    }

    /// Lets every connection answer what it was asked, and end; takes no others.
    pub(crate) fn end(&self) {
        let mut table = self.lock();
        table.has_ended = true;
        table.lines.values().for_each(|entry| entry.line.end());
    }

    /// Cuts all off.
    pub(crate) fn cut(&self) {
        let mut table = self.lock();
        table.has_ended = true;
        for task in table.lines.values().filter_map(|entry| entry.task.as_ref()) {
            task.abort();
        }
    }

    /// Tells those to end that asked nothing since the last call but one and have nothing to wait for, and cuts off those
    /// that were told the last time: their addresses are returned. Octets that come one by one are no request.
    pub(crate) fn sweep(&self) -> Vec<SocketAddr> {
        let mut cut = Vec::new();
        for entry in self.lock().lines.values_mut() {
            let requests = entry.line.requests.load(Ordering::Relaxed);
            let is_idle = entry.seen == Some(requests) && entry.line.busy.load(Ordering::Relaxed) == 0;
            entry.seen = Some(requests);
            entry.quiet = if is_idle { entry.quiet.saturating_add(1) } else { 0 };
            match (entry.quiet, &entry.task) {
                (0 | 1, _) => {}
                (2, _) => entry.line.end(),
                (_, Some(task)) => {
                    task.abort();
                    cut.push(entry.from);
                }
                (_, None) => {}
            }
        }
        cut
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the connections, given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    lines: Arc<Lines>,
    pub(crate) id: u64,
    network: u128,
    pub(crate) line: Arc<Line>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.lines.lock();
        table.lines.remove(&self.id);
        if let Some(taken) = table.networks.get_mut(&self.network) {
            *taken -= 1;
            if *taken == 0 {
                table.networks.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_does_nothing_is_told_to_end_and_then_cut_off() {
        let lines = Arc::new(Lines::default());
        let seat = lines.take("192.0.2.1:1".parse().unwrap(), 2).unwrap();
        let task = tokio::spawn(std::future::pending::<()>());
        lines.set_task(seat.id, task.abort_handle());
        let busy = seat.line.request();
        for _ in 0..4 {
            assert!(lines.sweep().is_empty() && !seat.line.ends(), "it waits for its answer");
        }
        drop(busy);
        drop(seat.line.request());
        for _ in 0..2 {
            assert!(lines.sweep().is_empty() && !seat.line.ends(), "it asked something not long ago");
        }
        assert!(lines.sweep().is_empty() && seat.line.ends());
        assert_eq!(lines.sweep(), ["192.0.2.1:1".parse().unwrap()]);
        assert!(task.await.unwrap_err().is_cancelled());
    }

    #[test]
    fn a_network_has_so_many_places_and_an_ending_server_none() {
        let lines = Arc::new(Lines::default());
        let take = |from: &str| lines.take(from.parse().unwrap(), 2);
        let seats = [take("192.0.2.1:1"), take("192.0.2.1:2")];
        assert!(seats.iter().all(Option::is_some) && take("192.0.2.1:3").is_none());
        assert!(take("192.0.2.2:1").is_some());
        drop(seats);
        assert!(lines.lock().networks.is_empty() && lines.lock().lines.is_empty());
        let last = take("192.0.2.1:4").unwrap();
        lines.end();
        assert!(last.line.ends() && take("192.0.2.3:1").is_none());
    }
}
