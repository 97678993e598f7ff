//! Just enough HTTP/1.1 (RFC 9112) for a scraper or a browser on the same machine: GET and HEAD, one request per
//! connection, bounded in size, time and number.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Health, Registry};
use crate::exit::Failure;
use crate::store::BoxFuture;
use crate::values::HostPort;

/// The longest request, up to the empty line.
const REQUEST_LIMIT: usize = 8 * 1024;
/// The longest time for a whole exchange.
const PATIENCE: Duration = Duration::from_secs(10);
/// Exchanges at one time; more wait in the system's queue.
const EXCHANGES: usize = 16;
/// How long exchanges that are under way may take at the end.
const GRACE: Duration = Duration::from_secs(1);

/// Opens a listening socket.
///
/// # Errors
/// A name without address, or an address that is not ours or in use.
pub async fn bind(addr: &HostPort) -> Result<TcpListener, Failure> {
    try_bind(addr).await.map_err(|error| cannot_listen(addr, &error))
}

/// As [`bind`], at all of these.
pub(crate) async fn bind_all(addrs: &[HostPort]) -> Result<Vec<TcpListener>, Failure> {
    let mut listeners = Vec::new();
    for addr in addrs {
        listeners.push(bind(addr).await?);
    }
    Ok(listeners)
}

/// As [`bind`], if there is an address.
pub(crate) async fn bind_optional(addr: Option<&HostPort>) -> Result<Option<TcpListener>, Failure> {
    match addr {
        Some(addr) => bind(addr).await.map(Some),
        None => Ok(None),
    }
}

/// As [`bind`], for who wants to know what kind of error it was.
pub(crate) async fn try_bind(addr: &HostPort) -> std::io::Result<TcpListener> {
    TcpListener::bind(addr.resolve().await?.as_slice()).await
}

/// What to say of an error of [`try_bind`].
pub(crate) fn cannot_listen(addr: &HostPort, error: &std::io::Error) -> Failure {
    let failure = Failure::usage(format!("cannot listen: {error}")).at(addr);
    match error.kind() {
        std::io::ErrorKind::AddrInUse => failure.remedy("stop the other program or choose another port"),
        std::io::ErrorKind::AddrNotAvailable => failure.remedy("choose an address of this machine"),
        std::io::ErrorKind::PermissionDenied => failure.remedy("choose a port above 1023"),
        _ => failure.remedy("name an address of this machine, as in 127.0.0.1:7000"),
    }
}

/// What is served.
pub trait Site: Send + Sync + 'static {
    /// The page at a path, such as `/metrics`; the query is cut off.
    fn page<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Page>;
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Page {
    /// Status code and reason.
    pub status: &'static str,
    /// Media type.
    pub content_type: &'static str,
    /// The content.
    pub body: String,
}

impl Page {
    /// A page that is there.
    pub fn ok(content_type: &'static str, body: impl Into<String>) -> Self {
        Self { status: "200 OK", content_type, body: body.into() }
    }

    /// A line of text that says why there is no page.
    pub fn error(status: &'static str, why: impl Into<String>) -> Self {
        Self { status, content_type: PLAIN, body: why.into() }
    }
}

/// `/metrics`, `/healthz` and `/readyz`.
#[derive(Debug)]
pub(crate) struct MetricsSite(pub(crate) Registry, pub(crate) Health);

impl Site for MetricsSite {
    fn page<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Page> {
        let Self(registry, health) = self;
        let page = match path {
            "/metrics" => Page::ok("text/plain; version=0.0.4; charset=utf-8", registry.render()),
            "/healthz" => Page::ok(PLAIN, "ok\n"),
            "/readyz" => {
                registry.refresh();
                match health.ready() {
                    Ok(()) => Page::ok(PLAIN, "ready\n"),
                    Err(reason) => Page::error("503 Service Unavailable", reason),
                }
            }
            _ => Page::error("404 Not Found", "here are /metrics, /healthz and /readyz\n"),
        };
        Box::pin(std::future::ready(page))
    }
}

/// Serves until `shutdown`; what is under way then has a second. Nothing is left of it when it is dropped.
pub async fn serve(listener: TcpListener, site: Arc<dyn Site>, shutdown: CancellationToken) {
    let (exchanges, cut) = (TaskTracker::new(), CancellationToken::new());
    let _cut_at_end = cut.clone().drop_guard();
    shutdown.run_until_cancelled(accept(listener, site, &exchanges, &cut)).await;
    exchanges.close();
    let _ = tokio::time::timeout(GRACE, exchanges.wait()).await;
}

