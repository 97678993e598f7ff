//! Servers that lie, dawdle, or talk without end.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use repute_hyper::client::{Client, ClientError, ClientLimits};
use repute_hyper::repute_proto::client::{ClientConfig, ExchangeFailure, QueryError, TemplateProblem};
use repute_hyper::repute_proto::{Limit, Refusal, Service};
use support::{Busy, LONG, Site, ask, config, query, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const TEMPLATE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 58\r\n\r\n{scheme}://{service}/{application}/{subject}{/assertion}\r\n";

/// What a villain answers: some octets, and then the last of them again and again.
#[derive(Clone)]
struct Says {
    octets: Vec<u8>,
    /// How often the tail is repeated, with a pause before each.
    drip: Option<(Vec<u8>, Duration)>,
    /// How long it waits before it says anything.
    after: Duration,
}

impl Says {
    fn at_once(octets: impl Into<Vec<u8>>) -> Self {
        Self { octets: octets.into(), drip: None, after: Duration::ZERO }
    }

    fn for_ever(octets: impl Into<Vec<u8>>, tail: impl Into<Vec<u8>>, pause: Duration) -> Self {
        Self { drip: Some((tail.into(), pause)), ..Self::at_once(octets) }
    }

    fn response(media: &str, body: &str) -> Self {
        Self::at_once(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }
}

/// A server that answers each path as it likes, and counts.
struct Villain {
    service: Service,
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    /// Exchanges under way, and the most that there were.
    under_way: Arc<Mutex<(usize, usize)>>,
    /// Connections whose client went away.
    left: Arc<AtomicU64>,
}

impl Villain {
    async fn start(answer: impl Fn(&str) -> Says + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, under_way, left) =
            <(Arc<Mutex<Vec<String>>>, Arc<Mutex<(usize, usize)>>, Arc<AtomicU64>)>::default();
        let answer = Arc::new(answer);
        let shared = (Arc::clone(&requests), Arc::clone(&under_way), Arc::clone(&left));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, (requests, under_way, left)) = (Arc::clone(&answer), shared.clone());
                tokio::spawn(async move {
                    let _ = serve(stream, &*answer, &requests, &under_way).await;
                    left.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        Self { service: format!("http://{address}").parse().unwrap(), address, requests, under_way, left }
    }

    /// One that gives a good template, and this answer.
    async fn answering(says: Says) -> Self {
        Self::start(move |path| if path.starts_with("/.well-known/") { Says::at_once(TEMPLATE) } else { says.clone() })
            .await
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: &(impl Fn(&str) -> Says + ?Sized),
    requests: &Mutex<Vec<String>>,
    under_way: &Mutex<(usize, usize)>,
) -> std::io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        requests.lock().unwrap().push(head);
        let says = answer(&path);
        let busy = Busy::new(under_way);
        tokio::time::sleep(says.after).await;
        stream.write_all(&says.octets).await?;
        if let Some((tail, pause)) = says.drip {
            loop {
                tokio::time::sleep(pause).await;
                stream.write_all(&tail).await?;
            }
        }
        drop(busy);
        if says.octets.is_empty() {
            return Ok(());
        }
    }
}

/// An answer without data.
fn nothing() -> Says {
    Says::response("application/reputon+json", "{\"application\":\"email-id\",\"reputons\":[]}")
}

fn failure(result: Result<impl std::fmt::Debug, ClientError>) -> QueryError {
    match result {
        Err(ClientError::Query { error, .. }) => error,
        other => panic!("{other:?}"),
    }
}

/// What becomes of a query when its answer is this.
async fn outcome(says: Says) -> QueryError {
    let villain = Villain::answering(says).await;
    let mut config = ClientConfig::default();
    config.limits.document = 10_000;
    config.retries = 0;
    let client = Client::builder().with_config(config).start().unwrap();
    failure(ask(&client, &villain.service, "bad.example").await)
}

#[tokio::test]
async fn templates_that_lead_elsewhere_are_not_followed() {
    let other = Site::start(config(), |builder| builder).await;
    for template in [
        format!("http://{}/{{application}}/{{subject}}", other.address),
        "http://{subject}/{application}".to_owned(),
        "http://{service}@evil.example/{subject}".to_owned(),
        "file:///etc/{subject}".to_owned(),
    ] {
        let body = template.clone();
        let villain = Villain::start(move |_| Says::response("text/plain", &body)).await;
        let client = Client::builder().start().unwrap();
        let error = failure(ask(&client, &villain.service, "bad.example").await);
        assert!(matches!(error, QueryError::Template(TemplateProblem::Refused(_))), "{template}: {error:?}");
        assert_eq!(villain.requests().len(), 1, "{template}");
    }
    assert_eq!(other.requests(), 0);
    // From https nothing leads to http, and with https enforced nothing is http.
    let client = Client::builder().with_https_only(true).start().unwrap();
    let error = failure(ask(&client, &other.service, "bad.example").await);
    assert_eq!(error, QueryError::Template(TemplateProblem::Refused(Refusal::HttpsOnly)));
    assert_eq!(other.requests(), 0);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let other = Site::start(config(), |builder| builder).await;
    let elsewhere = format!(
        "HTTP/1.1 302 Found\r\nLocation: http://{}/email-id/bad.example/spam\r\nContent-Length: 0\r\n\r\n",
        other.address
    );
    assert_eq!(outcome(Says::at_once(elsewhere.clone())).await, QueryError::Redirect(302));
    let villain = Villain::start(move |_| Says::at_once(elsewhere.clone())).await;
    let client = Client::builder().start().unwrap();
    let error = failure(ask(&client, &villain.service, "bad.example").await);
    assert_eq!(error, QueryError::Template(TemplateProblem::Status(302)));
    assert_eq!((villain.requests().len(), other.requests()), (1, 0));
}

#[tokio::test]
async fn whatever_is_slow_ends_in_time() {
    const TIME: Duration = Duration::from_millis(150);
    const PAUSE: Duration = Duration::from_millis(20);
    let json = "HTTP/1.1 200 OK\r\nContent-Type: application/reputon+json\r\n";
    for (what, says) in [
        ("the head drips", Says::for_ever("HTTP/1.1 200 OK\r\n", "X: y\r\n", PAUSE)),
        ("a field drips", Says::for_ever("HTTP/1.1 200 OK\r\nX: ", "x", PAUSE)),
        ("the body drips", Says::for_ever(format!("{json}Content-Length: 9999\r\n\r\n"), " ", PAUSE)),
        ("chunks drip", Says::for_ever(format!("{json}Transfer-Encoding: chunked\r\n\r\n"), "1\r\n \r\n", PAUSE)),
        ("trailers drip", Says::for_ever(format!("{json}Transfer-Encoding: chunked\r\n\r\n0\r\n"), "x: y\r\n", PAUSE)),
        (
            "provisional responses go on",
            Says::for_ever("HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n", PAUSE),
        ),
        ("nothing comes", Says { after: LONG, ..Says::at_once("") }),
    ] {
        let villain = Villain::answering(says).await;
        let mut config = ClientConfig::default();
        config.exchange_timeout = 2 * TIME;
        let client = Client::builder().with_config(config).start().unwrap();
        let began = std::time::Instant::now();
        let error = failure(client.query(&villain.service, query("bad.example"), TIME).await);
        assert_eq!(error, QueryError::TimedOut, "{what}");
        assert!(began.elapsed() >= TIME && began.elapsed() < LONG, "{what}");
        // And the connection does not outlive the exchange.
        if what != "nothing comes" {
            until(what, || villain.left.load(Ordering::Relaxed) >= 1).await;
        }
        assert_eq!(client.waiting_queries(), 0);
    }
    // The template is part of the question.
    let villain = Villain::start(|_| Says::for_ever(&TEMPLATE[..90], " ", PAUSE)).await;
    let client = Client::builder().start().unwrap();
    assert_eq!(failure(client.query(&villain.service, query("a.example"), TIME).await), QueryError::TimedOut);
}

#[tokio::test]
async fn connecting_and_tls_are_part_of_the_time() {
    // Takes connections (the system does), and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service: Service = format!("https://{}", silent.local_addr().unwrap()).parse().unwrap();
    let client = Client::builder().start().unwrap();
    let time = Duration::from_millis(200);
    assert_eq!(failure(client.query(&service, query("a.example"), time).await), QueryError::TimedOut);
    let mut limits = ClientLimits::default();
    limits.connect = time;
    let client = Client::builder().with_limits(limits).start().unwrap();
    let error = client.query(&service, query("a.example"), LONG).await.unwrap_err();
    assert!(error.to_string().contains("no connection within 200ms"), "{error}");
    assert_eq!(failure(Err::<(), _>(error)), QueryError::Template(TemplateProblem::Exchange(ExchangeFailure::Connect)));
}

#[tokio::test]
async fn bodies_are_read_as_far_as_they_may_go() {
    let too_large = QueryError::Exchange(ExchangeFailure::TooLarge);
    let json = "HTTP/1.1 200 OK\r\nContent-Type: application/reputon+json\r\n";
    let announced = Says::at_once(format!("{json}Content-Length: 9999999999\r\n\r\n"));
    assert_eq!(outcome(announced).await, too_large);
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    let chunked = Says::for_ever(format!("{json}Transfer-Encoding: chunked\r\n\r\n"), chunk, Duration::ZERO);
    assert_eq!(outcome(chunked).await, too_large);
    let until_closed = Says::for_ever(format!("{json}\r\n"), " ".repeat(1_000), Duration::ZERO);
    assert_eq!(outcome(until_closed).await, too_large);
    // Templates have their own bound.
    let long = "x".repeat(70_000);
    let villain = Villain::start(move |_| Says::response("text/plain", &long)).await;
    let client = Client::builder().start().unwrap();
    let error = failure(ask(&client, &villain.service, "a.example").await);
    assert_eq!(error, QueryError::Template(TemplateProblem::Exchange(ExchangeFailure::TooLarge)));
}

#[tokio::test]
async fn what_is_no_answer_is_an_error_and_says_nothing() {
    let broken = QueryError::Exchange(ExchangeFailure::Broken);
    let json = "HTTP/1.1 200 OK\r\nContent-Type: application/reputon+json\r\n";
    assert_eq!(outcome(Says::at_once("\0\x01garbage\r\n\r\n")).await, broken);
    assert_eq!(outcome(Says::at_once(format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(200)))).await, broken);
    assert_eq!(outcome(Says::at_once(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000)))).await, broken);
    assert_eq!(outcome(Says::at_once("")).await, broken, "it hangs up");
    assert_eq!(outcome(Says::at_once("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")).await, QueryError::Status(500));
    for says in [
        Says::response("text/html", "{\"application\":\"email-id\",\"reputons\":[]}"),
        Says::response("application/reputon+json", "<html>"),
        Says::response("application/reputon+json", "\u{0}"),
        Says::response("application/reputon", "<!DOCTYPE x [<!ENTITY a \"b\">]><reputation>&a;</reputation>"),
    ] {
        assert!(matches!(outcome(says).await, QueryError::InvalidMessage(_)));
    }
    let other = Says::response("application/reputon+json", "{\"application\":\"other\",\"reputons\":[]}");
    assert_eq!(outcome(other).await, QueryError::WrongApplication("other".to_owned()));
    // What is small on the wire does not become large here: nothing is unpacked.
    let bomb = Says::at_once(format!("{json}Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x0b\x08\0"));
    assert_eq!(outcome(bomb).await, broken);
    let villain = Villain::answering(nothing()).await;
    let client = Client::builder().start().unwrap();
    assert!(ask(&client, &villain.service, "a.example").await.unwrap().answer.no_data.is_some());
    assert!(villain.requests().iter().all(|head| !head.to_ascii_lowercase().contains("accept-encoding")));
    // A template in HTML is none.
    let villain = Villain::start(|_| Says::response("text/html", "http://{service}/{subject}")).await;
    let error = failure(ask(&client, &villain.service, "a.example").await);
    assert_eq!(error, QueryError::Template(TemplateProblem::MediaType));
}

