//! What a server answers to a single message, and what it does not.

use std::sync::Arc;

use dots_callhome::body::{Body, ConflictCause, Direction, List, Scope};
use dots_callhome::wire::{Code, MessageBuf, OptionNumber, Token, udp};
use dots_callhome::{Limits, Profile, Server, ServerConfig, ServerEvent, SessionId, Transport};
use watchfire_core::{Instant, Machine, Output};

use crate::support::{Policy, attack, scope};

struct Probe {
    server: Server<Policy>,
    now: Instant,
    mid: u16,
}

impl Probe {
    fn new(config: ServerConfig) -> Self {
        let mut server = Server::new(Arc::new(config), Policy::default(), [3; 32], Instant::ZERO);
        server.session_up(Instant::ZERO, SessionId(1), "one", Transport::Datagram);
        server.session_up(Instant::ZERO, SessionId(2), "two", Transport::Datagram);
        Self { server, now: Instant::ZERO, mid: 0 }
    }

    fn send(&mut self, session: u64, kind: udp::Type, message: &MessageBuf) -> Vec<Vec<u8>> {
        self.mid += 1;
        let mut octets = Vec::new();
        message.encode_udp(kind, self.mid, &mut octets);
        self.raw(session, &octets)
    }

    fn raw(&mut self, session: u64, octets: &[u8]) -> Vec<Vec<u8>> {
        self.server.handle_input(self.now, SessionId(session), octets).unwrap();
        let mut said = Vec::new();
        loop {
            match self.server.poll_output(self.now) {
                Output::Transmit((_, octets)) => said.push(octets.to_vec()),
                Output::Event(ServerEvent::Redirect { session, .. }) => {
                    self.server.redirected(self.now, session, Ok(())).unwrap();
                }
                Output::Event(_) => {}
                Output::Timeout(_) => return said,
            }
        }
    }

    /// The only answer.
    fn ask(&mut self, session: u64, message: &MessageBuf) -> MessageBuf {
        let said = self.send(session, udp::Type::Non, message);
        assert_eq!(said.len(), 1, "{message:?}");
        MessageBuf::copy_of(&udp::decode(&said[0]).unwrap().message)
    }

    fn code(&mut self, session: u64, message: &MessageBuf) -> Code {
        let answer = self.ask(session, message);
        let read = answer.as_message();
        if !read.code.is_success() {
            assert!(!read.payload.is_empty(), "{} without a diagnostic", read.code);
        } else if !read.payload.is_empty() {
            assert!(read.is_dots());
        }
        read.code
    }
}

fn message(code: Code, path: &[&str], body: Option<Body>) -> MessageBuf {
    let mut message = MessageBuf::new(code, Token::new(&[1, 2, 3, 4]).unwrap());
    for segment in [".well-known", "dots"].iter().chain(path) {
        message.push_option(OptionNumber::URI_PATH, segment.as_bytes());
    }
    if let Some(body) = body {
        message.set_dots_payload(&body.to_vec());
    }
    message
}

fn put(cuid: &str, mid: u32, scope: Scope) -> MessageBuf {
    message(Code::PUT, &["mitigate", &format!("cuid={cuid}"), &format!("mid={mid}")], Some(scope.into()))
}

