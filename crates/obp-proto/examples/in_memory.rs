//! A device binds to an account by PIN and asks how to connect, of a broker in the same process: the whole protocol,
//! without a socket. Run it: `cargo run -p obp-proto --example in_memory`.
//!
//! What a program does for a living, this one leaves out: HTTP and TLS around the requests, a store of accounts, and
//! somebody who knows where connections should go.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use obp_proto::broker::{Broker, BrokerConfig, BrokerEvent, BrokerTransmit, Question};
use obp_proto::client::{Client, ClientConfig, ClientEvent};
use obp_proto::crypto::RustCrypto;
use obp_proto::http::{self, RequestHead, Security};
use obp_proto::message::{
    Connection, Identifier, InstanceConnection, InstanceTransport, Port, QueryConnectRequest, QueryConnectResponse,
    Transport, TransportPolicy,
};
use obp_proto::service_connect::{
    self, Binding, ConnectBroker, ConnectBrokerConfig, ConnectBrokerEvent, ConnectClient, ConnectClientConfig,
    ConnectClientEvent, Pin, Response,
};
use obp_proto::session::{Profile, Signer};
use obp_proto::ticket::KeyRing;
use obp_proto::{Encoding, Message, Status};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use watchfire_core::{ExchangeMachine as _, Instant, Machine as _, Output, UnixTime};

/// Nothing takes time here.
const NOW: Instant = Instant::ZERO;
const WALL: UnixTime = UnixTime::from_secs(1_400_520_000);
const ACCOUNT: &str = "alice@example.com";

/// The broker: one machine for all that arrives, one for service-connect, and the application between them.
struct InMemory {
    broker: Broker,
    connect: ConnectBroker,
    pin: Option<Pin>,
}

impl InMemory {
    fn new(pin: Pin) -> Result<Self, Box<dyn Error>> {
        let keys = KeyRing::new(RustCrypto::shared(), 1, &[7; 32])?; // from the system's randomness, in earnest
        let mut instance = InstanceConnection::default();
        instance.service = Some("omni-query".to_owned());
        instance.transport = Some(InstanceTransport::Http);
        instance.address = Some("192.0.2.53".parse()?);
        instance.name = Some("broker.example.com".parse()?);
        instance.port = Some(Port::HTTPS);
        let config = ConnectBrokerConfig::builder(RustCrypto::shared(), vec![instance]).build()?;
        Ok(Self {
            broker: Broker::new(BrokerConfig::builder(RustCrypto::shared(), keys.clone()).build()?, [1; 32], NOW, WALL),
            connect: ConnectBroker::new(Arc::new(config), keys, [2; 32], NOW),
            pin: Some(pin),
        })
    }

    /// What an HTTPS server would do with a request.
    fn serve(&mut self, path: &str, headers: &[(&str, String)], body: Bytes) -> Result<http::Response, Box<dyn Error>> {
        let head = RequestHead::new("POST", path);
        let head = headers.iter().fold(head, |head, (name, value)| head.with_header(name, value));
        self.broker.handle_request(NOW, &head, body, Security::Tls);
        loop {
            match self.broker.poll_output(NOW) {
                Output::Transmit(BrokerTransmit::Response { response, .. }) => return Ok(response),
                Output::Event(BrokerEvent::Query { id, question: Question::Message(question), client }) => {
                    println!("broker: {} asks {}", client.account(), question.name());
                    self.broker.respond(id, &answer(&question))?;
                }
                Output::Event(BrokerEvent::Connect { id, client, encoding, body }) => {
                    let ticket = client.as_ref().map(|client| client.content());
                    self.connect.handle_request(NOW, WALL, ticket, encoding, &body);
                    let reply = self.enroll()?;
                    self.broker.respond_octets(id, reply.0, reply.1)?;
                }
                Output::Event(_) | Output::Transmit(_) => {}
                Output::Timeout(_) => return Err("the broker has no answer".into()),
            }
        }
    }

    /// Who may bind: the owner of the PIN, once.
    fn enroll(&mut self) -> Result<(Status, Bytes), Box<dyn Error>> {
        loop {
            match self.connect.poll_output(NOW) {
                Output::Transmit(reply) => return Ok((reply.status, reply.body)),
                Output::Event(ConnectBrokerEvent::Open { id, account, device, .. }) => {
                    println!("broker: {:?} wants to bind to {account}", device.name);
                    match &self.pin {
                        Some(pin) => self.connect.offer_pin(NOW, WALL, id, pin)?,
                        None => self.connect.refuse(NOW, id, Status::REFUSED)?,
                    }
                }
                Output::Event(ConnectBrokerEvent::Proven { id, account, pin, .. }) => {
                    println!("broker: the PIN of {account} was proved; it is void from now on");
                    match self.pin.take_if(|mine| *mine == pin) {
                        Some(_) => self.connect.grant(NOW, WALL, id)?,
                        None => self.connect.refuse(NOW, id, Status::REFUSED)?,
                    }
                }
                Output::Event(other) => println!("broker: {other:?}"),
                Output::Timeout(_) => return Err("service-connect has no answer".into()),
            }
        }
    }
}

