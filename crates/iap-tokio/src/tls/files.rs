//! Reading certificates, keys and revocation lists, with errors that name the file, the line and what to do.

use std::fs;
use std::io::Read;

use rustls_pki_types::pem::{PemObject, SectionKind};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, TrustAnchor};
use webpki::{CertRevocationList, EndEntityCert, OwnedCertRevocationList, anchor_from_trusted_cert};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use zeroize::Zeroizing;

use super::config::{Place, Source};
use super::error::ConfigError;
use super::identity::name_text;

/// Most octets of a file with certificates or a key, of one with CAs, and of one with revocation lists.
const MAX_OWN: u64 = 1 << 20;
const MAX_ROOTS: u64 = 16 << 20;
const MAX_CRL: u64 = 256 << 20;

/// What a file is for: its name in errors, its PEM label, its size limit.
struct Purpose {
    what: &'static str,
    label: &'static str,
    limit: u64,
}

const CERTIFICATE: Purpose = Purpose { what: "certificate", label: "CERTIFICATE", limit: MAX_OWN };
const KEY: Purpose = Purpose { what: "key", label: "PRIVATE KEY", limit: MAX_OWN };
const CA: Purpose = Purpose { what: "CA", label: "CERTIFICATE", limit: MAX_ROOTS };
const CRL: Purpose = Purpose { what: "CRL", label: "X509 CRL", limit: MAX_CRL };

/// The own certificate chain, leaf first.
pub(super) fn read_chain(source: &Source) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let mut chain = Vec::new();
    for section in wanted_sections(source, &CERTIFICATE, |kind| matches!(kind, SectionKind::Certificate))? {
        let certificate = CertificateDer::from(section.der.to_vec());
        let parsed = EndEntityCert::try_from(&certificate).map(|_| ());
        parsed.map_err(|error| section.error(source, &CERTIFICATE, format!("not a usable certificate ({error})")))?;
        chain.push(certificate);
    }
    Ok(chain)
}

/// The own private key.
pub(super) fn read_key(source: &Source) -> Result<PrivateKeyDer<'static>, ConfigError> {
    let octets = read(source, &KEY)?;
    if !is_pem(&octets) {
        return PrivateKeyDer::try_from(octets.as_slice()).map(|key| key.clone_key()).map_err(|_| empty(source, &KEY));
    }
    let mut key = None;
    for section in sections(source, &KEY, &octets)? {
        let der = || section.der.to_vec();
        let found = match section.kind {
            Kind::Known(SectionKind::PrivateKey) => PrivateKeyDer::Pkcs8(der().into()),
            Kind::Known(SectionKind::RsaPrivateKey) => PrivateKeyDer::Pkcs1(der().into()),
            Kind::Known(SectionKind::EcPrivateKey) => PrivateKeyDer::Sec1(der().into()),
            Kind::Encrypted => {
                let advice = "the key is encrypted; decrypt it with `openssl pkey` and protect the file by its mode";
                return Err(section.error(source, &KEY, advice.to_owned()));
            }
            Kind::Known(_) | Kind::Other => continue,
        };
        if key.is_some() {
            return Err(section.error(source, &KEY, "a second private key; one is expected".to_owned()));
        }
        key = Some(found);
    }
    key.ok_or_else(|| empty(source, &KEY))
}

/// The trust anchors of a file.
pub(super) fn read_roots(source: &Source) -> Result<Vec<TrustAnchor<'static>>, ConfigError> {
    let mut anchors = Vec::new();
    for section in wanted_sections(source, &CA, |kind| matches!(kind, SectionKind::Certificate))? {
        let certificate = CertificateDer::from(section.der.as_slice());
        let anchor = anchor_from_trusted_cert(&certificate).map(|anchor| anchor.to_owned());
        anchors.push(
            anchor.map_err(|error| section.error(source, &CA, format!("not a usable CA certificate ({error})")))?,
        );
    }
    Ok(anchors)
}

/// A revocation list, and what operators want to know about it.
pub(super) struct Crl {
    pub(super) list: CertRevocationList<'static>,
    pub(super) status: CrlStatus,
}

/// A revocation list in force, for metrics and status pages.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CrlStatus {
    /// The file, or label.
    pub file: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// When it was made, in seconds since 1970-01-01 UTC.
    pub this_update: i64,
    /// When it expires, in seconds since 1970-01-01 UTC.
    pub next_update: i64,
    /// How many certificates it revokes.
    pub revoked: usize,
}

