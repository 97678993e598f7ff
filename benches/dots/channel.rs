//! What carries the requests of the load: DTLS 1.2 by dimpl and TLS 1.3 by rustls, each from either end, on blocking
//! sockets.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate, Output};
use dots_callhome::Transport;
use dots_callhome::wire::{Csm, Message, tcp, udp};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;

pub(super) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Whether the load waits to be called, as a Call Home client does, or calls.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Listen,
    Dial(SocketAddr),
}

/// The credentials of a node in a folder.
pub(super) struct Credentials {
    pub(super) ca: CertificateDer<'static>,
    pub(super) leaf: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Credentials {
    pub(super) fn read(folder: &Path, name: &str) -> Outcome<Self> {
        Ok(Self {
            ca: CertificateDer::from_pem_file(folder.join("ca.pem"))?,
            leaf: CertificateDer::from_pem_file(folder.join(format!("{name}.pem")))?,
            key: PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key")))?,
        })
    }
}

pub(super) enum Channel {
    Dtls(Box<DtlsChannel>),
    Tls(Box<TlsChannel>),
}

impl Channel {
    /// Connects, or is connected to; `listening` hears the port that waits.
    pub(super) fn new(
        transport: Transport,
        end: End,
        credentials: &Credentials,
        listening: impl FnOnce(u16),
    ) -> Outcome<Self> {
        Ok(match transport {
            Transport::Datagram => Self::Dtls(Box::new(DtlsChannel::new(end, credentials, listening)?)),
            Transport::Stream => Self::Tls(Box::new(TlsChannel::new(end, credentials, listening)?)),
        })
    }

    /// Sends messages: each in a datagram, or all in one record.
    pub(super) fn send(&mut self, messages: &[Vec<u8>]) -> Outcome<()> {
        match self {
            Self::Dtls(channel) => messages.iter().try_for_each(|message| channel.send(message)),
            Self::Tls(channel) => Ok(channel.stream.write_all(&messages.concat())?),
        }
    }

