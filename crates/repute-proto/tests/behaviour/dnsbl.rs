//! With hickory-proto as the oracle: what it writes is read, and what is written it reads.

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::op::{DnsResponse, Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};

use repute_proto::dnsbl::{Key, Listing, Outcome, Responder, Transport, Zone, query_name};

fn responder() -> Responder {
    let zone = |name: &str| Zone::new(name).unwrap();
    Responder::new(vec![
        zone("bl.example").with_servers(["ns.bl.example"]).unwrap().with_serial(7).with_ttl(60, 30),
        zone("deep.bl.example").without_test_entries(),
    ])
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let mut name = Name::from_ascii(name).unwrap();
    name.set_fqdn(true);
    message.add_query(Query::query(name, kind));
    message
}

/// Two listed addresses, a listed name, a text that is long.
fn look_up(zone: usize, key: Key<'_>, wants_text: bool, listing: &mut Listing) {
    let listed = match key {
        Key::Address(address) => {
            ["192.0.2.99", "2001:db8::1"].map(|text| text.parse::<IpAddr>().unwrap()).contains(&address)
        }
        Key::Name("example.org") => true,
        Key::Name("org") => {
            listing.is_above = true;
            false
        }
        Key::Name("many.example") => {
            listing.codes.extend((1..=100).map(|last| Ipv4Addr::new(127, 0, 1, last)));
            true
        }
        Key::Name("long.example") => {
            listing.texts.push("é".repeat(200));
            true
        }
        _ => false,
    };
    if listed {
        listing.codes.push(Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(zone).unwrap()));
        if wants_text {
            listing.texts.push(format!("{key:?}"));
        }
    }
}

fn ask_octets(packet: &[u8], transport: Transport) -> (Outcome, Vec<u8>) {
    let (mut listing, mut out) = (Listing::default(), vec![1, 2, 3]);
    let outcome = responder().respond(packet, transport, &mut listing, &mut out, look_up);
    (outcome, out)
}

fn ask(message: &Message) -> (Outcome, Message) {
    let (outcome, out) = ask_octets(&message.to_vec().unwrap(), Transport::Udp);
    let response = DnsResponse::from_buffer(out).unwrap().into_message();
    assert_eq!((response.metadata.id, response.metadata.message_type), (0x1234, MessageType::Response));
    assert_eq!(response.queries, message.queries, "the question comes back as it was");
    (outcome, response)
}

fn addresses(response: &Message) -> Vec<Ipv4Addr> {
    let address = |record: &hickory_proto::rr::Record| match &record.data {
        RData::A(address) => Some(address.0),
        _ => None,
    };
    response.answers.iter().filter_map(address).collect()
}

#[test]
fn addresses_and_names_are_listed() {
    for (subject, zone, code) in [
        ("192.0.2.99", "bl.example", [127, 0, 0, 3]),
        ("2001:db8::1", "bl.example", [127, 0, 0, 3]),
        ("example.org", "bl.example", [127, 0, 0, 3]),
        ("Example.ORG", "BL.example", [127, 0, 0, 3]),
        ("192.0.2.99", "deep.bl.example", [127, 0, 0, 2]),
    ] {
        let name = query_name(subject, zone);
        let (outcome, response) = ask(&query(&name, RecordType::A));
        assert_eq!((outcome, addresses(&response)), (Outcome::Listed, vec![code.into()]), "{name}");
        assert!(response.metadata.authoritative && response.metadata.recursion_desired);
        assert_eq!(response.answers[0].name, response.queries[0].name);
        let (outcome, response) = ask(&query(&name, RecordType::TXT));
        assert!(outcome == Outcome::Listed && matches!(response.answers[0].data, RData::TXT(_)), "{response:?}");
        let (outcome, response) = ask(&query(&name, RecordType::MX));
        assert_eq!((outcome, response.answers.len(), response.authorities.len()), (Outcome::Listed, 0, 1));
        assert_eq!(response.metadata.response_code, ResponseCode::NoError);
    }
}

