//! Peers that break the protocol at every step: each gets the status that tells why, or a plain end; is counted once;
//! and nobody else notices.

#![cfg(any(feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use common::raw::*;
use common::*;
use iap_proto::{Config, Host, Party};
use iap_tokio::proxy::ProxyConfig;
use iap_tokio::tls::{Claim, Tls, TlsStream, manager_name};
use iap_tokio::{Endpoint, Manager, Proxy, Sensor};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

const CONTENT: &str = "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi\r\n\r\n";

fn total(counted: &BTreeMap<&'static str, u64>) -> u64 {
    counted.values().sum()
}

/// What a responder in clear text is told, what it answers, and under which name it counts that.
fn clear_text_attacks() -> Vec<(&'static str, Vec<u8>, u16, &'static str)> {
    let long = [b"IAP/0.3 CONNECT ".as_slice(), &b"a".repeat(64 * 1024), b"\r\n\r\n"].concat();
    let lines = format!("IAP/0.3 CONNECT m\r\n{}\r\n", "IAP/0.3 Via: p\r\n".repeat(17));
    let named = |text: String| text.into_bytes();
    vec![
        ("content before tls", named(CONTENT.into()), 400, "invalid_message"),
        ("upgrade before connect", named(UPGRADE.into()), 400, "misbehaved"),
        ("channel setup before connect", named(SENDER.into()), 400, "misbehaved"),
        ("an answer", named(OK.into()), 400, "invalid_message"),
        ("upgrade glued to connect", named([CONNECT, UPGRADE].concat()), 400, "misbehaved"),
        ("content glued to connect", named([CONNECT, CONTENT].concat()), 400, "misbehaved"),
        ("a version of the future", named("IAP/1.0 CONNECT m\r\n\r\n".into()), 505, "incompatible"),
        ("another dialect", named("CONNECT m:1443 IAP/0.5\r\nHost: m\r\n\r\n".into()), 505, "incompatible"),
        ("http", named("GET / HTTP/1.1\r\nHost: m\r\n\r\n".into()), 400, "invalid_message"),
        ("no host", named("IAP/0.3 CONNECT \r\n\r\n".into()), 400, "invalid_message"),
        ("a nul in the host", named("IAP/0.3 CONNECT a\0b\r\n\r\n".into()), 400, "invalid_message"),
        (
            "tls at once",
            [b"\x16\x03\x01\x00\x05\x01\x00\r\n\r\n".as_slice(), &[0xff; 64]].concat(),
            400,
            "invalid_message",
        ),
        ("octets of no meaning", (0..=255).cycle().take(3000).collect(), 400, "invalid_message"),
        ("a line of 64 KiB", long, 400, "limit"),
        ("seventeen proxies", named(lines), 502, "limit"),
    ]
}

/// A service under attack: where it is, and what it has counted.
struct Target {
    address: SocketAddr,
    counted: Box<dyn Fn() -> BTreeMap<&'static str, u64>>,
}

