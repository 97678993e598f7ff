//! The machines of `dots-callhome` and aiocoap, which knows CoAP over TCP (RFC 8323) and nothing of DOTS, over plain TCP.
//! Needs a `python3` that has aiocoap (0.4.17 was tried; Debian 12 does not package it).

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use dots_callhome::body::{Lifetime, Scope};
use dots_callhome::{
    AnySource, Client, ClientConfig, ClientEvent, Server, ServerConfig, ServerEvent, SessionId, Transport,
};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use watchfire_core::{Instant, Machine as _, Output, StreamMachine as _};

use crate::support::{WAIT, loopback};

const CUID: &str = "dz6pHjaADkaFTbjr0JGBpw";
const ID: SessionId = SessionId(1);

/// The peer, and what it says; `None` when there is no aiocoap.
async fn peer(arguments: &[&str]) -> Option<(Child, tokio::io::Lines<BufReader<tokio::process::ChildStdout>>)> {
    let there = Command::new("python3").args(["-c", "import aiocoap"]).stderr(Stdio::null()).status().await;
    if !there.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: python3 has no aiocoap (pip install aiocoap==0.4.17)");
        return None;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/behaviour/coap_peer.py");
    let mut command = Command::new("python3");
    command.arg(script).args(arguments).env("PYTHONDONTWRITEBYTECODE", "1");
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    Some((child, lines))
}

fn attack() -> Scope {
    let mut scope = Scope::default();
    scope.target_prefix.push("2001:db8:c000::/128".parse().unwrap());
    scope.source_prefix.push("2001:db8:123::1/128".parse().unwrap());
    scope.lifetime = Some(Lifetime::DEFAULT);
    scope
}

#[tokio::test]
async fn our_client_asks_aiocoap() {
    let Some((_child, mut lines)) = peer(&["serve"]).await else { return };
    let conversation = async {
        let port = lines.next_line().await.unwrap().unwrap();
        let port: u16 = port.strip_prefix("port ").unwrap().parse().unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let began = std::time::Instant::now();
        let now = || Instant::ZERO + began.elapsed();
        let config = ClientConfig::builder(CUID, "server.example").build().unwrap();
        let mut client = Client::new(Arc::new(config), AnySource, [7; 32], now());
        client.session_up(now(), Transport::Stream);
        let mid = client.request_mitigation(now(), attack()).unwrap();
        let (mut granted, mut ended) = (false, false);
        let mut buffer = [0; 4096];
        while !ended {
            match client.poll_output(now()) {
                Output::Transmit(octets) => stream.write_all(&octets).await.unwrap(),
                Output::Event(ClientEvent::Granted { mid: of, lifetime, .. }) => {
                    assert_eq!((of, lifetime), (mid, Lifetime::Seconds(3600)));
                    granted = true;
                    client.withdraw(now(), mid).unwrap();
                }
                Output::Event(ClientEvent::Withdrawn { .. } | ClientEvent::Ended { .. }) => ended = true,
                Output::Event(_) => {}
                Output::Timeout(at) => {
                    let wait = at.map_or(Duration::from_secs(1), |at| at - now());
                    tokio::select! {
                        read = stream.read(&mut buffer) => {
                            let length = read.unwrap();
                            assert!(length > 0, "aiocoap closed");
                            client.handle_input(now(), &buffer[..length]).unwrap();
                        }
                        () = tokio::time::sleep(wait) => client.handle_timeout(now()).unwrap(),
                    }
                }
            }
        }
        assert!(granted);
        // What aiocoap saw.
        let mut seen = Vec::new();
        while !seen.iter().any(|line: &String| line.starts_with("delete")) {
            seen.push(lines.next_line().await.unwrap().unwrap());
        }
        let asked = format!("put cuid={CUID} mid={mid} 271 a101a10281a3068173");
        assert!(seen.iter().any(|line| line.starts_with(&asked)), "{seen:?}");
    };
    tokio::time::timeout(WAIT, conversation).await.expect("in time");
}

#[tokio::test]
async fn aiocoap_asks_our_server() {
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let Some((_child, mut lines)) = peer(&["ask", &port]).await else { return };
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let began = std::time::Instant::now();
        let now = || Instant::ZERO + began.elapsed();
        let mut server = Server::new(Arc::new(ServerConfig::default()), AnySource, [9; 32], now());
        server.session_up(now(), ID, "client.example", Transport::Stream);
        let mut buffer = [0; 65536];
        loop {
            match server.poll_output(now()) {
                Output::Transmit((_, octets)) => stream.write_all(&octets).await.unwrap(),
                Output::Event(ServerEvent::Enforce { id, .. }) => server.enforced(now(), id, true).unwrap(),
                Output::Event(ServerEvent::SessionLost { .. }) => return,
                Output::Event(_) => {}
                Output::Timeout(at) => {
                    let wait = at.map_or(Duration::from_secs(1), |at| at - now());
                    tokio::select! {
                        read = stream.read(&mut buffer) => match read {
                            Ok(0) | Err(_) => return,
                            Ok(length) => server.handle_input(now(), ID, &buffer[..length]).unwrap(),
                        },
                        () = tokio::time::sleep(wait) => server.handle_timeout(now()).unwrap(),
                    }
                }
            }
        }
    };
    let asking = async {
        let mut said = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            said.push(line);
        }
        said
    };
    let both = async { tokio::join!(serving, asking).1 };
    let said = tokio::time::timeout(WAIT, both).await.expect("in time");
    let words: Vec<Vec<&str>> = said.iter().map(|line| line.split(' ').collect()).collect();
    assert_eq!(words.len(), 7, "{said:?}");
    // Granted and in progress.
    assert_eq!(words[0][..2], ["put", "2.01"]);
    assert_eq!(words[0].last(), Some(&"a101a10281a305070e190e101001"));
    assert_eq!(words[1], ["refresh", "2.04", "64"]);
    assert_eq!(words[2][..2], ["wrong", "4.15"]);
    assert_eq!(words[3][..2], ["get", "2.05"]);
    assert!(words[3][2].starts_with("a101a10281a6050706"), "{said:?}");
    assert_eq!(words[4][..2], ["config", "2.05"]);
    assert_eq!(words[5], ["delete", "2.02", "0"]);
    assert_eq!(words[6], ["nothing", "4.04"]);
}
