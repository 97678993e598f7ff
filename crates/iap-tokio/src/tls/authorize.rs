//! May this certificate do what its owner wants? Asked after every handshake, full or resumed.
//!
//! draft-ietf-idwg-iap-01 sections 6.4 to 6.6. On a resumed session rustls does not call its certificate verifier: it
//! trusts what it stored. The certificate may have expired or been revoked since, or the operator may have taken its
//! owner off the allow list. So the whole question is asked again.

use std::sync::Arc;

use iap_proto::{DataRole, Party, TlsRole};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, Error as PathError, ExpirationPolicy, ExtendedKeyUsageValidator, KeyPurposeId,
    KeyPurposeIdIter, KeyUsage, RequiredEkuNotFoundContext, RevocationCheckDepth, RevocationOptions,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};

use super::allow::AllowList;
use super::config::{EkuPolicy, ExpiredCrl, TlsConfig};
use super::error::{AuthError, ConfigError};
use super::files::{CrlStatus, read_crls, read_roots};
use super::identity::{Identity, printable};
use super::oid::IapOids;

/// Most certificates of a peer's chain that are looked at.
const MAX_CHAIN: usize = 16;

/// What the peer claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Claim {
    /// What the peer is in intrusion detection.
    pub party: Party,
    /// What the peer will do in the data phase; `None` while that is not known. An analyzer needs the role
    /// `IAP_ALERT_GENERATOR` in any case; a manager needs `IAP_ALERT_CONSUMER` to receive alerts,
    /// `IAP_IDEF_CONFIGURATOR` to send commands, and one of the two while it has not said which.
    pub role: Option<DataRole>,
}

impl Claim {
    /// The peer is an analyzer.
    pub const ANALYZER: Self = Self { party: Party::Analyzer, role: None };
    /// The peer is a manager that has not said yet whether it takes alerts or sends commands.
    pub const MANAGER: Self = Self { party: Party::Manager, role: None };

    /// The same party with a role in the data phase.
    #[must_use]
    pub const fn with_role(self, role: DataRole) -> Self {
        Self { party: self.party, role: Some(role) }
    }
}

/// One state of the trust policy: CAs, revocation lists, role policy and allow list. Immutable; a reload makes another.
#[derive(Debug)]
pub struct Authorizer {
    algorithms: WebPkiSupportedAlgorithms,
    roots: Vec<TrustAnchor<'static>>,
    crls: Vec<CertRevocationList<'static>>,
    crl_statuses: Vec<CrlStatus>,
    expired_crl: ExpiredCrl,
    eku: EkuPolicy,
    oids: IapOids,
    iap_only: bool,
    common_name_fallback: bool,
    allow: AllowList,
}

impl Authorizer {
    /// Reads the CAs and revocation lists of a configuration. Blocks on files.
    pub(super) fn load(config: &TlsConfig, provider: &Arc<CryptoProvider>) -> Result<Self, ConfigError> {
        let mut roots = Vec::new();
        for source in &config.roots {
            roots.append(&mut read_roots(source)?);
        }
        let mut crls = Vec::new();
        for source in &config.crls {
            crls.append(&mut read_crls(source)?);
        }
        // Path validation takes the first list of an issuer that it finds.
        crls.sort_by_key(|crl| std::cmp::Reverse(crl.status.this_update));
        let (crls, crl_statuses) = crls.into_iter().map(|crl| (crl.list, crl.status)).unzip();
        Ok(Self {
            algorithms: provider.signature_verification_algorithms,
            roots,
            crls,
            crl_statuses,
            expired_crl: config.expired_crl,
            eku: config.eku,
            oids: config.oids.clone(),
            iap_only: config.iap_only,
            common_name_fallback: config.common_name_fallback,
            allow: config.allow.clone(),
        })
    }

