//! A question.

use std::sync::Arc;

use crate::error::Limit;
use crate::limits::Limits;
use crate::template::{Value, Variables};
use crate::vocabulary::{Application, Applications, Identity, InvalidSubject, Subject, is_token};
use crate::wire::Dialect;

/// What is asked: an application's vocabulary, a subject, and what of it. Checked and normalised.
///
/// ```
/// use repute_proto::{Applications, Identity, Query};
/// let query = Query::builder("email-id", "Example.ORG").assertion("SPAM").identity(Identity::Dkim)
///     .build(&Applications::default())?;
/// assert_eq!((query.subject().as_str(), query.assertions()), ("example.org", &["spam".to_owned()][..]));
/// # Ok::<(), repute_proto::InvalidQuery>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    application: Arc<Application>,
    subject: Subject,
    /// In small letters and in order.
    assertions: Vec<String>,
    identity: Option<Identity>,
    parameters: Vec<(String, Value)>,
}

/// Why there is no such question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidQuery {
    /// The vocabulary is not known.
    #[error("application {0:?} is not known: add its vocabulary first")]
    UnknownApplication(String),
    /// A name of an assertion is no token.
    #[error("{0:?} is no name of an assertion")]
    Assertion(String),
    /// A variable that the query sets itself.
    #[error("the variable {0:?} is set by the query itself")]
    ReservedParameter(String),
    /// The subject is none of this application.
    #[error(transparent)]
    Subject(#[from] InvalidSubject),
    /// A limit of this side.
    #[error("{0}")]
    LimitExceeded(Limit),
}

/// A question in the making.
#[derive(Debug, Clone)]
pub struct QueryBuilder {
    application: String,
    subject: String,
    assertions: Vec<String>,
    identity: Option<Identity>,
    parameters: Vec<(String, Value)>,
}

impl Query {
    /// Begins a question about a subject, in an application's vocabulary. Without assertions it asks for all.
    pub fn builder(application: &str, subject: &str) -> QueryBuilder {
        QueryBuilder {
            application: application.to_owned(),
            subject: subject.to_owned(),
            assertions: Vec::new(),
            identity: None,
            parameters: Vec::new(),
        }
    }

    /// Whose vocabulary.
    pub fn application(&self) -> &Application {
        &self.application
    }

    /// About whom.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// What of it, as it was asked but in small letters and in order; empty for all.
    pub fn assertions(&self) -> &[String] {
        &self.assertions
    }

    /// Which identity of a message it is.
    pub fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Whether a reputon's assertion is one that was asked for; aliases are the same.
    pub(crate) fn asks_for(&self, assertion: &str) -> bool {
        self.assertions.is_empty()
            || self.assertions.iter().any(|asked| self.application.is_same_assertion(asked, assertion))
    }

    /// The variables of a template, but `service` and `scheme`, which the template's origin says.
    pub(crate) fn variables(&self, dialect: Dialect) -> Variables {
        let mut variables = Variables::new();
        for (name, value) in &self.parameters {
            variables.set(name, value.clone());
        }
        variables.set("application", self.application.name.as_ref());
        variables.set("subject", self.subject.as_str());
        match &self.assertions[..] {
            [] => {}
            [one] => variables.set("assertion", one.as_str()),
            more => variables.set("assertion", more.to_vec()),
        }
        if let Some(identity) = self.identity {
            variables.set("identity", identity.name());
        }
        if dialect == Dialect::Draft2012 {
            variables.set("format", "xml");
        }
        variables
    }

    /// What makes two questions the same.
    pub(crate) fn key(&self) -> String {
        format!(
            "{}\n{}\n{}\n{}\n{:?}",
            self.application.name,
            self.subject,
            self.assertions.join("\n"),
            self.identity.map_or("", Identity::name),
            self.parameters
        )
    }
}

impl QueryBuilder {
    /// Asks for this assertion, and for no others that are not named too.
    #[must_use]
    pub fn assertion(mut self, name: &str) -> Self {
        self.assertions.push(name.to_ascii_lowercase());
        self
    }

    /// Says which identity of a message the subject is.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Sets a variable of the application or of a private agreement, such as `reporter`.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.parameters.push((name.to_owned(), value.into()));
        self
    }

    /// The question.
    ///
    /// # Errors
    /// When the application is not known, the subject is not one of it, or a name is no token.
    pub fn build(self, applications: &Applications) -> Result<Query, InvalidQuery> {
        let Some(application) = applications.find(&self.application) else {
            return Err(InvalidQuery::UnknownApplication(self.application));
        };
        if let Some(bad) = self.assertions.iter().find(|name| !is_token(name)) {
            return Err(InvalidQuery::Assertion(bad.clone()));
        }
        Limits::check(Limit::Assertions, self.assertions.len(), Limits::default().assertions)
            .map_err(InvalidQuery::LimitExceeded)?;
        const OWN: [&str; 8] =
            ["application", "subject", "service", "scheme", "assertion", "identity", "user", "passwd"];
        if let Some((name, _)) = self.parameters.iter().find(|(name, _)| OWN.contains(&name.as_str())) {
            return Err(InvalidQuery::ReservedParameter(name.clone()));
        }
        let subject = Subject::new(application.subject, &self.subject, self.identity)?;
        let mut assertions = self.assertions;
        assertions.sort_unstable();
        assertions.dedup();
        Ok(Query {
            application: Arc::clone(application),
            subject,
            assertions,
            identity: self.identity,
            parameters: self.parameters,
        })
    }
}
