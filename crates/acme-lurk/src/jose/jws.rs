//! Flattened JWS: read, verified, signed. [RFC 7515 section 7.2.2](https://www.rfc-editor.org/rfc/rfc7515#section-7.2.2)

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess};

use super::algorithm::Algorithm;
use super::fields::{Fields, Strict, fill};
use super::header::{Header, KeyRef, Purpose};
use super::plain;
use crate::base64url;
use crate::crypto::{KeyError, PublicKey, SignError, Signer, Verifier, VerifyError};
use crate::error::{DecodeError, DecodeErrorKind, Limit};
use crate::json;
use crate::limits::Limits;

/// A signed message, read but not verified. Its payload is given out when the signature is.
#[derive(Clone, PartialEq, Eq)]
pub struct Jws<'a> {
    header: Header,
    protected: &'a [u8],
    payload: &'a [u8],
    signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// Reads a body. No cryptography is done, and limits are looked at first.
    ///
    /// # Errors
    /// When it is no flattened JWS, has members or header fields that ACME forbids, an algorithm or a key that is not
    /// taken here, or a name twice in an object.
    pub fn decode(body: &'a [u8], purpose: Purpose, limits: &Limits) -> Result<Self, JwsError> {
        let raw = Flattened::decode(body, limits)?;
        let mut octets = Small::new();
        let header = Header::decode(raw.protected_octets(&mut octets)?, purpose, limits)?;
        let signature = raw.signature_octets()?;
        Ok(Self { header, protected: raw.protected, payload: raw.payload, signature })
    }

    /// What it says about itself. Nothing of that is true yet.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Whether its payload is the empty string, which makes a request a POST-as-GET
    /// ([RFC 8555 section 6.3](https://www.rfc-editor.org/rfc/rfc8555#section-6.3)).
    pub const fn is_post_as_get(&self) -> bool {
        self.payload.is_empty()
    }

    /// Checks the signature, and gives the payload.
    ///
    /// `key` is the one in the header if it has one ([`Header::key`]), otherwise that of the account.
    ///
    /// # Errors
    /// When the signature is wrong, when the key is not one for the algorithm, and when the payload is not base64url.
    pub fn verify(&self, verifier: &dyn Verifier, key: &PublicKey) -> Result<Vec<u8>, JwsError> {
        let scheme = self.header.algorithm().scheme();
        if !verifier.supports(scheme) {
            return Err(JwsError::UnsupportedAlgorithm(self.header.algorithm().name().into()));
        }
        let message = signing_input(self.protected, self.payload);
        verifier.verify(scheme, key, &message, &self.signature).map_err(JwsError::Signature)?;
        base64url::decode(self.payload).ok_or_else(|| DecodeErrorKind::Base64.at("payload").into())
    }

    /// Checks the signature with the key in the header, after looking whether that can be a key at all.
    ///
    /// # Errors
    /// As [`verify`](Self::verify); when the header has no key; when its key is none.
    pub fn verify_own(&self, verifier: &dyn Verifier) -> Result<(PublicKey, Vec<u8>), JwsError> {
        let KeyRef::Jwk(key) = self.header.key() else {
            return Err(DecodeErrorKind::Missing.at("protected.jwk").into());
        };
        verifier.check_key(key).map_err(JwsError::Key)?;
        let payload = self.verify(verifier, key)?;
        Ok((key.clone(), payload))
    }
}

impl fmt::Debug for Jws<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the header as it stands, which has the nonce, nor a payload that nobody has verified.
        f.debug_struct("Jws").field("header", &self.header).finish_non_exhaustive()
    }
}

/// A flattened JWS as it stands.
#[derive(Debug)]
pub(super) struct Flattened<'a> {
    pub(super) protected: &'a [u8],
    pub(super) payload: &'a [u8],
    signature: &'a [u8],
}

/// Where the octets of a header are: in place, as nearly all are short enough.
pub(super) struct Small {
    place: [u8; 512],
    longer: Vec<u8>,
}

impl Small {
    pub(super) const fn new() -> Self {
        Self { place: [0; 512], longer: Vec::new() }
    }
}

#[derive(Default)]
struct Raw<'a> {
    protected: Option<&'a str>,
    payload: Option<&'a str>,
    signature: Option<&'a str>,
    header: Option<IgnoredAny>,
    signatures: Option<IgnoredAny>,
}

impl<'de> Fields<'de> for Raw<'de> {
    fn member<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "protected" => fill(&mut self.protected, "protected", map),
            "payload" => fill(&mut self.payload, "payload", map),
            "signature" => fill(&mut self.signature, "signature", map),
            "header" => fill(&mut self.header, "header", map),
            "signatures" => fill(&mut self.signatures, "signatures", map),
            _ => Ok(false),
        }
    }
}

