//! What the timers promise on bad links: how late a request lands, what heartbeats cost, and what a NAT forgets. The
//! bounds are those of RFC 9132 sections 4.4, 4.5 and 4.7 and RFC 9066 section 5.2.1.

use std::sync::Arc;

use dots_callhome::body::{ConfigSet, Offered, SignalConfig};
use dots_callhome::wire::udp;
use dots_callhome::{AnySource, Client, ClientConfig, ClientEvent, Limits, ServerConfig, ServerEvent, Transport};
use watchfire_core::{Duration, Instant, Machine};

use crate::support::{Bad, GOOD, Policy, World, attack, scope};

/// A request that is not answered is repeated each three seconds, or each round trip where that is longer.
const REPEAT: Duration = Duration::from_secs(3);

fn bad(loss: u64) -> Bad {
    // Late by up to two seconds: so they also overtake each other.
    Bad { loss, duplicates: loss / 2, jitter: Duration::from_millis(loss * 40), ..GOOD }
}

#[test]
fn a_request_lands_one_repetition_after_the_last_copy_that_was_lost() {
    let mut most = 0;
    for loss in [0, 10, 25, 50] {
        for (there, back) in [(loss, 0), (0, loss), (loss, loss)] {
            for seed in 0..25 {
                let place = format!("{there} % there, {back} % back, seed {seed}");
                let mut world = World::with(Transport::Datagram, ServerConfig::default(), Policy::default(), seed);
                (world.to_server, world.to_client) = (bad(there), bad(back));
                world.run(40);
                let asked = world.now;
                world.said.clear();
                world.client.request_mitigation(world.now, attack()).unwrap();
                while world.server.mitigations().iter().count() == 0 {
                    world.run(1);
                    assert!(world.now - asked < Duration::from_secs(120), "{place}");
                }
                let copies: Vec<Instant> =
                    world.requests(true).into_iter().filter(|(_, r)| r == "0.03 mitigate").map(|(at, _)| at).collect();
                // A heartbeat or a configuration may have gone just before; then the first waits for its slot.
                assert!(copies[0] - asked <= REPEAT, "{place}: first {:?}", copies[0] - asked);
                for pair in copies.windows(2) {
                    let gap = pair[1] - pair[0];
                    assert!(gap >= REPEAT, "{place}: {gap:?} is too fast");
                    // Other messages may take a slot in between, one of them at most.
                    assert!(gap <= REPEAT * 2 + Duration::from_secs(5), "{place}: {gap:?} is too slow");
                }
                let journey = Duration::from_millis(20 + 2000) + Duration::from_secs(1);
                assert!(world.now - *copies.last().unwrap() <= REPEAT + journey, "{place}");
                most = most.max(copies.len());
                // And the client hears of it: by an answer or by a report.
                let granted =
                    world.until(300, |e| matches!(e, ClientEvent::Granted { .. } | ClientEvent::Status { .. }));
                assert!(
                    granted.is_some()
                        || world.client_events.iter().any(|(_, e)| matches!(e, ClientEvent::Granted { .. })),
                    "{place}"
                );
            }
        }
    }
    assert!(most > 4, "the links were bad: {most} copies");
}

fn interval(seconds: u16) -> SignalConfig {
    let mut set = ConfigSet::default();
    set.heartbeat_interval = Some(Offered::current(seconds));
    SignalConfig::new(Some(set.clone()), Some(set))
}

