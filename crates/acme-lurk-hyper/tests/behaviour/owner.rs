//! A name owner between a delegate and a CA, and what it keeps.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use acme_lurk_hyper::Going;
use acme_lurk_hyper::acme_lurk::Limits;
use acme_lurk_hyper::acme_lurk::acme::client::{Answer, ClientConfig};
use acme_lurk_hyper::acme_lurk::acme::server::OrderId;
use acme_lurk_hyper::acme_lurk::acme::{Delegation, NewAccount};
use acme_lurk_hyper::acme_lurk::crypto::{Ring, RingSigner, Signer as _};
use acme_lurk_hyper::acme_lurk::delegation::{Audit, DelegationRule, Ido, IdoConfig, Serving};
use acme_lurk_hyper::acme_lurk::star::{StarMeta, StarPolicy};
use acme_lurk_hyper::acme_lurk::template::Template;
use acme_lurk_hyper::acme_lurk::url::{Reach, UrlRules};
use acme_lurk_hyper::ca::Authority;
use acme_lurk_hyper::client::{Client, Pool};
use acme_lurk_hyper::journal::{Journal, Line, unwritten};
use acme_lurk_hyper::keep::KeepError;
use acme_lurk_hyper::owner::{OwnerBuilder, OwnerNotice, OwnerSite};
use acme_lurk_hyper::server::Server;
use acme_lurk_hyper::validate::ValidatorConfig;
use tokio::net::TcpListener;

use crate::keeping::{Disk, Room};
use crate::laboratory::{Answered, Laboratory, Watched, obtain, tls, until, wanted_with};

const NAME: &str = "abc.ido.example";

/// What a keeper has kept.
type Known = Vec<(String, Vec<u8>)>;

/// A server of a name owner before a CA that trusts it, and its one delegate.
struct Owner {
    site: OwnerSite,
    laboratory: Laboratory,
    _server: Server,
    pool: Pool,
    base: String,
    key: Arc<RingSigner>,
    config: Arc<IdoConfig>,
    upstream: Arc<ClientConfig>,
    own: Arc<RingSigner>,
    answers: Arc<Mutex<Vec<Answered>>>,
}

impl Owner {
    async fn start(change: impl FnOnce(OwnerBuilder) -> OwnerBuilder) -> Self {
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
        let site = Self::site(&laboratory, &config, &upstream, &own, Known::new(), change);
        until("the CA is reached", || site.with(|ido| ido.upstream_directory().is_some())).await;
        let answers = Arc::default();
        let server = Server::builder(&base, Watched::new(site.clone(), &answers)).start();
        server.serve(listener, Some(tls)).unwrap();
        Self { site, laboratory, _server: server, pool, base, key, config, upstream, own, answers }
    }

    fn site(
        laboratory: &Laboratory,
        config: &Arc<IdoConfig>,
        upstream: &Arc<ClientConfig>,
        own: &Arc<RingSigner>,
        known: Known,
        change: impl FnOnce(OwnerBuilder) -> OwnerBuilder,
    ) -> OwnerSite {
        let (config, upstream, own) = (Arc::clone(config), Arc::clone(upstream), Arc::clone(own));
        let (ring, seed) = (Arc::new(Ring::new()), watchfire_hyper::seed().unwrap());
        let site = change(OwnerSite::builder(laboratory.pool.clone()));
        site.start(|now| Ido::restore(config, upstream, own, ring, seed, now, known)).unwrap()
    }

    /// Another one in its place, from what was kept.
    fn again(&self, known: Known, change: impl FnOnce(OwnerBuilder) -> OwnerBuilder) -> OwnerSite {
        Self::site(&self.laboratory, &self.config, &self.upstream, &self.own, known, change)
    }

    /// The delegate, with its account.
    async fn delegate(&self) -> Client {
        let urls = UrlRules::new().with_reach(Reach::Any);
        let config = ClientConfig::builder(format!("{}/directory", self.base)).with_urls(urls).build().unwrap();
        let client = Client::builder(config, self.key.clone(), self.pool.clone()).start().unwrap();
        client.account(NewAccount::default(), None).await.unwrap();
        client
    }

    /// An order of the delegate's.
    async fn order(&self, client: &Client) -> Answer {
        let delegation = format!("{}/delegation/abc", self.base);
        let wanted = wanted_with(NAME, true, |order| order.with_delegation(delegation));
        obtain(client, wanted).await.unwrap()
    }
}

/// An audit log that can be away.
#[derive(Clone)]
struct Paper {
    is_away: Arc<AtomicBool>,
    lines: Arc<Mutex<Vec<Line>>>,
    began: &'static str,
    count: Arc<AtomicU32>,
}

impl Paper {
    fn new(began: &'static str) -> Self {
        Self { is_away: Arc::default(), lines: Arc::default(), began, count: Arc::default() }
    }

    fn has(&self, text: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| line.text.starts_with(text)).count()
    }
}

impl Journal for Paper {
    fn line(&self, _order: Option<&OrderId>, what: &Audit) -> Line {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        Line { id: format!("{}-{count:08x}", self.began), text: format!("{what:?}") }
    }

    fn write(&self, lines: Vec<Line>) -> Going<'static, Result<(), KeepError>> {
        let this = self.clone();
        Box::pin(async move {
            if this.is_away.load(Ordering::Relaxed) {
                return Err(KeepError("no paper".into()));
            }
            this.lines.lock().unwrap().extend(lines);
            Ok(())
        })
    }
}

/// What all orders of this file come to.
const STEPS: [&str; 5] = ["Ordered", "Requested", "Placed", "Issued", "Valid"];

