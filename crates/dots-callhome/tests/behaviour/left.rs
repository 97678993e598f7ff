//! What the server keeps though nobody asks for it any more is found, and withdrawn; nothing else is.

use std::sync::Arc;

use dots_callhome::body::{Body, Lifetime, Scope, Status};
use dots_callhome::wire::{Code, MessageBuf, OptionNumber, Token, udp};
use dots_callhome::{
    AnySource, Client, ClientConfig, ClientEvent, Limits, MitigationRequest, Profile, Refusal, Refused, Rules,
    ServerConfig, ServerEvent, Transport,
};
use watchfire_core::{Duration, Instant, Machine, Output, StreamMachine};

use crate::support::{BOTH, PEER, Policy, World, attack, scope};

const NONE: [u32; 0] = [];
const CUID: &str = "dz6pHjaADkaFTbjr0JGBpw";

/// Mids that the server mitigates and is not winding up.
fn wanted(world: &World) -> Vec<u32> {
    world.server.mitigations().iter().filter(|(_, row)| row.is_wanted()).map(|(_, row)| row.mid).collect()
}

fn sent(world: &World, request: &str) -> usize {
    world.requests(true).iter().filter(|(_, sent)| sent == request).count()
}

/// Once with notifications to tell that the request came after all, once with nothing but its late answer.
#[test]
fn a_request_that_arrives_behind_its_withdrawal_is_withdrawn_again() {
    for observed in [true, false] {
        let mut world = World::new(Transport::Datagram);
        if observed {
            let other = scope("2001:db8:c000::2/128", "2001:db8:123::2/128");
            world.client.request_mitigation(world.now, other).unwrap();
            world.run(25);
        } else {
            world.run(20);
        }
        world.to_server.delay = Duration::from_secs(20);
        let mid = world.client.request_mitigation(world.now, attack()).unwrap();
        world.drain();
        world.to_server.delay = Duration::from_millis(20);
        world.client.withdraw(world.now, mid).unwrap();
        world.run(10);
        assert!(world.client_events.iter().any(|(_, event)| *event == ClientEvent::Withdrawn { mid }));
        assert!(world.server.mitigations().iter().all(|(_, row)| row.mid != mid), "the request is still on its way");
        world.run(20);
        let row = world.server.mitigations().iter().find(|(_, row)| row.mid == mid).map(|(_, row)| row.is_wanted());
        assert_eq!(row, Some(false), "{observed}: it came, and is withdrawn");
        world.run(400);
        assert!(world.server.mitigations().iter().all(|(_, row)| row.mid != mid));
        let said = |fits: fn(&ClientEvent, u32) -> bool| {
            world.client_events.iter().filter(|(_, event)| fits(event, mid)).count()
        };
        assert_eq!(said(|event, of| *event == ClientEvent::Withdrawn { mid: of }), 1);
        assert_eq!(said(|event, of| *event == ClientEvent::Ended { mid: of }), 1);
    }
}

/// As above, and nothing of what the server says about it arrives.
#[test]
fn a_request_that_may_have_arrived_behind_its_withdrawal_is_withdrawn_again_in_time() {
    let mut world = World::new(Transport::Datagram);
    world.run(25);
    world.to_server.delay = Duration::from_secs(20);
    let mid = world.client.request_mitigation(world.now, attack()).unwrap();
    world.drain();
    world.to_server.delay = Duration::from_millis(20);
    world.client.withdraw(world.now, mid).unwrap();
    world.run(10);
    world.to_client.loss = 100;
    world.run(20);
    world.to_client.loss = 0;
    assert!(world.server.mitigations().iter().any(|(_, row)| row.mid == mid && row.is_wanted()));
    world.run(150);
    assert!(!world.server.mitigations().iter().any(|(_, row)| row.is_wanted()));
}

/// The first request arrives and its answer is lost; the second, which takes its place, is withdrawn before it is sent.
#[test]
fn a_request_whose_successor_never_left_is_withdrawn_too() {
    let mut world = World::new(Transport::Datagram);
    world.run(25);
    world.to_client.loss = 100;
    let first = world.client.request_mitigation(world.now, attack()).unwrap();
    world.drain();
    let second = world.client.request_mitigation(world.now, attack()).unwrap();
    world.client.withdraw(world.now, second).unwrap();
    world.run(1);
    assert_eq!(world.server_events.iter().filter(|(_, e)| matches!(e, ServerEvent::Enforce { .. })).count(), 1);
    assert!(world.server.mitigations().iter().all(|(_, row)| row.mid == first));
    world.to_client.loss = 0;
    world.run(20);
    assert!(!world.server.mitigations().iter().any(|(_, row)| row.is_wanted()));
    world.run(400);
    assert_eq!(world.server.mitigations().iter().count(), 0);
}

