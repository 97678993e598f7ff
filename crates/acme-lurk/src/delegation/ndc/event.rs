//! What a delegate wants done, and has to say.

use watchfire_core::UnixTime;

use crate::acme::ProblemType;
use crate::acme::client::{ClientError, Exchange, ExchangeId};
use crate::csr::BuildError;
use crate::template::{PlanError, Report};

/// What a delegate wants done, and has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NdcEvent {
    /// Make this exchange.
    Exchange(Exchange),
    /// Nobody waits for this exchange any more.
    Abandon(ExchangeId),
    /// An order was made.
    Ordered {
        /// Where it is.
        url: String,
        /// What is allowed, and still unwise about it.
        lints: Vec<&'static str>,
    },
    /// Install this certificate, and say so: [`Ndc::installed`](super::Ndc::installed) or
    /// [`Ndc::install_failed`](super::Ndc::install_failed).
    Install(Installation),
    /// A certificate that is not the one that was ordered was given to us. It is not installed, and asked for again.
    Rejected(WrongCertificate),
    /// The next certificate is late: by now it should be there. Said once for each certificate.
    Alarm {
        /// Until when the one that is installed is good.
        not_after: UnixTime,
        /// What the last attempt came to, if it failed.
        last: Option<String>,
    },
    /// The certificate that is installed has run out, and there is no newer one. Said once for each certificate.
    Gap {
        /// Since when.
        not_after: UnixTime,
    },
    /// Nothing more will be done. Said once, last.
    Ended(NdcEnd),
}

/// A certificate to install.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Installation {
    /// The chain in DER, the certificate itself first. It is for the key and the names of the order, and valid now.
    /// Whether it leads to a root that is trusted is not said.
    pub chain: Vec<Vec<u8>>,
    /// The begin of its validity.
    pub not_before: UnixTime,
    /// The end of its validity.
    pub not_after: UnixTime,
    /// Whether the header fields that came with it say the same.
    pub hints_agree: bool,
}

impl Installation {
    /// The chain in PEM.
    pub fn to_pem(&self) -> Vec<u8> {
        crate::certificate::encode_chain(self.chain.iter().map(Vec::as_slice))
    }
}

/// Why nothing more is done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NdcEnd {
    /// The one certificate that was wanted is installed.
    #[error("the certificate is installed")]
    Installed,
    /// The name owner has stopped the order. What is installed is good until then.
    #[error("the name owner has stopped the order")]
    Canceled {
        /// The end of the validity of the certificate that is installed, if there is one.
        not_after: Option<UnixTime>,
    },
    /// There is no certificate to be had.
    #[error("{0}")]
    Failed(NdcError),
}

/// Why there is no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NdcError {
    /// The server does not delegate.
    #[error("the server does not delegate: its directory lacks `delegation-enabled`")]
    NoDelegation,
    /// None of the delegations of the account fits what is wanted.
    #[error("{}", unfit(.0))]
    Unfit(Vec<(String, Unfit)>),
    /// The CA behind the name owner does not let everybody fetch certificates.
    #[error("the CA of the name owner does not let everybody fetch certificates")]
    NoCertificateGet,
    /// The certificate is not the one that was ordered.
    #[error("the certificate is not the one that was ordered: {0}")]
    WrongCertificate(WrongCertificate),
    /// The server.
    #[error("{0}")]
    Client(ClientError),
}

impl NdcError {
    /// Whether the name owner, or what stands in its delegations, says no. Otherwise it could not be reached, or breaks
    /// the protocol.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Client(ClientError::Problem(problem)) => problem.kind != ProblemType::ServerInternal,
            Self::Client(ClientError::Order(_) | ClientError::PeerIncompatible(_)) => true,
            Self::Client(_) | Self::WrongCertificate(_) => false,
            Self::NoDelegation | Self::Unfit(_) | Self::NoCertificateGet => true,
        }
    }
}

fn unfit(delegations: &[(String, Unfit)]) -> String {
    match delegations {
        [] => "the account has no delegation; tell the name owner the thumbprint of its key".to_owned(),
        list => list.iter().map(|(url, why)| format!("{url}: {why}")).collect::<Vec<_>>().join("; "),
    }
}

/// Why a delegation does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// Its template cannot be met with what is wanted.
    #[error("{0}")]
    Plan(PlanError),
    /// It wants other names, or more.
    #[error("it is for {}", .0.join(", "))]
    Names(Vec<String>),
    /// It wants another kind of key.
    #[error("it wants a key of {}", .0.join(" or "))]
    Key(Vec<String>),
    /// The request cannot be made.
    #[error("{0}")]
    Build(BuildError),
    /// The request that was made does not fit the template.
    #[error("{0}")]
    Report(Report),
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WrongCertificate {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(crate::DecodeError),
    /// It is for another key.
    #[error("it is for another key")]
    Key,
    /// It is for other names.
    #[error("it is for other names")]
    Names,
    /// It has run out.
    #[error("it has run out")]
    Expired,
    /// It is not valid yet.
    #[error("it is not valid yet")]
    NotYet,
}
