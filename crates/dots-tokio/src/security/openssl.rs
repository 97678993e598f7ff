//! DTLS by the system's OpenSSL.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use openssl::ex_data::Index;
use openssl::pkey::PKey;
use openssl::ssl::{
    ErrorCode, Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslSessionCacheMode, SslStream,
    SslVerifyMode, SslVersion,
};
use openssl::x509::X509;
use rustls_pki_types::{CertificateDer, ServerName};

use super::{DatagramBackend, DatagramSecurity, Secured};
use crate::config::SecurityConfig;
use crate::error::{ConfigError, SecurityError};
use crate::hello::Hello;
use crate::identity::Proof;

/// Certificates first, then PSK with forward secrecy, then PSK without.
const CIPHERS: &str = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE-ECDSA-AES128-CCM8";
const PSK_CIPHERS: &str = "ECDHE-PSK-CHACHA20-POLY1305:ECDHE-PSK-AES128-CBC-SHA256:PSK-AES128-GCM-SHA256:\
                           PSK-AES128-CCM:PSK-AES128-CCM8";
/// OpenSSL looks at its own timer whenever it is called, and says to nobody when that will be.
const TICK: Duration = Duration::from_millis(250);
/// Datagrams kept for OpenSSL to read, and to be sent, at most.
const QUEUE: usize = 64;

pub(super) struct OpenSslBackend {
    client: Option<SslContext>,
    server: Option<SslContext>,
    cookie: Index<Ssl, Vec<u8>>,
    identity: Index<Ssl, Vec<u8>>,
    own_psk: Option<Vec<u8>>,
    handshake_timeout: Duration,
    datagram: u32,
}

impl fmt::Debug for OpenSslBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenSslBackend").finish_non_exhaustive()
    }
}

fn bad(error: &openssl::error::ErrorStack) -> ConfigError {
    ConfigError::Key(error.to_string())
}

impl OpenSslBackend {
    pub(super) fn new(config: &SecurityConfig) -> Result<Self, ConfigError> {
        let cookie = Ssl::new_ex_index().map_err(|error| bad(&error))?;
        let identity = Ssl::new_ex_index().map_err(|error| bad(&error))?;
        let has_certificate = config.key.is_some() && !config.chain.is_empty();
        let client = has_certificate || config.psk.is_some();
        let server = has_certificate || !config.psk_peers.is_empty();
        let client = client.then(|| client_context(config)).transpose()?;
        let server = server.then(|| server_context(config, cookie, identity)).transpose()?;
        Ok(Self {
            client,
            server,
            cookie,
            identity,
            own_psk: config.psk.as_ref().map(|(identity, _)| identity.clone()),
            handshake_timeout: config.handshake_timeout,
            datagram: u32::try_from(config.datagram).unwrap_or(1232),
        })
    }

    fn ssl(&self, context: &SslContext) -> Result<Ssl, SecurityError> {
        let failed = |error: openssl::error::ErrorStack| SecurityError::Handshake(error.to_string());
        let mut ssl = Ssl::new(context).map_err(failed)?;
        ssl.set_mtu(self.datagram).map_err(failed)?;
        Ok(ssl)
    }

    fn start(&self, now: Instant, ssl: Ssl, server: bool) -> Result<Engine, SecurityError> {
        let failed = |error: openssl::error::ErrorStack| SecurityError::Handshake(error.to_string());
        Ok(Engine {
            stream: SslStream::new(ssl, Wire::default()).map_err(failed)?,
            identity: self.identity,
            own_psk: self.own_psk.clone(),
            server,
            out: VecDeque::new(),
            deadline: now + self.handshake_timeout,
            wake: None,
            up: false,
            over: false,
        })
    }
}

/// What both roles have in common.
fn context(config: &SecurityConfig, psk: bool) -> Result<SslContextBuilder, ConfigError> {
    let mut context = SslContext::builder(SslMethod::dtls()).map_err(|error| bad(&error))?;
    let mut set = || -> Result<(), openssl::error::ErrorStack> {
        context.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
        context.set_options(
            SslOptions::NO_QUERY_MTU | SslOptions::NO_RENEGOTIATION | SslOptions::CIPHER_SERVER_PREFERENCE,
        );
        let certificates = !config.chain.is_empty();
        let ciphers = match (certificates, psk) {
            (true, true) => format!("{CIPHERS}:{PSK_CIPHERS}"),
            (false, true) => PSK_CIPHERS.to_owned(),
            (_, false) => CIPHERS.to_owned(),
        };
        context.set_cipher_list(&ciphers)?;
        if let (Some((leaf, above)), Some(key)) = (config.chain.split_first(), &config.key) {
            context.set_certificate(&*X509::from_der(leaf)?)?;
            for certificate in above {
                context.add_extra_chain_cert(X509::from_der(certificate)?)?;
            }
            context.set_private_key(&*PKey::private_key_from_der(key.secret_der())?)?;
            context.check_private_key()?;
            // The judge is ours, and judges when the handshake is over, before anything is let through: the same for
            // all back ends, for pins, and for sessions that are resumed. Here the peer only has to show something.
            context.set_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, |_, _| true);
        }
        Ok(())
    };
    set().map_err(|error| bad(&error))?;
    Ok(context)
}

