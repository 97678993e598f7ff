//! What a name owner's server wants done, and has to say.

use watchfire_core::UnixTime;

use crate::acme::client::{Exchange, ExchangeId, Provision};
use crate::acme::server::OrderId;
use crate::acme::{Identifier, OrderStatus, Problem};
use crate::star::AutoRenewal;

/// What a name owner's server wants done, and has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdoEvent {
    /// Make this exchange with the CA.
    Exchange(Exchange),
    /// Nobody waits for this exchange any more.
    Abandon(ExchangeId),
    /// Make a challenge of the CA come true, and say so: [`Ido::provisioned`](super::Ido::provisioned) or
    /// [`Ido::provision_failed`](super::Ido::provision_failed).
    Provision(Provision),
    /// Take a challenge back.
    CleanUp(Provision),
    /// Something for the audit log.
    Audit {
        /// The order that it is about, if it is about one.
        order: Option<OrderId>,
        /// What.
        what: Audit,
    },
}

/// Something for the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Audit {
    /// A delegate has made an order.
    Ordered {
        /// Under which delegation.
        delegation: String,
        /// The thumbprint of the key of the account, base64url.
        account: String,
        /// For what.
        identifiers: Vec<Identifier>,
    },
    /// Something was refused to an account.
    Refused {
        /// The thumbprint of the key of the account, base64url.
        account: String,
        /// Why.
        problem: Problem,
    },
    /// More was refused than is said ([`IdoLimits::refusals`](super::IdoLimits::refusals)).
    Omitted {
        /// So many refusals since the last one that was said.
        refusals: u64,
    },
    /// A delegate has given its account up. Its orders that are `valid` go on until they are stopped.
    Deactivated {
        /// The thumbprint of the key of the account, base64url.
        account: String,
    },
    /// The request for the certificate fits; the CA is asked.
    Requested,
    /// The CA has taken the order.
    Placed {
        /// Where it is there.
        url: String,
    },
    /// The delegate can fetch the certificate.
    Valid,
    /// A certificate was obtained.
    Issued {
        /// The end of its validity.
        not_after: UnixTime,
    },
    /// The order has failed.
    Invalid {
        /// Why, as the CA or we say it. Delegates are told less.
        detail: String,
    },
    /// The CA cannot be had, or is not pleased; it is tried again.
    Trouble {
        /// Why.
        detail: String,
    },
    /// The certificate has run out, and there is no newer one. Said once for each certificate.
    Gap,
    /// The order is stopped, at the CA too.
    Canceled,
    /// The certificate is revoked.
    Revoked,
    /// The order cannot be stopped: the CA refuses.
    NotCanceled {
        /// Why.
        detail: String,
    },
}

/// An order, for lists.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OrderSummary {
    /// Names it.
    pub id: OrderId,
    /// Its URL.
    pub url: String,
    /// The thumbprint of the key of the account, base64url.
    pub account: String,
    /// The name of the delegation.
    pub delegation: String,
    /// For what.
    pub identifiers: Vec<Identifier>,
    /// What it is.
    pub status: OrderStatus,
    /// Where the order is at the CA.
    pub upstream: Option<String>,
    /// Whether this server renews it itself ([`Emulation`](super::Emulation)).
    pub emulated: bool,
    /// Whether it is being stopped.
    pub stopping: bool,
    /// How it renews itself, as the CA agreed to it; none for an order of one certificate.
    pub auto_renewal: Option<AutoRenewal>,
}
