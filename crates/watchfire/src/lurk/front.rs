//! The HTTPS side of the services: their own authority, their certificate, how their URLs begin.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use acme_lurk_hyper::ca::{Authority, AuthorityError};
use acme_lurk_hyper::server::ServerEvent;
use zeroize::Zeroizing;

use crate::exit::{Failure, file_failure};
use crate::https;
use crate::pki::files;
use crate::values::HostPort;

/// Ten years: who needs less has certificates of somebody else.
pub const DAYS: u32 = 3650;

/// Logs what happens at a server of ACME.
pub fn told(event: ServerEvent<'_>) {
    match event {
        ServerEvent::Connection(event) => https::told(&event),
        _ => tracing::debug!("{event}"),
    }
}

/// Reads an authority of a folder, or makes it.
///
/// # Errors
/// Files that cannot be read, written, or do not fit together.
pub fn authority(
    dir: &Path,
    name: &str,
    make: impl FnOnce() -> Result<Authority, AuthorityError>,
) -> Result<Authority, Failure> {
    let (certificate, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    let read = |path: &Path| match crate::pki::read_bounded(path) {
        Ok(octets) => {
            let octets = Zeroizing::new(octets);
            let text = std::str::from_utf8(&octets).map_err(|_| Failure::usage("not PEM").at(path.display()))?;
            Ok(Some(Zeroizing::new(text.to_owned())))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_failure("read", path, &error)),
    };
    match (read(&certificate)?, read(&key)?) {
        (Some(certificate_pem), Some(key_pem)) => Authority::from_pem(&certificate_pem, &key_pem).map_err(|error| {
            let failure =
                Failure::usage(error.to_string()).at(format!("{} and {}", certificate.display(), key.display()));
            failure.remedy("restore the pair from a backup, or start with a new folder")
        }),
        (Some(_), None) => Err(Failure::usage("its key is missing")
            .at(certificate.display())
            .remedy(format!("restore {}, or start with a new folder", key.display()))),
        // A key without certificate: it was interrupted before anybody could trust it.
        (None, _) => {
            let made = make().map_err(|error| Failure::usage(format!("cannot make an authority: {error}")))?;
            files::write_private(&key, &made.key_pem(), true)?;
            files::write_public(&certificate, made.certificate_pem().as_bytes(), true)?;
            Ok(made)
        }
    }
}

/// How all URLs of a service begin: as `--url` says, or by its address.
///
/// # Errors
/// When the URL is none of https.
pub fn base(url: Option<&str>, listen: &HostPort, address: SocketAddr) -> Result<String, Failure> {
    if let Some(url) = url {
        let url = url.trim_end_matches('/');
        let host = url.strip_prefix("https://").and_then(|rest| rest.split('/').next());
        if host.is_none_or(str::is_empty) || url.contains(['?', '#', ' ']) {
            return Err(Failure::usage(format!("`{url}` is no URL of https")).at("--url"));
        }
        return Ok(url.to_owned());
    }
    // All addresses is none that a client could ask.
    let host = match listen.host().parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => "localhost".to_owned(),
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => listen.host().to_owned(),
    };
    Ok(format!("https://{host}:{}", address.port()))
}

/// Scheme, host and port of a URL.
pub fn origin_of(base: &str) -> &str {
    let after = base.find("://").map_or(0, |at| at + 3);
    let end = base[after..].find('/').map_or(base.len(), |at| after + at);
    &base[..end]
}

/// TLS with a certificate for every name by which this machine may be asked, made anew at each start.
///
/// # Errors
/// When one of the names cannot be certified.
pub fn tls(root: &Authority, listen: &HostPort, base: &str) -> Result<Arc<rustls::ServerConfig>, Failure> {
    let host = origin_of(base).trim_start_matches("https://");
    let host = host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map_or(host, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1", listen.host(), host].map(str::to_owned).into();
    names.sort_unstable();
    names.dedup();
    let made = root.server_certificate(&names, DAYS);
    let (chain, key) = made.map_err(|error| Failure::usage(format!("cannot certify {host}: {error}")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let wrong = |error: rustls::Error| Failure::usage(format!("TLS: {error}"));
    let mut config = builder.map_err(wrong)?.with_no_client_auth().with_single_cert(chain, key).map_err(wrong)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_begin_as_clients_see_them() {
        assert_eq!(origin_of("https://ca.example/acme/x"), "https://ca.example");
        assert_eq!(origin_of("https://[::1]:14000"), "https://[::1]:14000");
        let at = |listen: &str| base(None, &listen.parse().unwrap(), "127.0.0.1:5".parse().unwrap()).unwrap();
        assert_eq!(at("0.0.0.0:0"), "https://localhost:5");
        assert_eq!(at("[::1]:0"), "https://[::1]:5");
        assert_eq!(at("ca.example:0"), "https://ca.example:5");
        let url = |url| base(Some(url), &"[::1]:0".parse().unwrap(), "127.0.0.1:5".parse().unwrap());
        assert_eq!(url("https://ca.example/acme/"), Ok("https://ca.example/acme".to_owned()));
        assert!(url("http://ca.example").is_err() && url("https://").is_err() && url("https://a?b").is_err());
    }
}
