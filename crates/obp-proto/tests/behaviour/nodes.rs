//! A client and a broker of service-connect with everything around them that a program would have: sessions are
//! signed and verified, accounts have PINs, somebody confirms. What HTTP would carry goes in frames of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use obp_proto::crypto::{Authentication, HashAlgorithm, RustCrypto};
use obp_proto::message::{Binary, InstanceConnection, InstanceTransport, Port};
use obp_proto::service_connect::{
    AccountName, Binding, ConnectBroker, ConnectBrokerConfig, ConnectBrokerEvent, ConnectClient, ConnectClientConfig,
    ConnectClientEvent, ConnectRequestId, ExchangeId, Pin, Response, TransactionId,
};
use obp_proto::ticket::{KeyRing, TicketContent};
use obp_proto::{Encoding, HttpMapping, Status};
use watchfire_core::{Duration, Eof, ExchangeMachine, Instant, Machine, Output, UnixTime};
use watchfire_testkit::{Node, Said};

pub(crate) const ACCOUNT: &str = "alice@example.com";
pub(crate) const PIN: &str = "Q80370-1RA606-F04B";

/// The time of day at an instant.
pub(crate) fn unix(now: Instant) -> UnixTime {
    UnixTime::from_secs(1_700_000_000 + i64::try_from(now.as_micros() / 1_000_000).unwrap())
}

pub(crate) fn keys() -> KeyRing {
    KeyRing::new(RustCrypto::shared(), 1, &[7; 32]).unwrap()
}

pub(crate) fn instance(service: &str, port: u16, transport: InstanceTransport) -> InstanceConnection {
    let mut instance = InstanceConnection::default();
    instance.service = Some(service.into());
    instance.name = Some("broker.example.com".parse().unwrap());
    instance.port = Some(Port::try_from(port).unwrap());
    instance.priority = Some(10);
    instance.weight = Some(1);
    instance.transport = Some(transport);
    instance
}

pub(crate) fn broker_config() -> ConnectBrokerConfig {
    let instances = vec![
        instance("omni-query", 443, InstanceTransport::Http),
        instance("omni-query", 9090, InstanceTransport::Udp),
    ];
    ConnectBrokerConfig::builder(RustCrypto::shared(), instances).build().unwrap()
}

pub(crate) fn client_config() -> ConnectClientConfig {
    ConnectClientConfig::builder(RustCrypto::shared()).build().unwrap()
}

pub(crate) fn pin() -> Pin {
    PIN.parse().unwrap()
}

pub(crate) fn account() -> AccountName {
    ACCOUNT.parse().unwrap()
}

fn mac(authentication: &Authentication, secret: &[u8], body: &[u8]) -> Vec<u8> {
    let hash = authentication.hash().unwrap_or(HashAlgorithm::Sha256);
    RustCrypto::shared().hmac(hash, secret, &[body]).as_bytes().to_vec()
}

/// Parts, each behind its length, all behind the length of all.
fn frame(parts: &[&[u8]]) -> bytes::Bytes {
    let mut inner = Vec::new();
    for part in parts {
        inner.extend_from_slice(&u32::try_from(part.len()).unwrap().to_be_bytes());
        inner.extend_from_slice(part);
    }
    let mut whole = u32::try_from(inner.len()).unwrap().to_be_bytes().to_vec();
    whole.append(&mut inner);
    whole.into()
}

fn take(input: &mut Vec<u8>) -> Option<Vec<u8>> {
    let len = u32::from_be_bytes(*input.first_chunk()?) as usize;
    let part = input.get(4..4 + len)?.to_vec();
    input.drain(..4 + len);
    Some(part)
}

fn unframe(input: &mut Vec<u8>) -> Option<Vec<Vec<u8>>> {
    let mut inner = take(input)?;
    Some(std::iter::from_fn(|| take(&mut inner)).collect())
}

/// What signs and verifies.
type Session = (Authentication, Vec<u8>);

/// What a client shall do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    BindByPin(&'static str),
    Bind,
    Refresh,
    Unbind,
}

pub(crate) struct ClientNode {
    pub(crate) config: Arc<ConnectClientConfig>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) machine: Option<ConnectClient>,
    pub(crate) binding: Option<Binding>,
    pub(crate) told: Vec<ConnectClientEvent>,
    /// When requests were made.
    pub(crate) asked: Vec<Instant>,
    asking: Option<(ExchangeId, Option<Session>)>,
    input: Vec<u8>,
}

