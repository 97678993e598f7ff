//! Datagrams that were answered, and their answers, for retransmissions.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use watchfire_core::{Duration, Instant};

use super::config::BrokerLimits;
use super::tickets::Seeded;
use crate::crypto::Mac;

/// A ticket's name, and the first sixteen octets of a transaction ID.
pub(super) type Key = ([u8; 16], [u8; 16]);

/// What is known of a transaction.
#[derive(Debug)]
pub(super) enum Known<'a> {
    /// Not seen lately: go on.
    Fresh,
    /// The application has it.
    Pending,
    /// Answered: send this again.
    Answered(&'a [Bytes]),
    /// Answered, and sent often enough.
    Enough,
    /// Another request had the same transaction ID.
    Conflict,
}

#[derive(Debug)]
struct Reply {
    mac: Mac,
    /// Empty until it is answered.
    packets: Vec<Bytes>,
    sent_again: u8,
}

#[derive(Debug)]
pub(super) struct Replies {
    known: HashMap<Key, Reply, Seeded>,
    /// In the order in which they came, with when they are forgotten.
    order: VecDeque<(Instant, Key)>,
    octets: usize,
    most: usize,
    most_octets: usize,
    time: Duration,
    resends: u8,
}

impl Replies {
    pub(super) fn new(limits: &BrokerLimits, seed: u64) -> Self {
        Self {
            known: HashMap::with_hasher(Seeded(seed)),
            order: VecDeque::new(),
            octets: 0,
            most: limits.replies,
            most_octets: limits.reply_octets,
            time: limits.reply_time,
            resends: limits.resends,
        }
    }

    /// Looks a verified request up.
    pub(super) fn find(&mut self, now: Instant, key: &Key, mac: &Mac) -> Known<'_> {
        self.forget(now);
        match self.known.get_mut(key) {
            None => Known::Fresh,
            Some(reply) if !reply.mac.matches(mac.as_bytes(), mac.as_bytes().len()) => Known::Conflict,
            Some(reply) if reply.packets.is_empty() => Known::Pending,
            Some(reply) if reply.sent_again >= self.resends => Known::Enough,
            Some(reply) => {
                reply.sent_again = reply.sent_again.saturating_add(1);
                Known::Answered(&reply.packets)
            }
        }
    }

    /// Remembers a request that goes to the application.
    pub(super) fn begin(&mut self, now: Instant, key: Key, mac: Mac) {
        if self.most == 0 {
            return;
        }
        while self.known.len() >= self.most {
            self.drop_oldest();
        }
        if self.known.insert(key, Reply { mac, packets: Vec::new(), sent_again: 0 }).is_none() {
            self.order.push_back((now + self.time, key));
        }
    }

    /// Remembers its answer.
    pub(super) fn answer(&mut self, key: &Key, packets: &[Bytes]) {
        let Some(reply) = self.known.get_mut(key) else { return };
        reply.packets = packets.to_vec();
        self.octets = self.octets.saturating_add(octets(packets));
        while self.octets > self.most_octets && !self.order.is_empty() {
            self.drop_oldest();
        }
    }

    fn forget(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(at, _)| *at <= now) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_front()
            && let Some(reply) = self.known.remove(&key)
        {
            self.octets = self.octets.saturating_sub(octets(&reply.packets));
        }
    }
}

fn octets(packets: &[Bytes]) -> usize {
    packets.iter().map(Bytes::len).fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(most: usize, octets: usize) -> Replies {
        let limits = BrokerLimits { replies: most, reply_octets: octets, resends: 2, ..BrokerLimits::default() };
        Replies::new(&limits, 7)
    }

    fn key(n: u8) -> Key {
        ([1; 16], [n; 16])
    }

    #[test]
    fn a_retransmission_is_answered_so_often_and_a_conflict_never() {
        let mut replies = some(10, 1000);
        let (mac, other) = (Mac::new(&[1; 32]), Mac::new(&[2; 32]));
        assert!(matches!(replies.find(Instant::ZERO, &key(1), &mac), Known::Fresh));
        replies.begin(Instant::ZERO, key(1), mac);
        assert!(matches!(replies.find(Instant::ZERO, &key(1), &mac), Known::Pending));
        replies.answer(&key(1), &[Bytes::from_static(b"answer")]);
        for _ in 0..2 {
            assert!(
                matches!(replies.find(Instant::ZERO, &key(1), &mac), Known::Answered([answer]) if answer == "answer")
            );
        }
        assert!(matches!(replies.find(Instant::ZERO, &key(1), &mac), Known::Enough));
        assert!(matches!(replies.find(Instant::ZERO, &key(1), &other), Known::Conflict));
        assert!(matches!(replies.find(Instant::from_secs(10), &key(1), &mac), Known::Fresh), "forgotten");
        assert_eq!((replies.octets, replies.known.len(), replies.order.len()), (0, 0, 0));
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut replies = some(3, 100);
        let mac = Mac::new(&[1; 32]);
        for n in 0..5 {
            replies.begin(Instant::ZERO, key(n), mac);
        }
        assert!(matches!(replies.find(Instant::ZERO, &key(1), &mac), Known::Fresh));
        assert!(matches!(replies.find(Instant::ZERO, &key(2), &mac), Known::Pending));
        for n in 2..5 {
            replies.answer(&key(n), &[Bytes::from(vec![0; 40])]);
        }
        assert_eq!((replies.octets, replies.known.len(), replies.order.len()), (80, 2, 2));
        let mut none = Replies::new(&BrokerLimits { replies: 0, ..BrokerLimits::default() }, 7);
        none.begin(Instant::ZERO, key(1), mac);
        assert!(none.known.is_empty());
    }
}