/// The server hears of the first request and not of the second.
#[test]
fn what_a_withdrawn_request_had_replaced_does_not_stay_behind() {
    let mut world = World::new(Transport::Datagram);
    let first = world.client.request_mitigation(world.now, attack()).unwrap();
    world.drain();
    let second = world.client.request_mitigation(world.now, attack()).unwrap();
    world.client.withdraw(world.now, second).unwrap();
    world.run(10);
    assert!(!world.server.mitigations().iter().any(|(_, row)| row.mid == first && row.is_wanted()));
    assert_eq!(world.client.mitigations().filter(|(mid, ..)| *mid == first).count(), 0);
}

#[test]
fn a_server_that_keeps_what_should_have_been_replaced_is_told() {
    // It tells requests for one target apart by their sources.
    for transport in BOTH {
        let rules = Rules::default().with_sources_too(true);
        let config = ServerConfig::builder().with_rules(rules).build().unwrap();
        let mut world = World::with(transport, config, Policy::default(), 1);
        let first = world.client.request_mitigation(world.now, scope("203.0.113.7/32", "192.0.2.1/32")).unwrap();
        world.run(10);
        let second = world.client.request_mitigation(world.now, scope("203.0.113.7/32", "192.0.2.2/32")).unwrap();
        assert_eq!(wanted(&world), [first]);
        world.run(20);
        assert_eq!(wanted(&world), [second], "{transport:?}");
    }
}

#[test]
fn what_is_to_be_replaced_stays_until_that_is_decided() {
    for transport in BOTH {
        for granted in [true, false] {
            let mut world = World::new(transport);
            let first = world.client.request_mitigation(world.now, attack()).unwrap();
            world.run(10);
            world.server.policy_mut().refusal = Some(Refusal::Busy(100));
            let second = world.client.request_mitigation(world.now, attack()).unwrap();
            world.run(200);
            assert_eq!(wanted(&world), [first], "{transport:?}: {second} waits");
            assert_eq!(sent(&world, "0.04 mitigate"), 0);
            world.server.policy_mut().refusal = (!granted).then_some(Refusal::Unauthorized);
            world.run(200);
            assert_eq!(wanted(&world), [if granted { second } else { first }], "{transport:?}");
        }
    }
}

#[test]
fn what_the_server_does_not_want_to_refresh_it_does_not_keep() {
    for transport in BOTH {
        let mut world = World::new(transport);
        let mid = world.client.request_mitigation(world.now, attack()).unwrap();
        world.run(200);
        world.server.policy_mut().refusal = Some(Refusal::Unauthorized);
        world.client.refresh(world.now, mid, None).unwrap();
        world.run(20);
        let refused = |(_, event): &(_, _)| matches!(event, ClientEvent::Refused { mid: of, why: Refused::Code(..) } if *of == mid);
        assert!(world.client_events.iter().any(refused));
        assert_eq!(wanted(&world), NONE, "{transport:?}");
    }
}

#[test]
fn a_withdrawal_that_nothing_can_overtake_is_believed() {
    for transport in BOTH {
        let mut world = World::new(transport);
        let mid = world.client.request_mitigation(world.now, attack()).unwrap();
        world.run(200);
        let asked = sent(&world, "0.01 mitigate");
        world.client.withdraw(world.now, mid).unwrap();
        world.run(600);
        assert_eq!(wanted(&world), NONE);
        assert_eq!(sent(&world, "0.01 mitigate"), asked, "{transport:?}");
        assert_eq!(sent(&world, "0.04 mitigate"), 1, "{transport:?}");
    }
}

#[test]
fn what_an_earlier_life_or_another_holder_of_the_name_asked_for_stays() {
    for transport in BOTH {
        let mut world = World::new(transport);
        for mid in [1, 5] {
            let other = scope(&format!("10.0.{mid}.0/24"), "192.0.2.1/32");
            let request = MitigationRequest::check(other, Profile::Rfc9066, false).unwrap();
            world.server.restore(world.now, (PEER, CUID, mid), request, Lifetime::DEFAULT).unwrap();
        }
        // This one is refused, because there is one of that number: so it is not ours.
        world.client.request_mitigation_as(world.now, 1, attack()).unwrap();
        world.run(10);
        // These are ours.
        world.client.request_mitigation_as(world.now, 4, attack()).unwrap();
        world.run(5);
        world.client.request_mitigation_as(world.now, 6, attack()).unwrap();
        world.run(5);
        assert_eq!(wanted(&world), [1, 5, 6], "{transport:?}");
        world.client.withdraw(world.now, 6).unwrap();
        world.run(500);
        assert_eq!(wanted(&world), [1, 5], "{transport:?}");
    }
}

