//! Who is one client, and how often it may ask.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::Response;
use repute_proto::server::{RateLimit, RateLimiter};
use watchfire_core::Instant;
use watchfire_hyper::network;

use super::keys::Holder;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Asker {
    Network(u128),
    Key(Arc<str>),
}

/// The limiter of all who have no limit of their own.
#[derive(Debug)]
pub(super) struct Rates(Option<Mutex<RateLimiter<Asker>>>);

impl Rates {
    pub(super) fn new(limit: Option<RateLimit>) -> Self {
        Self(limit.map(|limit| Mutex::new(RateLimiter::new(limit))))
    }

    /// Counts a request; the response in place of an answer when it is one too many.
    pub(super) fn admit(
        &self,
        now: impl FnOnce() -> Instant,
        from: IpAddr,
        key: Option<&Holder>,
    ) -> Result<(), Box<Response<Bytes>>> {
        if let Some(own) = key.and_then(|key| key.rate.as_ref()) {
            return own.lock().unwrap_or_else(PoisonError::into_inner).check(now(), &());
        }
        match &self.0 {
            Some(common) => common.lock().unwrap_or_else(PoisonError::into_inner).check(now(), &asker(from, key)),
            None => Ok(()),
        }
    }

    /// Counts what else a request that was let in turned out to ask.
    pub(super) fn charge(&self, now: Instant, from: IpAddr, key: Option<&Holder>, more: u32) {
        if let Some(own) = key.and_then(|key| key.rate.as_ref()) {
            own.lock().unwrap_or_else(PoisonError::into_inner).charge(now, &(), more);
        } else if let Some(common) = &self.0 {
            common.lock().unwrap_or_else(PoisonError::into_inner).charge(now, &asker(from, key), more);
        }
    }
}

fn asker(from: IpAddr, key: Option<&Holder>) -> Asker {
    key.map_or_else(|| Asker::Network(network(from)), |key| Asker::Key(Arc::clone(&key.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_one_client_and_a_key_another() {
        let rates = Rates::new(Some(RateLimit::per_second(5)));
        let (plain, own) = (Holder::new("plain", None), Holder::new("own", Some(RateLimit::per_second(2))));
        let admitted = |from: &str, key: Option<&Holder>| {
            (0..50).filter(|_| rates.admit(|| Instant::ZERO, from.parse().unwrap(), key).is_ok()).count()
        };
        assert_eq!(admitted("192.0.2.1", None), 5);
        assert_eq!(admitted("::ffff:192.0.2.1", None), 0, "the same in its other spelling");
        assert_eq!(admitted("2001:db8::1", None), 5);
        assert_eq!(admitted("2001:db8::2", None), 0, "the same /64");
        assert_eq!(admitted("192.0.2.1", Some(&plain)), 5, "by its key, not by its address");
        assert_eq!(admitted("192.0.2.2", Some(&plain)), 0);
        assert_eq!(admitted("192.0.2.1", Some(&own)), 2);
        let later = Instant::from_millis(1_000);
        rates.charge(later, "192.0.2.1".parse().unwrap(), None, 4);
        assert!(rates.admit(|| later, "192.0.2.1".parse().unwrap(), None).is_ok());
        assert!(rates.admit(|| later, "192.0.2.1".parse().unwrap(), None).is_err(), "a batch of five was five");
        assert!(Rates::new(None).admit(|| later, "192.0.2.1".parse().unwrap(), None).is_ok());
    }
}