fn client_context(config: &SecurityConfig) -> Result<SslContext, ConfigError> {
    let mut context = context(config, config.psk.is_some())?;
    if let Some((identity, key)) = config.psk.clone() {
        context.set_psk_client_callback(move |_, _, identity_out, key_out| {
            // The identity is a C string.
            let fits = identity.len() < identity_out.len() && key.len() <= key_out.len();
            if !fits || identity.contains(&0) {
                return Ok(0);
            }
            for (to, from) in identity_out.iter_mut().zip(identity.iter().chain(&[0])) {
                *to = *from;
            }
            for (to, from) in key_out.iter_mut().zip(key.iter()) {
                *to = *from;
            }
            Ok(key.len())
        });
    }
    Ok(context.build())
}

fn server_context(
    config: &SecurityConfig,
    cookie: Index<Ssl, Vec<u8>>,
    identity: Index<Ssl, Vec<u8>>,
) -> Result<SslContext, ConfigError> {
    let mut context = context(config, !config.psk_peers.is_empty())?;
    context.set_options(SslOptions::COOKIE_EXCHANGE);
    // Tickets, so that nothing is kept here; a session resumed is judged as a new one is.
    context.set_session_cache_mode(SslSessionCacheMode::OFF);
    context.set_session_id_context(b"dots-call-home").map_err(|error| bad(&error))?;
    context.set_cookie_generate_cb(move |ssl, out| {
        let made = ssl.ex_data(cookie).cloned().unwrap_or_default();
        for (to, from) in out.iter_mut().zip(&made) {
            *to = *from;
        }
        Ok(made.len())
    });
    // It was checked before there was an engine.
    context.set_cookie_verify_cb(move |ssl, brought| ssl.ex_data(cookie).is_some_and(|known| known == brought));
    if !config.psk_peers.is_empty() {
        let keys = config.psk_peers.clone();
        context.set_psk_server_callback(move |ssl, asked, out| {
            let Some((name, key)) = asked.and_then(|asked| keys.get_key_value(asked)) else { return Ok(0) };
            if key.len() > out.len() {
                return Ok(0);
            }
            for (to, from) in out.iter_mut().zip(key.iter()) {
                *to = *from;
            }
            ssl.set_ex_data(identity, name.clone());
            Ok(key.len())
        });
    }
    Ok(context.build())
}

impl DatagramBackend for OpenSslBackend {
    fn connect(&self, now: Instant, name: &ServerName<'_>) -> Result<Box<dyn DatagramSecurity>, SecurityError> {
        let context = self
            .client
            .as_ref()
            .ok_or_else(|| SecurityError::Handshake("there are no credentials for a DTLS client".to_owned()))?;
        let failed = |error: openssl::error::ErrorStack| SecurityError::Handshake(error.to_string());
        let mut ssl = self.ssl(context)?;
        if let ServerName::DnsName(name) = name {
            ssl.set_hostname(name.as_ref()).map_err(failed)?;
        }
        ssl.set_connect_state();
        let mut engine = self.start(now, ssl, false)?;
        engine.step(now);
        Ok(Box::new(engine))
    }

    fn accept(&self, now: Instant, hello: &Hello<'_>) -> Result<Box<dyn DatagramSecurity>, SecurityError> {
        let context = self
            .server
            .as_ref()
            .ok_or_else(|| SecurityError::Handshake("there are no credentials for a DTLS server".to_owned()))?;
        let mut ssl = self.ssl(context)?;
        ssl.set_ex_data(self.cookie, hello.cookie.to_vec());
        ssl.set_accept_state();
        let mut engine = self.start(now, ssl, true)?;
        // As if it had been here from the beginning: its own request for the cookie went out long ago, as ours.
        engine.handle_datagram(now, &hello.first());
        engine.out.clear();
        engine.handle_datagram(now, hello.record);
        Ok(Box::new(engine))
    }
}

/// What OpenSSL takes for its socket.
#[derive(Debug, Default)]
struct Wire {
    incoming: VecDeque<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(datagram) = self.incoming.pop_front() else { return Err(io::ErrorKind::WouldBlock.into()) };
        // What does not fit is lost, as with a socket.
        let length = datagram.len().min(into.len());
        for (to, from) in into.iter_mut().zip(&datagram) {
            *to = *from;
        }
        Ok(length)
    }
}

