//! A CA that ends without warning and starts again from its records.

use std::sync::Arc;

use acme_lurk::Limits;
use acme_lurk::acme::client::{Answer, Client, Obtain};
use acme_lurk::acme::server::{Ca, CaConfig, CaConfigBuilder, CaEvent};
use acme_lurk::acme::{NewAccount, OrderStatus, ProblemType};
use acme_lurk::certificate::Certificate;
use acme_lurk::crypto::Ring;
use acme_lurk::csr::CsrPlan;
use acme_lurk::star::{AutoRenewal, Fraction, StarMeta, StarPolicy};
use watchfire_core::{Duration, Instant, UnixTime};

use crate::client_kit::{Fate, Net, registered};
use crate::server_kit::{BASE, START, World, names};
use crate::support::signer;

fn star() -> CaConfigBuilder {
    CaConfig::builder(BASE).with_star(StarPolicy::new(StarMeta::new(10, 1_000_000, true)), Fraction::HALF)
}

fn wanted(end: i64) -> Obtain {
    let agreed = AutoRenewal::new(UnixTime::from_secs(START + end), 20).with_certificate_get(true);
    let csr = CsrPlan::for_names(["a.example", "b.example"]).build(&signer()).unwrap();
    Obtain::new(names(&["a.example", "b.example"]).with_auto_renewal(agreed), csr).without_download()
}

fn obtained(net: &mut Net, client: &mut Client, wanted: Obtain) -> (String, String) {
    let call = client.obtain(net.now(), wanted).unwrap();
    match net.answer(client, call) {
        Ok(Answer::Obtained { url, order, .. }) => (url, order.star_certificate.or(order.certificate).unwrap()),
        other => panic!("{other:?}"),
    }
}

