//! A name owner between a delegate and a CA, and what it keeps.

use std::sync::{Arc, Mutex};

use acme_lurk_hyper::acme_lurk::Limits;
use acme_lurk_hyper::acme_lurk::acme::client::{Answer, ClientConfig};
use acme_lurk_hyper::acme_lurk::acme::{Delegation, NewAccount};
use acme_lurk_hyper::acme_lurk::crypto::{Ring, RingSigner, Signer as _};
use acme_lurk_hyper::acme_lurk::delegation::{DelegationRule, Ido, IdoConfig, Serving};
use acme_lurk_hyper::acme_lurk::star::{StarMeta, StarPolicy};
use acme_lurk_hyper::acme_lurk::template::Template;
use acme_lurk_hyper::acme_lurk::url::{Reach, UrlRules};
use acme_lurk_hyper::ca::Authority;
use acme_lurk_hyper::client::{Client, Pool};
use acme_lurk_hyper::owner::{OwnerBuilder, OwnerSite};
use acme_lurk_hyper::server::Server;
use acme_lurk_hyper::validate::ValidatorConfig;
use tokio::net::TcpListener;

use crate::keeping::{Disk, Room};
use crate::laboratory::{Answered, Laboratory, Watched, obtain, tls, until, wanted_with};

const NAME: &str = "abc.ido.example";

/// A server of a name owner before a CA that trusts it, and its one delegate.
pub(crate) struct Owner {
    _laboratory: Laboratory,
    _server: Server,
    pool: Pool,
    base: String,
    key: Arc<RingSigner>,
    pub(crate) answers: Arc<Mutex<Vec<Answered>>>,
}

impl Owner {
    pub(crate) async fn start(change: impl FnOnce(OwnerBuilder) -> OwnerBuilder) -> Self {
        let laboratory = Laboratory::start(ValidatorConfig::default(), true).await;
        let (tls, pool) = tls(&Authority::root("owner", 1).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let key = Arc::new(RingSigner::generate_p256().unwrap().0);
        let template = format!(
            r#"{{"keyTypes": [{{"PublicKeyType": "id-ecPublicKey", "namedCurve": "secp256r1",
            "SignatureType": "ecdsa-with-SHA256"}}], "extensions": {{"subjectAltName": {{"DNS": ["{NAME}"]}}}}}}"#
        );
        let template = Template::decode(template.as_bytes(), &Limits::DEFAULT).unwrap();
        let rule = DelegationRule::new("abc", Delegation::new(template)).unwrap();
        let rule = rule.with_account(key.public_key().thumbprint_text());
        let config = IdoConfig::builder(&base)
            .with_star(Some(StarPolicy::new(StarMeta::new(5, 86_400, true))))
            .with_serving(Serving::Own)
            .with_delegation(rule)
            .unwrap();
        let config = Arc::new(config.build().unwrap());
        let upstream = ClientConfig::builder(&laboratory.directory).with_urls(UrlRules::new().with_reach(Reach::Any));
        let upstream = Arc::new(upstream.build().unwrap());
        let own = Arc::new(RingSigner::generate_p256().unwrap().0);
        let seed = watchfire_hyper::seed().unwrap();
        let site = change(OwnerSite::builder(laboratory.pool.clone()))
            .start(|now| Ido::new(config, upstream, own, Arc::new(Ring::new()), seed, now))
            .unwrap();
        until("the CA is reached", || site.with(|ido| ido.upstream_directory().is_some())).await;
        let answers = Arc::default();
        let server = Server::builder(&base, Watched::new(site.clone(), &answers)).start();
        server.serve(listener, Some(tls)).unwrap();
        Self { _laboratory: laboratory, _server: server, pool, base, key, answers }
    }

    /// The delegate, with its account.
    pub(crate) async fn delegate(&self) -> Client {
        let urls = UrlRules::new().with_reach(Reach::Any);
        let config = ClientConfig::builder(format!("{}/directory", self.base)).with_urls(urls).build().unwrap();
        let client = Client::builder(config, self.key.clone(), self.pool.clone()).start().unwrap();
        client.account(NewAccount::default(), None).await.unwrap();
        client
    }

    /// An order of the delegate's.
    pub(crate) async fn order(&self, client: &Client) -> Answer {
        let delegation = format!("{}/delegation/abc", self.base);
        let wanted = wanted_with(NAME, true, |order| order.with_delegation(delegation));
        obtain(client, wanted).await.unwrap()
    }
}

/// The handle of a certificate is drawn when the certificate comes: one that is not kept would be another one after a
/// restart, and the delegate would ask at the first one for ever.
#[tokio::test]
async fn no_url_of_a_certificate_is_said_that_was_not_kept() {
    let disk = Disk::stuck_at("\"handle\"");
    let keeper = disk.clone();
    let owner = Owner::start(|site| site.with_keeper(keeper)).await;
    let client = owner.delegate().await;
    let answers = Arc::clone(&owner.answers);
    let order = tokio::spawn(async move { owner.order(&client).await });
    until("there is a certificate", || disk.is() == Room::Stuck).await;
    let says = |one: &Answered| one.at_once.as_ref().is_some_and(|(_, body)| body.contains("star-certificate"));
    let is_asked = || answers.lock().unwrap().iter().any(|one| one.at_once.is_none() || says(one));
    until("the delegate asks for it", is_asked).await;
    assert!(!answers.lock().unwrap().iter().any(says), "{answers:?}");
    disk.be(Room::Enough);
    let Answer::Obtained { order, .. } = order.await.unwrap() else { panic!() };
    assert!(order.star_certificate.is_some());
}
