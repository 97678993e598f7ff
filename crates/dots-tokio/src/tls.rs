//! TLS by rustls: both roles, both sides authenticated, ALPN `coap` (RFC 8323 section 8.2), no early data
//! (RFC 9132 section 7.2).

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ClientSessionMemoryCache, Resumption};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage, ProducesTickets};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, HandshakeKind, ServerConfig,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::config::SecurityConfig;
use crate::error::{AuthError, ConfigError, SecurityError};
use crate::identity::{Identity, Proof};
use crate::trust::{PeerSide, Trust};

const ALPN: &[u8] = b"coap";
/// Names of CAs that a server tells its clients, in octets together: more than this, and it tells none.
const MAX_HINTS: usize = 16 << 10;
/// Servers whose sessions are remembered, to be resumed.
const REMEMBERED: usize = 64;

/// Both roles, ready.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    trust: Arc<Trust>,
    raw: bool,
}

/// A TLS session whose peer was let in.
pub(crate) struct Established<S> {
    pub(crate) stream: TlsStream<S>,
    pub(crate) identity: Identity,
    pub(crate) resumed: bool,
}

impl Tls {
    /// `None` when there are no credentials for TLS.
    pub(crate) fn new(config: &SecurityConfig, trust: &Arc<Trust>) -> Result<Option<Self>, ConfigError> {
        let Some(key) = &config.key else { return Ok(None) };
        let provider = config.provider()?;
        let unusable = |error: Error| ConfigError::Key(error.to_string());
        let raw = config.raw_public_keys;
        let key = provider.key_provider.load_private_key(key.clone_key()).map_err(unusable)?;
        let own = if raw {
            let spki = key.public_key().ok_or_else(|| ConfigError::Key("it has no public half".to_owned()))?;
            CertifiedKey::new(vec![CertificateDer::from(spki.to_vec())], key)
        } else {
            let own = CertifiedKey::new(config.chain.clone(), key);
            match own.keys_match() {
                Ok(()) | Err(Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => own,
                Err(error) => return Err(unusable(error)),
            }
        };
        let own = Arc::new(own);
        let verifier = Arc::new(Verifier::new(trust, raw));
        let clock = Arc::clone(&config.clock);
        let client = ClientConfig::builder_with_details(Arc::clone(&provider), Arc::clone(&clock))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as _);
        let mut client = match raw {
            true => client.with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(own.clone()))),
            false => client.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own.clone()))),
        };
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(REMEMBERED)));
        client.enable_early_data = false;
        let server = ServerConfig::builder_with_details(provider, clock)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_client_cert_verifier(verifier);
        let mut server = match raw {
            true => server.with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(own))),
            false => server.with_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
        };
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.max_early_data_size = 0;
        // Tickets hold all there is to a session: nothing of it is kept here (RFC 9132 section 7.1).
        server.session_storage = Arc::new(NoServerSessionStorage {});
        if let Some(ticketer) = ticketer() {
            server.ticketer = ticketer.map_err(unusable)?;
            server.send_tls13_tickets = 1;
        }
        Ok(Some(Self { client: Arc::new(client), server: Arc::new(server), trust: Arc::clone(trust), raw }))
    }

    /// The TLS client's part: a Call Home server's.
    pub(crate) async fn connect<S>(
        &self,
        stream: S,
        name: &ServerName<'static>,
    ) -> Result<Established<S>, SecurityError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = TlsConnector::from(Arc::clone(&self.client)).connect(name.clone(), stream).await;
        self.judge(stream.map(TlsStream::from), PeerSide::Server, Some(name))
    }

    /// The TLS server's part: a Call Home client's.
    pub(crate) async fn accept<S>(&self, stream: S) -> Result<Established<S>, SecurityError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = TlsAcceptor::from(Arc::clone(&self.server)).accept(stream).await;
        self.judge(stream.map(TlsStream::from), PeerSide::Client, None)
    }

    /// Whoever resumes a session shows no certificate: what it showed then is judged as of now.
    fn judge<S>(
        &self,
        stream: std::io::Result<TlsStream<S>>,
        side: PeerSide,
        name: Option<&ServerName<'_>>,
    ) -> Result<Established<S>, SecurityError> {
        let stream = stream.map_err(|error| SecurityError::Handshake(error.to_string()))?;
        let session = stream.get_ref().1;
        if session.alpn_protocol() != Some(ALPN) {
            return Err(SecurityError::Handshake("the peer did not choose the protocol coap".to_owned()));
        }
        let chain = session.peer_certificates().unwrap_or_default();
        let proof = proof(chain, self.raw).ok_or(AuthError::NoCertificate)?;
        let identity = self.trust.judge(&proof, side, name)?;
        let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        Ok(Established { stream, identity, resumed })
    }
}

