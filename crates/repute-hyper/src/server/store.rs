//! What is known about subjects, wherever it is kept.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use repute_proto::{Lookup, Reputon};

/// A look-up that takes its time.
pub type Finding<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A source of reputons: a table in memory, a database, other raters.
///
/// It may give more than was asked for: reputons whose assertion or identity [`Lookup::wants`] does not want, and those
/// that have expired, are left out. Nothing found is an empty list, and the client is told so in the way that it
/// understands; a store that cannot say is an error, and never becomes a statement about the subject.
///
/// ```
/// use repute_hyper::repute_proto::{Lookup, Reputon, Score};
/// use repute_hyper::server::{Finding, Store};
///
/// /// Thinks well of everybody.
/// struct Kind;
///
/// impl Store for Kind {
///     fn at_hand(&self, lookup: &Lookup, answer: &mut dyn FnMut(Vec<Reputon<'_>>)) {
///         answer(vec![Reputon::new("kind.example", "spam", lookup.subject.as_str(), Score::ZERO)]);
///     }
///
///     fn find<'a>(&'a self, _lookup: &'a Lookup) -> Finding<'a, Vec<Reputon<'static>>> {
///         Box::pin(async { Ok(Vec::new()) })
///     }
/// }
/// ```
pub trait Store: Send + Sync + 'static {
    /// Calls `answer`, once, if what is known is at hand; reputons may borrow from the store. It must not wait. When it
    /// does not call, [`find`](Self::find) is asked.
    fn at_hand(&self, lookup: &Lookup, answer: &mut dyn FnMut(Vec<Reputon<'_>>)) {
        let _ = (lookup, answer);
    }

    /// Looks for what is known. What takes longer than [`ServerLimits::lookup`](super::ServerLimits::lookup) is given
    /// up, and the client told to come back later.
    ///
    /// # Errors
    /// When it is not known whether anything is known.
    fn find<'a>(&'a self, lookup: &'a Lookup) -> Finding<'a, Vec<Reputon<'static>>>;

    /// Looks for what is known about each of several, in their order, all of one application. One after the other,
    /// unless a store knows better.
    ///
    /// # Errors
    /// As [`find`](Self::find); one that fails fails them all.
    fn find_batch<'a>(&'a self, lookups: &'a [Lookup]) -> Finding<'a, Vec<Vec<Reputon<'static>>>> {
        Box::pin(async move {
            let mut all = Vec::with_capacity(lookups.len());
            for lookup in lookups {
                let mut found = None;
                self.at_hand(lookup, &mut |reputons| {
                    found = Some(reputons.into_iter().map(Reputon::into_owned).collect());
                });
                all.push(match found {
                    Some(found) => found,
                    None => self.find(lookup).await?,
                });
            }
            Ok(all)
        })
    }
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn at_hand(&self, lookup: &Lookup, answer: &mut dyn FnMut(Vec<Reputon<'_>>)) {
        (**self).at_hand(lookup, answer);
    }

    fn find<'a>(&'a self, lookup: &'a Lookup) -> Finding<'a, Vec<Reputon<'static>>> {
        (**self).find(lookup)
    }

    fn find_batch<'a>(&'a self, lookups: &'a [Lookup]) -> Finding<'a, Vec<Vec<Reputon<'static>>>> {
        (**self).find_batch(lookups)
    }
}

impl<S: Store + ?Sized> Store for Box<S> {
    fn at_hand(&self, lookup: &Lookup, answer: &mut dyn FnMut(Vec<Reputon<'_>>)) {
        (**self).at_hand(lookup, answer);
    }

    fn find<'a>(&'a self, lookup: &'a Lookup) -> Finding<'a, Vec<Reputon<'static>>> {
        (**self).find(lookup)
    }

    fn find_batch<'a>(&'a self, lookups: &'a [Lookup]) -> Finding<'a, Vec<Vec<Reputon<'static>>>> {
        (**self).find_batch(lookups)
    }
}

/// A store cannot say. The text is for the operator: clients are told no more than to come back later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreError(String);

impl StoreError {
    /// With what the operator should know.
    pub fn new(what: impl fmt::Display) -> Self {
        Self(what.to_string())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}
