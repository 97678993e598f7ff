//! Who may use the interface.

use std::net::IpAddr;
use std::path::Path;

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use hyper::{HeaderMap, Method, StatusCode};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::exit::{Failure, file_failure};
use crate::pki::read_bounded;
use crate::values::HostPort;

/// The shortest token: 128 bits in hexadecimal are twice as long.
const SHORTEST: usize = 16;

/// What a request must show.
#[derive(Debug)]
pub struct Guard {
    token: Option<Zeroizing<Vec<u8>>>,
}

/// The token of a file: its first line.
///
/// # Errors
/// When it cannot be read, or is too short to be a secret.
pub fn read_token(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let octets = Zeroizing::new(read_bounded(path).map_err(|error| file_failure("read the token", path, &error))?);
    let line = octets.split(|octet| *octet == b'\n').next().unwrap_or_default().trim_ascii();
    if line.len() < SHORTEST || !line.iter().all(u8::is_ascii_graphic) {
        let failure =
            Failure::usage(format!("not a token: at least {SHORTEST} printable characters")).at(path.display());
        return Err(failure.remedy("make one: openssl rand -hex 32"));
    }
    Ok(Zeroizing::new(line.to_vec()))
}

/// What is said of an interface at this address without a token.
pub(crate) fn for_the_loopback_only(address: &HostPort) -> Failure {
    let failure = Failure::usage("the interface is for the loopback only").at(address);
    failure.remedy("listen at 127.0.0.1 or [::1], or demand a token by --api-token-file")
}

impl Guard {
    /// For an interface at this address. Without a token it must be on the loopback.
    ///
    /// # Errors
    /// When it is not, or the token cannot be read.
    pub async fn new(address: &HostPort, token: Option<&Path>) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::usage(error.to_string()).at(address);
        let addresses = address.resolve().await.map_err(failed)?;
        let is_local = addresses.iter().all(|address| address.ip().to_canonical().is_loopback());
        if !is_local && token.is_none() {
            return Err(for_the_loopback_only(address));
        }
        if !is_local {
            tracing::warn!(%address, "the token goes over this network in clear text: protect it by other means");
        }
        Ok(Self { token: token.map(read_token).transpose()? })
    }

    /// Looks at a request before anything of it is read.
    pub(super) fn admit(&self, method: &Method, headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
        if headers.contains_key(ORIGIN) {
            return Err((StatusCode::FORBIDDEN, "not for pages in a browser"));
        }
        match &self.token {
            Some(token) => {
                let shown = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
                if !shown.is_some_and(|shown| bool::from(shown.ct_eq(token))) {
                    return Err((StatusCode::UNAUTHORIZED, "show the token: Authorization: Bearer TOKEN"));
                }
            }
            // A name that was made to lead here is not ours.
            None => {
                if !headers.get(HOST).and_then(|host| host.to_str().ok()).is_some_and(is_loopback) {
                    return Err((StatusCode::FORBIDDEN, "the host must be a loopback address or localhost"));
                }
            }
        }
        let is_json = || {
            let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
        };
        if matches!(*method, Method::PUT | Method::POST) && !is_json() {
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be application/json"));
        }
        Ok(())
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn browsers_and_other_hosts_are_refused() {
        let open = Guard { token: None };
        let judge = |method: Method, fields: &[(&'static str, &str)]| {
            open.admit(&method, &headers(fields)).map_err(|(status, _)| status.as_u16())
        };
        for host in ["127.0.0.1:1", "localhost", "[::1]:80", "LOCALHOST:9", "127.8.8.8"] {
            assert_eq!(judge(Method::GET, &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["evil.example", "192.0.2.1", "127.0.0.1.evil.example", "[::2]", ""] {
            assert_eq!(judge(Method::GET, &[("host", host)]), Err(403), "{host}");
        }
        assert_eq!(judge(Method::GET, &[]), Err(403));
        assert_eq!(judge(Method::GET, &[("host", "localhost"), ("origin", "null")]), Err(403));
        let form = [("host", "localhost"), ("content-type", "text/plain")];
        assert_eq!((judge(Method::PUT, &form), judge(Method::DELETE, &form)), (Err(415), Ok(())));
        let json = [("host", "localhost"), ("content-type", "application/JSON; charset=utf-8")];
        assert_eq!(judge(Method::POST, &json), Ok(()));
    }

    #[test]
    fn a_token_is_demanded_and_compared_whole() {
        let guard = Guard { token: Some(Zeroizing::new(b"0123456789abcdef".to_vec())) };
        let judge = |fields: &[(&'static str, &str)]| guard.admit(&Method::GET, &headers(fields)).is_ok();
        assert!(judge(&[("authorization", "Bearer 0123456789abcdef"), ("host", "ops.example")]));
        for wrong in ["Bearer 0123456789abcde", "Bearer 0123456789abcdef0", "0123456789abcdef", "Bearer "] {
            assert!(!judge(&[("authorization", wrong)]), "{wrong}");
        }
        assert!(!judge(&[("host", "localhost")]));
    }

    #[tokio::test]
    async fn without_a_token_only_the_loopback_is_served() {
        let at = async |address: &str| Guard::new(&address.parse().unwrap(), None).await;
        assert!(at("127.0.0.1:0").await.is_ok() && at("[::1]:0").await.is_ok());
        let refused = at("0.0.0.0:0").await.unwrap_err().to_string();
        assert!(refused.contains("--api-token-file"), "{refused}");
    }
}
