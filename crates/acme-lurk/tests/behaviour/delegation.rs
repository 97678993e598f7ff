//! Delegates and name owners, with a CA behind them.

use std::sync::Arc;

use acme_lurk::acme::client::{ClientError, ExchangeFailure, Received};
use acme_lurk::acme::server::{CaConfig, Request};
use acme_lurk::acme::{Delegation, Directory, Identifier, NewOrder, Order, OrderStatus, ProblemType};
use acme_lurk::delegation::{Audit, DelegationRule, NdcConfig, NdcEnd, NdcError, NdcEvent, Serving};
use watchfire_core::Duration;

use crate::lab::{IDO, Lab, NAME, STAR, ido_config, ndc_config, star_ca, template};
use crate::server_kit::{BASE, START};
use crate::support::signer;

fn lab() -> Lab {
    Lab::new(star_ca(), ido_config(), ndc_config(), 1)
}

#[test]
fn a_delegate_obtains_rolls_and_loses_a_certificate() {
    let mut lab = lab();
    assert!(lab.run(30, |lab| !lab.installed.is_empty()), "{:?} {:?}", lab.ndc, lab.audit);
    // The order at the CA says nothing of the delegation, and has the same names and dates.
    let star_url =
        lab.seen.iter().rev().find(|(is_ndc, exchange)| *is_ndc && exchange.method == "GET").unwrap().1.url.clone();
    assert!(star_url.starts_with(&format!("{BASE}/star/")), "the CA's URL is handed through: {star_url}");
    assert!(lab.run(100, |lab| lab.installed.len() >= 5), "{}", lab.installed.len());
    lab.has_no_gap().unwrap();
    assert!(lab.alarms.is_empty() && lab.dns.is_empty());
    let order = lab.ido.orders().next().unwrap();
    assert_eq!((order.status, order.delegation.as_str(), order.emulated), (OrderStatus::Valid, "abc", false));
    assert_eq!(lab.ido.order_by_url(lab.ndc.order_url().unwrap()), Some(order.id));
    // The owner stops it: the delegate reports that, and asks for nothing more.
    let now = lab.now();
    lab.ido.cancel(now, &order.id).unwrap();
    assert!(lab.ido.cancel(now, &order.id).is_err(), "once");
    assert!(lab.run(60, |lab| lab.ended.is_some()));
    let Some(NdcEnd::Canceled { not_after: Some(not_after) }) = lab.ended else { panic!("{:?}", lab.ended) };
    assert!(not_after > lab.now().unix);
    assert!(lab.audit.contains(&Audit::Canceled));
    assert_eq!(lab.ido.orders().next().unwrap().status, OrderStatus::Canceled);
    let seen = lab.seen.len();
    lab.run(300, |_| false);
    assert_eq!(lab.seen.len(), seen);
}

#[test]
fn an_order_that_was_stopped_at_the_ca_alone_is_noticed() {
    let mut lab = lab();
    assert!(lab.run(30, |lab| !lab.installed.is_empty()), "{:?} {:?}", lab.ndc, lab.audit);
    // Somebody else with the key of the account stops it: as this owner, who then knows nothing of it.
    let before = lab.ido_records.clone();
    let (now, order) = (lab.now(), lab.ido.orders().next().unwrap());
    assert_eq!(order.auto_renewal.unwrap().lifetime, STAR.0);
    lab.ido.cancel(now, &order.id).unwrap();
    assert!(lab.run(10, |lab| lab.audit.contains(&Audit::Canceled)));
    let _ = lab.ido.take_records();
    lab.ido_records = before;
    lab.restart_ido();
    lab.audit.clear();
    assert_eq!(lab.ido.orders().next().unwrap().status, OrderStatus::Valid);
    assert!(lab.run(STAR.0 + 10, |lab| lab.audit.contains(&Audit::Canceled)), "{:?}", lab.audit);
    assert_eq!(lab.ido.orders().next().unwrap().status, OrderStatus::Canceled);
    // It is done with.
    let seen = lab.seen.len();
    lab.run(10 * STAR.0, |lab| lab.ended.is_some());
    lab.run(10 * STAR.0, |_| false);
    assert!(!lab.seen[seen..].iter().any(|(is_ndc, _)| !is_ndc), "{:?}", &lab.seen[seen..]);
}

