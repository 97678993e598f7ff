//! An authority by rcgen: its key, its certificate, and those that it makes.

use std::net::IpAddr;

use acme_lurk::Limits;
use acme_lurk::acme::server::Issuance;
use acme_lurk::acme::{Problem, ProblemType};
use acme_lurk::csr::{Csr, ExtendedKeyUsage};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use watchfire_core::UnixTime;
use zeroize::Zeroizing;

use super::Issuer;
use crate::Going;

/// Why an authority could not be made, or could not make something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
#[non_exhaustive]
pub struct AuthorityError(pub String);

impl From<rcgen::Error> for AuthorityError {
    fn from(error: rcgen::Error) -> Self {
        Self(error.to_string())
    }
}

/// A key and its certificate, which may sign others. Keys that it makes are ECDSA P-256.
pub struct Authority {
    issuer: rcgen::Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// Clocks that lag a little must not refuse what was made just now.
const BACKDATE: time::Duration = time::Duration::minutes(5);

impl Authority {
    /// A root of this name, valid for so many days.
    ///
    /// # Errors
    /// When the system has no randomness, or the name cannot be certified.
    pub fn root(name: &str, days: u32) -> Result<Self, AuthorityError> {
        let (params, pair) = (authority_params(name, days)?, KeyPair::generate()?);
        let certificate = params.self_signed(&pair)?.der().clone();
        Self::of(certificate, pair)
    }

    /// An authority below this one, which signs no others.
    ///
    /// # Errors
    /// As [`root`](Self::root).
    pub fn subordinate(&self, name: &str, days: u32) -> Result<Self, AuthorityError> {
        let (mut params, pair) = (authority_params(name, days)?, KeyPair::generate()?);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&pair, &self.issuer)?.der().clone();
        Self::of(certificate, pair)
    }

    /// An authority that was made before.
    ///
    /// # Errors
    /// When one of the two cannot be read, or the key is not that of the certificate.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes());
        let certificate = certificate.map_err(|error| AuthorityError(format!("the certificate: {error}")))?;
        let pair = KeyPair::from_pem(key).map_err(|error| AuthorityError(format!("the key: {error}")))?;
        let parsed = x509_parser::parse_x509_certificate(&certificate);
        let (_, parsed) = parsed.map_err(|error| AuthorityError(format!("the certificate: {error}")))?;
        if parsed.public_key().raw != pair.subject_public_key_info() {
            return Err(AuthorityError("the key is not that of the certificate".into()));
        }
        Self::of(certificate, pair)
    }

    fn of(certificate: CertificateDer<'static>, pair: KeyPair) -> Result<Self, AuthorityError> {
        Ok(Self { issuer: rcgen::Issuer::from_ca_cert_der(&certificate, pair)?, certificate })
    }

    /// Its certificate, PEM.
    pub fn certificate_pem(&self) -> String {
        String::from_utf8_lossy(&acme_lurk::certificate::encode_chain([&*self.certificate])).into_owned()
    }

    /// Its certificate, DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Its key, PEM.
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuer.key().serialize_pem())
    }

    /// A certificate for a server of these names and addresses, with a new key. The chain has no other certificates.
    ///
    /// # Errors
    /// When a name cannot be certified.
    pub fn server_certificate(
        &self,
        names: &[String],
        days: u32,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), AuthorityError> {
        let pair = KeyPair::generate()?;
        let now = OffsetDateTime::now_utc();
        let mut params = leaf_params(names, false)?;
        (params.not_before, params.not_after) = (now - BACKDATE, now + time::Duration::days(days.into()));
        let leaf = params.signed_by(&pair, &self.issuer)?.der().clone();
        Ok((vec![leaf], PrivatePkcs8KeyDer::from(pair.serialize_der()).into()))
    }

    fn make(&self, issuance: &Issuance) -> Result<Vec<u8>, Problem> {
        let bad = |what: &dyn std::fmt::Display| Problem::new(ProblemType::BadCsr, format!("csr: {what}"));
        let broken = |what: &dyn std::fmt::Display| Problem::new(ProblemType::ServerInternal, what.to_string());
        let csr = Csr::decode(&issuance.csr, &Limits::DEFAULT).map_err(|error| bad(&error))?;
        let key = SubjectPublicKeyInfo::from_der(csr.spki()).map_err(|error| bad(&error))?;
        let names: Vec<String> = issuance.identifiers.iter().map(|name| name.value().to_owned()).collect();
        let mut params =
            leaf_params(&names, csr.key().is_ok_and(|key| key.rsa_bits().is_some())).map_err(|e| bad(&e))?;
        if csr.extended_key_usages().is_some_and(|wanted| {
            ExtendedKeyUsage::from_name("clientAuth").is_some_and(|client| wanted.contains(&client))
        }) {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        let date = |time: UnixTime| OffsetDateTime::from_unix_timestamp(time.as_secs()).map_err(|error| broken(&error));
        (params.not_before, params.not_after) = (date(issuance.not_before)?, date(issuance.not_after)?);
        let certificate = params.signed_by(&key, &self.issuer).map_err(|error| broken(&error))?;
        Ok(certificate.der().to_vec())
    }
}

impl Issuer for Authority {
    fn issue<'a>(&'a self, issuance: &'a Issuance) -> Going<'a, Result<Vec<u8>, Problem>> {
        let made = self.make(issuance);
        Box::pin(async move { made })
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

fn authority_params(name: &str, days: u32) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - BACKDATE, now + time::Duration::days(days.into()));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(serial()?);
    Ok(params)
}

fn leaf_params(names: &[String], is_rsa: bool) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    // Names stand in the extension alone; a common name is what old software looks at, and has a limit.
    let mut subject = DistinguishedName::new();
    if let Some(first) = names.first().filter(|name| name.len() <= 64) {
        subject.push(DnType::CommonName, first.as_str());
    }
    params.distinguished_name = subject;
    let name = |name: &String| match name.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => Ok::<_, rcgen::Error>(SanType::DnsName(name.as_str().try_into()?)),
    };
    params.subject_alt_names = names.iter().map(name).collect::<Result<_, _>>()?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    if is_rsa {
        params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial()?);
    Ok(params)
}

/// 126 random bits, so that none comes twice; positive, and always of the same length.
fn serial() -> Result<SerialNumber, AuthorityError> {
    let mut octets = [0; 16];
    getrandom::fill(&mut octets).map_err(|error| AuthorityError(error.to_string()))?;
    octets[0] = octets[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&octets))
}
