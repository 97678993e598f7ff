//! Floods, noise, and peers that take their time.

use std::sync::Arc;
use std::time::Duration;

use dots_tokio::SecurityConfig;
use dots_tokio::client::{CallHomeClientEvent, ClientLimits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use crate::support::{
    CLIENT, Ca, Carrier, Filters, GRACE, SERVER, WAIT, attack, backends, call, carriers, connected, eventually, listen,
    loopback, until,
};

/// A ClientHello of DTLS 1.2 with a cookie.
fn hello(random: u64, sequence: u8, cookie: &[u8]) -> Vec<u8> {
    let mut body = vec![0xfe, 0xfd];
    body.extend_from_slice(&[3; 24]);
    body.extend_from_slice(&random.to_be_bytes());
    body.extend_from_slice(&[0, cookie.len() as u8]);
    body.extend_from_slice(cookie);
    // ECDHE-ECDSA-AES128-GCM; no compression; extended master secret, P-256, its points, ECDSA with SHA-256.
    body.extend_from_slice(&[0, 2, 0xc0, 0x2b, 1, 0, 0, 28]);
    body.extend_from_slice(&[0, 23, 0, 0, 0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 4, 0, 2, 4, 3]);
    let extensions = body.len() - (2 + 32 + 2 + cookie.len() + 4 + 2 + 2);
    let at = 2 + 32 + 2 + cookie.len() + 6;
    body[at..at + 2].copy_from_slice(&(extensions as u16).to_be_bytes());
    let length = body.len() as u8;
    let mut record = vec![22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, sequence, 0, length + 12];
    record.extend_from_slice(&[1, 0, 0, length, 0, sequence, 0, 0, 0, 0, 0, length]);
    record.extend_from_slice(&body);
    record
}

async fn answer(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 2048];
    let length = tokio::time::timeout(WAIT, socket.recv(&mut buffer)).await.unwrap().unwrap();
    buffer.truncate(length);
    buffer
}

#[tokio::test]
async fn hellos_without_a_cookie_leave_nothing_and_are_not_amplified() {
    for backend in backends() {
        let ca = Ca::new("ours");
        let (client, address) = listen(Carrier::Dtls(backend), ca.config(CLIENT), ClientLimits::default()).await;
        let socket = UdpSocket::bind(loopback()).await.unwrap();
        socket.connect(address).await.unwrap();
        for random in 0..500 {
            let hello = hello(random, 0, &[]);
            socket.send(&hello).await.unwrap();
            assert!(answer(&socket).await.len() < hello.len());
        }
        // A cookie that is not ours is none.
        socket.send(&hello(1, 1, &[9; 32])).await.unwrap();
        assert_eq!(answer(&socket).await.len(), 60);
        let stats = client.socket_stats()[0];
        assert_eq!((stats.cookies, stats.handshakes), (501, 0), "{stats:?}");
    }
}

#[tokio::test]
async fn handshakes_that_stop_half_way_are_bounded_and_end() {
    for backend in backends() {
        let ca = Ca::new("ours");
        let mut limits = ClientLimits::default();
        limits.handshakes_per_address = 5;
        let config = ca.config(CLIENT).with_handshake_timeout(Duration::from_secs(2));
        let (client, address) = listen(Carrier::Dtls(backend), config, limits).await;
        let mut events = client.events();
        for random in 0..20 {
            let socket = UdpSocket::bind(loopback()).await.unwrap();
            socket.connect(address).await.unwrap();
            socket.send(&hello(random, 0, &[])).await.unwrap();
            let request = answer(&socket).await;
            assert_eq!(request[13], 3, "a request for a cookie");
            socket.send(&hello(random, 1, &request[28..60])).await.unwrap();
            if random < 5 {
                let flight = answer(&socket).await;
                assert_eq!((flight[0], flight[13]), (22, 2), "a ServerHello");
            }
        }
        eventually("all were looked at", || client.socket_stats()[0].received == 40).await;
        let stats = client.socket_stats()[0];
        assert_eq!((stats.handshakes, stats.refused), (5, 15), "{stats:?}");
        // When they have ended, there is room for who means it.
        let filters = Arc::new(Filters::default());
        let _server = call(Carrier::Dtls(backend), ca.config(SERVER), address, &filters);
        assert_eq!(connected(&mut events).await, SERVER);
        assert_eq!(client.socket_stats()[0].failed, 5);
    }
}

