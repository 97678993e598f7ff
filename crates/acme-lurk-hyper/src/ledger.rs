//! What a machine has promised, and how much of it is kept.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use acme_lurk::Record;
use acme_lurk::acme::server::{Request, Response};
use acme_lurk::acme::{Problem, ProblemType};

use crate::Going;
use crate::keep::{KeepError, Keeper};

/// A keeper, and whether all that it was given is kept.
pub(crate) struct Ledger {
    keeper: Box<dyn Keeper>,
    /// How often there were records.
    given: AtomicU64,
    /// Up to which of these times all is known to be kept.
    kept: Arc<AtomicU64>,
}

impl Ledger {
    pub(crate) fn new(keeper: Box<dyn Keeper>) -> Self {
        Self { keeper, given: AtomicU64::new(0), kept: Arc::default() }
    }

    /// Keeps records, and all before them. It is called under the lock of the machine that they are of, so that they come
    /// in its order.
    #[must_use = "nothing may be promised before this has come"]
    pub(crate) fn keep(&self, records: Vec<Record>) -> Kept {
        let new = u64::from(!records.is_empty());
        let upto = self.given.fetch_add(new, Relaxed) + new;
        Kept { going: self.keeper.keep(records), upto, kept: Arc::clone(&self.kept) }
    }

    /// The same, unless there are none and all before them are known to be kept: what the call of somebody else has
    /// changed is promised here too.
    #[must_use = "nothing may be promised before this has come"]
    pub(crate) fn catch_up(&self, records: Vec<Record>) -> Option<Kept> {
        let is_behind = !records.is_empty() || self.kept.load(Acquire) < self.given.load(Relaxed);
        is_behind.then(|| self.keep(records))
    }
}

/// Records that are on their way to the keeper.
pub(crate) struct Kept {
    going: Going<'static, Result<(), KeepError>>,
    upto: u64,
    kept: Arc<AtomicU64>,
}

impl Kept {
    /// Done when they are kept.
    pub(crate) async fn done(self) -> Result<(), KeepError> {
        self.going.await?;
        self.kept.fetch_max(self.upto, Release);
        Ok(())
    }
}

/// Whether the answer may promise something. What anybody may fetch does not: the directory, nonces, and certificates, whose
/// URLs are promised before. One that renews itself may be fetched while the newest is being kept; if that comes to nothing
/// another is made in its place.
pub(crate) fn promises(request: &Request<'_>) -> bool {
    request.method == "POST"
}

/// What is said in the place of an answer that would promise what was not kept.
pub(crate) fn refuse(response: &mut Response, error: &KeepError) {
    response.status = 500;
    // A nonce may stay: it promises nothing.
    response.headers.retain(|(name, _)| *name == "replay-nonce");
    response.headers.push(("content-type", "application/problem+json".to_owned()));
    response.headers.push(("cache-control", "no-store".to_owned()));
    response.headers.push(("retry-after", "5".to_owned()));
    response.body = Problem::new(ProblemType::ServerInternal, error.to_string()).encode();
}
