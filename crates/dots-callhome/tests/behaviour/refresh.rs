//! A mitigation lasts until it is withdrawn, whatever happens where it must be refreshed.

use dots_callhome::body::{Lifetime, Status};
use dots_callhome::wire::{Code, MessageBuf, OptionNumber, Token, udp};
use dots_callhome::{
    ClientEvent, Limits, MitigationRequest, Profile, Refusal, Server, ServerConfig, ServerEvent, Transport,
};
use watchfire_core::Duration;

use crate::support::{BOTH, Bad, GOOD, ID, PEER, Policy, World, attack, scope};

/// Its refresh is due between 3225 s and 3300 s.
fn mitigating(transport: Transport, seed: u64) -> (World, u32) {
    let mut world = World::with(transport, ServerConfig::default(), Policy::default(), seed);
    let mid = world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(3200);
    (world, mid)
}

fn cut(world: &mut World) {
    world.client.session_down(world.now);
    world.server.session_down(world.now, ID);
}

fn puts(world: &World) -> usize {
    world.requests(true).iter().filter(|(_, request)| request == "0.03 mitigate").count()
}

/// It was in force all the time: nobody ended it, and nobody lifted its filters.
fn assert_unbroken(world: &World, mid: u32, place: &str) {
    let rows: Vec<(u32, Status)> = world.server.mitigations().iter().map(|(_, row)| (row.mid, row.status)).collect();
    assert_eq!(rows, [(mid, Status::SuccessfullyMitigated)], "{place}");
    let over = |event: &ClientEvent| matches!(event, ClientEvent::Ended { .. } | ClientEvent::Refused { .. });
    assert!(!world.client_events.iter().any(|(_, event)| over(event)), "{place}");
    let enforced = world.server_events.iter().filter(|(_, e)| matches!(e, ServerEvent::Enforce { .. })).count();
    let lifted = world.server_events.iter().filter(|(_, e)| matches!(e, ServerEvent::Lift { .. })).count();
    assert_eq!((enforced, lifted), (1, 0), "{place}");
    assert!(!world.requests(true).iter().any(|(_, request)| request == "0.04 mitigate"), "{place}: withdrawn");
    assert_eq!(world.client.mitigations().map(|(mid, ..)| mid).collect::<Vec<_>>(), [mid], "{place}");
}

fn lapses(world: &World) -> usize {
    world.client_events.iter().filter(|(_, event)| matches!(event, ClientEvent::Lapsed { .. })).count()
}

#[test]
fn a_refresh_that_was_due_without_a_session_is_sent_by_the_next_one() {
    for transport in BOTH {
        for up in [3350, 3590] {
            let (mut world, mid) = mitigating(transport, up);
            cut(&mut world);
            world.run(up - 3200);
            world.connect();
            world.run(9000);
            assert_unbroken(&world, mid, &format!("{transport:?}, up at {up}"));
            assert_eq!(lapses(&world), 0);
        }
    }
}

#[test]
fn a_refresh_that_the_session_took_with_it_is_sent_by_the_next_one() {
    for lost in ["on its way there", "on its way back"] {
        for seed in 0..5 {
            let (mut world, mid) = mitigating(Transport::Datagram, seed);
            let bad = Bad { loss: 100, ..GOOD };
            if lost == "on its way there" {
                world.to_server = bad;
            } else {
                world.to_client = bad;
            }
            world.run(120);
            assert!(puts(&world) > 1, "it was sent");
            world.bad(GOOD);
            world.connect();
            world.run(9000);
            assert_unbroken(&world, mid, lost);
            assert_eq!(lapses(&world), 0);
        }
    }
}

#[test]
fn a_stream_that_stalls_over_the_refresh_does_not_end_a_mitigation() {
    for (there, back) in [(70, 0), (0, 70), (100, 100)] {
        let (mut world, mid) = mitigating(Transport::Stream, there);
        world.to_server.delay = Duration::from_secs(there);
        world.to_client.delay = Duration::from_secs(back);
        world.run(200);
        world.bad(GOOD);
        world.run(9000);
        assert_unbroken(&world, mid, &format!("{there} s there, {back} s back"));
        assert_eq!(lapses(&world), 0);
    }
}

