//! How often one client may ask. [RFC 6585 section 4](https://www.rfc-editor.org/rfc/rfc6585#section-4)

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Response, StatusCode};
use watchfire_core::Instant;

use super::dispatch::problem;

/// How much one client may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit {
    /// The time in which one request is earned.
    pub every: Duration,
    /// How many may be saved up.
    pub burst: u32,
    /// How many clients are remembered; beyond that the one that was seen least recently is forgotten.
    pub clients: usize,
}

impl RateLimit {
    /// So many each second, and as many at once.
    pub fn per_second(requests: u32) -> Self {
        let every = Duration::from_secs(1).checked_div(requests.max(1)).unwrap_or(Duration::from_secs(1));
        Self { every, burst: requests.max(1), clients: 65_536 }
    }
}

/// Counts requests by client: an address, a key, whatever orders.
#[derive(Debug)]
pub struct RateLimiter<K> {
    limit: RateLimit,
    /// When the client has all it can save, and when it was seen.
    clients: BTreeMap<K, (Instant, u64)>,
    order: BTreeMap<u64, K>,
    clock: u64,
}

impl<K: Ord + Clone> RateLimiter<K> {
    /// One that has seen nobody.
    pub fn new(limit: RateLimit) -> Self {
        Self { limit, clients: BTreeMap::new(), order: BTreeMap::new(), clock: 0 }
    }

    /// Counts a request; the response to give instead of an answer when it is one too many.
    ///
    /// # Errors
    /// 429 with Retry-After.
    pub fn check(&mut self, now: Instant, client: &K) -> Result<(), Box<Response<Bytes>>> {
        let (full_at, seen) = self.clients.get(client).copied().unwrap_or((now, 0));
        let full_at = full_at.max(now) + self.limit.every;
        let most = self.limit.every.saturating_mul(self.limit.burst);
        let ahead = full_at.saturating_since(now);
        if ahead > most {
            let wait = ahead.saturating_sub(most).as_secs().saturating_add(1);
            let mut response = problem(StatusCode::TOO_MANY_REQUESTS, "too many requests");
            response.headers_mut().insert(RETRY_AFTER, wait.into());
            return Err(response);
        }
        self.remember(client, full_at, seen);
        Ok(())
    }

    /// Counts more requests of a client that was let in, such as those of a batch. None is refused: what they cost
    /// beyond what was saved has to be earned before the next one.
    pub fn charge(&mut self, now: Instant, client: &K, requests: u32) {
        let (full_at, seen) = self.clients.get(client).copied().unwrap_or((now, 0));
        self.remember(client, full_at.max(now) + self.limit.every.saturating_mul(requests), seen);
    }

    fn remember(&mut self, client: &K, full_at: Instant, seen: u64) {
        self.clock = self.clock.saturating_add(1);
        self.order.remove(&seen);
        self.order.insert(self.clock, client.clone());
        self.clients.insert(client.clone(), (full_at, self.clock));
        if self.clients.len() > self.limit.clients
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.clients.remove(&oldest);
        }
    }
}
