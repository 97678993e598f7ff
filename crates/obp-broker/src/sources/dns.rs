//! The DNS as a source: forwards to resolvers and validates DNSSEC itself, so that the path to them need not be
//! trusted.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use hickory_net::dnssec::DnssecDnsHandle;
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::xfer::{DnsHandle, RetryDnsHandle};
use hickory_net::{DnsError as HickoryDnsError, NetError, NoRecords};
use hickory_proto::dnssec::Proof;
use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::op::{DnsRequestOptions, DnsResponse, Message, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ProtocolConfig, ResolverOpts};
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};

use super::keys::KeyCache;
use super::record::{domain, records};
use super::{BoxFuture, Lookup, Outcome, Query, Security, Source, SourceError};
use crate::name::DomainName;
use crate::proof::{Anchors, Expansion, denial};

/// How strictly signatures are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Validation {
    /// Every answer must be proven: signed up to a trust anchor, or proven to lie in an unsigned zone.
    #[default]
    Strict,
    /// Signatures that are there must be right; answers without any are taken as insecure even where a proof of
    /// that is missing. For resolvers that do not hand on DNSSEC, and for laboratories without a signed root. An
    /// attacker between the broker and its resolver can strip signatures unnoticed.
    Permissive,
    /// Nothing is checked, nothing is called secure.
    Off,
}

/// How the DNS is asked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DnsConfig {
    /// The resolvers, asked over UDP, and over TCP when an answer is too long for that.
    pub servers: Vec<SocketAddr>,
    /// Whether and how DNSSEC is validated.
    pub validation: Validation,
    /// Where chains of signatures must end.
    pub anchors: Anchors,
    /// How long one try waits (default 2 s).
    pub attempt: Duration,
    /// Tries after the first (default 1).
    pub retries: usize,
    /// How long a question may take with all that it leads to (default 5 s).
    pub deadline: Duration,
}

/// Why no source could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DnsError {
    /// Nobody to ask.
    #[error("no resolver is configured: name one, or write a nameserver into /etc/resolv.conf")]
    NoServers,
    /// The system's configuration cannot be read.
    #[error("the system's resolver configuration: {0}")]
    System(String),
    /// The handle could not be made.
    #[error("the resolver: {0}")]
    Setup(String),
}

impl DnsConfig {
    /// These resolvers, strict validation from the root's published keys.
    #[must_use]
    pub fn new(servers: Vec<SocketAddr>) -> Self {
        Self {
            servers,
            validation: Validation::Strict,
            anchors: Anchors::root(),
            attempt: Duration::from_secs(2),
            retries: 1,
            deadline: Duration::from_secs(5),
        }
    }

    /// The resolvers of the system (`/etc/resolv.conf`).
    ///
    /// # Errors
    /// [`DnsError`] when the file cannot be read or names no server.
    pub fn system() -> Result<Self, DnsError> {
        let (config, _) =
            hickory_resolver::system_conf::read_system_conf().map_err(|error| DnsError::System(error.to_string()))?;
        let servers = config.name_servers().iter().filter_map(|server| {
            let port = server.connections.iter().find(|one| matches!(one.protocol, ProtocolConfig::Udp))?.port;
            Some(SocketAddr::new(server.ip, port))
        });
        let servers: Vec<_> = servers.collect();
        if servers.is_empty() { Err(DnsError::NoServers) } else { Ok(Self::new(servers)) }
    }

    /// The same with validation as said.
    #[must_use]
    pub fn with_validation(self, validation: Validation) -> Self {
        Self { validation, ..self }
    }

    /// The same with these trust anchors.
    #[must_use]
    pub fn with_anchors(self, anchors: Anchors) -> Self {
        Self { anchors, ..self }
    }
}

type Pool = RetryDnsHandle<NameServerPool<TokioRuntimeProvider>>;

/// The DNS through resolvers.
pub struct DnsSource {
    plain: Pool,
    secure: Option<DnssecDnsHandle<KeyCache<Pool>>>,
    validation: Validation,
    deadline: Duration,
    /// The anchors are the root's published keys.
    root_anchors: bool,
    root_in_reach: tokio::sync::Mutex<Option<(tokio::time::Instant, bool)>>,
}

/// How long it counts whether the resolver knows the root's keys.
const ROOT_CHECK: Duration = Duration::from_secs(60);

