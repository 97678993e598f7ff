//! Both ends of `rates.py`: a load of mitigation requests, and a Call Home server that answers them.
//!
//! `certificates DIR` writes credentials for both; `serve tls|dtls DIR PORT` calls the load at that port; `load tls|dtls
//! DIR PORT REQUESTS WINDOW` sends requests to whoever listens at that port, or, with port 0, waits to be called.
#![allow(clippy::print_stdout, reason = "it says what it measured")]

mod attack;
mod channel;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Instant;

use async_trait::async_trait;
use channel::{Channel, Credentials, End, Outcome};
use dots_callhome::wire::{MessageBuf, Token, udp};
use dots_callhome::{AnySource, Transport};
use dots_tokio::server::{CallHomeServerEvent, Mitigator, MitigatorError, Order, Upstream};
use dots_tokio::{CallHomeServer, Security, SecurityConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// Whoever asks, and whoever is asked.
const CLIENT: &str = "client.example";
const SERVER: &str = "home.example";

fn certificates(folder: &Path) -> Outcome<()> {
    let named = |names: Vec<String>, name: &str| -> Outcome<CertificateParams> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, name);
        Ok(params)
    };
    let mut ca = named(Vec::new(), "CA of a benchmark")?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
    std::fs::write(folder.join("ca.pem"), ca.pem())?;
    for name in [CLIENT, SERVER] {
        let key = KeyPair::generate()?;
        let certificate = named(vec![name.to_owned()], name)?.signed_by(&key, &ca)?;
        std::fs::write(folder.join(format!("{name}.pem")), certificate.pem())?;
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem())?;
    }
    Ok(())
}

/// Does nothing, at once: what is measured is the protocol.
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

#[tokio::main(flavor = "current_thread")]
async fn serve(transport: Transport, folder: &Path, port: u16) -> Outcome<()> {
    let read = |name: String| std::fs::read(folder.join(name));
    let config = SecurityConfig::new()
        .with_certificate(&read(format!("{SERVER}.pem"))?, &read(format!("{SERVER}.key"))?)?
        .with_ca(&read("ca.pem".to_owned())?)?;
    let server = CallHomeServer::builder(Security::new(&config)?, AnySource, Nothing)
        // Nobody asks so often but a benchmark.
        .with_machine(|machine| machine.with_requests_per_second(10_000_000))
        .call(Upstream::new(CLIENT, port).at([Ipv4Addr::LOCALHOST.into()]).over(transport))
        .start()?;
    let mut events = server.events();
    loop {
        match events.next().await {
            Ok(CallHomeServerEvent::Up { .. }) => println!("{{\"event\":\"up\"}}"),
            Ok(CallHomeServerEvent::AttemptFailed { error, .. }) => return Err(error.into()),
            Err(dots_tokio::client::Missed::Stopped) => return Ok(()),
            Ok(_) | Err(_) => {}
        }
    }
}

/// Requests, each under its own token and, as a datagram, its own Message ID.
struct Requests {
    transport: Transport,
    message: MessageBuf,
    count: u64,
}

impl Requests {
    fn new(transport: Transport) -> Self {
        let message = attack::request(&attack::unhex(attack::CALL_HOME));
        Self { transport, message, count: 0 }
    }

    fn next(&mut self) -> Vec<u8> {
        self.count += 1;
        let token = Token::new(&self.count.to_be_bytes()).unwrap_or_default();
        let message = self.message.clone().with_token(token);
        let mut octets = Vec::with_capacity(256);
        match self.transport {
            Transport::Datagram => message.encode_udp(udp::Type::Non, self.count as u16, &mut octets),
            Transport::Stream => message.encode_tcp(&mut octets),
        }
        octets
    }
}

fn load(transport: Transport, folder: &Path, port: u16, count: u64, window: u64) -> Outcome<()> {
    let to: SocketAddr = (Ipv4Addr::LOCALHOST, port).into();
    let end = if port == 0 { End::Listen } else { End::Dial(to) };
    let listening = |port| println!("{{\"event\":\"listening\",\"port\":{port}}}");
    let mut channel = Channel::new(transport, end, &Credentials::read(folder, CLIENT)?, listening)?;
    let mut requests = Requests::new(transport);
    // Not counted: the first ones, which find everything cold.
    let warm = count / 10;
    let (mut answered, mut lost, mut under_way) = (0u64, 0u64, 0u64);
    let mut began = Instant::now();
    let (mut sent, mut times) = (Instant::now(), Vec::with_capacity(count as usize));
    while answered < count + warm {
        if under_way < window {
            let batch: Vec<Vec<u8>> = (under_way..window).map(|_| requests.next()).collect();
            sent = Instant::now();
            channel.send(&batch)?;
            under_way = window;
        }
        let mut refused = None;
        let mut came = 0;
        let heard = channel.receive(|message| {
            if message.code.is_success() {
                came += 1;
            } else if message.code.is_response() {
                refused = Some((message.code, String::from_utf8_lossy(message.payload).into_owned()));
            }
        })?;
        if let Some((code, text)) = refused {
            return Err(format!("answered {code} {text}").into());
        }
        if !heard {
            (lost, under_way) = (lost + under_way, 0);
            continue;
        }
        if answered < warm && answered + came >= warm {
            (began, times) = (Instant::now(), std::mem::take(&mut times));
            times.clear();
        }
        answered += came;
        under_way = under_way.saturating_sub(came);
        if came > 0 {
            times.push(sent.elapsed());
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    times.sort();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default().as_secs_f64() * 1e6;
    println!(
        "{{\"event\":\"done\",\"answered\":{count},\"seconds\":{seconds},\"lost\":{lost},\"p50\":{},\"p99\":{}}}",
        at(50),
        at(99)
    );
    Ok(())
}

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let transport = |word: &str| match word {
        "tls" => Ok(Transport::Stream),
        "dtls" => Ok(Transport::Datagram),
        _ => Err(format!("{word} is neither tls nor dtls")),
    };
    match words.as_slice() {
        ["certificates", folder] => certificates(Path::new(folder)),
        ["serve", carrier, folder, port] => serve(transport(carrier)?, Path::new(folder), port.parse()?),
        ["load", carrier, folder, port, count, window] => {
            load(transport(carrier)?, Path::new(folder), port.parse()?, count.parse()?, window.parse()?)
        }
        // As `cargo bench` without words: that it can be called at all.
        [] => Ok(()),
        other => Err(format!("what is {other:?}?").into()),
    }
}
