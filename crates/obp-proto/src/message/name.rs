//! DNS names, service prefixes and ports. draft-hallambaker-omnibroker-08 sections 5.1.7 and 7.1.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU16;
use std::str::FromStr;

use super::structure::plain;

/// A DNS name in ASCII: labels of letters, digits, hyphens and underscores, 63 octets at most, joined by dots, 253
/// octets in all, with or without the dot of the root.
///
/// Compared without regard to case and to that dot; its spelling is kept, because message authentication codes are
/// made over it. Names in other scripts must be converted to A-labels (punycode) before: that takes tables which this
/// crate leaves to its callers (the `idna` crate has them), and the wire form refuses them.
#[derive(Clone)]
pub struct Name(Box<str>);

/// Why a text is no [`Name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidName {
    /// Nothing, or nothing but a dot.
    #[error("a DNS name is empty")]
    Empty,
    /// More than 253 octets.
    #[error("a DNS name is longer than 253 octets")]
    TooLong,
    /// A label without octets.
    #[error("a DNS name has an empty label")]
    EmptyLabel,
    /// A label of more than 63 octets.
    #[error("a label of a DNS name is longer than 63 octets")]
    LabelTooLong,
    /// Not ASCII: write it in punycode (`xn--`).
    #[error("a DNS name is not ASCII; write it in punycode")]
    NotAscii,
    /// Something else than letters, digits, hyphens and underscores.
    #[error("the octet {0:#04x} stands in a DNS name")]
    Octet(u8),
    /// A label begins or ends with a hyphen.
    #[error("a label of a DNS name begins or ends with a hyphen")]
    Hyphen,
}

fn check(text: &str) -> Result<(), InvalidName> {
    if !text.is_ascii() {
        return Err(InvalidName::NotAscii);
    }
    let labels = text.strip_suffix('.').unwrap_or(text);
    if labels.is_empty() {
        return Err(InvalidName::Empty);
    }
    if labels.len() > 253 {
        return Err(InvalidName::TooLong);
    }
    for label in labels.split('.') {
        if label.is_empty() {
            return Err(InvalidName::EmptyLabel);
        }
        if label.len() > 63 {
            return Err(InvalidName::LabelTooLong);
        }
        if let Some(octet) = label.bytes().find(|octet| !(octet.is_ascii_alphanumeric() || b"-_".contains(octet))) {
            return Err(InvalidName::Octet(octet));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(InvalidName::Hyphen);
        }
    }
    Ok(())
}

impl Name {
    /// The name as it was spelled.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the dot of the root.
    fn labels(&self) -> &str {
        self.0.strip_suffix('.').unwrap_or(&self.0)
    }

    /// The name in small letters and without a final dot: a key for maps and a question for the DNS.
    pub fn to_canonical(&self) -> String {
        self.labels().to_ascii_lowercase()
    }

    /// Whether this is `zone`, or a name below it.
    pub fn is_within(&self, zone: &Self) -> bool {
        let (name, zone) = (self.labels().as_bytes(), zone.labels().as_bytes());
        let Some(cut) = name.len().checked_sub(zone.len()) else { return false };
        let Some((head, tail)) = name.split_at_checked(cut) else { return false };
        tail.eq_ignore_ascii_case(zone) && (head.is_empty() || head.ends_with(b"."))
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        check(text)?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.labels().eq_ignore_ascii_case(other.labels())
    }
}

impl Eq for Name {}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.labels().eq_ignore_ascii_case(other.strip_suffix('.').unwrap_or(other))
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for octet in self.labels().bytes() {
            state.write_u8(octet.to_ascii_lowercase());
        }
        state.write_u8(0xff);
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        let small = |name: &'_ Self| name.labels().bytes().map(|octet| octet.to_ascii_lowercase()).collect::<Vec<_>>();
        small(self).cmp(&small(other))
    }
}

