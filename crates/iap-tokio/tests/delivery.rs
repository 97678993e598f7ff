//! Alerts from sensors to managers over real sockets and TLS: the four deployments, proxies, and trouble on the way.

#![cfg(any(feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::*;
use iap_proto::{Config, Dialect, Host, Limits, Party, Status};
use iap_tokio::manager::{Alert, Delivery, Handover};
use iap_tokio::proxy::ProxyConfig;
use iap_tokio::spool::{Record, Spool, SpoolConfig};
use iap_tokio::tls::Tls;
use iap_tokio::{Endpoint, Manager, Proxy, Sensor};

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

#[cfg(feature = "idmef")]
#[tokio::test]
async fn a_refused_alert_becomes_a_dead_letter_and_blocks_nobody() {
    let (pki, keep) = (Pki::new(), Keep::default());
    let manager = manager(&pki, keep.clone()).listen(listener().await).start().unwrap();
    let sensor = sensor(&pki).connect(endpoint(manager.local_addrs()[0])).start().unwrap();
    let poison = Record::new("application/xml", "<html/>");
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
    let small = Config::builder(Party::Manager).with_limits(Limits::default().with_body(100)).build().unwrap();
    let manager = manager(&pki, keep.clone()).with_config(small).listen(listener().await).start().unwrap();
    let sensor = sensor(&pki).connect(endpoint(manager.local_addrs()[0])).start().unwrap();
    let large = Record::new("text/plain", vec![b'x'; 101]);
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
    let first = Manager::builder(tls.clone(), keep.clone()).listen(listener).start().unwrap();
    let sensor = sensor(&pki).connect(endpoint(address)).start().unwrap();
    submit(&sensor, 0..5).await;
    soon(sensor.drained()).await;
    first.shutdown(Duration::from_secs(5)).await;
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let _second = Manager::builder(tls, keep.clone()).listen(listener).start().unwrap();
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
    let make = Arc::new(move || {
        let body = format!("heartbeat {}", count.fetch_add(1, Relaxed));
        ("text/plain".parse().unwrap(), body.into())
    });
    let sensor = sensor(&pki)
        .connect(endpoint(manager.local_addrs()[0]))
        .with_heartbeat(Duration::from_millis(20), make)
        .start();
    let sensor = sensor.unwrap();
    until(|| sensor.counters().heartbeats.load(Relaxed) >= 3).await;
    assert_eq!(keep.texts()[0], "heartbeat 0");
}

/// A peer and what it sent.
type Sent = (String, String);

/// Who sent what, in which batches.
#[derive(Clone, Default)]
struct Batches(Arc<Mutex<Vec<Vec<Sent>>>>);

impl Handover for Batches {
    async fn hand_over(&self, alerts: Vec<Alert>) -> Vec<Status> {
        let text = |alert: &Alert| String::from_utf8(alert.body.to_vec()).unwrap();
        let batch: Vec<_> = alerts.iter().map(|alert| (alert.peer.display().to_owned(), text(alert))).collect();
        let answers = vec![Status::OK; batch.len()];
        self.0.lock().unwrap().push(batch);
        answers
    }
}

#[tokio::test]
async fn one_manager_serves_several_analyzers() {
    let (pki, batches) = (Pki::new(), Batches::default());
    let manager = manager(&pki, batches.clone()).listen(listener().await).start().unwrap();
    let mut sensors = Vec::new();
    for n in 0..8 {
        let spool = Spool::in_memory(SpoolConfig::default()).unwrap();
        let tls = pki.tls(Profile::Analyzer, &format!("sensor-{n}"));
        let sensor = Sensor::builder(tls, "manager.example.com", spool).unwrap();
        sensors.push(sensor.connect(endpoint(manager.local_addrs()[0])).start().unwrap());
    }
    for sensor in &sensors {
        submit(sensor, 0..300).await;
    }
    for sensor in &sensors {
        soon(sensor.drained()).await;
    }
    assert_eq!(manager.connections().len(), 8);
    let all = batches.0.lock().unwrap().concat();
    for n in 0..8 {
        // Each is known by its own certificate, keeps its order, and is no duplicate of the others' alerts.
        let name = format!("sensor-{n}");
        let its = all.iter().filter(|(peer, _)| *peer == name).map(|(_, text)| text.clone());
        assert_eq!(its.collect::<Vec<_>>(), expected(0..300), "{name}");
    }
    assert_eq!(manager.counters().duplicates.load(Relaxed), 0);
}

