//! The value of a Block option. RFC 7959 section 2.2.

/// Which part of a body, and how large parts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs, reason = "three fields on the wire")]
pub struct Block {
    /// Number of the part, from 0 to 2^20 - 1.
    pub number: u32,
    /// Whether more parts follow.
    pub more: bool,
    /// Size exponent: parts are 2^(4 + it) octets. 7 stands for 1024 octets and several parts at once, on streams.
    pub exponent: u8,
}

impl Block {
    /// Reads the value; `None` when it is longer than three octets.
    pub fn decode(value: &[u8]) -> Option<Self> {
        let value = super::read_uint(value).filter(|_| value.len() <= 3)?;
        let number = u32::try_from(value >> 4).ok()?;
        Some(Self { number, more: value & 8 != 0, exponent: (value & 7) as u8 })
    }

    /// The value as a number.
    pub const fn value(self) -> u64 {
        (self.number as u64) << 4 | (self.more as u64) << 3 | (self.exponent & 7) as u64
    }

    /// Octets in a part.
    pub const fn size(self) -> usize {
        let exponent = if self.exponent > 6 { 6 } else { self.exponent };
        16usize << exponent
    }

    /// Where the part begins in the body.
    pub fn offset(self) -> usize {
        usize::try_from(self.number).unwrap_or(usize::MAX).saturating_mul(self.size())
    }

    /// The largest exponent whose parts have at most so many octets.
    pub const fn exponent_for(octets: usize) -> u8 {
        let mut exponent = 6u8;
        while exponent > 0 && 16usize << exponent > octets {
            exponent = exponent.saturating_sub(1);
        }
        exponent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_rfc() {
        let block = Block { number: 3, more: true, exponent: 2 };
        assert_eq!((block.value(), block.size(), block.offset()), (0x3a, 64, 192));
        assert_eq!(Block::decode(&[0x3a]), Some(block));
        assert_eq!(Block::decode(&[]), Some(Block { number: 0, more: false, exponent: 0 }));
        assert_eq!(Block::decode(&[0, 0, 0, 0]), None);
        assert_eq!(Block::decode(&[0xff, 0xff, 0xff]).unwrap().size(), 1024);
        assert_eq!((Block::exponent_for(1100), Block::exponent_for(1023), Block::exponent_for(3)), (6, 5, 0));
        for exponent in 0..=6 {
            assert_eq!(Block::exponent_for(16 << exponent), exponent, "a part of just that size fits");
        }
    }
}
