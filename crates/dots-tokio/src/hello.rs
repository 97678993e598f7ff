//! The first message of a DTLS 1.2 client, read before anything is known of it, and the cookie that it must bring back.
//! RFC 6347 section 4.2.1: nothing is kept, and less is sent than came, until the address has proved that it hears us.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// Content types of records (RFC 5246 section 6.2.1).
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const APPLICATION_DATA: u8 = 23;

/// Octets in a record's header, and in that of a handshake message.
const RECORD: usize = 13;
const MESSAGE: usize = 12;
/// Octets of our cookies.
pub(crate) const COOKIE: usize = 32;

/// The header of the first record in a datagram. All of it is a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) content: u8,
    pub(crate) epoch: u16,
    pub(crate) sequence: u64,
}

impl RecordHeader {
    /// `None` when the datagram does not begin with a record of DTLS 1.0 to 1.2.
    pub(crate) fn read(datagram: &[u8]) -> Option<Self> {
        let (header, rest) = datagram.split_first_chunk::<RECORD>()?;
        let [content, 0xfe, 0xfd | 0xff, e0, e1, s0, s1, s2, s3, s4, s5, l0, l1] = *header else { return None };
        if !(20..=23).contains(&content) || rest.len() < usize::from(u16::from_be_bytes([l0, l1])) {
            return None;
        }
        let sequence = u64::from_be_bytes([0, 0, s0, s1, s2, s3, s4, s5]);
        Some(Self { content, epoch: u16::from_be_bytes([e0, e1]), sequence })
    }
}

/// A whole ClientHello in one record. One in fragments cannot be answered without keeping anything, and is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello<'a> {
    /// The record, without what stands behind it in the datagram.
    pub(crate) record: &'a [u8],
    pub(crate) sequence: u64,
    pub(crate) message_sequence: u16,
    /// Version, random and session ID.
    head: &'a [u8],
    pub(crate) random: [u8; 32],
    pub(crate) cookie: &'a [u8],
    /// Cipher suites, two octets each.
    pub(crate) suites: &'a [u8],
    /// From the length of the cipher suites to the end.
    tail: &'a [u8],
}

impl<'a> Hello<'a> {
    pub(crate) fn read(datagram: &'a [u8]) -> Option<Self> {
        let header = RecordHeader::read(datagram)?;
        if header.content != HANDSHAKE || header.epoch != 0 {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([*datagram.get(11)?, *datagram.get(12)?]));
        let record = datagram.get(..RECORD + length)?;
        let (message, body) = record.get(RECORD..)?.split_first_chunk::<MESSAGE>()?;
        let [1, l0, l1, l2, m0, m1, 0, 0, 0, f0, f1, f2] = *message else { return None };
        let whole = u32::from_be_bytes([0, l0, l1, l2]);
        if [f0, f1, f2] != [l0, l1, l2] || usize::try_from(whole).ok()? != body.len() {
            return None;
        }
        let random = *body.get(2..)?.first_chunk::<32>()?;
        let (head, rest) = body.split_at_checked(35 + usize::from(*body.get(34)?))?;
        let (cookie_length, rest) = rest.split_first()?;
        let (cookie, tail) = rest.split_at_checked(usize::from(*cookie_length))?;
        let (suites_length, rest) = tail.split_first_chunk::<2>()?;
        let suites = rest.get(..usize::from(u16::from_be_bytes(*suites_length)))?;
        let message_sequence = u16::from_be_bytes([m0, m1]);
        Some(Self { record, sequence: header.sequence, message_sequence, head, random, cookie, suites, tail })
    }

    /// The same hello as its sender said it first: without the cookie, as message and record 0. A security engine that
    /// is made only now wants to have heard that one.
    pub(crate) fn first(&self) -> Vec<u8> {
        let body = self.head.len() + 1 + self.tail.len();
        // Both are shorter than what they were read from.
        let [_, l0, l1, l2] = u32::try_from(body).unwrap_or_default().to_be_bytes();
        let [r0, r1] = u16::try_from(body + MESSAGE).unwrap_or_default().to_be_bytes();
        let mut first = Vec::with_capacity(RECORD + MESSAGE + body);
        first.extend_from_slice(self.record.get(..3).unwrap_or_default());
        first.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, r0, r1]);
        first.extend_from_slice(&[1, l0, l1, l2, 0, 0, 0, 0, 0, l0, l1, l2]);
        first.extend_from_slice(self.head);
        first.push(0);
        first.extend_from_slice(self.tail);
        first
    }

    /// Whether this cipher suite is offered.
    #[cfg(feature = "dimpl")]
    pub(crate) fn offers(&self, suite: u16) -> bool {
        let mut suites = self.suites.chunks_exact(2);
        suites.any(|offered| offered == suite.to_be_bytes())
    }
}

/// The HelloVerifyRequest that asks for `cookie`. It is always message 0 in record 0, and shorter than any hello.
pub(crate) fn verify_request(cookie: &[u8; COOKIE]) -> Vec<u8> {
    let mut request = vec![HANDSHAKE, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 47];
    request.extend_from_slice(&[3, 0, 0, 35, 0, 0, 0, 0, 0, 0, 0, 35]);
    request.extend_from_slice(&[0xfe, 0xff, 32]);
    request.extend_from_slice(cookie);
    request
}

