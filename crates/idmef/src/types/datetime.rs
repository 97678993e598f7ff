//! DATETIME. [RFC 4765 section 3.2.6](https://www.rfc-editor.org/rfc/rfc4765#section-3.2.6)

use super::{Value, text_type};
use std::borrow::Cow;
use std::fmt;

/// A date and time of day with its offset from UTC, to the digits it was written with.
///
/// `Display` and `FromStr` use the RFC's form, `2000-03-09T10:01:25.93464-05:00`. Read, but never written: a comma
/// before the fraction, hour 24 (it becomes 0 of the next day), an offset without colon. A leap second (60) is kept.
/// Of a fraction the first 18 digits count.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DateTime {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    /// The digits after the decimal point, as a number.
    fraction: u64,
    /// How many digits those are.
    digits: u8,
    /// Minutes east of UTC; `None` is written `Z`.
    offset: Option<i16>,
}

const MAX_DIGITS: u8 = 18;
const MAX_OFFSET: i16 = 23 * 60 + 59;

impl DateTime {
    /// The time `seconds` after 1970-01-01T00:00:00Z plus `nanos` nanoseconds, in UTC, with as many fraction digits
    /// as it takes. `None` outside the years 0 to 9999 or when `nanos` is a second or more.
    pub fn from_unix(seconds: i64, nanos: u32) -> Option<Self> {
        if nanos >= 1_000_000_000 {
            return None;
        }
        let (mut fraction, mut digits) = (u64::from(nanos), 9);
        while digits > 0 && fraction % 10 == 0 {
            fraction /= 10;
            digits -= 1;
        }
        Self::at(seconds, fraction, digits, None)
    }

    /// Seconds since 1970-01-01T00:00:00Z and nanoseconds after that second (further digits are cut off). A leap
    /// second counts as the first second of the next minute.
    pub fn to_unix(&self) -> (i64, u32) {
        let days = days_from_civil(self.year.into(), self.month, self.day);
        let of_day = i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        let seconds = days * 86_400 + of_day - i64::from(self.offset.unwrap_or(0)) * 60;
        let nanos = u128::from(self.fraction) * 1_000_000_000 / 10u128.pow(self.digits.into());
        (seconds, nanos as u32)
    }

    /// The same instant in UTC, written with `Z` and the same digits.
    pub fn to_utc(&self) -> Self {
        Self::at(self.to_unix().0, self.fraction, self.digits, None).unwrap_or(*self)
    }

    /// Minutes east of UTC; zero both for `Z` and for `+00:00`.
    pub fn offset_minutes(&self) -> i16 {
        self.offset.unwrap_or(0)
    }

    /// How many digits of the second's fraction were given, at most 18.
    pub fn fraction_digits(&self) -> u8 {
        self.digits
    }

    /// The fraction of the second in units of 2^-32 seconds, rounded down.
    pub(crate) fn binary_fraction(&self) -> u32 {
        ((u128::from(self.fraction) << 32) / 10u128.pow(self.digits.into())) as u32
    }

    /// The same instant told with another's offset from UTC.
    pub(crate) fn with_offset_of(&self, other: &Self) -> Self {
        Self::at(self.to_unix().0, self.fraction, self.digits, other.offset).unwrap_or(*self)
    }

    fn at(seconds: i64, fraction: u64, digits: u8, offset: Option<i16>) -> Option<Self> {
        let local = seconds.checked_add(i64::from(offset.unwrap_or(0)) * 60)?;
        let (days, of_day) = (local.div_euclid(86_400), local.rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days)?;
        let (hour, minute, second) = ((of_day / 3600) as u8, (of_day / 60 % 60) as u8, (of_day % 60) as u8);
        Some(Self { year, month, day, hour, minute, second, fraction, digits, offset })
    }

    fn read(text: &[u8]) -> Option<Self> {
        let mut rest = Scan(text);
        let year = rest.number(4)?;
        rest.expect(b'-')?;
        let month = rest.number(2)? as u8;
        rest.expect(b'-')?;
        let day = rest.number(2)? as u8;
        rest.expect(b'T')?;
        let hour = rest.number(2)? as u8;
        rest.expect(b':')?;
        let minute = rest.number(2)? as u8;
        rest.expect(b':')?;
        let second = rest.number(2)? as u8;
        let (fraction, digits) = match rest.0 {
            [b'.' | b',', b'0'..=b'9', ..] => rest.fraction(),
            _ => (0, 0),
        };
        let offset = rest.offset()?;
        if !rest.0.is_empty() || !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
            return None;
        }
        let time = Self { year, month, day, hour, minute, second, fraction, digits, offset };
        match (hour, minute, second) {
            (0..=23, 0..=59, 0..=60) => Some(time),
            // Midnight at the end of the day is midnight at the start of the next.
            (24, 0, 0) if fraction == 0 => Self::at(time.to_unix().0, fraction, digits, offset),
            _ => None,
        }
    }
}

/// What is left of the text.
struct Scan<'a>(&'a [u8]);

