//! A CA over TLS on the loopback, and clients of it.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use acme_lurk_hyper::Going;
use acme_lurk_hyper::acme_lurk::acme::client::{Answer, ClientConfig, ClientError, Obtain};
use acme_lurk_hyper::acme_lurk::acme::server::{Ca, CaConfig, Request, Response};
use acme_lurk_hyper::acme_lurk::acme::{Identifier, NewAccount, NewOrder};
use acme_lurk_hyper::acme_lurk::crypto::{Ring, RingSigner};
use acme_lurk_hyper::acme_lurk::csr::CsrPlan;
use acme_lurk_hyper::acme_lurk::star::{AutoRenewal, Fraction, StarMeta, StarPolicy};
use acme_lurk_hyper::acme_lurk::url::{Reach, UrlRules};
use acme_lurk_hyper::ca::{Authority, CaBuilder, CaSite};
use acme_lurk_hyper::client::{Client, Pool, PoolLimits};
use acme_lurk_hyper::respond::Responder;
use acme_lurk_hyper::server::{Server, ServerBuilder, Site};
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

/// An answer to a POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    /// Where it was asked, without a slash before.
    pub(crate) path: String,
    /// Status and body of one that has waited for nothing.
    pub(crate) at_once: Option<(u16, String)>,
}

/// Notes which answers of a site wait.
#[derive(Clone)]
pub(crate) struct Watched<S> {
    site: S,
    answers: Arc<Mutex<Vec<Answered>>>,
}

impl<S: Site> Watched<S> {
    pub(crate) fn new(site: S, answers: &Arc<Mutex<Vec<Answered>>>) -> Self {
        Self { site, answers: Arc::clone(answers) }
    }
}

impl<S: Site> Site for Watched<S> {
    fn answer<'a>(&'a self, request: Request<'a>) -> Going<'a, Response> {
        let path = request.url.splitn(4, '/').nth(3).unwrap_or_default().to_owned();
        let is_post = request.method == "POST";
        let mut going = self.site.answer(request);
        Box::pin(async move {
            let at_once = poll_fn(|context| {
                Poll::Ready(match going.as_mut().poll(context) {
                    Poll::Ready(response) => Some(response),
                    Poll::Pending => None,
                })
            });
            let at_once = at_once.await;
            if is_post {
                let text = |response: &Response| String::from_utf8_lossy(&response.body).into_owned();
                let noted = at_once.as_ref().map(|response| (response.status, text(response)));
                self.answers.lock().unwrap().push(Answered { path, at_once: noted });
            }
            match at_once {
                Some(response) => response,
                None => going.await,
            }
        })
    }
}

/// Waits until this holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = tokio::time::timeout(Duration::from_secs(60), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(patience.await.is_ok(), "{what}");
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
        Self::behind(validator, trusted, change_ca, change_server, |site| site).await
    }

    /// One with something in front of the CA.
    pub(crate) async fn behind<S: Site>(
        validator: ValidatorConfig,
        trusted: bool,
        change_ca: impl FnOnce(CaBuilder) -> CaBuilder,
        change_server: impl FnOnce(ServerBuilder) -> ServerBuilder,
        front: impl FnOnce(CaSite) -> S,
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
        let server = change_server(Server::builder(&origin, front(site.clone()))).start();
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
        self.client_of(&Arc::new(key), responder)
    }

    pub(crate) fn client_of(&self, key: &Arc<RingSigner>, responder: Option<Arc<dyn Responder>>) -> Client {
        let urls = UrlRules::new().with_reach(Reach::Any);
        let config = ClientConfig::builder(&self.directory).with_urls(urls).build().unwrap();
        let mut builder = Client::builder(config, key.clone(), self.pool.clone());
        if let Some(responder) = responder {
            builder = builder.with_responder(responder);
        }
        builder.start().unwrap()
    }
}

/// An order for a name, and a request that fits it.
pub(crate) fn wanted(name: &str, is_star: bool) -> Obtain {
    wanted_with(name, is_star, |order| order)
}

pub(crate) fn wanted_with(name: &str, is_star: bool, change: impl FnOnce(NewOrder) -> NewOrder) -> Obtain {
    let (key, _pkcs8) = RingSigner::generate_p256().unwrap();
    let mut order = NewOrder::new(vec![Identifier::dns(name).unwrap()]);
    if is_star {
        let end = UnixTime::from_secs(Clock::wall().as_secs() + 3600);
        order = order.with_auto_renewal(AutoRenewal::new(end, 60).with_certificate_get(true));
    }
    Obtain::new(change(order), CsrPlan::for_names([name]).build(&key).unwrap())
}

pub(crate) async fn obtain(client: &Client, wanted: Obtain) -> Result<Answer, ClientError> {
    client.call(|machine, now| machine.obtain(now, wanted)).await
}
