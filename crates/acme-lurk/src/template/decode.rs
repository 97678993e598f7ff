//! From JSON to a template. Maps are closed and arrays have something in them, as the CDDL says; and what could never be
//! fulfilled is refused here instead of at the first request.

use jsonbcd::Value;

use super::{KeyType, Pattern, Template};
use crate::crypto::{Curve, MIN_RSA_BITS};
use crate::csr::{ExtendedKeyUsage, KeyUsage, SignatureAlgorithm, SubjectField};
use crate::error::{DecodeError, DecodeErrorKind, Limit};
use crate::json::Members;
use crate::limits::Limits;
use crate::names;

const CURVES: [Curve; 3] = [Curve::P256, Curve::P384, Curve::P521];
const RSA_SIGNATURES: [SignatureAlgorithm; 6] = [
    SignatureAlgorithm::RsaPkcs1(256),
    SignatureAlgorithm::RsaPkcs1(384),
    SignatureAlgorithm::RsaPkcs1(512),
    SignatureAlgorithm::RsaPss(256),
    SignatureAlgorithm::RsaPss(384),
    SignatureAlgorithm::RsaPss(512),
];

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// When it is not what appendix A describes, or asks for what no request can have: a curve with the hash of another,
    /// a country that is not two letters, an RSA key below 2048 bits, a name that is none, an object identifier that
    /// nobody can have.
    pub fn decode(json: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        Self::from_members(Members::decode(json, "csr-template", limits)?, limits)
    }

    /// Reads a template that stands in another document.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn from_value(value: Value, limits: &Limits) -> Result<Self, DecodeError> {
        Self::from_members(Members::of(value, "csr-template")?, limits)
    }

    fn from_members(mut members: Members, limits: &Limits) -> Result<Self, DecodeError> {
        let key_types = non_empty(&mut members, "keyTypes")?.ok_or_else(|| members.missing("keyTypes"))?;
        let key_types = (0..).zip(key_types).map(|(at, value): (usize, Value)| {
            key_type(Members::of(value, members.place(&format!("keyTypes[{at}]")))?)
        });
        let key_types = key_types.collect::<Result<_, _>>()?;
        let subject = members.members("subject")?.map(subject).transpose()?.unwrap_or_default();
        let mut extensions = members.members("extensions")?.ok_or_else(|| members.missing("extensions"))?;
        members.closed()?;

        let key_usages = each(&mut extensions, "keyUsage", "a purpose of a key", |name| {
            KeyUsage::ALL.into_iter().find(|usage| usage.name() == name)
        })?;
        let extended = "a purpose by name or as object identifier";
        let extended_key_usages = each(&mut extensions, "extendedKeyUsage", extended, ExtendedKeyUsage::from_name)?;
        let mut alt = extensions.members("subjectAltName")?.ok_or_else(|| extensions.missing("subjectAltName"))?;
        extensions.closed()?;

        let dns = each(&mut alt, "DNS", "a DNS name, \"**\" or \"*\"", |text| {
            let pattern = pattern(text)?;
            let is_name = !matches!(&pattern, Pattern::Literal(name) if names::normalize(name).is_none());
            is_name.then_some(pattern)
        })?;
        let email = each(&mut alt, "Email", "an e-mail address", |text| {
            let (local, domain) = literal(text)?.rsplit_once('@')?;
            let fits = !local.is_empty() && local.bytes().all(|octet| octet.is_ascii_graphic());
            (fits && names::normalize(domain).is_some()).then(|| text.to_owned())
        })?;
        let uri = each(&mut alt, "URI", "a URI with a scheme", |text| {
            let (scheme, rest) = literal(text)?.split_once(':')?;
            let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
                && scheme.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"+-.".contains(&octet));
            (is_scheme && !rest.is_empty() && rest.bytes().all(|octet| octet.is_ascii_graphic()))
                .then(|| text.to_owned())
        })?;
        let place = extensions_place(&alt);
        alt.closed()?;
        if dns.is_none() && email.is_none() && uri.is_none() {
            return Err(DecodeErrorKind::Expected("an object with a kind of name").at(place));
        }
        let template = Self {
            key_types,
            subject,
            dns: dns.unwrap_or_default(),
            email: email.unwrap_or_default(),
            uri: uri.unwrap_or_default(),
            key_usages,
            extended_key_usages,
        };
        let names = [template.dns.len(), template.email.len(), template.uri.len()].iter().sum::<usize>();
        if names > limits.identifiers {
            return Err(DecodeErrorKind::Limit(Limit::Identifiers(limits.identifiers)).at(place));
        }
        Ok(template)
    }
}

