//! What A tells B by the other way: where the chunk is, and in the sealed mode how to open it.
//! draft-hartke-xmpp-stupid-00 section 3.4; the JSON and the link are ours.

use std::fmt;

use jsonbcd::Object;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use watchfire_core::UnixTime;
use zeroize::Zeroizing;

use super::seal::{SealAlgorithm, SealKey};
use super::url::check_chunk;
use crate::base64url;
use crate::error::{DecodeError, DecodeErrorKind, Limit};
use crate::json::{self, Members};
use crate::limits::Limits;
use crate::time;

/// A notification: who has it can get the chunk, and if it is sealed, read it. It does not show itself.
///
/// ```
/// use acme_lurk::Limits;
/// use acme_lurk::rendezvous::Notification;
///
/// let json = br#"{"url":"http://example.org/stupid.php?chid=i781hf64-0","seq":0}"#;
/// let notification = Notification::decode(json, &Limits::DEFAULT)?;
/// assert_eq!(notification.url(), "http://example.org/stupid.php?chid=i781hf64-0");
/// assert!(notification.key().is_none());
/// # Ok::<(), acme_lurk::DecodeError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Notification {
    url: String,
    seq: u64,
    seal: Option<(SealAlgorithm, SealKey)>,
    digest: Option<[u8; 32]>,
    expires: Option<UnixTime>,
}

const PLACE: &str = "notification";

impl Notification {
    /// Where a chunk is that is not sealed.
    ///
    /// # Errors
    /// When it is no URL of http or https with the name of a chunk in it.
    pub fn new(url: impl Into<String>, seq: u64, limits: &Limits) -> Result<Self, DecodeError> {
        let url = url.into();
        checked(&url, limits)?;
        Ok(Self { url, seq, seal: None, digest: None, expires: None })
    }

    /// The same for a chunk that is sealed with this key, and is at the relay as `sealed`.
    pub(super) fn of(url: String, seq: u64, key: Option<SealKey>, at_relay: &[u8]) -> Self {
        let digest = Some(Sha256::digest(at_relay).into());
        Self { url, seq, seal: key.map(|key| (SealAlgorithm::A256Gcm, key)), digest, expires: None }
    }

    /// The same, which says until when the chunk is there at least.
    #[must_use]
    pub const fn with_expires(mut self, expires: UnixTime) -> Self {
        self.expires = Some(expires);
        self
    }

    /// The same with another number.
    #[must_use]
    pub const fn with_seq(mut self, seq: u64) -> Self {
        self.seq = seq;
        self
    }

    /// The URL of the chunk.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The number of the chunk in its session; the first is 0.
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// The key, if the chunk is sealed.
    pub const fn key(&self) -> Option<&SealKey> {
        match &self.seal {
            Some((_, key)) => Some(key),
            None => None,
        }
    }

    /// The SHA-256 of what is at the relay: of the sealed octets, if they are sealed.
    pub const fn digest(&self) -> Option<&[u8; 32]> {
        self.digest.as_ref()
    }

    /// Until when the chunk is there at least, as far as A knows.
    pub const fn expires(&self) -> Option<UnixTime> {
        self.expires
    }

    /// Whether these octets are those that A put there; true if the notification does not say.
    pub(super) fn is_of(&self, at_relay: &[u8]) -> bool {
        self.digest.is_none_or(|digest| digest.ct_eq(&<[u8; 32]>::from(Sha256::digest(at_relay))).into())
    }

    /// Reads a notification of JSON: `url`; `key`, `alg` and `sha256` if the chunk is sealed; `sha256`, `expires` and
    /// `seq` if A says them. Other members are passed over.
    ///
    /// # Errors
    /// When it is no such object, or half of what opens a chunk is missing.
    pub fn decode(json: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut members = Members::decode(json, PLACE, limits)?;
        let url = members.required_text("url")?;
        checked(&url, limits)?;
        let key = members.text("key")?.map(Zeroizing::new);
        let parts = Parts { key, alg: members.text("alg")?, sha256: members.text("sha256")? };
        let expires = members.time("expires")?;
        let seq = members.integer("seq")?.unwrap_or(0);
        Self::put_together(url, seq, expires, parts)
    }

