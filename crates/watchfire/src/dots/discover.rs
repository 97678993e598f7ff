//! Where the operator of a domain is to be called, as the DNS says: NAPTR, then SRV. RFC 8973 section 6.
//!
//! What the DNS says is only where to go. Who is there must prove to be `--peer-name`, which nobody but the user says.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dots_callhome::Transport;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use crate::cli::Resolver;
use crate::exit::Failure;

/// How long one answer is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
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

/// A place to call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Found {
    /// By what: one, or both when they have the same port.
    pub transports: Vec<Transport>,
    /// At which hosts, the best first.
    pub hosts: Vec<String>,
    /// At which port.
    pub port: u16,
}

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
    pub async fn find(&self, domain: &str) -> Result<Found, Failure> {
        let mut targets = Vec::new();
        for (transport, service, labels) in KINDS {
            for target in self.targets(domain, service, labels).await? {
                targets.push((target, transport));
            }
        }
        choose(targets).ok_or_else(|| {
            let failure = Failure::refused("the DNS does not say where to call").at(domain);
            failure.remedy("ask its operator for NAPTR or SRV records of dots-call-home, or use --connect HOST")
        })
    }

    /// Where one kind of session is to be had: by NAPTR; if there is none, by SRV at the usual name.
    async fn targets(&self, domain: &str, service: &str, labels: &str) -> Result<Vec<Target>, Failure> {
        let mut found = self.by_naptr(domain, service).await?;
        if found.is_empty() {
            found = self.by_srv(&format!("{labels}.{}", domain.trim_end_matches('.')), (0, 0)).await?;
        }
        found.sort();
        Ok(found)
    }

    async fn by_naptr(&self, domain: &str, service: &str) -> Result<Vec<Target>, Failure> {
        let mut names = vec![domain.to_owned()];
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        let mut steps = 0;
        while let Some(name) = names.pop() {
            steps += 1;
            if steps > STEPS || !seen.insert(name.to_ascii_lowercase()) {
                continue;
            }
            for data in self.ask(&name, RecordType::NAPTR).await? {
                let RData::NAPTR(record) = data else { continue };
                if !record.services.eq_ignore_ascii_case(service.as_bytes()) || !record.regexp.is_empty() {
                    continue;
                }
                let next = record.replacement.to_string();
                let order = (record.order, record.preference);
                match record.flags.to_ascii_lowercase().as_slice() {
                    b"" => names.push(next),
                    b"s" => found.extend(self.by_srv(&next, order).await?),
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

    async fn by_srv(&self, name: &str, order: (u16, u16)) -> Result<Vec<Target>, Failure> {
        let records = self.ask(name, RecordType::SRV).await?;
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

    /// The data of all records of a name and type.
    async fn ask(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, Failure> {
        let mut parsed: Name =
            name.parse().map_err(|_| Failure::misbehaved(format!("no name: {name:?}")).at("the DNS"))?;
        parsed.set_fqdn(true);
        let mut last = Failure::unreachable("no DNS server is known").remedy("name one by --resolver");
        for server in self.servers.iter().cycle().take(self.servers.len().saturating_mul(TRIES)) {
            match tokio::time::timeout(PATIENCE, exchange(*server, &parsed, kind)).await {
                Ok(Ok(message)) => match message.metadata.response_code {
                    ResponseCode::NoError | ResponseCode::NXDomain => {
                        let data = message.answers.iter().filter(|record| record.record_type() == kind);
                        return Ok(data.take(RECORDS).map(|record| record.data.clone()).collect());
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

/// The best place, and what else is at its port.
fn choose(mut targets: Vec<(Target, Transport)>) -> Option<Found> {
    targets.sort_by(|(one, _), (other, _)| one.cmp(other));
    let port = targets.first()?.0.port;
    let same: Vec<_> = targets.into_iter().filter(|(target, _)| target.port == port).collect();
    let mut found = Found { transports: Vec::new(), hosts: Vec::new(), port };
    for (target, transport) in same {
        if !found.hosts.contains(&target.host) {
            found.hosts.push(target.host);
        }
        if !found.transports.contains(&transport) {
            found.transports.push(transport);
        }
    }
    Some(found)
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
    fn the_best_place_and_what_is_at_its_port() {
        let (udp, tcp) = (Transport::Datagram, Transport::Stream);
        let found = choose(vec![
            (target(20, 0, 0, "d", 1), udp),
            (target(10, 2, 0, "c", 4647), udp),
            (target(10, 1, 5, "b", 4647), tcp),
            (target(10, 1, 9, "a", 4647), udp),
        ]);
        let hosts = ["a", "b", "c"].map(str::to_owned).to_vec();
        assert_eq!(found, Some(Found { transports: vec![udp, tcp], hosts, port: 4647 }));
        assert_eq!(choose(Vec::new()), None);
    }
}
