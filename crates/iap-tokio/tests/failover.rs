//! Which manager a sensor turns to, and how soon.

#![cfg(any(feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::raw::*;
use common::*;
use iap_proto::{Config, Limits, Party, Status};
use iap_tokio::Manager;
use iap_tokio::manager::{Alert, Handover};
use iap_tokio::spool::Record;

const QUICK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(20));

#[tokio::test]
async fn managers_are_tried_in_their_order_every_time() {
    let pki = Pki::new();
    let keeps = [Keep::default(), Keep::default(), Keep::default()];
    let mut addresses = Vec::new();
    for _ in 0..3 {
        // Nobody is there yet.
        addresses.push(listener().await.local_addr().unwrap());
    }
    let start = async |n: usize| {
        let listener = tokio::net::TcpListener::bind(addresses[n]).await.unwrap();
        manager(&pki, keeps[n].clone()).listen(listener).start().unwrap()
    };
    let third = start(2).await;
    let mut sensor = sensor(&pki).with_retry(QUICK.0, QUICK.1);
    for address in &addresses {
        sensor = sensor.connect(endpoint(*address));
    }
    let sensor = sensor.start().unwrap();
    submit(&sensor, 0..10).await;
    soon(sensor.drained()).await;
    assert_eq!(keeps[2].texts(), expected(0..10));
    assert_eq!(sensor.counters().failures(), [("io", 2)].into());
    // A better one appears: it is used from the next attempt on, not before.
    let second = start(1).await;
    submit(&sensor, 10..20).await;
    soon(sensor.drained()).await;
    assert_eq!(keeps[2].texts(), expected(0..20));
    soon(third.shutdown(Duration::from_secs(5))).await;
    submit(&sensor, 20..30).await;
    soon(sensor.drained()).await;
    assert_eq!(keeps[1].texts(), expected(20..30));
    let _first = start(0).await;
    soon(second.shutdown(Duration::from_secs(5))).await;
    submit(&sensor, 30..40).await;
    soon(sensor.drained()).await;
    assert_eq!(keeps[0].texts(), expected(30..40));
}

#[tokio::test]
async fn an_alert_too_large_for_one_manager_goes_to_the_next() {
    let (pki, small, large) = (Pki::new(), Keep::default(), Keep::default());
    let config = Config::builder(Party::Manager).with_limits(Limits::default().with_body(100)).build().unwrap();
    let first = manager(&pki, small.clone()).with_config(config).listen(listener().await).start().unwrap();
    let second = manager(&pki, large.clone()).listen(listener().await).start().unwrap();
    let sensor = sensor(&pki)
        .with_retry(QUICK.0, QUICK.1)
        .connect(endpoint(first.local_addrs()[0]))
        .connect(endpoint(second.local_addrs()[0]))
        .start()
        .unwrap();
    submit(&sensor, 0..3).await;
    sensor.spool().append(vec![Record::new("text/plain", "x".repeat(101))], None).await.unwrap();
    submit(&sensor, 3..6).await;
    soon(sensor.drained()).await;
    assert_eq!(small.texts(), expected(0..3));
    let texts = large.texts();
    assert_eq!((texts[0].len(), &texts[1..]), (101, &expected(3..6)[..]));
    assert!(sensor.spool().dead_letters(0, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_manager_that_stays_after_413_is_left_for_the_next() {
    let (pki, keep) = (Pki::new(), Keep::default());
    let (odd, tls) = (listener().await, pki.tls(Profile::Manager, "manager.example.com"));
    let good = manager(&pki, keep.clone()).listen(listener().await).start().unwrap();
    let sensor = sensor(&pki)
        .with_retry(QUICK.0, QUICK.1)
        .connect(endpoint(odd.local_addr().unwrap()))
        .connect(endpoint(good.local_addrs()[0]))
        .start()
        .unwrap();
    submit(&sensor, 0..3).await;
    let mut peer = scripted_manager(&odd, &tls).await;
    for (n, code) in [(0, 200), (1, 413), (2, 200)] {
        assert_eq!(body(&mut peer).await, format!("alert {n}"));
        say(&mut peer, status(code)).await;
    }
    // It answered everything and would go on. The alert would wait until something else ends the connection.
    assert_eq!(rest(&mut peer).await, "");
    drop(peer);
    soon(sensor.drained()).await;
    assert_eq!(keep.texts(), ["alert 1"]);
}

#[tokio::test]
async fn waits_grow_and_become_short_again_with_progress() {
    let (min, max) = (Duration::from_millis(20), Duration::from_millis(640));
    let (pki, manager) = (Pki::new(), listener().await);
    let tls = pki.tls(Profile::Manager, "manager.example.com");
    let sensor = sensor(&pki).with_retry(min, max).connect(endpoint(manager.local_addr().unwrap())).start().unwrap();
    let mut waits = Vec::new();
    let mut closed = Instant::now();
    for _ in 0..9 {
        let tcp = accept(&manager).await;
        waits.push(closed.elapsed());
        closed = Instant::now();
        reset(tcp);
    }
    // Never earlier than half of the shortest wait, and by the sixth (the first needed none) longer than it ever was.
    assert!(waits[1..].iter().all(|wait| *wait >= min / 2), "{waits:?}");
    let later: Duration = waits[5..].iter().sum();
    assert!(later > 5 * min, "{waits:?}");
    // One delivered alert shortens every wait after it.
    let mut total = Duration::ZERO;
    for n in 0..4 {
        submit(&sensor, n..n + 1).await;
        let mut peer = scripted_manager(&manager, &tls).await;
        if n > 0 {
            total += closed.elapsed();
        }
        assert_eq!(body(&mut peer).await, format!("alert {n}"));
        say(&mut peer, OK).await;
        until(|| sensor.counters().acked.load(Relaxed) == u64::from(n) + 1).await;
        drop(peer);
        closed = Instant::now();
    }
    assert!(total < 3 * min + Duration::from_millis(450), "{total:?}");
}

/// Takes the first alert, and then none for now.
#[derive(Clone, Default)]
struct Overloaded(Arc<Mutex<Vec<Instant>>>);

impl Handover for Overloaded {
    async fn hand_over(&self, alerts: Vec<Alert>) -> Vec<Status> {
        let mut calls = self.0.lock().unwrap();
        calls.push(Instant::now());
        vec![if calls.len() == 1 { Status::OK } else { Status::SERVICE_UNAVAILABLE }; alerts.len()]
    }
}

#[tokio::test]
async fn an_overloaded_manager_is_asked_less_and_less_often() {
    let (pki, overloaded) = (Pki::new(), Overloaded::default());
    let manager: Manager = manager(&pki, overloaded.clone()).listen(listener().await).start().unwrap();
    let sensor = sensor(&pki).connect(endpoint(manager.local_addrs()[0])).start().unwrap();
    submit(&sensor, 0..1).await;
    soon(sensor.drained()).await;
    submit(&sensor, 1..2).await;
    pause(4500).await;
    // Waits of at most half a second each would be nine or more.
    let calls = overloaded.0.lock().unwrap().len() - 1;
    assert!((2..9).contains(&calls), "{calls} times in 4.5 s");
}