#[tokio::test]
async fn what_nobody_waits_for_is_given_up_or_kept_for_the_next() {
    let says = Says { after: Duration::from_millis(100), ..nothing() };
    let villain = Villain::answering(says).await;
    let client = Client::builder().start().unwrap();
    let asking = tokio::spawn({
        let (client, service) = (client.clone(), villain.service.clone());
        async move { ask(&client, &service, "a.example").await }
    });
    until("it is asked", || villain.requests().len() == 2).await;
    asking.abort();
    until("nobody waits", || client.waiting_queries() == 0).await;
    until("the answer came all the same", || client.cached_answers() == 1).await;
    assert!(ask(&client, &villain.service, "a.example").await.unwrap().cached);
    assert_eq!(villain.requests().len(), 2);
    // With the last handle all that is under way goes.
    let silent = Villain::start(|_| Says::for_ever("HTTP/1.1 200 OK\r\n", "X: y\r\n", Duration::from_millis(10))).await;
    let asking = tokio::spawn({
        let (client, service) = (client.clone(), silent.service.clone());
        async move { ask(&client, &service, "a.example").await }
    });
    until("it is asked", || silent.requests().len() == 1).await;
    asking.abort();
    drop(client);
    until("the connection is gone", || silent.left.load(Ordering::Relaxed) == 1).await;
}

