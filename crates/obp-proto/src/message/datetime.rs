//! Dates: RFC 3339 in UTC. draft-hallambaker-omnibroker-08 section 7.1.

use std::fmt;
use std::str::FromStr;

use watchfire_core::UnixTime;

use super::structure::plain;

/// A date and time in UTC, to the nanosecond, written as `2014-05-21T20:05:56Z`.
///
/// Read with `Z` or `+00:00`; every other offset is refused, even the one that RFC 3339 has for "UTC, and where it was
/// is not known" (`-00:00`). Written with `Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime(jiff::Timestamp);

/// Not a [`DateTime`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidDateTime {
    /// Not a date of RFC 3339.
    #[error("not a date and time of RFC 3339, such as 2014-05-21T20:05:56Z")]
    Form,
    /// An offset other than 00:00.
    #[error("a date and time is not in UTC: it must end in Z or +00:00")]
    Offset,
    /// Further from 1970 than a date can be written.
    #[error("a date is outside of the years 0 to 9999")]
    Range,
}

impl DateTime {
    /// Whole seconds since 1970, rounded down.
    pub fn to_unix(self) -> UnixTime {
        let seconds = self.0.as_second();
        UnixTime::from_secs(if self.0.subsec_nanosecond() < 0 { seconds.saturating_sub(1) } else { seconds })
    }

    /// The date `time` seconds after 1970.
    ///
    /// # Errors
    /// Outside of the years 0 to 9999, which RFC 3339 cannot write.
    pub fn from_unix(time: UnixTime) -> Result<Self, InvalidDateTime> {
        const YEAR_0: i64 = -62_167_219_200;
        const YEAR_10000: i64 = 253_402_300_800;
        if !(YEAR_0..YEAR_10000).contains(&time.as_secs()) {
            return Err(InvalidDateTime::Range);
        }
        jiff::Timestamp::from_second(time.as_secs()).map(Self).map_err(|_| InvalidDateTime::Range)
    }
}

impl FromStr for DateTime {
    type Err = InvalidDateTime;

    fn from_str(text: &str) -> Result<Self, InvalidDateTime> {
        // The library reads more forms than RFC 3339 has: the shape is looked at first.
        let (date, offset) = match text.as_bytes() {
            [date @ .., b'Z' | b'z'] => (date, true),
            [date @ .., b'+', b'0', b'0', b':', b'0', b'0'] => (date, true),
            [date @ .., b'+' | b'-', _, _, b':', _, _] => (date, false),
            _ => return Err(InvalidDateTime::Form),
        };
        let (seconds, fraction) = date.split_at_checked(19).ok_or(InvalidDateTime::Form)?;
        let shape = b"0000-00-00T00:00:00";
        let alike = seconds.iter().zip(shape).all(|(octet, form)| match form {
            b'0' => octet.is_ascii_digit(),
            _ => octet.eq_ignore_ascii_case(form),
        });
        let fraction_alike = match fraction {
            [] => true,
            [b'.', digits @ ..] => (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit),
            _ => false,
        };
        if !(alike && fraction_alike) {
            return Err(InvalidDateTime::Form);
        }
        if !offset {
            return Err(InvalidDateTime::Offset);
        }
        text.parse().map(Self).map_err(|_| InvalidDateTime::Form)
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl serde::Serialize for DateTime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for DateTime {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = DateTime;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a date and time of RFC 3339 in UTC")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<DateTime, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

plain!(DateTime);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_in_utc_are_read_and_written_with_z() {
        for (text, written) in [
            ("2014-05-21T20:05:56Z", "2014-05-21T20:05:56Z"),
            ("2014-05-21T20:05:56+00:00", "2014-05-21T20:05:56Z"),
            ("2014-05-21t20:05:56z", "2014-05-21T20:05:56Z"),
            ("2014-05-21T20:05:56.25Z", "2014-05-21T20:05:56.25Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.5Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
            ("9999-12-30T21:00:00Z", "9999-12-30T21:00:00Z"),
        ] {
            let date: DateTime = text.parse().unwrap();
            assert_eq!(date.to_string(), written);
            assert_eq!(written.parse(), Ok(date));
        }
        let seed: DateTime = "2014-05-21T20:05:56Z".parse().unwrap();
        assert_eq!(seed.to_unix(), UnixTime::from_secs(1_400_702_756));
        assert_eq!(DateTime::from_unix(UnixTime::from_secs(1_400_702_756)), Ok(seed));
        let before: DateTime = "1969-12-31T23:59:58.5Z".parse().unwrap();
        assert_eq!(before.to_unix(), UnixTime::from_secs(-2));
    }

    #[test]
    fn other_offsets_and_forms_are_refused() {
        for text in ["2014-05-21T20:05:56+01:00", "2014-05-21T20:05:56-00:00", "2014-05-21T20:05:56-05:00"] {
            assert_eq!(text.parse::<DateTime>(), Err(InvalidDateTime::Offset), "{text}");
        }
        for text in [
            "",
            "Z",
            "2014-05-21",
            "2014-05-21T20:05:56",
            "2014-05-21 20:05:56Z",
            "20140521T200556Z",
            "2014-13-21T20:05:56Z",
            "2014-02-30T20:05:56Z",
            "2014-05-21T25:05:56Z",
            "2014-05-21T20:05:56.Z",
            "2014-05-21T20:05:56.1234567890Z",
            "2014-05-21T20:05:56Z[UTC]",
            "+002014-05-21T20:05:56Z",
            "2014-05-21T20:05:56+00:00\n",
        ] {
            assert_eq!(text.parse::<DateTime>(), Err(InvalidDateTime::Form), "{text}");
        }
        assert_eq!(DateTime::from_unix(UnixTime::from_secs(i64::MAX)), Err(InvalidDateTime::Range));
        assert_eq!(DateTime::from_unix(UnixTime::from_secs(-99_999_999_999)), Err(InvalidDateTime::Range));
    }
}
