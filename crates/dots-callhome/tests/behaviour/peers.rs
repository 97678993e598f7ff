//! What one side does when the other is odd, hostile, or somebody else.

use std::sync::Arc;

use dots_callhome::body::{
    Acl, Body, ConflictCause, ConflictInformation, ConflictStatus, Decimal, Lifetime, List, Offered, PortRange, Prefix,
    RedirectedSignal, Scope, SignalConfig, Status,
};
use dots_callhome::wire::{Code, Csm, MessageBuf, OptionNumber, Token, tcp, udp};
use dots_callhome::{
    AnySource, ApiMisuse, Client, ClientConfig, ClientEvent, ClientPolicy, Error, MitigationRequest, OtherClients,
    PeerMisbehaved, Profile, Refusal, Rules, Server, ServerConfig, ServerEvent, ServerPolicy, SessionId, SessionParams,
    Transport,
};
use watchfire_core::{Duration, Instant, Machine, Output, StreamMachine};

use crate::support::{BOTH, Bad, GOOD, ID, Policy, World, attack, parse, scope};

#[test]
fn the_default_ports_are_those_of_the_drafts() {
    assert_eq!([Profile::Rfc9066, Profile::Draft04, Profile::Base].map(Profile::default_port), [4647, 4647, 4646]);
}

#[test]
fn nothing_is_taken_without_a_session() {
    let mut server = Server::new(Arc::default(), Policy::default(), [0; 32], Instant::ZERO);
    let refused = server.handle_input(Instant::ZERO, ID, &[0x40, 0, 0, 1]);
    assert_eq!(refused, Err(Error::ApiMisuse(ApiMisuse::NoSession)));
    assert_eq!(server.poll_output(Instant::ZERO), Output::Timeout(None));
}

fn frames(octets: &[u8]) -> Vec<Code> {
    let (mut at, mut codes) = (0, Vec::new());
    while let Some((message, used)) = tcp::decode(&octets[at..], 9000).unwrap() {
        codes.push(message.code);
        at += used;
    }
    codes
}

struct Stream(Server<Policy>);

impl Stream {
    fn new() -> Self {
        let mut server = Server::new(Arc::default(), Policy::default(), [0; 32], Instant::ZERO);
        server.session_up(Instant::ZERO, ID, "client", Transport::Stream);
        Self(server)
    }

    fn say(&mut self, octets: &[u8]) -> Result<(), Error> {
        self.0.handle_input(Instant::ZERO, ID, octets)
    }

    fn hear(&mut self) -> Vec<Code> {
        let mut octets = Vec::new();
        while let Output::Transmit((_, said)) = self.0.poll_output(Instant::ZERO) {
            octets.extend_from_slice(&said);
        }
        frames(&octets)
    }
}

#[test]
fn a_stream_begins_by_csm_and_ends_without_it() {
    let mut stream = Stream::new();
    assert_eq!(stream.hear(), [Code::CSM], "before anything is heard");
    assert_eq!(stream.say(&[0x00, 0xe2]), Err(Error::PeerMisbehaved(PeerMisbehaved::MissingCsm)));
    assert_eq!(stream.hear(), [Code::ABORT]);
    for bad in [&[0x10, 0xe1, 0x10][..], &[0x09, 0x01], &[0xf0, 0xff, 0xff, 0xff, 0xff]] {
        let mut stream = Stream::new();
        assert!(stream.say(bad).is_err());
        assert_eq!(stream.hear(), [Code::CSM, Code::ABORT]);
    }
}

#[test]
fn a_stream_answers_pings_and_ignores_empty_messages() {
    let mut stream = Stream::new();
    let mut octets = Vec::new();
    Csm::default().to_message().encode_tcp(&mut octets);
    octets.extend([0x00, 0x00, 0x02, 0xe2, 0x4a, 0x01, 0x00, 0xe3]);
    stream.say(&octets).unwrap();
    assert_eq!(stream.hear(), [Code::CSM, Code::PONG]);
    stream.say(&[0x20, 0xe4, 0x41, 0x1e]).unwrap();
    let Output::Event(event) = stream.0.poll_output(Instant::ZERO) else { panic!() };
    assert_eq!(event, ServerEvent::SessionLost { session: ID, hold_off: Some(30) });
}

