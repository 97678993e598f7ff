//! What the operator decides about TLS: files, policies, limits.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::server::ProducesTickets;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use zeroize::Zeroizing;

use super::allow::{AllowList, AllowRule};
use super::error::ConfigError;
use super::oid::IapOids;

/// Where certificates, keys and revocation lists come from.
#[derive(Clone)]
pub struct Source(pub(super) Place);

#[derive(Clone)]
pub(super) enum Place {
    File(PathBuf),
    Inline { label: String, octets: Arc<Zeroizing<Vec<u8>>> },
}

impl Source {
    /// A file, read now and at each reload.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Place::File(path.into()))
    }

    /// Octets (PEM or DER); `label` stands for the file name in errors. They are wiped from memory when dropped.
    pub fn inline(label: impl Into<String>, octets: impl Into<Vec<u8>>) -> Self {
        Self(Place::Inline { label: label.into(), octets: Arc::new(Zeroizing::new(octets.into())) })
    }

    pub(super) fn path(&self) -> Option<&Path> {
        match &self.0 {
            Place::File(path) => Some(path),
            Place::Inline { .. } => None,
        }
    }
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self::file(path)
    }
}

impl From<&Path> for Source {
    fn from(path: &Path) -> Self {
        Self::file(path)
    }
}

/// The path or label.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::File(path) => write!(f, "{}", path.display()),
            Place::Inline { label, .. } => f.write_str(label),
        }
    }
}

/// The path or label; never the octets, which may be a key.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({self})")
    }
}

/// What certificates must say about IAP roles. draft-ietf-idwg-iap-01 section 6.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub enum EkuPolicy {
    /// A peer's certificate must carry the extended key usage of its role. The rule of the draft, and the default.
    #[default]
    Require,
    /// A certificate that carries any IAP usage must carry the right one; one without any IAP usage (an ordinary TLS
    /// certificate) is accepted.
    IfPresent,
    /// IAP usages are not looked at: peers are told apart by the allow list alone.
    Ignore,
}

/// The oldest TLS version that is negotiated. The draft's TLS 1.0 is not offered at all (RFC 8996).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
#[non_exhaustive]
pub enum MinVersion {
    /// TLS 1.2 and 1.3. The default.
    #[default]
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

/// What to do when a revocation list is past its next update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub enum ExpiredCrl {
    /// Refuse every certificate of that issuer. The default: an old list may hide a revocation.
    #[default]
    Refuse,
    /// Go on with the old list.
    Use,
}

/// How the TLS server side (the manager) remembers sessions. draft-ietf-idwg-iap-01 section 6.7.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Sessions {
    /// Encrypted tickets that the analyzer keeps; the manager keeps only the ticket key, which changes every six
    /// hours. Needs a built-in provider; with a provider of the caller this is the same as `Stored(1024)`.
    Tickets,
    /// This many sessions in memory; the oldest give way.
    Stored(usize),
    /// Tickets of the caller's making, such as with a key shared between several managers.
    Custom(Arc<dyn ProducesTickets>),
    /// No resumption: each connection pays for a whole handshake.
    Off,
}

/// What to authenticate with and whom to trust. Read by [`Tls::new`](super::Tls::new).
///
/// | setting | default |
/// | --- | --- |
/// | provider | feature `ring`, else `aws-lc-rs`; never a process-wide one |
/// | minimum version | TLS 1.2 |
/// | IAP roles in certificates | required |
/// | certificates with IAP usages alone | accepted |
/// | common name as manager name | never |
/// | revocation lists | none; a certificate of a CA without a list is accepted |
/// | expired revocation list | refuse |
/// | allow list | every certificate of the CAs |
/// | handshake time | 10 s |
/// | manager: session memory | tickets |
/// | analyzer: session memory | the last 64 managers |
#[derive(Debug, Clone)]
pub struct TlsConfig {
    pub(super) certificate: Source,
    pub(super) key: Source,
    pub(super) roots: Vec<Source>,
    pub(super) crls: Vec<Source>,
    pub(super) expired_crl: ExpiredCrl,
    pub(super) eku: EkuPolicy,
    pub(super) oids: IapOids,
    pub(super) iap_only: bool,
    pub(super) common_name_fallback: bool,
    pub(super) allow: AllowList,
    pub(super) min_version: MinVersion,
    pub(super) handshake_timeout: Duration,
    pub(super) sessions: Sessions,
    pub(super) remembered_managers: usize,
    pub(super) provider: Option<Arc<CryptoProvider>>,
    pub(super) clock: Arc<dyn TimeProvider>,
}

