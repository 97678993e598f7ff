//! Client and broker over real sockets: binding, asking over each transport, falling back, ending.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use obp_hyper::client::{BindError, BindOptions, Client, ClientError, refresh, unbind};
use obp_proto::client::{ClientConfig, Retransmission};
use obp_proto::crypto::RustCrypto;
use obp_proto::message::{Credential, Identifier, QueryConnectRequest, ValidateRequest};
use obp_proto::service_connect::Binding;
use obp_proto::{Error, Status};
use support::{Door, PATIENCE, PIN, Setup, Site, Udp};
use watchfire_core::UnixTime;

fn question(name: &str) -> QueryConnectRequest {
    QueryConnectRequest::new(Identifier::new(name.parse().unwrap()).with_service("_https".parse().unwrap()))
}

async fn client(site: &Site, binding: Binding, tls: bool) -> Client {
    let retransmission = Retransmission { first_wait: Duration::from_millis(30), ..Retransmission::default() };
    let config = ClientConfig::builder(Arc::new(RustCrypto)).with_tls(tls).with_retransmission(retransmission);
    let config = config.build().unwrap();
    Client::builder(binding).with_config(config).with_tls(Arc::clone(&site.tls)).start().await.unwrap()
}

#[tokio::test]
async fn a_device_binds_asks_over_udp_and_is_told_who_does_not_exist() {
    for at_hand in [true, false] {
        let site = Site::start(Setup { at_hand, ..Setup::default() }).await;
        let client = client(&site, site.bind(PIN).await.unwrap(), true).await;
        let answer = client.connect(question("www.example.com")).await.unwrap();
        assert_eq!(answer.connection[0].ip_address, Some("192.0.2.1".parse().unwrap()));
        let error = client.connect(question("no.example.com")).await.unwrap_err();
        assert_eq!(error.status(), Some(Status::NON_EXISTENT_DOMAIN), "{error}");
        let mut request = ValidateRequest::default();
        request.credential = vec![Credential::certificate(vec![0x30, 0x82])].into();
        client.validate(request).await.unwrap();
        let (stats, server) = (client.stats().await.unwrap(), site.server.stats());
        assert_eq!((stats.answers, stats.exchanges), (3, 0), "all of it in datagrams");
        assert_eq!((server.datagrams, server.accepted - server.datagrams), (3, 2), "{server:?}");
    }
}

#[tokio::test]
async fn a_device_asks_over_https_and_over_plain_http_on_the_loopback() {
    for tls in [true, false] {
        let site = Site::start(Setup { tls, udp: Udp::No, ..Setup::default() }).await;
        let client = client(&site, site.bind(PIN).await.unwrap(), tls).await;
        let mut answers = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let client = client.clone();
            answers.spawn(async move { client.connect(question("www.example.com")).await.is_ok() });
        }
        assert!(answers.join_all().await.into_iter().all(|ok| ok));
        for _ in 0..20 {
            client.connect(question("www.example.com")).await.unwrap();
        }
        // Kept connections are used again: one for binding, and few for all these.
        let connections = site.server.counters().connection.taken.load(Ordering::Relaxed);
        assert!(connections <= 24, "{connections}");
    }
}

#[tokio::test]
async fn silence_on_udp_leads_to_http() {
    let site = Site::start(Setup { udp: Udp::Silent, ..Setup::default() }).await;
    let client = client(&site, site.bind(PIN).await.unwrap(), true).await;
    client.connect(question("www.example.com")).await.unwrap();
    let stats = client.stats().await.unwrap();
    assert!(stats.exchanges == 1 && stats.fail_overs >= 1, "{stats:?}");
}

#[tokio::test]
async fn a_wrong_pin_and_a_used_one_are_refused() {
    let site = Site::start(Setup::default()).await;
    let refused = |error| matches!(error, BindError::Protocol(_));
    assert!(refused(site.bind("9999-9999").await.unwrap_err()));
    site.bind(PIN).await.unwrap();
    assert!(refused(site.bind(PIN).await.unwrap_err()), "a PIN is for one device");
}

