//! As much of a certificate as ACME looks at, and chains of them in PEM.
//! [RFC 5280 section 4.1](https://www.rfc-editor.org/rfc/rfc5280#section-4.1),
//! [RFC 8555 section 9.1](https://www.rfc-editor.org/rfc/rfc8555#section-9.1)
//!
//! Whether a chain leads to a root that is trusted is for a library of TLS to say; this says whether a certificate is the
//! one that was asked for.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use watchfire_core::UnixTime;

use crate::crypto::PublicKey;
use crate::csr::{AltName, spki};
use crate::der::{self, Der, DerError, oid};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::limits::Limits;
use crate::names;
use crate::time::parse_asn1;

/// A certificate, borrowed from its DER. Its signature is not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate<'a> {
    serial: &'a [u8],
    not_before: UnixTime,
    not_after: UnixTime,
    spki: &'a [u8],
    alt_names: Option<Vec<AltName<'a>>>,
    authority_key_id: Option<&'a [u8]>,
    extensions: Vec<Extension<'a>>,
}

/// An extension as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extension<'a> {
    /// Its type in dotted form.
    pub oid: String,
    /// Whether whoever does not know it must refuse the certificate.
    pub critical: bool,
    /// Its value.
    pub value: &'a [u8],
}

const CERTIFICATE: &str = "a certificate of version 3, and nothing behind it";

impl<'a> Certificate<'a> {
    /// Reads DER, all of it.
    ///
    /// # Errors
    /// When it is no certificate of version 3 in strict DER.
    pub fn decode(octets: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        if octets.len() > limits.body {
            return Err(DecodeErrorKind::Limit(crate::error::Limit::Body(limits.body)).at("certificate"));
        }
        let at = |DerError(what): DerError| DecodeErrorKind::Expected(what).at("certificate");
        let mut whole = Der::new(octets);
        let mut parts = whole.sequence(CERTIFICATE).map_err(at)?;
        whole.end(CERTIFICATE).map_err(at)?;
        let mut fields = parts.sequence(CERTIFICATE).map_err(at)?;
        parts.sequence(CERTIFICATE).map_err(at)?;
        parts.octet_bits(CERTIFICATE).map_err(at)?;
        parts.end(CERTIFICATE).map_err(at)?;
        if fields.expect(0xa0, CERTIFICATE).map_err(at)? != [2, 1, 2] {
            return Err(at(DerError(CERTIFICATE)));
        }
        // As it stands: serials are compared, and shown to the CA, octet by octet.
        let serial = fields.expect(der::INTEGER, CERTIFICATE).map_err(at)?;
        fields.sequence(CERTIFICATE).map_err(at)?;
        fields.sequence(CERTIFICATE).map_err(at)?;
        let mut validity = fields.sequence(CERTIFICATE).map_err(at)?;
        let (not_before, not_after) = (time(&mut validity).map_err(at)?, time(&mut validity).map_err(at)?);
        validity.end(CERTIFICATE).map_err(at)?;
        fields.sequence(CERTIFICATE).map_err(at)?;
        let spki = fields.element().map_err(at)?.whole;
        for unique_id in [0x81, 0x82] {
            fields.optional(unique_id).map_err(at)?;
        }
        let mut certificate = Self {
            serial,
            not_before,
            not_after,
            spki,
            alt_names: None,
            authority_key_id: None,
            extensions: Vec::new(),
        };
        if let Some(list) = fields.optional(0xa3).map_err(at)? {
            let mut list = Der::new(list);
            let extensions = list.sequence(CERTIFICATE).map_err(at)?;
            list.end(CERTIFICATE).map_err(at)?;
            certificate.read_extensions(extensions, limits)?;
        }
        fields.end(CERTIFICATE).map_err(at)?;
        Ok(certificate)
    }

