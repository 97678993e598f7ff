//! How often a network may be answered over UDP, where whoever asks can name any address as his own.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;

use super::dnsbl::network;

/// Networks that are told apart; those that share a place share the rate.
const PLACES: usize = 1 << 16;

/// Whether a packet is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// As it should be.
    Free,
    /// Not at all.
    Silent,
    /// With no more than that TCP is open: who asks honestly comes back by it.
    Turned,
}

/// Counts answers by second. Its size is fixed.
#[derive(Debug)]
pub(super) struct Turnstile {
    rate: u32,
    hasher: RandomState,
    /// A second, and the answers in it.
    places: Vec<(u32, u32)>,
}

impl Turnstile {
    /// One that lets so many through a second; 0 lets all.
    pub(super) fn new(rate: u32) -> Self {
        let places = if rate == 0 { Vec::new() } else { vec![(0, 0); PLACES] };
        Self { rate, hasher: RandomState::new(), places }
    }

    /// Counts a packet. The loopback is always let through.
    pub(super) fn pass(&mut self, from: IpAddr, now: u64) -> Pass {
        if self.rate == 0 || from.to_canonical().is_loopback() {
            return Pass::Free;
        }
        let at = self.hasher.hash_one(network(from)) as usize % PLACES;
        let Some((second, count)) = self.places.get_mut(at) else { return Pass::Free };
        if *second != now as u32 {
            (*second, *count) = (now as u32, 0);
        }
        *count = count.saturating_add(1);
        match count.checked_sub(self.rate) {
            None | Some(0) => Pass::Free,
            Some(beyond) if beyond % 2 == 0 => Pass::Turned,
            Some(_) => Pass::Silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_answered_as_often_as_it_may_and_again_a_second_later() {
        let mut turnstile = Turnstile::new(3);
        let from = |last: u8| IpAddr::from([192, 0, 2, last]);
        let passes: Vec<Pass> = (0..7).map(|last| turnstile.pass(from(last), 1)).collect();
        let (free, silent, turned) = (Pass::Free, Pass::Silent, Pass::Turned);
        assert_eq!(passes, [free, free, free, silent, turned, silent, turned]);
        assert_eq!(turnstile.pass(from(1), 2), free);
        assert!((0..100).all(|_| turnstile.pass("127.0.0.1".parse().unwrap(), 1) == free));
        let v6 = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(network(v6("2001:db8:0:1::1")), network(v6("2001:db8:0:ff::2")));
        assert_ne!(network(v6("2001:db8:0:100::1")), network(v6("2001:db8::1")));
        assert_eq!(network(v6("::ffff:192.0.2.1")), network(v6("192.0.2.9")));
    }

    #[test]
    fn without_a_rate_nothing_is_kept() {
        let mut turnstile = Turnstile::new(0);
        assert!(turnstile.places.is_empty());
        assert!((0..100).all(|_| turnstile.pass(IpAddr::from([192, 0, 2, 1]), 1) == Pass::Free));
    }
}