#[test]
fn codes_are_those_of_the_rfc() {
    let mut probe = Probe::new(ServerConfig::default());
    assert_eq!(probe.code(1, &put("a", 1, attack())), Code::CREATED);
    assert_eq!(probe.code(1, &put("a", 1, attack())), Code::CHANGED);
    assert_eq!(probe.code(1, &put("a", 1, scope("10.9.0.1/32", "10.0.0.1/32"))), Code::BAD_REQUEST);
    for (code, message) in [
        (Code::NOT_FOUND, message(Code::GET, &["tm"], None)),
        (Code::NOT_FOUND, message(Code::GET, &["mitigate", "cuid=a", "mid=9"], None)),
        (Code::NOT_FOUND, message(Code::GET, &["mitigate", "cuid=zz"], None)),
        (Code::CONTENT, message(Code::GET, &["mitigate", "cuid=a"], None)),
        (Code::BAD_REQUEST, message(Code::GET, &["mitigate"], None)),
        (Code::BAD_REQUEST, message(Code::PUT, &["mitigate", "cuid=a"], Some(attack().into()))),
        (Code::DELETED, message(Code::DELETE, &["mitigate", "cuid=a", "mid=77"], None)),
        (Code::BAD_REQUEST, message(Code::DELETE, &["mitigate", "cuid=a"], None)),
        (Code::METHOD_NOT_ALLOWED, message(Code::POST, &["mitigate", "cuid=a", "mid=1"], None)),
        (Code::METHOD_NOT_ALLOWED, message(Code::GET, &["hb"], None)),
        (Code::CHANGED, message(Code::PUT, &["hb"], Some(Body::Heartbeat { peer_hb_status: true }))),
        (Code::NOT_FOUND, message(Code::PUT, &["hb", "cuid=a"], Some(Body::Heartbeat { peer_hb_status: true }))),
        (Code::BAD_REQUEST, message(Code::PUT, &["hb"], Some(attack().into()))),
        (Code::BAD_REQUEST, message(Code::PUT, &["config"], Some(attack().into()))),
        (Code::NOT_FOUND, message(Code::GET, &["config", "sid=4"], None)),
        (Code::DELETED, message(Code::DELETE, &["config"], None)),
        (Code::BAD_REQUEST, message(Code::PUT, &["redirect"], Some(attack().into()))),
    ] {
        assert_eq!(probe.code(1, &message), code, "{message:?}");
    }
    let mut wrong_format = message(Code::PUT, &["mitigate", "cuid=a", "mid=2"], None);
    wrong_format.push_uint(OptionNumber::CONTENT_FORMAT, 60);
    wrong_format.set_payload(&Body::from(attack()).to_vec());
    assert_eq!(probe.code(1, &wrong_format), Code::UNSUPPORTED_CONTENT_FORMAT);
}

#[test]
fn a_source_outside_the_domain_is_refused_and_named() {
    let mut probe = Probe::new(ServerConfig::default());
    probe.server.policy_mut().domain = vec!["192.0.2.0/24".parse().unwrap()];
    let answer = probe.ask(1, &put("a", 1, scope("10.0.0.1/32", "198.51.100.1/32")));
    let read = answer.as_message();
    assert_eq!(read.code, Code::BAD_REQUEST);
    assert!(core::str::from_utf8(read.payload).unwrap().contains("198.51.100.1/32"));
    assert_eq!(probe.code(1, &put("a", 1, scope("10.0.0.1/32", "192.0.2.1/32"))), Code::CREATED);
}

#[test]
fn a_cuid_of_another_client_is_a_collision_and_nothing_more_is_said() {
    let mut probe = Probe::new(ServerConfig::default());
    assert_eq!(probe.code(1, &put("a", 1, attack())), Code::CREATED);
    let answer = probe.ask(2, &put("a", 1, attack()));
    assert_eq!(answer.as_message().code, Code::CONFLICT);
    assert_eq!(answer.as_message().payload, [0xa1, 1, 0xa1, 2, 0x81, 0xa1, 0x11, 0xa1, 0x13, 3], "RFC 9132 figure 11");
    // And nobody can read or withdraw another's.
    assert_eq!(probe.code(2, &message(Code::GET, &["mitigate", "cuid=a"], None)), Code::NOT_FOUND);
    assert_eq!(probe.code(2, &message(Code::DELETE, &["mitigate", "cuid=a", "mid=1"], None)), Code::DELETED);
    assert_eq!(probe.code(1, &message(Code::GET, &["mitigate", "cuid=a", "mid=1"], None)), Code::CONTENT);
}

#[test]
fn a_lower_mid_that_overlaps_is_in_conflict_with_the_higher_one() {
    let mut probe = Probe::new(ServerConfig::default());
    assert_eq!(probe.code(1, &put("a", 57, scope("198.51.100.7/32", "192.0.2.1/32"))), Code::CREATED);
    let answer = probe.ask(1, &put("a", 56, scope("198.51.100.0/24", "192.0.2.2/32")));
    let Ok(Body::Mitigation(scopes)) = Body::decode(answer.as_message().payload, Direction::Response) else { panic!() };
    let conflict = scopes[0].conflict.clone().unwrap();
    assert_eq!(conflict.cause, Some(ConflictCause::OverlappingTargets));
    assert_eq!(conflict.scope.unwrap().mid, Some(57));
}