impl ClientNode {
    pub(crate) fn new(config: ConnectClientConfig, jobs: &[Job]) -> Self {
        let mut jobs = jobs.to_vec();
        jobs.reverse();
        Self {
            config: Arc::new(config),
            jobs,
            machine: None,
            binding: None,
            told: Vec::new(),
            asked: Vec::new(),
            asking: None,
            input: Vec::new(),
        }
    }

    fn begin(&mut self, job: Job, now: Instant) -> ConnectClient {
        let config = Arc::clone(&self.config);
        match job {
            Job::BindByPin(pin) => ConnectClient::bind_by_pin(config, &account(), pin.parse().unwrap(), [3; 32], now),
            Job::Bind => ConnectClient::bind(config, [4; 32], now),
            Job::Refresh => ConnectClient::refresh(config, self.binding.clone().unwrap(), now).unwrap(),
            Job::Unbind => ConnectClient::unbind(config, self.binding.clone().unwrap(), now).unwrap(),
        }
    }
}

impl Node for ClientNode {
    fn poll(&mut self, now: Instant) -> Said {
        if self.machine.is_none() {
            let Some(job) = self.jobs.pop() else { return Said::Done };
            self.machine = Some(self.begin(job, now));
        }
        let machine = self.machine.as_mut().unwrap();
        match machine.poll_output(now) {
            Output::Transmit(never) => match never {},
            Output::Event(ConnectClientEvent::Request(request)) => {
                self.asked.push(now);
                let session = request.credentials.map(|key| {
                    (key.authentication.clone(), key.secret.expose().to_vec(), key.ticket.as_bytes().to_vec())
                });
                self.asking =
                    Some((request.id, session.clone().map(|(authentication, secret, _)| (authentication, secret))));
                let (ticket, code) = match &session {
                    Some((authentication, secret, ticket)) => {
                        (ticket.clone(), mac(authentication, secret, &request.body))
                    }
                    None => (Vec::new(), Vec::new()),
                };
                Said::Octets(frame(&[request.encoding.content_type().as_bytes(), &ticket, &code, &request.body]))
            }
            Output::Event(event) => {
                if let ConnectClientEvent::Bound(binding) = &event {
                    self.binding = Some(binding.clone());
                }
                self.told.push(event);
                Said::Note(format!("{:?}", self.told.last().unwrap()))
            }
            Output::Timeout(None) if machine.is_finished() => {
                self.machine = None;
                self.poll(now)
            }
            Output::Timeout(at) => Said::Wait(at),
        }
    }

    fn input(&mut self, now: Instant, octets: &[u8]) {
        self.input.extend_from_slice(octets);
        while let Some(parts) = unframe(&mut self.input) {
            let [http, content_type, code, body] = &parts[..] else { panic!() };
            let Some((id, session)) = self.asking.take() else { continue };
            let authenticated =
                session.is_some_and(|(authentication, secret)| mac(&authentication, &secret, body) == *code);
            let response = Response::new(u16::from_be_bytes(*http.first_chunk().unwrap()), body.clone())
                .with_encoding(Encoding::from_content_type(std::str::from_utf8(content_type).unwrap()))
                .with_authenticated(authenticated);
            if let Some(machine) = &mut self.machine {
                // An error is told by the last event too.
                let _ = machine.handle_response(now, id, response);
            }
        }
    }

    fn eof(&mut self, _: Instant, _: Eof) {}

    fn timeout(&mut self, now: Instant) {
        if let Some(machine) = &mut self.machine {
            let _ = machine.handle_timeout(now);
        }
    }
}

/// What becomes of those who ask without a PIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Open,
    /// Confirmed after so long.
    Ask(Duration),
    Deny(Duration),
    Shut,
}

pub(crate) struct BrokerNode {
    pub(crate) machine: ConnectBroker,
    pub(crate) keys: KeyRing,
    pub(crate) pins: BTreeMap<String, Pin>,
    pub(crate) door: Door,
    pub(crate) told: Vec<ConnectBrokerEvent>,
    /// Signs no responses, as the brokers of 2014.
    pub(crate) unsigned: bool,
    held: Vec<(Instant, TransactionId)>,
    sessions: BTreeMap<ConnectRequestId, Session>,
    input: Vec<u8>,
    wake: Option<Instant>,
}

impl BrokerNode {
    pub(crate) fn new(config: ConnectBrokerConfig, door: Door) -> Self {
        let machine = ConnectBroker::new(Arc::new(config), keys(), [5; 32], Instant::ZERO);
        Self {
            machine,
            keys: keys(),
            pins: BTreeMap::from([(ACCOUNT.to_owned(), pin())]),
            door,
            told: Vec::new(),
            unsigned: false,
            held: Vec::new(),
            sessions: BTreeMap::new(),
            input: Vec::new(),
            wake: None,
        }
    }

