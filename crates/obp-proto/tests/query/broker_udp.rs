//! The broker on datagrams: silence to whom it cannot verify, one answer to each question, new tickets.

use std::net::SocketAddr;

use bytes::Bytes;
use obp_proto::broker::{Broker, BrokerEvent, BrokerLimits, BrokerTransmit, Question};
use obp_proto::crypto::RustCrypto;
use obp_proto::message::Cryptographic;
use obp_proto::ticket::Scope;
use obp_proto::uyfm::{Entries, Entry, PacketKeys, Padding, RequestPacket, ResponsePacket, SealedRequest};
use obp_proto::{Encoding, Message, Status};
use watchfire_core::{DatagramMachine as _, Duration, Instant, UnixTime};

use crate::kit::*;

const NOW: Instant = Instant::ZERO;

fn here() -> SocketAddr {
    CLIENT.parse().unwrap()
}

fn packet_keys(key: &Cryptographic) -> PacketKeys {
    PacketKeys::new(&RustCrypto, key.secret.expose(), &key.authentication, &key.encryption).unwrap()
}

fn seal(key: &Cryptographic, transaction: u8, entries: &[Entry<'_>]) -> SealedRequest {
    let keys = packet_keys(key);
    keys.seal_request(&[transaction; 16], key.ticket.as_bytes(), entries, Padding::None, 1200).unwrap()
}

fn question() -> Vec<u8> {
    Message::from(query()).encode(Encoding::JsonB).unwrap()
}

/// Hands a datagram in and answers what is asked; the datagrams that come back, and how many questions there were.
fn exchange(broker: &mut Broker, now: Instant, from: SocketAddr, datagram: &[u8]) -> (Vec<Bytes>, usize) {
    broker.handle_datagram(now, from, datagram).unwrap();
    let (mut transmits, events, _) = drain(broker, now);
    let asked = answer_all(broker, events).len();
    transmits.extend(drain(broker, now).0);
    let payload = |transmit: BrokerTransmit| match transmit {
        BrokerTransmit::Datagram(datagram) => {
            assert_eq!(datagram.to, from);
            datagram.payload
        }
        other => panic!("{other:?}"),
    };
    (transmits.into_iter().map(payload).collect(), asked)
}

/// Opens an answer of one datagram: clear status and payload.
fn open(key: &Cryptographic, datagrams: &[Bytes]) -> (u16, Vec<u8>) {
    let [datagram] = datagrams else { panic!("{} datagrams", datagrams.len()) };
    let packet = ResponsePacket::parse(datagram).unwrap();
    let keys = packet_keys(key);
    let mut payload = keys.open_segment(&packet).unwrap();
    keys.open_response(packet.transaction_id, &mut payload).unwrap();
    (packet.clear_response, payload)
}

#[test]
fn an_answer_names_its_question_and_has_a_transaction_of_its_own() {
    let (mut broker, key) = (broker(), cryptographic(&content(), 1));
    let request = seal(&key, 1, &[Entry::JsonC(&question())]);
    let (datagrams, asked) = exchange(&mut broker, NOW, here(), &request.datagram);
    assert_eq!(asked, 1);
    let packet = ResponsePacket::parse(&datagrams[0]).unwrap();
    assert_ne!(packet.transaction_id, [1; 16], "under A128CBC it would be the same initialisation vector");
    assert_eq!((packet.index, packet.max_index), (1, 1));
    let (clear, payload) = open(&key, &datagrams);
    assert_eq!(clear, 200);
    let entries: Vec<Entry<'_>> = Entries::decode(&payload).unwrap().collect();
    let [Entry::LastMac(mac), Entry::JsonC(octets)] = entries[..] else { panic!("{entries:?}") };
    assert_eq!(mac, request.mac.as_bytes());
    assert_eq!(Message::decode(octets, Encoding::JsonB, &Default::default()).unwrap(), answer_to(&query().into()));
}

#[test]
fn json_is_answered_in_json_and_may_be_binary_under_either_type() {
    let (mut broker, key) = (broker(), cryptographic(&content(), 1));
    let json = Message::from(query()).encode(Encoding::Json).unwrap();
    let binary = question();
    for (n, entry, answered_in_json) in
        [(1, Entry::Json(&json), true), (2, Entry::Json(&binary), true), (3, Entry::JsonC(&json), false)]
    {
        let (datagrams, _) = exchange(&mut broker, NOW, here(), &seal(&key, n, &[entry]).datagram);
        let (_, payload) = open(&key, &datagrams);
        let answer = Entries::decode(&payload).unwrap().nth(1).unwrap();
        assert_eq!(matches!(answer, Entry::Json(_)), answered_in_json, "{answer:?}");
    }
}

#[test]
fn what_cannot_be_verified_is_never_answered() {
    let mut broker = broker();
    let key = cryptographic(&content(), 1);
    let good = seal(&key, 1, &[Entry::JsonC(&question())]).datagram;
    let mut wrong_secret = key.clone();
    wrong_secret.secret = vec![8; 32].into();
    let mut forged = key.clone();
    forged.ticket = vec![1; 80].into();
    let mut expired = content();
    expired.expires = WALL;
    let mut management = content();
    management.scope = Scope::Management;
    let mut datagrams = vec![Bytes::new(), good.slice(1..), good.slice(..good.len() - 1)];
    for key in [wrong_secret, forged, cryptographic(&expired, 2), cryptographic(&management, 3)] {
        datagrams.push(seal(&key, 1, &[Entry::JsonC(&question())]).datagram);
    }
    for at in 0..good.len() {
        let mut altered = good.to_vec();
        altered[at] ^= 1;
        datagrams.push(altered.into());
    }
    for datagram in &datagrams {
        assert_eq!(exchange(&mut broker, NOW, here(), datagram), (vec![], 0));
    }
    let stats = *broker.stats();
    assert_eq!((stats.responses, stats.accepted, stats.datagrams), (0, 0, datagrams.len() as u64));
    assert_eq!(stats.malformed + stats.bad_ticket + stats.bad_mac, stats.datagrams);
    assert_eq!(exchange(&mut broker, NOW, here(), &good).1, 1, "and the good one still is");
}

#[test]
fn a_retransmission_gets_the_same_octets_and_is_asked_once() {
    let (mut broker, key) = (broker(), cryptographic(&content(), 1));
    let request = seal(&key, 1, &[Entry::JsonC(&question())]).datagram;
    // While the application thinks, nothing is said.
    broker.handle_datagram(NOW, here(), &request).unwrap();
    broker.handle_datagram(NOW, here(), &request).unwrap();
    let (transmits, events, _) = drain(&mut broker, NOW);
    assert_eq!((transmits.len(), events.len()), (0, 1));
    answer_all(&mut broker, events);
    let (transmits, ..) = drain(&mut broker, NOW);
    let [BrokerTransmit::Datagram(first)] = &transmits[..] else { panic!("{transmits:?}") };
    for n in 0..9 {
        let (again, asked) = exchange(&mut broker, NOW, here(), &request);
        let expected = if n < 8 { vec![first.payload.clone()] } else { vec![] };
        assert_eq!((again, asked), (expected, 0), "copy {n}");
    }
    // Another question under the same transaction is none.
    let other = Message::from(query_for("other.example")).encode(Encoding::JsonB).unwrap();
    let conflicting = seal(&key, 1, &[Entry::JsonC(&other)]).datagram;
    assert_eq!(exchange(&mut broker, NOW, here(), &conflicting), (vec![], 0));
    // When the window is over it is a new question.
    assert_eq!(exchange(&mut broker, Instant::from_secs(10), here(), &request).1, 1);
    assert_eq!((broker.stats().retransmitted, broker.stats().replayed, broker.stats().accepted), (10, 1, 2));
}

#[test]
fn an_authentic_request_that_asks_nothing_is_told_so() {
    let (mut broker, key) = (broker(), cryptographic(&content(), 1));
    let unbind = Message::from(obp_proto::message::UnbindRequest::default()).encode(Encoding::JsonB).unwrap();
    let cases: [(&[Entry<'_>], u16); 6] = [
        (&[Entry::Padding(3)], 400),
        (&[Entry::JsonC(b"{")], 400),
        (&[Entry::JsonC(&unbind)], 501),
        (&[Entry::JsonC(&question()), Entry::JsonC(&question())], 400),
        (&[Entry::JsonC(&question()), Entry::Dns(b"dns")], 400),
        (&[Entry::Key(b"no ticket before it")], 400),
    ];
    for (n, (entries, expected)) in (1..).zip(cases) {
        let request = seal(&key, n, entries);
        let (datagrams, asked) = exchange(&mut broker, NOW, here(), &request.datagram);
        let (clear, payload) = open(&key, &datagrams);
        assert_eq!((clear, asked), (expected, 0), "{entries:?}");
        let mut entries = Entries::decode(&payload).unwrap();
        assert_eq!(entries.next(), Some(Entry::LastMac(request.mac.as_bytes())));
    }
    // Unknown entries beside a question are skipped.
    let entries = [Entry::Other(99, b"?"), Entry::JsonC(&question()), Entry::Padding(9)];
    assert_eq!(exchange(&mut broker, NOW, here(), &seal(&key, 20, &entries).datagram).1, 1);
}

#[test]
fn what_concerns_the_name_is_not_said_in_the_clear() {
    let (mut broker, key) = (broker(), cryptographic(&content(), 1));
    broker.handle_datagram(NOW, here(), &seal(&key, 1, &[Entry::JsonC(&question())]).datagram).unwrap();
    let (_, events, _) = drain(&mut broker, NOW);
    let BrokerEvent::Query { id, .. } = events[0] else { panic!() };
    let answer = obp_proto::message::QueryConnectResponse::new(Status::NON_EXISTENT_DOMAIN);
    broker.respond(id, &answer.into()).unwrap();
    let (transmits, ..) = drain(&mut broker, NOW);
    let [BrokerTransmit::Datagram(datagram)] = &transmits[..] else { panic!() };
    assert_eq!(open(&key, std::slice::from_ref(&datagram.payload)).0, 200);
}

#[test]
fn dns_messages_are_handed_to_whoever_understands_them() {
    let (mut broker, key) = (broker(), cryptographic(&content(), 1));
    let request = seal(&key, 1, &[Entry::Dns(b"one"), Entry::Dns(b"two")]);
    broker.handle_datagram(NOW, here(), &request.datagram).unwrap();
    let (_, events, _) = drain(&mut broker, NOW);
    let [BrokerEvent::Query { id, question: Question::Dns(messages), .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(messages[..], [&b"one"[..], b"two"]);
    assert!(broker.respond(*id, &answer_to(&query().into())).is_err());
    assert!(broker.respond_dns(*id, &[vec![0; 65_536].into()]).is_err());
    broker.respond_dns(*id, &[Bytes::from_static(b"TWO"), Bytes::from_static(b"ONE")]).unwrap();
    let (transmits, ..) = drain(&mut broker, NOW);
    let [BrokerTransmit::Datagram(datagram)] = &transmits[..] else { panic!() };
    let (_, payload) = open(&key, std::slice::from_ref(&datagram.payload));
    let entries: Vec<Entry<'_>> = Entries::decode(&payload).unwrap().collect();
    assert_eq!(entries, [Entry::LastMac(request.mac.as_bytes()), Entry::Dns(b"TWO"), Entry::Dns(b"ONE")]);
}

#[test]
fn an_answer_that_does_not_fit_sixteen_packets_is_told_so() {
    let mut config = broker_config();
    config.max_datagram = 64;
    let (mut broker, key) = (broker_with(config), cryptographic(&content(), 1));
    let request = seal(&key, 1, &[Entry::Dns(b"one")]);
    broker.handle_datagram(NOW, here(), &request.datagram).unwrap();
    let (_, events, _) = drain(&mut broker, NOW);
    let BrokerEvent::Query { id, .. } = events[0] else { panic!() };
    broker.respond_dns(id, &[vec![0; 1000].into()]).unwrap();
    let (transmits, ..) = drain(&mut broker, NOW);
    assert_eq!(transmits.len(), 2, "LastMac alone needs two of this size");
    for transmit in transmits {
        let BrokerTransmit::Datagram(datagram) = transmit else { panic!() };
        assert_eq!(ResponsePacket::parse(&datagram.payload).unwrap().clear_response, 413);
    }
}

#[test]
fn a_ticket_that_expires_soon_or_has_moved_is_replaced() {
    let replacement = |broker: &mut Broker, key: &Cryptographic, now: Instant, from: &str, transaction: u8| {
        let request = seal(key, transaction, &[Entry::JsonC(&question())]).datagram;
        let (datagrams, asked) = exchange(broker, now, from.parse().unwrap(), &request);
        assert_eq!(asked, 1);
        let (_, payload) = open(key, &datagrams);
        let new =
            Entries::decode(&payload).unwrap().replacement().map(|(ticket, secret)| (ticket.to_vec(), secret.to_vec()));
        new.map(|(ticket, secret)| {
            Cryptographic::new(secret, key.encryption.clone(), key.authentication.clone(), ticket)
        })
    };
    let mut broker = broker();
    let key = cryptographic(&content(), 1);
    assert_eq!(replacement(&mut broker, &key, NOW, "198.51.100.7:1", 1), None);
    assert_eq!(replacement(&mut broker, &key, NOW, "198.51.100.7:2", 2), None, "another port is no other network");
    let new = replacement(&mut broker, &key, NOW, "203.0.113.9:1", 3).expect("another network");
    assert_ne!(new.ticket, key.ticket);
    assert_ne!(new.secret, key.secret);
    assert_eq!(replacement(&mut broker, &new, NOW, "203.0.113.9:1", 4), None, "the new one is used");
    let opened = keys().open(new.ticket.as_bytes(), WALL).unwrap();
    assert_eq!((opened.account.as_str(), opened.binding, opened.scope), ("alice@example.com", [3; 16], Scope::Query));
    // Near its end.
    let mut short = content();
    short.expires = UnixTime::from_secs(WALL.as_secs() + 7200);
    let key = cryptographic(&short, 2);
    assert_eq!(replacement(&mut broker, &key, NOW, "198.51.100.7:1", 5), None);
    let later = Instant::from_secs(3600);
    let new = replacement(&mut broker, &key, later, "198.51.100.7:1", 6).expect("it expires in an hour");
    let opened = keys().open(new.ticket.as_bytes(), WALL).unwrap();
    assert_eq!(opened.expires.as_secs(), WALL.as_secs() + 3600 + 7 * 24 * 3600);
    // Not at all.
    let mut config = broker_config();
    config.replacement.lifetime = Duration::ZERO;
    let mut broker = broker_with(config);
    assert_eq!(replacement(&mut broker, &key, later, "198.51.100.7:1", 7), None);
}

#[test]
fn transaction_ids_of_answers_are_fresh() {
    let (mut broker, key) = (broker(), cryptographic(&content(), 1));
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..100 {
        let request = seal(&key, n, &[Entry::JsonC(&question())]).datagram;
        assert_eq!(RequestPacket::parse(&request).unwrap().transaction_id.len(), 16);
        let (datagrams, _) = exchange(&mut broker, NOW, here(), &request);
        assert!(seen.insert(ResponsePacket::parse(&datagrams[0]).unwrap().transaction_id.to_vec()));
    }
}

#[test]
fn an_overloaded_broker_is_silent_and_takes_the_retransmission() {
    let mut broker = broker_with(
        broker_config().into_builder().with_limits(BrokerLimits::default().with_pending(1)).build().unwrap(),
    );
    let key = cryptographic(&content(), 1);
    let [one, two] = [1, 2].map(|n| seal(&key, n, &[Entry::JsonC(&question())]).datagram);
    broker.handle_datagram(NOW, here(), &one).unwrap();
    broker.handle_datagram(NOW, here(), &two).unwrap();
    let (transmits, events, _) = drain(&mut broker, NOW);
    assert_eq!((transmits.len(), events.len(), broker.stats().overloaded), (0, 1, 1));
    answer_all(&mut broker, events);
    let _ = drain(&mut broker, NOW);
    assert_eq!(exchange(&mut broker, NOW, here(), &two).1, 1);
}