/// Makes cookies, and knows them again. They hold for the address, and for everything else that the hello says.
#[derive(Debug)]
pub(crate) struct Cookies {
    current: Zeroizing<[u8; 32]>,
    previous: Zeroizing<[u8; 32]>,
    since: Instant,
}

/// How long a secret is used. A cookie is good for at least as long, and at most for twice that.
const ROTATE: Duration = Duration::from_secs(60);

impl Cookies {
    /// # Errors
    /// When the system has no randomness: guessable cookies are none.
    pub(crate) fn new(now: Instant) -> std::io::Result<Self> {
        let (current, previous) = (secret()?, secret()?);
        Ok(Self { current, previous, since: now })
    }

    /// The cookie to ask for.
    pub(crate) fn make(&mut self, now: Instant, from: SocketAddr, hello: &Hello<'_>) -> [u8; COOKIE] {
        if now.duration_since(self.since) >= ROTATE
            && let Ok(fresh) = secret()
        {
            self.previous = std::mem::replace(&mut self.current, fresh);
            self.since = now;
        }
        mac(&self.current, from, hello)
    }

    /// Whether the hello brings a cookie of ours back.
    pub(crate) fn check(&self, from: SocketAddr, hello: &Hello<'_>) -> bool {
        let current = mac(&self.current, from, hello).ct_eq(hello.cookie);
        let previous = mac(&self.previous, from, hello).ct_eq(hello.cookie);
        (current | previous).into()
    }
}

fn secret() -> std::io::Result<Zeroizing<[u8; 32]>> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *secret).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(secret)
}

fn mac(secret: &[u8; 32], from: SocketAddr, hello: &Hello<'_>) -> [u8; COOKIE] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    match from.ip() {
        IpAddr::V4(address) => mac.update(&address.to_ipv6_mapped().octets()),
        IpAddr::V6(address) => mac.update(&address.octets()),
    }
    mac.update(&from.port().to_be_bytes());
    mac.update(hello.head);
    mac.update(hello.tail);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hello with this cookie, and two cipher suites.
    fn hello(sequence: u8, message: u8, cookie: &[u8]) -> Vec<u8> {
        let mut body = vec![0xfe, 0xfd];
        body.extend_from_slice(&[7; 32]);
        body.extend_from_slice(&[2, 9, 9, cookie.len() as u8]);
        body.extend_from_slice(cookie);
        body.extend_from_slice(&[0, 4, 0xc0, 0xa8, 0xc0, 0x2b, 1, 0]);
        let length = body.len() as u8;
        let mut record = vec![22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, sequence, 0, length + 12];
        record.extend_from_slice(&[1, 0, 0, length, 0, message, 0, 0, 0, 0, 0, length]);
        record.extend_from_slice(&body);
        record
    }

    #[tokio::test(start_paused = true)]
    async fn a_cookie_is_for_one_address_and_one_hello_and_two_minutes() {
        let mut cookies = Cookies::new(Instant::now()).unwrap();
        let from: SocketAddr = "192.0.2.1:4000".parse().unwrap();
        let first = hello(0, 0, &[]);
        let cookie = cookies.make(Instant::now(), from, &Hello::read(&first).unwrap());
        let again = hello(1, 1, &cookie);
        let again = Hello::read(&again).unwrap();
        assert!(cookies.check(from, &again));
        assert!(!cookies.check("192.0.2.1:4001".parse().unwrap(), &again));
        assert!(!cookies.check("192.0.2.2:4000".parse().unwrap(), &again));
        let mut other = hello(1, 1, &cookie);
        *other.last_mut().unwrap() = 1;
        assert!(!cookies.check(from, &Hello::read(&other).unwrap()));
        assert!(!cookies.check(from, &Hello::read(&first).unwrap()), "no cookie is no cookie");
        for (minutes, good) in [(1, true), (2, false)] {
            tokio::time::advance(ROTATE).await;
            cookies.make(Instant::now(), from, &again);
            assert_eq!(cookies.check(from, &again), good, "{minutes}");
        }
    }

    #[test]
    fn the_hello_that_was_said_first_is_found_again() {
        let first = hello(0, 0, &[]);
        let second = hello(1, 1, &[5; 32]);
        assert_eq!(Hello::read(&second).unwrap().first(), first);
        assert_eq!(Hello::read(&second).unwrap().message_sequence, 1);
        #[cfg(feature = "dimpl")]
        assert!(Hello::read(&first).unwrap().offers(0xc0a8) && !Hello::read(&first).unwrap().offers(0xa8c0));
    }

    #[test]
    fn what_is_asked_back_is_shorter_than_any_hello() {
        assert_eq!(verify_request(&[0; 32]).len(), 60);
        assert!(RecordHeader::read(&verify_request(&[0; 32])).is_some());
    }

    #[test]
    fn what_is_cut_or_changed_is_no_hello_or_another_but_never_a_panic() {
        let good = hello(1, 1, &[5; 32]);
        for end in 0..good.len() {
            assert_eq!(Hello::read(&good[..end]), None);
        }
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                if let Some(hello) = Hello::read(&bad) {
                    assert!(hello.first().len() < good.len());
                }
            }
        }
    }
}