    /// The same as JSON, in one line.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut object = Object::default();
        object.insert("url", self.url.as_str());
        if let Some((algorithm, _)) = &self.seal {
            object.insert("alg", algorithm.name());
        }
        if let Some(digest) = &self.digest {
            object.insert("sha256", base64url::encode(digest));
        }
        if let Some(expires) = self.expires {
            object.insert("expires", time::format_rfc3339(expires));
        }
        object.insert("seq", self.seq);
        let open = json::encode(&object);
        // The key is not copied around: it goes straight to where it is wiped.
        let mut line = Zeroizing::new(Vec::with_capacity(open.len().saturating_add(64)));
        line.extend_from_slice(open.strip_suffix(b"}").unwrap_or(&open));
        if let Some((_, key)) = &self.seal {
            line.extend_from_slice(b",\"key\":\"");
            line.extend_from_slice(key.to_base64url().as_bytes());
            line.push(b'"');
        }
        line.push(b'}');
        line
    }

    /// Reads a link: the URL of the chunk, with all else in its fragment, which is never sent.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn from_link(link: &str, limits: &Limits) -> Result<Self, DecodeError> {
        // With room for the fragment, which is no part of what is asked for.
        if link.len() > limits.url.saturating_add(256) {
            return Err(DecodeErrorKind::Limit(Limit::Url(limits.url)).at(format!("{PLACE}.url")));
        }
        let (url, fragment) = link.split_once('#').unwrap_or((link, ""));
        checked(url, limits)?;
        let mut parts = Parts::default();
        let (mut expires, mut seq) = (None, None);
        for pair in fragment.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let wrong = |expected| DecodeErrorKind::Expected(expected).at(format!("{PLACE}.{name}"));
            let is_new = match name {
                "key" => parts.key.replace(Zeroizing::new(value.to_owned())).is_none(),
                "alg" => parts.alg.replace(value.to_owned()).is_none(),
                "sha256" => parts.sha256.replace(value.to_owned()).is_none(),
                "expires" => {
                    let time = time::parse_rfc3339(value).ok_or_else(|| wrong("a time as in RFC 3339"))?;
                    expires.replace(time).is_none()
                }
                "seq" => {
                    let number = value.parse().map_err(|_| wrong("a whole number that is not negative"))?;
                    seq.replace(number).is_none()
                }
                _ => true,
            };
            if !is_new {
                return Err(wrong("there once"));
            }
        }
        Self::put_together(url.to_owned(), seq.unwrap_or(0), expires, parts)
    }

    /// The same as a link.
    pub fn to_link(&self) -> Zeroizing<String> {
        let mut link = Zeroizing::new(String::with_capacity(self.url.len().saturating_add(256)));
        link.push_str(&self.url);
        link.push_str("#seq=");
        link.push_str(&self.seq.to_string());
        if let Some(expires) = self.expires {
            link.push_str("&expires=");
            link.push_str(&time::format_rfc3339(expires));
        }
        if let Some(digest) = &self.digest {
            link.push_str("&sha256=");
            base64url::encode_to(digest, &mut link);
        }
        if let Some((algorithm, key)) = &self.seal {
            link.push_str("&alg=");
            link.push_str(algorithm.name());
            link.push_str("&key=");
            link.push_str(&key.to_base64url());
        }
        link
    }

    fn put_together(url: String, seq: u64, expires: Option<UnixTime>, parts: Parts) -> Result<Self, DecodeError> {
        let at = |name: &str| format!("{PLACE}.{name}");
        let digest = match parts.sha256 {
            Some(text) => {
                let octets = base64url::decode(&text).and_then(|octets| octets.try_into().ok());
                let wrong = DecodeErrorKind::Expected("base64url of 32 octets");
                Some(octets.ok_or_else(|| wrong.at(at("sha256")))?)
            }
            None => None,
        };
        let seal = match (parts.key, parts.alg) {
            (None, None) => None,
            (Some(key), Some(alg)) => {
                let alg = SealAlgorithm::from_name(&alg);
                let alg = alg.ok_or_else(|| DecodeErrorKind::Expected("\"A256GCM\"").at(at("alg")))?;
                let wrong = DecodeErrorKind::Expected("base64url of 32 octets");
                let key = SealKey::from_base64url(&key).ok_or_else(|| wrong.at(at("key")))?;
                if digest.is_none() {
                    return Err(DecodeErrorKind::Missing.at(at("sha256")));
                }
                Some((alg, key))
            }
            (Some(_), None) => return Err(DecodeErrorKind::Missing.at(at("alg"))),
            (None, Some(_)) => return Err(DecodeErrorKind::Missing.at(at("key"))),
        };
        Ok(Self { url, seq, seal, digest, expires })
    }
}

/// What may be in a notification as text.
#[derive(Default)]
struct Parts {
    key: Option<Zeroizing<String>>,
    alg: Option<String>,
    sha256: Option<String>,
}

fn checked(url: &str, limits: &Limits) -> Result<(), DecodeError> {
    use super::url::InvalidUrl;
    check_chunk(url, limits.url).map_err(|error| {
        let kind = match error {
            InvalidUrl::TooLong(most) => DecodeErrorKind::Limit(Limit::Url(most)),
            InvalidUrl::Form => DecodeErrorKind::Expected("an http or https URL with a host"),
            InvalidUrl::Chid(_) => DecodeErrorKind::Expected("a URL with the name of a chunk: ?chid="),
            InvalidUrl::Fragment => DecodeErrorKind::Forbidden("a fragment is never sent"),
            InvalidUrl::UserInfo => DecodeErrorKind::Forbidden("users and passwords in URLs"),
        };
        kind.at(format!("{PLACE}.url"))
    })
}