/// The certificate of this moment, valid now; or the type of the problem.
fn fetched(net: &mut Net, client: &mut Client, url: &str) -> Result<UnixTime, ProblemType> {
    let call = client.fetch(net.now(), url, None).unwrap();
    match net.answer(client, call) {
        Ok(Answer::Certificate(fetched)) => {
            let leaf = Certificate::decode(&fetched.chain[0], &Limits::DEFAULT).unwrap();
            let now = net.world.time();
            assert!(leaf.not_before() <= now && now < leaf.not_after(), "{now:?}");
            Ok(leaf.not_after())
        }
        Err(error) => Err(error.problem().unwrap_or_else(|| panic!("{error}")).kind.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn orders_go_on_whenever_the_ca_ends() {
    // Behind every third, fourth, ... request of a whole order, from the account to the cancellation.
    for every in 3..12 {
        let mut net = Net::new(World::new(star()));
        net.restart_every = Some(every);
        let mut client = registered(&mut net);
        let (url, star) = obtained(&mut net, &mut client, wanted(100));
        for _ in 0..12 {
            net.world.restart();
            let at = net.instant + Duration::from_secs(5);
            net.pass(at);
            assert!(fetched(&mut net, &mut client, &star).is_ok(), "{every}");
        }
        let call = client.cancel(net.now(), &url).unwrap();
        let Ok(Answer::Order { order, .. }) = net.answer(&mut client, call) else { panic!() };
        assert_eq!(order.status, OrderStatus::Canceled);
        net.world.restart();
        assert_eq!(fetched(&mut net, &mut client, &star), Err(ProblemType::AutoRenewalCanceled));
        let at = net.instant + Duration::from_secs(1000);
        net.pass(at);
        assert_eq!(net.world.ca.poll_event(), None, "nothing is made after the cancellation");
    }
}

#[test]
fn after_a_time_without_power_the_certificate_of_that_moment_is_made_and_no_other() {
    let mut net = Net::new(World::new(star()));
    let mut client = registered(&mut net);
    let (_, star) = obtained(&mut net, &mut client, wanted(1000));
    let first = fetched(&mut net, &mut client, &star).unwrap();
    // Ten lifetimes later.
    net.world.restart();
    net.world.now += 200;
    net.instant = net.instant + Duration::from_secs(200);
    net.world.restart();
    let mut asked = 0;
    while let Some(event) = net.world.ca.poll_event() {
        match event {
            CaEvent::Issue(issuance) => {
                asked += 1;
                let leaf = net.world.make(&issuance, |_| ());
                let now = net.world.time();
                net.world.ca.issued(now, &issuance.order, issuance.index, &leaf).unwrap();
            }
            // What had run out meanwhile is said.
            CaEvent::StarGap(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(asked, 1);
    let later = fetched(&mut net, &mut client, &star).unwrap();
    assert!(later.as_secs() - first.as_secs() >= 200);
    // A clock that goes back makes no certificate again, and takes none away.
    net.world.now -= 100;
    net.world.restart();
    assert_eq!(net.world.ca.poll_event(), None);
    // At the end it is over, and stays so.
    net.world.now += 1100;
    net.instant = Instant::ZERO + Duration::from_secs(1200);
    net.world.restart();
    assert_eq!(fetched(&mut net, &mut client, &star), Err(ProblemType::AutoRenewalExpired));
}

#[test]
fn what_was_being_made_is_asked_for_again_and_what_was_revoked_stays_so() {
    let mut net = Net::new(World::new(CaConfig::builder(BASE).with_trusted_identifiers(true)));
    let mut client = registered(&mut net);
    let csr = CsrPlan::for_names(["a.example"]).build(&signer()).unwrap();
    // The events of the first CA are lost with it.
    let call = client.obtain(net.now(), Obtain::new(names(&["a.example"]), csr)).unwrap();
    net.fates = [Fate::Made, Fate::AnswerLost].into();
    net.restart_every = Some(2);
    let Ok(Answer::Obtained { certificate: Some(fetched), .. }) = net.answer(&mut client, call) else { panic!() };
    net.restart_every = None;
    let call = client.revoke(net.now(), fetched.chain[0].clone(), 0, None).unwrap();
    assert_eq!(net.answer(&mut client, call), Ok(Answer::Revoked));
    net.world.restart();
    let call = client.revoke(net.now(), fetched.chain[0].clone(), 0, None).unwrap();
    let refused = net.answer(&mut client, call).unwrap_err();
    assert_eq!(refused.problem().unwrap().kind, ProblemType::AlreadyRevoked);
    // The same key has the same account.
    let account = client.account().unwrap().to_owned();
    net.world.restart();
    let call = client.new_account(net.now(), NewAccount::default(), None).unwrap();
    assert!(matches!(net.answer(&mut client, call), Ok(Answer::Account { url, .. }) if url == account));
}

#[test]
fn renewals_are_counted_for_each_account_over_restarts() {
    // Twenty seconds each: 4320 certificates a day.
    let limits = acme_lurk::acme::server::CaLimits::default().with_renewals_a_day(2 * 4320);
    let mut net = Net::new(World::new(star().with_limits(limits)));
    let mut client = registered(&mut net);
    let order = || {
        let agreed = AutoRenewal::new(UnixTime::from_secs(START + 100), 20).with_certificate_get(true);
        names(&["a.example"]).with_auto_renewal(agreed)
    };
    for _ in 0..2 {
        let call = client.new_order(net.now(), order()).unwrap();
        assert!(net.answer(&mut client, call).is_ok());
    }
    net.world.restart();
    let call = client.new_order(net.now(), order()).unwrap();
    assert_eq!(net.answer(&mut client, call).unwrap_err().problem().unwrap().kind, ProblemType::RateLimited);
    // Another account has its own; and what is forgotten does not count.
    let mut other = registered(&mut net);
    let call = other.new_order(net.now(), order()).unwrap();
    assert!(net.answer(&mut other, call).is_ok());
    let at = net.instant + Duration::from_secs(86_500);
    net.pass(at);
    let agreed = AutoRenewal::new(UnixTime::from_secs(START + 90_000), 20).with_certificate_get(true);
    let call = client.new_order(net.now(), names(&["a.example"]).with_auto_renewal(agreed)).unwrap();
    assert!(net.answer(&mut client, call).is_ok());
}

#[test]
fn records_that_are_none_are_refused_by_name() {
    let restore = |name: &str, value: &str| {
        let records = [(name.to_owned(), value.as_bytes().to_vec())];
        let now = UnixTime::from_secs(START);
        Ca::restore(Arc::new(CaConfig::builder(BASE).build().unwrap()), Arc::new(Ring::new()), [1; 32], now, records)
            .unwrap_err()
            .to_string()
    };
    let name = "order/AAAAAAAAAAAAAAAAAAAAAA";
    assert!(restore(name, "{}").starts_with(&format!("{name}.status")), "{}", restore(name, "{}"));
    assert!(restore("order/x", "{}").starts_with("order/x"));
    assert!(restore("acct/x", "[]").starts_with("acct/x"));
    assert!(restore("cert/x", "{}").starts_with("cert/x"));
    assert!(restore("what", "{}").starts_with("what"));
}
