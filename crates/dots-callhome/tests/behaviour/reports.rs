//! Reports of many mitigations, and of more than can be read.

use std::sync::Arc;

use dots_callhome::body::{Body, BodyErrorKind, Direction, Lifetime, List, MAX_SCOPES, Scope, Status};
use dots_callhome::wire::{Block, Code, MessageBuf, OptionNumber, udp};
use dots_callhome::{
    AnySource, Client, ClientConfig, ClientEvent, Limits, MitigationRequest, Profile, Refused, Transport, Unreadable,
};
use watchfire_core::{Duration, Instant, Machine, Output, StreamMachine};

use crate::support::{BOTH, PEER, World, attack, scope};

const CUID: &str = "dz6pHjaADkaFTbjr0JGBpw";

fn client(limits: Limits) -> Client<AnySource> {
    let config = ClientConfig::builder(CUID, "server.example").with_limits(limits).build().unwrap();
    Client::new(Arc::new(config), AnySource, [1; 32], Instant::ZERO)
}

/// The `n`th target, with so many sources.
fn many(n: usize, sources: usize) -> Scope {
    let mut scope = scope(&format!("198.{}.{}.7/32", n / 250, n % 250), "192.0.2.1/32");
    scope.source_prefix =
        (0..sources).map(|n| format!("10.0.{}.{}/32", n / 250, n % 250).parse().unwrap()).collect::<List<_>>();
    scope
}

fn seen(events: &[(Instant, ClientEvent)], fits: impl Fn(&ClientEvent) -> Option<u32>) -> Vec<u32> {
    let mut mids: Vec<u32> = events.iter().filter_map(|(_, event)| fits(event)).collect();
    mids.sort_unstable();
    mids.dedup();
    mids
}

fn unreadable(world: &World) -> Vec<Unreadable> {
    let of = |event: &ClientEvent| match event {
        ClientEvent::ReportUnreadable { why } => Some(why.clone()),
        _ => None,
    };
    world.client_events.iter().filter_map(|(_, event)| of(event)).collect()
}

#[test]
fn a_report_of_all_that_a_client_may_ask_for_is_read() {
    for (transport, rows, sources) in
        [(Transport::Datagram, 300, 1), (Transport::Stream, 300, 1), (Transport::Datagram, 120, 48)]
    {
        let place = format!("{rows} with {sources} sources by {transport:?}");
        let mut world = World::new(transport);
        let mids: Vec<u32> =
            (0..rows).map(|n| world.client.request_mitigation(world.now, many(n, sources)).unwrap()).collect();
        world.run(120);
        assert_eq!(seen(&world.client_events, |e| matches!(e, ClientEvent::Granted { .. }).then_some(0)), [0]);
        world.client_events.clear();
        world.connect();
        world.run(30);
        let reported = seen(&world.client_events, |event| match event {
            ClientEvent::Status { scope } => scope.mid,
            _ => None,
        });
        assert_eq!(reported, mids, "{place}");
        // What the server ends is noticed.
        let ids: Vec<_> = world.server.mitigations().iter().map(|(id, _)| id).collect();
        for id in ids.iter().step_by(2) {
            world.server.withdraw(world.now, *id).unwrap();
        }
        world.run(25);
        let ended = seen(&world.client_events, |event| match event {
            ClientEvent::Ended { mid } => Some(*mid),
            _ => None,
        });
        assert_eq!(ended.len(), rows / 2, "{place}");
        // And what is withdrawn comes to an end for both.
        let left: Vec<u32> = world.client.mitigations().map(|(mid, ..)| mid).collect();
        assert_eq!(left.len(), rows / 2, "{place}");
        left.into_iter().for_each(|mid| world.client.withdraw(world.now, mid).unwrap());
        world.run(600);
        assert_eq!(world.server.mitigations().iter().count(), 0, "{place}");
        assert_eq!(world.client.change_cuid("x"), Ok(()), "{place}");
        assert_eq!(unreadable(&world), [], "{place}");
    }
}

