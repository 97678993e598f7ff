//! Client and broker against each other and against anybody: a script of what happens to what they send.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use obp_proto::Message;
use obp_proto::Status;
use obp_proto::broker::{Broker, BrokerConfig, BrokerEvent, BrokerTransmit, QueryId, Question};
use obp_proto::client::{Client, ClientConfig, ClientEvent, ResolveId};
use obp_proto::crypto::{Authentication, Encryption, RustCrypto};
use obp_proto::error::ExchangeFailure;
use obp_proto::http::{Request, RequestHead, Response, Security};
use obp_proto::message::{
    Cryptographic, Identifier, InstanceConnection, InstanceTransport, Port, QueryConnectRequest, QueryConnectResponse,
};
use obp_proto::service_connect::{Binding, ExchangeId};
use obp_proto::ticket::{KeyRing, Scope, TicketContent, TicketKind};
use watchfire_core::{DatagramMachine as _, Duration, ExchangeMachine as _, Instant, Machine as _, Output, UnixTime};

const WALL: UnixTime = UnixTime::from_secs(1_400_520_000);
const INSTANCES: [&str; 2] = ["192.0.2.1:9090", "192.0.2.2:9090"];

/// Runs the script twice: the same calls must give the same outputs.
pub fn run(data: &[u8]) {
    let Some((how, script)) = data.split_first() else { return };
    assert_eq!(World::new(*how).play(script), World::new(*how).play(script));
}

struct World {
    client: Client,
    broker: Broker,
    now: Instant,
    to_broker: Vec<(SocketAddr, Bytes)>,
    to_client: Vec<Bytes>,
    requests: Vec<(ExchangeId, Request)>,
    /// None for what nobody sent.
    under_way: BTreeMap<QueryId, Option<ExchangeId>>,
    responses: Vec<(ExchangeId, Response)>,
    questions: Vec<(QueryId, Message)>,
    resolves: Vec<ResolveId>,
    asked: BTreeMap<obp_proto::client::QueryId, Message>,
    ended: usize,
    /// Over all that was said.
    trace: DefaultHasher,
}

fn key(encryption: Encryption, nonce: u8, expires: i64) -> Cryptographic {
    let content = TicketContent {
        kind: TicketKind::Binding,
        scope: Scope::Query,
        authentication: Authentication::Hs256T128,
        encryption: encryption.clone(),
        secret: vec![nonce; 32].into(),
        account: "alice@example.com".into(),
        binding: [3; 16],
        issued: WALL,
        expires: UnixTime::from_secs(WALL.as_secs() + expires),
    };
    let ticket = ring().seal(&content, [nonce; 12]).expect("it fits");
    Cryptographic::new(content.secret.to_vec(), encryption, Authentication::Hs256T128, ticket)
}

fn ring() -> KeyRing {
    KeyRing::new(RustCrypto::shared(), 1, &[7; 32]).expect("32 octets")
}

fn binding(how: u8) -> Binding {
    let encryption = &Encryption::KNOWN[usize::from(how) % Encryption::KNOWN.len()];
    let mut binding = Binding::default();
    for (n, (transport, address)) in
        [(InstanceTransport::Udp, 0), (InstanceTransport::Udp, 1), (InstanceTransport::Http, 0)].into_iter().enumerate()
    {
        let address: SocketAddr = INSTANCES[address].parse().expect("an address");
        let mut instance = InstanceConnection::default();
        instance.transport = Some(transport);
        instance.address = Some(address.ip());
        instance.port = Port::try_from(address.port()).ok();
        instance.name = (how & 64 != 0).then(|| "broker.example.com".parse().expect("a name"));
        instance.cryptographic = Some(key(encryption.clone(), n as u8, if how & 32 != 0 { 20 } else { 100_000 }));
        binding.service.push(instance);
    }
    binding
}

fn answer_to(question: &Message) -> Message {
    let mut response = QueryConnectResponse::new(Status::SUCCESS);
    if let Message::QueryConnectRequest(request) = question {
        // The answer says which question it is to.
        response.policy.push(format!("{:?}", request.identifier));
    }
    response.into()
}

impl World {
    fn new(how: u8) -> Self {
        let mut config = ClientConfig::builder(RustCrypto::shared()).build().expect("a configuration");
        (config.max_queries, config.max_queued) = (8, 64);
        let client = Client::new(config, binding(how), [5; 32], Instant::ZERO, WALL).expect("usable instances");
        let mut config = BrokerConfig::builder(RustCrypto::shared(), ring()).build().expect("a configuration");
        config.max_datagram = if how & 128 != 0 { 100 } else { 1200 };
        (config.limits.pending, config.limits.replies, config.limits.reply_octets) = (4, 4, 2000);
        (config.limits.tickets, config.limits.replay.nonces) = (2, 8);
        let broker = Broker::new(config, [6; 32], Instant::ZERO, WALL);
        Self {
            client,
            broker,
            now: Instant::ZERO,
            to_broker: Vec::new(),
            to_client: Vec::new(),
            requests: Vec::new(),
            under_way: BTreeMap::new(),
            responses: Vec::new(),
            questions: Vec::new(),
            resolves: Vec::new(),
            asked: BTreeMap::new(),
            ended: 0,
            trace: DefaultHasher::new(),
        }
    }

