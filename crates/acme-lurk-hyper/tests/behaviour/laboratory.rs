//! A CA over TLS on the loopback, and clients of it.

use std::sync::Arc;

use acme_lurk_hyper::acme_lurk::acme::client::{Answer, ClientConfig, ClientError, Obtain};
use acme_lurk_hyper::acme_lurk::acme::server::{Ca, CaConfig};
use acme_lurk_hyper::acme_lurk::acme::{Identifier, NewAccount, NewOrder};
use acme_lurk_hyper::acme_lurk::crypto::{Ring, RingSigner};
use acme_lurk_hyper::acme_lurk::csr::CsrPlan;
use acme_lurk_hyper::acme_lurk::star::{AutoRenewal, Fraction, StarMeta, StarPolicy};
use acme_lurk_hyper::acme_lurk::url::{Reach, UrlRules};
use acme_lurk_hyper::ca::{Authority, CaBuilder, CaSite};
use acme_lurk_hyper::client::{Client, Pool, PoolLimits};
use acme_lurk_hyper::respond::Responder;
use acme_lurk_hyper::server::{Server, ServerBuilder};
use acme_lurk_hyper::validate::{NetworkValidator, Resolver, ValidatorConfig};
use tokio::net::TcpListener;
use watchfire_core::UnixTime;
use watchfire_hyper::Clock;

pub(crate) struct Laboratory {
    pub(crate) site: CaSite,
    pub(crate) server: Server,
    pub(crate) directory: String,
    pub(crate) pool: Pool,
}

/// Certificates of a server of the loopback, and who trusts them.
pub(crate) fn tls(root: &Authority) -> (Arc<rustls::ServerConfig>, Pool) {
    let provider = || Arc::new(rustls::crypto::ring::default_provider());
    let (chain, key) = root.server_certificate(&["localhost".into(), "127.0.0.1".into()], 1).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let mut server = server.with_no_client_auth().with_single_cert(chain, key).unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.certificate().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    (Arc::new(server), Pool::new(&client, PoolLimits::default()))
}

impl Laboratory {
    pub(crate) async fn start(validator: ValidatorConfig, trusted: bool) -> Self {
        Self::with(validator, trusted, |ca| ca, |server| server).await
    }

    pub(crate) async fn with(
        validator: ValidatorConfig,
        trusted: bool,
        change_ca: impl FnOnce(CaBuilder) -> CaBuilder,
        change_server: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Self {
        let root = Authority::root("root", 1).unwrap();
        let issuer = root.subordinate("issuer", 1).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let config = CaConfig::builder(&origin)
            .with_trusted_identifiers(trusted)
            .with_star(StarPolicy::new(StarMeta::new(5, 86_400, true)), Fraction::HALF)
            .with_certificate_get(true)
            .with_issuers(issuer.certificate_pem())
            .build()
            .unwrap();
        let ca = Ca::new(Arc::new(config), Arc::new(Ring::new()), watchfire_hyper::seed().unwrap());
        // Nobody answers there: names of the loopback need no answer.
        let resolver = Resolver::server("127.0.0.1:9".parse().unwrap()).unwrap();
        let validator = NetworkValidator::new(resolver, validator).unwrap();
        let site = change_ca(CaSite::builder(ca, issuer, validator)).start();
        let (tls, pool) = tls(&root);
        let server = change_server(Server::builder(&origin, site.clone())).start();
        server.serve(listener, Some(tls)).unwrap();
        Self { site, server, directory: format!("{origin}/directory"), pool }
    }

    /// A client with an account.
    pub(crate) async fn client(&self, responder: Option<Arc<dyn Responder>>) -> Client {
        let client = self.bare_client(responder);
        client.account(NewAccount::default(), None).await.unwrap();
        client
    }

    pub(crate) fn bare_client(&self, responder: Option<Arc<dyn Responder>>) -> Client {
        let (key, _pkcs8) = RingSigner::generate_p256().unwrap();
        let urls = UrlRules::new().with_reach(Reach::Any);
        let config = ClientConfig::builder(&self.directory).with_urls(urls).build().unwrap();
        let mut builder = Client::builder(config, Arc::new(key), self.pool.clone());
        if let Some(responder) = responder {
            builder = builder.with_responder(responder);
        }
        builder.start().unwrap()
    }
}

/// An order for a name, and a request that fits it.
pub(crate) fn wanted(name: &str, is_star: bool) -> Obtain {
    let (key, _pkcs8) = RingSigner::generate_p256().unwrap();
    let mut order = NewOrder::new(vec![Identifier::dns(name).unwrap()]);
    if is_star {
        let end = UnixTime::from_secs(Clock::wall().as_secs() + 3600);
        order = order.with_auto_renewal(AutoRenewal::new(end, 60).with_certificate_get(true));
    }
    Obtain::new(order, CsrPlan::for_names([name]).build(&key).unwrap())
}

pub(crate) async fn obtain(client: &Client, wanted: Obtain) -> Result<Answer, ClientError> {
    client.call(|machine, now| machine.obtain(now, wanted)).await
}
