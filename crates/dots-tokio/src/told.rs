//! What is told to whoever listens, from the beginning on.

use std::sync::{Mutex, PoisonError};

use tokio::sync::broadcast;

/// A broadcast whose first listener hears what was said before it came: sessions may be up, and say something, before
/// whoever started them can ask for events.
#[derive(Debug)]
pub(crate) struct Told<T> {
    to_all: broadcast::Sender<T>,
    first: Mutex<Option<broadcast::Receiver<T>>>,
}

impl<T: Clone> Told<T> {
    /// Keeps this many for each listener, within reason.
    pub(crate) fn new(kept: usize) -> Self {
        let (to_all, first) = broadcast::channel(kept.clamp(16, 1 << 20));
        Self { to_all, first: Mutex::new(Some(first)) }
    }

    /// Nobody needs to listen.
    pub(crate) fn tell(&self, event: T) {
        let _ = self.to_all.send(event);
    }

    /// Everything since the beginning for the first who asks, from now on for all others.
    pub(crate) fn listen(&self) -> broadcast::Receiver<T> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.unwrap_or_else(|| self.subscribe())
    }

    /// Everything from now on, whoever asks.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<T> {
        self.to_all.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast::error::TryRecvError;

    use super::*;

    #[test]
    fn the_first_listener_hears_what_was_said_before_it_came() {
        let told = Told::new(16);
        told.tell(1);
        let mut aside = told.subscribe();
        let mut first = told.listen();
        let mut second = told.listen();
        told.tell(2);
        assert_eq!((first.try_recv(), first.try_recv()), (Ok(1), Ok(2)));
        assert_eq!((aside.try_recv(), second.try_recv()), (Ok(2), Ok(2)));
    }

    #[test]
    fn what_nobody_fetches_is_bounded_and_its_loss_is_said() {
        let told = Told::new(0);
        (0..20).for_each(|n| told.tell(n));
        let mut first = told.listen();
        assert_eq!(first.try_recv(), Err(TryRecvError::Lagged(4)));
        assert_eq!(first.try_recv(), Ok(4));
    }
}
