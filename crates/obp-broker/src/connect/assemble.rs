//! From records to the list of connections: which records are asked for, in which order they count, and what the
//! policy says to each name and address on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{join_all, try_join_all};
use watchfire_core::Instant;

use super::answer::{Connection, TlsPolicy, Transport};
use super::order::interleave;
use super::service::{Plan, Tls};
use crate::name::DomainName;
use crate::policy::{Decision, Policy};
use crate::sources::{RecordKind, Records, Resolved, Resolver, Security, ServiceBinding, SourceError, Srv, Tlsa};
use crate::status::Status;

/// Most hosts behind one name, and most addresses of one host, that are looked at.
const MAX_TARGETS: usize = 16;
const MAX_ADDRESSES: usize = 16;
/// Longest chain of AliasMode records (RFC 9460 section 2.4.2 leaves the limit to us).
const MAX_ALIAS_MODE: usize = 8;

/// An answer without connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: Status,
    pub(super) description: Arc<str>,
    /// How long it may be remembered.
    pub(super) until: Option<Instant>,
    /// The signatures were wrong.
    pub(super) bogus: bool,
}

impl Failure {
    pub(super) fn new(status: Status, description: impl Into<Arc<str>>) -> Self {
        Self { status, description: description.into(), until: None, bogus: false }
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let status = match error {
            SourceError::TimedOut => Status::TimeOut,
            SourceError::ServerFailure | SourceError::Bogus | SourceError::AliasLoop => Status::ServerFailure,
        };
        Self { bogus: error == SourceError::Bogus, ..Self::new(status, error.to_string()) }
    }
}

/// Endpoints that count alike, of one host.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) target: DomainName,
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) connections: Vec<Connection>,
}

/// All there is to know about a question, before chance orders it.
#[derive(Debug, Clone, Default)]
pub(super) struct Assembly {
    /// Groups of HTTPS and SVCB records, then of SRV or the host itself. Each part is ordered by itself.
    pub(super) parts: Vec<Vec<Group>>,
    pub(super) security: Option<Security>,
    pub(super) until: Option<Instant>,
    pub(super) evidence: Vec<Arc<[u8]>>,
    /// Every group with TLS has validated TLSA records.
    pub(super) dane: bool,
}

impl Assembly {
    fn uses(&mut self, resolved: &Resolved) {
        self.lasts(resolved);
        self.security = Some(self.security.map_or(resolved.security, |so_far| so_far.min(resolved.security)));
        for evidence in &resolved.evidence {
            if !self.evidence.contains(evidence) {
                self.evidence.push(Arc::clone(evidence));
            }
        }
    }

    /// Even a "no" shapes the answer, so it bounds its life.
    fn lasts(&mut self, resolved: &Resolved) {
        self.until = Some(self.until.map_or(resolved.until, |so_far| so_far.min(resolved.until)));
    }
}

/// A host's addresses.
#[derive(Debug, Default)]
struct Host {
    four: Vec<Ipv4Addr>,
    six: Vec<Ipv6Addr>,
}

/// Protocol policies, which are the same few for most names: each is kept once.
#[derive(Debug, Default)]
pub(super) struct Words(Mutex<BTreeSet<Arc<str>>>);

impl Words {
    /// Most that are kept; the rest is not shared.
    const MOST: usize = 1024;

    fn shared(&self, word: String) -> Arc<str> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(word) = known.get(word.as_str()) {
            return Arc::clone(word);
        }
        let word: Arc<str> = word.into();
        if known.len() < Self::MOST {
            known.insert(Arc::clone(&word));
        }
        word
    }
}

/// Everything that stays the same while one question is answered.
pub(super) struct Assembler<'a> {
    pub(super) resolver: &'a Resolver,
    pub(super) policy: &'a Policy,
    pub(super) account: Option<&'a str>,
    /// The name that the policy looks at: the one that was asked for, or a walled garden's.
    pub(super) name: &'a DomainName,
    pub(super) plan: &'a Plan,
    pub(super) peer: bool,
    pub(super) upgrade: bool,
    pub(super) prove: bool,
    pub(super) dane: bool,
    /// A walled garden is not asked about again.
    pub(super) exempt: bool,
    pub(super) words: &'a Words,
}

/// An answer, or a name to look at instead.
pub(super) enum Assembled {
    Done(Assembly),
    Redirect(DomainName),
    Addresses(Vec<IpAddr>),
}

