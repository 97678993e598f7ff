//! What others can make grow, and how far.

use std::sync::Arc;

use acme_lurk::acme::server::{CaConfig, CaLimits, Request};
use acme_lurk::acme::{Delegation, Identifier, NewOrder};
use acme_lurk::base64url;
use acme_lurk::crypto::Signer as _;
use acme_lurk::csr::CsrPlan;
use acme_lurk::delegation::{Audit, DelegationRule, IdoLimits, NdcEnd};
use acme_lurk::jose::{KeyRef, sign};
use acme_lurk::star::{AutoRenewal, Fraction, StarMeta, StarPolicy};
use serde_json::json;
use watchfire_core::UnixTime;

use crate::delegation::Delegate;
use crate::lab::{IDO, Lab, NAME, ido_config, ndc_config, star_ca, template};
use crate::server_kit::{BASE, Client, START, World, decode, keep, names, problem};
use crate::support::signer;

fn rule(name: &str, dns: &str, account: &str) -> DelegationRule {
    DelegationRule::new(name, Delegation::new(template(dns))).unwrap().with_account(account)
}

/// A name owner with these limits, and one delegate.
fn owner(limits: IdoLimits) -> (Lab, Delegate) {
    let key = signer();
    let rule = rule("mine", NAME, &key.public_key().thumbprint_text());
    let config = ido_config().with_limits(limits).with_delegation(rule).unwrap();
    let mut lab = Lab::with_key(star_ca(), config, ndc_config(), Arc::new(signer()), 1);
    // That of the laboratory has nothing to do with it.
    lab.run(60, |lab| lab.ended.is_some());
    let delegate = Delegate::register(&mut lab, key);
    lab.audit.clear();
    (lab, delegate)
}

/// Orders under a delegation that is not there.
fn refused(lab: &mut Lab, by: &Delegate, times: usize) {
    let asked = NewOrder::new(vec![Identifier::dns(NAME).unwrap()]).with_delegation(format!("{IDO}/delegation/none"));
    for _ in 0..times {
        assert_eq!(by.post(lab, &format!("{IDO}/new-order"), &asked.encode()).status, 403);
    }
}

/// How many refusals were said, and how many were only counted.
fn said(lab: &Lab) -> (usize, u64) {
    let count = |what: &Audit| if let Audit::Omitted { refusals } = what { *refusals } else { 0 };
    let said = lab.audit.iter().filter(|what| matches!(what, Audit::Refused { .. })).count();
    (said, lab.audit.iter().map(count).sum())
}

#[test]
fn strangers_do_not_fill_the_audit_log() {
    let (mut lab, delegate) = owner(IdoLimits::default().with_refusals(5, 6));
    let strangers = [(); 3].map(|()| Delegate::register(&mut lab, signer()));
    for stranger in &strangers {
        refused(&mut lab, stranger, 10);
    }
    lab.run(1, |_| false);
    assert_eq!(said(&lab), (5, 0));
    // They hide nothing of what is refused to a delegate; he has a rate too.
    refused(&mut lab, &delegate, 7);
    lab.run(1, |_| false);
    let is_his = |what: &&Audit| matches!(what, Audit::Refused { account, .. } if *account == delegate.key.public_key().thumbprint_text());
    assert_eq!((said(&lab).0, lab.audit.iter().filter(is_his).count()), (10, 5));
    // What was left out is said as a number, soon, though nobody asks any more.
    assert!(lab.run(20, |lab| said(lab).1 == 25 + 2), "{:?}", said(&lab));
    lab.run(600, |_| false);
    assert_eq!(said(&lab), (10, 27));
    refused(&mut lab, &strangers[0], 1);
    lab.run(1, |_| false);
    assert_eq!(said(&lab), (11, 27), "after a while it is said again");
}

#[test]
fn refusals_do_not_wait_without_end_for_a_driver() {
    let (mut lab, delegate) = owner(IdoLimits::default().with_refusals(1000, 60).with_waiting(20));
    // Nobody looks at the events meanwhile: what is to be kept cannot be.
    refused(&mut lab, &delegate, 60);
    lab.run(5, |_| false);
    let (at_once, omitted) = said(&lab);
    assert!((1..=20).contains(&at_once), "{at_once}");
    assert_eq!(at_once as u64 + omitted, 60);
}

#[test]
fn a_delegate_with_many_delegations_finds_the_one_that_fits() {
    let key = Arc::new(signer());
    let thumbprint = key.public_key().thumbprint_text();
    // More than three pages; the last one fits.
    let names = (0..650).map(|number| format!("d{number:03}"));
    let config = names.fold(ido_config(), |config, name| {
        config.with_delegation(rule(&name, "other.ido.example", &thumbprint)).unwrap()
    });
    let config = config.with_delegation(rule("zzz", NAME, &thumbprint)).unwrap();
    let mut lab = Lab::with_key(star_ca(), config, ndc_config().once(), key, 1);
    assert!(lab.run(600, |lab| lab.ended.is_some()));
    assert_eq!(lab.ended, Some(NdcEnd::Installed));
    assert_eq!(lab.ido.orders().next().unwrap().delegation, "zzz");
    let pages = lab.arrived.iter().filter(|exchange| exchange.url.contains("/delegations")).count();
    assert_eq!(pages, 4);
}