#[test]
fn absence_may_be_remembered_as_long_as_the_zone_says() {
    for (name, code) in [
        ("1.2.0.192.bl.example", ResponseCode::NXDomain),
        ("nobody.bl.example", ResponseCode::NXDomain),
        ("256.2.0.192.bl.example", ResponseCode::NXDomain),
        ("01.2.0.192.bl.example", ResponseCode::NXDomain),
        ("org.bl.example", ResponseCode::NoError),
        ("192.bl.example", ResponseCode::NoError),
        ("8.b.d.0.1.0.0.2.bl.example", ResponseCode::NoError),
    ] {
        let (_, response) = ask(&query(name, RecordType::A));
        assert_eq!((response.metadata.response_code, response.answers.len()), (code, 0), "{name}");
        let soa = &response.authorities[0];
        assert_eq!((soa.name.to_ascii(), soa.ttl), ("bl.example.".to_owned(), 30), "{name}");
        let RData::SOA(soa) = &soa.data else { panic!("{soa:?}") };
        assert_eq!((soa.serial, soa.minimum, soa.mname.to_ascii().as_str()), (7, 30, "ns.bl.example."));
        assert_eq!(soa.rname.to_ascii(), "hostmaster.bl.example.");
    }
}

#[test]
fn names_that_nobody_can_list_are_not_there() {
    let mut message = query("bl.example", RecordType::A);
    let labels = [&b"a\0 b"[..], b"bl", b"example"];
    message.queries[0].set_name(Name::from_labels(labels).unwrap());
    assert_eq!(ask(&message).0, Outcome::NotListed);
}

#[test]
fn a_list_shows_that_it_is_alive() {
    let listed = |name: &str| addresses(&ask(&query(name, RecordType::A)).1) == [Ipv4Addr::new(127, 0, 0, 2)];
    let zone = "bl.example";
    assert!(listed("test.bl.example") && !listed("invalid.bl.example"));
    assert!(listed(&query_name("127.0.0.2", zone)) && !listed(&query_name("127.0.0.1", zone)));
    assert!(listed(&query_name("::ffff:7f00:2", zone)) && !listed(&query_name("::ffff:7f00:1", zone)));
    assert!(!listed("test.deep.bl.example"), "it was told to have none");
}

#[test]
fn the_zone_itself_has_its_own_records() {
    let (_, soa) = ask(&query("bl.example", RecordType::SOA));
    assert!(matches!(soa.answers[0].data, RData::SOA(_)));
    let (_, servers) = ask(&query("bl.example", RecordType::NS));
    assert!(matches!(&servers.answers[0].data, RData::NS(name) if name.to_ascii() == "ns.bl.example."));
    let (_, none) = ask(&query("bl.example", RecordType::A));
    assert_eq!((none.answers.len(), none.authorities.len()), (0, 1));
}

#[test]
fn what_no_list_answers_is_refused() {
    for name in ["example", "bl.example.org", "xbl.example", "."] {
        let (outcome, response) = ask(&query(name, RecordType::A));
        assert_eq!((outcome, response.metadata.response_code), (Outcome::Refused, ResponseCode::Refused), "{name}");
        assert!(response.authorities.is_empty());
    }
    let (outcome, _) = ask(&query("bl.example", RecordType::AXFR));
    assert_eq!(outcome, Outcome::Refused);
    let mut chaos = query("test.bl.example", RecordType::A);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(ask(&chaos).0, Outcome::Refused);
    let mut update = query("bl.example", RecordType::SOA).to_vec().unwrap();
    update[2] |= 5 << 3;
    let (outcome, out) = ask_octets(&update, Transport::Udp);
    assert_eq!((outcome, out[3] & 0xf, out.len()), (Outcome::Refused, 4, 12));
}

