//! Exchanges over HTTP/1.1 and HTTP/2, with the connections kept for the next one.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use obp_proto::client::HttpTarget;
use obp_proto::error::ExchangeFailure;
use obp_proto::http::Response;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

type Body = Full<Bytes>;

/// Connections of HTTP/1.1 that are kept for each target while nobody uses them.
const IDLE: usize = 4;

/// Targets whose connections are kept.
const TARGETS: usize = 64;

/// Connections to brokers.
pub(crate) struct Pool {
    tls: Arc<rustls::ClientConfig>,
    body_limit: usize,
    connect_timeout: Duration,
    kept: Mutex<HashMap<Key, Kept>>,
}

/// What connections have in common: the address, whose certificate it shows, and whether there is TLS.
type Key = (SocketAddr, String, bool);

#[derive(Default)]
struct Kept {
    h2: Option<http2::SendRequest<Body>>,
    h1: Vec<http1::SendRequest<Body>>,
}

enum Connection {
    H2(http2::SendRequest<Body>),
    H1(http1::SendRequest<Body>),
}

fn key(target: &HttpTarget) -> Key {
    let host = target.name.as_ref().map_or_else(
        || match target.address {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        },
        ToString::to_string,
    );
    (target.address, host, target.tls)
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) failure: ExchangeFailure,
    pub(crate) what: String,
}

impl Trouble {
    fn new(failure: ExchangeFailure, what: impl ToString) -> Self {
        Self { failure, what: what.to_string() }
    }
}

impl Pool {
    /// Trusts what `tls` trusts. Responses may have so many octets.
    pub(crate) fn new(tls: Arc<rustls::ClientConfig>, body_limit: usize, connect_timeout: Duration) -> Self {
        let mut tls = (*tls).clone();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self { tls: Arc::new(tls), body_limit, connect_timeout, kept: Mutex::default() }
    }