/// Whether there is a signature in it.
fn is_signed(reply: &Result<DnsResponse, NetError>) -> bool {
    let rrsig = |record: &Record| record.record_type() == RecordType::RRSIG;
    match reply {
        Ok(response) => response.all_sections().any(rrsig),
        Err(NetError::Dns(HickoryDnsError::NoRecordsFound(NoRecords { authorities, .. }))) => {
            authorities.iter().any(|all| all.iter().any(rrsig))
        }
        Err(_) => false,
    }
}

impl std::fmt::Debug for DnsSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DnsSource").field("validation", &self.validation).finish_non_exhaustive()
    }
}

impl DnsSource {
    /// A source that asks as configured. Must be called, and used, within a tokio runtime.
    ///
    /// # Errors
    /// [`DnsError`] when there is nobody to ask.
    pub fn new(config: &DnsConfig) -> Result<Self, DnsError> {
        if config.servers.is_empty() {
            return Err(DnsError::NoServers);
        }
        let mut options = ResolverOpts::default();
        options.timeout = config.attempt;
        options.attempts = config.retries;
        options.validate = config.validation != Validation::Off;
        options.max_active_requests = 4096;
        options.num_concurrent_reqs = 1;
        let tls = TlsConfig::new().map_err(|error| DnsError::Setup(error.to_string()))?;
        let context = Arc::new(PoolContext::new(options, tls));
        let servers = config.servers.iter().map(|server| name_server(server.ip(), server.port()));
        let pool = NameServerPool::from_config(servers, context, TokioRuntimeProvider::default());
        let plain = RetryDnsHandle::new(pool, config.retries);
        let secure = (config.validation != Validation::Off)
            .then(|| DnssecDnsHandle::with_trust_anchor(KeyCache::over(plain.clone()), config.anchors.shared()));
        let root_anchors = config.anchors.are_the_roots();
        let (validation, deadline) = (config.validation, config.deadline);
        Ok(Self { plain, secure, validation, deadline, root_anchors, root_in_reach: tokio::sync::Mutex::default() })
    }

    async fn ask(&self, query: &Query) -> Result<Lookup, SourceError> {
        let text = if query.name.is_root() { ".".to_owned() } else { format!("{}.", query.name.as_str()) };
        let name = Name::from_ascii(&text).map_err(|_| SourceError::ServerFailure)?;
        let question = hickory_proto::op::Query::query(name.clone(), query.kind.record_type());
        let mut options = DnsRequestOptions::default();
        options.edns_set_dnssec_ok = self.secure.is_some();
        // Whether what comes was judged by its signatures.
        let mut judged = self.secure.is_some();
        let reply = match (&self.secure, self.validation) {
            (Some(secure), Validation::Permissive) => {
                // Most zones are not signed, and then there is nothing to validate: no chain of keys is asked for.
                let first = self.plain.lookup(question.clone(), options).next().await;
                if first.as_ref().is_some_and(is_signed) && self.anchors_in_reach().await {
                    secure.lookup(question, options).next().await
                } else {
                    judged = false;
                    first
                }
            }
            (Some(secure), _) => secure.lookup(question, options).next().await,
            (None, _) => self.plain.lookup(question, options).next().await,
        };
        match reply.unwrap_or(Err(NetError::NoConnections)) {
            Ok(response) => {
                let code = response.response_code;
                let message = response.into_message();
                self.read(query, &name, judged, code, &message.answers, &message.authorities)
            }
            Err(error) => self.read_error(query, &name, judged, error),
        }
    }

    /// Whether a chain of signatures can lead to the trust anchors at all. Where a resolver does not know the root's
    /// keys (a laboratory's, that serves a few zones and nothing else) no signature can be judged, neither as good nor
    /// as bad.
    async fn anchors_in_reach(&self) -> bool {
        if !self.root_anchors {
            return true;
        }
        let mut known = self.root_in_reach.lock().await;
        if let Some((at, known)) = *known
            && at.elapsed() < ROOT_CHECK
        {
            return known;
        }
        let question = hickory_proto::op::Query::query(Name::root(), RecordType::DNSKEY);
        let reply = self.plain.lookup(question, DnsRequestOptions::default()).next().await;
        let found = reply.is_some_and(|reply| {
            reply.is_ok_and(|reply| reply.answers.iter().any(|record| record.record_type() == RecordType::DNSKEY))
        });
        if !found {
            tracing::warn!(
                "the resolver does not know the root's keys: DNSSEC cannot be checked, and nothing be proven"
            );
        }
        *known = Some((tokio::time::Instant::now(), found));
        found
    }

