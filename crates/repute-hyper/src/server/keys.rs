//! Who may ask: keys and passwords, in header fields.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use http::header::{AUTHORIZATION, HeaderMap};
use repute_proto::server::{RateLimit, RateLimiter};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use watchfire_hyper::BasicCredentials;
use zeroize::Zeroizing;

/// Who may ask a server. Only digests of the secrets are kept.
///
/// A client sends `Authorization: Bearer KEY`, `X-Api-Key: KEY`, or `Authorization: Basic` with a user and a password.
#[derive(Clone, Default)]
pub struct Keys {
    by_digest: HashMap<[u8; 32], Arc<Holder>>,
}

/// Whose key it is.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) name: Arc<str>,
    /// Its own limiter, if it has one.
    pub(super) rate: Option<Mutex<RateLimiter<()>>>,
}

impl Holder {
    pub(super) fn new(name: &str, rate: Option<RateLimit>) -> Self {
        Self { name: name.into(), rate: rate.map(|rate| Mutex::new(RateLimiter::new(rate))) }
    }
}

/// A name, key, user or password that cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// It is empty, too long, or has characters that a header field cannot carry.
    #[error("a key has 1 to 512 printable ASCII characters and no spaces")]
    Key,
    /// A user with a colon or control characters, or a password with control characters.
    #[error("a user has no colon, and neither user nor password has control characters; both have at most 512 octets")]
    Credentials,
    /// The same secret again.
    #[error("the same key is there already")]
    Taken,
}

/// The longest secret that is looked at.
const LONGEST: usize = 512;

impl Keys {
    /// Nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets in whoever has this key. `name` is for logs and counters; `rate` is the holder's own, in place of the
    /// server's.
    ///
    /// # Errors
    /// When it cannot be a key, or is there already.
    pub fn add_key(&mut self, name: &str, key: &str, rate: Option<RateLimit>) -> Result<(), InvalidKey> {
        let is_good = (1..=LONGEST).contains(&key.len()) && key.bytes().all(|octet| octet.is_ascii_graphic());
        if !is_good {
            return Err(InvalidKey::Key);
        }
        self.add(digest(KEY, key.as_bytes()), name, rate)
    }

    /// Lets in a user with a password; the user's name is for logs and counters too.
    ///
    /// # Errors
    /// When they cannot be sent, or are there already.
    pub fn add_user(&mut self, user: &str, passwd: &str, rate: Option<RateLimit>) -> Result<(), InvalidKey> {
        let pair = Zeroizing::new(format!("{user}:{passwd}"));
        if user.contains(':') || pair.chars().any(char::is_control) || pair.len() > LONGEST {
            return Err(InvalidKey::Credentials);
        }
        self.add(digest(PAIR, pair.as_bytes()), user, rate)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_digest.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_digest.is_empty()
    }

    fn add(&mut self, digest: [u8; 32], name: &str, rate: Option<RateLimit>) -> Result<(), InvalidKey> {
        if self.by_digest.contains_key(&digest) {
            return Err(InvalidKey::Taken);
        }
        self.by_digest.insert(digest, Arc::new(Holder::new(name, rate)));
        Ok(())
    }

    /// Whose key a request has.
    pub(super) fn holder(&self, headers: &HeaderMap) -> Option<&Arc<Holder>> {
        let field =
            |name| headers.get(name).map(http::HeaderValue::as_bytes).filter(|value| value.len() <= 2 * LONGEST);
        let digest = match field(AUTHORIZATION) {
            Some(value) => presented(value)?,
            None => digest(KEY, field(http::HeaderName::from_static("x-api-key"))?),
        };
        // The table is searched by a digest, of which nobody can choose a prefix.
        let (found, holder) = self.by_digest.get_key_value(&digest)?;
        bool::from(found.ct_eq(&digest)).then_some(holder)
    }
}

/// The digest of what an Authorization field has.
fn presented(value: &[u8]) -> Option<[u8; 32]> {
    if let Some(credentials) = BasicCredentials::from_header(value) {
        return Some(digest(PAIR, credentials.pair()));
    }
    let (scheme, secret) = value.split_at_checked(value.iter().position(|octet| *octet == b' ')?)?;
    scheme.eq_ignore_ascii_case(b"bearer").then(|| digest(KEY, secret.trim_ascii()))
}

const KEY: u8 = 1;
const PAIR: u8 = 2;

/// Keys and pairs are kept apart: the one is not taken for the other.
fn digest(kind: u8, secret: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update([kind]).chain_update(secret).finalize().into()
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.by_digest.len())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn holder(keys: &Keys, field: &'static str, value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(field, HeaderValue::from_str(value).unwrap());
        keys.holder(&headers).map(|holder| holder.name.to_string())
    }

    #[test]
    fn keys_come_in_three_ways_and_are_not_mixed_up() {
        let mut keys = Keys::new();
        keys.add_key("filter", "s3cret", None).unwrap();
        keys.add_user("alice", "pass:word", None).unwrap();
        let name = Some("filter".to_owned());
        assert_eq!(holder(&keys, "authorization", "Bearer s3cret"), name);
        assert_eq!(holder(&keys, "authorization", "bearer   s3cret"), name);
        assert_eq!(holder(&keys, "x-api-key", "s3cret"), name);
        assert_eq!(holder(&keys, "authorization", "Basic YWxpY2U6cGFzczp3b3Jk"), Some("alice".to_owned()));
        let long = format!("Bearer {}", "x".repeat(3000));
        for (field, wrong) in [
            ("authorization", "Bearer s3cret2"),
            ("authorization", "Bearer alice:pass:word"),
            ("authorization", "Basic czNjcmV0"),
            ("authorization", "Basic !!"),
            ("authorization", "Digest s3cret"),
            ("authorization", "Bearer"),
            ("authorization", ""),
            ("authorization", &long),
            ("x-api-key", "S3cret"),
            ("x-key", "s3cret"),
        ] {
            assert_eq!(holder(&keys, field, wrong), None, "{field}: {wrong}");
        }
        assert!(keys.holder(&HeaderMap::new()).is_none());
    }

    #[test]
    fn what_cannot_be_sent_is_no_key_and_none_is_shown() {
        let mut keys = Keys::new();
        for bad in ["", "a b", "a\u{e9}", "a\n", &"x".repeat(513)] {
            assert_eq!(keys.add_key("x", bad, None), Err(InvalidKey::Key));
        }
        assert_eq!(keys.add_user("a:b", "c", None), Err(InvalidKey::Credentials));
        assert_eq!(keys.add_user("a", "c\n", None), Err(InvalidKey::Credentials));
        assert!(keys.is_empty());
        keys.add_key("x", "secret", None).unwrap();
        assert_eq!(keys.add_key("y", "secret", None), Err(InvalidKey::Taken));
        assert_eq!((keys.len(), format!("{keys:?}")), (1, "Keys(1)".to_owned()));
    }
}
