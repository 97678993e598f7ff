//! What a name owner lets whom do.

use std::collections::BTreeMap;

use watchfire_core::{ConfigError, config_builder};

use crate::acme::server::desk::{DeskConfig, DeskLimits};
use crate::acme::{ChallengeKind, Delegation, NewAccount};
use crate::jose::MacKey;
use crate::limits::Limits;
use crate::names;
use crate::star::{Fraction, StarMeta, StarPolicy};
use crate::template::Pattern;

/// One delegation: what may be asked for, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegationRule {
    pub(super) name: String,
    pub(super) delegation: Delegation,
    pub(super) accounts: Vec<String>,
    pub(super) names: Vec<String>,
    pub(super) upstream: Option<String>,
}

impl DelegationRule {
    /// A delegation that nobody may use yet. Its name stands in its URL: letters, digits, `-`, `_` and `.`; none if it is
    /// another.
    pub fn new(name: impl Into<String>, delegation: Delegation) -> Option<Self> {
        let name = name.into();
        let fits = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.');
        let is_name = (1..=128).contains(&name.len()) && name.bytes().all(fits) && !name.starts_with('.');
        is_name.then_some(Self { name, delegation, accounts: Vec::new(), names: Vec::new(), upstream: None })
    }

    /// The same for the account with the key of this thumbprint (RFC 7638, base64url) too. An account that changes its
    /// key is another one here, until the rule says so.
    #[must_use]
    pub fn with_account(mut self, thumbprint: impl Into<String>) -> Self {
        self.accounts.push(thumbprint.into());
        self
    }

    /// The same for this name too, where the template leaves names open: a name, or `*.` and a name for all names one
    /// level below it (and for the wildcard itself). None if it is none.
    #[must_use]
    pub fn with_name(mut self, name: &str) -> Option<Self> {
        self.names.push(names::normalize(name)?);
        Some(self)
    }

    /// The same, passed on: this server is a proxy, and asks another name owner for its delegation of this URL
    /// ([RFC 9115 section 2.4](https://www.rfc-editor.org/rfc/rfc9115#section-2.4)).
    #[must_use]
    pub fn with_upstream(mut self, url: impl Into<String>) -> Self {
        self.upstream = Some(url.into());
        self
    }

    /// Whether its policy lets a name be, that the template leaves open.
    pub(super) fn allows(&self, name: &str) -> bool {
        self.names.iter().any(|allowed| {
            let below = allowed.strip_prefix("*.").zip(name.split_once('.'));
            allowed == name || below.is_some_and(|(zone, (first, rest))| zone == rest && first != "*")
        })
    }

    /// Whether an order may have a name: one of the template, or one that the policy lets be where the template is open.
    pub(super) fn takes(&self, name: &str) -> bool {
        let template = &self.delegation.csr_template;
        let is_literal = |pattern: &Pattern| matches!(pattern, Pattern::Literal(text) if names::are_equal(text, name));
        template.dns().iter().any(is_literal) || (template.has_dns_wildcard() && self.allows(name))
    }
}

/// Where delegates fetch certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_enums, reason = "there are these two")]
pub enum Serving {
    /// At the CA: its URL is handed through, as RFC 9115 has it. The CA must let everybody fetch.
    #[default]
    HandThrough,
    /// At this server, which fetches them as the owner of the order.
    Own,
}

/// STAR over a CA that does not speak it: this server orders a certificate for every slot of the schedule itself, and
/// serves it at its own URL.
///
/// This is ours, and no RFC's. An order of this kind has a member `star-emulated`, true. Two things differ: certificates
/// are as long-lived as the CA makes them, so that they are revoked when the order ends or is canceled; and the CA must
/// take the same request, and so the same key, again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emulation {
    pub(super) policy: StarPolicy,
    pub(super) fraction: Fraction,
    pub(super) profile: Option<String>,
    pub(super) validity: bool,
    pub(super) revoke: bool,
}

impl Emulation {
    /// Orders within these bounds.
    pub const fn new(policy: StarPolicy) -> Self {
        Self { policy, fraction: Fraction::HALF, profile: None, validity: false, revoke: true }
    }

    /// The same with certificates of this profile, where the CA has one: `shortlived`.
    #[must_use]
    pub fn with_profile(mut self, profile: impl Into<String>) -> Self {
        self.profile = Some(profile.into());
        self
    }

