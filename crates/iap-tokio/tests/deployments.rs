//! Everything that a deployment may be: who dials, over how many proxies, under which version of TLS, in a new session
//! and a resumed one.
//!
//! | dials | data | here |
//! | --- | --- | --- |
//! | analyzer | alerts | delivered |
//! | manager | alerts | delivered |
//! | analyzer | commands | answered 501: section 2.2 leaves them open, and neither end implements them |
//! | manager | commands | answered 501 |

#![cfg(any(feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use common::raw::*;
use common::*;
use iap_proto::Status;
use iap_tokio::proxy::ProxyConfig;
use iap_tokio::tls::Tls;
use iap_tokio::{Endpoint, Manager, Proxy};
use tokio::net::TcpListener;

/// So many proxies in front of `to`, the first of which is dialled.
async fn proxies(count: usize, to: SocketAddr) -> (Vec<Proxy>, SocketAddr) {
    let (mut proxies, mut front) = (Vec::new(), to);
    for n in 0..count {
        let config = ProxyConfig::new(format!("p{n}.example.com").parse().unwrap(), front.to_string());
        let proxy = Proxy::start(listener().await, config).unwrap();
        front = proxy.local_addr();
        proxies.push(proxy);
    }
    (proxies, front)
}

struct Case {
    name: String,
    manager_tls: Tls,
    analyzer_tls: Tls,
    count: usize,
}

impl Case {
    async fn analyzer_dials(&self, pki: &Pki) {
        let keep = Keep::default();
        let mut listening: TcpListener = listener().await;
        let address = listening.local_addr().unwrap();
        let (proxies, front) = proxies(self.count, address).await;
        let spool = iap_tokio::spool::Spool::in_memory(Default::default()).unwrap();
        let sensor = iap_tokio::Sensor::builder(self.analyzer_tls.clone(), "manager.example.com", spool)
            .unwrap()
            .with_retry(Duration::from_millis(5), Duration::from_millis(20))
            .connect(endpoint(front))
            .start()
            .unwrap();
        for round in 0..2 {
            let manager = Manager::builder(self.manager_tls.clone(), keep.clone()).listen(listening).start().unwrap();
            submit(&sensor, round * 10..round * 10 + 10).await;
            soon(sensor.drained()).await;
            assert_eq!(manager.counters().resumed.load(Relaxed), u64::from(round), "{}", self.name);
            assert_eq!(sensor.counters().resumed.load(Relaxed), u64::from(round), "{}", self.name);
            assert_eq!(manager.counters().refused(), Default::default(), "{}", self.name);
            if round == 1 {
                let tls = self.other(pki, Profile::Analyzer, "sensor-2");
                let mut peer = analyzer_in_tls(front, &tls).await;
                say(&mut peer, RECEIVER).await;
                assert_eq!(rest(&mut peer).await, status(Status::NOT_IMPLEMENTED.code()), "{}", self.name);
            }
            soon(manager.shutdown(Duration::from_secs(5))).await;
            listening = TcpListener::bind(address).await.unwrap();
        }
        assert_eq!(keep.texts(), expected(0..20), "{}", self.name);
        drop(proxies);
    }

    async fn manager_dials(&self, pki: &Pki) {
        let keep = Keep::default();
        let spool = iap_tokio::spool::Spool::in_memory(Default::default()).unwrap();
        let sensor = iap_tokio::Sensor::builder(self.analyzer_tls.clone(), "manager.example.com", spool)
            .unwrap()
            .listen(listener().await)
            .start()
            .unwrap();
        let (proxies, front) = proxies(self.count, sensor.local_addrs()[0]).await;
        for round in 0..2 {
            let analyzer = Endpoint::new(front.to_string(), "sensor-1".parse().unwrap());
            let manager = Manager::builder(self.manager_tls.clone(), keep.clone()).dial(analyzer).start().unwrap();
            submit(&sensor, round * 10..round * 10 + 10).await;
            soon(sensor.drained()).await;
            // The analyzer is the TLS client, so the session is the one that it remembers, though it was dialled.
            assert_eq!(manager.counters().resumed.load(Relaxed), u64::from(round), "{}", self.name);
            assert_eq!(sensor.counters().resumed.load(Relaxed), u64::from(round), "{}", self.name);
            soon(manager.shutdown(Duration::from_secs(5))).await;
        }
        assert_eq!(sensor.counters().failures(), Default::default(), "{}", self.name);
        let tls = self.other(pki, Profile::Manager, "manager.example.com");
        let mut peer = dialling_manager_in_tls(front, &tls).await;
        say(&mut peer, SENDER).await;
        assert_eq!(rest(&mut peer).await, status(Status::NOT_IMPLEMENTED.code()), "{}", self.name);
        assert_eq!(keep.texts(), expected(0..20), "{}", self.name);
        drop(proxies);
    }

    /// A certificate for somebody else, with the same version of TLS as everybody in this case.
    fn other(&self, pki: &Pki, profile: Profile, name: &str) -> Tls {
        let version = if self.name.contains("Tls12") { Version::Tls12 } else { Version::Tls13 };
        version.only(pki.config(profile, name))
    }
}

#[tokio::test]
async fn alerts_arrive_and_commands_are_refused_in_every_deployment() {
    let pki = Pki::new();
    for version in [Version::Tls12, Version::Tls13] {
        for count in 0..3 {
            for manager_dials in [false, true] {
                let case = Case {
                    name: format!("{version:?}, {count} proxies, manager dials: {manager_dials}"),
                    manager_tls: version.only(pki.config(Profile::Manager, "manager.example.com")),
                    analyzer_tls: version.only(pki.config(Profile::Analyzer, "sensor-1")),
                    count,
                };
                if manager_dials { case.manager_dials(&pki).await } else { case.analyzer_dials(&pki).await }
            }
        }
    }
}