impl Scan<'_> {
    fn expect(&mut self, octet: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        (*first == octet).then_some(())
    }

    fn number(&mut self, digits: usize) -> Option<u16> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        number.iter().try_fold(0u16, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u16::from(b - b'0')))
    }

    fn fraction(&mut self) -> (u64, u8) {
        let (mut value, mut digits) = (0u64, 0);
        self.0 = &self.0[1..];
        while let Some((b @ b'0'..=b'9', rest)) = self.0.split_first() {
            if digits < MAX_DIGITS {
                value = value * 10 + u64::from(b - b'0');
                digits += 1;
            }
            self.0 = rest;
        }
        (value, digits)
    }

    fn offset(&mut self) -> Option<Option<i16>> {
        let (sign, rest) = self.0.split_first()?;
        self.0 = rest;
        let sign = match sign {
            b'Z' => return Some(None),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hours = self.number(2)? as i16;
        if self.0.first() == Some(&b':') {
            self.0 = &self.0[1..];
        }
        let minutes = self.number(2)? as i16;
        let total = hours * 60 + minutes;
        (minutes < 60 && total <= MAX_OFFSET).then_some(Some(sign * total))
    }
}

fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in_month(year: u16, month: u8) -> u8 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar: years are counted from March, so that the
/// leap day ends them.
fn days_from_civil(year: i64, month: u8, day: u8) -> i64 {
    let (month, day) = (i64::from(month), i64::from(day));
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> Option<(u16, u8, u8)> {
    let days = days.checked_add(719_468)?;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted + 2) / 5 + 1) as u8;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 } as u8;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (0..=9999).contains(&year).then_some((year as u16, month, day))
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second, .. } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.digits > 0 {
            write!(f, ".{:0width$}", self.fraction, width = self.digits.into())?;
        }
        match self.offset {
            None => f.write_str("Z"),
            Some(offset) => {
                let (sign, size) = if offset < 0 { ('-', -offset) } else { ('+', offset) };
                write!(f, "{sign}{:02}:{:02}", size / 60, size % 60)
            }
        }
    }
}

impl fmt::Debug for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Value for DateTime {
    const TYPE: &'static str = "DATETIME";

    fn parse(text: Cow<'_, str>, _strict: bool) -> Option<Self> {
        Self::read(text.as_bytes())
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Owned(self.to_string())
    }
}

text_type!(DateTime, "DATETIME");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_and_digits_survive() {
        for text in [
            "2000-03-09T10:01:25.93464-05:00",
            "2000-03-09T14:07:58Z",
            "2000-02-29T00:00:00+00:00",
            "2016-12-31T23:59:60Z",
            "0000-01-01T00:00:00.100000000000000001+23:59",
            "9999-12-31T23:59:59.000Z",
        ] {
            assert_eq!(text.parse::<DateTime>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn read_but_not_written() {
        for (text, written) in [
            ("2000-03-09T10:01:25,5Z", "2000-03-09T10:01:25.5Z"),
            ("1999-12-31T24:00:00Z", "2000-01-01T00:00:00Z"),
            ("2023-11-14T22:13:20.006999+0000", "2023-11-14T22:13:20.006999+00:00"),
            ("2000-01-01T00:00:00.1234567890123456789Z", "2000-01-01T00:00:00.123456789012345678Z"),
        ] {
            assert_eq!(text.parse::<DateTime>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn impossible_times_are_refused() {
        for text in [
            "",
            "2000-03-09",
            "2000-03-09T10:01:25",
            "2000-13-01T00:00:00Z",
            "2000-00-01T00:00:00Z",
            "2001-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2000-01-32T00:00:00Z",
            "2000-01-01T25:00:00Z",
            "2000-01-01T24:00:01Z",
            "2000-01-01T00:60:00Z",
            "2000-01-01T00:00:61Z",
            "2000-01-01T00:00:00.Z",
            "2000-01-01T00:00:00+24:00",
            "2000-01-01T00:00:00+00:60",
            "2000-01-01T00:00:00ZZ",
            "9999-12-31T24:00:00Z",
            "+200-01-01T00:00:00Z",
            "2000-01-01t00:00:00Z",
        ] {
            assert!(text.parse::<DateTime>().is_err(), "{text}");
        }
    }

    #[test]
    fn unix_time_both_ways() {
        assert_eq!("1970-01-01T00:00:00Z".parse::<DateTime>().unwrap().to_unix(), (0, 0));
        assert_eq!("2023-11-14T22:13:20.5Z".parse::<DateTime>().unwrap().to_unix(), (1_700_000_000, 500_000_000));
        assert_eq!("2023-11-15T00:13:20+02:00".parse::<DateTime>().unwrap().to_unix(), (1_700_000_000, 0));
        for days in (-719_528..2_932_896).step_by(97) {
            let time = DateTime::from_unix(days * 86_400 + 1, 20).unwrap();
            assert_eq!(time.to_unix(), (days * 86_400 + 1, 20));
            assert_eq!(time.to_string().parse(), Ok(time));
        }
        assert_eq!(DateTime::from_unix(i64::MAX, 0), None);
        assert_eq!(DateTime::from_unix(i64::MIN, 0), None);
        assert_eq!(DateTime::from_unix(0, 1_000_000_000), None);
    }
}
