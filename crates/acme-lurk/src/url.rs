//! URLs that others give us, and which of them we go to.
//!
//! An ACME server says in its answers where to go next, and a delegate fetches certificates from wherever the order says.
//! Whoever controls the answer could so make us talk to somebody inside our own network. Requests that are signed go to
//! the server that they are for and nowhere else; certificates are fetched over https from public places, unless the
//! configuration names others.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::names;

/// A URL of http or https, in the one form that all parties read alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    is_https: bool,
    host: Host,
    port: u16,
    target: String,
}

/// The host of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there are these two")]
pub enum Host {
    /// A DNS name, in lower case.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl HttpUrl {
    /// Reads an absolute URL. What could be read in two ways is none: user and password, a fragment, a backslash, white
    /// space, a port of 0, an address in an unusual form.
    pub fn parse(url: &str) -> Option<Self> {
        if !url.bytes().all(|octet| octet.is_ascii_graphic() && !matches!(octet, b'\\' | b'#' | b'"' | b'<' | b'>')) {
            return None;
        }
        let (scheme, rest) = url.split_once("://")?;
        let is_https = scheme.eq_ignore_ascii_case("https");
        if !is_https && !scheme.eq_ignore_ascii_case("http") {
            return None;
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return None;
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (address, behind) = rest.split_once(']')?;
                let address: Ipv6Addr = address.parse().ok()?;
                (Host::Address(address.into()), behind)
            }
            None => {
                let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
                let host = match host.parse::<Ipv4Addr>() {
                    Ok(address) => Host::Address(address.into()),
                    Err(_) => Host::Name(names::normalize(host).filter(|name| !name.starts_with('*'))?),
                };
                (host, port)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => {
                if is_https {
                    443
                } else {
                    80
                }
            }
            Some(digits) if digits.bytes().all(|octet| octet.is_ascii_digit()) => digits.parse().ok()?,
            _ => return None,
        };
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        (port > 0).then_some(Self { is_https, host, port, target })
    }

    /// Whether it is one of https.
    pub const fn is_https(&self) -> bool {
        self.is_https
    }

    /// Its host.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// Its port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, as they stand in the first line of a request.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Scheme, host and port: `https://ca.example:443`.
    pub fn origin(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        format!("{scheme}://{}:{}", self.host, self.port)
    }
}

/// Where requests may go, beyond what is always allowed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UrlRules {
    origins: Vec<String>,
    reach: Reach,
}

/// Which addresses the driver may connect to for a request. A name is only as public as what it leads to, so it is the
/// driver that looks, when it has resolved the name: [`is_public`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_enums, reason = "there are these two")]
pub enum Reach {
    /// Public ones alone.
    #[default]
    Public,
    /// All.
    Any,
}

/// Why a request does not go there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlRefusal {
    /// It is no URL of http or https.
    #[error("this is no URL of https that can be read in one way only")]
    Malformed,
    /// It is not https.
    #[error("only https is spoken")]
    NotHttps,
    /// It is somewhere else than the server that said it.
    #[error("it is not of the server that was asked: allow its origin if it belongs to it")]
    Elsewhere,
    /// It leads to an address or a name that is not public.
    #[error("it leads to a host that is not public: allow its origin if that is meant")]
    NotPublic,
}

impl UrlRules {
    /// Signed requests to the server's own origin, certificates from public places.
    pub const fn new() -> Self {
        Self { origins: Vec::new(), reach: Reach::Public }
    }

    /// The same, and everything of this origin too, whatever its addresses: `https://ca.example`,
    /// `http://127.0.0.1:4001`. None if that is no origin.
    #[must_use]
    pub fn with_origin(mut self, origin: &str) -> Option<Self> {
        self.origins.push(HttpUrl::parse(origin)?.origin());
        Some(self)
    }

    /// The same, with certificates from places that are not public too: for laboratories and private networks.
    #[must_use]
    pub const fn with_reach(mut self, reach: Reach) -> Self {
        self.reach = reach;
        self
    }

    /// Whether a signed request may go to a URL that the server at `home` has said.
    ///
    /// # Errors
    /// When it may not.
    pub fn signed(&self, home: &str, url: &str) -> Result<(), UrlRefusal> {
        let url = HttpUrl::parse(url).ok_or(UrlRefusal::Malformed)?;
        let origin = url.origin();
        if self.origins.contains(&origin) {
            return Ok(());
        }
        if !url.is_https {
            return Err(UrlRefusal::NotHttps);
        }
        let home = HttpUrl::parse(home).ok_or(UrlRefusal::Malformed)?;
        if home.origin() == origin { Ok(()) } else { Err(UrlRefusal::Elsewhere) }
    }

    /// Whether a certificate may be fetched from a URL that stands in an order, and which addresses will do.
    ///
    /// # Errors
    /// When it may not.
    pub fn fetched(&self, url: &str) -> Result<Reach, UrlRefusal> {
        let url = HttpUrl::parse(url).ok_or(UrlRefusal::Malformed)?;
        if self.origins.contains(&url.origin()) {
            return Ok(Reach::Any);
        }
        if !url.is_https {
            return Err(UrlRefusal::NotHttps);
        }
        let is_public = match &url.host {
            Host::Address(address) => is_public(*address),
            Host::Name(name) => {
                let inside = ["localhost", "local", "internal", "home.arpa"];
                name.contains('.')
                    && !inside.iter().any(|zone| name.strip_suffix(zone).is_some_and(|rest| rest.ends_with('.')))
            }
        };
        if self.reach == Reach::Public && !is_public {
            return Err(UrlRefusal::NotPublic);
        }
        Ok(self.reach)
    }
}

