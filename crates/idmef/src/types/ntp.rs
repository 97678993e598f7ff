//! NTPSTAMP. [RFC 4765 section 3.2.7](https://www.rfc-editor.org/rfc/rfc4765#section-3.2.7)

use super::{DateTime, Value, text_type};
use std::borrow::Cow;
use std::fmt;

/// Seconds between 1900, where NTP counts from, and 1970.
const UNIX_EPOCH: i64 = 2_208_988_800;
/// Seconds in an era of NTP.
const ERA: i64 = 1 << 32;

/// An NTP timestamp: `0xbc723b45.0xef449129`, seconds since 1900 and their fraction in units of 2^-32.
///
/// When the highest bit of the seconds is clear they count from 2036-02-07T06:28:16Z instead, so that the stamps span
/// 1968-01-20T03:14:08Z to 2104-02-26T09:42:23Z. All zero says that the time is not known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[expect(clippy::exhaustive_structs, reason = "the format of NTP does not change")]
pub struct NtpStamp {
    /// Seconds since the start of the era.
    pub seconds: u32,
    /// Fraction of a second in units of 2^-32 seconds.
    pub fraction: u32,
}

impl NtpStamp {
    /// All zero: the time is not known.
    pub const UNAVAILABLE: Self = Self { seconds: 0, fraction: 0 };

    /// Whether the stamp tells no time.
    pub fn is_unavailable(self) -> bool {
        self == Self::UNAVAILABLE
    }

    /// The stamp of a time, its fraction rounded down; `None` outside the years that stamps span and for the one
    /// instant of 2036 whose stamp would be all zero.
    pub fn from_datetime(time: &DateTime) -> Option<Self> {
        let seconds = time.to_unix().0 + UNIX_EPOCH;
        if !(ERA / 2..ERA + ERA / 2).contains(&seconds) {
            return None;
        }
        let stamp = Self { seconds: (seconds % ERA) as u32, fraction: time.binary_fraction() };
        (!stamp.is_unavailable()).then_some(stamp)
    }

    /// The time in UTC to the nearest nanosecond; `None` when the stamp tells none.
    pub fn to_datetime(self) -> Option<DateTime> {
        if self.is_unavailable() {
            return None;
        }
        let nanos = (u64::from(self.fraction) * 1_000_000_000 + (1 << 31)) >> 32;
        let carry = i64::from(nanos == 1_000_000_000);
        DateTime::from_unix(self.seconds_since_1900() - UNIX_EPOCH + carry, (nanos % 1_000_000_000) as u32)
    }

    /// Units of 2^-32 seconds since 1900.
    pub(crate) fn ticks(self) -> i128 {
        (i128::from(self.seconds_since_1900()) << 32) + i128::from(self.fraction)
    }

    fn seconds_since_1900(self) -> i64 {
        let seconds = i64::from(self.seconds);
        if seconds < ERA / 2 { seconds + ERA } else { seconds }
    }
}

impl fmt::Display for NtpStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}.0x{:08x}", self.seconds, self.fraction)
    }
}

impl fmt::Debug for NtpStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Value for NtpStamp {
    const TYPE: &'static str = "NTPSTAMP";

    fn parse(text: Cow<'_, str>, strict: bool) -> Option<Self> {
        let (seconds, fraction) = text.split_once('.')?;
        let half = |text: &str| {
            let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
            let length = if strict { 8..=8 } else { 1..=8 };
            (length.contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit()))
                .then(|| u32::from_str_radix(digits, 16).ok())
                .flatten()
        };
        Some(Self { seconds: half(seconds)?, fraction: half(fraction)? })
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Owned(self.to_string())
    }
}

text_type!(NtpStamp, "NTPSTAMP");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_of_the_rfc_examples() {
        for (time, stamp) in [
            ("2000-03-09T10:01:25.93464-05:00", "0xbc723b45.0xef449129"),
            ("2000-03-09T14:07:58Z", "0xbc722ebe.0x00000000"),
            ("2000-03-09T08:12:32.3-05:00", "0xbc7221c0.0x4ccccccc"),
            ("2000-03-09T22:18:07-05:00", "0xbc72e7ef.0x00000000"),
            ("2036-02-07T06:28:17Z", "0x00000001.0x00000000"),
            ("2104-02-26T09:42:23Z", "0x7fffffff.0x00000000"),
            ("1968-01-20T03:14:08Z", "0x80000000.0x00000000"),
        ] {
            let time: DateTime = time.parse().unwrap();
            let stamp: NtpStamp = stamp.parse().unwrap();
            assert_eq!(NtpStamp::from_datetime(&time), Some(stamp), "{time}");
            assert_eq!(stamp.to_datetime().unwrap().to_unix(), time.to_unix(), "{time}");
        }
    }

    #[test]
    fn what_a_stamp_cannot_tell() {
        for time in ["1968-01-20T03:14:07Z", "2104-02-26T09:42:24Z", "2036-02-07T06:28:16Z"] {
            assert_eq!(NtpStamp::from_datetime(&time.parse().unwrap()), None, "{time}");
        }
        assert_eq!(NtpStamp::UNAVAILABLE.to_datetime(), None);
    }

    #[test]
    fn the_fraction_carries_when_it_rounds_to_a_second() {
        let stamp = NtpStamp { seconds: 0xbc72_2ebe, fraction: u32::MAX };
        assert_eq!(stamp.to_datetime().unwrap().to_string(), "2000-03-09T14:07:59Z");
    }

    #[test]
    fn lexical_form() {
        assert_eq!(NtpStamp::parse("0x1.0x2".into(), false), Some(NtpStamp { seconds: 1, fraction: 2 }));
        assert_eq!(NtpStamp::parse("0x1.0x2".into(), true), None);
        for text in ["", "0x1", "0x.0x", "1.2", "0x123456789.0x0", "0x+1.0x0", "0x1.0x2.0x3"] {
            assert!(text.parse::<NtpStamp>().is_err(), "{text}");
        }
    }
}
