//! A name server for the tour: one zone that is signed, so that something can be proven, and one that is not.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_proto::dnssec::crypto::EcdsaSigningKey;
use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::dnssec::{Algorithm, DnssecSigner, PublicKey as _, SigningKey as _};
use hickory_proto::rr::Name;
use hickory_proto::serialize::txt::Parser;
use hickory_server::Server;
use hickory_server::dnssec::NxProofKind;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use tokio::net::UdpSocket;

use crate::exit::Failure;

const SIGNED: &str = "\
$TTL 300
@ IN SOA ns.signed.test. hostmaster.signed.test. 1 3600 600 86400 60
@ IN NS ns.signed.test.
ns IN A 127.0.0.1
www IN A 192.0.2.1
www IN AAAA 2001:db8::1
_xmpp-client._tcp IN SRV 10 0 5222 www.signed.test.
";

const PLAIN: &str = "\
$TTL 300
@ IN SOA ns.plain.test. hostmaster.plain.test. 1 3600 600 86400 60
@ IN NS ns.plain.test.
ns IN A 127.0.0.1
www IN A 192.0.2.2
www IN HTTPS 1 . alpn=\"h2,h3\"
";

type Zone = InMemoryZoneHandler<TokioRuntimeProvider>;

/// Answers until it is dropped.
pub(super) struct Laboratory {
    _server: Server<Catalog>,
    pub(super) address: SocketAddr,
}

impl Laboratory {
    /// Starts it, and writes the key of the signed zone to a file, as `--trust-anchor` wants it.
    pub(super) async fn start(anchor: &Path) -> Result<Self, Failure> {
        let wrong = |error: &dyn std::fmt::Display| Failure::usage(format!("the name server of the tour: {error}"));
        let mut catalog = Catalog::new();
        let mut signed = zone("signed.test.", SIGNED, Some(NxProofKind::Nsec))?;
        let pkcs8 = EcdsaSigningKey::generate_pkcs8(Algorithm::ECDSAP256SHA256).map_err(|error| wrong(&error))?;
        let key = EcdsaSigningKey::from_pkcs8(&pkcs8, Algorithm::ECDSAP256SHA256).map_err(|error| wrong(&error))?;
        let public = key.to_public_key().map_err(|error| wrong(&error))?;
        let (name, octets) = (origin("signed.test.")?, public.public_bytes().to_vec());
        let day = Duration::from_secs(86_400);
        let signer = DnssecSigner::new(DNSKEY::from_key(&public), Box::new(key), name.clone(), day);
        signed.add_zone_signing_key_mut(signer).map_err(|error| wrong(&error))?;
        signed.secure_zone_mut().map_err(|error| wrong(&error))?;
        catalog.upsert(name.into(), vec![Arc::new(signed)]);
        catalog.upsert(origin("plain.test.")?.into(), vec![Arc::new(zone("plain.test.", PLAIN, None)?)]);

        let text = base64::engine::general_purpose::STANDARD.encode(octets);
        let line = format!("signed.test. 300 IN DNSKEY 257 3 13 {text}\n");
        std::fs::write(anchor, line).map_err(|error| crate::exit::file_failure("write the anchor", anchor, &error))?;

        let socket = UdpSocket::bind("127.0.0.1:0").await.map_err(|error| wrong(&error))?;
        let address = socket.local_addr().map_err(|error| wrong(&error))?;
        let mut server = Server::new(catalog);
        server.register_socket(socket);
        Ok(Self { _server: server, address })
    }
}

fn origin(name: &str) -> Result<Name, Failure> {
    name.parse().map_err(|error| Failure::usage(format!("{name}: {error}")))
}

fn zone(name: &str, text: &str, proof: Option<NxProofKind>) -> Result<Zone, Failure> {
    let name = origin(name)?;
    let parsed = Parser::new(text, None, Some(name.clone())).parse();
    let (_, records) = parsed.map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    Zone::new(name.clone(), records, ZoneType::Primary, AxfrPolicy::Deny, proof)
        .map_err(|error| Failure::usage(format!("{name}: {error}")))
}
