//! The policy inside the handshake: rustls asks [`Verifier`] about the peer's certificate, and the peer learns of a
//! refusal by a TLS alert.

use std::cell::RefCell;
use std::sync::{Arc, PoisonError, RwLock};

use iap_proto::TlsRole;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::authorize::{Authorizer, Claim};
use super::error::AuthError;
use super::identity::Identity;

/// Names of CAs are told to the peer only up to this many octets: they grow the handshake.
const MAX_HINTS: usize = 8192;

/// What one handshake wants to know from the verifier, and what came out.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) claim: Claim,
    pub(super) answer: Option<Answer>,
}

/// The verdict on a full handshake's certificate, and by which state of the policy.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) by: Arc<Authorizer>,
    /// The identity, or the peer's name for logs and why it was refused.
    pub(super) verdict: Result<Identity, (String, AuthError)>,
}

tokio::task_local! {
    /// The handshake that is being polled. rustls gives its verifier no way to know which connection it is asked
    /// about; a verifier per connection would do, but then nothing could be resumed (rustls resumes a session only
    /// under the verifier that it began with).
    pub(super) static QUESTION: RefCell<Question>;
}

/// Certificate verifier of both TLS sides.
#[derive(Debug)]
pub(super) struct Verifier {
    authorizer: RwLock<Arc<Authorizer>>,
    algorithms: WebPkiSupportedAlgorithms,
    hints: Vec<DistinguishedName>,
}

impl Verifier {
    pub(super) fn new(authorizer: Arc<Authorizer>, algorithms: WebPkiSupportedAlgorithms) -> Self {
        let mut hints: Vec<_> = authorizer.root_subjects().map(DistinguishedName::in_sequence).collect();
        if hints.iter().map(|name| name.as_ref().len()).sum::<usize>() > MAX_HINTS {
            hints.clear();
        }
        Self { authorizer: RwLock::new(authorizer), algorithms, hints }
    }

    /// The policy in force.
    pub(super) fn authorizer(&self) -> Arc<Authorizer> {
        Arc::clone(&self.authorizer.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another policy in force.
    pub(super) fn replace(&self, authorizer: Arc<Authorizer>) {
        *self.authorizer.write().unwrap_or_else(PoisonError::into_inner) = authorizer;
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        side: TlsRole,
        name: Option<&ServerName<'_>>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let chain: Vec<_> = std::iter::once(leaf).chain(intermediates).cloned().collect();
        let by = self.authorizer();
        // Outside of a handshake of ours there is no claim to check, and nobody is let in.
        let Ok(claim) = QUESTION.try_with(|question| question.borrow().claim) else {
            return Err(Error::General("certificate verifier used outside of Tls".to_owned()));
        };
        let verdict = by.authorize(&chain, side, claim, name, now).map_err(|error| (name_for_log(leaf, &by), error));
        let result = verdict.as_ref().map(|_| ()).map_err(|(_, error)| tls_error(error));
        QUESTION.with(|question| question.borrow_mut().answer = Some(Answer { by, verdict }));
        result
    }
}

/// The name of a peer that was refused. It is a claim: the certificate may be anybody's.
pub(super) fn name_for_log(leaf: &[u8], authorizer: &Authorizer) -> String {
    Identity::from_certificate(leaf, authorizer.oids())
        .map_or_else(|_| "peer".to_owned(), |identity| format!("\"{}\"", identity.display()))
}

/// The rustls error that makes the fitting TLS alert.
fn tls_error(error: &AuthError) -> Error {
    Error::InvalidCertificate(match error {
        AuthError::NoCertificate => return Error::NoCertificatesPresented,
        AuthError::WrongCa { .. } => CertificateError::UnknownIssuer,
        AuthError::Expired { .. } => CertificateError::Expired,
        AuthError::NotYetValid { .. } => CertificateError::NotValidYet,
        AuthError::BadName { .. } => CertificateError::NotValidForName,
        AuthError::WrongPurpose { .. } | AuthError::MissingEku { .. } => CertificateError::InvalidPurpose,
        AuthError::Revoked => CertificateError::Revoked,
        AuthError::CrlExpired { .. } => CertificateError::ExpiredRevocationList,
        AuthError::CrlUnusable { .. } => CertificateError::UnknownRevocationStatus,
        AuthError::NotAllowed { .. } => CertificateError::ApplicationVerificationFailure,
        AuthError::BadCertificate { .. } => CertificateError::BadEncoding,
    })
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
            verify_tls12_signature(message, leaf, signature, &self.algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            leaf: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, leaf, signature, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.algorithms.supported_schemes()
        }
    };
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(leaf, intermediates, TlsRole::Server, Some(name), now).map(|()| ServerCertVerified::assertion())
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
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(leaf, intermediates, TlsRole::Client, None, now).map(|()| ClientCertVerified::assertion())
    }

    signatures!();
}
