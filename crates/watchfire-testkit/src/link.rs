//! One direction of a stream connection that delays, chops and breaks.

use std::collections::VecDeque;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use watchfire_core::{Duration, Instant};

/// How bad a link is.
#[derive(Debug, Clone)]
#[allow(clippy::exhaustive_structs)]
pub struct LinkConfig {
    /// The least time that octets travel.
    pub delay: Duration,
    /// Up to so much more, by chance. Order is kept, as TCP keeps it.
    pub jitter: Duration,
    /// Octets arrive in pieces of 1 to this many; 0 leaves writes whole.
    pub max_piece: usize,
    /// After so many octets the link breaks: what comes later is lost, and both ends see a truncated stream.
    pub cut_after: Option<usize>,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self { delay: Duration::from_millis(1), jitter: Duration::ZERO, max_piece: 0, cut_after: None }
    }
}

/// One direction of a connection.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    rng: StdRng,
    travelling: VecDeque<(Instant, Bytes)>,
    last_arrival: Instant,
    sent: usize,
    cut: bool,
}

impl Link {
    /// A link that is as bad as `config` says, by the chances of `seed`.
    pub fn new(config: LinkConfig, seed: u64) -> Self {
        Self {
            config,
            rng: StdRng::seed_from_u64(seed),
            travelling: VecDeque::new(),
            last_arrival: Instant::ZERO,
            sent: 0,
            cut: false,
        }
    }

    /// Sends octets off.
    pub fn send(&mut self, now: Instant, mut octets: Bytes) {
        if let Some(limit) = self.config.cut_after {
            let left = limit.saturating_sub(self.sent);
            if octets.len() > left {
                octets.truncate(left);
                self.cut = true;
            }
        }
        self.sent += octets.len();
        while !octets.is_empty() {
            let piece = match self.config.max_piece {
                0 => octets.len(),
                most => self.rng.random_range(1..=most).min(octets.len()),
            };
            let jitter = self.rng.random_range(0..=u64::try_from(self.config.jitter.as_micros()).unwrap_or(0));
            let arrival = now + self.config.delay + Duration::from_micros(jitter);
            self.last_arrival = self.last_arrival.max(arrival);
            self.travelling.push_back((self.last_arrival, octets.split_to(piece)));
        }
    }

    /// When the next octets arrive.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.travelling.front().map(|(at, _)| *at)
    }

    /// The octets that have arrived by `now`, one piece a call.
    pub fn receive(&mut self, now: Instant) -> Option<Bytes> {
        if self.next_arrival()? > now {
            return None;
        }
        self.travelling.pop_front().map(|(_, octets)| octets)
    }

    /// Whether the link broke, and all that came through has been received.
    pub fn is_cut(&self) -> bool {
        self.cut && self.travelling.is_empty()
    }

    /// Octets sent so far.
    pub fn sent(&self) -> usize {
        self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn all(link: &mut Link) -> (Vec<u8>, usize) {
        let (mut octets, mut pieces) = (Vec::new(), 0);
        while let Some(at) = link.next_arrival() {
            let piece = link.receive(at).expect("it has arrived by then");
            octets.extend_from_slice(&piece);
            pieces += 1;
        }
        (octets, pieces)
    }

    #[test]
    fn octets_take_their_time() {
        let mut link = Link::new(LinkConfig { delay: Duration::from_millis(5), ..LinkConfig::default() }, 1);
        link.send(millis(10), Bytes::from_static(b"late"));
        assert_eq!(link.next_arrival(), Some(millis(15)));
        assert_eq!(link.receive(millis(14)), None);
        assert_eq!(link.receive(millis(15)), Some(Bytes::from_static(b"late")));
    }

    #[test]
    fn jitter_and_pieces_keep_the_order() {
        let config = LinkConfig { jitter: Duration::from_millis(50), max_piece: 3, ..LinkConfig::default() };
        let sent: Vec<u8> = (0..=255).collect();
        for seed in 0..20 {
            let mut link = Link::new(config.clone(), seed);
            sent.chunks(10).enumerate().for_each(|(n, chunk)| {
                link.send(millis(n as u64), Bytes::copy_from_slice(chunk));
            });
            let (octets, pieces) = all(&mut link);
            assert_eq!(octets, sent);
            assert!(pieces >= sent.len().div_ceil(3));
        }
    }

    #[test]
    fn a_cut_loses_what_comes_later_and_is_seen_after_what_came_before() {
        let mut link = Link::new(LinkConfig { cut_after: Some(5), ..LinkConfig::default() }, 1);
        link.send(millis(0), Bytes::from_static(b"abc"));
        link.send(millis(0), Bytes::from_static(b"defg"));
        link.send(millis(0), Bytes::from_static(b"hi"));
        assert!(!link.is_cut(), "something still travels");
        assert_eq!(all(&mut link).0, b"abcde");
        assert!(link.is_cut());
        assert_eq!(link.sent(), 5);
    }
}
