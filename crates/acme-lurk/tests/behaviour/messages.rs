//! Messages of ACME, STAR and delegation: the figures, the answers of a real server, and what is to be refused.

use acme_lurk::acme::challenge::{self, is_token};
use acme_lurk::acme::renewal::{RenewalInfo, certificate_id};
use acme_lurk::acme::{
    Account, AccountStatus, Authorization, AuthorizationStatus, Challenge, ChallengeKind, Directory, Finalize,
    Identifier, NewAccount, NewOrder, Order, OrderStatus, Problem, ProblemType,
};
use acme_lurk::certificate::{Certificate, decode_chain, encode_chain};
use acme_lurk::crypto::{PublicKey, Signer as _};
use acme_lurk::csr::Csr;
use acme_lurk::jose::JwsError;
use acme_lurk::star::{AutoRenewal, StarMeta};
use acme_lurk::template::{Checker, Template};
use acme_lurk::time::parse_rfc3339;
use acme_lurk::{DecodeError, DecodeErrorKind, Limits, base64url};
use serde_json::{Value, json};
use watchfire_core::UnixTime;

use crate::support::{self, file, octets, signer};

const LIMITS: Limits = Limits::DEFAULT;

fn value(octets: &[u8]) -> Value {
    serde_json::from_slice(octets).unwrap()
}

/// Reads, writes, and wants the same JSON again.
fn same<T>(name: &str, read: impl Fn(&[u8], &Limits) -> Result<T, DecodeError>, write: impl Fn(&T) -> Vec<u8>) -> T {
    let message = read(&file(name), &LIMITS).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(value(&write(&message)), support::json(name), "{name}");
    message
}

fn order(name: &str) -> Order {
    same(&format!("rfc9115/{name}.json"), Order::decode, Order::encode)
}

#[test]
fn figures_of_rfc_9115_are_read_and_written() {
    let account = same("rfc9115/account-fig2.json", Account::decode, Account::encode);
    assert_eq!(account.delegations.as_deref(), Some("https://acme.ido.example/acme/delegations/adFqoz"));
    let ready = order("order-star-ready-fig5");
    assert_eq!((ready.status, ready.authorizations.len()), (OrderStatus::Ready, 0));
    assert_eq!(ready.auto_renewal.unwrap().allow_certificate_get, Some(true));
    let valid = order("order-star-valid-fig6");
    assert_eq!(valid.star_certificate.as_deref(), Some("https://acme.ca.example/acme/order/yTr23sSDg9"));
    assert!(valid.is_still(&ready) && valid.certificate.is_none());
    let ready = order("order-nonstar-ready-fig8");
    assert_eq!((ready.allow_certificate_get, ready.auto_renewal), (Some(true), None));
    assert!(order("order-nonstar-valid-fig9").certificate.is_some());
    let refused = order("derived-order1-ca-refuses-get");
    assert_eq!(
        (refused.status, refused.others.len()),
        (OrderStatus::Invalid, 1),
        "members that are not known are kept"
    );
    let problem = same("rfc9115/derived-unknown-delegation-problem.json", Problem::decode, |problem| {
        let mut problem = problem.clone();
        problem.status = Some(problem.http_status());
        problem.encode()
    });
    assert_eq!((problem.kind, problem.status), (ProblemType::UnknownDelegation, Some(403)));
    for (name, is_star) in [("neworder-star-fig4", true), ("neworder-nonstar-fig7", false)] {
        let figure = support::json(&format!("rfc9115/{name}.json"))["payload"].clone();
        let asked = NewOrder::decode(&octets(&figure), &LIMITS).unwrap();
        assert_eq!((asked.auto_renewal.is_some(), asked.delegation.is_some()), (is_star, true));
        assert_eq!(value(&asked.encode()), figure);
    }
    let derived = support::json("rfc9115/derived-order2-to-ca.json")["payload"].clone();
    let built = NewOrder::new(vec![Identifier::dns("abc.ido.example").unwrap()]).with_auto_renewal(
        AutoRenewal::new(parse_rfc3339("2021-04-20T00:00:00Z").unwrap(), 345_600).with_certificate_get(true),
    );
    assert_eq!(value(&built.encode()), derived);
}

