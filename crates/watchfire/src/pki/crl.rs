//! `pki crl`: the list of what is no longer trusted (RFC 5280 section 5).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use time::OffsetDateTime;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

use super::{Authority, files, now, trim};
use crate::cli::CrlArgs;
use crate::exit::{Failure, file_failure};

/// Revokes the given certificates on top of what was revoked before and writes `ca.crl.pem`; gives its path.
///
/// # Errors
/// No authority; a name that was never issued here; a certificate of somebody else; a former list that cannot be
/// read, since writing a shorter one would trust again what was revoked.
pub fn crl(args: &CrlArgs) -> Result<PathBuf, Failure> {
    let authority = Authority::load(&args.dir)?;
    let (_, issuer) = X509Certificate::from_der(&authority.certificate)
        .map_err(|error| Failure::usage(format!("the authority's certificate does not parse: {error}")))?;
    let path = args.dir.join("ca.crl.pem");
    let (mut revoked, number) = former(&path, &issuer)?;
    let now = now();
    for what in &args.revoke {
        for serial in serials(&args.dir, what, &issuer)? {
            revoked.entry(serial).or_insert(now);
        }
    }
    let params = CertificateRevocationListParams {
        this_update: now,
        next_update: now + time::Duration::days(args.days.into()),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: revoked
            .into_iter()
            .map(|(serial, revocation_time)| RevokedCertParams {
                serial_number: SerialNumber::from_slice(&serial),
                revocation_time,
                reason_code: None,
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = params
        .signed_by(&authority.issuer)
        .map_err(|error| Failure::usage(format!("cannot sign the list: {error}")))?;
    let pem = list.pem().map_err(|error| Failure::usage(format!("cannot write the list: {error}")))?;
    files::write_public(&path, pem.as_bytes(), true)?;
    Ok(path)
}

/// What is revoked already, and the number of the next list.
fn former(path: &Path, issuer: &X509Certificate<'_>) -> Result<(BTreeMap<Vec<u8>, OffsetDateTime>, u64), Failure> {
    let octets = match files::read_bounded(path) {
        Ok(octets) => octets,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((BTreeMap::new(), 1)),
        Err(error) => return Err(file_failure("read the former list", path, &error)),
    };
    let bad = |what: String| {
        Failure::usage(what).at(path.display()).remedy("restore it: a new list would trust again what it revoked")
    };
    let (_, pem) = x509_parser::pem::parse_x509_pem(&octets).map_err(|error| bad(format!("not PEM: {error}")))?;
    let (_, list) =
        CertificateRevocationList::from_der(&pem.contents).map_err(|error| bad(format!("does not parse: {error}")))?;
    list.verify_signature(issuer.public_key()).map_err(|_| bad("was not signed by this authority".into()))?;
    let number = list.crl_number().and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
    let revoked = list
        .iter_revoked_certificates()
        .map(|entry| (trim(entry.raw_serial()).to_vec(), entry.revocation_date.to_datetime()))
        .collect();
    Ok((revoked, number.saturating_add(1)))
}

/// The serials that a NAME or FILE stands for.
fn serials(dir: &Path, what: &str, issuer: &X509Certificate<'_>) -> Result<Vec<Vec<u8>>, Failure> {
    let is_file = what.ends_with(".pem") || what.contains('/');
    let mut found = if is_file { Vec::new() } else { files::recorded(&dir.join("ca.issued"), what)? };
    let file = if is_file { PathBuf::from(what) } else { dir.join(format!("{what}.pem")) };
    match files::read_bounded(&file) {
        Ok(octets) => found.push(serial_in(&file, &octets, issuer)?),
        Err(error) if is_file => return Err(file_failure("read the certificate", &file, &error)),
        Err(_) => {}
    }
    found.sort();
    found.dedup();
    if found.is_empty() {
        return Err(Failure::usage(format!("`{what}` was never issued here"))
            .at(dir.display())
            .remedy("give the certificate's file"));
    }
    Ok(found)
}

fn serial_in(file: &Path, octets: &[u8], issuer: &X509Certificate<'_>) -> Result<Vec<u8>, Failure> {
    let bad = |what: String| Failure::usage(what).at(file.display());
    let (_, pem) = x509_parser::pem::parse_x509_pem(octets).map_err(|error| bad(format!("not PEM: {error}")))?;
    let certificate = pem.parse_x509().map_err(|error| bad(format!("does not parse: {error}")))?;
    if certificate.verify_signature(Some(issuer.public_key())).is_err() {
        return Err(bad("was not issued by this authority".into()).remedy("only the issuer can revoke it"));
    }
    Ok(trim(certificate.raw_serial()).to_vec())
}
