//! Values of flags: addresses, sizes, spans of time, sinks. Each is read by `FromStr`, so that a flag and a key of a
//! configuration file accept exactly the same text.

mod nats;
mod postgres;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

pub use nats::NatsUrl;
pub use postgres::{PostgresTls, PostgresUrl, ServerCheck};

/// `HOST:PORT`; HOST is a name, an IPv4 address or an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// The host, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0 asks the system for a free one when listening.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Every address that the name has, in the resolver's order.
    ///
    /// # Errors
    /// When the name cannot be resolved or has no address.
    pub async fn resolve(&self) -> std::io::Result<Vec<SocketAddr>> {
        let found: Vec<_> = tokio::net::lookup_host((self.host.as_str(), self.port)).await?.collect();
        if found.is_empty() {
            return Err(std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(found)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl From<SocketAddr> for HostPort {
    fn from(addr: SocketAddr) -> Self {
        Self { host: addr.ip().to_string(), port: addr.port() }
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "write HOST:PORT, as in 127.0.0.1:7000 or [::1]:7000";
        let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("no port: {wanted}"))?;
        let port = port.parse().map_err(|_| format!("the port must be a number from 0 to 65535: {wanted}"))?;
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                let inner = rest.strip_suffix(']').ok_or_else(|| format!("'[' without ']': {wanted}"))?;
                let addr: Ipv6Addr = inner.parse().map_err(|_| format!("brackets hold an IPv6 address: {wanted}"))?;
                addr.to_string()
            }
            None if host.contains(':') => return Err(format!("an IPv6 address needs brackets: {wanted}")),
            None => host.to_owned(),
        };
        let well_formed = host.contains(':') || is_host_name(&host);
        if !well_formed {
            return Err(format!("not a host name or address: {wanted}"));
        }
        Ok(Self { host, port })
    }
}

/// Whether `name` is made of dot-separated labels of letters, digits, `-` and `_`, within the lengths of RFC 1123.
pub fn is_host_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// Whether a text begins as a URL does, with a scheme and a colon. A path with a colon in its first part is told from one
/// by a folder in front of it: `./a:b`.
pub(crate) fn has_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"+-.".contains(&octet))
    })
}

/// A number of octets: `65536`, `64K`, `16M`, `2G` (powers of 1024).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::exhaustive_structs)]
pub struct Octets(pub u64);

impl fmt::Display for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, shift) = [("G", 30), ("M", 20), ("K", 10)]
            .into_iter()
            .find(|(_, shift)| self.0 != 0 && self.0.trailing_zeros() >= *shift)
            .unwrap_or(("", 0));
        write!(f, "{}{unit}", self.0 >> shift)
    }
}

impl FromStr for Octets {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || "write a number of octets with an optional unit K, M or G, as in 64M".to_owned();
        let upper = text.trim().to_ascii_uppercase();
        let bare = upper.strip_suffix("IB").or_else(|| upper.strip_suffix('B')).unwrap_or(&upper);
        let (digits, shift) = match bare.char_indices().last() {
            Some((at, 'K')) => (&bare[..at], 10),
            Some((at, 'M')) => (&bare[..at], 20),
            Some((at, 'G')) => (&bare[..at], 30),
            Some((at, 'T')) => (&bare[..at], 40),
            _ => (bare, 0),
        };
        let number: u64 = digits.parse().map_err(|_| bad())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(bad)
    }
}

/// A span of time: `30` or `30s`, `500ms`, `15m`, `2h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::exhaustive_structs)]
pub struct Span(pub Duration);

const LONGEST: Duration = Duration::from_secs(36_525 * 86_400);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let (unit, size) = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)]
            .into_iter()
            .find(|(_, size)| millis.is_multiple_of(*size) && (millis > 0 || *size == 1000))
            .unwrap_or(("ms", 1));
        write!(f, "{}{unit}", millis / size)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || "write a number with a unit, as in 500ms, 30s, 15m, 2h or 7d".to_owned();
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: f64 = number.parse().map_err(|_| bad())?;
        let seconds = match unit.trim() {
            "ms" => 0.001,
            "" | "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return Err(bad()),
        };
        let span = Duration::try_from_secs_f64(number * seconds).map_err(|_| bad())?;
        // Moments are counted from now, and must not run over.
        if span > LONGEST { Err("this is longer than 100 years".to_owned()) } else { Ok(Self(span)) }
    }
}

/// A moment for `--since`: RFC 3339, or how long ago (`15m`, `2h`, `7d`). Kept as microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::exhaustive_structs)]
pub struct Moment(pub i64);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(moment) = text.parse::<jiff::Timestamp>() {
            return Ok(Self(moment.as_microsecond()));
        }
        let ago: Span = text
            .parse()
            .map_err(|_| "write a moment as in 2026-01-31T12:00:00Z, or how long ago as in 15m, 2h or 7d".to_owned())?;
        let now = jiff::Timestamp::now().as_microsecond();
        Ok(Self(now.saturating_sub(i64::try_from(ago.0.as_micros()).unwrap_or(i64::MAX))))
    }
}

/// Where the manager writes alerts besides the store: `ndjson:PATH`, `xml:PATH`, a stream of NATS JetStream, or `-` for
/// NDJSON on standard output.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutputSpec {
    /// One JSON object per line.
    Ndjson(PathBuf),
    /// One IDMEF document after the other, each with its XML declaration.
    Xml(PathBuf),
    /// One message each in a stream of NATS JetStream.
    Nats(NatsUrl),
    /// NDJSON on standard output.
    Stdout,
}

