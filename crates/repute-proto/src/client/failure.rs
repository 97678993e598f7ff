//! Why there is no answer. None of this says anything about a subject.

use std::time::Duration;

use crate::error::Limit;
use crate::template::Refusal;
use crate::wire::DecodeError;

/// Why an exchange brought no response: what the driver says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeFailure {
    /// No connection: no route, refused, no such name, TLS failed. The next template may do better.
    #[error("no connection")]
    Connect,
    /// It took too long.
    #[error("no response in time")]
    TimedOut,
    /// The connection broke, or what came was no HTTP.
    #[error("the connection broke")]
    Broken,
    /// The body was larger than the request allowed.
    #[error("the body is too large")]
    TooLarge,
}

/// Why a query has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The service wants credentials, or others: 401 or 403.
    #[error("the service refuses the credentials: status {0}")]
    Auth(u16),
    /// No response.
    #[error("{0}")]
    Exchange(ExchangeFailure),
    /// What came is no document of reputons.
    #[error("the answer cannot be read: {0}")]
    InvalidMessage(DecodeError),
    /// A limit of this client.
    #[error("{0}")]
    LimitExceeded(Limit),
    /// The service wants to be left alone: 429 or 503.
    #[error("the service wants to be asked again in {}", retry_in(.retry_after))]
    RateLimited {
        /// For so long, as far as it said.
        retry_after: Option<Duration>,
    },
    /// A redirect that is not followed.
    #[error("the service redirects elsewhere: status {0}")]
    Redirect(u16),
    /// Another status.
    #[error("the service answers with status {0}")]
    Status(u16),
    /// No template to ask by.
    #[error("no template: {0}")]
    Template(TemplateProblem),
    /// The time that the query was given is over.
    #[error("no answer in time")]
    TimedOut,
    /// The answer speaks about another application.
    #[error("the answer is about application {0:?}")]
    WrongApplication(String),
}

fn retry_in(after: &Option<Duration>) -> String {
    after.map_or_else(|| "a while".to_owned(), |after| format!("{} s", after.as_secs()))
}

/// Why a service has no template to ask by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateProblem {
    /// No response.
    #[error("{0}")]
    Exchange(ExchangeFailure),
    /// Not text/plain, which the RFC requires.
    #[error("the media type is not text/plain")]
    MediaType,
    /// A file without a template that is one.
    #[error("the file holds no well-formed template")]
    NoneValid,
    /// The file is too large, or holds too many.
    #[error("{0}")]
    LimitExceeded(Limit),
    /// No template leads where it may.
    #[error("no template may be followed: {0}")]
    Refused(Refusal),
    /// Another status than 200.
    #[error("status {0}")]
    Status(u16),
}
