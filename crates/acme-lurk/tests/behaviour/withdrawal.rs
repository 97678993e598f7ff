//! Delegations that are taken away, and accounts that are given up, while something is under way.

use std::collections::BTreeMap;
use std::sync::Arc;

use acme_lurk::acme::server::CaEvent;
use acme_lurk::acme::{Delegation, Finalize, Identifier, NewOrder, Order, OrderStatus};
use acme_lurk::crypto::Signer as _;
use acme_lurk::delegation::{Audit, DelegationRule};
use acme_lurk::star::{AutoRenewal, Fraction, StarMeta, StarPolicy};
use acme_lurk::{ApiMisuse, Limits};
use serde_json::{Value, json};
use watchfire_core::{Duration, UnixTime};

use crate::delegation::{Delegate, is_cancellation};
use crate::lab::{IDO, Lab, NAME, ido_config, ndc_config, star_ca, template};
use crate::server_kit::{BASE, Client, START, World, decode, keep, names, problem, text};
use crate::support::signer;

/// A delegate with one delegation that makes its requests itself, and what is done with the delegation later.
struct Case {
    lab: Lab,
    delegate: Delegate,
    thumbprint: String,
}

impl Case {
    fn new() -> Self {
        let key = signer();
        let thumbprint = key.public_key().thumbprint_text();
        let rule = rule().with_account(thumbprint.clone());
        let config = ido_config().with_delegation(rule).unwrap();
        let mut lab = Lab::with_key(star_ca(), config, ndc_config(), Arc::new(signer()), 1);
        let delegate = Delegate::register(&mut lab, key);
        Self { lab, delegate, thumbprint }
    }

    /// Makes an order; gives its URL.
    fn order(&mut self) -> (Order, String) {
        let asked = NewOrder::new(vec![Identifier::dns(NAME).unwrap()])
            .with_auto_renewal(self.lab.agreed().with_certificate_get(true))
            .with_delegation(format!("{IDO}/delegation/mine"));
        let response = self.delegate.post(&mut self.lab, &format!("{IDO}/new-order"), &asked.encode());
        assert_eq!(response.status, 201, "{}", text(&response));
        (decode(&response), response.header("location").unwrap().to_owned())
    }

    fn finalize(&mut self, order: &Order) {
        let plan = template(NAME).plan(&acme_lurk::template::Answers::new()).unwrap();
        let finalize = Finalize { csr: plan.build(&signer()).unwrap() }.encode();
        let response = self.delegate.post(&mut self.lab, &order.finalize, &finalize);
        assert_eq!(response.status, 200, "{}", text(&response));
    }

    fn status(&self, url: &str) -> OrderStatus {
        self.lab.ido.orders().find(|order| order.url == url).unwrap().status
    }

    /// These delegations from now on; the server runs, or is started again with them.
    fn replace(&mut self, rules: Vec<DelegationRule>, is_running: bool) {
        if is_running {
            let now = self.lab.now();
            self.lab.ido.replace_delegations(now, rules).unwrap();
        } else {
            let config = rules.into_iter().try_fold(ido_config(), |config, rule| config.with_delegation(rule));
            self.lab.ido_config = Arc::new(config.unwrap().build().unwrap());
            self.lab.restart_ido();
        }
    }

    /// Exchanges with the CA, by the end of their URL.
    fn asked(&self, end: &str) -> usize {
        self.lab.seen.iter().filter(|(by, sent)| !*by && sent.url.ends_with(end)).count()
    }
}

fn rule() -> DelegationRule {
    DelegationRule::new("mine", Delegation::new(template(NAME))).unwrap()
}

