//! Everything that a peer can make grow or last has a limit, and reaching it harms nobody else.

#![cfg(any(feature = "ring", feature = "aws-lc-rs"))]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use common::raw::*;
use common::*;
use iap_proto::{Config, Limits, Party, Timeouts};
use iap_tokio::manager::ManagerLimits;
use iap_tokio::spool::{Record, Spool, SpoolConfig};
use iap_tokio::{Manager, Sensor};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

const MOMENT: Duration = Duration::from_millis(300);

fn limits(change: impl FnOnce(&mut ManagerLimits)) -> ManagerLimits {
    let mut limits = ManagerLimits::default();
    change(&mut limits);
    limits
}

async fn limited(pki: &Pki, change: impl FnOnce(&mut ManagerLimits)) -> (Manager, SocketAddr, Keep) {
    let keep = Keep::default();
    let manager = manager(pki, keep.clone()).with_limits(limits(change)).listen(listener().await).start().unwrap();
    let address = manager.local_addrs()[0];
    (manager, address, keep)
}

async fn configured(pki: &Pki, config: Config) -> (Manager, SocketAddr, Keep) {
    let keep = Keep::default();
    let manager = manager(pki, keep.clone()).with_config(config).listen(listener().await).start().unwrap();
    let address = manager.local_addrs()[0];
    (manager, address, keep)
}

fn refused(manager: &Manager, reason: &str) -> u64 {
    manager.counters().refused().get(reason).copied().unwrap_or(0)
}

#[tokio::test]
async fn an_address_that_is_not_allowed_is_closed_before_tls() {
    let pki = Pki::new();
    let elsewhere = "192.0.2.0/24".parse().unwrap();
    let (manager, address, _) = limited(&pki, |limits| limits.allow_from = vec![elsewhere]).await;
    let sensor = sensor(&pki).listen(listener().await).with_allowed_networks([elsewhere]).start().unwrap();
    for address in [address, sensor.local_addrs()[0]] {
        let mut tcp = dial(address).await;
        say(&mut tcp, CONNECT).await;
        assert_eq!(rest(&mut tcp).await, "", "closed without a word");
    }
    until(|| refused(&manager, "address") == 1 && sensor.counters().failures().get("address") == Some(&1)).await;
    assert_eq!(manager.counters().refused().len(), 1);
}

#[tokio::test]
async fn connections_of_one_address_are_limited() {
    let pki = Pki::new();
    let (manager, address, _) = limited(&pki, |limits| limits.max_per_address = 2).await;
    let first = dial(address).await;
    let _second = dial(address).await;
    until(|| manager.counters().connections.load(Relaxed) == 2).await;
    assert_eq!(rest(&mut dial(address).await).await, "", "closed without a word");
    assert_eq!(refused(&manager, "address"), 1);
    // One that ends makes room again.
    drop(first);
    until(|| refused(&manager, "misbehaved") == 1).await;
    let mut third = dial(address).await;
    say(&mut third, CONNECT).await;
    expect(&mut third, OK).await;
}

#[tokio::test]
async fn connections_in_all_are_limited() {
    let pki = Pki::new();
    let (manager, address, _) = limited(&pki, |limits| limits.max_connections = 2).await;
    let (first, _second) = (dial(address).await, dial(address).await);
    until(|| manager.counters().connections.load(Relaxed) == 2).await;
    let mut third = dial(address).await;
    say(&mut third, CONNECT).await;
    pause(100).await;
    assert_eq!(manager.counters().connections.load(Relaxed), 2, "the third waits in the system's queue");
    drop(first);
    expect(&mut third, OK).await;
}

