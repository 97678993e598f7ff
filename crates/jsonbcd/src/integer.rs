//! Integers of any size. JSON-B and JSON-D give integers a sign and a magnitude of up to 65,535 octets.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

/// An integer of any size.
///
/// ```
/// use jsonbcd::Integer;
///
/// let large = Integer::from_magnitude(true, &[0xff; 20]);
/// assert_eq!(large.to_string(), "-1461501637330902918203684832716283019655932542975");
/// assert_eq!(large.to_string().parse::<Integer>().unwrap(), large);
/// assert_eq!(Integer::from(-1i8).as_i64(), Some(-1));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Integer(Repr);

/// Small whenever it fits, so that equal integers are equal.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Small(i128),
    Big { negative: bool, magnitude: Box<[u8]> },
}

impl Integer {
    /// From a sign and a magnitude, most significant octet first. Minus nothing is zero.
    pub fn from_magnitude(negative: bool, magnitude: &[u8]) -> Self {
        let start = magnitude.iter().position(|&octet| octet != 0).unwrap_or(magnitude.len());
        let significant = magnitude.get(start..).unwrap_or_default();
        let small = (significant.len() <= 16)
            .then(|| significant.iter().fold(0u128, |value, &octet| value << 8 | u128::from(octet)))
            .and_then(|value| if negative { 0i128.checked_sub_unsigned(value) } else { i128::try_from(value).ok() });
        Self(match small {
            Some(value) => Repr::Small(value),
            None => Repr::Big { negative, magnitude: significant.into() },
        })
    }

    /// Its magnitude, most significant octet first, without leading zeroes: nothing for zero.
    pub fn magnitude(&self) -> Cow<'_, [u8]> {
        match &self.0 {
            Repr::Small(value) => {
                let octets = value.unsigned_abs().to_be_bytes();
                let start = octets.iter().position(|&octet| octet != 0).unwrap_or(octets.len());
                Cow::Owned(octets.get(start..).unwrap_or_default().to_vec())
            }
            Repr::Big { magnitude, .. } => Cow::Borrowed(magnitude),
        }
    }

    /// Whether it is below zero.
    pub fn is_negative(&self) -> bool {
        match self.0 {
            Repr::Small(value) => value < 0,
            Repr::Big { negative, .. } => negative,
        }
    }

    /// As `i64`, if it fits.
    pub fn as_i64(&self) -> Option<i64> {
        self.as_i128()?.try_into().ok()
    }

    /// As `u64`, if it fits.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_i128()?.try_into().ok()
    }

    /// As `i128`, if it fits.
    pub fn as_i128(&self) -> Option<i128> {
        match self.0 {
            Repr::Small(value) => Some(value),
            Repr::Big { .. } => None,
        }
    }

    /// As `u128`, if it fits.
    pub fn as_u128(&self) -> Option<u128> {
        match &self.0 {
            Repr::Small(value) => (*value).try_into().ok(),
            Repr::Big { negative: false, magnitude } if magnitude.len() <= 16 => {
                Some(magnitude.iter().fold(0, |value, &octet| value << 8 | u128::from(octet)))
            }
            Repr::Big { .. } => None,
        }
    }

    /// The nearest binary64, which may be infinite.
    pub fn to_f64(&self) -> f64 {
        match self.0 {
            #[allow(clippy::cast_precision_loss, reason = "the nearest is what is asked for")]
            Repr::Small(value) => value as f64,
            // The decimal form is rounded once, as it must be.
            Repr::Big { .. } => alloc::format!("{self}").parse().unwrap_or(f64::NAN),
        }
    }

    /// From decimal digits alone. Takes time that grows with the square of their number: limit it first.
    pub(crate) fn from_digits(negative: bool, digits: &[u8]) -> Self {
        if digits.len() <= 38 {
            let value =
                digits.iter().fold(0i128, |value, &digit| value.wrapping_mul(10).wrapping_add(i128::from(digit & 15)));
            return Self(Repr::Small(if negative { value.wrapping_neg() } else { value }));
        }
        // Limbs of 32 bits, least significant first; 9 digits at a time.
        let mut limbs: Vec<u32> = Vec::new();
        let (first, rest) = digits.split_at(digits.len() % 9);
        for group in core::iter::once(first).chain(rest.chunks(9)) {
            let scale = group.iter().fold(1u64, |scale, _| scale.wrapping_mul(10));
            let mut carry =
                group.iter().fold(0u64, |value, &digit| value.wrapping_mul(10).wrapping_add(u64::from(digit & 15)));
            for limb in &mut limbs {
                // Below 2^32 times 10^9 plus 2^32: never more than 64 bits.
                carry = u64::from(*limb).wrapping_mul(scale).wrapping_add(carry);
                *limb = u32::try_from(carry & 0xffff_ffff).unwrap_or(u32::MAX);
                carry >>= 32;
            }
            if carry > 0 {
                limbs.push(u32::try_from(carry).unwrap_or(u32::MAX));
            }
        }
        let octets: Vec<u8> = limbs.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect();
        Self::from_magnitude(negative, &octets)
    }
}

macro_rules! from_small {
    ($($small:ty)*) => { $(
        impl From<$small> for Integer {
            fn from(value: $small) -> Self {
                Self(Repr::Small(i128::from(value)))
            }
        }
    )* };
}
from_small!(i8 i16 i32 i64 i128 u8 u16 u32 u64);

impl From<u128> for Integer {
    fn from(value: u128) -> Self {
        Self::from_magnitude(false, &value.to_be_bytes())
    }
}

impl fmt::Display for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (negative, magnitude) = match &self.0 {
            Repr::Small(value) => return value.fmt(f),
            Repr::Big { negative, magnitude } => (*negative, magnitude),
        };
        let mut limbs: Vec<u32> = magnitude
            .rchunks(4)
            .map(|limb| limb.iter().fold(0u32, |value, &octet| value << 8 | u32::from(octet)))
            .collect();
        // Groups of 9 digits, least significant first: divide by 10^9 until nothing is left.
        let mut groups = Vec::new();
        while !limbs.is_empty() {
            let mut rest = 0u64;
            for limb in limbs.iter_mut().rev() {
                let value = rest << 32 | u64::from(*limb);
                *limb = u32::try_from(value / 1_000_000_000).unwrap_or(u32::MAX);
                rest = value % 1_000_000_000;
            }
            groups.push(rest);
            while limbs.last() == Some(&0) {
                limbs.pop();
            }
        }
        let mut text = alloc::string::String::new();
        for (number, group) in groups.iter().rev().enumerate() {
            let digits = if number == 0 { alloc::format!("{group}") } else { alloc::format!("{group:09}") };
            text.push_str(&digits);
        }
        f.pad_integral(!negative, "", &text)
    }
}

impl fmt::Debug for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is no integer: an optional minus and decimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an integer: decimal digits are due, with or without a minus before them")]
#[non_exhaustive]
pub struct ParseIntegerError;

impl FromStr for Integer {
    type Err = ParseIntegerError;

    /// Takes time that grows with the square of the number of digits.
    fn from_str(text: &str) -> Result<Self, ParseIntegerError> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|octet| octet.is_ascii_digit()) {
            return Err(ParseIntegerError);
        }
        Ok(Self::from_digits(digits.len() < text.len(), digits.as_bytes()))
    }
}
