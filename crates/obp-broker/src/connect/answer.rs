//! Questions and answers of QueryConnect, as the broker's knowledge sees them.

use std::any::Any;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::status::Status;

/// A QueryConnectRequest: who asks, and for what (draft section 6.1.1). Borrowed, so that a question that memory
/// answers allocates nothing.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Question<'a> {
    /// The account of the client's ticket, for rules that name one.
    pub account: Option<&'a str>,
    /// Identifier.Name.
    pub name: &'a str,
    /// Identifier.Account: a peer, `alice` of alice@example.com.
    pub peer: Option<&'a str>,
    /// Identifier.Service: `_http._tcp`, `_http`.
    pub service: Option<&'a str>,
    /// Identifier.Port.
    pub port: Option<u16>,
    /// Acceptable policies; none means any.
    pub policies: &'a [String],
    /// ProveIt.
    pub prove: bool,
    /// Index: which of several answers, from 1; 0 and absent mean the first.
    pub index: Option<u32>,
}

impl<'a> Question<'a> {
    /// About a service or port of a name.
    #[must_use]
    pub fn new(name: &'a str, service: Option<&'a str>, port: Option<u16>) -> Self {
        Self { name, service, port, ..Self::default() }
    }
}

/// How a connection is secured (draft section 5.1.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// TCP, or whatever the service runs on, as it is.
    Raw,
    /// TLS from the first octet.
    Tls,
}

/// TransportPolicy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsPolicy {
    /// Nothing is said.
    Unsaid,
    /// `TLS=Optional`: known to be offered.
    Optional,
    /// `TLS=Required`: must not be gone without.
    Required,
}

/// One way to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// Where to.
    pub address: IpAddr,
    /// At which port.
    pub port: u16,
    /// How it is secured.
    pub transport: Transport,
    /// What must hold about TLS.
    pub tls: TlsPolicy,
    /// ProtocolPolicy: `alpn=h2,h3` when the service says which protocols it speaks.
    pub protocol_policy: Option<Arc<str>>,
    /// Evidence for this connection.
    pub advice: Option<Arc<Advice>>,
}

/// Evidence with its media type (draft section 5.1.11).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Advice {
    /// Media type.
    pub media_type: &'static str,
    /// The evidence.
    pub data: Bytes,
}

impl Advice {
    /// A chain of DNSSEC records (RFC 9102 section 5).
    pub const DNSSEC_CHAIN: &'static str = "application/dnssec-chain";
    /// A certificate.
    pub const CERTIFICATE: &'static str = "application/pkix-cert";
    /// A revocation list.
    pub const CRL: &'static str = "application/pkix-crl";
    /// Certificates and revocation lists together (RFC 8551 section 3.8).
    pub const CERTS_ONLY: &'static str = "application/pkcs7-mime";

    /// Evidence of a type.
    #[must_use]
    pub fn new(media_type: &'static str, data: impl Into<Bytes>) -> Self {
        Self { media_type, data: data.into() }
    }
}

/// A QueryConnectResponse, ready (draft section 6.1.2). Shared between all who ask the same.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Answer {
    /// How it went.
    pub status: Status,
    /// StatusDescription: the reason, for people.
    pub description: Option<Arc<str>>,
    /// Ways to connect, the best first; none unless `status` is Success.
    pub connections: Box<[Connection]>,
    /// Evidence for all of them: a DNSSEC chain.
    pub advice: Option<Arc<Advice>>,
    /// Which of the acceptable policies hold.
    pub policies: Box<[Arc<str>]>,
    /// Which of several answers this is, from 1.
    pub index: u32,
    /// How many answers there are.
    pub count: u32,
    made: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl Answer {
    /// An answer with a status and its reason, and no connection.
    #[must_use]
    pub fn of(status: Status, description: impl Into<Arc<str>>) -> Self {
        Self {
            status,
            description: Some(description.into()),
            connections: Box::default(),
            advice: None,
            policies: Box::default(),
            index: 1,
            count: 1,
            made: OnceLock::new(),
        }
    }

    pub(super) fn success(connections: Vec<Connection>, advice: Option<Arc<Advice>>, policies: &[Arc<str>]) -> Self {
        Self {
            status: Status::Success,
            description: None,
            connections: connections.into(),
            advice,
            policies: policies.into(),
            index: 1,
            count: 1,
            made: OnceLock::new(),
        }
    }

    /// What the caller makes of the answer, made once and kept with it: a message, say, so that a cached answer costs
    /// no making. All callers of one broker must make the same; another type is made each time.
    pub fn once<T: Send + Sync + 'static>(&self, make: impl Fn(&Self) -> T) -> Arc<T> {
        let kept = self.made.get_or_init(|| Arc::new(make(self)));
        Arc::clone(kept).downcast().unwrap_or_else(|_| Arc::new(make(self)))
    }
}

impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        (self.status, &self.description, &self.connections, &self.advice, &self.policies, self.index, self.count)
            == (
                other.status,
                &other.description,
                &other.connections,
                &other.advice,
                &other.policies,
                other.index,
                other.count,
            )
    }
}