#[tokio::test]
async fn noise_harms_nobody() {
    for carrier in carriers() {
        let ca = Ca::new("ours");
        let (client, address) = listen(carrier, ca.config(CLIENT), ClientLimits::default()).await;
        let mut events = client.events();
        let filters = Arc::new(Filters::default());
        let _server = call(carrier, ca.config(SERVER), address, &filters);
        connected(&mut events).await;
        let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
        for round in 0..300_usize {
            let octets: Vec<u8> = (0..round)
                .map(|_| {
                    noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (noise >> 56) as u8
                })
                .collect();
            match carrier {
                Carrier::Tls if round % 30 == 0 => {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    let _ = stream.write_all(&octets).await;
                }
                Carrier::Tls => {}
                Carrier::Dtls(_) => {
                    let socket = UdpSocket::bind(loopback()).await.unwrap();
                    // Half of it begins like a record.
                    let mut datagram = octets;
                    for (to, from) in datagram.iter_mut().zip([23, 0xfe, 0xfd, 0, 1]).take(5 * (round % 2)) {
                        *to = from;
                    }
                    socket.send_to(&datagram, address).await.unwrap();
                }
            }
        }
        client.mitigate_granted(SERVER, attack(), WAIT).await.unwrap();
        assert_eq!(client.session_count(), 1);
    }
}

#[tokio::test]
async fn connections_that_say_nothing_are_bounded_and_closed() {
    let ca = Ca::new("ours");
    let mut limits = ClientLimits::default();
    limits.handshakes_per_address = 3;
    let config = ca.config(CLIENT).with_handshake_timeout(Duration::from_millis(500));
    let (client, address) = listen(Carrier::Tls, config, limits).await;
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    eventually("some were refused", || client.refused_connections() == 3).await;
    for mut stream in silent {
        let mut end = [0; 1];
        let read = tokio::time::timeout(WAIT, stream.read(&mut end)).await.unwrap();
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
    let mut events = client.events();
    let filters = Arc::new(Filters::default());
    let _server = call(Carrier::Tls, ca.config(SERVER), address, &filters);
    connected(&mut events).await;
}

#[tokio::test]
async fn there_are_no_more_sessions_than_there_may_be() {
    for carrier in carriers() {
        let ca = Ca::new("ours");
        let mut limits = ClientLimits::default();
        limits.sessions = 1;
        let (client, address) = listen(carrier, ca.config(CLIENT), limits).await;
        let mut events = client.events();
        let filters = Arc::new(Filters::default());
        let first = call(carrier, ca.config(SERVER), address, &filters);
        connected(&mut events).await;
        let second = ca.config("second.example").with_handshake_timeout(Duration::from_millis(500));
        let _second = call(carrier, second, address, &filters);
        let refused = || client.refused_connections() + client.socket_stats().iter().map(|s| s.refused).sum::<u64>();
        eventually(&format!("the second is refused over {carrier:?}"), || refused() > 0).await;
        assert_eq!(client.session_count(), 1);
        first.shutdown(GRACE, false).await;
        assert_eq!(connected(&mut events).await, "second.example", "there is room again");
    }
}

#[tokio::test]
async fn the_same_peer_has_one_session_and_the_later_one_counts() {
    for carrier in carriers() {
        let ca = Ca::new("ours");
        let (client, address) = listen(carrier, ca.config(CLIENT), ClientLimits::default()).await;
        let mut events = client.events();
        let filters = Arc::new(Filters::default());
        let first = call(carrier, ca.config(SERVER), address, &filters);
        connected(&mut events).await;
        first.shutdown(GRACE, false).await;
        let config: SecurityConfig = ca.config(SERVER);
        let _again = call(carrier, config, address, &filters);
        connected(&mut events).await;
        client.mitigate_granted(SERVER, attack(), WAIT).await.unwrap();
        assert_eq!((client.session_count(), client.peers().len()), (1, 1));
    }
}

#[tokio::test]
async fn sessions_that_stay_silent_are_forgotten_when_nothing_is_asked_of_them() {
    for backend in backends() {
        let ca = Ca::new("ours");
        let mut limits = ClientLimits::default();
        limits.silence = Duration::from_millis(800);
        let (client, address) = listen(Carrier::Dtls(backend), ca.config(CLIENT), limits).await;
        let mut events = client.events();
        let filters = Arc::new(Filters::default());
        let relay = crate::relay::Relay::new(address, crate::relay::Weather::default(), 1).await;
        let _server = call(Carrier::Dtls(backend), ca.config(SERVER), relay.address, &filters);
        connected(&mut events).await;
        relay.weather(crate::relay::Weather { loss: 100, ..Default::default() });
        until(&mut events, "end of the silent session", |event| match event {
            CallHomeClientEvent::Disconnected { why, .. } => Some(why.clone()),
            _ => None,
        })
        .await;
        assert_eq!(client.session_count(), 0);
    }
}
