//! `nats://HOST[:PORT][,HOST[:PORT]..]/STREAM`: a stream of NATS JetStream.

use std::fmt;
use std::str::FromStr;

use super::HostPort;

/// The port of NATS servers.
const PORT: u16 = 4222;

/// The longest name of a stream.
const NAME_LIMIT: usize = 128;

/// A stream, and the servers that have it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct NatsUrl {
    /// Whether TLS is demanded: `tls://` in the place of `nats://`.
    pub tls: bool,
    /// Servers of one cluster, at least one.
    pub servers: Vec<HostPort>,
    /// The name of the stream: letters, digits, `-` and `_`.
    pub stream: String,
}

impl NatsUrl {
    /// Whether this text is meant to be one.
    pub fn is_one(text: &str) -> bool {
        text.starts_with("nats:") || text.starts_with("tls:")
    }
}

impl FromStr for NatsUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "write nats://HOST:PORT/STREAM, or tls://HOST:PORT/STREAM";
        let (scheme, rest) = text.split_once("://").ok_or(wanted)?;
        let tls = match scheme {
            "nats" => false,
            "tls" => true,
            _ => return Err(wanted.into()),
        };
        let (servers, stream) = rest.split_once('/').ok_or_else(|| format!("names no stream: {wanted}"))?;
        if servers.contains('@') {
            return Err("a password does not belong into a URL: use --nats-credentials or --nats-password-file".into());
        }
        let is_name = (1..=NAME_LIMIT).contains(&stream.len())
            && stream.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'));
        if !is_name {
            return Err(format!("a stream's name has letters, digits, - and _ alone: {wanted}"));
        }
        let server = |text: &str| {
            let bare =
                if text.ends_with(']') || !text.contains(':') { format!("{text}:{PORT}") } else { text.to_owned() };
            bare.parse::<HostPort>()
        };
        let servers = servers.split(',').map(server).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { tls, servers, stream: stream.to_owned() })
    }
}

impl fmt::Display for NatsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tls { "tls://" } else { "nats://" })?;
        for (at, server) in self.servers.iter().enumerate() {
            write!(f, "{}{server}", if at == 0 { "" } else { "," })?;
        }
        write!(f, "/{}", self.stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_read_back_and_passwords_are_refused() {
        for (text, wanted) in [
            ("nats://localhost/alerts", "nats://localhost:4222/alerts"),
            ("tls://[::1]/a-b_c", "tls://[::1]:4222/a-b_c"),
            ("nats://a:1,b,[::1]:3/s", "nats://a:1,b:4222,[::1]:3/s"),
        ] {
            let url: NatsUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), wanted);
            assert_eq!(wanted.parse(), Ok(url));
        }
        let error = "nats://me:secret@host/s".parse::<NatsUrl>().unwrap_err();
        assert!(error.contains("--nats-credentials") && !error.contains("secret"), "{error}");
        let long = format!("nats://h/{}", "s".repeat(NAME_LIMIT + 1));
        for bad in [
            "nats:h/s",
            "http://h/s",
            "nats://h",
            "nats://h/",
            "nats://h/a.b",
            "nats://h/a/b",
            "nats:///s",
            "nats://h:x/s",
            &long,
        ] {
            assert!(bad.parse::<NatsUrl>().is_err(), "{bad} was taken");
        }
    }
}
