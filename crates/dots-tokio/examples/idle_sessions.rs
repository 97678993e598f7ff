//! How much memory an idle session takes at a Call Home client.
//!
//! `cargo run --release -p dots-tokio --example idle_sessions -- 10000 dtls` (or `tls`); with many sessions, after
//! `ulimit -n 65536`. The servers run in a second process, which this one starts. Linux, because of /proc.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a measurement")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use dots_callhome::{AnySource, Transport};
use dots_tokio::client::{CallHomeClientEvent, ClientLimits};
use dots_tokio::server::{Mitigator, MitigatorError, Order, Upstream};
use dots_tokio::{CallHomeClient, CallHomeServer, Security, SecurityConfig};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const NAME: &str = "isp.example";

struct Nothing;

#[async_trait]
impl Mitigator for Nothing {
    async fn start(&self, _: &Order) -> Result<(), MitigatorError> {
        Ok(())
    }

    async fn stop(&self, _: &Order) -> Result<(), MitigatorError> {
        Ok(())
    }
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn issue(key_of_ca: &str, ca: &str, name: &str) -> Outcome<SecurityConfig> {
    let issuer = Issuer::new(ca_params(), KeyPair::from_pem(key_of_ca)?);
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec![name.to_owned()])?.signed_by(&key, &issuer)?;
    let config = SecurityConfig::new();
    let config = config.with_certificate(certificate.pem().as_bytes(), key.serialize_pem().as_bytes())?;
    Ok(config.with_ca(ca.as_bytes())?)
}

/// Octets of this process that are in memory.
fn resident() -> Outcome<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).ok_or("no such field")?.parse()?;
    Ok(pages * 4096)
}

/// The servers: many in one process.
async fn call(count: usize, to: SocketAddr, transport: Transport) -> Outcome<()> {
    let pems = std::io::read_to_string(std::io::stdin())?;
    let (key, ca) = pems.split_once("\n\n").ok_or("key and CA, please")?;
    let mut servers = Vec::new();
    for number in 0..count {
        let security = Security::new(&issue(key, ca, &format!("home-{number}.example"))?)?;
        let upstream = Upstream::new(NAME, to.port())
            .at([to.ip()])
            .over(transport)
            .with_dialer(|dialer| dialer.with_retry_min(Duration::from_secs(1)).with_retry_max(Duration::from_secs(5)));
        servers.push(CallHomeServer::builder(security, AnySource, Nothing).call(upstream).start()?);
        // As fast as they are let in.
        while servers.last().is_some_and(|last| last.upstreams().iter().any(|upstream| upstream.session.is_none())) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    std::future::pending().await
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let count: usize = arguments.first().map_or(Ok(1000), |count| count.parse())?;
    let transport = if arguments.iter().any(|word| word == "tls") { Transport::Stream } else { Transport::Datagram };
    if let Some(at) = arguments.iter().position(|word| word == "call") {
        return call(count, arguments.get(at + 1).ok_or("where to?")?.parse()?, transport).await;
    }
    let key_of_ca = KeyPair::generate()?;
    let ca = ca_params().self_signed(&key_of_ca)?.pem();
    let security = Security::new(&issue(&key_of_ca.serialize_pem(), &ca, NAME)?)?;
    let mut limits = ClientLimits::default();
    (limits.sessions, limits.peers, limits.sessions_per_address) = (count + 1, count + 1, count + 1);
    let builder = CallHomeClient::builder(security, AnySource).with_limits(limits);
    let client = match transport {
        Transport::Stream => builder.listen_tls(tokio::net::TcpListener::bind("127.0.0.1:0").await?).start()?,
        Transport::Datagram => builder.listen_dtls(tokio::net::UdpSocket::bind("127.0.0.1:0").await?).start()?,
    };
    let address = *client.tls_addrs().first().or_else(|| client.dtls_addrs().first()).ok_or("no listener")?;
    let before = resident()?;
    let word = if transport == Transport::Stream { "tls" } else { "dtls" };
    let mut child = Command::new(std::env::current_exe()?)
        .args([&count.to_string(), word, "call", &address.to_string()])
        .stdin(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().ok_or("no stdin")?;
    write!(input, "{}\n\n{ca}", key_of_ca.serialize_pem())?;
    drop(input);
    let began = Instant::now();
    while client.session_count() < count {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("{count} sessions over {word} after {:.1} s", began.elapsed().as_secs_f64());
    let mut events = client.events();
    for seconds in [5, 30] {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        println!("{} octets each", resident()?.saturating_sub(before) / count as u64);
    }
    // For each session, when it was heard last, and how many messages there were then. Heartbeats go both ways, at 30 s;
    // so nobody is silent for longer.
    let mut heard: BTreeMap<Arc<str>, (u64, Instant)> = BTreeMap::new();
    let mut longest = Duration::ZERO;
    let watching = Instant::now();
    while watching.elapsed() < Duration::from_secs(65) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for peer in client.peers() {
            let Some(session) = &peer.session else { continue };
            let (count, at) = heard.entry(Arc::clone(&peer.peer)).or_insert_with(|| (0, Instant::now()));
            if *count != session.stats.received {
                (*count, *at) = (session.stats.received, Instant::now());
            }
            longest = longest.max(at.elapsed());
        }
    }
    println!("{:.1} s of silence at most in any of them, looked at each second", longest.as_secs_f64());
    let mut lost = 0;
    while let Ok(Ok(event)) = tokio::time::timeout(Duration::from_millis(10), events.next()).await {
        lost += usize::from(matches!(event, CallHomeClientEvent::Disconnected { .. }));
    }
    let heard =
        client.peers().iter().filter_map(|peer| peer.session.as_ref().map(|session| session.stats.received)).min();
    println!(
        "{} sessions, {lost} lost, at least {} messages received in each",
        client.session_count(),
        heard.unwrap_or(0)
    );
    child.kill()?;
    child.wait()?;
    Ok(())
}