#[tokio::test]
async fn the_peer_is_who_its_certificate_says_not_who_connect_names() {
    let (pki, batches) = (Pki::new(), Batches::default());
    let manager = manager(&pki, batches.clone()).listen(listener().await).start().unwrap();
    let address = manager.local_addrs()[0];
    let mut tcp = raw::dial(address).await;
    raw::say(&mut tcp, "IAP/0.3 CONNECT sensor-9\r\nIAP/0.3 Via: sensor-8\r\n\r\n").await;
    raw::expect(&mut tcp, raw::OK).await;
    raw::say(&mut tcp, raw::UPGRADE).await;
    raw::expect(&mut tcp, raw::SWITCH).await;
    let name = iap_tokio::tls::manager_name("manager.example.com").unwrap();
    let tls = pki.tls(Profile::Analyzer, "sensor-1");
    let mut inside = soon(tls.connect(tcp, &name, iap_tokio::tls::Claim::MANAGER)).await.unwrap().stream;
    raw::say(&mut inside, raw::SENDER).await;
    raw::expect(&mut inside, raw::OK).await;
    raw::say(&mut inside, raw::content("text/plain", "who am I?")).await;
    raw::expect(&mut inside, raw::OK).await;
    assert_eq!(manager.connections()[0].peer.display(), "sensor-1");
    assert_eq!(*batches.0.lock().unwrap(), [[("sensor-1".to_owned(), "who am I?".to_owned())]]);

    // Nor is a manager the right one because CONNECT asks for the name in its certificate.
    let spool = || Spool::in_memory(SpoolConfig::default()).unwrap();
    let meant = Sensor::builder(tls.clone(), "other.example.com", spool()).unwrap();
    let meant = meant.connect(endpoint(address)).start().unwrap();
    until(|| meant.counters().failures().contains_key("bad_name")).await;
    // While the right certificate is enough, whatever CONNECT asks for.
    let found = Sensor::builder(tls, "manager.example.com", spool()).unwrap();
    let found = found.connect(Endpoint::new(address.to_string(), host("other.example.com"))).start().unwrap();
    submit(&found, 0..1).await;
    soon(found.drained()).await;
}

#[tokio::test]
async fn a_window_of_one_sends_one_alert_at_a_time() {
    let (pki, batches) = (Pki::new(), Batches::default());
    let manager = manager(&pki, batches.clone()).listen(listener().await).start().unwrap();
    let config = Config::builder(Party::Analyzer).with_window(const { NonZeroUsize::new(1).unwrap() }).build().unwrap();
    let sensor = sensor(&pki).with_config(config).connect(endpoint(manager.local_addrs()[0])).start().unwrap();
    submit(&sensor, 0..100).await;
    soon(sensor.drained()).await;
    let batches = batches.0.lock().unwrap();
    assert!(batches.iter().all(|batch| batch.len() == 1));
    assert_eq!(batches.concat().into_iter().map(|(_, text)| text).collect::<Vec<_>>(), expected(0..100));
}

#[tokio::test]
async fn padding_hides_lengths_on_the_way_and_harms_no_content() {
    let (pki, keep) = (Pki::new(), Keep::default());
    let manager = manager(&pki, keep.clone()).listen(listener().await).start().unwrap();
    let padding = iap_proto::Padding::Bucket(const { NonZeroUsize::new(256).unwrap() });
    let config = Config::builder(Party::Analyzer).with_padding(padding).build().unwrap();
    let sensor = sensor(&pki).with_config(config).connect(endpoint(manager.local_addrs()[0])).start().unwrap();
    let bodies: Vec<String> =
        [0, 1, 200, 300].into_iter().map(|len| format!("{{\"a\":\"{}\"}}", "x".repeat(len))).collect();
    let records = bodies.iter().map(|body| Record::new("application/json", body.clone())).collect();
    sensor.spool().append(records, None).await.unwrap();
    sensor.spool().append(vec![Record::new("application/octet-stream", vec![0; 5])], None).await.unwrap();
    soon(sensor.drained()).await;
    let texts = keep.texts();
    assert_eq!(texts.iter().map(String::len).collect::<Vec<_>>(), [256, 256, 256, 512, 5]);
    assert_eq!(texts[..4].iter().map(|text| text.trim_end()).collect::<Vec<_>>(), bodies);
}

