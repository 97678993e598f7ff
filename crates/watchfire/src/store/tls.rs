//! TLS towards PostgreSQL: who the server must be, and who we are.
//!
//! A login by password (SCRAM-SHA-256) is bound to the server's certificate, so that nobody in between can use it. Where the
//! certificate is not fully looked at there is no other login by password, unless the URL says so (`channel_binding`).

use std::error::Error as _;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::exit::Failure;
use crate::https;
use crate::values::{PostgresTls, ServerCheck};

/// What is demanded, and the authorities of the system where they are those.
pub(super) struct Tls {
    wanted: PostgresTls,
    system: Option<Arc<RootCertStore>>,
}

impl Tls {
    /// Reads all files once, to see that they can be.
    ///
    /// # Errors
    /// What cannot be read or is not what it should be.
    pub(super) fn new(wanted: &PostgresTls) -> Result<Self, Failure> {
        let is_system = wanted.roots.is_none() && wanted.check != ServerCheck::Nothing;
        let system = is_system.then(|| https::roots(None).map(Arc::new)).transpose()?;
        let this = Self { wanted: wanted.clone(), system };
        this.connector()?;
        Ok(this)
    }

    /// Whether the server's certificate may be anybody's.
    pub(super) fn trusts_anybody(&self) -> bool {
        self.wanted.check == ServerCheck::Nothing
    }

    /// Whether we have a certificate.
    pub(super) fn has_client(&self) -> bool {
        self.wanted.client.is_some()
    }

    /// For the next connection, with the files as they are now.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(super) fn connector(&self) -> Result<MakeRustlsConnect, Failure> {
        let broken = |error: rustls::Error| Failure::usage(format!("TLS: {error}"));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(broken)?;
        let roots = || match &self.system {
            Some(system) => Ok(Arc::clone(system)),
            None => https::roots(self.wanted.roots.as_deref()).map(Arc::new),
        };
        let builder = match self.wanted.check {
            ServerCheck::Full => builder.with_root_certificates(roots()?),
            ServerCheck::Authority => {
                let verifier = AnyName { roots: Some(roots()?), algorithms: algorithms(&provider) };
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
            ServerCheck::Nothing => {
                let verifier = AnyName { roots: None, algorithms: algorithms(&provider) };
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
        };
        let mut config = match &self.wanted.client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let own = SingleCertAndKey::from(https::certified(chain, key)?);
                builder.with_client_cert_resolver(Arc::new(own))
            }
        };
        // For servers that are spoken to in TLS from the first octet (sslnegotiation=direct); others look past it.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(MakeRustlsConnect::new(config))
    }
}

fn algorithms(provider: &CryptoProvider) -> WebPkiSupportedAlgorithms {
    provider.signature_verification_algorithms
}

/// Takes a certificate for any name: from these authorities, or from anybody.
#[derive(Debug)]
struct AnyName {
    roots: Option<Arc<RootCertStore>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, self.algorithms.all)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What to do about a handshake that failed.
pub(super) fn remedy(error: &tokio_postgres::Error) -> Option<&'static str> {
    let source = error.source()?;
    if source.to_string().contains("does not support TLS") {
        return Some("turn ssl on there, or write sslmode=disable within a network that you trust");
    }
    if source.to_string().contains("did not use channel binding") {
        return Some("write channel_binding=prefer if it cannot, best with sslmode=verify-full");
    }
    let cause = source.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(why) = cause else { return None };
    match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            Some("name the authority of the server's certificate by sslrootcert=FILE")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Some("name the host as its certificate does, or issue that for this host")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            Some("issue the server's certificate again")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