#[test]
fn a_request_beyond_a_datagram_is_not_sent() {
    let mut world = World::new(Transport::Datagram);
    let mut large = attack();
    large.target_prefix = (0..100).map(|n| format!("2001:db8:{n:x}::/48").parse().unwrap()).collect();
    let refused = world.client.request_mitigation(world.now, large.clone());
    assert_eq!(refused, Err(Error::ApiMisuse(ApiMisuse::TooLarge)));
    for part in dots_callhome::split_request(&large, 1000).unwrap() {
        world.client.request_mitigation(world.now, part).unwrap();
    }
    world.run(60);
    assert!(world.server.mitigations().iter().count() > 1);
    assert!(world.said.iter().all(|(.., octets)| octets.len() <= 1152));
}

#[test]
fn a_client_may_answer_a_heartbeat_by_its_own() {
    let mut world = World::new(Transport::Datagram);
    let config = ClientConfig::builder("c", "server.example").with_echo_heartbeats(true).build().unwrap();
    world.client = Client::new(Arc::new(config), AnySource, [1; 32], world.now);
    world.connect();
    world.run(300);
    let beats = |client| -> Vec<Instant> {
        world.requests(client).into_iter().filter(|(_, r)| r == "0.03 hb").map(|(at, _)| at).collect()
    };
    let (theirs, ours) = (beats(false), beats(true));
    assert!(
        theirs.iter().filter(|at| ours.iter().any(|our| *our >= **at && *our - **at <= Duration::from_secs(3))).count()
            >= 9
    );
    assert!(ours.len() <= 21, "{}", ours.len());
}

#[derive(Debug)]
struct Cgn;

impl ClientPolicy for Cgn {
    fn is_in_domain(&self, _: &str, source: &Prefix) -> bool {
        "10.0.0.0/8".parse::<Prefix>().unwrap().contains(source)
    }
    fn map_external(&self, _: &str, source: &Prefix, _: &[PortRange]) -> Option<(Prefix, List<PortRange>)> {
        let external: Prefix = "203.0.113.1/32".parse().unwrap();
        let ports = List::one(PortRange { lower: 5000, upper: Some(5999) });
        (*source == external).then(|| ("10.1.2.3/32".parse().unwrap(), ports))
    }
    fn shares_by_ports(&self, source: &Prefix) -> bool {
        *source == "10.9.9.9/32".parse().unwrap()
    }
}

#[test]
fn a_client_sends_internal_sources_of_the_domain_and_no_others() {
    let config = ClientConfig::builder("c", "server.example").build().unwrap();
    let mut client = Client::new(Arc::new(config), Cgn, [1; 32], Instant::ZERO);
    client.request_mitigation(Instant::ZERO, scope("198.51.100.7/32", "203.0.113.1/32")).unwrap();
    let (_, sent, _) = client.mitigations().next().unwrap();
    assert_eq!(sent.source_prefix[0].to_string(), "10.1.2.3/32");
    assert_eq!(sent.source_port_range[0].lower, 5000);
    let foreign = client.request_mitigation(Instant::ZERO, scope("198.51.100.8/32", "192.0.2.1/32"));
    assert_eq!(foreign, Err(Error::ApiMisuse(ApiMisuse::ForeignSource("192.0.2.1/32".parse().unwrap()))));
    let shared = client.request_mitigation(Instant::ZERO, scope("198.51.100.8/32", "10.9.9.9/32"));
    assert_eq!(shared, Err(Error::ApiMisuse(ApiMisuse::SharedSource("10.9.9.9/32".parse().unwrap()))));
}

#[derive(Debug)]
struct Nat;

impl ServerPolicy for Nat {
    fn owns_source(&self, _: &Prefix) -> bool {
        true
    }
    fn resolve_local(&self, request: &MitigationRequest) -> List<Prefix> {
        assert_eq!(request.source_ports()[0].lower, 4242);
        List::one("192.168.1.7/32".parse().unwrap())
    }
}

