//! Why a line is no alert.

use thiserror::Error;

/// A line was refused: why, and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("octet {offset} of the line: {kind}")]
#[non_exhaustive]
pub struct EveError {
    /// Why.
    pub kind: EveErrorKind,
    /// The octet of the line at which the problem, or the name of the member that has it, is.
    pub offset: usize,
}

/// Why a line was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EveErrorKind {
    /// Longer than the converter was told to accept.
    #[error("line too long")]
    TooLong,
    /// The line ends inside of the JSON text.
    #[error("line ends inside of the JSON text")]
    Truncated,
    /// Not JSON, or nested too deeply.
    #[error("not JSON")]
    Json,
    /// JSON, but not an object with an `event_type` that is a string.
    #[error("not an object with an event_type")]
    NotEve,
    /// The alert has no such member, or one of another type.
    #[error("alert without {0}")]
    Missing(&'static str),
    /// The member is not what it should be.
    #[error("{0} is not valid")]
    Invalid(&'static str),
}
