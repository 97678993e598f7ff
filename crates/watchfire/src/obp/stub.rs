//! `obp dns`: a DNS stub in front of a binding, for programs that only speak DNS.
//!
//! A and AAAA are the addresses that the broker proposes for a name; SRV and HTTPS are its list for a service, with
//! names of the stub's own making for the hosts, since the broker's protocol has none: `192-0-2-1.addr.obp.invalid`,
//! which the stub resolves itself. What the broker refuses is REFUSED here, and what does not exist is NXDOMAIN.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hickory_net::runtime::Time;
use hickory_proto::op::{Header, HeaderCounts, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::svcb::{Alpn, IpHint, SVCB, SvcParamKey, SvcParamValue};
use hickory_proto::rr::rdata::{A, AAAA, HTTPS, SRV};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_server::Server;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use obp_hyper::client::{Client, ClientError};
use obp_proto::message::{
    Connection, Identifier, Port, QueryConnectRequest, QueryConnectResponse, ServicePrefix, Transport,
};
use tokio::net::UdpSocket;

use super::binding::Asker;
use crate::cli::DnsArgs;
use crate::exit::Failure;
use crate::metrics::{self, Registry};
use crate::service::Context;

/// A port at which no service has records of its own: the addresses of the name are wanted, and nothing else.
const ANY_PORT: u16 = 9;

/// Below it the stub makes names for addresses; RFC 6761 section 6.4 keeps them from meaning anything elsewhere.
const ZONE: &str = "addr.obp.invalid.";

/// A connection over TCP that asks nothing is closed after this.
const IDLE: Duration = Duration::from_secs(10);

/// Octets of answers that wait in one connection.
const BUFFER: usize = 64;

/// Answers of one response.
const MOST: usize = 64;

/// A stub that listens.
pub struct DnsService {
    server: Server<Handler>,
    asker: Asker,
    addresses: Vec<SocketAddr>,
}

impl std::fmt::Debug for DnsService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DnsService").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl DnsService {
    /// Reads the binding, opens the sockets and says where it listens.
    ///
    /// # Errors
    /// A binding that cannot be used, or an address that cannot be listened at.
    pub async fn start(args: &DnsArgs, context: &Context) -> Result<Self, Failure> {
        let asker = Asker::start(&args.binding).await?;
        let counts = Arc::new(Counts::default());
        let ttl = u32::try_from(args.ttl.0.as_secs()).unwrap_or(u32::MAX);
        let handler = Handler { client: asker.client.clone(), ttl, counts: Arc::clone(&counts) };
        let mut sockets = Vec::new();
        for address in &args.listen {
            // Both at the same port, which is the system's choice at times: what is free for TCP may be taken for UDP.
            let mut tries = 0;
            let (tcp, udp) = loop {
                let tcp = metrics::bind(address).await?;
                let local = tcp.local_addr().map_err(|error| Failure::usage(error.to_string()).at(address))?;
                match UdpSocket::bind(local).await {
                    Ok(udp) => break (tcp, udp),
                    Err(_) if address.port() == 0 && tries < 16 => tries += 1,
                    Err(error) => return Err(Failure::usage(format!("cannot listen over UDP: {error}")).at(address)),
                }
            };
            let local = tcp.local_addr().map_err(|error| Failure::usage(error.to_string()).at(address))?;
            sockets.push((tcp, udp, local));
        }
        let metrics = metrics::bind_optional(args.metrics.as_ref()).await?;
        let mut server = Server::new(handler);
        let mut addresses = Vec::new();
        for (tcp, udp, local) in sockets {
            server.register_socket(udp);
            server.register_listener(tcp, IDLE, BUFFER);
            context.announce("obp-dns", local)?;
            addresses.push(local);
        }
        context.serve_metrics(metrics)?;
        counts.register(&context.metrics);
        Ok(Self { server, asker, addresses })
    }

    /// Where it answers.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until `context.shutdown`.
    ///
    /// # Errors
    /// When a new ticket cannot be kept.
    pub async fn run(mut self, context: Context) -> Result<(), Failure> {
        let mut changes = self.asker.client.binding();
        loop {
            tokio::select! {
                () = context.shutdown.cancelled() => break,
                changed = changes.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    if let Err(failure) = self.asker.save_now() {
                        tracing::error!("the new ticket is not kept: {failure}");
                    }
                }
            }
        }
        let _ = tokio::time::timeout(Duration::from_secs(5), self.server.shutdown_gracefully()).await;
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Counts {
    queries: AtomicU64,
    answered: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    fn register(self: &Arc<Self>, registry: &Registry) {
        let this = Arc::clone(self);
        registry.at_each_look(move |registry| {
            let set = |name, help, value: &AtomicU64| {
                registry.counter(name, help, &[]).set(value.load(Ordering::Relaxed));
            };
            set("watchfire_obp_dns_queries_total", "DNS queries.", &this.queries);
            set(
                "watchfire_obp_dns_answered_total",
                "Those that were answered with records or their absence.",
                &this.answered,
            );
            set("watchfire_obp_dns_refused_total", "Those that the broker refused.", &this.refused);
            set("watchfire_obp_dns_failed_total", "Those that the broker did not answer.", &this.failed);
        });
    }
}

struct Handler {
    client: Client,
    ttl: u32,
    counts: Arc<Counts>,
}

/// What is answered.
struct Answer {
    code: ResponseCode,
    records: Vec<Record>,
    additionals: Vec<Record>,
}

impl Answer {
    fn only(code: ResponseCode) -> Self {
        Self { code, records: Vec::new(), additionals: Vec::new() }
    }
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut responses: R) -> ResponseInfo {
        self.counts.queries.fetch_add(1, Ordering::Relaxed);
        let answer = self.answer(request).await;
        let count = match answer.code {
            ResponseCode::NoError | ResponseCode::NXDomain => &self.counts.answered,
            ResponseCode::Refused => &self.counts.refused,
            _ => &self.counts.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = answer.code;
        metadata.recursion_available = true;
        let mut builder = MessageResponseBuilder::from_message_request(request);
        // RFC 6891 section 6.1.1: whoever asks with EDNS is answered with it.
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = hickory_proto::op::Edns::new();
            edns.set_max_payload(1232).set_version(0).set_dnssec_ok(asked.flags().dnssec_ok);
            edns
        });
        if let Some(edns) = &edns {
            builder.edns(edns);
        }
        let response = builder.build(metadata, &answer.records, [], [], &answer.additionals);
        match responses.send_response(response).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, "a DNS response could not be sent");
                ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() })
            }
        }
    }
}

