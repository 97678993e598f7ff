//! TCP urgent data: never sent, and the end of a connection on which it comes. draft-ietf-idwg-iap-01 section 6.2.

#![cfg(any(feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

#[cfg(target_os = "linux")]
use common::{raw::*, *};

#[cfg(not(target_os = "linux"))]
#[test]
fn urgent_data_is_not_noticed_here() {
    eprintln!("SKIPPED: only on Linux is there a way to be told about urgent data");
}

/// Sends one octet as urgent data.
#[cfg(target_os = "linux")]
fn send_urgent(tcp: &tokio::net::TcpStream) {
    assert_eq!(socket2::SockRef::from(tcp).send_out_of_band(b"!").unwrap(), 1);
}

#[cfg(target_os = "linux")]
fn misbehaved(counted: &std::collections::BTreeMap<&'static str, u64>) -> u64 {
    assert!(counted.keys().all(|name| *name == "misbehaved"), "{counted:?}");
    counted.get("misbehaved").copied().unwrap_or(0)
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn urgent_data_ends_the_connection() {
    let (pki, keep) = (Pki::new(), Keep::default());
    let manager = manager(&pki, keep.clone()).listen(listener().await).start().unwrap();
    let waiting = sensor(&pki).listen(listener().await).start().unwrap();
    let refused = || misbehaved(&manager.counters().refused());
    let failed = || misbehaved(&waiting.counters().failures());

    // Before TLS, at each step, at both.
    for (address, is_manager) in [(manager.local_addrs()[0], true), (waiting.local_addrs()[0], false)] {
        for steps in 0..3 {
            let counted = || if is_manager { refused() } else { failed() };
            let before = counted();
            let mut tcp = dial(address).await;
            if steps >= 1 {
                say(&mut tcp, CONNECT).await;
                expect(&mut tcp, OK).await;
            }
            if steps >= 2 {
                // In the handshake, which would wait for ten seconds more.
                say(&mut tcp, UPGRADE).await;
                expect(&mut tcp, SWITCH).await;
            }
            send_urgent(&tcp);
            assert!(!rest(&mut tcp).await.contains("IAP/"), "no status answers this");
            drop(tcp);
            until(|| counted() == before + 1).await;
        }
    }

    // In the data phase, at the manager.
    let tls = pki.tls(Profile::Analyzer, "sensor-1");
    let mut peer = scripted_analyzer(manager.local_addrs()[0], &tls).await;
    say(&mut peer, content("text/plain", "before")).await;
    expect(&mut peer, OK).await;
    let before = refused();
    send_urgent(peer.get_ref().0.get_ref());
    assert_eq!(rest(&mut peer).await, "");
    drop(peer);
    until(|| refused() == before + 1).await;
    assert_eq!(keep.texts(), ["before"]);

    // And at a sensor: what was not answered is sent again to the next manager.
    let hostile = listener().await;
    let sensor = sensor(&pki)
        .with_retry(std::time::Duration::from_millis(10), std::time::Duration::from_millis(20))
        .connect(endpoint(hostile.local_addr().unwrap()))
        .connect(endpoint(manager.local_addrs()[0]))
        .start()
        .unwrap();
    submit(&sensor, 0..3).await;
    let mut peer = scripted_manager(&hostile, &pki.tls(Profile::Manager, "manager.example.com")).await;
    drop(hostile);
    assert_eq!(body(&mut peer).await, "alert 0");
    send_urgent(peer.get_ref().0.get_ref());
    rest(&mut peer).await;
    drop(peer);
    soon(sensor.drained()).await;
    assert_eq!(sensor.counters().failures().get("misbehaved"), Some(&1));
    assert_eq!(keep.texts()[1..], expected(0..3));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_proxy_hands_urgent_octets_on_as_ordinary_ones() {
    use iap_tokio::Proxy;
    use iap_tokio::proxy::ProxyConfig;
    use tokio::io::AsyncReadExt as _;

    let hop = listener().await;
    let config = ProxyConfig::new("p.example.com".parse().unwrap(), hop.local_addr().unwrap().to_string());
    let proxy = Proxy::start(listener().await, config).unwrap();
    let mut initiator = dial(proxy.local_addr()).await;
    say(&mut initiator, CONNECT).await;
    let mut tcp = accept(&hop).await;
    head(&mut tcp).await;
    say(&mut tcp, OK).await;
    head(&mut initiator).await;
    say(&mut initiator, "a").await;
    send_urgent(&initiator);
    say(&mut initiator, "b").await;
    // An urgent octet would be missing here, were it handed on as what it was.
    expect(&mut tcp, "a!b").await;
    assert!(socket2::SockRef::from(&tcp).recv_out_of_band(&mut [std::mem::MaybeUninit::uninit(); 1]).is_err());
    send_urgent(&tcp);
    let mut octet = [0];
    soon(initiator.read_exact(&mut octet)).await.unwrap();
    assert_eq!(&octet, b"!");
}
