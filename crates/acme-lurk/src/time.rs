//! Times as messages write them: RFC 3339 in JSON, HTTP-date in header fields.

use watchfire_core::UnixTime;

const DAY: i64 = 86_400;
/// 0000-01-01T00:00:00Z, the first time that both forms can write.
const FIRST: i64 = -62_167_219_200;
/// 9999-12-31T23:59:59Z, the last one.
const LAST: i64 = 253_402_300_799;
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// A time as in [RFC 3339 section 5.6](https://www.rfc-editor.org/rfc/rfc3339#section-5.6). Fractions of a second are cut
/// off; a leap second is the second behind it.
pub fn parse_rfc3339(text: &str) -> Option<UnixTime> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't'])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 || digits > 9 {
                return None;
            }
            fraction.get(digits..)?
        }
        None => rest,
    };
    let offset = match rest.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let minutes = number(rest.get(1..3)?, 23)?.checked_mul(60)?.checked_add(number(rest.get(4..6)?, 59)?)?;
            let seconds = minutes.checked_mul(60)?;
            if *sign == b'-' { seconds.checked_neg()? } else { seconds }
        }
        _ => return None,
    };
    let [b'-', b'-'] = [*date.as_bytes().get(4)?, *date.as_bytes().get(7)?] else { return None };
    let days = days(number(date.get(..4)?, 9999)?, number(date.get(5..7)?, 12)?, number(date.get(8..)?, 31)?)?;
    let secs = seconds(days, clock, 60)?.checked_sub(offset)?;
    (FIRST..=LAST).contains(&secs).then_some(UnixTime::from_secs(secs))
}

/// The same in UTC: `2021-04-20T00:00:00Z`. What is outside the years 0 to 9999 becomes the nearest that is inside.
pub fn format_rfc3339(time: UnixTime) -> String {
    let (days, hour, minute, second) = split(time);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// An IMF-fixdate of [RFC 9110 section 5.6.7](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7), as RFC 8739 wants it
/// in `Cert-Not-Before`. A day of one digit is understood, because figure 6 of that document has one.
pub fn parse_http_date(text: &str) -> Option<UnixTime> {
    let (weekday, rest) = text.split_once(", ")?;
    let mut parts = rest.split(' ');
    let mut part = || parts.next();
    let (day, month, year, clock) = (part()?, part()?, part()?, part()?);
    if part()? != "GMT" || part().is_some() || year.len() != 4 || !matches!(day.len(), 1 | 2) || clock.len() != 8 {
        return None;
    }
    let month = MONTHS.iter().position(|name| *name == month)?.checked_add(1)?;
    let days = days(number(year, 9999)?, i64::try_from(month).ok()?, number(day, 31)?)?;
    (WEEKDAYS.get(usize::try_from(days.rem_euclid(7)).ok()?) == Some(&weekday))
        .then(|| seconds(days, clock, 60))
        .flatten()
        .filter(|secs| *secs <= LAST)
        .map(UnixTime::from_secs)
}

/// The same, always with two digits: `Thu, 03 Oct 2019 00:00:00 GMT`.
pub fn format_http_date(time: UnixTime) -> String {
    let (days, hour, minute, second) = split(time);
    let (year, month, day) = civil(days);
    let name =
        |names: &[&'static str], at: i64| usize::try_from(at).ok().and_then(|at| names.get(at)).map_or("", |n| *n);
    let weekday = name(&WEEKDAYS, days.rem_euclid(7));
    let month = name(&MONTHS, month.saturating_sub(1));
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// The seconds of a time of ASN.1, `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ` (RFC 5280 section 4.1.2.5).
pub(crate) fn parse_asn1(text: &str, digits_of_year: usize) -> Option<UnixTime> {
    let (year, rest) = text.split_at_checked(digits_of_year)?;
    let year = match number(year, 9999)? {
        year @ 0..=49 if digits_of_year == 2 => year.checked_add(2000)?,
        year if digits_of_year == 2 => year.checked_add(1900)?,
        year => year,
    };
    let rest = rest.strip_suffix('Z').filter(|rest| rest.len() == 10)?;
    let pair = |at: usize, most| number(rest.get(at..at.checked_add(2)?)?, most);
    let days = days(year, pair(0, 12)?, pair(2, 31)?)?;
    let (hour, minute, second) = (pair(4, 23)?, pair(6, 59)?, pair(8, 59)?);
    days.checked_mul(DAY)?.checked_add(hour * 3600 + minute * 60 + second).map(UnixTime::from_secs)
}

fn number(digits: &str, most: i64) -> Option<i64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten().filter(|number| *number <= most)
}

/// `hh:mm:ss` of that day.
fn seconds(days: i64, clock: &str, most: i64) -> Option<i64> {
    let [_, _, b':', _, _, b':', _, _] = clock.as_bytes() else { return None };
    let (hour, minute) = (number(clock.get(..2)?, 23)?, number(clock.get(3..5)?, 59)?);
    let second = number(clock.get(6..)?, most)?;
    days.checked_mul(DAY)?.checked_add(hour * 3600 + minute * 60 + second)
}

/// Days from 1970 of a date of the Gregorian calendar; none if there is no such day.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let len = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=len).contains(&day) {
        return None;
    }
    // Years that begin in March have their leap day at the end.
    let shifted = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    Some(era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468)
}

fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

fn split(time: UnixTime) -> (i64, i64, i64, i64) {
    let secs = time.as_secs().clamp(FIRST, LAST);
    let of_day = secs.rem_euclid(DAY);
    (secs.div_euclid(DAY), of_day / 3600, of_day / 60 % 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_is_read_strictly() {
        for (text, secs) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2021-04-20T00:00:00Z", 1_618_876_800),
            ("2021-04-20t02:00:00.999+02:00", 1_618_876_800),
            ("2021-04-19T23:30:00-00:30", 1_618_876_800),
            ("2000-02-29T12:00:00z", 951_825_600),
            ("1969-12-31T23:59:59Z", -1),
            ("9999-12-31T23:59:59Z", LAST),
            ("2016-12-31T23:59:60Z", 1_483_228_800),
        ] {
            assert_eq!(parse_rfc3339(text), Some(UnixTime::from_secs(secs)), "{text}");
        }
        for text in [
            "",
            "2021-04-20",
            "2021-04-20T00:00:00",
            "2021-04-20 00:00:00Z",
            "2021-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2021-13-01T00:00:00Z",
            "2021-00-01T00:00:00Z",
            "2021-04-31T00:00:00Z",
            "2021-04-20T24:00:00Z",
            "2021-04-20T00:60:00Z",
            "2021-04-20T00:00:61Z",
            "2021-04-20T00:00:00.Z",
            "2021-04-20T00:00:00+2:00",
            "2021-04-20T00:00:00+0200",
            "2021-04-20T00:00:00Z ",
            "+021-04-20T00:00:00Z",
            "2021/04/20T00:00:00Z",
            "2021-04-20T00:00:00é",
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:60Z",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn http_dates_are_those_of_the_rfc_and_of_figure_6() {
        let time = UnixTime::from_secs(1_570_060_800);
        assert_eq!(parse_http_date("Thu, 03 Oct 2019 00:00:00 GMT"), Some(time));
        assert_eq!(parse_http_date("Thu, 3 Oct 2019 00:00:00 GMT"), Some(time), "one digit, as in figure 6");
        assert_eq!(format_http_date(time), "Thu, 03 Oct 2019 00:00:00 GMT");
        for text in [
            "Fri, 03 Oct 2019 00:00:00 GMT",
            "Thu, 003 Oct 2019 00:00:00 GMT",
            "Thu, 03 Oct 19 00:00:00 GMT",
            "Thu, 03 oct 2019 00:00:00 GMT",
            "Thu, 03 Oct 2019 00:00:00 UTC",
            "Thu, 03 Oct 2019 00:00:00 GMT ",
            "Thursday, 03-Oct-19 00:00:00 GMT",
            "Thu, 03 Oct 2019 0:00:00 GMT",
        ] {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_is_written_and_read_again() {
        let step = 86_400 * 113 + 3_607;
        let mut secs = -62_167_219_200_i64;
        while secs <= LAST {
            let time = UnixTime::from_secs(secs);
            assert_eq!(parse_rfc3339(&format_rfc3339(time)), Some(time));
            assert_eq!(parse_http_date(&format_http_date(time)), Some(time));
            secs += step;
        }
        assert_eq!(format_rfc3339(UnixTime::from_secs(i64::MAX)), "9999-12-31T23:59:59Z");
        assert_eq!(format_rfc3339(UnixTime::from_secs(i64::MIN)), "0000-01-01T00:00:00Z");
        assert_eq!(parse_asn1("491231235959Z", 2), parse_rfc3339("2049-12-31T23:59:59Z"));
        assert_eq!(parse_asn1("500101000000Z", 2), parse_rfc3339("1950-01-01T00:00:00Z"));
        assert_eq!(parse_asn1("20500101000000Z", 4), parse_rfc3339("2050-01-01T00:00:00Z"));
        assert_eq!(parse_asn1("2050010100000Z", 4), None);
    }
}