    /// The same, asking the CA for certificates that are valid for their slot alone. Some CAs refuse orders that ask.
    #[must_use]
    pub const fn with_validity(mut self, asked: bool) -> Self {
        self.validity = asked;
        self
    }

    /// The same, revoking (which is the default) or not revoking the last certificate at the end.
    #[must_use]
    pub const fn with_revocation(mut self, revoke: bool) -> Self {
        self.revoke = revoke;
        self
    }
}

/// The configuration of a name owner's server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct IdoConfig {
    pub(super) desk: DeskConfig,
    /// How much it keeps and does.
    pub limits: IdoLimits,
    /// How large messages may be.
    pub messages: Limits,
    /// The bounds for STAR orders; none for none at all. Up to a year, with lifetimes from an hour on.
    pub star: Option<StarPolicy>,
    /// Where delegates fetch certificates: at the CA.
    pub serving: Serving,
    /// Whether an order without `delegation` uses the account's only one, for clients that know nothing of delegation:
    /// not.
    pub inferred_delegation: bool,
    /// Whether an order stays `ready` when its request does not fit, as RFC 8555 section 7.4 would have it. RFC 9115
    /// section 2.2 makes it `invalid`, which is the default.
    pub ready_kept: bool,
    /// Whether requests must be signed as the template's `SignatureType` says: they must.
    pub signature_type: bool,
    pub(super) rules: BTreeMap<String, DelegationRule>,
    pub(super) challenges: Vec<ChallengeKind>,
    pub(super) emulation: Option<Emulation>,
    pub(super) account: NewAccount,
    pub(super) external: Option<(String, MacKey)>,
}

impl IdoConfig {
    /// A server whose URLs begin so: `https://ido.example/acme`. It has no delegations yet; takes STAR orders of up to a
    /// year with lifetimes from an hour on; meets dns-01 alone.
    pub fn builder(base: impl Into<String>) -> IdoConfigBuilder {
        IdoConfigBuilder(Self {
            desk: DeskConfig::new(base),
            limits: IdoLimits::default(),
            messages: Limits::default(),
            star: Some(StarPolicy::new(StarMeta::new(3600, 366 * 86_400, true))),
            serving: Serving::HandThrough,
            inferred_delegation: false,
            ready_kept: false,
            signature_type: true,
            rules: BTreeMap::new(),
            challenges: vec![ChallengeKind::Dns01],
            emulation: None,
            account: NewAccount { terms_of_service_agreed: true, ..NewAccount::default() },
            external: None,
        })
    }

    /// The begin of all URLs.
    pub fn base(&self) -> &str {
        &self.desk.base
    }

    /// A URL of the server.
    pub fn url(&self, path: &str) -> String {
        self.desk.url(path)
    }

    /// The same with these delegations and no others.
    pub(super) fn with_only(&self, rules: impl IntoIterator<Item = DelegationRule>) -> Result<Self, ConfigError> {
        let bare = Self { rules: BTreeMap::new(), ..self.clone() }.into_builder();
        rules.into_iter().try_fold(bare, IdoConfigBuilder::with_delegation)?.build()
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.desk.check()
    }

    pub(super) fn desk_limits(&self) -> DeskLimits {
        let IdoLimits { nonces, accounts, contacts, orders, open_orders, .. } = self.limits;
        DeskLimits { messages: self.messages, nonces, accounts, contacts, orders, open_orders, delegations: true }
    }
}

config_builder! {
    /// What becomes an [`IdoConfig`].
    pub struct IdoConfigBuilder for IdoConfig {
        with_limits => limits: IdoLimits,
        with_messages => messages: Limits,
        with_star => star: Option<StarPolicy>,
        with_serving => serving: Serving,
        with_inferred_delegation => inferred_delegation: bool,
        with_ready_kept => ready_kept: bool,
        with_signature_type => signature_type: bool,
    }
}

impl IdoConfigBuilder {
    /// The same with a delegation.
    ///
    /// # Errors
    /// When there is one of this name, or it is passed on to this server itself.
    pub fn with_delegation(mut self, rule: DelegationRule) -> Result<Self, ConfigError> {
        let to_itself = rule.upstream.as_ref().is_some_and(|url| url.starts_with(self.0.base()));
        ConfigError::unless(!to_itself, "delegation", "must not be passed on to this server itself")?;
        let is_new = !self.0.rules.contains_key(&rule.name);
        ConfigError::unless(is_new, "delegation", "must have a name of its own")?;
        self.0.rules.insert(rule.name.clone(), rule);
        Ok(self)
    }