#[test]
fn who_lost_a_delegation_gets_no_certificate_when_the_ca_is_back() {
    // The delegation is gone, or is somebody else's.
    for (rules, is_running) in [(vec![], true), (vec![], false), (vec![rule()], true), (vec![rule()], false)] {
        let mut case = Case::new();
        let (order, url) = case.order();
        case.lab.ca_away_until = case.lab.instant + Duration::from_secs(100);
        case.finalize(&order);
        case.lab.run(10, |_| false);
        assert_eq!(case.status(&url), OrderStatus::Processing);
        case.replace(rules, is_running);
        case.lab.run(200, |_| false);
        assert_eq!(case.status(&url), OrderStatus::Invalid, "{:?}", case.lab.audit);
        assert!(!case.lab.audit.iter().any(|what| matches!(what, Audit::Valid | Audit::Placed { .. })));
        assert_eq!(case.asked("/finalize"), 0);
        let shown = case.delegate.post(&mut case.lab, &url, b"");
        let error = Order::decode(&shown.body, &Limits::DEFAULT).unwrap().error.unwrap();
        assert_eq!(error.kind, acme_lurk::acme::ProblemType::UnknownDelegation);
    }
}

#[test]
fn who_keeps_a_delegation_gets_the_certificate_all_the_same() {
    for is_running in [true, false] {
        let mut case = Case::new();
        let (order, url) = case.order();
        case.lab.ca_away_until = case.lab.instant + Duration::from_secs(100);
        case.finalize(&order);
        case.lab.run(10, |_| false);
        let rules = vec![rule().with_account(case.thumbprint.clone())];
        case.replace(rules, is_running);
        assert!(case.lab.run(300, |lab| lab.audit.contains(&Audit::Valid)), "{:?}", case.lab.audit);
        assert_eq!(case.status(&url), OrderStatus::Valid);
    }
}

#[test]
fn what_the_ca_made_for_who_lost_a_delegation_is_stopped_there() {
    for is_running in [true, false] {
        let mut case = Case::new();
        let (order, url) = case.order();
        case.finalize(&order);
        assert!(case.lab.run(30, |lab| lab.seen.iter().any(|(by, sent)| !*by && sent.url.ends_with("/finalize"))));
        // The CA makes the certificate, and nobody hears of it.
        case.lab.lose_ca_answers_until = case.lab.instant + Duration::from_secs(40);
        case.lab.run(5, |_| false);
        assert_eq!(case.status(&url), OrderStatus::Processing);
        case.replace(Vec::new(), is_running);
        case.lab.run(5, |_| false);
        assert_eq!(case.status(&url), OrderStatus::Invalid);
        let is_stopped = |lab: &Lab| lab.seen.iter().any(|(by, sent)| !*by && is_cancellation(sent));
        assert!(case.lab.run(200, is_stopped), "{:?}", case.lab.audit);
        case.lab.run(5, |_| false);
        let (now, star) = (case.lab.now(), case.lab.star_url());
        let fetched = case.lab.ca.ca.handle_request(now.unix, &acme_lurk::acme::server::Request::get(&star));
        assert_eq!(problem(&fetched), (403, "autoRenewalCanceled".into()));
    }
}