#[test]
fn a_refresh_waits_for_room_and_not_for_ever() {
    let (mut world, mid) = mitigating(Transport::Datagram, 1);
    world.to_server.loss = 100;
    for n in 0..Limits::default().requests {
        world.client.request_mitigation(world.now, scope(&format!("198.51.100.{n}/32"), "192.0.2.1/32")).unwrap();
    }
    world.run(200);
    world.to_server = GOOD;
    world.run(3600);
    let row = world.server.mitigations().iter().find(|(_, row)| row.mid == mid).unwrap().1;
    assert_eq!(row.status, Status::SuccessfullyMitigated);
    assert_eq!(lapses(&world), 0);
    assert!(!world.server_events.iter().any(|(_, e)| matches!(e, ServerEvent::Lift { .. })));
}

/// RFC 9066 section 5.2.1: what is said to the server arrives, and what it says does not.
#[test]
fn a_saturated_uplink_over_the_refresh_does_not_make_the_client_withdraw_what_works() {
    for silent in [500, 3000] {
        let (mut world, mid) = mitigating(Transport::Datagram, silent);
        world.to_client.loss = 100;
        world.run(silent);
        world.to_client = GOOD;
        world.run(9000);
        assert_unbroken(&world, mid, &format!("{silent} s"));
        assert_eq!(lapses(&world), 1, "as far as the client knew");
        let last = world.client_events.iter().rposition(|(_, e)| matches!(e, ClientEvent::Lapsed { .. })).unwrap();
        let again = world.client_events[last..].iter().any(|(_, e)| matches!(e, ClientEvent::Granted { .. }));
        assert!(again);
    }
}

#[test]
fn half_of_all_datagrams_may_be_lost_at_any_refresh() {
    for seed in 0..20 {
        let mut world = World::with(Transport::Datagram, ServerConfig::default(), Policy::default(), seed);
        let mid = world.client.request_mitigation(world.now, attack()).unwrap();
        world.run(60);
        world.bad(Bad { loss: 50, duplicates: 25, jitter: Duration::from_millis(200), ..GOOD });
        world.run(6 * 3600);
        assert_unbroken(&world, mid, &format!("seed {seed}"));
        assert_eq!(lapses(&world), 0);
    }
}

/// The server ends it, winds it up and forgets it; whenever the session comes back, it is asked for again.
#[test]
fn what_ended_without_a_session_is_asked_for_again() {
    for transport in BOTH {
        for (up, filters) in [(3650, 1), (3735, 2), (3900, 2)] {
            let (mut world, mid) = mitigating(transport, up);
            cut(&mut world);
            world.run(up - 3200);
            assert_eq!(lapses(&world), 1);
            world.connect();
            world.run(60);
            let place = format!("{transport:?}, up at {up}");
            let rows: Vec<_> = world.server.mitigations().iter().map(|(_, row)| (row.mid, row.status)).collect();
            assert_eq!(rows, [(mid, Status::SuccessfullyMitigated)], "{place}");
            let enforced = world.server_events.iter().filter(|(_, e)| matches!(e, ServerEvent::Enforce { .. })).count();
            assert_eq!(enforced, filters, "{place}");
            assert!(
                !world.client_events.iter().any(|(_, event)| matches!(event, ClientEvent::Ended { .. })),
                "{place}"
            );
        }
    }
}

/// The server has no capacity at that moment, and tells the end of what was (status 6).
#[test]
fn an_end_that_is_reported_of_what_is_asked_for_again_is_none() {
    for transport in BOTH {
        let (mut world, mid) = mitigating(transport, 1);
        cut(&mut world);
        world.run(535);
        world.server.policy_mut().refusal = Some(Refusal::Busy(5));
        world.connect();
        world.run(3);
        assert_eq!(world.statuses(mid).last(), Some(&Status::Terminated), "{transport:?}");
        world.server.policy_mut().refusal = None;
        world.run(60);
        let wanted = world.server.mitigations().iter().filter(|(_, row)| row.is_wanted());
        assert_eq!(wanted.map(|(_, row)| row.mid).collect::<Vec<_>>(), [mid], "{transport:?}");
    }
}

#[test]
fn a_refresh_that_the_application_wants_is_sent_when_it_can_be() {
    for transport in BOTH {
        let (mut world, mid) = mitigating(transport, 1);
        world.run(1000);
        cut(&mut world);
        world.client.refresh(world.now, mid, Some(Lifetime::Seconds(7200))).unwrap();
        world.run(100);
        world.connect();
        world.run(5);
        let id = world.server.mitigations().find(world.client.cuid(), mid).unwrap();
        let left = world.server.report_of(world.now, id).unwrap().lifetime;
        assert!(matches!(left, Some(Lifetime::Seconds(7190..=7200))), "{transport:?}: {left:?}");
        // The last word counts when there are two at once.
        world.client.refresh(world.now, mid, Some(Lifetime::Seconds(600))).unwrap();
        world.client.refresh(world.now, mid, Some(Lifetime::Indefinite)).unwrap();
        world.run(20);
        assert_eq!(
            world.server.report_of(world.now, id).unwrap().lifetime,
            Some(Lifetime::Indefinite),
            "{transport:?}"
        );
        assert_unbroken(&world, mid, &format!("{transport:?}"));
    }
}

