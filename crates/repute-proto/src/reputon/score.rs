//! A number from 0.0 to 1.0, as a rating, a confidence and a normal rating are.
//! [RFC 7071 section 6.2.2](https://www.rfc-editor.org/rfc/rfc7071#section-6.2.2)

use std::borrow::Cow;
use std::fmt;

/// A number from 0.0 to 1.0 inclusive, with the decimal text that it was received in.
///
/// Two scores are equal when their numbers are; the text is what the sender wrote, kept for reports.
///
/// ```
/// use repute_proto::Score;
/// let score: Score = "0.0012".parse()?;
/// assert_eq!((score.value(), score.text().as_ref(), score.to_string().as_str()), (0.0012, "0.0012", "0.001"));
/// assert!(Score::new(1.5).is_err());
/// # Ok::<(), repute_proto::OutOfRange>(())
/// ```
#[derive(Clone)]
pub struct Score<'a> {
    value: f64,
    text: Option<Cow<'a, str>>,
}

/// A number that is below 0.0, above 1.0, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("not a number from 0.0 to 1.0")]
pub struct OutOfRange;

impl<'a> Score<'a> {
    /// No support at all.
    pub const ZERO: Self = Self { value: 0.0, text: None };

    /// A score of this value.
    ///
    /// # Errors
    /// When it is not from 0.0 to 1.0.
    pub fn new(value: f64) -> Result<Self, OutOfRange> {
        // Negative zero is zero; NaN is in no range.
        if (0.0..=1.0).contains(&value) { Ok(Self { value: value.abs(), text: None }) } else { Err(OutOfRange) }
    }

    /// What a decimal text says: what JSON and XML schema call a number, without white space.
    pub(crate) fn from_text(text: Cow<'a, str>) -> Result<Self, OutOfRange> {
        let value = match fraction(text.as_bytes()) {
            Some((value, len)) if len == text.len() => value,
            _ => Self::new(text.parse::<f64>().map_err(|_| OutOfRange)?)?.value,
        };
        Ok(Self { value, text: Some(text) })
    }

    /// The score that this JSON begins with, if it is written as nearly all are, and what follows it.
    #[inline]
    pub(crate) fn at_start(json: &'a str) -> Option<(Self, &'a str)> {
        let (value, len) = fraction(json.as_bytes())?;
        let (text, rest) = json.split_at_checked(len)?;
        Some((Self { value, text: Some(Cow::Borrowed(text)) }, rest))
    }

    /// The number.
    pub const fn value(&self) -> f64 {
        self.value
    }

    /// The text it was received in; of a score that was made here, the shortest text that reads back the same.
    pub fn text(&self) -> Cow<'_, str> {
        match &self.text {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(format!("{:?}", self.value)),
        }
    }

    /// The same, holding what it borrowed.
    pub fn into_owned(self) -> Score<'static> {
        Score { value: self.value, text: self.text.map(|text| Cow::Owned(text.into_owned())) }
    }

    /// Its thousandths, rounded half away from zero.
    fn thousandths(&self) -> u32 {
        // From 0 to 1000, because the value is from 0.0 to 1.0.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let thousandths = (self.value * 1000.0).round() as u32;
        thousandths.min(1000)
    }
}

/// What nearly all ratings look like, `0.` and up to fifteen digits, and how many octets that is. Both numbers of the
/// division are whole and exact as floats, so that the quotient is the nearest float, as it is when parsed in any other
/// way.
#[inline]
fn fraction(text: &[u8]) -> Option<(f64, usize)> {
    let digits = text.strip_prefix(b"0.")?;
    let (mut rest, mut number) = (digits, 0_u64);
    while let [digit @ b'0'..=b'9', behind @ ..] = rest {
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit & 0xf));
        rest = behind;
    }
    let count = digits.len().wrapping_sub(rest.len());
    if count == 0 || matches!(rest, [b'.' | b'e' | b'E', ..]) {
        return None;
    }
    let power = *POWERS.get(count)?;
    #[allow(clippy::cast_precision_loss, reason = "fifteen digits are below 2^53")]
    Some((number as f64 / power, text.len().wrapping_sub(rest.len())))
}

const POWERS: [f64; 16] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

impl Score<'_> {
    /// As it is sent, without asking for memory.
    pub(crate) fn put(&self, out: &mut impl bytes::BufMut) {
        let thousandths = self.thousandths();
        let digit = |power: u32| {
            u8::try_from(thousandths.checked_div(power).unwrap_or(0) % 10).map_or(b'0', |digit| b'0' | digit)
        };
        let digits = [digit(1000), b'.', digit(100), digit(10), digit(1)];
        let zeros = digits.iter().rev().take(2).take_while(|digit| **digit == b'0').count();
        out.put_slice(digits.get(..digits.len().saturating_sub(zeros)).unwrap_or_default());
    }
}

/// As it is sent: at most three decimals, always at least one, because OpenDKIM reads `1` as 0.0.
impl fmt::Display for Score<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thousandths = self.thousandths();
        let (whole, part) = (thousandths / 1000, thousandths % 1000);
        match (part % 10, part % 100) {
            (_, 0) => write!(f, "{whole}.{}", part / 100),
            (0, _) => write!(f, "{whole}.{:02}", part / 10),
            _ => write!(f, "{whole}.{part:03}"),
        }
    }
}

impl fmt::Debug for Score<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl PartialEq for Score<'_> {
    fn eq(&self, other: &Self) -> bool {
        // The values are never NaN.
        self.value.to_bits() == other.value.to_bits()
    }
}

impl Eq for Score<'_> {}

impl std::str::FromStr for Score<'static> {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        Self::from_text(Cow::Owned(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_at_most_three_decimals_and_at_least_one() {
        for (value, sent) in [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (0.5, "0.5"),
            (0.012, "0.012"),
            (0.12, "0.12"),
            (0.1, "0.1"),
            (0.0012, "0.001"),
            (0.9999, "1.0"),
            (0.25, "0.25"),
            (-0.0, "0.0"),
            (1e-300, "0.0"),
        ] {
            let score = Score::new(value).unwrap();
            assert_eq!(score.to_string(), sent, "{value}");
            let mut written = Vec::new();
            score.put(&mut written);
            assert_eq!(written, sent.as_bytes());
        }
    }

    #[test]
    fn short_fractions_are_the_nearest_floats() {
        let mut digits = String::new();
        let mut state = 7_u32;
        for _ in 0..2_000 {
            digits.clear();
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            for _ in 0..=(state >> 8) % 15 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                digits.push(char::from_digit((state >> 16) % 10, 10).unwrap());
            }
            let text = format!("0.{digits}");
            let score: Score<'_> = text.parse().unwrap();
            assert_eq!(score.value().to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
        }
        assert_eq!("0.1234567890123456789".parse::<Score<'_>>().unwrap().value(), 0.123_456_789_012_345_68);
    }

    #[test]
    fn is_from_zero_to_one_and_keeps_its_text() {
        for text in ["-0.1", "1.0000001", "1e999", "NaN", "inf", "", "x"] {
            assert_eq!(text.parse::<Score<'_>>(), Err(OutOfRange), "{text}");
        }
        let tiny: Score<'_> = "1e-400".parse().unwrap();
        assert_eq!((tiny.value(), tiny.text().as_ref()), (0.0, "1e-400"));
        assert_eq!(tiny, Score::ZERO);
    }
}