type Asked = Option<Result<Resolved, SourceError>>;

impl Assembler<'_> {
    async fn ask(&self, prefix: Option<&str>, kind: RecordKind) -> Asked {
        let prefix = prefix?;
        let name = if prefix.is_empty() { self.name.clone() } else { self.name.prefixed(prefix).ok()? };
        Some(self.resolver.resolve(&name, kind, self.prove).await)
    }

    /// Everything that one round trip can bring is asked for at once.
    pub(super) async fn run(&self) -> Result<Assembled, Failure> {
        let host = (!self.peer && self.plan.port.is_some() || self.plan.https.is_some()).then_some("");
        let (https, svcb, srv, four, six) = tokio::join!(
            self.ask(self.plan.https.as_deref().filter(|_| !self.peer), RecordKind::Https),
            self.ask(self.plan.svcb.as_deref().filter(|_| !self.peer), RecordKind::Svcb),
            self.ask(self.plan.srv.as_deref(), RecordKind::Srv),
            self.ask(host, RecordKind::A),
            self.ask(host, RecordKind::Aaaa),
        );
        let mut assembly = Assembly::default();
        let (bindings, owner) = self.bindings(https, svcb, &mut assembly).await?;
        let services = self.services(srv, &mut assembly)?;
        let mut parts: Vec<Vec<Draft>> = Vec::new();
        let web = self.plan.https.is_some();
        if !bindings.is_empty() {
            parts.push(
                bindings.iter().take(MAX_TARGETS).map(|binding| self.draft_binding(binding, &owner, web)).collect(),
            );
        }
        // The host's own port comes last, unless somebody says where the service is.
        let plain = match &services {
            Some(found) if found.is_empty() => {
                if parts.is_empty() {
                    return Err(Failure::new(
                        Status::NonExistentDomain,
                        format!("{} does not offer this service", self.name),
                    ));
                }
                Vec::new()
            }
            Some(found) => found.iter().take(MAX_TARGETS).map(|srv| self.draft_srv(srv)).collect(),
            None if self.peer => {
                return Err(Failure::new(
                    Status::NotImplemented,
                    format!(
                        "{} lists no service for its accounts, and this broker knows no other way to a peer",
                        self.name
                    ),
                ));
            }
            None => match self.plan.port {
                Some(port) => vec![Draft::host(owner.clone(), port, self.tls_of_plan())],
                None => Vec::new(),
            },
        };
        let with_tls = plain.iter().all(|draft| draft.transport == Transport::Tls);
        if self.upgrade && !with_tls {
            // TLS instead: where the records say, else at the usual port, else within the connection itself.
            match self.plan.tls {
                _ if !parts.is_empty() && web => {}
                Tls::Sibling(port) if services.is_none() || web => {
                    parts.push(vec![Draft::host(owner.clone(), port, (Transport::Tls, TlsPolicy::Required))]);
                }
                _ => parts.push(plain.into_iter().map(Draft::must_use_tls).collect()),
            }
        } else {
            parts.push(plain);
        }
        self.with_addresses(parts, four, six, assembly).await
    }

    /// The ServiceMode records and the name that owns them, AliasMode followed.
    async fn bindings(
        &self,
        https: Asked,
        svcb: Asked,
        assembly: &mut Assembly,
    ) -> Result<(Vec<ServiceBinding>, DomainName), Failure> {
        let mut owner = self.name.clone();
        let (kind, mut asked) = match (https, svcb) {
            (Some(https), _) => (RecordKind::Https, https),
            (None, Some(svcb)) => (RecordKind::Svcb, svcb),
            (None, None) => return Ok((Vec::new(), owner)),
        };
        let mut seen = vec![owner.clone()];
        loop {
            let resolved = match asked {
                Ok(resolved) => resolved,
                // Somebody forged the answer: going on without it is what he wants (RFC 9460 section 3.1).
                Err(error @ (SourceError::Bogus | SourceError::AliasLoop)) => return Err(error.into()),
                Err(_) => return Ok((Vec::new(), owner)),
            };
            let Some(Records::Bindings(records)) = &resolved.records else {
                assembly.lasts(&resolved);
                return Ok((Vec::new(), owner));
            };
            assembly.uses(&resolved);
            self.check_aliases(&resolved)?;
            let Some(alias) = records.iter().find(|record| record.priority == 0) else {
                let mut service: Vec<ServiceBinding> = records.to_vec();
                service.sort_by_key(|record| record.priority);
                // "." is the name that owns the record, after every alias.
                let here = resolved.owner();
                let prefixed = resolved.names.first() != Some(&owner);
                for record in &mut service {
                    if record.target.is_none() && !(prefixed && resolved.names.len() == 1) {
                        record.target = Some(here.clone());
                    }
                }
                return Ok((service, owner));
            };
            let Some(target) = alias.target.clone() else {
                return Err(Failure::new(
                    Status::NonExistentDomain,
                    format!("{owner} says that it offers no such service"),
                ));
            };
            if seen.contains(&target) || seen.len() > MAX_ALIAS_MODE {
                return Err(SourceError::AliasLoop.into());
            }
            self.check_name(&target)?;
            seen.push(target.clone());
            owner = target.clone();
            asked = self.resolver.resolve(&target, kind, self.prove).await;
        }
    }

    /// `None`: there are no SRV records. Empty: they say that the service is not offered.
    fn services(&self, srv: Asked, assembly: &mut Assembly) -> Result<Option<Vec<Srv>>, Failure> {
        let resolved = match srv {
            None => return Ok(None),
            Some(Ok(resolved)) => resolved,
            // The web does not use SRV: its failing spoils nothing.
            Some(Err(SourceError::ServerFailure | SourceError::TimedOut)) if self.plan.https.is_some() => {
                return Ok(None);
            }
            Some(Err(error)) => return Err(error.into()),
        };
        let Some(Records::Srv(records)) = &resolved.records else {
            assembly.lasts(&resolved);
            return Ok(None);
        };
        assembly.uses(&resolved);
        self.check_aliases(&resolved)?;
        Ok(Some(records.iter().filter(|record| !record.target.is_root() && record.port != 0).cloned().collect()))
    }

    fn tls_of_plan(&self) -> (Transport, TlsPolicy) {
        match self.plan.tls {
            Tls::Implied => (Transport::Tls, TlsPolicy::Required),
            _ => (Transport::Raw, TlsPolicy::Unsaid),
        }
    }

    fn draft_binding(&self, binding: &ServiceBinding, owner: &DomainName, web: bool) -> Draft {
        let target = binding.target.clone().unwrap_or_else(|| owner.clone());
        let (transport, tls) = match (web, self.plan.tls) {
            (true, Tls::Implied) => (Transport::Tls, TlsPolicy::Required),
            (true, _) if self.upgrade => (Transport::Tls, TlsPolicy::Required),
            (true, _) => (Transport::Tls, TlsPolicy::Optional),
            (false, _) => self.tls_of_plan(),
        };
        let default = if web { Some(self.plan.https_port) } else { self.plan.port };
        let policy = (!binding.alpn.is_empty()).then(|| self.words.shared(format!("alpn={}", binding.alpn.join(","))));
        Draft {
            target,
            port: binding.port.or(default).unwrap_or(443),
            priority: binding.priority,
            weight: 0,
            transport,
            tls,
            protocol_policy: policy,
            four: binding.ipv4_hint.to_vec(),
            six: binding.ipv6_hint.to_vec(),
        }
    }

    fn draft_srv(&self, srv: &Srv) -> Draft {
        let (transport, tls) = self.tls_of_plan();
        Draft {
            priority: srv.priority,
            weight: srv.weight,
            ..Draft::host(srv.target.clone(), srv.port, (transport, tls))
        }
    }

    /// Fills in addresses and TLSA records, and asks the policy about all of it.
    async fn with_addresses(
        &self,
        parts: Vec<Vec<Draft>>,
        four: Asked,
        six: Asked,
        mut assembly: Assembly,
    ) -> Result<Assembled, Failure> {
        let mut hosts: BTreeMap<DomainName, Host> = BTreeMap::new();
        let targets: Vec<DomainName> = {
            let mut all: Vec<_> = parts.iter().flatten().map(|draft| draft.target.clone()).collect();
            all.sort();
            all.dedup();
            all
        };
        let mut allowed: Vec<DomainName> = Vec::new();
        let mut refusal = None;
        for target in targets {
            // An alternative that the policy does not like is no reason to withhold the others.
            match self.check_name(&target) {
                Ok(()) => allowed.push(target),
                Err(failure) => refusal = Some(failure),
            }
        }
        let (mut four, mut six) = (four, six);
        let fetched = join_all(allowed.iter().map(|target| {
            let first = (target == self.name).then(|| (four.take(), six.take()));
            async move {
                let (four, six) = first.unwrap_or((None, None));
                tokio::join!(
                    async {
                        match four {
                            Some(asked) => asked,
                            None => self.resolver.resolve(target, RecordKind::A, self.prove).await,
                        }
                    },
                    async {
                        match six {
                            Some(asked) => asked,
                            None => self.resolver.resolve(target, RecordKind::Aaaa, self.prove).await,
                        }
                    },
                )
            }
        }))
        .await;
        let mut trouble: Option<SourceError> = None;
        let mut non_existent = false;
        for (target, (four, six)) in allowed.iter().zip(fetched) {
            let mut host = Host::default();
            for asked in [four, six] {
                let resolved = match asked {
                    Ok(resolved) => resolved,
                    Err(SourceError::Bogus) => return Err(SourceError::Bogus.into()),
                    Err(error) => {
                        trouble = Some(error);
                        continue;
                    }
                };
                non_existent |= resolved.non_existent;
                self.check_aliases(&resolved)?;
                match &resolved.records {
                    Some(Records::A(addresses)) => host.four = addresses.to_vec(),
                    Some(Records::Aaaa(addresses)) => host.six = addresses.to_vec(),
                    _ => {
                        assembly.lasts(&resolved);
                        continue;
                    }
                }
                assembly.uses(&resolved);
            }
            hosts.insert(target.clone(), host);
        }
        let mut groups: Vec<Vec<Group>> = Vec::new();
        for part in parts {
            let mut filled = Vec::new();
            for draft in part {
                let Some(host) = hosts.get(&draft.target) else { continue };
                // Hints stand in where the host itself has nothing of that family.
                let four = if host.four.is_empty() { &draft.four } else { &host.four };
                let six = if host.six.is_empty() { &draft.six } else { &host.six };
                if let Some(instead) = self.check_addresses(six, four)? {
                    return Ok(instead);
                }
                let addresses = interleave(six, four, MAX_ADDRESSES);
                let group = draft.into_group(addresses);
                if !group.connections.is_empty() {
                    filled.push(group);
                }
            }
            if !filled.is_empty() {
                groups.push(filled);
            }
        }
        if groups.is_empty() {
            if let Some(refused) = refusal {
                return Err(refused);
            }
            if let Some(error) = trouble {
                return Err(error.into());
            }
            let what = match (non_existent, self.plan.port) {
                (true, _) => format!("{} does not exist", self.name),
                (false, None) => format!("{} lists no such service, and its usual port is not known", self.name),
                (false, Some(_)) => format!("{} has no address", self.name),
            };
            return Err(Failure { until: assembly.until, ..Failure::new(Status::NonExistentDomain, what) });
        }
        if trouble.is_some() {
            // Half an answer is better than none, for a short while.
            let soon = self.resolver.clock().now() + std::time::Duration::from_secs(5);
            assembly.until = Some(assembly.until.map_or(soon, |until| until.min(soon)));
        }
        assembly.parts = groups;
        if self.dane || self.prove {
            self.add_tlsa(&mut assembly).await?;
        }
        Ok(Assembled::Done(assembly))
    }

    /// Validated TLSA records for each host and port with TLS.
    async fn add_tlsa(&self, assembly: &mut Assembly) -> Result<(), Failure> {
        let mut places: Vec<(DomainName, u16)> = Vec::new();
        for group in assembly.parts.iter().flatten() {
            for connection in &group.connections {
                let place = (group.target.clone(), connection.port);
                if connection.transport == Transport::Tls && !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        let found =
            try_join_all(places.iter().map(|(target, port)| tlsa(self.resolver, target, *port, self.prove))).await?;
        assembly.dane = !found.is_empty() && found.iter().all(Option::is_some);
        for (resolved, _) in found.into_iter().flatten() {
            assembly.uses(&resolved);
        }
        Ok(())
    }

    fn check_aliases(&self, resolved: &Resolved) -> Result<(), Failure> {
        resolved.names.iter().skip(1).try_for_each(|alias| self.check_name(alias))
    }

    /// A name reached over records. A walled garden is for names that were asked for; on the way it is a refusal.
    fn check_name(&self, name: &DomainName) -> Result<(), Failure> {
        if self.exempt || name == self.name {
            return Ok(());
        }
        match self.policy.for_name(self.account, name) {
            Decision::Pass | Decision::Allow | Decision::Upgrade => Ok(()),
            Decision::Deny(reason) => Err(Failure::new(Status::Refused, reason)),
            Decision::Redirect(_) | Decision::Addresses(_) => {
                Err(Failure::new(Status::Refused, "refused by the broker's policy"))
            }
        }
    }

    fn check_addresses(&self, six: &[Ipv6Addr], four: &[Ipv4Addr]) -> Result<Option<Assembled>, Failure> {
        if self.exempt || !self.policy.looks_at_addresses() {
            return Ok(None);
        }
        let all = six.iter().map(|address| IpAddr::V6(*address)).chain(four.iter().map(|address| IpAddr::V4(*address)));
        for address in all {
            match self.policy.for_address(self.account, self.name, address) {
                Decision::Pass | Decision::Allow | Decision::Upgrade => {}
                Decision::Deny(reason) => return Err(Failure::new(Status::Refused, reason)),
                Decision::Redirect(target) => return Ok(Some(Assembled::Redirect(target))),
                Decision::Addresses(addresses) => return Ok(Some(Assembled::Addresses(addresses))),
            }
        }
        Ok(None)
    }
}

/// A walled garden's addresses at the service's usual port.
pub(super) fn garden(plan: &Plan, addresses: &[IpAddr], name: &DomainName) -> Result<Assembly, Failure> {
    let Some(port) = plan.port else {
        return Err(Failure::new(Status::Refused, "refused by the broker's policy"));
    };
    let transport = if plan.tls == Tls::Implied {
        (Transport::Tls, TlsPolicy::Required)
    } else {
        (Transport::Raw, TlsPolicy::Unsaid)
    };
    let group = Draft::host(name.clone(), port, transport).into_group(addresses.to_vec());
    Ok(Assembly { parts: vec![vec![group]], ..Assembly::default() })
}

/// The TLSA records of a port, when they are validated: unsigned ones say nothing (RFC 6698 section 4.1).
pub(crate) async fn tlsa(
    resolver: &Resolver,
    target: &DomainName,
    port: u16,
    evidence: bool,
) -> Result<Option<(Resolved, Box<[Tlsa]>)>, SourceError> {
    let Ok(name) = target.prefixed(&format!("_{port}._tcp")) else { return Ok(None) };
    let resolved = match resolver.resolve(&name, RecordKind::Tlsa, evidence).await {
        Ok(resolved) => resolved,
        Err(SourceError::Bogus) => return Err(SourceError::Bogus),
        // Servers that choke on TLSA are common, and a missing pin is no reason to refuse.
        Err(_) => return Ok(None),
    };
    match &resolved.records {
        Some(Records::Tlsa(pins)) if resolved.security == Security::Secure && !pins.is_empty() => {
            let pins = pins.clone();
            Ok(Some((resolved, pins)))
        }
        _ => Ok(None),
    }
}

/// A group before its addresses are known.
#[derive(Debug)]
struct Draft {
    target: DomainName,
    port: u16,
    priority: u16,
    weight: u16,
    transport: Transport,
    tls: TlsPolicy,
    protocol_policy: Option<Arc<str>>,
    four: Vec<Ipv4Addr>,
    six: Vec<Ipv6Addr>,
}

impl Draft {
    fn host(target: DomainName, port: u16, (transport, tls): (Transport, TlsPolicy)) -> Self {
        Self {
            target,
            port,
            priority: 0,
            weight: 0,
            transport,
            tls,
            protocol_policy: None,
            four: Vec::new(),
            six: Vec::new(),
        }
    }

    fn must_use_tls(self) -> Self {
        Self { tls: TlsPolicy::Required, ..self }
    }

    fn into_group(self, addresses: Vec<IpAddr>) -> Group {
        let connections = addresses.into_iter().map(|address| Connection {
            address,
            port: self.port,
            transport: self.transport,
            tls: self.tls,
            protocol_policy: self.protocol_policy.clone(),
            advice: None,
        });
        let connections = connections.collect();
        Group { target: self.target, priority: self.priority, weight: self.weight, connections }
    }
}
