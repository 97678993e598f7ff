//! Alerts from sensors to managers over real sockets and TLS: the four deployments, proxies, and trouble on the way.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use common::*;
use iap_proto::{Config, Host, Status};
use iap_tokio::manager::Delivery;
use iap_tokio::proxy::ProxyConfig;
use iap_tokio::{Endpoint, Proxy};

fn host(name: &str) -> Host {
    name.parse().unwrap()
}

#[tokio::test]
async fn an_analyzer_dials_and_its_alerts_arrive_in_order() {
    let (pki, keep) = (Pki::new(), Keep::default());
    let manager = manager(&pki, keep.clone()).listen(listener().await).start().unwrap();
    let sensor = sensor(&pki).connect(endpoint(manager.local_addrs()[0])).start().unwrap();
    submit(&sensor, 0..1000).await;
    soon(sensor.drained()).await;
    assert_eq!(keep.texts(), expected(0..1000));
    let counters = sensor.counters();
    assert_eq!(
        (counters.sent.load(Relaxed), counters.acked.load(Relaxed), counters.resent.load(Relaxed)),
        (1000, 1000, 0)
    );
    assert_eq!(manager.connections()[0].peer.display(), "sensor-1");
    sensor.shutdown(Duration::from_secs(2)).await;
    manager.shutdown(Duration::from_secs(2)).await;
}

#[tokio::test]
async fn a_manager_dials_and_the_analyzer_is_still_tls_client() {
    let (pki, keep) = (Pki::new(), Keep::default());
    let sensor = sensor(&pki).listen(listener().await).start().unwrap();
    let analyzer = Endpoint::new(sensor.local_addrs()[0].to_string(), host("sensor-1"));
    let manager = manager(&pki, keep.clone()).dial(analyzer).start().unwrap();
    submit(&sensor, 0..100).await;
    soon(sensor.drained()).await;
    assert_eq!(keep.texts(), expected(0..100));
    manager.shutdown(Duration::from_secs(2)).await;
}

