//! The extensions that templates speak of. [RFC 5280 section 4.2.1](https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1)
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;

use crate::der::{self, Der, DerError, oid};
use crate::error::{DecodeError, DecodeErrorKind, Limit};
use crate::limits::Limits;

/// The extensions that a request asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Extensions<'a> {
    pub(super) alt_names: Option<Vec<AltName<'a>>>,
    pub(super) key_usages: Option<Vec<KeyUsage>>,
    pub(super) extended_key_usages: Option<Vec<ExtendedKeyUsage>>,
    pub(super) others: Vec<String>,
}

impl<'a> Extensions<'a> {
    pub(super) fn decode(mut list: Der<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        const EXTENSION: &str = "extensions, each a sequence of type, whether it is critical, and octets";
        let at = |place: &'static str| move |DerError(what): DerError| DecodeErrorKind::Expected(what).at(place);
        let general = at("csr.extensions");
        let twice = |place| move |()| DecodeErrorKind::Expected("there once").at(place);
        let mut extensions = Self::default();
        while !list.is_empty() {
            let mut extension = list.sequence(EXTENSION).map_err(general)?;
            let kind = extension.expect(der::OID, EXTENSION).map_err(general)?;
            extension.default_false().map_err(general)?;
            let value = Der::new(extension.expect(der::OCTET_STRING, EXTENSION).map_err(general)?);
            extension.end(EXTENSION).map_err(general)?;
            match kind {
                oid::SUBJECT_ALT_NAME => {
                    let names = AltName::decode_all(value, limits)?;
                    once(&mut extensions.alt_names, names).map_err(twice("csr.subjectAltName"))?;
                }
                oid::KEY_USAGE => {
                    let usages = KeyUsage::decode_all(value).map_err(at("csr.keyUsage"))?;
                    once(&mut extensions.key_usages, usages).map_err(twice("csr.keyUsage"))?;
                }
                oid::EXTENDED_KEY_USAGE => {
                    let usages = ExtendedKeyUsage::decode_all(value, limits).map_err(at("csr.extendedKeyUsage"))?;
                    once(&mut extensions.extended_key_usages, usages).map_err(twice("csr.extendedKeyUsage"))?;
                }
                other => {
                    let other = oid::to_text(other).ok_or(DerError("extensions whose types are object identifiers"));
                    let other = other.map_err(general)?;
                    if extensions.others.contains(&other) {
                        return Err(DecodeErrorKind::Expected("no extension twice").at("csr.extensions"));
                    }
                    extensions.others.push(other);
                }
            }
        }
        Ok(extensions)
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), ()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(()),
    }
}

