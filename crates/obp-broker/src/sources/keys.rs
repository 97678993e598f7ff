//! Keeps the answers about keys and delegations between validations.
//!
//! hickory checks a signature by asking for the zone's keys, then for the digests above them, up to the root, and
//! remembers what it found out but not the answers themselves. Without this layer each new name would cost one round
//! trip per zone above it; with it, one to each authority that is new.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::{self, Stream, StreamExt};
use hickory_net::NetError;
use hickory_net::xfer::DnsHandle;
use hickory_proto::op::{DnsRequest, DnsResponse, OpCode};
use hickory_proto::rr::{Name, RecordType};

/// Most answers kept. A broad crowd of names lies in far fewer zones.
const CAPACITY: usize = 8192;
/// However long the zone says: a key that was withdrawn must not live on here.
const LONGEST: Duration = Duration::from_secs(3600);

type Kept = HashMap<(Name, RecordType), (Instant, DnsResponse)>;

/// The layer: a handle over a handle.
#[derive(Clone)]
pub(super) struct KeyCache<H> {
    below: H,
    kept: Arc<Mutex<Kept>>,
}

impl<H> KeyCache<H> {
    pub(super) fn over(below: H) -> Self {
        Self { below, kept: Arc::default() }
    }
}

impl<H: DnsHandle> DnsHandle for KeyCache<H> {
    type Response = Pin<Box<dyn Stream<Item = Result<DnsResponse, NetError>> + Send>>;
    type Runtime = H::Runtime;

    fn send(&self, request: DnsRequest) -> Self::Response {
        let key = request
            .queries
            .first()
            .filter(|query| {
                request.op_code == OpCode::Query && matches!(query.query_type(), RecordType::DNSKEY | RecordType::DS)
            })
            .map(|query| (query.name().to_lowercase(), query.query_type()));
        let Some(key) = key else { return Box::pin(self.below.send(request)) };
        let now = Instant::now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.get(&key) {
            Some((until, response)) if *until > now => {
                let response = response.clone();
                return Box::pin(stream::once(async move { Ok(response) }));
            }
            Some(_) => _ = kept.remove(&key),
            None => {}
        }
        drop(kept);
        let store = Arc::clone(&self.kept);
        Box::pin(self.below.send(request).inspect(move |result| {
            let Ok(response) = result else { return };
            // Negative answers go by the SOA, which hickory reads; without one nothing is kept.
            let ttl = match response.answers.iter().map(|record| record.ttl).min() {
                Some(ttl) => ttl,
                None => response.negative_ttl().unwrap_or(0),
            };
            let life = Duration::from_secs(ttl.into()).min(LONGEST);
            if life.is_zero() {
                return;
            }
            let mut kept = store.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() >= CAPACITY {
                let now = Instant::now();
                kept.retain(|_, (until, _)| *until > now);
                if kept.len() >= CAPACITY {
                    kept.clear();
                }
            }
            kept.insert(key.clone(), (Instant::now() + life, response.clone()));
        }))
    }
}
