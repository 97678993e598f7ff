//! Datagrams against the recorded and derived vectors, against limits, and against octets that are none.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;
use std::path::Path;

use proptest::prelude::*;
use watchfire_core::{Duration, Instant};

use super::*;
use crate::crypto::{Authentication, Encryption, Mac, RustCrypto};

fn hex(text: &str) -> Vec<u8> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    text.as_bytes().chunks(2).map(pair).collect()
}

fn vectors(name: &str) -> serde_json::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/obp").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn octets(value: &serde_json::Value, name: &str) -> Vec<u8> {
    hex(value[name].as_str().unwrap())
}

fn keys(secret: &[u8], encryption: Encryption) -> PacketKeys {
    PacketKeys::new(&RustCrypto, secret, &Authentication::Hs256T128, &encryption).unwrap()
}

const TID: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const RESPONSE_TID: [u8; 16] = [16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31];
const PEER: &str = "192.0.2.1:9090";

fn peer() -> SocketAddr {
    PEER.parse().unwrap()
}

/// Decrypts a response of one datagram.
fn open_single(keys: &PacketKeys, datagram: &[u8]) -> Vec<u8> {
    let packet = ResponsePacket::parse(datagram).unwrap();
    let mut payload = keys.open_segment(&packet).unwrap();
    keys.open_response(packet.transaction_id, &mut payload).unwrap();
    payload
}

#[test]
fn the_recorded_exchange_opens_and_is_rebuilt_octet_for_octet() {
    let vector = vectors("privatedns-uyfm.json");
    let keys = keys(&octets(&vector, "key"), Encryption::A128Cbc);
    let request = octets(&vector, "request");
    let packet = RequestPacket::parse(&request).unwrap();
    assert_eq!(packet.ticket, octets(&vector, "ticket"));
    let mut plain = Vec::new();
    let mac = keys.open_request(&packet, &mut plain).unwrap();
    assert_eq!(mac.as_bytes(), octets(&vector, "request_mac_full"));
    let entries: Vec<Entry<'_>> = Entries::decode(&plain).unwrap().collect();
    let [Entry::Dns(query)] = entries[..] else { panic!("{entries:?}") };
    assert_eq!((query.len(), &query[..2]), (33, &[0x24, 0x1a][..]));
    let tid = packet.transaction_id.try_into().unwrap();
    let sealed = keys.seal_request(tid, packet.ticket, &entries, Padding::None, 1200).unwrap();
    assert_eq!(sealed.datagram, request);
    assert_eq!(sealed.mac.as_bytes(), mac.as_bytes());

    let response = octets(&vector, "response");
    let packet = ResponsePacket::parse(&response).unwrap();
    assert_eq!((packet.index, packet.max_index, packet.clear_response), (1, 1, 200));
    let payload = open_single(&keys, &response);
    let entries: Vec<Entry<'_>> = Entries::decode(&payload).unwrap().collect();
    let [Entry::LastMac(last), Entry::Dns(answer)] = entries[..] else { panic!("{entries:?}") };
    assert_eq!(last, mac.as_bytes(), "the response names the whole MAC of the request");
    assert_eq!(answer.len(), 0x5e);
    let tid = packet.transaction_id.try_into().unwrap();
    assert_eq!(keys.seal_response(tid, 200, &entries, Padding::None, 1200).unwrap(), [response]);
}

#[test]
fn the_derived_vectors_are_rebuilt_octet_for_octet() {
    let all = vectors("derived.json");
    let vector = &all["uyfm"];
    let keys = keys(&octets(vector, "key"), Encryption::A128Cbc);
    let ticket = octets(vector, "ticket");
    let request = |entry: Entry<'_>| keys.seal_request(&TID, &ticket, &[entry], Padding::None, 1200).unwrap();
    let json = "{\n  \"QueryConnectRequest\": {\n    \"Identifier\": {\n      \"Name\": \"Example.com\",\n      \
                \"Service\": \"_http\",\n      \"Port\": 80}}}";
    let sealed = request(Entry::Json(json.as_bytes()));
    assert_eq!(sealed.datagram, octets(vector, "V-U1"));
    assert_eq!(request(Entry::JsonC(&octets(&all, "V-B1"))).datagram, octets(vector, "V-U2"));
    let (last, answer) = (sealed.mac.as_bytes(), octets(&all, "V-B2"));
    let entries = [Entry::LastMac(last), Entry::JsonC(&answer)];
    let response = keys.seal_response(&RESPONSE_TID, 200, &entries, Padding::None, 1200).unwrap();
    assert_eq!(response, [octets(vector, "V-U3")]);
}

