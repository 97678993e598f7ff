//! What a CA asks for.

use std::sync::Arc;

use watchfire_core::UnixTime;

use super::id::{ChallengeId, OrderId};
use crate::acme::{ChallengeKind, Identifier};

/// Something that is to be done, or has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CaEvent {
    /// Look whether a challenge is met ([`crate::acme::challenge`]), and say so: [`Ca::validated`](super::Ca::validated).
    Validate {
        /// Which.
        id: ChallengeId,
        /// How.
        kind: ChallengeKind,
        /// For what. Of wildcards the name behind the star.
        identifier: Identifier,
        /// The token.
        token: String,
        /// What must be found.
        key_authorization: String,
    },
    /// Make a certificate, and say so: [`Ca::issued`](super::Ca::issued) or
    /// [`Ca::issue_failed`](super::Ca::issue_failed).
    Issue(Issuance),
    /// A certificate was revoked: tell whoever answers for it.
    Revoked {
        /// The certificate, DER.
        certificate: Vec<u8>,
        /// Why (RFC 5280 section 5.3.1).
        reason: u8,
    },
    /// The certificate of an order has run out, and there is no newer one.
    StarGap(OrderId),
}

/// A certificate to make.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Issuance {
    /// For which order.
    pub order: OrderId,
    /// Which certificate of that order.
    pub index: u64,
    /// The request, verified; the same octets for every certificate of an order.
    pub csr: Arc<[u8]>,
    /// What it is for.
    pub identifiers: Vec<Identifier>,
    /// What must stand in the certificate.
    pub not_before: UnixTime,
    /// What must stand in the certificate.
    pub not_after: UnixTime,
}
