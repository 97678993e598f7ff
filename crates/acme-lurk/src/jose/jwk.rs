//! Public keys as JSON, and their thumbprints. [RFC 7517](https://www.rfc-editor.org/rfc/rfc7517),
//! [RFC 7518 section 6](https://www.rfc-editor.org/rfc/rfc7518#section-6),
//! [RFC 7638](https://www.rfc-editor.org/rfc/rfc7638).

use serde::de::MapAccess;
use sha2::{Digest as _, Sha256};

use super::fields::{Fields, Strict, Text, fill};
use crate::base64url;
use crate::crypto::{Curve, KeyError, KeyParts, PublicKey};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::json;
use crate::limits::Limits;

/// A JWK as it stands, nothing understood.
#[derive(Default)]
pub(super) struct RawJwk<'a> {
    kty: Option<Text<'a>>,
    crv: Option<Text<'a>>,
    x: Option<Text<'a>>,
    y: Option<Text<'a>>,
    n: Option<Text<'a>>,
    e: Option<Text<'a>>,
    /// A member of a private key, or of a shared secret.
    private: bool,
}

impl<'de> Fields<'de> for RawJwk<'de> {
    fn member<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "kty" => fill(&mut self.kty, "kty", map),
            "crv" => fill(&mut self.crv, "crv", map),
            "x" => fill(&mut self.x, "x", map),
            "y" => fill(&mut self.y, "y", map),
            "n" => fill(&mut self.n, "n", map),
            "e" => fill(&mut self.e, "e", map),
            "d" | "p" | "q" | "k" => {
                self.private = true;
                Ok(false)
            }
            _ => Ok(false),
        }
    }
}

impl RawJwk<'_> {
    pub(super) fn key(&self, limits: &Limits) -> Result<PublicKey, KeyError> {
        if self.private {
            return Err(KeyError::Private);
        }
        let octets = |member: &Option<Text<'_>>, or: KeyError| {
            member.as_ref().and_then(|text| base64url::decode(text.as_str())).ok_or(or)
        };
        let curve = self.crv.as_ref().map(Text::as_str);
        match (self.kty.as_ref().map_or("", Text::as_str), curve) {
            ("EC", Some(name)) => {
                let curve = [Curve::P256, Curve::P384].into_iter().find(|curve| curve.jwk_name() == name);
                let curve = curve.ok_or_else(|| KeyError::Unknown(format!("EC {name}")))?;
                let (x, y) = (octets(&self.x, KeyError::Point)?, octets(&self.y, KeyError::Point)?);
                PublicKey::ec_coordinates(curve, &x, &y)
            }
            ("OKP", Some("Ed25519")) => PublicKey::ed25519(&octets(&self.x, KeyError::Point)?),
            ("RSA", _) => {
                let (n, e) = (octets(&self.n, KeyError::RsaNumbers)?, octets(&self.e, KeyError::RsaNumbers)?);
                PublicKey::rsa(&n, &e, limits.rsa_bits)
            }
            (kty, curve) => Err(KeyError::Unknown([kty, curve.unwrap_or("")].join(" ").trim_end().to_owned())),
        }
    }
}

impl PublicKey {
    /// Reads a JWK. Members beyond those of the key are ignored; those of a private key are refused.
    ///
    /// # Errors
    /// When it is no JSON of that kind; inside, when it is no key that is taken here.
    pub fn from_jwk(json: &[u8], limits: &Limits) -> Result<Result<Self, KeyError>, DecodeError> {
        let raw = json::decoder(limits).from_slice::<Strict<RawJwk<'_>>>(json);
        raw.map(|raw| raw.0.key(limits)).map_err(|error| DecodeErrorKind::Json(error).at("jwk"))
    }

    /// The JWK, with the members in the order and the form that the thumbprint is made of.
    pub fn to_jwk(&self) -> String {
        match self.parts() {
            KeyParts::Ec { curve, point } => {
                let (x, y) = point.get(1..).unwrap_or_default().split_at(curve.coordinate_len());
                let (x, y) = (base64url::encode(x), base64url::encode(y));
                format!(r#"{{"crv":"{}","kty":"EC","x":"{x}","y":"{y}"}}"#, curve.jwk_name())
            }
            KeyParts::Ed25519(key) => {
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, base64url::encode(key))
            }
            KeyParts::Rsa { n, e } => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, base64url::encode(e), base64url::encode(n))
            }
        }
    }

    /// The SHA-256 of the key in its canonical form.
    /// [RFC 7638 section 3](https://www.rfc-editor.org/rfc/rfc7638#section-3)
    pub fn thumbprint(&self) -> [u8; 32] {
        Sha256::digest(self.to_jwk()).into()
    }

    /// The thumbprint as base64url, as it stands in key authorizations.
    pub fn thumbprint_text(&self) -> String {
        base64url::encode(self.thumbprint())
    }
}