#[test]
fn the_orders_of_an_account_are_listed_in_pages_that_clients_read() {
    let limits = CaLimits::default().with_open_orders(1000);
    let mut world = World::new(CaConfig::builder(BASE).with_trusted_identifiers(true).with_limits(limits));
    let client = Client::register(&mut world);
    let order = names(&["a.example"]);
    for _ in 0..450 {
        client.order(&mut world, &order);
    }
    let (mut next, mut sizes) = (Some(format!("{}/orders", client.kid)), Vec::new());
    let mut found = std::collections::BTreeSet::new();
    while let Some(url) = next {
        let page = client.read(&mut world, &url);
        assert!(page.body.len() <= 64 * 1024);
        let list: serde_json::Value = serde_json::from_slice(&page.body).unwrap();
        let list = list["orders"].as_array().unwrap().clone();
        sizes.push(list.len());
        found.extend(list.into_iter().map(|url| url.as_str().unwrap().to_owned()));
        let links = page.headers.iter().find(|(name, value)| *name == "link" && value.contains("rel=\"next\""));
        next = links.map(|(_, link)| link.trim_start_matches('<').split('>').next().unwrap().to_owned());
    }
    assert_eq!((sizes, found.len()), (vec![200, 200, 50], 450));
}

#[test]
fn a_request_that_is_not_signed_makes_no_room() {
    let (mut lab, _) = owner(IdoLimits::default().with_totals(3, 10));
    let stranger = Delegate::register(&mut lab, signer());
    let accounts = lab.ido.len().0;
    assert_eq!(accounts, 3);
    let (key, url) = (signer(), format!("{IDO}/new-account"));
    let post = |lab: &mut Lab, nonce: &str| {
        let now = lab.now();
        let body = sign(&key, KeyRef::Jwk(key.public_key()), Some(nonce), &url, b"{}").unwrap();
        for body in [&b"{}"[..], b"", &body] {
            assert!(lab.ido.handle_request(now, &Request::post(&url, body)).status >= 400);
        }
    };
    for _ in 0..5 {
        post(&mut lab, "AAAAAAAAAAAAAAAAAAAAAA");
    }
    assert_eq!(lab.ido.len().0, accounts);
    assert_eq!(stranger.post(&mut lab, &stranger.kid.clone(), b"").status, 200, "it was not forgotten");
}

fn star() -> acme_lurk::acme::server::CaConfigBuilder {
    let policy = StarPolicy::new(StarMeta::new(10, 1_000_000, true));
    CaConfig::builder(BASE).with_trusted_identifiers(true).with_star(policy, Fraction::HALF)
}

#[test]
fn a_smaller_limit_is_for_new_orders_alone() {
    let mut world = World::new(star());
    let client = Client::register(&mut world);
    let end = UnixTime::from_secs(START + 600);
    let asked = names(&["a.example"]).with_auto_renewal(AutoRenewal::new(end, 100).with_certificate_get(true));
    let mut urls = Vec::new();
    for _ in 0..3 {
        let (order, url) = client.order(&mut world, &asked);
        client.finalize(&mut world, &order);
        world.issue();
        urls.push(decode(&client.read(&mut world, &url)).star_certificate.unwrap());
    }
    world.restart_with(star().with_limits(CaLimits::default().with_totals(10, 1)));
    world.wait(60);
    for _ in 0..3 {
        world.issue();
    }
    for url in &urls {
        assert_eq!(world.get(url).status, 200);
    }
    let refused = client.post_octets(&mut world, &format!("{BASE}/new-order"), &asked.encode());
    assert_eq!(problem(&refused), (503, "serverInternal".into()));
}

#[test]
fn what_is_refused_is_not_written_down() {
    let mut world = World::new(star());
    let (client, other) = (Client::register(&mut world), Client::register(&mut world));
    let (order, url) = client.order(&mut world, &names(&["a.example"]));
    let csr = CsrPlan::for_names(["a.example"]).build(&signer()).unwrap();
    client.finalize_with(&mut world, &order, &csr);
    let (_, leaf) = world.issue();
    keep(&mut world.records.clone(), world.ca.take_records());
    // Everybody has the certificate, and a key.
    let revoke = format!("{BASE}/revoke-cert");
    let payload = json!({"certificate": base64url::encode(&leaf), "reason": 1});
    assert_eq!(problem(&other.post(&mut world, &revoke, &payload)), (403, "unauthorized".into()));
    let payload = json!({"certificate": base64url::encode(&leaf), "reason": 7});
    assert_eq!(problem(&client.post(&mut world, &revoke, &payload)), (400, "badRevocationReason".into()));
    // Nor an account that is not changed, a change of keys that is refused, an order that cannot be canceled.
    let new = signer();
    let change = format!("{BASE}/key-change");
    let old: serde_json::Value = serde_json::from_str(&new.public_key().to_jwk()).unwrap();
    let inner = json!({"account": client.kid, "oldKey": old}).to_string();
    let inner = sign(&new, KeyRef::Jwk(new.public_key()), None, &change, inner.as_bytes()).unwrap();
    assert_eq!(problem(&client.post_octets(&mut world, &change, &inner)), (400, "malformed".into()));
    assert_eq!(client.post(&mut world, &client.kid.clone(), &json!({})).status, 200);
    let cancel = client.post(&mut world, &url, &json!({"status": "canceled"}));
    assert_eq!(problem(&cancel), (400, "autoRenewalCancellationInvalid".into()));
    assert_eq!(world.ca.take_records(), []);
}
