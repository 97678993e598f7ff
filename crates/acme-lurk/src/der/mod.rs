//! As much of DER (X.690) as certification requests and certificates need: one way to write a value, and no other is
//! read. Nothing is recursive.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub(crate) mod oid;
mod write;

pub(crate) use write::{bit_string, context, integer, octet_string, sequence, set, tlv, unsigned};

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const PRINTABLE_STRING: u8 = 0x13;
pub(crate) const IA5_STRING: u8 = 0x16;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// Why octets are no such DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct DerError(pub(crate) &'static str);

/// What is left of a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Der<'a> {
    rest: &'a [u8],
}

/// One element: its tag, its content, and all of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    pub(crate) whole: &'a [u8],
}

impl<'a> Der<'a> {
    pub(crate) const fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element, whatever it is.
    pub(crate) fn element(&mut self) -> Result<Element<'a>, DerError> {
        const SHORT: DerError = DerError("the octets end inside an element");
        let start = self.rest;
        let (&tag, rest) = start.split_first().ok_or(SHORT)?;
        if tag & 0x1f == 0x1f {
            return Err(DerError("a tag of several octets"));
        }
        let (&first, rest) = rest.split_first().ok_or(SHORT)?;
        let (len, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            let count = usize::from(first & 0x7f);
            if count == 0 || count > 4 {
                return Err(DerError("a length that is indefinite or too long"));
            }
            let (digits, rest) = rest.split_at_checked(count).ok_or(SHORT)?;
            let len = digits.iter().fold(0_usize, |len, digit| (len << 8) | usize::from(*digit));
            if digits.first() == Some(&0) || len < 0x80 {
                return Err(DerError("a length that is longer than it need be"));
            }
            (len, rest)
        };
        let (content, rest) = rest.split_at_checked(len).ok_or(SHORT)?;
        let whole = start.get(..start.len().saturating_sub(rest.len())).unwrap_or(start);
        self.rest = rest;
        Ok(Element { tag, content, whole })
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The content of the next element, which must have this tag.
    pub(crate) fn expect(&mut self, tag: u8, what: &'static str) -> Result<&'a [u8], DerError> {
        if self.peek() != Some(tag) {
            return Err(DerError(what));
        }
        self.element().map(|element| element.content)
    }

    /// The same, if the next element has it.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, DerError> {
        if self.peek() == Some(tag) { self.element().map(|element| Some(element.content)) } else { Ok(None) }
    }

    pub(crate) fn sequence(&mut self, what: &'static str) -> Result<Self, DerError> {
        self.expect(SEQUENCE, what).map(Self::new)
    }

    /// A whole number that is not negative, big-endian without leading zeros; zero is empty.
    pub(crate) fn unsigned(&mut self, what: &'static str) -> Result<&'a [u8], DerError> {
        match self.expect(INTEGER, what)? {
            [] => Err(DerError("a number without octets")),
            [0] => Ok(&[]),
            [0, rest @ ..] if rest.first().is_some_and(|first| *first >= 0x80) => Ok(rest),
            [0, ..] => Err(DerError("a number that is longer than it need be")),
            [first, ..] if *first >= 0x80 => Err(DerError("a number that is negative")),
            number => Ok(number),
        }
    }

    /// A bit string, and how many bits of its last octet do not count, which must be zero.
    pub(crate) fn bits(&mut self, what: &'static str) -> Result<(&'a [u8], u8), DerError> {
        let (&unused, bits) = self.expect(BIT_STRING, what)?.split_first().ok_or(DerError("an empty bit string"))?;
        let last = bits.last().copied();
        let is_clean = match last {
            Some(last) => unused < 8 && last & !(0xff_u8 << unused) == 0,
            None => unused == 0,
        };
        if is_clean { Ok((bits, unused)) } else { Err(DerError("a bit string with bits beyond its end")) }
    }

    /// A bit string of whole octets.
    pub(crate) fn octet_bits(&mut self, what: &'static str) -> Result<&'a [u8], DerError> {
        match self.bits(what)? {
            (octets, 0) => Ok(octets),
            _ => Err(DerError(what)),
        }
    }

    /// A truth value that is false unless it is there, and is not there when it is false.
    pub(crate) fn default_false(&mut self) -> Result<bool, DerError> {
        match self.optional(BOOLEAN)? {
            None => Ok(false),
            Some([0xff]) => Ok(true),
            Some(_) => Err(DerError("a truth value that DER does not write so")),
        }
    }

    /// Nothing may be left.
    pub(crate) const fn end(self, what: &'static str) -> Result<(), DerError> {
        if self.is_empty() { Ok(()) } else { Err(DerError(what)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_way_to_write_a_value() {
        let read = |octets: &[u8]| Der::new(octets).element().is_ok();
        assert!(read(&[4, 1, 7]) && read(&[4, 0]));
        let long = [&[4, 0x81, 0x80][..], &[0; 0x80]].concat();
        assert!(read(&long));
        for bad in [
            &[][..],
            &[4],
            &[4, 1],
            &[4, 0x80, 0, 0],
            &[4, 0x81, 1, 7],
            &[4, 0x82, 0, 0x80, 0],
            &[4, 0x85, 1, 0, 0, 0, 0],
            &[4, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x1f, 1, 0],
        ] {
            assert!(!read(bad), "{bad:?}");
        }
        let number = |octets: &[u8]| Der::new(octets).unsigned("a number").map(<[u8]>::to_vec);
        assert_eq!(number(&[2, 1, 0]), Ok(vec![]));
        assert_eq!(number(&[2, 2, 0, 0x80]), Ok(vec![0x80]));
        for bad in [&[2, 0][..], &[2, 2, 0, 1], &[2, 1, 0x80], &[4, 1, 1]] {
            assert!(number(bad).is_err(), "{bad:?}");
        }
        let bits = |octets: &[u8]| Der::new(octets).bits("bits").is_ok();
        assert!(bits(&[3, 2, 7, 0x80]) && bits(&[3, 1, 0]));
        for bad in [&[3, 0][..], &[3, 1, 1], &[3, 2, 7, 0x81], &[3, 2, 8, 0]] {
            assert!(!bits(bad), "{bad:?}");
        }
        let truth = |octets: &[u8]| Der::new(octets).default_false();
        assert_eq!((truth(&[1, 1, 0xff]), truth(&[4, 0])), (Ok(true), Ok(false)));
        assert!(truth(&[1, 1, 0]).is_err() && truth(&[1, 1, 1]).is_err());
    }
}