#[test]
fn answers_of_a_real_server_are_read() {
    let mut read = [0; 5];
    for name in ["jws/lego.json", "jws/certbot21.json"] {
        let transcript = support::json(name);
        let exchanges = transcript["exchanges"].as_array().unwrap();
        let key = PublicKey::from_jwk(&octets(&transcript["account_jwk"]), &LIMITS).unwrap().unwrap();
        for exchange in exchanges {
            let body = exchange["response_body"].as_str().unwrap().as_bytes();
            let path = exchange["path"].as_str().unwrap();
            let payload = exchange.get("payload").filter(|payload| payload.is_object()).map(octets);
            match path.split('/').nth(1).unwrap() {
                "dir" => {
                    let directory = Directory::decode(body, &LIMITS).unwrap();
                    assert!(directory.key_change.is_some() && directory.meta.terms_of_service.is_some());
                    assert_eq!(
                        value(&directory.encode())["meta"]["termsOfService"],
                        value(body)["meta"]["termsOfService"]
                    );
                    read[0] += 1;
                }
                "sign-me-up" => {
                    let account = Account::decode(body, &LIMITS).unwrap();
                    assert_eq!((account.status, account.others.len()), (AccountStatus::Valid, 1));
                    assert!(NewAccount::decode(&payload.unwrap(), &LIMITS).unwrap().terms_of_service_agreed);
                    read[1] += 1;
                }
                "order-plz" | "my-order" | "finalize-order" => {
                    assert_eq!(value(&Order::decode(body, &LIMITS).unwrap().encode()), value(body));
                    if path.starts_with("/finalize") {
                        let csr = Finalize::decode(&payload.unwrap(), &LIMITS).unwrap().csr;
                        let csr = Csr::decode(&csr, &LIMITS).unwrap();
                        assert_eq!(csr.verify(&acme_lurk::crypto::Ring::new()), Ok(()));
                    }
                    read[2] += 1;
                }
                "authZ" => {
                    let authorization = Authorization::decode(body, &LIMITS).unwrap();
                    assert_eq!(value(&authorization.encode()), value(body));
                    read[3] += 1;
                }
                "certZ" => {
                    let chain = decode_chain(body, &LIMITS).unwrap();
                    let leaf = Certificate::decode(&chain[0], &LIMITS).unwrap();
                    assert!(leaf.not_before() < leaf.not_after() && leaf.alt_names().is_some());
                    assert!(certificate_id(&leaf).unwrap().contains('.'));
                    assert!(!leaf.is_for_key(&key), "an account key is no certificate key");
                    let again = encode_chain(chain.iter().map(Vec::as_slice));
                    assert_eq!(decode_chain(&again, &LIMITS).unwrap(), chain);
                    read[4] += 1;
                }
                _ => {}
            }
        }
        for known in transcript["key_authorizations"].as_array().unwrap() {
            let token = known["token"].as_str().unwrap();
            let authorization = challenge::key_authorization(token, &key);
            assert_eq!(authorization, known["keyAuthorization"].as_str().unwrap());
            assert_eq!(challenge::dns01_text(&authorization), known["dns01_txt"].as_str().unwrap());
            assert!(is_token(token));
        }
    }
    assert!(read.iter().all(|count| *count >= 2), "{read:?}");
}

#[test]
fn directories_say_what_a_server_can() {
    let text = json!({"newNonce": "https://a/n", "newAccount": "https://a/a", "newOrder": "https://a/o",
        "meta": {"auto-renewal": {"min-lifetime": 86_400, "max-duration": 31_536_000, "allow-certificate-get": true},
            "delegation-enabled": true, "allow-certificate-get": true, "profiles": {"short": "6 days"}}, "x": 1});
    let directory = Directory::decode(&octets(&text), &LIMITS).unwrap();
    assert_eq!(directory.meta.auto_renewal, Some(StarMeta::new(86_400, 31_536_000, true)));
    assert!(directory.meta.delegation_enabled && directory.meta.allow_certificate_get);
    assert_eq!(value(&directory.encode()), text);
    // Figure 5 of RFC 8739 has names in another style, from before RFC 8555.
    let error = Directory::decode(&file("rfc8739/directory-fig5.json"), &LIMITS).unwrap_err();
    assert_eq!((error.path(), error.kind()), ("directory.newNonce", &DecodeErrorKind::Missing));
}

