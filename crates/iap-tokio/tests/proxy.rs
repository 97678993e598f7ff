//! The proxy as a pipe: what goes in comes out, ends included, and nothing is held for longer than it should be.

#![cfg(any(feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use common::raw::*;
use common::*;
use iap_proto::{Config, Host, Party, Timeouts};
use iap_tokio::Proxy;
use iap_tokio::proxy::ProxyConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const OCTETS: usize = 8 << 20;

fn host(name: &str) -> Host {
    name.parse().unwrap()
}

fn config(name: &str, next_hop: SocketAddr) -> ProxyConfig {
    ProxyConfig::new(host(name), next_hop.to_string())
}

async fn proxy(config: ProxyConfig) -> Proxy {
    Proxy::start(listener().await, config).unwrap()
}

/// An initiator and a responder with a pipe between them.
async fn pipe(proxy: SocketAddr, hop: &TcpListener) -> (TcpStream, TcpStream) {
    let mut initiator = dial(proxy).await;
    say(&mut initiator, CONNECT).await;
    let mut responder = accept(hop).await;
    assert!(head(&mut responder).await.starts_with(CONNECT.trim_end()));
    say(&mut responder, OK).await;
    assert!(head(&mut initiator).await.starts_with(OK.trim_end()));
    (initiator, responder)
}

/// Octets that chance made, the same for the same seed.
fn noise(mut seed: u64, len: usize) -> Vec<u8> {
    let next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[tokio::test]
async fn noise_passes_unchanged_both_ways_through_two_proxies() {
    let hop = listener().await;
    let inner = proxy(config("p2", hop.local_addr().unwrap())).await;
    let outer = proxy(config("p1", inner.local_addr())).await;
    let mut initiator = dial(outer.local_addr()).await;
    say(&mut initiator, CONNECT).await;
    let mut responder = accept(&hop).await;
    let connect = head(&mut responder).await;
    assert_eq!(connect, "IAP/0.3 CONNECT manager.example.com\r\nIAP/0.3 Via: p1\r\nIAP/0.3 Via: p2\r\n\r\n");
    // Octets glued to the answer belong to the pipe, whatever they look like.
    say(&mut responder, [OK, "IAP/0.3 500\r\n\r\n"].concat()).await;
    expect(&mut initiator, "IAP/0.3 200\r\nIAP/0.3 Via: p2\r\nIAP/0.3 Via: p1\r\n\r\nIAP/0.3 500\r\n\r\n").await;

    let (there, back) = (noise(1, OCTETS), noise(2, OCTETS));
    let exchange = |mut tcp: TcpStream, send: Vec<u8>, want: Vec<u8>| async move {
        let (mut read, mut write) = tcp.split();
        let mut heard = Vec::new();
        let send = async {
            write.write_all(&send).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let (_, read) = tokio::join!(send, read.read_to_end(&mut heard));
        assert_eq!(read.unwrap(), OCTETS);
        assert!(heard == want, "octets were changed");
    };
    let (a, b) = (exchange(initiator, there.clone(), back.clone()), exchange(responder, back, there));
    soon(async { tokio::join!(a, b) }).await;
    for proxy in [&outer, &inner] {
        until(|| proxy.counters().open.load(Relaxed) == 0).await;
        assert_eq!(proxy.counters().piped.load(Relaxed), 1);
        assert_eq!(proxy.counters().octets_forward.load(Relaxed), OCTETS as u64);
        assert_eq!(proxy.counters().refused.load(Relaxed), 0);
    }
    // What stood behind the inner hop's answer was relayed with it, or piped, as the reads fell.
    let back = outer.counters().octets_back.load(Relaxed);
    assert!((OCTETS as u64..=OCTETS as u64 + 15).contains(&back), "{back}");
}

#[tokio::test]
async fn a_proxy_hands_on_the_end_of_each_direction_by_itself() {
    let hop = listener().await;
    let inner = proxy(config("p2", hop.local_addr().unwrap())).await;
    let outer = proxy(config("p1", inner.local_addr())).await;
    let (mut initiator, mut responder) = pipe(outer.local_addr(), &hop).await;
    initiator.write_all(b"last words").await.unwrap();
    initiator.shutdown().await.unwrap();
    assert_eq!(rest(&mut responder).await, "last words");
    // The other direction is still open, for as long as it likes.
    for _ in 0..3 {
        pause(20).await;
        say(&mut responder, "more").await;
        expect(&mut initiator, "more").await;
    }
    assert_eq!(outer.counters().open.load(Relaxed), 1);
    responder.shutdown().await.unwrap();
    assert_eq!(rest(&mut initiator).await, "");
    until(|| outer.counters().open.load(Relaxed) + inner.counters().open.load(Relaxed) == 0).await;

    // And the other way round.
    let (mut initiator, mut responder) = pipe(outer.local_addr(), &hop).await;
    responder.shutdown().await.unwrap();
    assert_eq!(rest(&mut initiator).await, "");
    say(&mut initiator, "still here").await;
    expect(&mut responder, "still here").await;
    // A reset ends both.
    reset(initiator);
    assert_eq!(rest(&mut responder).await, "");
    drop(responder);
    until(|| outer.counters().open.load(Relaxed) + inner.counters().open.load(Relaxed) == 0).await;
}

#[tokio::test]
async fn a_silent_pipe_is_closed_if_so_configured() {
    let hop = listener().await;
    let mut config = config("p", hop.local_addr().unwrap());
    config.idle = Duration::from_millis(300);
    let proxy = proxy(config).await;
    let (mut initiator, mut responder) = pipe(proxy.local_addr(), &hop).await;
    for _ in 0..5 {
        pause(150).await;
        // An octet either way keeps both.
        say(&mut responder, "x").await;
        expect(&mut initiator, "x").await;
    }
    let began = Instant::now();
    assert_eq!(rest(&mut initiator).await, "");
    assert_eq!(rest(&mut responder).await, "");
    assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
    until(|| proxy.counters().open.load(Relaxed) == 0).await;
}

/// A listener whose queue is full: the system answers nobody any more.
async fn deaf() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let mut queued = Vec::new();
    let address = listener.local_addr().unwrap();
    while let Ok(tcp) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        queued.push(tcp.unwrap());
        assert!(queued.len() < 100, "this system's queues are never full");
    }
    (listener, queued)
}