async fn accept(listener: TcpListener, site: Arc<dyn Site>, exchanges: &TaskTracker, cut: &CancellationToken) {
    let places = Arc::new(Semaphore::new(EXCHANGES));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let site = Arc::clone(&site);
                exchanges.spawn(cut.clone().run_until_cancelled_owned(async move {
                    let _ = tokio::time::timeout(PATIENCE, exchange(stream, &*site)).await;
                    drop(place);
                }));
            }
            Err(error) => {
                tracing::warn!(%error, "http: cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn exchange(mut stream: TcpStream, site: &dyn Site) -> std::io::Result<()> {
    let mut request = Vec::with_capacity(1024);
    let head_end = loop {
        if let Some(at) = memchr::memmem::find(&request, b"\r\n\r\n") {
            break Some(at);
        }
        if request.len() >= REQUEST_LIMIT {
            break None;
        }
        let room = (REQUEST_LIMIT - request.len()) as u64;
        if (&mut stream).take(room).read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    };
    let asked = match head_end {
        Some(end) => target(request.get(..end).unwrap_or_default()),
        None => Err(Page::error("431 Request Header Fields Too Large", "request too long\n")),
    };
    let (Page { status, content_type, body }, with_body) = match asked {
        Ok((path, with_body)) => (site.page(path).await, with_body),
        Err(page) => (page, true),
    };
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    let mut response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n{allow}\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        body.len()
    );
    if with_body {
        response.push_str(&body);
    }
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await?;
    // What the client still sends is read off, so that closing does not destroy the answer under way.
    let mut rest = [0; 1024];
    let mut left = 64 * 1024;
    while left > 0 {
        match stream.read(&mut rest).await? {
            0 => break,
            n => left = usize::saturating_sub(left, n),
        }
    }
    Ok(())
}

const PLAIN: &str = "text/plain; charset=utf-8";

/// The path that is asked for, and whether its content is wanted as well.
fn target(head: &[u8]) -> Result<(&str, bool), Page> {
    let line = head.split(|octet| *octet == b'\r').next().unwrap_or_default();
    let words: Vec<&str> = std::str::from_utf8(line).unwrap_or_default().split(' ').collect();
    let [method, target, version] = words.as_slice() else {
        return Err(Page::error("400 Bad Request", "not a request\n"));
    };
    if !version.starts_with("HTTP/1.") {
        return Err(Page::error("505 HTTP Version Not Supported", "HTTP/1.1, please\n"));
    }
    if !matches!(*method, "GET" | "HEAD") {
        return Err(Page::error("405 Method Not Allowed", "GET or HEAD, please\n"));
    }
    Ok((target.split('?').next().unwrap_or_default(), *method != "HEAD"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(addr: std::net::SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await.unwrap();
        String::from_utf8(response).unwrap()
    }

    #[tokio::test]
    async fn three_paths_two_methods_and_limits() {
        let listener = bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (registry, health, shutdown) = (Registry::default(), Health::default(), CancellationToken::new());
        registry.counter("x_total", "X.", &[]).add(7);
        let server = tokio::spawn(serve(listener, Arc::new(MetricsSite(registry, health.clone())), shutdown.clone()));
        let metrics = ask(addr, b"GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n") && metrics.contains("version=0.0.4"), "{metrics}");
        assert!(metrics.ends_with("\r\n\r\n# HELP x_total X.\n# TYPE x_total counter\nx_total 7\n"), "{metrics}");
        let head = ask(addr, b"HEAD /metrics HTTP/1.1\r\n\r\n").await;
        assert!(head.contains("Content-Length: 51\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(ask(addr, b"GET /healthz HTTP/1.0\r\n\r\n").await.ends_with("ok\n"));
        assert!(ask(addr, b"GET /readyz HTTP/1.1\r\n\r\n").await.ends_with("ready\n"));
        health.set("store", Err("gone".into()));
        let ready = ask(addr, b"GET /readyz HTTP/1.1\r\n\r\n").await;
        assert!(ready.starts_with("HTTP/1.1 503 ") && ready.ends_with("store: gone\n"), "{ready}");
        for (request, status) in [
            (&b"GET /x HTTP/1.1\r\n\r\n"[..], "404"),
            (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405"),
            (b"\xff\xfe\r\n\r\n", "400"),
            (b"GET /metrics HTTP/2.0\r\n\r\n", "505"),
            (&[b'a'; 20_000], "431"),
        ] {
            let response = ask(addr, request).await;
            assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
        }
        let taken = bind(&addr.into()).await.unwrap_err().to_string();
        assert!(taken.contains("choose another port"), "{taken}");
        shutdown.cancel();
        server.await.unwrap();
    }

    /// With connections of which nothing comes: as many as there is room for.
    async fn occupied() -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<()>, Vec<TcpStream>) {
        let listener = bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (addr, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
        let before = alive();
        let site = Arc::new(MetricsSite(Registry::default(), Health::default()));
        let server = tokio::spawn(serve(listener, site, shutdown.clone()));
        let mut idle = Vec::new();
        for _ in 0..EXCHANGES {
            idle.push(TcpStream::connect(addr).await.unwrap());
        }
        while alive() < before + 1 + EXCHANGES {
            tokio::task::yield_now().await;
        }
        (addr, shutdown, server, idle)
    }

    fn alive() -> usize {
        tokio::runtime::Handle::current().metrics().num_alive_tasks()
    }

    #[tokio::test]
    async fn the_end_does_not_wait_for_connections_of_which_nothing_comes() {
        let (addr, shutdown, server, idle) = occupied().await;
        tokio::time::pause();
        shutdown.cancel();
        let began = tokio::time::Instant::now();
        server.await.unwrap();
        assert!(began.elapsed() < GRACE * 2, "{:?}", began.elapsed());
        tokio::time::resume();
        assert!(TcpStream::connect(addr).await.is_err(), "nobody listens");
        while alive() > 0 {
            tokio::task::yield_now().await;
        }
        drop(idle);
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_server_that_is_dropped() {
        let (addr, _shutdown, server, idle) = occupied().await;
        server.abort();
        while alive() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(TcpStream::connect(addr).await.is_err(), "nobody listens");
        drop(idle);
    }
}