    /// hickory says "no" by errors as well as by answers.
    fn read_error(&self, query: &Query, name: &Name, judged: bool, error: NetError) -> Result<Lookup, SourceError> {
        match error {
            NetError::Dns(HickoryDnsError::NoRecordsFound(NoRecords { soa, response_code, authorities, .. })) => {
                let mut authorities: Vec<Record> = authorities.map(|all| all.to_vec()).unwrap_or_default();
                authorities.extend(soa.map(|soa| soa.into_record_of_rdata()));
                self.read(query, name, judged, response_code, &[], &authorities)
            }
            NetError::Dns(HickoryDnsError::Nsec { response, proof, .. }) => {
                let code = response.response_code;
                let message = response.into_message();
                let signed = message.all_sections().any(|record| record.record_type() == RecordType::RRSIG);
                let proof = if proof == Proof::Bogus && is_proven_expansion(query, name, &message) {
                    Proof::Secure
                } else {
                    proof
                };
                let believed = match proof {
                    Proof::Secure | Proof::Insecure => true,
                    Proof::Bogus | Proof::Indeterminate => self.validation == Validation::Permissive && !signed,
                };
                if !believed {
                    return Err(SourceError::Bogus);
                }
                let lookup = self.read(query, name, judged, code, &message.answers, &message.authorities)?;
                let security = if proof == Proof::Secure { lookup.security } else { Security::Insecure };
                Ok(Lookup { security, ..lookup })
            }
            NetError::Dns(HickoryDnsError::DnssecBogus) => Err(SourceError::Bogus),
            NetError::Timeout => Err(SourceError::TimedOut),
            NetError::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => Err(SourceError::TimedOut),
            other => {
                tracing::debug!(name = %query.name, kind = ?query.kind, error = %other, "a question to the DNS failed");
                Err(SourceError::ServerFailure)
            }
        }
    }

    fn read(
        &self,
        query: &Query,
        name: &Name,
        judged: bool,
        code: ResponseCode,
        answers: &[Record],
        authorities: &[Record],
    ) -> Result<Lookup, SourceError> {
        if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
            return Err(SourceError::ServerFailure);
        }
        let wanted = query.kind.record_type();
        let mut last = name.clone();
        let mut aliases: Vec<DomainName> = Vec::new();
        let mut used: Vec<&Record> = Vec::new();
        let mut found = false;
        // Each turn consumes one CNAME; as many turns as records are enough.
        for _ in 0..=answers.len() {
            let mut here = answers.iter().filter(|record| record.name == last);
            if here.clone().any(|record| record.record_type() == wanted) {
                used.extend(here.filter(|record| record.record_type() == wanted));
                found = true;
                break;
            }
            let alias = here.find_map(|record| match &record.data {
                RData::CNAME(target) => Some((record, &target.0)),
                _ => None,
            });
            let Some((record, target)) = alias else { break };
            let target_name = domain(target).ok_or(SourceError::ServerFailure)?;
            if aliases.contains(&target_name) || target_name == query.name {
                return Err(SourceError::AliasLoop);
            }
            used.push(record);
            aliases.push(target_name);
            last = target.clone();
        }
        let soa = authorities.iter().find_map(|record| match &record.data {
            RData::SOA(soa) if record.name.zone_of(&last) => Some((record, soa)),
            _ => None,
        });
        // What decides the answer must be secure as a whole.
        let deciding = used.iter().copied().chain(authorities.iter().filter(|record| {
            !found && matches!(record.record_type(), RecordType::SOA | RecordType::NSEC | RecordType::NSEC3)
        }));
        let security =
            if judged { self.security(deciding, answers.iter().chain(authorities))? } else { Security::Insecure };
        let outcome = if found {
            Outcome::Found(records(query.kind, &last, used.iter().copied()))
        } else if code == ResponseCode::NXDomain {
            Outcome::NonExistent
        } else if !aliases.is_empty() && soa.is_none() {
            Outcome::Continue
        } else {
            Outcome::NoData
        };
        let ttl = used.iter().map(|record| record.ttl).min();
        let ttl = if matches!(outcome, Outcome::Found(_) | Outcome::Continue) {
            ttl.unwrap_or(0)
        } else {
            negative_ttl(soa).min(ttl.unwrap_or(u32::MAX))
        };
        let mut lookup = Lookup::new(outcome, security, ttl).with_aliases(aliases);
        if query.evidence
            && security == Security::Secure
            && !matches!(lookup.outcome, Outcome::NoData | Outcome::NonExistent)
        {
            lookup.evidence = evidence(&used, answers, authorities);
        }
        Ok(lookup)
    }

    fn security<'a>(
        &self,
        deciding: impl Iterator<Item = &'a Record>,
        mut all: impl Iterator<Item = &'a Record>,
    ) -> Result<Security, SourceError> {
        let mut security = None;
        for record in deciding {
            match record.proof {
                Proof::Secure => security = security.or(Some(Security::Secure)),
                Proof::Insecure => security = Some(Security::Insecure),
                Proof::Bogus | Proof::Indeterminate => {
                    let signed = all.any(|record| record.record_type() == RecordType::RRSIG);
                    if self.validation == Validation::Strict || signed {
                        return Err(SourceError::Bogus);
                    }
                    return Ok(Security::Insecure);
                }
            }
        }
        Ok(security.unwrap_or(Security::Insecure))
    }
}