#[test]
fn filters_are_for_the_hosts_behind_the_nat() {
    let mut server = Server::new(Arc::default(), Nat, [0; 32], Instant::ZERO);
    let mut asked = scope("198.51.100.7/32", "203.0.113.9/32");
    asked.source_port_range = List::one(PortRange { lower: 4242, upper: None });
    let request = MitigationRequest::check(asked, Profile::Rfc9066, false).unwrap();
    server.restore(Instant::ZERO, ("p", "c", 1), request, Lifetime::DEFAULT).unwrap();
    let Output::Event(ServerEvent::Enforce { hosts, .. }) = server.poll_output(Instant::ZERO) else { panic!() };
    assert_eq!(hosts[0].to_string(), "192.168.1.7/32");
}

#[test]
fn access_lists_are_refused() {
    let text = br#"{"mitigation-scope":{"scope":[{"target-prefix":["10.0.0.1/32"],"lifetime":9,
        "ietf-dots-signal-control:acl-list":[{"acl-name":"a","activation-type":"immediate"}]}]}}"#;
    let Ok(Body::Mitigation(scopes)) = Body::from_json(text) else { panic!() };
    let _: &Acl = &scopes[0].acl_list[0];
    let mut asked = attack();
    asked.acl_list = scopes[0].acl_list.clone();
    assert!(MitigationRequest::check(asked, Profile::Rfc9066, false).is_err());
}

#[test]
fn two_clients_with_one_target_are_told_of_each_other() {
    for (rule, code, status) in [
        (OtherClients::Accept, Code::CREATED, ConflictStatus::RequestActive),
        (OtherClients::Inactive, Code::CREATED, ConflictStatus::RequestInactiveOtherActive),
        (OtherClients::Reject, Code::CONFLICT, ConflictStatus::RequestInactiveOtherActive),
    ] {
        let rules = Rules::default().with_other_clients(rule);
        let config = ServerConfig::builder().with_rules(rules).build().unwrap();
        let mut world = World::with(Transport::Datagram, config, Policy::default(), 1);
        let request = MitigationRequest::check(attack(), Profile::Rfc9066, false).unwrap();
        let first = world.server.restore(world.now, ("other", "other", 1), request, Lifetime::Seconds(1800)).unwrap();
        world.drain();
        let mid = world.client.request_mitigation(world.now, attack()).unwrap();
        world.run(5);
        let answer = world.said.iter().find_map(|(_, client, octets)| {
            let message = parse(Transport::Datagram, octets)?;
            let read = message.as_message();
            (!client && matches!(read.code, Code::CREATED | Code::CONFLICT)).then(|| (read.code, read.payload.to_vec()))
        });
        let (said, payload) = answer.unwrap();
        assert_eq!(said, code, "{rule:?}");
        let Ok(Body::Mitigation(scopes)) = Body::decode(&payload, dots_callhome::body::Direction::Response) else {
            panic!()
        };
        let conflict = scopes[0].conflict.clone().unwrap();
        assert_eq!(conflict.status, Some(status));
        assert_eq!(conflict.scope.unwrap().target_prefix, attack().target_prefix);
        if rule == OtherClients::Inactive {
            assert_eq!((conflict.retry_timer, scopes[0].lifetime), (Some(1800), Some(Lifetime::Seconds(1845))));
            let id = world.server.mitigations().find("dz6pHjaADkaFTbjr0JGBpw", mid).unwrap();
            assert!(world.server.mitigations().get(id).unwrap().inactive);
            world.server.withdraw(world.now, first).unwrap();
            world.run(5);
            assert!(!world.server.mitigations().get(id).unwrap().inactive);
            assert_eq!(world.statuses(mid).last(), Some(&Status::SuccessfullyMitigated));
        }
    }
}

