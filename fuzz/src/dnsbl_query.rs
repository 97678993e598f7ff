//! Packets to a DNSBL: whatever comes, what goes back is a response, small, and read by a codec that is not ours.

use std::net::Ipv4Addr;

use hickory_proto::op::{Message, MessageType};
use repute_proto::dnsbl::{Key, Listing, Outcome, Responder, Transport, Zone, query_name};

fn look_up(zone: usize, key: Key<'_>, wants_text: bool, listing: &mut Listing) {
    let listed = match key {
        Key::Address(address) => {
            // What was written backwards is that address, and no other.
            assert!(query_name(&address.to_string(), "z").len() >= 9);
            true
        }
        Key::Name(name) => {
            assert!(!name.is_empty() && name.len() < 254 && !name.contains("..") && !name.bytes().any(|o| o.is_ascii_uppercase()));
            name.len() % 2 == 0
        }
        other => panic!("{other:?} is not looked up"),
    };
    if listed {
        for last in 0..=zone as u8 * 90 {
            listing.codes.push(Ipv4Addr::new(127, 0, 0, last));
        }
        if wants_text {
            listing.texts.push("x".repeat(300));
        }
    }
}

/// The octets are a packet.
pub fn run(data: &[u8]) {
    let zone = |name: &str| Zone::new(name).expect("a name");
    let responder = Responder::new(vec![zone("bl.test").with_servers(["ns.bl.test"]).expect("a name"), zone("b.bl.test")]);
    let (mut listing, mut out, mut again) = (Listing::default(), Vec::new(), Vec::new());
    for (transport, most) in [(Transport::Udp, 1_232), (Transport::Tcp, 65_535)] {
        let outcome = responder.respond(data, transport, &mut listing, &mut out, look_up);
        assert_eq!(responder.respond(data, transport, &mut listing, &mut again, look_up), outcome);
        assert_eq!(out, again, "the same packet, the same response");
        check(data, outcome, &out, most);
        assert_eq!(responder.respond(&out, transport, &mut listing, &mut again, look_up), Outcome::Dropped, "no loops");
    }
    let outcome = Responder::truncated(data, &mut out);
    check(data, outcome, &out, data.len());
}

fn check(data: &[u8], outcome: Outcome, out: &[u8], most: usize) {
    assert_eq!(outcome == Outcome::Dropped, out.is_empty());
    assert!(out.len() <= most.max(12), "{} octets", out.len());
    if out.is_empty() {
        return;
    }
    assert_eq!(out[..2], data[..2], "the number of the query");
    let message = Message::from_vec(out).unwrap_or_else(|error| panic!("{error}: {out:?}"));
    assert_eq!(message.metadata.message_type, MessageType::Response);
    assert!(outcome != Outcome::Truncated || message.answers.is_empty());
    if outcome != Outcome::Malformed && outcome != Outcome::Refused {
        let end = out.len().min(data.len()).min(12 + message.queries[0].name().len());
        assert_eq!(out[12..end], data[12..end], "the question as it was asked");
    }
}

/// Queries of every kind, and what is none.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let v6 = query_name("2001:db8::1", "bl.test");
    for (name, kind, edns) in [
        ("99.2.0.192.bl.test", 1_u16, false),
        ("2.0.0.127.bl.test", 16, true),
        (&v6, 1, true),
        ("Example.ORG.B.bl.test", 1, false),
        ("0.192.bl.test", 2, false),
        ("invalid.bl.test", 255, true),
        ("bl.test", 6, false),
        ("bl.test", 252, false),
        ("example.org", 1, true),
    ] {
        let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
        for label in name.split('.') {
            packet.push(label.len() as u8);
            packet.extend_from_slice(label.as_bytes());
        }
        packet.push(0);
        packet.extend_from_slice(&kind.to_be_bytes());
        packet.extend_from_slice(&[0, 1]);
        if edns {
            packet.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 128, 0, 0, 4, 0, 10, 0, 0]);
        }
        seeds.push((format!("{name}-{kind}"), packet.clone()));
        packet[2] |= 0x80;
        seeds.push((format!("{name}-{kind}-response"), packet));
    }
    seeds
}