impl Source for DnsSource {
    fn lookup<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<Lookup, SourceError>> {
        Box::pin(async move {
            tokio::time::timeout(self.deadline, self.ask(query)).await.unwrap_or(Err(SourceError::TimedOut))
        })
    }
}

/// Whether an answer was expanded from a wildcard and is good all the same. hickory 0.26 calls it bogus when the record
/// that denies the name is the wildcard's own NSEC, which is how most such answers look. What RFC 4035 section 5.3.4
/// asks for is checked here: every record that answers carries a good signature (hickory checked those), and a good
/// denial covers the name.
fn is_proven_expansion(query: &Query, name: &Name, message: &Message) -> bool {
    let wanted = query.kind.record_type();
    let signatures = || {
        message.answers.iter().filter_map(|record| match &record.data {
            RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => Some((record, rrsig.input())),
            _ => None,
        })
    };
    let data = || message.answers.iter().filter(|record| record.record_type() != RecordType::RRSIG);
    let answers = data().any(|record| {
        record.name == *name && (record.record_type() == wanted || record.record_type() == RecordType::CNAME)
    });
    if !answers || !data().all(|record| record.proof == Proof::Secure) {
        return false;
    }
    let expansions: Vec<_> = signatures()
        .filter(|(record, input)| record.proof == Proof::Secure && input.num_labels < record.name.num_labels())
        .map(|(record, input)| Expansion {
            name: record.name.clone(),
            labels: input.num_labels,
            zone: input.signer_name.clone(),
        })
        .collect();
    let denials: Vec<Record> =
        message.authorities.iter().filter(|record| record.proof == Proof::Secure).cloned().collect();
    !expansions.is_empty() && denial::check(&expansions, &denials).is_ok()
}

fn name_server(ip: IpAddr, port: u16) -> NameServerConfig {
    let with_port = |mut connection: ConnectionConfig| {
        connection.port = port;
        connection
    };
    NameServerConfig::new(ip, true, vec![with_port(ConnectionConfig::udp()), with_port(ConnectionConfig::tcp())])
}

/// RFC 2308 section 5, and a short while for a "no" that does not say how long it holds.
fn negative_ttl(soa: Option<(&Record, &SOA)>) -> u32 {
    soa.map_or(5, |(record, soa)| record.ttl.min(soa.minimum))
}

/// The records used with their signatures, and what denies the wildcard's alternatives when one was expanded.
fn evidence(used: &[&Record], answers: &[Record], authorities: &[Record]) -> Option<Arc<[u8]>> {
    let covers = |signature: &Record, record: &Record| match &signature.data {
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => {
            signature.name == record.name && rrsig.input().type_covered == record.record_type()
        }
        _ => false,
    };
    let mut all: Vec<&Record> = Vec::new();
    let mut expanded = false;
    for record in used {
        all.push(record);
    }
    for signature in answers.iter().filter(|one| used.iter().any(|record| covers(one, record))) {
        if let RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) = &signature.data {
            expanded |= rrsig.input().num_labels < signature.name.num_labels();
        }
        all.push(signature);
    }
    if expanded {
        let denials = authorities.iter().filter(|record| match &record.data {
            RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => {
                matches!(rrsig.input().type_covered, RecordType::NSEC | RecordType::NSEC3)
            }
            _ => matches!(record.record_type(), RecordType::NSEC | RecordType::NSEC3),
        });
        all.extend(denials);
    }
    wire(all.into_iter())
}

/// Records one after the other, without compression.
fn wire<'a>(records: impl Iterator<Item = &'a Record>) -> Option<Arc<[u8]>> {
    let mut octets = Vec::new();
    let mut encoder = BinEncoder::new(&mut octets);
    encoder.set_canonical_form(true);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    for record in records {
        record.emit(&mut encoder).ok()?;
    }
    (!octets.is_empty()).then(|| octets.into())
}