#[tokio::test]
async fn two_chained_proxies_pass_everything_on() {
    let (pki, keep) = (Pki::new(), Keep::default());
    let manager = manager(&pki, keep.clone()).listen(listener().await).start().unwrap();
    let inner = ProxyConfig::new(host("p2.example.com"), manager.local_addrs()[0].to_string());
    let inner = Proxy::start(listener().await, inner).unwrap();
    let outer = ProxyConfig::new(host("p1.example.com"), inner.local_addr().to_string());
    let outer = Proxy::start(listener().await, outer).unwrap();
    let sensor = sensor(&pki).connect(endpoint(outer.local_addr())).start().unwrap();
    submit(&sensor, 0..5000).await;
    soon(sensor.drained()).await;
    assert_eq!(keep.texts(), expected(0..5000));
    assert!(outer.counters().octets_forward.load(Relaxed) > 5000 * 60);
    sensor.shutdown(Duration::from_secs(2)).await;
    until(|| outer.counters().open.load(Relaxed) == 0 && inner.counters().open.load(Relaxed) == 0).await;
    outer.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_loop_of_proxies_is_refused_and_counted() {
    let pki = Pki::new();
    let listener = listener().await;
    let own = listener.local_addr().unwrap();
    let proxy = Proxy::start(listener, ProxyConfig::new(host("p.example.com"), own.to_string())).unwrap();
    let sensor = sensor(&pki).connect(endpoint(own)).start().unwrap();
    until(|| sensor.counters().failures().contains_key("refused")).await;
    assert!(sensor.counters().last_failure().unwrap().contains("502"));
    assert!(proxy.counters().refused.load(Relaxed) >= 1);
}

#[tokio::test]
async fn a_proxy_keeps_out_who_is_not_allowed() {
    let pki = Pki::new();
    let mut config = ProxyConfig::new(host("p.example.com"), "127.0.0.1:1");
    config.allow_from = vec!["192.0.2.0/24".parse().unwrap()];
    let from = Proxy::start(listener().await, config).unwrap();
    let mut config = ProxyConfig::new(host("p.example.com"), "127.0.0.1:1");
    config.allow_target = vec![host("other.example.com")];
    let target = Proxy::start(listener().await, config).unwrap();
    for proxy in [from, target] {
        let sensor = sensor(&pki).connect(endpoint(proxy.local_addr())).start().unwrap();
        until(|| sensor.counters().last_failure().is_some_and(|words| words.contains("403"))).await;
    }
}

#[tokio::test]
async fn an_unreachable_next_hop_is_a_502() {
    let pki = Pki::new();
    let proxy = Proxy::start(listener().await, ProxyConfig::new(host("p.example.com"), "127.0.0.1:1")).unwrap();
    let sensor = sensor(&pki).connect(endpoint(proxy.local_addr())).start().unwrap();
    until(|| sensor.counters().last_failure().is_some_and(|words| words.contains("502"))).await;
}

#[tokio::test]
async fn come_back_later_loses_nothing_and_keeps_the_order() {
    let (pki, keep) = (Pki::new(), Keep::default());
    keep.answer(Status::SERVICE_UNAVAILABLE);
    let manager = manager(&pki, keep.clone()).listen(listener().await).start().unwrap();
    let sensor = sensor(&pki).connect(endpoint(manager.local_addrs()[0])).start().unwrap();
    submit(&sensor, 0..200).await;
    until(|| sensor.counters().deferred.load(Relaxed) > 0).await;
    keep.answer(Status::OK);
    soon(sensor.drained()).await;
    assert_eq!(keep.texts(), expected(0..200));
    assert!(sensor.counters().resent.load(Relaxed) > 0);
    assert_eq!(sensor.counters().channels.load(Relaxed), 1, "the connection was kept");
}

#[tokio::test]
async fn a_refused_alert_becomes_a_dead_letter_and_blocks_nobody() {
    let (pki, keep) = (Pki::new(), Keep::default());
    let manager = manager(&pki, keep.clone()).listen(listener().await).start().unwrap();
    let sensor = sensor(&pki).connect(endpoint(manager.local_addrs()[0])).start().unwrap();
    let poison = iap_tokio::spool::Record::new("application/xml", "<html/>");
    sensor.spool().append(vec![poison], None).await.unwrap();
    submit(&sensor, 0..10).await;
    soon(sensor.drained()).await;
    assert_eq!(keep.texts(), expected(0..10));
    let dead = sensor.spool().dead_letters(0, 10).await.unwrap();
    assert_eq!((dead.len(), dead[0].status), (1, 400));
    assert_eq!(manager.counters().refused().get("invalid_body"), Some(&1));
}

#[tokio::test]
async fn an_alert_too_large_for_the_manager_becomes_a_dead_letter() {
    let (pki, keep) = (Pki::new(), Keep::default());
    let small = Config::manager().with_limits(|limits| limits.body = 100);
    let manager = manager(&pki, keep.clone()).config(small).listen(listener().await).start().unwrap();
    let sensor = sensor(&pki).connect(endpoint(manager.local_addrs()[0])).start().unwrap();
    let large = iap_tokio::spool::Record::new("text/plain", vec![b'x'; 101]);
    sensor.spool().append(vec![large], None).await.unwrap();
    submit(&sensor, 0..3).await;
    soon(sensor.drained()).await;
    assert_eq!(keep.texts(), expected(0..3));
    assert_eq!(sensor.spool().dead_letters(0, 10).await.unwrap()[0].status, 413);
}

#[tokio::test]
async fn the_second_manager_is_used_when_the_first_is_gone() {
    let (pki, keep) = (Pki::new(), Keep::default());
    let manager = manager(&pki, keep.clone()).listen(listener().await).start().unwrap();
    let gone = Endpoint::new("127.0.0.1:1", host("manager.example.com"));
    let sensor = sensor(&pki).connect(gone).connect(endpoint(manager.local_addrs()[0])).start().unwrap();
    submit(&sensor, 0..10).await;
    soon(sensor.drained()).await;
    assert_eq!(sensor.counters().failures().get("io"), Some(&1));
}

#[tokio::test]
async fn an_alert_sent_again_is_handed_over_once() {
    let (pki, keep) = (Pki::new(), Keep::default());
    let manager = manager(&pki, keep.clone()).listen(listener().await).start().unwrap();
    let address = manager.local_addrs()[0];
    for _ in 0..2 {
        // The same certificate name, a new connection, the same alerts.
        let sensor = sensor(&pki).connect(endpoint(address)).start().unwrap();
        submit(&sensor, 0..50).await;
        submit(&sensor, 0..5).await;
        soon(sensor.drained()).await;
        assert_eq!(sensor.counters().acked.load(Relaxed), 55);
        sensor.shutdown(Duration::from_secs(2)).await;
    }
    assert_eq!(keep.texts(), expected(0..50));
    assert_eq!(manager.counters().duplicates.load(Relaxed), 60);
}

#[tokio::test]
async fn alerts_go_through_a_channel_to_the_embedder() {
    let pki = Pki::new();
    let (handover, mut deliveries) = tokio::sync::mpsc::channel::<Delivery>(4);
    let manager = manager(&pki, handover).listen(listener().await).start().unwrap();
    let sensor = sensor(&pki).connect(endpoint(manager.local_addrs()[0])).start().unwrap();
    submit(&sensor, 0..3).await;
    // Dropped without an answer: they come again.
    drop(soon(deliveries.recv()).await.unwrap());
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let delivery = soon(deliveries.recv()).await.unwrap();
        seen.extend(delivery.alerts().iter().map(|alert| String::from_utf8(alert.body.to_vec()).unwrap()));
        delivery.accept();
    }
    assert_eq!(seen, expected(0..3));
    soon(sensor.drained()).await;
}

