//! Peers that do not play by the rules.

use std::time::Duration;

use bytes::Bytes;
use iap_tokio::tls::{Claim, Reason, TlsError, manager_name};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{Site, tls};

/// The extension `signature_algorithms` with one algorithm, ECDSA with P-256 and SHA-256.
const SIGNATURE_ALGORITHMS: [u8; 8] = [0, 13, 0, 4, 0, 2, 4, 3];

/// A ClientHello that offers at most TLS 1.`minor` (RFC 4346 section 7.4.1.2), with an AES and a 3DES suite.
fn hello(minor: u8, extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, minor + 1];
    body.extend([0x42; 32]);
    body.extend([0, 0, 4, 0x00, 0x2f, 0x00, 0x0a, 1, 0]);
    if !extensions.is_empty() {
        body.extend([0, u8::try_from(extensions.len()).unwrap()]);
        body.extend(extensions);
    }
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(body);
    record
}

#[tokio::test]
async fn tls_1_1_is_refused_with_an_alert() {
    let site = Site::new();
    // A fatal alert: protocol_version (70), or handshake_failure (40) where rustls misses the extension first.
    for (hello, alert) in [
        (hello(1, &SIGNATURE_ALGORITHMS), 70),
        (hello(0, &SIGNATURE_ALGORITHMS), 70),
        (hello(1, &[]), 40),
        (hello(0, &[]), 40),
    ] {
        let (mut near, far) = tokio::io::duplex(1 << 16);
        near.write_all(&hello).await.unwrap();
        let manager = tls(site.manager());
        let refused = async {
            let error = manager.accept(far, Bytes::new(), Claim::ANALYZER).await.unwrap_err();
            assert_eq!(error.reason(), Reason::ProtocolVersion, "{error:?}");
        };
        let peer = async {
            let mut answer = Vec::new();
            near.read_to_end(&mut answer).await.unwrap();
            near.shutdown().await.unwrap();
            assert_eq!((answer[0], &answer[3..]), (21, &[0, 2, 2, alert][..]), "{answer:02x?}");
        };
        tokio::join!(refused, peer);
    }
}

#[tokio::test]
async fn tls_1_2_without_a_common_suite_is_refused() {
    let site = Site::new();
    let (mut near, far) = tokio::io::duplex(1 << 16);
    near.write_all(&hello(2, &SIGNATURE_ALGORITHMS)).await.unwrap();
    near.shutdown().await.unwrap();
    let error = tls(site.manager()).accept(far, Bytes::new(), Claim::ANALYZER).await.unwrap_err();
    assert!(matches!(error, TlsError::Protocol { reason: Reason::Other, .. }), "{error:?}");
}

#[tokio::test]
async fn garbage_is_refused_on_both_sides() {
    let site = Site::new();
    let (analyzer, manager) = (tls(site.analyzer()), tls(site.manager()));
    let name = manager_name("manager.example.org").unwrap();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 64], &[0xff; 20_000], &[22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff]] {
        let (mut near, far) = tokio::io::duplex(1 << 16);
        near.write_all(garbage).await.unwrap();
        near.shutdown().await.unwrap();
        let error = manager.accept(far, Bytes::new(), Claim::ANALYZER).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Other, "{error:?}");
        let (mut near, far) = tokio::io::duplex(1 << 16);
        near.write_all(garbage).await.unwrap();
        near.shutdown().await.unwrap();
        let error = analyzer.connect(far, &name, Claim::MANAGER).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Other, "{error:?}");
    }
}

#[tokio::test]
async fn a_lost_connection_is_named_as_such() {
    let site = Site::new();
    let (near, far) = tokio::io::duplex(1 << 16);
    drop(near);
    let error = tls(site.manager()).accept(far, Bytes::new(), Claim::ANALYZER).await.unwrap_err();
    assert_eq!(error, TlsError::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_slow_handshake_runs_out_of_time() {
    let site = Site::new();
    let limit = Duration::from_secs(7);
    let (analyzer, manager) =
        (tls(site.analyzer().with_handshake_timeout(limit)), tls(site.manager().with_handshake_timeout(limit)));
    let name = manager_name("manager.example.org").unwrap();
    // Silence.
    let begin = tokio::time::Instant::now();
    let (_near, far) = tokio::io::duplex(1 << 16);
    assert_eq!(manager.accept(far, Bytes::new(), Claim::ANALYZER).await.unwrap_err(), TlsError::TimedOut(limit));
    let (_near, far) = tokio::io::duplex(1 << 16);
    let error = analyzer.connect(far, &name, Claim::MANAGER).await.unwrap_err();
    assert_eq!((error.reason(), begin.elapsed().as_secs()), (Reason::TimedOut, 14));
    // An octet now and then does not gain time.
    let (mut near, far) = tokio::io::duplex(1 << 16);
    let drip = tokio::spawn(async move {
        for octet in hello(1, &[]) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if near.write_u8(octet).await.is_err() {
                break;
            }
        }
    });
    let begin = tokio::time::Instant::now();
    assert_eq!(manager.accept(far, Bytes::new(), Claim::ANALYZER).await.unwrap_err(), TlsError::TimedOut(limit));
    assert_eq!(begin.elapsed().as_secs(), 7);
    drip.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refused_peer_cannot_hold_the_connection() {
    // It neither reads the alert nor closes: the manager waits half a second for it, then leaves.
    let site = Site::new();
    let (mut near, far) = tokio::io::duplex(1 << 16);
    near.write_all(b"garbage, and then nothing").await.unwrap();
    let begin = tokio::time::Instant::now();
    tls(site.manager()).accept(far, Bytes::new(), Claim::ANALYZER).await.unwrap_err();
    assert!(begin.elapsed() <= Duration::from_millis(501), "{:?}", begin.elapsed());
}