/// The revocation lists of a file.
pub(super) fn read_crls(source: &Source) -> Result<Vec<Crl>, ConfigError> {
    let mut crls = Vec::new();
    for section in wanted_sections(source, &CRL, |kind| matches!(kind, SectionKind::Crl))? {
        let broken = |problem: String| section.error(source, &CRL, format!("not a usable revocation list ({problem})"));
        let list = OwnedCertRevocationList::from_der(&section.der).map_err(|error| broken(error.to_string()))?;
        let (_, parsed) =
            CertificateRevocationList::from_der(&section.der).map_err(|error| broken(error.to_string()))?;
        let next_update = parsed.next_update().ok_or_else(|| broken("it has no next update".to_owned()))?;
        let status = CrlStatus {
            file: source.to_string(),
            issuer: name_text(parsed.issuer()),
            this_update: parsed.last_update().timestamp(),
            next_update: next_update.timestamp(),
            revoked: parsed.iter_revoked_certificates().count(),
        };
        crls.push(Crl { list: list.into(), status });
    }
    Ok(crls)
}

/// The mode of a key file that others than its owner can read, if the system has modes.
pub(super) fn readable_by_others(source: &Source) -> Option<u32> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(source.path()?).ok()?.permissions().mode() & 0o777;
        // Group access is how a service user gets at a key of root's; the world is another matter.
        (mode & 0o007 != 0).then_some(mode)
    }
    #[cfg(not(unix))]
    {
        let _ = source;
        None
    }
}

fn empty(source: &Source, purpose: &Purpose) -> ConfigError {
    ConfigError::Empty { what: purpose.what, file: source.to_string(), label: purpose.label }
}

fn read(source: &Source, purpose: &Purpose) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    let too_long = || ConfigError::TooLong { file: source.to_string(), limit: purpose.limit };
    let path = match &source.0 {
        Place::Inline { octets, .. } if octets.len() as u64 > purpose.limit => return Err(too_long()),
        Place::Inline { octets, .. } => return Ok(Zeroizing::clone(octets)),
        Place::File(path) => path,
    };
    let unreadable = |error: std::io::Error| ConfigError::Read {
        file: source.to_string(),
        problem: error.to_string(),
        kind: error.kind(),
    };
    let file = fs::File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    // Room for all of it at once: growing would leave copies of a key behind.
    let room = usize::try_from(length.min(purpose.limit)).expect("limits fit in memory").saturating_add(1);
    let mut octets = Zeroizing::new(Vec::with_capacity(room));
    file.take(purpose.limit.saturating_add(1)).read_to_end(&mut octets).map_err(unreadable)?;
    if octets.len() as u64 > purpose.limit { Err(too_long()) } else { Ok(octets) }
}

enum Kind {
    Known(SectionKind),
    Encrypted,
    Other,
}

/// A decoded PEM section (or a whole DER file, at line 1).
struct Section {
    kind: Kind,
    der: Zeroizing<Vec<u8>>,
    line: usize,
}

impl Section {
    fn error(&self, source: &Source, purpose: &Purpose, problem: String) -> ConfigError {
        ConfigError::Line { what: purpose.what, file: source.to_string(), line: self.line, problem }
    }
}

/// The sections of one kind; at least one.
fn wanted_sections(
    source: &Source,
    purpose: &Purpose,
    wanted: fn(&SectionKind) -> bool,
) -> Result<Vec<Section>, ConfigError> {
    let octets = read(source, purpose)?;
    if !is_pem(&octets) {
        if octets.first() != Some(&0x30) {
            return Err(empty(source, purpose));
        }
        return Ok(vec![Section { kind: Kind::Other, der: octets, line: 1 }]);
    }
    let mut found = sections(source, purpose, &octets)?;
    found.retain(|section| matches!(&section.kind, Kind::Known(kind) if wanted(kind)));
    if found.is_empty() { Err(empty(source, purpose)) } else { Ok(found) }
}

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";

fn is_pem(octets: &[u8]) -> bool {
    octets.windows(BEGIN.len()).any(|window| window == BEGIN)
}

