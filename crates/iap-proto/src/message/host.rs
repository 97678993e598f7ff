//! Hosts, as CONNECT and Via name them. draft-ietf-idwg-iap-01 sections 3.1 and 4.3.2.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::sync::Arc;

/// A host name, an IPv4 address, or an IPv6 address in brackets. At most 255 octets.
///
/// The text is kept as it was written. The draft's grammar (RFC 2616's) has no IPv6 form; the brackets of RFC 3986
/// are our addition.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host(Arc<str>);

impl Host {
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both name the same host: letters of either case are equal, a trailing dot does not count, and IPv6
    /// addresses are compared as addresses.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self.ipv6(), other.ipv6()) {
            (Some(a), Some(b)) => a == b,
            (None, None) => self.without_dot().eq_ignore_ascii_case(other.without_dot()),
            _ => false,
        }
    }

    fn without_dot(&self) -> &str {
        self.0.strip_suffix('.').unwrap_or(&self.0)
    }

    fn ipv6(&self) -> Option<Ipv6Addr> {
        self.0.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
    }
}

/// Why a text is not a [`Host`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a host name, an IPv4 address or an IPv6 address in brackets of at most 255 octets")]
#[non_exhaustive]
pub struct InvalidHost;

impl FromStr for Host {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let name = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_');
        let valid = match text.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok()),
            None => !text.is_empty() && text != "." && text.bytes().all(name),
        };
        if valid && text.len() <= 255 { Ok(Self(text.into())) } else { Err(InvalidHost) }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        text.parse().unwrap()
    }

    #[test]
    fn accepts_names_and_addresses() {
        for good in ["M.DOM.ORG", "m_1.example.", "192.0.2.1", "[2001:db8::1]", "[::ffff:192.0.2.1]", "a"] {
            assert_eq!(host(good).as_str(), good);
        }
        let long = "a".repeat(256);
        for bad in ["", ".", "a b", "a\0", "ä", "2001:db8::1", "[::1", "[]", "[x]", "a/b", "a:1", "a@b", &long] {
            assert!(bad.parse::<Host>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sameness_ignores_case_dot_and_address_spelling() {
        assert!(host("P.Dom.Org.").is_same(&host("p.dom.org")));
        assert!(host("[2001:DB8::1]").is_same(&host("[2001:db8:0:0:0:0:0:1]")));
        assert!(!host("p.dom.org").is_same(&host("p2.dom.org")));
        assert!(!host("[::1]").is_same(&host("localhost")));
    }
}