#[test]
fn a_certificate_that_nobody_renews_is_ordered_anew_and_revoked_at_the_end() {
    let ca = CaConfig::builder(BASE).with_certificate_get(true).with_validity(60);
    let mut lab = Lab::new(ca, ido_config(), NdcConfig::builder([NAME]).unwrap().without_star(), 1);
    assert!(lab.run(200, |lab| lab.installed.len() == 4), "{:?}", lab.audit);
    lab.has_no_gap().unwrap();
    let orders: Vec<_> = lab.ido.orders().collect();
    assert!(orders.iter().all(|order| order.status == OrderStatus::Valid) && orders.len() >= 2);
    let newest = orders.iter().find(|order| lab.ndc.order_url() == Some(&order.url)).unwrap().id;
    let now = lab.now();
    lab.ido.cancel(now, &newest).unwrap();
    assert!(lab.run(20, |lab| lab.audit.contains(&Audit::Revoked) && lab.audit.contains(&Audit::Canceled)));
}

#[test]
fn the_owner_refuses_before_challenges_when_the_ca_drops_what_was_asked() {
    // No STAR at all; STAR without GET; no GET of ordinary certificates.
    let no_star = CaConfig::builder(BASE).with_certificate_get(true);
    let policy = acme_lurk::star::StarPolicy::new(acme_lurk::star::StarMeta::new(10, 1_000_000, false));
    let no_get = CaConfig::builder(BASE).with_star(policy, acme_lurk::star::Fraction::HALF);
    let plain = CaConfig::builder(BASE);
    for (ca, ndc) in
        [(no_star, ndc_config()), (no_get, ndc_config()), (plain, NdcConfig::builder([NAME]).unwrap().without_star())]
    {
        let mut lab = Lab::new(ca, ido_config(), ndc, 1);
        assert!(lab.run(60, |lab| lab.ended.is_some()));
        assert_eq!(lab.ended, Some(NdcEnd::Failed(NdcError::NoCertificateGet)));
        assert_eq!(lab.ido.orders().next().unwrap().status, OrderStatus::Invalid);
        assert!(lab.dns.is_empty() && !lab.seen.iter().any(|(_, exchange)| exchange.url.contains("/chall/")));
        assert!(!lab.seen.iter().any(|(is_ndc, exchange)| !*is_ndc && exchange.url.ends_with("/new-order")));
    }
}

#[test]
fn certificates_can_be_served_by_the_owner_itself() {
    // The CA lets nobody fetch but the owner of the order.
    let policy = acme_lurk::star::StarPolicy::new(acme_lurk::star::StarMeta::new(10, 1_000_000, false));
    let ca = CaConfig::builder(BASE).with_star(policy, acme_lurk::star::Fraction::HALF);
    let mut lab = Lab::new(ca, ido_config().with_serving(Serving::Own), ndc_config(), 1);
    assert!(lab.run(150, |lab| lab.installed.len() >= 4), "{:?} {:?}", lab.ndc, lab.audit);
    lab.has_no_gap().unwrap();
    assert!(lab.seen.iter().all(|(is_ndc, exchange)| !*is_ndc || exchange.url.starts_with(IDO)));
    let id = lab.ido.orders().next().unwrap().id;
    let now = lab.now();
    lab.ido.cancel(now, &id).unwrap();
    assert!(lab.run(60, |lab| matches!(lab.ended, Some(NdcEnd::Canceled { .. }))));
}

#[test]
fn a_delegate_takes_the_delegation_that_fits_and_says_why_none_does() {
    let key = Arc::new(signer());
    let thumbprint = acme_lurk::crypto::Signer::public_key(&*key).thumbprint_text();
    let rule = |name: &str, dns: &str| {
        DelegationRule::new(name, Delegation::new(template(dns))).unwrap().with_account(thumbprint.clone())
    };
    let config = || {
        let other = ido_config().with_delegation(rule("aaa", "other.ido.example")).unwrap();
        let somebody = DelegationRule::new("secret", Delegation::new(template(NAME))).unwrap().with_account("AAAA");
        other.with_delegation(somebody).unwrap()
    };
    let fitting = config().with_delegation(rule("bbb", NAME)).unwrap();
    let mut lab = Lab::with_key(star_ca(), fitting, ndc_config().once(), key.clone(), 1);
    assert!(lab.run(60, |lab| lab.ended == Some(NdcEnd::Installed)), "{:?}", lab.ended);
    assert_eq!(lab.ido.orders().next().unwrap().delegation, "bbb");
    // None fits.
    let mut lab = Lab::with_key(star_ca(), config(), ndc_config(), key.clone(), 1);
    assert!(lab.run(60, |lab| lab.ended.is_some()));
    let Some(NdcEnd::Failed(error)) = &lab.ended else { panic!() };
    assert!(error.is_refusal());
    assert_eq!(error.to_string(), format!("{IDO}/delegation/aaa: the template does not allow the name \"{NAME}\""));
    // That of somebody else is not known.
    let ndc = ndc_config().with_delegation(format!("{IDO}/delegation/secret"));
    let mut lab = Lab::with_key(star_ca(), config(), ndc, key.clone(), 1);
    assert!(lab.run(60, |lab| lab.ended.is_some()));
    let Some(NdcEnd::Failed(NdcError::Client(error))) = &lab.ended else { panic!() };
    assert_eq!(error.problem().unwrap().kind, ProblemType::UnknownDelegation);
    // An account without any is told what to do.
    let mut lab = Lab::with_key(star_ca(), ido_config(), ndc_config(), key, 1);
    assert!(lab.run(60, |lab| lab.ended.is_some()));
    assert!(lab.ended.as_ref().unwrap().to_string().contains("thumbprint"));
}

