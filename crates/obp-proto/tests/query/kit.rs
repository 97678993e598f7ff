//! Tickets, bindings, messages, and a network that loses, delays, doubles and alters.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use obp_proto::broker::{Broker, BrokerConfig, BrokerEvent, BrokerTransmit, Identity, QueryId, Question};
use obp_proto::client::{Client, ClientConfig, ClientEvent};
use obp_proto::crypto::{Authentication, Encryption, RustCrypto};
use obp_proto::http::{RequestHead, Response, Security};
use obp_proto::message::{
    Connection, Cryptographic, DateTime, Identifier, InstanceConnection, InstanceTransport, Port, QueryConnectRequest,
    QueryConnectResponse, ServicePrefix, ValidateResponse,
};
use obp_proto::service_connect::Binding;
use obp_proto::ticket::{KeyRing, Scope, TicketContent, TicketKind};
use obp_proto::{Message, Status};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use watchfire_core::{DatagramMachine as _, Duration, ExchangeMachine as _, Instant, Machine as _, Output, UnixTime};

/// When all tests take place.
pub(crate) const WALL: UnixTime = UnixTime::from_secs(1_400_520_000);

pub(crate) const CLIENT: &str = "198.51.100.7:40000";

pub(crate) fn keys() -> KeyRing {
    KeyRing::new(RustCrypto::shared(), 1, &[7; 32]).unwrap()
}

pub(crate) fn content() -> TicketContent {
    TicketContent {
        kind: TicketKind::Binding,
        scope: Scope::Query,
        authentication: Authentication::Hs256T128,
        encryption: Encryption::A128Cbc,
        secret: vec![9; 32].into(),
        account: "alice@example.com".into(),
        binding: [3; 16],
        issued: WALL,
        expires: UnixTime::from_secs(WALL.as_secs() + 30 * 24 * 3600),
    }
}

/// A ticket with this content, as a client holds it. `nonce` makes it differ from others.
pub(crate) fn cryptographic(content: &TicketContent, nonce: u8) -> Cryptographic {
    let ticket = keys().seal(content, [nonce; 12]).unwrap();
    let (encryption, authentication) = (content.encryption.clone(), content.authentication.clone());
    Cryptographic::new(content.secret.to_vec(), encryption, authentication, ticket)
}

pub(crate) fn instance(
    transport: InstanceTransport,
    address: &str,
    priority: u16,
    key: Cryptographic,
) -> InstanceConnection {
    let address: SocketAddr = address.parse().unwrap();
    let mut instance = InstanceConnection::default();
    instance.service = Some("omni-query".into());
    instance.transport = Some(transport);
    instance.address = Some(address.ip());
    instance.port = Some(Port::try_from(address.port()).unwrap());
    instance.priority = Some(priority);
    instance.weight = Some(1);
    instance.cryptographic = Some(key);
    instance
}

pub(crate) fn udp(address: &str, priority: u16) -> InstanceConnection {
    instance(InstanceTransport::Udp, address, priority, cryptographic(&content(), 1))
}

pub(crate) fn http(address: &str, priority: u16) -> InstanceConnection {
    instance(InstanceTransport::Http, address, priority, cryptographic(&content(), 2))
}

pub(crate) fn binding(instances: impl IntoIterator<Item = InstanceConnection>) -> Binding {
    let mut binding = Binding::default();
    binding.service = instances.into_iter().collect();
    binding
}

pub(crate) fn client(instances: impl IntoIterator<Item = InstanceConnection>) -> Client {
    client_with(ClientConfig::builder(RustCrypto::shared()).build().unwrap(), instances)
}

pub(crate) fn client_with(config: ClientConfig, instances: impl IntoIterator<Item = InstanceConnection>) -> Client {
    Client::new(config, binding(instances), [5; 32], Instant::ZERO, WALL).unwrap()
}

pub(crate) fn broker_config() -> BrokerConfig {
    BrokerConfig::builder(RustCrypto::shared(), keys()).build().unwrap()
}

pub(crate) fn broker() -> Broker {
    broker_with(broker_config())
}

pub(crate) fn broker_with(config: BrokerConfig) -> Broker {
    Broker::new(config, [6; 32], Instant::ZERO, WALL)
}

pub(crate) fn query() -> QueryConnectRequest {
    query_for("example.com")
}

pub(crate) fn query_for(name: &str) -> QueryConnectRequest {
    let service: ServicePrefix = "_http._tcp".parse().unwrap();
    QueryConnectRequest::new(Identifier::new(name.parse().unwrap()).with_service(service))
}