/// Whether an address is one of the public network, by the registries of addresses for special purposes (RFC 6890).
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => {
            if let Some(inside) = address.to_ipv4_mapped() {
                return is_public_v4(inside);
            }
            let [first, second, rest @ ..] = address.segments();
            // NAT64 leads to the IPv4 address in it; 6to4 too. That is so below 64:ff9b::/96 (RFC 6052); below
            // 64:ff9b:1::/48 (RFC 8215) only its network knows where the address stands.
            let embedded = match (first, second) {
                (0x64, 0xff9b) if rest.starts_with(&[0; 4]) => address.octets().last_chunk::<4>().copied(),
                (0x2002, _) => address.octets().get(2..6).and_then(|octets| octets.try_into().ok()),
                _ => None,
            };
            match embedded {
                Some(octets) => is_public_v4(Ipv4Addr::from(octets)),
                // Of 2000::/3, without documentation, benchmarks, Teredo and ORCHID.
                None => {
                    first & 0xe000 == 0x2000
                        && !(first == 0x2001 && (second < 0x200 || second == 0xdb8))
                        && first != 0x3fff
                }
            }
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b, c) {
        (0 | 10 | 127 | 224.., ..) | (169, 254, _) | (192, 168, _) => true,
        (100, b, _) => (64..128).contains(&b),
        (172, b, _) => (16..32).contains(&b),
        (192, 0, 0 | 2) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113) | (192, 88, 99) => true,
        _ => false,
    };
    !special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_in_one_way() {
        let url = HttpUrl::parse("https://CA.example/acme/x?y=z").unwrap();
        assert_eq!((url.origin().as_str(), url.target()), ("https://ca.example:443", "/acme/x?y=z"));
        assert_eq!(HttpUrl::parse("http://[2001:db8::1]:81").unwrap().origin(), "http://[2001:db8::1]:81");
        assert_eq!(HttpUrl::parse("https://192.0.2.1?q").unwrap().target(), "/?q");
        for bad in [
            "",
            "https://",
            "https:///x",
            "ftp://a.example/",
            "https://user@a.example/",
            "https://a.example\\@b.example/",
            "https://a.example/#b",
            "https://a.example:/",
            "https://a.example:0/",
            "https://a.example:65536/",
            "https://a.example:+1/",
            "https://a.example:1:2/",
            "https://0x7f.1/",
            "https://2130706433/",
            "https://127.1/",
            "https://[::1/",
            "https://[::1]x/",
            "https://*.a.example/",
            "https://a b.example/",
            "//a.example/",
        ] {
            assert_eq!(HttpUrl::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn signed_requests_stay_with_their_server() {
        let home = "https://ca.example/directory";
        let rules = UrlRules::new();
        assert_eq!(rules.signed(home, "https://CA.example:443/order/1"), Ok(()));
        assert_eq!(rules.signed(home, "https://ca.example:8443/order/1"), Err(UrlRefusal::Elsewhere));
        assert_eq!(rules.signed(home, "https://evil.example/order/1"), Err(UrlRefusal::Elsewhere));
        assert_eq!(rules.signed(home, "http://ca.example/order/1"), Err(UrlRefusal::NotHttps));
        assert_eq!(rules.signed(home, "gopher://ca.example/"), Err(UrlRefusal::Malformed));
        let rules = rules.with_origin("https://other.example").unwrap();
        assert_eq!(rules.signed(home, "https://other.example/order/1"), Ok(()));
        assert_eq!(UrlRules::new().with_origin("other.example"), None);
    }

    #[test]
    fn certificates_come_from_public_places() {
        let rules = UrlRules::new();
        for good in [
            "https://ca.example/star/x",
            "https://192.1.2.3/x",
            "https://[2606:4700::1]/x",
            "https://[64:ff9b::808:808]/x",
        ] {
            assert_eq!(rules.fetched(good), Ok(Reach::Public), "{good}");
        }
        for inside in [
            "https://localhost/x",
            "https://ca.localhost/x",
            "https://printer.local/x",
            "https://metadata.google.internal/x",
            "https://intranet/x",
            "https://127.0.0.1/x",
            "https://10.1.2.3/x",
            "https://100.64.0.1/x",
            "https://169.254.169.254/latest/meta-data",
            "https://172.31.0.1/x",
            "https://192.168.0.1/x",
            "https://0.0.0.0/x",
            "https://255.255.255.255/x",
            "https://[::1]/x",
            "https://[::]/x",
            "https://[fd00::1]/x",
            "https://[fe80::1]/x",
            "https://[::ffff:127.0.0.1]/x",
            "https://[64:ff9b::7f00:1]/x",
            "https://[64:ff9b:1:7f00:0:100:808:808]/x",
            "https://[64:ff9b::1:808:808]/x",
            "https://[2002:7f00:1::]/x",
            "https://[2001:db8::1]/x",
        ] {
            assert_eq!(rules.fetched(inside), Err(UrlRefusal::NotPublic), "{inside}");
            assert_eq!(rules.clone().with_reach(Reach::Any).fetched(inside), Ok(Reach::Any));
        }
        assert_eq!(rules.fetched("http://ca.example/x"), Err(UrlRefusal::NotHttps));
        assert_eq!(rules.fetched("file:///etc/passwd"), Err(UrlRefusal::Malformed));
        let lab = rules.with_origin("http://127.0.0.1:4001").unwrap();
        assert_eq!(lab.fetched("http://127.0.0.1:4001/x"), Ok(Reach::Any));
        assert_eq!(lab.fetched("http://127.0.0.1:4002/x"), Err(UrlRefusal::NotHttps));
    }
}