#[test]
fn orders_that_are_none_are_refused() {
    let good = support::json("rfc9115/order-star-valid-fig6.json");
    let dns = |name: &str| json!({"type": "dns", "value": name});
    for (name, bad, place) in [
        ("status", json!("done"), "order.status"),
        ("status", Value::Null, "order.status"),
        ("identifiers", json!([]), "order.identifiers"),
        ("identifiers", json!([dns("a.example"), dns("A.example")]), "order.identifiers[1]"),
        ("identifiers", json!([dns("a.example.")]), "order.identifiers[0].value"),
        ("identifiers", json!([dns("xn--a.example")]), "order.identifiers[0].value"),
        ("identifiers", json!(["a.example"]), "order.identifiers[0]"),
        ("expires", json!("soon"), "order.expires"),
        ("finalize", Value::Null, "order.finalize"),
        ("finalize", json!("https://a b"), "order.finalize"),
        ("authorizations", json!([""]), "order.authorizations"),
        ("star-certificate", json!(format!("https://{}", "a".repeat(LIMITS.url))), "order.star-certificate"),
        ("auto-renewal", json!({"lifetime": 1}), "order.auto-renewal.end-date"),
        ("error", json!({"status": 7}), "order.error.status"),
    ] {
        let mut order = good.clone();
        match bad {
            Value::Null => drop(order.as_object_mut().unwrap().remove(name)),
            _ => order[name] = bad,
        }
        assert_eq!(Order::decode(&octets(&order), &LIMITS).unwrap_err().path(), place);
    }
    let many: Vec<Value> = (0..=LIMITS.identifiers).map(|at| dns(&format!("a{at}.example"))).collect();
    let error = NewOrder::decode(&octets(&json!({"identifiers": many})), &LIMITS).unwrap_err();
    assert!(matches!(error.kind(), DecodeErrorKind::Limit(_)), "{error}");
    // Dates stand in one place.
    for name in ["notBefore", "notAfter"] {
        let mut both = json!({"identifiers": [dns("a.example")],
            "auto-renewal": {"end-date": "2021-04-20T00:00:00Z", "lifetime": 60}});
        both[name] = json!("2021-04-20T00:00:00Z");
        let error = NewOrder::decode(&octets(&both), &LIMITS).unwrap_err();
        assert_eq!(error.path(), format!("order.{name}"));
        assert_eq!(Problem::from(error).kind, ProblemType::Malformed);
    }
    let strangers = json!({"identifiers": [dns("a.example")], "profile": "short"});
    assert!(NewOrder::decode(&octets(&strangers), &LIMITS).is_ok(), "what is not understood is passed over");
}

#[test]
fn arrays_mean_the_same_in_any_order_and_may_not_change() {
    let names = |names: &[&str]| names.iter().map(|name| Identifier::dns(name).unwrap()).collect::<Vec<_>>();
    let mut before = Order::new(OrderStatus::Pending, names(&["a.example", "b.example"]), "https://a/f".into());
    before.authorizations = vec!["https://a/1".into(), "https://a/2".into()];
    let mut after = before.clone();
    after.identifiers.reverse();
    after.authorizations.reverse();
    assert!(after.is_still(&before));
    after.authorizations.push("https://a/3".into());
    assert!(!after.is_still(&before));
    after.authorizations.pop();
    after.identifiers = names(&["a.example", "c.example"]);
    assert!(!after.is_still(&before));
}