#[test]
fn a_delegate_is_told_of_what_is_late() {
    let mut lab = lab();
    assert!(lab.run(30, |lab| !lab.installed.is_empty()));
    let not_after = lab.installed[0].1.not_after;
    lab.ca_away_until = lab.instant + Duration::from_secs(60);
    assert!(lab.run(60, |lab| lab.alarms.len() == 2), "{:?}", lab.alarms);
    let NdcEvent::Alarm { not_after: late, .. } = &lab.alarms[0] else { panic!("{:?}", lab.alarms) };
    assert_eq!(*late, not_after);
    assert_eq!(lab.alarms[1], NdcEvent::Gap { not_after });
    // When the CA is there again all is well again.
    let before = lab.installed.len();
    assert!(lab.run(60, |lab| lab.installed.len() > before));
    assert_eq!(lab.alarms.len(), 2, "each is said once");
    assert!(lab.installed.last().unwrap().1.not_after > lab.now().unix);
}

#[test]
fn an_order_is_followed_by_another_before_its_end() {
    let mut lab = lab();
    let end = lab.agreed().end;
    assert!(lab.run(500, |lab| lab.now().unix.as_secs() > START + 450), "{:?}", lab.ended);
    assert_eq!(lab.ended, None);
    lab.has_no_gap().unwrap();
    let first = lab.installed.iter().filter(|(at, _)| *at < end);
    assert!(first.clone().count() >= 9);
    assert!(lab.ido.orders().count() >= 2);
    // No certificate outlives the order that it is of.
    let (_, _, duration) = STAR;
    for (at, installation) in &lab.installed {
        assert!(installation.not_after.as_secs() <= at.as_secs() + i64::try_from(duration).unwrap());
    }
}

#[test]
fn wrong_certificates_are_not_installed() {
    let mut lab = lab();
    assert!(lab.run(30, |lab| !lab.installed.is_empty()));
    // Somebody else's certificate at the URL of ours.
    let mut other = self::lab();
    assert!(other.run(30, |lab| !lab.installed.is_empty()));
    let chain = other.installed[0].1.to_pem();
    lab.run(5, |_| false);
    let now = lab.now();
    let before = lab.installed.len();
    // The next fetch is answered with it.
    let exchange = loop {
        match lab.ndc.poll_output(lab.now()) {
            watchfire_core::Output::Event(NdcEvent::Exchange(exchange)) => break exchange,
            watchfire_core::Output::Event(_) => {}
            watchfire_core::Output::Timeout(Some(at)) => {
                lab.instant = at;
                let now = lab.now();
                lab.ndc.handle_timeout(now);
            }
            other => panic!("{other:?}"),
        }
    };
    lab.ndc.handle_response(lab.now(), exchange.id, Received::new(200, [("etag", "\"x\"")], chain));
    let mut events = Vec::new();
    while let watchfire_core::Output::Event(event) = lab.ndc.poll_output(lab.now()) {
        events.push(event);
    }
    assert_eq!(events, [NdcEvent::Rejected(acme_lurk::delegation::WrongCertificate::Key)], "{now:?}");
    assert_eq!(lab.installed.len(), before);
    // A URL that leads inside is not gone to.
    let error = ClientError::Exchange(ExchangeFailure::NotPublic);
    assert!(!NdcError::Client(error).is_refusal());
}

/// Requests as a client of the name owner that is not ours makes them.
pub(crate) struct Delegate {
    pub(crate) key: acme_lurk::crypto::RingSigner,
    pub(crate) kid: String,
}

