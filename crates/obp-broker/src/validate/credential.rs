//! Credentials as they come: a media type and octets, from which certificates are taken, end entity first (OBP-051,
//! OBP-052).

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::der;

/// Most certificates of one request.
pub(super) const MAX_CERTIFICATES: usize = 16;
/// Largest certificate, in octets.
pub(super) const MAX_CERTIFICATE: usize = 64 * 1024;

/// A Credential structure.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Credential<'a> {
    /// Its media type; absent means that the octets tell.
    pub media_type: Option<&'a str>,
    /// Its octets.
    pub data: &'a [u8],
}

impl<'a> Credential<'a> {
    /// A credential of this type.
    #[must_use]
    pub fn new(media_type: Option<&'a str>, data: &'a [u8]) -> Self {
        Self { media_type, data }
    }
}

/// Why no certificate came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoCertificate {
    /// The type is none that is known here.
    Type(String),
    /// The octets are not of the type.
    Malformed(String),
    /// More or larger than anybody needs.
    Limit(String),
}

/// All certificates of all credentials, in order.
pub(super) fn certificates(credentials: &[Credential<'_>]) -> Result<Vec<CertificateDer<'static>>, NoCertificate> {
    let mut all = Vec::new();
    for (index, credential) in (1..).zip(credentials) {
        let media_type =
            credential.media_type.map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        let malformed = |what: &str| NoCertificate::Malformed(format!("credential {index} is no {what}"));
        match media_type.as_deref() {
            None | Some("") if credential.data.starts_with(b"-----") => {
                pem(credential.data, &mut all).ok_or_else(|| malformed("PEM"))?
            }
            None | Some("" | "application/pkix-cert" | "application/x-x509-server-cert") => {
                all.push(one(credential.data).ok_or_else(|| malformed("certificate in DER"))?);
            }
            Some("application/pkix-pkipath") => path(credential.data, &mut all).ok_or_else(|| malformed("PkiPath"))?,
            Some("application/x-pem-file" | "application/pem-certificate-chain") => {
                pem(credential.data, &mut all).ok_or_else(|| malformed("PEM"))?;
            }
            Some(other) => {
                let shown: String = other.chars().filter(|c| !c.is_control()).take(64).collect();
                return Err(NoCertificate::Type(format!(
                    "credential {index} has the type {shown}, which is not known here"
                )));
            }
        }
        if all.len() > MAX_CERTIFICATES {
            return Err(NoCertificate::Limit(format!("more than {MAX_CERTIFICATES} certificates")));
        }
        if all.iter().any(|certificate: &CertificateDer<'_>| certificate.len() > MAX_CERTIFICATE) {
            return Err(NoCertificate::Limit(format!("a certificate of more than {MAX_CERTIFICATE} octets")));
        }
    }
    Ok(all)
}

fn one(octets: &[u8]) -> Option<CertificateDer<'static>> {
    let element = der::take(octets)?;
    (element.tag == der::SEQUENCE && element.rest.is_empty()).then(|| CertificateDer::from(octets.to_vec()))
}

/// A PkiPath begins at the anchor (ITU-T X.509 section 8.4), we at the other end.
fn path(octets: &[u8], all: &mut Vec<CertificateDer<'static>>) -> Option<()> {
    let (mut inside, rest) = der::expect(der::SEQUENCE, octets)?;
    if !rest.is_empty() {
        return None;
    }
    let mut found = Vec::new();
    while !inside.is_empty() && found.len() <= MAX_CERTIFICATES {
        let element = der::take(inside)?;
        found.push(one(element.whole)?);
        inside = element.rest;
    }
    all.extend(found.into_iter().rev());
    Some(())
}

fn pem(octets: &[u8], all: &mut Vec<CertificateDer<'static>>) -> Option<()> {
    let before = all.len();
    for certificate in CertificateDer::pem_slice_iter(octets).take(MAX_CERTIFICATES + 1) {
        all.push(one(&certificate.ok()?)?);
    }
    (all.len() > before).then_some(())
}
