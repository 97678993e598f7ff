//! The key of a request and how it is signed. [RFC 3279](https://www.rfc-editor.org/rfc/rfc3279),
//! [RFC 5480](https://www.rfc-editor.org/rfc/rfc5480), [RFC 4055](https://www.rfc-editor.org/rfc/rfc4055),
//! [RFC 8410](https://www.rfc-editor.org/rfc/rfc8410)
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;

use crate::crypto::{Curve, KeyError, KeyParts, PublicKey, Scheme};
use crate::der::{self, Der, DerError, Element, oid};
use crate::limits::Limits;

const CURVES: [(Curve, &[u8]); 3] = [(Curve::P256, oid::P256), (Curve::P384, oid::P384), (Curve::P521, oid::P521)];
const HASHES: [(u16, &[u8]); 3] = [(256, oid::SHA256), (384, oid::SHA384), (512, oid::SHA512)];
const RSA_SIGNATURES: [(u16, &[u8]); 3] = [(256, oid::RSA_SHA256), (384, oid::RSA_SHA384), (512, oid::RSA_SHA512)];
const ECDSA_SIGNATURES: [(u16, &[u8]); 3] =
    [(256, oid::ECDSA_SHA256), (384, oid::ECDSA_SHA384), (512, oid::ECDSA_SHA512)];

/// How a request is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureAlgorithm {
    /// ECDSA with a hash of so many bits.
    Ecdsa(u16),
    /// Ed25519.
    Ed25519,
    /// RSASSA-PKCS1-v1_5 with a hash of so many bits.
    RsaPkcs1(u16),
    /// RSASSA-PSS with a hash of so many bits, for all purposes, and a salt as long as the hash.
    RsaPss(u16),
    /// Another.
    Other,
}

impl SignatureAlgorithm {
    pub(super) fn decode(parts: &mut Der<'_>) -> Result<Self, DerError> {
        const WHAT: &str = "an algorithm, a sequence of its type and its parameters";
        let mut algorithm = parts.sequence(WHAT)?;
        let kind = algorithm.expect(der::OID, WHAT)?;
        let find = |list: [(u16, &[u8]); 3]| list.into_iter().find(|(_, oid)| *oid == kind).map(|(bits, _)| bits);
        if let Some(bits) = find(RSA_SIGNATURES) {
            algorithm.expect(der::NULL, "parameters that are null, as RSA has them")?;
            algorithm.end(WHAT)?;
            return Ok(Self::RsaPkcs1(bits));
        }
        if let Some(bits) = find(ECDSA_SIGNATURES) {
            algorithm.end("no parameters behind ECDSA")?;
            return Ok(Self::Ecdsa(bits));
        }
        if kind == oid::ED25519 {
            algorithm.end("no parameters behind Ed25519")?;
            return Ok(Self::Ed25519);
        }
        if kind == oid::RSA_PSS {
            let parameters = algorithm.sequence("parameters of RSASSA-PSS")?;
            algorithm.end(WHAT)?;
            return Ok(pss(parameters)?.map_or(Self::Other, Self::RsaPss));
        }
        Ok(Self::Other)
    }

    /// What a library has to verify, if the key is of the kind that the algorithm takes.
    pub(super) fn scheme(self, key: &PublicKey) -> Option<Scheme> {
        match (self, key.parts()) {
            (Self::Ecdsa(bits), KeyParts::Ec { curve, .. }) if bits == hash_of(curve) => Some(Scheme::EcdsaDer(curve)),
            (Self::Ed25519, KeyParts::Ed25519(_)) => Some(Scheme::Ed25519),
            (Self::RsaPkcs1(bits), KeyParts::Rsa { .. }) => Some(Scheme::RsaPkcs1(bits)),
            (Self::RsaPss(bits), KeyParts::Rsa { .. }) => Some(Scheme::RsaPss(bits)),
            _ => None,
        }
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ecdsa(bits) => write!(f, "ecdsa-with-SHA{bits}"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::RsaPkcs1(bits) => write!(f, "sha{bits}WithRSAEncryption"),
            Self::RsaPss(bits) => write!(f, "sha{bits}WithRSAandMGF1"),
            Self::Other => f.write_str("an algorithm that is not known"),
        }
    }
}

/// Bits of the hash that suits a curve.
pub(crate) const fn hash_of(curve: Curve) -> u16 {
    match curve {
        Curve::P256 => 256,
        Curve::P384 => 384,
        Curve::P521 => 512,
    }
}