impl Target {
    /// Waits until exactly one more is counted than in `before`, and says under which name.
    async fn one_more(&self, before: &BTreeMap<&'static str, u64>, attack: &str) -> &'static str {
        let counted = || total(&(self.counted)());
        if tokio::time::timeout(Duration::from_secs(10), async {
            while counted() == total(before) {
                pause(2).await;
            }
        })
        .await
        .is_err()
        {
            panic!("{attack}: not counted");
        }
        let after = (self.counted)();
        assert_eq!(total(&after), total(before) + 1, "{attack}: counted once");
        after.into_iter().find(|(name, count)| before.get(name) != Some(count)).unwrap().0
    }
}

fn of_manager(manager: &Manager) -> Target {
    let counters = Arc::clone(manager.counters());
    Target { address: manager.local_addrs()[0], counted: Box::new(move || counters.refused()) }
}

fn of_sensor(sensor: &Sensor) -> Target {
    let counters = Arc::clone(sensor.counters());
    Target { address: sensor.local_addrs()[0], counted: Box::new(move || counters.failures()) }
}

#[tokio::test]
async fn a_responder_answers_each_attack_in_clear_text_and_goes_on() {
    let (pki, keep) = (Pki::new(), Keep::default());
    let manager = manager(&pki, keep.clone()).listen(listener().await).start().unwrap();
    let waiting = sensor(&pki).listen(listener().await).start().unwrap();
    for target in [of_manager(&manager), of_sensor(&waiting)] {
        for (attack, octets, code, reason) in clear_text_attacks() {
            let before = (target.counted)();
            let mut tcp = dial(target.address).await;
            say(&mut tcp, &octets).await;
            assert_eq!(rest(&mut tcp).await, status(code), "{attack}");
            drop(tcp);
            assert_eq!(target.one_more(&before, attack).await, reason, "{attack}");
        }
        // After an accepted CONNECT.
        for (attack, octets) in [
            ("connect again", CONNECT.as_bytes()),
            ("content instead of upgrade", CONTENT.as_bytes()),
            ("channel setup in clear text", SENDER.as_bytes()),
            ("plain text behind the upgrade", [UPGRADE, CONTENT].concat().as_bytes()),
            ("a hello behind the upgrade", &[UPGRADE.as_bytes(), b"\x16\x03\x01\x02\x00\x01"].concat()),
        ] {
            let before = (target.counted)();
            let mut tcp = dial(target.address).await;
            say(&mut tcp, CONNECT).await;
            expect(&mut tcp, OK).await;
            say(&mut tcp, octets).await;
            assert_eq!(rest(&mut tcp).await, status(400), "{attack}");
            drop(tcp);
            target.one_more(&before, attack).await;
        }
    }
    // Both still serve: the manager whoever dials, and the sensor a manager.
    let good = sensor(&pki).connect(endpoint(manager.local_addrs()[0])).start().unwrap();
    submit(&good, 0..3).await;
    soon(good.drained()).await;
    submit(&waiting, 3..6).await;
    let analyzer = Endpoint::new(waiting.local_addrs()[0].to_string(), "sensor-1".parse().unwrap());
    let _dialling = common::manager(&pki, keep.clone()).dial(analyzer).start().unwrap();
    soon(waiting.drained()).await;
    assert_eq!(keep.texts(), expected(0..6));
}

#[tokio::test]
async fn a_responder_survives_ends_and_resets_at_every_step() {
    let pki = Pki::new();
    let manager = manager(&pki, Keep::default()).listen(listener().await).start().unwrap();
    let waiting = sensor(&pki).listen(listener().await).start().unwrap();
    for target in [of_manager(&manager), of_sensor(&waiting)] {
        let steps: [(&str, &[&str]); 5] = [
            ("nothing said", &[""]),
            ("in connect", &["IAP/0.3 CONN"]),
            ("after connect", &[CONNECT]),
            ("in upgrade", &[CONNECT, "IAP/0.3 Upg"]),
            ("after upgrade", &[CONNECT, UPGRADE]),
        ];
        for (step, said) in steps {
            for by_reset in [false, true] {
                let before = (target.counted)();
                let mut tcp = dial(target.address).await;
                for (index, words) in said.iter().enumerate() {
                    say(&mut tcp, words).await;
                    match (index, words.ends_with("\r\n\r\n")) {
                        (0, true) => expect(&mut tcp, OK).await,
                        (1, true) => expect(&mut tcp, SWITCH).await,
                        _ => pause(5).await,
                    }
                }
                if by_reset {
                    reset(tcp);
                } else {
                    tcp.shutdown().await.unwrap();
                    // Half-closed: whoever ends too early gets no status, and its other half is closed as well.
                    assert!(!rest(&mut tcp).await.contains("IAP/"), "{step}");
                }
                target.one_more(&before, step).await;
            }
        }
    }
}

#[tokio::test]
async fn a_manager_answers_each_attack_inside_tls() {
    let (pki, keep) = (Pki::new(), Keep::default());
    let manager = manager(&pki, keep.clone()).listen(listener().await).start().unwrap();
    let target = of_manager(&manager);
    let tls = pki.tls(Profile::Analyzer, "sensor-1");
    let long = format!("IAP/0.3 IAP-Version: 0.3\r\nIAP-Role: {}\r\n\r\n", "x".repeat(64 * 1024));
    let attacks: [(&str, &str, u16, &str); 9] = [
        ("a version other than outside", "IAP/0.3 IAP-Version: 0.5\r\nIAP-Role: Sender\r\n\r\n", 505, "misbehaved"),
        ("a prefix other than outside", "IAP/0.4 IAP-Version: 0.3\r\nIAP-Role: Sender\r\n\r\n", 505, "misbehaved"),
        ("a role that is not implemented", RECEIVER, 501, "incompatible"),
        ("a role that is none", "IAP/0.3 IAP-Version: 0.3\r\nIAP-Role: Boss\r\n\r\n", 400, "invalid_message"),
        ("content before the channel", CONTENT, 400, "invalid_message"),
        ("a second connect", CONNECT, 400, "misbehaved"),
        ("a second upgrade", UPGRADE, 400, "misbehaved"),
        ("content glued to the channel setup", &[SENDER, CONTENT].concat(), 400, "misbehaved"),
        ("a line of 64 KiB", &long, 400, "limit"),
    ];
    for (attack, words, code, reason) in attacks {
        let before = (target.counted)();
        let mut peer = analyzer_in_tls(target.address, &tls).await;
        say(&mut peer, words).await;
        assert_eq!(rest(&mut peer).await, status(code), "{attack}");
        drop(peer);
        assert_eq!(target.one_more(&before, attack).await, reason, "{attack}");
    }
    let attacks: [(&str, &str, u16, &str); 6] = [
        ("an answer", OK, 400, "invalid_message"),
        ("a setup request", SENDER, 400, "invalid_message"),
        ("no length", "Content-Type: a/b\r\n\r\nhi", 411, "invalid_message"),
        ("a negative length", "Content-Type: a/b\r\nContent-Length: -2\r\n\r\nhi", 400, "invalid_message"),
        ("two lengths", "Content-Type: a/b\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", 400, "invalid_message"),
        ("chunks", "Content-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n", 501, "invalid_message"),
    ];
    for (attack, words, code, reason) in attacks {
        let before = (target.counted)();
        let mut peer = scripted_analyzer(target.address, &tls).await;
        say(&mut peer, CONTENT).await;
        expect(&mut peer, OK).await;
        say(&mut peer, words).await;
        assert_eq!(rest(&mut peer).await, status(code), "{attack}");
        drop(peer);
        assert_eq!(target.one_more(&before, attack).await, reason, "{attack}");
    }
    assert_eq!(keep.texts(), ["hi"]);
}

#[tokio::test]
async fn a_manager_hands_over_nothing_of_a_message_that_breaks_off() {
    let (pki, keep) = (Pki::new(), Keep::default());
    let manager = manager(&pki, keep.clone()).listen(listener().await).start().unwrap();
    let target = of_manager(&manager);
    let tls = pki.tls(Profile::Analyzer, "sensor-1");
    for cut in [5, 30, CONTENT.find("\r\n\r\nhi").unwrap() + 4, CONTENT.find("hi").unwrap() + 1] {
        for how in ["close_notify", "fin", "reset"] {
            let before = (target.counted)();
            let mut peer = scripted_analyzer(target.address, &tls).await;
            say(&mut peer, &CONTENT[..cut]).await;
            pause(5).await;
            match how {
                "close_notify" => peer.shutdown().await.unwrap(),
                "fin" => drop(socket2::SockRef::from(peer.get_ref().0.get_ref()).shutdown(std::net::Shutdown::Write)),
                _ => socket2::SockRef::from(peer.get_ref().0.get_ref()).set_linger(Some(Duration::ZERO)).unwrap(),
            }
            if how != "reset" {
                assert_eq!(rest(&mut peer).await, "", "{how} at {cut}");
            }
            drop(peer);
            assert_eq!(target.one_more(&before, how).await, "misbehaved", "{how} at {cut}");
        }
    }
    // Between two messages a goodbye is in order and a broken stream is not; what was whole was taken either way.
    let mut peer = scripted_analyzer(target.address, &tls).await;
    say(&mut peer, CONTENT).await;
    expect(&mut peer, OK).await;
    let before = (target.counted)();
    peer.shutdown().await.unwrap();
    assert_eq!(rest(&mut peer).await, "");
    until(|| manager.connections().is_empty()).await;
    assert_eq!((target.counted)(), before);
    assert_eq!(keep.texts(), ["hi"]);
}

#[tokio::test]
async fn octets_that_are_no_tls_end_a_channel_even_behind_a_goodbye() {
    let (pki, keep) = (Pki::new(), Keep::default());
    let manager = manager(&pki, keep.clone()).listen(listener().await).start().unwrap();
    let target = of_manager(&manager);
    let tls = pki.tls(Profile::Analyzer, "sensor-1");
    let octets: [&[u8]; 3] = [CONTENT.as_bytes(), b"\x17\x03\x03\x00\x20forged forged forged forged forged", &[0; 64]];
    for octets in octets {
        let before = (target.counted)();
        let mut peer = scripted_analyzer(target.address, &tls).await;
        say(peer.get_mut().0.get_mut(), octets).await;
        assert!(!rest(peer.get_mut().0.get_mut()).await.contains("IAP/"));
        drop(peer);
        assert_eq!(target.one_more(&before, "no tls").await, "misbehaved");
        // The same once the manager has said goodbye itself, because of something worse.
        let before = (target.counted)();
        let mut peer = scripted_analyzer(target.address, &tls).await;
        say(&mut peer, "nonsense\r\n\r\n").await;
        pause(20).await;
        for _ in 0..3 {
            say(peer.get_mut().0.get_mut(), octets).await;
        }
        drop(peer);
        assert_eq!(target.one_more(&before, "no tls").await, "invalid_message");
    }
    assert!(keep.texts().is_empty());
}

#[tokio::test]
async fn the_wrong_certificate_for_a_role_opens_no_channel() {
    use iap_tokio::tls::EkuPolicy;
    let (pki, keep) = (Pki::new(), Keep::default());
    // A manager that insists on the roles of the draft; the certificates of this PKI have none.
    let tls =
        Tls::new(pki.config(Profile::Manager, "manager.example.com").with_eku_policy(EkuPolicy::Require)).unwrap();
    let manager = Manager::builder(tls, keep.clone()).listen(listener().await).start().unwrap();
    let one = sensor(&pki).connect(endpoint(manager.local_addrs()[0])).start().unwrap();
    until(|| manager.counters().refused().contains_key("missing_eku")).await;
    until(|| one.counters().failures().contains_key("missing_eku")).await;
    // An analyzer's certificate does not make a manager, nor that of another manager the one that is meant.
    for (profile, name, reason) in
        [(Profile::Analyzer, "manager.example.com", "missing_eku"), (Profile::Manager, "other.example.com", "bad_name")]
    {
        let listener = listener().await;
        let two = sensor(&pki).connect(endpoint(listener.local_addr().unwrap())).start().unwrap();
        let mut tcp = accept(&listener).await;
        head(&mut tcp).await;
        say(&mut tcp, OK).await;
        expect(&mut tcp, UPGRADE).await;
        say(&mut tcp, SWITCH).await;
        assert!(soon(pki.tls(profile, name).accept(tcp, Bytes::new(), Claim::ANALYZER)).await.is_err());
        until(|| two.counters().failures().contains_key(reason)).await;
    }
    assert_eq!(manager.counters().channels.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_manager_that_wants_to_send_commands_is_answered_501() {
    let pki = Pki::new();
    // Whatever the configuration says: nobody here would understand them.
    let config = Config::builder(Party::Analyzer).with_commands(true).build().unwrap();
    let sensor = sensor(&pki).with_config(config).listen(listener().await).start().unwrap();
    let tls = pki.tls(Profile::Manager, "manager.example.com");
    let mut peer = dialling_manager_in_tls(sensor.local_addrs()[0], &tls).await;
    say(&mut peer, SENDER).await;
    assert_eq!(rest(&mut peer).await, status(501));
    drop(peer);
    until(|| sensor.counters().failures() == [("incompatible", 1)].into()).await;
    let config = Config::builder(Party::Manager).with_commands(true).build().unwrap();
    let manager = manager(&pki, Keep::default()).with_config(config).listen(listener().await).start().unwrap();
    let mut peer = analyzer_in_tls(manager.local_addrs()[0], &pki.tls(Profile::Analyzer, "sensor-1")).await;
    say(&mut peer, RECEIVER).await;
    assert_eq!(rest(&mut peer).await, status(501));
}

/// What a manager in the hands of the test does with the connection of a sensor.
type Script = fn(TcpStream, Tls) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! script {
    (|$tcp:ident, $tls:ident| $body:block) => {
        |$tcp: TcpStream, $tls: Tls| {
            Box::pin(async move {
                #[allow(unused_mut)]
                let mut $tcp = $tcp;
                let _ = &$tls;
                $body
            })
        }
    };
}

async fn to_upgrade(tcp: &mut TcpStream) {
    head(tcp).await;
    say(tcp, OK).await;
    expect(tcp, UPGRADE).await;
}

async fn in_tls(mut tcp: TcpStream, tls: Tls) -> TlsStream<TcpStream> {
    to_upgrade(&mut tcp).await;
    say(&mut tcp, SWITCH).await;
    let mut inside = soon(tls.accept(tcp, Bytes::new(), Claim::ANALYZER)).await.unwrap().stream;
    expect(&mut inside, SENDER).await;
    inside
}

async fn in_data(tcp: TcpStream, tls: Tls) -> TlsStream<TcpStream> {
    let mut inside = in_tls(tcp, tls).await;
    say(&mut inside, OK).await;
    assert_eq!(body(&mut inside).await, "alert 0");
    inside
}

/// Says something in the place of an answer, and reads on to the end.
macro_rules! answer {
    ($stream:expr, $words:expr) => {{
        say(&mut $stream, $words).await;
        rest(&mut $stream).await;
    }};
}

#[tokio::test]
async fn a_dialling_sensor_leaves_a_hostile_manager_for_the_next_one() {
    let scripts: Vec<(&str, Script, &str)> = vec![
        ("octets of no meaning", script!(|tcp, tls| { answer!(tcp, [0u8, 255, 13, 10, 13, 10]) }), "invalid_message"),
        (
            "tls at once",
            script!(|tcp, tls| { answer!(tcp, b"\x15\x03\x03\x00\x02\x02\x28\r\n\r\n") }),
            "invalid_message",
        ),
        ("a line of 64 KiB", script!(|tcp, tls| { answer!(tcp, "IAP/0.3 200".repeat(6000)) }), "limit"),
        (
            "a hundred proxies",
            script!(|tcp, tls| { answer!(tcp, format!("IAP/0.3 200\r\n{}\r\n", "IAP/0.3 Via: p\r\n".repeat(100))) }),
            "limit",
        ),
        ("another version", script!(|tcp, tls| { answer!(tcp, "IAP/0.4 200\r\n\r\n") }), "incompatible"),
        ("100 to connect", script!(|tcp, tls| { answer!(tcp, status(100)) }), "misbehaved"),
        ("101 to connect", script!(|tcp, tls| { answer!(tcp, SWITCH) }), "misbehaved"),
        ("204 to connect", script!(|tcp, tls| { answer!(tcp, status(204)) }), "misbehaved"),
        ("403 to connect", script!(|tcp, tls| { answer!(tcp, status(403)) }), "refused"),
        (
            "two answers to connect",
            script!(|tcp, tls| {
                head(&mut tcp).await;
                answer!(tcp, [OK, SWITCH].concat())
            }),
            "misbehaved",
        ),
        (
            "200 to upgrade",
            script!(|tcp, tls| {
                to_upgrade(&mut tcp).await;
                answer!(tcp, OK)
            }),
            "misbehaved",
        ),
        (
            "500 to upgrade",
            script!(|tcp, tls| {
                to_upgrade(&mut tcp).await;
                answer!(tcp, status(500))
            }),
            "refused",
        ),
        (
            "clear text behind the 101",
            script!(|tcp, tls| {
                to_upgrade(&mut tcp).await;
                answer!(tcp, [SWITCH, OK].concat())
            }),
            "misbehaved",
        ),
        (
            "tls behind the 101",
            script!(|tcp, tls| {
                to_upgrade(&mut tcp).await;
                say(&mut tcp, [SWITCH.as_bytes(), b"\x16\x03\x03\x00\x02\x02\x00"].concat()).await;
                // Nothing of it reached TLS: not even a ClientHello comes.
                assert_eq!(rest(&mut tcp).await, "");
            }),
            "misbehaved",
        ),
        (
            "clear text in the handshake",
            script!(|tcp, tls| {
                to_upgrade(&mut tcp).await;
                say(&mut tcp, SWITCH).await;
                pause(20).await;
                say(&mut tcp, [OK, OK].concat()).await;
                rest(&mut tcp).await;
            }),
            "other",
        ),
        (
            "the end before an answer",
            script!(|tcp, tls| {
                head(&mut tcp).await;
            }),
            "misbehaved",
        ),
        (
            "the end in an answer",
            script!(|tcp, tls| {
                head(&mut tcp).await;
                say(&mut tcp, "IAP/0.3 2").await;
            }),
            "misbehaved",
        ),
        (
            "a reset before an answer",
            script!(|tcp, tls| {
                head(&mut tcp).await;
                reset(tcp);
            }),
            "misbehaved",
        ),
        (
            "the end before 101",
            script!(|tcp, tls| {
                to_upgrade(&mut tcp).await;
            }),
            "misbehaved",
        ),
        (
            "a reset before 101",
            script!(|tcp, tls| {
                to_upgrade(&mut tcp).await;
                reset(tcp);
            }),
            "misbehaved",
        ),
        (
            "the end in the handshake",
            script!(|tcp, tls| {
                to_upgrade(&mut tcp).await;
                say(&mut tcp, SWITCH).await;
                pause(20).await;
            }),
            "other",
        ),
        (
            "a reset in the handshake",
            script!(|tcp, tls| {
                to_upgrade(&mut tcp).await;
                say(&mut tcp, SWITCH).await;
                pause(20).await;
                reset(tcp);
            }),
            "other",
        ),
        (
            "the end inside tls",
            script!(|tcp, tls| {
                in_tls(tcp, tls).await;
            }),
            "misbehaved",
        ),
        (
            "a goodbye inside tls",
            script!(|tcp, tls| {
                let mut inside = in_tls(tcp, tls).await;
                inside.shutdown().await.unwrap();
            }),
            "misbehaved",
        ),
        (
            "403 to the channel",
            script!(|tcp, tls| {
                let mut inside = in_tls(tcp, tls).await;
                answer!(inside, status(403))
            }),
            "refused",
        ),
        (
            "100 to the channel",
            script!(|tcp, tls| {
                let mut inside = in_tls(tcp, tls).await;
                answer!(inside, status(100))
            }),
            "misbehaved",
        ),
        (
            "an answer to nothing",
            script!(|tcp, tls| {
                let mut inside = in_data(tcp, tls).await;
                answer!(inside, OK.repeat(4))
            }),
            "misbehaved",
        ),
        (
            "100 to an alert",
            script!(|tcp, tls| {
                let mut inside = in_data(tcp, tls).await;
                answer!(inside, status(100))
            }),
            "misbehaved",
        ),
        (
            "an alert to the sensor",
            script!(|tcp, tls| {
                let mut inside = in_data(tcp, tls).await;
                answer!(inside, CONTENT)
            }),
            "invalid_message",
        ),
        (
            "600 to an alert",
            script!(|tcp, tls| {
                let mut inside = in_data(tcp, tls).await;
                answer!(inside, "IAP/0.3 600\r\n\r\n")
            }),
            "invalid_message",
        ),
        (
            "half an answer to an alert",
            script!(|tcp, tls| {
                let mut inside = in_data(tcp, tls).await;
                say(&mut inside, "IAP/0.3 2").await;
                inside.shutdown().await.unwrap();
            }),
            "misbehaved",
        ),
        (
            "the end of the connection in the data",
            script!(|tcp, tls| {
                in_data(tcp, tls).await;
            }),
            "misbehaved",
        ),
    ];
    let (pki, keep) = (Pki::new(), Keep::default());
    let real = manager(&pki, keep.clone()).listen(listener().await).start().unwrap();
    let tls = pki.tls(Profile::Manager, "manager.example.com");
    for (attack, script, reason) in scripts {
        keep.bodies.lock().unwrap().clear();
        let hostile = listener().await;
        // A new name each time, so that the real manager does not know the alerts.
        let spool = iap_tokio::spool::Spool::in_memory(Default::default()).unwrap();
        let name = format!("sensor-{}", attack.replace(' ', "-"));
        let sensor = Sensor::builder(pki.tls(Profile::Analyzer, &name), "manager.example.com", spool)
            .unwrap()
            .with_retry(Duration::from_millis(10), Duration::from_millis(20))
            .connect(endpoint(hostile.local_addr().unwrap()))
            .connect(endpoint(real.local_addrs()[0]))
            .start()
            .unwrap();
        submit(&sensor, 0..3).await;
        let tcp = accept(&hostile).await;
        // Once is enough: the next attempt is refused by the system, and the second manager is tried.
        drop(hostile);
        soon(script(tcp, tls.clone())).await;
        soon(sensor.drained()).await;
        // An attack in the data phase ends a channel, after which the list is tried from its beginning.
        let failures = || {
            let mut failures = sensor.counters().failures();
            assert!(failures.remove("io").unwrap_or(0) <= 1, "{attack}");
            failures
        };
        until(|| !failures().is_empty()).await;
        assert_eq!(failures(), [(reason, 1)].into(), "{attack}");
        // The answer to nothing was preceded by three good ones.
        let from = if attack == "an answer to nothing" { 3 } else { 0 };
        assert_eq!(keep.texts(), expected(from..3), "{attack}");
        sensor.shutdown(Duration::from_secs(2)).await;
    }
}

/// Writes `glue` in the same piece as the first octets of what is written.
struct Glued<'a> {
    glue: Vec<u8>,
    tcp: &'a mut TcpStream,
}

impl AsyncRead for Glued<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Glued<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        let piece = [&self.glue, buf].concat();
        let written = std::task::ready!(Pin::new(&mut *self.tcp).poll_write(cx, &piece))?;
        assert_eq!(written, piece.len(), "so few octets go at once");
        self.glue.clear();
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.tcp).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_dialling_manager_takes_a_client_hello_glued_to_the_101() {
    let (pki, keep) = (Pki::new(), Keep::default());
    let listener = listener().await;
    let analyzer = Endpoint::new(listener.local_addr().unwrap().to_string(), "sensor-1".parse().unwrap());
    let manager = manager(&pki, keep.clone()).dial(analyzer).start().unwrap();
    let mut tcp = accept(&listener).await;
    expect(&mut tcp, "IAP/0.3 CONNECT sensor-1\r\n\r\n").await;
    say(&mut tcp, OK).await;
    expect(&mut tcp, UPGRADE).await;
    let name = manager_name("manager.example.com").unwrap();
    let glued = Glued { glue: SWITCH.into(), tcp: &mut tcp };
    let tls = pki.tls(Profile::Analyzer, "sensor-1");
    let mut inside = soon(tls.connect(glued, &name, Claim::MANAGER)).await.unwrap().stream;
    expect(&mut inside, RECEIVER).await;
    // And an alert glued to the 200.
    say(&mut inside, [OK, CONTENT].concat()).await;
    expect(&mut inside, OK).await;
    assert_eq!(keep.texts(), ["hi"]);
    assert!(manager.counters().refused().is_empty());
}

#[tokio::test]
async fn a_dialling_manager_is_not_fooled_by_clear_text_behind_the_101() {
    let (pki, keep) = (Pki::new(), Keep::default());
    let listener = listener().await;
    let analyzer = Endpoint::new(listener.local_addr().unwrap().to_string(), "sensor-1".parse().unwrap());
    let manager = manager(&pki, keep.clone()).dial(analyzer).start().unwrap();
    let mut tcp = accept(&listener).await;
    head(&mut tcp).await;
    say(&mut tcp, OK).await;
    expect(&mut tcp, UPGRADE).await;
    say(&mut tcp, [SWITCH, CONTENT].concat()).await;
    // They are taken for TLS, which they are not.
    assert!(!rest(&mut tcp).await.contains("IAP/"));
    until(|| manager.counters().refused() == [("other", 1)].into()).await;
    assert!(keep.texts().is_empty());
}

#[tokio::test]
async fn a_proxy_answers_each_attack_and_goes_on() {
    let (pki, keep) = (Pki::new(), Keep::default());
    let manager = manager(&pki, keep.clone()).listen(listener().await).start().unwrap();
    let name: Host = "p.example.com".parse().unwrap();
    let proxy = ProxyConfig::new(name.clone(), manager.local_addrs()[0].to_string());
    let proxy = Proxy::start(listener().await, proxy).unwrap();
    let refused = || proxy.counters().refused.load(std::sync::atomic::Ordering::Relaxed);
    let mut expected_refused = 0;
    for (attack, octets, code, _) in clear_text_attacks() {
        let mut tcp = dial(proxy.local_addr()).await;
        say(&mut tcp, &octets).await;
        let heard = rest(&mut tcp).await;
        drop(tcp);
        match attack {
            // Other versions pass: what they mean is for the manager to say.
            "a version of the future" => assert_eq!(heard, "IAP/0.3 505\r\nIAP/0.3 Via: p.example.com\r\n\r\n"),
            "another dialect" => assert!(heard.contains(" 505"), "{heard}"),
            _ => assert_eq!(heard, status(code), "{attack}"),
        }
        expected_refused += 1;
        until(|| refused() == expected_refused).await;
    }
    for half in ["", "IAP/0.3 CON"] {
        for by_reset in [false, true] {
            let mut tcp = dial(proxy.local_addr()).await;
            say(&mut tcp, half).await;
            pause(5).await;
            if by_reset {
                reset(tcp);
            } else {
                tcp.shutdown().await.unwrap();
                assert_eq!(rest(&mut tcp).await, "");
            }
            expected_refused += 1;
            until(|| refused() == expected_refused).await;
        }
    }
    let good = sensor(&pki).connect(endpoint(proxy.local_addr())).start().unwrap();
    submit(&good, 0..3).await;
    soon(good.drained()).await;
    assert_eq!(keep.texts(), expected(0..3));
}

/// What a next hop in the hands of the test says to the proxy's CONNECT, and what the initiator hears.
async fn hostile_next_hop(hop: &TcpListener, words: impl AsRef<[u8]>, by_reset: bool) -> String {
    let config = ProxyConfig::new("p.example.com".parse().unwrap(), hop.local_addr().unwrap().to_string());
    let proxy = Proxy::start(listener().await, config).unwrap();
    let mut initiator = dial(proxy.local_addr()).await;
    say(&mut initiator, CONNECT).await;
    let mut tcp = accept(hop).await;
    assert!(head(&mut tcp).await.contains("Via: p.example.com"));
    say(&mut tcp, words).await;
    if by_reset {
        pause(20).await;
        reset(tcp);
        rest(&mut initiator).await
    } else {
        tcp.shutdown().await.unwrap();
        rest(&mut initiator).await
    }
}

#[tokio::test]
async fn a_proxy_makes_502_of_a_next_hop_without_sense() {
    let hop = listener().await;
    let long = "IAP/0.3 200".repeat(6000);
    for words in ["", "IAP/0.3 2", "HTTP/1.1 200 OK\r\n\r\n", CONNECT, &long] {
        for by_reset in [false, true] {
            let heard = hostile_next_hop(&hop, words, by_reset).await;
            assert_eq!(heard, status(502), "{:?} {by_reset}", words.get(..20));
        }
    }
    // A refusal is relayed, with the proxy's own line, and nothing behind it is.
    let heard = hostile_next_hop(&hop, [&status(404), CONTENT].concat(), false).await;
    assert_eq!(heard, "IAP/0.3 404\r\nIAP/0.3 Via: p.example.com\r\n\r\n");
}
