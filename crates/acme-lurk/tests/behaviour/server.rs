//! The server of a CA, from its directory to the certificate and its end.

use acme_lurk::ApiMisuse;
use acme_lurk::acme::renewal::{RenewalInfo, certificate_id};
use acme_lurk::acme::server::{CaConfig, CaConfigBuilder, CaEvent, CaLimits, NamePolicy, Request};
use acme_lurk::acme::{Authorization, Directory, OrderStatus, Problem, ProblemType};
use acme_lurk::certificate::{Certificate, decode_chain};
use acme_lurk::crypto::{PublicKey, Signer as _};
use acme_lurk::csr::CsrPlan;
use acme_lurk::jose::{KeyRef, MacAlgorithm, MacKey, sign, sign_external_account};
use acme_lurk::star::{Adjusted, AutoRenewal, Fraction, StarMeta, StarPolicy};
use acme_lurk::{Limits, base64url};
use serde_json::{Value, json};
use watchfire_core::UnixTime;

use crate::server_kit::{BASE, Client, START, World, decode, names, problem, text};
use crate::support::{octets, signer};

const LIMITS: Limits = Limits::DEFAULT;

fn config() -> CaConfigBuilder {
    CaConfig::builder(BASE)
}

fn trusting() -> CaConfigBuilder {
    config().with_trusted_identifiers(true)
}

fn star() -> CaConfigBuilder {
    let policy = StarPolicy::new(StarMeta::new(60, 1_000_000, true)).with_adjusted(Adjusted::Always);
    trusting().with_star(policy, Fraction::HALF).with_certificate_get(true)
}

fn at(secs: i64) -> UnixTime {
    UnixTime::from_secs(secs)
}

fn body(response: &acme_lurk::acme::server::Response) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

#[test]
fn the_directory_and_nonces_are_for_everybody() {
    let mut world = World::new(star().with_terms_of_service("https://ca.example/terms"));
    let response = world.get(&format!("{BASE}/directory"));
    let directory = Directory::decode(&response.body, &LIMITS).unwrap();
    assert_eq!(directory.new_order, format!("{BASE}/new-order"));
    assert_eq!(directory.meta.auto_renewal, Some(StarMeta::new(60, 1_000_000, true)));
    assert!(directory.meta.allow_certificate_get);
    for (method, status) in [("HEAD", 200), ("GET", 204)] {
        let url = &directory.new_nonce;
        let response = world.request(&Request { method, ..Request::get(url) });
        assert_eq!((response.status, response.header("cache-control")), (status, Some("no-store")));
        assert!(base64url::decode(response.header("replay-nonce").unwrap()).unwrap().len() >= 16);
        assert!(response.header("link").unwrap().contains("rel=\"index\"") && response.body.is_empty());
    }
    for (method, path) in [("GET", "/new-order"), ("HEAD", "/acct/x"), ("PUT", "/directory"), ("DELETE", "/order/x")] {
        let url = format!("{BASE}{path}");
        let response = world.request(&Request { method, ..Request::get(&url) });
        assert_eq!((response.status, response.header("allow")), (405, Some("GET, HEAD, POST")), "{method} {path}");
        if method == "GET" {
            assert_eq!(problem(&response), (405, "malformed".into()));
        }
    }
    for base in ["https://other.example/acme", "https://ca.example/acmes", "https://ca.example/acme/x"] {
        assert_eq!(problem(&world.get(&format!("{base}/directory"))).1, "malformed", "{base}");
    }
}

