//! Address prefixes: `2001:db8::/32`, `192.0.2.0/24`. RFC 9132 section 4.4.1.1, RFC 9066 section 5.3.1.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use super::address::{self, plain_v6};

/// An address and how many of its bits count. The others are zero: `10.1.2.3/8` reads as `10.0.0.0/8`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    len: u8,
}

/// Why a text is no prefix, or one that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPrefix {
    /// No address and length with a slash between.
    #[error("not an address prefix")]
    Form,
    /// Longer than an address.
    #[error("prefix length beyond the address")]
    Length,
    /// A prefix that contains broadcast addresses or lies there.
    #[error("broadcast prefix")]
    Broadcast,
    /// As above for loopback.
    #[error("loopback prefix")]
    Loopback,
    /// As above for multicast.
    #[error("multicast prefix")]
    Multicast,
}

impl Prefix {
    /// The prefix of `address` with `len` bits.
    ///
    /// # Errors
    /// [`InvalidPrefix::Length`].
    pub fn new(address: IpAddr, len: u8) -> Result<Self, InvalidPrefix> {
        let masked = match address {
            IpAddr::V4(v4) if len <= 32 => {
                let mask = u32::MAX.checked_shl(32u32.saturating_sub(u32::from(len))).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) if len <= 128 => {
                let mask = u128::MAX.checked_shl(128u32.saturating_sub(u32::from(len))).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
            _ => return Err(InvalidPrefix::Length),
        };
        Ok(Self { address: masked, len })
    }

    /// The prefix of one address.
    pub const fn host(address: IpAddr) -> Self {
        let len = if address.is_ipv4() { 32 } else { 128 };
        Self { address, len }
    }

    /// The first address.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits count.
    #[allow(clippy::len_without_is_empty, reason = "a length in bits")]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Whether it is of IPv4.
    pub const fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }

    /// Whether all of `other` lies in it.
    pub fn contains(&self, other: &Self) -> bool {
        let same = match (self.address, other.address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => (ours.to_bits() ^ theirs.to_bits()).leading_zeros(),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits() ^ theirs.to_bits()).leading_zeros(),
            _ => return false,
        };
        self.len <= other.len && same >= u32::from(self.len)
    }

    /// Whether an address is in both: then one of them contains the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other) || other.contains(self)
    }

    /// What an attack can come from or go to: no broadcast, loopback or multicast address in it. Addresses of IPv4
    /// written in IPv6 are looked through. Link-local ones are allowed.
    ///
    /// # Errors
    /// Which kind of addresses it has.
    pub fn check_unicast(&self) -> Result<(), InvalidPrefix> {
        let v4 = |a, b, c, d, len| Self { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), len };
        let subject = match self.address {
            IpAddr::V4(_) => *self,
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(mapped) if self.len >= 96 => {
                    Self { address: IpAddr::V4(mapped), len: self.len.saturating_sub(96) }
                }
                _ => *self,
            },
        };
        let v6 = |address, len| Self { address: IpAddr::V6(address), len };
        if subject.overlaps(&v4(127, 0, 0, 0, 8)) || subject.overlaps(&v6(Ipv6Addr::LOCALHOST, 128)) {
            return Err(InvalidPrefix::Loopback);
        }
        if subject.overlaps(&v4(224, 0, 0, 0, 4)) || subject.overlaps(&v6(Ipv6Addr::from_bits(0xff << 120), 8)) {
            return Err(InvalidPrefix::Multicast);
        }
        if subject.overlaps(&v4(255, 255, 255, 255, 32)) {
            return Err(InvalidPrefix::Broadcast);
        }
        Ok(())
    }

    /// Reads the text of a prefix, as [`FromStr`] does.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(text: &[u8]) -> Result<Self, InvalidPrefix> {
        if let Some(prefix) = Self::plain_v6(text) {
            return Ok(prefix);
        }
        // `IpAddr::parse_ascii` is not stable yet.
        let (address, digits) = core::str::from_utf8(text)
            .ok()
            .and_then(|text| text.rsplit_once('/'))
            .and_then(|(address, digits)| Some((address.parse().ok()?, digits)))
            .ok_or(InvalidPrefix::Form)?;
        Self::new(address, length(digits.as_bytes())?)
    }

    /// The first address, where it stands.
    pub(super) const fn as_address(&self) -> &IpAddr {
        &self.address
    }

    /// The most usual form, of which nothing is wrong.
    #[inline(always)]
    pub(super) fn plain_v6(text: &[u8]) -> Option<Self> {
        let Some((bits, [b'/', digits @ ..])) = plain_v6(text) else { return None };
        let len = length(digits).ok().filter(|len| *len <= 128)?;
        let mask = u128::MAX.checked_shl(128u32.saturating_sub(u32::from(len))).unwrap_or(0);
        Some(Self { address: IpAddr::V6(Ipv6Addr::from_bits(bits & mask)), len })
    }

    /// Writes its text; at most 49 octets.
    pub fn encode(&self, out: &mut Vec<u8>) {
        address::write::<0>(&self.address, Some(self.len), out);
    }
}