fn proof(chain: &[CertificateDer<'_>], raw: bool) -> Option<Proof> {
    if raw {
        return chain.first().map(|spki| Proof::RawPublicKey(spki.to_vec()));
    }
    Some(Proof::Certificates(chain.iter().map(|certificate| certificate.clone().into_owned()).collect()))
}

#[cfg(feature = "ring")]
fn ticketer() -> Option<Result<Arc<dyn ProducesTickets>, Error>> {
    Some(rustls::crypto::ring::Ticketer::new())
}

#[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
fn ticketer() -> Option<Result<Arc<dyn ProducesTickets>, Error>> {
    Some(rustls::crypto::aws_lc_rs::Ticketer::new())
}

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
fn ticketer() -> Option<Result<Arc<dyn ProducesTickets>, Error>> {
    None
}

/// Asks the judge during the handshake, so that a refused peer is told by an alert.
#[derive(Debug)]
struct Verifier {
    trust: Arc<Trust>,
    hints: Vec<DistinguishedName>,
    raw: bool,
}

impl Verifier {
    fn new(trust: &Arc<Trust>, raw: bool) -> Self {
        let mut hints: Vec<_> =
            trust.anchors.iter().map(|anchor| DistinguishedName::in_sequence(&anchor.subject)).collect();
        // Whoever has a pin may have a certificate of any CA.
        if !trust.pins.is_empty() || hints.iter().map(|name| name.as_ref().len()).sum::<usize>() > MAX_HINTS {
            hints.clear();
        }
        Self { trust: Arc::clone(trust), hints, raw }
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        side: PeerSide,
        name: Option<&ServerName<'_>>,
    ) -> Result<(), Error> {
        let chain: Vec<_> = std::iter::once(leaf).chain(above).cloned().collect();
        let proof = proof(&chain, self.raw).ok_or(Error::NoCertificatesPresented)?;
        let verdict = self.trust.judge(&proof, side, name);
        verdict.map(drop).map_err(|error| {
            tracing::debug!(%error, "peer refused in a TLS handshake");
            Error::InvalidCertificate(match error {
                AuthError::NoCertificate => return Error::NoCertificatesPresented,
                AuthError::BadCertificate => CertificateError::BadEncoding,
                AuthError::WrongName { .. } => CertificateError::NotValidForName,
                AuthError::InvalidPath(_) => CertificateError::UnknownIssuer,
                AuthError::Revoked => CertificateError::Revoked,
                AuthError::NotPinned | AuthError::NotListed(_) => CertificateError::ApplicationVerificationFailure,
            })
        })
    }

    fn signed12(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, leaf, signature, &self.trust.algorithms)
    }

    fn signed13(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.raw {
            let spki = SubjectPublicKeyInfoDer::from(leaf.as_ref());
            return rustls::crypto::verify_tls13_signature_with_raw_key(
                message,
                &spki,
                signature,
                &self.trust.algorithms,
            );
        }
        rustls::crypto::verify_tls13_signature(message, leaf, signature, &self.trust.algorithms)
    }
}

/// How signatures are checked: rustls asks the verifier of servers and that of clients in the same words.
macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            leaf: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.signed12(message, leaf, signature)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            leaf: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.signed13(message, leaf, signature)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.trust.algorithms.supported_schemes()
        }

        fn requires_raw_public_keys(&self) -> bool {
            self.raw
        }
    };
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(leaf, above, PeerSide::Server, Some(name)).map(|()| ServerCertVerified::assertion())
    }

    signatures!();
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(leaf, above, PeerSide::Client, None).map(|()| ClientCertVerified::assertion())
    }

    signatures!();
}
