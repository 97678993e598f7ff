//! Addresses as text, without going through `core::fmt`: out as RFC 5952 has it, in whatever RFC 4291 allows.

use core::net::{IpAddr, Ipv6Addr};

/// What hexadecimal digits stand for; whatever is above 15 is none.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "the compiler computes it, and checks it")]
const HEX: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut digit = 0u8;
    while digit < 16 {
        let upper = b"0123456789ABCDEF"[digit as usize];
        table[upper as usize] = digit;
        table[upper.to_ascii_lowercase() as usize] = digit;
        digit += 1;
    }
    table
};

/// Where the longest run of zero groups begins and how long it is, by which groups are zero: the first of equals, and
/// none of a single group (RFC 5952 section 4.2).
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "as above")]
const RUNS: [(u8, u8); 256] = {
    let mut table = [(0, 0); 256];
    let mut zeros = 0;
    while zeros < 256 {
        let (mut at, mut run) = (0u8, 0u8);
        while at < 8 {
            run = if zeros >> at & 1 == 1 { run + 1 } else { 0 };
            if run >= 2 && run > table[zeros].1 {
                table[zeros] = (at + 1 - run, run);
            }
            at += 1;
        }
        zeros += 1;
    }
    table
};

/// An IPv6 address of hexadecimal groups that ends at a slash or at the end; its bits, and what is behind. `None` for
/// whatever else: the standard library knows what it is.
#[inline(always)]
pub(super) fn plain_v6(text: &[u8]) -> Option<(u128, &[u8])> {
    let (mut bits, mut groups) = (0u128, 0u32);
    // The bits before `::`, and how many groups they are.
    let mut gap: Option<(u128, u32)> = None;
    let mut rest = text;
    if let [b':', b':', tail @ ..] = text {
        gap = Some((0, 0));
        rest = tail;
    }
    loop {
        let (mut group, mut digits) = (0u32, 0u32);
        let separator = loop {
            let Some((&octet, tail)) = rest.split_first() else { break None };
            let digit = HEX.get(usize::from(octet)).copied().unwrap_or(0xff);
            if digit > 15 {
                break Some((octet, tail));
            }
            group = group << 4 | u32::from(digit);
            digits = digits.wrapping_add(1);
            rest = tail;
        };
        if digits > 0 {
            bits = bits << 16 | u128::from(group);
            groups = groups.wrapping_add(1);
        }
        match separator {
            _ if digits > 4 || groups > 8 => return None,
            // Nothing stands between two separators; only behind `::` nothing is something.
            Some((b':', _)) if digits == 0 => return None,
            Some((b':', tail)) => {
                rest = tail;
                if let [b':', behind @ ..] = tail {
                    if gap.is_some() {
                        return None;
                    }
                    gap = Some((bits, groups));
                    (bits, rest) = (0, behind);
                }
            }
            None | Some((b'/', _)) => {
                return match gap {
                    None if groups == 8 && digits > 0 => Some((bits, rest)),
                    Some((head, before)) if groups < 8 && (digits > 0 || groups == before) => {
                        let shift = 128u32.wrapping_sub(before.wrapping_mul(16));
                        Some((head.checked_shl(shift).unwrap_or(0) | bits, rest))
                    }
                    _ => None,
                };
            }
            Some(_) => return None,
        }
    }
}

/// Octets of the longest text, and seven that may be written behind it: eight are written at once.
const LONGEST: usize = 49 + 7;

/// Writes an address behind what is in `out` and `GAP` zeros, and with `len` the prefix of that length. Gives how many
/// octets the text has.
#[inline]
pub(super) fn write<const GAP: usize>(address: &IpAddr, len: Option<u8>, out: &mut Vec<u8>) -> usize {
    let start = out.len().saturating_add(GAP);
    out.extend_from_slice([0; 1 + LONGEST].get(1usize.saturating_sub(GAP)..).unwrap_or_default());
    let Some(octets) = out.get_mut(start..).and_then(|rest| rest.first_chunk_mut()) else { return 0 };
    let mut text = Text { octets, len: 0 };
    match address {
        IpAddr::V4(v4) => text.push_v4(v4.octets()),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => {
                text.push(*b"::ffff:\0", 7);
                text.push_v4(v4.octets());
            }
            None => text.push_groups(v6.to_bits()),
        },
    }
    if let Some(len) = len {
        text.push(*b"/\0\0\0\0\0\0\0", 1);
        text.push_decimal(len);
    }
    let len = text.len;
    out.truncate(start.saturating_add(len));
    len
}

#[derive(Debug)]
struct Text<'a> {
    octets: &'a mut [u8; LONGEST],
    len: usize,
}

