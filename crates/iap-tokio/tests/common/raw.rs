//! A peer that says what the test wants, octet for octet, in clear text and inside TLS.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use iap_tokio::tls::{Claim, Tls, TlsStream, manager_name};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::soon;

pub const CONNECT: &str = "IAP/0.3 CONNECT manager.example.com\r\n\r\n";
pub const UPGRADE: &str = "IAP/0.3 Upgrade: TLS/1.0\r\n\r\n";
pub const SENDER: &str = "IAP/0.3 IAP-Version: 0.3\r\nIAP-Role: Sender\r\n\r\n";
pub const RECEIVER: &str = "IAP/0.3 IAP-Version: 0.3\r\nIAP-Role: Receiver\r\n\r\n";
pub const OK: &str = "IAP/0.3 200\r\n\r\n";
pub const SWITCH: &str = "IAP/0.3 101\r\n\r\n";

/// An answer.
pub fn status(code: u16) -> String {
    format!("IAP/0.3 {code}\r\n\r\n")
}

/// A content message.
pub fn content(content_type: &str, body: &str) -> String {
    format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}\r\n\r\n", body.len())
}

pub async fn dial(address: SocketAddr) -> TcpStream {
    let tcp = soon(TcpStream::connect(address)).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp
}

pub async fn accept(listener: &TcpListener) -> TcpStream {
    let (tcp, _) = soon(listener.accept()).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp
}

/// Sends; a peer that does not want to hear it any more is no error.
pub async fn say(stream: &mut (impl AsyncWrite + Unpin), words: impl AsRef<[u8]>) {
    let _ = stream.write_all(words.as_ref()).await;
    let _ = stream.flush().await;
}

/// Reads exactly these octets.
pub async fn expect(stream: &mut (impl AsyncRead + Unpin), words: &str) {
    let mut heard = vec![0; words.len()];
    let read = soon(stream.read_exact(&mut heard)).await;
    assert!(read.is_ok(), "wanted {words:?}: {read:?}");
    assert_eq!(String::from_utf8_lossy(&heard), words);
}

/// Reads to the end, however it comes.
pub async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut heard = Vec::new();
    let _ = soon(stream.read_to_end(&mut heard)).await;
    String::from_utf8_lossy(&heard).into_owned()
}

/// Reads one head: up to and with the empty line.
pub async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\n") {
        heard.push(soon(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(heard).unwrap()
}

/// Reads one content message and gives its body.
pub async fn body(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let head = head(stream).await;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
    let mut body = vec![0; length.parse().unwrap()];
    soon(stream.read_exact(&mut body)).await.unwrap();
    expect(stream, "\r\n\r\n").await;
    String::from_utf8(body).unwrap()
}

/// Closes by a reset.
pub fn reset(tcp: TcpStream) {
    tcp.set_zero_linger().unwrap();
    drop(tcp);
}

/// Waits that long, for things that must not happen.
pub async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// An analyzer that has dialled and may send.
pub async fn scripted_analyzer(address: SocketAddr, tls: &Tls) -> TlsStream<TcpStream> {
    let mut tls = analyzer_in_tls(address, tls).await;
    say(&mut tls, SENDER).await;
    expect(&mut tls, OK).await;
    tls
}

/// A manager that was dialled, up to TLS.
pub async fn manager_in_tls(listener: &TcpListener, tls: &Tls) -> TlsStream<TcpStream> {
    let mut tcp = accept(listener).await;
    assert!(head(&mut tcp).await.starts_with("IAP/0.3 CONNECT "));
    say(&mut tcp, OK).await;
    expect(&mut tcp, UPGRADE).await;
    say(&mut tcp, SWITCH).await;
    soon(tls.accept(tcp, Bytes::new(), Claim::ANALYZER)).await.unwrap().stream
}

/// A manager that was dialled, and may receive.
pub async fn scripted_manager(listener: &TcpListener, tls: &Tls) -> TlsStream<TcpStream> {
    let mut tls = manager_in_tls(listener, tls).await;
    expect(&mut tls, SENDER).await;
    say(&mut tls, OK).await;
    tls
}

async fn to_tls_through_proxies(address: SocketAddr) -> TcpStream {
    let mut tcp = dial(address).await;
    say(&mut tcp, CONNECT).await;
    assert!(head(&mut tcp).await.starts_with(OK.trim_end()));
    say(&mut tcp, UPGRADE).await;
    expect(&mut tcp, SWITCH).await;
    tcp
}

/// An analyzer that has dialled, over any number of proxies, up to TLS.
pub async fn analyzer_in_tls(address: SocketAddr, tls: &Tls) -> TlsStream<TcpStream> {
    let name = manager_name("manager.example.com").unwrap();
    let tcp = to_tls_through_proxies(address).await;
    soon(tls.connect(tcp, &name, Claim::MANAGER)).await.unwrap().stream
}

/// A manager that has dialled, over any number of proxies, up to TLS.
pub async fn dialling_manager_in_tls(address: SocketAddr, tls: &Tls) -> TlsStream<TcpStream> {
    let tcp = to_tls_through_proxies(address).await;
    soon(tls.accept(tcp, Bytes::new(), Claim::ANALYZER)).await.unwrap().stream
}
