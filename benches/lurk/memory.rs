//! The CA of `rates.py` that keeps nothing on a disk: what `watchfire lurk ca` is made of, without its store.
//!
//! `FOLDER` writes the trust anchor to `FOLDER/ca.pem` and says where it listens.
#![allow(clippy::print_stdout, reason = "it says where it listens")]

use std::path::Path;
use std::sync::Arc;

use acme_lurk_hyper::acme_lurk::acme::server::{Ca, CaConfig};
use acme_lurk_hyper::acme_lurk::crypto::Ring;
use acme_lurk_hyper::acme_lurk::star::{Fraction, StarMeta, StarPolicy};
use acme_lurk_hyper::ca::{Authority, CaSite};
use acme_lurk_hyper::server::Server;
use acme_lurk_hyper::validate::{NetworkValidator, Resolver, ValidatorConfig};
use rustls::pki_types::PrivateKeyDer;

type Outcome = Result<(), Box<dyn std::error::Error>>;

async fn serve(folder: &Path) -> Outcome {
    let root = Authority::root("root of a benchmark", 1)?;
    let issuer = root.subordinate("issuer of a benchmark", 1)?;
    std::fs::write(folder.join("ca.pem"), root.certificate_pem())?;
    let (chain, key): (_, PrivateKeyDer<'static>) = root.server_certificate(&["127.0.0.1".to_owned()], 1)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("https://{}", listener.local_addr()?);
    let star = StarPolicy::new(StarMeta::new(86_400, 365 * 86_400, true));
    let config = CaConfig::builder(&origin).with_star(star, Fraction::HALF).with_issuers(issuer.certificate_pem());
    let machine = Ca::new(Arc::new(config.build()?), Arc::new(Ring::new()), watchfire_hyper::seed()?);
    // Nothing is validated here.
    let resolver = Resolver::server("127.0.0.1:9".parse()?)?;
    let ca = CaSite::builder(machine, issuer, NetworkValidator::new(resolver, ValidatorConfig::default())?).start();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let tls = tls.with_no_client_auth().with_single_cert(chain, key)?;
    let server = Server::builder(&origin, ca).start();
    server.serve(listener, Some(Arc::new(tls)))?;
    println!(r#"{{"event":"listening","directory":"{origin}/directory"}}"#);
    std::future::pending().await
}

fn main() -> Outcome {
    match std::env::args().nth(1).filter(|word| word != "--bench") {
        Some(folder) => tokio::runtime::Runtime::new()?.block_on(serve(Path::new(&folder))),
        // As `cargo bench` without words: that it can be called at all.
        None => Ok(()),
    }
}
