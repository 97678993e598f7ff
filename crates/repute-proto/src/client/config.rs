//! What a client may do, and how long it takes.

use std::time::Duration;

use watchfire_core::{ConfigError, config_builder};

use crate::lifetime::LifetimePolicy;
use crate::limits::Limits;
use crate::template::Policy;
use crate::wire::Dialect;

/// Configuration of a [`super::Client`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientConfig {
    /// In whose words services are asked; answers are read in all.
    pub dialect: Dialect,
    /// Where templates may lead.
    pub policy: Policy,
    /// Bounds on what services send.
    pub limits: Limits,
    /// How long one exchange may take: 10 s.
    pub exchange_timeout: Duration,
    /// How long a template is good for where nobody says.
    pub template_lifetime: LifetimePolicy,
    /// The least time between two fetches of one service's template: 60 s.
    pub template_floor: Duration,
    /// For how long after it went stale a template serves while the service fails to give a new one: one hour.
    pub stale_if_error: Duration,
    /// From which age on a 404 makes a template suspicious: 10 min.
    pub suspicious_age: Duration,
    /// How long answers without expiry are kept, 300 s, and how long any answer: one day.
    pub answer_lifetime: LifetimePolicy,
    /// How long a 404 is kept: 60 s.
    pub not_found_lifetime: Duration,
    /// The first and the longest wait after failures: 1 s and 15 min.
    pub backoff: (Duration, Duration),
    /// How often a query is sent again after a 5xx: 2.
    pub retries: u32,
    /// How many redirects are followed, at most 3: none.
    pub redirects: u32,
    /// Clocks may differ by this much: 120 s.
    pub clock_skew: Duration,
    /// Whose word is taken for a rater's.
    pub raters: RaterPolicy,
    /// Answers in the cache: 65 536.
    pub cache_entries: usize,
    /// Reputons that the answers in the cache may have together: 1 048 576.
    pub cache_reputons: usize,
    /// Queries that may wait: 65 536.
    pub queries: usize,
    /// Services that may be in use: 1 024.
    pub services: usize,
}

/// Whose word is taken for a rater's. The name in a reputon is what the service claims.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RaterPolicy {
    /// Any name.
    #[default]
    Any,
    /// The service speaks for itself alone.
    Service,
    /// These names, ASCII case ignored.
    Listed(Vec<String>),
}

impl ClientConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let (first, longest) = self.backoff;
        ConfigError::unless(!self.exchange_timeout.is_zero(), "exchange_timeout", "must not be zero")?;
        ConfigError::unless(first <= longest, "backoff", "must not begin above its end")?;
        ConfigError::unless(self.redirects <= 3, "redirects", "must be at most 3")?;
        ConfigError::unless(self.queries > 0, "queries", "must be at least 1")?;
        ConfigError::unless(self.services > 0, "services", "must be at least 1")
    }

    /// The defaults, each said above.
    pub fn builder() -> ClientConfigBuilder {
        ClientConfigBuilder(Self::default())
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            dialect: Dialect::Auto,
            policy: Policy::default(),
            limits: Limits::default(),
            exchange_timeout: Duration::from_secs(10),
            template_lifetime: LifetimePolicy::TEMPLATE,
            template_floor: Duration::from_secs(60),
            stale_if_error: Duration::from_secs(3_600),
            suspicious_age: Duration::from_secs(600),
            answer_lifetime: LifetimePolicy::new(Duration::from_secs(300), Duration::from_secs(86_400)),
            not_found_lifetime: Duration::from_secs(60),
            backoff: (Duration::from_secs(1), Duration::from_secs(900)),
            retries: 2,
            redirects: 0,
            clock_skew: Duration::from_secs(120),
            raters: RaterPolicy::Any,
            cache_entries: 65_536,
            cache_reputons: 1 << 20,
            queries: 65_536,
            services: 1_024,
        }
    }
}

config_builder! {
    /// What becomes a [`ClientConfig`].
    pub struct ClientConfigBuilder for ClientConfig {
        with_dialect => dialect: Dialect,
        with_policy => policy: Policy,
        with_limits => limits: Limits,
        with_exchange_timeout => exchange_timeout: Duration,
        with_template_lifetime => template_lifetime: LifetimePolicy,
        with_template_floor => template_floor: Duration,
        with_stale_if_error => stale_if_error: Duration,
        with_suspicious_age => suspicious_age: Duration,
        with_answer_lifetime => answer_lifetime: LifetimePolicy,
        with_not_found_lifetime => not_found_lifetime: Duration,
        with_backoff => backoff: (Duration, Duration),
        with_retries => retries: u32,
        with_redirects => redirects: u32,
        with_clock_skew => clock_skew: Duration,
        with_raters => raters: RaterPolicy,
        with_cache_entries => cache_entries: usize,
        with_cache_reputons => cache_reputons: usize,
        with_queries => queries: usize,
        with_services => services: usize,
    }
}