#[tokio::test]
async fn a_line_of_the_audit_log_that_was_not_written_is_written_by_the_next() {
    let (disk, paper) = (Disk::new(), Paper::new("1"));
    paper.is_away.store(true, Ordering::Relaxed);
    let (keeper, journal) = (disk.clone(), paper.clone());
    let owner = Owner::start(|site| site.with_keeper(keeper).with_journal(journal, Vec::new())).await;
    owner.order(&owner.delegate().await).await;
    // As if it had been killed: what it does from now on is not seen.
    let mut known: Known = disk.known().into_iter().collect();
    let left = unwritten(&mut known);
    let steps: Vec<&Line> = left.iter().filter(|line| STEPS.iter().any(|step| line.text.starts_with(step))).collect();
    assert_eq!(steps.len(), STEPS.len(), "{left:?}");
    assert!(steps.iter().zip(STEPS).all(|(line, step)| line.text.starts_with(step)), "in their order: {left:?}");
    assert!(paper.lines.lock().unwrap().is_empty());

    let (disk, paper) = (Disk::of(disk.known()), Paper::new("2"));
    let (keeper, journal) = (disk.clone(), paper.clone());
    let site = owner.again(known, |site| site.with_keeper(keeper).with_journal(journal, left));
    until("all is written", || STEPS.iter().all(|step| paper.has(step) > 0)).await;
    assert!(paper.lines.lock().unwrap().iter().is_sorted_by_key(|line| &line.id), "{:?}", paper.lines);
    assert!(STEPS.iter().all(|step| paper.has(step) == 1), "{:?}", paper.lines);
    // And then it is forgotten.
    until("nothing is left", || !disk.known().keys().any(|name| name.starts_with("audit/1-"))).await;
    site.shutdown().await;
    assert!(!disk.known().keys().any(|name| name.starts_with("audit/")), "{:?}", disk.known().keys());
}

#[tokio::test]
async fn what_was_said_when_a_server_is_to_end_is_written_before_it_does() {
    let (disk, paper) = (Disk::stuck_at("\"processing\""), Paper::new("1"));
    let (keeper, journal) = (disk.clone(), paper.clone());
    let owner = Owner::start(|site| site.with_keeper(keeper).with_journal(journal, Vec::new())).await;
    let (client, site) = (owner.delegate().await, owner.site.clone());
    let order = tokio::spawn(async move { owner.order(&client).await });
    until("the request is there", || disk.is() == Room::Stuck).await;
    let mut ending = pin!(site.shutdown());
    // It has begun to end.
    let is_done = poll_fn(|context| Poll::Ready(ending.as_mut().poll(context).is_ready())).await;
    assert!(!is_done);
    disk.be(Room::Enough);
    ending.await;
    assert_eq!(paper.has("Requested"), 1, "{:?}", paper.lines);
    assert!(!disk.known().keys().any(|name| name.starts_with("audit/")), "{:?}", disk.known().keys());
    order.abort();
}

#[tokio::test]
async fn a_server_whose_keeper_does_not_come_back_ends_all_the_same() {
    let disk = Disk::new();
    let keeper = disk.clone();
    let owner = Owner::start(|site| site.with_keeper(keeper)).await;
    disk.be(Room::Stuck);
    tokio::time::timeout(Duration::from_secs(60), owner.site.shutdown()).await.unwrap();
}

#[tokio::test]
async fn it_is_said_when_all_is_kept_and_written_again() {
    let (disk, paper, said) = (Disk::new(), Paper::new("1"), Arc::<Mutex<Vec<&'static str>>>::default());
    let (keeper, journal, notes) = (disk.clone(), paper.clone(), Arc::clone(&said));
    let note = move |notice: OwnerNotice<'_>| {
        let note = match notice {
            OwnerNotice::NotKept { .. } => "not kept",
            OwnerNotice::Kept => "kept",
            OwnerNotice::NotWritten { .. } => "not written",
            OwnerNotice::Written => "written",
            _ => return,
        };
        let mut notes = notes.lock().unwrap();
        if notes.last() != Some(&note) {
            notes.push(note);
        }
    };
    let owner = Owner::start(|site| site.with_keeper(keeper).with_journal(journal, Vec::new()).on_notice(note)).await;
    let client = owner.delegate().await;
    let is = |last: &str| said.lock().unwrap().last() == Some(&last);
    disk.be(Room::Full);
    let asks = client.clone();
    let asked = tokio::spawn(async move { asks.call(|machine, now| machine.read_account(now)).await });
    until("it is known", || is("not kept")).await;
    disk.be(Room::Enough);
    until("it is known", || is("kept")).await;
    asked.abort();
    paper.is_away.store(true, Ordering::Relaxed);
    owner.order(&client).await;
    until("it is known", || is("not written")).await;
    paper.is_away.store(false, Ordering::Relaxed);
    until("it is known", || is("written")).await;
    assert_eq!(*said.lock().unwrap(), ["not kept", "kept", "not written", "written"]);
}

/// Who is dropped, as a start that fails late, keeps nothing that the next one needs.
#[tokio::test]
async fn a_server_ends_with_the_last_that_has_it() {
    let (disk, ca) = (Disk::new(), Disk::new());
    let (keeper, keeper_ca) = (disk.clone(), ca.clone());
    let owner = Owner::start(|site| site.with_keeper(keeper)).await;
    let laboratory =
        Laboratory::with(ValidatorConfig::default(), true, |ca| ca.with_keeper(keeper_ca), |server| server).await;
    assert!(disk.users() > 1 && ca.users() > 1);
    drop((owner, laboratory));
    until("nobody has the keepers", || disk.users() == 1 && ca.users() == 1).await;
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