#[test]
fn requests_that_are_not_signed_as_they_must_be_are_refused() {
    let mut world = World::new(trusting());
    let client = Client::register(&mut world);
    let other = Client::register(&mut world);
    let url = format!("{BASE}/new-order");
    let payload = names(&["a.example"]).encode();
    let good = |world: &mut World| {
        let nonce = world.nonce();
        sign(&client.key, KeyRef::Kid(&client.kid), Some(&nonce), &url, &payload).unwrap()
    };
    let request = good(&mut world);
    assert_eq!(world.request(&Request::post(&url, &request)).status, 201);
    let again = world.request(&Request::post(&url, &request));
    assert_eq!(problem(&again), (400, "badNonce".into()), "a nonce is good once");
    let fresh = again.header("replay-nonce").unwrap().to_owned();
    let retried = sign(&client.key, KeyRef::Kid(&client.kid), Some(&fresh), &url, &payload).unwrap();
    assert_eq!(world.request(&Request::post(&url, &retried)).status, 201, "the one that came with the error is good");
    let strange = sign(&client.key, KeyRef::Kid(&client.kid), Some("bm90IG91cnM"), &url, &payload).unwrap();
    assert_eq!(problem(&world.request(&Request::post(&url, &strange))), (400, "badNonce".into()));
    // No media type, or another one.
    for content_type in [None, Some("application/json"), Some("application/jose")] {
        let body = good(&mut world);
        let response = world.request(&Request { content_type, ..Request::post(&url, &body) });
        assert_eq!(problem(&response), (415, "malformed".into()));
    }
    let body = good(&mut world);
    let content_type = Some("Application/JOSE+json; charset=utf-8");
    assert_eq!(world.request(&Request { content_type, ..Request::post(&url, &body) }).status, 201);
    // Signed for another URL, by somebody else, for nobody.
    let elsewhere = format!("{BASE}/revoke-cert");
    let body = good(&mut world);
    assert_eq!(problem(&world.request(&Request::post(&elsewhere, &body))), (401, "unauthorized".into()));
    let nonce = world.nonce();
    let forged = sign(&other.key, KeyRef::Kid(&client.kid), Some(&nonce), &url, &payload).unwrap();
    assert_eq!(problem(&world.request(&Request::post(&url, &forged))), (400, "malformed".into()));
    for kid in ["https://ca.example/acme/acct/nobody", "https://other.example/acme/acct/x", "x"] {
        let nonce = world.nonce();
        let body = sign(&client.key, KeyRef::Kid(kid), Some(&nonce), &url, &payload).unwrap();
        assert_eq!(problem(&world.request(&Request::post(&url, &body))), (400, "accountDoesNotExist".into()));
    }
    let nonce = world.nonce();
    let by_key = sign(&client.key, KeyRef::Jwk(client.key.public_key()), Some(&nonce), &url, &payload).unwrap();
    assert_eq!(problem(&world.request(&Request::post(&url, &by_key))), (400, "malformed".into()));
    // A MAC, and a nonce that is none.
    for (alg, nonce, kind) in [("HS256", "AAAA", "badSignatureAlgorithm"), ("ES256", "A+A=", "malformed")] {
        let header = format!(r#"{{"alg":"{alg}","kid":"{}","nonce":"{nonce}","url":"{url}"}}"#, client.kid);
        let jws = octets(&json!({"protected": base64url::encode(header), "payload": "", "signature": "AA"}));
        let response = world.request(&Request::post(&url, &jws));
        assert_eq!(problem(&response), (400, kind.into()));
        assert_eq!(body_of_algorithms(&response), alg == "HS256");
    }
    let huge = vec![b' '; LIMITS.body + 1];
    assert_eq!(problem(&world.request(&Request::post(&url, &huge))), (400, "malformed".into()));
    assert_eq!(problem(&client.post_octets(&mut world, &url, b"{\"identifiers\":")), (400, "malformed".into()));
}

fn body_of_algorithms(response: &acme_lurk::acme::server::Response) -> bool {
    body(response).get("algorithms").is_some()
}

#[test]
fn nonces_are_forgotten_when_there_are_too_many() {
    let mut world = World::new(trusting().with_limits(CaLimits::default().with_nonces(10)));
    let client = Client::register(&mut world);
    let old = world.nonce();
    let url = client.kid.clone();
    let fits = |world: &mut World, nonce: &str| {
        let body = sign(&client.key, KeyRef::Kid(&client.kid), Some(nonce), &url, b"").unwrap();
        world.request(&Request::post(&url, &body)).status == 200
    };
    let newer: Vec<String> = (0..10).map(|_| world.nonce()).collect();
    assert!(!fits(&mut world, &old), "the oldest is gone");
    assert!(fits(&mut world, &newer[9]));
}

#[test]
fn accounts_are_made_found_changed_and_given_up() {
    let mut world = World::new(config().with_terms_of_service("https://ca.example/terms"));
    let client = Client { key: signer(), kid: String::new() };
    let only = json!({"onlyReturnExisting": true});
    assert_eq!(problem(&client.new_account(&mut world, &only)), (400, "accountDoesNotExist".into()));
    assert_eq!(problem(&client.new_account(&mut world, &json!({}))), (403, "userActionRequired".into()));
    for (contact, kind) in [
        (json!(["tel:+1"]), "unsupportedContact"),
        (json!(["mailto:a@a.example?cc=b@b.example"]), "invalidContact"),
        (json!(["mailto:a"]), "invalidContact"),
        (json!(vec!["mailto:a@a.example"; 11]), "invalidContact"),
    ] {
        let payload = json!({"termsOfServiceAgreed": true, "contact": contact});
        assert_eq!(problem(&client.new_account(&mut world, &payload)).1, kind);
    }
    let good = json!({"termsOfServiceAgreed": true, "contact": ["mailto:a@a.example"]});
    let made = client.new_account(&mut world, &good);
    assert_eq!((made.status, body(&made)["contact"][0].as_str()), (201, Some("mailto:a@a.example")));
    let kid = made.header("location").unwrap().to_owned();
    let found = client.new_account(&mut world, &json!({"contact": ["mailto:b@b.example"]}));
    assert_eq!((found.status, found.header("location")), (200, Some(&*kid)));
    assert_eq!(body(&found), body(&made), "nothing is changed by finding it");
    let client = Client { kid, ..client };
    let kid = client.kid.clone();
    let changed = client.post(&mut world, &kid, &json!({"contact": ["mailto:b@b.example"]}));
    assert_eq!(body(&changed)["contact"][0], "mailto:b@b.example");
    assert_eq!(body(&client.read(&mut world, &kid))["status"], "valid");
    let other = Client::register(&mut world);
    assert_eq!(problem(&other.read(&mut world, &kid)).0, 404, "accounts are their owners'");
    assert_eq!(world.ca.len().0, 2);
    let gone = client.post(&mut world, &kid, &json!({"status": "deactivated"}));
    assert_eq!(body(&gone)["status"], "deactivated");
    assert_eq!(problem(&client.read(&mut world, &kid)), (401, "unauthorized".into()));
    assert_eq!(problem(&client.new_account(&mut world, &good)), (401, "unauthorized".into()));
}

#[test]
fn accounts_have_a_limit() {
    let mut world = World::new(config().with_limits(CaLimits::default().with_totals(1, 10)));
    Client::register(&mut world);
    let late = Client { key: signer(), kid: String::new() };
    assert_eq!(problem(&late.new_account(&mut world, &json!({}))), (503, "serverInternal".into()));
}

#[test]
fn external_accounts_are_wanted_when_there_are_some() {
    let secret = MacKey::new(MacAlgorithm::Hs256, b"front desk");
    let mut world = World::new(config().with_external_account("kid-1", secret.clone()));
    let client = Client { key: signer(), kid: String::new() };
    assert_eq!(problem(&client.new_account(&mut world, &json!({}))), (403, "externalAccountRequired".into()));
    let url = format!("{BASE}/new-account");
    let bound = |mac: &MacKey, kid: &str, url: &str, key: &PublicKey| -> Value {
        let binding = sign_external_account(mac, kid, url, key);
        json!({"externalAccountBinding": serde_json::from_slice::<Value>(&binding).unwrap()})
    };
    let key = client.key.public_key();
    let stranger = signer().public_key().clone();
    for bad in [
        bound(&MacKey::new(MacAlgorithm::Hs256, b"guess"), "kid-1", &url, key),
        bound(&secret, "kid-2", &url, key),
        bound(&secret, "kid-1", "https://ca.example/acme/new-order", key),
        bound(&secret, "kid-1", &url, &stranger),
    ] {
        assert_eq!(problem(&client.new_account(&mut world, &bad)), (400, "malformed".into()));
    }
    assert_eq!(client.new_account(&mut world, &bound(&secret, "kid-1", &url, key)).status, 201);
}

#[test]
fn keys_are_changed_by_both_keys_together() {
    let mut world = World::new(trusting());
    let client = Client::register(&mut world);
    let other = Client::register(&mut world);
    let url = format!("{BASE}/key-change");
    let new = signer();
    let key = |key: &PublicKey| serde_json::from_str::<Value>(&key.to_jwk()).unwrap();
    let inner = |signer: &acme_lurk::crypto::RingSigner, url: &str, account: &str, old: &PublicKey| {
        let payload = octets(&json!({"account": account, "oldKey": key(old)}));
        sign(signer, KeyRef::Jwk(signer.public_key()), None, url, &payload).unwrap()
    };
    let old = client.key.public_key();
    for bad in [
        inner(&new, "https://ca.example/acme/new-order", &client.kid, old),
        inner(&new, &url, &other.kid, old),
        inner(&new, &url, &client.kid, new.public_key()),
        b"{}".to_vec(),
    ] {
        assert_eq!(problem(&client.post_octets(&mut world, &url, &bad)), (400, "malformed".into()));
    }
    let taken = inner(&other.key, &url, &client.kid, old);
    let conflict = client.post_octets(&mut world, &url, &taken);
    assert_eq!((conflict.status, conflict.header("location")), (409, Some(&*other.kid)));
    let good = inner(&new, &url, &client.kid, old);
    assert_eq!(client.post_octets(&mut world, &url, &good).status, 200);
    let kid = client.kid.clone();
    assert_eq!(problem(&client.read(&mut world, &kid)).1, "malformed", "the old key is no good any more");
    let renewed = Client { key: new, kid: kid.clone() };
    assert_eq!(renewed.read(&mut world, &kid).status, 200);
}

#[test]
fn an_order_goes_through_challenges_to_a_certificate() {
    let mut world =
        World::new(config().with_issuers(b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"));
    let client = Client::register(&mut world);
    let (order, url) = client.order(&mut world, &names(&["a.example", "*.b.example"]));
    assert_eq!((order.status, order.authorizations.len()), (OrderStatus::Pending, 2));
    let early = client.finalize(&mut world, &order);
    assert_eq!(problem(&early), (403, "orderNotReady".into()));
    for (at, count) in [(0, 3), (1, 1)] {
        let authorization_url = &order.authorizations[at];
        let authorization = Authorization::decode(&client.read(&mut world, authorization_url).body, &LIMITS).unwrap();
        assert_eq!((authorization.challenges.len(), authorization.wildcard), (count, at == 1), "wildcards only by DNS");
        let challenge = &authorization.challenges[0];
        assert!(base64url::decode(challenge.token.as_ref().unwrap()).unwrap().len() >= 16);
        let seen = client.read(&mut world, &challenge.url);
        assert_eq!(body(&seen)["status"], "pending", "looking at it is no answer");
        let answered = client.post(&mut world, &challenge.url, &json!({}));
        assert_eq!(
            (body(&answered)["status"].as_str(), answered.header("retry-after")),
            (Some("processing"), Some("1"))
        );
        assert!(answered.header("link").unwrap().contains("rel=\"up\""));
        client.post(&mut world, &challenge.url, &json!({}));
        let kind = world.validate(client.key.public_key());
        assert_eq!((kind, world.ca.poll_event()), (challenge.kind.clone(), None), "asked for once");
        let after = Authorization::decode(&client.read(&mut world, authorization_url).body, &LIMITS).unwrap();
        assert_eq!((after.status.as_str(), after.challenges.len()), ("valid", 1));
    }
    let order = decode(&client.read(&mut world, &url));
    assert_eq!(order.status, OrderStatus::Ready);
    let csr = CsrPlan::for_names(["*.b.example", "A.example"]).build(&signer()).unwrap();
    let response = client.finalize_with(&mut world, &order, &csr);
    assert_eq!((decode(&response).status, response.header("retry-after")), (OrderStatus::Processing, Some("1")));
    let again = client.finalize_with(&mut world, &order, &csr);
    assert_eq!((again.status, decode(&again).status), (200, OrderStatus::Processing), "the same request again");
    let late = client.finalize(&mut world, &order);
    assert_eq!(problem(&late), (403, "orderNotReady".into()), "another one");
    let (issuance, leaf) = world.issue();
    assert_eq!((&issuance.csr[..], world.ca.poll_event()), (&csr[..], None));
    let order = decode(&client.read(&mut world, &url));
    assert_eq!((order.status, order.star_certificate), (OrderStatus::Valid, None));
    let certificate = order.certificate.unwrap();
    let response = client.read(&mut world, &certificate);
    assert_eq!(response.header("content-type"), Some("application/pem-certificate-chain"));
    let chain = decode_chain(&response.body, &LIMITS).unwrap();
    assert_eq!((&chain[0], chain.len()), (&leaf, 2));
    // For the owner alone, and not by GET.
    assert_eq!(problem(&world.get(&certificate)), (405, "malformed".into()));
    assert_eq!(problem(&client.post(&mut world, &certificate, &json!({}))), (400, "malformed".into()));
    let other = Client::register(&mut world);
    for url in [&certificate, &url, &order.finalize, &order.authorizations[0]] {
        assert_eq!(problem(&other.read(&mut world, url)).0, 404, "{url}");
    }
    let orders = client.read(&mut world, &format!("{}/orders", client.kid));
    assert_eq!(body(&orders)["orders"], json!([url]));
    // When it has run out it is forgotten.
    world.wait(91 * 86_400);
    assert_eq!(problem(&client.read(&mut world, &url)).0, 404);
    assert_eq!((world.ca.len().1, world.ca.wake()), (0, None), "nothing is left");
}

#[test]
fn a_challenge_that_is_not_met_makes_the_order_invalid() {
    let mut world = World::new(config());
    let client = Client::register(&mut world);
    let (order, url) = client.order(&mut world, &names(&["a.example"]));
    let authorization =
        Authorization::decode(&client.read(&mut world, &order.authorizations[0]).body, &LIMITS).unwrap();
    client.post(&mut world, &authorization.challenges[1].url, &json!({}));
    let Some(CaEvent::Validate { id, .. }) = world.ca.poll_event() else { panic!() };
    let now = world.time();
    let no = Problem::new(ProblemType::IncorrectResponse, "another text");
    assert_eq!(world.ca.validated(now, &id, Err(no.clone())), Ok(()));
    assert_eq!(world.ca.validated(now, &id, Ok(())), Err(ApiMisuse::NotAwaited), "once");
    let after = decode(&client.read(&mut world, &url));
    assert_eq!((after.status, after.error.is_some()), (OrderStatus::Invalid, true));
    assert!(after.is_still(&order));
    let challenge = body(&client.read(&mut world, &authorization.challenges[1].url));
    assert_eq!((challenge["status"].as_str(), challenge["error"]["status"].as_u64()), (Some("invalid"), Some(403)));
    // One that is given up.
    let (order, url) = client.order(&mut world, &names(&["b.example"]));
    let gone = client.post(&mut world, &order.authorizations[0], &json!({"status": "deactivated"}));
    assert_eq!(body(&gone)["status"], "deactivated");
    assert_eq!(decode(&client.read(&mut world, &url)).status, OrderStatus::Invalid);
    // And one that nobody cares for.
    let (_, url) = client.order(&mut world, &names(&["c.example"]));
    world.wait(86_400);
    assert_eq!(problem(&client.read(&mut world, &url)).0, 404);
}

#[test]
fn orders_have_limits_and_names_a_policy() {
    let limits = CaLimits::default().with_open_orders(2).with_totals(10, 3);
    let policy = NamePolicy::new(|name| name.ends_with(".ido.example"));
    let mut world = World::new(trusting().with_limits(limits).with_names(policy));
    let client = Client::register(&mut world);
    let url = format!("{BASE}/new-order");
    let refused = client.post_octets(&mut world, &url, &names(&["a.ido.example", "b.example"]).encode());
    assert_eq!(problem(&refused), (403, "rejectedIdentifier".into()));
    assert_eq!(body(&refused)["subproblems"][0]["identifier"]["value"], "b.example");
    let ip = json!({"identifiers": [{"type": "ip", "value": "192.0.2.1"}]});
    assert_eq!(problem(&client.post(&mut world, &url, &ip)), (400, "unsupportedIdentifier".into()));
    let order = names(&["a.ido.example"]);
    let (first, _) = client.order(&mut world, &order);
    client.order(&mut world, &order);
    let limited = client.post_octets(&mut world, &url, &order.encode());
    assert_eq!(problem(&limited), (429, "rateLimited".into()));
    assert_eq!(limited.header("retry-after"), Some("60"));
    client.finalize(&mut world, &first);
    world.issue();
    client.order(&mut world, &order);
    let other = Client::register(&mut world);
    assert_eq!(problem(&other.post_octets(&mut world, &url, &order.encode())), (503, "serverInternal".into()));
}

#[test]
fn requests_for_certificates_are_those_of_the_order() {
    let mut world = World::new(trusting());
    let client = Client::register(&mut world);
    let (order, _) = client.order(&mut world, &names(&["a.example"]));
    let bad = [
        CsrPlan::for_names(["b.example"]).build(&signer()).unwrap(),
        CsrPlan::for_names(["a.example", "b.example"]).build(&signer()).unwrap(),
        CsrPlan::for_names(["a.example"]).build(&client.key).unwrap(),
        crate::support::file("csr/t1-bad-signature.der"),
        b"x".to_vec(),
    ];
    for csr in bad {
        assert_eq!(problem(&client.finalize_with(&mut world, &order, &csr)), (400, "badCSR".into()));
    }
    assert_eq!(problem(&client.post(&mut world, &order.finalize, &json!({"csr": "="}))), (400, "malformed".into()));
    assert_eq!(client.finalize(&mut world, &order).status, 200, "the order is still ready");
    // What the issuer makes must be what was asked for.
    let issuance = world.issuance();
    let now = world.time();
    let wrong = |world: &mut World, change: fn(&mut rcgen::CertificateParams)| {
        let leaf = world.make(&issuance, change);
        world.ca.issued(now, &issuance.order, issuance.index, &leaf)
    };
    let names = wrong(&mut world, |params| params.subject_alt_names.clear());
    assert_eq!(names, Err(ApiMisuse::WrongCertificate("its names")));
    let validity = wrong(&mut world, |params| params.not_after += time::Duration::seconds(1));
    assert_eq!(validity, Err(ApiMisuse::WrongCertificate("its validity")));
    let leaf = world.make(&issuance, |_| ());
    assert_eq!(world.ca.issued(now, &issuance.order, 1, &leaf), Err(ApiMisuse::NotAwaited), "another number");
    assert!(world.ca.issued(now, &issuance.order, 0, b"x").is_err());
    assert_eq!(world.ca.issued(now, &issuance.order, 0, &leaf), Ok(()));
    assert_eq!(world.ca.issued(now, &issuance.order, 0, &leaf), Err(ApiMisuse::NotAwaited), "once");
    // One that cannot be made.
    let (order, url) = client.order(&mut world, &crate::server_kit::names(&["c.example"]));
    client.finalize(&mut world, &order);
    let issuance = world.issuance();
    let why = Problem::new(ProblemType::Caa, "CAA forbids it");
    assert_eq!(world.ca.issue_failed(now, &issuance.order, 0, why), Ok(()));
    let order = decode(&client.read(&mut world, &url));
    assert_eq!((order.status, order.error.unwrap().kind), (OrderStatus::Invalid, ProblemType::Caa));
    // Dates that are asked for.
    let dated = |begin: i64, end: i64| {
        let mut order = crate::server_kit::names(&["d.example"]);
        (order.not_before, order.not_after) = (Some(at(START + begin)), Some(at(START + end)));
        order
    };
    let (order, _) = client.order(&mut world, &dated(100, 200));
    client.finalize(&mut world, &order);
    let (issuance, _) = world.issue();
    assert_eq!((issuance.not_before, issuance.not_after), (at(START + 100), at(START + 200)));
    for (begin, end) in [(200, 100), (100, 100), (-200, -100), (0, 91 * 86_400)] {
        let response = client.post_octets(&mut world, &format!("{BASE}/new-order"), &dated(begin, end).encode());
        assert_eq!(problem(&response), (400, "malformed".into()), "{begin} {end}");
    }
}

#[test]
fn certificates_are_revoked_by_who_ordered_them_or_has_their_key() {
    let mut world = World::new(trusting());
    let client = Client::register(&mut world);
    let other = Client::register(&mut world);
    let url = format!("{BASE}/revoke-cert");
    let key = signer();
    let (order, _) = client.order(&mut world, &names(&["a.example"]));
    let csr = CsrPlan::for_names(["a.example"]).build(&key).unwrap();
    client.finalize_with(&mut world, &order, &csr);
    let (_, leaf) = world.issue();
    let info_url =
        format!("{BASE}/renewal-info/{}", certificate_id(&Certificate::decode(&leaf, &LIMITS).unwrap()).unwrap());
    let response = world.get(&info_url);
    let info = RenewalInfo::decode(&response.body, &LIMITS).unwrap();
    assert_eq!(info.start, at(START + 60 * 86_400), "at two thirds");
    assert!(response.header("retry-after").is_some());
    assert_eq!(problem(&world.get(&format!("{BASE}/renewal-info/AA.AQ"))).0, 404);
    let payload = |reason: u64| json!({"certificate": base64url::encode(&leaf), "reason": reason});
    assert_eq!(problem(&other.post(&mut world, &url, &payload(1))), (403, "unauthorized".into()));
    for reason in [7, 8, 11, 300] {
        assert_eq!(problem(&client.post(&mut world, &url, &payload(reason))), (400, "badRevocationReason".into()));
    }
    let unknown = json!({"certificate": base64url::encode("no certificate")});
    assert_eq!(problem(&client.post(&mut world, &url, &unknown)), (400, "malformed".into()));
    let nonce = world.nonce();
    let by_key = sign(&key, KeyRef::Jwk(key.public_key()), Some(&nonce), &url, &octets(&payload(1))).unwrap();
    assert_eq!(world.request(&Request::post(&url, &by_key)).status, 200);
    assert_eq!(world.ca.poll_event(), Some(CaEvent::Revoked { certificate: leaf.clone(), reason: 1 }));
    assert_eq!(problem(&client.post(&mut world, &url, &payload(1))), (400, "alreadyRevoked".into()));
    let info = RenewalInfo::decode(&world.get(&info_url).body, &LIMITS).unwrap();
    assert!(info.end < world.time() || info.start < world.time(), "now: it is revoked");
}

/// An order of ten minutes, each certificate for a hundred seconds.
fn short(get: bool) -> acme_lurk::acme::NewOrder {
    names(&["a.example"]).with_auto_renewal(AutoRenewal::new(at(START + 600), 100).with_certificate_get(get))
}

#[test]
fn orders_renew_themselves_until_their_end() {
    let mut world = World::new(star());
    let client = Client::register(&mut world);
    let (order, url) = client.order(&mut world, &short(true));
    assert_eq!(order.auto_renewal.unwrap().allow_certificate_get, Some(true), "reflected");
    let csr = CsrPlan::for_names(["a.example"]).build(&signer()).unwrap();
    client.finalize_with(&mut world, &order, &csr);
    let (first, leaf) = world.issue();
    assert_eq!((first.index, first.not_before, first.not_after), (0, at(START), at(START + 100)));
    let order = decode(&client.read(&mut world, &url));
    assert_eq!((order.status, order.certificate), (OrderStatus::Valid, None));
    let star = order.star_certificate.unwrap();
    assert!(base64url::decode(star.rsplit('/').next().unwrap()).unwrap().len() >= 16, "nobody can guess it");
    let response = world.get(&star);
    assert_eq!(decode_chain(&response.body, &LIMITS).unwrap(), [leaf]);
    assert_eq!(response.header("cache-control"), Some("public, max-age=50"), "until the next is published");
    let parsed = acme_lurk::time::parse_http_date(response.header("cert-not-after").unwrap()).unwrap();
    assert_eq!(parsed, first.not_after);
    let tag = response.header("etag").unwrap().to_owned();
    let same = world.request(&Request { if_none_match: Some(&tag), ..Request::get(&star) });
    assert_eq!((same.status, same.body.len()), (304, 0));
    let head = world.request(&Request { method: "HEAD", ..Request::get(&star) });
    assert_eq!((head.status, head.body.len(), head.header("etag")), (200, 0, Some(&*tag)));
    assert_eq!(client.read(&mut world, &star).status, 200, "and by the owner, always");
    // Every fifty seconds a new one, from the same request.
    for index in 1..6 {
        world.wait(if index == 1 { 50 } else { 100 });
        let (issuance, leaf) = world.issue();
        assert_eq!((issuance.index, &issuance.csr[..]), (index, &csr[..]));
        let response = world.request(&Request { if_none_match: Some(&tag), ..Request::get(&star) });
        assert_eq!((response.status, decode_chain(&response.body, &LIMITS).unwrap()), (200, vec![leaf.clone()]));
        let leaf = Certificate::decode(&leaf, &LIMITS).unwrap();
        assert!(leaf.not_before() <= world.time() && leaf.not_after() <= at(START + 600));
        assert_eq!(decode(&client.read(&mut world, &url)).status, OrderStatus::Valid);
    }
    world.now = START + 600;
    world.wait(0);
    assert_eq!(problem(&world.get(&star)), (403, "autoRenewalExpired".into()));
    assert_eq!(problem(&client.read(&mut world, &star)), (403, "autoRenewalExpired".into()));
    assert_eq!(decode(&client.read(&mut world, &url)).status, OrderStatus::Valid, "still");
    assert_eq!(world.ca.poll_event(), None);
}

#[test]
fn orders_are_canceled_once_and_for_good() {
    let mut world = World::new(star());
    let client = Client::register(&mut world);
    let (order, url) = client.order(&mut world, &short(true));
    let cancel = json!({"status": "canceled"});
    assert_eq!(problem(&client.post(&mut world, &url, &cancel)), (400, "autoRenewalCancellationInvalid".into()));
    client.finalize(&mut world, &order);
    let (_, leaf) = world.issue();
    let star = decode(&client.read(&mut world, &url)).star_certificate.unwrap();
    for bad in [json!({"status": "invalid"}), json!({}), json!({"status": 1})] {
        assert_eq!(problem(&client.post(&mut world, &url, &bad)), (400, "malformed".into()));
    }
    let revoke = json!({"certificate": base64url::encode(&leaf)});
    let refused = client.post(&mut world, &format!("{BASE}/revoke-cert"), &revoke);
    assert_eq!(problem(&refused), (403, "autoRenewalRevocationNotSupported".into()));
    world.wait(60);
    let pending = world.issuance();
    let canceled = decode(&client.post(&mut world, &url, &cancel));
    assert_eq!(canceled.status, OrderStatus::Canceled);
    assert!(canceled.expires.unwrap() > world.time());
    assert_eq!(problem(&client.post(&mut world, &url, &cancel)), (400, "autoRenewalCancellationInvalid".into()));
    assert_eq!(problem(&world.get(&star)), (403, "autoRenewalCanceled".into()));
    assert_eq!(problem(&client.read(&mut world, &star)), (403, "autoRenewalCanceled".into()));
    // One that was being made is not taken, and none is asked for again.
    let late = world.make(&pending, |_| ());
    let now = world.time();
    assert_eq!(world.ca.issued(now, &pending.order, pending.index, &late), Err(ApiMisuse::NotAwaited));
    world.wait(400);
    assert_eq!(world.ca.poll_event(), None);
    // An order that is not renewed automatically cannot be canceled.
    let (order, url) = client.order(&mut world, &names(&["b.example"]));
    client.finalize(&mut world, &order);
    world.issue();
    assert_eq!(problem(&client.post(&mut world, &url, &cancel)), (400, "autoRenewalCancellationInvalid".into()));
}

#[test]
fn everybody_may_fetch_what_the_order_says_and_nothing_else() {
    let mut world = World::new(star());
    let client = Client::register(&mut world);
    let (order, url) = client.order(&mut world, &short(false));
    client.finalize(&mut world, &order);
    world.issue();
    let star = decode(&client.read(&mut world, &url)).star_certificate.unwrap();
    assert_eq!(problem(&world.get(&star)), (405, "malformed".into()));
    assert_eq!(client.read(&mut world, &star).status, 200);
    // The same for certificates that are not renewed automatically (RFC 9115).
    let mut asked = names(&["b.example"]);
    asked.allow_certificate_get = Some(true);
    let (order, url) = client.order(&mut world, &asked);
    assert_eq!(order.allow_certificate_get, Some(true), "reflected");
    client.finalize(&mut world, &order);
    world.issue();
    let certificate = decode(&client.read(&mut world, &url)).certificate.unwrap();
    assert_eq!((world.get(&certificate).status, client.read(&mut world, &certificate).status), (200, 200));
    // A CA that does not do it does not say that it does.
    let mut world = World::new(trusting());
    let client = Client::register(&mut world);
    let (order, _) = client.order(&mut world, &asked);
    assert_eq!(order.allow_certificate_get, None);
    let (order, _) = client.order(&mut world, &short(true));
    assert_eq!(order.auto_renewal, None, "STAR is passed over by who does not speak it");
}

#[test]
fn values_of_star_are_adjusted_and_reflected_or_refused() {
    let mut world = World::new(star());
    let client = Client::register(&mut world);
    let asked = names(&["a.example"]).with_auto_renewal(AutoRenewal::new(at(START + 2_000_000), 5));
    let (order, _) = client.order(&mut world, &asked);
    let agreed = order.auto_renewal.unwrap();
    assert_eq!((agreed.lifetime, agreed.end), (60, at(START + 1_000_000)));
    let ended = names(&["a.example"]).with_auto_renewal(AutoRenewal::new(at(START), 500));
    let response = client.post_octets(&mut world, &format!("{BASE}/new-order"), &ended.encode());
    assert_eq!(problem(&response), (400, "malformed".into()), "{}", text(&response));
    let mut both: Value = serde_json::from_slice(&short(true).encode()).unwrap();
    both["notBefore"] = json!("2030-01-01T00:00:00Z");
    let response = client.post(&mut world, &format!("{BASE}/new-order"), &both);
    assert_eq!(problem(&response), (400, "malformed".into()));
}

#[test]
fn a_ca_that_was_away_goes_on_with_the_certificate_of_the_moment() {
    let mut world = World::new(star());
    let client = Client::register(&mut world);
    let (order, url) = client.order(&mut world, &short(true));
    client.finalize(&mut world, &order);
    world.issue();
    let star = decode(&client.read(&mut world, &url)).star_certificate.unwrap();
    world.wait(330);
    assert!(matches!(world.ca.poll_event(), Some(CaEvent::StarGap(_))));
    let issuance = world.issuance();
    assert_eq!((issuance.index, world.ca.poll_event()), (3, None), "one, not those that were missed");
    let now = world.time();
    let why = Problem::new(ProblemType::ServerInternal, "no power");
    assert_eq!(world.ca.issue_failed(now, &issuance.order, 3, why), Ok(()));
    world.wait(0);
    assert_eq!(world.ca.poll_event(), None, "not again at once");
    world.wait(1);
    let (issuance, _) = world.issue();
    assert_eq!((issuance.index, world.get(&star).status), (3, 200));
    // A clock that goes back.
    world.now -= 250;
    world.wait(0);
    assert_eq!((world.ca.poll_event(), world.get(&star).status), (None, 200));
}
