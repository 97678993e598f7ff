//! What to authenticate with, whom to trust, and which cryptography does it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use webpki::{CertRevocationList, OwnedCertRevocationList};
use zeroize::Zeroizing;

use crate::error::ConfigError;
use crate::trust::Pin;

/// What does DTLS. See [`crate::security`] for what each can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// The crate `dimpl`: Rust alone, the default.
    #[cfg(feature = "dimpl")]
    Dimpl,
    /// The system's OpenSSL: chains, RSA, ECDHE-PSK, tickets.
    #[cfg(feature = "openssl")]
    OpenSsl,
}

/// Keys by PSK identity.
pub(crate) type PskTable = BTreeMap<Vec<u8>, Zeroizing<Vec<u8>>>;

/// Credentials and trust. [`Security::new`](crate::Security::new) reads and checks it.
///
/// | setting | default |
/// | --- | --- |
/// | DTLS back end | dimpl if it is there, else OpenSSL, else none |
/// | TLS provider | feature `ring`, else `aws-lc-rs`; never a process-wide one |
/// | peers | all that a CA or a pin knows |
/// | time for a handshake | 30 s |
/// | the largest DTLS datagram | 1232 octets: an IPv6 path of 1280 |
#[derive(Clone)]
pub struct SecurityConfig {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: Option<Arc<PrivateKeyDer<'static>>>,
    pub(crate) raw_public_keys: bool,
    pub(crate) roots: Vec<CertificateDer<'static>>,
    pub(crate) intermediates: Vec<CertificateDer<'static>>,
    pub(crate) crls: Vec<Arc<CertRevocationList<'static>>>,
    pub(crate) pins: Vec<Pin>,
    pub(crate) listed: Vec<String>,
    pub(crate) psk: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    pub(crate) psk_peers: PskTable,
    pub(crate) backend: Option<Backend>,
    pub(crate) provider: Option<Arc<CryptoProvider>>,
    pub(crate) clock: Arc<dyn TimeProvider>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) datagram: usize,
}

impl fmt::Debug for SecurityConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecurityConfig")
            .field("certificates", &self.chain.len())
            .field("raw_public_keys", &self.raw_public_keys)
            .field("roots", &self.roots.len())
            .field("crls", &self.crls.len())
            .field("pins", &self.pins)
            .field("psk_peers", &self.psk_peers.len())
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

impl Default for SecurityConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl SecurityConfig {
    /// Nothing yet: [`Security::new`](crate::Security::new) wants credentials and somebody to trust.
    pub fn new() -> Self {
        Self {
            chain: Vec::new(),
            key: None,
            raw_public_keys: false,
            roots: Vec::new(),
            intermediates: Vec::new(),
            crls: Vec::new(),
            pins: Vec::new(),
            listed: Vec::new(),
            psk: None,
            psk_peers: PskTable::new(),
            backend: None,
            provider: None,
            clock: Arc::new(DefaultTimeProvider),
            handshake_timeout: Duration::from_secs(30),
            datagram: 1232,
        }
    }

    /// Our certificate, leaf first, and its private key (PKCS#8, SEC1 or PKCS#1), each in PEM or DER.
    ///
    /// # Errors
    /// When they are neither.
    pub fn with_certificate(mut self, chain: &[u8], key: &[u8]) -> Result<Self, ConfigError> {
        self.chain = certificates("the certificate", chain)?;
        self.key = Some(Arc::new(private_key(key)?));
        self.raw_public_keys = false;
        Ok(self)
    }