impl Text<'_> {
    /// Writes eight octets, of which so many count.
    #[inline(always)]
    fn push(&mut self, octets: [u8; 8], count: usize) {
        if let Some(place) = self.octets.get_mut(self.len..).and_then(|rest| rest.first_chunk_mut()) {
            *place = octets;
            self.len = self.len.wrapping_add(count);
        }
    }

    #[inline]
    fn push_decimal(&mut self, number: u8) {
        let digit = |n: u8| b'0'.wrapping_add(n);
        let (hundreds, tens, ones) = (digit(number / 100), digit(number / 10 % 10), digit(number % 10));
        match number {
            0..=9 => self.push([ones, 0, 0, 0, 0, 0, 0, 0], 1),
            10..=99 => self.push([tens, ones, 0, 0, 0, 0, 0, 0], 2),
            _ => self.push([hundreds, tens, ones, 0, 0, 0, 0, 0], 3),
        }
    }

    fn push_v4(&mut self, [a, b, c, d]: [u8; 4]) {
        self.push_decimal(a);
        for octet in [b, c, d] {
            self.push(*b".\0\0\0\0\0\0\0", 1);
            self.push_decimal(octet);
        }
    }

    #[inline]
    fn push_groups(&mut self, bits: u128) {
        let zeros = zero_groups(bits);
        let groups = Ipv6Addr::from_bits(bits).segments();
        let (start, run) = RUNS.get(zeros).copied().unwrap_or_default();
        let end = start.wrapping_add(run);
        self.push_some(groups.get(..usize::from(start)).unwrap_or_default());
        if run > 0 {
            self.push(*b"::\0\0\0\0\0\0", 2);
        }
        self.push_some(groups.get(usize::from(end)..).unwrap_or_default());
    }

    #[inline]
    fn push_some(&mut self, groups: &[u16]) {
        let Some((first, rest)) = groups.split_first() else { return };
        let (text, digits) = hex(*first);
        self.push((text << 8).to_be_bytes(), digits);
        for group in rest {
            let (text, digits) = hex(*group);
            self.push(text.to_be_bytes(), digits.wrapping_add(1));
        }
    }
}

/// Which groups are zero, the first of them the lowest bit. In each half, a lane of 16 bits is zero when neither its
/// highest bit is set nor anything carries into it; one product then brings the four answers together.
#[inline(always)]
fn zero_groups(bits: u128) -> usize {
    const LOW: u64 = 0x7fff_7fff_7fff_7fff;
    let half = |half: u64| {
        let some = ((half & LOW).wrapping_add(LOW) | half) & !LOW;
        let none = (some ^ !LOW) >> 15;
        none.wrapping_mul(1 | 1 << 17 | 1 << 34 | 1 << 51) >> 48 & 15
    };
    (half((bits >> 64) as u64) | half(bits as u64) << 4) as usize
}

/// A colon and the digits of a group in the highest octets, and how many digits there are. All four are made at once:
/// each nibble gets an octet, and each octet the distance to its character.
#[inline(always)]
fn hex(group: u16) -> (u64, usize) {
    let beyond = |most: u16| u32::from(group > most);
    let digits = 1u32.wrapping_add(beyond(0xf)).wrapping_add(beyond(0xff)).wrapping_add(beyond(0xfff));
    let nibbles = u32::from(group) << 4u32.wrapping_sub(digits).wrapping_mul(4);
    let pairs = (nibbles | nibbles << 8) & 0x00ff_00ff;
    let octets = (pairs | pairs << 4) & 0x0f0f_0f0f;
    let letters = octets.wrapping_add(0x0606_0606) >> 4 & 0x0101_0101;
    let text = octets.wrapping_add(0x3030_3030).wrapping_add(letters.wrapping_mul(39));
    (u64::from(b':') << 56 | u64::from(text) << 24, digits as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(address: IpAddr, len: Option<u8>) -> String {
        let mut out = b"x".to_vec();
        write::<0>(&address, len, &mut out);
        String::from_utf8(out).unwrap().split_off(1)
    }

    proptest::proptest! {
        #[test]
        fn texts_are_those_of_the_standard_library(bits: u128, mask: u8, v4: u32) {
            // Some groups zero, so that runs of zeros occur.
            let groups = Ipv6Addr::from_bits(bits).segments();
            let v6 = Ipv6Addr::from(core::array::from_fn::<u16, 8, _>(|n| if mask >> n & 1 == 1 { groups[n] } else { 0 }));
            let mapped = core::net::Ipv4Addr::from_bits(v4).to_ipv6_mapped();
            for address in [IpAddr::V6(v6), IpAddr::V4(v4.into()), IpAddr::V6(mapped)] {
                proptest::prop_assert_eq!(written(address, None), address.to_string());
                proptest::prop_assert_eq!(written(address, Some(mask)), format!("{address}/{mask}"));
            }
            let text = v6.to_string();
            if let Some((read, rest)) = plain_v6(text.as_bytes()) {
                proptest::prop_assert_eq!((read, rest), (v6.to_bits(), &b""[..]));
            } else {
                proptest::prop_assert!(text.contains('.'));
            }
        }

        #[test]
        fn nothing_else_is_read(text in "[0-9a-fA-F:.]{0,20}") {
            if let Some((bits, rest)) = plain_v6(text.as_bytes()) {
                proptest::prop_assert_eq!((text.parse().ok(), rest), (Some(Ipv6Addr::from_bits(bits)), &b""[..]));
            } else if !text.contains('.') {
                proptest::prop_assert_eq!(text.parse::<Ipv6Addr>().ok(), None);
            }
        }
    }

    #[test]
    fn every_run_of_zeros_is_written_as_the_standard_library_does() {
        for zeros in 0..=255u8 {
            let address = Ipv6Addr::from(core::array::from_fn::<u16, 8, _>(|n| u16::from(zeros >> n & 1 == 0) * 0xa0b));
            if address.to_ipv4_mapped().is_none() {
                assert_eq!(written(IpAddr::V6(address), None), address.to_string());
            }
        }
    }

    #[test]
    fn the_longest_text_fits() {
        for text in ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::ffff:255.255.255.255", "255.255.255.255"] {
            assert_eq!(written(text.parse().unwrap(), Some(255)), format!("{text}/255"));
        }
    }
}
