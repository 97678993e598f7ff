//! What a client wants done, and has to say.

use std::fmt;
use std::sync::Arc;

use super::error::ClientError;
use super::http::{Exchange, ExchangeId};
use crate::acme::renewal::RenewalInfo;
use crate::acme::{Account, Authorization, Challenge, ChallengeKind, Delegation, Directory, Identifier, Order};
use crate::star::CertificateHeaders;

/// Names a call of one client; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub(super) u64);

/// Names a challenge that is provisioned; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProvisionId(pub(super) u64);

/// What a client wants done, or has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// Make this exchange.
    Exchange(Exchange),
    /// Nobody waits for this exchange any more: drop it. Whatever it still brings is ignored.
    Abandon(ExchangeId),
    /// An order was made: keep its URL, by which it is found again after a restart ([`Obtain::resume`](super::Obtain)).
    Placed {
        /// The call.
        id: CallId,
        /// Where the order is.
        url: String,
        /// The order, as the server has made it: with the values that it has changed.
        order: Box<Order>,
    },
    /// Make a challenge come true, and say so: [`Client::provisioned`](super::Client::provisioned) or
    /// [`Client::provision_failed`](super::Client::provision_failed).
    Provision(Provision),
    /// Take a challenge back. No answer is waited for.
    CleanUp(Provision),
    /// A call is answered. Each is, once.
    Answered {
        /// The call.
        id: CallId,
        /// The answer.
        result: Result<Answer, ClientError>,
    },
}

/// A challenge to provision.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Provision {
    /// Names it.
    pub id: ProvisionId,
    /// For which call.
    pub call: CallId,
    /// For what. Of wildcards the name behind the star.
    pub identifier: Identifier,
    /// How: [`crate::acme::challenge`] says what to put where.
    pub kind: ChallengeKind,
    /// The token.
    pub token: String,
    /// What has to be found.
    pub key_authorization: String,
}

impl fmt::Debug for Provision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Provision({} for {})", self.kind, self.identifier)
    }
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// The directory.
    Directory(Arc<Directory>),
    /// An account.
    Account {
        /// Where it is.
        url: String,
        /// What it is.
        account: Box<Account>,
    },
    /// The account has the new key, and the client signs with it.
    KeyChanged,
    /// An order.
    Order {
        /// Where it is.
        url: String,
        /// What it is.
        order: Box<Order>,
        /// When the server wants to be asked again, in seconds.
        retry_after: Option<u64>,
    },
    /// An authorization.
    Authorization {
        /// What it is.
        authorization: Box<Authorization>,
        /// When the server wants to be asked again, in seconds.
        retry_after: Option<u64>,
    },
    /// A challenge.
    Challenge(Box<Challenge>),
    /// A certificate.
    Certificate(Box<Fetched>),
    /// The certificate is still the one that is known.
    NotModified,
    /// The certificate is revoked.
    Revoked,
    /// When to renew a certificate.
    RenewalInfo {
        /// The window.
        info: RenewalInfo,
        /// When to ask again, in seconds.
        retry_after: Option<u64>,
    },
    /// The URLs of the delegations.
    Delegations(Vec<String>),
    /// A delegation.
    Delegation(Box<Delegation>),
    /// An order that was pursued to its end, and its certificate if that was asked for.
    Obtained {
        /// Where the order is.
        url: String,
        /// The order, `valid`.
        order: Box<Order>,
        /// The certificate.
        certificate: Option<Box<Fetched>>,
    },
}

/// A certificate that was fetched. It can be read; nothing else is said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// Where from.
    pub url: String,
    /// The chain in DER, the certificate itself first.
    pub chain: Vec<Vec<u8>>,
    /// Names this version of it.
    pub etag: Option<String>,
    /// What the header fields say about its validity. The certificate decides.
    pub hints: CertificateHeaders,
    /// For how long it may be cached, in seconds.
    pub max_age: Option<u64>,
    /// Other chains.
    pub alternates: Vec<String>,
}
