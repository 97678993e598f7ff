use std::net::IpAddr;

use dots_callhome::body::{List, RedirectedSignal};
use dots_callhome::{AttemptId, Dialer, DialerConfig, DialerEvent, NotFollowed, Transport};
use watchfire_core::{Duration, Instant, Machine, Output};

struct Net {
    dialer: Dialer,
    now: Instant,
    log: Vec<(Instant, DialerEvent)>,
    /// What works.
    works: fn(Transport, IpAddr) -> bool,
    /// How long an attempt takes to fail; `None` when nothing is heard.
    fails_after: Option<Duration>,
    pending: Vec<(Instant, AttemptId, bool)>,
}

impl Net {
    fn new(works: fn(Transport, IpAddr) -> bool) -> Self {
        let dialer =
            Dialer::new(DialerConfig::builder("client.example", 4647).build().unwrap(), [1; 32], Instant::ZERO);
        let mut net =
            Self { dialer, now: Instant::ZERO, log: Vec::new(), works, fails_after: None, pending: Vec::new() };
        net.dialer.start(net.now);
        net
    }

    fn run(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        for _ in 0..100_000 {
            let wake = loop {
                match self.dialer.poll_output(self.now) {
                    Output::Event(event) => {
                        match &event {
                            DialerEvent::Resolve { .. } => {
                                let addresses = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse().unwrap());
                                self.dialer.resolved(self.now, addresses.to_vec());
                            }
                            DialerEvent::Connect { attempt, transport, to, .. } => {
                                if (self.works)(*transport, to.ip()) {
                                    self.pending.push((self.now + Duration::from_millis(20), *attempt, true));
                                } else if let Some(after) = self.fails_after {
                                    self.pending.push((self.now + after, *attempt, false));
                                }
                            }
                            _ => {}
                        }
                        self.log.push((self.now, event));
                    }
                    Output::Transmit(never) => match never {},
                    Output::Timeout(at) => break at,
                }
            };
            let next = self.pending.iter().map(|(at, ..)| *at).chain(wake).min().filter(|at| *at <= end);
            let Some(next) = next else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            let now = self.now;
            let (due, later): (Vec<_>, Vec<_>) = self.pending.drain(..).partition(|(at, ..)| *at <= now);
            self.pending = later;
            for (_, attempt, works) in due {
                if works { self.dialer.connected(now, attempt) } else { self.dialer.failed(now, attempt) }
            }
            if wake.is_some_and(|wake| wake <= now) {
                self.dialer.handle_timeout(now).unwrap();
            }
        }
        panic!("running in circles at {:?}", self.now);
    }

    fn connects(&self) -> Vec<(Instant, Transport, bool)> {
        let connects = self.log.iter().filter_map(|(at, event)| match event {
            DialerEvent::Connect { transport, to, .. } => Some((*at, *transport, to.is_ipv6())),
            _ => None,
        });
        connects.collect()
    }
}

#[test]
fn attempts_follow_the_order_of_the_rfc_and_its_delays() {
    for (attack, delay) in [(false, 250), (true, 100)] {
        let mut net = Net::new(|_, _| false);
        net.dialer.set_attack(net.now, attack);
        net.run(5);
        let expected = [
            (Transport::Datagram, true),
            (Transport::Datagram, false),
            (Transport::Stream, true),
            (Transport::Stream, false),
        ];
        let connects = net.connects();
        assert_eq!(connects.iter().map(|(_, t, v6)| (*t, *v6)).collect::<Vec<_>>(), expected);
        for (n, (at, ..)) in connects.iter().enumerate() {
            assert_eq!(*at, Instant::from_millis(delay * n as u64));
        }
    }
}

#[test]
fn the_first_that_works_wins_and_the_others_are_given_up() {
    let mut net = Net::new(|transport, _| transport == Transport::Stream);
    net.run(5);
    let up: Vec<_> =
        net.log.iter().filter(|(_, e)| matches!(e, DialerEvent::Up { transport: Transport::Stream, .. })).collect();
    assert_eq!(up.len(), 1);
    assert_eq!(net.log.iter().filter(|(_, e)| matches!(e, DialerEvent::Cancel { .. })).count(), 2);
    assert!(net.dialer.is_up());
    // A second start is no second session.
    net.dialer.start(net.now);
    net.run(5);
    assert_eq!(net.connects().len(), 3);
}

#[test]
fn failing_establishments_keep_their_distance_for_ever() {
    for fails_after in [Some(Duration::ZERO), Some(Duration::from_millis(10)), None] {
        let mut net = Net::new(|_, _| false);
        net.fails_after = fails_after;
        net.run(24 * 3600);
        let begins: Vec<Instant> =
            net.log.iter().filter(|(_, e)| matches!(e, DialerEvent::Resolve { .. })).map(|(at, _)| *at).collect();
        assert!(begins.len() > 200, "{}", begins.len());
        assert!(begins.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(60)));
        assert!(begins.windows(2).all(|pair| pair[1] - pair[0] <= Duration::from_secs(301)));
        assert!(net.log.iter().any(|(_, e)| matches!(e, DialerEvent::Unreachable { .. })));
    }
}

