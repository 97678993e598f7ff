//! `watchfire pki`: a small certificate authority for laboratories and closed fleets.
//!
//! Keys are ECDSA P-256. A key file is never readable by others, not even for a moment: it is written under another
//! name with mode 0600 and then linked to its own. An authority is a folder: `ca.pem`, `ca.key`, `ca.crl.pem` and
//! `ca.issued`, the list of what was issued (serial, expiry, name), so that a name can be revoked as a whole.

mod crl;
mod eku;
pub(crate) mod files;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::cli::{InitArgs, IssueArgs, PkiCommand, Profile, San};
use crate::exit::{Failure, file_failure};
use crate::values::is_host_name;

pub use crl::crl;
pub use eku::{IAP_ALERT_CONSUMER, IAP_ALERT_GENERATOR, IAP_IDEF_CONFIGURATOR};
pub(crate) use files::{hex, read_bounded};

/// The longest common name that X.509 allows.
const NAME_LIMIT: usize = 64;

/// Runs `watchfire pki ..` and prints what was written.
///
/// # Errors
/// Files in the way, missing or unreadable; names that cannot be certified.
pub fn run(command: &PkiCommand, json: bool) -> Result<(), Failure> {
    let written = match command {
        PkiCommand::Init(args) => init(args)?.to_vec(),
        PkiCommand::Issue(args) => issue(args)?.to_vec(),
        PkiCommand::Crl(args) => vec![crl(args)?],
    };
    for path in written {
        if json {
            crate::out::line(&serde_json::json!({"event": "written", "file": path}).to_string())?;
        } else {
            crate::out::line(&path.display().to_string())?;
        }
    }
    Ok(())
}

/// Makes an authority; gives the paths of certificate and key.
///
/// # Errors
/// When there is one already and `force` is off, or a file cannot be written.
pub fn init(args: &InitArgs) -> Result<[PathBuf; 2], Failure> {
    check_text("name", &args.name)?;
    files::make_folder(&args.dir)?;
    let (cert, key) = (args.dir.join("ca.pem"), args.dir.join("ca.key"));
    files::refuse_existing(&[&cert, &key], args.force)?;
    let mut params = params(&args.name, None, args.days);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let pair = key_pair()?;
    let certificate = params.self_signed(&pair).map_err(|error| certify_failure(&args.name, &error))?;
    if args.force {
        // What the former authority issued or revoked means nothing to the new one.
        for stale in ["ca.crl.pem", "ca.issued"] {
            let _ = std::fs::remove_file(args.dir.join(stale));
        }
    }
    files::write_private(&key, &Zeroizing::new(pair.serialize_pem()), args.force)?;
    files::write_public(&cert, certificate.pem().as_bytes(), args.force)?;
    Ok([cert, key])
}

/// Issues a certificate; gives the paths of the chain (leaf first) and the key.
///
/// # Errors
/// No authority, a name that cannot be certified, files in the way, or files that cannot be written.
pub fn issue(args: &IssueArgs) -> Result<[PathBuf; 2], Failure> {
    check_file_name(&args.name)?;
    if let Some(ou) = &args.ou {
        check_text("--ou", ou)?;
    }
    let authority = Authority::load(&args.dir)?;
    let cert = args.dir.join(format!("{}.pem", args.name));
    let key = args.dir.join(format!("{}.key", args.name));
    files::refuse_existing(&[&cert, &key], args.force)?;
    let mut params = params(&args.name, args.ou.as_deref(), args.days);
    if params.not_after > authority.not_after {
        // A certificate that outlives its issuer stops working earlier than it says.
        params.not_after = authority.not_after;
    }
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.custom_extensions = vec![CustomExtension::from_oid_content(&eku::EXTENSION, eku::of(args.profile))];
    params.subject_alt_names = names(args)?;
    let pair = key_pair()?;
    let not_after = params.not_after;
    let certificate =
        params.signed_by(&pair, &authority.issuer).map_err(|error| certify_failure(&args.name, &error))?;
    // Recorded first: a certificate that is not on the list could not be revoked by name.
    files::record(&args.dir.join("ca.issued"), &serial_of(certificate.der())?, not_after.unix_timestamp(), &args.name)?;
    files::write_private(&key, &Zeroizing::new(pair.serialize_pem()), args.force)?;
    files::write_public(&cert, certificate.pem().as_bytes(), args.force)?;
    Ok([cert, key])
}

/// The folder's certificate and key, ready to sign.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Vec<u8>,
    not_after: OffsetDateTime,
}

