//! Requests that are none, too long, too slow or for somebody else.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use obp_hyper::server::ServerLimits;
use support::{Setup, Site};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

async fn plain(change: impl FnOnce(&mut ServerLimits)) -> Site {
    let mut limits = ServerLimits::default();
    change(&mut limits);
    Site::start(Setup { tls: false, limits, ..Setup::default() }).await
}

/// Sends, and gives the first line of what comes back, and all of it.
async fn exchange(address: SocketAddr, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.expect("it closes");
    let answer = String::from_utf8(answer).unwrap();
    (answer.lines().next().unwrap_or_default().to_owned(), answer)
}

fn post(path: &str, content_type: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

const JSON: &str = "application/json;charset=UTF-8";
const QUERY: &str = "/.well-known/omni-query/";

#[tokio::test]
async fn each_mistake_has_its_status() {
    let site = plain(|_| {}).await;
    let status = async |request: String| exchange(site.http, &request).await.0;
    assert!(status(post("/", JSON, "{}")).await.contains("404"));
    assert!(status(post(QUERY, "text/plain", "{}")).await.contains("415"));
    assert!(
        status("GET /.well-known/omni-query/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".into())
            .await
            .contains("405")
    );
    // Neither authenticated nor readable: nobody is told which.
    let (line, whole) = exchange(site.http, &post(QUERY, JSON, "{}")).await;
    assert!(line.contains("401"), "{line}");
    assert!(whole.to_ascii_lowercase().contains("cache-control: no-store"), "{whole}");
    assert!(status("NONSENSE\r\n\r\n".into()).await.contains("400"));
    assert!(status(post(QUERY, JSON, &"x".repeat(70_000))).await.contains("413"));
    let announced =
        format!("POST {QUERY} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\nConnection: close\r\n\r\n");
    assert!(status(announced).await.contains("413"), "at once, without waiting for it");
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_is_told() {
    let site = plain(|_| {}).await;
    let mut stream = TcpStream::connect(site.http).await.unwrap();
    let head = format!(
        "POST {QUERY} HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1024];
    let read = stream.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 100 "), "{:?}", String::from_utf8_lossy(&answer[..read]));
    stream.write_all(b"{}").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.starts_with("HTTP/1.1 401 "), "{rest}");
}

#[tokio::test]
async fn slow_heads_bodies_and_handshakes_are_cut_off() {
    let short = Duration::from_millis(200);
    let site = plain(|limits| (limits.connection.head, limits.body) = (short, short)).await;
    // A head that never ends.
    let (line, _) = exchange(site.http, "POST /.well-known/omni-query/ HTTP/1.1\r\nHost:").await;
    assert!(line.is_empty() || line.contains("408"), "{line}");
    // A body that never comes.
    let request = format!("POST {QUERY} HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nContent-Length: 9\r\n\r\n{{");
    let (line, _) = exchange(site.http, &request).await;
    assert!(line.contains("408"), "{line}");
    assert_eq!(site.server.counters().bodies_refused.load(Ordering::Relaxed), 1);
    // A handshake that never begins.
    let mut limits = ServerLimits::default();
    limits.connection.handshake = short;
    let site = Site::start(Setup { limits, ..Setup::default() }).await;
    assert_eq!(exchange(site.http, "").await.1, "");
    assert_eq!(site.server.counters().connection.handshakes_failed.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn so_many_connections_and_no_more() {
    let site = plain(|limits| limits.connection.connections = 2).await;
    let held = [TcpStream::connect(site.http).await.unwrap(), TcpStream::connect(site.http).await.unwrap()];
    while site.server.counters().connection.taken.load(Ordering::Relaxed) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let third = tokio::spawn({
        let address = site.http;
        async move { exchange(address, &post("/", JSON, "{}")).await.0 }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(site.server.counters().connection.taken.load(Ordering::Relaxed), 2, "the third waits");
    drop(held);
    assert!(third.await.unwrap().contains("404"), "and has its turn");
}

#[tokio::test]
async fn no_datagram_that_cannot_be_verified_is_answered() {
    let site = plain(|_| {}).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for payload in [&b""[..], b"\x10", &[0x10; 165], &[0xff; 1200]] {
        socket.send_to(payload, site.udp).await.unwrap();
    }
    while site.server.stats().datagrams < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut buffer = [0; 2048];
    let answered = tokio::time::timeout(Duration::from_millis(200), socket.recv_from(&mut buffer)).await;
    assert!(answered.is_err(), "{answered:?}");
}