#[test]
fn a_client_whose_cuid_is_taken_asks_under_another() {
    let mut world = World::new(Transport::Datagram);
    let request = MitigationRequest::check(scope("10.0.0.1/32", "10.0.0.2/32"), Profile::Rfc9066, false).unwrap();
    world.server.restore(world.now, ("other", "dz6pHjaADkaFTbjr0JGBpw", 1), request, Lifetime::DEFAULT).unwrap();
    let mid = world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(30);
    let changed = world.client_events.iter().find_map(|(_, e)| match e {
        ClientEvent::CuidChanged { cuid } => Some(cuid.clone()),
        _ => None,
    });
    let cuid = changed.unwrap();
    assert_eq!((cuid.len(), world.client.cuid()), (22, &*cuid));
    assert!(world.server.mitigations().find(&cuid, mid).is_some());
    assert_eq!(world.statuses(mid).last(), Some(&Status::SuccessfullyMitigated));
}

/// A server that says of every name that it is taken.
#[test]
fn names_that_are_all_taken_are_tried_more_and_more_rarely() {
    for transport in BOTH {
        let config = ClientConfig::builder("dz6pHjaADkaFTbjr0JGBpw", "server.example").build().unwrap();
        let mut client = Client::new(Arc::new(config), AnySource, [1; 32], Instant::ZERO);
        client.session_up(Instant::ZERO, transport);
        if transport == Transport::Stream {
            client.handle_input(Instant::ZERO, &[0x00, 0xe1]).unwrap();
        }
        for n in 0..5 {
            client.request_mitigation(Instant::ZERO, scope(&format!("10.0.0.{n}/32"), "192.0.2.1/32")).unwrap();
        }
        let mut taken = Scope::default();
        taken.conflict = Some(Box::new(ConflictInformation::caused_by(ConflictCause::CuidCollision)));
        let (mut now, mut changes, mut mid, mut asked) = (Instant::ZERO, Vec::new(), 0u16, 0);
        while now < Instant::from_secs(4 * 3600) {
            client.handle_timeout(now).unwrap();
            // What was asked at once is answered at once.
            let mut answers = Vec::new();
            let wake = loop {
                match client.poll_output(now) {
                    Output::Transmit(octets) => {
                        let Some(message) = parse(transport, &octets) else { continue };
                        let message = message.as_message();
                        let about = message.options.filter(|o| o.number == OptionNumber::URI_PATH).nth(2);
                        if message.code != Code::PUT || about.is_none_or(|about| about.value != b"mitigate") {
                            continue;
                        }
                        asked += 1;
                        let mut answer = MessageBuf::new(Code::CONFLICT, message.token);
                        answer.set_dots_payload(&Body::from(taken.clone()).to_vec());
                        mid = mid.wrapping_add(1);
                        match transport {
                            Transport::Stream => answer.encode_tcp(&mut answers),
                            Transport::Datagram => {
                                let mut octets = Vec::new();
                                answer.encode_udp(udp::Type::Non, mid, &mut octets);
                                client.handle_input(now, &octets).unwrap();
                            }
                        }
                    }
                    Output::Event(ClientEvent::CuidChanged { .. }) => {
                        changes.push(now);
                        assert!(changes.len() < 100, "{transport:?}: {changes:?}");
                    }
                    Output::Event(_) => {}
                    Output::Timeout(at) if answers.is_empty() => break at,
                    Output::Timeout(_) => client.handle_input(now, &core::mem::take(&mut answers)).unwrap(),
                }
            };
            now = wake.unwrap().max(now + Duration::from_millis(1));
        }
        // 0, 0, 3, 6, 12 .. 192 s apart, and then 300 s.
        assert!((50..=58).contains(&changes.len()), "{transport:?}: {}", changes.len());
        let gaps: Vec<Duration> = changes.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps[0] <= Duration::from_secs(3), "the first name is given up at once: {gaps:?}");
        assert!(gaps[8..].iter().all(|gap| *gap >= Duration::from_secs(300)), "{transport:?}: {gaps:?}");
        assert!(asked <= 5 * (changes.len() + 1), "{transport:?}: {asked}");
        assert_eq!(client.mitigations().count(), 5, "nothing is forgotten");
    }
}

