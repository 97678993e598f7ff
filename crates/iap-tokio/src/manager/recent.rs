//! Alerts seen lately, so that one sent again after a broken connection is not handed over twice. Bounded: the
//! oldest are forgotten. What must never be stored twice, even years apart, needs a store with a unique key.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use super::handover::AlertKey;

/// Peers remembered.
const PEERS: usize = 1024;

/// The recent alerts of all peers.
#[derive(Debug)]
pub(super) struct Recent {
    capacity: usize,
    /// Two keyed hashes make a name that nobody outside can make collide, and that chance will not.
    hashers: [RandomState; 2],
    peers: Mutex<Peers>,
}

#[derive(Debug, Default)]
struct Peers {
    /// Counts calls, to tell who was here last.
    clock: u64,
    by_name: HashMap<String, Peer>,
}

type Name = u128;

#[derive(Debug, Default)]
struct Peer {
    last_used: u64,
    known: HashMap<Name, State>,
    order: VecDeque<Name>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Handed over, not answered.
    UnderWay,
    /// Answered 200.
    Accepted,
}

/// What is known of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing; from now on it is under way.
    New(Ticket),
    /// It is being handed over at this moment, by this ticket.
    UnderWay(Ticket),
    /// It has been accepted.
    Accepted,
}

/// Names an alert that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ticket(Name);

impl Recent {
    /// Remembers `capacity` alerts of each peer.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, hashers: [RandomState::new(), RandomState::new()], peers: Mutex::default() }
    }

    fn name(&self, key: &AlertKey) -> Name {
        let [high, low] = self.hashers.each_ref().map(|hasher| Name::from(hasher.hash_one(key)));
        high << 64 | low
    }

    /// Asks about alerts of `peer`, and notes the new ones as under way.
    pub(super) fn ask<'a>(&self, peer: &str, keys: impl Iterator<Item = &'a AlertKey>) -> Vec<Seen> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let Peers { clock, by_name } = &mut *peers;
        *clock += 1;
        if !by_name.contains_key(peer) {
            if by_name.len() >= PEERS {
                // Those with alerts under way stay; they are as many as there are connections, at most.
                let idle = by_name.iter().filter(|(_, peer)| peer.known.len() == peer.order.len());
                if let Some(oldest) = idle.min_by_key(|(_, peer)| peer.last_used).map(|(name, _)| name.clone()) {
                    by_name.remove(&oldest);
                }
            }
            by_name.insert(peer.to_owned(), Peer::default());
        }
        let peer = by_name.get_mut(peer).expect("inserted above if it was not there");
        peer.last_used = *clock;
        keys.map(|key| {
            let name = self.name(key);
            match peer.known.get(&name) {
                Some(State::Accepted) => Seen::Accepted,
                Some(State::UnderWay) => Seen::UnderWay(Ticket(name)),
                None => {
                    peer.known.insert(name, State::UnderWay);
                    Seen::New(Ticket(name))
                }
            }
        })
        .collect()
    }

    /// Says what became of alerts that were under way.
    pub(super) fn settle(&self, peer: &str, outcomes: impl Iterator<Item = (Ticket, bool)>) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(peer) = peers.by_name.get_mut(peer) else { return };
        for (Ticket(name), accepted) in outcomes {
            if !accepted {
                peer.known.remove(&name);
                continue;
            }
            peer.known.insert(name, State::Accepted);
            peer.order.push_back(name);
            while peer.order.len() > self.capacity {
                if let Some(oldest) = peer.order.pop_front() {
                    peer.known.remove(&oldest);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> AlertKey {
        AlertKey::Message { analyzerid: "a".into(), messageid: n.to_string() }
    }

    fn ask(recent: &Recent, peer: &str, n: u32) -> Seen {
        recent.ask(peer, [key(n)].iter())[0]
    }

    fn accept(recent: &Recent, peer: &str, n: u32) {
        let Seen::New(ticket) = ask(recent, peer, n) else { panic!("{n} is known") };
        recent.settle(peer, [(ticket, true)].into_iter());
    }

    #[test]
    fn an_accepted_alert_is_known_again_and_a_refused_one_is_not() {
        let recent = Recent::new(8);
        accept(&recent, "s1", 1);
        assert_eq!(ask(&recent, "s1", 1), Seen::Accepted);
        let Seen::New(ticket) = ask(&recent, "s1", 2) else { panic!() };
        assert_eq!(ask(&recent, "s1", 2), Seen::UnderWay(ticket));
        recent.settle("s1", [(ticket, false)].into_iter());
        assert!(matches!(ask(&recent, "s1", 2), Seen::New(_)));
    }

    #[test]
    fn peers_do_not_share_their_keys() {
        let recent = Recent::new(8);
        accept(&recent, "s1", 1);
        assert!(matches!(ask(&recent, "s2", 1), Seen::New(_)));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let recent = Recent::new(3);
        (0..5).for_each(|n| accept(&recent, "s1", n));
        assert_eq!(ask(&recent, "s1", 4), Seen::Accepted);
        assert!(matches!(ask(&recent, "s1", 0), Seen::New(_)));
    }

    #[test]
    fn peers_are_bounded() {
        let recent = Recent::new(1);
        (0..PEERS + 10).for_each(|n| accept(&recent, &n.to_string(), 1));
        assert_eq!(recent.peers.lock().unwrap().by_name.len(), PEERS);
    }
}
