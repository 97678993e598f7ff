//! CSR templates: what a certification request may, must and must not have.
//! [RFC 9115 section 4](https://www.rfc-editor.org/rfc/rfc9115#section-4) and
//! [appendix A](https://www.rfc-editor.org/rfc/rfc9115#appendix-A), whose CDDL decides.
//!
//! A text stands for itself: it must be in the request. `**` stands for any value, which must be there; `*` for any
//! value, which may be there. What the template does not name may not be in the request.

mod check;
mod decode;
mod encode;
mod lint;
mod plan;

pub use check::{Checker, Report, Violation, ViolationKind};
pub use lint::Lint;
pub use plan::{Answers, PlanError};

use std::fmt;

use crate::crypto::{Curve, KeyParts, PublicKey};
use crate::csr::{ExtendedKeyUsage, KeyUsage, SignatureAlgorithm, SubjectField};

/// A CSR template.
///
/// ```
/// use acme_lurk::Limits;
/// use acme_lurk::template::Template;
///
/// let json = br#"{"keyTypes": [{"PublicKeyType": "id-ecPublicKey", "namedCurve": "secp256r1",
///     "SignatureType": "ecdsa-with-SHA256"}], "extensions": {"subjectAltName": {"DNS": ["abc.ido.example"]}}}"#;
/// let template = Template::decode(json, &Limits::DEFAULT)?;
/// assert!(template.lint().is_empty());
/// assert_eq!(Template::decode(&template.encode(), &Limits::DEFAULT)?, template);
/// # Ok::<(), acme_lurk::DecodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub(crate) key_types: Vec<KeyType>,
    pub(crate) subject: Vec<(SubjectField, Pattern)>,
    pub(crate) dns: Vec<Pattern>,
    pub(crate) email: Vec<String>,
    pub(crate) uri: Vec<String>,
    pub(crate) key_usages: Option<Vec<KeyUsage>>,
    pub(crate) extended_key_usages: Option<Vec<ExtendedKeyUsage>>,
}

impl Template {
    /// The kinds of key that will do, any of them.
    pub fn key_types(&self) -> &[KeyType] {
        &self.key_types
    }

    /// The subject.
    pub fn subject(&self) -> &[(SubjectField, Pattern)] {
        &self.subject
    }

    /// The DNS names.
    pub fn dns(&self) -> &[Pattern] {
        &self.dns
    }

    /// The e-mail addresses.
    pub fn email(&self) -> &[String] {
        &self.email
    }

    /// The URIs.
    pub fn uri(&self) -> &[String] {
        &self.uri
    }

    /// The purposes of the key.
    pub fn key_usages(&self) -> Option<&[KeyUsage]> {
        self.key_usages.as_deref()
    }

    /// The extended purposes of the key.
    pub fn extended_key_usages(&self) -> Option<&[ExtendedKeyUsage]> {
        self.extended_key_usages.as_deref()
    }

    /// Whether it leaves open for which DNS names the certificate is. Then the IdO must decide otherwise.
    pub fn has_dns_wildcard(&self) -> bool {
        self.dns.iter().any(|pattern| !matches!(pattern, Pattern::Literal(_)))
    }
}

/// A value of a template.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the document defines these three")]
pub enum Pattern {
    /// This value must be there.
    Literal(String),
    /// `**`: a value must be there.
    Mandatory,
    /// `*`: a value may be there.
    Optional,
}

impl Pattern {
    /// The text in the template.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Literal(text) => text,
            Self::Mandatory => "**",
            Self::Optional => "*",
        }
    }
}

/// A kind of key, with the one way to sign that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyType {
    /// ECDSA on a curve, with the hash that suits it.
    Ec(Curve),
    /// RSA with a modulus of so many bits.
    Rsa {
        /// Bits of the modulus, exactly.
        bits: u32,
        /// How the request is signed: [`SignatureAlgorithm::RsaPkcs1`] or [`SignatureAlgorithm::RsaPss`].
        signature: SignatureAlgorithm,
    },
}

impl KeyType {
    /// How a request with such a key is signed.
    pub const fn signature(self) -> SignatureAlgorithm {
        match self {
            Self::Ec(Curve::P256) => SignatureAlgorithm::Ecdsa(256),
            Self::Ec(Curve::P384) => SignatureAlgorithm::Ecdsa(384),
            Self::Ec(Curve::P521) => SignatureAlgorithm::Ecdsa(512),
            Self::Rsa { signature, .. } => signature,
        }
    }

    /// Whether a key is of this kind.
    pub fn takes(self, key: &PublicKey) -> bool {
        match (self, key.parts()) {
            (Self::Ec(wanted), KeyParts::Ec { curve, .. }) => wanted == curve,
            (Self::Rsa { bits, .. }, KeyParts::Rsa { .. }) => key.rsa_bits() == usize::try_from(bits).ok(),
            _ => false,
        }
    }

    pub(crate) const fn curve_name(curve: Curve) -> &'static str {
        match curve {
            Curve::P256 => "secp256r1",
            Curve::P384 => "secp384r1",
            Curve::P521 => "secp521r1",
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ec(curve) => f.write_str(Self::curve_name(*curve)),
            Self::Rsa { bits, .. } => write!(f, "RSA {bits}"),
        }
    }
}
