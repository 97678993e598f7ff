//! Where the operator of a domain is to be called, as the DNS says: NAPTR, then SRV. RFC 8973 section 6.
//!
//! What the DNS says is only where to go. Who is there must prove to be `--peer-name`, which nobody but the user says.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use dots_callhome::Transport;
use dots_tokio::server::{Discover, Discovered, DiscoveredPlace};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use crate::cli::Resolver;
use crate::exit::{Blame, Failure};
use crate::metrics::Health;
use crate::service::Context;

/// How long one answer is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long is waited at the start between questions to a DNS that does not answer.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How often a server is asked.
const TRIES: usize = 2;
/// Rewritings of a name that are followed.
const STEPS: usize = 8;
/// Records of one kind that are looked at.
const RECORDS: usize = 32;

/// Application and protocol tags of S-NAPTR, and the labels of SRV, for each transport.
const KINDS: [(Transport, &str, &str); 2] = [
    (Transport::Datagram, "DOTS-CALL-HOME:signal.udp", "_dots-call-home._udp"),
    (Transport::Stream, "DOTS-CALL-HOME:signal.tcp", "_dots-call-home._tcp"),
];

/// Asks the DNS.
#[derive(Debug, Clone)]
pub struct Discovery {
    servers: Arc<[SocketAddr]>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    order: (u16, u16),
    priority: u16,
    weight: std::cmp::Reverse<u16>,
    host: String,
    port: u16,
}

impl Discovery {
    /// By this resolver.
    ///
    /// # Errors
    /// When the system's are wanted and cannot be told.
    pub fn new(resolver: Resolver) -> Result<Self, Failure> {
        let servers = match resolver {
            Resolver::Server(address) => vec![address],
            Resolver::System => system()?,
        };
        Ok(Self { servers: servers.into() })
    }

    /// Where the operator of `domain` is to be called.
    ///
    /// # Errors
    /// When nobody answers, or there is no such record.
    pub async fn find(&self, domain: &str) -> Result<Discovered, Failure> {
        let mut targets = Vec::new();
        let mut lifetime = u32::MAX;
        for (transport, service, labels) in KINDS {
            for target in self.targets(domain, service, labels, &mut lifetime).await? {
                targets.push((target, transport));
            }
        }
        if targets.is_empty() {
            let failure = Failure::refused("the DNS does not say where to call").at(domain);
            let remedy = "ask its operator for NAPTR or SRV records of dots-call-home, or use --connect HOST";
            return Err(failure.remedy(remedy));
        }
        Ok(Discovered { places: in_order(targets), lifetime: Duration::from_secs(lifetime.into()) })
    }

    /// Where one kind of session is to be had: by NAPTR; if there is none, by SRV at the usual name.
    async fn targets(
        &self,
        domain: &str,
        service: &str,
        labels: &str,
        lifetime: &mut u32,
    ) -> Result<Vec<Target>, Failure> {
        let found = self.by_naptr(domain, service, lifetime).await?;
        if !found.is_empty() {
            return Ok(found);
        }
        self.by_srv(&format!("{labels}.{}", domain.trim_end_matches('.')), (0, 0), lifetime).await
    }

    async fn by_naptr(&self, domain: &str, service: &str, lifetime: &mut u32) -> Result<Vec<Target>, Failure> {
        let mut names = vec![domain.to_owned()];
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        let mut steps = 0;
        while let Some(name) = names.pop() {
            steps += 1;
            if steps > STEPS || !seen.insert(name.to_ascii_lowercase()) {
                continue;
            }
            for data in self.ask(&name, RecordType::NAPTR, lifetime).await? {
                let RData::NAPTR(record) = data else { continue };
                if !record.services.eq_ignore_ascii_case(service.as_bytes()) || !record.regexp.is_empty() {
                    continue;
                }
                let next = record.replacement.to_string();
                let order = (record.order, record.preference);
                match record.flags.to_ascii_lowercase().as_slice() {
                    b"" => names.push(next),
                    b"s" => found.extend(self.by_srv(&next, order, lifetime).await?),
                    b"a" => found.push(Target {
                        order,
                        priority: 0,
                        weight: std::cmp::Reverse(0),
                        host: next.trim_end_matches('.').to_owned(),
                        port: dots_callhome::Profile::Rfc9066.default_port(),
                    }),
                    _ => {}
                }
            }
        }
        Ok(found)
    }

