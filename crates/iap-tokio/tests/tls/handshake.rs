//! Handshakes that succeed, and what both sides learn.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use iap_proto::DataRole;
use iap_tokio::tls::{Claim, MinVersion, Reason, Roles, Version, manager_name};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

use crate::{Site, agree, manager_refuses, meet, old_provider, pki, reason, talk, tls};

#[tokio::test]
async fn both_sides_know_each_other() {
    let site = Site::new();
    for (manager, version) in
        [(site.manager(), Version::Tls13), (site.manager().with_provider(old_provider()), Version::Tls12)]
    {
        let (a, m) = agree(site.analyzer(), manager).await;
        assert_eq!(a.handshake, m.handshake);
        assert_eq!((a.handshake.version, a.handshake.resumed), (version, false));
        assert!(a.handshake.cipher_suite.contains("AES") || a.handshake.cipher_suite.contains("CHACHA"));
        assert_eq!(a.peer.display(), "manager.example.org");
        assert_eq!((m.peer.display(), m.peer.common_name()), ("sensor-1", Some("sensor-1")));
        assert_eq!(m.peer.alternative_names().dns, ["sensor-1.sensors.example.org"]);
        assert_eq!(m.peer.not_after(), i64::try_from(crate::NOW + 30 * crate::DAY).unwrap());
        assert!(m.peer.roles().generator && !m.peer.roles().consumer);
        assert_eq!(m.peer.fingerprint(), iap_tokio::tls::Fingerprint::of(&site.analyzer.der));
        assert_ne!(m.peer.roles(), Roles::default());
    }
}

#[tokio::test]
async fn tls_side_does_not_depend_on_who_dialled() {
    // The first end of the link is the one that dialled. IAP-075: the analyzer sends its ClientHello on either.
    let site = Site::new();
    let (analyzer, manager) = (tls(site.analyzer()), tls(site.manager()));
    let name = manager_name("manager.example.org").unwrap();
    for analyzer_dials in [true, false] {
        let (dialler, dialled) = tokio::io::duplex(1 << 16);
        let (a, m) = if analyzer_dials { (dialler, dialled) } else { (dialled, dialler) };
        let (a, m) =
            tokio::join!(analyzer.connect(a, &name, Claim::MANAGER), manager.accept(m, Bytes::new(), Claim::ANALYZER));
        talk(&mut a.unwrap().stream, &mut m.unwrap().stream).await;
    }
}

#[tokio::test]
async fn early_octets_belong_to_the_handshake() {
    let site = Site::new();
    let (analyzer, manager) = (tls(site.analyzer()), tls(site.manager()));
    let name = manager_name("manager.example.org").unwrap();
    for early in [1, 5, 60, 4096] {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let accept = async {
            let mut read = BytesMut::with_capacity(early);
            while read.is_empty() || (early < 100 && read.len() < early) {
                let mut some = (&mut far).take((early - read.len()) as u64);
                some.read_buf(&mut read).await.unwrap();
            }
            manager.accept(far, read.freeze(), Claim::ANALYZER).await
        };
        let (a, m) = tokio::join!(analyzer.connect(near, &name, Claim::MANAGER), accept);
        talk(&mut a.unwrap().stream, &mut m.unwrap().stream).await;
    }
}

#[tokio::test]
async fn octets_that_are_not_a_client_hello_are_refused() {
    let site = Site::new();
    let manager = tls(site.manager());
    let (_near, far) = tokio::io::duplex(1 << 16);
    let error = manager.accept(far, Bytes::from_static(b"IAP/0.3 101\r\n\r\n"), Claim::ANALYZER).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Other);
}

#[tokio::test]
async fn a_floor_of_tls_1_3_refuses_tls_1_2() {
    let site = Site::new();
    let floor = |config: iap_tokio::tls::TlsConfig| config.with_min_version(MinVersion::Tls13);
    let (a, _) = agree(floor(site.analyzer()), floor(site.manager())).await;
    assert_eq!(a.handshake.version, Version::Tls13);
    let old = tls(site.analyzer().with_provider(old_provider()));
    let (a, m) = meet(&old, &tls(floor(site.manager()))).await;
    assert_eq!((reason(&a), reason(&m)), (Some(Reason::ProtocolVersion), Some(Reason::ProtocolVersion)));
    let old = tls(site.manager().with_provider(old_provider()));
    let (a, m) = meet(&tls(floor(site.analyzer())), &old).await;
    assert_eq!((reason(&a), reason(&m)), (Some(Reason::ProtocolVersion), Some(Reason::ProtocolVersion)));
}

#[tokio::test]
async fn an_analyzer_without_certificate_is_refused() {
    let site = Site::new();
    for provider in [Arc::new(crate::provider()), old_provider()] {
        let mut roots = rustls::RootCertStore::empty();
        let ca = <rustls_pki_types::CertificateDer<'_> as rustls_pki_types::pem::PemObject>::from_pem_slice(
            site.ca.pem.as_bytes(),
        );
        roots.add(ca.unwrap()).unwrap();
        let client = rustls::ClientConfig::builder_with_details(provider, site.clock.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (near, far) = tokio::io::duplex(1 << 16);
        let name = manager_name("manager.example.org").unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
        let manager = tls(site.manager());
        let (client, m) =
            tokio::join!(connector.connect(name, near), manager.accept(far, Bytes::new(), Claim::ANALYZER));
        assert_eq!(m.unwrap_err().reason(), Reason::NoCertificate);
        let error = match client {
            Err(error) => error,
            Ok(mut stream) => stream.read_u8().await.unwrap_err(),
        };
        let told = iap_tokio::tls::TlsError::from_io(&error);
        // TLS 1.2 has no alert for it and says handshake_failure or the like.
        assert!(matches!(told, iap_tokio::tls::TlsError::RefusedByPeer { .. }), "{told:?}");
    }
}