#[test]
fn a_lost_session_is_tried_again_at_once_on_what_worked_and_with_resumption() {
    let mut net = Net::new(|transport, _| transport == Transport::Stream);
    net.run(100);
    net.log.clear();
    net.dialer.lost(net.now);
    let lost = net.now;
    net.run(5);
    let Some((at, DialerEvent::Connect { transport, resume, .. })) = net.log.first() else { panic!("{:?}", net.log) };
    assert_eq!((*at, *transport, *resume), (lost, Transport::Stream, true));
    // Long after, everything is tried again.
    net.run(1000);
    net.log.clear();
    net.dialer.lost(net.now);
    net.run(5);
    assert_eq!(net.connects()[0].1, Transport::Datagram);
}

#[test]
fn sessions_that_break_at_once_do_not_make_a_storm() {
    let mut net = Net::new(|_, _| true);
    let mut ups = 0;
    for _ in 0..3600 {
        net.run(1);
        if net.dialer.is_up() {
            ups += 1;
            net.dialer.lost(net.now);
        }
    }
    assert!((13..=40).contains(&ups), "{ups} in an hour");
    // One that lasts puts an end to it.
    net.run(400);
    assert!(net.dialer.is_up());
    net.log.clear();
    net.dialer.lost(net.now);
    let lost = net.now;
    net.run(1);
    assert_eq!(net.connects()[0].0, lost);
}

#[test]
fn who_refuses_us_behind_the_handshake_is_left_alone_as_after_any_failure() {
    let mut net = Net::new(|_, _| true);
    let mut waits = Vec::new();
    for _ in 0..12 {
        let from = net.now;
        while !net.dialer.is_up() {
            net.run(1);
            assert!(net.now - from < Duration::from_secs(302));
        }
        waits.push(net.now - from);
        net.dialer.refused(net.now);
        assert!(!net.dialer.is_up());
    }
    assert!(waits[1..].iter().all(|wait| *wait >= Duration::from_secs(60)), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait > Duration::from_secs(150)), "it grows: {waits:?}");
    net.run(0);
    let unreachable = net.log.iter().filter(|(_, e)| matches!(e, DialerEvent::Unreachable { .. })).count();
    assert_eq!(unreachable, 12, "administrators are told each time");
    // What refused is the last to be tried again.
    let connects = net.connects();
    assert_eq!((connects[0].1, connects[0].2), (Transport::Datagram, true));
    assert_eq!((connects[1].1, connects[1].2), (Transport::Datagram, false));
}

#[test]
fn what_worked_and_says_nothing_now_does_not_hold_up_the_rest() {
    static MOVED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    let mut net = Net::new(|_, address| address.is_ipv6() != MOVED.load(std::sync::atomic::Ordering::Relaxed));
    net.run(100);
    MOVED.store(true, std::sync::atomic::Ordering::Relaxed);
    net.log.clear();
    net.dialer.lost(net.now);
    let lost = net.now;
    net.run(5);
    assert!(net.dialer.is_up());
    let connects = net.connects();
    assert_eq!(connects[0], (lost, Transport::Datagram, true));
    assert_eq!(
        connects[1],
        (lost + Duration::from_millis(250), Transport::Datagram, false),
        "the silent one not twice"
    );
}

fn events(dialer: &mut Dialer, now: Instant) -> Vec<DialerEvent> {
    std::iter::from_fn(|| match dialer.poll_output(now) {
        Output::Event(event) => Some(event),
        _ => None,
    })
    .collect()
}

#[test]
fn what_is_discovered_anew_is_moved_to_beside_the_session_but_not_during_an_attack() {
    let mut now = Instant::ZERO;
    let mut dialer = Dialer::new(DialerConfig::builder("client.example", 4647).build().unwrap(), [1; 32], now);
    dialer.start(now);
    events(&mut dialer, now);
    let (udp, tcp) = ((Transport::Datagram, "192.0.2.1:5001"), (Transport::Stream, "192.0.2.1:5000"));
    let at = |(transport, to): (Transport, &str)| (transport, to.parse().unwrap());
    dialer.found(now, vec![at(tcp), at(udp)]);
    let connect = |dialer: &mut Dialer, now: Instant| match &events(dialer, now)[..] {
        [DialerEvent::Connect { attempt, transport, to, probe, .. }] => (*attempt, (*transport, *to), *probe),
        other => panic!("{other:?}"),
    };
    let (first, place, probe) = connect(&mut dialer, now);
    assert_eq!((place, probe), (at(udp), false), "each at its own port");
    dialer.connected(now, first);
    events(&mut dialer, now);
    now = now + Duration::from_secs(600);
    dialer.found(now, vec![at(udp)]);
    let elsewhere = (Transport::Datagram, "198.51.100.1:5001");
    dialer.set_attack(now, true);
    dialer.found(now, vec![at(elsewhere)]);
    assert!(events(&mut dialer, now).is_empty());
    dialer.set_attack(now, false);
    dialer.found(now, vec![at(elsewhere)]);
    let (second, place, probe) = connect(&mut dialer, now);
    assert_eq!((place, probe), (at(elsewhere), true));
    dialer.found(now, vec![at(elsewhere)]);
    assert!(events(&mut dialer, now).is_empty(), "one attempt is enough");
    // What does not work is not tried again so soon; what else there is, is.
    dialer.failed(now, second);
    dialer.found(now, vec![at(elsewhere)]);
    assert!(events(&mut dialer, now).is_empty());
    let stream = (Transport::Stream, "198.51.100.1:5000");
    dialer.found(now, vec![at(elsewhere), at(stream)]);
    let (third, place, probe) = connect(&mut dialer, now);
    assert_eq!((place, probe), (at(stream), true));
    dialer.connected(now, third);
    assert_eq!(events(&mut dialer, now), [DialerEvent::Switch { attempt: third }]);
    assert!(dialer.is_up());
    // Whoever sent us elsewhere knows where that is.
    dialer.redirect(now, &RedirectedSignal::to_client("alt.example", List::new(), None)).unwrap();
    events(&mut dialer, now);
    dialer.found(now, vec![at(udp)]);
    assert!(events(&mut dialer, now).is_empty());
    dialer.resolved(now, vec!["203.0.113.1".parse().unwrap()]);
    assert_eq!(connect(&mut dialer, now).1, at((Transport::Datagram, "203.0.113.1:4647")));
}

