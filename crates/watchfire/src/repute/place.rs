//! What an entry is about: a name, an address, a network, or a name and all below it.

use std::net::IpAddr;

use ipnet::IpNet;
use repute_proto::{Subject, SubjectSyntax};

/// What one entry of the data is about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// All names below this one, without itself: `*.example.org`.
    Below(String),
    /// A text of an application whose subjects are free.
    Free(String),
    /// One name.
    Name(String),
    /// An address or a network: `192.0.2.1`, `192.0.2.0/24`.
    Net(IpNet),
    /// A name and all below it: `.example.org`.
    Tree(String),
}

/// What is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "these are all")]
pub enum Target<'a> {
    /// An address.
    Address(IpAddr),
    /// A text of an application whose subjects are free.
    Free(&'a str),
    /// A name, in small letters.
    Name(&'a str),
}

impl<'a> Target<'a> {
    /// The target that a subject of an application is, which is normalised.
    pub fn of(syntax: SubjectSyntax, subject: &'a str) -> Self {
        match syntax {
            SubjectSyntax::NameOrAddress => subject.parse().map_or(Self::Name(subject), Self::Address),
            _ => Self::Free(subject),
        }
    }
}

impl Place {
    /// Reads what an entry says it is about.
    ///
    /// # Errors
    /// When it is nothing that can be looked up; says why.
    pub fn parse(syntax: SubjectSyntax, text: &str) -> Result<Self, String> {
        let normal = |text: &str| Subject::new(syntax, text, None).map(|subject| subject.as_str().to_owned());
        if syntax != SubjectSyntax::NameOrAddress {
            return normal(text).map(Self::Free).map_err(|error| error.to_string());
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Net(address.into()));
        }
        if text.contains('/') {
            let wanted = "not a network: write it as in 192.0.2.0/24 or 2001:db8::/32";
            let net: IpNet = text.parse().map_err(|_| wanted.to_owned())?;
            if net != net.trunc() {
                return Err(format!("the network has host bits: write {}", net.trunc()));
            }
            return Ok(Self::Net(net));
        }
        let (name, kind): (&str, fn(String) -> Self) = if let Some(name) = text.strip_prefix("*.") {
            (name, Self::Below)
        } else if let Some(name) = text.strip_prefix('.') {
            (name, Self::Tree)
        } else {
            (text, Self::Name)
        };
        if is_normal(name) {
            return Ok(kind(name.to_owned()));
        }
        normal(name).map(kind).map_err(|error| error.to_string())
    }

    /// As it is written in data.
    pub fn text(&self) -> String {
        match self {
            Self::Below(name) => format!("*.{name}"),
            Self::Free(name) | Self::Name(name) => name.clone(),
            Self::Net(net) if net.prefix_len() == net.max_prefix_len() => net.addr().to_string(),
            Self::Net(net) => net.to_string(),
            Self::Tree(name) => format!(".{name}"),
        }
    }

    /// The octets by which it is found.
    pub(super) fn key(&self, out: &mut Vec<u8>) {
        out.clear();
        match self {
            Self::Below(name) => named(b'b', name, out),
            Self::Free(name) => named(b'f', name, out),
            Self::Name(name) => named(b'n', name, out),
            Self::Net(net) => network(net.network(), net.prefix_len(), out),
            Self::Tree(name) => named(b't', name, out),
        }
    }
}

/// The key of a name of this kind.
pub(super) fn named(kind: u8, name: &str, out: &mut Vec<u8>) {
    out.clear();
    out.push(kind);
    out.extend_from_slice(name.as_bytes());
}

/// The key of a network, whose address has no host bits.
pub(super) fn network(address: IpAddr, len: u8, out: &mut Vec<u8>) {
    out.clear();
    match address {
        IpAddr::V4(address) if len == 32 => {
            out.push(4);
            out.extend_from_slice(&address.octets());
        }
        IpAddr::V4(address) => {
            out.extend_from_slice(&[5, len]);
            out.extend_from_slice(&address.octets());
        }
        IpAddr::V6(address) if len == 128 => {
            out.push(6);
            out.extend_from_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            out.extend_from_slice(&[7, len]);
            out.extend_from_slice(&address.octets());
        }
    }
}

/// What nearly all names look like; those pass without the work that international ones need.
fn is_normal(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with("xn--")
            && label.bytes().all(|octet| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use SubjectSyntax::{Free, NameOrAddress};

    #[test]
    fn places_are_read_normalised_and_written_back() {
        for (text, wanted) in [
            ("Example.ORG", "example.org"),
            ("example.org.", "example.org"),
            ("bücher.example", "xn--bcher-kva.example"),
            (".Example.org", ".example.org"),
            ("*.example.org", "*.example.org"),
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1/32", "192.0.2.1"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("2001:DB8:0::1", "2001:db8::1"),
        ] {
            let place = Place::parse(NameOrAddress, text).unwrap();
            assert_eq!(place.text(), wanted);
            assert_eq!(Place::parse(NameOrAddress, wanted), Ok(place));
        }
        assert_eq!(Place::parse(Free, "192.0.2.1/24"), Ok(Place::Free("192.0.2.1/24".into())));
    }

    #[test]
    fn what_cannot_be_looked_up_is_refused() {
        for (bad, why) in [
            ("", "empty"),
            ("a b", "neither"),
            ("192.0.2.1/24", "write 192.0.2.0/24"),
            ("192.0.2.0/33", "not a network"),
            ("user@example.org", "neither"),
            ("*.", "empty"),
            ("a\u{7}b", "control"),
        ] {
            let error = Place::parse(NameOrAddress, bad).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