impl Write for Wire {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        if self.outgoing.len() < QUEUE {
            self.outgoing.push_back(datagram.to_vec());
        }
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Engine {
    stream: SslStream<Wire>,
    identity: Index<Ssl, Vec<u8>>,
    own_psk: Option<Vec<u8>>,
    server: bool,
    out: VecDeque<Secured>,
    deadline: Instant,
    wake: Option<Instant>,
    up: bool,
    over: bool,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("up", &self.up).field("over", &self.over).finish_non_exhaustive()
    }
}

impl Engine {
    /// Lets OpenSSL go on, and takes down what comes of it.
    fn step(&mut self, now: Instant) {
        if self.over {
            return;
        }
        if !self.up {
            match self.stream.do_handshake() {
                Ok(()) => {
                    self.up = true;
                    self.take_datagrams();
                    let proof = self.proof();
                    self.out.push_back(Secured::Established(proof));
                }
                Err(error) if matches!(error.code(), ErrorCode::WANT_READ | ErrorCode::WANT_WRITE) => {
                    self.take_datagrams();
                    if now >= self.deadline {
                        return self.end(Some(SecurityError::TimedOut));
                    }
                }
                Err(error) => {
                    self.take_datagrams();
                    return self.end(Some(SecurityError::Handshake(error.to_string())));
                }
            }
        }
        if self.up {
            self.read();
        }
        // Once it is up there is nothing to repeat but what the peer asks for.
        self.wake = (!self.up && !self.over).then(|| (now + TICK).min(self.deadline));
    }

    fn read(&mut self) {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.stream.ssl_read(&mut buffer) {
                Ok(length) => {
                    self.out.push_back(Secured::Data(buffer.get(..length).unwrap_or_default().to_vec()));
                }
                Err(error) => {
                    self.take_datagrams();
                    match error.code() {
                        ErrorCode::WANT_READ | ErrorCode::WANT_WRITE => {}
                        ErrorCode::ZERO_RETURN => self.end(None),
                        _ => self.end(Some(SecurityError::Handshake(error.to_string()))),
                    }
                    return;
                }
            }
        }
    }

    fn proof(&self) -> Proof {
        let ssl = self.stream.ssl();
        let der = |certificate: &openssl::x509::X509Ref| certificate.to_der().ok().map(CertificateDer::from);
        let mut chain: Vec<CertificateDer<'static>> = Vec::new();
        if let Some(leaf) = ssl.peer_certificate() {
            chain.extend(der(&leaf));
            // A client sees the leaf in its chain, a server does not.
            let above = ssl.peer_cert_chain().into_iter().flatten().filter_map(der);
            chain.extend(above.filter(|above| Some(above) != der(&leaf).as_ref()).take(16));
        }
        if chain.is_empty() {
            // Nobody comes so far without a certificate, except by a PSK; resumed sessions remember which.
            let identity = match self.server {
                true => ssl.ex_data(self.identity).cloned().or_else(|| ssl.psk_identity().map(<[u8]>::to_vec)),
                false => self.own_psk.clone(),
            };
            if let Some(identity) = identity {
                return Proof::Psk(identity);
            }
        }
        Proof::Certificates(chain)
    }

    fn take_datagrams(&mut self) {
        let sent = self.stream.get_mut().outgoing.drain(..).map(Secured::Datagram);
        self.out.extend(sent);
    }

    fn end(&mut self, why: Option<SecurityError>) {
        if !self.over {
            self.over = true;
            self.wake = None;
            self.out.push_back(Secured::Closed(why));
        }
    }
}

impl DatagramSecurity for Engine {
    fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        if self.over || self.stream.get_ref().incoming.len() >= QUEUE {
            return;
        }
        self.stream.get_mut().incoming.push_back(datagram.to_vec());
        self.step(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.step(now);
    }

    fn poll(&mut self) -> Secured {
        self.out.pop_front().unwrap_or(Secured::Idle(self.wake))
    }

    fn seal(&mut self, _now: Instant, content: &[u8]) -> Result<(), SecurityError> {
        if self.over || !self.up {
            return Err(SecurityError::Closed);
        }
        let sent = self.stream.ssl_write(content).map_err(|error| SecurityError::Handshake(error.to_string()));
        self.take_datagrams();
        sent.map(drop)
    }

    fn close(&mut self, _now: Instant) {
        if self.up && !self.over {
            // A goodbye that cannot be said is not said.
            let _ = self.stream.shutdown();
            self.take_datagrams();
        }
        self.end(None);
    }

    fn is_resumed(&self) -> bool {
        self.stream.ssl().session_reused()
    }
}
