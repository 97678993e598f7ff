//! Options: numbers, reading, writing. RFC 7252 section 3.1.

use core::fmt;

use super::error::{DecodeError, DecodeErrorKind};

/// The content format `application/dots+cbor` (RFC 9132 section 10.3).
pub const CONTENT_FORMAT_DOTS: u32 = 271;

/// Options in one message. DOTS needs fewer than a dozen.
pub(super) const MAX_OPTIONS: usize = 64;

/// An option's number. Odd ones are critical.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs, reason = "a number")]
pub struct OptionNumber(pub u16);

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident = $number:literal $text:literal;)*) => {
        impl OptionNumber {
            $($(#[$doc])* pub const $name: Self = Self($number);)*
        }

        impl fmt::Display for OptionNumber {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    $($number => f.write_str($text),)*
                    other => write!(f, "option {other}"),
                }
            }
        }
    };
}

numbers! {
    /// Empty: an efficacy update.
    IF_MATCH = 1 "If-Match";
    /// Accepted and ignored.
    URI_HOST = 3 "Uri-Host";
    /// Names a state of a resource.
    ETAG = 4 "ETag";
    /// Registers for, and numbers, notifications (RFC 7641).
    OBSERVE = 6 "Observe";
    /// Accepted and ignored.
    URI_PORT = 7 "Uri-Port";
    /// One segment of the path.
    URI_PATH = 11 "Uri-Path";
    /// What the payload is.
    CONTENT_FORMAT = 12 "Content-Format";
    /// How long it is good, in seconds.
    MAX_AGE = 14 "Max-Age";
    /// One argument.
    URI_QUERY = 15 "Uri-Query";
    /// Gateways left to pass (RFC 8768).
    HOP_LIMIT = 16 "Hop-Limit";
    /// What the payload of the answer shall be.
    ACCEPT = 17 "Accept";
    /// RFC 9177; not spoken here.
    Q_BLOCK1 = 19 "Q-Block1";
    /// Which part of the answer (RFC 7959).
    BLOCK2 = 23 "Block2";
    /// Which part of the request.
    BLOCK1 = 27 "Block1";
    /// How long the whole answer is.
    SIZE2 = 28 "Size2";
    /// RFC 9177; not spoken here.
    Q_BLOCK2 = 31 "Q-Block2";
    /// How long the whole request is.
    SIZE1 = 60 "Size1";
    /// RFC 9175.
    REQUEST_TAG = 292 "Request-Tag";
}

impl OptionNumber {
    /// Whether a message must not be understood without it.
    pub const fn is_critical(self) -> bool {
        self.0 & 1 == 1
    }
}

impl fmt::Debug for OptionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One option of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoapOption<'a> {
    /// Which.
    pub number: OptionNumber,
    /// Its value.
    pub value: &'a [u8],
}

impl CoapOption<'_> {
    /// The value as a number; `None` when it is longer than eight octets.
    pub fn uint(&self) -> Option<u64> {
        read_uint(self.value)
    }
}

/// A number, most significant octet first, without length. Up to eight octets.
pub fn read_uint(value: &[u8]) -> Option<u64> {
    (value.len() <= 8).then(|| value.iter().fold(0, |number, &octet| number << 8 | u64::from(octet)))
}

/// The options of a message, in order. They were checked when the message was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options<'a> {
    octets: &'a [u8],
    number: u16,
}

impl<'a> Options<'a> {
    pub(super) const fn checked(octets: &'a [u8]) -> Self {
        Self { octets, number: 0 }
    }

    /// The octets as they were received.
    pub const fn as_octets(&self) -> &'a [u8] {
        self.octets
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = CoapOption<'a>;

    #[inline]
    fn next(&mut self) -> Option<CoapOption<'a>> {
        if self.octets.is_empty() {
            return None;
        }
        let (delta, len, head) = head(self.octets).ok()?;
        self.number = self.number.checked_add(delta)?;
        let (value, rest) = self.octets.get(head..)?.split_at_checked(len)?;
        self.octets = rest;
        Some(CoapOption { number: OptionNumber(self.number), value })
    }
}

