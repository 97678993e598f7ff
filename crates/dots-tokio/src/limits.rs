//! Everything that can grow outside the machines, and how far. What is inside them is in
//! [`dots_callhome::Limits`].

use std::time::Duration;

/// Each is enforced before memory is taken or cryptography is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientLimits {
    /// Sessions at a time. Default 20,000.
    pub sessions: usize,
    /// Sessions at a time from one address; many subscribers may share it behind a CGN. Default 1024.
    pub sessions_per_address: usize,
    /// Handshakes at a time, of peers that nobody knows yet. Default 256.
    pub handshakes: usize,
    /// The same from one address. Default 16.
    pub handshakes_per_address: usize,
    /// Peers kept, with or without a session. One without session and mitigation gives way to a new one. Default 20,000.
    pub peers: usize,
    /// Octets queued for a stream whose peer does not read; beyond them it is closed. Default 256 KiB.
    pub queued_octets: usize,
    /// How long one write to a stream may take. Default 20 s.
    pub write_timeout: Duration,
    /// Octets taken of a datagram. Default 2048, at most 65535.
    pub datagram: usize,
    /// Datagrams from unknown addresses, in a second, for which is looked whether a known peer has moved there. Default 50.
    pub moves_per_second: u32,
    /// Sessions that are tried for one such datagram. Default 32.
    pub move_candidates: usize,
    /// Events kept for a subscriber that does not fetch them. Default 4096.
    pub events: usize,
    /// After how long without any datagram a DTLS session is forgotten, when nothing is asked of its peer: a peer that
    /// is only cut off for a while is heard again. Default 2 hours.
    pub silence: Duration,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            sessions: 20_000,
            sessions_per_address: 1024,
            handshakes: 256,
            handshakes_per_address: 16,
            peers: 20_000,
            queued_octets: 256 << 10,
            write_timeout: Duration::from_secs(20),
            datagram: 2048,
            moves_per_second: 50,
            move_candidates: 32,
            events: 4096,
            silence: Duration::from_secs(2 * 3600),
        }
    }
}

/// So many in a second, and no more saved up than that.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_second: u32,
    left: f64,
    at: tokio::time::Instant,
}

impl Bucket {
    pub(crate) fn new(per_second: u32, now: tokio::time::Instant) -> Self {
        Self { per_second, left: f64::from(per_second), at: now }
    }

    pub(crate) fn take(&mut self, now: tokio::time::Instant) -> bool {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + since * f64::from(self.per_second)).min(f64::from(self.per_second));
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_bucket_gives_so_many_in_a_second() {
        let mut bucket = Bucket::new(3, tokio::time::Instant::now());
        let taken = |bucket: &mut Bucket| (0..10).filter(|_| bucket.take(tokio::time::Instant::now())).count();
        assert_eq!(taken(&mut bucket), 3);
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(taken(&mut bucket), 3);
        assert!(!Bucket::new(0, tokio::time::Instant::now()).take(tokio::time::Instant::now()));
    }
}
