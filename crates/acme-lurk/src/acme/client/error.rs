//! Why a call failed: whose fault it is comes first.

use super::http::ExchangeFailure;
use crate::acme::{ChallengeKind, Identifier, Order, Problem};
use crate::crypto::SignError;
use crate::error::{ApiMisuse, DecodeError, Limit};
use crate::url::UrlRefusal;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server says no.
    #[error("the server refuses: {0}")]
    Problem(Box<Problem>),
    /// The order has failed, or was canceled. Why stands in it, if the server says why.
    #[error("the order is {status}{}", why(.0), status = .0.status)]
    Order(Box<Order>),
    /// The server's answer cannot be read.
    #[error("the answer of the server is wrong: {0}")]
    InvalidMessage(#[from] DecodeError),
    /// The server does what it may not do.
    #[error("the server breaks the protocol: {0}")]
    PeerMisbehaved(PeerMisbehaved),
    /// The server cannot do what is wanted.
    #[error("the server cannot do that: {0}")]
    PeerIncompatible(PeerIncompatible),
    /// The call cannot be made.
    #[error("{0}")]
    ApiMisuse(ApiMisuse),
    /// A limit is reached.
    #[error("limit exceeded: {0}")]
    LimitExceeded(Limit),
    /// It took longer than it may. What the last attempt came to is said, if there was one.
    #[error("it took too long{}", last(.0))]
    TimedOut(Option<String>),
    /// There was no answer, and there is no use in trying again.
    #[error("{0}")]
    Exchange(#[from] ExchangeFailure),
    /// The signer failed.
    #[error("{0}")]
    Sign(#[from] SignError),
    /// A challenge could not be provisioned.
    #[error("the challenge for {identifier} could not be provisioned: {detail}")]
    Provision {
        /// For what.
        identifier: Identifier,
        /// Why.
        detail: String,
    },
}

fn why(order: &Order) -> String {
    order.error.as_ref().map(|problem| format!(": {problem}")).unwrap_or_default()
}

fn last(detail: &Option<String>) -> String {
    detail.as_ref().map(|detail| format!("; last: {detail}")).unwrap_or_default()
}

impl ClientError {
    /// The problem that the server has sent, alone or inside an order.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            Self::Order(order) => order.error.as_ref(),
            _ => None,
        }
    }
}

impl From<Problem> for ClientError {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

/// What a server may not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// A header field that must be there is not, or twice.
    #[error("there is no header field {0}")]
    NoHeader(&'static str),
    /// A URL that requests are not sent to.
    #[error("{url:?}: {refusal}")]
    Url {
        /// The URL.
        url: String,
        /// Why not.
        refusal: UrlRefusal,
    },
    /// A status that means nothing here; redirects are not followed.
    #[error("it answers with status {0}")]
    Status(u16),
    /// Identifiers or authorizations of an order have changed (RFC 8555 section 7.1.3).
    #[error("what may not change in an order has changed")]
    OrderChanged,
    /// The order is for something else than was asked for.
    #[error("the order is not for what was asked: {0}")]
    OtherOrder(&'static str),
    /// An order is `valid` and does not say where its certificate is.
    #[error("the order is valid and does not say where the certificate is")]
    NoCertificate,
    /// A list has more pages than the limit, or goes in circles.
    #[error("the list has no end")]
    EndlessList,
}

/// What a server cannot do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerIncompatible {
    /// Its directory has no URL for that.
    #[error("its directory has no {0}")]
    NoResource(&'static str),
    /// It does not speak STAR: it has left `auto-renewal` out of the order.
    #[error("it has dropped `auto-renewal` from the order: it does not speak STAR")]
    NoAutoRenewal,
    /// It does not let everybody fetch the certificate.
    #[error("it does not let everybody fetch the certificate: `allow-certificate-get` is not reflected")]
    NoCertificateGet,
    /// None of the challenges that it offers can be met.
    #[error("none of the challenges for {identifier} can be met; offered are {offered:?}")]
    NoChallenge {
        /// For what.
        identifier: Identifier,
        /// What it offers.
        offered: Vec<ChallengeKind>,
    },
}
