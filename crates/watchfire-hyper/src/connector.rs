//! TCP, and TLS where the service is https.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

/// Connects within a time: TCP, and TLS for https, with HTTP/2 where ALPN offers it. For the clients of hyper-util.
#[derive(Clone)]
pub struct Connector {
    tcp: HttpConnector<Resolver>,
    tls: TlsConnector,
    patience: Duration,
    connected: Option<Arc<dyn Fn() + Send + Sync>>,
    allowed: Option<fn(IpAddr) -> bool>,
}

impl Connector {
    /// With this TLS, whose ALPN protocols are replaced. Name, TCP and TLS together have `patience`.
    pub fn new(mut tls: rustls::ClientConfig, patience: Duration) -> Self {
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut tcp = HttpConnector::new_with_resolver(Resolver { system: GaiResolver::new(), allowed: None });
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // One address that does not answer leaves time for the others.
        tcp.set_connect_timeout(Some(patience));
        Self { tcp, tls: TlsConnector::from(Arc::new(tls)), patience, connected: None, allowed: None }
    }

    /// Calls this for each connection that was made, TLS included.
    #[must_use]
    pub fn on_connected(mut self, connected: impl Fn() + Send + Sync + 'static) -> Self {
        self.connected = Some(Arc::new(connected));
        self
    }

    /// Connects to no address that this does not allow, whatever names lead to it. Others fail with [`NotAllowed`].
    #[must_use]
    pub fn only_to(mut self, allowed: fn(IpAddr) -> bool) -> Self {
        // An address in the place of a name is not resolved, and looked at where it is.
        self.allowed = Some(allowed);
        let mut tcp = HttpConnector::new_with_resolver(Resolver { system: GaiResolver::new(), allowed: Some(allowed) });
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(self.patience));
        self.tcp = tcp;
        self
    }

    async fn connect(mut self, uri: Uri) -> io::Result<TokioIo<Wire>> {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_https = uri.scheme_str() == Some("https");
        if let (Some(allowed), Ok(address)) = (self.allowed, host.parse::<IpAddr>())
            && !allowed(address)
        {
            return Err(io::Error::other(NotAllowed));
        }
        let tcp = self.tcp.call(uri).await.map_err(io::Error::other)?.into_inner();
        let wire = if is_https {
            let name = ServerName::try_from(host).map_err(io::Error::other)?;
            Wire(Kind::Tls(Box::new(self.tls.connect(name, tcp).await?)))
        } else {
            Wire(Kind::Clear(tcp))
        };
        if let Some(connected) = &self.connected {
            connected();
        }
        Ok(TokioIo::new(wire))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Wire>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Wire>>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let patience = this.patience;
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {patience:?}"));
            tokio::time::timeout(patience, this.connect(uri)).await.map_err(late)?
        })
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// None of the addresses of a host is one that may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("none of the addresses of the host may be connected to")]
#[non_exhaustive]
pub struct NotAllowed;

/// The system's, without addresses that are not allowed.
#[derive(Clone)]
struct Resolver {
    system: GaiResolver,
    allowed: Option<fn(IpAddr) -> bool>,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.system.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (resolving, allowed) = (self.system.call(name), self.allowed);
        Box::pin(async move {
            let found: Vec<SocketAddr> = resolving.await?.collect();
            let Some(allowed) = allowed else { return Ok(found.into_iter()) };
            let kept: Vec<SocketAddr> = found.into_iter().filter(|address| allowed(address.ip())).collect();
            if kept.is_empty() { Err(io::Error::other(NotAllowed)) } else { Ok(kept.into_iter()) }
        })
    }
}

/// A connection, in clear text or over TLS.
#[derive(Debug)]
pub struct Wire(Kind);

#[derive(Debug)]
enum Kind {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        match &self.0 {
            Kind::Tls(tls) if tls.get_ref().1.alpn_protocol() == Some(b"h2") => Connected::new().negotiated_h2(),
            _ => Connected::new(),
        }
    }
}

/// Does the same with either.
macro_rules! either {
    ($this:ident, $stream:ident => $act:expr) => {
        match &mut $this.get_mut().0 {
            Kind::Clear($stream) => {
                let $stream = Pin::new($stream);
                $act
            }
            Kind::Tls($stream) => {
                let $stream = Pin::new($stream);
                $act
            }
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(cx))
    }
}