    /// Decides about a peer. `chain` is what it showed, its own certificate first; `side` is its side of the TLS
    /// connection; `name` is the manager name that its certificate must carry, if it must carry one; `now` is the time.
    ///
    /// Checks, in this order: path to a CA with signatures and dates, TLS purpose, revocation, name, IAP role, allow
    /// list. No secret is compared on the way, so nothing here needs constant time.
    ///
    /// # Errors
    /// The first check that failed.
    pub fn authorize(
        &self,
        chain: &[CertificateDer<'_>],
        side: TlsRole,
        claim: Claim,
        name: Option<&ServerName<'_>>,
        now: UnixTime,
    ) -> Result<Identity, AuthError> {
        let (leaf, intermediates) = chain.split_first().ok_or(AuthError::NoCertificate)?;
        if chain.len() > MAX_CHAIN {
            return Err(AuthError::BadCertificate {
                problem: format!("more than {MAX_CHAIN} certificates in its chain"),
            });
        }
        let certificate = EndEntityCert::try_from(leaf).map_err(|error| self.explain(error, leaf, side))?;
        let identity = Identity::from_certificate(leaf, &self.oids)?;
        let lists: Vec<&CertRevocationList<'_>> = self.crls.iter().collect();
        certificate
            .verify_for_usage(
                self.algorithms.all,
                &self.roots,
                intermediates,
                now,
                self.purpose(side, claim.party),
                self.revocation(&lists),
                None,
            )
            .map_err(|error| self.explain(error, leaf, side))?;
        if let Some(name) = name {
            self.check_name(&certificate, &identity, name)?;
        }
        self.check_role(&identity, claim)?;
        if !self.allow.allows(&identity) {
            return Err(AuthError::NotAllowed { fingerprint: identity.fingerprint().to_string() });
        }
        Ok(identity)
    }

    /// Whether an authenticated peer has the IAP role that its claim needs. For when the role in the data phase
    /// becomes known only after the handshake.
    ///
    /// # Errors
    /// [`AuthError::MissingEku`].
    pub fn check_role(&self, identity: &Identity, claim: Claim) -> Result<(), AuthError> {
        let roles = identity.roles();
        let exempt = match self.eku {
            EkuPolicy::Require => false,
            EkuPolicy::IfPresent => roles.is_empty(),
            EkuPolicy::Ignore => true,
        };
        let (has, wanted) = match (claim.party, claim.role) {
            (Party::Analyzer, _) => (roles.generator, "IAP_ALERT_GENERATOR"),
            (Party::Manager, Some(DataRole::Receiver)) => (roles.consumer, "IAP_ALERT_CONSUMER"),
            (Party::Manager, Some(DataRole::Sender)) => (roles.configurator, "IAP_IDEF_CONFIGURATOR"),
            (Party::Manager, None) => {
                (roles.consumer || roles.configurator, "IAP_ALERT_CONSUMER or IAP_IDEF_CONFIGURATOR")
            }
        };
        if has || exempt { Ok(()) } else { Err(AuthError::MissingEku { wanted, present: roles.names() }) }
    }

    /// The revocation lists in force, newest first.
    pub fn crls(&self) -> &[CrlStatus] {
        &self.crl_statuses
    }

    /// The names of the trusted CAs in DER, without the outer sequence.
    pub(super) fn root_subjects(&self) -> impl Iterator<Item = &[u8]> {
        self.roots.iter().map(|anchor| anchor.subject.as_ref())
    }

    /// The object identifiers in force.
    pub(super) fn oids(&self) -> &IapOids {
        &self.oids
    }

    fn revocation<'a>(&self, lists: &'a [&'a CertRevocationList<'a>]) -> Option<RevocationOptions<'a>> {
        let expiry = match self.expired_crl {
            ExpiredCrl::Refuse => ExpirationPolicy::Enforce,
            ExpiredCrl::Use => ExpirationPolicy::Ignore,
        };
        // The builder refuses an empty slice: no lists, no checks.
        let builder = RevocationOptionsBuilder::new(lists).ok()?;
        Some(
            builder
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Allow)
                .with_expiration_policy(expiry)
                .build(),
        )
    }

    fn purpose(&self, side: TlsRole, party: Party) -> TlsPurpose<'_> {
        let stand_ins = match party {
            _ if !self.iap_only => Vec::new(),
            Party::Analyzer => vec![KeyPurposeId::new(self.oids.generator.as_der_contents())],
            Party::Manager => vec![
                KeyPurposeId::new(self.oids.consumer.as_der_contents()),
                KeyPurposeId::new(self.oids.configurator.as_der_contents()),
            ],
        };
        TlsPurpose { side, stand_ins }
    }

    fn check_name(&self, leaf: &EndEntityCert<'_>, peer: &Identity, name: &ServerName<'_>) -> Result<(), AuthError> {
        if leaf.verify_is_valid_for_subject_name(name).is_ok() {
            return Ok(());
        }
        let names = peer.alternative_names();
        if let ServerName::DnsName(wanted) = name {
            let wanted = wanted.as_ref().trim_end_matches('.');
            let common = peer.common_name().is_some_and(|given| given.eq_ignore_ascii_case(wanted));
            if self.common_name_fallback && !names.present && common {
                return Ok(());
            }
        }
        let addresses = names.ip.iter().map(ToString::to_string);
        Err(AuthError::BadName {
            wanted: name.to_str().into_owned(),
            present: names.dns.iter().map(|dns| printable(dns)).chain(addresses).take(8).collect(),
        })
    }

    /// Puts the words of path validation into ours.
    fn explain(&self, error: PathError, leaf: &CertificateDer<'_>, side: TlsRole) -> AuthError {
        match error {
            PathError::UnknownIssuer | PathError::InvalidSignatureForPublicKey => AuthError::WrongCa {
                issuer: Identity::from_certificate(leaf, &self.oids)
                    .map_or_else(|_| "unknown".to_owned(), |identity| identity.issuer().to_owned()),
            },
            PathError::CertExpired { time, not_after } => {
                AuthError::Expired { not_after: not_after.as_secs(), now: time.as_secs() }
            }
            PathError::CertNotValidYet { time, not_before } => {
                AuthError::NotYetValid { not_before: not_before.as_secs(), now: time.as_secs() }
            }
            PathError::CertRevoked => AuthError::Revoked,
            PathError::CrlExpired { time, next_update } => {
                AuthError::CrlExpired { next_update: next_update.as_secs(), now: time.as_secs() }
            }
            PathError::RequiredEkuNotFoundContext(_) => AuthError::WrongPurpose {
                side: match side {
                    TlsRole::Client => "client",
                    TlsRole::Server => "server",
                },
            },
            PathError::InvalidCrlSignatureForPublicKey
            | PathError::IssuerNotCrlSigner
            | PathError::UnknownRevocationStatus
            | PathError::UnsupportedCrlSignatureAlgorithmContext(_)
            | PathError::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => {
                AuthError::CrlUnusable { problem: error.to_string() }
            }
            other => AuthError::BadCertificate { problem: other.to_string() },
        }
    }
}

