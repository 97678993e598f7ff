//! UYFM datagrams, their entries, and putting them together.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use obp_proto::crypto::{Authentication, Encryption, RustCrypto};
use obp_proto::uyfm::{
    Entries, Entry, PacketKeys, Padding, Progress, Reassembler, ReassemblyLimits, RequestPacket, ResponsePacket,
};
use watchfire_core::{Duration, Instant};

/// Reads `data` as everything it could be.
pub fn run(data: &[u8]) {
    octets(data);
    if let Some((first, rest)) = data.split_first() {
        travels(*first, rest);
        reassembly(rest);
    }
}

fn keys(of: u8) -> PacketKeys {
    keys_of(&[7; 32], of)
}

/// Under which nothing in the seeds is sealed.
fn other_keys(of: u8) -> PacketKeys {
    keys_of(&[8; 32], of)
}

fn keys_of(secret: &[u8], of: u8) -> PacketKeys {
    let encryption = &Encryption::KNOWN[usize::from(of) % Encryption::KNOWN.len()];
    PacketKeys::new(&RustCrypto, secret, &Authentication::Hs256T128, encryption).expect("known labels")
}

/// What parses consists of its fields and nothing else; nobody guesses a MAC.
fn octets(data: &[u8]) {
    if let Ok(packet) = RequestPacket::parse(data) {
        let code = packet.authentication_code;
        assert_eq!([packet.signed, code].concat(), data);
        assert_eq!(
            data.len(),
            RequestPacket::overhead(packet.transaction_id.len(), packet.ticket.len(), code.len())
                + packet.payload.len()
        );
        assert!(other_keys(data[0]).open_request(&packet, &mut Vec::new()).is_err());
    }
    if let Ok(packet) = ResponsePacket::parse(data) {
        assert_eq!([packet.signed, packet.authentication_code].concat(), data);
        assert!(packet.index <= packet.max_index && packet.max_index <= 16);
        assert!(other_keys(data[0]).open_segment(&packet).is_err());
    }
    if let Some(entries) = Entries::decode(data) {
        let _ = entries.replacement();
        let len: usize = entries
            .map(|entry| match entry {
                Entry::Padding(len) => len + 3,
                Entry::SecurityContextId(data)
                | Entry::Key(data)
                | Entry::LastMac(data)
                | Entry::Json(data)
                | Entry::JsonC(data)
                | Entry::Dns(data)
                | Entry::Other(_, data) => data.len() + 3,
                other => panic!("{other:?}"),
            })
            .sum();
        assert_eq!(len, data.len());
    }
}

/// What is sealed opens again, whatever the padding and the size of packets, and altered it does not.
fn travels(how: u8, data: &[u8]) {
    let keys = keys(how);
    let padding = match how / 8 % 4 {
        0 => Padding::None,
        1 => Padding::To(600),
        2 => Padding::Multiple(usize::from(how)),
        _ => Padding::Multiple(256),
    };
    let entries = [Entry::LastMac(&data[..data.len().min(32)]), Entry::Json(data)];
    let check = |plain: &[u8]| {
        let read: Vec<Entry<'_>> = Entries::decode(plain).expect("what we wrote").collect();
        assert_eq!(read[..2], entries);
        assert!(read[2..].iter().all(|entry| matches!(entry, Entry::Padding(_))));
    };
    if let Ok(sealed) = keys.seal_request(&[how; 16], b"ticket", &entries, padding, 1200) {
        assert!(sealed.datagram.len() <= 1200);
        let mut plain = Vec::new();
        let packet = RequestPacket::parse(&sealed.datagram).expect("what we wrote");
        let mac = keys.open_request(&packet, &mut plain).expect("what we sealed");
        assert_eq!(mac.as_bytes(), sealed.mac.as_bytes());
        check(&plain);
        let mut altered = sealed.datagram.to_vec();
        let at = data.len() * 31 % altered.len();
        altered[at] ^= how | 1;
        if let Ok(packet) = RequestPacket::parse(&altered) {
            assert!(keys.open_request(&packet, &mut plain).is_err());
        }
    }
    let most = 60 + usize::from(how) * 2;
    let Ok(packets) = keys.seal_response(&[how; 16], 200, &entries, padding, most) else { return };
    assert!((1..=16).contains(&packets.len()));
    let mut reassembler = Reassembler::new(ReassemblyLimits::default());
    let mut complete = None;
    for packet in packets.iter().rev() {
        assert!(packet.len() <= most);
        let packet = ResponsePacket::parse(packet).expect("what we wrote");
        let segment = keys.open_segment(&packet).expect("what we sealed");
        match reassembler.add(Instant::ZERO, from(0), &packet, segment).expect("nothing contradicts") {
            Progress::Complete(payload) => assert!(complete.replace(payload).is_none()),
            progress => assert_eq!(progress, Progress::Incomplete),
        }
    }
    let mut payload = complete.expect("all packets came");
    keys.open_response(&[how; 16], &mut payload).expect("what we sealed");
    check(&payload);
}

