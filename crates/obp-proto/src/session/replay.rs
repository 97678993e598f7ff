//! What was seen before: nonces within the time window, counts per stream (draft-hallambaker-httpsession-02 sections
//! 2.1.5 and 3.3.3).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use watchfire_core::{Duration, Instant, UnixTime};

use super::SessionHeader;
use crate::crypto::{HashAlgorithm, MacKey, Provider};

/// How much a [`ReplayGuard`] remembers, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayLimits {
    /// How far a message's `Time` may be from ours, either way. Default 300 s.
    pub window: Duration,
    /// Nonces remembered, about 32 octets each. Each is for four windows at most. Default 500 000.
    pub nonces: usize,
    /// Nonces remembered for one ticket. Default 100 000.
    pub nonces_per_ticket: usize,
    /// Streams permitted for one ticket: `Stream` must be less. Default 16.
    pub streams: u64,
    /// Counters remembered, until their tickets expire. Default 65 536.
    pub counters: usize,
}

impl Default for ReplayLimits {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(300),
            nonces: 500_000,
            nonces_per_ticket: 100_000,
            streams: 16,
            counters: 65_536,
        }
    }
}

/// Refuses messages that are stale or were seen before. At a limit it refuses fresh ones too, rather than forgetting.
#[derive(Debug)]
pub struct ReplayGuard {
    limits: ReplayLimits,
    key: Arc<dyn MacKey>,
    /// Nonces seen since `since`, and in the span before that.
    recent: Nonces,
    older: Nonces,
    since: Instant,
    counters: BTreeMap<([u8; 16], u64), Counter>,
}

#[derive(Debug, Default)]
struct Nonces {
    seen: HashSet<u128, BuildHasherDefault<Fingerprint>>,
    of_ticket: HashMap<u128, usize, BuildHasherDefault<Fingerprint>>,
}

#[derive(Debug)]
struct Counter {
    last: u64,
    expires: UnixTime,
}

/// Why a message is not fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// Neither a nonce with a time, nor a count.
    #[error("nothing in the header makes the message fresh: a Nonce with a Time, or a Count, is needed")]
    Nothing,
    /// The time is outside the window. The answer tells ours.
    #[error("the time is outside the window")]
    Stale,
    /// Seen before, or counted down.
    #[error("the message was seen before")]
    Replayed,
    /// A stream beyond those permitted.
    #[error("stream {0} is not permitted")]
    Stream(u64),
    /// More is in use than is remembered.
    #[error("too many messages within the window")]
    Full,
}

impl ReplayGuard {
    /// Nothing seen. The seed keys a hash, so that nobody can choose nonces that collide.
    pub fn new(limits: ReplayLimits, provider: &dyn Provider, seed: &[u8; 32]) -> Self {
        Self {
            limits,
            key: provider.mac_key(HashAlgorithm::Sha256, seed),
            recent: Nonces::default(),
            older: Nonces::default(),
            since: Instant::ZERO,
            counters: BTreeMap::new(),
        }
    }

    /// Takes a verified strict message, once. `ticket` names the ticket, `expires` is when it does, `time` is ours in
    /// seconds.
    ///
    /// # Errors
    /// When the message is not fresh; then nothing is remembered of it.
    pub fn admit(
        &mut self,
        now: Instant,
        time: u64,
        ticket: &[u8; 16],
        expires: UnixTime,
        header: &SessionHeader,
    ) -> Result<(), ReplayError> {
        // A time that is told must hold, whatever else there is.
        if header.time().is_some_and(|theirs| theirs.abs_diff(time) > self.limits.window.as_secs()) {
            return Err(ReplayError::Stale);
        }
        match (header.count(), header.nonce(), header.time()) {
            (Some(count), ..) => self.count(time, ticket, expires, header.stream().unwrap_or_default(), count),
            (None, Some(nonce), Some(_)) => self.nonce(now, ticket, nonce),
            _ => Err(ReplayError::Nothing),
        }
    }

