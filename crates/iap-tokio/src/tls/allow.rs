//! Which of the certificates of the configured CAs may connect. draft-ietf-idwg-iap-01 section 6.6 wants certificates
//! that do not match the local configuration rejected, and names parts such as the organizational unit as a criterion.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::identity::{Fingerprint, Identity};

/// Certificates that may connect: those that match one of the rules. Without rules: every certificate of the CAs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowList {
    rules: Vec<AllowRule>,
}

impl AllowList {
    /// Whether one rule matches, or there is no rule.
    pub fn allows(&self, peer: &Identity) -> bool {
        self.rules.is_empty() || self.rules.iter().any(|rule| rule.matches(peer))
    }

    /// The rules.
    pub fn rules(&self) -> &[AllowRule] {
        &self.rules
    }
}

impl FromIterator<AllowRule> for AllowList {
    fn from_iter<I: IntoIterator<Item = AllowRule>>(rules: I) -> Self {
        Self { rules: rules.into_iter().collect() }
    }
}

/// A rule about a certificate.
///
/// | text | matches |
/// | --- | --- |
/// | `NAME` | an alternative name or the common name |
/// | `san:NAME` | an alternative name: DNS name, IP address, URI or e-mail address |
/// | `cn:NAME` | the subject's common name (none, if the subject has several) |
/// | `ou:NAME` | one of the subject's organizational units |
/// | `sha256:HEX` | the certificate itself; colons between octets are ignored |
///
/// Names are compared without regard to ASCII case. `*.example.org` stands for exactly one label in front of
/// `.example.org`; a star means something only as the whole left-most label of a DNS name or common name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AllowRule {
    /// An alternative name or the common name.
    Name(NamePattern),
    /// An alternative name.
    AlternativeName(NamePattern),
    /// The common name.
    CommonName(NamePattern),
    /// An organizational unit.
    OrganizationalUnit(String),
    /// The certificate itself.
    Fingerprint(Fingerprint),
}

impl AllowRule {
    /// Whether the rule names this peer.
    pub fn matches(&self, peer: &Identity) -> bool {
        match self {
            Self::Name(pattern) => pattern.matches_alternative(peer) || pattern.matches_common(peer),
            Self::AlternativeName(pattern) => pattern.matches_alternative(peer),
            Self::CommonName(pattern) => pattern.matches_common(peer),
            Self::OrganizationalUnit(unit) => {
                peer.organizational_units().iter().any(|given| given.eq_ignore_ascii_case(unit))
            }
            Self::Fingerprint(fingerprint) => *fingerprint == peer.fingerprint(),
        }
    }
}

/// An exact name, or one with `*` as its left-most label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
    text: String,
    address: Option<IpAddr>,
}

impl NamePattern {
    fn new(text: &str) -> Option<Self> {
        // A star anywhere else would be compared literally, which nobody means.
        let stars = text.bytes().filter(|octet| *octet == b'*').count();
        let wildcard = text.strip_prefix("*.").is_some_and(|parent| !parent.is_empty());
        if text.is_empty() || stars > usize::from(wildcard) {
            return None;
        }
        Some(Self { text: text.to_owned(), address: text.parse().ok() })
    }

    fn matches_alternative(&self, peer: &Identity) -> bool {
        let names = peer.alternative_names();
        let exact = |given: &String| given.eq_ignore_ascii_case(&self.text);
        names.dns.iter().any(|given| self.matches_host(given))
            || self.address.is_some_and(|address| names.ip.contains(&address))
            // The path of a URI and the local part of an e-mail address know upper and lower case.
            || names.uri.contains(&self.text)
            || names.email.iter().any(exact)
    }

    fn matches_common(&self, peer: &Identity) -> bool {
        peer.common_name().is_some_and(|given| self.matches_host(given))
    }

    fn matches_host(&self, given: &str) -> bool {
        // A certificate for a whole domain is nobody in particular: only its fingerprint can let it in.
        if given.contains('*') {
            return false;
        }
        let Some(parent) = self.text.strip_prefix("*.") else { return given.eq_ignore_ascii_case(&self.text) };
        given.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent))
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The text is not an allow rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an allow rule: {text:?}; use NAME, *.DOMAIN, san:NAME, cn:NAME, ou:NAME or sha256: and 64 digits")]
#[non_exhaustive]
pub struct InvalidRule {
    /// What was given.
    pub text: String,
}

impl FromStr for AllowRule {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        let wrong = || InvalidRule { text: text.to_owned() };
        let pattern = |name: &str| NamePattern::new(name).ok_or_else(wrong);
        let bare_address = text.parse::<IpAddr>().is_ok();
        match text.split_once(':') {
            Some((kind, name)) if !bare_address => match kind.to_ascii_lowercase().as_str() {
                "san" => Ok(Self::AlternativeName(pattern(name)?)),
                "cn" => Ok(Self::CommonName(pattern(name)?)),
                "ou" if !name.is_empty() => Ok(Self::OrganizationalUnit(name.to_owned())),
                "sha256" => name.parse().map(Self::Fingerprint).map_err(|()| wrong()),
                _ => Err(wrong()),
            },
            _ => Ok(Self::Name(pattern(text)?)),
        }
    }
}

/// The text that [`FromStr`] reads.
impl fmt::Display for AllowRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(pattern) => write!(f, "{pattern}"),
            Self::AlternativeName(pattern) => write!(f, "san:{pattern}"),
            Self::CommonName(pattern) => write!(f, "cn:{pattern}"),
            Self::OrganizationalUnit(unit) => write!(f, "ou:{unit}"),
            Self::Fingerprint(fingerprint) => write!(f, "sha256:{fingerprint}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_what_they_write() {
        let digest = "ab".repeat(32);
        for text in [
            "sensor-1",
            "*.example.org",
            "san:10.0.0.1",
            "cn:Sensor 1",
            "ou:IDS",
            "2001:db8::1",
            "san:2001:db8::1",
            "san:spiffe://example.org/ids",
        ] {
            assert_eq!(text.parse::<AllowRule>().unwrap().to_string(), text);
        }
        assert_eq!(format!("SHA256:{digest}").parse::<AllowRule>().unwrap().to_string(), format!("sha256:{digest}"));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "*",
            "*.",
            "a*.example.org",
            "x.*.org",
            "*.*.org",
            "ou:",
            "cn:",
            "san:",
            "sha256:",
            "sha256:12",
            "spki:aa",
            "spiffe://example.org/ids",
        ] {
            assert!(text.parse::<AllowRule>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_star_is_one_label() {
        let pattern = NamePattern::new("*.Example.org").unwrap();
        for name in ["a.example.org", "sensor-1.EXAMPLE.ORG"] {
            assert!(pattern.matches_host(name), "{name}");
        }
        for name in [
            "example.org",
            ".example.org",
            "a.b.example.org",
            "*.example.org",
            "aexample.org",
            "a.example.org.evil.net",
        ] {
            assert!(!pattern.matches_host(name), "{name}");
        }
    }
}
