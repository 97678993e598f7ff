//! Fetching revocation lists over HTTP.
//!
//! The URL comes from a certificate, and though only certificates of a trusted path are asked, its issuer is not our
//! friend: only `http` on port 80, only public addresses, no redirect, a limit on size and time. A list is signed, so
//! plain HTTP is what everybody uses (RFC 5280 section 8).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::crl::{CrlFetcher, MAX_CRL};
use crate::name::DomainName;
use crate::sources::{BoxFuture, RecordKind, Records, Resolver};

/// Fetches over HTTP/1.1, with the broker's own resolver.
#[derive(Debug, Clone)]
pub struct HttpFetcher {
    resolver: Resolver,
    deadline: Duration,
    anywhere: bool,
}

impl HttpFetcher {
    /// Fetches from public addresses at port 80, within 10 seconds.
    #[must_use]
    pub fn new(resolver: Resolver) -> Self {
        Self { resolver, deadline: Duration::from_secs(10), anywhere: false }
    }

    /// Also from private addresses and at other ports: for a company's own CA, and for laboratories.
    #[must_use]
    pub fn anywhere(self) -> Self {
        Self { anywhere: true, ..self }
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let uri: Uri = url.parse().map_err(|_| "no URL".to_owned())?;
        let authority = uri.authority().ok_or("no host")?.clone();
        let port = authority.port_u16().unwrap_or(80);
        if uri.scheme_str() != Some("http") || authority.as_str().contains('@') || (port != 80 && !self.anywhere) {
            return Err("only http at port 80 is fetched".to_owned());
        }
        let mut last = "the host has no address that may be asked".to_owned();
        for address in self.addresses(authority.host()).await? {
            if !self.anywhere && !is_public(address) {
                continue;
            }
            match self.get_from(SocketAddr::new(address, port), &uri, authority.as_str()).await {
                Ok(octets) => return Ok(octets),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        if let Ok(address) = host.trim_matches(['[', ']']).parse() {
            return Ok(vec![address]);
        }
        let name = DomainName::parse(host).map_err(|error| error.to_string())?;
        let (four, six) = tokio::join!(
            self.resolver.resolve(&name, RecordKind::A, false),
            self.resolver.resolve(&name, RecordKind::Aaaa, false),
        );
        let mut all = Vec::new();
        for resolved in [four, six].into_iter().flatten() {
            match resolved.records {
                Some(Records::A(addresses)) => all.extend(addresses.iter().map(|address| IpAddr::V4(*address))),
                Some(Records::Aaaa(addresses)) => all.extend(addresses.iter().map(|address| IpAddr::V6(*address))),
                _ => {}
            }
        }
        all.truncate(4);
        Ok(all)
    }

    async fn get_from(&self, to: SocketAddr, uri: &Uri, host: &str) -> Result<Vec<u8>, String> {
        let stream = TcpStream::connect(to).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        // The connection ends with this function, whatever the server wants.
        let driven = AbortOnDrop(tokio::spawn(async move { _ = connection.await }));
        let request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
            .header("Host", host)
            .header("Accept", "application/pkix-crl, */*")
            .header("Connection", "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        if response.status() != StatusCode::OK {
            return Err(format!("the server answered {}", response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_CRL).collect().await.map_err(|error| error.to_string())?;
        drop(driven);
        Ok(body.to_bytes().to_vec())
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl CrlFetcher for HttpFetcher {
    fn fetch<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Vec<u8>, String>> {
        Box::pin(async move {
            tokio::time::timeout(self.deadline, self.get(url))
                .await
                .unwrap_or_else(|_| Err("no answer in time".to_owned()))
        })
    }
}

/// Not loopback, private, shared, link-local, documentation, multicast or reserved (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(four) => {
            let [a, b, c, _] = four.octets();
            !(four.is_private()
                || four.is_loopback()
                || four.is_link_local()
                || four.is_documentation()
                || four.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 198 && (18..20).contains(&b))
                || (a == 192 && b == 0 && c == 0))
        }
        // Global unicast is 2000::/3; of that, 6to4 and Teredo carry IPv4 addresses, 2001:db8::/32 is for documents.
        IpAddr::V6(six) => {
            let [a, b, ..] = six.segments();
            a & 0xe000 == 0x2000 && a != 0x2002 && !(a == 0x2001 && (b == 0 || b == 0xdb8))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for public in ["8.8.8.8", "198.20.0.1", "2a00:1450::1", "100.63.0.1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "127.0.0.1",
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "192.0.0.8",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "2002:7f00:1::",
            "2001:db8::1",
            "64:ff9b::7f00:1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }
}