#[test]
fn the_profiles_do_not_understand_each_other() {
    let secret = [7; 32];
    let profiles = Encryption::KNOWN.map(|encryption| keys(&secret, encryption));
    for (a, sealing) in profiles.iter().enumerate() {
        let request = sealing.seal_request(&TID, b"ticket", &[Entry::Json(b"{}")], Padding::None, 1200).unwrap();
        let response = sealing.seal_response(&TID, 200, &[Entry::Json(b"{}")], Padding::None, 1200).unwrap();
        for (b, opening) in profiles.iter().enumerate() {
            let packet = RequestPacket::parse(&request.datagram).unwrap();
            let mut plain = Vec::new();
            let opened = opening.open_request(&packet, &mut plain);
            // The MAC of 2014 is the same under both key sizes: the ticket says which.
            let same_mac = [a, b].iter().all(|profile| [4, 5].contains(profile));
            if a == b {
                assert!(opened.is_ok() && Entries::decode(&plain).is_some());
            } else if same_mac {
                assert!(opened.is_err() || Entries::decode(&plain).is_none());
            } else {
                assert_eq!(opened.map(drop), Err(OpenError::Mac), "{a} and {b}");
                let packet = ResponsePacket::parse(&response[0]).unwrap();
                assert_eq!(opening.open_segment(&packet), Err(OpenError::Mac), "{a} and {b}");
            }
        }
    }
}

#[test]
fn gcm_packets_of_one_response_have_nonces_of_their_own() {
    let keys = keys(&[7; 16], Encryption::A128Gcm);
    let packets = keys.seal_response(&TID, 200, &[Entry::Json(&[0x20; 100])], Padding::None, 80).unwrap();
    assert_eq!(packets.len(), 3);
    let [first, second, _] = &packets[..] else { unreachable!() };
    let [first, second] = [first, second].map(|packet| ResponsePacket::parse(packet).unwrap());
    // Both hold blanks (the first one three octets later): under one key stream they would be equal.
    assert_ne!(first.segment[4..], second.segment[4..]);
    // And a packet moved to another place is not authentic.
    let mut moved = packets[0].to_vec();
    moved[17] = 2;
    assert_eq!(keys.open_segment(&ResponsePacket::parse(&moved).unwrap()), Err(OpenError::Mac));
}

#[test]
fn hardened_keys_are_what_hkdf_says() {
    use crate::crypto::Provider as _;
    let mut key = [0; 32];
    RustCrypto.hkdf_sha256(&[7; 16], b"obp uyfm mac request A128CBC-HKDF", &mut key).unwrap();
    let keys = keys(&[7; 16], Encryption::A128CbcHkdf);
    let sealed = keys.seal_request(&TID, b"t", &[Entry::Json(b"{}")], Padding::None, 1200).unwrap();
    let signed = &sealed.datagram[..sealed.datagram.len() - 16];
    let mac = RustCrypto.hmac(crate::crypto::HashAlgorithm::Sha256, &key, &[signed]);
    assert_eq!(mac.as_bytes(), sealed.mac.as_bytes());
}