#[test]
fn reports_come_to_their_end_though_the_next_one_has_begun() {
    for transport in BOTH {
        let mut world = World::new(transport);
        for n in 0..200 {
            world.client.request_mitigation(world.now, many(n, 1)).unwrap();
        }
        world.run(60);
        let ids: Vec<_> = world.server.mitigations().iter().map(|(id, _)| id).collect();
        world.client_events.clear();
        // Each takes half a second to fetch, and there are ten in a second.
        let mut stopped = false;
        for _ in 0..20 {
            for id in &ids[..10] {
                world.server.attack_stopped(world.now, *id, !stopped).unwrap();
                world.pass(Duration::from_millis(100));
            }
            stopped = !stopped;
        }
        let heard = seen_often(&world.client_events);
        assert!((20..=60).contains(&heard), "{transport:?}: {heard} reports in 20 s");
        assert_eq!(unreadable(&world), [], "{transport:?}");
        // And the last word is heard.
        world.client_events.clear();
        world.server.attack_stopped(world.now, ids[0], true).unwrap();
        world.run(3);
        assert_eq!(world.statuses(1).last(), Some(&Status::Stopped), "{transport:?}");
    }
}

/// How often something was said of the last one.
fn seen_often(events: &[(Instant, ClientEvent)]) -> usize {
    let last = |event: &ClientEvent| matches!(event, ClientEvent::Status { scope } if scope.mid == Some(200));
    events.iter().filter(|(_, event)| last(event)).count()
}

#[test]
fn a_report_beyond_a_limit_is_said_to_be() {
    let limits = Limits::default();
    for (limits, transport) in [
        (limits.with_body(2048), Transport::Datagram),
        (limits.with_body(2048), Transport::Stream),
        (limits.with_mitigations(10).with_scopes(19), Transport::Datagram),
        (limits.with_mitigations(10).with_scopes(20), Transport::Datagram),
    ] {
        let mut world = World::new(transport);
        // More than it asked for itself: an earlier life did.
        for mid in 1..=20 {
            let request = MitigationRequest::check(many(mid as usize, 40), Profile::Rfc9066, false).unwrap();
            world.server.restore(world.now, (PEER, CUID, mid), request, Lifetime::DEFAULT).unwrap();
        }
        world.client = client(limits);
        world.connect();
        world.run(5);
        let why = unreadable(&world);
        match (limits.body, limits.scopes) {
            (2048, _) => assert_eq!(why[0], Unreadable::TooLarge(2048)),
            (_, 19) => {
                assert!(matches!(&why[0], Unreadable::Body(error) if error.kind == BodyErrorKind::TooMany), "{why:?}");
            }
            _ => assert_eq!(why, []),
        }
        let told: Vec<String> = why.iter().map(ToString::to_string).collect();
        assert!(told.iter().all(|text| !text.is_empty()), "{told:?}");
    }
    let config = ClientConfig::builder(CUID, "server.example").with_limits(limits.with_scopes(1023));
    assert!(config.build().unwrap_err().to_string().contains("limits.scopes"));
}

/// Reports that are none, or that the server does not give.
#[test]
fn a_report_that_says_nothing_is_said_to() {
    let heartbeat = Body::Heartbeat { peer_hb_status: true }.to_vec();
    for (code, body) in [
        (Code::CONTENT, heartbeat.clone()),
        (Code::CONTENT, heartbeat[..2].to_vec()),
        (Code::UNAUTHORIZED, b"not you".to_vec()),
        (Code::NOT_FOUND, Vec::new()),
    ] {
        let (mut client, mut why) = (client(Limits::default()), Vec::new());
        client.session_up(Instant::ZERO, Transport::Datagram);
        client.request_mitigation(Instant::ZERO, attack()).unwrap();
        for second in 0..10 {
            let now = Instant::ZERO + Duration::from_secs(second);
            client.handle_timeout(now).unwrap();
            loop {
                match client.poll_output(now) {
                    Output::Transmit(octets) => {
                        let asked = udp::decode(&octets).unwrap().message;
                        let mut path = asked.options.filter(|option| option.number == OptionNumber::URI_PATH);
                        if asked.code == Code::GET && path.any(|option| option.value == b"mitigate") {
                            let mut answer = MessageBuf::new(code, asked.token);
                            answer.set_payload(&body);
                            let mut octets = Vec::new();
                            answer.encode_udp(udp::Type::Non, second as u16, &mut octets);
                            client.handle_input(now, &octets).unwrap();
                        }
                    }
                    Output::Event(ClientEvent::ReportUnreadable { why: said }) => why.push(said),
                    Output::Event(_) => {}
                    Output::Timeout(_) => break,
                }
            }
        }
        match (code, body.len()) {
            (Code::CONTENT, 2) => assert!(matches!(why[0], Unreadable::Body(_)), "{why:?}"),
            (Code::CONTENT, _) => assert_eq!(why[0], Unreadable::WrongBody),
            (Code::UNAUTHORIZED, _) => assert_eq!(why[0], Unreadable::Code(code, "not you".into())),
            _ => assert_eq!(why, [], "nothing is there"),
        }
    }
}