/// An answer whose port tells which question it answers.
pub(crate) fn answer_to(request: &Message) -> Message {
    match request {
        Message::QueryConnectRequest(request) => {
            let name = request.identifier.as_ref().unwrap().name.to_string();
            let port = name.bytes().fold(1u16, |sum, octet| sum.wrapping_mul(31).wrapping_add(u16::from(octet))) | 1;
            let mut response = QueryConnectResponse::new(Status::SUCCESS);
            response.connection.push(Connection::new(IpAddr::from([10, 3, 2, 1]), Port::try_from(port).unwrap()));
            response.into()
        }
        _ => ValidateResponse::new(Status::SUCCESS).into(),
    }
}

/// All that a broker says now.
pub(crate) fn drain(broker: &mut Broker, now: Instant) -> (Vec<BrokerTransmit>, Vec<BrokerEvent>, Option<Instant>) {
    let (mut transmits, mut events) = (Vec::new(), Vec::new());
    loop {
        match broker.poll_output(now) {
            Output::Transmit(transmit) => transmits.push(transmit),
            Output::Event(event) => events.push(event),
            Output::Timeout(at) => return (transmits, events, at),
        }
    }
}

/// All that a client says now.
pub(crate) fn drain_client(client: &mut Client, now: Instant) -> (Vec<watchfire_core::Datagram>, Vec<ClientEvent>) {
    let (mut datagrams, mut events) = (Vec::new(), Vec::new());
    loop {
        match client.poll_output(now) {
            Output::Transmit(datagram) => datagrams.push(datagram),
            Output::Event(event) => events.push(event),
            Output::Timeout(_) => return (datagrams, events),
        }
    }
}

/// Answers every question of the broker. Returns who asked what.
pub(crate) fn answer_all(broker: &mut Broker, events: Vec<BrokerEvent>) -> Vec<(Arc<Identity>, Message)> {
    let mut asked = Vec::new();
    for event in events {
        if let BrokerEvent::Query { id, client, question: Question::Message(message) } = event {
            broker.respond(id, &answer_to(&message)).unwrap();
            asked.push((client, message));
        }
    }
    asked
}

pub(crate) fn date(secs: i64) -> DateTime {
    DateTime::from_unix(UnixTime::from_secs(WALL.as_secs() + secs)).unwrap()
}

/// How bad a network is. Chances are out of 100.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network {
    pub(crate) loss: u8,
    pub(crate) double: u8,
    pub(crate) alter: u8,
    /// Up to so many milliseconds, by chance: packets overtake each other.
    pub(crate) jitter: u64,
    /// Exchanges over HTTP that fail.
    pub(crate) http_fails: u8,
}

/// A client and a broker on a virtual clock. The broker answers at every address.
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) broker: Broker,
    pub(crate) now: Instant,
    pub(crate) trace: Vec<String>,
    /// What the client was told in the end, by query.
    pub(crate) said: BTreeMap<String, Result<Message, String>>,
    /// Questions that reached the application.
    pub(crate) asked: usize,
    network: Network,
    rng: StdRng,
    travelling: BTreeMap<(Instant, u64), Travelling>,
    sent: u64,
    exchanges: BTreeMap<QueryId, obp_proto::service_connect::ExchangeId>,
}

enum Travelling {
    ToBroker(Bytes),
    ToClient(Bytes),
    Request(obp_proto::service_connect::ExchangeId, obp_proto::http::Request),
    Response(obp_proto::service_connect::ExchangeId, Response),
    Failure(obp_proto::service_connect::ExchangeId),
    /// The application's answer.
    Answer(QueryId, Box<Message>),
}

impl World {
    pub(crate) fn new(client: Client, broker: Broker, network: Network, seed: u64) -> Self {
        Self {
            client,
            broker,
            now: Instant::ZERO,
            trace: Vec::new(),
            said: BTreeMap::new(),
            asked: 0,
            network,
            rng: StdRng::seed_from_u64(seed),
            travelling: BTreeMap::new(),
            sent: 0,
            exchanges: BTreeMap::new(),
        }
    }

    fn chance(&mut self, percent: u8) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn put(&mut self, travelling: Travelling) {
        let delay = self.rng.random_range(1..=1 + self.network.jitter);
        self.sent += 1;
        self.travelling.insert((self.now + Duration::from_millis(delay), self.sent), travelling);
    }