#[tokio::test]
async fn a_shutdown_answers_what_was_received() {
    let (pki, keep) = (Pki::new(), Keep::default());
    let manager = manager(&pki, keep.clone()).listen(listener().await).start().unwrap();
    let sensor = sensor(&pki).connect(endpoint(manager.local_addrs()[0])).start().unwrap();
    submit(&sensor, 0..20_000).await;
    until(|| sensor.counters().acked.load(Relaxed) > 500).await;
    soon(manager.shutdown(Duration::from_secs(5))).await;
    until(|| !sensor.counters().connected.load(Relaxed)).await;
    // Each alert kept was answered, or is still in the spool and will be known again.
    let acked = sensor.counters().acked.load(Relaxed);
    assert_eq!(sensor.spool().stats().depth, 20_000 - acked);
    assert!(keep.texts().len() as u64 >= acked);
}

#[tokio::test]
async fn a_reconnect_resumes_the_tls_session() {
    let (pki, keep) = (Pki::new(), Keep::default());
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let tls = pki.tls(Profile::Manager, "manager.example.com");
    let first = iap_tokio::Manager::builder(tls.clone(), keep.clone()).listen(listener).start().unwrap();
    let sensor = sensor(&pki).connect(endpoint(address)).start().unwrap();
    submit(&sensor, 0..5).await;
    soon(sensor.drained()).await;
    first.shutdown(Duration::from_secs(5)).await;
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let _second = iap_tokio::Manager::builder(tls, keep.clone()).listen(listener).start().unwrap();
    submit(&sensor, 5..10).await;
    soon(sensor.drained()).await;
    assert_eq!(sensor.counters().resumed.load(Relaxed), 1);
    assert_eq!(keep.texts(), expected(0..10));
}

#[tokio::test]
async fn heartbeats_are_sent_while_connected() {
    let (pki, keep) = (Pki::new(), Keep::default());
    let manager = manager(&pki, keep.clone()).listen(listener().await).start().unwrap();
    let count = std::sync::atomic::AtomicU32::new(0);
    let make = std::sync::Arc::new(move || {
        let body = format!("heartbeat {}", count.fetch_add(1, Relaxed));
        ("text/plain".parse().unwrap(), body.into())
    });
    let sensor =
        sensor(&pki).connect(endpoint(manager.local_addrs()[0])).heartbeat(Duration::from_millis(20), make).start();
    let sensor = sensor.unwrap();
    until(|| sensor.counters().heartbeats.load(Relaxed) >= 3).await;
    assert_eq!(keep.texts()[0], "heartbeat 0");
}