    fn play(mut self, script: &[u8]) -> u64 {
        let mut total = 0;
        for step in script.chunks(3).take(200) {
            let [what, which, how] = [0, 1, 2].map(|n| step.get(n).copied().unwrap_or_default());
            total += usize::from(self.step(what, which, how, script));
            self.drain();
            assert!(self.client.len() <= 8 && self.broker.pending() <= 4);
            assert_eq!(self.asked.len(), self.client.len());
        }
        // Left alone, everything ends.
        for _ in 0..1000 {
            let Some(at) = self.drain() else { break };
            self.now = self.now.max(at);
            self.client.handle_timeout(self.now).expect("never fails");
            self.broker.handle_timeout(self.now).expect("never fails");
        }
        assert_eq!(self.drain(), None, "still waiting");
        assert_eq!((self.client.len(), self.broker.pending(), self.ended), (0, 0, total));
        assert!(self.under_way.is_empty(), "a request without response");
        let stats = self.broker.stats();
        assert!(stats.responses <= stats.requests + stats.accepted + stats.datagrams);
        self.trace.finish()
    }

    /// One step; true when it asked something.
    fn step(&mut self, what: u8, which: u8, how: u8, noise: &[u8]) -> bool {
        let pick = |len: usize| (len > 0).then(|| usize::from(which) % len.max(1));
        match what % 16 {
            0 | 1 => {
                let name = format!("host-{which}.example.com").parse().expect("a name");
                let request = QueryConnectRequest::new(Identifier::new(name).with_port(Port::HTTP));
                let Ok(id) = self.client.query(self.now, request.clone()) else { return false };
                self.asked.insert(id, request.into());
                return true;
            }
            2 | 3 => {
                if let Some(at) = pick(self.to_broker.len()) {
                    let (_, octets) = if how & 1 == 0 { self.to_broker.remove(at) } else { self.to_broker[at].clone() };
                    let octets = altered(octets, how);
                    let from = SocketAddr::from(([198, 51, 100, how & 3], 40_000));
                    self.broker.handle_datagram(self.now, from, &octets).expect("never fails");
                }
            }
            4 | 5 => {
                if let Some(at) = pick(self.to_client.len()) {
                    let octets = if how & 1 == 0 { self.to_client.remove(at) } else { self.to_client[at].clone() };
                    let octets = altered(octets, how);
                    for from in INSTANCES {
                        let from = from.parse().expect("an address");
                        self.client.handle_datagram(self.now, from, &octets).expect("never fails");
                    }
                }
            }
            6 | 7 => {
                if let Some(at) = pick(self.questions.len()) {
                    let (id, question) = self.questions.remove(at);
                    // It may have been given up in the meantime.
                    let _ = self.broker.respond(id, &answer_to(&question));
                }
            }
            8 => {
                if let Some(at) = pick(self.requests.len()) {
                    let (exchange, request) = self.requests[at].clone();
                    let fresh = how & 1 == 0;
                    if fresh {
                        self.requests.remove(at);
                    }
                    let body = altered(request.body, how);
                    let head = RequestHead::new("POST", request.path);
                    let head = request.headers.iter().fold(head, |head, (name, value)| head.with_header(name, value));
                    let security = if how & 128 != 0 { Security::Tls } else { Security::Clear };
                    let id = self.broker.handle_request(self.now, &head, body, security);
                    self.under_way.insert(id, Some(exchange));
                }
            }
            9 => {
                if let Some(at) = pick(self.responses.len()) {
                    let (exchange, mut response) = self.responses[at].clone();
                    response.body = altered(response.body, how);
                    self.client.handle_response(self.now, exchange, response).expect("never fails");
                }
            }
            10 => {
                if let Some(at) = pick(self.requests.len()) {
                    let (exchange, _) = self.requests.remove(at);
                    self.client.handle_failure(self.now, exchange, ExchangeFailure::Connect).expect("never fails");
                }
            }
            11 => {
                if let Some(at) = pick(self.resolves.len()) {
                    let addresses = [IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, how])];
                    self.client.resolved(self.now, self.resolves[at], &addresses[..usize::from(how) % 3]);
                }
            }
            12 => {
                let ids: Vec<_> = self.asked.keys().copied().collect();
                if let Some(at) = pick(ids.len()).filter(|_| how & 1 == 0) {
                    self.client.cancel(ids[at]);
                    self.asked.remove(&ids[at]);
                    self.ended += 1;
                } else if how & 2 == 0 {
                    self.client.rebind(self.now, binding(how)).expect("usable instances");
                }
            }
            13 => {
                let noise = &noise[usize::from(which) % noise.len().max(1)..];
                let from = INSTANCES[0].parse().expect("an address");
                self.client.handle_datagram(self.now, from, noise).expect("never fails");
                self.broker.handle_datagram(self.now, from, noise).expect("never fails");
                let text = String::from_utf8_lossy(noise);
                let head = RequestHead::new("POST", "/.well-known/omni-query").with_header("content-type", &text);
                let head = head.with_header("session", &text).with_header("accept", &text);
                let id = self.broker.handle_request(self.now, &head, noise.to_vec().into(), Security::Tls);
                self.under_way.insert(id, None);
            }
            14 => self.now = self.now + Duration::from_millis(u64::from(which) * u64::from(how)),
            _ => {
                self.client.handle_timeout(self.now).expect("never fails");
                self.broker.handle_timeout(self.now).expect("never fails");
            }
        }
        false
    }

    fn drain(&mut self) -> Option<Instant> {
        let at_client = loop {
            match self.client.poll_output(self.now) {
                Output::Transmit(datagram) => {
                    (datagram.to, &datagram.payload).hash(&mut self.trace);
                    self.to_broker.push((datagram.to, datagram.payload));
                }
                Output::Event(event) => {
                    std::mem::discriminant(&event).hash(&mut self.trace);
                    self.client_event(event);
                }
                Output::Timeout(at) => break at,
            }
        };
        assert!(
            at_client.is_some() == !self.client.is_empty()
                && (at_client.is_none() || !self.client.timeout_reason().is_empty())
        );
        let at_broker = loop {
            match self.broker.poll_output(self.now) {
                Output::Transmit(BrokerTransmit::Datagram(datagram)) => {
                    (datagram.to, &datagram.payload).hash(&mut self.trace);
                    assert!(datagram.payload.len() <= 1200);
                    self.to_client.push(datagram.payload);
                }
                Output::Transmit(BrokerTransmit::Response { id, response }) => {
                    (response.status, &response.headers, &response.body).hash(&mut self.trace);
                    let exchange = self.under_way.remove(&id).expect("one response for each request");
                    self.responses.extend(exchange.map(|exchange| (exchange, response)));
                }
                Output::Event(BrokerEvent::Query { id, client, question: Question::Message(question) }) => {
                    assert_eq!(client.account(), "alice@example.com");
                    self.questions.push((id, question));
                }
                Output::Event(_) => {}
                Output::Timeout(at) => break at,
            }
        };
        self.to_client.truncate(64);
        self.to_broker.truncate(64);
        at_client.into_iter().chain(at_broker).min()
    }

    fn client_event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Answer { id, message } => {
                let question = self.asked.remove(&id).expect("said once, of what was asked");
                // The broker itself answers for an application that takes too long.
                let late = message.status() == Some(Status::TIME_OUT) && self.broker.stats().timed_out > 0;
                assert!(late || message == answer_to(&question), "the answer to another question: {message:?}");
                self.ended += 1;
            }
            ClientEvent::Failed { id, error } => {
                let _ = error.to_string();
                assert!(self.asked.remove(&id).is_some(), "said once, of what was asked");
                self.ended += 1;
            }
            ClientEvent::Exchange { id, request, .. } => self.requests.push((id, request)),
            ClientEvent::Resolve { id, .. } => self.resolves.push(id),
            ClientEvent::BindingChanged => assert_eq!(self.client.binding().service.len(), 3),
            _ => {}
        }
    }
}

