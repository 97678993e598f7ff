//! What a client does, and how much of it.

use watchfire_core::{ConfigError, Duration, config_builder};

use crate::limits::Limits;
use crate::url::UrlRules;

/// The configuration of a client.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    pub(super) directory: String,
    /// Which URLs are followed.
    pub urls: UrlRules,
    /// How large messages may be.
    pub messages: Limits,
    /// How much it does at once, and how long it tries.
    pub limits: ClientLimits,
}

impl ClientConfig {
    /// A client of the server with this directory.
    pub fn builder(directory: impl Into<String>) -> ClientConfigBuilder {
        let (urls, messages, limits) = (UrlRules::new(), Limits::default(), ClientLimits::default());
        ClientConfigBuilder(Self { directory: directory.into(), urls, messages, limits })
    }

    /// Where the directory is.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    fn check(&self) -> Result<(), ConfigError> {
        let ClientLimits { exchanges, retry, .. } = self.limits;
        ConfigError::unless(!self.directory.is_empty(), "directory", "must be a URL")?;
        ConfigError::unless(exchanges > 0, "limits.exchanges", "must be at least 1")?;
        ConfigError::unless(retry.0 <= retry.1, "limits.retry", "must not begin above its end")
    }
}

config_builder! {
    /// What becomes a [`ClientConfig`].
    pub struct ClientConfigBuilder for ClientConfig {
        with_urls => urls: UrlRules,
        with_messages => messages: Limits,
        with_limits => limits: ClientLimits,
    }
}

/// How much a client does at once, and how long it tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientLimits {
    /// Exchanges at a time: 8. More wait.
    pub exchanges: usize,
    /// Calls that are not answered yet: 10,000. More are refused.
    pub calls: usize,
    /// Nonces that are kept: 16.
    pub nonces: usize,
    /// How often a request is sent again because its nonce was refused: 3.
    pub nonce_retries: u8,
    /// Pages of a list: 100.
    pub pages: usize,
    /// How long one exchange takes: 30 seconds.
    pub exchange: Duration,
    /// How long a call is tried: a minute.
    pub call: Duration,
    /// How long an order is pursued: ten minutes. What the server still does after that is found by its URL.
    pub order: Duration,
    /// The first wait before something is asked again: half a second; and the longest: half a minute.
    pub retry: (Duration, Duration),
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            exchanges: 8,
            calls: 10_000,
            nonces: 16,
            nonce_retries: 3,
            pages: 100,
            exchange: Duration::from_secs(30),
            call: Duration::from_secs(60),
            order: Duration::from_secs(600),
            retry: (Duration::from_millis(500), Duration::from_secs(30)),
        }
    }
}

impl ClientLimits {
    /// The same with so many exchanges at a time (one at least) and calls that are not answered yet.
    #[must_use]
    pub fn with_work(mut self, exchanges: usize, calls: usize) -> Self {
        (self.exchanges, self.calls) = (exchanges.max(1), calls);
        self
    }

    /// The same with these times: for an exchange, a call, an order.
    #[must_use]
    pub const fn with_times(mut self, exchange: Duration, call: Duration, order: Duration) -> Self {
        (self.exchange, self.call, self.order) = (exchange, call, order);
        self
    }

    /// The same with these waits before something is asked again, the first and the longest.
    #[must_use]
    pub const fn with_retry(mut self, first: Duration, longest: Duration) -> Self {
        self.retry = (first, longest);
        self
    }

    /// The same with so many pages of a list.
    #[must_use]
    pub const fn with_pages(mut self, pages: usize) -> Self {
        self.pages = pages;
        self
    }
}