    fn put_datagram(&mut self, octets: Bytes, wrap: impl Fn(Bytes) -> Travelling) {
        let copies = if self.chance(self.network.double) { 3 } else { 1 };
        for _ in 0..copies {
            if self.chance(self.network.loss) {
                continue;
            }
            let mut octets = octets.to_vec();
            if self.chance(self.network.alter) {
                let at = self.rng.random_range(0..octets.len());
                octets[at] ^= self.rng.random_range(1..=255u8);
            }
            self.put(wrap(octets.into()));
        }
    }

    fn drain(&mut self) -> [Option<Instant>; 2] {
        let at_client = loop {
            match self.client.poll_output(self.now) {
                Output::Transmit(datagram) => {
                    self.trace.push(format!("{:?} client {datagram:?}", self.now));
                    self.put_datagram(datagram.payload, Travelling::ToBroker);
                }
                Output::Event(event) => {
                    self.trace.push(format!("{:?} client {event:?}", self.now));
                    self.client_event(event);
                }
                Output::Timeout(at) => break at,
            }
        };
        let at_broker = loop {
            match self.broker.poll_output(self.now) {
                Output::Transmit(BrokerTransmit::Datagram(datagram)) => {
                    self.trace.push(format!("{:?} broker {datagram:?}", self.now));
                    self.put_datagram(datagram.payload, Travelling::ToClient);
                }
                Output::Transmit(BrokerTransmit::Response { id, response }) => {
                    self.trace.push(format!("{:?} broker {response:?}", self.now));
                    let exchange = self.exchanges.remove(&id).expect("one response for each request");
                    self.put(Travelling::Response(exchange, response));
                }
                Output::Event(BrokerEvent::Query { id, question: Question::Message(message), .. }) => {
                    self.asked += 1;
                    let answer = Box::new(answer_to(&message));
                    self.put(Travelling::Answer(id, answer));
                }
                Output::Event(_) => {}
                Output::Timeout(at) => break at,
            }
        };
        [at_client, at_broker]
    }

    fn client_event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Answer { id, message } => {
                assert!(self.said.insert(format!("{id:?}"), Ok(message)).is_none(), "said twice");
            }
            ClientEvent::Failed { id, error } => {
                assert!(self.said.insert(format!("{id:?}"), Err(error.to_string())).is_none(), "said twice");
            }
            ClientEvent::Exchange { id, request, .. } => {
                if self.chance(self.network.http_fails) {
                    self.put(Travelling::Failure(id));
                } else {
                    self.put(Travelling::Request(id, request));
                }
            }
            ClientEvent::Resolve { id, .. } => self.client.resolved(self.now, id, &[]),
            _ => {}
        }
    }

    fn arrive(&mut self, travelling: Travelling) {
        let now = self.now;
        match travelling {
            Travelling::ToBroker(octets) => {
                self.broker.handle_datagram(now, CLIENT.parse().unwrap(), &octets).unwrap();
            }
            // The broker answers from wherever the client asked: every address is its own.
            Travelling::ToClient(octets) => {
                for from in ["192.0.2.1:9090", "192.0.2.2:9090"] {
                    self.client.handle_datagram(now, from.parse().unwrap(), &octets).unwrap();
                }
            }
            Travelling::Request(exchange, request) => {
                let head = RequestHead::new("POST", request.path);
                let head = request.headers.iter().fold(head, |head, (name, value)| head.with_header(name, value));
                let id = self.broker.handle_request(now, &head, request.body.clone(), Security::Clear);
                self.exchanges.insert(id, exchange);
            }
            Travelling::Response(exchange, response) => self.client.handle_response(now, exchange, response).unwrap(),
            Travelling::Failure(exchange) => {
                let failure = obp_proto::error::ExchangeFailure::Connect;
                self.client.handle_failure(now, exchange, failure).unwrap();
            }
            Travelling::Answer(id, answer) => {
                let _ = self.broker.respond(id, &answer);
            }
        }
    }

    /// Runs until nothing is left to happen.
    pub(crate) fn run(&mut self) {
        for _ in 0..1_000_000 {
            let wakes = self.drain();
            let next = self.travelling.keys().next().map(|(at, _)| *at);
            let Some(at) = wakes.into_iter().flatten().chain(next).min() else { return };
            self.now = self.now.max(at);
            if let Some(entry) = self.travelling.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let travelling = entry.remove();
                self.arrive(travelling);
            }
            if wakes[0].is_some_and(|at| at <= self.now) {
                self.client.handle_timeout(self.now).unwrap();
            }
            if wakes[1].is_some_and(|at| at <= self.now) {
                self.broker.handle_timeout(self.now).unwrap();
            }
        }
        panic!("runs in circles");
    }
}