#[test]
fn heartbeats_cost_one_message_an_interval_and_one_for_a_deaf_peer() {
    for seconds in [15u16, 30, 240] {
        for (there, back) in [(0, 0), (50, 0), (0, 50), (30, 30), (0, 100)] {
            let mut world = World::new(Transport::Datagram);
            world.run(1);
            world.client.configure(world.now, interval(seconds)).unwrap();
            world.run(10);
            (world.to_server, world.to_client) = (Bad { loss: there, ..GOOD }, Bad { loss: back, ..GOOD });
            world.said.clear();
            let hours = 6;
            world.run(hours * 3600);
            for by_client in [true, false] {
                let beats: Vec<Instant> =
                    world.requests(by_client).into_iter().filter(|(_, r)| r == "0.03 hb").map(|(at, _)| at).collect();
                let due = hours * 3600 / u64::from(seconds);
                let place = format!("{seconds} s, {there}/{back} %, by client {by_client}");
                // A peer that says that it hears nothing may be answered at once.
                let unheard = world.said.iter().filter(|(_, client, octets)| {
                    *client != by_client && octets.ends_with(&[0xa1, 0x18, 0x31, 0xa1, 0x18, 0x33, 0xf4])
                });
                let due_most = due + 1 + unheard.count() as u64;
                assert!(beats.len() as u64 <= due_most, "{place}: {} of {due_most}", beats.len());
                // No NAT between them forgets them: the server, at least, is never silent for longer.
                assert!(beats.len() as u64 >= due - 1, "{place}: {} of {due}", beats.len());
                let longest = beats.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
                assert!(longest <= Duration::from_secs(u64::from(seconds)) + REPEAT, "{place}: {longest:?}");
                // No more octets than a peer may be sent that does not answer: the default probing rate. Answers are not
                // of that kind.
                let own = world.said.iter().filter(|(_, client, octets)| {
                    *client == by_client && udp::decode(octets).unwrap().message.code.is_request()
                });
                let octets: usize = own.map(|(.., octets)| octets.len()).sum();
                assert!((octets as u64) < 5 * hours * 3600, "{place}: {octets}");
            }
        }
    }
}

#[test]
fn heartbeats_go_out_however_many_requests_wait() {
    // With a round-trip time that is known, which is that between messages, and without one.
    for (limit, asked, known) in [(64, 100, true), (64, 100, false), (1, 3, true)] {
        let mut world = World::new(Transport::Datagram);
        let limits = Limits::default().with_requests(limit);
        let config = ClientConfig::builder("dz6pHjaADkaFTbjr0JGBpw", "server.example").with_limits(limits).build();
        world.client = Client::new(Arc::new(config.unwrap()), AnySource, [1; 32], world.now);
        world.connect();
        world.to_client.loss = if known { 0 } else { 100 };
        world.run(10);
        world.to_client.loss = 100;
        for n in 0..asked {
            world.client.request_mitigation(world.now, scope(&format!("198.51.100.{n}/32"), "192.0.2.1/32")).unwrap();
        }
        // The requests themselves go first.
        world.run(if known { 30 } else { limit as u64 * 3 + 30 });
        world.said.clear();
        world.run(600);
        let beats: Vec<Instant> =
            world.requests(true).into_iter().filter(|(_, r)| r == "0.03 hb").map(|(at, _)| at).collect();
        assert!((19..=21).contains(&beats.len()), "{limit}: {}", beats.len());
        assert!(beats.windows(2).all(|pair| pair[1] - pair[0] <= Duration::from_secs(30) + REPEAT), "{limit}");
        assert!(!world.client_events.iter().any(|(_, e)| *e == ClientEvent::SessionSilent));
    }
}

/// Time in which nothing that leaves the server's network means that nothing gets in.
fn behind_nat(world: &World, from: usize, forgets: Duration) -> bool {
    let last = world.said.iter().skip(from).filter(|(_, client, _)| !*client).map(|(at, ..)| *at).max();
    last.is_some_and(|last| world.now - last <= forgets)
}

#[test]
fn a_nat_that_forgets_after_a_minute_lets_a_request_through_at_any_time() {
    for idle in [0, 17, 59, 600, 3601, 7333] {
        let mut world = World::new(Transport::Datagram);
        world.run(2);
        for _ in 0..idle {
            world.run(1);
            assert!(behind_nat(&world, 0, Duration::from_secs(60)), "silent at {:?}", world.now);
        }
        world.client.request_mitigation(world.now, attack()).unwrap();
        world.run(4);
        assert_eq!(world.server.mitigations().iter().count(), 1, "after {idle} s");
    }
}

