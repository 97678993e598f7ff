//! How many round trips pass between the TCP connection and the first alert.

#![cfg(any(feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::*;
use iap_tokio::spool::{Spool, SpoolConfig};
use iap_tokio::{Manager, Sensor};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// How long an octet takes, either way.
const DELAY: Duration = Duration::from_millis(40);

/// Who spoke, in the order in which it passed: `true` for the initiator, with the time since the connection.
type Turns = Arc<Mutex<Vec<(bool, Duration)>>>;

/// Hands octets on, each piece later by the delay, and none waiting for another.
async fn hand_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, initiator: bool, began: Instant, turns: Turns) {
    let (queue_in, mut queue) = tokio::sync::mpsc::unbounded_channel::<(tokio::time::Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((due, octets)) = queue.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&octets).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        let mut turns = turns.lock().unwrap();
        if turns.last().is_none_or(|(who, _)| *who != initiator) {
            turns.push((initiator, began.elapsed()));
        }
        let _ = queue_in.send((tokio::time::Instant::now() + DELAY, buffer[..len].to_vec()));
    }
}

/// A long way between an initiator and `to`; the turns of each connection.
async fn long_way(to: SocketAddr) -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<Turns>) {
    let listener: TcpListener = listener().await;
    let address = listener.local_addr().unwrap();
    let (connections_in, connections) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let (began, turns) = (Instant::now(), Turns::default());
            let far = TcpStream::connect(to).await.unwrap();
            near.set_nodelay(true).unwrap();
            far.set_nodelay(true).unwrap();
            let _ = connections_in.send(Arc::clone(&turns));
            let (near_in, near_out) = near.into_split();
            let (far_in, far_out) = far.into_split();
            tokio::spawn(hand_on(near_in, far_out, true, began, Arc::clone(&turns)));
            tokio::spawn(hand_on(far_in, near_out, false, began, turns));
        }
    });
    (address, connections)
}

#[tokio::test]
async fn four_round_trips_to_the_first_alert_and_five_for_a_new_session_under_tls_1_2() {
    for (version, resumed, expected) in
        [(Version::Tls13, false, 4), (Version::Tls13, true, 4), (Version::Tls12, false, 5), (Version::Tls12, true, 4)]
    {
        let (pki, keep) = (Pki::new(), Keep::default());
        let tls = version.only(pki.config(Profile::Manager, "manager.example.com"));
        let manager = Manager::builder(tls, keep.clone()).listen(listener().await).start().unwrap();
        let analyzer = version.only(pki.config(Profile::Analyzer, "sensor-1"));
        let (address, mut connections) = long_way(manager.local_addrs()[0]).await;
        for n in 0..=u32::from(resumed) {
            let spool = Spool::in_memory(SpoolConfig::default()).unwrap();
            let sensor = Sensor::builder(analyzer.clone(), "manager.example.com", spool).unwrap();
            let sensor = sensor.connect(endpoint(address)).start().unwrap();
            submit(&sensor, n..n + 1).await;
            soon(sensor.drained()).await;
            assert_eq!(sensor.counters().resumed.load(Relaxed), u64::from(n));
            sensor.shutdown(Duration::from_secs(2)).await;
            let turns = connections.recv().await.unwrap().lock().unwrap().clone();
            if n < u32::from(resumed) {
                continue;
            }
            // The initiator's turns are one for each request, and one with the alert: each round trip is one of its
            // turns answered.
            let spoken: Vec<Duration> =
                turns.iter().filter(|(initiator, _)| *initiator).map(|(_, when)| *when).collect();
            let alert = spoken[expected];
            let trips = alert.as_secs_f64() / (2 * DELAY).as_secs_f64();
            eprintln!("{version:?}, resumed {resumed}: {trips:.2} round trips, alert after {alert:?}, {turns:?}");
            // The alert, and the goodbye that follows its answer.
            assert_eq!(spoken.len(), expected + 2, "{version:?} {resumed} {turns:?}");
            // A busy machine may make it longer.
            assert!(trips >= expected as f64, "{version:?} {resumed}: {trips}");
        }
    }
}
