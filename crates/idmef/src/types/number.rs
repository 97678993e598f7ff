//! INTEGER and REAL. [RFC 4765 sections 3.2.1 and 3.2.2](https://www.rfc-editor.org/rfc/rfc4765#section-3.2.1)

use super::{ParseError, Value};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A whole number between -2^63 and 2^64 - 1.
///
/// Decimal with an optional sign and `0x` hexadecimal are read; decimal is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Integer(i128);

impl Integer {
    /// The number, when it fits an `i64`.
    pub fn to_i64(self) -> Option<i64> {
        self.0.try_into().ok()
    }

    /// The number, when it fits a `u64`.
    pub fn to_u64(self) -> Option<u64> {
        self.0.try_into().ok()
    }

    /// The number, when it can be a port.
    pub fn to_u16(self) -> Option<u16> {
        self.0.try_into().ok()
    }

    fn new(value: i128) -> Option<Self> {
        (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value).then_some(Self(value))
    }
}

macro_rules! from_integer {
    ($($type:ty)*) => {
        $(impl From<$type> for Integer {
            fn from(value: $type) -> Self {
                Self(value.into())
            }
        })*
    };
}
from_integer!(u8 u16 u32 u64 i8 i16 i32 i64);

impl Value for Integer {
    const TYPE: &'static str = "INTEGER";

    fn parse(text: Cow<'_, str>, _strict: bool) -> Option<Self> {
        let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(hex) if hex.starts_with(|c: char| c.is_ascii_hexdigit()) => (hex, 16),
            Some(_) => return None,
            None => (&*text, 10),
        };
        // Longer than any number in range, leading zeros aside: do not make the parser work for it.
        if digits.len() > 64 {
            return None;
        }
        i128::from_str_radix(digits, radix).ok().and_then(Self::new)
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Owned(self.0.to_string())
    }
}

impl FromStr for Integer {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(super::trim(text).into(), false).ok_or(ParseError::new(Self::TYPE))
    }
}

impl fmt::Display for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A finite floating-point number.
///
/// The radix character may be `.` or `,` on read and is `.` on write; the number written is the shortest that reads
/// back as the same.
#[derive(Debug, Clone, Copy, Default)]
pub struct Real(f64);

impl Real {
    /// The number as a `Real`; `None` for infinities and for what is not a number.
    pub fn new(value: f64) -> Option<Self> {
        value.is_finite().then_some(Self(value))
    }

    /// The number.
    pub fn to_f64(self) -> f64 {
        self.0
    }
}

impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Real {}

impl std::hash::Hash for Real {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl Value for Real {
    const TYPE: &'static str = "REAL";

    fn parse(text: Cow<'_, str>, _strict: bool) -> Option<Self> {
        // `f64` reads "inf", "nan" and "infinity" too; they hold letters other than the exponent's.
        let number = |b: u8| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b',' | b'e' | b'E');
        if text.len() > 1024 || !text.bytes().all(number) {
            return None;
        }
        let value = if text.contains(',') { text.replacen(',', ".", 1).parse() } else { text.parse() };
        Self::new(value.ok()?)
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Owned(self.to_string())
    }
}

impl FromStr for Real {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(super::trim(text).into(), false).ok_or(ParseError::new(Self::TYPE))
    }
}

impl fmt::Display for Real {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.abs();
        if size != 0.0 && !(1e-6..1e16).contains(&size) { write!(f, "{:e}", self.0) } else { write!(f, "{}", self.0) }
    }
}

#[cfg(feature = "serde")]
mod json {
    use super::{Integer, Real};
    use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
    use serde::ser::{Serialize, Serializer};
    use std::fmt;

    impl Serialize for Integer {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self.to_u64() {
                Some(value) => serializer.serialize_u64(value),
                None => serializer.serialize_i64(self.to_i64().expect("an Integer fits one of the two")),
            }
        }
    }

    impl Serialize for Real {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_f64(self.0)
        }
    }

    struct Number;

    impl Visitor<'_> for Number {
        type Value = Integer;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an INTEGER as a number or as a string")
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<Integer, E> {
            Ok(value.into())
        }

        fn visit_u64<E: Error>(self, value: u64) -> Result<Integer, E> {
            Ok(value.into())
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Integer, E> {
            text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
        }
    }

    impl<'de> Deserialize<'de> for Integer {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(Number)
        }
    }

    impl<'de> Deserialize<'de> for Real {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let value = f64::deserialize(deserializer)?;
            Self::new(value).ok_or_else(|| D::Error::invalid_value(Unexpected::Float(value), &"a finite REAL"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_decimal_or_hexadecimal() {
        for (text, value) in [("0", 0), ("+5", 5), ("-5", -5), ("0x1F", 31), ("0X1f", 31), (" 7\n", 7), ("007", 7)] {
            assert_eq!(text.parse(), Ok(Integer::from(value)), "{text}");
        }
        for text in ["", "x", "0x", "0x-1", "1.0", "1 2", "--1", "18446744073709551616", "-9223372036854775809"] {
            assert!(text.parse::<Integer>().is_err(), "{text}");
        }
        assert_eq!("18446744073709551615".parse::<Integer>().unwrap().to_u64(), Some(u64::MAX));
        assert_eq!("-9223372036854775808".parse::<Integer>().unwrap().to_i64(), Some(i64::MIN));
        assert!("0".repeat(65).parse::<Integer>().is_err());
    }

    #[test]
    fn reals_read_either_radix_and_write_the_point() {
        for (text, value) in [("62.5", 62.5), ("62,5", 62.5), ("-1e3", -1000.0), ("+.5", 0.5), ("1,5E2", 150.0)] {
            assert_eq!(text.parse(), Ok(Real(value)), "{text}");
        }
        for text in ["", "inf", "nan", "1,2,3", "1.2,3", "0x1p3", "1e999", "e"] {
            assert!(text.parse::<Real>().is_err(), "{text}");
        }
        assert_eq!(Real(87.1).text(), "87.1");
        assert_eq!(Real(1e300).text(), "1e300");
    }
}
