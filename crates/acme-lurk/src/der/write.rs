//! DER written: contents first, then what is around them.

use super::{BIT_STRING, INTEGER, OCTET_STRING, SEQUENCE, SET};

/// An element of this tag.
pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut element = Vec::with_capacity(len.saturating_add(6));
    element.push(tag);
    match u8::try_from(len) {
        Ok(short) if short < 0x80 => element.push(short),
        _ => {
            let digits = len.to_be_bytes();
            let zeros = digits.iter().take_while(|digit| **digit == 0).count();
            let digits = digits.get(zeros..).unwrap_or_default();
            element.push(0x80 | u8::try_from(digits.len()).unwrap_or(0));
            element.extend_from_slice(digits);
        }
    }
    for part in parts {
        element.extend_from_slice(part);
    }
    element
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(SEQUENCE, parts)
}

pub(crate) fn set(parts: &[&[u8]]) -> Vec<u8> {
    tlv(SET, parts)
}

pub(crate) fn octet_string(octets: &[u8]) -> Vec<u8> {
    tlv(OCTET_STRING, &[octets])
}

/// An element of a context-specific tag; `constructed` if it has elements inside.
pub(crate) fn context(number: u8, constructed: bool, parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x80 | if constructed { 0x20 } else { 0 } | number, parts)
}

pub(crate) fn bit_string(octets: &[u8], unused: u8) -> Vec<u8> {
    tlv(BIT_STRING, &[&[unused], octets])
}

/// A small number.
pub(crate) fn integer(number: u8) -> Vec<u8> {
    unsigned(&[number])
}

/// A whole number, big-endian.
pub(crate) fn unsigned(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    match number.get(zeros..).unwrap_or_default() {
        [] => tlv(INTEGER, &[&[0]]),
        digits @ [first, ..] if *first >= 0x80 => tlv(INTEGER, &[&[0], digits]),
        digits => tlv(INTEGER, &[digits]),
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test that cannot go on fails")]
mod tests {
    use super::super::Der;
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for len in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000] {
            let content = vec![7; len];
            let element = octet_string(&content);
            let mut der = Der::new(&element);
            assert_eq!(der.expect(OCTET_STRING, "octets"), Ok(&content[..]));
            assert!(der.is_empty());
        }
        for number in [&[][..], &[0], &[1], &[0x80], &[0, 0, 0xff, 1]] {
            let element = unsigned(number);
            let zeros = number.iter().take_while(|octet| **octet == 0).count();
            assert_eq!(Der::new(&element).unsigned("a number"), Ok(&number[zeros..]));
        }
    }
}
