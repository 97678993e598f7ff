//! A whole sensor on `std::net` alone: no async runtime, no threads, TLS by rustls.
//!
//! `std_sensor ADDRESS MANAGER-NAME CERT.pem KEY.pem CA.pem < alerts` sends each line of standard input as one alert,
//! and says what became of it.

#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "this is a driver: it owns socket and clock")]

use std::error::Error;
use std::io::{self, BufRead as _, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use iap_proto::{Config, Initiator, InitiatorEvent, MediaType, Sender, SenderEvent};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use watchfire_core::{Eof, Instant, Output, StreamMachine};

/// The only clock there is. Machines are told what it says.
fn now() -> Instant {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    Instant::ZERO + START.get_or_init(std::time::Instant::now).elapsed()
}

/// Runs a machine over a stream until it reports something. `set_time_out` says how long a read may take.
fn next_event<M: StreamMachine<Transmit = Bytes>>(
    machine: &mut M,
    stream: &mut (impl Read + Write),
    set_time_out: impl Fn(Option<Duration>) -> io::Result<()>,
) -> io::Result<M::Event> {
    let mut buffer = [0; 16 * 1024];
    loop {
        let wake = match machine.poll_output(now()) {
            Output::Transmit(octets) => {
                stream.write_all(&octets)?;
                stream.flush()?;
                continue;
            }
            Output::Event(event) => return Ok(event),
            Output::Timeout(wake) => wake,
        };
        set_time_out(wake.map(|wake| (wake - now()).max(Duration::from_millis(1))))?;
        // An error of these calls comes again as the machine's `Closed` event.
        let _ = match stream.read(&mut buffer) {
            Ok(0) => machine.handle_eof(now(), Eof::Closed),
            Ok(len) => machine.handle_input(now(), buffer.get(..len).unwrap_or_default()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                machine.handle_timeout(now())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(_) => machine.handle_eof(now(), Eof::Truncated),
        };
    }
}

/// Dials a manager and opens a channel to it.
fn connect(address: &str, manager: &str, tls: ClientConfig) -> Result<(Stream, Sender), Box<dyn Error>> {
    let mut tcp = TcpStream::connect(address)?;
    tcp.set_nodelay(true)?;
    let clock = tcp.try_clone()?;
    let set_time_out = move |limit| clock.set_read_timeout(limit);

    let mut setup = Initiator::for_alerts(Arc::new(Config::analyzer()), manager.parse()?, now());
    loop {
        match next_event(&mut setup, &mut tcp, &set_time_out)? {
            InitiatorEvent::Connected { via } => eprintln!("connected, through {via:?}"),
            InitiatorEvent::StartTls { .. } => break,
            other => return Err(format!("{other:?}").into()),
        }
    }
    let session = ClientConnection::new(Arc::new(tls), ServerName::try_from(manager.to_owned())?)?;
    let mut stream = StreamOwned::new(session, tcp);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    setup.tls_started(now())?;
    match next_event(&mut setup, &mut stream, &set_time_out)? {
        InitiatorEvent::Ready(channel) => Ok((stream, channel.into_sender().ok_or("not the sender")?)),
        other => Err(format!("{other:?}").into()),
    }
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

fn tls(certificate: &str, key: &str, ca: &str) -> Result<ClientConfig, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(ca)? {
        roots.add(root?)?;
    }
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key)?)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, manager, certificate, key, ca] = &arguments[..] else {
        return Err("usage: std_sensor ADDRESS MANAGER-NAME CERT.pem KEY.pem CA.pem".into());
    };
    let (mut stream, mut sender) = connect(address, manager, tls(certificate, key, ca)?)?;
    let clock = stream.sock.try_clone()?;
    let set_time_out = move |limit| clock.set_read_timeout(limit);

    for line in io::stdin().lock().lines() {
        sender.send_alert(now(), &MediaType::IDEF_ALERT, line?.as_bytes())?;
        // One at a time. With more, call `send_alert` while `free_window` has room, and match the answers in order.
        match next_event(&mut sender, &mut stream, &set_time_out)? {
            SenderEvent::Answered { id, verdict, status } => println!("alert {}: {verdict:?} ({status})", id.index()),
            SenderEvent::Closed { reason } => return Err(format!("closed: {reason}").into()),
            _ => {}
        }
    }
    sender.finish(now());
    while !matches!(next_event(&mut sender, &mut stream, &set_time_out)?, SenderEvent::Closed { .. }) {}
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(())
}
