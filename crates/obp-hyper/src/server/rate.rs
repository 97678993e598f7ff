//! How often one address may ask.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use watchfire_core::{Duration, Instant};
use watchfire_hyper::network;

/// Addresses that are watched. When there are more, those that have been silent for a second are forgotten; while there
/// are none of these, strangers are let through: a flood of made-up addresses must not shut out everybody.
const ADDRESSES: usize = 65_536;

/// A bucket for each address: it fills at the rate, and holds a second's worth.
#[derive(Debug)]
pub(super) struct Rates {
    per_second: u32,
    buckets: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    of: HashMap<u128, Bucket>,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Bucket {
    /// In millionths of a request.
    left: u64,
    at: Instant,
}

const ONE: u64 = 1_000_000;

impl Rates {
    /// So many a second; 0 does not limit.
    pub(super) fn new(per_second: u32) -> Self {
        Self { per_second, buckets: Mutex::default() }
    }

    /// Whether one more is let in.
    pub(super) fn admit(&self, from: IpAddr, now: Instant) -> bool {
        if self.per_second == 0 {
            return true;
        }
        let full = u64::from(self.per_second) * ONE;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.of.len() >= ADDRESSES {
            let second = Duration::from_secs(1);
            // Not more often than it can bring anything.
            if buckets.swept.is_none_or(|swept| now - swept >= second) {
                buckets.swept = Some(now);
                buckets.of.retain(|_, bucket| now - bucket.at < second);
            }
            if buckets.of.len() >= ADDRESSES && !buckets.of.contains_key(&network(from)) {
                return true;
            }
        }
        let bucket = buckets.of.entry(network(from)).or_insert(Bucket { left: full, at: now });
        let gained = (now - bucket.at).as_micros().saturating_mul(u128::from(self.per_second));
        bucket.left = bucket.left.saturating_add(u64::try_from(gained).unwrap_or(u64::MAX)).min(full);
        bucket.at = bucket.at.max(now);
        match bucket.left.checked_sub(ONE) {
            Some(left) => {
                bucket.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_a_second_s_worth_and_then_its_rate() {
        let rates = Rates::new(10);
        let at = Instant::from_millis;
        let admitted = |from: &str, now| (0..100).filter(|_| rates.admit(ip(from), now)).count();
        assert_eq!(admitted("192.0.2.1", at(0)), 10);
        assert_eq!(admitted("::ffff:192.0.2.1", at(500)), 5, "the same in its other spelling");
        assert_eq!(admitted("192.0.2.2", at(500)), 10, "another one");
        assert_eq!(admitted("192.0.2.1", at(60_000)), 10, "no more than a second's worth is saved");
        assert_eq!(admitted("2001:db8::1", at(0)), 10);
        assert_eq!(admitted("2001:db8::2", at(0)), 0, "the same /64");
        assert!((0..1000).all(|_| Rates::new(0).admit(ip("192.0.2.1"), at(0))));
    }

    #[test]
    fn so_many_addresses_are_watched_and_no_more() {
        let rates = Rates::new(1);
        for n in 0..u32::try_from(ADDRESSES).unwrap() + 10 {
            assert!(rates.admit(IpAddr::V4(n.into()), Instant::ZERO));
        }
        assert_eq!(rates.buckets.lock().unwrap().of.len(), ADDRESSES);
        assert!(!rates.admit(IpAddr::V4(0.into()), Instant::ZERO), "known ones are still limited");
        rates.admit(ip("198.51.100.1"), Instant::from_millis(5000));
        assert_eq!(rates.buckets.lock().unwrap().of.len(), 1, "the silent ones make room");
    }
}