#[test]
fn what_is_no_query_is_never_answered() {
    let good = query("test.bl.example", RecordType::A).to_vec().unwrap();
    let mut response = good.clone();
    response[2] |= 0x80;
    for packet in [&[][..], &good[..11], &response] {
        assert_eq!(ask_octets(packet, Transport::Udp), (Outcome::Dropped, Vec::new()));
    }
    for end in 12..good.len() {
        let (outcome, out) = ask_octets(&good[..end], Transport::Udp);
        assert_eq!((outcome, out.len(), out[3] & 0xf), (Outcome::Malformed, 12, 1), "cut at {end}");
    }
    let mut two = good.clone();
    two[5] = 2;
    assert_eq!(ask_octets(&two, Transport::Udp).0, Outcome::Malformed);
    let mut loops = good[..12].to_vec();
    loops.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
    assert_eq!(ask_octets(&loops, Transport::Udp).0, Outcome::Malformed, "a pointer in a question");
}

#[test]
fn responses_are_as_large_as_the_client_says_and_no_larger() {
    let edns = |size: u16, version: u8| {
        let mut message = query("many.bl.example", RecordType::A);
        message.queries[0].set_name(Name::from_ascii("many.example.bl.example.").unwrap());
        let mut edns = Edns::new();
        edns.set_max_payload(size).set_version(version).set_dnssec_ok(true);
        message.edns = Some(edns);
        message
    };
    let plain = {
        let mut message = edns(0, 0);
        message.edns = None;
        message
    };
    // 101 records of 16 octets are more than 1 232.
    for (message, most) in [(plain, 512), (edns(0, 0), 512), (edns(600, 0), 600), (edns(u16::MAX, 0), 1_232)] {
        let (outcome, out) = ask_octets(&message.to_vec().unwrap(), Transport::Udp);
        assert!(out.len() <= most && outcome == Outcome::Truncated, "{} of {most}", out.len());
        let (_, response) = ask(&message);
        assert!(response.metadata.truncation && response.answers.is_empty());
        assert_eq!(response.edns.is_some(), message.edns.is_some());
        let (outcome, out) = ask_octets(&message.to_vec().unwrap(), Transport::Tcp);
        assert_eq!((outcome, addresses(&Message::from_vec(&out).unwrap()).len()), (Outcome::Listed, 101));
    }
    let (_, response) = ask(&edns(1_232, 1));
    // 16 is BADVERS here, and BADSIG to hickory.
    assert_eq!(u16::from(response.metadata.response_code), 16);
    let (_, response) = ask(&edns(1_232, 0));
    assert!(response.edns.unwrap().flags().dnssec_ok);
}

#[test]
fn texts_are_cut_between_characters() {
    let (_, response) = ask(&query("long.example.bl.example", RecordType::TXT));
    let RData::TXT(text) = &response.answers[0].data else { panic!("{response:?}") };
    assert_eq!(text.txt_data[0].as_ref(), "é".repeat(127).as_bytes());
}

#[test]
fn who_asks_too_often_is_sent_no_more_than_he_sent() {
    for name in ["test.bl.example", "foreign.example"] {
        let packet = query(name, RecordType::A).to_vec().unwrap();
        let mut out = Vec::new();
        assert_eq!(Responder::truncated(&packet, &mut out), Outcome::Truncated);
        assert!(out.len() <= packet.len() && Message::from_vec(&out).unwrap().metadata.truncation);
    }
    let mut out = Vec::new();
    assert_eq!(Responder::truncated(&[0xff; 40], &mut out), Outcome::Dropped);
}

#[test]
fn names_of_zones_are_names() {
    for bad in ["", ".", "a..b", "a b", "a/b", &"x".repeat(64), &"x.".repeat(128)] {
        assert!(Zone::new(bad).is_err(), "{bad}");
    }
    let longest = format!("{}bl", "x.".repeat(125));
    let zone = Zone::new(&longest).unwrap();
    let responder = Responder::new(vec![zone]);
    let packet = query(&longest, RecordType::SOA).to_vec().unwrap();
    let (mut listing, mut out) = (Listing::default(), Vec::new());
    responder.respond(&packet, Transport::Udp, &mut listing, &mut out, look_up);
    assert_eq!(Message::from_vec(&out).unwrap().answers.len(), 1, "its SOA record has no name that is too long");
}