/// The bits of the one hash in all the places of these parameters, if the salt is as long.
fn pss(mut parameters: Der<'_>) -> Result<Option<u16>, DerError> {
    const WHAT: &str = "parameters of RSASSA-PSS";
    fn hash(algorithm: &mut Der<'_>) -> Result<Option<u16>, DerError> {
        let mut parts = algorithm.sequence(WHAT)?;
        let kind = parts.expect(der::OID, WHAT)?;
        parts.optional(der::NULL)?;
        parts.end(WHAT)?;
        Ok(HASHES.into_iter().find(|(_, oid)| *oid == kind).map(|(bits, _)| bits))
    }
    let Some(first) = parameters.optional(0xa0)? else { return Ok(None) };
    let mut first = Der::new(first);
    let own = hash(&mut first)?;
    first.end(WHAT)?;
    let Some(second) = parameters.optional(0xa1)? else { return Ok(None) };
    let mut second = Der::new(second);
    let mut mask = second.sequence(WHAT)?;
    second.end(WHAT)?;
    let is_mgf1 = mask.expect(der::OID, WHAT)? == oid::MGF1;
    let its = hash(&mut mask)?;
    mask.end(WHAT)?;
    let Some(third) = parameters.optional(0xa2)? else { return Ok(None) };
    let mut third = Der::new(third);
    let salt = third.unsigned(WHAT)?;
    third.end(WHAT)?;
    parameters.end("parameters of RSASSA-PSS, without the default trailer")?;
    let fits = |bits: &u16| is_mgf1 && its == Some(*bits) && matches!(salt, [len] if u16::from(*len) == bits / 8);
    Ok(own.filter(fits))
}

/// Reads a SubjectPublicKeyInfo. A key that is well-formed but not taken is the inner error.
pub(super) fn decode(spki: Element<'_>, limits: &Limits) -> Result<Result<PublicKey, KeyError>, DerError> {
    const WHAT: &str = "a key, a sequence of algorithm and bit string";
    if spki.tag != der::SEQUENCE {
        return Err(DerError(WHAT));
    }
    let mut parts = Der::new(spki.content);
    let mut algorithm = parts.sequence(WHAT)?;
    let kind = algorithm.expect(der::OID, WHAT)?;
    let bits = parts.octet_bits(WHAT)?;
    parts.end(WHAT)?;
    match kind {
        oid::RSA => {
            algorithm.expect(der::NULL, "parameters that are null, as RSA has them")?;
            algorithm.end(WHAT)?;
            let mut key = Der::new(bits);
            let mut numbers = key.sequence("an RSA key, a sequence of two numbers")?;
            key.end("an RSA key, a sequence of two numbers")?;
            let n = numbers.unsigned("a modulus")?;
            let e = numbers.unsigned("an exponent")?;
            numbers.end("an RSA key, a sequence of two numbers")?;
            Ok(PublicKey::rsa(n, e, limits.rsa_bits))
        }
        oid::EC => {
            let curve = algorithm.expect(der::OID, "a curve by its name")?;
            algorithm.end(WHAT)?;
            match CURVES.into_iter().find(|(_, oid)| *oid == curve) {
                Some((curve, _)) => Ok(PublicKey::ec(curve, bits)),
                None => Ok(Err(KeyError::Unknown(format!("curve {}", oid::to_text(curve).unwrap_or_default())))),
            }
        }
        oid::ED25519 => {
            algorithm.end("no parameters behind Ed25519")?;
            Ok(PublicKey::ed25519(bits))
        }
        other => Ok(Err(KeyError::Unknown(oid::to_text(other).unwrap_or_default()))),
    }
}

/// The SubjectPublicKeyInfo of a key.
pub(crate) fn spki(key: &PublicKey) -> Vec<u8> {
    let oid = |octets: &[u8]| der::tlv(der::OID, &[octets]);
    let (algorithm, bits) = match key.parts() {
        KeyParts::Ec { curve, point } => {
            let named = CURVES.into_iter().find(|(known, _)| *known == curve).map_or(oid::P256, |(_, oid)| oid);
            (der::sequence(&[&oid(oid::EC), &oid(named)]), point.to_vec())
        }
        KeyParts::Ed25519(key) => (der::sequence(&[&oid(oid::ED25519)]), key.to_vec()),
        KeyParts::Rsa { n, e } => {
            let numbers = der::sequence(&[&der::unsigned(n), &der::unsigned(e)]);
            (der::sequence(&[&oid(oid::RSA), &der::tlv(der::NULL, &[])]), numbers)
        }
    };
    der::sequence(&[&algorithm, &der::bit_string(&bits, 0)])
}

/// The AlgorithmIdentifier of a signature of this scheme; none for RSASSA-PSS, which no signer here makes.
pub(super) fn signature_algorithm(scheme: Scheme) -> Option<Vec<u8>> {
    let oid = |octets: &[u8]| der::tlv(der::OID, &[octets]);
    let find = |list: [(u16, &'static [u8]); 3], wanted: u16| list.into_iter().find(|(bits, _)| *bits == wanted);
    Some(match scheme {
        Scheme::EcdsaFixed(curve) | Scheme::EcdsaDer(curve) => {
            der::sequence(&[&oid(find(ECDSA_SIGNATURES, hash_of(curve))?.1)])
        }
        Scheme::Ed25519 => der::sequence(&[&oid(oid::ED25519)]),
        Scheme::RsaPkcs1(bits) => der::sequence(&[&oid(find(RSA_SIGNATURES, bits)?.1), &der::tlv(der::NULL, &[])]),
        Scheme::RsaPss(_) => return None,
    })
}
