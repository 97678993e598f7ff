//! The little DER that no parser at hand covers: taking apart and putting together tag, length and value.

/// Tags that are met here.
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
pub(crate) const OID: u8 = 0x06;
pub(crate) const OCTETS: u8 = 0x04;
pub(crate) const BITS: u8 = 0x03;
pub(crate) const INTEGER: u8 = 0x02;

/// The first element: its tag, its value, itself, and what follows it. `None` unless it is whole and its length is
/// written in the one way DER allows.
pub(crate) fn take(octets: &[u8]) -> Option<Element<'_>> {
    let (&tag, rest) = octets.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if !(1..=4).contains(&count) {
            return None;
        }
        let (digits, rest) = rest.split_at_checked(count)?;
        let length = digits.iter().fold(0_usize, |sum, digit| sum << 8 | usize::from(*digit));
        let shortest = length >= 0x80 && digits.first() != Some(&0);
        (shortest.then_some(length)?, rest)
    };
    let (value, rest) = rest.split_at_checked(length)?;
    let whole = octets.get(..octets.len() - rest.len())?;
    Some(Element { tag, value, whole, rest })
}

/// See [`take`].
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) value: &'a [u8],
    pub(crate) whole: &'a [u8],
    pub(crate) rest: &'a [u8],
}

/// The first element if it has this tag: its value and what follows.
pub(crate) fn expect(tag: u8, octets: &[u8]) -> Option<(&[u8], &[u8])> {
    take(octets).filter(|element| element.tag == tag).map(|element| (element.value, element.rest))
}

/// An element of these parts.
pub(crate) fn wrap(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    out.push(tag);
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let digits = length.to_be_bytes();
        let skip = digits.iter().take_while(|digit| **digit == 0).count();
        out.push(0x80 | (digits.len() - skip) as u8);
        out.extend(digits.iter().skip(skip));
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_apart_as_they_were_put_together() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let value = vec![7; length];
            let mut octets = wrap(OCTETS, &[&value]);
            octets.push(9);
            let element = take(&octets).unwrap();
            assert_eq!((element.tag, element.value.len(), element.rest), (OCTETS, length, &[9][..]));
            assert_eq!(element.whole.len() + 1, octets.len());
        }
        assert!(expect(SET, &wrap(SEQUENCE, &[])).is_none());
    }

    #[test]
    fn half_elements_and_long_forms_of_short_lengths_are_none() {
        for bad in [
            &[][..],
            &[0x30],
            &[0x30, 1],
            &[0x30, 0x81, 1, 0],
            &[0x30, 0x82, 0, 0x80],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x85, 0, 0, 0, 0, 0],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert!(take(bad).is_none(), "{bad:?}");
        }
    }
}