#[tokio::test]
async fn so_many_exchanges_and_questions_at_one_time_and_no_more() {
    let says = Says { after: Duration::from_millis(20), ..nothing() };
    let (one, two) = (Villain::answering(says.clone()).await, Villain::answering(says).await);
    let (mut limits, mut config) = (ClientLimits::default(), ClientConfig::default());
    (limits.exchanges, limits.exchanges_per_service, config.queries) = (5, 3, 30);
    let client = Client::builder().with_limits(limits).with_config(config).start().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..30 {
        let (client, service) = (client.clone(), [&one, &two][n % 2].service.clone());
        tasks.spawn(async move { ask(&client, &service, &format!("n{n}.example")).await });
    }
    until("all wait", || client.waiting_queries() == 30).await;
    let refused = ask(&client, &one.service, "more.example").await.unwrap_err();
    assert_eq!(refused, ClientError::LimitExceeded(Limit::Queries));
    while let Some(answered) = tasks.join_next().await {
        assert!(answered.unwrap().is_ok());
    }
    let most = [&one, &two].map(|villain| villain.under_way.lock().unwrap().1);
    assert!(most[0] <= 3 && most[1] <= 3 && most.iter().max() >= Some(&2), "{most:?}");
    assert_eq!(client.counters().exchanges.load(Ordering::Relaxed), 32);
    assert!(client.counters().connections.load(Ordering::Relaxed) <= 20);
    // In all.
    let many = Villain::answering(Says { after: Duration::from_millis(20), ..nothing() }).await;
    let mut limits = ClientLimits::default();
    (limits.exchanges, limits.exchanges_per_service) = (2, 10);
    let client = Client::builder().with_limits(limits).start().unwrap();
    let asking = (0..8).map(|n| {
        let (client, service) = (client.clone(), many.service.clone());
        tokio::spawn(async move { ask(&client, &service, &format!("n{n}.example")).await })
    });
    for asked in asking.collect::<Vec<_>>() {
        assert!(asked.await.unwrap().is_ok());
    }
    assert!((1..=2).contains(&many.under_way.lock().unwrap().1));
}