fn impatient(next_hop: SocketAddr, next_hop_timeout: Duration) -> ProxyConfig {
    let mut config = config("p", next_hop);
    config.iap = std::sync::Arc::new(
        Config::builder(Party::Manager)
            .with_timeouts(Timeouts::default().with_next_hop(next_hop_timeout))
            .build()
            .unwrap(),
    );
    config
}

#[tokio::test]
async fn a_next_hop_that_does_not_answer_in_time_is_a_504() {
    // One that takes the connection and says nothing, and one that does not even take it.
    let silent = listener().await;
    let (full, _queued) = deaf().await;
    for hop in [silent.local_addr().unwrap(), full.local_addr().unwrap()] {
        let proxy = proxy(impatient(hop, Duration::from_millis(300))).await;
        let mut initiator = dial(proxy.local_addr()).await;
        say(&mut initiator, CONNECT).await;
        assert_eq!(rest(&mut initiator).await, status(504));
        drop(initiator);
        until(|| proxy.counters().refused.load(Relaxed) == 1).await;
    }
}

#[tokio::test]
async fn an_initiator_that_goes_away_while_dialling_is_noticed() {
    let (full, _queued) = deaf().await;
    let proxy = proxy(impatient(full.local_addr().unwrap(), Duration::from_secs(60))).await;
    for how in ["reset", "end", "impatience"] {
        let before = proxy.counters().refused.load(Relaxed);
        let mut initiator = dial(proxy.local_addr()).await;
        say(&mut initiator, CONNECT).await;
        pause(30).await;
        match how {
            "reset" => reset(initiator),
            "end" => drop(initiator),
            _ => {
                say(&mut initiator, UPGRADE).await;
                assert_eq!(rest(&mut initiator).await, status(400));
            }
        }
        until(|| proxy.counters().refused.load(Relaxed) == before + 1).await;
    }
}