    async fn by_srv(&self, name: &str, order: (u16, u16), lifetime: &mut u32) -> Result<Vec<Target>, Failure> {
        let records = self.ask(name, RecordType::SRV, lifetime).await?;
        let target = |data| match data {
            // A dot says that there is decidedly no such service.
            RData::SRV(record) if !record.target.is_root() && record.port != 0 => Some(Target {
                order,
                priority: record.priority,
                weight: std::cmp::Reverse(record.weight),
                host: record.target.to_string().trim_end_matches('.').to_owned(),
                port: record.port,
            }),
            _ => None,
        };
        Ok(records.into_iter().filter_map(target).collect())
    }

    /// The data of all records of a name and type; how long they are good for lowers `lifetime`.
    async fn ask(&self, name: &str, kind: RecordType, lifetime: &mut u32) -> Result<Vec<RData>, Failure> {
        let mut parsed: Name =
            name.parse().map_err(|_| Failure::misbehaved(format!("no name: {name:?}")).at("the DNS"))?;
        parsed.set_fqdn(true);
        let mut last = Failure::unreachable("no DNS server is known").remedy("name one by --resolver");
        for server in self.servers.iter().cycle().take(self.servers.len().saturating_mul(TRIES)) {
            match tokio::time::timeout(PATIENCE, exchange(*server, &parsed, kind)).await {
                Ok(Ok(message)) => match message.metadata.response_code {
                    ResponseCode::NoError | ResponseCode::NXDomain => {
                        let data = message.answers.iter().filter(|record| record.record_type() == kind).take(RECORDS);
                        let data = data.inspect(|record| *lifetime = record.ttl.min(*lifetime));
                        return Ok(data.map(|record| record.data.clone()).collect());
                    }
                    code => last = Failure::unreachable(format!("{name}: the DNS server says {code}")).at(server),
                },
                Ok(Err(error)) => last = Failure::unreachable(format!("{name}: {error}")).at(server),
                Err(_) => last = Failure::unreachable(format!("{name}: no answer in time")).at(server),
            }
        }
        Err(last)
    }
}

/// The best first.
fn in_order(mut targets: Vec<(Target, Transport)>) -> Vec<DiscoveredPlace> {
    targets.sort_by(|(one, _), (other, _)| one.cmp(other));
    targets.dedup();
    let place = |(Target { host, port, .. }, transport)| DiscoveredPlace { transport, host, port };
    targets.into_iter().map(place).collect()
}

/// Where the operator of a domain is to be called, whenever that is asked.
#[derive(Debug)]
pub struct Located {
    discovery: Discovery,
    domain: String,
    health: Health,
    /// What was found at the start.
    first: Mutex<Option<Discovered>>,
}

