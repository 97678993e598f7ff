//! Where knowledge comes from. A [`Source`] answers one question about one name; the DNS is the usual one, tests and
//! embedders bring their own. [`Resolver`] puts a cache, single flight and the following of aliases over it.

mod dns;
mod keys;
mod record;
mod resolver;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use dns::{DnsConfig, DnsError, DnsSource, Validation};
pub use record::{ServiceBinding, Srv, Tlsa};
pub use resolver::{Resolved, Resolver, ResolverConfig};

use crate::name::DomainName;

/// The kinds of records that a broker asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RecordKind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Services by name (RFC 2782).
    Srv,
    /// Endpoints of an HTTP origin (RFC 9460).
    Https,
    /// Endpoints of any service (RFC 9460).
    Svcb,
    /// Certificates pinned by DANE (RFC 6698).
    Tlsa,
    /// A zone's keys; only their evidence is of use.
    Dnskey,
    /// A delegation's digests; only their evidence is of use.
    Ds,
}

/// One question to a source.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Query {
    /// About which name.
    pub name: DomainName,
    /// Which records.
    pub kind: RecordKind,
    /// Whether [`Lookup::evidence`] is wanted.
    pub evidence: bool,
}

impl Query {
    /// A question; with `evidence` when a proof is to be made of the answer.
    #[must_use]
    pub fn new(name: DomainName, kind: RecordKind, evidence: bool) -> Self {
        Self { name, kind, evidence }
    }
}

/// Records of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Records {
    /// IPv4 addresses.
    A(Box<[std::net::Ipv4Addr]>),
    /// IPv6 addresses.
    Aaaa(Box<[std::net::Ipv6Addr]>),
    /// SRV.
    Srv(Box<[Srv]>),
    /// HTTPS or SVCB.
    Bindings(Box<[ServiceBinding]>),
    /// TLSA.
    Tlsa(Box<[Tlsa]>),
    /// DNSKEY or DS: look at the evidence.
    Opaque,
}

/// How a source's answer ends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Records of the last alias, or of the name itself when there is none.
    Found(Records),
    /// The last alias was not followed by the source: ask for it.
    Continue,
    /// The name exists, such records do not.
    NoData,
    /// The name does not exist.
    NonExistent,
}

/// What DNSSEC says about an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Security {
    /// Not signed, or nothing to check signatures with.
    Insecure,
    /// Signatures were checked up to a trust anchor.
    Secure,
}

/// A source's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lookup {
    /// The aliases passed on the way, without the name that was asked for.
    pub aliases: Box<[DomainName]>,
    /// How it ends.
    pub outcome: Outcome,
    /// What DNSSEC says about all of it.
    pub security: Security,
    /// Seconds for which it holds.
    pub ttl: u32,
    /// Records and signatures in uncompressed wire form (RFC 9102 section 5), when the query asked for it and the
    /// answer is secure.
    pub evidence: Option<Arc<[u8]>>,
}

impl Lookup {
    /// An answer without aliases and evidence.
    #[must_use]
    pub fn new(outcome: Outcome, security: Security, ttl: u32) -> Self {
        Self { aliases: Box::default(), outcome, security, ttl, evidence: None }
    }

    /// The same, reached over these aliases.
    #[must_use]
    pub fn with_aliases(self, aliases: impl IntoIterator<Item = DomainName>) -> Self {
        Self { aliases: aliases.into_iter().collect(), ..self }
    }

    /// The same with its evidence.
    #[must_use]
    pub fn with_evidence(self, evidence: Arc<[u8]>) -> Self {
        Self { evidence: Some(evidence), ..self }
    }
}

/// Why a source has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// It said so, or could not be reached.
    #[error("the name servers failed")]
    ServerFailure,
    /// Nothing came in time.
    #[error("the name servers were silent")]
    TimedOut,
    /// The signatures are wrong: somebody changed the answer.
    #[error("the answer failed DNSSEC validation")]
    Bogus,
    /// An alias leads back to itself, or over too many names.
    #[error("the aliases form a loop or are too many")]
    AliasLoop,
}

/// A future in a box, as trait objects need it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Something that answers questions about names.
pub trait Source: Send + Sync + std::fmt::Debug + 'static {
    /// Asks. No caching and no deadline is expected: both lie above.
    fn lookup<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<Lookup, SourceError>>;
}
