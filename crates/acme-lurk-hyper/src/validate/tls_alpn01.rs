//! tls-alpn-01. [RFC 8737 section 3](https://www.rfc-editor.org/rfc/rfc8737#section-3)

use std::sync::Arc;

use acme_lurk::Limits;
use acme_lurk::acme::challenge::{TLS_ALPN_PROTOCOL, tls_alpn01_is_met};
use acme_lurk::acme::{Problem, ProblemType};
use acme_lurk::certificate::Certificate;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use webpki::RawPublicKeyEntity;

/// Shakes hands and looks at the certificate.
pub(super) struct Probe(TlsConnector);

impl Probe {
    pub(super) fn new() -> Result<Self, Error> {
        let provider = Arc::new(crate::provider());
        let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions()?;
        let verifier = Arc::new(SelfSigned(provider));
        let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        config.alpn_protocols = vec![TLS_ALPN_PROTOCOL.into()];
        // A session that is taken up again shows no certificate.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    pub(super) async fn look(
        &self,
        tcp: TcpStream,
        name: &str,
        key_authorization: &str,
        limits: &Limits,
    ) -> Result<(), Problem> {
        let failed = |what: &dyn std::fmt::Display| Problem::new(ProblemType::Tls, format!("{name}: {what}"));
        let server = ServerName::try_from(name.to_owned()).map_err(|error| failed(&error))?;
        let stream = self.0.connect(server, tcp).await.map_err(|error| failed(&error))?;
        let (_, tls) = stream.get_ref();
        if tls.alpn_protocol() != Some(TLS_ALPN_PROTOCOL.as_bytes()) {
            return Err(failed(&"the server does not speak acme-tls/1"));
        }
        let leaf = tls.peer_certificates().and_then(|chain| chain.first());
        let leaf = leaf.ok_or_else(|| failed(&"the server showed no certificate"))?;
        let leaf = Certificate::decode(leaf, limits).map_err(|error| failed(&error))?;
        if tls_alpn01_is_met(&leaf, name, key_authorization) {
            return Ok(());
        }
        let detail = format!("{name}: the certificate is not the one of the challenge");
        Err(Problem::new(ProblemType::IncorrectResponse, detail))
    }
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").finish_non_exhaustive()
    }
}

/// Takes every certificate, as long as the peer has its key: what the certificate says is looked at afterwards. Its
/// critical extension, which libraries do not know, keeps their own checks from reading it at all.
#[derive(Debug)]
struct SelfSigned(Arc<CryptoProvider>);

fn unreadable() -> Error {
    Error::InvalidCertificate(rustls::CertificateError::BadEncoding)
}

impl ServerCertVerifier for SelfSigned {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let leaf = Certificate::decode(cert, &Limits::DEFAULT).map_err(|_| unreadable())?;
        let key = SubjectPublicKeyInfoDer::from(leaf.spki());
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| unreadable())?;
        let supported = self.0.signature_verification_algorithms.mapping;
        let found = supported.iter().find(|(scheme, _)| *scheme == dss.scheme).map(|(_, algorithms)| *algorithms);
        let is_signed = |algorithms: &[&'static dyn rustls_pki_types::SignatureVerificationAlgorithm]| {
            algorithms.iter().any(|algorithm| key.verify_signature(*algorithm, message, dss.signature()).is_ok())
        };
        if found.is_some_and(is_signed) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        Err(Error::InvalidCertificate(rustls::CertificateError::BadSignature))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let leaf = Certificate::decode(cert, &Limits::DEFAULT).map_err(|_| unreadable())?;
        let key = SubjectPublicKeyInfoDer::from(leaf.spki());
        verify_tls13_signature_with_raw_key(message, &key, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