#[test]
fn a_reconnection_finds_what_was_left_behind() {
    for transport in BOTH {
        let mut world = World::new(transport);
        let first = world.client.request_mitigation(world.now, attack()).unwrap();
        world.run(10);
        // Nothing that happens from here on arrives.
        world.client.session_down(world.now);
        let second = world.client.request_mitigation(world.now, attack()).unwrap();
        world.client.withdraw(world.now, second).unwrap();
        world.run(100);
        assert_eq!(wanted(&world), [first]);
        world.connect();
        world.run(10);
        assert_eq!(wanted(&world), NONE, "{transport:?}");
        assert!(world.client.change_cuid("x").is_err(), "it is still being wound up");
        world.run(400);
        assert_eq!(world.client.change_cuid("x"), Ok(()));
    }
}

#[test]
fn more_requests_than_may_be_under_way_wait_for_their_turn() {
    for transport in BOTH {
        let mut world = World::new(transport);
        let most = Limits::default().requests;
        for n in 0..most * 2 {
            let target = format!("198.51.{}.{}/32", n / 250, n % 250);
            world.client.request_mitigation(world.now, scope(&target, "192.0.2.1/32")).unwrap();
        }
        world.run(60);
        assert_eq!(wanted(&world).len(), most * 2, "{transport:?}");
        let mids: Vec<u32> = world.client.mitigations().map(|(mid, ..)| mid).collect();
        mids.into_iter().for_each(|mid| world.client.withdraw(world.now, mid).unwrap());
        world.run(60);
        assert_eq!(wanted(&world), NONE, "{transport:?}");
    }
}

/// The one place is taken by the withdrawal, while nothing comes back.
#[test]
fn a_round_in_which_there_is_no_room_to_ask_does_not_count() {
    let mut world = World::new(Transport::Datagram);
    let config = ClientConfig::builder(CUID, "server.example").with_limits(Limits::default().with_requests(1));
    world.client = Client::new(Arc::new(config.build().unwrap()), AnySource, [1; 32], world.now);
    world.connect();
    let mid = world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(30);
    assert_eq!(wanted(&world), [mid]);
    world.to_client.loss = 100;
    world.client.withdraw(world.now, mid).unwrap();
    world.run(1200);
    world.to_client.loss = 0;
    world.run(400);
    assert_eq!(wanted(&world), NONE);
    assert_eq!(world.client.change_cuid("x"), Ok(()), "the server was asked, and has nothing");
}

/// A server that always reports the first mitigation, to who asks and to who observes, and answers withdrawals so.
struct Stubborn {
    client: Client<AnySource>,
    withdrawal: Option<Code>,
    now: Instant,
    mid: u16,
    observer: Option<Token>,
    /// When what was sent: `GET` of mitigations and `DELETE`.
    sent: Vec<(Instant, Code)>,
}

impl Stubborn {
    fn new(withdrawal: Option<Code>) -> Self {
        let config = ClientConfig::builder(CUID, "server.example").build().unwrap();
        let mut client = Client::new(Arc::new(config), AnySource, [1; 32], Instant::ZERO);
        client.session_up(Instant::ZERO, Transport::Datagram);
        Self { client, withdrawal, now: Instant::ZERO, mid: 0, observer: None, sent: Vec::new() }
    }

    fn say(&mut self, mut answer: MessageBuf, report: bool) {
        if report {
            let mut scope: Scope = attack();
            (scope.mid, scope.status) = (Some(1), Some(Status::SuccessfullyMitigated));
            answer.set_dots_payload(&Body::from(scope).to_vec());
        }
        self.mid += 1;
        let mut octets = Vec::new();
        answer.encode_udp(udp::Type::Non, self.mid, &mut octets);
        self.client.handle_input(self.now, &octets).unwrap();
    }

