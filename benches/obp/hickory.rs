//! hickory-server with one name, for `dnsperf` to ask: the peer of the broker's datagrams. Prints where it listens,
//! and serves until standard input ends.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

use std::sync::Arc;

use hickory_net::runtime::TokioRuntimeProvider;
use hickory_proto::rr::Name;
use hickory_proto::serialize::txt::Parser;
use hickory_server::Server;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use tokio::io::AsyncReadExt as _;

const ZONE: &str =
    "$TTL 300\n@ IN SOA ns hostmaster 1 3600 600 86400 60\n@ IN NS ns\nns IN A 127.0.0.1\nwww IN A 10.3.2.1\n";

fn main() {
    if std::env::args().nth(1).as_deref() != Some("serve") {
        println!("say: serve");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let origin: Name = "example.com.".parse().unwrap();
        let (_, records) = Parser::new(ZONE, None, Some(origin.clone())).parse().unwrap();
        let zone: InMemoryZoneHandler<TokioRuntimeProvider> =
            InMemoryZoneHandler::new(origin.clone(), records, ZoneType::Primary, AxfrPolicy::Deny, None).unwrap();
        let mut catalog = Catalog::new();
        catalog.upsert(origin.into(), vec![Arc::new(zone)]);
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        println!("{}", socket.local_addr().unwrap().port());
        let mut server = Server::new(catalog);
        server.register_socket(socket);
        let mut rest = Vec::new();
        let _ = tokio::io::stdin().read_to_end(&mut rest).await;
    });
}