#[test]
fn keys_need_known_algorithms_and_enough_octets() {
    let new = |len: usize, authentication: &str, encryption: &str| {
        let (authentication, encryption) = (authentication.parse().unwrap(), encryption.parse().unwrap());
        PacketKeys::new(&RustCrypto, &vec![1; len], &authentication, &encryption).map(drop)
    };
    assert_eq!(new(16, "HS256", "A128CBC"), Ok(()));
    assert_eq!(new(16, "HS256", "A256CBC"), Err(KeyError::SecretLength { got: 16, need: 32 }));
    assert_eq!(new(16, "HS256", "A256CBC-HKDF"), Err(KeyError::SecretLength { got: 16, need: 32 }));
    assert_eq!(new(0, "HS256", "A128GCM"), Err(KeyError::SecretLength { got: 0, need: 16 }));
    assert_eq!(new(16, "MD5", "A128GCM"), Err(KeyError::Algorithm("MD5".into())));
    assert_eq!(new(16, "HS256", "RC4"), Err(KeyError::Algorithm("RC4".into())));
}

#[test]
fn requests_that_do_not_fit_one_datagram_are_refused() {
    for encryption in [Encryption::A128Cbc, Encryption::A128Gcm] {
        let keys = keys(&[7; 16], encryption);
        let seal = |len: usize, ticket: usize| {
            let (data, ticket) = (vec![0x20; len], vec![1; ticket]);
            keys.seal_request(&TID, &ticket, &[Entry::Json(&data)], Padding::None, 1200)
                .map(|sealed| sealed.datagram.len())
        };
        assert!(seal(1000, 80).is_ok());
        assert!(matches!(seal(1100, 80), Err(SealError::TooLong { max: 1200, .. })));
        assert!(matches!(seal(70_000, 80), Err(SealError::Entry)));
        assert_eq!(seal(10, 256), Err(SealError::Ticket(256)));
        assert_eq!(seal(10, 0), Err(SealError::Ticket(0)));
        assert!(seal(10, 255).is_ok());
        // Sixteen packets are the end for responses.
        let respond = |len: usize| {
            keys.seal_response(&TID, 200, &[Entry::Json(&vec![0x20; len])], Padding::None, 1200)
                .map(|packets| packets.len())
        };
        assert_eq!(respond(18_000), Ok(16));
        assert!(matches!(respond(16 * 1160 + 1), Err(SealError::TooLong { .. })));
    }
}

#[test]
fn padding_makes_lengths_the_same() {
    for encryption in [Encryption::A128Cbc, Encryption::A128Gcm] {
        let keys = keys(&[7; 16], encryption.clone());
        let len = |data: usize, padding: Padding| {
            let data = vec![0x20; data];
            let sealed = keys.seal_request(&TID, &[1; 80], &[Entry::Json(&data)], padding, 1200).unwrap();
            let mut plain = Vec::new();
            keys.open_request(&RequestPacket::parse(&sealed.datagram).unwrap(), &mut plain).unwrap();
            let mut entries = Entries::decode(&plain).unwrap();
            assert_eq!(entries.next(), Some(Entry::Json(&data)));
            assert!(entries.all(|entry| matches!(entry, Entry::Padding(_))));
            sealed.datagram.len()
        };
        let lens: Vec<usize> = (0..900).map(|data| len(data, Padding::To(1100))).collect();
        assert!(lens.iter().all(|len| *len == lens[0]), "{encryption}: {lens:?}");
        assert!((1085..=1100).contains(&lens[0]), "{}", lens[0]);
        let mut classes: Vec<usize> = (0..900).map(|data| len(data, Padding::Multiple(256))).collect();
        classes.sort_unstable();
        classes.dedup();
        assert!(classes.len() <= 5, "{encryption}: {classes:?}");
        assert!(len(1000, Padding::To(200)) > 1000, "what is longer stays as it is");
        assert_eq!(len(10, Padding::Multiple(0)), len(10, Padding::None));
    }
}

