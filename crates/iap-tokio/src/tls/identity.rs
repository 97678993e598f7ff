//! Who the peer is: what its authenticated certificate says about it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::error::AuthError;
use super::oid::IapOids;

/// Most subject alternative names, and most attributes of the subject, that a peer's certificate may have.
pub const MAX_NAMES: usize = 256;

/// An authenticated peer.
///
/// Made only after its certificate has passed path validation. Strings are as the certificate has them; only
/// [`display`](Self::display) is fit for logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    common_name: Option<String>,
    organizational_units: Vec<String>,
    organizations: Vec<String>,
    alternative_names: AlternativeNames,
    fingerprint: Fingerprint,
    serial: String,
    issuer: String,
    not_before: i64,
    not_after: i64,
    roles: Roles,
    display: String,
}

impl Identity {
    /// Reads a certificate in DER. Reading is not believing: this checks no signature, date or issuer.
    ///
    /// # Errors
    /// [`AuthError::BadCertificate`] when it is not a certificate, has an extension twice, or has more than
    /// [`MAX_NAMES`] names.
    pub fn from_certificate(der: &[u8], oids: &IapOids) -> Result<Self, AuthError> {
        let bad = |problem: &str| AuthError::BadCertificate { problem: problem.to_owned() };
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| bad("not X.509"))?;
        if !rest.is_empty() {
            return Err(bad("octets after its end"));
        }
        let subject = certificate.subject();
        if subject.iter_attributes().count() > MAX_NAMES {
            return Err(bad("too many attributes in its subject"));
        }
        let names = certificate.subject_alternative_name().map_err(|_| bad("subjectAltName is broken"))?;
        let alternative_names = names
            .map_or_else(|| Ok(AlternativeNames::default()), |ext| AlternativeNames::new(&ext.value.general_names))?;
        let usage = certificate.extended_key_usage().map_err(|_| bad("extendedKeyUsage is broken"))?;
        let roles = usage.map_or_else(Roles::default, |ext| {
            let has = |oid: &super::Oid| ext.value.other.iter().any(|given| given.as_bytes() == oid.as_der_contents());
            Roles {
                generator: has(&oids.generator),
                consumer: has(&oids.consumer),
                configurator: has(&oids.configurator),
            }
        });
        // A subject with several common names has no single one to go by.
        let mut common_names = texts(subject.iter_common_name());
        let common_name = if common_names.len() == 1 { common_names.pop() } else { None };
        let fingerprint = Fingerprint::of(der);
        let display = common_name
            .as_deref()
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .or_else(|| alternative_names.first())
            .map_or_else(|| format!("sha256:{fingerprint}"), |name| printable(&name));
        Ok(Self {
            common_name,
            organizational_units: texts(subject.iter_organizational_unit()),
            organizations: texts(subject.iter_organization()),
            alternative_names,
            fingerprint,
            serial: certificate.raw_serial().iter().map(|octet| format!("{octet:02x}")).collect(),
            issuer: name_text(certificate.issuer()),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            roles,
            display,
        })
    }

    /// The name for logs and for `peer` in outputs: common name, else the first alternative name, else `sha256:` and
    /// the fingerprint. Control characters are escaped, and it is at most 256 characters long.
    pub fn display(&self) -> &str {
        &self.display
    }

    /// The subject's common name, if it has exactly one.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The subject's organizational units.
    pub fn organizational_units(&self) -> &[String] {
        &self.organizational_units
    }

    /// The subject's organizations.
    pub fn organizations(&self) -> &[String] {
        &self.organizations
    }

    /// The subject alternative names.
    pub fn alternative_names(&self) -> &AlternativeNames {
        &self.alternative_names
    }

    /// SHA-256 of the certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The serial number in hexadecimal, as encoded.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The issuer's distinguished name, control characters escaped.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Begin of validity, in seconds since 1970-01-01 UTC.
    pub fn not_before(&self) -> i64 {
        self.not_before
    }

    /// End of validity, in seconds since 1970-01-01 UTC.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// The IAP roles that the certificate gives.
    pub fn roles(&self) -> Roles {
        self.roles
    }
}

/// The name for logs.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.display)
    }
}

/// The IAP roles of a certificate: its extended key usages. draft-ietf-idwg-iap-01 section 6.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub struct Roles {
    /// `IAP_ALERT_GENERATOR`: may be an analyzer.
    pub generator: bool,
    /// `IAP_ALERT_CONSUMER`: may be a manager that takes alerts.
    pub consumer: bool,
    /// `IAP_IDEF_CONFIGURATOR`: may be a manager that sends commands.
    pub configurator: bool,
}