#[test]
fn problems_have_types_statuses_and_subproblems() {
    for kind in ["badNonce", "autoRenewalExpired", "unknownDelegation", "alreadyReplaced", "rateLimited"] {
        let uri = format!("urn:ietf:params:acme:error:{kind}");
        let read = ProblemType::from_uri(&uri);
        assert!(!matches!(read, ProblemType::Other(_)) && read.uri() == uri && read.to_string() == kind);
    }
    let of_rfc_8739 = ProblemType::from_uri("urn:ietf:params:acme:error:malformedRequest");
    assert_eq!(of_rfc_8739, ProblemType::Malformed);
    assert!(!of_rfc_8739.uri().contains("Request"));
    assert_eq!(ProblemType::from_uri("https://a/b").uri(), "https://a/b");
    let identifier = Identifier::dns("a.example").unwrap();
    let problem = Problem::new(ProblemType::Compound, "several").with_subproblem(
        ProblemType::Caa,
        "CAA forbids it",
        identifier.clone(),
    );
    let read = Problem::decode(&problem.encode(), &LIMITS).unwrap();
    assert_eq!((&read.subproblems, read.http_status()), (&problem.subproblems, 400));
    // An identifier at the top is never written, whoever put it there.
    let text = json!({"type": "urn:ietf:params:acme:error:caa", "identifier": {"type": "dns", "value": "a.example"}, "title": "x"});
    let written = value(&Problem::decode(&octets(&text), &LIMITS).unwrap().encode());
    assert!(written.get("identifier").is_none() && written["title"] == "x" && written["status"] == 403);
    assert_eq!(Problem::decode(b"{}", &LIMITS).unwrap().kind.uri(), "about:blank");
    // Algorithms that are not taken come with those that are.
    let problem = Problem::from(JwsError::UnsupportedAlgorithm("HS256".into()));
    assert_eq!(value(&problem.encode())["algorithms"], json!(["ES256", "ES384", "EdDSA", "RS256"]));
    // A request that does not fit its template is 403, and names are subproblems.
    let manifest = support::json("csr/manifest.json");
    let template = Template::decode(&octets(&manifest["templates"]["T1"]), &LIMITS).unwrap();
    for (name, kind) in [("t1-extra-O", ProblemType::BadCsr), ("t1-san-extra-name", ProblemType::RejectedIdentifier)] {
        let der = file(&format!("csr/{name}.der"));
        let report = Checker::new().check_content(&template, &Csr::decode(&der, &LIMITS).unwrap()).unwrap_err();
        let problem = Problem::from(report);
        assert_eq!((problem.kind.clone(), problem.http_status()), (kind.clone(), 403), "{name}");
        assert_eq!(problem.subproblems.is_empty(), kind == ProblemType::BadCsr);
    }
}

/// A certificate for these names, with these extensions beyond, and its DER.
fn certificate(names: &[&str], extensions: &[rcgen::CustomExtension]) -> Vec<u8> {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params =
        rcgen::CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.custom_extensions = extensions.to_vec();
    params.self_signed(&key).unwrap().der().to_vec()
}

#[test]
fn challenges_are_met_by_what_the_documents_say_and_nothing_else() {
    let key = signer().public_key().clone();
    let token = base64url::encode([7; 16]);
    let authorization = challenge::key_authorization(&token, &key);
    assert_eq!(challenge::http01_path(&token), format!("/.well-known/acme-challenge/{token}"));
    for (body, is_met) in [
        (authorization.clone(), true),
        (format!("{authorization}\r\n \t"), true),
        (format!(" {authorization}"), false),
        (format!("{authorization}x"), false),
        (token.clone(), false),
        (String::new(), false),
    ] {
        assert_eq!(challenge::http01_is_met(body.as_bytes(), &authorization), is_met, "{body:?}");
    }
    assert_eq!(challenge::dns01_name("*.a.example"), "_acme-challenge.a.example");
    let text = challenge::dns01_text(&authorization);
    assert!(challenge::dns01_is_met([&b"other"[..], text.as_bytes()], &authorization), "any one of them");
    assert!(!challenge::dns01_is_met([&b"other"[..], authorization.as_bytes()], &authorization));
    // tls-alpn-01
    let extension = |value: Vec<u8>, critical: bool| {
        let mut extension = rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 31], value);
        extension.set_criticality(critical);
        extension
    };
    let good = challenge::tls_alpn01_extension(&authorization);
    for (names, value, critical, is_met) in [
        (&["A.example"][..], good.clone(), true, true),
        (&["a.example"], good.clone(), false, false),
        (&["a.example"], challenge::tls_alpn01_extension("x.y"), true, false),
        (&["a.example"], good[2..].to_vec(), true, false),
        (&["b.example"], good.clone(), true, false),
        (&["a.example", "b.example"], good.clone(), true, false),
        (&[], good, true, false),
    ] {
        let der = certificate(names, &[extension(value, critical)]);
        let certificate = Certificate::decode(&der, &LIMITS).unwrap();
        assert_eq!(challenge::tls_alpn01_is_met(&certificate, "a.example", &authorization), is_met, "{names:?}");
    }
    for (token, fits) in
        [(token.as_str(), true), ("short", false), ("AAAAAAAAAAAAAAAAAAAAA", false), ("AAAAAAAAAAAAAAAAAAAAAA=", false)]
    {
        assert_eq!(is_token(token), fits);
        let text = json!({"type": "http-01", "url": "https://a/c", "status": "pending", "token": token});
        assert_eq!(Challenge::decode(&octets(&text), &LIMITS).is_ok(), fits);
    }
    assert!(ChallengeKind::Dns01.proves_the_zone() && !ChallengeKind::Http01.proves_the_zone());
    assert!(!ChallengeKind::TlsAlpn01.proves_the_zone() && !ChallengeKind::from_name("x-01").proves_the_zone());
    assert_eq!(
        challenge::caa_issue_value("CA.example", "https://ca.example/acct/1").as_deref(),
        Some("ca.example; accounturi=https://ca.example/acct/1; validationmethods=dns-01")
    );
    assert_eq!(challenge::caa_issue_value("ca.example", "https://ca.example/a;b"), None);
}