#[test]
fn truncated_authentication_codes_are_refused() {
    let keys = keys(&[7; 16], Encryption::A128Cbc);
    let sealed = keys.seal_request(&TID, b"t", &[Entry::Json(b"{}")], Padding::None, 1200).unwrap();
    let len = sealed.datagram.len();
    for code in 0..16u8 {
        // The code is re-signed for its own length, as an attacker without the key could not do.
        let mut short = sealed.datagram[..len - 17].to_vec();
        short.push(code);
        let mac = crate::crypto::Provider::hmac(&RustCrypto, crate::crypto::HashAlgorithm::Sha256, &[7; 16], &[&short]);
        short.extend_from_slice(mac.truncated(usize::from(code)));
        let opened = RequestPacket::parse(&short).map(|packet| keys.open_request(&packet, &mut Vec::new()).map(drop));
        let expected =
            if code == 0 { Err(DatagramError::Empty("authentication code")) } else { Ok(Err(OpenError::Mac)) };
        assert_eq!(opened, expected, "{code} octets");
    }
}

#[test]
fn datagrams_that_are_none_are_told_why() {
    let request = |octets: &[u8]| RequestPacket::parse(octets).map(drop);
    assert_eq!(request(&[]), Err(DatagramError::Short("transaction ID")));
    assert_eq!(request(&[&[15][..], &[0; 30]].concat()), Err(DatagramError::TransactionId(15)));
    let head = [&[16][..], &TID].concat();
    assert_eq!(request(&[&head[..], &[0]].concat()), Err(DatagramError::Empty("ticket")));
    assert_eq!(request(&[&head[..], &[1, 1, 0, 0]].concat()), Err(DatagramError::Empty("payload")));
    assert_eq!(request(&[&head[..], &[1, 1, 255, 255, 0]].concat()), Err(DatagramError::Short("payload")));
    assert_eq!(request(&[&head[..], &[1, 1, 0, 1, 0, 1, 1, 9]].concat()), Err(DatagramError::Trailing(1)));
    let response = |index: u8, max: u8| {
        ResponsePacket::parse(&[&head[..], &[index, max, 0, 200, 0, 0, 1, 1]].concat()).map(|packet| packet.index)
    };
    assert_eq!((response(1, 1), response(16, 16), response(0, 15), response(0, 0)), (Ok(1), Ok(16), Ok(0), Ok(0)));
    for (index, max_index) in [(2, 1), (17, 17), (1, 17), (255, 255), (0, 16)] {
        assert_eq!(response(index, max_index), Err(DatagramError::Index { index, max_index }));
    }
}

#[test]
fn entries_of_every_type_are_read_and_unknown_ones_kept() {
    let all = [
        Entry::Padding(5),
        Entry::SecurityContextId(b"ticket"),
        Entry::Key(b"key"),
        Entry::LastMac(b"mac"),
        Entry::Json(b"{}"),
        Entry::JsonC(b"{}"),
        Entry::Dns(b"dns"),
        Entry::Other(200, b"?"),
    ];
    let mut octets = Vec::new();
    assert!(all.iter().all(|entry| entry.encode(&mut octets)));
    let entries = Entries::decode(&octets).unwrap();
    assert_eq!(entries.collect::<Vec<_>>(), all);
    assert_eq!(entries.replacement(), Some((&b"ticket"[..], &b"key"[..])));
    for cut in 1..octets.len() {
        let ends = (0..=all.len()).any(|n| {
            let mut whole = Vec::new();
            all[..n].iter().all(|entry| entry.encode(&mut whole)) && whole.len() == cut
        });
        assert_eq!(Entries::decode(&octets[..cut]).is_some(), ends, "cut at {cut}");
    }
    assert!(!Entry::Padding(65_536).encode(&mut octets));
}

#[test]
fn a_key_stands_directly_behind_its_ticket() {
    let decode = |entries: &[Entry<'_>]| {
        let mut octets = Vec::new();
        assert!(entries.iter().all(|entry| entry.encode(&mut octets)));
        Entries::decode(&octets).map(|entries| entries.replacement().is_some())
    };
    let (ticket, key) = (Entry::SecurityContextId(b"t"), Entry::Key(b"k"));
    assert_eq!(decode(&[ticket, key]), Some(true));
    assert_eq!(decode(&[ticket]), Some(false));
    assert_eq!(decode(&[key]), None);
    assert_eq!(decode(&[ticket, Entry::Padding(1), key]), None);
    assert_eq!(decode(&[ticket, key, key]), None);
    assert_eq!(decode(&[Entry::Padding(0); Entries::MAX]), Some(false));
    assert_eq!(decode(&[Entry::Padding(0); Entries::MAX + 1]), None, "a payload of many entries");
}