impl OutputSpec {
    /// Makes a relative path start at `base`.
    pub fn rebase(&mut self, base: &Path) {
        match self {
            Self::Ndjson(path) | Self::Xml(path) => *path = base.join(&*path),
            Self::Nats(_) | Self::Stdout => {}
        }
    }
}

impl fmt::Display for OutputSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ndjson(path) => write!(f, "ndjson:{}", path.display()),
            Self::Xml(path) => write!(f, "xml:{}", path.display()),
            Self::Nats(url) => url.fmt(f),
            Self::Stdout => f.write_str("-"),
        }
    }
}

impl FromStr for OutputSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            _ if text == "-" => Ok(Self::Stdout),
            _ if NatsUrl::is_one(text) => text.parse().map(Self::Nats),
            Some(("ndjson", path)) if !path.is_empty() => Ok(Self::Ndjson(path.into())),
            Some(("xml", path)) if !path.is_empty() => Ok(Self::Xml(path.into())),
            _ => Err("write ndjson:PATH, xml:PATH, nats://HOST:PORT/STREAM or - (NDJSON on standard output)".into()),
        }
    }
}

/// A store of alerts: `sqlite:PATH` or `postgres://USER@HOST/DATABASE`.
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreUrl {
    /// A file of SQLite.
    Sqlite(PathBuf),
    /// A database of PostgreSQL.
    Postgres(PostgresUrl),
}

impl StoreUrl {
    /// Makes a relative path start at `base`.
    pub fn rebase(&mut self, base: &Path) {
        match self {
            Self::Sqlite(path) => *path = base.join(&*path),
            Self::Postgres(url) => url.rebase(base),
        }
    }
}

impl fmt::Display for StoreUrl {
    /// Never shows a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => write!(f, "{url}"),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
            return Ok(Self::Sqlite(path.into()));
        }
        if PostgresUrl::is_one(text) {
            return text.parse().map(Self::Postgres);
        }
        Err("write sqlite:PATH or postgres://USER@HOST/DATABASE".into())
    }
}

/// A network in CIDR notation; a bare address means that host alone.
pub fn parse_cidr(text: &str) -> Result<ipnet::IpNet, String> {
    text.parse::<ipnet::IpNet>()
        .map(|net| net.trunc())
        .or_else(|_| text.parse::<IpAddr>().map(ipnet::IpNet::from))
        .map_err(|_| "write a network as in 192.0.2.0/24 or 2001:db8::/32, or one address".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_read_back() {
        for text in ["127.0.0.1:0", "localhost:7000", "[::1]:7000", "sensor-1.example.com:65535"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
        for bad in
            ["", "host", ":1", "host:", "host:65536", "host:x", "::1:7000", "[::1]7", "[host]:1", "a b:1", "-a:1"]
        {
            assert!(bad.parse::<HostPort>().is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn octets_and_spans_read_back() {
        for text in ["0", "1", "1000", "64K", "16M", "2G", "1025K"] {
            assert_eq!(text.parse::<Octets>().unwrap().to_string(), text);
        }
        assert_eq!("1MiB".parse::<Octets>().unwrap().0, 1 << 20);
        for bad in ["", "K", "-1", "1X", "99999999999G"] {
            assert!(bad.parse::<Octets>().is_err(), "{bad} was taken");
        }
        for text in ["0s", "500ms", "30s", "15m", "2h", "7d", "90s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("1.5".parse::<Span>().unwrap().0, Duration::from_millis(1500));
        for bad in ["", "s", "-1s", "1y", "1e300d", "nan"] {
            assert!(bad.parse::<Span>().is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn moments_are_absolute_or_ago() {
        assert_eq!("1970-01-01T00:00:01.5Z".parse::<Moment>().unwrap().0, 1_500_000);
        let hour: Moment = "1h".parse().unwrap();
        let now = jiff::Timestamp::now().as_microsecond();
        assert!((now - hour.0 - 3_600_000_000).abs() < 5_000_000);
        assert!("yesterday".parse::<Moment>().is_err());
    }

    #[test]
    fn a_store_never_shows_its_password() {
        let url: StoreUrl = "postgres://wf:s3cret@db:5432/alerts?password=s3cret".parse().unwrap();
        assert_eq!(url.to_string(), "postgres://wf@db:5432/alerts");
        assert!(!format!("{url:?}").contains("s3cret"));
        assert!("mysql://x".parse::<StoreUrl>().is_err() && "sqlite:".parse::<StoreUrl>().is_err());
    }

    #[test]
    fn a_scheme_is_told_from_a_path() {
        for url in ["bogus:", "bogus:x", "mysql://h/d", "SQLITE:x", "C:x", "x.y:z"] {
            assert!(has_scheme(url), "{url}");
        }
        for path in ["", "entries.ndjson", "./a:b", "/a:b", "a/b:c", ":x", "1:x", "a b:c"] {
            assert!(!has_scheme(path), "{path}");
        }
    }

    #[test]
    fn networks_are_truncated_and_hosts_allowed() {
        assert_eq!(parse_cidr("192.0.2.77/24").unwrap().to_string(), "192.0.2.0/24");
        assert_eq!(parse_cidr("::1").unwrap().to_string(), "::1/128");
        assert!(parse_cidr("example.com").is_err());
    }

    #[test]
    fn sinks() {
        assert_eq!("ndjson:/a:b".parse(), Ok(OutputSpec::Ndjson("/a:b".into())));
        assert_eq!("-".parse(), Ok(OutputSpec::Stdout));
        assert_eq!("nats://h/s".parse::<OutputSpec>().unwrap().to_string(), "nats://h:4222/s");
        assert!(
            "nats:h".parse::<OutputSpec>().is_err()
                && "ndjson:".parse::<OutputSpec>().is_err()
                && "json:x".parse::<OutputSpec>().is_err()
        );
    }
}
