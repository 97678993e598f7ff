//! Subjects: what is asked about, and when two names are the same.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use unicode_normalization::UnicodeNormalization as _;

use super::Identity;

/// What a subject of an application looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SubjectSyntax {
    /// Any text.
    Free,
    /// A DNS name, internationalised or not, or an IP address. [RFC 7073 section 3.1](https://www.rfc-editor.org/rfc/rfc7073#section-3.1)
    NameOrAddress,
}

/// A subject, as it is asked about: checked, normalised, and safe in a URI.
///
/// Names of DNS are in their ASCII form and small letters, addresses as RFC 5952 writes them, other texts in Unicode's
/// normalisation form C.
///
/// ```
/// use repute_proto::{Subject, SubjectSyntax};
/// let subject = Subject::new(SubjectSyntax::NameOrAddress, "Bücher.Example.", None)?;
/// assert_eq!(subject.as_str(), "xn--bcher-kva.example");
/// assert!(Subject::new(SubjectSyntax::Free, "..", None).is_err());
/// # Ok::<(), repute_proto::InvalidSubject>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(String);

/// Why a text is no subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSubject {
    /// It has a control character.
    #[error("a subject has no control characters")]
    ControlCharacter,
    /// It would climb in a path.
    #[error("the subject would be a path segment that climbs")]
    DotSegment,
    /// There is none.
    #[error("the subject is empty")]
    Empty,
    /// It is no name of DNS and no address.
    #[error("the subject is neither a DNS name nor an IP address")]
    NotANameOrAddress,
    /// It is longer than [`Subject::MAX`].
    #[error("the subject is longer than 1024 octets")]
    TooLong,
    /// The identity has subjects of another kind.
    #[error("the subject is not what {0} identifies")]
    WrongIdentity(Identity),
}

impl Subject {
    /// Octets of the longest subject.
    pub const MAX: usize = 1024;

    /// Checks and normalises a subject.
    ///
    /// # Errors
    /// When it is empty, too long, has control characters, is `.` or `..`, or is not of the syntax.
    pub fn new(syntax: SubjectSyntax, text: &str, identity: Option<Identity>) -> Result<Self, InvalidSubject> {
        if text.len() > Self::MAX {
            return Err(InvalidSubject::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidSubject::ControlCharacter);
        }
        let subject = match syntax {
            SubjectSyntax::Free => text.nfc().collect(),
            SubjectSyntax::NameOrAddress => name_or_address(text, identity)?,
        };
        match subject.as_str() {
            "" => Err(InvalidSubject::Empty),
            "." | ".." => Err(InvalidSubject::DotSegment),
            subject if subject.len() > Self::MAX => Err(InvalidSubject::TooLong),
            _ => Ok(Self(subject)),
        }
    }

    /// As it is asked about.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a rater that says it rated this text rated this subject.
    pub fn matches(&self, syntax: SubjectSyntax, rated: &str) -> bool {
        // The usual answer first: it says what was asked.
        self.0 == rated || Self::new(syntax, rated, None).is_ok_and(|rated| rated == *self)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn name_or_address(text: &str, identity: Option<Identity>) -> Result<String, InvalidSubject> {
    if text.is_empty() {
        return Err(InvalidSubject::Empty);
    }
    if matches!(text, "." | "..") {
        return Err(InvalidSubject::DotSegment);
    }
    let wrong = |is_wrong: bool| match identity {
        Some(identity) if is_wrong => Err(InvalidSubject::WrongIdentity(identity)),
        _ => Ok(()),
    };
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        use Identity::{Dkim, From, Ipv4, Ipv6, MailFrom, Spf};
        let names_only = matches!(identity, Some(Dkim | Spf | From | MailFrom));
        let other = if address.is_ipv4() { Ipv6 } else { Ipv4 };
        wrong(names_only || identity == Some(other))?;
        return Ok(address.to_string());
    }
    wrong(matches!(identity, Some(Identity::Ipv4 | Identity::Ipv6)))?;
    let text = text.strip_suffix('.').unwrap_or(text);
    // What nearly all names look like is in its ASCII form already.
    let is_plain = text.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_'));
    let is_encoded = || text.as_bytes().windows(4).any(|start| start.eq_ignore_ascii_case(b"xn--"));
    if is_plain && !is_encoded() {
        return if is_dns_name(text) { Ok(text.to_ascii_lowercase()) } else { Err(InvalidSubject::NotANameOrAddress) };
    }
    // Names with underscores occur in HELO and in SPF; IDNA's strict rules are for hosts.
    let name = idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::EMPTY)
        .map_err(|_| InvalidSubject::NotANameOrAddress)?;
    if is_dns_name(&name) { Ok(own(name)) } else { Err(InvalidSubject::NotANameOrAddress) }
}