/// Adds the packets in this order; what the last one brought.
fn reassemble(
    reassembler: &mut Reassembler,
    keys: &PacketKeys,
    packets: &[bytes::Bytes],
) -> Vec<Result<Progress, ReassemblyError>> {
    let add = |packet: &bytes::Bytes| {
        let packet = ResponsePacket::parse(packet).unwrap();
        reassembler.add(Instant::ZERO, peer(), &packet, keys.open_segment(&packet).unwrap())
    };
    packets.iter().map(add).collect()
}

/// A response packet of our own making, authentic.
fn forge(index: u8, max_index: u8, status: u16, segment: &[u8]) -> bytes::Bytes {
    let mut packet = [&[16][..], &TID, &[index, max_index], &status.to_be_bytes()].concat();
    packet.extend_from_slice(&(segment.len() as u16).to_be_bytes());
    packet.extend_from_slice(segment);
    packet.push(16);
    let key = [7; 16];
    let mac: Mac = crate::crypto::Provider::hmac(&RustCrypto, crate::crypto::HashAlgorithm::Sha256, &key, &[&packet]);
    packet.extend_from_slice(mac.truncated(16));
    packet.into()
}

#[test]
fn packets_that_contradict_each_other() {
    let keys = keys(&[7; 16], Encryption::A128Cbc);
    let mut reassembler = Reassembler::new(ReassemblyLimits::default());
    let said = reassemble(
        &mut reassembler,
        &keys,
        &[
            forge(1, 3, 200, b"a"),
            forge(2, 2, 200, b"b"), // another last index: refused, and the rest is kept
            forge(2, 3, 200, b"b"),
            forge(2, 3, 200, b"b"), // a copy
            forge(3, 3, 200, b"c"),
        ],
    );
    let expected = [
        Ok(Progress::Incomplete),
        Err(ReassemblyError::MaxIndex { first: 3, then: 2 }),
        Ok(Progress::Incomplete),
        Ok(Progress::Duplicate),
        Ok(Progress::Complete(b"abc".to_vec())),
    ];
    assert_eq!(said, expected);
    for conflict in [forge(1, 3, 200, b"A"), forge(1, 3, 500, b"a"), forge(2, 3, 500, b"b")] {
        let mut reassembler = Reassembler::new(ReassemblyLimits::default());
        let index = conflict[17];
        let packets = [forge(1, 3, 200, b"a"), conflict, forge(2, 3, 200, b"b"), forge(3, 3, 200, b"c")];
        let said = reassemble(&mut reassembler, &keys, &packets);
        let dropped = Ok(Progress::Duplicate);
        assert_eq!(said[1..], [Err(ReassemblyError::Conflict(index)), dropped.clone(), dropped]);
        assert_eq!(reassembler.octets(), 0);
    }
}

#[test]
fn peers_that_count_from_zero_are_understood() {
    let keys = keys(&[7; 16], Encryption::A128Cbc);
    let mut reassembler = Reassembler::new(ReassemblyLimits::default());
    let said = reassemble(&mut reassembler, &keys, &[forge(0, 0, 200, b"all")]);
    assert_eq!(said, [Ok(Progress::Complete(b"all".to_vec()))]);
    reassembler.finish(peer(), &TID);
    let said = reassemble(&mut reassembler, &keys, &[forge(0, 1, 200, b"a"), forge(1, 1, 200, b"b")]);
    assert_eq!(said, [Ok(Progress::Incomplete), Ok(Progress::Complete(b"ab".to_vec()))]);
    reassembler.finish(peer(), &TID);
    // The first one last: what looks complete makes no sense, and is completed.
    let said = reassemble(&mut reassembler, &keys, &[forge(1, 1, 200, b"b"), forge(0, 1, 200, b"a")]);
    assert_eq!(said, [Ok(Progress::Complete(b"b".to_vec())), Ok(Progress::Complete(b"ab".to_vec()))]);
    reassembler.finish(peer(), &TID);
    assert!(reassembler.is_empty());
}