#[tokio::test]
async fn a_resumed_session_is_authorised_anew() {
    let (pki, keep) = (Pki::new(), Keep::default());
    let config = pki.config(Profile::Manager, "manager.example.com");
    let tls = Tls::new(config.clone()).unwrap();
    let manager = Manager::builder(tls.clone(), keep.clone()).listen(listener().await).start().unwrap();
    let analyzer = pki.tls(Profile::Analyzer, "sensor-1");
    let sensor = || {
        let spool = Spool::in_memory(SpoolConfig::default()).unwrap();
        let sensor = Sensor::builder(analyzer.clone(), "manager.example.com", spool).unwrap();
        sensor.connect(endpoint(manager.local_addrs()[0])).start().unwrap()
    };
    for n in 0..2 {
        let sensor = sensor();
        submit(&sensor, n..n + 1).await;
        soon(sensor.drained()).await;
        assert_eq!(sensor.counters().resumed.load(Relaxed), u64::from(n));
        sensor.shutdown(Duration::from_secs(2)).await;
    }
    // The operator takes it off the list: what it remembers of the session does not help.
    tls.replace(config.clone().with_allow_list(["sensor-2".parse().unwrap()])).unwrap();
    let forbidden = sensor();
    submit(&forbidden, 2..3).await;
    until(|| manager.counters().refused().contains_key("not_allowed")).await;
    assert_eq!(keep.texts(), expected(0..2));
    forbidden.shutdown(Duration::from_secs(2)).await;
    tls.replace(config).unwrap();
    let again = sensor();
    submit(&again, 3..4).await;
    soon(again.drained()).await;
}

#[tokio::test]
async fn in_the_later_dialects_the_initiator_is_tls_client() {
    for dialect in [Dialect::V0_4, Dialect::V0_5] {
        let (pki, keep) = (Pki::new(), Keep::default());
        let analyzer = |name| {
            let spool = Spool::in_memory(SpoolConfig::default()).unwrap();
            // Whoever is dialled needs a certificate for a TLS server, whoever dials one for a client.
            let sensor = Sensor::builder(pki.tls(Profile::Both, name), "manager.example.com", spool).unwrap();
            sensor.with_config(Config::builder(Party::Analyzer).with_dialects(vec![dialect]).build().unwrap())
        };
        let manager = |name| {
            let manager = Manager::builder(pki.tls(Profile::Both, name), keep.clone());
            manager.with_config(
                Config::builder(Party::Manager).with_dialects(vec![Dialect::V0_3, dialect]).build().unwrap(),
            )
        };
        // The analyzer dials, and nothing that it says first is TLS.
        let serving = manager("manager.example.com").listen(listener().await).start().unwrap();
        let dialling = analyzer("sensor-1").connect(endpoint(serving.local_addrs()[0])).start().unwrap();
        submit(&dialling, 0..50).await;
        soon(dialling.drained()).await;
        assert_eq!(keep.texts(), expected(0..50));

        // The manager dials: it knows the analyzer by the name that it dialled it as, and the analyzer it by its own.
        let waiting = analyzer("sensor-2").listen(listener().await).start().unwrap();
        let address = waiting.local_addrs()[0].to_string();
        let dialect_first = Config::builder(Party::Manager).with_dialects(vec![dialect]).build().unwrap();
        let to = |target| Endpoint::new(address.clone(), host(target));
        let wrong =
            manager("manager.example.com").with_config(dialect_first.clone()).dial(to("sensor-3")).start().unwrap();
        until(|| wrong.counters().refused().contains_key("bad_name")).await;
        wrong.shutdown(Duration::from_secs(2)).await;
        let other =
            manager("other.example.com").with_config(dialect_first.clone()).dial(to("sensor-2")).start().unwrap();
        until(|| waiting.counters().failures().contains_key("bad_name")).await;
        assert_eq!(waiting.counters().channels.load(Relaxed), 0);
        other.shutdown(Duration::from_secs(2)).await;
        let right = manager("manager.example.com").with_config(dialect_first).dial(to("sensor-2")).start().unwrap();
        submit(&waiting, 50..100).await;
        soon(waiting.drained()).await;
        assert_eq!(keep.texts(), expected(0..100));
        assert_eq!(right.connections()[0].peer.display(), "sensor-2");
    }
}