    /// A key without a certificate (RFC 7250), for TLS by rustls. Peers are then known by [pins](Self::with_pin), and
    /// must use raw public keys too.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub fn with_raw_public_key(mut self, key: &[u8]) -> Result<Self, ConfigError> {
        self.chain.clear();
        self.key = Some(Arc::new(private_key(key)?));
        self.raw_public_keys = true;
        Ok(self)
    }

    /// Trusts what these CAs issue, in PEM or DER. May be called several times.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn with_ca(mut self, certificates_of: &[u8]) -> Result<Self, ConfigError> {
        self.roots.extend(certificates("the CA", certificates_of)?);
        Ok(self)
    }

    /// CA certificates between the trusted ones and the peers' own, for peers that do not send them or back ends that
    /// do not hand them on.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn with_intermediates(mut self, between: &[u8]) -> Result<Self, ConfigError> {
        self.intermediates.extend(certificates("the intermediate CA", between)?);
        Ok(self)
    }

    /// Revocation lists of those CAs, in PEM or DER: whoever is on one is not let in, and nobody whose CA has a list that
    /// is out of date. A CA without a list revokes nobody. May be called several times.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn with_crl(mut self, lists: &[u8]) -> Result<Self, ConfigError> {
        let unreadable = |problem: String| ConfigError::Unreadable { what: "the revocation list", problem };
        let sections: Vec<CertificateRevocationListDer<'static>> = if is_pem(lists) {
            let read: Result<_, _> = CertificateRevocationListDer::pem_slice_iter(lists).collect();
            read.map_err(|error| unreadable(error.to_string()))?
        } else {
            vec![lists.to_vec().into()]
        };
        if sections.is_empty() {
            return Err(unreadable("it holds no revocation list".to_owned()));
        }
        for section in sections {
            let list = OwnedCertRevocationList::from_der(&section).map_err(|error| unreadable(error.to_string()))?;
            self.crls.push(Arc::new(list.into()));
        }
        Ok(self)
    }

    /// Trusts the owner of one key, whatever its certificate says, and calls it `name`. `spki_sha256` is SHA-256 of the
    /// DER of the SubjectPublicKeyInfo: [`Identity::spki_sha256`](crate::Identity::spki_sha256).
    #[must_use]
    pub fn with_pin(mut self, name: impl Into<String>, spki_sha256: [u8; 32]) -> Self {
        self.pins.push(Pin { name: name.into(), spki_sha256 });
        self
    }

    /// A Call Home client lets in only peers of these names: exact ones, or `*.example.net` for one label more. All, if
    /// none is given.
    #[must_use]
    pub fn with_listed_peers(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.listed.extend(names);
        self
    }

    /// The PSK that a Call Home server shows, over DTLS.
    #[must_use]
    pub fn with_psk(mut self, identity: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.psk = Some((identity.into(), Zeroizing::new(key.into())));
        self
    }

    /// A PSK that a Call Home client knows, over DTLS. May be called several times.
    #[must_use]
    pub fn with_psk_peer(mut self, identity: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.psk_peers.insert(identity.into(), Zeroizing::new(key.into()));
        self
    }

    /// What does DTLS.
    #[must_use]
    pub fn with_backend(mut self, backend: Backend) -> Self {
        self.backend = Some(backend);
        self
    }

    /// The cryptography of TLS, instead of the built-in.
    #[must_use]
    pub fn with_provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// The clock against which the dates of certificates are checked.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn TimeProvider>) -> Self {
        self.clock = clock;
        self
    }

    /// How long a handshake may take, from its first octet to its last.
    #[must_use]
    pub fn with_handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// The largest datagram that a DTLS handshake sends: at least 256 octets.
    #[must_use]
    pub fn with_datagram(mut self, octets: usize) -> Self {
        self.datagram = octets.clamp(256, 16384);
        self
    }

    /// The back end in force, if there is any.
    #[allow(unreachable_code, clippy::allow_attributes, reason = "which line is the last is decided by features")]
    pub(crate) fn backend(&self) -> Option<Backend> {
        if self.backend.is_some() {
            return self.backend;
        }
        #[cfg(feature = "dimpl")]
        return Some(Backend::Dimpl);
        #[cfg(feature = "openssl")]
        return Some(Backend::OpenSsl);
        None
    }

    pub(crate) fn provider(&self) -> Result<Arc<CryptoProvider>, ConfigError> {
        self.provider.clone().or_else(built_in).ok_or(ConfigError::NoProvider)
    }
}

fn is_pem(octets: &[u8]) -> bool {
    octets.windows(11).any(|window| window == b"-----BEGIN ")
}

fn certificates(what: &'static str, octets: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let unreadable = |problem: String| ConfigError::Unreadable { what, problem };
    if !is_pem(octets) {
        if octets.is_empty() {
            return Err(unreadable("it is empty".to_owned()));
        }
        return Ok(vec![CertificateDer::from(octets.to_vec())]);
    }
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(octets).collect();
    let read = read.map_err(|error| unreadable(error.to_string()))?;
    if read.is_empty() { Err(unreadable("it holds no certificate".to_owned())) } else { Ok(read) }
}

fn private_key(octets: &[u8]) -> Result<PrivateKeyDer<'static>, ConfigError> {
    let unreadable = |problem: String| ConfigError::Unreadable { what: "the private key", problem };
    if is_pem(octets) {
        return PrivateKeyDer::from_pem_slice(octets).map_err(|error| unreadable(error.to_string()));
    }
    PrivateKeyDer::try_from(octets.to_vec()).map_err(|problem| unreadable(problem.to_owned()))
}

#[cfg(feature = "ring")]
fn built_in() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::ring::default_provider()))
}

#[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
fn built_in() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
fn built_in() -> Option<Arc<CryptoProvider>> {
    None
}