#[tokio::test]
async fn a_limit_may_be_as_high_as_numbers_go() {
    let pki = Pki::new();
    let (_manager, address, _) = limited(&pki, |limits| {
        limits.max_connections = usize::MAX;
        limits.max_per_address = usize::MAX;
        limits.max_per_peer = usize::MAX;
    })
    .await;
    scripted_analyzer(address, &pki.tls(Profile::Analyzer, "sensor-1")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn channels_of_one_certificate_are_limited() {
    let pki = Pki::new();
    let (manager, address, _) = limited(&pki, |limits| limits.max_per_peer = 3).await;
    // All at the same moment: asking for a place and taking it must be one step.
    let tls = pki.tls(Profile::Analyzer, "sensor-1");
    let mut peers = Vec::new();
    for _ in 0..12 {
        peers.push(analyzer_in_tls(address, &tls).await);
    }
    let answers = peers.into_iter().map(|mut peer| {
        tokio::spawn(async move {
            say(&mut peer, SENDER).await;
            let answer = head(&mut peer).await;
            (answer, peer)
        })
    });
    let answers: Vec<_> = answers.collect();
    let mut kept = Vec::new();
    let mut refusals = 0;
    for answer in answers {
        match answer.await.unwrap() {
            (answer, peer) if answer == OK => kept.push(peer),
            (answer, mut peer) => {
                assert_eq!(answer, status(503));
                assert_eq!(rest(&mut peer).await, "");
                refusals += 1;
            }
        }
    }
    assert_eq!((kept.len(), refusals), (3, 9));
    assert_eq!(manager.connections().len(), 3);
    until(|| refused(&manager, "refused") == 9).await;
    // Another certificate has places of its own, and one that ends gives its place back.
    scripted_analyzer(address, &pki.tls(Profile::Analyzer, "sensor-2")).await;
    drop(kept.pop());
    until(|| manager.connections().iter().filter(|open| open.peer.display() == "sensor-1").count() == 2).await;
    scripted_analyzer(address, &tls).await;
}

/// Sends `words` octet by octet, ten a second, until the peer has had enough; what the peer says.
async fn drip(stream: &mut TcpStream, words: &[u8]) -> String {
    let mut words = words.iter();
    let mut heard = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        tokio::select! {
            biased;
            read = stream.read(&mut buffer) => match read {
                Ok(len) if len > 0 => heard.extend_from_slice(&buffer[..len]),
                _ => return String::from_utf8_lossy(&heard).into_owned(),
            },
            () = tokio::time::sleep(Duration::from_millis(100)) => {
                if let Some(octet) = words.next() {
                    say(stream, [*octet]).await;
                }
            }
        }
    }
}

/// A TLS record that announces 512 octets.
const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

#[tokio::test]
async fn a_slow_peer_is_left_at_every_step_of_the_setup() {
    let pki = Pki::new();
    let quick = |party| Config::builder(party).with_timeouts(Timeouts::default().with_setup(MOMENT)).build().unwrap();
    let (manager, address, keep) = configured(&pki, quick(Party::Manager)).await;
    let sensor = sensor(&pki).listen(listener().await).with_config(quick(Party::Analyzer)).start().unwrap();
    let analyzer_address = sensor.local_addrs()[0];
    let tls = pki.tls(Profile::Analyzer, "sensor-9");
    let began = Instant::now();
    let mut expected = 0;
    for address in [address, analyzer_address] {
        let mut tcp = dial(address).await;
        assert_eq!(soon(drip(&mut tcp, CONNECT.as_bytes())).await, status(408));
        let mut tcp = dial(address).await;
        say(&mut tcp, CONNECT).await;
        expect(&mut tcp, OK).await;
        assert_eq!(soon(drip(&mut tcp, UPGRADE.as_bytes())).await, status(408));
        let mut tcp = dial(address).await;
        say(&mut tcp, CONNECT).await;
        expect(&mut tcp, OK).await;
        say(&mut tcp, UPGRADE).await;
        expect(&mut tcp, SWITCH).await;
        // Of what may come now, an analyzer's ClientHello, nothing is a status.
        assert!(!soon(drip(&mut tcp, HELLO)).await.contains("IAP/"));
        expected += 3;
    }
    let mut inside = analyzer_in_tls(address, &tls).await;
    say(&mut inside, &SENDER[..20]).await;
    assert_eq!(rest(&mut inside).await, status(408));
    let mut inside = dialling_manager_in_tls(analyzer_address, &pki.tls(Profile::Manager, "manager.example.com")).await;
    say(&mut inside, &RECEIVER[..20]).await;
    assert_eq!(rest(&mut inside).await, status(408));
    expected += 2;
    until(|| refused(&manager, "timeout") + sensor.counters().failures().get("timeout").unwrap_or(&0) == expected)
        .await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!((manager.counters().refused().len(), sensor.counters().failures().len()), (1, 1));
    // Whoever is quick enough is served all the same.
    let good = common::sensor(&pki).connect(endpoint(address)).start().unwrap();
    submit(&good, 0..3).await;
    soon(good.drained()).await;
    assert_eq!(keep.texts(), common::expected(0..3));
}

#[tokio::test]
async fn a_handshake_has_a_timer_of_its_own() {
    let pki = Pki::new();
    let config =
        Config::builder(Party::Manager).with_timeouts(Timeouts::default().with_tls_handshake(MOMENT)).build().unwrap();
    let (manager, address, _) = configured(&pki, config).await;
    let mut tcp = dial(address).await;
    say(&mut tcp, CONNECT).await;
    expect(&mut tcp, OK).await;
    say(&mut tcp, UPGRADE).await;
    expect(&mut tcp, SWITCH).await;
    let began = Instant::now();
    assert_eq!(soon(drip(&mut tcp, HELLO)).await, "");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    until(|| refused(&manager, "timeout") == 1).await;
}

#[tokio::test]
async fn a_slow_answer_is_left_at_every_step_of_the_setup() {
    let pki = Pki::new();
    let tls = pki.tls(Profile::Manager, "manager.example.com");
    let slow = listener().await;
    let (_manager, address, keep) = limited(&pki, |_| ()).await;
    let config =
        Config::builder(Party::Analyzer).with_timeouts(Timeouts::default().with_setup(MOMENT)).build().unwrap();
    for step in 0..4 {
        let sensor = sensor(&pki)
            .with_config(config.clone())
            .connect(endpoint(slow.local_addr().unwrap()))
            .connect(endpoint(address))
            .start()
            .unwrap();
        submit(&sensor, step..step + 1).await;
        let mut tcp = accept(&slow).await;
        head(&mut tcp).await;
        if step == 0 {
            soon(drip(&mut tcp, OK.as_bytes())).await;
        } else {
            say(&mut tcp, OK).await;
            expect(&mut tcp, UPGRADE).await;
            match step {
                1 => drop(soon(drip(&mut tcp, SWITCH.as_bytes())).await),
                2 => {
                    say(&mut tcp, SWITCH).await;
                    soon(drip(&mut tcp, b"\x16\x03\x03\x02\x00\x02")).await;
                }
                _ => {
                    say(&mut tcp, SWITCH).await;
                    let claim = iap_tokio::tls::Claim::ANALYZER;
                    let mut inside = soon(tls.accept(&mut tcp, bytes::Bytes::new(), claim)).await.unwrap().stream;
                    expect(&mut inside, SENDER).await;
                    say(&mut inside, &OK[..5]).await;
                    rest(&mut inside).await;
                }
            }
        }
        drop(tcp);
        // The next manager in the list is there for such a case.
        soon(sensor.drained()).await;
        assert_eq!(sensor.counters().failures(), [("timeout", 1)].into(), "step {step}");
        sensor.shutdown(Duration::from_secs(2)).await;
    }
    assert_eq!(keep.texts(), expected(0..4));
}

#[tokio::test]
async fn a_slow_body_is_ended_by_the_message_timer() {
    let pki = Pki::new();
    let config =
        Config::builder(Party::Manager).with_timeouts(Timeouts::default().with_message(MOMENT)).build().unwrap();
    let (manager, address, keep) = configured(&pki, config).await;
    let mut peer = scripted_analyzer(address, &pki.tls(Profile::Analyzer, "sensor-1")).await;
    say(&mut peer, "Content-Type: text/plain\r\nContent-Length: 1000\r\n\r\n").await;
    let began = Instant::now();
    let dripping = async {
        loop {
            say(&mut peer, "x").await;
            pause(50).await;
            if began.elapsed() > 2 * MOMENT {
                return;
            }
        }
    };
    dripping.await;
    assert_eq!(rest(&mut peer).await, status(408));
    drop(peer);
    until(|| refused(&manager, "timeout") == 1).await;
    assert!(keep.texts().is_empty());
}

#[tokio::test]
async fn an_idle_channel_is_closed_if_so_configured() {
    let pki = Pki::new();
    let config = Config::builder(Party::Manager).with_timeouts(Timeouts::default().with_idle(MOMENT)).build().unwrap();
    let (manager, address, _) = configured(&pki, config).await;
    let tls = pki.tls(Profile::Analyzer, "sensor-1");
    let mut peer = scripted_analyzer(address, &tls).await;
    for _ in 0..4 {
        pause(150).await;
        say(&mut peer, content("text/plain", "here")).await;
        expect(&mut peer, OK).await;
    }
    // Nothing was asked, so nothing is answered.
    assert_eq!(rest(&mut peer).await, "");
    drop(peer);
    until(|| refused(&manager, "timeout") == 1).await;
}

#[tokio::test]
async fn a_sender_that_never_reads_is_no_longer_read_from() {
    let pki = Pki::new();
    // With small buffers in the system there is less to fill.
    let listening = TcpSocket::new_v4().unwrap();
    listening.set_send_buffer_size(16 * 1024).unwrap();
    listening.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let keep = Keep::default();
    let manager = manager(&pki, keep.clone()).listen(listening.listen(16).unwrap()).start().unwrap();
    let address = manager.local_addrs()[0];

    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut tcp = soon(socket.connect(address)).await.unwrap();
    say(&mut tcp, CONNECT).await;
    expect(&mut tcp, OK).await;
    say(&mut tcp, UPGRADE).await;
    expect(&mut tcp, SWITCH).await;
    let name = iap_tokio::tls::manager_name("manager.example.com").unwrap();
    let tls = pki.tls(Profile::Analyzer, "sensor-1");
    let mut peer = tls.connect(tcp, &name, iap_tokio::tls::Claim::MANAGER).await.unwrap().stream;
    say(&mut peer, SENDER).await;
    expect(&mut peer, OK).await;

    let piece = content("a/b", "").repeat(1000);
    let mut written = 0;
    while let Ok(Ok(())) = tokio::time::timeout(Duration::from_secs(2), peer.write_all(piece.as_bytes())).await {
        written += 1000;
        assert!(written < 1_000_000, "the manager reads on and on");
    }
    // An answer has 15 octets, 256 KiB of them may wait, and 4096 alerts without an answer.
    let mut received = manager.counters().received.load(Relaxed);
    // It still reads what is in the buffers between the two, and then no more.
    for _ in 0..50 {
        pause(200).await;
        let before = std::mem::replace(&mut received, manager.counters().received.load(Relaxed));
        if before == received {
            break;
        }
    }
    assert!((10_000..60_000).contains(&received), "{received} alerts were read");
    pause(200).await;
    assert_eq!(manager.counters().received.load(Relaxed), received);
    // Nobody else notices.
    let good = sensor(&pki).connect(endpoint(address)).start().unwrap();
    submit(&good, 0..100).await;
    soon(good.drained()).await;
    // And the manager can still be shut down.
    soon(manager.shutdown(Duration::from_secs(5))).await;
}

#[tokio::test]
async fn a_manager_that_never_answers_is_left_and_everything_is_sent_again() {
    let pki = Pki::new();
    let tls = pki.tls(Profile::Manager, "manager.example.com");
    let silent = listener().await;
    let config = Config::builder(Party::Analyzer).with_timeouts(Timeouts::default().with_ack(MOMENT)).build().unwrap();
    let sensor = sensor(&pki)
        .with_config(config)
        .with_retry(Duration::from_millis(10), Duration::from_millis(20))
        .connect(endpoint(silent.local_addr().unwrap()))
        .start()
        .unwrap();
    submit(&sensor, 0..5).await;
    let mut peer = scripted_manager(&silent, &tls).await;
    for n in 0..5 {
        assert_eq!(body(&mut peer).await, format!("alert {n}"));
        if n < 2 {
            say(&mut peer, OK).await;
        }
    }
    assert_eq!(rest(&mut peer).await, "");
    drop(peer);
    until(|| sensor.counters().failures() == [("timeout", 1)].into()).await;
    let mut peer = scripted_manager(&silent, &tls).await;
    for n in 2..5 {
        assert_eq!(body(&mut peer).await, format!("alert {n}"), "answered ones are not sent again");
        say(&mut peer, OK).await;
    }
    soon(sensor.drained()).await;
    let counters = sensor.counters();
    assert_eq!((counters.sent.load(Relaxed), counters.resent.load(Relaxed)), (5, 3));
}

#[tokio::test]
async fn a_body_above_the_limit_is_answered_413_before_it_comes() {
    let pki = Pki::new();
    let config = Config::builder(Party::Manager).with_limits(Limits::default().with_body(100)).build().unwrap();
    let (manager, address, keep) = configured(&pki, config).await;
    let tls = pki.tls(Profile::Analyzer, "sensor-1");
    for length in ["101", "9223372036854775807"] {
        let mut peer = scripted_analyzer(address, &tls).await;
        say(&mut peer, content("text/plain", &"x".repeat(100))).await;
        expect(&mut peer, OK).await;
        say(&mut peer, format!("Content-Type: text/plain\r\nContent-Length: {length}\r\n\r\n")).await;
        assert_eq!(rest(&mut peer).await, status(413));
    }
    until(|| refused(&manager, "limit") == 2).await;
    assert_eq!(keep.texts().len(), 1, "the second was a duplicate");
}

#[tokio::test]
async fn an_alert_far_above_the_managers_limit_becomes_a_dead_letter_at_the_first_try() {
    let pki = Pki::new();
    let config = Config::builder(Party::Manager).with_limits(Limits::default().with_body(1000)).build().unwrap();
    let (_manager, address, keep) = configured(&pki, config).await;
    let spool = Spool::in_memory(SpoolConfig::default().with_max_record(32 << 20)).unwrap();
    let sensor = Sensor::builder(pki.tls(Profile::Analyzer, "sensor-1"), "manager.example.com", spool)
        .unwrap()
        .with_config(
            Config::builder(Party::Analyzer).with_limits(Limits::default().with_body(32 << 20)).build().unwrap(),
        )
        .with_retry(Duration::from_millis(10), Duration::from_millis(20))
        .connect(endpoint(address))
        .start()
        .unwrap();
    // Far more than the manager reads for politeness: it closes with a reset, in the middle of our writing.
    sensor.spool().append(vec![Record::new("text/plain", vec![b'x'; 24 << 20])], None).await.unwrap();
    submit(&sensor, 0..3).await;
    soon(sensor.drained()).await;
    assert_eq!(keep.texts(), expected(0..3));
    assert_eq!(sensor.spool().dead_letters(0, 9).await.unwrap()[0].status, 413);
    assert_eq!(sensor.counters().resent.load(Relaxed), 0, "one try was enough");
}

#[tokio::test]
async fn a_status_that_came_before_a_reset_is_heard() {
    let pki = Pki::new();
    let hasty = listener().await;
    let spool = Spool::in_memory(SpoolConfig::default().with_max_record(32 << 20)).unwrap();
    let sensor = Sensor::builder(pki.tls(Profile::Analyzer, "sensor-1"), "manager.example.com", spool)
        .unwrap()
        .with_config(
            Config::builder(Party::Analyzer).with_limits(Limits::default().with_body(32 << 20)).build().unwrap(),
        )
        .connect(endpoint(hasty.local_addr().unwrap()))
        .start()
        .unwrap();
    // It is still being written when answer and reset are here: the write fails first.
    sensor.spool().append(vec![Record::new("text/plain", vec![b'x'; 24 << 20])], None).await.unwrap();
    let mut peer = scripted_manager(&hasty, &pki.tls(Profile::Manager, "manager.example.com")).await;
    head(&mut peer).await;
    say(&mut peer, status(413)).await;
    socket2::SockRef::from(peer.get_ref().0.get_ref()).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    soon(sensor.drained()).await;
    assert_eq!(sensor.spool().dead_letters(0, 9).await.unwrap()[0].status, 413);
    assert_eq!(sensor.counters().channels.load(Relaxed), 1);
}

#[tokio::test]
async fn a_type_that_is_not_taken_is_answered_415_and_the_connection_stays() {
    let pki = Pki::new();
    let config = Config::builder(Party::Manager).with_accept(vec!["text/plain".parse().unwrap()]).build().unwrap();
    let (manager, address, keep) = configured(&pki, config).await;
    let mut peer = scripted_analyzer(address, &pki.tls(Profile::Analyzer, "sensor-1")).await;
    let three = [content("text/plain", "a"), content("image/png", "b"), content("text/plain", "c")].concat();
    say(&mut peer, three).await;
    expect(&mut peer, &[OK, &status(415), OK].concat()).await;
    assert_eq!(keep.texts(), ["a", "c"]);
    assert_eq!(refused(&manager, "unknown_type"), 1);
    peer.shutdown().await.unwrap();
    assert_eq!(rest(&mut peer).await, "");
}
