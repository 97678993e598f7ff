//! What happens in a CA: counted, and told to whoever wants to know.

use std::fmt;
use std::sync::atomic::AtomicU64;

use acme_lurk::acme::server::{Issuance, OrderId};
use acme_lurk::acme::{ChallengeKind, Identifier, Problem};
use acme_lurk::time::format_rfc3339;

use crate::keep::KeepError;

/// What happened, counted from the start.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct CaCounters {
    /// Challenges that were met.
    pub validated: AtomicU64,
    /// Challenges that were not.
    pub validations_failed: AtomicU64,
    /// Certificates, those of renewals too.
    pub issued: AtomicU64,
    /// Certificates that could not be made.
    pub issues_failed: AtomicU64,
    /// Orders whose certificate ran out before there was a newer one.
    pub gaps: AtomicU64,
    /// Changes that could not be kept.
    pub not_kept: AtomicU64,
    /// Certificates revoked.
    pub revoked: AtomicU64,
}

/// Something that an operator may want to know of.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum CaNotice<'a> {
    /// A challenge was looked at.
    Validated {
        /// For what.
        identifier: &'a Identifier,
        /// Which.
        kind: &'a ChallengeKind,
        /// Why it was not met.
        result: Result<(), &'a Problem>,
    },
    /// A certificate was made.
    Issued {
        /// What was asked for.
        issuance: &'a Issuance,
    },
    /// A certificate could not be made.
    IssueFailed {
        /// What was asked for.
        issuance: &'a Issuance,
        /// Why.
        problem: &'a Problem,
    },
    /// The certificate of an order has run out, and there is no newer one.
    Gap {
        /// Of which.
        order: &'a OrderId,
    },
    /// What has changed could not be kept. It goes with the next that is; until then nobody is promised anything.
    NotKept {
        /// Why.
        error: &'a KeepError,
    },
    /// A certificate was revoked.
    Revoked {
        /// The certificate, DER.
        certificate: &'a [u8],
        /// Why (RFC 5280 section 5.3.1).
        reason: u8,
    },
}

impl fmt::Display for CaNotice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Validated { identifier, kind, result: Ok(()) } => write!(f, "{kind} of {identifier} is met"),
            Self::Validated { identifier, kind, result: Err(problem) } => {
                write!(f, "{kind} of {identifier} is not met: {problem}")
            }
            Self::Issued { issuance } => write!(
                f,
                "order {}: certificate {} from {} to {}",
                issuance.order,
                issuance.index,
                format_rfc3339(issuance.not_before),
                format_rfc3339(issuance.not_after)
            ),
            Self::IssueFailed { issuance, problem } => {
                write!(f, "order {}: no certificate {}: {problem}", issuance.order, issuance.index)
            }
            Self::Gap { order } => write!(f, "order {order}: the certificate has run out, and there is no newer one"),
            Self::NotKept { error } => error.fmt(f),
            Self::Revoked { reason, .. } => write!(f, "a certificate was revoked, reason {reason}"),
        }
    }
}