/// Cuts a PEM file into sections and decodes them. Text between sections is skipped (RFC 7468 section 2).
fn sections(source: &Source, purpose: &Purpose, octets: &[u8]) -> Result<Vec<Section>, ConfigError> {
    let error = |line: usize, problem: String| ConfigError::Line {
        what: purpose.what,
        file: source.to_string(),
        line,
        problem,
    };
    let mut found = Vec::new();
    let mut open: Option<(usize, usize)> = None;
    let mut at = 0;
    for (index, line) in octets.split_inclusive(|octet| *octet == b'\n').enumerate() {
        let (number, start) = (index + 1, at);
        at += line.len();
        if line.starts_with(BEGIN) {
            if let Some((_, begun)) = open {
                return Err(error(
                    number,
                    format!("a section begins inside the one of line {begun}; an END line is missing"),
                ));
            }
            open = Some((start, number));
        } else if line.starts_with(END) {
            let Some((from, begun)) = open.take() else {
                return Err(error(number, "an END line without a BEGIN line".to_owned()));
            };
            let text = &octets[from..at];
            let label = text.split(|octet| *octet == b'\n').next().unwrap_or_default();
            let label = label.strip_prefix(BEGIN).unwrap_or_default().trim_ascii_end();
            if line.trim_ascii_end().strip_prefix(END).is_none_or(|end| end != label) {
                return Err(error(number, format!("this END line does not match the BEGIN of line {begun}")));
            }
            found.push(decode(text, label, begun).map_err(|problem| error(begun, problem))?);
        }
    }
    match open {
        Some((_, begun)) => {
            Err(error(begun, "the section that begins here has no END line; is the file cut short?".to_owned()))
        }
        None => Ok(found),
    }
}

fn decode(text: &[u8], label: &[u8], line: usize) -> Result<Section, String> {
    if label == b"ENCRYPTED PRIVATE KEY-----" || text.windows(18).any(|window| window == b"Proc-Type: 4,ENCRY") {
        return Ok(Section { kind: Kind::Encrypted, der: Zeroizing::default(), line });
    }
    match <(SectionKind, Vec<u8>)>::from_pem_slice(text) {
        Ok((kind, der)) => Ok(Section { kind: Kind::Known(kind), der: Zeroizing::new(der), line }),
        // A label that is none of ours, such as DH PARAMETERS or TRUSTED CERTIFICATE.
        Err(rustls_pki_types::pem::Error::NoItemsFound) => {
            Ok(Section { kind: Kind::Other, der: Zeroizing::default(), line })
        }
        Err(rustls_pki_types::pem::Error::Base64Decode(_)) => {
            Err("the base64 text of this section is broken".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(result: Result<Vec<CertificateDer<'static>>, ConfigError>) -> String {
        result.unwrap_err().to_string()
    }

    fn chain(text: &str) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
        read_chain(&Source::inline("node.pem", text))
    }

    #[test]
    fn errors_name_file_and_line() {
        assert_eq!(
            problem(chain("hello\n")),
            "node.pem holds no certificate; expected PEM with \"-----BEGIN CERTIFICATE-----\", or DER"
        );
        assert_eq!(
            problem(chain("# note\n-----BEGIN CERTIFICATE-----\nAAAA\n")),
            "certificate node.pem line 2: the section that begins here has no END line; is the file cut short?"
        );
        assert_eq!(
            problem(chain("-----BEGIN CERTIFICATE-----\nA!AA\n-----END CERTIFICATE-----\n")),
            "certificate node.pem line 1: the base64 text of this section is broken"
        );
        assert_eq!(
            problem(chain("\n\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")),
            "certificate node.pem line 3: not a usable certificate (TrailingData(SignedData))"
        );
        assert_eq!(
            problem(chain("-----BEGIN CERTIFICATE-----\nAAAA\n-----END PRIVATE KEY-----\n")),
            "certificate node.pem line 3: this END line does not match the BEGIN of line 1"
        );
        assert_eq!(
            problem(chain("-----BEGIN CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\n")),
            "certificate node.pem line 2: a section begins inside the one of line 1; an END line is missing"
        );
        assert_eq!(
            problem(chain("-----END CERTIFICATE-----\n-----BEGIN X-----\n")),
            "certificate node.pem line 1: an END line without a BEGIN line"
        );
        let missing = read_chain(&Source::file("/nonexistent/node.pem"));
        assert!(problem(missing).starts_with("cannot read /nonexistent/node.pem: "));
    }

    #[test]
    fn encrypted_keys_are_named_as_such() {
        for text in [
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
        ] {
            let error = read_key(&Source::inline("node.key", text)).unwrap_err();
            assert!(error.to_string().starts_with("key node.key line 1: the key is encrypted"), "{error}");
        }
    }

    #[test]
    fn files_have_a_size_limit() {
        let long = Source::inline("long", vec![b' '; usize::try_from(MAX_OWN).unwrap() + 1]);
        assert_eq!(read_chain(&long), Err(ConfigError::TooLong { file: "long".into(), limit: MAX_OWN }));
        assert!(matches!(read_key(&Source::inline("empty", "")), Err(ConfigError::Empty { .. })));
    }
}