impl Delegate {
    pub(crate) fn register(lab: &mut Lab, key: acme_lurk::crypto::RingSigner) -> Self {
        // New orders are taken when the CA is known.
        lab.run(2, |lab| lab.ido.upstream_directory().is_some());
        let mut delegate = Self { key, kid: String::new() };
        let response = delegate.post(lab, &format!("{IDO}/new-account"), b"{}");
        delegate.kid = response.header("location").unwrap().to_owned();
        delegate
    }

    pub(crate) fn post(&self, lab: &mut Lab, url: &str, payload: &[u8]) -> acme_lurk::acme::server::Response {
        use acme_lurk::jose::{KeyRef, sign};
        let now = lab.now();
        let nonce = lab.ido.handle_request(now, &Request::get(&format!("{IDO}/new-nonce")));
        let nonce = nonce.header("replay-nonce").unwrap();
        let public = acme_lurk::crypto::Signer::public_key(&self.key);
        let key = if self.kid.is_empty() { KeyRef::Jwk(public) } else { KeyRef::Kid(&self.kid) };
        let body = sign(&self.key, key, Some(nonce), url, payload).unwrap();
        lab.ido.handle_request(now, &Request::post(url, &body))
    }
}

#[test]
fn orders_that_a_delegation_does_not_allow_are_refused() {
    let key = signer();
    let thumbprint = acme_lurk::crypto::Signer::public_key(&key).thumbprint_text();
    let open = DelegationRule::new("open", Delegation::new(template("**"))).unwrap();
    let open = open.with_account(thumbprint.clone()).with_name("*.cdn.example").unwrap();
    let fixed = DelegationRule::new("fixed", Delegation::new(template(NAME))).unwrap().with_account(thumbprint);
    let config = ido_config().with_delegation(open).unwrap().with_delegation(fixed).unwrap();
    let mut lab = Lab::with_key(star_ca(), config, ndc_config(), Arc::new(signer()), 1);
    let delegate = Delegate::register(&mut lab, key);
    let account = delegate.post(&mut lab, &delegate.kid.clone(), b"");
    let account: serde_json::Value = serde_json::from_slice(&account.body).unwrap();
    let list = delegate.post(&mut lab, account["delegations"].as_str().unwrap(), b"");
    let list: serde_json::Value = serde_json::from_slice(&list.body).unwrap();
    assert_eq!(list["delegations"].as_array().unwrap().len(), 2);
    let star = lab.agreed().with_certificate_get(true);
    let order = |name: &str, delegation: &str| {
        let order = NewOrder::new(vec![Identifier::dns(name).unwrap()]).with_auto_renewal(star);
        order.with_delegation(format!("{IDO}/delegation/{delegation}"))
    };
    let mut kind = |order: NewOrder| {
        let response = delegate.post(&mut lab, &format!("{IDO}/new-order"), &order.encode());
        match response.status {
            201 => (201, String::new()),
            status => {
                let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
                (status, body["type"].as_str().unwrap().rsplit(':').next().unwrap().to_owned())
            }
        }
    };
    assert_eq!(kind(order(NAME, "fixed")).0, 201);
    assert_eq!(kind(order("a.cdn.example", "open")).0, 201);
    for (name, delegation, status, problem) in [
        (NAME, "nothing", 403, "unknownDelegation"),
        ("b.ido.example", "fixed", 403, "rejectedIdentifier"),
        ("a.b.cdn.example", "open", 403, "rejectedIdentifier"),
        ("cdn.example", "open", 403, "rejectedIdentifier"),
    ] {
        assert_eq!(kind(order(name, delegation)), (status, problem.to_owned()), "{name} {delegation}");
    }
    let without = NewOrder::new(vec![Identifier::dns(NAME).unwrap()]).with_auto_renewal(star);
    assert_eq!(kind(without), (403, "unknownDelegation".into()));
    let elsewhere = NewOrder::new(vec![Identifier::dns(NAME).unwrap()])
        .with_auto_renewal(star)
        .with_delegation("https://other.example/delegation/fixed");
    assert_eq!(kind(elsewhere), (403, "unknownDelegation".into()));
    let mut closed = order(NAME, "fixed");
    closed.auto_renewal = Some(acme_lurk::star::AutoRenewal::new(star.end, star.lifetime));
    assert_eq!(kind(closed), (400, "malformed".into()), "without allow-certificate-get");
    let mut plain = order(NAME, "fixed");
    plain.auto_renewal = None;
    assert_eq!(kind(plain.clone()), (400, "malformed".into()));
    plain.allow_certificate_get = Some(true);
    assert_eq!(kind(plain).0, 201);
    let mut circling = order(NAME, "fixed");
    circling.hops = 8;
    assert_eq!(kind(circling), (400, "malformed".into()));
    let mut short = order(NAME, "fixed");
    short.auto_renewal = Some(acme_lurk::star::AutoRenewal::new(star.end, 1).with_certificate_get(true));
    assert_eq!(kind(short), (400, "malformed".into()));
}