/// Delta, length of the value, length of the head of the option that begins here.
#[inline(always)]
fn head(octets: &[u8]) -> Result<(u16, usize, usize), DecodeErrorKind> {
    let &first = octets.first().ok_or(DecodeErrorKind::Truncated)?;
    let (delta, len) = (first >> 4, first & 15);
    if delta < 13 && len < 13 {
        return Ok((u16::from(delta), usize::from(len), 1));
    }
    long_head(octets, delta, len)
}

fn long_head(octets: &[u8], delta: u8, len: u8) -> Result<(u16, usize, usize), DecodeErrorKind> {
    let mut used = 1usize;
    let mut extend = |nibble: u8| -> Result<u32, DecodeErrorKind> {
        let rest = octets.get(used..).unwrap_or_default();
        match nibble {
            13 => {
                used = used.saturating_add(1);
                rest.first().map(|&octet| u32::from(octet).saturating_add(13)).ok_or(DecodeErrorKind::Truncated)
            }
            14 => {
                used = used.saturating_add(2);
                let octets = rest.first_chunk().ok_or(DecodeErrorKind::Truncated)?;
                Ok(u32::from(u16::from_be_bytes(*octets)).saturating_add(269))
            }
            15 => Err(DecodeErrorKind::ReservedNibble),
            small => Ok(u32::from(small)),
        }
    };
    let delta = u16::try_from(extend(delta)?).map_err(|_| DecodeErrorKind::OptionNumber)?;
    let len = usize::try_from(extend(len)?).map_err(|_| DecodeErrorKind::Truncated)?;
    Ok((delta, len, used))
}

/// Checks what follows the token; gives options and payload. `start` is where `octets` begin in the message.
#[inline]
pub(super) fn split(octets: &[u8], start: usize) -> Result<(Options<'_>, &[u8]), DecodeError> {
    let (mut at, mut number, mut count) = (0usize, 0u16, 0usize);
    loop {
        let rest = octets.get(at..).unwrap_or_default();
        match rest.first() {
            None => return Ok((Options::checked(octets), &[])),
            Some(0xff) => {
                let (options, payload) = octets.split_at_checked(at).unwrap_or((octets, &[]));
                return match payload.get(1..) {
                    Some(payload) if !payload.is_empty() => Ok((Options::checked(options), payload)),
                    _ => Err(DecodeErrorKind::EmptyPayload.at(start.saturating_add(at))),
                };
            }
            Some(_) => {}
        }
        let fail = |kind: DecodeErrorKind| kind.at(start.saturating_add(at));
        let (delta, len, head) = head(rest).map_err(fail)?;
        number = number.checked_add(delta).ok_or_else(|| fail(DecodeErrorKind::OptionNumber))?;
        count = count.saturating_add(1);
        let used = head.saturating_add(len);
        if used > rest.len() {
            return Err(fail(DecodeErrorKind::Truncated));
        }
        if count > MAX_OPTIONS {
            return Err(fail(DecodeErrorKind::Limit(crate::Limit::Options)));
        }
        at = at.saturating_add(used);
    }
}

/// Writes the option that is `delta` beyond the last one.
pub(super) fn put(out: &mut Vec<u8>, delta: u16, value: &[u8]) {
    let nibble = |number: usize| match number {
        0..=12 => number as u8,
        13..=268 => 13,
        _ => 14,
    };
    let len = value.len().min(usize::from(u16::MAX));
    let value = value.get(..len).unwrap_or_default();
    out.push(nibble(usize::from(delta)) << 4 | nibble(len));
    for number in [usize::from(delta), len] {
        match number {
            0..=12 => {}
            13..=268 => out.push(number.saturating_sub(13) as u8),
            _ => out.extend_from_slice(&(number.saturating_sub(269) as u16).to_be_bytes()),
        }
    }
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_numbers_are_critical_and_known_ones_have_names() {
        let critical = [OptionNumber::IF_MATCH, OptionNumber::URI_HOST, OptionNumber::URI_PATH, OptionNumber(65001)];
        let elective = [OptionNumber(0), OptionNumber::OBSERVE, OptionNumber::SIZE1, OptionNumber(65000)];
        assert!(critical.iter().all(|number| number.is_critical()));
        assert!(!elective.iter().any(|number| number.is_critical()));
        assert_eq!(format!("{:?} {:?}", OptionNumber::URI_PATH, OptionNumber(65001)), "Uri-Path option 65001");
    }
}
