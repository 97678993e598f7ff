//! Clients that are slow, greedy, or no clients at all.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use repute_hyper::server::ServerLimits;
use support::{LONG, Site, config, field, get, raw, rest, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const SHORT: Duration = Duration::from_millis(200);
const GOOD: &str = "GET /email-id/bad.example/spam HTTP/1.1\r\nHost: x\r\n\r\n";

async fn site(change: impl FnOnce(&mut ServerLimits)) -> Site {
    let mut limits = ServerLimits::default();
    change(&mut limits);
    Site::start(config(), |builder| builder.with_limits(limits)).await
}

fn post(length: &str, body: &str) -> String {
    let fields = format!("Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n");
    format!("POST /batch HTTP/1.1\r\nHost: x\r\n{fields}\r\n{body}")
}

#[tokio::test]
async fn heads_are_bounded() {
    let site = site(|limits| limits.connection.fields = 20).await;
    for (what, fields) in [
        ("one field is huge", format!("X: {}\r\n", "x".repeat(100_000))),
        ("there are too many", "X: y\r\n".repeat(30)),
    ] {
        let answer = get(site.address, "GET", "/email-id/bad.example/spam", &fields).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{what}: {answer}");
    }
    let long = format!("/email-id/{}", "x".repeat(9_000));
    assert!(get(site.address, "GET", &long, "").await.starts_with("HTTP/1.1 414 "));
    until("broken ones are counted", || site.server.counters().connection.broken.load(Ordering::Relaxed) >= 1).await;
    assert!(get(site.address, "GET", "/email-id/bad.example/spam", "").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let site = site(|limits| limits.connection.head = SHORT).await;
    for nonsense in
        ["NONSENSE\r\n\r\n", "\0\0\0\0", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let answer = String::from_utf8_lossy(&{
            let mut stream = TcpStream::connect(site.address).await.unwrap();
            stream.write_all(nonsense.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.expect("it closes");
            answer
        })
        .into_owned();
        assert!(!answer.contains("200 OK"), "{nonsense:?}: {answer}");
    }
}

#[tokio::test]
async fn slow_heads_bodies_and_handshakes_are_cut_off() {
    let site = site(|limits| (limits.connection.head, limits.body) = (SHORT, SHORT)).await;
    // A head that never ends, though it never stops.
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let dripping = async {
        for octet in GOOD.bytes().cycle() {
            if stream.write_all(&[if octet == b'\n' { b'x' } else { octet }]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, dripping).await.is_ok());
    // Nothing after a good request.
    assert!(raw(site.address, GOOD).await.starts_with("HTTP/1.1 200 "));
    // A body that never comes.
    assert!(raw(site.address, &post("9", "[")).await.starts_with("HTTP/1.1 408 "));
    assert_eq!(site.server.counters().bodies_refused.load(Ordering::Relaxed), 1);
    // A handshake that never begins, and one that is none.
    let mut limits = ServerLimits::default();
    limits.connection.handshake = SHORT;
    let site = Site::start_tls_with(config(), |builder| builder.with_limits(limits)).await;
    assert_eq!(raw(site.address, "").await, "");
    let mut clear = TcpStream::connect(site.address).await.unwrap();
    clear.write_all(GOOD.as_bytes()).await.unwrap();
    let _ = tokio::time::timeout(LONG, clear.read_to_end(&mut Vec::new())).await.expect("it closes");
    until("both are counted", || site.server.counters().connection.handshakes_failed.load(Ordering::Relaxed) == 2)
        .await;
}

#[tokio::test]
async fn bodies_are_bounded() {
    let site = site(|limits| limits.body_octets = 1_000).await;
    assert!(raw(site.address, &post("99999999999", "")).await.starts_with("HTTP/1.1 413 "), "without waiting for it");
    let chunked = "POST /batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    let chunk = format!("400\r\n{}\r\n", "[".repeat(0x400));
    assert!(raw(site.address, &format!("{chunked}{chunk}{chunk}0\r\n\r\n")).await.starts_with("HTTP/1.1 413 "));
    assert!(raw(site.address, &format!("{chunked}nonsense\r\n")).await.starts_with("HTTP/1.1 400 "));
    assert_eq!(site.server.counters().bodies_refused.load(Ordering::Relaxed), 3);
    // A body where none belongs is not read, and does not become the next request.
    let smuggled =
        format!("GET /email-id/good.example/spam HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{GOOD}", GOOD.len());
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    stream.write_all(smuggled.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let answers = rest(&mut stream).await;
    assert_eq!((answers.matches("HTTP/1.1 ").count(), answers.contains("bad.example")), (1, false), "{answers}");
}

#[tokio::test]
async fn who_waits_for_100_continue_is_told_unless_it_is_too_much() {
    let site = site(|_| {}).await;
    let expecting = |length: &str| {
        let fields = "Content-Type: application/json\r\nExpect: 100-continue\r\nConnection: close\r\n";
        format!("POST /batch HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{fields}\r\n")
    };
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    stream.write_all(expecting("2").as_bytes()).await.unwrap();
    let mut answer = [0; 64];
    let read = stream.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 100 "));
    stream.write_all(b"[]").await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 400 "));
    assert!(raw(site.address, &expecting("9999999999")).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn who_closes_while_it_waits_gives_its_place_back() {
    let site = site(|limits| limits.lookups = 1).await;
    *site.table.slow.lock().unwrap() = LONG;
    for is_half in [true, false] {
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        stream.write_all(b"GET /email-id/slow.example/spam HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        until("it is looked for", || site.table.under_way.lock().unwrap().0 == 1).await;
        if is_half {
            stream.shutdown().await.unwrap();
            assert_eq!(rest(&mut stream).await, "");
        } else {
            drop(stream);
        }
        until("nobody waits for it", || site.table.under_way.lock().unwrap().0 == 0).await;
    }
}

#[tokio::test]
async fn so_many_connections_and_no_more() {
    let site = site(|limits| limits.connection.connections = 2).await;
    let held = [TcpStream::connect(site.address).await.unwrap(), TcpStream::connect(site.address).await.unwrap()];
    until("both are taken", || site.server.counters().connection.taken.load(Ordering::Relaxed) == 2).await;
    let address = site.address;
    let third = tokio::spawn(async move { get(address, "GET", "/email-id/bad.example/spam", "").await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(site.server.counters().connection.taken.load(Ordering::Relaxed), 2, "the third waits");
    drop(held);
    assert!(third.await.unwrap().starts_with("HTTP/1.1 200 "), "and has its turn");
}

#[tokio::test]
async fn one_address_cannot_take_all_connections() {
    let site = site(|limits| limits.connection.connections_per_address = 2).await;
    let held = [TcpStream::connect(site.address).await.unwrap(), TcpStream::connect(site.address).await.unwrap()];
    until("both are taken", || site.server.counters().connection.taken.load(Ordering::Relaxed) == 2).await;
    let mut third = TcpStream::connect(site.address).await.unwrap();
    assert_eq!(rest(&mut third).await, "");
    assert_eq!(site.server.counters().connection.refused.load(Ordering::Relaxed), 1);
    drop(held);
    let mut answered = false;
    until_async(async || {
        answered = answered || raw_or_nothing(&site, GOOD).await.starts_with("HTTP/1.1 200 ");
        answered
    })
    .await;
}

/// What the server says, if it says anything at all.
async fn raw_or_nothing(site: &Site, request: &str) -> String {
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    if stream.write_all(request.as_bytes()).await.is_err() {
        return String::new();
    }
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.unwrap_or(0);
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

async fn until_async(mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, waiting).await.is_ok());
}

#[tokio::test]
async fn who_does_not_read_its_answers_is_cut_off() {
    let site = site(|limits| limits.connection.write = SHORT).await;
    site.table.at_hand.store(true, Ordering::Relaxed);
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let greedy = GOOD.repeat(200);
    // It is not read from either, once too much waits to be written.
    let writing = async { while stream.write_all(greedy.as_bytes()).await.is_ok() {} };
    assert!(tokio::time::timeout(LONG, writing).await.is_ok(), "it is cut off");
    until("it is counted", || site.server.counters().connection.broken.load(Ordering::Relaxed) == 1).await;
}

#[tokio::test]
async fn http_2_is_bounded_and_head_has_its_length() {
    use http_body_util::{BodyExt as _, Empty};
    let site = site(|limits| (limits.connection.head, limits.connection.streams) = (SHORT, 4)).await;
    let io = hyper_util::rt::TokioIo::new(TcpStream::connect(site.address).await.unwrap());
    let builder = hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(io).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut send = async |method: &str, field: &str| {
        let request = hyper::Request::builder().method(method).uri("http://x/email-id/bad.example/spam");
        let request = request.header("x-field", field).body(Empty::<bytes::Bytes>::new()).unwrap();
        sender.send_request(request).await
    };
    let whole = send("GET", "").await.unwrap();
    let length = whole.headers()["content-length"].clone();
    let whole = whole.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(length, whole.len().to_string());
    let head = send("HEAD", "").await.unwrap();
    assert_eq!((head.status().as_u16(), &head.headers()["content-length"]), (200, &length));
    assert!(head.into_body().collect().await.unwrap().to_bytes().is_empty());
    let refused = send("GET", &"x".repeat(20_000)).await;
    assert!(refused.as_ref().map_or(true, |response| response.status().as_u16() == 431), "{refused:?}");
    // Pings are answered, but nothing is asked.
    assert!(tokio::time::timeout(LONG, connection).await.is_ok(), "it ends");
}

#[tokio::test]
async fn so_many_requests_at_one_time_on_a_connection_and_no_more() {
    use http_body_util::Empty;
    let site = site(|limits| limits.connection.streams = 2).await;
    *site.table.slow.lock().unwrap() = Duration::from_millis(50);
    let io = hyper_util::rt::TokioIo::new(TcpStream::connect(site.address).await.unwrap());
    let builder = hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
    let (sender, connection) = builder.handshake(io).await.unwrap();
    tokio::spawn(connection);
    let asking = (0..6).map(|_| {
        let mut sender = sender.clone();
        let request = hyper::Request::get("http://x/email-id/slow.example/spam").body(Empty::<bytes::Bytes>::new());
        tokio::spawn(
            async move { sender.send_request(request.unwrap()).await.map(|response| response.status().as_u16()) },
        )
    });
    let mut answered = 0;
    for asked in asking.collect::<Vec<_>>() {
        match asked.await.unwrap() {
            Ok(status) => answered += usize::from(status == 200),
            // Sent before it was known how many there may be.
            Err(error) => assert!(error.to_string().contains("http2"), "{error:?}"),
        }
    }
    let most = site.table.under_way.lock().unwrap().1;
    assert!((1..=2).contains(&most) && answered >= 2, "{most} at a time, {answered} answered");
}

#[tokio::test]
async fn answers_to_nobody_keep_their_fields() {
    // Whatever the status, who is refused learns nothing about the store.
    let site = site(|_| {}).await;
    for (method, path) in
        [("GET", "/"), ("PUT", "/batch"), ("GET", "/email-id/"), ("GET", "/email-id/..%2f"), ("GET", "/email-id/%ff")]
    {
        let answer = get(site.address, method, path, "").await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{method} {path}: {answer}");
        assert!(field(&answer, "content-type").unwrap().starts_with("text/plain"), "{answer}");
    }
    assert_eq!(site.table.asked.load(Ordering::Relaxed), 0);
}
