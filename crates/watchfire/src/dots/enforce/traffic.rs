//! From counters to rates, and to whether the attack has stopped.

use std::collections::VecDeque;
use std::time::Duration;

use dots_callhome::Counters;
use dots_tokio::server::Report;
use tokio::time::Instant;

/// Rates are averages over so long (RFC 9132 section 4.4.2).
const SPAN: Duration = Duration::from_secs(300);
/// Samples kept; older ones are thinned out by their number.
const SAMPLES: usize = 64;

/// What was counted for one mitigation.
#[derive(Debug)]
pub(super) struct Traffic {
    samples: VecDeque<(Instant, u64, u64)>,
    /// When the count last grew, if it ever did.
    moved: Option<Instant>,
}

impl Traffic {
    /// Nothing was counted before `octets` and `packets`.
    pub(super) fn new(now: Instant, octets: u64, packets: u64) -> Self {
        Self { samples: VecDeque::from([(now, octets, packets)]), moved: None }
    }

    /// Takes a sample. `quiet` is how long nothing comes until an attack has stopped; zero for never.
    pub(super) fn count(&mut self, now: Instant, octets: u64, packets: u64, quiet: Duration) -> Report {
        let last = self.samples.back().map_or(0, |(_, _, packets)| *packets);
        if packets > last {
            self.moved = Some(now);
        }
        self.samples.push_back((now, octets, packets));
        while self.samples.len() > SAMPLES
            || self.samples.len() > 2 && self.samples.get(1).is_some_and(|(at, ..)| now - *at >= SPAN)
        {
            self.samples.pop_front();
        }
        let rate = |from: u64, to: u64, since: Instant| {
            let seconds = (now - since).as_secs_f64();
            if seconds > 0.0 { (to.saturating_sub(from) as f64 / seconds).round() as u64 } else { 0 }
        };
        let (since, first_octets, first_packets) = self.samples.front().copied().unwrap_or((now, octets, packets));
        let counters = Counters {
            bytes: octets,
            bps: rate(first_octets, octets, since),
            pkts: packets,
            pps: rate(first_packets, packets, since),
        };
        let report = Report::default().with_counters(counters);
        match self.moved {
            Some(moved) if !quiet.is_zero() => report.with_attack_stopped(now - moved >= quiet),
            _ => report,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_averages_and_silence_is_the_end() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let quiet = Duration::from_secs(60);
        let mut traffic = Traffic::new(begin, 0, 0);
        let report = traffic.count(at(10), 1000, 10, quiet);
        assert_eq!(report.counters, Some(Counters { bytes: 1000, bps: 100, pkts: 10, pps: 1 }));
        assert_eq!(report.attack_stopped, Some(false));
        assert_eq!(traffic.count(at(69), 1000, 10, quiet).attack_stopped, Some(false));
        assert_eq!(traffic.count(at(70), 1000, 10, quiet).attack_stopped, Some(true));
        assert_eq!(traffic.count(at(80), 2000, 11, quiet).attack_stopped, Some(false), "it goes on");
        assert_eq!(Traffic::new(begin, 5, 5).count(at(999), 5, 5, quiet).attack_stopped, None, "it never began");
        for second in 100..2000 {
            traffic.count(at(second), second * 50, second, Duration::ZERO);
            assert!(traffic.samples.len() <= SAMPLES);
        }
        let counters = traffic.count(at(2000), 100_000, 2000, Duration::ZERO).counters.unwrap();
        assert_eq!((counters.bps, counters.pps), (50, 1));
    }
}