    /// The same with terms of service, which delegates must agree to.
    #[must_use]
    pub fn with_terms_of_service(mut self, url: impl Into<String>) -> Self {
        self.0.desk.terms_of_service = Some(url.into());
        self
    }

    /// The same with an external account that delegates may bind theirs to. If there is one, they must.
    #[must_use]
    pub fn with_external_account(mut self, kid: impl Into<String>, key: MacKey) -> Self {
        self.0.desk.external_accounts.insert(kid.into(), key);
        self
    }

    /// The same, meeting these challenges of the CA. By default dns-01 alone: a delegate that runs the web server could
    /// meet the others itself ([RFC 9115 section 7.4](https://www.rfc-editor.org/rfc/rfc9115#section-7.4)).
    #[must_use]
    pub fn with_challenges(mut self, kinds: impl IntoIterator<Item = ChallengeKind>) -> Self {
        self.0.challenges = kinds.into_iter().collect();
        self
    }

    /// The same, with STAR of our own where the CA has none.
    #[must_use]
    pub fn with_emulation(mut self, emulation: Emulation) -> Self {
        self.0.emulation = Some(emulation);
        self
    }

    /// The same with an account at the CA that is made so, if there is none yet; perhaps bound to an external one.
    #[must_use]
    pub fn with_upstream_account(mut self, account: NewAccount, external: Option<(String, MacKey)>) -> Self {
        (self.0.account, self.0.external) = (account, external);
        self
    }
}

/// How much a name owner's server keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdoLimits {
    /// Nonces that were given out and not used: 65,536.
    pub nonces: usize,
    /// Accounts: 100,000.
    pub accounts: usize,
    /// Orders: 100,000.
    pub orders: usize,
    /// Orders of one account that are not `valid` yet: 100.
    pub open_orders: usize,
    /// URIs in the `contact` of an account: 10.
    pub contacts: usize,
    /// Seconds until an order that is not `valid` is given up: a day.
    pub pending_seconds: u64,
    /// Proxies that an order may have passed: 8.
    pub hops: u64,
    /// Refusals that are said for the audit log at once: 100, one at least. It holds for accounts with a delegation, and
    /// again for all others together.
    pub refusals: u32,
    /// How many more are said in each minute: 10, one at least. The others are counted
    /// ([`Audit::Omitted`](super::Audit::Omitted)).
    pub refusals_a_minute: u32,
    /// Events that wait for the driver, beyond which refusals are only counted: 1024.
    pub waiting: usize,
}

impl Default for IdoLimits {
    fn default() -> Self {
        Self {
            nonces: 65_536,
            accounts: 100_000,
            orders: 100_000,
            open_orders: 100,
            contacts: 10,
            pending_seconds: 86_400,
            hops: 8,
            refusals: 100,
            refusals_a_minute: 10,
            waiting: 1024,
        }
    }
}

impl IdoLimits {
    /// The same with so many accounts and orders.
    #[must_use]
    pub const fn with_totals(mut self, accounts: usize, orders: usize) -> Self {
        (self.accounts, self.orders) = (accounts, orders);
        self
    }

    /// The same with so many orders of one account that are not `valid` yet, and seconds until they are given up.
    #[must_use]
    pub const fn with_open_orders(mut self, orders: usize, seconds: u64) -> Self {
        (self.open_orders, self.pending_seconds) = (orders, seconds);
        self
    }

    /// The same, saying so many refusals at once, and then so many in each minute.
    #[must_use]
    pub const fn with_refusals(mut self, at_once: u32, a_minute: u32) -> Self {
        (self.refusals, self.refusals_a_minute) = (at_once, a_minute);
        self
    }

    /// The same, saying no refusals while so many events wait for the driver.
    #[must_use]
    pub const fn with_waiting(mut self, events: usize) -> Self {
        self.waiting = events;
        self
    }

    /// The same with so many proxies.
    #[must_use]
    pub const fn with_hops(mut self, hops: u64) -> Self {
        self.hops = hops;
        self
    }
}
