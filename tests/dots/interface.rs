//! The interface of a Call Home client, and those who misuse it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use crate::site::{HOME, Operator, ask, home, http, site};

#[test]
fn nonsense_is_refused_by_its_code() {
    let site = site();
    let operator = Operator::start(&site, &["--api-body", "1K"]);
    let host = "Host: localhost\r\n";
    let json = "Content-Type: application/json\r\n";
    let large = format!("Content-Length: 2000\r\n\r\n{}", "x".repeat(2000));
    let body = |text: &str| format!("Content-Length: {}\r\n\r\n{text}", text.len());
    let path = format!("/v1/peers/{HOME}/mitigations/1");
    for (request, code) in [
        (format!("GET / HTTP/1.1\r\n{host}\r\n"), "404"),
        (format!("GET /v1/peers HTTP/1.1\r\n{host}\r\n"), "200"),
        ("GET /v1/peers HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(), "403"),
        (format!("GET /v1/peers HTTP/1.1\r\n{host}Origin: http://evil.example\r\n\r\n"), "403"),
        (format!("PATCH /v1/peers HTTP/1.1\r\n{host}\r\n"), "405"),
        (format!("PUT {path} HTTP/1.1\r\n{host}Content-Type: text/plain\r\n{}", body("{}")), "415"),
        (format!("PUT {path} HTTP/1.1\r\n{host}{json}{}", body("{}")), "400"),
        (format!("PUT {path} HTTP/1.1\r\n{host}{json}{}", body("{")), "400"),
        (format!("PUT {path} HTTP/1.1\r\n{host}{json}{large}"), "400"),
        (format!("PUT {path}x HTTP/1.1\r\n{host}{json}{}", body("{}")), "400"),
        (format!("PUT {path}?timeout=-1 HTTP/1.1\r\n{host}{json}{}", body("{}")), "400"),
        (format!("GET /v1/%zz HTTP/1.1\r\n{host}\r\n"), "400"),
        (format!("DELETE {path} HTTP/1.1\r\n{host}\r\n"), "409"),
        (format!("POST /v1/proposals/1/confirm HTTP/1.1\r\n{host}{json}Content-Length: 0\r\n\r\n"), "409"),
        ("\u{1}\u{2}\r\n\r\n".to_owned(), "400"),
    ] {
        let response = http(&operator.api, &request);
        assert!(response.starts_with(&format!("HTTP/1.1 {code} ")), "{request}: {response}");
    }
    assert_eq!(operator.ask(&["status"]).0, 0, "it goes on");
}

#[test]
fn a_token_is_demanded() {
    let site = site();
    let token = site.write("token", "0123456789abcdef0123456789abcdef\n");
    let operator = Operator::start(&site, &["--api-token-file", &token]);
    let (code, _, error) = operator.ask(&["status"]);
    assert!(code == 1 && error.contains("token"), "{code} {error}");
    let wrong = site.write("wrong", "0123456789abcdef0123456789abcdee\n");
    assert_eq!(operator.ask(&["status", "--token-file", &wrong]).0, 1);
    let (code, _, error) = operator.ask(&["status", "--token-file", &token]);
    assert_eq!(code, 0, "{error}");
    let short = site.write("short", "abc\n");
    let (code, _, error) = operator.ask(&["status", "--token-file", &short]);
    assert!(code == 2 && error.contains("not a token"), "{code} {error}");
}

#[test]
fn nobody_there_and_somebody_else_there() {
    let gone = format!("{}:9", watchfire_testkit::own_loopback());
    for words in [
        &["status"][..],
        &["withdraw", "--peer", "p", "--mid", "1"],
        &["mitigate", "--peer", "p", "--source-prefix", "192.0.2.1", "--target-prefix", "198.51.100.7"],
        &["proposals"],
        &["status", "--follow"],
    ] {
        let (code, lines, error) = ask(&gone, words);
        assert!(code == 3 && lines.is_empty() && error.contains(&gone), "{words:?}: {code} {error}");
    }
    for said in ["SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(said.as_bytes());
        });
        let (code, _, error) = ask(&address, &["status"]);
        assert_eq!(code, 4, "{said}: {error}");
    }
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(ask(&mute.local_addr().unwrap().to_string(), &["status", "--timeout", "1"]).0, 3);
}

#[test]
fn who_waits_or_does_not_read_does_not_hold_up_the_end() {
    let site = site();
    let mut operator = Operator::start(&site, &["--api-requests", "2"]);
    // One follower who reads nothing, and one who asks for what cannot be had for ten minutes: all places are taken.
    let ask = |request: &str| {
        let mut stream = std::net::TcpStream::connect(&operator.api).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let mut follower = ask("GET /v1/mitigations?follow=1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    follower.read_exact(&mut [0; 12]).unwrap();
    let body = r#"{"ietf-dots-signal-channel:mitigation-scope":{"scope":[{"target-prefix":["198.51.100.7/32"],
        "ietf-dots-call-home:source-prefix":["192.0.2.1/32"],"lifetime":60}]}}"#;
    let _waits = ask(&format!(
        "PUT /v1/peers/{HOME}/mitigations/1?timeout=600 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    operator.service.signal("TERM");
    assert_eq!(operator.service.wait(), 0, "{}", operator.service.log());
}

#[test]
fn programs_may_ask_by_http_alone() {
    let site = site();
    let operator = Operator::start(&site, &[]);
    let _home = home(&site, &format!("tls://{}", operator.tls), &[]);
    let body = r#"{"ietf-dots-signal-channel:mitigation-scope":{"scope":[{"target-prefix":["198.51.100.7/32"],
        "ietf-dots-call-home:source-prefix":["192.0.2.1/32"],"lifetime":60}]}}"#;
    let head = format!(
        "POST /v1/peers/{HOME}/mitigations?timeout=120 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    let response = http(&operator.api, &format!("{head}{body}"));
    assert!(response.starts_with("HTTP/1.1 200 ") && response.contains("\"mid\":1"), "{response}");
    let peers = http(&operator.api, "GET /v1/peers HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    assert!(peers.contains("\"transport\":\"tls\"") && peers.contains("\"mitigations\":1"), "{peers}");
}