impl Handler {
    async fn answer(&self, request: &Request) -> Answer {
        if request.metadata.op_code != OpCode::Query {
            return Answer::only(ResponseCode::NotImp);
        }
        let Ok(info) = request.request_info() else { return Answer::only(ResponseCode::FormErr) };
        if info.query.query_class() != DNSClass::IN {
            return Answer::only(ResponseCode::Refused);
        }
        let (name, kind) = (info.query.name(), info.query.query_type());
        if let Some(own) = self.own(&Name::from(name), kind) {
            return own;
        }
        let text = name.to_string();
        let (host, service, port) = match kind {
            RecordType::A | RecordType::AAAA => (text.as_str(), None, Some(ANY_PORT)),
            RecordType::SRV => match prefixed(&text) {
                Some((service, host)) => (host, Some(service), None),
                None => return Answer::only(ResponseCode::NoError),
            },
            RecordType::HTTPS => (text.as_str(), "_https._tcp".parse().ok(), None),
            // The broker knows ways to connect, and nothing else that is in the DNS.
            _ => return Answer::only(ResponseCode::NotImp),
        };
        let Ok(host) = host.trim_end_matches('.').parse() else { return Answer::only(ResponseCode::FormErr) };
        let mut identifier = Identifier::new(host);
        identifier.service = service;
        identifier.port = port.and_then(|port| Port::try_from(port).ok());
        match self.client.connect(QueryConnectRequest::new(identifier)).await {
            Ok(response) => self.records(&Name::from(name), kind, &response),
            Err(error) => Answer::only(code(&error)),
        }
    }

