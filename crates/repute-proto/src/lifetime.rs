//! How long a response is good for. [RFC 9111 section 4.2](https://www.rfc-editor.org/rfc/rfc9111#section-4.2),
//! [RFC 7072 section 3.2](https://www.rfc-editor.org/rfc/rfc7072#section-3.2)

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, RETRY_AFTER};
use watchfire_core::UnixTime;

/// What holds where a response does not say, and what holds whatever it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LifetimePolicy {
    /// Without a word about freshness: one day for templates.
    pub default: Duration,
    /// However long it says: thirty days.
    pub most: Duration,
}

impl LifetimePolicy {
    /// One day, and at most thirty.
    pub const TEMPLATE: Self = Self { default: Duration::from_secs(86_400), most: Duration::from_secs(30 * 86_400) };

    /// These bounds.
    pub const fn new(default: Duration, most: Duration) -> Self {
        Self { default, most }
    }
}

/// How long a response is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lifetime {
    /// When it stops being fresh.
    pub expires_at: UnixTime,
    /// From when it was received until then.
    pub fresh_for: Duration,
    /// Whether it may be kept at all; when not, it is good for what asked for it alone.
    pub may_store: bool,
    /// Whether the response itself said so.
    pub is_explicit: bool,
}

/// The lifetime of a response by its header fields, the moment it was received, and the policy.
///
/// In the order of RFC 9111: `max-age`, then `Expires` less `Date`, both less `Age`. An `Expires` that is no date is
/// in the past. `s-maxage` is for shared caches, which this is not.
pub fn lifetime(headers: &HeaderMap, received_at: UnixTime, policy: LifetimePolicy) -> Lifetime {
    let control = |name: &str| {
        let values = headers.get_all(CACHE_CONTROL).into_iter().filter_map(|value| value.to_str().ok());
        { values }.flat_map(|value| value.split(',')).find_map(|directive| {
            let (found, value) = directive.split_once('=').unwrap_or((directive, ""));
            found.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').to_owned())
        })
    };
    let field = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let may_store = control("no-store").is_none();
    let must_revalidate = !may_store || control("no-cache").is_some();
    let age = field(AGE).map_or(0, seconds);
    let received = received_at.as_secs();
    let explicit = if must_revalidate {
        Some(0)
    } else if let Some(max_age) = control("max-age") {
        Some(seconds(&max_age).saturating_sub(age))
    } else if headers.contains_key(EXPIRES) {
        let base = field(DATE).and_then(date).unwrap_or(received);
        let fresh = field(EXPIRES).and_then(date).map_or(0, |expires| expires.saturating_sub(base));
        Some(u64::try_from(fresh).unwrap_or(0).saturating_sub(age))
    } else {
        None
    };
    let fresh_for = explicit.map_or(policy.default, Duration::from_secs).min(policy.most);
    let secs = i64::try_from(fresh_for.as_secs()).unwrap_or(i64::MAX);
    Lifetime {
        expires_at: UnixTime::from_secs(received.saturating_add(secs)),
        fresh_for,
        may_store,
        is_explicit: explicit.is_some(),
    }
}

/// When to ask again, by Retry-After: seconds or a date. [RFC 9110 section 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)
pub(crate) fn retry_after(headers: &HeaderMap, received_at: UnixTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let is_number = !value.is_empty() && value.bytes().all(|octet| octet.is_ascii_digit());
    let secs = if is_number {
        seconds(value)
    } else {
        u64::try_from(date(value)?.saturating_sub(received_at.as_secs())).unwrap_or(0)
    };
    Some(Duration::from_secs(secs))
}

/// Delta seconds: what is too large is as large as can be, what is none is 0, which is the careful reading.
fn seconds(text: &str) -> u64 {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|octet| octet.is_ascii_digit()) {
        return 0;
    }
    text.parse().unwrap_or(u64::MAX)
}

/// A date of HTTP, in any of its three forms, in seconds since 1970.
fn date(text: &str) -> Option<i64> {
    let since = httpdate::parse_http_date(text.trim()).ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

/// A date as HTTP writes it; dates before 1970 and after 9999 become the nearest that it can write.
pub(crate) fn http_date(time: UnixTime) -> httpdate::HttpDate {
    // The last second of the year 9999.
    let secs = u64::try_from(time.as_secs()).unwrap_or(0).min(253_402_300_799);
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(secs)).unwrap_or(SystemTime::UNIX_EPOCH);
    time.into()
}