#[test]
fn an_order_is_ready_at_once_and_invalid_when_its_request_does_not_fit() {
    for keep_ready in [false, true] {
        let key = signer();
        let thumbprint = acme_lurk::crypto::Signer::public_key(&key).thumbprint_text();
        let rule = DelegationRule::new("abc", Delegation::new(template(NAME))).unwrap().with_account(thumbprint);
        let config = ido_config().with_ready_kept(keep_ready).with_delegation(rule).unwrap();
        let mut lab = Lab::with_key(star_ca(), config, ndc_config(), Arc::new(signer()), 1);
        let delegate = Delegate::register(&mut lab, key);
        let now = lab.now();
        let directory = lab.ido.handle_request(now, &Request::get(&format!("{IDO}/directory")));
        let directory = Directory::decode(&directory.body, &acme_lurk::Limits::DEFAULT).unwrap();
        assert!(directory.meta.delegation_enabled && directory.meta.auto_renewal.is_some());
        let asked = NewOrder::new(vec![Identifier::dns(NAME).unwrap()])
            .with_auto_renewal(lab.agreed().with_certificate_get(true))
            .with_delegation(format!("{IDO}/delegation/abc"));
        let response = delegate.post(&mut lab, &directory.new_order, &asked.encode());
        let order = Order::decode(&response.body, &acme_lurk::Limits::DEFAULT).unwrap();
        assert_eq!((response.status, order.status, order.authorizations.len()), (201, OrderStatus::Ready, 0));
        assert_eq!((order.delegation, order.auto_renewal), (asked.delegation.clone(), asked.auto_renewal));
        let url = response.header("location").unwrap().to_owned();
        let finalize = |lab: &mut Lab, csr: Vec<u8>| {
            delegate.post(lab, &order.finalize, &acme_lurk::acme::Finalize { csr }.encode())
        };
        let plan = acme_lurk::csr::CsrPlan::for_names(["b.ido.example"]);
        let response = finalize(&mut lab, plan.build(&signer()).unwrap());
        let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!((response.status, problem["type"].as_str().unwrap()), (403, "urn:ietf:params:acme:error:badCSR"));
        assert!(!problem["subproblems"].as_array().unwrap().is_empty());
        let shown = delegate.post(&mut lab, &url, b"");
        let shown = Order::decode(&shown.body, &acme_lurk::Limits::DEFAULT).unwrap();
        let expected = if keep_ready { OrderStatus::Ready } else { OrderStatus::Invalid };
        assert_eq!((shown.status, shown.error.is_some()), (expected, !keep_ready));
        // A second try, that fits.
        let plan = template(NAME).plan(&acme_lurk::template::Answers::new()).unwrap();
        let csr = plan.build(&signer()).unwrap();
        let response = finalize(&mut lab, csr.clone());
        assert_eq!(response.status, if keep_ready { 200 } else { 403 });
        if keep_ready {
            // The same again is the same; another one comes too late.
            assert_eq!(finalize(&mut lab, csr).status, 200);
            let other = plan.build(&signer()).unwrap();
            assert_eq!(finalize(&mut lab, other).status, 403);
            assert!(lab.run(60, |lab| lab.ido.orders().next().unwrap().status == OrderStatus::Valid));
            // A delegate does not stop an order.
            assert_eq!(delegate.post(&mut lab, &url, br#"{"status":"canceled"}"#).status, 403);
        }
        // The key of an account is none for certificates.
        let other = Delegate::register(&mut lab, signer());
        assert_eq!(other.post(&mut lab, &url, b"").status, 404, "orders are their owner's");
        assert_eq!(other.post(&mut lab, &format!("{IDO}/delegation/abc"), b"").status, 403);
    }
}

#[test]
fn a_request_goes_to_the_ca_as_it_is_and_nothing_of_the_delegation_does() {
    let mut lab = lab();
    assert!(lab.run(30, |lab| !lab.installed.is_empty()));
    let payload = |is_ndc: bool, end: &str| {
        let found = lab.seen.iter().find(|(by, exchange)| *by == is_ndc && exchange.url.ends_with(end)).unwrap();
        let jws: serde_json::Value = serde_json::from_slice(&found.1.body).unwrap();
        let octets = acme_lurk::base64url::decode(jws["payload"].as_str().unwrap()).unwrap();
        serde_json::from_slice::<serde_json::Value>(&octets).unwrap()
    };
    assert_eq!(payload(true, "/finalize")["csr"], payload(false, "/finalize")["csr"]);
    let (mut first, second) = (payload(true, "/new-order"), payload(false, "/new-order"));
    first.as_object_mut().unwrap().remove("delegation").unwrap();
    assert_eq!(first, second);
    assert!(lab.audit.iter().any(|what| matches!(what, Audit::Placed { url } if url.starts_with(BASE))));
}

#[test]
fn what_the_ca_does_not_reflect_ends_the_order_before_challenges() {
    // The directory promises STAR, and the order has none of it; or one that nobody else may fetch.
    let drop_all =
        |exchange: &acme_lurk::acme::client::Exchange, received: Received| without(exchange, received, false);
    let drop_get = |exchange: &acme_lurk::acme::client::Exchange, received: Received| without(exchange, received, true);
    for tamper in [drop_all as fn(&_, _) -> _, drop_get as fn(&_, _) -> _] {
        let mut lab = lab();
        lab.tamper = Some(tamper);
        assert!(lab.run(60, |lab| lab.ended.is_some()));
        assert_eq!(lab.ended, Some(NdcEnd::Failed(NdcError::NoCertificateGet)));
        assert_eq!(lab.ido.orders().next().unwrap().status, OrderStatus::Invalid);
        assert!(lab.seen.iter().any(|(is_ndc, exchange)| !*is_ndc && exchange.url.ends_with("/new-order")));
        assert!(lab.dns.is_empty() && !lab.seen.iter().any(|(_, exchange)| exchange.url.contains("/chall/")));
    }
}

/// The answer to newOrder without `auto-renewal`, or without its `allow-certificate-get`.
fn without(exchange: &acme_lurk::acme::client::Exchange, mut received: Received, get_only: bool) -> Received {
    if exchange.url.ends_with("/new-order") {
        let mut body: serde_json::Value = serde_json::from_slice(&received.body).unwrap();
        if get_only {
            body["auto-renewal"].as_object_mut().unwrap().remove("allow-certificate-get").unwrap();
        } else {
            body.as_object_mut().unwrap().remove("auto-renewal").unwrap();
        }
        received.body = serde_json::to_vec(&body).unwrap();
    }
    received
}

#[test]
fn an_order_that_is_given_up_while_the_ca_is_away_is_stopped_there_when_it_comes_too_late() {
    // While the order is still pursued, and after that has been given up too.
    for (kept, away) in [(30, 40), (150, 170)] {
        given_up(kept, away);
    }
}

fn given_up(kept: u64, away: u64) {
    use acme_lurk::delegation::IdoLimits;
    let limits = IdoLimits::default().with_open_orders(10, kept);
    let mut lab = Lab::new(star_ca(), ido_config().with_limits(limits), ndc_config(), 1);
    // The CA gets the request, and is away before it has answered.
    assert!(lab.run(30, |lab| lab.seen.iter().any(|(by, sent)| !*by && sent.url.ends_with("/finalize"))));
    lab.lose_ca_answers_until = lab.instant + Duration::from_secs(away);
    assert!(
        lab.run(away + 60, |lab| lab.ido.orders().any(|order| order.status == OrderStatus::Invalid)),
        "{:?}",
        lab.audit
    );
    assert!(lab.run(200, |lab| lab.seen.iter().any(|(by, sent)| !*by && is_cancellation(sent))), "{:?}", lab.audit);
    lab.run(5, |_| false);
    let now = lab.now();
    let star = lab.star_url();
    let fetched = lab.ca.ca.handle_request(now.unix, &Request::get(&star));
    let problem: serde_json::Value = serde_json::from_slice(&fetched.body).unwrap();
    assert_eq!(problem["type"], "urn:ietf:params:acme:error:autoRenewalCanceled");
}

pub(crate) fn is_cancellation(exchange: &acme_lurk::acme::client::Exchange) -> bool {
    let Ok(jws) = serde_json::from_slice::<serde_json::Value>(&exchange.body) else { return false };
    acme_lurk::base64url::decode(jws["payload"].as_str().unwrap()).unwrap() == br#"{"status":"canceled"}"#
}

#[test]
fn a_delegate_with_a_new_key_or_other_names_begins_anew() {
    let mut lab = lab();
    assert!(lab.run(30, |lab| !lab.installed.is_empty()));
    let first = lab.ndc.order_url().unwrap().to_owned();
    lab.restart_ndc();
    assert_eq!(lab.ndc.order_url(), Some(first.as_str()));
    lab.key = Arc::new(signer());
    lab.restart_ndc();
    assert_eq!((lab.ndc.order_url(), lab.ndc.installed_until()), (None, None));
    let before = lab.installed.len();
    assert!(lab.run(30, |lab| lab.installed.len() > before), "{:?} {:?}", lab.ndc, lab.ended);
    assert_ne!(lab.ndc.order_url(), Some(first.as_str()));
}

#[test]
fn an_order_that_is_not_finalized_is_invalid_and_then_forgotten() {
    use acme_lurk::delegation::IdoLimits;
    let key = signer();
    let thumbprint = acme_lurk::crypto::Signer::public_key(&key).thumbprint_text();
    let rule = DelegationRule::new("abc", Delegation::new(template(NAME))).unwrap().with_account(thumbprint);
    let limits = IdoLimits::default().with_open_orders(2, 60);
    let config = ido_config().with_limits(limits).with_delegation(rule).unwrap();
    let mut lab = Lab::with_key(star_ca(), config, ndc_config(), Arc::new(signer()), 1);
    let delegate = Delegate::register(&mut lab, key);
    let asked = NewOrder::new(vec![Identifier::dns(NAME).unwrap()])
        .with_auto_renewal(lab.agreed().with_certificate_get(true))
        .with_delegation(format!("{IDO}/delegation/abc"));
    let order = |lab: &mut Lab| delegate.post(lab, &format!("{IDO}/new-order"), &asked.encode());
    let url = order(&mut lab).header("location").unwrap().to_owned();
    assert_eq!(order(&mut lab).status, 201);
    let refused = order(&mut lab);
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("60")), "two wait already");
    lab.run(70, |_| false);
    lab.restart_ido();
    let shown = Order::decode(&delegate.post(&mut lab, &url, b"").body, &acme_lurk::Limits::DEFAULT).unwrap();
    assert_eq!((shown.status, shown.error.is_some()), (OrderStatus::Invalid, true));
    lab.skew += 86_500;
    lab.run(70, |_| false);
    assert_eq!(delegate.post(&mut lab, &url, b"").status, 404);
    assert_eq!(lab.ido.len().1, 0);
    assert!(!lab.ido_records.keys().any(|name| name.starts_with("order/")), "{:?}", lab.ido_records.keys());
}

