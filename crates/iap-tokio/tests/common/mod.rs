//! A throw-away PKI, and sensors and managers that use it.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests")]

pub mod raw;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use iap_proto::Status;
use iap_tokio::manager::{Alert, Handover, ManagerBuilder};
use iap_tokio::spool::{Record, Spool, SpoolConfig};
use iap_tokio::tls::{Source, Tls, TlsConfig};
use iap_tokio::{Endpoint, Manager, Sensor};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

pub struct Pki {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    Analyzer,
    Manager,
    /// Good for either side of a TLS connection.
    Both,
}

impl Pki {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    /// A configuration with a fresh certificate for `name`, without IAP usages and without asking for them.
    pub fn config(&self, profile: Profile, name: &str) -> TlsConfig {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = match profile {
            Profile::Analyzer => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Profile::Manager => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Profile::Both => vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth],
        };
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        TlsConfig::new(
            Source::inline("certificate", certificate.pem()),
            Source::inline("key", key.serialize_pem()),
            Source::inline("ca", self.issuer.pem()),
        )
        .with_eku_policy(iap_tokio::tls::EkuPolicy::IfPresent)
    }

    pub fn tls(&self, profile: Profile, name: &str) -> Tls {
        Tls::new(self.config(profile, name)).unwrap()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Tls12,
    Tls13,
}

impl Version {
    /// That speaks this version and no other.
    pub fn only(self, config: TlsConfig) -> Tls {
        let config = match self {
            Self::Tls13 => config.with_min_version(iap_tokio::tls::MinVersion::Tls13),
            Self::Tls12 => {
                #[cfg(feature = "ring")]
                let mut provider = rustls::crypto::ring::default_provider();
                #[cfg(not(feature = "ring"))]
                let mut provider = rustls::crypto::aws_lc_rs::default_provider();
                provider.cipher_suites.retain(|suite| suite.version().version == rustls::ProtocolVersion::TLSv1_2);
                config.with_provider(Arc::new(provider))
            }
        };
        Tls::new(config).unwrap()
    }
}

/// Chance that is the same every time.
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Keeps what it is given, and answers what it is told to.
#[derive(Clone, Default)]
pub struct Keep {
    pub bodies: Arc<Mutex<Vec<Vec<u8>>>>,
    pub answer: Arc<Mutex<Option<Status>>>,
}

impl Keep {
    pub fn texts(&self) -> Vec<String> {
        self.bodies.lock().unwrap().iter().map(|body| String::from_utf8_lossy(body).into_owned()).collect()
    }

    pub fn answer(&self, status: Status) {
        *self.answer.lock().unwrap() = Some(status);
    }
}

impl Handover for Keep {
    async fn hand_over(&self, alerts: Vec<Alert>) -> Vec<Status> {
        let status = self.answer.lock().unwrap().unwrap_or(Status::OK);
        if status.is_success() {
            self.bodies.lock().unwrap().extend(alerts.iter().map(|alert| alert.body.to_vec()));
        }
        vec![status; alerts.len()]
    }
}

pub fn manager<H: Handover>(pki: &Pki, handover: H) -> ManagerBuilder<H> {
    Manager::builder(pki.tls(Profile::Manager, "manager.example.com"), handover)
}

/// A listener whose port no other test takes when it is closed.
pub async fn listener() -> tokio::net::TcpListener {
    tokio::net::TcpListener::bind((watchfire_testkit::own_loopback(), 0)).await.unwrap()
}

pub fn endpoint(address: std::net::SocketAddr) -> Endpoint {
    Endpoint::new(address.to_string(), "manager.example.com".parse().unwrap())
}

pub fn sensor(pki: &Pki) -> iap_tokio::sensor::SensorBuilder {
    let spool = Spool::in_memory(SpoolConfig::default()).unwrap();
    Sensor::builder(pki.tls(Profile::Analyzer, "sensor-1"), "manager.example.com", spool).unwrap()
}

/// Numbered opaque alerts.
pub async fn submit(sensor: &Sensor, numbers: std::ops::Range<u32>) {
    let records = numbers.map(|n| Record::new("text/plain", format!("alert {n}"))).collect();
    sensor.spool().append(records, None).await.unwrap();
}

pub fn expected(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|n| format!("alert {n}")).collect()
}

/// Fails the test if it takes longer than anything here ever should.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("took too long")
}

/// Waits until it is so.
pub async fn until(mut holds: impl FnMut() -> bool) {
    soon(async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