#[test]
fn what_the_server_reports_of_a_lifetime_counts_be_it_longer_or_shorter() {
    for (said, refreshed) in [(7200u32, 7800..7930), (400, 1200..1400)] {
        let mut world = World::new(Transport::Datagram);
        let mid = world.client.request_mitigation(world.now, attack()).unwrap();
        world.run(1000);
        // Somebody else with the same credentials asks for the same.
        let request = MitigationRequest::check(attack(), Profile::Rfc9066, false).unwrap();
        let name = (PEER, world.client.cuid(), mid);
        assert_eq!(world.server.restore(world.now, name, request, Lifetime::Seconds(said)), None, "it is there");
        world.run(9000);
        let at: Vec<_> =
            world.requests(true).into_iter().filter(|(_, r)| r == "0.03 mitigate").map(|(at, _)| at).collect();
        let second = at[1].as_micros() / 1_000_000;
        assert!(refreshed.contains(&second), "{said}: at {second}");
        assert_unbroken(&world, mid, &format!("{said}"));
    }
}

/// By the server's decision (status 7), or because somebody else with the same credentials withdraws it (5, then 6).
#[test]
fn what_ends_while_nothing_is_due_is_over() {
    for by_server in [true, false] {
        let mut world = World::new(Transport::Datagram);
        let mid = world.client.request_mitigation(world.now, attack()).unwrap();
        world.run(1000);
        if by_server {
            let id = world.server.mitigations().find(world.client.cuid(), mid).unwrap();
            world.server.withdraw(world.now, id).unwrap();
        } else {
            let mut delete = MessageBuf::new(Code::DELETE, Token::default());
            for part in [".well-known", "dots", "mitigate", &format!("cuid={}", world.client.cuid()), "mid=1"] {
                delete.push_option(OptionNumber::URI_PATH, part.as_bytes());
            }
            let mut octets = Vec::new();
            delete.encode_udp(udp::Type::Non, 7, &mut octets);
            world.server.handle_input(world.now, ID, &octets).unwrap();
        }
        world.run(150);
        assert!(world.client_events.iter().any(|(_, event)| *event == ClientEvent::Ended { mid }), "{by_server}");
        world.run(4000);
        assert_eq!((puts(&world), lapses(&world)), (1, 0), "{by_server}");
    }
}

#[test]
fn a_server_that_forgot_everything_meanwhile_has_it_again() {
    let (mut world, mid) = mitigating(Transport::Stream, 1);
    cut(&mut world);
    world.server = Server::new(ServerConfig::default().into(), Policy::default(), [9; 32], world.now);
    world.run(600);
    world.connect();
    world.run(5);
    assert_eq!(world.server.mitigations().iter().map(|(_, row)| row.mid).collect::<Vec<_>>(), [mid]);
}

/// The later one is granted, and only the answer to the refresh of the earlier one says so.
#[test]
fn a_refresh_of_what_was_replaced_is_its_end_and_no_refusal() {
    let (mut world, first) = mitigating(Transport::Datagram, 1);
    world.run(60);
    world.to_client.loss = 100;
    let second = world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(5);
    world.client.refresh(world.now, first, None).unwrap();
    world.to_client = GOOD;
    world.run(60);
    assert!(world.client_events.iter().any(|(_, event)| *event == ClientEvent::Ended { mid: first }));
    assert!(!world.client_events.iter().any(|(_, event)| matches!(event, ClientEvent::Refused { .. })));
    let wanted = world.server.mitigations().iter().filter(|(_, row)| row.is_wanted());
    assert_eq!(wanted.map(|(_, row)| row.mid).collect::<Vec<_>>(), [second]);
}

#[test]
fn what_is_to_be_replaced_is_refreshed_until_that_is_decided() {
    for transport in BOTH {
        let (mut world, first) = mitigating(transport, 1);
        world.server.policy_mut().refusal = Some(Refusal::Busy(900));
        world.client.request_mitigation(world.now, attack()).unwrap();
        world.run(20);
        world.server.policy_mut().refusal = None;
        world.run(600);
        let row = world.server.mitigations().iter().find(|(_, row)| row.mid == first).unwrap().1;
        assert_eq!(row.status, Status::SuccessfullyMitigated, "{transport:?}");
    }
}