#[test]
fn accounts_that_nobody_wants_make_room() {
    use acme_lurk::delegation::IdoLimits;
    let key = signer();
    let thumbprint = acme_lurk::crypto::Signer::public_key(&key).thumbprint_text();
    let rule = DelegationRule::new("abc", Delegation::new(template(NAME))).unwrap().with_account(thumbprint);
    let limits = IdoLimits::default().with_totals(3, 10);
    let config = ido_config().with_limits(limits).with_delegation(rule).unwrap();
    let mut lab = Lab::with_key(star_ca(), config, ndc_config(), Arc::new(signer()), 1);
    let wanted = Delegate::register(&mut lab, key);
    for _ in 0..6 {
        Delegate::register(&mut lab, signer());
    }
    assert_eq!(lab.ido.len().0, 3);
    assert_eq!(wanted.post(&mut lab, &wanted.kid.clone(), b"").status, 200, "whoever has a delegation stays");
}

#[test]
fn a_ca_whose_clock_is_ahead_is_not_asked_without_end() {
    let mut lab = Lab::new(star_ca(), ido_config().with_serving(Serving::Own), ndc_config(), 1);
    assert!(lab.run(30, |lab| !lab.installed.is_empty()));
    lab.tamper = Some(|exchange, received| {
        if !exchange.url.contains("/star/") {
            return received;
        }
        let problem = r#"{"type":"urn:ietf:params:acme:error:autoRenewalExpired","detail":"over"}"#;
        Received::new(403, [("replay-nonce", "AAAA")], problem)
    });
    let before = lab.seen.iter().filter(|(is_ndc, _)| !*is_ndc).count();
    lab.run(60, |_| false);
    let asked = lab.seen.iter().filter(|(is_ndc, _)| !*is_ndc).count() - before;
    assert!((1..5).contains(&asked), "{asked}");
}