    /// Makes one request. A connection that was kept and has died meanwhile is replaced once.
    pub(crate) async fn exchange(
        &self,
        target: &HttpTarget,
        path: &str,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<Response, Trouble> {
        let key = key(target);
        let default_port = if target.tls { 443 } else { 80 };
        let authority = if target.address.port() == default_port {
            key.1.clone()
        } else {
            format!("{}:{}", key.1, target.address.port())
        };
        let scheme = if target.tls { "https" } else { "http" };
        let kept = self.take(&key);
        let again = kept.is_some();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.connect(target).await?,
        };
        let request = |http2: bool| {
            let uri = if http2 { format!("{scheme}://{authority}{path}") } else { path.to_owned() };
            let mut request = Request::post(uri);
            if http2 {
                request = request.version(Version::HTTP_2);
            } else {
                request = request.header(HOST, &authority);
            }
            for (name, value) in headers {
                let value =
                    HeaderValue::try_from(value).map_err(|error| Trouble::new(ExchangeFailure::NotHttp, error))?;
                request = request.header(*name, value);
            }
            request.body(Body::new(body.clone())).map_err(|error| Trouble::new(ExchangeFailure::NotHttp, error))
        };
        let mut sent = connection.send(&request).await?;
        if sent.is_err() && again {
            // Nothing of the answer had come. The broker refuses what it has seen before, so asking again is safe.
            connection = self.connect(target).await?;
            sent = connection.send(&request).await?;
        }
        let response = sent.map_err(|error| Trouble::new(ExchangeFailure::Broken, error))?;
        let (parts, incoming) = response.into_parts();
        let body = Limited::new(incoming, self.body_limit).collect().await.map_err(|error| {
            let long = error.downcast_ref::<http_body_util::LengthLimitError>().is_some();
            Trouble::new(if long { ExchangeFailure::NotHttp } else { ExchangeFailure::Broken }, error)
        })?;
        self.keep(key, connection);
        let response = Response::new(parts.status.as_u16(), body.to_bytes());
        Ok(parts.headers.iter().fold(response, |response, (name, value)| {
            response.with_header(name.as_str(), value.to_str().unwrap_or("\u{0}"))
        }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, key: &Key) -> Option<Connection> {
        let mut all = self.lock();
        let kept = all.get_mut(key)?;
        kept.h1.retain(|connection| !connection.is_closed());
        if let Some(h2) = &kept.h2 {
            if !h2.is_closed() {
                return Some(Connection::H2(h2.clone()));
            }
            kept.h2 = None;
        }
        kept.h1.pop().map(Connection::H1)
    }

    fn keep(&self, key: Key, connection: Connection) {
        let mut all = self.lock();
        if all.len() >= TARGETS && !all.contains_key(&key) {
            all.retain(|_, kept| kept.h2.as_ref().is_some_and(|h2| !h2.is_closed()) || !kept.h1.is_empty());
            if all.len() >= TARGETS {
                return;
            }
        }
        let kept = all.entry(key).or_default();
        match connection {
            Connection::H2(h2) => kept.h2 = Some(h2),
            Connection::H1(h1) if kept.h1.len() < IDLE => kept.h1.push(h1),
            Connection::H1(_) => {}
        }
    }

    async fn connect(&self, target: &HttpTarget) -> Result<Connection, Trouble> {
        let timed = tokio::time::timeout(self.connect_timeout, async {
            let failed = |error: io::Error| Trouble::new(ExchangeFailure::Connect, error);
            let tcp = TcpStream::connect(target.address).await.map_err(failed)?;
            let _ = tcp.set_nodelay(true);
            self.begin(tcp, target).await
        });
        timed.await.unwrap_or_else(|_| {
            let what = format!("no connection within {:?}", self.connect_timeout);
            Err(Trouble::new(ExchangeFailure::Connect, what))
        })
    }

    /// Uses a connection that was made elsewhere, for the next exchange with its target.
    pub(crate) async fn adopt(&self, tcp: TcpStream, target: &HttpTarget) -> Result<(), Trouble> {
        let begun = tokio::time::timeout(self.connect_timeout, self.begin(tcp, target)).await;
        let late = |_| Trouble::new(ExchangeFailure::Tls, format!("no TLS within {:?}", self.connect_timeout));
        self.keep(key(target), begun.map_err(late)??);
        Ok(())
    }

    async fn begin(&self, tcp: TcpStream, target: &HttpTarget) -> Result<Connection, Trouble> {
        if !target.tls {
            return handshake(tcp, false).await;
        }
        let name = match &target.name {
            Some(name) => ServerName::try_from(name.to_canonical()),
            None => Ok(ServerName::from(target.address.ip())),
        };
        let name = name.map_err(|error| Trouble::new(ExchangeFailure::Tls, error))?;
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await;
        let stream = stream.map_err(|error| Trouble::new(ExchangeFailure::Tls, error))?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        handshake(stream, h2).await
    }
}

/// Begins HTTP on a stream, and leaves the stream to a task of its own.
async fn handshake<S>(stream: S, h2: bool) -> Result<Connection, Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: hyper::Error| Trouble::new(ExchangeFailure::Broken, error);
    let io = TokioIo::new(stream);
    if h2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        // An idle connection that has died is noticed before the next query needs it.
        builder.timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(30)).max_header_list_size(16 * 1024);
        let (sender, connection) = builder.handshake(io).await.map_err(failed)?;
        tokio::spawn(async move {
            let _ = connection.await;
        });
        return Ok(Connection::H2(sender));
    }
    let (sender, connection) = http1::Builder::new().max_headers(64).handshake(io).await.map_err(failed)?;
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(Connection::H1(sender))
}

impl Connection {
    /// Sends; the outer error is about the request, the inner one about the connection.
    async fn send(
        &mut self,
        request: &impl Fn(bool) -> Result<Request<Body>, Trouble>,
    ) -> Result<Result<hyper::Response<hyper::body::Incoming>, hyper::Error>, Trouble> {
        Ok(match self {
            Self::H2(sender) => {
                let request = request(true)?;
                match sender.ready().await {
                    Ok(()) => sender.send_request(request).await,
                    Err(error) => Err(error),
                }
            }
            Self::H1(sender) => {
                let request = request(false)?;
                match sender.ready().await {
                    Ok(()) => sender.send_request(request).await,
                    Err(error) => Err(error),
                }
            }
        })
    }
}