#[test]
fn reassembly_is_bounded_and_forgets() {
    let keys = keys(&[7; 16], Encryption::A128Cbc);
    let limits = ReassemblyLimits { per_peer: 3, responses: 5, octets: 1000, timeout: Duration::from_secs(5) };
    let mut reassembler = Reassembler::new(limits);
    let mut add = |at: u64, peer: u8, tid: u8, len: usize| {
        let tid = [tid; 16];
        let packets = keys.seal_response(&tid, 200, &[Entry::Json(&vec![0x20; len])], Padding::None, len + 30).unwrap();
        let packet = ResponsePacket::parse(&packets[0]).unwrap();
        let from = SocketAddr::from(([192, 0, 2, peer], 9090));
        let added = reassembler.add(Instant::from_secs(at), from, &packet, keys.open_segment(&packet).unwrap());
        (added, reassembler.len(), reassembler.octets())
    };
    let limit = |what| Err(ReassemblyError::Limit(what));
    for tid in 0..3 {
        assert_eq!(add(0, 1, tid, 100).0, Ok(Progress::Incomplete));
    }
    assert_eq!(add(0, 1, 3, 100).0, limit("responses of one peer"));
    assert_eq!(add(1, 2, 0, 800).0, limit("octets"));
    assert_eq!(add(1, 2, 0, 100).0, Ok(Progress::Incomplete));
    assert_eq!(add(1, 3, 0, 100).0, Ok(Progress::Incomplete));
    assert_eq!(add(1, 4, 0, 100), (limit("responses"), 5, 5 * 90));
    assert_eq!(add(5, 4, 0, 100), (Ok(Progress::Incomplete), 3, 3 * 90), "those of the first second are forgotten");
    assert_eq!(reassembler.next_timeout(), Some(Instant::from_secs(6)));
    reassembler.expire(Instant::from_secs(100));
    assert_eq!((reassembler.len(), reassembler.octets(), reassembler.next_timeout()), (0, 0, None));
}

#[test]
fn octets_of_later_packets_count_too() {
    let keys = keys(&[7; 16], Encryption::A128Cbc);
    for (limit, fits) in [(30, true), (29, false)] {
        let limits = ReassemblyLimits { octets: limit, ..ReassemblyLimits::default() };
        let mut reassembler = Reassembler::new(limits);
        let said = reassemble(&mut reassembler, &keys, &[forge(1, 2, 200, &[1; 10]), forge(2, 2, 200, &[2; 20])]);
        assert_eq!(said[0], Ok(Progress::Incomplete));
        assert!(!reassembler.is_empty());
        if fits {
            assert!(matches!(&said[1], Ok(Progress::Complete(payload)) if payload.len() == 30));
        } else {
            assert_eq!(said[1], Err(ReassemblyError::Limit("octets")));
        }
        assert_eq!((reassembler.len(), reassembler.octets()), (1, if fits { 30 } else { 10 }));
    }
    // The first packet of a response may fill the limit, and be no longer.
    for (len, fits) in [(30, true), (31, false)] {
        let limits = ReassemblyLimits { octets: 30, ..ReassemblyLimits::default() };
        let mut reassembler = Reassembler::new(limits);
        let said = reassemble(&mut reassembler, &keys, &[forge(1, 2, 200, &vec![1; len])]);
        assert_eq!(said[0].is_ok(), fits, "{said:?}");
        assert_eq!(reassembler.len(), usize::from(fits));
    }
}

