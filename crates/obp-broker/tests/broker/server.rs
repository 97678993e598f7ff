//! The authoritative server: real sockets on port 0, signed zones, and names that fail or stay silent.
//!
//! hickory's in-memory zones sign and chain the records; the answers are put together here, because its own leave out
//! denials that RFC 4035 section 3.1.3 and RFC 5155 section 7.2 ask for (of the wildcard, and of names deep below).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_net::runtime::TokioRuntimeProvider;
use hickory_proto::dnssec::crypto::EcdsaSigningKey;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS};
use hickory_proto::dnssec::{Algorithm, DigestType, DnssecSigner, SigningKey as _};
use hickory_proto::op::{Edns, Message, MessageType, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::txt::Parser;
use hickory_server::dnssec::NxProofKind;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, ZoneType};
use obp_broker::connect::{Broker, BrokerConfig};
use obp_broker::policy::{Policy, PolicyStore, ResponsePolicyZone, RuleSet};
use obp_broker::proof::Anchors;
use obp_broker::sources::{DnsConfig, DnsSource, Resolver, ResolverConfig, Validation};
use obp_broker::validate::{CrlStore, Roots, Validator, ValidatorConfig};
use obp_broker::{Clock, SystemClock};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A server, for as long as this lives.
pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    pub(crate) anchors: Anchors,
    pub(crate) asked: Arc<AtomicUsize>,
    /// How long resolvers wait. Long: what is answered is answered at once, but on a machine that has other things to do.
    pub(crate) patience: Duration,
    tasks: tokio::task::JoinSet<()>,
}

/// A zone's signed records, signatures beside them.
struct Zone {
    origin: Name,
    sets: BTreeMap<(Name, RecordType), Vec<Record>>,
}

fn zone_text(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/obp/zones").join(file);
    std::fs::read_to_string(path).unwrap()
}