#[test]
fn wildcards_are_authorized_without_their_star() {
    let identifier = Identifier::dns("*.A.example").unwrap();
    let mut authorization = Authorization::new(&identifier, AuthorizationStatus::Pending, vec![]);
    authorization.challenges.push(Challenge::new(ChallengeKind::Dns01, "https://a/c", "A".repeat(22)));
    let written = value(&authorization.encode());
    assert_eq!((&written["identifier"]["value"], &written["wildcard"]), (&json!("a.example"), &json!(true)));
    assert_eq!(Authorization::decode(&authorization.encode(), &LIMITS), Ok(authorization));
    let plain = Authorization::new(&Identifier::dns("a.example").unwrap(), AuthorizationStatus::Valid, vec![]);
    assert!(value(&plain.encode()).get("wildcard").is_none());
}

#[test]
fn certificates_are_for_a_key_and_for_names() {
    let key = signer();
    let der = certificate(&["a.example", "B.example"], &[]);
    let leaf = Certificate::decode(&der, &LIMITS).unwrap();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert!(leaf.is_for_names(&names(&["b.example", "A.example"])));
    for wrong in
        [&["a.example"][..], &["a.example", "b.example", "c.example"], &["a.example", "c.example"], &[], &["a b"]]
    {
        assert!(!leaf.is_for_names(&names(wrong)), "{wrong:?}");
    }
    assert!(!leaf.is_for_key(key.public_key()));
    for end in 0..der.len() {
        assert!(Certificate::decode(&der[..end], &LIMITS).is_err(), "{end}");
    }
    assert!(Certificate::decode(&der, &LIMITS.with_body(der.len() - 1)).is_err());
    let pem = encode_chain([&der[..]]);
    assert!(decode_chain(&[&pem[..], b"\r\n"].concat(), &LIMITS).is_ok());
    for bad in [
        &b""[..],
        b"x",
        &pem[1..],
        &[&pem[..], b"text"].concat(),
        b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----",
    ] {
        assert!(decode_chain(bad, &LIMITS).is_err());
    }
    let private = [&pem[..], b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"].concat();
    assert!(decode_chain(&private, &LIMITS).is_err());
}

#[test]
fn renewal_windows_are_read_and_chosen_from() {
    let text = json!({"suggestedWindow": {"start": "2025-01-02T04:00:00Z", "end": "2025-01-03T04:00:00Z"},
        "explanationURL": "https://a/why"});
    let info = RenewalInfo::decode(&octets(&text), &LIMITS).unwrap();
    assert_eq!(value(&info.encode()), text);
    assert_eq!((info.choose(0), info.choose(86_400)), (info.start, info.start));
    assert!((0..1000).map(|n| info.choose(n * 7_777_777)).all(|at| at >= info.start && at < info.end));
    let backwards = json!({"suggestedWindow": {"start": "2025-01-03T04:00:00Z", "end": "2025-01-03T04:00:00Z"}});
    assert!(RenewalInfo::decode(&octets(&backwards), &LIMITS).is_err());
    assert_eq!(RenewalInfo::new(UnixTime::from_secs(2), UnixTime::from_secs(1)), None);
}
