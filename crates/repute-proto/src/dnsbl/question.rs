//! What is asked. [RFC 1035 section 4.1](https://www.rfc-editor.org/rfc/rfc1035#section-4.1),
//! [RFC 6891 section 6.1](https://www.rfc-editor.org/rfc/rfc6891#section-6.1)

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Labels, name};

/// A query that was read.
#[derive(Debug, Clone)]
pub struct Question {
    pub(super) id: [u8; 2],
    pub(super) flags: [u8; 2],
    pub(super) name: Labels,
    /// The type that is asked for.
    pub kind: u16,
    /// The class that is asked for.
    pub class: u16,
    /// What the sender says about himself, if he does.
    pub edns: Option<Edns>,
    /// Octets of the question on the wire.
    pub(super) len: usize,
}

/// Extension mechanisms of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Edns {
    /// How large a response over UDP may be.
    pub size: u16,
    /// The version.
    pub version: u8,
    /// Whether signatures are wanted.
    pub dnssec_ok: bool,
}

/// What a list is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Key<'a> {
    /// An address, which was written backwards.
    Address(IpAddr),
    /// The zone itself.
    Apex,
    /// A name, in small letters.
    Name(&'a str),
    /// What cannot be listed: neither an address nor a name.
    Other,
    /// The beginning of an address. Resolvers that hide what they ask for come by here.
    Partial,
}

/// Why a packet gets no answer that says anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unanswerable {
    /// It is no query at all: nothing is sent back.
    #[error("no query")]
    NoQuery,
    /// It cannot be read.
    #[error("not well-formed")]
    Malformed,
    /// It wants something else than an answer.
    #[error("another operation")]
    Operation,
}

fn number(octets: &[u8], at: usize) -> Option<u16> {
    let octets = octets.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*octets))
}

impl Question {
    /// Reads a packet.
    ///
    /// # Errors
    /// When it is none, or not exactly one question.
    pub fn read(packet: &[u8]) -> Result<Self, Unanswerable> {
        let (header, body) = packet.split_at_checked(12).ok_or(Unanswerable::NoQuery)?;
        let (Some(id), Some(flags)) = (header.first_chunk::<2>(), header.get(2..4).and_then(<[u8]>::first_chunk::<2>))
        else {
            return Err(Unanswerable::NoQuery);
        };
        // To answer answers would be to talk to oneself.
        if flags.first().is_some_and(|first| first & 0x80 != 0) {
            return Err(Unanswerable::NoQuery);
        }
        if flags.first().is_some_and(|first| first & 0x78 != 0) {
            return Err(Unanswerable::Operation);
        }
        let malformed = || Unanswerable::Malformed;
        let count = |at| number(header, at).ok_or_else(malformed);
        if count(4)? != 1 || count(6)? != 0 || count(8)? != 0 {
            return Err(Unanswerable::Malformed);
        }
        let (name, rest) = Labels::read(body).ok_or_else(malformed)?;
        let (kind, class) = number(rest, 0).zip(number(rest, 2)).ok_or_else(malformed)?;
        let rest = rest.get(4..).ok_or_else(malformed)?;
        let len = body.len().saturating_sub(rest.len());
        let edns = additional(rest, count(10)?).ok_or_else(malformed)?;
        Ok(Self { id: *id, flags: *flags, name, kind, class, edns, len })
    }

    /// What is asked about, if the first `labels` of the name are in front of a zone.
    pub(super) fn key<'t>(&self, labels: usize, buffer: &'t mut [u8; 255]) -> Key<'t> {
        let single = |index: usize| match self.name.label(index) {
            Some([one]) => hexadecimal(*one),
            _ => None,
        };
        match labels {
            0 => return Key::Apex,
            1..=4 => {
                let mut octets = [0_u8; 4];
                let decimals = (0..labels).rev().zip(octets.iter_mut());
                let mut all = true;
                for (index, octet) in decimals {
                    match self.name.label(index).and_then(decimal) {
                        Some(value) => *octet = value,
                        None => all = false,
                    }
                }
                if all {
                    let address = Ipv4Addr::from(octets);
                    return if labels == 4 { Key::Address(IpAddr::V4(address)) } else { Key::Partial };
                }
            }
            32 => {
                let address = (0..32).rev().try_fold(0_u128, |address, index| Some(address << 4 | single(index)?));
                if let Some(address) = address {
                    return Key::Address(IpAddr::V6(Ipv6Addr::from(address)));
                }
            }
            _ => {}
        }
        if labels < 32 && (0..labels).all(|index| single(index).is_some()) {
            return Key::Partial;
        }
        self.name.text(labels, buffer).map_or(Key::Other, Key::Name)
    }
}

/// An octet in decimal digits, as addresses have it.
fn decimal(label: &[u8]) -> Option<u8> {
    match label {
        [b'0'] => Some(0),
        [b'0', ..] | [_, _, _, _, ..] | [] => None,
        digits => digits.iter().try_fold(0_u8, |value, digit| {
            let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
            value.checked_mul(10)?.checked_add(digit)
        }),
    }
}

/// A hexadecimal digit; letters are small by now.
fn hexadecimal(digit: u8) -> Option<u128> {
    match digit {
        b'0'..=b'9' => Some(u128::from(digit.wrapping_sub(b'0'))),
        b'a'..=b'f' => Some(u128::from(digit.wrapping_sub(b'a').wrapping_add(10))),
        _ => None,
    }
}

/// The OPT record among additional ones; `None` when they cannot be read, or have two of it.
fn additional(mut rest: &[u8], count: u16) -> Option<Option<Edns>> {
    let mut found = None;
    for _ in 0..count {
        let is_root = rest.first() == Some(&0);
        let (head, behind) = name::skip(rest)?.split_at_checked(10)?;
        let [kind_high, kind_low, size_high, size_low, _, version, flags, _, len_high, len_low] = head else {
            return None;
        };
        if u16::from_be_bytes([*kind_high, *kind_low]) == 41 {
            if !is_root || found.is_some() {
                return None;
            }
            let size = u16::from_be_bytes([*size_high, *size_low]);
            found = Some(Edns { size, version: *version, dnssec_ok: flags & 0x80 != 0 });
        }
        rest = behind.split_at_checked(usize::from(u16::from_be_bytes([*len_high, *len_low])))?.1;
    }
    Some(found)
}