#[tokio::test]
async fn connections_are_kept_for_a_while_and_only_so_many() {
    let villain = Villain::answering(nothing()).await;
    let mut limits = ClientLimits::default();
    limits.idle = Duration::from_millis(100);
    let client = Client::builder().with_limits(limits).start().unwrap();
    assert!(ask(&client, &villain.service, "a.example").await.is_ok());
    until("it is closed", || villain.left.load(Ordering::Relaxed) == 1).await;
    (limits.idle, limits.idle_per_service) = (LONG, 0);
    let client = Client::builder().with_limits(limits).start().unwrap();
    assert!(ask(&client, &villain.service, "a.example").await.is_ok());
    assert_eq!(client.counters().connections.load(Ordering::Relaxed), 2, "none is kept");
}

#[tokio::test]
async fn credentials_stay_out_of_targets_logs_and_errors() {
    let villain = Villain::answering(Says::at_once("")).await;
    let address: repute_hyper::client::Address = format!("http://alice:hidden@{}", villain.address).parse().unwrap();
    let mut config = ClientConfig::default();
    config.policy.clear_text_credentials = true;
    let client = Client::builder().with_config(config).with_access(address.service(), address.access());
    let shown = format!("{client:?}");
    let client = client.start().unwrap();
    let error = ask(&client, address.service(), "a.example").await.unwrap_err();
    let shown = format!("{shown}{client:?}{error}{error:?}{address}{address:?}{:?}", address.access());
    assert!(!shown.contains("hidden") && !shown.contains("alice") && !shown.contains("YWxpY2U6aGlkZGVu"), "{shown}");
    for head in villain.requests() {
        assert!(head.to_ascii_lowercase().contains("authorization: basic ywxpy2u6aglkzgvu"), "{head}");
        assert!(!head.lines().next().unwrap().contains("alice"), "{head}");
    }
}
