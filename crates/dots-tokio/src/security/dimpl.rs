//! DTLS by the crate `dimpl`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::crypto::{CryptoProvider, HmacProvider, rust_crypto};
use dimpl::{Config, CryptoError, Dtls, DtlsCertificate, HashAlgorithm, Output, PskResolver};
use rustls_pki_types::{CertificateDer, ServerName};
use zeroize::Zeroize as _;

use super::{DatagramBackend, DatagramSecurity, Secured};
use crate::config::{PskTable, SecurityConfig};
use crate::error::{ConfigError, SecurityError};
use crate::hello::{COOKIE, Hello};
use crate::identity::Proof;

/// PSK-AES128-CCM8: the only PSK suite that dimpl knows.
const PSK_AES128_CCM8: u16 = 0xc0a8;
/// Its suites for certificates.
const ECDHE_ECDSA: [u16; 3] = [0xc02b, 0xc02c, 0xcca9];

/// Whoever drives the engine ends it in time; dimpl's own limit is a second net.
const MIN_HANDSHAKE: Duration = Duration::from_secs(40);

thread_local! {
    /// What the engine that runs on this thread right now is to use, or has found out. dimpl asks shared objects, and
    /// asks them within our call: so the call can say on whose behalf.
    static CALL: RefCell<Call> = const { RefCell::new(Call { cookie: None, identity: None }) };

    /// What the engine that runs on this thread right now writes into.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Octets of the buffer to begin with: more than a datagram has.
const FIRST_BUFFER: usize = 2048;

#[derive(Debug)]
struct Call {
    /// The cookie that the hello brought back, known to be ours.
    cookie: Option<[u8; COOKIE]>,
    /// The PSK identity that was asked for.
    identity: Option<Vec<u8>>,
}

/// Gives dimpl our cookie for its own: it makes one by HMAC, from a secret that lives no longer than the engine. Ours
/// was made before there was an engine.
#[derive(Debug)]
struct OurCookie;

static OUR_COOKIE: OurCookie = OurCookie;

impl HmacProvider for OurCookie {
    fn hmac_sha256(&self, key: &[u8], data: &[u8]) -> Result<[u8; 32], CryptoError> {
        if let Some(cookie) = CALL.with(|call| call.borrow().cookie) {
            return Ok(cookie);
        }
        let mut out = [0; 32];
        self.hmac(HashAlgorithm::SHA256, key, data, &mut out)?;
        Ok(out)
    }

    fn hmac(&self, hash: HashAlgorithm, key: &[u8], data: &[u8], out: &mut [u8]) -> Result<usize, CryptoError> {
        rust_crypto::default_provider().hmac_provider.hmac(hash, key, data, out)
    }
}

/// The keys of the peers, and a note of who was asked for.
struct Keys(PskTable);

impl PskResolver for Keys {
    fn resolve(&self, identity: &[u8]) -> Option<Vec<u8>> {
        let key = self.0.get(identity)?;
        CALL.with(|call| call.borrow_mut().identity = Some(identity.to_vec()));
        Some(key.to_vec())
    }
}

pub(super) struct DimplBackend {
    certificate: Option<DtlsCertificate>,
    with_certificate: Option<Arc<Config>>,
    psk_client: Option<(Vec<u8>, Arc<Config>)>,
    psk_server: Option<Arc<Config>>,
}

impl fmt::Debug for DimplBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DimplBackend").finish_non_exhaustive()
    }
}

impl Drop for DimplBackend {
    fn drop(&mut self) {
        if let Some(certificate) = &mut self.certificate {
            certificate.private_key.zeroize();
        }
    }
}