/// The octets, changed in one place if `how` says so.
fn altered(octets: Bytes, how: u8) -> Bytes {
    if how & 2 == 0 || octets.is_empty() {
        return octets;
    }
    let mut octets = octets.to_vec();
    let at = usize::from(how) * 7 % octets.len();
    octets[at] ^= (how >> 2).max(1);
    octets.into()
}

/// Scripts that go all the way.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for how in 0..12u8 {
        let how = how * 21;
        let by_datagram =
            [0, 1, 0, 0, 2, 0, 2, 0, 0, 6, 0, 0, 4, 0, 1, 4, 0, 1, 4, 0, 0, 4, 1, 0, 2, 0, 0, 6, 0, 0, 4, 0, 0];
        seeds.push((format!("datagrams-{how}"), [&[how][..], &by_datagram].concat()));
        let late = [14, 100, 255, 15, 0, 0];
        let by_http =
            [&[0, 1, 0][..], &late.repeat(8), &[8, 0, 0, 6, 0, 0, 9, 0, 2, 9, 0, 0, 8, 0, 1, 10, 0, 0]].concat();
        seeds.push((format!("http-{how}"), [&[how][..], &by_http].concat()));
        seeds.push((
            format!("names-{how}"),
            [&[how | 64][..], &[0, 1, 0], &late.repeat(3), &[11, 0, 2, 2, 0, 3, 12, 0, 1]].concat(),
        ));
        seeds.push((format!("noise-{how}"), [&[how][..], &[13, 0, 0, 0, 1, 0, 2, 0, 2, 13, 1, 1, 12, 0, 0]].concat()));
    }
    seeds
}