/// Panics at the first batch.
struct Clumsy(Keep, AtomicBool);

impl Handover for Clumsy {
    async fn hand_over(&self, alerts: Vec<Alert>) -> Vec<Status> {
        assert!(self.1.swap(true, Relaxed), "this panic is part of the test");
        self.0.hand_over(alerts).await
    }
}

#[tokio::test]
async fn a_handover_that_panics_costs_one_connection_and_no_alert() {
    let (pki, keep) = (Pki::new(), Keep::default());
    let clumsy = Clumsy(keep.clone(), AtomicBool::new(false));
    let manager = manager(&pki, clumsy).listen(listener().await).start().unwrap();
    let sensor = sensor(&pki).connect(endpoint(manager.local_addrs()[0])).start().unwrap();
    submit(&sensor, 0..20).await;
    soon(sensor.drained()).await;
    assert_eq!(keep.texts(), expected(0..20));
    assert_eq!(manager.counters().refused().get("handover"), Some(&1));
    assert_eq!(manager.connections().len(), 1);
}

#[tokio::test]
async fn a_shutdown_cuts_off_what_outlives_its_grace() {
    /// Never answers.
    struct Stuck;
    impl Handover for Stuck {
        async fn hand_over(&self, _alerts: Vec<Alert>) -> Vec<Status> {
            std::future::pending().await
        }
    }
    let pki = Pki::new();
    let manager = manager(&pki, Stuck).listen(listener().await).start().unwrap();
    let sensor = sensor(&pki).connect(endpoint(manager.local_addrs()[0])).start().unwrap();
    submit(&sensor, 0..1).await;
    until(|| manager.counters().received.load(Relaxed) == 1).await;
    let counters = Arc::clone(sensor.counters());
    soon(sensor.shutdown(Duration::from_millis(50))).await;
    assert!(!counters.connected.load(Relaxed));
    let overview = manager.overview();
    soon(manager.shutdown(Duration::from_millis(50))).await;
    assert!(overview().is_empty());
}

#[tokio::test]
async fn a_sensor_dials_or_waits_and_not_both() {
    let pki = Pki::new();
    assert!(sensor(&pki).start().is_err());
    let both = sensor(&pki).connect(endpoint("127.0.0.1:1".parse().unwrap())).listen(listener().await);
    assert!(both.start().is_err());
}

#[cfg(feature = "idmef")]
#[tokio::test]
async fn a_manager_takes_idmef_heartbeats() {
    let pki = Pki::new();
    let (handover, mut deliveries) = tokio::sync::mpsc::channel::<Delivery>(4);
    let manager = manager(&pki, handover).listen(listener().await).start().unwrap();
    let body = r#"<IDMEF-Message xmlns="http://iana.org/idmef" version="1.0"><Heartbeat messageid="7">
        <Analyzer analyzerid="hq-dmz-analyzer01"/>
        <CreateTime ntpstamp="0xbc722ebe.0x00000000">2000-03-09T14:07:58Z</CreateTime></Heartbeat></IDMEF-Message>"#;
    let make = Arc::new(move || ("application/x-idef-alert".parse().unwrap(), body.into()));
    let sensor = sensor(&pki).connect(endpoint(manager.local_addrs()[0]));
    let sensor = sensor.with_heartbeat(Duration::from_millis(20), make).start().unwrap();
    let delivery = soon(deliveries.recv()).await.unwrap();
    let message = delivery.alerts()[0].message.as_deref().unwrap();
    assert_eq!((message.items.len(), message.items[0].messageid().as_str()), (1, "7"));
    assert!(matches!(message.items[0], idmef::Item::Heartbeat(_)));
    delivery.accept();
    until(|| sensor.counters().heartbeats.load(Relaxed) > 0).await;
}