/// The extended key usage that TLS asks for: the standard purpose of the side, or an IAP role that stands in for it.
///
/// Path validation asks this of CA certificates too. Like the standard purposes, a CA certificate without the
/// extension is good for all.
struct TlsPurpose<'a> {
    side: TlsRole,
    stand_ins: Vec<KeyPurposeId<'a>>,
}

/// `id-kp-clientAuth` and `id-kp-serverAuth`, RFC 5280 section 4.2.1.12.
const CLIENT_AUTH: KeyPurposeId<'static> = KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 2]);
const SERVER_AUTH: KeyPurposeId<'static> = KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 1]);

impl ExtendedKeyUsageValidator for TlsPurpose<'_> {
    fn validate(&self, usages: KeyPurposeIdIter<'_, '_>) -> Result<(), PathError> {
        let (standard, usage) = match self.side {
            TlsRole::Client => (CLIENT_AUTH, KeyUsage::client_auth()),
            TlsRole::Server => (SERVER_AUTH, KeyUsage::server_auth()),
        };
        let mut absent = true;
        for id in usages {
            let id = id?;
            absent = false;
            if id == standard || self.stand_ins.contains(&id) {
                return Ok(());
            }
        }
        if absent {
            return Ok(());
        }
        Err(PathError::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext { required: usage, present: Vec::new() }))
    }
}