#[test]
fn efficacy_for_nothing_is_met_with_silence() {
    let mut probe = Probe::new(ServerConfig::default());
    let mut update = attack();
    update.attack_status = Some(dots_callhome::body::AttackStatus::UnderAttack);
    let mut message = put("a", 1, update);
    message.push_option(OptionNumber::IF_MATCH, &[]);
    assert!(probe.send(1, udp::Type::Non, &message).is_empty());
}

#[test]
fn critical_options_are_refused_in_con_and_dropped_in_non_and_elective_ones_ignored() {
    let mut probe = Probe::new(ServerConfig::default());
    let mut unknown = put("a", 1, attack());
    unknown.push_option(OptionNumber::Q_BLOCK1, &[0]);
    assert!(probe.send(1, udp::Type::Non, &unknown).is_empty());
    let said = probe.send(1, udp::Type::Con, &unknown);
    assert_eq!(udp::decode(&said[0]).unwrap().message.code, Code::BAD_OPTION);
    let mut elective = put("a", 1, attack());
    elective.push_option(OptionNumber::REQUEST_TAG, &[1]);
    elective.push_uint(OptionNumber::URI_PORT, 4647);
    elective.push_uint(OptionNumber::HOP_LIMIT, 16);
    assert_eq!(probe.code(1, &elective), Code::CREATED);
    let mut exhausted = put("a", 2, attack());
    exhausted.push_uint(OptionNumber::HOP_LIMIT, 0);
    assert_eq!(probe.code(1, &exhausted), Code::BAD_REQUEST);
}

#[test]
fn duplicates_are_answered_from_memory_or_not_at_all() {
    let mut probe = Probe::new(ServerConfig::default());
    let mut octets = Vec::new();
    put("a", 1, attack()).encode_udp(udp::Type::Con, 9, &mut octets);
    let first = probe.raw(1, &octets);
    assert_eq!(udp::decode(&first[0]).unwrap().message.code, Code::CREATED);
    assert_eq!(probe.raw(1, &octets), first, "the same answer, not a refresh");
    let mut octets = Vec::new();
    put("a", 1, attack()).encode_udp(udp::Type::Non, 10, &mut octets);
    assert_eq!(probe.raw(1, &octets).len(), 1);
    assert!(probe.raw(1, &octets).is_empty());
    // Long after, the number may mean something else.
    probe.now = Instant::from_secs(300);
    assert_eq!(probe.raw(1, &octets).len(), 1);
}

#[test]
fn what_is_no_coap_is_met_with_silence_and_a_ping_with_a_reset() {
    let mut probe = Probe::new(ServerConfig::default());
    for octets in [&[][..], &[0xff; 20], &[0x40, 1], &[0x49, 1, 0, 0], &[0x50, 3, 0, 1, 0xff]] {
        assert!(probe.raw(1, octets).is_empty(), "{octets:?}");
    }
    assert_eq!(probe.server.stats(SessionId(1)).unwrap().malformed, 5);
    assert_eq!(probe.raw(1, &[0x40, 0, 0x22, 0x22]), [[0x70, 0, 0x22, 0x22]]);
    // An answer to nothing is rejected.
    assert_eq!(probe.raw(1, &[0x51, 0x45, 0, 7, 9]), [[0x70, 0, 0, 7]]);
}

#[test]
fn a_large_report_is_fetched_in_blocks_of_one_snapshot() {
    let mut probe = Probe::new(ServerConfig::default());
    for n in 0..40 {
        assert_eq!(probe.code(1, &put("a", n, scope(&format!("198.51.{n}.7/32"), "192.0.2.1/32"))), Code::CREATED);
    }
    let (mut body, mut number, mut etag) = (Vec::new(), 0u64, None);
    loop {
        let mut get = message(Code::GET, &["mitigate", "cuid=a"], None);
        get.push_uint(OptionNumber::BLOCK2, number << 4 | 6);
        probe.now = probe.now + watchfire_core::Duration::from_secs(1);
        let answer = probe.ask(1, &get);
        let read = answer.as_message();
        let block = read.option_uint(OptionNumber::BLOCK2).unwrap();
        let this = read.option(OptionNumber::ETAG).unwrap().to_vec();
        assert_eq!(*etag.get_or_insert_with(|| this.clone()), this);
        assert!(answer.udp_len() <= 1152);
        body.extend_from_slice(read.payload);
        number += 1;
        if block & 8 == 0 {
            break;
        }
    }
    assert!(number > 1);
    let Ok(Body::Mitigation(scopes)) = Body::decode(&body, Direction::Response) else { panic!("{number} blocks") };
    assert_eq!(scopes.len(), 40);
}

