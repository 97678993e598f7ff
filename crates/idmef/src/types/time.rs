//! CreateTime, DetectTime and AnalyzerTime. [RFC 4765 section 4.2.5](https://www.rfc-editor.org/rfc/rfc4765#section-4.2.5)

use super::{DateTime, NtpStamp};

/// A time of a message, told twice: as text and as an NTP timestamp.
///
/// The two always agree. Where a document says two different times the timestamp wins, as the RFC wants: the text is
/// then made from it, with the offset it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Time {
    ntpstamp: NtpStamp,
    datetime: DateTime,
}

/// A millisecond in units of 2^-32 seconds: how far apart text and timestamp may be and still agree. The RFC's own
/// examples are less than that apart.
const TOLERANCE: i128 = (1 << 32) / 1000;

impl Time {
    /// The time of a text. Outside 1968 to 2104, which timestamps span, the timestamp is all zero.
    pub fn new(datetime: DateTime) -> Self {
        Self { ntpstamp: NtpStamp::from_datetime(&datetime).unwrap_or_default(), datetime }
    }

    /// The time of a timestamp, in UTC; `None` when the timestamp is all zero.
    pub fn from_ntpstamp(ntpstamp: NtpStamp) -> Option<Self> {
        ntpstamp.to_datetime().map(|datetime| Self { ntpstamp, datetime })
    }

    /// The time of both; when they differ by more than a millisecond, and by more than the text's digits can tell,
    /// the timestamp wins unless it is all zero.
    pub fn from_parts(datetime: DateTime, ntpstamp: NtpStamp) -> Self {
        let by_text = Self::new(datetime);
        let Some(by_stamp) = Self::from_ntpstamp(ntpstamp) else {
            return by_text;
        };
        let agree = !by_text.ntpstamp.is_unavailable() && {
            let unit = (1i128 << 32) / 10i128.pow(datetime.fraction_digits().into());
            (by_text.ntpstamp.ticks() - ntpstamp.ticks()).abs() < unit.max(TOLERANCE)
        };
        let datetime = if agree { datetime } else { by_stamp.datetime.with_offset_of(&datetime) };
        Self { ntpstamp, datetime }
    }

    /// The text, with its offset and its digits.
    pub fn datetime(&self) -> &DateTime {
        &self.datetime
    }

    /// The timestamp; all zero outside the years it spans.
    pub fn ntpstamp(&self) -> NtpStamp {
        self.ntpstamp
    }

    /// Seconds since 1970-01-01T00:00:00Z and nanoseconds, by the timestamp where there is one.
    pub fn to_unix(&self) -> (i64, u32) {
        self.ntpstamp.to_datetime().unwrap_or(self.datetime).to_unix()
    }
}

impl From<DateTime> for Time {
    fn from(datetime: DateTime) -> Self {
        Self::new(datetime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str, stamp: &str) -> Time {
        Time::from_parts(text.parse().unwrap(), stamp.parse().unwrap())
    }

    #[test]
    fn a_timestamp_that_agrees_leaves_the_text_alone() {
        let both = time("2026-11-22T04:42:09.674184+00:00", "0xeeacf121.0xac975000");
        assert_eq!(both.datetime().to_string(), "2026-11-22T04:42:09.674184+00:00");
        let coarse = time("2000-03-09T14:07:58Z", "0xbc722ebe.0xf0000000");
        assert_eq!(coarse.datetime().to_string(), "2000-03-09T14:07:58Z");
        assert_eq!(coarse.to_unix(), (952_610_878, 937_500_000));
    }

    #[test]
    fn a_timestamp_that_differs_wins() {
        let won = time("1999-01-01T00:00:00-05:00", "0xbc722ebe.0x80000000");
        assert_eq!(won.datetime().to_string(), "2000-03-09T09:07:58.5-05:00");
        assert_eq!(
            time("1950-01-01T00:00:00Z", "0xbc722ebe.0x00000000").datetime().to_string(),
            "2000-03-09T14:07:58Z"
        );
        let again = Time::from_parts(*won.datetime(), won.ntpstamp());
        assert_eq!(again, won);
    }

    #[test]
    fn a_timestamp_of_zero_never_wins() {
        let text = time("2000-03-09T14:07:58Z", "0x00000000.0x00000000");
        assert_eq!(text.ntpstamp().to_string(), "0xbc722ebe.0x00000000");
        assert!(time("2500-01-01T00:00:00Z", "0x00000000.0x00000000").ntpstamp().is_unavailable());
        assert_eq!(time("2036-02-07T06:28:16Z", "0x00000000.0x00000000").to_unix().0, 2_085_978_496);
    }
}
