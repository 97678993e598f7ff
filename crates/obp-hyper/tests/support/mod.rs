//! A broker on the loopback that knows two names, and a device of its only account.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use obp_hyper::client::{BindError, BindOptions, BrokerUrl, bind};
use obp_hyper::server::{Accounts, Admission, Knowledge, Server, ServerLimits};
use obp_proto::broker::{BrokerConfig, Identity};
use obp_proto::crypto::RustCrypto;
use obp_proto::message::{
    Connection, InstanceConnection, InstanceTransport, Name, Port, QueryConnectResponse, Transport, ValidateResponse,
};
use obp_proto::service_connect::{AccountName, Binding, ConnectBrokerConfig, Device, Pin};
use obp_proto::ticket::KeyRing;
use obp_proto::{Message, Status};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Notify;
use watchfire_core::UnixTime;

pub(crate) const PIN: &str = "1234-5678";
pub(crate) const ACCOUNT: &str = "alice@localhost";

/// For what has to come; machines are slow at times.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// `www.example.com` is at 192.0.2.1; `slow.example.com` takes as long as one likes; `local.example.com` is at a port
/// of this host; anything else does not exist.
pub(crate) struct Known {
    pub(crate) local: Mutex<Vec<SocketAddr>>,
    pub(crate) slow: Duration,
    pub(crate) asked: AtomicUsize,
    pub(crate) at_hand: bool,
}

impl Known {
    fn answer(&self, question: &Message) -> Message {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let Message::QueryConnectRequest(request) = question else {
            return ValidateResponse::new(Status::SUCCESS).into();
        };
        let name = request.identifier.as_ref().map(|identifier| identifier.name.to_canonical()).unwrap_or_default();
        match name.as_str() {
            "www.example.com" | "slow.example.com" => {
                let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
                let mut response = QueryConnectResponse::new(Status::SUCCESS);
                response.connection = vec![Connection::new(address, Port::HTTPS).with_transport(Transport::Tls)].into();
                response.into()
            }
            "local.example.com" => {
                let local = self.local.lock().unwrap();
                let at = |address: &SocketAddr| Connection::new(address.ip(), Port::try_from(address.port()).unwrap());
                // One connection an answer, so that the next has to be asked for.
                let index = request.index.unwrap_or(1).max(1);
                let mut response = QueryConnectResponse::new(Status::SUCCESS);
                response.connection = vec![at(&local[usize::try_from(index).unwrap() - 1])].into();
                response.index = Some(index);
                response.count = Some(u32::try_from(local.len()).unwrap());
                response.into()
            }
            _ => QueryConnectResponse::new(Status::NON_EXISTENT_DOMAIN).into(),
        }
    }
}

impl Knowledge for Known {
    fn at_hand(&self, _client: &Arc<Identity>, question: &Message) -> Option<Arc<Message>> {
        self.at_hand.then(|| Arc::new(self.answer(question)))
    }

    async fn find(&self, client: Arc<Identity>, question: Message) -> Arc<Message> {
        assert_eq!(client.account(), ACCOUNT);
        if format!("{question:?}").contains("slow") {
            tokio::time::sleep(self.slow).await;
        }
        Arc::new(self.answer(&question))
    }
}

/// Where those wait who ask the accounts, until it is opened.
#[derive(Default)]
pub(crate) struct Door {
    /// Somebody has come.
    pub(crate) come: Notify,
    /// How many have come.
    pub(crate) count: AtomicUsize,
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Door {
    pub(crate) fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn pass(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.come.notify_one();
        let is_open = self.is_open.lock().unwrap();
        let waited = self.opened.wait_timeout_while(is_open, PATIENCE, |is_open| !*is_open);
        assert!(*waited.unwrap().0, "the door was not opened");
    }
}

/// One account with one PIN.
pub(crate) struct Alice {
    pin: Mutex<Option<&'static str>>,
    door: Option<Arc<Door>>,
    /// So many ends cannot be written down.
    forgotten: usize,
    pub(crate) ended: Arc<AtomicUsize>,
}

impl Accounts for Alice {
    fn pin(&self, account: &str, domain: Option<&Name>, _device: &Device) -> Option<Pin> {
        if let Some(door) = &self.door {
            door.pass();
        }
        let name = format!("{account}@{}", domain?);
        (*self.pin.lock().unwrap()).filter(|_| name == ACCOUNT).map(|pin| pin.parse().unwrap())
    }

    fn take_pin(&self, account: &str, proven: &Pin) -> bool {
        assert_eq!(account, ACCOUNT);
        self.pin.lock().unwrap().take_if(|pin| pin.parse().as_ref() == Ok(proven)).is_some()
    }