fn from(peer: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, peer % 3], 9090))
}

/// Packets that somebody with the key could send: each five octets of `data` are one.
fn reassembly(data: &[u8]) {
    let mut limits = ReassemblyLimits::default();
    (limits.per_peer, limits.responses, limits.octets) = (3, 6, 600);
    limits.timeout = Duration::from_millis(100);
    let mut reassembler = Reassembler::new(limits);
    let mut now = Instant::ZERO;
    let mut sent: BTreeMap<(SocketAddr, u8, u8), Vec<Vec<u8>>> = BTreeMap::new();
    for step in data.chunks_exact(5) {
        let [who, index, max_index, len, time] = *step else { return };
        now = now + Duration::from_millis(u64::from(time / 8));
        let tid = [who / 4 % 4; 16];
        let segment = vec![time; usize::from(len)];
        let head = [&[16][..], &tid, &[index % 18, max_index % 18, 0, 200, 0, len]].concat();
        let octets = [&head[..], &segment, &[1, 0]].concat();
        let Ok(packet) = ResponsePacket::parse(&octets) else { continue };
        let key = (from(who), tid[0], packet.index);
        sent.entry(key).or_default().push(segment.clone());
        if let Ok(Progress::Complete(payload)) = reassembler.add(now, from(who), &packet, segment) {
            // Each octet of it was sent, in a packet of this response.
            let all: Vec<&Vec<u8>> = sent
                .iter()
                .filter(|((peer, id, _), _)| *peer == from(who) && *id == tid[0])
                .flat_map(|(_, segments)| segments)
                .collect();
            assert!(payload.iter().all(|octet| all.iter().any(|segment| segment.contains(octet))));
            assert!(
                payload.len() >= usize::from(len) && payload.len() <= all.iter().map(|segment| segment.len()).sum()
            );
            assert!(payload.len() <= 600);
            if who & 1 == 0 {
                reassembler.finish(from(who), &tid);
            }
        }
        assert!(reassembler.len() <= 6 && reassembler.octets() <= 600);
        assert_eq!(reassembler.next_timeout().is_some(), !reassembler.is_empty());
    }
    reassembler.expire(now + Duration::from_millis(100));
    assert_eq!((reassembler.len(), reassembler.octets()), (0, 0));
}

/// Datagrams of every profile, and packets in every order.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for how in 0..6u8 {
        let keys = keys(how);
        let sealed = keys.seal_request(&[1; 16], b"ticket", &[Entry::Json(b"{}")], Padding::None, 1200);
        seeds.push((format!("request-{how}"), sealed.expect("it is short").datagram.to_vec()));
        let sealed = keys.seal_response(&[1; 16], 200, &[Entry::Json(b"{}")], Padding::None, 1200);
        seeds.push((format!("response-{how}"), sealed.expect("it is short")[0].to_vec()));
        seeds.push((format!("travels-{how}"), [&[how * 9][..], &[0x20; 200]].concat()));
    }
    seeds.push((
        "entries".into(),
        [&b"\x10\0\x02{}"[..], b"\x02\0\x01t\x03\0\x01k\0\0\x02\0\0\x12\0\0\xc8\0\x01x"].concat(),
    ));
    let packet = |index: u8, max: u8| [0, index, max, 20, 8];
    let order = [packet(3, 3), packet(1, 3), packet(1, 3), packet(2, 2), packet(2, 3), packet(0, 1), packet(1, 1)];
    seeds.push(("reassembly".into(), [&[0][..], &order.concat()].concat()));
    seeds
}
