//! Certificates that are named instead of shown: the CertID of OCSP (RFC 6960 section 4.1.1), answered from revocation
//! lists.

use ring::digest;
use rustls_pki_types::UnixTime as PkiTime;

use super::crl::Crl;
use crate::der;

/// A CertID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CertId<'a> {
    algorithm: Hash,
    issuer_name_hash: &'a [u8],
    issuer_key_hash: &'a [u8],
    serial: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn of(self, octets: &[u8]) -> digest::Digest {
        // SHA-1 names a certificate here, it does not vouch for it: every OCSP client writes it.
        let algorithm = match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, octets)
    }
}

/// Somebody who issues: name and key, both in DER with their outer tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Issuer {
    pub(super) name: Vec<u8>,
    pub(super) key: Vec<u8>,
}

impl<'a> CertId<'a> {
    pub(super) fn read(octets: &'a [u8]) -> Option<Self> {
        let (inside, rest) = der::expect(der::SEQUENCE, octets)?;
        let (algorithm, inside) = der::expect(der::SEQUENCE, inside)?;
        let (oid, _) = der::expect(der::OID, algorithm)?;
        let algorithm = match oid {
            [0x2b, 0x0e, 0x03, 0x02, 0x1a] => Hash::Sha1,
            [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01] => Hash::Sha256,
            [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02] => Hash::Sha384,
            [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03] => Hash::Sha512,
            _ => return None,
        };
        let (issuer_name_hash, inside) = der::expect(der::OCTETS, inside)?;
        let (issuer_key_hash, inside) = der::expect(der::OCTETS, inside)?;
        let (serial, inside) = der::expect(der::INTEGER, inside)?;
        let whole = rest.is_empty() && inside.is_empty() && (1..=21).contains(&serial.len());
        whole.then_some(Self { algorithm, issuer_name_hash, issuer_key_hash, serial })
    }

    /// Whether it names a certificate of this issuer.
    pub(super) fn is_of(&self, issuer: &Issuer) -> bool {
        let Some(bits) = key_bits(&issuer.key) else { return false };
        *self.algorithm.of(&issuer.name).as_ref() == *self.issuer_name_hash
            && *self.algorithm.of(bits).as_ref() == *self.issuer_key_hash
    }

    /// Whether the list, which must be of the issuer, names the certificate.
    pub(super) fn is_revoked_by(&self, crl: &Crl) -> Result<bool, webpki::Error> {
        crl.parsed.find_serial(self.serial).map(|found| found.is_some())
    }
}

/// The key itself out of a SubjectPublicKeyInfo.
fn key_bits(spki: &[u8]) -> Option<&[u8]> {
    let (inside, _) = der::expect(der::SEQUENCE, spki)?;
    let (_, rest) = der::expect(der::SEQUENCE, inside)?;
    let (bits, _) = der::expect(der::BITS, rest)?;
    bits.strip_prefix(&[0])
}

/// Whether the issuer's key signed the list. (On a path webpki checks that; here there is no path.)
pub(super) fn is_signed_by(crl: &Crl, issuer: &Issuer) -> bool {
    let Some((tbs, algorithm, signature)) = crl.signed() else { return false };
    let Some((inside, _)) = der::expect(der::SEQUENCE, &issuer.key) else { return false };
    let Some((key_algorithm, _)) = der::expect(der::SEQUENCE, inside) else { return false };
    let Some(key) = key_bits(&issuer.key) else { return false };
    webpki::ALL_VERIFICATION_ALGS.iter().any(|candidate| {
        *candidate.signature_alg_id() == *algorithm
            && *candidate.public_key_alg_id() == *key_algorithm
            && candidate.verify_signature(key, tbs, signature).is_ok()
    })
}

/// The time in webpki's type.
pub(super) fn pki_time(unix: watchfire_core::UnixTime) -> PkiTime {
    PkiTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(unix.as_secs()).unwrap_or(0)))
}