impl Roles {
    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        !(self.generator || self.consumer || self.configurator)
    }

    /// The draft's names of the roles.
    pub fn names(self) -> Vec<&'static str> {
        [
            (self.generator, "IAP_ALERT_GENERATOR"),
            (self.consumer, "IAP_ALERT_CONSUMER"),
            (self.configurator, "IAP_IDEF_CONFIGURATOR"),
        ]
        .into_iter()
        .filter_map(|(has, name)| has.then_some(name))
        .collect()
    }
}

/// The subject alternative names of a certificate, in its order within each kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AlternativeNames {
    /// `dNSName`.
    pub dns: Vec<String>,
    /// `iPAddress`.
    pub ip: Vec<IpAddr>,
    /// `uniformResourceIdentifier`.
    pub uri: Vec<String>,
    /// `rfc822Name`.
    pub email: Vec<String>,
    /// Whether the certificate has the extension at all, be it with names of other kinds only.
    pub present: bool,
}

impl AlternativeNames {
    fn new(names: &[GeneralName<'_>]) -> Result<Self, AuthError> {
        if names.len() > MAX_NAMES {
            return Err(AuthError::BadCertificate { problem: format!("more than {MAX_NAMES} alternative names") });
        }
        let mut found = Self { present: true, ..Self::default() };
        for name in names {
            match name {
                GeneralName::DNSName(name) => found.dns.push((*name).to_owned()),
                GeneralName::URI(name) => found.uri.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => found.email.push((*name).to_owned()),
                GeneralName::IPAddress(octets) => {
                    if let Ok(v4) = <[u8; 4]>::try_from(*octets) {
                        found.ip.push(v4.into());
                    } else if let Ok(v6) = <[u8; 16]>::try_from(*octets) {
                        found.ip.push(v6.into());
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// The first name: DNS, then address, URI, e-mail.
    fn first(&self) -> Option<String> {
        let first_ip = self.ip.first().map(IpAddr::to_string);
        self.dns
            .first()
            .cloned()
            .or(first_ip)
            .or_else(|| self.uri.first().cloned())
            .or_else(|| self.email.first().cloned())
    }
}

/// SHA-256 of a certificate's DER.
///
/// A fingerprint is public (it is computed from what the peer shows to everyone), so comparing two is no secret
/// comparison and need not take constant time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Computes it.
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// The octets.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// 64 digits in lower case.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// 64 hexadecimal digits, in either case; colons between octets are ignored.
impl FromStr for Fingerprint {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut octets = [0; 32];
        let digits: Vec<u8> = text.bytes().filter(|octet| *octet != b':').take(65).collect();
        if digits.len() != 64 {
            return Err(());
        }
        for (octet, pair) in octets.iter_mut().zip(digits.chunks(2)) {
            for digit in pair {
                let value = char::from(*digit).to_digit(16).ok_or(())?;
                *octet = (*octet << 4) | u8::try_from(value).expect("a hexadecimal digit is below 16");
            }
        }
        Ok(Self(octets))
    }
}

fn texts<'a>(attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> Vec<String> {
    attributes.filter_map(|attribute| attribute.as_str().ok()).map(str::to_owned).collect()
}

pub(super) fn name_text(name: &X509Name<'_>) -> String {
    printable(&name.to_string())
}

/// Text from a certificate made fit for a log: control and direction-changing characters escaped, at most 256 characters.
pub(super) fn printable(text: &str) -> String {
    const LONGEST: usize = 256;
    let mut clean = String::new();
    for letter in text.chars().take(LONGEST) {
        let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if letter.is_control() || turns {
            clean.extend(letter.escape_default());
        } else {
            clean.push(letter);
        }
    }
    match clean.char_indices().nth(LONGEST) {
        Some((end, _)) => clean[..end].to_owned(),
        None => clean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_read_what_they_write() {
        let fingerprint = Fingerprint::of(b"certificate");
        let text = fingerprint.to_string();
        assert_eq!(text.parse(), Ok(fingerprint));
        assert_eq!(text.to_uppercase().parse(), Ok(fingerprint));
        let pairs: Vec<&str> = (0..32).map(|at| &text[2 * at..2 * at + 2]).collect();
        assert_eq!(pairs.join(":").parse(), Ok(fingerprint));
        for bad in ["", "ab", &text[1..], &format!("{text}0"), &text.replacen(&text[..1], "g", 1)] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(()), "{bad}");
        }
    }

    #[test]
    fn printable_text_has_no_control_characters() {
        assert_eq!(printable("sensor-1"), "sensor-1");
        assert_eq!(printable("a\r\nb\u{202e}c"), "a\\r\\nb\\u{202e}c");
        assert_eq!(printable(&"\n".repeat(300)).chars().count(), 256);
        assert_eq!(printable("Zürich"), "Zürich");
    }

    #[test]
    fn garbage_is_no_certificate() {
        for garbage in [&b""[..], b"0", &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30; 64]] {
            assert!(Identity::from_certificate(garbage, &IapOids::default()).is_err());
        }
    }
}