pub(crate) fn name(text: &str) -> Name {
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
    pub(crate) async fn start() -> Self {
        Self::with(&[], false).await
    }

    /// With more records in `test.`, and NSEC3 instead of NSEC if wanted.
    pub(crate) async fn with(extra: &[Record], nsec3: bool) -> Self {
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
            let mut sets: BTreeMap<(Name, RecordType), Vec<Record>> = BTreeMap::new();
            for set in handler.records_get_mut().values() {
                let owner = (set.name().clone(), set.record_type());
                sets.entry(owner).or_default().extend(set.records(true).cloned());
            }
            zones.push(Zone { origin, sets });
        }
        // The longest name first.
        zones.sort_by_key(|zone| std::cmp::Reverse(zone.origin.num_labels()));
        let zones = Arc::new(zones);
        // The same port for both; on an address of its own, since what is free for UDP may be taken for TCP.
        let udp = tokio::net::UdpSocket::bind((watchfire_testkit::own_loopback(), 0)).await.unwrap();
        let address = udp.local_addr().unwrap();
        let tcp = tokio::net::TcpListener::bind(address).await.unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let mut tasks = tokio::task::JoinSet::new();
        let (served, count) = (Arc::clone(&zones), Arc::clone(&asked));
        tasks.spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
                count.fetch_add(1, Ordering::SeqCst);
                let request = Message::from_vec(&buffer[..length]).unwrap();
                let limit = request.edns.as_ref().map_or(512, Edns::max_payload);
                let Some(mut response) = answer(&served, &request) else { continue };
                let mut octets = response.to_vec().unwrap();
                if octets.len() > limit.into() {
                    response.answers.clear();
                    response.authorities.clear();
                    response.metadata.truncation = true;
                    octets = response.to_vec().unwrap();
                }
                udp.send_to(&octets, from).await.unwrap();
            }
        });
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let zones = Arc::clone(&zones);
                tokio::spawn(async move {
                    while let Ok(length) = stream.read_u16().await {
                        let mut octets = vec![0; length.into()];
                        stream.read_exact(&mut octets).await.unwrap();
                        let Some(response) = answer(&zones, &Message::from_vec(&octets).unwrap()) else { continue };
                        let octets = response.to_vec().unwrap();
                        stream.write_u16(octets.len().try_into().unwrap()).await.unwrap();
                        stream.write_all(&octets).await.unwrap();
                    }
                });
            }
        });
        let root: String = {
            use hickory_proto::dnssec::PublicKey as _;
            let key = keys[""].dnskey.public_key();
            format!(". 3600 IN DNSKEY 257 3 13 {}\n", base64(key.public_bytes()))
        };
        Self { address, anchors: Anchors::parse(&root).unwrap(), asked, patience: Duration::from_secs(20), tasks }
    }

    pub(crate) fn config(&self) -> DnsConfig {
        let mut config = DnsConfig::new(vec![self.address]).with_anchors(self.anchors.clone());
        config.attempt = self.patience;
        config.retries = 0;
        config.deadline = self.patience;
        config
    }

    pub(crate) fn resolver(&self) -> Resolver {
        self.resolver_with(Validation::Strict)
    }

    pub(crate) fn resolver_with(&self, validation: Validation) -> Resolver {
        let source = DnsSource::new(&self.config().with_validation(validation)).unwrap();
        Resolver::new(Arc::new(source), Arc::new(SystemClock::start()), ResolverConfig::default())
    }

    pub(crate) fn broker(&self, policy: &str, zones: &[&str]) -> Broker {
        self.broker_with(policy, zones, Roots::none(), ValidatorConfig::default(), Arc::new(CrlStore::new()))
    }

    pub(crate) fn broker_with(
        &self,
        policy: &str,
        zones: &[&str],
        roots: Roots,
        config: ValidatorConfig,
        crls: Arc<CrlStore>,
    ) -> Broker {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let zones = zones.iter().map(|text| ResponsePolicyZone::parse(text, "zone").unwrap()).collect();
        let policy = Policy::new(RuleSet::parse(policy, "policy").unwrap(), zones);
        let mut broker = BrokerConfig::default();
        broker.seed = Some(1);
        broker.anchors = self.anchors.clone();
        let validator = Validator::new(roots, crls, clock, config);
        Broker::new(self.resolver(), Arc::new(PolicyStore::of(policy)), validator, broker)
    }

    pub(crate) fn questions(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

pub(crate) fn base64(octets: &[u8]) -> String {
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

impl Drop for Dns {
    fn drop(&mut self) {
        self.tasks.abort_all();
    }
}

/// `None`: silence.
fn answer(zones: &[Zone], request: &Message) -> Option<Message> {
    let query = request.queries[0].clone();
    let asked = query.name().to_lowercase();
    if name("silent").zone_of(&asked) {
        return None;
    }
    let mut response = Message::response(request.id, request.op_code);
    response.metadata.message_type = MessageType::Response;
    response.metadata.authoritative = true;
    response.metadata.recursion_desired = request.recursion_desired;
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true);
    response.edns = Some(edns);
    if name("servfail").zone_of(&asked) {
        response.metadata.response_code = ResponseCode::ServFail;
    } else {
        // Digests lie with the parent.
        let above = query.query_type() == RecordType::DS;
        let zone = zones
            .iter()
            .find(|zone| zone.origin.zone_of(&asked) && !(above && zone.origin == asked && !asked.is_root()));
        zone.unwrap().answer(&asked, query.query_type(), &mut response);
    }
    response.add_query(query);
    Some(response)
}

impl Zone {
    fn answer(&self, asked: &Name, kind: RecordType, response: &mut Message) {
        let exists =
            |owner: &Name| self.sets.keys().any(|(known, _)| owner.zone_of(known) && !is_hashed(&self.sets, known));
        let encloser = (0..=asked.num_labels()).rev().map(|labels| asked.trim_to(labels.into())).find(exists).unwrap();
        let wildcard = encloser.prepend_label("*").unwrap();
        let owner = if encloser == *asked { asked } else { &wildcard };
        let found = [kind, RecordType::CNAME].iter().find_map(|kind| self.sets.get(&(owner.clone(), *kind)));
        if let Some(records) = found {
            for record in records {
                let mut record = record.clone();
                record.name = asked.clone();
                response.add_answer(record);
            }
            if owner != asked {
                self.deny(&next_closer(asked, &encloser), asked, response);
            }
            return;
        }
        let soa = self.sets[&(self.origin.clone(), RecordType::SOA)].iter().cloned();
        response.add_authorities(soa);
        if encloser == *asked {
            self.match_or_deny(asked, response);
        } else if self.sets.keys().any(|(known, _)| *known == wildcard) {
            self.match_or_deny(&wildcard, response);
            self.match_or_deny(&encloser, response);
            self.deny(&next_closer(asked, &encloser), asked, response);
        } else {
            response.metadata.response_code = ResponseCode::NXDomain;
            self.match_or_deny(&encloser, response);
            self.deny(&next_closer(asked, &encloser), asked, response);
            self.deny(&wildcard, &wildcard, response);
        }
    }

    /// The denial at this very name, or for an empty non-terminal under NSEC the one around it.
    fn match_or_deny(&self, owner: &Name, response: &mut Message) {
        self.deny(owner, owner, response);
    }

    /// What covers (or is at) the name: `closer` under NSEC3, `whole` under NSEC.
    fn deny(&self, closer: &Name, whole: &Name, response: &mut Message) {
        for ((owner, kind), records) in &self.sets {
            let fits = records.iter().any(|record| match &record.data {
                RData::DNSSEC(DNSSECRData::NSEC(nsec)) => {
                    owner == whole || between(owner, whole, nsec.next_domain_name())
                }
                RData::DNSSEC(DNSSECRData::NSEC3(nsec3)) => {
                    let hash = nsec3.hash_algorithm().hash(nsec3.salt(), closer, nsec3.iterations()).unwrap();
                    let own = base32hex(&owner.iter().next().unwrap().to_ascii_lowercase());
                    own == hash.as_ref() || between(&own.as_slice(), &hash.as_ref(), &nsec3.next_hashed_owner_name())
                }
                _ => false,
            });
            if fits
                && matches!(kind, RecordType::NSEC | RecordType::NSEC3)
                && !response.authorities.iter().any(|known| known.name == *owner && known.record_type() == *kind)
            {
                response.add_authorities(records.iter().cloned());
            }
        }
    }
}

/// Names that are hashes are no names of the zone.
fn is_hashed(sets: &BTreeMap<(Name, RecordType), Vec<Record>>, owner: &Name) -> bool {
    sets.contains_key(&(owner.clone(), RecordType::NSEC3))
}

fn next_closer(asked: &Name, encloser: &Name) -> Name {
    asked.trim_to(usize::from(encloser.num_labels()) + 1)
}

fn between<T: Ord + ?Sized>(from: &T, what: &T, to: &T) -> bool {
    if from < to { from < what && what < to } else { from < what || what < to }
}

fn base32hex(label: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut bits, mut count) = (0_u64, 0);
    for octet in label {
        let value = if octet.is_ascii_digit() { octet - b'0' } else { octet - b'a' + 10 };
        bits = bits << 5 | u64::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}
