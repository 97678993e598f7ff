//! [`Security`]: credentials and trust, read and checked, ready for handshakes.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use dots_callhome::{Transport, cuid};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor};

use crate::config::SecurityConfig;
use crate::error::{ConfigError, SecurityError};
use crate::identity::{Claims, Identity, Proof};
use crate::security::{DatagramBackend, backend};
use crate::tls::Tls;
use crate::trust::{PeerSide, Trust};

/// Ready for handshakes in either role. Clones share everything, sessions to resume too.
#[derive(Clone)]
pub struct Security {
    current: Arc<RwLock<Arc<Inner>>>,
}

struct Inner {
    tls: Option<Tls>,
    dtls: Option<Arc<dyn DatagramBackend>>,
    trust: Arc<Trust>,
    cuid: String,
    handshake_timeout: Duration,
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner();
        f.debug_struct("Security")
            .field("tls", &inner.tls.is_some())
            .field("dtls", &inner.dtls)
            .field("cuid", &inner.cuid)
            .finish_non_exhaustive()
    }
}

impl Security {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// What is wrong with it: nobody is let in by accident, and nothing fails later that can fail now.
    pub fn new(config: &SecurityConfig) -> Result<Self, ConfigError> {
        if config.key.is_none() && config.psk.is_none() && config.psk_peers.is_empty() {
            return Err(ConfigError::NoCredentials);
        }
        let psk_only = config.key.is_none();
        if !psk_only && config.roots.is_empty() && config.pins.is_empty() && config.psk_peers.is_empty() {
            return Err(ConfigError::NoTrust);
        }
        if config.psk.iter().any(|(_, key)| key.is_empty()) || config.psk_peers.values().any(|key| key.is_empty()) {
            return Err(ConfigError::Unsupported("a PSK must not be empty"));
        }
        let anchors: Result<Vec<TrustAnchor<'static>>, ConfigError> = config.roots.iter().map(anchor).collect();
        let trust = Arc::new(Trust {
            anchors: anchors?,
            intermediates: config.intermediates.clone(),
            crls: config.crls.clone(),
            pins: config.pins.clone(),
            listed: config.listed.clone(),
            algorithms: config.provider()?.signature_verification_algorithms,
            clock: Arc::clone(&config.clock),
        });
        let tls = Tls::new(config, &trust)?;
        let dtls = backend(config)?;
        let cuid = own_cuid(config)?;
        let inner = Inner { tls, dtls, trust, cuid, handshake_timeout: config.handshake_timeout };
        Ok(Self { current: Arc::new(RwLock::new(Arc::new(inner))) })
    }

    /// From now on every handshake of this and its clones is made with what `other` has: credentials that were renewed,
    /// lists of who is revoked. Sessions that are up go on; none from before is resumed. Whoever was started with this
    /// keeps its cuid, because that must not change while mitigations are asked for (RFC 9132 section 4.4.1), and the
    /// transports it found usable.
    pub fn replace(&self, other: &Self) {
        let new = other.inner();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    fn inner(&self) -> Arc<Inner> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The cuid of our own key, raw public key or PSK identity (RFC 9132 section 4.4.1).
    pub fn cuid(&self) -> String {
        self.inner().cuid.clone()
    }

    /// Whether these credentials can be used over this transport: a PSK over DTLS alone, a raw public key over TLS.
    pub fn supports(&self, transport: Transport) -> bool {
        match transport {
            Transport::Datagram => self.inner().dtls.is_some(),
            Transport::Stream => self.inner().tls.is_some(),
        }
    }

    pub(crate) fn tls(&self) -> Result<Tls, SecurityError> {
        self.inner().tls.clone().ok_or_else(|| SecurityError::Handshake("no credentials for TLS".to_owned()))
    }

    pub(crate) fn dtls(&self) -> Result<Arc<dyn DatagramBackend>, SecurityError> {
        self.inner().dtls.clone().ok_or_else(|| SecurityError::Handshake("no credentials for DTLS".to_owned()))
    }

    /// Who that is, after a DTLS handshake.
    pub(crate) fn judge(
        &self,
        proof: &Proof,
        side: PeerSide,
        name: Option<&ServerName<'_>>,
    ) -> Result<Identity, SecurityError> {
        Ok(self.inner().trust.judge(proof, side, name)?)
    }

    pub(crate) fn handshake_timeout(&self) -> Duration {
        self.inner().handshake_timeout
    }
}

fn anchor(root: &CertificateDer<'static>) -> Result<TrustAnchor<'static>, ConfigError> {
    webpki::anchor_from_trusted_cert(root)
        .map(|anchor| anchor.to_owned())
        .map_err(|error| ConfigError::Unreadable { what: "the CA", problem: error.to_string() })
}

fn own_cuid(config: &SecurityConfig) -> Result<String, ConfigError> {
    if let (false, Some(leaf)) = (config.raw_public_keys, config.chain.first()) {
        let unreadable = || ConfigError::Unreadable { what: "the certificate", problem: "it is no X.509".to_owned() };
        return Ok(cuid(&Claims::of(leaf).ok_or_else(unreadable)?.spki));
    }
    if let Some(key) = &config.key {
        let key = config.provider()?.key_provider.load_private_key(key.clone_key());
        let key = key.map_err(|error| ConfigError::Key(error.to_string()))?;
        if let Some(spki) = key.public_key() {
            return Ok(cuid(&spki));
        }
    }
    // Whoever has no key of its own is known by the identity that it shares.
    let identity = config.psk.as_ref().map(|(identity, _)| identity).or_else(|| config.psk_peers.keys().next());
    Ok(cuid(identity.map_or(&[], Vec::as_slice)))
}