impl Authority {
    fn load(dir: &Path) -> Result<Self, Failure> {
        let (cert_path, key_path) = (dir.join("ca.pem"), dir.join("ca.key"));
        let missing = |doing: &str, path: &Path, error: &std::io::Error| {
            let failure = file_failure(doing, path, error);
            if error.kind() == std::io::ErrorKind::NotFound {
                failure.remedy(format!("make an authority first: watchfire pki init --dir {}", dir.display()))
            } else {
                failure
            }
        };
        let octets = read_bounded(&cert_path).map_err(|error| missing("read the authority", &cert_path, &error))?;
        let (_, pem) = x509_parser::pem::parse_x509_pem(&octets)
            .map_err(|error| Failure::usage(format!("not PEM: {error}")).at(cert_path.display()))?;
        let parsed = pem
            .parse_x509()
            .map_err(|error| Failure::usage(format!("does not parse: {error}")).at(cert_path.display()))?;
        let not_after = parsed.validity().not_after.to_datetime();
        if !parsed.validity().is_valid() {
            return Err(Failure::usage(format!(
                "the authority is valid from {} to {} only",
                parsed.validity().not_before,
                parsed.validity().not_after
            ))
            .at(cert_path.display())
            .remedy("set the clock, or make a new authority in another folder"));
        }
        let public = parsed.public_key().raw.to_vec();
        let text = read_bounded(&key_path).map_err(|error| missing("read the authority's key", &key_path, &error))?;
        let text = Zeroizing::new(text);
        let text = std::str::from_utf8(&text).map_err(|_| Failure::usage("not PEM").at(key_path.display()))?;
        let pair = KeyPair::from_pem(text)
            .map_err(|error| Failure::usage(format!("does not parse: {error}")).at(key_path.display()))?;
        if rcgen::PublicKeyData::subject_public_key_info(&pair) != public {
            return Err(Failure::usage("is not the key of ca.pem")
                .at(key_path.display())
                .remedy("restore the pair from a backup"));
        }
        let certificate = pem.contents.clone();
        let issuer = Issuer::from_ca_cert_der(&certificate.as_slice().into(), pair).map_err(|error| {
            Failure::usage(format!("not an authority's certificate: {error}")).at(cert_path.display())
        })?;
        Ok(Self { issuer, certificate, not_after })
    }
}

fn params(name: &str, ou: Option<&str>, days: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    if let Some(ou) = ou {
        subject.push(DnType::OrganizationalUnitName, ou);
    }
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    let now = now();
    // Peers whose clocks lag a little must not refuse what was issued just now.
    params.not_before = now - time::Duration::minutes(5);
    params.not_after = now + time::Duration::days(days.into());
    params
}

fn names(args: &IssueArgs) -> Result<Vec<SanType>, Failure> {
    let dns = |name: &str| {
        name.try_into().map(SanType::DnsName).map_err(|_| Failure::usage(format!("`{name}` is not an ASCII host name")))
    };
    let own = match args.name.parse::<IpAddr>() {
        Ok(addr) => Some(San::Ip(addr)),
        Err(_) if is_host_name(&args.name) => Some(San::Dns(args.name.clone())),
        Err(_) => None,
    };
    // Other names stand beside that of a host, and in the place of any other.
    let own = own.filter(|_| args.san.is_empty() || args.profile.names_a_host());
    let is_there = |own: &San| {
        args.san.iter().any(|san| match (san, own) {
            (San::Dns(one), San::Dns(other)) => one.eq_ignore_ascii_case(other),
            (one, other) => one == other,
        })
    };
    let own = own.filter(|own| !is_there(own));
    let all = own.iter().chain(&args.san);
    all.map(|san| match san {
        San::Dns(name) => dns(name),
        San::Ip(addr) => Ok(SanType::IpAddress(*addr)),
    })
    .collect()
}

fn key_pair() -> Result<KeyPair, Failure> {
    KeyPair::generate().map_err(|error| Failure::usage(format!("cannot make a key: {error}")))
}

fn certify_failure(name: &str, error: &rcgen::Error) -> Failure {
    Failure::usage(format!("cannot certify `{name}`: {error}"))
}

fn now() -> OffsetDateTime {
    OffsetDateTime::from(std::time::SystemTime::now())
}

/// The serial number of a certificate, without leading zeros.
fn serial_of(der: &[u8]) -> Result<Vec<u8>, Failure> {
    let (_, parsed) = x509_parser::parse_x509_certificate(der)
        .map_err(|error| Failure::usage(format!("certificate does not parse: {error}")))?;
    Ok(trim(parsed.raw_serial()).to_vec())
}

fn trim(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|octet| **octet == 0).count();
    serial.get(zeros..).unwrap_or_default()
}

fn check_text(flag: &str, text: &str) -> Result<(), Failure> {
    if text.is_empty() || text.chars().count() > NAME_LIMIT || text.chars().any(char::is_control) {
        return Err(Failure::usage(format!("{flag} must have 1 to {NAME_LIMIT} printable characters")));
    }
    Ok(())
}

/// The name becomes a file name: nothing that leads elsewhere, and not the authority's own.
fn check_file_name(name: &str) -> Result<(), Failure> {
    check_text("--name", name)?;
    if name.contains(['/', '\\']) || name.starts_with(['.', '-']) || name == "ca" || name == "ca.crl" {
        return Err(Failure::usage(format!("`{name}` cannot be a file name here"))
            .remedy("choose a plain name other than `ca`"));
    }
    Ok(())
}

/// The extended key usages of a profile, as DER of the extension's value; for tests and documentation.
pub fn extended_key_usage(profile: Profile) -> Vec<u8> {
    eku::of(profile)
}

#[cfg(test)]
mod tests;
