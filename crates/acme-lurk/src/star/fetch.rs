//! How certificates are served and fetched: header fields, caching.
//! [RFC 8739 sections 3.3](https://www.rfc-editor.org/rfc/rfc8739#section-3.3),
//! [4.3](https://www.rfc-editor.org/rfc/rfc8739#section-4.3)

use sha2::{Digest as _, Sha256};
use watchfire_core::UnixTime;

use super::schedule::{Schedule, Slot};
use crate::base64url;
use crate::time::{format_http_date, parse_http_date};

/// `Cert-Not-Before` and `Cert-Not-After` of a response. They are hints: the certificate decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CertificateHeaders {
    /// `Cert-Not-Before`.
    pub not_before: Option<UnixTime>,
    /// `Cert-Not-After`.
    pub not_after: Option<UnixTime>,
}

impl CertificateHeaders {
    /// Those of a certificate.
    pub const fn of(not_before: UnixTime, not_after: UnixTime) -> Self {
        Self { not_before: Some(not_before), not_after: Some(not_after) }
    }

    /// Reads them from the header fields of a response. One that stands twice, or is no date, does not count.
    pub fn read<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut found = [None, None];
        for (name, value) in fields {
            for (slot, wanted) in found.iter_mut().zip(["cert-not-before", "cert-not-after"]) {
                if name.eq_ignore_ascii_case(wanted) {
                    let is_first = slot.is_none();
                    *slot = Some(if is_first { parse_http_date(value.trim()) } else { None });
                }
            }
        }
        let [not_before, not_after] = found.map(Option::flatten);
        Self { not_before, not_after }
    }

    /// The header fields to send.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, String)> {
        [("cert-not-before", self.not_before), ("cert-not-after", self.not_after)]
            .into_iter()
            .filter_map(|(name, time)| time.map(|time| (name, format_http_date(time))))
    }

    /// Whether they say what the certificate says, as far as they say anything. Where not, trust the certificate, and
    /// tell somebody.
    pub fn agree_with(&self, not_before: UnixTime, not_after: UnixTime) -> bool {
        self.not_before.is_none_or(|hint| hint == not_before) && self.not_after.is_none_or(|hint| hint == not_after)
    }
}

/// For how long a cache may keep the certificate of this slot, in seconds: until the next one is published, and never
/// beyond its own validity.
pub fn cache_max_age(schedule: &Schedule, slot: &Slot, now: UnixTime) -> u64 {
    let next = schedule.slot(slot.index.saturating_add(1)).map_or(slot.not_after, |next| next.publish);
    let until = next.min(slot.not_after).as_secs().saturating_sub(now.as_secs());
    u64::try_from(until).unwrap_or(0)
}

/// A strong `ETag` for a chain of certificates.
pub fn etag(chain: &[u8]) -> String {
    format!("\"{}\"", base64url::encode(Sha256::digest(chain)))
}

/// Whether an `If-None-Match` names this `ETag`, which makes the answer 304
/// ([RFC 9110 section 13.1.2](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2)).
pub fn is_not_modified(if_none_match: &str, etag: &str) -> bool {
    let tags = if_none_match.split(',').map(str::trim);
    let mut tags = tags.map(|tag| tag.strip_prefix("W/").unwrap_or(tag));
    if_none_match.trim() == "*" || tags.any(|tag| tag == etag)
}
