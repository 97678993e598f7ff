//! Who still hears whom. RFC 9132 section 4.7, RFC 9066 section 5.2.1.

use watchfire_core::{Duration, Instant};

use crate::params::SessionParams;

/// Which side of a session: they judge silence differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there are two")]
pub enum Side {
    /// Asks for mitigation. Suspects loss when its heartbeats stay unanswered, but never while it has reported an attack
    /// that may fill the server's uplink.
    Client,
    /// Mitigates. Concludes loss only when nothing at all was heard for the whole span.
    Server,
}

/// The heartbeats of one session.
#[derive(Debug, Clone)]
pub struct Liveness {
    side: Side,
    params: SessionParams,
    attack: bool,
    last_heard: Instant,
    last_peer_heartbeat: Option<Instant>,
    began: Instant,
    next: Instant,
    last_sent: Option<Instant>,
    awaiting: bool,
    missed: u32,
}

impl Liveness {
    /// A session that came up just now: the first heartbeat is due one interval later.
    pub fn new(side: Side, params: SessionParams, now: Instant) -> Self {
        let next = params.interval().map_or(Instant::FAR_FUTURE, |interval| now + interval);
        Self {
            side,
            params,
            attack: false,
            last_heard: now,
            last_peer_heartbeat: None,
            began: now,
            next,
            last_sent: None,
            awaiting: false,
            missed: 0,
        }
    }

    /// Other settings are in force, or an attack began or ended.
    pub fn set_params(&mut self, params: SessionParams, attack: bool) {
        self.attack = attack;
        if params != self.params {
            self.params = params;
            let from = self.last_sent.unwrap_or(self.began);
            self.next = params.interval().map_or(Instant::FAR_FUTURE, |interval| from + interval);
        }
    }

    /// Anything that authenticates was heard.
    pub fn heard(&mut self, now: Instant) {
        self.last_heard = self.last_heard.max(now);
    }

    /// A heartbeat of the peer was heard. When it says that ours are not, ours is due at once, though not more often
    /// than every three seconds.
    pub fn peer_heartbeat(&mut self, now: Instant, hears_us: bool) {
        self.heard(now);
        self.last_peer_heartbeat = Some(now);
        if !hears_us && self.params.interval().is_some() {
            self.hasten(now);
        }
    }

    /// Ours is due at once, though not more often than every three seconds.
    pub fn hasten(&mut self, now: Instant) {
        let earliest = self.last_sent.map_or(now, |sent| sent + Duration::from_secs(3));
        self.next = self.next.min(earliest.max(now));
    }

    /// Whether a heartbeat must be sent now; then it counts as sent. What to say in it: whether the peer's were heard.
    pub fn take_heartbeat(&mut self, now: Instant) -> Option<bool> {
        let interval = self.params.interval()?;
        if now < self.next {
            return None;
        }
        if self.awaiting {
            self.missed = self.missed.saturating_add(1);
        }
        self.awaiting = true;
        self.last_sent = Some(now);
        self.next = now + interval;
        Some(self.peer_status(now))
    }

    /// Whether a heartbeat of the peer came within two intervals; true while there was no time for one.
    pub fn peer_status(&self, now: Instant) -> bool {
        let Some(interval) = self.params.interval() else { return true };
        let since = self.last_peer_heartbeat.unwrap_or(self.began);
        now - since <= interval.saturating_mul(2)
    }

    /// Our heartbeat was answered.
    pub fn answered(&mut self, now: Instant) {
        self.heard(now);
        self.awaiting = false;
        self.missed = 0;
    }

    /// How many of our heartbeats in a row stayed without answer.
    pub fn missed(&self) -> u32 {
        self.missed
    }

    /// Whether the session counts as lost.
    pub fn is_lost(&self, now: Instant) -> bool {
        let Some(silence) = self.params.silence() else { return false };
        match self.side {
            Side::Server => now - self.last_heard >= silence,
            Side::Client => {
                !self.attack
                    && self.missed > u32::from(self.params.missing_hb_allowed)
                    && now - self.last_heard >= silence
            }
        }
    }

    /// When something is due: a heartbeat, or the end.
    pub fn deadline(&self) -> Option<Instant> {
        let silence = self.params.silence()?;
        let lost = match self.side {
            Side::Server => self.last_heard + silence,
            Side::Client => Instant::FAR_FUTURE,
        };
        Some(self.next.min(lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Instant {
        Instant::from_secs(secs)
    }

    #[test]
    fn a_server_concludes_loss_after_exactly_the_whole_span() {
        let mut server = Liveness::new(Side::Server, SessionParams::default(), secs(0));
        server.heard(secs(100));
        assert!(!server.is_lost(secs(549)));
        assert!(server.is_lost(secs(550)), "100 s and 15 times 30 s");
    }

    #[test]
    fn a_server_stays_while_anything_arrives_though_no_heartbeat_is_answered() {
        let mut server = Liveness::new(Side::Server, SessionParams::default(), secs(0));
        for now in 0..3600 {
            let _ = server.take_heartbeat(secs(now));
            if now % 400 == 0 {
                server.heard(secs(now));
            }
            assert!(!server.is_lost(secs(now)), "{now}");
        }
        assert!(server.missed() > 100);
    }

    #[test]
    fn a_client_that_reported_an_attack_never_gives_up() {
        let mut client = Liveness::new(Side::Client, SessionParams::default(), secs(0));
        client.set_params(SessionParams::default(), true);
        for now in 0..100_000 {
            let _ = client.take_heartbeat(secs(now));
            assert!(!client.is_lost(secs(now)));
        }
        client.set_params(SessionParams::default(), false);
        assert!(client.is_lost(secs(100_000)));
        client.answered(secs(100_001));
        assert!(!client.is_lost(secs(100_001)));
    }

    #[test]
    fn heartbeats_say_whether_the_peer_was_heard_in_two_intervals() {
        let mut one = Liveness::new(Side::Client, SessionParams::default(), secs(0));
        assert_eq!(one.take_heartbeat(secs(29)), None);
        assert_eq!(one.take_heartbeat(secs(30)), Some(true));
        assert_eq!(one.take_heartbeat(secs(60)), Some(true));
        assert_eq!(one.take_heartbeat(secs(90)), Some(false));
        one.peer_heartbeat(secs(100), true);
        assert_eq!(one.take_heartbeat(secs(120)), Some(true));
    }

    #[test]
    fn an_unheard_peer_is_answered_at_once_but_not_in_a_loop() {
        let mut one = Liveness::new(Side::Server, SessionParams::default(), secs(0));
        let mut sent = 0;
        for millis in 0..60_000 {
            let now = Instant::from_millis(millis);
            if millis % 100 == 0 {
                one.peer_heartbeat(now, false);
            }
            sent += usize::from(one.take_heartbeat(now).is_some());
        }
        assert_eq!(sent, 20);
    }

    #[test]
    fn without_heartbeats_silence_means_nothing() {
        let params = SessionParams { heartbeat_interval: 0, ..SessionParams::default() };
        let mut server = Liveness::new(Side::Server, params, secs(0));
        assert_eq!(server.take_heartbeat(secs(1_000_000)), None);
        assert!(!server.is_lost(secs(1_000_000)));
        assert_eq!(server.deadline(), None);
    }
}
