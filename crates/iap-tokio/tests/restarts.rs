//! Either end is killed in mid-stream, at moments that chance picks, and started again: nothing that was acknowledged
//! is lost, and nothing is taken twice.

#![cfg(any(feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::*;
use iap_proto::Status;
use iap_tokio::manager::{Alert, Handover};
use iap_tokio::spool::{Durability, Record, Spool, SpoolConfig, SpoolError};
use iap_tokio::tls::Tls;
use iap_tokio::{Manager, Sensor};
use tokio::runtime::Runtime;

/// What outlives every manager, like a data base with a unique key: for each alert the manager that stored it, and
/// how often it was handed over by each.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<BTreeMap<String, Vec<usize>>>>);

/// One manager's access to the store.
struct Life {
    store: Store,
    number: usize,
}

impl Life {
    fn store(&self, alerts: &[Alert]) {
        let mut stored = self.store.0.lock().unwrap();
        for alert in alerts {
            stored.entry(String::from_utf8(alert.body.to_vec()).unwrap()).or_default().push(self.number);
        }
    }
}

impl Handover for Life {
    async fn hand_over(&self, alerts: Vec<Alert>) -> Vec<Status> {
        // A store takes its time, so that there is a moment between stored and answered.
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.store(&alerts);
        tokio::time::sleep(Duration::from_millis(2)).await;
        vec![Status::OK; alerts.len()]
    }
}

fn process() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A manager in a runtime of its own, which can be killed: its tasks vanish without a word, and the system closes what
/// was open.
async fn living(tls: &Tls, address: SocketAddr, life: Life) -> Runtime {
    let began = Instant::now();
    let listener = loop {
        // Its predecessor's last tasks may still hold the port for a moment.
        match tokio::net::TcpListener::bind(address).await {
            Ok(listener) => break listener.into_std().unwrap(),
            Err(error) => assert!(began.elapsed() < Duration::from_secs(10), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let (runtime, tls) = (process(), tls.clone());
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let _manager = Manager::builder(tls, life).listen(listener).start().unwrap();
        std::future::pending::<()>().await;
    });
    runtime
}

#[tokio::test]
async fn a_manager_killed_at_any_moment_loses_nothing_that_it_acknowledged() {
    const ALERTS: u32 = 6000;
    let (pki, store) = (Pki::new(), Store::default());
    let tls = pki.tls(Profile::Manager, "manager.example.com");
    let address = listener().await.local_addr().unwrap();
    let sensor = sensor(&pki)
        .with_retry(Duration::from_millis(5), Duration::from_millis(20))
        .connect(endpoint(address))
        .start()
        .unwrap();
    let mut chance = Chance(0x5eed);
    let mut lives = 0;
    for _ in 0..10 {
        lives += 1;
        let runtime = living(&tls, address, Life { store: store.clone(), number: lives }).await;
        // Sometimes in the setup, mostly in mid-stream.
        let before = sensor.counters().acked.load(Relaxed);
        submit(&sensor, (lives as u32 - 1) * ALERTS / 10..lives as u32 * ALERTS / 10).await;
        if lives % 4 != 0 {
            until(|| sensor.counters().acked.load(Relaxed) > before).await;
        }
        tokio::time::sleep(Duration::from_micros(chance.below(20_000))).await;
        runtime.shutdown_background();
        // What the sensor has let go of is in the store.
        let acked = sensor.counters().acked.load(Relaxed) as usize;
        assert!(store.0.lock().unwrap().len() >= acked);
    }
    let left = sensor.spool().stats().depth;
    assert!(left > 0, "the kills came too late to mean anything");
    let _last = Guard(Some(living(&tls, address, Life { store: store.clone(), number: lives + 1 }).await));
    soon(sensor.drained()).await;
    let stored = store.0.lock().unwrap();
    assert_eq!(stored.len(), ALERTS as usize);
    let mut again = 0;
    for n in 0..ALERTS {
        let lives = &stored[&format!("alert {n}")];
        assert!(lives.is_sorted_by(|a, b| a < b), "alert {n} was handed over twice by one manager: {lives:?}");
        again += lives.len() - 1;
    }
    // Stored, not acknowledged in time, and so stored again by the next manager: the window, at each kill, at most.
    assert!(again <= 64 * lives, "{again} came again");
    assert!(sensor.counters().channels.load(Relaxed) > 3, "{:?}", sensor.counters());
}

/// A runtime must not be dropped where it would wait.
struct Guard(Option<Runtime>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

struct TempDir(PathBuf);

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn open(path: &std::path::Path) -> Spool {
    let config = SpoolConfig::default().with_durability(Durability::ProcessKill);
    let began = Instant::now();
    loop {
        match Spool::open(path, config.clone()) {
            // The one before is still writing its settlements.
            Err(SpoolError::Locked { .. }) if began.elapsed() < Duration::from_secs(10) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            opened => return opened.unwrap(),
        }
    }
}

#[tokio::test]
async fn a_sensor_started_again_goes_on_with_its_spool() {
    const ALERTS: u32 = 3000;
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("restarts-{}", std::process::id()));
    let directory = TempDir(directory);
    let pki = Pki::new();
    let (tls, keep) = (pki.tls(Profile::Analyzer, "sensor-1"), Keep::default());
    let manager = manager(&pki, keep.clone()).listen(listener().await).start().unwrap();
    let address = manager.local_addrs()[0];
    let mut chance = Chance(0xfeed);
    let spool = open(&directory.0).await;
    let records = (0..ALERTS).map(|n| Record::new("text/plain", format!("alert {n}"))).collect();
    spool.append(records, None).await.unwrap();
    spool.close().await.unwrap();
    let mut lives = 0;
    loop {
        lives += 1;
        let spool = open(&directory.0).await;
        let before = spool.stats().depth;
        if before == 0 {
            break;
        }
        let (runtime, tls, life) = (process(), tls.clone(), spool.clone());
        runtime.spawn(async move {
            let sensor = Sensor::builder(tls, "manager.example.com", life).unwrap();
            let _sensor = sensor.connect(endpoint(address)).start().unwrap();
            std::future::pending::<()>().await;
        });
        // Killed somewhere on the way, but not for ever.
        let goal = if lives > 6 { 0 } else { before - before.min(1 + chance.below(400)) };
        until(|| spool.stats().depth <= goal).await;
        runtime.shutdown_background();
    }
    assert!(lives > 3, "{lives}");
    // The manager lived all the time, and knows what it has seen.
    let mut texts = keep.texts();
    texts.sort_unstable_by_key(|text| text["alert ".len()..].parse::<u32>().unwrap());
    assert_eq!(texts, expected(0..ALERTS));
}
