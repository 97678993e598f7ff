//! What a machine says: octets to send, events, and when to call again.

use alloc::collections::VecDeque;
use core::net::SocketAddr;

use bytes::{Bytes, BytesMut};

use crate::Instant;

/// One thing a machine wants done. Closed on purpose: a new kind of output must break every driver.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Output<T, E> {
    /// Send this.
    Transmit(T),
    /// This happened, or this is to be done.
    Event(E),
    /// Nothing more for now. Call again when something happens, and `handle_timeout` at this instant if there is one.
    Timeout(Option<Instant>),
}

/// A packet to send.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Datagram {
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub payload: Bytes,
}

/// The output side of a stream machine: octets are gathered, so that many small messages leave in one write; events
/// keep their order. All octets queued so far are polled before the next event.
#[derive(Debug)]
pub struct OutputQueue<E> {
    octets: BytesMut,
    events: VecDeque<E>,
    max_octets: usize,
}

impl<E> OutputQueue<E> {
    /// An empty queue that calls itself [full](Self::is_full) from `max_octets` octets on.
    pub fn new(max_octets: usize) -> Self {
        Self { octets: BytesMut::new(), events: VecDeque::new(), max_octets }
    }

    /// Queues octets.
    pub fn transmit(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    /// The buffer that will be sent next, to encode into.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.octets
    }

    /// Queues an event.
    pub fn event(&mut self, event: E) {
        self.events.push_back(event);
    }

    /// The next transmit or event, if any.
    #[must_use = "an output that is dropped is lost"]
    pub fn poll(&mut self) -> Option<Output<Bytes, E>> {
        if !self.octets.is_empty() {
            return Some(Output::Transmit(self.octets.split().freeze()));
        }
        self.events.pop_front().map(Output::Event)
    }

    /// Octets waiting to be polled.
    pub fn queued_octets(&self) -> usize {
        self.octets.len()
    }

    /// Whether nothing waits to be polled.
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty() && self.events.is_empty()
    }

    /// Whether the limit is reached: whoever adds more should say no first.
    pub fn is_full(&self) -> bool {
        self.octets.len() >= self.max_octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_gathered_and_come_before_events() {
        let mut queue = OutputQueue::new(4);
        queue.transmit(b"ab");
        queue.event(1);
        assert!(!queue.is_full());
        queue.transmit(b"cd");
        queue.event(2);
        assert!(queue.is_full());
        assert_eq!(queue.poll(), Some(Output::Transmit(Bytes::from_static(b"abcd"))));
        assert_eq!(queue.poll(), Some(Output::Event(1)));
        assert_eq!(queue.poll(), Some(Output::Event(2)));
        assert_eq!(queue.poll(), None);
        assert!(queue.is_empty());
    }
}