#[test]
fn a_cuid_does_not_change_while_something_is_active() {
    let mut world = World::new(Transport::Datagram);
    assert!(world.client.change_cuid("x").is_ok());
    world.client.request_mitigation(world.now, attack()).unwrap();
    assert_eq!(world.client.change_cuid("y"), Err(Error::ApiMisuse(ApiMisuse::Active)));
}

#[test]
fn a_peer_that_is_not_entitled_is_answered_401() {
    let policy = Policy { refusal: Some(Refusal::Unauthorized), ..Policy::default() };
    let mut world = World::with(Transport::Datagram, ServerConfig::default(), policy, 1);
    world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(10);
    let refused = world.client_events.iter().any(|(_, e)| {
        matches!(e, ClientEvent::Refused { why: dots_callhome::Refused::Code(Code::UNAUTHORIZED, text), .. } if !text.is_empty())
    });
    assert!(refused);
}

#[test]
fn notifications_are_never_confirmable() {
    let mut world = World::new(Transport::Datagram);
    world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(600);
    for (_, client, octets) in &world.said {
        let datagram = udp::decode(octets).unwrap();
        if !client && datagram.message.option(OptionNumber::OBSERVE).is_some() && datagram.kind != udp::Type::Ack {
            assert_eq!(datagram.kind, udp::Type::Non);
        }
    }
}

#[test]
fn notifications_come_periodically() {
    let mut world = World::new(Transport::Datagram);
    world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(30);
    world.client_events.clear();
    world.run(600);
    let heard = world.client_events.iter().filter(|(_, e)| matches!(e, ClientEvent::Status { .. })).count();
    assert!((9..=11).contains(&heard), "{heard}");
}

#[test]
fn a_client_fetches_a_large_report_whole() {
    for transport in BOTH {
        let mut world = World::new(transport);
        for n in 0..40 {
            world.client.request_mitigation(world.now, scope(&format!("198.51.{n}.7/32"), "192.0.2.1/32")).unwrap();
        }
        world.run(200);
        world.client.session_down(world.now);
        world.connect();
        world.client_events.clear();
        world.run(10);
        let mut mids: Vec<u32> = world
            .client_events
            .iter()
            .filter_map(|(_, e)| match e {
                ClientEvent::Status { scope } => scope.mid,
                _ => None,
            })
            .collect();
        mids.sort_unstable();
        mids.dedup();
        assert_eq!(mids.len(), 40, "{transport:?}");
    }
}

#[test]
fn a_configuration_must_set_something() {
    let mut world = World::new(Transport::Datagram);
    let empty = world.client.configure(world.now, SignalConfig::default());
    assert_eq!(empty, Err(Error::ApiMisuse(ApiMisuse::EmptyConfig)));
    let mut server = Server::new(Arc::default(), Policy::default(), [0; 32], Instant::ZERO);
    server.session_up(Instant::ZERO, ID, "client", Transport::Datagram);
    let mut id = 0;
    let mut ask = |code: Code, sid: Option<u32>, config: Option<SignalConfig>| {
        let mut message = MessageBuf::new(code, Token::default());
        for segment in [".well-known", "dots", "config"] {
            message.push_option(OptionNumber::URI_PATH, segment.as_bytes());
        }
        sid.iter().for_each(|sid| message.push_option(OptionNumber::URI_PATH, format!("sid={sid}").as_bytes()));
        config.iter().for_each(|config| message.set_dots_payload(&Body::from(config.clone()).to_vec()));
        id += 1;
        let mut octets = Vec::new();
        message.encode_udp(udp::Type::Con, id, &mut octets);
        server.handle_input(Instant::ZERO, ID, &octets).unwrap();
        loop {
            if let Output::Transmit((_, octets)) = server.poll_output(Instant::ZERO) {
                let datagram = udp::decode(&octets).unwrap();
                assert_eq!((datagram.kind, datagram.message_id), (udp::Type::Ack, id));
                return MessageBuf::copy_of(&datagram.message);
            }
        }
    };
    let set = SessionParams::default().to_set();
    let config = SignalConfig::new(Some(set.clone()), None);
    assert_eq!(ask(Code::PUT, None, Some(config.clone())).code(), Code::BAD_REQUEST);
    assert_eq!(ask(Code::PUT, Some(5), Some(SignalConfig::default())).code(), Code::BAD_REQUEST);
    assert_eq!(ask(Code::PUT, Some(5), Some(config.clone())).code(), Code::CREATED);
    assert_eq!(ask(Code::PUT, Some(5), Some(config.clone())).code(), Code::CHANGED);
    assert_eq!(ask(Code::PUT, Some(4), Some(config.clone())).code(), Code::BAD_REQUEST);
    assert_eq!(ask(Code::GET, Some(5), None).code(), Code::CONTENT);
    assert_eq!(ask(Code::PUT, Some(6), Some(config)).code(), Code::CREATED);
    assert_eq!(ask(Code::GET, Some(5), None).code(), Code::NOT_FOUND, "the lower one is gone");
    let got = ask(Code::GET, None, None);
    assert_eq!(got.as_message().option_uint(OptionNumber::MAX_AGE), Some(3600));
    let mut bad = set;
    bad.ack_timeout = Some(Offered::current(Decimal::from_hundredths(3001)));
    assert_eq!(ask(Code::PUT, Some(7), Some(SignalConfig::new(None, Some(bad)))).code(), Code::UNPROCESSABLE_ENTITY);
}

