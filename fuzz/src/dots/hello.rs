//! What a listening Call Home client reads of a datagram before it knows anything of its sender: the ClientHello of DTLS
//! and its cookie. The parser is private to the adapter, so its file is read here once more, without the libraries of
//! TLS around it.

use std::net::SocketAddr;

use tokio::time::Instant;

#[path = "../../../crates/dots-tokio/src/hello.rs"]
#[allow(dead_code, unreachable_pub, reason = "the adapter uses all of it")]
mod parser;

use parser::{COOKIE, Cookies, Hello, RecordHeader, verify_request};

/// Octets in front of the session ID: record, message, version, random.
const BEFORE_SESSION: usize = 13 + 12 + 2 + 32;

/// Reads `data` as a datagram of somebody unknown.
pub fn run(data: &[u8]) {
    let header = RecordHeader::read(data);
    let Some(hello) = Hello::read(data) else { return };
    let header = header.expect("a hello is in a record");
    assert!(header.epoch == 0 && header.sequence == hello.sequence);
    assert!(hello.record.len() <= data.len() && hello.record == &data[..hello.record.len()]);
    // What is behind the record counts for nothing, and nothing may be missing.
    for cut in 0..hello.record.len() {
        assert_eq!(Hello::read(&data[..cut]), None);
    }
    assert_eq!(Hello::read(hello.record), Some(hello.clone()));
    // Less goes back than came.
    assert!(verify_request(&[0; COOKIE]).len() < data.len());

    let first = hello.first();
    assert!(first.len() <= hello.record.len());
    let again = Hello::read(&first).expect("the first hello is one");
    assert!(again.cookie.is_empty() && again.sequence == 0 && again.message_sequence == 0);
    assert_eq!((again.random, again.suites), (hello.random, hello.suites));
    assert_eq!(again.first(), first);

    let now = Instant::now();
    let mut cookies = Cookies::new(now).expect("there is randomness");
    let from: SocketAddr = "192.0.2.1:4000".parse().expect("an address");
    let cookie = cookies.make(now, from, &again);
    // The sender cannot know it.
    assert!(!cookies.check(from, &hello));
    let Some(second) = with_cookie(&first, &cookie) else { return };
    let second = Hello::read(&second).expect("the second hello is one");
    assert!(cookies.check(from, &second), "whoever brings it back is let in");
    assert!(!cookies.check("192.0.2.1:4001".parse().expect("an address"), &second));
    assert_eq!(second.first(), first, "the cookie is all that the second has more");
}

/// The hello without a cookie, with one; `None` when it would be too long.
fn with_cookie(first: &[u8], cookie: &[u8; COOKIE]) -> Option<Vec<u8>> {
    let at = BEFORE_SESSION + 1 + usize::from(first[BEFORE_SESSION]);
    let mut second = first[..at].to_vec();
    second.push(COOKIE as u8);
    second.extend_from_slice(cookie);
    second.extend_from_slice(&first[at + 1..]);
    let body = second.len() - 13 - 12;
    let [_, l0, l1, l2] = u32::try_from(body).ok()?.to_be_bytes();
    let [r0, r1] = u16::try_from(body + 12).ok()?.to_be_bytes();
    second[11..13].copy_from_slice(&[r0, r1]);
    second[14..17].copy_from_slice(&[l0, l1, l2]);
    second[22..25].copy_from_slice(&[l0, l1, l2]);
    // Message and record 1.
    (second[10], second[18]) = (1, 1);
    Some(second)
}

/// A hello of each kind: without and with a cookie and a session, in a longer datagram, and in fragments.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let hello = |session: usize, extensions: &[u8]| {
        let mut body = vec![0xfe, 0xfd];
        body.extend_from_slice(&[7; 32]);
        body.push(session as u8);
        body.extend(std::iter::repeat_n(9, session));
        body.push(0);
        body.extend_from_slice(&[0, 4, 0xc0, 0xa8, 0xc0, 0x2b, 1, 0]);
        body.extend_from_slice(extensions);
        let [_, l0, l1, l2] = (body.len() as u32).to_be_bytes();
        let [r0, r1] = (body.len() as u16 + 12).to_be_bytes();
        let mut record = vec![22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, r0, r1];
        record.extend_from_slice(&[1, l0, l1, l2, 0, 0, 0, 0, 0, l0, l1, l2]);
        record.extend_from_slice(&body);
        record
    };
    let plain = hello(0, &[]);
    let resuming = hello(32, &[0, 4, 0, 23, 0, 0]);
    let mut fragment = plain.clone();
    fragment[21] = 1;
    let mut behind = plain.clone();
    behind.extend_from_slice(&[23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0]);
    let second = with_cookie(&plain, &[5; COOKIE]).expect("it is short");
    let named =
        [("plain", plain), ("resuming", resuming), ("fragment", fragment), ("behind", behind), ("cookie", second)];
    named.into_iter().map(|(name, octets)| (name.to_owned(), octets)).collect()
}
