//! The console over HTTP, as a browser or a script would ask.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::signals::Reload;
use crate::store::AlertRecord;
use crate::store::tests_support::xml;
use crate::testing::TempDir;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

async fn console(change: impl FnOnce(&mut ConsoleArgs)) -> (SocketAddr, Context) {
    let (_reload, reload) = Reload::manual();
    let context = Context::new(false, CancellationToken::new(), reload);
    let mut args = ConsoleArgs::at("127.0.0.1:0".parse().unwrap());
    change(&mut args);
    (start(&args, &context).await.unwrap(), context)
}

/// The whole answer to a request that ends the connection.
async fn ask(addr: SocketAddr, request: &str, fields: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let length = body.len();
    let text = format!(
        "{request} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

fn json(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn alert(id: usize) -> Arc<AlertRecord> {
    Arc::new(AlertRecord::now("sensor-1", "application/x-idef-alert", Bytes::from(xml(id, "192.0.2.1"))))
}

#[tokio::test]
async fn everything_is_answered_with_what_protects_it() {
    let (addr, context) = console(|_| {}).await;
    context.hub.tell_alerts(&[alert(1), alert(2)]);
    for path in [
        "/",
        "/assets/app.js",
        "/api/overview",
        "/api/alerts",
        "/api/sensors",
        "/api/answers",
        "/api/reputations",
        "/api/dots",
        "/api/star",
        "/nothing",
    ] {
        let answer = ask(addr, &format!("GET {path}"), "", "").await;
        assert_eq!(status(&answer), if path == "/nothing" { "404" } else { "200" }, "{answer}");
        for field in [
            "content-security-policy: default-src 'none'; script-src 'self';",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: same-origin",
            "cache-control: no-store",
        ] {
            assert!(answer.contains(field), "{path}: {field}");
        }
        assert!(!answer.contains("unsafe-"), "{path}");
    }
    let found = json(&ask(addr, "GET /api/alerts?text=m2", "", "").await);
    assert_eq!((found["rows"].as_array().unwrap().len(), &found["matched"]), (1, &1.into()));
    let id = found["rows"][0]["id"].as_str().unwrap();
    assert_eq!(json(&ask(addr, &format!("GET /api/alerts/{id}"), "", "").await)["sensor"], "sensor-1");
    assert_eq!(status(&ask(addr, "GET /api/alerts/1-00", "", "").await), "404");
    assert_eq!(status(&ask(addr, "GET /api/alerts?severity=huge", "", "").await), "400");
    assert_eq!(status(&ask(addr, &format!("GET /api/alerts?text={}", "x".repeat(5000)), "", "").await), "414");
    assert_eq!(status(&ask(addr, "DELETE /api/alerts", "", "").await), "405");
    assert_eq!(status(&ask(addr, "POST /api/alerts", "", "").await), "405");
    let head = ask(addr, "HEAD /", "", "").await;
    assert!(status(&head) == "200" && head.ends_with("\r\n\r\n"), "{head}");
    let sensors = json(&ask(addr, "GET /api/sensors", "", "").await);
    assert_eq!(
        (&sensors["sensors"][0]["name"], &sensors["sensors"][0]["stats"]["minute"]),
        (&"sensor-1".into(), &2.into())
    );
    assert_eq!(json(&ask(addr, "GET /api/overview", "", "").await)["alerts"], 2);
    context.shutdown.cancel();
}

#[tokio::test]
async fn other_hosts_and_pages_of_others_are_refused() {
    let (addr, context) = console(|args| args.host = vec!["console.example".to_owned()]).await;
    for (host, wanted) in [("console.example", "200"), ("evil.example", "421"), ("localhost", "200")] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(status(&answer), wanted, "{host}");
    }
    let kind = "Content-Type: application/json\r\n";
    let question = r#"{"application":"email-id","subject":"example.org"}"#;
    assert_eq!(status(&ask(addr, "POST /api/reputations", kind, question).await), "200");
    let foreign = format!("{kind}Origin: http://evil.example\r\n");
    assert_eq!(status(&ask(addr, "POST /api/reputations", &foreign, question).await), "403");
    let form = "Content-Type: text/plain\r\n";
    assert_eq!(status(&ask(addr, "POST /api/reputations", form, question).await), "415");
    for (bad, wanted) in [("{", "400"), (r#"{"subject":"x"}"#, "400"), (&*"x".repeat(5000), "413")] {
        assert_eq!(status(&ask(addr, "POST /api/reputations", kind, bad).await), wanted, "{bad}");
    }
    context.shutdown.cancel();
}

#[tokio::test]
async fn with_a_token_nothing_is_said_without_it() {
    let dir = TempDir::new("console-token");
    let file = dir.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let (addr, context) = console(|args| args.token_file = Some(file)).await;
    context.hub.tell_alerts(&[alert(1)]);
    for path in ["/api/overview", "/api/alerts", "/api/events", "/api/alerts/1-00", "/nothing"] {
        let answer = ask(addr, &format!("GET {path}"), "", "").await;
        assert!(status(&answer) == "401" && !answer.contains("sensor-1"), "{path}: {answer}");
    }
    let page = ask(addr, "GET /", "", "").await;
    assert!(status(&page) == "303" && page.contains("location: /login"), "{page}");
    assert_eq!(status(&ask(addr, "GET /login", "", "").await), "200");
    assert_eq!(status(&ask(addr, &format!("GET /api/alerts?token={TOKEN}"), "", "").await), "401", "never in a URL");
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(status(&ask(addr, "GET /api/alerts", &bearer, "").await), "200");
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let wrong = ask(addr, "POST /login", form, "token=0123456789abcdef").await;
    assert!(wrong.contains("location: /login?wrong") && !wrong.contains("set-cookie"), "{wrong}");
    let right = ask(addr, "POST /login", form, &format!("token={TOKEN}")).await;
    let cookie = right.split("set-cookie: ").nth(1).unwrap().split(';').next().unwrap();
    assert!(right.contains("HttpOnly; SameSite=Strict") && !right.contains(TOKEN), "{right}");
    let cookie = format!("Cookie: {cookie}\r\n");
    assert_eq!(status(&ask(addr, "GET /api/alerts", &cookie, "").await), "200");
    assert_eq!(json(&ask(addr, "GET /api/overview", &cookie, "").await)["has_token"], true);
    assert_eq!(status(&ask(addr, "POST /logout", &cookie, "").await), "303");
    assert_eq!(status(&ask(addr, "GET /api/alerts", &cookie, "").await), "401");
    context.shutdown.cancel();
}

#[tokio::test]
async fn beyond_the_loopback_a_token_is_needed() {
    let (_reload, reload) = Reload::manual();
    let context = Context::new(false, CancellationToken::new(), reload);
    let args = ConsoleArgs::at("0.0.0.0:0".parse().unwrap());
    let failure = start(&args, &context).await.unwrap_err().to_string();
    assert!(failure.contains("token-file") && !context.hub.is_on(), "{failure}");
}

#[tokio::test]
async fn events_come_as_they_happen_and_readers_are_counted() {
    let (addr, context) = console(|args| args.max_readers = 1).await;
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(format!("GET /api/events HTTP/1.1\r\nHost: {addr}\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    read_until(&mut stream, &mut text, "event: hello").await;
    assert!(text.contains("content-type: text/event-stream"), "{text}");
    let full = ask(addr, "GET /api/events", "", "").await;
    assert!(status(&full) == "503" && full.contains("max-readers"), "{full}");
    context.hub.tell_alerts(&[alert(7)]);
    read_until(&mut stream, &mut text, "event: alert").await;
    read_until(&mut stream, &mut text, "\"text\":\"scan\"").await;
    // It ends with the process, and properly.
    context.shutdown.cancel();
    read_until(&mut stream, &mut text, "0\r\n\r\n").await;
}

#[tokio::test]
async fn who_does_not_read_is_cut_off() {
    let (addr, context) = console(|args| args.write_timeout = "200ms".parse().unwrap()).await;
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(format!("GET /api/events HTTP/1.1\r\nHost: {addr}\r\n\r\n").as_bytes()).await.unwrap();
    let name = "n".repeat(500);
    let body = xml(1, "192.0.2.1").replace("text=\"scan\"", &format!("text=\"{name}\""));
    let record = Arc::new(AlertRecord::now("s", "x/y", Bytes::from(body)));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    // More than all the buffers on the way can take, until the other side has gone.
    loop {
        context.hub.tell_alerts(&vec![Arc::clone(&record); 256]);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let answer = ask(addr, "GET /api/overview", "", "").await;
        assert_eq!(status(&answer), "200");
        if stream_is_over(&mut stream).await {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "a reader that does not read is kept");
    }
    context.shutdown.cancel();
}

/// Whether the other side has closed; reads nothing.
async fn stream_is_over(stream: &mut TcpStream) -> bool {
    // A reset shows itself at once, though nothing is read.
    stream.write_all(b"x").await.is_err()
}

async fn read_until(stream: &mut TcpStream, text: &mut String, wanted: &str) {
    let reading = async {
        while !text.contains(wanted) {
            let mut octets = [0; 4096];
            let count = stream.read(&mut octets).await.unwrap();
            assert!(count > 0, "it ended without {wanted}: {text}");
            text.push_str(&String::from_utf8_lossy(&octets[..count]));
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reading).await.expect("in time");
}
