//! What bad lines and NATs do to sessions over DTLS.

use std::sync::Arc;

use dots_callhome::ClientEvent;
use dots_callhome::body::{ConfigSet, Offered, SignalConfig};
use dots_tokio::client::CallHomeClientEvent;
use dots_tokio::client::ClientLimits;

use crate::relay::{Relay, Weather};
use crate::support::{
    CLIENT, Ca, Carrier, Filters, Pair, SERVER, WAIT, attack, backends, call, connected, listen, scope, until,
};

/// A pair with a relay in between.
async fn pair(backend: dots_tokio::Backend, weather: Weather, seed: u64) -> (Pair, Relay) {
    let carrier = Carrier::Dtls(backend);
    let ca = Ca::new("Test CA");
    let (client, address) = listen(carrier, ca.config(CLIENT), ClientLimits::default()).await;
    let events = client.events();
    let relay = Relay::new(address, weather, seed).await;
    let filters = Arc::new(Filters::default());
    let server = call(carrier, ca.config(SERVER), relay.address, &filters);
    (Pair { client, server, filters, events, address }, relay)
}

#[tokio::test]
async fn a_nat_that_rebinds_moves_the_session() {
    for backend in backends() {
        let (mut pair, relay) = pair(backend, Weather::default(), 1).await;
        connected(&mut pair.events).await;
        pair.client.mitigate_granted(SERVER, attack(), WAIT).await.unwrap();
        // Counters are in the answer that also promises notifications, which then come every few seconds.
        let notified = |event: &CallHomeClientEvent| match event {
            CallHomeClientEvent::Signal { event: ClientEvent::Status { scope }, .. } => scope.bytes_dropped.map(drop),
            _ => None,
        };
        until(&mut pair.events, "notification", notified).await;
        relay.rebind();
        let (from, to) = until(&mut pair.events, "move", |event| match event {
            CallHomeClientEvent::Moved { from, to, .. } => Some((*from, *to)),
            _ => None,
        })
        .await;
        assert_ne!(from, to);
        // And what is asked goes there.
        let second = scope("198.51.100.8/32", "192.0.2.10/32");
        pair.client.mitigate_granted(SERVER, second, WAIT).await.unwrap();
        assert_eq!(pair.filters.count(), 2);
        assert_eq!(pair.client.session_count(), 1);
        assert_eq!(pair.client.socket_stats()[0].handshakes, 1, "it is the same session");
        assert_eq!(pair.client.peers()[0].session.as_ref().unwrap().address, to);
    }
}

#[tokio::test]
async fn records_that_are_old_or_forged_move_nobody() {
    for backend in backends() {
        let (mut pair, relay) = pair(backend, Weather::default(), 1).await;
        connected(&mut pair.events).await;
        pair.client.mitigate_granted(SERVER, attack(), WAIT).await.unwrap();
        let before = pair.client.peers()[0].session.as_ref().unwrap().address;
        let thief = tokio::net::UdpSocket::bind(crate::support::loopback()).await.unwrap();
        let received = pair.client.socket_stats()[0].received;
        let seen = relay.seen();
        let records: Vec<_> = seen.iter().filter(|(dialler, d)| *dialler && d[0] == 23).map(|(_, d)| d).collect();
        let last = (*records.last().unwrap()).clone();
        let mut forged = last.clone();
        forged[10] = forged[10].wrapping_add(40);
        let count = records.len() as u64 + 1;
        for datagram in records.into_iter().chain([&forged]) {
            thief.send_to(datagram, pair.address).await.unwrap();
        }
        crate::support::eventually("all were looked at", || pair.client.socket_stats()[0].received >= received + count)
            .await;
        let stats = pair.client.socket_stats()[0];
        assert_eq!(stats.moved, 0, "{stats:?}");
        assert_eq!(pair.client.peers()[0].session.as_ref().unwrap().address, before);
        // The session goes on as if nothing had been.
        let second = scope("198.51.100.8/32", "192.0.2.10/32");
        pair.client.mitigate_granted(SERVER, second, WAIT).await.unwrap();
    }
}

#[tokio::test]
async fn a_record_that_comes_twice_is_taken_once() {
    for backend in backends() {
        let (mut pair, relay) = pair(backend, Weather::default(), 1).await;
        connected(&mut pair.events).await;
        relay.weather(Weather { duplicates: 100, ..Weather::default() });
        pair.client.mitigate_granted(SERVER, attack(), WAIT).await.unwrap();
        let info = pair.client.peers();
        let stats = info[0].session.as_ref().unwrap().stats;
        // CoAP would count them, had DTLS let them through.
        assert_eq!(stats.duplicates, 0, "{stats:?}");
    }
}

#[tokio::test]
async fn the_last_flight_is_a_datagram_of_its_own() {
    for backend in backends() {
        let (mut pair, relay) = pair(backend, Weather::default(), 1).await;
        connected(&mut pair.events).await;
        pair.client.mitigate_granted(SERVER, attack(), WAIT).await.unwrap();
        let mut mixed = 0;
        for (_, datagram) in relay.seen() {
            let (mut rest, mut kinds) = (&datagram[..], Vec::new());
            while rest.len() >= 13 {
                kinds.push(rest[0]);
                rest = &rest[(13 + usize::from(u16::from_be_bytes([rest[11], rest[12]]))).min(rest.len())..];
            }
            // Application data stands alone, from its first record.
            mixed += usize::from(kinds.contains(&23) && kinds.len() > 1);
        }
        assert_eq!(mixed, 0);
    }
}

/// Half of what is sent may be lost, come twice, or come late: a mitigation lands all the same.
#[tokio::test]
async fn a_mitigation_lands_in_any_weather() {
    let mut runs = tokio::task::JoinSet::new();
    for backend in backends() {
        for (seed, bad) in [0, 10, 30, 50].into_iter().enumerate() {
            runs.spawn(async move {
                let fair = Weather::default();
                let (mut pair, relay) = pair(backend, fair, seed as u64 + 7).await;
                connected(&mut pair.events).await;
                relay.weather(Weather { loss: bad, duplicates: bad, late: bad });
                let wait = WAIT * 4;
                let mid = pair.client.mitigate_granted(SERVER, attack(), wait).await;
                assert!(mid.is_ok(), "{backend:?} with {bad} %: {mid:?}");
                assert_eq!(pair.filters.count(), 1);
            });
        }
        // The handshake itself in bad weather, which its own repetitions must get over.
        for (seed, bad) in [10, 20].into_iter().enumerate() {
            runs.spawn(async move {
                let weather = Weather { loss: bad, duplicates: bad, late: bad };
                let (mut pair, _relay) = pair(backend, weather, seed as u64 + 99).await;
                tokio::time::timeout(WAIT * 4, connected(&mut pair.events)).await.unwrap();
                pair.client.mitigate_granted(SERVER, attack(), WAIT * 4).await.unwrap();
            });
        }
    }
    while let Some(done) = runs.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn settings_are_fetched_and_chosen() {
    for backend in backends() {
        let mut pair = Pair::new(Carrier::Dtls(backend)).await;
        let mut set = ConfigSet::default();
        set.heartbeat_interval = Some(Offered::current(20));
        pair.client.configure(SERVER, SignalConfig::new(Some(set.clone()), Some(set))).unwrap();
        until(&mut pair.events, "settings", |event| match event {
            CallHomeClientEvent::Signal { event: ClientEvent::Configured { config }, .. } => {
                (config.idle.heartbeat_interval == 20).then_some(())
            }
            _ => None,
        })
        .await;
    }
}