#[tokio::test]
async fn a_binding_is_refreshed_and_ended() {
    let site = Site::start(Setup::default()).await;
    let options = BindOptions::new(Arc::clone(&site.tls));
    let first = site.bind(PIN).await.unwrap();
    let second = refresh(&site.url, first.clone(), &options).await.unwrap();
    let asking = client(&site, second.clone(), true).await;
    asking.connect(question("www.example.com")).await.unwrap();
    unbind(&site.url, second.clone(), &options).await.unwrap();
    assert_eq!(site.ended.load(Ordering::Relaxed), 1);
    for binding in [first, second] {
        let client = client(&site, binding, true).await;
        let error = client.connect(question("www.example.com")).await.unwrap_err();
        assert!(!matches!(error, ClientError::Ended), "{error}");
    }
}

#[tokio::test]
async fn a_binding_whose_end_cannot_be_written_down_goes_on_and_its_device_is_told() {
    let site = Site::start(Setup { forgotten: 1, ..Setup::default() }).await;
    let options = BindOptions::new(Arc::clone(&site.tls));
    let binding = site.bind(PIN).await.unwrap();
    let error = unbind(&site.url, binding.clone(), &options).await.unwrap_err();
    assert!(matches!(error, BindError::Protocol(Error::Refused(Status::SERVER_FAILURE))), "{error}");
    let asking = client(&site, binding.clone(), true).await;
    asking.connect(question("www.example.com")).await.unwrap();
    unbind(&site.url, binding, &options).await.unwrap();
    asking.connect(question("www.example.com")).await.unwrap_err();
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_said_to_be_so_in_time() {
    let site = Site::start(Setup { udp: Udp::No, ..Setup::default() }).await;
    let binding = site.bind(PIN).await.unwrap();
    let client = client(&site, binding, true).await;
    site.server.shutdown(Duration::from_secs(1)).await;
    let error = client.connect(question("www.example.com")).await.unwrap_err();
    assert!(matches!(error, ClientError::Exchange { .. } | ClientError::Protocol(_)), "{error:?}");
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_not_trusted() {
    let (site, other) = (Site::start(Setup::default()).await, Site::start(Setup::default()).await);
    let account = support::ACCOUNT.parse().unwrap();
    let options = BindOptions::new(Arc::clone(&other.tls));
    let bound = obp_hyper::client::bind(&site.url, Some((&account, PIN.parse().unwrap())), &options).await;
    let error = bound.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn what_was_asked_is_answered_before_the_end() {
    let site = Site::start(Setup { slow: Duration::from_millis(300), udp: Udp::No, ..Setup::default() }).await;
    let client = client(&site, site.bind(PIN).await.unwrap(), true).await;
    let asked = tokio::spawn(async move { client.connect(question("slow.example.com")).await });
    while site.server.stats().accepted < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    site.server.shutdown(Duration::from_secs(5)).await;
    asked.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_ends_of_bindings_do_not_wait_for_the_accounts() {
    let door = Arc::new(Door::default());
    let site =
        Arc::new(Site::start(Setup { door: Some(Arc::clone(&door)), late: Some(PATIENCE), ..Setup::default() }).await);
    let binding = {
        let site = Arc::clone(&site);
        tokio::spawn(async move { site.bind(PIN).await })
    };
    tokio::time::timeout(PATIENCE, door.come.notified()).await.expect("the accounts are asked");
    let changes = {
        let site = Arc::clone(&site);
        tokio::task::spawn_blocking(move || {
            site.server.add_ticket_key(2, &[8; 32]).unwrap();
            site.server.seal_with_ticket_key(2).unwrap();
            site.server.end_binding([1; 16], UnixTime::from_secs(i64::MAX)).unwrap();
        })
    };
    // The accounts are still thinking.
    let changed = tokio::time::timeout(PATIENCE / 2, changes).await;
    door.open();
    changed.expect("it does not wait").unwrap();
    binding.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_told_that_it_takes_too_long_is_not_served_later() {
    let door = Arc::new(Door::default());
    let late = Some(Duration::from_millis(100));
    let site = Site::start(Setup { door: Some(Arc::clone(&door)), late, ..Setup::default() }).await;
    for _ in 0..3 {
        site.bind(PIN).await.unwrap_err();
    }
    door.open();
    // Until all that was begun is over.
    site.server.shutdown(PATIENCE).await;
    assert_eq!(door.count.load(Ordering::Relaxed), 1);
}
