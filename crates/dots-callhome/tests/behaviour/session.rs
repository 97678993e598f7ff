use dots_callhome::body::{ConfigSet, Decimal, List, Offered, RedirectedSignal, SignalConfig};
use dots_callhome::wire::Code;
use dots_callhome::{ClientEvent, NotFollowed, ServerEvent, Transport};
use watchfire_core::{Duration, Instant};

use crate::support::{BOTH, World, attack, scope};

fn config(interval: u16) -> SignalConfig {
    let mut set = ConfigSet::default();
    set.heartbeat_interval = Some(Offered::current(interval));
    SignalConfig::new(Some(set.clone()), Some(set))
}

#[test]
fn the_first_request_of_a_session_asks_for_the_settings() {
    for transport in BOTH {
        let mut world = World::new(transport);
        world.run(5);
        assert_eq!(world.requests(true)[0].1, "0.01 config");
        assert!(matches!(world.client_events[0].1, ClientEvent::Configured { .. }));
    }
}

#[test]
fn heartbeats_cost_what_the_rules_allow() {
    for transport in BOTH {
        let mut world = World::new(transport);
        world.run(3600);
        for by_client in [true, false] {
            let beats: Vec<Instant> =
                world.requests(by_client).into_iter().filter(|(_, r)| r == "0.03 hb").map(|(at, _)| at).collect();
            assert_eq!(beats.len(), 120, "one in 30 s for an hour");
            assert!(beats.windows(2).all(|pair| pair[1] - pair[0] == Duration::from_secs(30)));
        }
        // 5 octets a second may go to a peer that does not answer; no silence is longer than an interval.
        let octets: usize = world.said.iter().filter(|(_, client, _)| *client).map(|(.., octets)| octets.len()).sum();
        assert!(octets < 5 * 3600, "{octets}");
        let ours: Vec<Instant> = world.said.iter().filter(|(_, client, _)| !*client).map(|(at, ..)| *at).collect();
        assert!(ours.windows(2).all(|pair| pair[1] - pair[0] <= Duration::from_secs(30)));
    }
}

#[test]
fn settings_are_negotiated_used_and_refused_out_of_range() {
    let mut world = World::new(Transport::Datagram);
    world.run(1);
    world.client.configure(world.now, config(60)).unwrap();
    world.run(10);
    assert!(world.server_events.iter().any(|(_, e)| matches!(e, ServerEvent::Configured { .. })));
    world.said.clear();
    world.run(600);
    for by_client in [true, false] {
        let beats = world.requests(by_client).iter().filter(|(_, r)| r == "0.03 hb").count();
        assert!((9..=10).contains(&beats), "{beats}");
    }
    world.client.configure(world.now, config(300)).unwrap();
    world.run(5);
    let refused = world.client_events.iter().find_map(|(_, e)| match e {
        ClientEvent::ConfigRefused { code, text } => Some((*code, text.clone())),
        _ => None,
    });
    assert_eq!(refused, Some((Code::UNPROCESSABLE_ENTITY, "heartbeat-interval is out of range".into())));
    world.client.reset_config(world.now);
    world.run(5);
    world.said.clear();
    world.run(600);
    assert_eq!(world.requests(true).iter().filter(|(_, r)| r == "0.03 hb").count(), 20);
}

fn heartbeats(world: &mut World, seconds: u64) -> [usize; 2] {
    world.said.clear();
    world.run(seconds);
    [true, false].map(|by_client| world.requests(by_client).iter().filter(|(_, r)| r == "0.03 hb").count())
}

#[test]
fn settings_are_asked_for_in_every_session_be_it_the_first() {
    for transport in BOTH {
        let mut world = World::new(transport);
        world.client.session_down(world.now);
        world.client.configure(world.now, config(120)).unwrap();
        for round in 0..3 {
            world.connect();
            world.run(10);
            assert_eq!(heartbeats(&mut world, 1200), [10, 10], "{transport:?}, session {round}");
            assert!(!world.client_events.iter().any(|(_, e)| matches!(e, ClientEvent::ConfigRefused { .. })));
        }
        // Chosen while there is a session, they are asked for once in it, and again in the next.
        world.client.configure(world.now, config(60)).unwrap();
        assert_eq!(heartbeats(&mut world, 1200), [20, 20], "{transport:?}");
        let asked = |world: &World| world.requests(true).iter().filter(|(_, r)| r == "0.03 config").count();
        assert_eq!(asked(&world), 1);
        world.connect();
        assert_eq!(heartbeats(&mut world, 1200), [20, 20], "{transport:?}");
        assert_eq!(asked(&world), 1);
        // No more, once they are given up.
        world.client.reset_config(world.now);
        world.run(10);
        world.connect();
        assert_eq!(heartbeats(&mut world, 1200), [40, 40], "{transport:?}");
        assert_eq!(asked(&world), 0);
    }
}

#[test]
fn settings_that_got_lost_are_asked_for_again_be_there_an_attack_or_not() {
    for attacked in [false, true] {
        for before in [false, true] {
            let mut world = World::new(Transport::Datagram);
            world.run(5);
            if attacked {
                world.client.request_mitigation(world.now, attack()).unwrap();
                world.run(5);
            }
            world.to_server.loss = 100;
            world.client.configure(world.now, config(120)).unwrap();
            if before {
                world.client.session_up(world.now, Transport::Datagram);
            }
            world.run(100);
            world.to_server.loss = 0;
            world.run(150);
            assert_eq!(heartbeats(&mut world, 1200), [10, 10], "attacked: {attacked}, with a new session: {before}");
        }
    }
}

