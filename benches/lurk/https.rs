//! As much of HTTP/1.1 over TLS as a load needs: one connection that is kept, on a blocking socket.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

pub(super) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// How connections are made.
pub(super) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Those to whom this file vouches.
    pub(super) fn trusting(ca: &Path) -> Outcome<Self> {
        let mut roots = RootCertStore::empty();
        for anchor in CertificateDer::pem_file_iter(ca)? {
            roots.add(anchor?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(Self(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
    }
}

/// A connection.
pub(super) struct Https {
    stream: StreamOwned<ClientConnection, TcpStream>,
    authority: String,
    rest: Vec<u8>,
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The value of a field.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The same, if it has this status.
    pub(super) fn expect(self, status: u16) -> Outcome<Self> {
        let is_it = self.status == status;
        let other = || format!("{} instead of {status}: {}", self.status, String::from_utf8_lossy(&self.body)).into();
        if is_it { Ok(self) } else { Err(other()) }
    }
}

impl Https {
    /// A connection to where a URL is.
    pub(super) fn connect(tls: &Tls, url: &str) -> Outcome<Self> {
        let authority = url.split('/').nth(2).ok_or("no URL of https")?.to_owned();
        let tcp = TcpStream::connect(&*authority)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(Duration::from_secs(20)))?;
        let name = authority.rsplit_once(':').map_or(&*authority, |(name, _)| name).to_owned();
        let connection = ClientConnection::new(Arc::clone(&tls.0), ServerName::try_from(name)?)?;
        Ok(Self { stream: StreamOwned::new(connection, tcp), authority, rest: Vec::new() })
    }

    pub(super) fn get(&mut self, url: &str, fields: &[(&str, &str)]) -> Outcome<Answer> {
        self.request("GET", url, fields, b"")
    }

    pub(super) fn request(&mut self, method: &str, url: &str, fields: &[(&str, &str)], body: &[u8]) -> Outcome<Answer> {
        let path = url.split_once(&*self.authority).ok_or("a URL of another server")?.1;
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: load\r\n", self.authority);
        for (name, value) in fields {
            request.extend([name, ": ", value, "\r\n"]);
        }
        if method == "POST" {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        self.stream.write_all(&[request.as_bytes(), body].concat())?;
        self.stream.flush()?;
        self.answer(method == "HEAD")
    }

    fn answer(&mut self, is_head: bool) -> Outcome<Answer> {
        let end = loop {
            if let Some(at) = self.rest.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let head = String::from_utf8(self.rest.drain(..end).collect())?;
        let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
        let mut answer = Answer { status, head, body: Vec::new() };
        let has_none = is_head || matches!(status, 204 | 304);
        let length = match answer.header("content-length") {
            _ if has_none => 0,
            Some(length) => length.parse()?,
            None => return Err("an answer without a length".into()),
        };
        while self.rest.len() < length {
            self.more()?;
        }
        answer.body = self.rest.drain(..length).collect();
        Ok(answer)
    }

    fn more(&mut self) -> Outcome<()> {
        let mut buffer = [0; 16_384];
        let read = self.stream.read(&mut buffer)?;
        if read == 0 {
            return Err("the server has closed the connection".into());
        }
        self.rest.extend_from_slice(buffer.get(..read).unwrap_or_default());
        Ok(())
    }
}
