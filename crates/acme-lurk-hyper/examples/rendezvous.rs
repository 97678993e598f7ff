//! A relay on the loopback: one puts octets there, sealed so that the relay cannot read them, another gets them.
//!
//! `cargo run -p acme-lurk-hyper --example rendezvous`

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use acme_lurk_hyper::acme_lurk::rendezvous::RelayUrl;
use acme_lurk_hyper::relay::{RelayClient, RelayClientConfig, RelayServer};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = RelayServer::builder().start();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = server.serve(listener, None)?; // with a TLS configuration it is https
    let relay = RelayUrl::parse(&format!("http://{address}/"), 2048)?;

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let tls = tls.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let client = RelayClient::new(tls, RelayClientConfig::default());

    let octets = b"a certification request";
    let notification = client.put(&relay, octets, true).await?;
    println!("to be told by another way: {}", notification.url());
    let got = client.get(notification).await?;
    println!("got: {}", String::from_utf8_lossy(&got));
    server.shutdown(Duration::from_secs(5)).await;
    if got == octets { Ok(()) } else { Err("other octets".into()) }
}