    fn records(&self, owner: &Name, kind: RecordType, response: &QueryConnectResponse) -> Answer {
        let ways: Vec<Way> = response.connection.iter().filter_map(Way::of).take(MOST).collect();
        let record = |data| Record::from_rdata(owner.clone(), self.ttl, data);
        let mut hosts = std::collections::BTreeSet::new();
        let mut records = Vec::new();
        match kind {
            RecordType::A | RecordType::AAAA => {
                let mut seen = std::collections::BTreeSet::new();
                let wanted = |address: &IpAddr| address.is_ipv4() == (kind == RecordType::A);
                let addresses = ways.iter().map(|way| way.address).filter(wanted);
                records.extend(addresses.filter(|address| seen.insert(*address)).map(|address| record(data(address))));
            }
            RecordType::SRV => {
                // The order of the list is the order of the priorities.
                for (priority, way) in (0_u16..).zip(&ways) {
                    let target = own_name(way.address);
                    hosts.insert(way.address);
                    records.push(record(RData::SRV(SRV::new(priority, 0, way.port, target))));
                }
            }
            _ => {
                for (priority, way) in (1_u16..).zip(ways.iter().filter(|way| way.tls)) {
                    let mut parameters = Vec::new();
                    if !way.alpn.is_empty() {
                        parameters.push((SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(way.alpn.clone()))));
                    }
                    if way.port != 443 {
                        parameters.push((SvcParamKey::Port, SvcParamValue::Port(way.port)));
                    }
                    parameters.push(match way.address {
                        IpAddr::V4(address) => {
                            (SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(vec![A(address)])))
                        }
                        IpAddr::V6(address) => {
                            (SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(IpHint(vec![AAAA(address)])))
                        }
                    });
                    let target = own_name(way.address);
                    hosts.insert(way.address);
                    records.push(record(RData::HTTPS(HTTPS(SVCB::new(priority, target, parameters)))));
                }
            }
        }
        let host = |address: IpAddr| Record::from_rdata(own_name(address), self.ttl, data(address));
        let additionals = hosts.into_iter().map(host).collect();
        Answer { code: ResponseCode::NoError, records, additionals }
    }

    /// The answer about a name of the stub's own making.
    fn own(&self, name: &Name, kind: RecordType) -> Option<Answer> {
        let zone: Name = ZONE.parse().ok()?;
        if !zone.zone_of(name) {
            return None;
        }
        let label = name.iter().next().map(|label| String::from_utf8_lossy(label).into_owned()).unwrap_or_default();
        let Some(address) = own_address(&label).filter(|_| name.num_labels() == zone.num_labels() + 1) else {
            return Some(Answer::only(ResponseCode::NXDomain));
        };
        let wanted = match address {
            IpAddr::V4(_) => RecordType::A,
            IpAddr::V6(_) => RecordType::AAAA,
        };
        let mut answer = Answer::only(ResponseCode::NoError);
        if kind == wanted {
            answer.records.push(Record::from_rdata(name.clone(), self.ttl, data(address)));
        }
        Some(answer)
    }
}

/// A connection as the DNS can say it.
struct Way {
    address: IpAddr,
    port: u16,
    tls: bool,
    alpn: Vec<String>,
}

impl Way {
    fn of(connection: &Connection) -> Option<Self> {
        if !connection.is_usable() {
            return None;
        }
        let alpn = connection.protocol_policy.as_ref().and_then(|policy| policy.as_str().strip_prefix("alpn="));
        let alpn = alpn.map(|list| list.split(',').map(str::to_owned).collect()).unwrap_or_default();
        let (address, port) = (connection.ip_address?, connection.ip_port?);
        Some(Self { address, port: port.into(), tls: *connection.transport() == Transport::Tls, alpn })
    }
}

fn data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

/// `_service._proto` and the rest.
fn prefixed(name: &str) -> Option<(ServicePrefix, &str)> {
    let mut dots = name.match_indices('.').map(|(at, _)| at);
    let (_, second) = (dots.next()?, dots.next()?);
    let (prefix, rest) = name.split_at_checked(second)?;
    let service = prefix.starts_with('_').then(|| prefix.parse().ok())??;
    Some((service, rest.strip_prefix('.')?))
}

fn own_name(address: IpAddr) -> Name {
    let label = match address {
        IpAddr::V4(address) => address.to_string().replace('.', "-"),
        // Written out, so that no label begins or ends with a hyphen.
        IpAddr::V6(address) => address.segments().map(|segment| format!("{segment:x}")).join("-"),
    };
    format!("{label}.{ZONE}").parse().expect("digits, letters and hyphens between them are a label")
}

fn own_address(label: &str) -> Option<IpAddr> {
    let v4 = label.replace('-', ".").parse().map(IpAddr::V4);
    v4.or_else(|_| label.replace('-', ":").parse().map(IpAddr::V6)).ok()
}

fn code(error: &ClientError) -> ResponseCode {
    match error.status().map(obp_proto::Status::code) {
        Some(404) => ResponseCode::NXDomain,
        Some(400) => ResponseCode::FormErr,
        Some(401 | 403 | 429) => ResponseCode::Refused,
        Some(501) => ResponseCode::NotImp,
        _ => ResponseCode::ServFail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_our_own_go_there_and_back() {
        for address in ["192.0.2.1", "2001:db8::1", "::1", "::", "2001:db8:0:1:2:3:4:5"] {
            let address: IpAddr = address.parse().unwrap();
            let name = own_name(address).to_string();
            let label = name.strip_suffix(&format!(".{ZONE}")).unwrap();
            assert_eq!(own_address(label), Some(address), "{name}");
        }
        assert_eq!(own_address("www"), None);
    }

    #[test]
    fn services_are_split_from_their_names() {
        let (service, host) = prefixed("_xmpp-client._tcp.example.com.").unwrap();
        assert_eq!((service.as_str(), host), ("_xmpp-client._tcp", "example.com."));
        assert!(prefixed("www.example.com.").is_none() && prefixed("_http").is_none());
    }
}