impl DimplBackend {
    pub(super) fn new(config: &SecurityConfig) -> Result<Self, ConfigError> {
        let provider = || CryptoProvider { hmac_provider: &OUR_COOKIE, ..rust_crypto::default_provider() };
        let base = || {
            Config::builder()
                .with_crypto_provider(provider())
                .mtu(config.datagram)
                .require_client_certificate(true)
                .use_server_cookie(true)
                .handshake_timeout(config.handshake_timeout.max(MIN_HANDSHAKE))
                .flight_retries(10)
        };
        let build = |builder: dimpl::ConfigBuilder| {
            builder.build().map(Arc::new).map_err(|error| ConfigError::Key(error.to_string()))
        };
        let mut backend = Self { certificate: None, with_certificate: None, psk_client: None, psk_server: None };
        if let (Some(key), Some(leaf), false) = (&config.key, config.chain.first(), config.raw_public_keys) {
            let key = key.secret_der();
            // dimpl panics on keys that it cannot read; so they are tried before.
            provider().key_provider.load_private_key(key).map_err(|_| {
                ConfigError::Unsupported(
                    "dimpl takes ECDSA keys on P-256 and P-384 alone: use such a key, or the back end openssl",
                )
            })?;
            backend.certificate = Some(DtlsCertificate { certificate: leaf.to_vec(), private_key: key.to_vec() });
            backend.with_certificate = Some(build(base())?);
        }
        if let Some((identity, key)) = &config.psk {
            let keys = Keys([(identity.clone(), key.clone())].into());
            let built = build(base().with_psk_client(identity.clone(), Arc::new(keys)))?;
            backend.psk_client = Some((identity.clone(), built));
        }
        if !config.psk_peers.is_empty() {
            backend.psk_server = Some(build(base().with_psk_server(None, Arc::new(Keys(config.psk_peers.clone()))))?);
        }
        Ok(backend)
    }
}

impl DatagramBackend for DimplBackend {
    fn connect(&self, now: Instant, _name: &ServerName<'_>) -> Result<Box<dyn DatagramSecurity>, SecurityError> {
        let mut engine = match (&self.psk_client, &self.with_certificate, &self.certificate) {
            (Some((identity, config)), _, _) => {
                let mut engine = Engine::new(Dtls::new_12_psk(Arc::clone(config), now));
                engine.identity = Some(identity.clone());
                engine
            }
            (None, Some(config), Some(certificate)) => {
                Engine::new(Dtls::new_12(Arc::clone(config), certificate.clone(), now))
            }
            _ => return Err(SecurityError::Handshake("there are no credentials for a DTLS client".to_owned())),
        };
        engine.dtls.set_active(true);
        engine.handle_timeout(now);
        Ok(Box::new(engine))
    }

    fn accept(&self, now: Instant, hello: &Hello<'_>) -> Result<Box<dyn DatagramSecurity>, SecurityError> {
        let certificates = self.with_certificate.as_ref().zip(self.certificate.as_ref());
        let certificates = certificates.filter(|_| ECDHE_ECDSA.iter().any(|suite| hello.offers(*suite)));
        let psk = self.psk_server.as_ref().filter(|_| hello.offers(PSK_AES128_CCM8));
        let dtls = match (certificates, psk) {
            (Some((config, certificate)), _) => Dtls::new_12(Arc::clone(config), certificate.clone(), now),
            (None, Some(config)) => Dtls::new_12_psk(Arc::clone(config), now),
            (None, None) => return Err(SecurityError::Handshake("no cipher suite in common".to_owned())),
        };
        let mut engine = Engine::new(dtls);
        engine.handle_timeout(now);
        let cookie = hello.cookie.try_into().ok();
        // As if it had been here from the beginning: its own request for the cookie went out long ago, as ours.
        engine.call(cookie, |dtls| dtls.handle_packet(&hello.first()));
        engine.out.clear();
        engine.call(cookie, |dtls| dtls.handle_packet(hello.record));
        Ok(Box::new(engine))
    }
}

struct Engine {
    dtls: Dtls,
    out: VecDeque<Secured>,
    wake: Option<Instant>,
    chain: Vec<CertificateDer<'static>>,
    identity: Option<Vec<u8>>,
    up: bool,
    over: bool,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("up", &self.up).field("over", &self.over).finish_non_exhaustive()
    }
}

impl Engine {
    fn new(dtls: Dtls) -> Self {
        Self { dtls, out: VecDeque::new(), wake: None, chain: Vec::new(), identity: None, up: false, over: false }
    }