impl TlsConfig {
    /// A configuration with the own certificate chain (leaf first), its private key (PKCS#8, PKCS#1 or SEC1) and the
    /// certificates of the trusted CAs. Each is PEM or DER.
    pub fn new(certificate: impl Into<Source>, key: impl Into<Source>, roots: impl Into<Source>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            roots: vec![roots.into()],
            crls: Vec::new(),
            expired_crl: ExpiredCrl::default(),
            eku: EkuPolicy::default(),
            oids: IapOids::default(),
            iap_only: true,
            common_name_fallback: false,
            allow: AllowList::default(),
            min_version: MinVersion::default(),
            handshake_timeout: Duration::from_secs(10),
            sessions: Sessions::Tickets,
            remembered_managers: 64,
            provider: None,
            clock: Arc::new(DefaultTimeProvider),
        }
    }

    /// Trusts the CAs of another file, too.
    #[must_use]
    pub fn with_more_roots(mut self, roots: impl Into<Source>) -> Self {
        self.roots.push(roots.into());
        self
    }

    /// Checks against a revocation list (PEM, possibly several in a file, or DER). May be called several times. All
    /// certificates of a chain are checked; those of issuers without a list are taken as not revoked. Of several
    /// lists of one issuer the newest counts.
    #[must_use]
    pub fn with_crl(mut self, crl: impl Into<Source>) -> Self {
        self.crls.push(crl.into());
        self
    }

    /// What happens when a revocation list is past its next update.
    #[must_use]
    pub fn with_expired_crl(mut self, policy: ExpiredCrl) -> Self {
        self.expired_crl = policy;
        self
    }

    /// What certificates must say about IAP roles.
    #[must_use]
    pub fn with_eku_policy(mut self, policy: EkuPolicy) -> Self {
        self.eku = policy;
        self
    }

    /// The object identifiers of the IAP roles.
    #[must_use]
    pub fn with_oids(mut self, oids: IapOids) -> Self {
        self.oids = oids;
        self
    }

    /// Whether a certificate whose extended key usage has IAP roles but neither `clientAuth` nor `serverAuth` is good
    /// for the side that its role plays: `IAP_ALERT_GENERATOR` for an analyzer, the other two for a manager.
    ///
    /// The draft asks for nothing else, so this is on; other TLS libraries usually refuse such certificates.
    #[must_use]
    pub fn with_iap_only_certificates(mut self, accept: bool) -> Self {
        self.iap_only = accept;
        self
    }

    /// Whether the common name counts as manager name when the manager's certificate has no `subjectAltName` at all
    /// (RFC 2595 section 2.4). Off, as RFC 9525 section 6.3 has it: give certificates alternative names instead.
    #[must_use]
    pub fn with_common_name_fallback(mut self, accept: bool) -> Self {
        self.common_name_fallback = accept;
        self
    }

    /// Lets in only peers that match one of these rules (all peers, if there is none).
    #[must_use]
    pub fn with_allow_list(mut self, rules: impl IntoIterator<Item = AllowRule>) -> Self {
        self.allow = rules.into_iter().collect();
        self
    }

    /// The oldest TLS version that is negotiated.
    #[must_use]
    pub fn with_min_version(mut self, version: MinVersion) -> Self {
        self.min_version = version;
        self
    }

    /// How long a handshake may take from its first to its last octet. Zero fails every handshake.
    #[must_use]
    pub fn with_handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// How the manager side remembers sessions.
    #[must_use]
    pub fn with_sessions(mut self, sessions: Sessions) -> Self {
        self.sessions = sessions;
        self
    }

    /// For how many manager names the analyzer side remembers sessions (at most 8 tickets each). 0 turns resumption
    /// off.
    #[must_use]
    pub fn with_remembered_managers(mut self, count: usize) -> Self {
        self.remembered_managers = count;
        self
    }

    /// The cryptography to use instead of the built-in.
    #[must_use]
    pub fn with_provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// The clock against which dates in certificates, revocation lists and sessions are checked.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn TimeProvider>) -> Self {
        self.clock = clock;
        self
    }

    /// All files that a reload reads.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.certificate, &self.key].into_iter().chain(&self.roots).chain(&self.crls).filter_map(Source::path)
    }

    /// The provider in force: the caller's, else the built-in one.
    pub(super) fn provider(&self) -> Result<Arc<CryptoProvider>, ConfigError> {
        self.provider.clone().or_else(built_in).ok_or(ConfigError::NoProvider)
    }
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

/// Tickets of the built-in provider.
#[cfg(feature = "ring")]
pub(super) fn built_in_ticketer() -> Option<Result<Arc<dyn ProducesTickets>, rustls::Error>> {
    Some(rustls::crypto::ring::Ticketer::new())
}

#[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
pub(super) fn built_in_ticketer() -> Option<Result<Arc<dyn ProducesTickets>, rustls::Error>> {
    Some(rustls::crypto::aws_lc_rs::Ticketer::new())
}

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
pub(super) fn built_in_ticketer() -> Option<Result<Arc<dyn ProducesTickets>, rustls::Error>> {
    None
}
