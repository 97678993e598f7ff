//! Putting responses together: any order, duplicates, limits (draft-hallambaker-wsconnect-08 section 8.2).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use watchfire_core::{Duration, Instant};

use super::ResponsePacket;

/// How much a [`Reassembler`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReassemblyLimits {
    /// Responses under way from one peer. Default 64.
    pub per_peer: usize,
    /// Responses under way from all. Default 1024.
    pub responses: usize,
    /// Octets of segments held. Default 4 MiB.
    pub octets: usize,
    /// How long the packets of a response may take, from the first one on. Default 5 s.
    pub timeout: Duration,
}

impl Default for ReassemblyLimits {
    fn default() -> Self {
        Self { per_peer: 64, responses: 1024, octets: 4 * 1024 * 1024, timeout: Duration::from_secs(5) }
    }
}

/// Responses of which some packets have come. Give it verified segments only: then nobody but a broker can fill it.
#[derive(Debug)]
pub struct Reassembler {
    limits: ReassemblyLimits,
    responses: BTreeMap<(SocketAddr, Box<[u8]>), Partial>,
    octets: usize,
}

#[derive(Debug)]
struct Partial {
    max_index: u8,
    clear_response: u16,
    segments: BTreeMap<u8, Vec<u8>>,
    deadline: Instant,
    /// Dropped: packets that still come mean nothing.
    over: bool,
}

/// What a packet was good for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// More packets are missing.
    Incomplete,
    /// The packet was known, or belongs to a response that was dropped.
    Duplicate,
    /// All packets are there: the segments in order. Say [`Reassembler::finish`] when they make sense. (If they do
    /// not, the peer may count from 0, and the first is still to come.)
    Complete(Vec<u8>),
}

/// Why a packet was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReassemblyError {
    /// The packet contradicts those before it about how many there are. It is dropped, they are kept.
    #[error("packets of one response disagree about the last index: {first} and {then}")]
    MaxIndex {
        /// Of the packets before it.
        first: u8,
        /// Of this one.
        then: u8,
    },
    /// The packet has the number of another one, and not its content. The whole response is dropped.
    #[error("two different packets have the index {0}")]
    Conflict(u8),
    /// A limit is reached. The packet is dropped.
    #[error("too much is being put together: {0}")]
    Limit(&'static str),
}

impl Reassembler {
    /// Nothing yet.
    pub fn new(limits: ReassemblyLimits) -> Self {
        Self { limits, responses: BTreeMap::new(), octets: 0 }
    }

    /// Adds a packet whose MAC has been verified; `segment` is what
    /// [`open_segment`](super::PacketKeys::open_segment) returned.
    ///
    /// # Errors
    /// When the packet contradicts others, or a limit is reached. None is fatal.
    pub fn add(
        &mut self,
        now: Instant,
        from: SocketAddr,
        packet: &ResponsePacket<'_>,
        segment: Vec<u8>,
    ) -> Result<Progress, ReassemblyError> {
        self.expire(now);
        let key = (from, Box::from(packet.transaction_id));
        if !self.responses.contains_key(&key) {
            self.make_room(&key, segment.len())?;
        }
        let deadline = now + self.limits.timeout;
        let partial = self.responses.entry(key).or_insert_with(|| Partial {
            max_index: packet.max_index,
            clear_response: packet.clear_response,
            segments: BTreeMap::new(),
            deadline,
            over: false,
        });
        if partial.over {
            return Ok(Progress::Duplicate);
        }
        if partial.max_index != packet.max_index {
            return Err(ReassemblyError::MaxIndex { first: partial.max_index, then: packet.max_index });
        }
        if let Some(known) = partial.segments.get(&packet.index) {
            if *known == segment && partial.clear_response == packet.clear_response {
                return Ok(Progress::Duplicate);
            }
            self.octets = self.octets.saturating_sub(partial.close());
            return Err(ReassemblyError::Conflict(packet.index));
        }
        if partial.clear_response != packet.clear_response {
            self.octets = self.octets.saturating_sub(partial.close());
            return Err(ReassemblyError::Conflict(packet.index));
        }
        let octets = self.octets.saturating_add(segment.len());
        if octets > self.limits.octets {
            return Err(ReassemblyError::Limit("octets"));
        }
        self.octets = octets;
        partial.segments.insert(packet.index, segment);
        let have = |first: u8| (first..=partial.max_index).all(|index| partial.segments.contains_key(&index));
        if !have(1) || (partial.max_index == 0 && !have(0)) {
            return Ok(Progress::Incomplete);
        }
        Ok(Progress::Complete(partial.segments.values().flatten().copied().collect()))
    }

    /// Forgets a response, because it was used. (Whoever waited for it waits no more: copies find nobody.)
    pub fn finish(&mut self, from: SocketAddr, transaction_id: &[u8]) {
        if let Some(mut partial) = self.responses.remove(&(from, Box::from(transaction_id))) {
            self.octets = self.octets.saturating_sub(partial.close());
        }
    }

    /// Forgets what has timed out.
    pub fn expire(&mut self, now: Instant) {
        if self.next_timeout().is_none_or(|at| at > now) {
            return;
        }
        let octets = &mut self.octets;
        self.responses.retain(|_, partial| {
            let keep = partial.deadline > now;
            if !keep {
                *octets = octets.saturating_sub(partial.close());
            }
            keep
        });
    }

    /// When the next response times out.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.responses.values().map(|partial| partial.deadline).min()
    }

    /// Octets of segments held.
    pub const fn octets(&self) -> usize {
        self.octets
    }

    /// Responses held, dropped ones that have not timed out too.
    pub fn len(&self) -> usize {
        self.responses.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.responses.is_empty()
    }

    fn make_room(&self, key: &(SocketAddr, Box<[u8]>), octets: usize) -> Result<(), ReassemblyError> {
        if self.responses.len() >= self.limits.responses {
            return Err(ReassemblyError::Limit("responses"));
        }
        let of_peer = self.responses.range((key.0, Box::default())..).take_while(|((from, _), _)| *from == key.0);
        if of_peer.count() >= self.limits.per_peer {
            return Err(ReassemblyError::Limit("responses of one peer"));
        }
        if self.octets.saturating_add(octets) > self.limits.octets {
            return Err(ReassemblyError::Limit("octets"));
        }
        Ok(())
    }
}

impl Partial {
    /// Lets go of the segments; returns how many octets they had.
    fn close(&mut self) -> usize {
        self.over = true;
        std::mem::take(&mut self.segments).values().map(Vec::len).sum()
    }
}