/// The prefix under which the DNS lists a service: `_http`, `_http._tcp`, with or without a final dot.
///
/// Compared by its canonical form `_service._protocol` in small letters, in which a missing protocol means `_tcp`.
/// The spelling is kept.
#[derive(Clone)]
pub struct ServicePrefix(Box<str>);

/// Why a text is no [`ServicePrefix`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidServicePrefix {
    /// Not a DNS name.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A label without its underscore.
    #[error("a label of a service prefix does not begin with an underscore")]
    NoUnderscore,
    /// An underscore and nothing more.
    #[error("a label of a service prefix is nothing but an underscore")]
    Bare,
    /// More than service and protocol.
    #[error("a service prefix has more than two labels")]
    TooManyLabels,
}

impl ServicePrefix {
    /// The prefix as it was spelled.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> (&str, &str) {
        let labels = self.0.strip_suffix('.').unwrap_or(&self.0);
        labels.split_once('.').unwrap_or((labels, "_tcp"))
    }

    /// The service without its underscore: `http`.
    pub fn service(&self) -> &str {
        self.parts().0.strip_prefix('_').unwrap_or_default()
    }

    /// The protocol without its underscore: `tcp` unless another is named.
    pub fn protocol(&self) -> &str {
        self.parts().1.strip_prefix('_').unwrap_or_default()
    }

    /// `_service._protocol` in small letters: what stands before a domain in the DNS.
    pub fn to_canonical(&self) -> String {
        let (service, protocol) = self.parts();
        format!("{service}.{protocol}").to_ascii_lowercase()
    }
}

impl FromStr for ServicePrefix {
    type Err = InvalidServicePrefix;

    fn from_str(text: &str) -> Result<Self, InvalidServicePrefix> {
        check(text)?;
        let labels = text.strip_suffix('.').unwrap_or(text);
        for (at, label) in labels.split('.').enumerate() {
            if at == 2 {
                return Err(InvalidServicePrefix::TooManyLabels);
            }
            match label.strip_prefix('_') {
                None => return Err(InvalidServicePrefix::NoUnderscore),
                Some("") => return Err(InvalidServicePrefix::Bare),
                Some(_) => {}
            }
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for ServicePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServicePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl PartialEq for ServicePrefix {
    fn eq(&self, other: &Self) -> bool {
        let ((service, protocol), (others, others_protocol)) = (self.parts(), other.parts());
        service.eq_ignore_ascii_case(others) && protocol.eq_ignore_ascii_case(others_protocol)
    }
}

impl Eq for ServicePrefix {}

impl Hash for ServicePrefix {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.to_canonical().hash(state);
    }
}

/// A TCP or UDP port: 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(NonZeroU16);

/// Not a [`Port`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a port is 1 to 65535, not {0}")]
pub struct InvalidPort(u64);

impl Port {
    /// The port of HTTP.
    pub const HTTP: Self = Self(NonZeroU16::new(80).expect("80 is not 0"));
    /// The port of HTTPS.
    pub const HTTPS: Self = Self(NonZeroU16::new(443).expect("443 is not 0"));

    /// The number.
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl TryFrom<u16> for Port {
    type Error = InvalidPort;

    fn try_from(port: u16) -> Result<Self, InvalidPort> {
        NonZeroU16::new(port).map(Self).ok_or_else(|| InvalidPort(port.into()))
    }
}

impl From<NonZeroU16> for Port {
    fn from(port: NonZeroU16) -> Self {
        Self(port)
    }
}

impl From<Port> for u16 {
    fn from(port: Port) -> Self {
        port.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl serde::Serialize for Port {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.get())
    }
}

impl<'de> serde::Deserialize<'de> for Port {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = Port;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port, 1 to 65535")
            }

            fn visit_u64<E: serde::de::Error>(self, port: u64) -> Result<Port, E> {
                let fits = u16::try_from(port).ok().and_then(NonZeroU16::new);
                fits.map(Port).ok_or_else(|| E::custom(InvalidPort(port)))
            }
        }

        deserializer.deserialize_u16(Visitor)
    }
}