#[test]
fn items_are_counted_for_each_mitigation_of_a_report() {
    let scopes = |n, sources| Body::Mitigation((0..n).map(|at| many(at, sources)).collect()).to_vec();
    assert!(Body::decode(&scopes(MAX_SCOPES, 1), Direction::Response).is_ok());
    let kind = |octets: &[u8], direction| Body::decode(octets, direction).map(|_| ()).map_err(|error| error.kind);
    assert_eq!(kind(&scopes(MAX_SCOPES + 1, 1), Direction::Response), Err(BodyErrorKind::TooMany));
    assert_eq!(kind(&scopes(100, 256), Direction::Response), Ok(()));
    assert_eq!(kind(&scopes(1, 257), Direction::Response), Err(BodyErrorKind::TooMany));
    // Who asks has one.
    assert_eq!(kind(&scopes(257, 1), Direction::Request), Err(BodyErrorKind::TooMany));
    assert_eq!(kind(&scopes(100, 48), Direction::Request), Err(BodyErrorKind::TooMany));
    assert!(Body::decode_report(&scopes(3, 1), 3).is_ok());
    assert!(Body::decode_report(&scopes(4, 1), 3).is_err());
}

/// A server that answers every request by the first block of something large.
#[test]
fn all_that_is_fetched_in_blocks_has_one_limit() {
    for transport in BOTH {
        let mut client = client(Limits::default().with_body(4096));
        client.session_up(Instant::ZERO, transport);
        if transport == Transport::Stream {
            client.handle_input(Instant::ZERO, &[0x00, 0xe1]).unwrap();
        }
        for n in 0..10 {
            client.request_mitigation(Instant::ZERO, many(n, 1)).unwrap();
        }
        let (mut begun, mut refused) = (0, Vec::new());
        for second in 0..20 {
            let now = Instant::ZERO + Duration::from_secs(second);
            client.handle_timeout(now).unwrap();
            loop {
                match client.poll_output(now) {
                    Output::Transmit(octets) => {
                        let Some(asked) = crate::support::parse(transport, &octets) else { continue };
                        let asked = asked.as_message();
                        if asked.code != Code::PUT || asked.option(OptionNumber::BLOCK2).is_some() {
                            continue;
                        }
                        begun += 1;
                        let mut answer = MessageBuf::new(Code::CHANGED, asked.token);
                        answer.push_uint(OptionNumber::BLOCK2, Block { number: 0, more: true, exponent: 6 }.value());
                        answer.set_payload(&[0; 1024]);
                        let mut octets = Vec::new();
                        match transport {
                            Transport::Stream => answer.encode_tcp(&mut octets),
                            Transport::Datagram => answer.encode_udp(udp::Type::Non, begun, &mut octets),
                        }
                        client.handle_input(now, &octets).unwrap();
                    }
                    Output::Event(ClientEvent::Refused { why, .. }) => refused.push(why),
                    Output::Event(_) => {}
                    Output::Timeout(_) => break,
                }
            }
        }
        assert_eq!((begun, refused), (10, vec![Refused::Reset; 6]), "{transport:?}");
    }
}