#[test]
fn the_filter_of_a_report_chooses_its_members() {
    let mut probe = Probe::new(ServerConfig::default());
    probe.code(1, &put("a", 1, attack()));
    for (query, targets) in [("c=a", true), ("c=c", true), ("c=n", false), ("c=x", true)] {
        let mut get = message(Code::GET, &["mitigate", "cuid=a"], None);
        get.push_option(OptionNumber::URI_QUERY, query.as_bytes());
        let answer = probe.ask(1, &get);
        let Ok(Body::Mitigation(scopes)) = Body::decode(answer.as_message().payload, Direction::Response) else {
            panic!()
        };
        assert_eq!(!scopes[0].target_prefix.is_empty(), targets, "{query}");
        assert!(scopes[0].status.is_some() && scopes[0].lifetime.is_some() && scopes[0].mid.is_some());
    }
}

#[test]
fn a_flood_of_requests_is_slowed_down() {
    let mut probe = Probe::new(ServerConfig::builder().with_requests_per_second(1).build().unwrap());
    let codes: Vec<Code> =
        (0..15).map(|n| probe.code(1, &put("a", n, scope(&format!("198.51.{n}.7/32"), "192.0.2.1/32")))).collect();
    assert_eq!(codes.iter().filter(|code| **code == Code::CREATED).count(), 10);
    assert_eq!(codes.last(), Some(&Code::SERVICE_UNAVAILABLE));
    let limits = Limits::default().with_cuids(3);
    let mut probe = Probe::new(ServerConfig::builder().with_limits(limits).build().unwrap());
    let codes: Vec<Code> = (0..5)
        .map(|n| probe.code(1, &put(&format!("c{n}"), 1, scope(&format!("198.51.{n}.7/32"), "192.0.2.1/32"))))
        .collect();
    assert_eq!(codes.iter().filter(|code| **code == Code::CREATED).count(), 3);
}

#[test]
fn a_cdid_counts_only_when_a_gateway_is_trusted() {
    let mut probe = Probe::new(ServerConfig::default());
    let path = ["mitigate", "cdid=dom", "cuid=a", "mid=1"];
    assert_eq!(probe.code(1, &message(Code::PUT, &path, Some(attack().into()))), Code::CREATED);
    assert_eq!(probe.server.mitigations().iter().next().unwrap().1.cuid, "a");
    probe.server.policy_mut().gateway = true;
    let path = ["mitigate", "cdid=dom", "cuid=b", "mid=1"];
    assert_eq!(
        probe.code(1, &message(Code::PUT, &path, Some(scope("10.0.0.1/32", "10.0.0.2/32").into()))),
        Code::CREATED
    );
    assert_eq!(probe.server.mitigations().iter().last().unwrap().1.cuid, "dom/b");
    assert_eq!(probe.code(1, &message(Code::GET, &path, None)), Code::CONTENT);
}

#[test]
fn redirections_need_the_profile_a_name_and_a_rising_number() {
    let to = |name: &str| Body::from(dots_callhome::body::RedirectedSignal::to_client(name, List::new(), None));
    let mut probe = Probe::new(ServerConfig::default());
    for (path, name, code) in [
        (&["redirect", "cuid=a", "mid=5"][..], "alt.example", Code::CREATED),
        (&["redirect", "cuid=a", "mid=5"], "alt.example", Code::BAD_REQUEST),
        (&["redirect", "cuid=a", "mid=6"], "alt.example", Code::CREATED),
        (&["redirect"], "alt.example", Code::CREATED),
        (&["redirect"], "one", Code::BAD_REQUEST),
    ] {
        assert_eq!(probe.code(1, &message(Code::PUT, path, Some(to(name)))), code, "{path:?}");
    }
    let base = Body::from(dots_callhome::body::RedirectedSignal::to_server("alt.example", List::new()));
    assert_eq!(probe.code(1, &message(Code::PUT, &["redirect"], Some(base))), Code::BAD_REQUEST);
    for profile in [Profile::Draft04, Profile::Base] {
        let mut probe = Probe::new(ServerConfig::builder().with_profile(profile).build().unwrap());
        assert_eq!(probe.code(1, &message(Code::PUT, &["redirect"], Some(to("alt.example")))), Code::NOT_FOUND);
    }
}
