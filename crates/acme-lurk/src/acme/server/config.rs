//! What a CA does, and how much of it.

use std::fmt;
use std::sync::Arc;

use watchfire_core::{ConfigError, config_builder};

use super::desk::{DeskConfig, DeskLimits};
use crate::acme::ChallengeKind;
use crate::jose::MacKey;
use crate::limits::Limits;
use crate::star::{Fraction, StarPolicy};

/// Decides for which DNS names the CA issues; names come in lower case.
#[derive(Clone)]
pub struct NamePolicy(Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl NamePolicy {
    /// A policy.
    pub fn new(policy: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(policy))
    }

    pub(super) fn allows(&self, name: &str) -> bool {
        (self.0)(name)
    }
}

impl fmt::Debug for NamePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NamePolicy")
    }
}

/// The configuration of a CA.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CaConfig {
    pub(super) desk: DeskConfig,
    /// How much it keeps and does.
    pub limits: CaLimits,
    /// How large messages may be.
    pub messages: Limits,
    /// Whether every account is believed every name, without challenges: never, but in laboratories.
    pub trusted_identifiers: bool,
    /// For how many seconds certificates are valid at most that are not renewed automatically: 90 days. At least 1.
    pub validity: u64,
    /// Whether everybody may fetch certificates of orders that ask for it (RFC 9115): not.
    pub certificate_get: bool,
    pub(super) caa_identities: Vec<String>,
    pub(super) challenges: Vec<ChallengeKind>,
    pub(super) names: Option<NamePolicy>,
    pub(super) star: Option<StarPolicy>,
    pub(super) fraction: Fraction,
    pub(super) issuers: Vec<u8>,
}

impl CaConfig {
    /// A CA whose URLs begin so: `https://ca.example/acme`. It issues for 90 days, after any of the three challenges, for
    /// all names, and does not speak STAR.
    pub fn builder(base: impl Into<String>) -> CaConfigBuilder {
        CaConfigBuilder(Self {
            desk: DeskConfig::new(base),
            limits: CaLimits::default(),
            messages: Limits::default(),
            trusted_identifiers: false,
            validity: 90 * 86_400,
            certificate_get: false,
            caa_identities: Vec::new(),
            challenges: vec![ChallengeKind::Http01, ChallengeKind::Dns01, ChallengeKind::TlsAlpn01],
            names: None,
            star: None,
            fraction: Fraction::HALF,
            issuers: Vec::new(),
        })
    }

    /// The begin of all URLs.
    pub fn base(&self) -> &str {
        &self.desk.base
    }

    /// A URL of the CA.
    pub fn url(&self, path: &str) -> String {
        self.desk.url(path)
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.desk.check()?;
        ConfigError::unless(self.validity > 0, "validity", "must be at least a second")
    }

    pub(super) fn desk_limits(&self) -> DeskLimits {
        let CaLimits { nonces, accounts, contacts, orders, open_orders, .. } = self.limits;
        DeskLimits { messages: self.messages, nonces, accounts, contacts, orders, open_orders, delegations: false }
    }
}

config_builder! {
    /// What becomes a [`CaConfig`].
    pub struct CaConfigBuilder for CaConfig {
        with_limits => limits: CaLimits,
        with_messages => messages: Limits,
        with_trusted_identifiers => trusted_identifiers: bool,
        with_validity => validity: u64,
        with_certificate_get => certificate_get: bool,
    }
}

impl CaConfigBuilder {
    /// The same with terms of service, which must be agreed to.
    #[must_use]
    pub fn with_terms_of_service(mut self, url: impl Into<String>) -> Self {
        self.0.desk.terms_of_service = Some(url.into());
        self
    }

    /// The same with an external account. If there is one, every account must be bound to one.
    #[must_use]
    pub fn with_external_account(mut self, kid: impl Into<String>, key: MacKey) -> Self {
        self.0.desk.external_accounts.insert(kid.into(), key);
        self
    }

    /// The same with these kinds of challenge. Wildcards only get dns-01.
    #[must_use]
    pub fn with_challenges(mut self, kinds: impl IntoIterator<Item = ChallengeKind>) -> Self {
        self.0.challenges = kinds.into_iter().collect();
        self
    }

    /// The same, issuing only for names that the policy allows.
    #[must_use]
    pub fn with_names(mut self, policy: NamePolicy) -> Self {
        self.0.names = Some(policy);
        self
    }

    /// The same, speaking STAR.
    #[must_use]
    pub fn with_star(mut self, policy: StarPolicy, fraction: Fraction) -> Self {
        self.0.star = Some(policy);
        self.0.fraction = fraction;
        self
    }

    /// The same with the certificates, in PEM, that stand behind every certificate in its chain.
    #[must_use]
    pub fn with_issuers(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.0.issuers = pem.into();
        self
    }
}

/// How much a CA keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaLimits {
    /// Nonces that were given out and not used: 65,536. The oldest are forgotten first.
    pub nonces: usize,
    /// Accounts: 1,000,000.
    pub accounts: usize,
    /// Orders: 1,000,000.
    pub orders: usize,
    /// Orders of one account that are not `valid` yet: 300. More are `rateLimited`.
    pub open_orders: usize,
    /// URIs in the `contact` of an account: 10.
    pub contacts: usize,
    /// Seconds until an order that is not `valid` is forgotten: a day.
    pub pending_seconds: u64,
    /// Certificates a day that all orders of one account that are renewed automatically make together: 1,000,000. More
    /// are `rateLimited` ([RFC 8739 section 6.2](https://www.rfc-editor.org/rfc/rfc8739#section-6.2)).
    pub renewals_a_day: u64,
}

impl Default for CaLimits {
    fn default() -> Self {
        Self {
            nonces: 65_536,
            accounts: 1_000_000,
            orders: 1_000_000,
            open_orders: 300,
            contacts: 10,
            pending_seconds: 86_400,
            renewals_a_day: 1_000_000,
        }
    }
}

impl CaLimits {
    /// The same with so many nonces.
    #[must_use]
    pub const fn with_nonces(mut self, nonces: usize) -> Self {
        self.nonces = nonces;
        self
    }

    /// The same with so many accounts and orders.
    #[must_use]
    pub const fn with_totals(mut self, accounts: usize, orders: usize) -> Self {
        (self.accounts, self.orders) = (accounts, orders);
        self
    }

    /// The same with so many certificates a day that are renewed automatically for one account.
    #[must_use]
    pub const fn with_renewals_a_day(mut self, certificates: u64) -> Self {
        self.renewals_a_day = certificates;
        self
    }

    /// The same with so many orders of one account that are not `valid` yet.
    #[must_use]
    pub const fn with_open_orders(mut self, orders: usize) -> Self {
        self.open_orders = orders;
        self
    }
}