fn extensions_place(alt: &Members) -> String {
    alt.place("").trim_end_matches('.').to_owned()
}

/// An array that has something in it.
fn non_empty(members: &mut Members, name: &str) -> Result<Option<Vec<Value>>, DecodeError> {
    match members.array(name)? {
        Some(elements) if elements.is_empty() => {
            Err(members.error(name, DecodeErrorKind::Expected("an array with something in it")))
        }
        elements => Ok(elements),
    }
}

/// An array of texts that has something in it, each read.
fn each<T>(
    members: &mut Members,
    name: &str,
    expected: &'static str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<Vec<T>>, DecodeError> {
    let Some(elements) = non_empty(members, name)? else { return Ok(None) };
    let elements = (0..).zip(elements).map(|(at, value): (usize, Value)| {
        let place = || members.place(&format!("{name}[{at}]"));
        value.as_str().and_then(&read).ok_or_else(|| DecodeErrorKind::Expected(expected).at(place()))
    });
    elements.collect::<Result<_, _>>().map(Some)
}

fn pattern(text: &str) -> Option<Pattern> {
    match text {
        "" => None,
        "*" => Some(Pattern::Optional),
        "**" => Some(Pattern::Mandatory),
        literal => Some(Pattern::Literal(literal.to_owned())),
    }
}

fn literal(text: &str) -> Option<&str> {
    matches!(pattern(text)?, Pattern::Literal(_)).then_some(text)
}

fn key_type(mut members: Members) -> Result<KeyType, DecodeError> {
    let kind = members.required_text("PublicKeyType")?;
    let signature = members.required_text("SignatureType")?;
    let key_type = match kind.as_str() {
        "rsaEncryption" => {
            let bits = members.integer("PublicKeyLength")?.ok_or_else(|| members.missing("PublicKeyLength"))?;
            let fits = usize::try_from(bits).is_ok_and(|bits| (MIN_RSA_BITS..=16_384).contains(&bits));
            let bits = u32::try_from(bits)
                .ok()
                .filter(|_| fits)
                .ok_or_else(|| members.error("PublicKeyLength", DecodeErrorKind::Expected("2048 to 16384, in bits")))?;
            let signature = RSA_SIGNATURES.into_iter().find(|known| known.to_string() == signature);
            let expected = DecodeErrorKind::Expected("sha256WithRSAEncryption, sha256WithRSAandMGF1, or 384, or 512");
            let signature = signature.ok_or_else(|| members.error("SignatureType", expected))?;
            KeyType::Rsa { bits, signature }
        }
        "id-ecPublicKey" => {
            let curve = members.required_text("namedCurve")?;
            let curve = CURVES.into_iter().find(|known| KeyType::curve_name(*known) == curve);
            let expected = DecodeErrorKind::Expected("secp256r1, secp384r1 or secp521r1");
            let key_type = KeyType::Ec(curve.ok_or_else(|| members.error("namedCurve", expected))?);
            if key_type.signature().to_string() != signature {
                let expected = DecodeErrorKind::Expected("ECDSA with the hash that belongs to the curve");
                return Err(members.error("SignatureType", expected));
            }
            key_type
        }
        _ => {
            return Err(members.error("PublicKeyType", DecodeErrorKind::Expected("rsaEncryption or id-ecPublicKey")));
        }
    };
    members.closed()?;
    Ok(key_type)
}

fn subject(mut members: Members) -> Result<Vec<(SubjectField, Pattern)>, DecodeError> {
    let mut subject = Vec::new();
    for field in SubjectField::ALL {
        let Some(text) = members.text(field.name())? else { continue };
        let pattern = pattern(&text).filter(|pattern| match pattern {
            Pattern::Literal(text) => {
                let chars = text.chars().count();
                let is_country = chars == 2 && text.bytes().all(|octet| octet.is_ascii_alphabetic());
                (field != SubjectField::Country || is_country)
                    && chars <= field.max_chars()
                    && !text.chars().any(char::is_control)
            }
            Pattern::Mandatory | Pattern::Optional => true,
        });
        let expected = DecodeErrorKind::Expected("a value that fits, \"**\" or \"*\"");
        subject.push((field, pattern.ok_or_else(|| members.error(field.name(), expected))?));
    }
    if subject.is_empty() {
        let place = extensions_place(&members);
        members.closed()?;
        return Err(DecodeErrorKind::Expected("an object with a part of a name").at(place));
    }
    members.closed()?;
    Ok(subject)
}
