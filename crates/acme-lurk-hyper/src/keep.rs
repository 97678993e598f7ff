//! What must survive a restart.

use acme_lurk::Record;

use crate::Going;

/// Records could not be kept. What was said since is not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the state cannot be kept: {0}")]
#[allow(clippy::exhaustive_structs, reason = "keepers make it")]
pub struct KeepError(pub String);

/// Keeps records.
pub trait Keeper: Send + Sync + 'static {
    /// Takes records, in the order of the calls; the future is done when they, and all before them, would survive a loss
    /// of power. It must not wait before it gives the future.
    ///
    /// Records that could not be kept are to be kept with the next ones: they do not come again. Nobody need wait for the
    /// future: records are kept all the same when it is dropped.
    fn keep(&self, records: Vec<Record>) -> Going<'static, Result<(), KeepError>>;
}

/// Keeps nothing: after a restart all begins anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forgetful;

impl Keeper for Forgetful {
    fn keep(&self, _records: Vec<Record>) -> Going<'static, Result<(), KeepError>> {
        Box::pin(async { Ok(()) })
    }
}
