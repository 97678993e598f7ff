//! The rendezvous over real sockets: relays and peers that are as they should be, and some that are not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use acme_lurk::Limits;
use acme_lurk::rendezvous::{ExchangeFailure, FetchError, Notification, RelayUrl, StoreError};
use acme_lurk_hyper::relay::{
    BasicCredentials, Getting, Putting, RelayClient, RelayClientConfig, RelayServer, RelayServerBuilder,
    RelayServerLimits,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const SHORT: Duration = Duration::from_millis(300);

async fn relay(builder: RelayServerBuilder) -> (RelayServer, RelayUrl) {
    let server = builder.start();
    let address = server.serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), None).unwrap();
    (server, url(address))
}

fn url(address: SocketAddr) -> RelayUrl {
    RelayUrl::parse(&format!("http://{address}/"), 2048).unwrap()
}

fn tls() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
}

fn client(change: impl FnOnce(&mut RelayClientConfig)) -> RelayClient {
    let mut config = RelayClientConfig::default();
    change(&mut config);
    RelayClient::new(tls(), config)
}

fn user(line: &str) -> BasicCredentials {
    BasicCredentials::from_line(line).unwrap()
}

/// One request over a connection of its own, and all that comes back.
async fn raw(address: &RelayUrl, request: &str) -> String {
    let address = address.as_str().trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(target: &str, fields: &str, body: &str) -> String {
    let len = body.len();
    format!("POST {target} HTTP/1.1\r\nHost: r\r\nConnection: close\r\nContent-Length: {len}\r\n{fields}\r\n{body}")
}

#[tokio::test]
async fn chunks_go_through_open_and_sealed() {
    let (server, relay) = relay(RelayServer::builder()).await;
    let client = client(|_| {});
    let octets: Vec<u8> = (0..=255).cycle().take(60_000).collect();
    for sealed in [false, true] {
        let told = client.put(&relay, &octets, sealed).await.unwrap();
        assert_eq!(told.key().is_some(), sealed);
        for _ in 0..2 {
            assert_eq!(client.get(told.clone()).await.unwrap(), octets, "it stays there");
        }
        // What the relay has is what was put there, or nothing that it could read.
        let open = Notification::new(told.url(), 0, &Limits::DEFAULT).unwrap();
        assert_eq!(client.get(open).await.unwrap() == octets, !sealed);
    }
    assert_eq!(server.usage().0, 2);
    let counters = server.counters();
    assert_eq!((counters.stored.load(Ordering::Relaxed), counters.fetched.load(Ordering::Relaxed)), (2, 6));
    assert!(server.shutdown(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn the_relay_answers_as_the_draft_shows() {
    let (_server, relay) = relay(RelayServer::builder()).await;
    let discover = raw(&relay, "GET / HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n").await;
    let (head, body) = discover.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && body.starts_with("127.0.0.1:"), "{discover}");
    assert!(head.contains("cache-control: no-cache, must-revalidate"), "{head}");
    let form = "Content-Type: multipart/form-data; boundary=x\r\n";
    assert!(raw(&relay, &post("/?chid=a", form, "Hello World")).await.starts_with("HTTP/1.1 200 "));
    assert!(raw(&relay, &post("/?chid=a", "", "x")).await.starts_with("HTTP/1.1 403 "));
    for (request, status) in [
        (post("/", "", "x"), 404),
        (post("/?chid=", "", "x"), 404),
        (post("/other?chid=b", "", "x"), 404),
        ("GET /?chid=b HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n".into(), 404),
        ("GET /elsewhere HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n".into(), 404),
        ("DELETE /?chid=a HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n".into(), 405),
    ] {
        let answer = raw(&relay, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert_eq!(answer.contains("allow: GET, HEAD, POST"), status == 405);
    }
    let got = raw(&relay, "GET /?chid=a HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n").await;
    assert!(got.contains("content-type: application/octet-stream") && got.ends_with("\r\n\r\nHello World"), "{got}");
    assert!(got.contains("x-content-type-options: nosniff"));
    let head = raw(&relay, "HEAD /?chid=a HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n").await;
    assert!(head.contains("content-length: 11") && head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn only_who_has_a_password_can_put_chunks_there() {
    let (server, relay) = relay(RelayServer::builder().with_users([user("a:secret"), user("b:other")])).await;
    let refused = Putting::Store { error: StoreError::NotAuthorized(401), detail: None };
    assert_eq!(client(|_| {}).put(&relay, b"x", false).await, Err(refused.clone()));
    let wrong = client(|_| {}).with_credentials(&user("a:other"));
    assert_eq!(wrong.put(&relay, b"x", false).await, Err(refused));
    let told = client(|_| {}).with_credentials(&user("a:secret")).put(&relay, b"x", false).await.unwrap();
    assert_eq!(client(|_| {}).get(told).await.unwrap(), b"x", "everybody may get it");
    assert_eq!(server.counters().unauthorized.load(Ordering::Relaxed), 2);
    // The body of a stranger is not waited for.
    let big = "POST /?chid=a HTTP/1.1\r\nHost: r\r\nContent-Length: 60000\r\n\r\n";
    let answer = tokio::time::timeout(Duration::from_secs(20), raw(&relay, big)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("www-authenticate: Basic"), "{answer}");
    // And passwords do not go where everybody on the way can read them.
    let far = RelayUrl::parse("http://relay.example/", 2048).unwrap();
    let with = client(|_| {}).with_credentials(&user("a:secret"));
    assert_eq!(with.put(&far, b"x", false).await, Err(Putting::ClearText("http://relay.example/".into())));
}

#[tokio::test]
async fn what_is_too_much_is_refused() {
    let mut limits = RelayServerLimits::default();
    limits.relay = limits.relay.with_chunk(100).with_totals(500, 1000);
    let (server, relay) = relay(RelayServer::builder().with_limits(limits)).await;
    let client = client(|config| config.attempts = 1);
    let refused = |error| Err(Putting::Store { error, detail: None });
    assert_eq!(client.put(&relay, &[0; 101], false).await, refused(StoreError::TooLarge));
    assert_eq!(client.put(&relay, &[0; 73], true).await, refused(StoreError::TooLarge), "28 octets for the seal");
    let told = client.put(&relay, &[0; 72], true).await.unwrap();
    assert_eq!(client.get(told).await.unwrap(), [0; 72]);
    client.put(&relay, &[0; 100], false).await.unwrap();
    assert_eq!(client.put(&relay, &[0; 100], false).await, refused(StoreError::Status(503)), "no room for this client");
    assert_eq!(server.usage(), (2, 2 * 228));
    // Without a length, too.
    let chunked = format!("{}\r\n{}\r\n0\r\n\r\n", "c8", "x".repeat(200));
    let fields = "Host: r\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n";
    let answer = raw(&relay, &format!("POST /?chid=z HTTP/1.1\r\n{fields}\r\n{chunked}")).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn chunks_whose_time_has_passed_are_gone() {
    let mut limits = RelayServerLimits::default();
    limits.relay = limits.relay.with_keep(SHORT);
    let (server, relay) = relay(RelayServer::builder().with_limits(limits)).await;
    let client = client(|_| {});
    let told = client.put(&relay, b"x", false).await.unwrap();
    let mut waited = 0;
    // Also while nobody asks.
    while server.usage().0 > 0 {
        waited += 1;
        assert!(waited < 3000, "it is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(client.get(told).await, Err(Getting::Fetch { error: FetchError::Lost, detail: None }));
    assert_eq!(server.counters().missing.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn senders_that_are_slow_are_cut_off() {
    let mut limits = RelayServerLimits::default();
    (limits.body, limits.bodies) = (SHORT, 1);
    let (_server, relay) = relay(RelayServer::builder().with_limits(limits)).await;
    let slow = "POST /?chid=a HTTP/1.1\r\nHost: r\r\nConnection: close\r\nContent-Length: 10\r\n\r\nhalf";
    // The second has no place, and is not made to wait for longer.
    let (first, second) = tokio::join!(raw(&relay, slow), raw(&relay, slow));
    for answer in [first, second] {
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    assert!(client(|_| {}).put(&relay, b"x", false).await.is_ok());
}

/// A relay that answers everything in the same way, with how many requests it was sent.
async fn hostile(answer: impl Fn() -> Vec<u8> + Send + Sync + 'static, drips: bool) -> (RelayUrl, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = url(listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let (answer, counted) = (Arc::new(answer), Arc::clone(&count));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answer, counted) = (Arc::clone(&answer), Arc::clone(&counted));
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                counted.fetch_add(1, Ordering::Relaxed);
                if drips {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n").await;
                    while stream.write_all(b"x").await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
                let _ = stream.write_all(&answer()).await;
            });
        }
    });
    (url, count)
}

fn told(relay: &RelayUrl) -> Notification {
    Notification::new(relay.of("a"), 0, &Limits::DEFAULT).unwrap()
}

#[tokio::test]
async fn hostile_relays_get_no_memory_and_no_time() {
    let client = client(|config| (config.chunk, config.attempts, config.exchange) = (1000, 2, SHORT));
    let failed = |relay: RelayUrl| {
        let client = client.clone();
        async move {
            match client.get(told(&relay)).await {
                Err(Getting::Fetch { error, .. }) => error,
                other => panic!("{other:?}"),
            }
        }
    };
    let too_large = FetchError::Exchange(ExchangeFailure::TooLarge);
    // Announced, and not announced.
    let (huge, _) = hostile(|| b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nxx".to_vec(), false).await;
    assert_eq!(failed(huge).await, too_large);
    let body = "x".repeat(5000);
    let endless =
        move || format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n{body}\r\n").into_bytes();
    assert_eq!(failed(hostile(endless, false).await.0).await, too_large);
    // Octet by octet: each attempt has its time.
    let began = tokio::time::Instant::now();
    let (slow, count) = hostile(Vec::new, true).await;
    assert_eq!(failed(slow).await, FetchError::Exchange(ExchangeFailure::TimedOut));
    assert_eq!(count.load(Ordering::Relaxed), 2);
    assert!(began.elapsed() >= 2 * SHORT && began.elapsed() < Duration::from_secs(20));
    // Somewhere else is not gone to, and nothing is unpacked.
    let (elsewhere, count) =
        hostile(|| b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".to_vec(), false).await;
    assert_eq!(failed(elsewhere).await, FetchError::Status(302));
    assert_eq!(count.load(Ordering::Relaxed), 1);
    let coded = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx";
    assert_eq!(failed(hostile(|| coded.to_vec(), false).await.0).await, FetchError::Exchange(ExchangeFailure::Broken));
    let (nonsense, _) = hostile(|| b"what?\r\n\r\n".to_vec(), false).await;
    assert_eq!(failed(nonsense).await, FetchError::Exchange(ExchangeFailure::Broken));
    let (long_head, _) =
        hostile(|| format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000)).into_bytes(), false).await;
    assert_eq!(failed(long_head).await, FetchError::Exchange(ExchangeFailure::Broken));
}

/// What a client sends to a relay that takes everything.
async fn sent(ask: impl AsyncFnOnce(RelayUrl)) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = url(listener.local_addr().unwrap());
    let taking = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut all = Vec::new();
        let whole = |all: &[u8]| {
            let text = String::from_utf8_lossy(all).to_lowercase();
            let Some(head) = text.find("\r\n\r\n") else { return false };
            let len = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
            all.len() >= head + 4 + len.unwrap_or(0)
        };
        while !whole(&all) {
            let mut piece = [0; 4096];
            let len = stream.read(&mut piece).await.unwrap();
            assert!(len > 0, "it broke off");
            all.extend_from_slice(&piece[..len]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        all
    });
    ask(relay).await;
    taking.await.unwrap()
}

#[tokio::test]
async fn the_peers_speak_http_as_the_draft_wants() {
    let all: Vec<u8> = (0..=255).collect();
    let put = sent(async |relay| {
        client(|_| {}).with_credentials(&user("a:b")).put(&relay, &all, false).await.unwrap();
    });
    let put = put.await;
    let (head, body) = (String::from_utf8_lossy(&put[..put.len() - 256]), &put[put.len() - 256..]);
    assert!(head.starts_with("POST /?chid=") && head.contains("authorization: Basic YTpi\r\n"), "{head}");
    assert!(head.contains("content-type: application/octet-stream\r\n"), "{head}");
    assert_eq!(body, all, "the data itself, in no other form");
    let get = sent(async |relay| {
        let with = client(|_| {}).with_credentials(&user("a:b"));
        assert_eq!(with.get(told(&relay)).await.unwrap(), b"");
    });
    let get = String::from_utf8(get.await).unwrap();
    assert!(get.starts_with("GET /?chid=a HTTP/1.1\r\n") && !get.contains("authorization"), "{get}");
}

#[tokio::test]
async fn nobody_there_is_said_with_what_the_system_says() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = url(listener.local_addr().unwrap());
    drop(listener);
    let client = client(|config| config.attempts = 2);
    for error in [
        client.put(&relay, b"x", false).await.unwrap_err().to_string(),
        client.get(told(&relay)).await.unwrap_err().to_string(),
    ] {
        assert!(error.contains("there is no connection to it") && error.contains("refused"), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_does_not_store_twice() {
    // It has the chunk, and breaks the connection; then it says that there is one of this name.
    let first = AtomicUsize::new(0);
    let (relay, count) = hostile(
        move || match first.fetch_add(1, Ordering::Relaxed) {
            0 => Vec::new(),
            _ => b"HTTP/1.1 403 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec(),
        },
        false,
    )
    .await;
    let told = client(|_| {}).put(&relay, b"x", true).await.unwrap();
    assert!(told.url().starts_with(relay.as_str()));
    assert_eq!(count.load(Ordering::Relaxed), 2);
}
