//! A request made from a plan: what is to be in it, and a signer.

use super::extensions::{ExtendedKeyUsage, KeyUsage};
use super::key::{signature_algorithm, spki};
use super::{AltName, SubjectField};
use crate::crypto::{Scheme, SignError, Signer};
use crate::der::{self, oid};
use crate::names;

/// What a request shall have. [`Template::plan`](crate::template::Template::plan) makes one that fits the template.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CsrPlan {
    /// The subject, in this order.
    pub subject: Vec<(SubjectField, String)>,
    /// DNS names.
    pub dns: Vec<String>,
    /// E-mail addresses.
    pub email: Vec<String>,
    /// URIs.
    pub uri: Vec<String>,
    /// Purposes of the key; none for no such extension.
    pub key_usages: Option<Vec<KeyUsage>>,
    /// Extended purposes of the key; none for no such extension.
    pub extended_key_usages: Option<Vec<ExtendedKeyUsage>>,
}

impl CsrPlan {
    /// For these DNS names and nothing else.
    pub fn for_names<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Self {
        Self { dns: names.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Writes the request and signs it: DER.
    ///
    /// # Errors
    /// When a value does not fit where it is to stand, there is no name at all, or the signer fails.
    pub fn build(&self, signer: &dyn Signer) -> Result<Vec<u8>, BuildError> {
        let extensions = self.extensions()?;
        let mut rdns = Vec::new();
        for (field, value) in &self.subject {
            let pair = der::sequence(&[&der::tlv(der::OID, &[field.oid()]), &directory_string(*field, value)?]);
            rdns.extend(der::set(&[&pair]));
        }
        let request = der::sequence(&[&der::tlv(der::OID, &[oid::EXTENSION_REQUEST]), &der::set(&[&extensions])]);
        let info = der::sequence(&[
            &der::integer(0),
            &der::sequence(&[&rdns]),
            &spki(signer.public_key()),
            &der::context(0, true, &[&request]),
        ]);
        let algorithm = signature_algorithm(signer.scheme())
            .ok_or_else(|| SignError(format!("requests are not signed with {:?}", signer.scheme())))?;
        let mut signature = signer.sign(&info)?;
        if matches!(signer.scheme(), Scheme::EcdsaFixed(_)) {
            let (r, s) = signature.split_at(signature.len() / 2);
            signature = der::sequence(&[&der::unsigned(r), &der::unsigned(s)]);
        }
        Ok(der::sequence(&[&info, &algorithm, &der::bit_string(&signature, 0)]))
    }

    fn extensions(&self) -> Result<Vec<u8>, BuildError> {
        let mut names = Vec::new();
        for name in &self.dns {
            let name = names::normalize(name).ok_or_else(|| BuildError::Name(name.clone()))?;
            names.extend(der::context(2, false, &[name.as_bytes()]));
        }
        for (number, list) in [(1, &self.email), (6, &self.uri)] {
            for name in list {
                if name.is_empty() || !name.bytes().all(|octet| octet.is_ascii_graphic()) {
                    return Err(BuildError::Name(name.clone()));
                }
                names.extend(der::context(number, false, &[name.as_bytes()]));
            }
        }
        if names.is_empty() {
            return Err(BuildError::NoName);
        }
        let mut list = extension(oid::SUBJECT_ALT_NAME, false, &der::sequence(&[&names]));
        if let Some(usages) = self.key_usages.as_deref().filter(|usages| !usages.is_empty()) {
            list.extend(extension(oid::KEY_USAGE, true, &KeyUsage::encode_all(usages)));
        }
        if let Some(usages) = self.extended_key_usages.as_deref().filter(|usages| !usages.is_empty()) {
            let usages: Vec<u8> = usages.iter().flat_map(|usage| der::tlv(der::OID, &[&usage.to_octets()])).collect();
            list.extend(extension(oid::EXTENDED_KEY_USAGE, false, &der::sequence(&[&usages])));
        }
        Ok(der::sequence(&[&list]))
    }
}

fn extension(kind: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { der::tlv(der::BOOLEAN, &[&[0xff]]) } else { Vec::new() };
    der::sequence(&[&der::tlv(der::OID, &[kind]), &critical, &der::octet_string(value)])
}

fn directory_string(field: SubjectField, value: &str) -> Result<Vec<u8>, BuildError> {
    let chars = value.chars().count();
    let fits = (1..=field.max_chars()).contains(&chars) && !value.chars().any(char::is_control);
    let tag = match field {
        SubjectField::Country => der::PRINTABLE_STRING,
        SubjectField::EmailAddress => der::IA5_STRING,
        _ => der::UTF8_STRING,
    };
    let fits = match field {
        SubjectField::Country => fits && chars == 2 && value.bytes().all(|octet| octet.is_ascii_alphabetic()),
        SubjectField::EmailAddress => fits && value.is_ascii(),
        _ => fits,
    };
    if fits { Ok(der::tlv(tag, &[value.as_bytes()])) } else { Err(BuildError::Value(field, value.to_owned())) }
}

/// Why a request cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// This is no such name.
    #[error("{0:?} cannot stand in subjectAltName")]
    Name(String),
    /// There must be a name in subjectAltName.
    #[error("a request needs a name in subjectAltName")]
    NoName,
    /// The signer failed.
    #[error("{0}")]
    Sign(#[from] SignError),
    /// This is no such value.
    #[error("{1:?} cannot stand in {name} of the subject", name = .0.name())]
    Value(SubjectField, String),
}

impl AltName<'_> {
    /// How the kind of name is called in templates.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Dns(_) => "DNS",
            Self::Email(_) => "Email",
            Self::Uri(_) => "URI",
            Self::Other(_) => "another kind of name",
        }
    }
}