    fn read_extensions(&mut self, mut list: Der<'a>, limits: &Limits) -> Result<(), DecodeError> {
        let at = |DerError(what): DerError| DecodeErrorKind::Expected(what).at("certificate.extensions");
        while !list.is_empty() {
            let mut extension = list.sequence(CERTIFICATE).map_err(at)?;
            let kind = extension.expect(der::OID, CERTIFICATE).map_err(at)?;
            let critical = extension.default_false().map_err(at)?;
            let value = extension.expect(der::OCTET_STRING, CERTIFICATE).map_err(at)?;
            extension.end(CERTIFICATE).map_err(at)?;
            let oid = oid::to_text(kind).ok_or_else(|| at(DerError("object identifiers")))?;
            if self.extensions.iter().any(|known| known.oid == oid) {
                return Err(at(DerError("no extension twice")));
            }
            if kind == oid::SUBJECT_ALT_NAME {
                self.alt_names = Some(AltName::decode_all(Der::new(value), limits)?);
            }
            if kind == oid::AUTHORITY_KEY_ID {
                let mut value = Der::new(value);
                let mut parts = value.sequence("an identifier of a key").map_err(at)?;
                self.authority_key_id = parts.optional(0x80).map_err(at)?;
            }
            self.extensions.push(Extension { oid, critical, value });
        }
        Ok(())
    }

    /// The octets of the serial number, as they stand.
    pub const fn serial(&self) -> &'a [u8] {
        self.serial
    }

    /// The begin of its validity.
    pub const fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// The end of its validity.
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// Its key as it stands.
    pub const fn spki(&self) -> &'a [u8] {
        self.spki
    }

    /// The names that it is for; none if it does not have that extension.
    pub fn alt_names(&self) -> Option<&[AltName<'a>]> {
        self.alt_names.as_deref()
    }

    /// Which key has signed it.
    pub const fn authority_key_id(&self) -> Option<&'a [u8]> {
        self.authority_key_id
    }

    /// All extensions.
    pub fn extensions(&self) -> &[Extension<'a>] {
        &self.extensions
    }

    /// Whether it is for this key.
    pub fn is_for_key(&self, key: &PublicKey) -> bool {
        spki(key) == self.spki
    }

    /// Whether it is for exactly these DNS names, in any order, and for nothing else.
    pub fn is_for_names(&self, wanted: &[String]) -> bool {
        let sorted = |mut names: Vec<Option<String>>| {
            names.sort_unstable();
            names.dedup();
            names
        };
        let found = self.alt_names().unwrap_or_default().iter().map(|name| match name {
            AltName::Dns(name) => names::normalize(name),
            _ => None,
        });
        let wanted = sorted(wanted.iter().map(|name| names::normalize(name)).collect());
        !wanted.contains(&None) && sorted(found.collect()) == wanted
    }
}

fn time(validity: &mut Der<'_>) -> Result<UnixTime, DerError> {
    const TIME: DerError = DerError("a time of a certificate");
    let time = validity.element()?;
    let text = std::str::from_utf8(time.content).map_err(|_| TIME)?;
    match time.tag {
        der::UTC_TIME => parse_asn1(text, 2).ok_or(TIME),
        der::GENERALIZED_TIME => parse_asn1(text, 4).ok_or(TIME),
        _ => Err(TIME),
    }
}

/// The certificates of a chain in PEM (RFC 7468, strict but for the ends of lines), the own one first: DER.
///
/// # Errors
/// When there is none, or something else between them than white space. A private key in it is an error too.
pub fn decode_chain(pem: &[u8], limits: &Limits) -> Result<Vec<Vec<u8>>, DecodeError> {
    const PEM: DecodeErrorKind = DecodeErrorKind::Expected("certificates in PEM and nothing else");
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    if pem.len() > limits.body {
        return Err(DecodeErrorKind::Limit(crate::error::Limit::Body(limits.body)).at("chain"));
    }
    let mut rest = std::str::from_utf8(pem).map_err(|_| PEM.at("chain"))?.trim_start();
    let mut chain = Vec::new();
    while !rest.is_empty() {
        let (body, behind) =
            rest.strip_prefix(BEGIN).and_then(|text| text.split_once(END)).ok_or_else(|| PEM.at("chain"))?;
        let text: String = body.split_ascii_whitespace().collect();
        chain.push(STANDARD.decode(text).map_err(|_| PEM.at("chain"))?);
        rest = behind.trim_start();
    }
    if chain.is_empty() { Err(PEM.at("chain")) } else { Ok(chain) }
}

/// A chain in PEM.
pub fn encode_chain<'a>(chain: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut pem = String::new();
    for certificate in chain {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let mut text = STANDARD.encode(certificate);
        while !text.is_empty() {
            let rest = text.split_off(text.len().min(64));
            pem.extend([text.as_str(), "\n"]);
            text = rest;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem.into_bytes()
}