/// What stands behind the slash: one to three digits.
#[inline(always)]
fn length(digits: &[u8]) -> Result<u8, InvalidPrefix> {
    if digits.is_empty() || digits.len() > 3 {
        return Err(InvalidPrefix::Form);
    }
    let mut length = 0u16;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return Err(InvalidPrefix::Form);
        }
        length = length.wrapping_mul(10).wrapping_add(u16::from(digit));
    }
    u8::try_from(length).map_err(|_| InvalidPrefix::Length)
}

impl FromStr for Prefix {
    type Err = InvalidPrefix;

    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        Self::decode(text.as_bytes())
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn texts_are_read_masked_and_written() {
        for (text, canonical) in [
            ("192.0.2.1/24", "192.0.2.0/24"),
            ("10.0.0.1/32", "10.0.0.1/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:DB8:0:0:1::1/128", "2001:db8::1:0:0:1/128"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::/0", "::/0"),
            ("::1/128", "::1/128"),
            ("1::/16", "1::/16"),
            ("fe80::1/64", "fe80::/64"),
            ("::ffff:192.0.2.1/128", "::ffff:192.0.2.1/128"),
            ("64:ff9b::192.0.2.1/128", "64:ff9b::c000:201/128"),
            ("1:2:3:4:5:6:7:8/128", "1:2:3:4:5:6:7:8/128"),
            ("1:0:3:0:0:6:0:0/128", "1:0:3::6:0:0/128"),
        ] {
            let mut out = Vec::new();
            prefix(text).encode(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), canonical, "{text}");
            assert_eq!(prefix(text).to_string(), canonical);
        }
    }

    #[test]
    fn what_is_no_prefix_is_refused() {
        for text in
            ["", "/", "10.0.0.1", "10.0.0.1/", "10.0.0/8", "1::2::3/64", ":1/64", "1:/64", "g::/8", "::/+8", "a/8"]
        {
            assert_eq!(text.parse::<Prefix>(), Err(InvalidPrefix::Form), "{text}");
        }
        for text in ["10.0.0.1/33", "::/129", "::/256", "10.0.0.1/999"] {
            assert_eq!(text.parse::<Prefix>(), Err(InvalidPrefix::Length), "{text}");
        }
    }

    #[test]
    fn broadcast_loopback_and_multicast_are_no_places() {
        for (text, expected) in [
            ("255.255.255.255/32", Err(InvalidPrefix::Broadcast)),
            ("127.0.0.1/32", Err(InvalidPrefix::Loopback)),
            ("126.0.0.0/7", Err(InvalidPrefix::Loopback)),
            ("::1/128", Err(InvalidPrefix::Loopback)),
            ("::ffff:127.0.0.1/128", Err(InvalidPrefix::Loopback)),
            ("::ffff:224.0.0.1/128", Err(InvalidPrefix::Multicast)),
            ("224.0.0.0/4", Err(InvalidPrefix::Multicast)),
            ("239.1.2.3/32", Err(InvalidPrefix::Multicast)),
            ("ff02::1/128", Err(InvalidPrefix::Multicast)),
            ("0.0.0.0/0", Err(InvalidPrefix::Loopback)),
            ("fe80::1/128", Ok(())),
            ("169.254.1.1/32", Ok(())),
            ("192.0.2.0/24", Ok(())),
            ("2001:db8::/32", Ok(())),
        ] {
            assert_eq!(prefix(text).check_unicast(), expected, "{text}");
        }
    }

    #[test]
    fn overlap_is_containment_either_way() {
        assert!(prefix("10.0.0.0/8").overlaps(&prefix("10.1.0.0/16")));
        assert!(prefix("10.1.0.0/16").overlaps(&prefix("10.0.0.0/8")));
        assert!(!prefix("10.0.0.0/9").overlaps(&prefix("10.128.0.0/9")));
        assert!(!prefix("0.0.0.0/0").overlaps(&prefix("::/0")));
    }
}
