//! From DER to a request. [RFC 2986 section 4](https://www.rfc-editor.org/rfc/rfc2986#section-4)
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::borrow::Cow;

use super::extensions::Extensions;
use super::{Csr, NameAttribute, SignatureAlgorithm, SubjectField, key};
use crate::der::{self, Der, DerError, oid};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::limits::Limits;

const CSR: &str = "a certification request, a sequence of three, and nothing behind it";
const NAME: &str = "a subject, a sequence of sets of pairs of type and value";
const ATTRIBUTES: &str = "attributes, each with a set of values";

pub(super) fn decode<'a>(octets: &'a [u8], limits: &Limits) -> Result<Csr<'a>, DecodeError> {
    let at = |place: &'static str| move |DerError(what): DerError| DecodeErrorKind::Expected(what).at(place);
    let mut whole = Der::new(octets);
    let mut parts = whole.sequence(CSR).map_err(at("csr"))?;
    whole.end(CSR).map_err(at("csr"))?;
    let info = parts.element().map_err(at("csr"))?;
    let signature_algorithm = SignatureAlgorithm::decode(&mut parts).map_err(at("csr.signatureAlgorithm"))?;
    let signature = parts.octet_bits("a signature, a bit string of whole octets").map_err(at("csr.signature"))?;
    parts.end(CSR).map_err(at("csr"))?;

    if info.tag != der::SEQUENCE {
        return Err(at("csr")(DerError(CSR)));
    }
    let mut fields = Der::new(info.content);
    let version = fields.unsigned("a version, a number").map_err(at("csr.version"))?;
    if !version.is_empty() {
        return Err(DecodeErrorKind::Expected("0, which is version 1").at("csr.version"));
    }
    let (subject, multi_valued) = name(&mut fields).map_err(at("csr.subject"))?;
    let spki = fields.element().map_err(at("csr.subjectPKInfo"))?;
    let key = key::decode(spki, limits).map_err(at("csr.subjectPKInfo"))?;
    // The attributes must be there, if only as an empty set.
    let attributes = fields.expect(0xa0, ATTRIBUTES).map_err(at("csr.attributes"))?;
    fields.end("a request that ends behind its attributes").map_err(at("csr"))?;
    let (extensions, other_attributes) = attributes_of(attributes, limits)?;
    Ok(Csr {
        info: info.whole,
        subject,
        multi_valued,
        key,
        spki: spki.whole,
        other_attributes,
        extensions,
        signature_algorithm,
        signature,
    })
}

fn name<'a>(fields: &mut Der<'a>) -> Result<(Vec<NameAttribute<'a>>, bool), DerError> {
    let mut subject = Vec::new();
    let mut multi_valued = false;
    let mut rdns = fields.sequence(NAME)?;
    while !rdns.is_empty() {
        let mut attributes = Der::new(rdns.expect(der::SET, NAME)?);
        let mut count = 0_usize;
        while !attributes.is_empty() || count == 0 {
            let mut pair = attributes.sequence(NAME)?;
            let kind = pair.expect(der::OID, NAME)?;
            let value = text(pair.element()?)?;
            pair.end(NAME)?;
            let field = SubjectField::ALL.into_iter().find(|field| field.oid() == kind);
            let oid = oid::to_text(kind).ok_or(DerError("a type that is an object identifier"))?;
            subject.push(NameAttribute { field, oid, value });
            count = count.saturating_add(1);
        }
        multi_valued |= count > 1;
    }
    Ok((subject, multi_valued))
}

/// A string of a type that certificates of today have.
fn text(value: der::Element<'_>) -> Result<Cow<'_, str>, DerError> {
    const TYPES: DerError = DerError("a UTF8String, PrintableString or IA5String with characters of its type");
    let text = std::str::from_utf8(value.content).map_err(|_| TYPES)?;
    let is_printable = |octet: u8| octet.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&octet);
    let fits = match value.tag {
        der::UTF8_STRING => true,
        der::PRINTABLE_STRING => text.bytes().all(is_printable),
        der::IA5_STRING => text.is_ascii(),
        _ => false,
    };
    // Whoever shows a name should not be surprised by what is in it.
    if !fits || text.is_empty() || text.chars().any(char::is_control) {
        return Err(TYPES);
    }
    Ok(Cow::Borrowed(text))
}

fn attributes_of<'a>(octets: &'a [u8], limits: &Limits) -> Result<(Extensions<'a>, Vec<String>), DecodeError> {
    let at = |place: &'static str| move |DerError(what): DerError| DecodeErrorKind::Expected(what).at(place);
    let mut attributes = Der::new(octets);
    let mut extensions = None;
    let mut others = Vec::new();
    while !attributes.is_empty() {
        let mut attribute = attributes.sequence(ATTRIBUTES).map_err(at("csr.attributes"))?;
        let kind = attribute.expect(der::OID, ATTRIBUTES).map_err(at("csr.attributes"))?;
        let values = attribute.expect(der::SET, ATTRIBUTES).map_err(at("csr.attributes"))?;
        attribute.end(ATTRIBUTES).map_err(at("csr.attributes"))?;
        if kind == oid::EXTENSION_REQUEST && extensions.is_none() {
            let mut values = Der::new(values);
            let list = values.sequence("one sequence of extensions").map_err(at("csr.extensionRequest"))?;
            values.end("one sequence of extensions").map_err(at("csr.extensionRequest"))?;
            extensions = Some(Extensions::decode(list, limits)?);
        } else {
            let kind = oid::to_text(kind).ok_or(DerError("attributes whose types are object identifiers"));
            others.push(kind.map_err(at("csr.attributes"))?);
        }
    }
    Ok((extensions.unwrap_or_default(), others))
}
