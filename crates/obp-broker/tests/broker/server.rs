//! The authoritative server: real sockets on port 0, signed zones, and names that fail or stay silent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::dnssec::crypto::EcdsaSigningKey;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS};
use hickory_proto::dnssec::{Algorithm, DigestType, DnssecSigner, SigningKey as _};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};
use hickory_proto::serialize::txt::Parser;
use hickory_net::runtime::{Time, TokioRuntimeProvider};
use hickory_server::Server;
use hickory_server::dnssec::NxProofKind;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, MessageResponseBuilder, ZoneHandler, ZoneType};
use obp_broker::connect::{Broker, BrokerConfig};
use obp_broker::policy::{Policy, PolicyStore, ResponsePolicyZone, RuleSet};
use obp_broker::proof::Anchors;
use obp_broker::sources::{DnsConfig, DnsSource, Resolver, ResolverConfig, Validation};
use obp_broker::validate::{CrlStore, Roots, Validator, ValidatorConfig};
use obp_broker::{Clock, SystemClock};

/// A server, for as long as this lives.
pub struct Dns {
    pub address: SocketAddr,
    pub anchors: Anchors,
    pub asked: Arc<AtomicUsize>,
    _server: Server<Handler>,
}

struct Handler {
    zones: Vec<(LowerName, Catalog)>,
    asked: Arc<AtomicUsize>,
}

fn zone_text(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/obp/zones").join(file);
    std::fs::read_to_string(path).unwrap()
}

pub fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).unwrap();
    name.set_fqdn(true);
    name
}

struct Key {
    pkcs8: Vec<u8>,
    dnskey: DNSKEY,
}

impl Key {
    fn generate() -> Self {
        let pkcs8 = EcdsaSigningKey::generate_pkcs8(Algorithm::ECDSAP256SHA256).unwrap();
        let key = EcdsaSigningKey::from_pkcs8(&pkcs8, Algorithm::ECDSAP256SHA256).unwrap();
        let dnskey = DNSKEY::from_key(&key.to_public_key().unwrap());
        Self { pkcs8: pkcs8.secret_pkcs8_der().to_vec(), dnskey }
    }

    fn signer(&self, zone: &Name, life: Duration) -> DnssecSigner {
        let key = EcdsaSigningKey::from_pkcs8(&self.pkcs8.as_slice().into(), Algorithm::ECDSAP256SHA256).unwrap();
        DnssecSigner::new(self.dnskey.clone(), Box::new(key), zone.clone(), life)
    }

    fn ds(&self, zone: &Name) -> DS {
        let tag = self.dnskey.calculate_key_tag().unwrap();
        let digest = self.dnskey.to_digest(zone, DigestType::SHA256).unwrap();
        DS::new(tag, Algorithm::ECDSAP256SHA256, DigestType::SHA256, digest.as_ref().to_vec())
    }
}

impl Dns {
    pub async fn start() -> Self {
        Self::with(&[], false).await
    }

