//! As much of HTTP as the client sees. The HTTP itself is the driver's.

use std::fmt;

use watchfire_core::Duration;

use crate::base64url;
use crate::time::parse_http_date;
use crate::url::{HttpUrl, Reach};
use watchfire_core::UnixTime;

/// Names an exchange of one machine; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub(crate) u64);

/// A request to make. The answer goes to `handle_response`, or `handle_failure`. Redirects are not to be followed, and no
/// cookies kept.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exchange {
    /// Names it.
    pub id: ExchangeId,
    /// `GET`, `HEAD` or `POST`.
    pub method: &'static str,
    /// Where to. [`HttpUrl::parse`] reads it.
    pub url: String,
    /// Header fields, names in lower case; `Host`, `User-Agent` and those of the connection are the driver's.
    pub headers: Vec<(&'static str, String)>,
    /// The content.
    pub body: Vec<u8>,
    /// Octets after which the content of the answer is too large: stop there and say [`ExchangeFailure::TooLarge`].
    pub max_body: usize,
    /// How long to wait for all of it; then say [`ExchangeFailure::TimedOut`].
    pub timeout: Duration,
    /// Which addresses to connect to.
    pub reach: Reach,
}

impl Exchange {
    /// The URL in its parts.
    pub fn parsed_url(&self) -> Option<HttpUrl> {
        HttpUrl::parse(&self.url)
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body has a nonce, and the signature of whoever may not deny it.
        f.debug_struct("Exchange")
            .field("id", &self.id)
            .field("method", &self.method)
            .field("url", &self.url)
            .field("body", &format_args!("{} octets", self.body.len()))
            .finish_non_exhaustive()
    }
}

/// A response, as the driver got it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// The status.
    pub status: u16,
    /// The header fields.
    pub headers: Vec<(String, String)>,
    /// The content, whole.
    pub body: Vec<u8>,
}

impl Received {
    /// A response. Names of header fields may be in any case.
    pub fn new<N: Into<String>, V: Into<String>>(
        status: u16,
        headers: impl IntoIterator<Item = (N, V)>,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        let headers = headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { status, headers, body: body.into() }
    }

    /// The values of the header fields of this name.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The value of a header field that is there once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let (_, value) = values.next()?;
        values.next().is_none().then_some(value.as_str())
    }

    /// The nonce, if there is one that can be one (RFC 8555 section 6.5.1).
    pub(super) fn nonce(&self) -> Option<&str> {
        self.header("replay-nonce").filter(|nonce| nonce.len() <= 512 && base64url::is_alphabet(nonce))
    }

    /// `Retry-After` in seconds (RFC 9110 section 10.2.3).
    pub fn retry_after(&self, now: UnixTime) -> Option<u64> {
        let value = self.header("retry-after")?.trim();
        if !value.is_empty() && value.bytes().all(|octet| octet.is_ascii_digit()) {
            return Some(value.parse().unwrap_or(u64::MAX));
        }
        let date = parse_http_date(value)?;
        Some(u64::try_from(date.as_secs().saturating_sub(now.as_secs())).unwrap_or(0))
    }

    /// `max-age` of `Cache-Control`, in seconds.
    pub fn max_age(&self) -> Option<u64> {
        let directives = self.values("cache-control").flat_map(|value| value.split(','));
        directives.map(str::trim).find_map(|directive| directive.strip_prefix("max-age=")?.parse().ok())
    }

    /// The targets of links of this relation (RFC 8288).
    pub fn links(&self, relation: &str) -> Vec<String> {
        self.values("link").flat_map(split_links).filter_map(|link| target_of(link, relation)).collect()
    }
}

/// The links of one header field: commas inside `<...>` and quotes do not part them.
fn split_links(value: &str) -> Vec<&str> {
    let (mut links, mut begin, mut in_target, mut in_quotes) = (Vec::new(), 0, false, false);
    for (at, octet) in value.bytes().enumerate() {
        match octet {
            b'<' if !in_quotes => in_target = true,
            b'>' if !in_quotes => in_target = false,
            b'"' if !in_target => in_quotes = !in_quotes,
            b',' if !in_target && !in_quotes => {
                links.extend(value.get(begin..at));
                begin = at.saturating_add(1);
            }
            _ => {}
        }
    }
    links.extend(value.get(begin..));
    links
}

fn target_of(link: &str, relation: &str) -> Option<String> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let mut parameters = parameters.split(';').filter_map(|parameter| parameter.trim().split_once('='));
    let (_, relations) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("rel"))?;
    let mut relations = relations.trim().trim_matches('"').split_ascii_whitespace();
    relations.any(|known| known.eq_ignore_ascii_case(relation)).then(|| target.to_owned())
}

/// Why there was no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeFailure {
    /// Nobody answered, or the connection broke.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("the server did not answer in time")]
    TimedOut,
    /// The content was larger than [`Exchange::max_body`].
    #[error("the answer is too large")]
    TooLarge,
    /// The name leads to an address that is not public ([`Exchange::reach`]).
    #[error("the host has no address that is public")]
    NotPublic,
}

impl ExchangeFailure {
    /// Whether trying again may help.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::TimedOut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_by_their_relation() {
        let headers = [
            ("Link", "<https://ca.example/a,b>;rel=\"index\", <https://ca.example/2>; title=\"a, b\"; REL=next"),
            ("link", "</3>;rel=\"alternate up\""),
            ("link", "nonsense"),
        ];
        let received = Received::new(200, headers, "");
        assert_eq!(received.links("next"), ["https://ca.example/2"]);
        assert_eq!(received.links("index"), ["https://ca.example/a,b"]);
        assert_eq!(received.links("up"), ["/3"]);
        assert!(received.links("down").is_empty());
    }

    #[test]
    fn numbers_of_header_fields_are_read() {
        let now = UnixTime::from_secs(1_570_060_700);
        let retry = |value: &str| Received::new(503, [("Retry-After", value)], "").retry_after(now);
        assert_eq!(retry("120"), Some(120));
        assert_eq!(retry("99999999999999999999"), Some(u64::MAX));
        assert_eq!(retry("Thu, 03 Oct 2019 00:00:00 GMT"), Some(100));
        assert_eq!(retry("Thu, 03 Oct 2002 00:00:00 GMT"), Some(0));
        assert_eq!((retry(""), retry("-1"), retry("soon")), (None, None, None));
        let age = Received::new(200, [("cache-control", "public, max-age=60")], "").max_age();
        assert_eq!(age, Some(60));
        for bad in ["", "A+A", "A A", &"A".repeat(513)] {
            assert_eq!(Received::new(200, [("replay-nonce", bad)], "").nonce(), None);
        }
        let twice = [("replay-nonce", "AA"), ("replay-nonce", "AB")];
        assert_eq!(Received::new(200, twice, "").nonce(), None);
    }
}