#[test]
fn udp_is_probed_rarely_from_tcp() {
    static UDP: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    let mut net =
        Net::new(|transport, _| transport == Transport::Stream || UDP.load(std::sync::atomic::Ordering::Relaxed));
    net.run(3 * 24 * 3600);
    let probes =
        |net: &Net| net.log.iter().filter(|(_, e)| matches!(e, DialerEvent::Connect { probe: true, .. })).count();
    assert_eq!(probes(&net), 2, "once a day: the third is due in a moment");
    UDP.store(true, std::sync::atomic::Ordering::Relaxed);
    net.run(24 * 3600);
    assert!(net.log.iter().any(|(_, e)| matches!(e, DialerEvent::Switch { .. })));
}

fn to(name: &str, ttl: Option<u32>) -> RedirectedSignal {
    RedirectedSignal::to_client(name, List::one("2001:db8::99".parse().unwrap()), ttl)
}

fn last_name(net: &Net) -> String {
    let name = net.log.iter().rev().find_map(|(_, e)| match e {
        DialerEvent::Connect { name, .. } => Some(name.clone()),
        _ => None,
    });
    name.unwrap()
}

#[test]
fn a_redirection_is_followed_until_its_time_is_over_but_not_during_an_attack() {
    let mut net = Net::new(|_, _| true);
    net.run(10);
    net.dialer.redirect(net.now, &to("alt.example", Some(600))).unwrap();
    net.run(10);
    assert_eq!(last_name(&net), "alt.example");
    assert!(net.dialer.is_up());
    net.dialer.set_attack(net.now, true);
    net.run(1200);
    assert_eq!(net.dialer.peer_name(), "alt.example");
    net.dialer.set_attack(net.now, false);
    net.run(10);
    assert_eq!(last_name(&net), "client.example");
}

#[test]
fn redirections_in_a_circle_are_not_followed() {
    let mut net = Net::new(|_, _| true);
    net.run(10);
    net.dialer.redirect(net.now, &to("alt.example", None)).unwrap();
    net.run(10);
    assert_eq!(net.dialer.redirect(net.now, &to("client.example", None)), Err(NotFollowed::Loop));
    assert_eq!(net.dialer.redirect(net.now, &to("alt.example", None)), Err(NotFollowed::Loop));
    assert_eq!(net.dialer.redirect(net.now, &RedirectedSignal::default()), Err(NotFollowed::Nobody));
    net.run(400);
    assert_eq!(net.dialer.redirect(net.now, &to("client.example", None)), Ok(()));
}

#[test]
fn an_alternate_that_cannot_be_reached_is_left_for_whom_we_know() {
    let mut net = Net::new(|_, address| address != "2001:db8::99".parse::<IpAddr>().unwrap());
    net.fails_after = Some(Duration::from_millis(10));
    net.run(10);
    net.dialer.redirect(net.now, &to("alt.example", None)).unwrap();
    net.run(10);
    assert_eq!(last_name(&net), "client.example");
    assert!(net.dialer.is_up());
}

#[test]
fn a_ttl_of_zero_is_for_one_connection() {
    let mut net = Net::new(|_, _| true);
    net.run(10);
    net.dialer.redirect(net.now, &to("alt.example", Some(0))).unwrap();
    net.run(100);
    assert_eq!(net.dialer.peer_name(), "alt.example");
    net.dialer.lost(net.now);
    net.run(10);
    assert_eq!(last_name(&net), "client.example");
}

#[test]
fn addresses_of_a_redirection_without_any_are_looked_up() {
    let mut net = Net::new(|_, _| true);
    net.run(10);
    net.log.clear();
    net.dialer.redirect(net.now, &RedirectedSignal::to_client("alt.example", List::new(), None)).unwrap();
    net.run(10);
    assert!(net.log.iter().any(|(_, e)| *e == DialerEvent::Resolve { name: "alt.example".into() }));
}
