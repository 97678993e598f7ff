//! What a server answers, and how.

use std::time::Duration;

use watchfire_core::{ConfigError, config_builder};

use crate::limits::Limits;
use crate::template::Template;
use crate::vocabulary::Applications;
use crate::wire::Dialect;

/// Configuration of a [`super::Server`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerConfig {
    /// What it knows to answer about; all else is 404.
    pub applications: Applications,
    /// The templates that it publishes, the preferred one first.
    pub templates: Vec<Template>,
    /// How long a template is good for: one day.
    pub template_lifetime: Duration,
    /// In whose words it answers who does not say; `Draft2012` and `Auto` also serve the older well-known name.
    pub dialect: Dialect,
    /// What stands before `/{application}/{subject}`: nothing.
    pub base: String,
    /// Paths that take everything from their query: `/repute.php`.
    pub query_paths: Vec<String>,
    /// Whether `POST {base}/batch` is served: it is ours, and no REPUTE.
    pub batch: bool,
    /// Queries in a batch: 1 000.
    pub batch_queries: usize,
    /// Whether answers about email-id have all that OpenDKIM reads without looking whether it is there: for clients whose
    /// `Accept` names no media type of reputons, and not where `dialect` is `Rfc7072`.
    pub opendkim: bool,
    /// The message limit that OpenDKIM is told where the data says none: no limit.
    pub opendkim_rate: u64,
    /// The name that answers without data have as their rater.
    pub rater: String,
    /// How long an answer is good for whose data does not say, and one without data: 300 s.
    pub answer_lifetime: Duration,
    /// Bounds on requests.
    pub limits: Limits,
}

impl ServerConfig {
    /// A server of the registered applications, that calls itself so, with a template for every kind of client.
    pub fn builder(rater: impl Into<String>) -> ServerConfigBuilder {
        // One template that every client of the last decade reads: neither level 3 nor a second line.
        let template = "http://{service}/{application}/{subject}/{assertion}";
        ServerConfigBuilder(Self {
            applications: Applications::default(),
            templates: template.parse().into_iter().collect(),
            template_lifetime: Duration::from_secs(86_400),
            dialect: Dialect::Auto,
            base: String::new(),
            query_paths: vec!["/repute.php".to_owned()],
            batch: false,
            batch_queries: 1_000,
            opendkim: true,
            opendkim_rate: u64::from(u32::MAX),
            rater: rater.into(),
            answer_lifetime: Duration::from_secs(300),
            limits: Limits::default(),
        })
    }

    /// What OpenDKIM cannot take in the templates: it reads one line of at most 1023 octets.
    pub fn opendkim_faults(&self) -> Vec<&'static str> {
        let mut faults = Vec::new();
        if self.templates.len() > 1 {
            faults.push("OpenDKIM takes all lines of the template file for one template");
        }
        if self.templates.iter().any(|template| template.as_str().len() > 1023) {
            faults.push("OpenDKIM reads beyond its buffer when a template is longer than 1023 octets");
        }
        faults
    }

    fn check(&self) -> Result<(), ConfigError> {
        ConfigError::unless(!self.rater.is_empty(), "rater", "must not be empty")?;
        ConfigError::unless(!self.templates.is_empty(), "templates", "must have one at least")?;
        ConfigError::unless(self.batch_queries > 0, "batch_queries", "must be at least 1")
    }
}

config_builder! {
    /// What becomes a [`ServerConfig`].
    pub struct ServerConfigBuilder for ServerConfig {
        with_applications => applications: Applications,
        with_templates => templates: Vec<Template>,
        with_template_lifetime => template_lifetime: Duration,
        with_dialect => dialect: Dialect,
        with_base => base: String,
        with_query_paths => query_paths: Vec<String>,
        with_batch => batch: bool,
        with_batch_queries => batch_queries: usize,
        with_opendkim => opendkim: bool,
        with_opendkim_rate => opendkim_rate: u64,
        with_answer_lifetime => answer_lifetime: Duration,
        with_limits => limits: Limits,
    }
}
