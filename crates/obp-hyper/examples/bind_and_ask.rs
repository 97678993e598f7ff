//! A broker and a device in one process: bound by PIN over HTTP on the loopback, asked in sealed datagrams.
//!
//! `cargo run -p obp-hyper --example bind_and_ask`

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use obp_hyper::client::{BindOptions, Client, bind};
use obp_hyper::server::{Accounts, Admission, Knowledge, Server};
use obp_proto::broker::{BrokerConfig, Identity};
use obp_proto::crypto::RustCrypto;
use obp_proto::message::{
    Connection, Identifier, InstanceConnection, InstanceTransport, Name, Port, QueryConnectRequest,
    QueryConnectResponse, Transport, ValidateResponse,
};
use obp_proto::service_connect::{AccountName, ConnectBrokerConfig, Device, Pin};
use obp_proto::ticket::KeyRing;
use obp_proto::{Message, Status};
use tokio::net::{TcpListener, UdpSocket};
use watchfire_core::UnixTime;

const ACCOUNT: &str = "alice@localhost";
const PIN: &str = "9270-1184-6639-2071-5518";

/// Knows one host. `obp-broker` knows the DNS.
struct OneHost;

impl Knowledge for OneHost {
    async fn find(&self, client: Arc<Identity>, question: Message) -> Arc<Message> {
        println!("broker: {} asks {}", client.account(), question.name());
        Arc::new(match question {
            Message::QueryConnectRequest(_) => {
                let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
                let mut response = QueryConnectResponse::new(Status::SUCCESS);
                response.connection = [Connection::new(address, Port::HTTPS).with_transport(Transport::Tls)].into();
                response.into()
            }
            _ => ValidateResponse::new(Status::NOT_IMPLEMENTED).into(),
        })
    }
}

/// One account, whose PIN serves once.
struct Alice(Mutex<Option<&'static str>>);

impl Accounts for Alice {
    fn pin(&self, account: &str, domain: Option<&Name>, _device: &Device) -> Option<Pin> {
        let name = format!("{account}@{}", domain?);
        self.0.lock().ok()?.filter(|_| name == ACCOUNT).and_then(|pin| pin.parse().ok())
    }

    fn take_pin(&self, _account: &str, proven: &Pin) -> bool {
        let is_it = |pin: &mut &str| pin.parse().as_ref() == Ok(proven);
        self.0.lock().is_ok_and(|mut pin| pin.take_if(is_it).is_some())
    }

    fn bind(&self, _services: &[String]) -> Admission {
        Admission::Refuse
    }

    fn may_refresh(&self, account: &str, _binding: &[u8; 16]) -> bool {
        account == ACCOUNT
    }

    fn ended(&self, _account: &str, _binding: [u8; 16], _until: UnixTime) -> bool {
        // The server forgets it when it ends, and so does this example.
        true
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let (http, udp) = (listener.local_addr()?, socket.local_addr()?);

    // What a binding says about how the broker is reached: datagrams first.
    let instance = |transport, port: u16, priority| -> Result<InstanceConnection, Box<dyn Error>> {
        let mut instance = InstanceConnection::default();
        instance.service = Some("omni-query".into());
        instance.name = Some("localhost".parse()?);
        instance.address = Some(http.ip());
        instance.port = Some(Port::try_from(port)?);
        instance.priority = Some(priority);
        instance.transport = Some(transport);
        Ok(instance)
    };
    let instances =
        vec![instance(InstanceTransport::Udp, udp.port(), 10)?, instance(InstanceTransport::Http, http.port(), 20)?];
    let crypto = Arc::new(RustCrypto);
    let keys = KeyRing::new(crypto.clone(), 1, &[7; 32])?; // from the system's randomness, in earnest
    let server = Server::builder(BrokerConfig::builder(crypto.clone(), keys).build()?, OneHost)
        .with_service_connect(ConnectBrokerConfig::builder(crypto, instances).build()?, Alice(Mutex::new(Some(PIN))))
        .start()?;
    server.serve_http(listener, None)?; // in the clear on the loopback only; elsewhere with a TLS configuration
    server.serve_udp(socket);

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let tls = Arc::new(tls.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth());
    let account: AccountName = ACCOUNT.parse()?;
    let url = format!("http://localhost:{}", http.port()).parse()?;
    let binding = bind(&url, Some((&account, PIN.parse()?)), &BindOptions::new(Arc::clone(&tls))).await?;
    println!("device: bound to {} ways of reaching the broker", binding.service.len());

    let client = Client::builder(binding).with_tls(tls).start().await?;
    let identifier = Identifier::new("www.example.com".parse()?).with_service("_https._tcp".parse()?);
    let answer = client.connect(QueryConnectRequest::new(identifier)).await?;
    for connection in &answer.connection {
        let (Some(address), Some(port)) = (connection.ip_address, connection.ip_port) else { continue };
        println!("device: connect to {address} port {port} by {}", connection.transport());
    }
    server.shutdown(Duration::from_secs(5)).await;
    if answer.connection.len() == 1 { Ok(()) } else { Err("another answer".into()) }
}