    fn answer(&mut self, now: Instant, event: &ConnectBrokerEvent) {
        let machine = &mut self.machine;
        match event {
            ConnectBrokerEvent::Open { id, account, domain, .. } => {
                let account = format!("{account}@{}", domain.as_ref().map(ToString::to_string).unwrap_or_default());
                match self.pins.get(&account) {
                    Some(pin) => drop(machine.offer_pin(now, unix(now), *id, pin)),
                    None => machine.refuse(now, *id, Status::REFUSED).unwrap(),
                }
            }
            ConnectBrokerEvent::Proven { id, account, pin, .. } => match self.pins.remove(account) {
                Some(mine) if mine == *pin => machine.grant(now, unix(now), *id).unwrap(),
                _ => machine.refuse(now, *id, Status::REFUSED).unwrap(),
            },
            ConnectBrokerEvent::PinUsedUp { account, .. } => drop(self.pins.remove(account)),
            ConnectBrokerEvent::Bind { id, .. } => match self.door {
                Door::Open => machine.grant(now, unix(now), *id).unwrap(),
                Door::Ask(after) | Door::Deny(after) => {
                    let transaction = machine.hold(now, *id).unwrap();
                    self.held.push((now + after, transaction));
                }
                Door::Shut => machine.refuse(now, *id, Status::REFUSED).unwrap(),
            },
            ConnectBrokerEvent::Refresh { id, .. } | ConnectBrokerEvent::Unbind { id, .. } => {
                machine.grant(now, unix(now), *id).unwrap();
            }
            _ => {}
        }
    }

    pub(crate) fn verify(&self, now: Instant, ticket: &[u8], code: &[u8], body: &[u8]) -> Option<TicketContent> {
        let content = self.keys.open(ticket, unix(now)).ok()?;
        (mac(&content.authentication, &content.secret, body) == code).then_some(content)
    }
}

impl Node for BrokerNode {
    fn poll(&mut self, now: Instant) -> Said {
        match self.machine.poll_output(now) {
            Output::Transmit(reply) => {
                let code = match self.sessions.remove(&reply.id) {
                    Some((authentication, secret)) if !self.unsigned => mac(&authentication, &secret, &reply.body),
                    _ => Vec::new(),
                };
                let http = reply.status.http_status(HttpMapping::Body).to_be_bytes();
                Said::Octets(frame(&[&http, reply.encoding.content_type().as_bytes(), &code, &reply.body]))
            }
            Output::Event(event) => {
                self.answer(now, &event);
                self.told.push(event);
                Said::Note(format!("{:?}", self.told.last().unwrap()))
            }
            Output::Timeout(at) => {
                self.wake = at;
                Said::Wait(self.held.iter().map(|(at, _)| *at).chain(at).min())
            }
        }
    }

    fn input(&mut self, now: Instant, octets: &[u8]) {
        self.input.extend_from_slice(octets);
        while let Some(parts) = unframe(&mut self.input) {
            let [content_type, ticket, code, body] = &parts[..] else { panic!() };
            let client = if ticket.is_empty() { None } else { Some(self.verify(now, ticket, code, body)) };
            if client == Some(None) {
                // A Session header that does not verify is refused before service-connect hears of it.
                panic!("a client of ours signs wrongly");
            }
            let client = client.flatten();
            let encoding = Encoding::from_content_type(std::str::from_utf8(content_type).unwrap()).unwrap();
            let id = self.machine.handle_request(now, unix(now), client.as_ref(), encoding, body);
            if let Some(client) = client {
                self.sessions.insert(id, (client.authentication.clone(), client.secret.to_vec()));
            }
        }
    }

    fn eof(&mut self, _: Instant, _: Eof) {}

    fn timeout(&mut self, now: Instant) {
        let due: Vec<_> = self.held.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, transaction) in due {
            match self.door {
                Door::Deny(_) => self.machine.deny(transaction, Status::REFUSED).unwrap(),
                // It may be forgotten by now.
                _ => drop(self.machine.confirm(transaction, ACCOUNT)),
            }
        }
        if self.wake.is_some_and(|wake| wake <= now) {
            self.machine.handle_timeout(now).unwrap();
        }
    }
}

/// The octets of a message, in JSON.
pub(crate) fn body(message: impl Into<obp_proto::Message>) -> Vec<u8> {
    message.into().encode(Encoding::Json).unwrap()
}

pub(crate) fn challenge() -> Option<Binary> {
    Some([1; 16].into())
}