#[test]
fn the_mitigating_settings_are_in_force_while_a_mitigation_is() {
    let mut world = World::new(Transport::Datagram);
    world.run(1);
    let mut config = config(240);
    config.mitigating.as_mut().unwrap().heartbeat_interval = Some(Offered::current(15));
    world.client.configure(world.now, config).unwrap();
    world.run(1);
    world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(600);
    for by_client in [true, false] {
        let beats = world.requests(by_client).iter().filter(|(_, r)| r == "0.03 hb").count();
        assert!((39..=41).contains(&beats), "{beats}");
    }
}

#[test]
fn settings_are_fetched_again_in_time_but_not_during_an_attack() {
    let gets = |world: &World| world.requests(true).iter().filter(|(_, r)| r == "0.01 config").count();
    let mut idle = World::new(Transport::Datagram);
    idle.run(4 * 3600);
    assert_eq!(gets(&idle), 5);
    let mut busy = World::new(Transport::Datagram);
    busy.client.request_mitigation(busy.now, attack()).unwrap();
    busy.run(4 * 3600);
    assert_eq!(gets(&busy), 1);
    assert!(!busy.server_events.iter().any(|(_, e)| matches!(e, ServerEvent::SessionLost { .. })));
}

#[test]
fn confirmable_requests_back_off_and_end() {
    let mut world = World::new(Transport::Datagram);
    world.to_server.loss = 100;
    world.said.clear();
    world.client.session_up(world.now, Transport::Datagram);
    world.run(50);
    let gets: Vec<Instant> =
        world.requests(true).into_iter().filter(|(_, r)| r == "0.01 config").map(|(at, _)| at).collect();
    assert_eq!(gets.len(), 4, "once, and three repetitions: {gets:?}");
    let waits: Vec<Duration> = gets.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits[0] >= Duration::from_secs(2) && waits[0] <= Duration::from_secs(3));
    assert_eq!((waits[1], waits[2]), (waits[0] * 2, waits[0] * 4));
}

#[test]
fn nothing_but_confirmable_requests_is_sent_faster_than_each_three_seconds_to_a_silent_peer() {
    let mut world = World::new(Transport::Datagram);
    world.to_client.loss = 100;
    world.said.clear();
    world.client.session_up(world.now, Transport::Datagram);
    for n in 0..10 {
        let target = format!("198.51.100.{n}/32");
        world.client.request_mitigation(world.now, scope(&target, "192.0.2.1/32")).unwrap();
    }
    world.run(120);
    let nons: Vec<Instant> = world
        .said
        .iter()
        .filter(|(_, client, octets)| *client && octets[0] >> 4 & 3 == 1 && octets[1] < 32)
        .map(|(at, ..)| *at)
        .collect();
    assert!(nons.len() >= 30, "{}", nons.len());
    assert!(nons.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(3)));
    assert_eq!(world.server.mitigations().iter().count(), 10);
}

#[test]
fn a_redirection_is_reported_answered_and_numbered() {
    for transport in BOTH {
        let mut world = World::new(transport);
        world.run(1);
        let to = RedirectedSignal::to_client("alt.example", List::one("2001:db8::1".parse().unwrap()), Some(600));
        world.client.redirect(world.now, to.clone(), false).unwrap();
        world.run(5);
        assert!(world.client_events.iter().any(|(_, e)| *e == ClientEvent::Redirected { accepted: true }));
        let seen: Vec<_> =
            world.server_events.iter().filter(|(_, e)| matches!(e, ServerEvent::Redirect { .. })).collect();
        assert_eq!(seen.len(), 1);
        world.client.request_mitigation(world.now, attack()).unwrap();
        assert!(world.client.redirect(world.now, to.clone(), false).is_err(), "not while mitigating");
        assert!(world.client.redirect(world.now, RedirectedSignal::default(), true).is_err(), "not without a name");
    }
}

#[test]
fn a_redirection_that_the_dialer_does_not_follow_is_answered_400_and_may_be_asked_again() {
    for transport in BOTH {
        let mut world = World::new(transport);
        world.run(1);
        let to = RedirectedSignal::to_client("alt.example", List::new(), None);
        for (follow, accepted) in [(Err(NotFollowed::Loop), false), (Ok(()), true)] {
            world.follow = follow;
            world.client.redirect(world.now, to.clone(), false).unwrap();
            world.run(5);
            let last = world.client_events.iter().rev().find(|(_, e)| matches!(e, ClientEvent::Redirected { .. }));
            assert_eq!(last.unwrap().1, ClientEvent::Redirected { accepted });
        }
        assert!(world.client.has_session(), "a refusal keeps the session");
        let asked = world.server_events.iter().filter(|(_, e)| matches!(e, ServerEvent::Redirect { .. })).count();
        assert_eq!(asked, 2);
    }
}

#[test]
fn decimals_print_with_two_digits() {
    assert_eq!(Decimal::from_hundredths(205).to_string(), "2.05");
}
