//! What runs ends with its handle: sockets are closed, connections too, and no task is left.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use common::*;
use iap_tokio::Proxy;
use iap_tokio::proxy::ProxyConfig;
use tokio::net::TcpStream;

/// Tasks of this test's runtime.
fn alive() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// Waits until nobody listens there.
async fn nobody_at(address: SocketAddr) {
    soon(async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_dropped_manager_sensor_or_proxy_leaves_nothing_behind() {
    let (pki, keep, before) = (Pki::new(), Keep::default(), alive());
    let manager = manager(&pki, keep.clone()).listen(listener().await).start().unwrap();
    let address = manager.local_addrs()[0];
    let proxy = ProxyConfig::new("p.example.com".parse().unwrap(), address.to_string());
    let proxy = Proxy::start(listener().await, proxy).unwrap();
    let sensor = sensor(&pki).connect(endpoint(proxy.local_addr())).start().unwrap();
    let (counters, spool) = (sensor.counters().clone(), sensor.spool().clone());
    submit(&sensor, 0..3).await;
    soon(sensor.drained()).await;

    // In the midst of a channel.
    drop(sensor);
    until(|| manager.connections().is_empty() && proxy.counters().open.load(Relaxed) == 0).await;
    assert!(!counters.connected.load(Relaxed));
    spool.append(vec![iap_tokio::spool::Record::new("text/plain", "later")], None).await.unwrap();
    assert_eq!(spool.stats().depth, 1, "the spool goes on, and keeps what nobody sends");
    spool.close().await.unwrap();

    let front = proxy.local_addr();
    drop(proxy);
    nobody_at(front).await;
    drop(manager);
    nobody_at(address).await;
    until(|| alive() == before).await;
}

#[tokio::test]
async fn a_dropped_manager_dials_no_more_and_a_dropped_sensor_waits_no_more() {
    let (pki, keep, before) = (Pki::new(), Keep::default(), alive());
    let sensor = sensor(&pki).listen(listener().await).start().unwrap();
    let address = sensor.local_addrs()[0];
    let manager = manager(&pki, keep.clone()).dial(endpoint(address)).start().unwrap();
    submit(&sensor, 0..3).await;
    soon(sensor.drained()).await;
    // A connection whose setup has only begun.
    let half = TcpStream::connect(address).await.unwrap();

    drop(manager);
    until(|| !sensor.counters().connected.load(Relaxed)).await;
    drop(sensor);
    nobody_at(address).await;
    until(|| alive() == before).await;
    drop(half);
}

#[tokio::test]
async fn a_shutdown_that_is_given_up_cuts_off() {
    let (pki, before) = (Pki::new(), alive());
    let manager = manager(&pki, Keep::default()).listen(listener().await).start().unwrap();
    let address = manager.local_addrs()[0];
    let proxy = ProxyConfig::new("p.example.com".parse().unwrap(), address.to_string());
    let proxy = Proxy::start(listener().await, proxy).unwrap();
    let sensor = sensor(&pki).connect(endpoint(proxy.local_addr())).start().unwrap();
    until(|| proxy.counters().open.load(Relaxed) == 1).await;
    // The pipe would go on for a day.
    let given_up = tokio::time::timeout(Duration::from_millis(20), proxy.shutdown(Duration::from_secs(86_400))).await;
    assert!(given_up.is_err());
    until(|| manager.connections().is_empty()).await;
    drop((sensor, manager));
    until(|| alive() == before).await;
}