    fn nonce(&mut self, now: Instant, ticket: &[u8; 16], nonce: &[u8]) -> Result<(), ReplayError> {
        self.forget(now);
        let fingerprint = self.fingerprint(&[ticket, nonce]);
        if self.recent.seen.contains(&fingerprint) || self.older.seen.contains(&fingerprint) {
            return Err(ReplayError::Replayed);
        }
        let ticket = self.fingerprint(&[ticket]);
        let of = |nonces: &Nonces| nonces.of_ticket.get(&ticket).copied().unwrap_or_default();
        let of_ticket = of(&self.recent).saturating_add(of(&self.older));
        if of_ticket >= self.limits.nonces_per_ticket || self.len() >= self.limits.nonces {
            return Err(ReplayError::Full);
        }
        self.recent.seen.insert(fingerprint);
        let count = self.recent.of_ticket.entry(ticket).or_default();
        *count = count.saturating_add(1);
        Ok(())
    }

    /// A nonce is needed until its time leaves the window, two windows after it came at most. Two spans of that length
    /// hold all that is needed.
    fn forget(&mut self, now: Instant) {
        let span = self.limits.window.saturating_mul(2).saturating_add(Duration::from_secs(1));
        if now.saturating_since(self.since) > span {
            let idle = now.saturating_since(self.since) > span.saturating_mul(2);
            self.older = if idle { Nonces::default() } else { std::mem::take(&mut self.recent) };
            self.recent = Nonces::default();
            self.since = now;
        }
    }

    fn count(
        &mut self,
        time: u64,
        ticket: &[u8; 16],
        expires: UnixTime,
        stream: u64,
        count: u64,
    ) -> Result<(), ReplayError> {
        if stream >= self.limits.streams {
            return Err(ReplayError::Stream(stream));
        }
        let key = (*ticket, stream);
        if let Some(counter) = self.counters.get_mut(&key) {
            if count <= counter.last {
                return Err(ReplayError::Replayed);
            }
            counter.last = count;
            return Ok(());
        }
        if self.counters.len() >= self.limits.counters {
            let time = i64::try_from(time).unwrap_or(i64::MAX);
            self.counters.retain(|_, counter| counter.expires.as_secs() > time);
            if self.counters.len() >= self.limits.counters {
                return Err(ReplayError::Full);
            }
        }
        self.counters.insert(key, Counter { last: count, expires });
        Ok(())
    }

    /// Nonces remembered.
    pub fn len(&self) -> usize {
        self.recent.seen.len().saturating_add(self.older.seen.len())
    }

    /// Whether no nonce is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn fingerprint(&self, parts: &[&[u8]]) -> u128 {
        let mac = self.key.sign(parts);
        mac.as_bytes().first_chunk().map_or(0, |octets| u128::from_le_bytes(*octets))
    }
}

/// Fingerprints are hashes already.
#[derive(Debug, Default)]
struct Fingerprint(u64);

impl Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        for (n, octet) in octets.iter().enumerate() {
            self.0 ^= u64::from(*octet) << (n % 8 * 8);
        }
    }

    fn write_u128(&mut self, fingerprint: u128) {
        self.0 = fingerprint as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher as _;

    use super::*;

    /// Fingerprints that fell together would make the guard slow, which somebody might want.
    #[test]
    fn different_fingerprints_have_different_hashes() {
        let hashed: HashSet<u64> =
            (0..1000u128).map(|n| BuildHasherDefault::<Fingerprint>::default().hash_one(n << 7 | n)).collect();
        assert_eq!(hashed.len(), 1000);
        let of = |octets: &[u8]| {
            let mut hasher = Fingerprint::default();
            hasher.write(octets);
            hasher.finish()
        };
        assert_eq!(of(&[1, 2, 3, 4, 5, 6, 7, 8]), u64::from_le_bytes([1, 2, 3, 4, 5, 6, 7, 8]));
        assert_eq!(of(&[1, 2, 3, 4, 5, 6, 7, 8, 3, 3]), u64::from_le_bytes([2, 1, 3, 4, 5, 6, 7, 8]));
    }
}
