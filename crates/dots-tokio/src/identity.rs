//! Who the peer is, as (D)TLS proved. RFC 9132 sections 4.4.1 and 7.1.

use dots_callhome::cuid;
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, GeneralName, SubjectPublicKeyInfo, X509Certificate};

/// What a handshake proved.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// Possession of the key of the first certificate; the others are what came with it, or nothing.
    Certificates(Vec<CertificateDer<'static>>),
    /// Possession of this key: the DER of a SubjectPublicKeyInfo (RFC 7250).
    RawPublicKey(Vec<u8>),
    /// Knowledge of the key of this PSK identity.
    Psk(Vec<u8>),
}

/// An authenticated peer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Identity {
    /// What it is called from here on: the name of its pin; else the first DNS name in its certificate, in lower case;
    /// else its common name; for a PSK its identity.
    pub name: String,
    /// All DNS names in its certificate.
    pub dns_names: Vec<String>,
    /// The cuid that RFC 9132 section 4.4.1 makes of its key, whether or not it uses that.
    pub cuid: String,
    /// SHA-256 of its SubjectPublicKeyInfo: what a pin is. All zero for a PSK.
    pub spki_sha256: [u8; 32],
}

/// What can be read in a certificate before it is trusted.
#[derive(Debug)]
pub(crate) struct Claims {
    pub(crate) spki: Vec<u8>,
    pub(crate) dns_names: Vec<String>,
    pub(crate) common_name: Option<String>,
}

impl Claims {
    /// `None` when the certificate is malformed.
    pub(crate) fn of(certificate: &[u8]) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(certificate).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let mut dns_names = Vec::new();
        if let Some(names) = certificate.subject_alternative_name().ok()? {
            for name in &names.value.general_names {
                if let GeneralName::DNSName(name) = name {
                    dns_names.push(printable(name).to_ascii_lowercase());
                }
            }
        }
        let common_name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        Some(Self {
            spki: certificate.tbs_certificate.subject_pki.raw.to_vec(),
            dns_names,
            common_name: common_name.map(printable),
        })
    }

    pub(crate) fn into_identity(self, pinned: Option<&str>) -> Identity {
        let cuid = cuid(&self.spki);
        let name = pinned
            .map(str::to_owned)
            .or_else(|| self.dns_names.first().cloned())
            .or(self.common_name)
            .unwrap_or_else(|| cuid.clone());
        Identity { name, dns_names: self.dns_names, cuid, spki_sha256: Sha256::digest(&self.spki).into() }
    }
}

/// Whether this is one SubjectPublicKeyInfo and nothing behind it.
pub(crate) fn is_spki(der: &[u8]) -> bool {
    SubjectPublicKeyInfo::from_der(der).is_ok_and(|(rest, _)| rest.is_empty())
}

/// An identity from a PSK; printable, and different for different octets.
pub(crate) fn psk_identity(identity: &[u8]) -> Identity {
    let name = match std::str::from_utf8(identity) {
        Ok(text) if !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()) => text.to_owned(),
        _ => identity.iter().fold("psk:0x".to_owned(), |name, octet| name + &format!("{octet:02x}")),
    };
    Identity { name, dns_names: Vec::new(), cuid: cuid(identity), spki_sha256: [0; 32] }
}

/// A name that may go into logs and keys of maps: no control characters, and not without end.
fn printable(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(255).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::PublicKeyData as _;

    use super::*;

    #[test]
    fn names_come_from_the_pin_then_the_certificate() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["Home.Example".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "the box\u{7}");
        let der = params.self_signed(&key).unwrap();
        let named = Claims::of(der.der()).unwrap().into_identity(None);
        assert_eq!(named.name, "home.example");
        assert_eq!(named.cuid, cuid(&key.subject_public_key_info()));
        assert_eq!(Claims::of(der.der()).unwrap().into_identity(Some("pin")).name, "pin");
        params.subject_alt_names.clear();
        let der = params.self_signed(&key).unwrap();
        assert_eq!(Claims::of(der.der()).unwrap().into_identity(None).name, "the box");
        assert!(Claims::of(b"no certificate").is_none());
    }

    #[test]
    fn psk_identities_are_printable_and_distinct() {
        assert_eq!(psk_identity(b"dots-client-1").name, "dots-client-1");
        assert_eq!(psk_identity(b"dots-client-1").cuid, "z85PF07F0YiHmas-fJkqRg");
        assert_eq!(psk_identity(b"\x00\xff").name, "psk:0x00ff");
        assert_ne!(psk_identity(b"").name, psk_identity(b" ").name);
    }
}
