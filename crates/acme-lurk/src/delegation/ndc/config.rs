//! What a delegate wants.

use watchfire_core::{ConfigError, Duration, config_builder};

use crate::acme::NewAccount;
use crate::names;
use crate::template::Answers;

/// What a delegate orders, and of whom.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NdcConfig {
    /// The account that is made, if there is none yet.
    pub account: NewAccount,
    /// The waits before an order is tried again, the first and the longest: 5 seconds, 10 minutes.
    pub retry: (Duration, Duration),
    pub(super) names: Vec<String>,
    pub(super) answers: Answers,
    pub(super) delegation: Option<String>,
    pub(super) star: Option<Star>,
    pub(super) once: bool,
}

/// How certificates are to be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Star {
    pub(super) lifetime: u64,
    pub(super) adjust: u64,
    pub(super) duration: u64,
}

impl NdcConfig {
    /// A certificate for these DNS names, renewed automatically for ninety days, each certificate valid for four days
    /// and two days early.
    ///
    /// # Errors
    /// When a name is none.
    pub fn builder<T: AsRef<str>>(wanted: impl IntoIterator<Item = T>) -> Result<NdcConfigBuilder, ConfigError> {
        let names = wanted.into_iter().map(|name| names::normalize(name.as_ref())).collect::<Option<Vec<_>>>();
        let names = names.ok_or(ConfigError::new("names", "must be DNS names"))?;
        let answers = names.iter().fold(Answers::new(), |answers, name| answers.with_name(name.clone()));
        Ok(NdcConfigBuilder(Self {
            names,
            answers,
            delegation: None,
            account: NewAccount::default(),
            star: Some(Star { lifetime: 4 * 86_400, adjust: 2 * 86_400, duration: 90 * 86_400 }),
            once: false,
            retry: (Duration::from_secs(5), Duration::from_secs(600)),
        }))
    }

    fn check(&self) -> Result<(), ConfigError> {
        ConfigError::unless(!self.names.is_empty(), "names", "must be one at least")?;
        ConfigError::unless(self.retry.0 <= self.retry.1, "retry", "must not begin above its end")
    }
}

config_builder! {
    /// What becomes an [`NdcConfig`].
    pub struct NdcConfigBuilder for NdcConfig {
        with_account => account: NewAccount,
        with_retry => retry: (Duration, Duration),
    }
}

impl NdcConfigBuilder {
    /// The same with a value for a part of the subject that the template leaves open.
    #[must_use]
    pub fn with_subject(mut self, field: crate::csr::SubjectField, value: impl Into<String>) -> Self {
        self.0.answers = self.0.answers.with_field(field, value);
        self
    }

    /// The same under this delegation. Without it the first that fits is taken.
    #[must_use]
    pub fn with_delegation(mut self, url: impl Into<String>) -> Self {
        self.0.delegation = Some(url.into());
        self
    }

    /// The same with certificates of this lifetime, early by so much, for so long; all in seconds.
    #[must_use]
    pub fn with_star(mut self, lifetime: u64, adjust: u64, duration: u64) -> Self {
        self.0.star = Some(Star { lifetime, adjust, duration });
        self
    }

    /// The same with certificates that are not renewed by the CA. They are ordered anew at two thirds of their life.
    #[must_use]
    pub fn without_star(mut self) -> Self {
        self.0.star = None;
        self
    }

    /// The same for one certificate: the machine ends when it is installed.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.0.once = true;
        self
    }
}