    /// Waits for messages and gives each to `take`; false when none came in time.
    pub(super) fn receive(&mut self, mut take: impl FnMut(&Message<'_>)) -> Outcome<bool> {
        match self {
            Self::Dtls(channel) => {
                if !channel.receive()? {
                    return Ok(false);
                }
                for message in channel.inbox.drain(..) {
                    take(&udp::decode(&message)?.message);
                }
            }
            Self::Tls(channel) => {
                let read = match channel.stream.read(&mut channel.buffer) {
                    Ok(0) => return Err("the peer closed".into()),
                    Ok(read) => read,
                    Err(error) if is_timeout(&error) => return Ok(false),
                    Err(error) => return Err(error.into()),
                };
                channel.rest.extend_from_slice(channel.buffer.get(..read).unwrap_or_default());
                let mut at = 0;
                while let Some((message, used)) = tcp::decode(channel.rest.get(at..).unwrap_or_default(), 1 << 20)? {
                    take(&message);
                    at += used;
                }
                channel.rest.drain(..at);
            }
        }
        Ok(true)
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

pub(super) struct DtlsChannel {
    dtls: Dtls,
    socket: UdpSocket,
    up: bool,
    buffer: Vec<u8>,
    record: Vec<u8>,
    inbox: Vec<Vec<u8>>,
}

impl DtlsChannel {
    fn new(end: End, credentials: &Credentials, listening: impl FnOnce(u16)) -> Outcome<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let config = Arc::new(Config::builder().require_client_certificate(true).build()?);
        let certificate = credentials.leaf.to_vec();
        let certificate = DtlsCertificate { certificate, private_key: credentials.key.secret_der().to_vec() };
        let dtls = Dtls::new_12(config, certificate, Instant::now());
        let (buffer, record) = (vec![0; 4096], vec![0; 4096]);
        let mut channel = Self { dtls, socket, up: false, buffer, record, inbox: Vec::new() };
        match end {
            End::Listen => {
                listening(channel.socket.local_addr()?.port());
                let (_, from) = channel.socket.peek_from(&mut channel.record)?;
                channel.socket.connect(from)?;
            }
            End::Dial(to) => {
                channel.socket.connect(to)?;
                channel.dtls.set_active(true);
            }
        }
        channel.socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        channel.dtls.handle_timeout(Instant::now())?;
        channel.drain()?;
        let began = Instant::now();
        while !channel.up {
            if began.elapsed() > Duration::from_secs(20) {
                return Err("no handshake in time".into());
            }
            channel.receive()?;
        }
        Ok(channel)
    }

    fn drain(&mut self) -> Outcome<()> {
        loop {
            match self.dtls.poll_output(&mut self.buffer) {
                Output::Packet(datagram) => drop(self.socket.send(datagram)?),
                Output::Connected => self.up = true,
                Output::ApplicationData(content) => self.inbox.push(content.to_vec()),
                Output::BufferTooSmall { needed } => self.buffer.resize(needed, 0),
                Output::Timeout(_) => return Ok(()),
                _ => {}
            }
        }
    }

    fn send(&mut self, message: &[u8]) -> Outcome<()> {
        self.dtls.send_application_data(message)?;
        self.drain()
    }

    fn receive(&mut self) -> Outcome<bool> {
        let came = match self.socket.recv(&mut self.record) {
            Ok(length) => {
                self.dtls.handle_packet(self.record.get(..length).unwrap_or_default())?;
                true
            }
            Err(error) if is_timeout(&error) => {
                self.dtls.handle_timeout(Instant::now())?;
                false
            }
            // Whoever is called may not listen yet.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => false,
            Err(error) => return Err(error.into()),
        };
        self.drain()?;
        Ok(came)
    }
}

/// Either end of a TLS connection.
trait Stream: io::Read + io::Write {}

impl<S: io::Read + io::Write> Stream for S {}

pub(super) struct TlsChannel {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    rest: Vec<u8>,
}

impl TlsChannel {
    fn new(end: End, credentials: &Credentials, listening: impl FnOnce(u16)) -> Outcome<Self> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(credentials.ca.clone())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (chain, key) = (vec![credentials.leaf.clone()], credentials.key.clone_key());
        let alpn = vec![b"coap".to_vec()];
        let ready = |tcp: &TcpStream| {
            tcp.set_nodelay(true)?;
            tcp.set_read_timeout(Some(Duration::from_secs(5)))
        };
        let stream: Box<dyn Stream> = match end {
            End::Listen => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
                let config = rustls::ServerConfig::builder_with_provider(provider)
                    .with_protocol_versions(&[&rustls::version::TLS13])?;
                let mut config = config.with_client_cert_verifier(verifier).with_single_cert(chain, key)?;
                config.alpn_protocols = alpn;
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                listening(listener.local_addr()?.port());
                let (tcp, _) = listener.accept()?;
                ready(&tcp)?;
                Box::new(rustls::StreamOwned::new(rustls::ServerConnection::new(Arc::new(config))?, tcp))
            }
            End::Dial(to) => {
                let config = rustls::ClientConfig::builder_with_provider(provider)
                    .with_protocol_versions(&[&rustls::version::TLS13])?;
                let mut config = config.with_root_certificates(roots).with_client_auth_cert(chain, key)?;
                config.alpn_protocols = alpn;
                let tcp = TcpStream::connect(to)?;
                ready(&tcp)?;
                let name = ServerName::try_from(super::SERVER)?;
                Box::new(rustls::StreamOwned::new(rustls::ClientConnection::new(Arc::new(config), name)?, tcp))
            }
        };
        let mut channel = Self { stream, buffer: vec![0; 1 << 16], rest: Vec::new() };
        let mut csm = Vec::new();
        Csm { max_message_size: 8192, block_wise: true }.to_message().encode_tcp(&mut csm);
        channel.stream.write_all(&csm)?;
        channel.stream.flush()?;
        Ok(channel)
    }
}