#[test]
fn a_redirect_in_503_is_discarded() {
    let config = ClientConfig::builder("c", "server.example").build().unwrap();
    let mut client = Client::new(Arc::new(config), AnySource, [1; 32], Instant::ZERO);
    client.session_up(Instant::ZERO, Transport::Datagram);
    client.request_mitigation(Instant::ZERO, attack()).unwrap();
    let (mut puts, mut now, mut mid) = (0, Instant::ZERO, 0);
    for _ in 0..300 {
        loop {
            match client.poll_output(now) {
                Output::Transmit(octets) => {
                    let asked = udp::decode(&octets).unwrap();
                    if asked.message.code == Code::PUT
                        && asked.message.option(OptionNumber::CONTENT_FORMAT).is_some()
                        && asked.message.payload.len() > 20
                    {
                        puts += 1;
                        let mut answer = MessageBuf::new(Code::SERVICE_UNAVAILABLE, asked.message.token);
                        answer.set_dots_payload(
                            &Body::from(RedirectedSignal::to_server("evil.example", List::new())).to_vec(),
                        );
                        let mut octets = Vec::new();
                        mid += 1;
                        answer.encode_udp(udp::Type::Non, mid, &mut octets);
                        client.handle_input(now, &octets).unwrap();
                    }
                }
                Output::Event(event) => {
                    assert!(!matches!(event, ClientEvent::Refused { .. } | ClientEvent::Waiting { .. }), "{event:?}")
                }
                Output::Timeout(_) => break,
            }
        }
        now = now + Duration::from_millis(100);
        client.handle_timeout(now).unwrap();
    }
    assert!(puts >= 5, "asked again and again: {puts}");
}

#[test]
fn a_nat_that_rebinds_is_not_noticed() {
    // DTLS records carry no address here: the driver finds the session by its keys; the machines go on.
    let mut world = World::new(Transport::Datagram);
    world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(100);
    world.bad(Bad { loss: 100, ..GOOD });
    world.run(200);
    world.bad(GOOD);
    world.run(400);
    assert!(!world.server_events.iter().any(|(_, e)| matches!(e, ServerEvent::SessionLost { .. })));
    assert_eq!(world.server.mitigations().iter().count(), 1);
}

#[test]
fn a_second_session_of_the_same_peer_replaces_the_first() {
    let mut world = World::new(Transport::Datagram);
    world.client.request_mitigation(world.now, attack()).unwrap();
    world.run(5);
    world.server.session_up(world.now, SessionId(2), crate::support::PEER, Transport::Datagram);
    assert!(world.server.handle_input(world.now, ID, &[0x40, 0, 0, 1]).is_err());
    assert_eq!(world.server.mitigations().iter().count(), 1);
    assert!(world.server.has_session_with(crate::support::PEER));
    let _: Scope = attack();
}
