//! An HTTP client that asks the broker where its URLs lead.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::Response;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::{TokioExecutor, TokioIo};
use obp_hyper::client::Client;
use obp_hyper::connector::{BrokerConnector, ConnectError};
use support::{PIN, Setup, Site};
use tokio::net::TcpListener;

/// Says its own name to everybody.
async fn web_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let service =
                service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"here")))) });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tcp), service));
        }
    });
    address
}

async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn connector(site: &Site) -> BrokerConnector {
    let binding = site.bind(PIN).await.unwrap();
    BrokerConnector::new(Client::builder(binding).with_tls(Arc::clone(&site.tls)).start().await.unwrap())
}

#[tokio::test]
async fn a_user_of_hyper_goes_where_the_broker_says() {
    let site = Site::start(Setup::default()).await;
    *site.server.knowledge().local.lock().unwrap() = vec![web_server().await];
    let client = HttpClient::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector(&site).await);
    let response = client.get("http://local.example.com/".parse().unwrap()).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "here");
}

#[tokio::test]
async fn when_nothing_answers_the_broker_is_asked_for_the_next() {
    let site = Site::start(Setup::default()).await;
    *site.server.knowledge().local.lock().unwrap() = vec![closed_port().await, closed_port().await, web_server().await];
    connector(&site).await.connect(&"http://local.example.com/".parse().unwrap()).await.unwrap();
    assert_eq!(site.server.knowledge().asked.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn there_is_an_end_and_the_first_failure_is_told() {
    let site = Site::start(Setup::default()).await;
    let first = closed_port().await;
    *site.server.knowledge().local.lock().unwrap() = vec![first, closed_port().await];
    let error = connector(&site).await.connect(&"http://local.example.com/".parse().unwrap()).await.unwrap_err();
    assert!(matches!(&error, ConnectError::Race(_)), "{error}");
}

#[tokio::test]
async fn what_needs_tls_is_not_spoken_in_the_clear_and_the_other_way_round() {
    let site = Site::start(Setup::default()).await;
    *site.server.knowledge().local.lock().unwrap() = vec![web_server().await];
    let connector = connector(&site).await;
    for url in ["http://www.example.com/", "https://local.example.com/"] {
        let error = connector.connect(&url.parse().unwrap()).await.unwrap_err();
        assert!(matches!(error, ConnectError::NoWay(_)), "{url}: {error}");
    }
    let error = connector.connect(&"http://no.example.com/".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Broker(_)), "{error}");
}

#[tokio::test]
async fn an_address_is_no_question() {
    let site = Site::start(Setup::default()).await;
    let url = format!("http://{}/", web_server().await);
    connector(&site).await.connect(&url.parse().unwrap()).await.unwrap();
    assert_eq!(site.server.knowledge().asked.load(Ordering::Relaxed), 0);
}

#[cfg(feature = "reqwest")]
#[tokio::test]
async fn a_user_of_reqwest_goes_where_the_broker_says() {
    use obp_hyper::resolver::BrokerResolver;
    let site = Site::start(Setup::default()).await;
    *site.server.knowledge().local.lock().unwrap() = vec![web_server().await];
    let binding = site.bind(PIN).await.unwrap();
    let broker = Client::builder(binding).with_tls(Arc::clone(&site.tls)).start().await.unwrap();
    let of = |resolver: BrokerResolver| reqwest::Client::builder().dns_resolver(Arc::new(resolver)).build().unwrap();
    let clear = of(BrokerResolver::new(broker.clone()).in_clear_text());
    let response = clear.get("http://local.example.com/").send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "here");
    // What is only reached in the clear is none of the ways for https.
    let error = of(BrokerResolver::new(broker)).get("http://local.example.com/").send().await.unwrap_err();
    assert!(format!("{error:?}").contains("over TLS"), "{error:?}");
}