    fn hear(&mut self, octets: &[u8]) {
        let asked = udp::decode(octets).unwrap().message;
        let path: Vec<&[u8]> = asked.options.filter(|o| o.number == OptionNumber::URI_PATH).map(|o| o.value).collect();
        let about = path.get(2).copied().unwrap_or_default();
        if about == b"mitigate" && matches!(asked.code, Code::GET | Code::DELETE) {
            self.sent.push((self.now, asked.code));
        }
        let (code, report) = match asked.code {
            Code::PUT if about == b"mitigate" => (Code::CREATED, true),
            Code::PUT => (Code::CHANGED, false),
            Code::GET if about == b"mitigate" => (Code::CONTENT, true),
            Code::GET => (Code::NOT_FOUND, false),
            Code::DELETE => match self.withdrawal {
                Some(code) => (code, false),
                None => return,
            },
            _ => return,
        };
        let mut answer = MessageBuf::new(code, asked.token);
        if code == Code::CONTENT && asked.option(OptionNumber::OBSERVE).is_some() {
            self.observer = Some(asked.token);
            answer.push_uint(OptionNumber::OBSERVE, self.now.as_micros() / 1_000_000);
        }
        self.say(answer, report);
    }

    fn run(&mut self, seconds: u64) {
        for second in 0..seconds {
            loop {
                match self.client.poll_output(self.now) {
                    Output::Transmit(octets) => self.hear(&octets),
                    Output::Event(_) => {}
                    Output::Timeout(_) => break,
                }
            }
            self.now = self.now + Duration::from_secs(1);
            self.client.handle_timeout(self.now).unwrap();
            if let Some(token) = self.observer.filter(|_| second % 20 == 0) {
                let mut notification = MessageBuf::new(Code::CONTENT, token);
                notification.push_uint(OptionNumber::OBSERVE, self.now.as_micros() / 1_000_000);
                self.say(notification, true);
            }
        }
    }
}

#[test]
fn a_server_that_does_not_let_go_is_asked_a_few_times_more_and_more_rarely() {
    for withdrawal in [Some(Code::DELETED), Some(Code::BAD_REQUEST), None] {
        let mut server = Stubborn::new(withdrawal);
        let mid = server.client.request_mitigation(server.now, attack()).unwrap();
        server.run(10);
        server.client.withdraw(server.now, mid).unwrap();
        server.sent.clear();
        server.run(2 * 3600);
        let asked: Vec<Instant> =
            server.sent.iter().filter(|(_, code)| *code == Code::GET).map(|(at, _)| *at).collect();
        assert!((8..=10).contains(&asked.len()), "{withdrawal:?}: {asked:?}");
        let gaps: Vec<Duration> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.windows(2).all(|pair| pair[1] >= pair[0]), "{withdrawal:?}: {gaps:?}");
        assert!(*gaps.last().unwrap() >= Duration::from_secs(180), "{withdrawal:?}: {gaps:?}");
        let withdrawals = server.sent.iter().filter(|(_, code)| *code == Code::DELETE).count();
        if withdrawal.is_some() {
            assert!((8..=11).contains(&withdrawals), "{withdrawal:?}: {withdrawals}");
        }
        let last = server.sent.last().unwrap().0;
        if withdrawal.is_some() {
            assert!(last - asked[0] < Duration::from_secs(1200), "{withdrawal:?}: {:?}", last - asked[0]);
        }
        // Another session is another chance.
        server.sent.clear();
        server.client.session_up(server.now, Transport::Datagram);
        server.run(600);
        assert!(server.sent.iter().filter(|(_, code)| *code == Code::GET).count() > 4, "{withdrawal:?}");
    }
}

#[test]
fn a_name_that_is_taken_is_not_asked_about_any_more() {
    let mut world = World::new(Transport::Datagram);
    world.to_client.loss = 100;
    world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(10);
    // The server forgets everything, and gives the name to another.
    world.server = dots_callhome::Server::new(ServerConfig::default().into(), Policy::default(), [9; 32], world.now);
    let request = MitigationRequest::check(attack(), Profile::Rfc9066, false).unwrap();
    world.server.restore(world.now, ("other", CUID, 1), request, Lifetime::DEFAULT).unwrap();
    world.to_client.loss = 0;
    world.connect();
    world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(30);
    assert!(world.client_events.iter().any(|(_, event)| matches!(event, ClientEvent::CuidChanged { .. })));
    assert_eq!(sent(&world, "0.04 mitigate"), 0);
    world.run(400);
    assert!(world.server.mitigations().iter().any(|(_, row)| row.peer == "other" && row.is_wanted()));
    assert_eq!(sent(&world, "0.04 mitigate"), 0);
    assert!(!world.server_events.iter().any(|(_, event)| matches!(event, ServerEvent::Lift { .. })));
}