    /// Calls dimpl, and takes down what it says.
    fn call(&mut self, cookie: Option<[u8; COOKIE]>, what: impl FnOnce(&mut Dtls) -> Result<(), dimpl::Error>) {
        if self.over {
            return;
        }
        CALL.with(|call| *call.borrow_mut() = Call { cookie, identity: None });
        let done = what(&mut self.dtls);
        let asked = CALL.with(|call| std::mem::replace(&mut *call.borrow_mut(), Call { cookie: None, identity: None }));
        self.identity = asked.identity.or_else(|| self.identity.take());
        self.drain();
        if let Err(error) = done {
            self.end(match error {
                dimpl::Error::Timeout(_) => Some(SecurityError::TimedOut),
                dimpl::Error::ConnectionClosed => None,
                other => Some(SecurityError::Handshake(other.to_string())),
            });
        }
    }

    fn drain(&mut self) {
        // One for all engines of a thread: a session is too idle to have its own.
        let mut buffer = BUFFER.take();
        self.drain_into(&mut buffer);
        BUFFER.set(buffer);
    }

    fn drain_into(&mut self, buffer: &mut Vec<u8>) {
        buffer.resize(buffer.len().max(FIRST_BUFFER), 0);
        loop {
            match self.dtls.poll_output(buffer) {
                Output::Packet(datagram) => self.out.push_back(Secured::Datagram(datagram.to_vec())),
                Output::BufferTooSmall { needed } if needed <= 1 << 17 => buffer.resize(needed, 0),
                Output::BufferTooSmall { .. } => {
                    return self.end(Some(SecurityError::Handshake("a record without measure".to_owned())));
                }
                Output::Timeout(at) => {
                    // A far future stands for never.
                    let soon = at.saturating_duration_since(Instant::now()) < Duration::from_secs(86_400);
                    self.wake = soon.then_some(at);
                    return;
                }
                Output::PeerCert(leaf) => self.chain = vec![CertificateDer::from(leaf.to_vec())],
                Output::Connected => {
                    self.up = true;
                    let proof = match (self.chain.is_empty(), &self.identity) {
                        (true, Some(identity)) => Proof::Psk(identity.clone()),
                        _ => Proof::Certificates(std::mem::take(&mut self.chain)),
                    };
                    self.out.push_back(Secured::Established(proof));
                }
                Output::ApplicationData(data) => self.out.push_back(Secured::Data(data.to_vec())),
                Output::CloseNotify => return self.end(None),
                _ => {}
            }
        }
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
        self.call(None, |dtls| dtls.handle_timeout(now).and_then(|()| dtls.handle_packet(datagram)));
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.call(None, |dtls| dtls.handle_timeout(now));
    }

    fn poll(&mut self) -> Secured {
        match self.out.pop_front() {
            // What was proved comes after what proves us: the last flight goes first, whatever dimpl's order is.
            Some(Secured::Established(proof)) => {
                let flight = self.out.iter().position(|next| matches!(next, Secured::Datagram(_)));
                match flight.and_then(|at| self.out.remove(at)) {
                    Some(datagram) => {
                        self.out.push_front(Secured::Established(proof));
                        datagram
                    }
                    None => Secured::Established(proof),
                }
            }
            Some(next) => next,
            None => {
                // What a handshake needed, thousands of idle sessions do not.
                if self.out.capacity() > 8 {
                    self.out.shrink_to(4);
                }
                Secured::Idle(self.wake)
            }
        }
    }

    fn seal(&mut self, now: Instant, content: &[u8]) -> Result<(), SecurityError> {
        if self.over || !self.up {
            return Err(SecurityError::Closed);
        }
        let mut sent = Ok(0);
        self.call(None, |dtls| {
            dtls.handle_timeout(now)?;
            sent = dtls.send_application_data(content);
            Ok(())
        });
        sent.map(drop).map_err(|error| SecurityError::Handshake(error.to_string()))
    }

    fn close(&mut self, now: Instant) {
        self.call(None, |dtls| dtls.handle_timeout(now).and_then(|()| dtls.close()));
        self.end(None);
    }
}
