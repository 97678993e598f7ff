//! hickory-server with one name, over UDP and over HTTPS, for `dnsperf` and `h2load` to ask: the peer of a broker.
//!
//! `cargo bench -p watchfire-benches --bench obp_hickory -- CERTIFICATE KEY`
//!
//! Prints where it listens, and serves until it is killed.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

use std::sync::Arc;
use std::time::Duration;

use hickory_net::runtime::TokioRuntimeProvider;
use hickory_proto::rr::Name;
use hickory_proto::serialize::txt::Parser;
use hickory_server::Server;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

const ZONE: &str =
    "$TTL 300\n@ IN SOA ns hostmaster 1 3600 600 86400 60\n@ IN NS ns\nns IN A 127.0.0.1\nwww IN A 192.0.2.1\n";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [certificate, key] = &words[..] else {
        // `cargo test` and `cargo bench` without arguments come here as well.
        println!("say: CERTIFICATE KEY");
        return;
    };
    let chain = CertificateDer::pem_file_iter(certificate).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let provider = Arc::new(ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap())
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let origin: Name = "example.com.".parse().unwrap();
        let (_, records) = Parser::new(ZONE, None, Some(origin.clone())).parse().unwrap();
        let zone: InMemoryZoneHandler<TokioRuntimeProvider> =
            InMemoryZoneHandler::new(origin.clone(), records, ZoneType::Primary, AxfrPolicy::Deny, None).unwrap();
        let mut catalog = Catalog::new();
        catalog.upsert(origin.into(), vec![Arc::new(zone)]);
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (udp, https) = (socket.local_addr().unwrap().port(), listener.local_addr().unwrap().port());
        println!("{{\"event\":\"listening\",\"udp\":{udp},\"https\":{https}}}");
        let mut server = Server::new(catalog);
        server.register_socket(socket);
        server
            .register_https_listener_with_tls_config(
                listener,
                Duration::from_secs(10),
                Arc::new(tls),
                None,
                "/dns-query".to_owned(),
            )
            .unwrap();
        std::future::pending::<()>().await;
    });
}
