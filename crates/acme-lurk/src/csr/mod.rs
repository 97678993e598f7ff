//! Certification requests, PKCS #10: read strictly, checked against the key that they carry, written from a plan.
//! [RFC 2986](https://www.rfc-editor.org/rfc/rfc2986),
//! [RFC 8555 section 7.4](https://www.rfc-editor.org/rfc/rfc8555#section-7.4)

mod build;
mod decode;
mod extensions;
mod key;

pub use build::{BuildError, CsrPlan};
pub use extensions::{AltName, ExtendedKeyUsage, KeyUsage};
pub use key::SignatureAlgorithm;
pub(crate) use key::spki;

use std::borrow::Cow;

use crate::crypto::{KeyError, PublicKey, Verifier, VerifyError};
use crate::der::oid;
use crate::error::{DecodeError, DecodeErrorKind, Limit};
use crate::limits::Limits;

/// A certification request, borrowed from its DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csr<'a> {
    info: &'a [u8],
    subject: Vec<NameAttribute<'a>>,
    multi_valued: bool,
    key: Result<PublicKey, KeyError>,
    spki: &'a [u8],
    other_attributes: Vec<String>,
    extensions: extensions::Extensions<'a>,
    signature_algorithm: SignatureAlgorithm,
    signature: &'a [u8],
}

/// One attribute of a subject name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NameAttribute<'a> {
    /// The type.
    pub field: Option<SubjectField>,
    /// The type in dotted form.
    pub oid: String,
    /// The value.
    pub value: Cow<'a, str>,
}

impl<'a> Csr<'a> {
    /// Reads DER, all of it. The signature is not verified.
    ///
    /// # Errors
    /// When it is too long, is not the one way to write it in DER, or is no certification request of version 1.
    pub fn decode(der: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        if der.len() > limits.csr {
            return Err(DecodeErrorKind::Limit(Limit::Csr(limits.csr)).at("csr"));
        }
        decode::decode(der, limits)
    }

    /// The attributes of the subject, in order.
    pub fn subject(&self) -> &[NameAttribute<'a>] {
        &self.subject
    }

    /// Whether a part of the subject has several attributes side by side, which nobody needs.
    pub const fn has_multi_valued_rdn(&self) -> bool {
        self.multi_valued
    }

    /// The key.
    ///
    /// # Errors
    /// When it is of a kind or a size that is not taken.
    pub const fn key(&self) -> Result<&PublicKey, &KeyError> {
        self.key.as_ref()
    }

    /// The key as it stands: its SubjectPublicKeyInfo.
    pub const fn spki(&self) -> &'a [u8] {
        self.spki
    }

    /// Attributes other than extensionRequest, in dotted form.
    pub fn other_attributes(&self) -> &[String] {
        &self.other_attributes
    }

    /// How it is signed.
    pub const fn signature_algorithm(&self) -> SignatureAlgorithm {
        self.signature_algorithm
    }

    /// The names that it wants to stand under; none if it does not have that extension.
    pub fn alt_names(&self) -> Option<&[AltName<'a>]> {
        self.extensions.alt_names.as_deref()
    }

    /// The purposes of the key; none if it does not have that extension.
    pub fn key_usages(&self) -> Option<&[KeyUsage]> {
        self.extensions.key_usages.as_deref()
    }

    /// The extended purposes of the key; none if it does not have that extension.
    pub fn extended_key_usages(&self) -> Option<&[ExtendedKeyUsage]> {
        self.extensions.extended_key_usages.as_deref()
    }

    /// Extensions of other kinds, in dotted form.
    pub fn other_extensions(&self) -> &[String] {
        &self.extensions.others
    }

    /// The DNS names that it asks for, as they stand: in subjectAltName, and in commonName if that is one. What ACME
    /// compares with the identifiers of the order.
    pub fn dns_names(&self) -> impl Iterator<Item = &str> {
        let alt = self.alt_names().unwrap_or_default().iter().filter_map(|name| match name {
            AltName::Dns(name) => Some(*name),
            _ => None,
        });
        alt.chain(self.common_names().filter(|name| crate::names::normalize(name).is_some()))
    }

    /// The values of commonName.
    pub fn common_names(&self) -> impl Iterator<Item = &str> {
        let common = self.subject.iter().filter(|attribute| attribute.field == Some(SubjectField::CommonName));
        common.map(|attribute| attribute.value.as_ref())
    }

    /// Checks that whoever made it has the private key.
    ///
    /// # Errors
    /// When the signature is wrong, or the kind of key or signature is not available here.
    pub fn verify(&self, verifier: &dyn Verifier) -> Result<(), VerifyError> {
        let key = self.key.as_ref().map_err(|_| VerifyError::Unsupported)?;
        let scheme = self.signature_algorithm.scheme(key).ok_or(VerifyError::KeyMismatch)?;
        verifier.verify(scheme, key, self.info, self.signature)
    }
}

/// The parts of a name that templates know. [RFC 9115 appendix A](https://www.rfc-editor.org/rfc/rfc9115#appendix-A)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SubjectField {
    /// Two letters.
    Country,
    /// A state or province.
    StateOrProvince,
    /// A place.
    Locality,
    /// An organization.
    Organization,
    /// A part of it.
    OrganizationalUnit,
    /// An e-mail address.
    EmailAddress,
    /// A name; of servers, usually one that stands in subjectAltName too.
    CommonName,
}

impl SubjectField {
    /// All of them, in the order in which names are written.
    pub const ALL: [Self; 7] = [
        Self::Country,
        Self::StateOrProvince,
        Self::Locality,
        Self::Organization,
        Self::OrganizationalUnit,
        Self::EmailAddress,
        Self::CommonName,
    ];

    /// The name in templates.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Country => "country",
            Self::StateOrProvince => "stateOrProvince",
            Self::Locality => "locality",
            Self::Organization => "organization",
            Self::OrganizationalUnit => "organizationalUnit",
            Self::EmailAddress => "emailAddress",
            Self::CommonName => "commonName",
        }
    }

    /// Characters at most (X.520, RFC 5280 appendix A).
    pub const fn max_chars(self) -> usize {
        match self {
            Self::Country => 2,
            Self::StateOrProvince | Self::Locality => 128,
            Self::Organization | Self::OrganizationalUnit | Self::CommonName => 64,
            Self::EmailAddress => 255,
        }
    }

    pub(crate) const fn oid(self) -> &'static [u8] {
        match self {
            Self::Country => oid::COUNTRY,
            Self::StateOrProvince => oid::STATE,
            Self::Locality => oid::LOCALITY,
            Self::Organization => oid::ORGANIZATION,
            Self::OrganizationalUnit => oid::ORGANIZATIONAL_UNIT,
            Self::EmailAddress => oid::EMAIL_ADDRESS,
            Self::CommonName => oid::COMMON_NAME,
        }
    }
}