/// Text on the wire, checked by `FromStr`, written by `as_str`.
macro_rules! by_text {
    ($($ty:ty),*) => {
        $(impl serde::Serialize for $ty {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $ty {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;

                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $ty;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a string")
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$ty, E> {
                        text.parse().map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(Visitor)
            }
        })*
    };
}
pub(crate) use by_text;

by_text!(Name, ServicePrefix);
plain!(Name, ServicePrefix, Port);

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn names_compare_without_case_and_keep_their_spelling() {
        assert_eq!(name("Example.com"), name("eXAMPLE.COM."));
        assert_eq!(name("Example.com").as_str(), "Example.com");
        assert_eq!(name("Example.com.").to_canonical(), "example.com");
        assert_ne!(name("example.com"), name("example.org"));
        let mut known = std::collections::HashSet::new();
        assert!(known.insert(name("a.example")));
        assert!(!known.insert(name("A.Example.")));
        assert_eq!(name("B.example").cmp(&name("a.example")), Ordering::Greater);
        assert!(name("www.Example.com").is_within(&name("example.com")));
        assert!(name("example.com").is_within(&name("example.com.")));
        assert!(!name("badexample.com").is_within(&name("example.com")));
        assert!(!name("com").is_within(&name("example.com")));
    }

    #[test]
    fn names_that_are_none_are_refused() {
        use InvalidName::*;
        let long = "a.".repeat(127) + "ab";
        for (text, why) in [
            ("", Empty),
            (".", Empty),
            ("a..b", EmptyLabel),
            (".a", EmptyLabel),
            ("bücher.example", NotAscii),
            ("a b", Octet(b' ')),
            ("a\n", Octet(b'\n')),
            ("*.example", Octet(b'*')),
            ("-a", Hyphen),
            ("a-.b", Hyphen),
            (&*"a".repeat(64), LabelTooLong),
            (&*long, TooLong),
        ] {
            assert_eq!(text.parse::<Name>(), Err(why), "{text}");
        }
        for good in ["xn--bcher-kva.example", "_dmarc.example", "a", &"a".repeat(63), &long[..253]] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
    }

    #[test]
    fn service_prefixes_are_read_in_all_spellings() {
        for (text, canonical) in [
            ("_http", "_http._tcp"),
            ("_http._tcp", "_http._tcp"),
            ("_HTTP._TCP.", "_http._tcp"),
            ("_make_coffee._wks.", "_make_coffee._wks"),
            ("_xmpp-client._tcp", "_xmpp-client._tcp"),
            ("_dns._udp", "_dns._udp"),
        ] {
            let prefix: ServicePrefix = text.parse().unwrap();
            assert_eq!(prefix.to_canonical(), canonical);
            assert_eq!(prefix.as_str(), text);
        }
        let http: ServicePrefix = "_http".parse().unwrap();
        assert_eq!(http, "_HTTP._tcp.".parse().unwrap());
        assert_ne!(http, "_http._udp".parse().unwrap());
        assert_eq!((http.service(), http.protocol()), ("http", "tcp"));
    }

    #[test]
    fn service_prefixes_that_are_none_are_refused() {
        use InvalidServicePrefix::*;
        for (text, why) in [
            ("http", NoUnderscore),
            ("_http.tcp", NoUnderscore),
            ("_", Bare),
            ("_http._", Bare),
            ("_http._tcp._x", TooManyLabels),
            ("", Name(InvalidName::Empty)),
            ("_h tp", Name(InvalidName::Octet(b' '))),
        ] {
            assert_eq!(text.parse::<ServicePrefix>(), Err(why), "{text}");
        }
    }

    #[test]
    fn ports_are_never_zero() {
        assert_eq!(Port::try_from(0), Err(InvalidPort(0)));
        assert_eq!(Port::try_from(443), Ok(Port::HTTPS));
        assert_eq!(u16::from(Port::HTTP), 80);
    }
}
