//! A sensor and a manager in one process: three alerts over mutual TLS on the loopback, acknowledged one by one.
//!
//! `cargo run -p iap-tokio --example deliver`

use std::error::Error;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use iap_tokio::manager::{Delivery, Manager};
use iap_tokio::spool::{Record, Spool, SpoolConfig};
use iap_tokio::tls::{EkuPolicy, Source, Tls, TlsConfig};
use iap_tokio::{Endpoint, Sensor};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

type Outcome<T> = Result<T, Box<dyn Error>>;

const MANAGER: &str = "manager.example.com";

/// A CA for the moment, and the credentials of both. In earnest the files of `Source::file` are watched.
fn credentials() -> Outcome<(Tls, Tls)> {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
    let issue = |name: &str| -> Outcome<Tls> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = Source::inline("certificate", params.signed_by(&key, &ca)?.pem());
        let key = Source::inline("key", key.serialize_pem());
        let config = TlsConfig::new(certificate, key, Source::inline("ca", ca.pem()));
        Ok(Tls::new(config.with_eku_policy(EkuPolicy::Ignore))?)
    };
    Ok((issue(MANAGER)?, issue("sensor-1")?))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let (manager_tls, sensor_tls) = credentials()?;

    // The manager: what arrives comes out of a channel, and is answered when it is safe.
    let (handover, mut deliveries) = tokio::sync::mpsc::channel::<Delivery>(16);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let manager = Manager::builder(manager_tls, handover).listen(listener).start()?;
    let address = manager.local_addrs()[0].to_string();
    let collector = tokio::spawn(async move {
        let mut safe = Vec::new();
        while let Some(delivery) = deliveries.recv().await {
            for alert in delivery.alerts() {
                println!("manager: {} says {}", alert.peer.display(), String::from_utf8_lossy(&alert.body));
                safe.push(alert.body.clone());
            }
            delivery.accept(); // 200, and not before
        }
        safe
    });

    // The sensor: what is in the spool is sent until it is answered. `Spool::open` is the one on disk.
    let spool = Spool::in_memory(SpoolConfig::default())?;
    let sensor =
        Sensor::builder(sensor_tls, MANAGER, spool)?.connect(Endpoint::new(address, MANAGER.parse()?)).start()?;
    let alerts = ["fire on the hill", "fire at sea", "all is well"];
    sensor.spool().append(alerts.iter().map(|alert| Record::new("text/plain", *alert)).collect(), None).await?;
    sensor.drained().await;
    println!("sensor: {} answered", sensor.counters().acked.load(Relaxed));

    sensor.shutdown(Duration::from_secs(5)).await;
    manager.shutdown(Duration::from_secs(5)).await;
    let safe = collector.await?;
    if safe.len() == alerts.len() { Ok(()) } else { Err(format!("{} alerts arrived", safe.len()).into()) }
}