fn own(name: Cow<'_, str>) -> String {
    let mut name = name.into_owned();
    name.make_ascii_lowercase();
    name
}

fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use SubjectSyntax::{Free, NameOrAddress};

    #[test]
    fn names_and_addresses_are_normalised() {
        for (text, normal) in [
            ("Example.ORG", "example.org"),
            ("example.org.", "example.org"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("_spf.example.org", "_spf.example.org"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("[192.0.2.1]", "192.0.2.1"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(Subject::new(NameOrAddress, text, None).unwrap().as_str(), normal);
        }
        for bad in ["user@example.org", "a..b", "-/-", "a b", "exam%70le.org", "a/b", "x\\y", "[::1", &"a".repeat(64)] {
            assert_eq!(Subject::new(NameOrAddress, bad, None), Err(InvalidSubject::NotANameOrAddress), "{bad}");
        }
    }

    #[test]
    fn an_identity_decides_between_names_and_addresses() {
        let new = |text, identity| Subject::new(NameOrAddress, text, Some(identity)).map(|_| ());
        for identity in Identity::ALL {
            let wrong = Err(InvalidSubject::WrongIdentity(identity));
            let takes_names = !matches!(identity, Identity::Ipv4 | Identity::Ipv6);
            assert_eq!(new("example.org", identity), if takes_names { Ok(()) } else { wrong });
            let takes_v4 = matches!(identity, Identity::Ipv4 | Identity::Helo);
            assert_eq!(new("192.0.2.1", identity), if takes_v4 { Ok(()) } else { wrong });
            let takes_v6 = matches!(identity, Identity::Ipv6 | Identity::Helo);
            assert_eq!(new("2001:db8::1", identity), if takes_v6 { Ok(()) } else { wrong });
        }
    }

    #[test]
    fn what_would_harm_a_uri_is_refused() {
        for (bad, why) in [
            ("", InvalidSubject::Empty),
            (".", InvalidSubject::DotSegment),
            ("..", InvalidSubject::DotSegment),
            ("a\0b", InvalidSubject::ControlCharacter),
            ("a\r\nb", InvalidSubject::ControlCharacter),
            ("a\u{85}b", InvalidSubject::ControlCharacter),
            (&"x".repeat(1025), InvalidSubject::TooLong),
        ] {
            assert_eq!(Subject::new(Free, bad, None), Err(why), "{bad:?}");
            assert_eq!(Subject::new(NameOrAddress, bad, None), Err(why), "{bad:?}");
        }
        assert!(Subject::new(Free, &"x".repeat(1024), None).is_ok());
    }

    #[test]
    fn free_text_is_normalised_to_nfc() {
        let subject = Subject::new(Free, "e\u{301}", None).unwrap();
        assert_eq!(subject.as_str(), "é");
        // What grows in normalisation is measured afterwards.
        assert_eq!(Subject::new(Free, &"\u{1d160}".repeat(256), None), Err(InvalidSubject::TooLong));
    }

    #[test]
    fn the_rated_name_matches_however_it_is_written() {
        let subject = Subject::new(NameOrAddress, "bücher.example", None).unwrap();
        for same in ["xn--bcher-kva.example", "BÜCHER.EXAMPLE", "XN--BCHER-KVA.example."] {
            assert!(subject.matches(NameOrAddress, same), "{same}");
        }
        for other in ["bucher.example", "", "xn--bcher-kva.example.org", "\0"] {
            assert!(!subject.matches(NameOrAddress, other), "{other}");
        }
    }
}