#[test]
fn nothing_is_offered_before_the_ca_has_said_what_it_does() {
    let key = signer();
    let thumbprint = acme_lurk::crypto::Signer::public_key(&key).thumbprint_text();
    let rule = DelegationRule::new("abc", Delegation::new(template(NAME))).unwrap().with_account(thumbprint);
    // Ours would be a second; the CA wants ten.
    let policy = acme_lurk::star::StarPolicy::new(acme_lurk::star::StarMeta::new(1, 1_000_000, true));
    let config = ido_config().with_star(Some(policy)).with_delegation(rule).unwrap();
    let mut lab = Lab::with_key(star_ca(), config, ndc_config(), Arc::new(signer()), 1);
    lab.ca_away_until = lab.instant + Duration::from_secs(30);
    let delegate = Delegate::register(&mut lab, key);
    let asked = NewOrder::new(vec![Identifier::dns(NAME).unwrap()])
        .with_auto_renewal(lab.agreed().with_certificate_get(true))
        .with_delegation(format!("{IDO}/delegation/abc"));
    let mut waits = Vec::new();
    let directory = loop {
        let now = lab.now();
        let directory = lab.ido.handle_request(now, &Request::get(&format!("{IDO}/directory")));
        if directory.status == 200 {
            break Directory::decode(&directory.body, &acme_lurk::Limits::DEFAULT).unwrap();
        }
        let order = delegate.post(&mut lab, &format!("{IDO}/new-order"), &asked.encode());
        assert_eq!((directory.status, order.status, lab.ido.len().1), (503, 503, 0));
        let wait = directory.header("retry-after").unwrap();
        assert_eq!(order.header("retry-after"), Some(wait));
        waits.push(wait.parse::<u64>().unwrap());
        assert!(waits.len() < 100, "{waits:?}");
        lab.run(*waits.last().unwrap(), |_| false);
    };
    assert!(lab.instant >= lab.ca_away_until && waits.iter().any(|wait| *wait > 1), "{waits:?}");
    assert_eq!(directory.meta.auto_renewal, Some(acme_lurk::star::StarMeta::new(10, 1_000_000, true)));
    assert_eq!(delegate.post(&mut lab, &format!("{IDO}/new-order"), &asked.encode()).status, 201);
}

