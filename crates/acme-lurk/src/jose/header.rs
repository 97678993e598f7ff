//! The protected header: which key signed, for which URL, with which nonce.
//! [RFC 8555 section 6.2](https://www.rfc-editor.org/rfc/rfc8555#section-6.2)

use std::fmt;

use serde::de::{IgnoredAny, MapAccess};
use zeroize::Zeroize as _;

use super::algorithm::{Algorithm, MacAlgorithm};
use super::fields::{Fields, Strict, Text, fill};
use super::jwk::RawJwk;
use super::jws::JwsError;
use super::plain;
use crate::base64url;
use crate::crypto::PublicKey;
use crate::error::{DecodeErrorKind, Limit};
use crate::json;
use crate::limits::Limits;

/// What a JWS is for, which decides what its header must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// A request: with nonce, and with either key or account.
    Request,
    /// The inner JWS of a key change: with the new key, without nonce
    /// ([section 7.3.5](https://www.rfc-editor.org/rfc/rfc8555#section-7.3.5)).
    KeyChange,
}

/// The protected header of a JWS.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    algorithm: Algorithm,
    key: Key,
    nonce: Option<String>,
    url: String,
}

#[derive(Clone, PartialEq, Eq)]
enum Key {
    Jwk(Box<PublicKey>),
    Kid(String),
}

/// How a header says whose key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyRef<'a> {
    /// This one.
    Jwk(&'a PublicKey),
    /// That of the account with this URL.
    Kid(&'a str),
}

impl Header {
    /// The algorithm.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whose key it is.
    pub fn key(&self) -> KeyRef<'_> {
        match &self.key {
            Key::Jwk(key) => KeyRef::Jwk(key),
            Key::Kid(url) => KeyRef::Kid(url),
        }
    }

    /// The nonce. Requests have one.
    pub fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    /// The URL that the request was made for, as the signer spelt it.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn decode(octets: &[u8], purpose: Purpose, limits: &Limits) -> Result<Self, JwsError> {
        let raw = Raw::decode(octets, limits)?;
        let name = raw.alg()?;
        let algorithm = Algorithm::from_name(name).ok_or_else(|| unsupported(name))?;
        let key = match (raw.jwk, raw.kid) {
            (Some(jwk), None) => Key::Jwk(Box::new(jwk.0.key(limits).map_err(JwsError::Key)?)),
            (None, Some(_)) if purpose == Purpose::KeyChange => {
                return Err(DecodeErrorKind::Forbidden("the new key stands in `jwk`").at("protected.kid").into());
            }
            (None, Some(kid)) => Key::Kid(checked_url(kid, "protected.kid", limits)?),
            (Some(_), Some(_)) => {
                return Err(DecodeErrorKind::Forbidden("only one of `jwk` and `kid`").at("protected.kid").into());
            }
            (None, None) => return Err(DecodeErrorKind::Missing.at("protected.jwk or kid").into()),
        };
        match (&raw.nonce, purpose) {
            (Some(nonce), Purpose::Request) if !base64url::is_alphabet(nonce.as_str()) => {
                return Err(DecodeErrorKind::Base64.at("protected.nonce").into());
            }
            (None, Purpose::Request) => return Err(DecodeErrorKind::Missing.at("protected.nonce").into()),
            (Some(_), Purpose::KeyChange) => {
                return Err(DecodeErrorKind::Forbidden("the outer JWS has it").at("protected.nonce").into());
            }
            _ => {}
        }
        let url = raw.url.ok_or_else(|| DecodeErrorKind::Missing.at("protected.url"))?;
        let url = checked_url(url, "protected.url", limits)?;
        Ok(Self { algorithm, key, nonce: raw.nonce.map(Text::into_string), url })
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A nonce that was not used yet is worth as much as a ticket: it stays out of logs.
        f.debug_struct("Header")
            .field("algorithm", &self.algorithm)
            .field("key", &self.key())
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Drop for Header {
    fn drop(&mut self) {
        self.nonce.zeroize();
    }
}

/// An algorithm by a name that is not known, of which some is shown.
pub(super) fn unsupported(name: &str) -> JwsError {
    JwsError::UnsupportedAlgorithm(name.chars().take(32).collect())
}

fn checked_url(url: Text<'_>, place: &'static str, limits: &Limits) -> Result<String, JwsError> {
    if url.as_str().len() > limits.url {
        return Err(DecodeErrorKind::Limit(Limit::Url(limits.url)).at(place).into());
    }
    if url.as_str().is_empty() {
        return Err(DecodeErrorKind::Expected("a URL").at(place).into());
    }
    Ok(url.into_string())
}

/// A header as it stands.
#[derive(Default)]
pub(super) struct Raw<'a> {
    pub(super) alg: Option<Text<'a>>,
    pub(super) kid: Option<Text<'a>>,
    jwk: Option<Strict<RawJwk<'a>>>,
    pub(super) nonce: Option<Text<'a>>,
    pub(super) url: Option<Text<'a>>,
    b64: Option<IgnoredAny>,
    crit: Option<IgnoredAny>,
}

impl<'de> Fields<'de> for Raw<'de> {
    fn member<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "alg" => fill(&mut self.alg, "alg", map),
            "kid" => fill(&mut self.kid, "kid", map),
            "jwk" => fill(&mut self.jwk, "jwk", map),
            "nonce" => fill(&mut self.nonce, "nonce", map),
            "url" => fill(&mut self.url, "url", map),
            "b64" => fill(&mut self.b64, "b64", map),
            "crit" => fill(&mut self.crit, "crit", map),
            _ => Ok(false),
        }
    }
}

impl<'a> Raw<'a> {
    pub(super) fn decode(octets: &'a [u8], limits: &Limits) -> Result<Self, JwsError> {
        if let Some(plain) = Self::plain(octets, limits) {
            return Ok(plain);
        }
        let raw = json::decoder(limits).from_slice::<Strict<Self>>(octets);
        let Strict(raw) = raw.map_err(|error| DecodeErrorKind::Json(error).at("protected"))?;
        if raw.b64.is_some() {
            return Err(DecodeErrorKind::Forbidden("payloads are base64url").at("protected.b64").into());
        }
        if raw.crit.is_some() {
            return Err(DecodeErrorKind::Forbidden("no extension is known here").at("protected.crit").into());
        }
        Ok(raw)
    }

    /// A header of texts alone: that of an account, not one with a key.
    fn plain(octets: &'a [u8], limits: &Limits) -> Option<Self> {
        let (mut alg, mut kid, mut nonce, mut url) = (None, None, None, None);
        plain::members(octets, limits, |name, value| match name {
            b"alg" => plain::take(&mut alg, value),
            b"kid" => plain::take(&mut kid, value),
            b"nonce" => plain::take(&mut nonce, value),
            b"url" => plain::take(&mut url, value),
            _ => false,
        })?;
        let text = |value: Option<&'a [u8]>| value.and_then(plain::text).map(Text::from);
        Some(Self { alg: text(alg), kid: text(kid), nonce: text(nonce), url: text(url), ..Self::default() })
    }

    pub(super) fn alg(&self) -> Result<&str, JwsError> {
        Ok(self.alg.as_ref().ok_or_else(|| DecodeErrorKind::Missing.at("protected.alg"))?.as_str())
    }

    /// The algorithm, if it is a MAC.
    pub(super) fn mac(&self) -> Option<MacAlgorithm> {
        MacAlgorithm::from_name(self.alg.as_ref()?.as_str())
    }

    pub(super) const fn has_jwk(&self) -> bool {
        self.jwk.is_some()
    }
}
