//! Certificate policies: what labels mean, and which policies hold along a path.

use std::collections::BTreeSet;

use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer as _, X509Certificate};

const ANY: &str = "2.5.29.32.0";

/// The object identifier behind a label: itself, or one of the CA/Browser Forum's by its usual short name.
pub(super) fn oid_of(label: &str) -> Option<&str> {
    Some(match label.to_ascii_lowercase().as_str() {
        "dv" => "2.23.140.1.2.1",
        "ov" => "2.23.140.1.2.2",
        "iv" => "2.23.140.1.2.3",
        "ev" => "2.23.140.1.1",
        _ if label.contains('.') && label.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.') => label,
        _ => return None,
    })
}

/// The policies that every certificate of the path asserts, the end entity first (RFC 5280 section 6.1 without
/// mappings: a policy under another name above is not followed). A certificate without policies ends them all.
pub(super) fn along<'a>(path: impl Iterator<Item = &'a [u8]>) -> BTreeSet<String> {
    let mut valid: Option<BTreeSet<String>> = None;
    for der in path {
        let here = of_certificate(der);
        valid = Some(match valid {
            None => here,
            Some(below) if here.contains(ANY) => below,
            Some(below) => below.intersection(&here).cloned().collect(),
        });
    }
    let mut valid = valid.unwrap_or_default();
    valid.remove(ANY);
    valid
}

fn of_certificate(der: &[u8]) -> BTreeSet<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return BTreeSet::new() };
    let mut all = BTreeSet::new();
    for extension in certificate.extensions() {
        if let ParsedExtension::CertificatePolicies(policies) = extension.parsed_extension() {
            all.extend(policies.iter().take(64).map(|policy| policy.policy_id.to_id_string()));
        }
    }
    all
}