#[tokio::test]
async fn two_proxies_that_point_at_each_other_end_the_loop() {
    let (first, second) = (listener().await, listener().await);
    let (one, two) = (first.local_addr().unwrap(), second.local_addr().unwrap());
    let first = Proxy::start(first, config("p1", two)).unwrap();
    let second = Proxy::start(second, config("p2", one)).unwrap();
    let mut initiator = dial(one).await;
    say(&mut initiator, CONNECT).await;
    // p1 finds itself at the second visit; the answer goes back through both.
    assert_eq!(rest(&mut initiator).await, "IAP/0.3 502\r\nIAP/0.3 Via: p2\r\nIAP/0.3 Via: p1\r\n\r\n");
    drop(initiator);
    until(|| first.counters().refused.load(Relaxed) == 2 && second.counters().refused.load(Relaxed) == 1).await;
    assert_eq!(first.counters().accepted.load(Relaxed) + second.counters().accepted.load(Relaxed), 3);
}

#[tokio::test]
async fn a_shutdown_gives_pipes_some_time_and_cuts_the_rest() {
    let hop = listener().await;
    let proxy = proxy(config("p", hop.local_addr().unwrap())).await;
    let counters = std::sync::Arc::clone(proxy.counters());
    let address = proxy.local_addr();
    let (mut early, early_responder) = pipe(address, &hop).await;
    let (mut late, mut late_responder) = pipe(address, &hop).await;
    // One that is not yet a pipe.
    let mut setup = dial(address).await;
    until(|| counters.accepted.load(Relaxed) == 3).await;
    let began = Instant::now();
    let down = tokio::spawn(proxy.shutdown(Duration::from_millis(500)));
    pause(100).await;
    assert!(TcpStream::connect(address).await.is_err(), "nobody new is let in");
    say(&mut late, "still open").await;
    expect(&mut late_responder, "still open").await;
    early.shutdown().await.unwrap();
    drop(early_responder);
    assert_eq!(rest(&mut early).await, "");
    until(|| counters.open.load(Relaxed) == 1).await;
    soon(down).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(450) && began.elapsed() < Duration::from_secs(5));
    assert_eq!((rest(&mut late).await, rest(&mut late_responder).await, rest(&mut setup).await), Default::default());
    assert_eq!(counters.open.load(Relaxed), 0);
}

#[tokio::test]
async fn one_address_has_so_many_connections() {
    let hop = listener().await;
    let mut config = config("p", hop.local_addr().unwrap());
    config.max_per_address = 2;
    let proxy = proxy(config).await;
    let first = pipe(proxy.local_addr(), &hop).await;
    let _second = pipe(proxy.local_addr(), &hop).await;
    assert_eq!(rest(&mut dial(proxy.local_addr()).await).await, "");
    assert_eq!(proxy.counters().refused.load(Relaxed), 1);
    drop(first);
    until(|| proxy.counters().open.load(Relaxed) == 1).await;
    // The place is given back a moment after the pipe is counted as closed.
    pause(20).await;
    pipe(proxy.local_addr(), &hop).await;
}

#[tokio::test]
async fn addresses_that_are_not_allowed_take_no_places() {
    let hop = listener().await;
    let mut config = config("p", hop.local_addr().unwrap());
    config.max_connections = 1;
    config.allow_from = vec!["127.0.0.2/32".parse().unwrap()];
    let proxy = proxy(config).await;
    // Each of these waits to be told 403, which it will not ask for. Some are not even given that chance.
    let mut strangers = Vec::new();
    for _ in 0..20 {
        strangers.push(dial(proxy.local_addr()).await);
    }
    until(|| proxy.counters().refused.load(Relaxed) == 4).await;
    let socket = TcpSocket::new_v4().unwrap();
    if socket.bind("127.0.0.2:0".parse().unwrap()).is_err() {
        eprintln!("SKIPPED: this system has no second loopback address");
        return;
    }
    let mut known = soon(socket.connect(proxy.local_addr())).await.unwrap();
    say(&mut known, CONNECT).await;
    head(&mut accept(&hop).await).await;
    let stranger = &mut strangers[0];
    say(stranger, CONNECT).await;
    assert_eq!(rest(stranger).await, status(403));
}

#[tokio::test]
async fn a_proxy_without_a_name_does_not_start() {
    let mut config = config("p", "127.0.0.1:1".parse().unwrap());
    config.names.clear();
    assert!(Proxy::start(listener().await, config).is_err());
}
