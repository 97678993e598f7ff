//! Both sides in one process: a home calls an operator over DTLS, is asked to stop an attack, and says how it goes.
//!
//! `cargo run -p dots-tokio --example call_home`
#![allow(clippy::print_stdout, reason = "an example says what it does")]

use std::time::Duration;

use async_trait::async_trait;
use dots_callhome::body::{Scope, Status};
use dots_callhome::{AnySource, ClientEvent, Counters, Rules, Transport};
use dots_tokio::client::CallHomeClientEvent;
use dots_tokio::server::{Mitigator, MitigatorError, Order, Report, ServerLimits, Upstream};
use dots_tokio::{CallHomeClient, CallHomeServer, Security, SecurityConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Filters that exist on paper.
struct Paper;

#[async_trait]
impl Mitigator for Paper {
    async fn start(&self, order: &Order) -> Result<(), MitigatorError> {
        println!("home: stops {:?} to {:?}", order.request.sources(), order.request.targets());
        Ok(())
    }

    async fn stop(&self, order: &Order) -> Result<(), MitigatorError> {
        println!("home: lets {:?} through again", order.request.sources());
        Ok(())
    }

    async fn report(&self, _: &Order) -> Result<Report, MitigatorError> {
        Ok(Report::default().with_counters(Counters { bytes: 1_000_000, bps: 50_000, pkts: 1_000, pps: 50 }))
    }
}

/// A CA for the moment, and the credentials of both.
fn credentials() -> Outcome<(SecurityConfig, SecurityConfig)> {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
    let issue = |name: &str| -> Outcome<SecurityConfig> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![name.to_owned()])?.signed_by(&key, &ca)?;
        let config = SecurityConfig::new();
        let config = config.with_certificate(certificate.pem().as_bytes(), key.serialize_pem().as_bytes())?;
        Ok(config.with_ca(ca.pem().as_bytes())?)
    };
    Ok((issue("isp.example")?, issue("home.example")?))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let (isp, home) = credentials()?;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    let client = CallHomeClient::builder(Security::new(&isp)?, AnySource).listen_dtls(socket).start()?;
    let mut events = client.events();

    let mut limits = ServerLimits::default();
    limits.report_every = Duration::from_millis(200);
    let server = CallHomeServer::builder(Security::new(&home)?, AnySource, Paper)
        .with_limits(limits)
        .with_machine(|machine| {
            let rules = Rules::default().with_terminating(Duration::from_secs(1));
            machine.with_rules(rules).with_notify_every(Duration::from_secs(1))
        })
        .call(Upstream::new("isp.example", address.port()).at([address.ip()]).over(Transport::Datagram))
        .start()?;

    client.expect("home.example")?;
    let mut scope = Scope::default();
    scope.target_prefix.push("198.51.100.7/32".parse()?);
    scope.source_prefix.push("192.0.2.10/32".parse()?);
    let mid = client.mitigate("home.example", scope)?;
    loop {
        match events.next().await? {
            CallHomeClientEvent::Connected { peer, address, .. } => println!("isp: {peer} calls from {address}"),
            CallHomeClientEvent::Signal { event: ClientEvent::Granted { mid, lifetime, .. }, .. } => {
                println!("isp: {mid} is granted for {lifetime:?}");
            }
            CallHomeClientEvent::Signal { event: ClientEvent::Status { scope }, .. } => {
                println!("isp: {:?}, {:?} octets dropped", scope.status, scope.bytes_dropped);
                if scope.status == Some(Status::SuccessfullyMitigated) && scope.bytes_dropped.is_some() {
                    client.withdraw("home.example", mid)?;
                }
            }
            CallHomeClientEvent::Signal { event: ClientEvent::Ended { .. }, .. } => break,
            _ => {}
        }
    }
    server.shutdown(Duration::from_secs(5), true).await;
    client.shutdown(Duration::from_secs(2)).await;
    Ok(())
}