/// A name in subjectAltName.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AltName<'a> {
    /// A DNS name, as it stands.
    Dns(&'a str),
    /// An e-mail address.
    Email(&'a str),
    /// A URI.
    Uri(&'a str),
    /// A name of another kind, by its tag: 0 other names, 4 names of a directory, 7 IP addresses, ...
    Other(u8),
}

impl<'a> AltName<'a> {
    pub(crate) fn decode_all(mut value: Der<'a>, limits: &Limits) -> Result<Vec<Self>, DecodeError> {
        const NAMES: &str = "a sequence of one name or more";
        let at = |DerError(what): DerError| DecodeErrorKind::Expected(what).at("csr.subjectAltName");
        let mut list = value.sequence(NAMES).map_err(at)?;
        value.end(NAMES).map_err(at)?;
        let mut names = Vec::new();
        while !list.is_empty() || names.is_empty() {
            if names.len() >= limits.identifiers {
                return Err(DecodeErrorKind::Limit(Limit::Identifiers(limits.identifiers)).at("csr.subjectAltName"));
            }
            let name = list.element().map_err(at)?;
            let text = || {
                let text = std::str::from_utf8(name.content).ok();
                let text = text.filter(|text| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic()));
                text.ok_or_else(|| at(DerError("names of printable ASCII")))
            };
            names.push(match name.tag {
                0x81 => Self::Email(text()?),
                0x82 => Self::Dns(text()?),
                0x86 => Self::Uri(text()?),
                other => Self::Other(other & 0x1f),
            });
        }
        Ok(names)
    }
}

/// A purpose of a key. [RFC 5280 section 4.2.1.3](https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.3)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the specification's")]
#[non_exhaustive]
pub enum KeyUsage {
    DigitalSignature,
    NonRepudiation,
    KeyEncipherment,
    DataEncipherment,
    KeyAgreement,
    KeyCertSign,
    CRLSign,
    EncipherOnly,
    DecipherOnly,
}

impl KeyUsage {
    /// All of them, in the order of their bits.
    pub const ALL: [Self; 9] = [
        Self::DigitalSignature,
        Self::NonRepudiation,
        Self::KeyEncipherment,
        Self::DataEncipherment,
        Self::KeyAgreement,
        Self::KeyCertSign,
        Self::CRLSign,
        Self::EncipherOnly,
        Self::DecipherOnly,
    ];

    /// The name in templates.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DigitalSignature => "digitalSignature",
            Self::NonRepudiation => "nonRepudiation",
            Self::KeyEncipherment => "keyEncipherment",
            Self::DataEncipherment => "dataEncipherment",
            Self::KeyAgreement => "keyAgreement",
            Self::KeyCertSign => "keyCertSign",
            Self::CRLSign => "cRLSign",
            Self::EncipherOnly => "encipherOnly",
            Self::DecipherOnly => "decipherOnly",
        }
    }

    fn decode_all(mut value: Der<'_>) -> Result<Vec<Self>, DerError> {
        const BITS: &str = "a bit string of named bits";
        let (octets, unused) = value.bits(BITS)?;
        value.end(BITS)?;
        // Of a string of named bits DER writes none behind the last that is set.
        let last = octets.last().copied().ok_or(DerError("a bit string with a bit that is set"))?;
        if last.trailing_zeros() != u32::from(unused) || octets.len() > 2 {
            return Err(DerError(BITS));
        }
        let is_set = |bit: usize| octets.get(bit / 8).is_some_and(|octet| octet & (0x80_u8 >> (bit % 8)) != 0);
        let usages = (0..).zip(Self::ALL).filter(|(bit, _)| is_set(*bit)).map(|(_, usage)| usage).collect();
        // Bits behind the ninth are not assigned.
        if octets.get(1).is_some_and(|second| second & 0x7f != 0) {
            return Err(DerError(BITS));
        }
        Ok(usages)
    }

    /// The bit string of some purposes.
    pub(super) fn encode_all(usages: &[Self]) -> Vec<u8> {
        let mut octets = [0_u8; 2];
        for (bit, usage) in (0_usize..).zip(Self::ALL) {
            if let Some(octet) = octets.get_mut(bit / 8).filter(|_| usages.contains(&usage)) {
                *octet |= 0x80 >> (bit % 8);
            }
        }
        let octets = match octets {
            [first, 0] => vec![first],
            both => both.to_vec(),
        };
        let unused = octets.last().map_or(0, |last| last.trailing_zeros().min(7));
        der::bit_string(&octets, u8::try_from(unused).unwrap_or(0))
    }
}

impl fmt::Display for KeyUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An extended purpose of a key, by name or in dotted form.
/// [RFC 5280 section 4.2.1.12](https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.12)
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExtendedKeyUsage(String);

/// Purposes that have names, by the last number of 1.3.6.1.5.5.7.3.
const NAMED: [(&str, u8); 6] = [
    ("serverAuth", 1),
    ("clientAuth", 2),
    ("codeSigning", 3),
    ("emailProtection", 4),
    ("timeStamping", 8),
    ("OCSPSigning", 9),
];
const PREFIX: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3];

impl ExtendedKeyUsage {
    /// The purpose of this name of templates, or in dotted form. The dotted form of one that has a name is that name.
    pub fn from_name(name: &str) -> Option<Self> {
        if NAMED.iter().any(|(known, _)| *known == name) {
            return Some(Self(name.to_owned()));
        }
        Self::from_octets(&oid::from_text(name)?)
    }

    /// The name in templates, or the dotted form.
    pub fn name(&self) -> &str {
        &self.0
    }

    fn from_octets(octets: &[u8]) -> Option<Self> {
        if let Some([number]) = octets.strip_prefix(PREFIX)
            && let Some((name, _)) = NAMED.iter().find(|(_, known)| known == number)
        {
            return Some(Self((*name).to_owned()));
        }
        oid::to_text(octets).map(Self)
    }

    pub(super) fn to_octets(&self) -> Vec<u8> {
        match NAMED.iter().find(|(name, _)| *name == self.0) {
            Some((_, number)) => [PREFIX, &[*number]].concat(),
            None => oid::from_text(&self.0).unwrap_or_default(),
        }
    }

    fn decode_all(mut value: Der<'_>, limits: &Limits) -> Result<Vec<Self>, DerError> {
        const PURPOSES: &str = "a sequence of one object identifier or more";
        let mut list = value.sequence(PURPOSES)?;
        value.end(PURPOSES)?;
        let mut usages = Vec::new();
        while !list.is_empty() || usages.is_empty() {
            let usage = Self::from_octets(list.expect(der::OID, PURPOSES)?).ok_or(DerError(PURPOSES))?;
            if usages.contains(&usage) || usages.len() >= limits.identifiers {
                return Err(DerError("each purpose once"));
            }
            usages.push(usage);
        }
        Ok(usages)
    }
}

impl fmt::Display for ExtendedKeyUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