#[tokio::test]
async fn the_data_role_decides_about_the_manager() {
    let site = Site::new();
    let manager = |usages| site.ca.issue(pki::Spec { usages, ..pki::manager("manager.example.org") });
    let both = manager(vec![pki::server_auth(), pki::consumer(), pki::configurator()]);
    let commands = manager(vec![pki::server_auth(), pki::configurator()]);
    let name = manager_name("manager.example.org").unwrap();
    let analyzer = tls(site.analyzer());
    for (leaf, role, allowed) in [
        (&site.manager, DataRole::Receiver, true),
        (&site.manager, DataRole::Sender, false),
        (&commands, DataRole::Receiver, false),
        (&commands, DataRole::Sender, true),
        (&both, DataRole::Receiver, true),
        (&both, DataRole::Sender, true),
    ] {
        let manager = tls(site.config(leaf));
        // Known before the handshake.
        let (near, far) = tokio::io::duplex(1 << 16);
        let claim = Claim::MANAGER.with_role(role);
        let (a, _) =
            tokio::join!(analyzer.connect(near, &name, claim), manager.accept(far, Bytes::new(), Claim::ANALYZER));
        assert_eq!(a.as_ref().err().map(|error| error.reason()), (!allowed).then_some(Reason::MissingEku), "{role}");
        // Known only later.
        let (a, _) = meet(&analyzer, &manager).await;
        let later = analyzer.check_role(&a.unwrap().peer, claim);
        assert_eq!(later.is_ok(), allowed, "{role}: {later:?}");
    }
    // An analyzer needs its one role in both directions.
    let (_, m) = meet(&analyzer, &tls(site.manager())).await;
    let peer = m.unwrap().peer;
    for role in [DataRole::Sender, DataRole::Receiver] {
        assert!(analyzer.check_role(&peer, Claim::ANALYZER.with_role(role)).is_ok());
        assert!(analyzer.check_role(&peer, Claim::MANAGER.with_role(role)).is_err());
    }
    manager_refuses(&site, &commands, site.manager(), Reason::MissingEku, "unsupported_certificate").await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_during_the_handshake_applies_to_it() {
    let site = Site::new();
    let name = manager_name("manager.example.org").unwrap();
    let forbid = |config: iap_tokio::tls::TlsConfig| config.with_allow_list(["cn:nobody".parse().unwrap()]);
    let (analyzer, manager) = (tls(site.analyzer()), tls(site.manager()));
    let (near, far) = tokio::io::duplex(1 << 16);
    let accept = manager.accept(far, Bytes::new(), Claim::ANALYZER);
    let change_then_connect = async {
        // The manager is waiting for the ClientHello by now.
        tokio::time::sleep(Duration::from_secs(1)).await;
        manager.replace(forbid(site.manager())).unwrap();
        analyzer.connect(near, &name, Claim::MANAGER).await
    };
    let (m, _) = tokio::join!(accept, change_then_connect);
    assert_eq!(m.unwrap_err().reason(), Reason::NotAllowed);
}

/// Two ends `delay` apart, each way. Order is kept; nothing else is delayed.
fn far_apart(delay: Duration) -> (DuplexStream, DuplexStream) {
    let (near, near_wire) = tokio::io::duplex(1 << 16);
    let (far, far_wire) = tokio::io::duplex(1 << 16);
    let (near_read, near_write) = tokio::io::split(near_wire);
    let (far_read, far_write) = tokio::io::split(far_wire);
    for (mut read, mut write) in [(near_read, far_write), (far_read, near_write)] {
        let (send, mut receive) = tokio::sync::mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
        tokio::spawn(async move {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(count @ 1..) = read.read(&mut buffer).await {
                let _ = send.send((Instant::now() + delay, buffer[..count].to_vec()));
            }
        });
        tokio::spawn(async move {
            while let Some((due, octets)) = receive.recv().await {
                tokio::time::sleep_until(due).await;
                if write.write_all(&octets).await.is_err() {
                    break;
                }
            }
        });
    }
    (near, far)
}

#[tokio::test(start_paused = true)]
async fn round_trips_before_the_analyzer_may_speak() {
    const HALF: Duration = Duration::from_millis(50);
    let site = Site::new();
    let name = manager_name("manager.example.org").unwrap();
    for (manager, full, resumed) in [(site.manager(), 1, 1), (site.manager().with_provider(old_provider()), 2, 1)] {
        let (analyzer, manager) = (tls(site.analyzer()), tls(manager));
        for (again, trips) in [(false, full), (true, resumed)] {
            let (near, far) = far_apart(HALF);
            let begin = Instant::now();
            let connect = async {
                let up = analyzer.connect(near, &name, Claim::MANAGER).await.unwrap();
                (up, begin.elapsed())
            };
            let ((mut a, took), m) = tokio::join!(connect, manager.accept(far, Bytes::new(), Claim::ANALYZER));
            assert_eq!(a.handshake.resumed, again);
            // Timers tick in milliseconds.
            let measured = took.as_millis() / (2 * HALF.as_millis());
            assert_eq!(measured, trips, "{:?} {took:?}", a.handshake);
            talk(&mut a.stream, &mut m.unwrap().stream).await;
        }
    }
}