#[test]
fn nothing_is_ordered_for_a_delegate_that_gave_its_account_up() {
    let mut case = Case::new();
    let (order, valid) = case.order();
    case.finalize(&order);
    assert!(case.lab.run(60, |lab| lab.audit.contains(&Audit::Valid)));
    let (_, ready) = case.order();
    let (order, processing) = case.order();
    case.finalize(&order);
    let before = case.asked("/finalize");
    assert!(case.lab.run(30, |lab| {
        lab.seen.iter().filter(|(by, sent)| !*by && sent.url.ends_with("/finalize")).count() > before
    }));
    case.lab.lose_ca_answers_until = case.lab.instant + Duration::from_secs(20);
    case.lab.run(5, |_| false);
    let kid = case.delegate.kid.clone();
    let gone = case.delegate.post(&mut case.lab, &kid, br#"{"status":"deactivated"}"#);
    assert_eq!(gone.status, 200, "{}", text(&gone));
    let statuses = [&valid, &ready, &processing].map(|url| case.status(url));
    assert_eq!(statuses, [OrderStatus::Valid, OrderStatus::Invalid, OrderStatus::Invalid]);
    // The owner is told that one goes on, and stops it if that is wanted.
    let account = case.thumbprint.clone();
    case.lab.run(1, |_| false);
    assert!(case.lab.audit.contains(&Audit::Deactivated { account }), "{:?}", case.lab.audit);
    // What the CA has made meanwhile is stopped.
    let stopped = |lab: &Lab| lab.seen.iter().filter(|(by, sent)| !*by && is_cancellation(sent)).count() == 1;
    assert!(case.lab.run(200, stopped), "{:?}", case.lab.audit);
    case.lab.restart_ido();
    case.lab.run(60, |_| false);
    assert_eq!([&valid, &processing].map(|url| case.status(url)), [OrderStatus::Valid, OrderStatus::Invalid]);
}

#[test]
fn a_ca_ends_what_goes_on_for_an_account_that_was_given_up() {
    let policy = StarPolicy::new(StarMeta::new(60, 1_000_000, true));
    let config = acme_lurk::acme::server::CaConfig::builder(BASE).with_trusted_identifiers(true);
    let mut world = World::new(config.with_star(policy, Fraction::HALF));
    let (client, other) = (Client::register(&mut world), Client::register(&mut world));
    let star = || {
        let end = UnixTime::from_secs(START + 600);
        names(&["a.example"]).with_auto_renewal(AutoRenewal::new(end, 100).with_certificate_get(true))
    };
    let mut stars = Vec::new();
    for client in [&client, &other] {
        let (order, url) = client.order(&mut world, &star());
        client.finalize(&mut world, &order);
        world.issue();
        stars.push((url.clone(), decode(&client.read(&mut world, &url)).star_certificate.unwrap()));
    }
    // One without certificate yet of either kind, one that is ready, one that is done.
    let (order, first) = client.order(&mut world, &star());
    client.finalize(&mut world, &order);
    let late = world.issuance();
    let (order, second) = client.order(&mut world, &names(&["b.example"]));
    client.finalize(&mut world, &order);
    let single = world.issuance();
    let (_, ready) = client.order(&mut world, &star());
    let (order, done) = client.order(&mut world, &names(&["c.example"]));
    client.finalize(&mut world, &order);
    world.issue();

    let gone = client.post(&mut world, &client.kid.clone(), &json!({"status": "deactivated"}));
    assert_eq!(serde_json::from_slice::<Value>(&gone.body).unwrap()["status"], "deactivated");
    let statuses = |world: &mut World| {
        keep(&mut world.records, world.ca.take_records());
        let status = |url: &String| {
            let record = &world.records[&format!("order/{}", url.rsplit('/').next().unwrap())];
            serde_json::from_slice::<Value>(record).unwrap()["status"].as_str().unwrap().to_owned()
        };
        [&stars[0].0, &stars[1].0, &first, &second, &ready, &done].map(status)
    };
    let expected = ["canceled", "valid", "invalid", "invalid", "invalid", "valid"];
    assert_eq!(statuses(&mut world), expected);
    // What was being made is not taken, whoever asks is told, and nothing is made any more but for the other account.
    let now = world.time();
    for issuance in [late, single] {
        let leaf = world.make(&issuance, |_| ());
        let taken = world.ca.issued(now, &issuance.order, issuance.index, &leaf);
        assert_eq!(taken, Err(ApiMisuse::NotAwaited));
    }
    for _ in 0..2 {
        assert_eq!(problem(&world.get(&stars[0].1)), (403, "autoRenewalCanceled".into()));
        assert_eq!(world.get(&stars[1].1).status, 200);
        world.restart();
    }
    assert_eq!(statuses(&mut world), expected);
    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..100 {
        world.wait(6);
        while let Some(event) = world.ca.poll_event() {
            let CaEvent::Issue(issuance) = event else { continue };
            *made.entry(issuance.order.to_string()).or_default() += 1;
            let (leaf, now) = (world.make(&issuance, |_| ()), world.time());
            world.ca.issued(now, &issuance.order, issuance.index, &leaf).unwrap();
        }
    }
    assert_eq!(made.into_keys().collect::<Vec<_>>(), [stars[1].0.rsplit('/').next().unwrap()]);
}