/// Where everything is, as far as this broker knows.
fn answer(question: &Message) -> Message {
    let Message::QueryConnectRequest(request) = question else {
        return QueryConnectResponse::new(Status::NOT_IMPLEMENTED).into();
    };
    if let Err(invalid) = request.target() {
        return QueryConnectResponse::new(invalid.status()).into();
    }
    let address = std::net::Ipv4Addr::new(10, 3, 2, 1).into();
    let mut tls = Connection::new(address, Port::HTTPS).with_transport(Transport::Tls);
    tls.transport_policy = Some(TransportPolicy::TlsOptional);
    let mut response = QueryConnectResponse::new(Status::SUCCESS);
    response.connection = [tls, Connection::new(address, Port::HTTP)].into();
    response.into()
}

/// The device binds: requests go out signed once there is something to sign them with.
fn bind(broker: &mut InMemory, pin: Pin) -> Result<Binding, Box<dyn Error>> {
    let mut config = ConnectClientConfig::builder(RustCrypto::shared()).build()?;
    config.device.name = Some("Alice's laptop".to_owned());
    let mut client = ConnectClient::bind_by_pin(Arc::new(config), &ACCOUNT.parse()?, pin, [3; 32], NOW);
    let mut rng = StdRng::from_seed([4; 32]);
    loop {
        match client.poll_output(NOW) {
            Output::Event(ConnectClientEvent::Request(request)) => {
                println!("client: POST {} {}", service_connect::PATH, String::from_utf8_lossy(&request.body));
                let mut headers = vec![("content-type", request.encoding.content_type().to_owned())];
                let signer = match &request.credentials {
                    Some(key) => Some(Signer::new(&*RustCrypto::shared(), key).ok_or("an unknown algorithm")?),
                    None => None,
                };
                let expected = signer.map(|signer| {
                    let time = WALL.as_secs().unsigned_abs();
                    let (session, expected) = signer.sign(Profile::Strict, time, &mut rng, &request.body);
                    headers.push(("session", session));
                    expected
                });
                let response = broker.serve(service_connect::PATH, &headers, request.body)?;
                let verified = expected
                    .is_some_and(|expected| expected.check(response.headers("session"), &response.body).is_ok());
                let encoding = response.header("content-type").and_then(Encoding::from_content_type);
                let response =
                    Response::new(response.status, response.body).with_encoding(encoding).with_authenticated(verified);
                client.handle_response(NOW, request.id, response)?;
            }
            Output::Event(ConnectClientEvent::Bound(binding)) => return Ok(binding),
            Output::Event(other) => println!("client: {other:?}"),
            Output::Transmit(never) => match never {},
            Output::Timeout(_) => return Err("nothing to wait for".into()),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // On one side the PIN is made and shown to Alice, on the other she types it in.
    let shown = Pin::random(&mut StdRng::from_seed([5; 32]));
    let mut broker = InMemory::new(shown.parse()?)?;
    let binding = bind(&mut broker, shown.parse()?)?;
    for instance in &binding.service {
        println!("client: bound to {instance}");
    }

    let mut client = Client::new(ClientConfig::builder(RustCrypto::shared()).build()?, binding, [6; 32], NOW, WALL)?;
    let identifier = Identifier::new("www.example.com".parse()?).with_service("_http._tcp".parse()?);
    client.query(NOW, QueryConnectRequest::new(identifier))?;
    loop {
        match client.poll_output(NOW) {
            Output::Event(ClientEvent::Exchange { id, request, .. }) => {
                let response = broker.serve(request.path, &request.headers, request.body)?;
                client.handle_response(NOW, id, response)?;
            }
            Output::Event(ClientEvent::Answer { message: Message::QueryConnectResponse(response), .. }) => {
                for connection in &response.connection {
                    let (Some(address), Some(port)) = (connection.ip_address, connection.ip_port) else { continue };
                    println!("client: connect to {address} port {port} by {}", connection.transport());
                }
                return if response.connection.len() == 2 { Ok(()) } else { Err("another answer".into()) };
            }
            Output::Event(other) => println!("client: {other:?}"),
            Output::Transmit(_) => {}
            Output::Timeout(_) => return Err("no answer".into()),
        }
    }
}