#[test]
fn delegations_are_replaced_while_the_server_runs() {
    let key = signer();
    let thumbprint = acme_lurk::crypto::Signer::public_key(&key).thumbprint_text();
    let rule = |name: &str| DelegationRule::new(name, Delegation::new(template(NAME))).unwrap();
    let mine = rule("mine").with_account(thumbprint.clone());
    let config = ido_config().with_delegation(mine.clone()).unwrap();
    let mut lab = Lab::with_key(star_ca(), config, ndc_config(), Arc::new(signer()), 1);
    let delegate = Delegate::register(&mut lab, key);
    let star = lab.agreed().with_certificate_get(true);
    let order = |lab: &mut Lab, delegation: &str| {
        let asked = NewOrder::new(vec![Identifier::dns(NAME).unwrap()]).with_auto_renewal(star);
        let asked = asked.with_delegation(format!("{IDO}/delegation/{delegation}"));
        let response = delegate.post(lab, &format!("{IDO}/new-order"), &asked.encode());
        (response.status, Order::decode(&response.body, &acme_lurk::Limits::DEFAULT))
    };
    let (status, first) = order(&mut lab, "mine");
    assert_eq!(status, 201);
    for wrong in [vec![rule("a"), rule("a")], vec![rule("a").with_upstream(format!("{IDO}/delegation/a"))]] {
        let now = lab.now();
        assert!(lab.ido.replace_delegations(now, wrong).is_err());
        assert_eq!(order(&mut lab, "mine").0, 201, "what was there stays");
    }
    let now = lab.now();
    lab.ido.replace_delegations(now, [rule("mine"), rule("yours").with_account(thumbprint)]).unwrap();
    assert_eq!(order(&mut lab, "mine").0, 403);
    assert_eq!(order(&mut lab, "yours").0, 201);
    // An order from before is of no use any more.
    let csr = acme_lurk::csr::CsrPlan::for_names([NAME]).build(&signer()).unwrap();
    let finalize = acme_lurk::acme::Finalize { csr }.encode();
    assert_eq!(delegate.post(&mut lab, &first.unwrap().finalize, &finalize).status, 403);
}