impl Located {
    /// Asks the DNS until it answers: after a power cut it may be there later than we are.
    ///
    /// # Errors
    /// When it says that there is nobody to call.
    pub async fn new(domain: &str, resolver: Resolver, context: &Context) -> Result<Self, Failure> {
        let discovery = Discovery::new(resolver)?;
        let (domain, health) = (domain.to_owned(), context.health.clone());
        let this = Self { discovery, domain, health, first: Mutex::default() };
        loop {
            let failure = match this.look().await {
                Ok(found) => {
                    tracing::info!(domain = this.domain, ?found, "the DNS says where to call");
                    *this.first.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
                    return Ok(this);
                }
                Err(failure) if failure.blame() != Blame::Unreachable => return Err(failure),
                Err(failure) => failure,
            };
            tracing::warn!("{failure}; asked again in {} s", ASK_AGAIN.as_secs());
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    async fn look(&self) -> Result<Discovered, Failure> {
        let found = self.discovery.find(&self.domain).await;
        let said = found.as_ref().map(|_| ()).map_err(ToString::to_string);
        self.health.set(format!("dots discovery of {}", self.domain), said);
        found
    }
}

#[async_trait]
impl Discover for Located {
    async fn discover(&self) -> Option<Discovered> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        if first.is_some() {
            return first;
        }
        let found = self.look().await;
        match &found {
            Ok(found) => tracing::debug!(domain = self.domain, ?found, "the DNS says where to call"),
            Err(failure) => tracing::warn!("{failure}; where it was called last is tried again"),
        }
        found.ok()
    }
}

async fn exchange(server: SocketAddr, name: &Name, kind: RecordType) -> std::io::Result<Message> {
    let wrong = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(|error| std::io::Error::other(error.to_string()))?;
    let mut question = Message::new(u16::from_be_bytes(id), MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.clone(), kind));
    let octets = question.to_vec().map_err(|error| wrong(&error.to_string()))?;
    let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(&octets).await?;
    let mut buffer = [0; 4096];
    let answer = loop {
        let length = socket.recv(&mut buffer).await?;
        let read = Message::from_vec(buffer.get(..length).unwrap_or_default());
        match read {
            Ok(message) if answers(&message, &question) => break message,
            _ => {}
        }
    };
    if !answer.metadata.truncation {
        return Ok(answer);
    }
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(octets.len()).map_err(|_| wrong("the question is too long"))?;
    stream.write_all(&[&length.to_be_bytes()[..], &octets].concat()).await?;
    let length = stream.read_u16().await?;
    let mut read = vec![0; usize::from(length)];
    stream.read_exact(&mut read).await?;
    let answer = Message::from_vec(&read).map_err(|error| wrong(&error.to_string()))?;
    if answers(&answer, &question) { Ok(answer) } else { Err(wrong("another question is answered")) }
}

fn answers(message: &Message, question: &Message) -> bool {
    message.metadata.id == question.metadata.id
        && message.metadata.message_type == MessageType::Response
        && message.queries == question.queries
}

/// The servers of `/etc/resolv.conf`.
fn system() -> Result<Vec<SocketAddr>, Failure> {
    let path = std::path::Path::new("/etc/resolv.conf");
    let text =
        std::fs::read_to_string(path).map_err(|error| crate::exit::file_failure("read the resolvers", path, &error))?;
    let servers: Vec<SocketAddr> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().parse().ok())
        .map(|address: std::net::IpAddr| SocketAddr::new(address, 53))
        .take(3)
        .collect();
    if servers.is_empty() {
        return Err(Failure::usage("names no resolver").at(path.display()).remedy("name one by --resolver"));
    }
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(order: u16, priority: u16, weight: u16, host: &str, port: u16) -> Target {
        Target { order: (order, 0), priority, weight: std::cmp::Reverse(weight), host: host.to_owned(), port }
    }

    #[test]
    fn the_best_place_comes_first_and_each_has_its_own_port() {
        let (udp, tcp) = (Transport::Datagram, Transport::Stream);
        let found = in_order(vec![
            (target(20, 0, 0, "d", 1), udp),
            (target(10, 2, 0, "c", 4647), udp),
            (target(10, 1, 5, "b", 4648), tcp),
            (target(10, 1, 9, "a", 4647), udp),
        ]);
        let places: Vec<_> = found.iter().map(|place| (place.host.as_str(), place.port, place.transport)).collect();
        assert_eq!(places, [("a", 4647, udp), ("b", 4648, tcp), ("c", 4647, udp), ("d", 1, udp)]);
    }
}