    fn bind(&self, _services: &[String]) -> Admission {
        Admission::Refuse
    }

    fn may_refresh(&self, account: &str, _binding: &[u8; 16]) -> bool {
        account == ACCOUNT
    }

    fn ended(&self, _account: &str, _binding: [u8; 16], _until: UnixTime) -> bool {
        self.ended.fetch_add(1, Ordering::Relaxed) >= self.forgotten
    }
}

pub(crate) struct Site {
    pub(crate) server: Server<Known>,
    pub(crate) url: BrokerUrl,
    pub(crate) http: SocketAddr,
    pub(crate) udp: SocketAddr,
    pub(crate) tls: Arc<rustls::ClientConfig>,
    pub(crate) ended: Arc<AtomicUsize>,
}

pub(crate) struct Setup {
    pub(crate) tls: bool,
    /// Whether bindings name the socket for datagrams, another one that nobody reads, or none.
    pub(crate) udp: Udp,
    pub(crate) slow: Duration,
    pub(crate) at_hand: bool,
    pub(crate) limits: ServerLimits,
    /// Accounts are asked for PINs behind this door.
    pub(crate) door: Option<Arc<Door>>,
    /// When the broker says that it took too long; none is its default.
    pub(crate) late: Option<Duration>,
    /// The accounts cannot write down so many ends of bindings.
    pub(crate) forgotten: usize,
}

#[derive(PartialEq)]
pub(crate) enum Udp {
    Yes,
    Silent,
    No,
}

impl Default for Setup {
    fn default() -> Self {
        let limits = ServerLimits::default();
        Self {
            tls: true,
            udp: Udp::Yes,
            slow: Duration::ZERO,
            at_hand: false,
            limits,
            door: None,
            late: None,
            forgotten: 0,
        }
    }
}

impl Site {
    pub(crate) async fn start(setup: Setup) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (http, udp) = (listener.local_addr().unwrap(), socket.local_addr().unwrap());
        let (server_tls, tls) = certificates();
        let instance = |transport, port: u16, priority| {
            let mut instance = InstanceConnection::default();
            instance.service = Some("omni-query".into());
            instance.name = Some("localhost".parse().unwrap());
            instance.address = Some(http.ip());
            instance.port = Some(Port::try_from(port).unwrap());
            instance.priority = Some(priority);
            instance.transport = Some(transport);
            instance
        };
        let mut instances = vec![instance(InstanceTransport::Http, http.port(), 20)];
        match setup.udp {
            Udp::Yes => instances.push(instance(InstanceTransport::Udp, udp.port(), 10)),
            Udp::Silent => instances.push(instance(InstanceTransport::Udp, 9, 10)),
            Udp::No => {}
        }
        let provider = Arc::new(RustCrypto);
        let keys = KeyRing::new(provider.clone(), 1, &[7; 32]).unwrap();
        let ended = Arc::new(AtomicUsize::new(0));
        let alice = Alice {
            pin: Mutex::new(Some(PIN)),
            door: setup.door,
            forgotten: setup.forgotten,
            ended: Arc::clone(&ended),
        };
        let known =
            Known { local: Mutex::default(), slow: setup.slow, asked: AtomicUsize::new(0), at_hand: setup.at_hand };
        let mut config = BrokerConfig::builder(provider.clone(), keys);
        if let Some(late) = setup.late {
            config = config.with_application_timeout(late);
        }
        let server = Server::builder(config.build().unwrap(), known)
            .with_service_connect(ConnectBrokerConfig::builder(provider, instances).build().unwrap(), alice)
            .with_limits(setup.limits)
            .start()
            .unwrap();
        server.serve_http(listener, setup.tls.then_some(server_tls)).unwrap();
        server.serve_udp(socket);
        let scheme = if setup.tls { "https" } else { "http" };
        let url = format!("{scheme}://localhost:{}", http.port()).parse().unwrap();
        Self { server, url, http, udp, tls, ended }
    }

    pub(crate) async fn bind(&self, pin: &str) -> Result<Binding, BindError> {
        let account: AccountName = ACCOUNT.parse().unwrap();
        bind(&self.url, Some((&account, pin.parse().unwrap())), &BindOptions::new(Arc::clone(&self.tls))).await
    }
}

fn certificates() -> (Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let der = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
    let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut server = server.with_single_cert(vec![der.clone()], key).unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut roots = rustls::RootCertStore::empty();
    roots.add(der).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    (Arc::new(server), Arc::new(client.with_root_certificates(roots).with_no_client_auth()))
}
