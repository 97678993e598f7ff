//! How many alerts a second one sensor brings to one manager over loopback and mutual TLS 1.3, acknowledged.
//!
//! `cargo run --release -p iap-tokio --example loopback_rate -- [opaque|idmef] [alerts] [window]`
//!
//! Both ends run in this process, on a runtime of their own; nothing touches the disk.

#![allow(clippy::unwrap_used, reason = "a measurement")]

use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use iap_proto::{Config, Party, Status};
use iap_tokio::manager::{Alert, Handover, Manager, Validation};
use iap_tokio::spool::{Record, Spool, SpoolConfig};
use iap_tokio::tls::{EkuPolicy, Source, Tls, TlsConfig};
use iap_tokio::{Endpoint, Sensor};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// Says yes to everything.
struct Accept;

impl Handover for Accept {
    async fn hand_over(&self, alerts: Vec<Alert>) -> Vec<Status> {
        vec![Status::OK; alerts.len()]
    }
}

/// An alert of 860 octets, as IDMEF.
fn alert(n: u32) -> String {
    let head = format!(
        r#"<?xml version="1.0" encoding="UTF-8"?><IDMEF-Message xmlns="http://iana.org/idmef" version="1.0"><Alert messageid="m{n:010}"><Analyzer analyzerid="sensor-1" name="suricata" class="NIDS"/><CreateTime ntpstamp="0xe8fe6f80.0x01caafbc">2023-11-14T22:13:20.006999Z</CreateTime><Source><Node><Address category="ipv4-addr"><address>192.0.2.50</address></Address></Node><Service><port>40001</port></Service></Source><Target><Node><Address category="ipv4-addr"><address>198.51.100.10</address></Address></Node><Service><port>80</port></Service></Target><Classification ident="1:1000001" text="phf remote command attempt"/><Assessment><Impact severity="high" type="other">Web Application Attack</Impact></Assessment>"#
    );
    let fill = r#"<AdditionalData type="string" meaning="fill"><string>"#;
    let tail = "</string></AdditionalData></Alert></IDMEF-Message>";
    format!("{head}{fill}{}{tail}", "x".repeat(860 - head.len() - fill.len() - tail.len()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let validation = match arguments.next().as_deref() {
        Some("idmef") => Validation::Idmef,
        _ => Validation::Opaque,
    };
    let count: u32 = arguments.next().map_or(Ok(500_000), |text| text.parse())?;
    let window: NonZeroUsize = arguments.next().map_or(Ok(NonZeroUsize::new(512).ok_or("0")?), |text| text.parse())?;

    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
    let issue = |name: &str| -> Result<Tls, Box<dyn Error>> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![name.to_owned()])?.signed_by(&key, &ca)?;
        let certificate = Source::inline("certificate", certificate.pem());
        let config =
            TlsConfig::new(certificate, Source::inline("key", key.serialize_pem()), Source::inline("ca", ca.pem()));
        Ok(Tls::new(config.with_eku_policy(EkuPolicy::Ignore))?)
    };
    let (manager_tls, sensor_tls) = (issue("manager.example.com")?, issue("sensor-1")?);

    let (address_in, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let manager =
                Manager::builder(manager_tls, Accept).with_validation(validation).listen(listener).start().unwrap();
            address_in.send(manager.local_addrs()[0]).unwrap();
            std::future::pending::<()>().await;
        });
    });
    let address = address.recv()?.to_string();

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let spool = Spool::in_memory(SpoolConfig::default().with_max_bytes(64 << 20))?;
        let config = Config::builder(Party::Analyzer).with_window(window).build()?;
        let sensor = Sensor::builder(sensor_tls, "manager.example.com", spool)?
            .with_config(config)
            .connect(Endpoint::new(address, "manager.example.com".parse()?))
            .start()?;
        let bodies: Vec<String> = (0..count).map(alert).collect();
        assert_eq!(bodies[0].len(), 860);
        let began = Instant::now();
        for chunk in bodies.chunks(1024) {
            let records = chunk.iter().map(|body| Record::new("application/x-idef-alert", body.clone())).collect();
            sensor.spool().append(records, None).await?;
        }
        sensor.drained().await;
        let took = began.elapsed().as_secs_f64();
        let acked = sensor.counters().acked.load(Relaxed);
        println!("{acked} alerts of 860 octets, window {window}: {:.0} alerts/s", f64::from(count) / took);
        Ok(())
    })
}
