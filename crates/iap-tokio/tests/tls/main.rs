//! TLS and peer identity, over in-memory links with certificates made on the spot.
#![cfg(any(feature = "ring", feature = "aws-lc-rs"))]
#![allow(missing_docs, clippy::unwrap_used)]

mod dir;
mod handshake;
mod hostile;
mod openssl;
mod pki;
mod policy;
mod reload;
mod resume;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use iap_tokio::tls::{Claim, Established, Reason, Sessions, Source, Tls, TlsConfig, TlsError, manager_name};
use rustls::crypto::CryptoProvider;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};

use pki::{Ca, Leaf};

/// The time at which the tests play, in seconds since 1970.
const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

#[derive(Debug)]
struct Clock(AtomicU64);

impl Clock {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(NOW)))
    }

    fn set(&self, time: u64) {
        self.0.store(time, Ordering::SeqCst);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(self.0.load(Ordering::SeqCst))))
    }
}

fn provider() -> CryptoProvider {
    #[cfg(feature = "ring")]
    return rustls::crypto::ring::default_provider();
    #[cfg(not(feature = "ring"))]
    return rustls::crypto::aws_lc_rs::default_provider();
}

/// A provider that can only do TLS 1.2.
fn old_provider() -> Arc<CryptoProvider> {
    let mut provider = provider();
    provider.cipher_suites.retain(|suite| suite.version().version == rustls::ProtocolVersion::TLSv1_2);
    Arc::new(provider)
}

fn tickets() -> Sessions {
    #[cfg(feature = "ring")]
    return Sessions::Custom(rustls::crypto::ring::Ticketer::new().unwrap());
    #[cfg(not(feature = "ring"))]
    return Sessions::Custom(rustls::crypto::aws_lc_rs::Ticketer::new().unwrap());
}

/// A configuration for a node with this certificate that trusts this CA.
fn config(leaf: &Leaf, trusted: &Ca, clock: &Arc<Clock>) -> TlsConfig {
    TlsConfig::new(
        Source::inline("node.pem", leaf.chain.clone()),
        Source::inline("node.key", leaf.key.clone()),
        Source::inline("ca.pem", trusted.pem.clone()),
    )
    .with_clock(Arc::clone(clock) as _)
}

fn tls(config: TlsConfig) -> Tls {
    Tls::new(config).unwrap()
}

type Outcome = Result<Established<DuplexStream>, TlsError>;

/// A handshake between an analyzer and a manager called `manager.example.org`; then an octet each way, if both are up.
async fn meet(analyzer: &Tls, manager: &Tls) -> (Outcome, Outcome) {
    meet_at(analyzer, manager, "manager.example.org").await
}

async fn meet_at(analyzer: &Tls, manager: &Tls, name: &str) -> (Outcome, Outcome) {
    let (near, far) = tokio::io::duplex(1 << 16);
    let name = manager_name(name).unwrap();
    let (mut a, mut m) =
        tokio::join!(analyzer.connect(near, &name, Claim::MANAGER), manager.accept(far, Bytes::new(), Claim::ANALYZER));
    if let (Ok(a), Ok(m)) = (&mut a, &mut m) {
        talk(&mut a.stream, &mut m.stream).await;
    }
    (a, m)
}

async fn talk(a: &mut (impl AsyncRead + AsyncWrite + Unpin), m: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    a.write_all(b"alert").await.unwrap();
    a.flush().await.unwrap();
    let mut heard = [0; 5];
    m.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"alert");
    m.write_all(b"200").await.unwrap();
    m.flush().await.unwrap();
    let mut answer = [0; 3];
    a.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"200");
}

/// What the analyzer finds out: from the handshake, or, under TLS 1.3, from its first read.
async fn what_analyzer_learns(outcome: Outcome) -> TlsError {
    match outcome {
        Err(error) => error,
        Ok(mut up) => {
            let error = up.stream.read_u8().await.expect_err("the manager refused, yet sent data");
            TlsError::from_io(&error)
        }
    }
}

fn reason(outcome: &Outcome) -> Option<Reason> {
    outcome.as_ref().err().map(TlsError::reason)
}

/// A CA, and the configurations of an analyzer and of the manager `manager.example.org` under it.
struct Site {
    ca: Ca,
    clock: Arc<Clock>,
    analyzer: Leaf,
    manager: Leaf,
}

impl Site {
    fn new() -> Self {
        let ca = Ca::new("Test CA");
        let analyzer = ca.issue(pki::analyzer("sensor-1"));
        let manager = ca.issue(pki::manager("manager.example.org"));
        Self { ca, clock: Clock::new(), analyzer, manager }
    }

    fn analyzer(&self) -> TlsConfig {
        config(&self.analyzer, &self.ca, &self.clock)
    }

    fn manager(&self) -> TlsConfig {
        config(&self.manager, &self.ca, &self.clock)
    }

    fn config(&self, leaf: &Leaf) -> TlsConfig {
        config(leaf, &self.ca, &self.clock)
    }
}

/// Asserts that the manager refuses this analyzer's certificate, and that the analyzer learns `alert` of it.
async fn manager_refuses(site: &Site, leaf: &Leaf, manager: TlsConfig, why: Reason, alert: &str) {
    let (a, m) = meet(&tls(site.config(leaf)), &tls(manager)).await;
    assert_eq!(reason(&m), Some(why), "{m:?}");
    match what_analyzer_learns(a).await {
        TlsError::RefusedByPeer { alert: got, .. } => assert_eq!(got, alert),
        other => panic!("the analyzer learnt {other:?}"),
    }
}

/// Asserts that the analyzer refuses this manager's certificate, and that the manager learns `alert` of it.
async fn analyzer_refuses(site: &Site, leaf: &Leaf, analyzer: TlsConfig, why: Reason, alert: &str) {
    let (a, m) = meet(&tls(analyzer), &tls(site.config(leaf))).await;
    assert_eq!(reason(&a), Some(why), "{a:?}");
    match m.unwrap_err() {
        TlsError::RefusedByPeer { alert: got, .. } => assert_eq!(got, alert),
        other => panic!("the manager learnt {other:?}"),
    }
}

/// Asserts that the two get along.
async fn agree(analyzer: TlsConfig, manager: TlsConfig) -> (Established<DuplexStream>, Established<DuplexStream>) {
    let (a, m) = meet(&tls(analyzer), &tls(manager)).await;
    (a.unwrap(), m.unwrap())
}