    /// With more records in `test.`, and NSEC3 instead of NSEC if wanted.
    pub async fn with(extra: &[Record], nsec3: bool) -> Self {
        let keys: BTreeMap<&str, Key> = ["", "test", "sub.test"].map(|zone| (zone, Key::generate())).into();
        let ds = |zone: &str| {
            let owner = name(zone);
            let ds = keys[zone].ds(&owner);
            Record::from_rdata(owner, 3600, RData::DNSSEC(DNSSECRData::DS(ds)))
        };
        let mut test = vec![ds("sub.test")];
        test.extend(extra.iter().cloned());
        let parts: [(&str, &str, Vec<Record>); 4] = [
            ("", "root.zone", vec![ds("test")]),
            ("test", "test.zone", test),
            ("sub.test", "sub.test.zone", vec![]),
            ("insecure", "insecure.zone", vec![]),
        ];
        let mut zones = Vec::new();
        for (zone, file, more) in parts {
            let origin = if zone.is_empty() { Name::root() } else { name(zone) };
            let (_, records) = Parser::new(zone_text(file), None, Some(origin.clone())).parse().unwrap();
            let kind = if nsec3 {
                NxProofKind::Nsec3 {
                    algorithm: Default::default(),
                    salt: Arc::from(&b"\xab\xcd"[..]),
                    iterations: 0,
                    opt_out: false,
                }
            } else {
                NxProofKind::Nsec
            };
            let mut handler: InMemoryZoneHandler<TokioRuntimeProvider> = InMemoryZoneHandler::new(
                origin.clone(),
                records,
                ZoneType::Primary,
                AxfrPolicy::Deny,
                keys.contains_key(zone).then_some(kind),
            )
            .unwrap();
            for record in more {
                assert!(handler.upsert_mut(record, 1));
            }
            if let Some(key) = keys.get(zone) {
                handler.add_zone_signing_key_mut(key.signer(&origin, Duration::from_secs(86_400))).unwrap();
                handler.secure_zone_mut().unwrap();
            }
            let mut catalog = Catalog::new();
            let handler: Arc<dyn ZoneHandler> = Arc::new(handler);
            catalog.upsert((&origin).into(), vec![handler]);
            zones.push((LowerName::from(&origin), catalog));
        }
        // The longest name first.
        zones.sort_by_key(|(zone, _)| std::cmp::Reverse(zone.num_labels()));
        let udp = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = udp.local_addr().unwrap();
        let tcp = tokio::net::TcpListener::bind(address).await.unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let mut server = Server::new(Handler { zones, asked: Arc::clone(&asked) });
        server.register_socket(udp);
        server.register_listener(tcp, Duration::from_secs(5), 65_535);
        let root: String = {
            use hickory_proto::dnssec::PublicKey as _;
            let key = keys[""].dnskey.public_key();
            format!(". 3600 IN DNSKEY 257 3 13 {}\n", base64(key.public_bytes()))
        };
        Self { address, anchors: Anchors::parse(&root).unwrap(), asked, _server: server }
    }

    pub fn config(&self) -> DnsConfig {
        let mut config = DnsConfig::new(vec![self.address]).with_anchors(self.anchors.clone());
        config.attempt = Duration::from_millis(300);
        config.retries = 0;
        config.deadline = Duration::from_secs(3);
        config
    }

    pub fn resolver(&self) -> Resolver {
        self.resolver_with(Validation::Strict)
    }

    pub fn resolver_with(&self, validation: Validation) -> Resolver {
        let source = DnsSource::new(&self.config().with_validation(validation)).unwrap();
        Resolver::new(Arc::new(source), Arc::new(SystemClock::start()), ResolverConfig::default())
    }

    pub fn broker(&self, policy: &str, zones: &[&str]) -> Broker {
        self.broker_with(policy, zones, Roots::none(), ValidatorConfig::default(), Arc::new(CrlStore::new()))
    }

    pub fn broker_with(&self, policy: &str, zones: &[&str], roots: Roots, config: ValidatorConfig, crls: Arc<CrlStore>) -> Broker {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let zones = zones.iter().map(|text| ResponsePolicyZone::parse(text, "zone").unwrap()).collect();
        let policy = Policy::new(RuleSet::parse(policy, "policy").unwrap(), zones);
        let mut broker = BrokerConfig::default();
        broker.seed = Some(1);
        broker.anchors = self.anchors.clone();
        let validator = Validator::new(roots, crls, clock, config);
        Broker::new(self.resolver(), Arc::new(PolicyStore::of(policy)), validator, broker)
    }

    pub fn questions(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in octets.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |sum, octet| sum << 8 | u32::from(*octet)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63] as char;
            out.push(if place <= chunk.len() { digit } else { '=' });
        }
    }
    out
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut response: R) -> ResponseInfo {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let query = request.request_info().unwrap().query;
        let asked = query.name().clone();
        if LowerName::from(name("silent")).zone_of(&asked) {
            std::future::pending::<()>().await;
        }
        if LowerName::from(name("servfail")).zone_of(&asked) {
            let answer = MessageResponseBuilder::from_message_request(request).error_msg(&request.metadata, ResponseCode::ServFail);
            return response.send_response(answer).await.unwrap();
        }
        // Digests lie with the parent.
        let above = query.query_type() == RecordType::DS;
        let (_, catalog) =
            self.zones.iter().find(|(zone, _)| zone.zone_of(&asked) && !(above && *zone == asked && !zone.is_root())).unwrap();
        catalog.handle_request::<R, T>(request, response).await
    }
}