#[test]
fn what_a_datagram_needs_besides_its_payload_is_known_before() {
    for (encryption, ticket) in [(Encryption::A128Cbc, 1), (Encryption::A128Gcm, 80), (Encryption::A128Gcm, 255)] {
        let keys = keys(&[7; 16], encryption);
        let ticket = vec![1; ticket];
        let sealed = keys.seal_request(&TID, &ticket, &[Entry::Json(b"{}")], Padding::None, 1200).unwrap();
        let packet = RequestPacket::parse(&sealed.datagram).unwrap();
        let overhead = RequestPacket::overhead(TID.len(), ticket.len(), packet.authentication_code.len());
        assert_eq!(sealed.datagram.len(), overhead + packet.payload.len());
        let response = &keys.seal_response(&TID, 200, &[Entry::Json(b"{}")], Padding::None, 1200).unwrap()[0];
        let packet = ResponsePacket::parse(response).unwrap();
        let overhead = ResponsePacket::overhead(packet.authentication_code.len());
        assert_eq!(response.len(), overhead + packet.segment.len());
    }
}

fn encryption() -> impl Strategy<Value = Encryption> {
    proptest::sample::select(Encryption::KNOWN.to_vec())
}

proptest! {
    #[test]
    fn any_order_of_packets_with_duplicates_gives_the_payload(
        encryption in encryption(),
        data in proptest::collection::vec(any::<u8>(), 0..3000),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let keys = keys(&[7; 32], encryption);
        let packets = keys.seal_response(&TID, 200, &[Entry::Json(&data)], Padding::None, 260).unwrap();
        // At random first, then all: so all come, some more than once.
        let order: Vec<_> = order.iter().map(|index| index.get(&packets)).chain(&packets).collect();
        let mut reassembler = Reassembler::new(ReassemblyLimits::default());
        let mut complete = None;
        for packet in order {
            let packet = ResponsePacket::parse(packet).unwrap();
            let segment = keys.open_segment(&packet).unwrap();
            match reassembler.add(Instant::ZERO, peer(), &packet, segment) {
                Ok(Progress::Complete(payload)) => {
                    prop_assert!(complete.replace(payload).is_none(), "complete twice");
                }
                Ok(_) => {}
                Err(error) => prop_assert!(false, "{error}"),
            }
        }
        let mut payload = complete.unwrap();
        keys.open_response(&TID, &mut payload).unwrap();
        prop_assert_eq!(Entries::decode(&payload).unwrap().next(), Some(Entry::Json(&data)));
    }

    #[test]
    fn an_altered_octet_is_noticed_wherever_it_is(
        encryption in encryption(),
        at: prop::sample::Index,
        flip in 1u8..,
        data in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let keys = keys(&[7; 32], encryption);
        let entries = [Entry::Json(&data)];
        let mut datagram = keys.seal_request(&TID, b"ticket", &entries, Padding::None, 1200).unwrap().datagram.to_vec();
        let at_request = at.index(datagram.len());
        datagram[at_request] ^= flip;
        if let Ok(packet) = RequestPacket::parse(&datagram) {
            prop_assert_eq!(keys.open_request(&packet, &mut Vec::new()).map(drop), Err(OpenError::Mac));
        }
        let mut datagram = keys.seal_response(&TID, 200, &entries, Padding::None, 1200).unwrap()[0].to_vec();
        let at_response = at.index(datagram.len());
        datagram[at_response] ^= flip;
        if let Ok(packet) = ResponsePacket::parse(&datagram) {
            prop_assert_eq!(keys.open_segment(&packet), Err(OpenError::Mac));
        }
    }

    #[test]
    fn arbitrary_octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        let keys = keys(&[7; 32], Encryption::A256Gcm);
        if let Ok(packet) = RequestPacket::parse(&octets) {
            prop_assert!(keys.open_request(&packet, &mut Vec::new()).is_err());
        }
        if let Ok(packet) = ResponsePacket::parse(&octets) {
            prop_assert!(keys.open_segment(&packet).is_err());
        }
        if let Some(entries) = Entries::decode(&octets) {
            let _ = entries.replacement();
            prop_assert!(entries.count() <= Entries::MAX);
        }
    }
}
