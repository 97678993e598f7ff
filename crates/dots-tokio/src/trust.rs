//! Whom to let in. RFC 9132 sections 7.1 and 8, RFC 5280, RFC 7250.

use std::sync::Arc;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor};
use sha2::{Digest as _, Sha256};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth, RevocationOptionsBuilder,
    UnknownStatusPolicy,
};

use crate::error::AuthError;
use crate::identity::{Claims, Identity, Proof, is_spki, psk_identity};

/// Certificates in a chain, at most.
const MAX_CHAIN: usize = 10;

/// A key that is known beforehand, and what its owner is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pin {
    pub(crate) name: String,
    pub(crate) spki_sha256: [u8; 32],
}

/// Which side of (D)TLS the peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerSide {
    /// A Call Home client, whose name we know.
    Server,
    /// A Call Home server.
    Client,
}

/// The judge. It is asked during and after each handshake, and after each resumption.
#[derive(Debug)]
pub(crate) struct Trust {
    pub(crate) anchors: Vec<TrustAnchor<'static>>,
    pub(crate) intermediates: Vec<CertificateDer<'static>>,
    pub(crate) crls: Vec<Arc<CertRevocationList<'static>>>,
    pub(crate) pins: Vec<Pin>,
    pub(crate) listed: Vec<String>,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
    pub(crate) clock: Arc<dyn TimeProvider>,
}

impl Trust {
    /// Who it is.
    ///
    /// # Errors
    /// Why it is not let in.
    pub(crate) fn judge(
        &self,
        proof: &Proof,
        side: PeerSide,
        name: Option<&ServerName<'_>>,
    ) -> Result<Identity, AuthError> {
        let identity = match proof {
            Proof::Certificates(chain) => self.certificates(chain, side, name)?,
            Proof::RawPublicKey(spki) => {
                if !is_spki(spki) {
                    return Err(AuthError::BadCertificate);
                }
                let claims = Claims { spki: spki.clone(), dns_names: Vec::new(), common_name: None };
                let pin = self.pinned(&claims, name)?.ok_or(AuthError::NotPinned)?;
                claims.into_identity(Some(&pin.name))
            }
            // The handshake has shown that it knows the key of the identity; there are no names.
            Proof::Psk(identity) => psk_identity(identity),
        };
        let listed = |rule: &String| match rule.strip_prefix("*.") {
            Some(domain) => identity.name.strip_suffix(domain).is_some_and(|label| {
                label.strip_suffix('.').is_some_and(|label| !label.is_empty() && !label.contains('.'))
            }),
            None => *rule == identity.name,
        };
        if side == PeerSide::Client && !self.listed.is_empty() && !self.listed.iter().any(listed) {
            return Err(AuthError::NotListed(identity.name));
        }
        Ok(identity)
    }

    fn certificates(
        &self,
        chain: &[CertificateDer<'_>],
        side: PeerSide,
        name: Option<&ServerName<'_>>,
    ) -> Result<Identity, AuthError> {
        let (leaf, above) = chain.split_first().ok_or(AuthError::NoCertificate)?;
        let claims = Claims::of(leaf).ok_or(AuthError::BadCertificate)?;
        if let Some(pin) = self.pinned(&claims, name)? {
            return Ok(claims.into_identity(Some(&pin.name)));
        }
        if self.anchors.is_empty() {
            return Err(AuthError::NotPinned);
        }
        let invalid = |error: webpki::Error| AuthError::InvalidPath(error.to_string());
        let certificate = EndEntityCert::try_from(leaf).map_err(invalid)?;
        let now = self.clock.current_time().ok_or_else(|| AuthError::InvalidPath("there is no clock".to_owned()))?;
        let usage = match side {
            PeerSide::Server => KeyUsage::server_auth(),
            PeerSide::Client => KeyUsage::client_auth(),
        };
        // dimpl gives the leaf alone: what is missing may be configured here.
        let above: Vec<CertificateDer<'_>> = above.iter().take(MAX_CHAIN).chain(&self.intermediates).cloned().collect();
        let lists: Vec<&CertRevocationList<'_>> = self.crls.iter().map(AsRef::as_ref).collect();
        // The builder refuses none: no lists, no checks. A list that is out of date lets nobody in.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|builder| {
            builder
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Allow)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        certificate
            .verify_for_usage(self.algorithms.all, &self.anchors, &above, now, usage, revocation, None)
            .map_err(|error| match error {
                webpki::Error::CertRevoked => AuthError::Revoked,
                error => invalid(error),
            })?;
        if let Some(name) = name
            && certificate.verify_is_valid_for_subject_name(name).is_err()
        {
            return Err(AuthError::WrongName { wanted: name.to_str().into_owned(), present: claims.dns_names });
        }
        Ok(claims.into_identity(None))
    }

    /// The pin of this key. A key that is pinned under another name than the one that should be there is refused.
    fn pinned(&self, claims: &Claims, name: Option<&ServerName<'_>>) -> Result<Option<&Pin>, AuthError> {
        let digest: [u8; 32] = Sha256::digest(&claims.spki).into();
        let mut pins = self.pins.iter().filter(|pin| pin.spki_sha256 == digest);
        let Some(name) = name else { return Ok(pins.next()) };
        let wanted = name.to_str();
        let mut other = None;
        for pin in pins {
            if pin.name.eq_ignore_ascii_case(&wanted) {
                return Ok(Some(pin));
            }
            other = Some(pin);
        }
        match other {
            Some(pin) => Err(AuthError::WrongName { wanted: wanted.into_owned(), present: vec![pin.name.clone()] }),
            None => Ok(None),
        }
    }
}