impl<'a> Flattened<'a> {
    pub(super) fn decode(body: &'a [u8], limits: &Limits) -> Result<Self, JwsError> {
        if body.len() > limits.body {
            return Err(DecodeErrorKind::Limit(Limit::Body(limits.body)).at("body").into());
        }
        if let Some(plain) = Self::plain(body, limits) {
            return Ok(plain);
        }
        let raw = json::decoder(limits).from_slice::<Strict<Raw<'_>>>(body);
        let Strict(raw) = raw.map_err(|error| DecodeErrorKind::Json(error).at("body"))?;
        if raw.header.is_some() {
            return Err(DecodeErrorKind::Forbidden("everything is signed here").at("header").into());
        }
        if raw.signatures.is_some() {
            return Err(DecodeErrorKind::Forbidden("one signature is enough").at("signatures").into());
        }
        let missing = |name| move || DecodeErrorKind::Missing.at(name);
        Ok(Self {
            protected: raw.protected.ok_or_else(missing("protected"))?.as_bytes(),
            payload: raw.payload.ok_or_else(missing("payload"))?.as_bytes(),
            signature: raw.signature.ok_or_else(missing("signature"))?.as_bytes(),
        })
    }

    /// The three members and no others, all of them plain.
    fn plain(body: &'a [u8], limits: &Limits) -> Option<Self> {
        let (mut protected, mut payload, mut signature) = (None, None, None);
        plain::members(body, limits, |name, value| match name {
            b"protected" => plain::take(&mut protected, value),
            b"payload" => plain::take(&mut payload, value),
            b"signature" => plain::take(&mut signature, value),
            _ => false,
        })?;
        Some(Self { protected: protected?, payload: payload?, signature: signature? })
    }

    pub(super) fn protected_octets<'o>(&self, octets: &'o mut Small) -> Result<&'o [u8], JwsError> {
        let wrong = || JwsError::from(DecodeErrorKind::Base64.at("protected"));
        if self.protected.len() / 4 * 3 + 3 <= octets.place.len() {
            let read = base64url::decode_to(self.protected, &mut octets.place).ok_or_else(wrong)?;
            return Ok(read);
        }
        octets.longer = base64url::decode(self.protected).ok_or_else(wrong)?;
        Ok(&octets.longer)
    }

    pub(super) fn signature_octets(&self) -> Result<Vec<u8>, JwsError> {
        base64url::decode(self.signature).ok_or_else(|| DecodeErrorKind::Base64.at("signature").into())
    }
}

pub(super) fn signing_input(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    [protected, payload].join(&b'.')
}

/// Signs a payload for a URL, as the body of a request. Without payload it is a POST-as-GET; without nonce it is the
/// inner JWS of a key change.
///
/// # Errors
/// When the signer fails, or signs in a way that requests may not be signed in.
pub fn sign(
    signer: &dyn Signer,
    key: KeyRef<'_>,
    nonce: Option<&str>,
    url: &str,
    payload: &[u8],
) -> Result<Vec<u8>, SignError> {
    let algorithm = Algorithm::of_scheme(signer.scheme())
        .ok_or_else(|| SignError(format!("requests are not signed with {:?}", signer.scheme())))?;
    let mut header = format!(r#"{{"alg":"{algorithm}","#);
    match key {
        KeyRef::Jwk(key) => header.extend([r#""jwk":"#, &key.to_jwk()]),
        KeyRef::Kid(kid) => header.extend([r#""kid":"#, &quoted(kid)]),
    }
    if let Some(nonce) = nonce {
        header.extend([r#","nonce":"#, &quoted(nonce)]);
    }
    header.extend([r#","url":"#, &quoted(url), "}"]);
    let protected = base64url::encode(header);
    let payload = base64url::encode(payload);
    let message = signing_input(protected.as_bytes(), payload.as_bytes());
    let signature = base64url::encode(signer.sign(&message)?);
    Ok(flattened(&protected, &payload, &signature))
}

pub(super) fn flattened(protected: &str, payload: &str, signature: &str) -> Vec<u8> {
    format!(r#"{{"protected":"{protected}","payload":"{payload}","signature":"{signature}"}}"#).into_bytes()
}

/// A string of JSON.
pub(super) fn quoted(text: &str) -> Cow<'_, str> {
    Cow::Owned(jsonbcd::text::to_string(text).expect("every string can be written"))
}

/// Why a JWS is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwsError {
    /// It is not what ACME wants a JWS to be.
    #[error("{0}")]
    Malformed(#[from] DecodeError),
    /// The algorithm is not one of [`Algorithm::ALL`], or not available.
    #[error("the algorithm {0:?} is not taken; ES256, ES384, EdDSA and RS256 are")]
    UnsupportedAlgorithm(String),
    /// The key is none.
    #[error("{0}")]
    Key(KeyError),
    /// The signature is wrong.
    #[error("{0}")]
    Signature(VerifyError),
}
