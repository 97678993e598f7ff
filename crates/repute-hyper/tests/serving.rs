//! What a server answers, and to whom.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use repute_hyper::client::{Access, Address, ClientError};
use repute_hyper::repute_proto::client::{ClientConfig, QueryError};
use repute_hyper::repute_proto::server::RateLimit;
use repute_hyper::repute_proto::{Credentials, Decoder};
use repute_hyper::server::{ExpiryPolicy, Keys, ServerLimits};
use support::{LONG, Site, ask, body, config, field, get, raw, rest, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const BAD: &str = "/email-id/bad.example/spam";

async fn site() -> Site {
    Site::start(config(), |builder| builder).await
}

fn limits(change: impl FnOnce(&mut ServerLimits)) -> ServerLimits {
    let mut limits = ServerLimits::default();
    change(&mut limits);
    limits
}

#[tokio::test]
async fn answers_have_an_etag_and_are_not_sent_twice() {
    let site = site().await;
    for path in [BAD, "/.well-known/repute-template"] {
        let first = get(site.address, "GET", path, "").await;
        assert!(first.starts_with("HTTP/1.1 200 OK\r\n"), "{first}");
        assert!(field(&first, "expires").is_some() && field(&first, "date").is_some(), "{first}");
        let etag = field(&first, "etag").unwrap();
        let second = get(site.address, "GET", path, &format!("If-None-Match: \"x\", {etag}\r\n")).await;
        assert!(second.starts_with("HTTP/1.1 304 Not Modified\r\n"), "{second}");
        assert_eq!((field(&second, "etag"), body(&second)), (Some(etag), ""));
        let other = get(site.address, "GET", path, "If-None-Match: \"x\"\r\n").await;
        assert_eq!(body(&other), body(&first));
    }
    assert_eq!(site.server.counters().not_modified.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn head_has_the_fields_of_get_and_no_body() {
    let site = site().await;
    for path in [BAD, "/.well-known/repute-template"] {
        let (whole, head) = (get(site.address, "GET", path, "").await, get(site.address, "HEAD", path, "").await);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        for name in ["content-type", "content-length", "etag"] {
            assert_eq!(field(&head, name), field(&whole, name), "{name} of {path}");
        }
        assert_eq!(field(&head, "content-length"), Some(body(&whole).len().to_string().as_str()));
        assert_eq!(body(&head), "");
    }
    let other = get(site.address, "DELETE", BAD, "").await;
    assert!(other.starts_with("HTTP/1.1 405 "), "{other}");
    assert_eq!(field(&other, "allow"), Some("GET, HEAD"));
    assert_eq!(site.server.counters().refused.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_batch_is_answered_by_one_document() {
    let site = site().await;
    let queries = |subjects: &[&str]| {
        let each = subjects.iter().map(|subject| {
            format!("{{\"application\":\"email-id\",\"subject\":\"{subject}\",\"assertion\":\"spam\"}}")
        });
        let body = format!("[{}]", each.collect::<Vec<_>>().join(","));
        let fields = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        format!("POST /batch HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n{body}")
    };
    for at_hand in [false, true] {
        site.table.at_hand.store(at_hand, Ordering::Relaxed);
        let response = raw(site.address, &queries(&["bad.example", "good.example", "a.listed.example"])).await;
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        let document = Decoder::new().decode(field(&response, "content-type").unwrap(), body(&response).as_bytes());
        let found: Vec<_> =
            document.unwrap().reputons.iter().map(|it| (it.rated.to_string(), it.rating.value())).collect();
        let wanted = [("bad.example", 0.987), ("good.example", 0.0), ("a.listed.example", 0.987)];
        for (rated, rating) in wanted {
            assert!(found.contains(&(rated.to_owned(), rating)), "{found:?}");
        }
        assert_eq!(found.len(), 3);
    }
    let counters = site.server.counters();
    assert_eq!((counters.batches.load(Ordering::Relaxed), counters.lookups.load(Ordering::Relaxed)), (2, 6));
    // One that fails fails them all: nothing is said about anybody.
    site.table.at_hand.store(false, Ordering::Relaxed);
    let response = raw(site.address, &queries(&["bad.example", "broken.example"])).await;
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    // It is ours, and off unless switched on.
    let mut without = config();
    without.batch = false;
    let site = Site::start(without, |builder| builder).await;
    assert!(raw(site.address, &queries(&["bad.example"])).await.starts_with("HTTP/1.1 405 "));
}

#[tokio::test]
async fn whoever_asks_too_often_is_told_and_clients_heed_it() {
    let mut rate = RateLimit::per_second(1);
    (rate.every, rate.burst) = (Duration::from_secs(100), 3);
    let site = Site::start(config(), |builder| builder.with_limits(limits(|limits| limits.rate = Some(rate)))).await;
    let client = site.client().start().unwrap();
    assert!(ask(&client, &site.service, "bad.example").await.is_ok());
    assert!(ask(&client, &site.service, "good.example").await.is_ok());
    let (begin, error) = (site.requests(), ask(&client, &site.service, "c.listed.example").await.unwrap_err());
    let ClientError::Query { error: QueryError::RateLimited { retry_after: Some(wait) }, .. } = error else {
        panic!("{error:?}")
    };
    assert!((90..=101).contains(&wait.as_secs()), "{wait:?}");
    assert!(ask(&client, &site.service, "d.listed.example").await.is_err());
    assert_eq!(site.requests(), begin + 1, "it was left alone after that");
    let response = get(site.address, "GET", BAD, "").await;
    assert!(response.starts_with("HTTP/1.1 429 "), "{response}");
    assert!(field(&response, "retry-after").unwrap().parse::<u64>().unwrap() > 90);
    assert_eq!(site.server.counters().rate_limited.load(Ordering::Relaxed), 2);
    // A batch counts as many as it has.
    rate.burst = 5;
    let site = Site::start(config(), |builder| builder.with_limits(limits(|limits| limits.rate = Some(rate)))).await;
    let one = "{\"application\":\"email-id\",\"subject\":\"a.example\"}";
    let batch = format!("[{one},{one},{one},{one},{one}]");
    let fields = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", batch.len());
    let request = format!("POST /batch HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n{batch}");
    assert!(raw(site.address, &request).await.starts_with("HTTP/1.1 200 "));
    assert!(get(site.address, "GET", BAD, "").await.starts_with("HTTP/1.1 429 "));
}

#[tokio::test]
async fn keys_and_passwords_let_in_and_are_sent_to_their_service_alone() {
    let mut keys = Keys::new();
    keys.add_key("filter", "s3cret", None).unwrap();
    keys.add_user("alice", "pa:ss", Some(RateLimit::per_second(1))).unwrap();
    let site = Site::start_tls_with(config(), |builder| builder.with_keys(keys)).await;
    let denied = ask(&site.client().start().unwrap(), &site.service, "bad.example").await.unwrap_err();
    assert!(matches!(denied, ClientError::Query { error: QueryError::Auth(401), .. }), "{denied:?}");
    let address: Address = format!("https://alice:pa%3Ass@localhost:{}", site.address.port()).parse().unwrap();
    for access in [
        Access::new().with_bearer("s3cret").unwrap(),
        Access::new().with_header("x-api-key".parse().unwrap(), "s3cret".parse().unwrap()),
        address.access(),
    ] {
        let client = site.client().with_access(&site.service, access).start().unwrap();
        assert!(ask(&client, &site.service, "bad.example").await.is_ok());
    }
    // Another's password, another's rate; keys change while it serves.
    let wrong = Access::new().with_credentials(Credentials::new("alice", "s3cret"));
    let client = site.client().with_access(&site.service, wrong).start().unwrap();
    assert!(ask(&client, &site.service, "bad.example").await.is_err());
    client.set_access(&site.service, Access::new().with_bearer("s3cret").unwrap());
    assert!(ask(&client, &site.service, "bad.example").await.is_ok());
    site.server.set_keys(Some(Keys::new()));
    assert!(ask(&client, &site.service, "good.example").await.is_err());
    assert_eq!(site.server.counters().unauthorized.load(Ordering::Relaxed), 3);
    let shown = format!("{client:?} {:?} {address:?}", site.client());
    assert!(!shown.contains("s3cret") && !shown.contains("pa:ss") && !shown.contains("alice"), "{shown}");
}

#[tokio::test]
async fn keys_go_over_http_only_where_the_policy_says_so() {
    let mut keys = Keys::new();
    keys.add_key("filter", "s3cret", None).unwrap();
    let site = Site::start(config(), |builder| builder.with_keys(keys)).await;
    for is_allowed in [false, true] {
        let mut config = ClientConfig::default();
        config.policy.clear_text_credentials = is_allowed;
        let access = Access::new().with_bearer("s3cret").unwrap();
        let client = site.client().with_config(config).with_access(&site.service, access).start().unwrap();
        assert_eq!(ask(&client, &site.service, "bad.example").await.is_ok(), is_allowed);
    }
    let response = get(site.address, "GET", BAD, "").await;
    assert!(response.starts_with("HTTP/1.1 401 ") && response.contains("Bearer realm="), "{response}");
}

#[tokio::test]
async fn a_store_that_cannot_say_says_nothing_about_the_subject() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let site = Site::start(config(), |builder| {
        let builder = builder.with_limits(limits(|limits| limits.lookup = Duration::from_millis(100)));
        builder.on_event(move |event| telling.lock().unwrap().push(event.to_string()))
    })
    .await;
    *site.table.slow.lock().unwrap() = LONG;
    for subject in ["broken.example", "slow.example"] {
        let response = get(site.address, "GET", &format!("/email-id/{subject}/spam"), "").await;
        assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
        assert_eq!((field(&response, "retry-after"), field(&response, "cache-control")), (Some("5"), Some("no-store")));
        assert!(!response.contains("fire"), "that is for the operator");
    }
    let told = told.lock().unwrap().join("\n");
    assert!(told.contains("the disk is on fire") && told.contains("no answer within 100ms"), "{told}");
    assert_eq!(site.server.counters().store_failed.load(Ordering::Relaxed), 2);
    let client = site.client().start().unwrap();
    let error =
        client.query(&site.service, support::query("broken.example"), Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error, ClientError::Query { error: QueryError::RateLimited { .. }, .. }), "{error:?}");
}

#[tokio::test]
async fn so_many_lookups_at_one_time_and_no_more() {
    let site = Site::start(config(), |builder| builder.with_limits(limits(|limits| limits.lookups = 2))).await;
    *site.table.slow.lock().unwrap() = Duration::from_millis(20);
    let asking = (0..8).map(|_| get(site.address, "GET", "/email-id/slow.example/spam", ""));
    let answers = asking.map(|asked| async { assert!(asked.await.starts_with("HTTP/1.1 200 ")) });
    let mut tasks = tokio::task::LocalSet::new();
    for answer in answers {
        tasks.spawn_local(answer);
    }
    (&mut tasks).await;
    assert_eq!(*site.table.under_way.lock().unwrap(), (0, 2));
}

/// REP-036: what little is known of is not good for long.
#[tokio::test]
async fn subjects_with_little_data_expire_sooner() {
    let max_age = async |site: &Site| {
        let response = get(site.address, "GET", BAD, "").await;
        let age: u64 = field(&response, "cache-control").unwrap().trim_start_matches("max-age=").parse().unwrap();
        let document = Decoder::new().decode("application/reputon+json", body(&response).as_bytes()).unwrap();
        let said = document.reputons[0].expires;
        (age, said)
    };
    let with = async |change: fn(&mut ExpiryPolicy)| {
        let mut policy = ExpiryPolicy::default();
        change(&mut policy);
        Site::start(config(), |builder| builder.with_expiry(policy)).await
    };
    // A thousand samples are half of what it takes by default.
    let (usual, said) = max_age(&site().await).await;
    assert!((899..=1_800).contains(&usual) && said.is_some(), "{usual}");
    let (little, _) = max_age(&with(|policy| policy.half_samples = 1_000_000).await).await;
    assert!((29..=60).contains(&little), "{little}");
    let (much, _) = max_age(&with(|policy| policy.half_samples = 1).await).await;
    assert!((1_797..=3_600).contains(&much), "{much}");
    let (unsaid, said) = max_age(&Site::start(config(), |builder| builder.with_expiry(None)).await).await;
    assert_eq!((unsaid, said), (300, None));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let site = site().await;
    site.table.at_hand.store(true, Ordering::Relaxed);
    let mut requests = String::new();
    for n in 0..50 {
        requests += &format!("GET /email-id/n{n}.listed.example/spam HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    requests += "GET /email-id/last.example/spam HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answers = raw(site.address, &requests).await;
    let mut at = 0;
    for n in 0..50 {
        let found = answers[at..].find(&format!("\"n{n}.listed.example\"")).unwrap_or_else(|| panic!("{n}: {answers}"));
        at += found;
    }
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 51);
}

#[tokio::test]
async fn absolute_targets_and_older_names_are_served() {
    let site = site().await;
    let absolute = get(site.address, "GET", "http://rep.example/email-id/bad.example/spam", "").await;
    assert!(absolute.starts_with("HTTP/1.1 200 "), "{absolute}");
    let opendkim = "/repute.php?subject=bad.example&application=email-id&assertion=spam&service=127.0.0.77";
    assert!(body(&get(site.address, "GET", opendkim, "Accept: */*\r\n").await).contains("0.987"));
    assert!(get(site.address, "GET", "/.well-known/repute_template", "").await.contains("{subject}"));
    assert!(get(site.address, "GET", "/unknown/bad.example", "").await.starts_with("HTTP/1.1 404 "));
    assert!(get(site.address, "GET", BAD, "Accept: text/html\r\n").await.starts_with("HTTP/1.1 406 "));
    let xml = get(site.address, "GET", BAD, "Accept: application/reputon\r\n").await;
    assert!(body(&xml).starts_with("<?xml"), "{xml}");
}

#[tokio::test]
async fn shutdown_answers_what_was_asked_and_takes_nothing_new() {
    let site = site().await;
    *site.table.slow.lock().unwrap() = Duration::from_millis(300);
    let mut idle = TcpStream::connect(site.address).await.unwrap();
    idle.write_all(format!("GET {BAD} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    assert!(idle.read(&mut [0; 4096]).await.unwrap() > 0);
    let address = site.address;
    let slow =
        tokio::spawn(async move { raw(address, "GET /email-id/slow.example/spam HTTP/1.1\r\nHost: x\r\n\r\n").await });
    until("the slow one is asked", || site.table.asked.load(Ordering::Relaxed) == 2).await;
    assert!(site.server.shutdown(LONG).await, "all was drained");
    let answer = slow.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("0.987"), "{answer}");
    assert_eq!(rest(&mut idle).await, "", "who waits with nothing asked is let go");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn shutdown_cuts_off_what_takes_too_long() {
    let site = site().await;
    *site.table.slow.lock().unwrap() = LONG;
    let address = site.address;
    let slow =
        tokio::spawn(async move { raw(address, "GET /email-id/slow.example/spam HTTP/1.1\r\nHost: x\r\n\r\n").await });
    until("the slow one is asked", || site.table.asked.load(Ordering::Relaxed) == 1).await;
    assert!(!site.server.shutdown(Duration::from_millis(50)).await);
    assert_eq!(slow.await.unwrap(), "");
}