#[test]
fn a_nat_that_forgets_at_once_delays_a_request_by_an_interval_at_most() {
    for at in [0, 7, 29, 100] {
        let mut world = World::new(Transport::Datagram);
        world.run(30 + at);
        // The binding is gone: whatever the client says goes nowhere until something comes out again.
        world.to_server = Bad { loss: 100, ..GOOD };
        let (forgotten, from) = (world.now, world.said.len());
        world.client.request_mitigation(world.now, attack()).unwrap();
        while world.server.mitigations().iter().count() == 0 {
            world.run(1);
            if behind_nat(&world, from, Duration::MAX) {
                world.to_server = GOOD;
            }
            assert!(world.now - forgotten <= Duration::from_secs(30) + REPEAT * 2, "{:?}", world.now - forgotten);
        }
        world.run(10);
        assert!(!world.server_events.iter().any(|(_, e)| matches!(e, ServerEvent::SessionLost { .. })));
        assert!(world.client.has_session());
    }
}

#[test]
fn ten_minutes_without_a_single_datagram_end_it_once_and_a_new_session_goes_on_where_it_was() {
    for seed in 0..20 {
        let mut world = World::with(Transport::Datagram, ServerConfig::default(), Policy::default(), seed);
        world.bad(bad(seed % 4 * 10));
        let mid = world.client.request_mitigation(world.now, attack()).unwrap();
        world.run(90);
        let heard = world.now;
        world.bad(Bad { loss: 100, ..GOOD });
        world.run(600);
        let lost: Vec<Instant> = world
            .server_events
            .iter()
            .filter(|(_, e)| matches!(e, ServerEvent::SessionLost { .. }))
            .map(|(at, _)| *at)
            .collect();
        assert_eq!(lost.len(), 1, "seed {seed}");
        // 15 intervals of 30 s after what was heard last, which may have travelled for a while.
        assert!(lost[0] - heard <= Duration::from_secs(452), "seed {seed}: {:?}", lost[0] - heard);
        assert!(lost[0] - heard >= Duration::from_secs(450 - 35), "seed {seed}: {:?}", lost[0] - heard);
        // The client reported an attack that may be what silences the server: it never gives the session up.
        assert!(world.client.has_session(), "seed {seed}");
        assert!(!world.client_events.iter().any(|(_, e)| *e == ClientEvent::SessionSilent), "seed {seed}");
        world.bad(GOOD);
        world.connect();
        world.client_events.clear();
        world.run(30);
        assert_eq!(world.server.mitigations().iter().filter(|(_, row)| row.is_wanted()).count(), 1, "seed {seed}");
        let known = world.client_events.iter().any(|(_, e)| match e {
            ClientEvent::Status { scope } => scope.mid == Some(mid),
            ClientEvent::Granted { mid: of, .. } => *of == mid,
            _ => false,
        });
        assert!(known, "seed {seed}: {:?}", world.client_events);
    }
}

#[test]
fn a_clock_that_jumps_ahead_ends_what_is_over_and_floods_nobody() {
    for jump in [61, 3600, 40 * 24 * 3600] {
        let mut world = World::new(Transport::Datagram);
        world.client.request_mitigation(world.now, attack()).unwrap();
        world.run(10);
        // A suspended machine: nothing is called, and then the clock is elsewhere.
        world.said.clear();
        world.now = world.now + Duration::from_secs(jump);
        world.client.handle_timeout(world.now).unwrap();
        world.server.handle_timeout(world.now).unwrap();
        world.drain();
        assert!(world.said.len() <= 12, "{jump}: {} messages at once", world.said.len());
        world.run(3600);
        let soon = world.said.first().map(|(at, ..)| *at + Duration::from_secs(60)).unwrap();
        let minute = world.said.iter().filter(|(at, ..)| *at <= soon).count();
        assert!(minute <= 60, "{jump}: {minute} messages in the first minute");
    }
}