/// The URL is as good as the chunk, and the key opens it.
impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification")
            .field("seq", &self.seq)
            .field("sealed", &self.seal.is_some())
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://r.example/?chid=abc";

    fn sealed() -> Notification {
        let notification = Notification::of(URL.into(), 7, Some(SealKey::new([5; 32])), b"octets");
        notification.with_expires(UnixTime::from_secs(1_618_876_800))
    }

    #[test]
    fn json_and_links_say_the_same_and_are_read_as_they_are_written() {
        let limits = Limits::DEFAULT;
        for notification in [
            sealed(),
            Notification::of(URL.into(), 0, None, b"octets"),
            Notification::new(URL, u64::MAX, &limits).unwrap(),
        ] {
            assert_eq!(Notification::decode(&notification.encode(), &limits).as_ref(), Ok(&notification));
            assert_eq!(Notification::from_link(&notification.to_link(), &limits).as_ref(), Ok(&notification));
            assert!(!notification.url().contains("key"));
        }
        let text = String::from_utf8(sealed().encode().to_vec()).unwrap();
        assert!(text.starts_with(&format!("{{\"url\":\"{URL}\",\"alg\":\"A256GCM\",\"sha256\":\"")), "{text}");
        assert!(text.contains("\"expires\":\"2021-04-20T00:00:00Z\"") && text.contains("\"seq\":7"), "{text}");
        assert!(!text.contains('\n'));
        let more = format!("{{\"url\":\"{URL}\",\"x\":[1]}}");
        assert_eq!(Notification::decode(more.as_bytes(), &limits), Notification::new(URL, 0, &limits));
        assert_eq!(Notification::from_link(&format!("{URL}#x=y&z"), &limits), Notification::new(URL, 0, &limits));
    }

    #[test]
    fn half_a_key_is_no_key_and_mistakes_are_named() {
        let limits = Limits::DEFAULT;
        let (key, digest) = (base64url::encode([5; 32]), base64url::encode([6; 32]));
        let read = |more: &str| {
            let json = format!("{{\"url\":\"{URL}\"{more}}}");
            Notification::decode(json.as_bytes(), &limits).map_err(|error| error.to_string())
        };
        let good = format!(",\"key\":\"{key}\",\"alg\":\"A256GCM\",\"sha256\":\"{digest}\"");
        assert!(read(&good).unwrap().key().is_some());
        for (more, place) in [
            (good.replace("A256GCM", "A128GCM"), "alg"),
            (good.replace("A256GCM", "none"), "alg"),
            (good.replace(&key, "AAAA"), "key"),
            (good.replace(&digest, "AAAA"), "sha256"),
            (format!(",\"key\":\"{key}\",\"alg\":\"A256GCM\""), "sha256"),
            (format!(",\"key\":\"{key}\""), "alg"),
            (",\"alg\":\"A256GCM\"".into(), "key"),
            (",\"seq\":-1".into(), "seq"),
            (",\"expires\":\"soon\"".into(), "expires"),
            (",\"key\":5".into(), "key"),
        ] {
            let error = read(&more).unwrap_err();
            assert!(error.starts_with(&format!("notification.{place}: ")), "{more}: {error}");
            assert!(!error.contains(&key), "keys are not repeated: {error}");
        }
        assert!(read(&format!(",\"url\":\"{URL}\"")).is_err(), "twice");
        for url in ["http://r/", "ftp://r/?chid=a", "http://u@r/?chid=a", "http://r/?chid=a#key=b", "r?chid=a"] {
            assert!(Notification::new(url, 0, &limits).is_err(), "{url}");
        }
        for link in ["#key=AAAA", "#seq=x", "#expires=x", "#seq=1&seq=1", &format!("#key={key}")] {
            assert!(Notification::from_link(&format!("{URL}{link}"), &limits).is_err(), "{link}");
        }
    }

    #[test]
    fn size_is_limited() {
        let limits = Limits::default().with_url(64).with_body(200);
        let long = format!("{URL}{}", "x".repeat(64));
        assert!(Notification::new(long.as_str(), 0, &limits).is_err());
        assert!(Notification::from_link(&format!("{URL}#{}", "x".repeat(400)), &limits).is_err());
        let json = format!("{{\"url\":\"{URL}\",\"x\":\"{}\"}}", "x".repeat(200));
        assert!(Notification::decode(json.as_bytes(), &limits).is_err());
    }

    #[test]
    fn nothing_is_shown() {
        let shown = format!("{:?}", sealed());
        assert!(!shown.contains("abc") && !shown.contains(&*SealKey::new([5; 32]).to_base64url()), "{shown}");
        assert!(sealed().is_of(b"octets") && !sealed().is_of(b"0ctets"));
        assert!(Notification::new(URL, 0, &Limits::DEFAULT).unwrap().is_of(b"anything"));
    }
}
