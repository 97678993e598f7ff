//! The forms of the older drafts, and the metadata of CDNs.

use acme_lurk::acme::client::Received;
use acme_lurk::acme::server::Request;
use acme_lurk::acme::{Identifier, NewOrder};
use acme_lurk::cdni::{AcmeDelegationMethod, Spelling};
use acme_lurk::compat::{
    Outcome, Passwords, Progress, Registrant, RegistrantEvent, Registrar, RegistrarEvent, Registration,
    RegistrationStatus, delegation_00_request,
};
use acme_lurk::{Limits, Now, base64url};
use serde_json::{Value, json};
use watchfire_core::{Duration, Instant, UnixTime};

use crate::client_kit::hand_over;
use crate::support::{file, octets};

const LIMITS: Limits = Limits::DEFAULT;
const IDO: &str = "https://ido.example";

/// A message of a vector: first line, header fields, body.
fn message(name: &str) -> (String, Vec<(String, String)>, Vec<u8>) {
    let text = String::from_utf8(file(&format!("star-request/{name}.http"))).unwrap().replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let first = lines.next().unwrap().to_owned();
    let fields = lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    (first, fields, body.trim().as_bytes().to_vec())
}

fn received(name: &str) -> Received {
    let (first, fields, body) = message(name);
    Received::new(first.split(' ').nth(1).unwrap().parse().unwrap(), fields, body)
}

fn at(secs: u64) -> Now {
    Now::new(Instant::from_secs(secs), UnixTime::from_secs(1_700_000_000 + secs as i64))
}

fn registrant() -> Registrant {
    let mut registration = Registration::new(vec![0x30, 1, 2]);
    registration.duration = Some(31_536_000);
    registration.certificate_lifetime = Some(604_800);
    let url = format!("{IDO}/star/delegation");
    Registrant::new(url, registration, Duration::from_secs(600), [1; 32], at(0)).with_password("cdn", "secret")
}

fn exchange(registrant: &mut Registrant) -> acme_lurk::acme::client::Exchange {
    match registrant.poll_event() {
        Ok(RegistrantEvent::Exchange(exchange)) => exchange,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_drafts_show_is_understood() {
    let der = vec![0x30, 0x82, 1, 2, 3];
    let text = json!({"csr": base64url::encode(&der), "duration": 31_536_000, "certificate-lifetime": 604_800});
    let registration = Registration::decode(&octets(&text), &LIMITS).unwrap();
    assert_eq!((&registration.csr, registration.duration), (&der, Some(31_536_000)));
    assert_eq!(Registration::decode(&registration.encode(), &LIMITS), Ok(registration));
    let pem = "-----BEGIN CERTIFICATE REQUEST-----\nMIIBAgM=\n-----END CERTIFICATE REQUEST-----\n";
    let old = Registration::decode(&octets(&json!({"csr": pem, "lifetime": 365})), &LIMITS).unwrap();
    assert_eq!((&old.csr[..], old.duration), (&[0x30, 0x82, 1, 2, 3][..], Some(365 * 86_400)));
    for (bad, place) in [
        (json!({}), "registration.csr"),
        (json!({"csr": ""}), "registration.csr"),
        (json!({"csr": "+/+/"}), "registration.csr"),
        (json!({"csr": "AAAA", "duration": 0}), "registration.duration"),
        (json!({"csr": "AAAA", "duration": 1.5}), "registration.duration"),
        (json!({"csr": "AAAA", "duration": "1"}), "registration.duration"),
        (json!({"csr": "AAAA", "lifetime": 1096}), "registration.lifetime"),
        (json!({"csr": "AAAA", "lifetime": 0}), "registration.lifetime"),
        (json!({"csr": "A".repeat(40_000)}), "registration.csr"),
    ] {
        assert_eq!(Registration::decode(&octets(&bad), &LIMITS).unwrap_err().path(), place, "{bad}");
    }
    for (name, status) in [
        ("star-request-02-created", RegistrationStatus::New),
        ("star-request-02-pending", RegistrationStatus::Pending),
        ("star-request-02-success", RegistrationStatus::Success),
        ("acme-star-00-pending", RegistrationStatus::Pending),
        ("acme-star-00-valid", RegistrationStatus::Success),
    ] {
        let progress = Progress::decode(&received(name).body, &LIMITS).unwrap();
        assert_eq!(progress.status, status, "{name}");
        assert_eq!(Progress::decode(&progress.encode(), &LIMITS), Ok(progress), "{name}");
    }
    for (word, status) in [
        ("new", RegistrationStatus::New),
        ("pending", RegistrationStatus::Pending),
        ("wip", RegistrationStatus::Pending),
        ("in progress", RegistrationStatus::Pending),
        ("valid", RegistrationStatus::Success),
        ("success", RegistrationStatus::Success),
        ("done", RegistrationStatus::Success),
        ("failed", RegistrationStatus::Failed),
    ] {
        assert_eq!(RegistrationStatus::from_word(word), Some(status));
    }
    assert!(Progress::decode(br#"{"status":"fine"}"#, &LIMITS).is_err());
    assert!(Progress::decode(br#"{"status":"done"}"#, &LIMITS).is_err(), "success says where");
    let asked: Value = serde_json::from_slice(&delegation_00_request(&[0xab; 16])).unwrap();
    let shown: Value = serde_json::from_slice(&message("cert-delegation-00-post").2).unwrap();
    assert_eq!(asked["password"].as_str().unwrap().len(), shown["password"].as_str().unwrap().len(), "128 bits");
}

#[test]
fn a_registration_goes_from_new_to_success() {
    let mut registrar = Registrar::new(IDO, 10, [1; 32]);
    let mut registrant = registrant();
    registrant.handle_timeout(at(0));
    let post = exchange(&mut registrant);
    assert_eq!((post.method, post.url.as_str()), ("POST", "https://ido.example/star/delegation"));
    let sent: Value = serde_json::from_slice(&post.body).unwrap();
    assert_eq!(sent, json!({"csr": "MAEC", "duration": 31_536_000, "certificate-lifetime": 604_800}));
    let authorization = post.headers.iter().find(|(name, _)| *name == "authorization").unwrap().1.clone();
    let passwords = Passwords::new().with_user("cdn", "secret").with_user("other", "other");
    assert_eq!(passwords.check(&authorization), Some("cdn"));
    for bad in ["Basic", "Basic AAAA", "Bearer Y2RuOnNlY3JldA==", "Basic Y2RuOndyb25n", "Basic bm9ib2R5OnNlY3JldA=="] {
        assert_eq!(passwords.check(bad), None, "{bad}");
    }
    let created = hand_over(&post, |request| registrar.handle_request(at(0).unix, "cdn", request));
    let location = created.header("location").unwrap().to_owned();
    let body: Value = serde_json::from_slice(&created.body).unwrap();
    assert_eq!((created.status, &body["status"], &body["duration"]), (201, &json!("new"), &json!(31_536_000)));
    assert!(body.get("csr").is_none() && location.starts_with("https://ido.example/star/delegation/"));
    registrant.handle_response(at(0), post.id, &created);
    let Some(RegistrarEvent::Registered { id, owner, registration }) = registrar.poll_event() else { panic!() };
    assert_eq!((owner.as_str(), registration.csr), ("cdn", vec![0x30, 1, 2]));
    // It is looked at every ten seconds, as the owner wants, and never sooner than after five.
    let Err(Some(wake)) = registrant.poll_event() else { panic!() };
    assert!(wake >= Instant::from_secs(5));
    registrant.handle_timeout(Now::new(wake, at(5).unix));
    let get = exchange(&mut registrant);
    assert_eq!((get.method, &get.url), ("GET", &location));
    let pending = hand_over(&get, |request| registrar.handle_request(at(9).unix, "cdn", request));
    let fields = (pending.status, pending.header("retry-after"), pending.header("cache-control"));
    assert_eq!(fields, (200, Some("10"), Some("max-age=9")));
    let now = Now::new(wake, at(9).unix);
    registrant.handle_response(now, get.id, &pending);
    assert_eq!(registrant.poll_event(), Err(Some(wake + Duration::from_secs(10))));
    // Others do not see it, and cannot guess it.
    let other = registrar.handle_request(at(9).unix, "other", &Request::get(&location));
    assert_eq!(other.status, 404);
    assert_eq!(
        registrar.handle_request(at(9).unix, "cdn", &Request::get(&format!("{IDO}/star/delegation/x"))).status,
        404
    );
    assert_eq!(registrar.handle_request(at(9).unix, "cdn", &Request::post(&location, b"{}")).status, 405);
    assert!(registrar.progressed(&id, Ok("https://ca.example/star/x".into())));
    assert!(!registrar.progressed(&id, Err("too late".into())), "what is final stays so");
    registrant.handle_timeout(Now::new(wake + Duration::from_secs(10), at(19).unix));
    let get = exchange(&mut registrant);
    let done = hand_over(&get, |request| registrar.handle_request(at(19).unix, "cdn", request));
    registrant.handle_response(now, get.id, &done);
    let Ok(RegistrantEvent::Ended(Outcome::Success(progress))) = registrant.poll_event() else { panic!() };
    assert_eq!(progress.certificates.as_deref(), Some("https://ca.example/star/x"));
    assert_eq!(registrant.poll_event(), Err(None));
    // A year and a day later it is forgotten.
    let later = UnixTime::from_secs(at(0).unix.as_secs() + 366 * 86_400 + 1);
    assert_eq!(registrar.handle_request(later, "cdn", &Request::get(&location)).status, 404);
    assert!(registrar.is_empty());
}

#[test]
fn what_cannot_be_registered_is_named_and_what_fails_says_why() {
    let mut registrar = Registrar::new(IDO, 1, [1; 32]).with_most(1000, 100);
    let url = format!("{IDO}/star/delegation");
    let refused = registrar.handle_request(at(0).unix, "cdn", &Request::post(&url, b"{}"));
    let body: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!((refused.status, refused.header("content-type")), (400, Some("application/problem+json")));
    assert_eq!(body["invalid-params"], json!([{"name": "csr", "reason": "is missing"}]));
    // More than is granted is cut to it, and the answer says so.
    let body = Registration::new(vec![1]).encode();
    let created = registrar.handle_request(at(0).unix, "cdn", &Request::post(&url, &body));
    let shown = Progress::decode(&created.body, &LIMITS).unwrap();
    assert_eq!((shown.duration, shown.certificate_lifetime), (Some(1000), Some(100)));
    assert_eq!(registrar.handle_request(at(0).unix, "cdn", &Request::post(&url, &body)).status, 503);
    let Some(RegistrarEvent::Registered { id, .. }) = registrar.poll_event() else { panic!() };
    assert!(registrar.progressed(&id, Err("the CA refuses".into())));
    let location = created.header("location").unwrap().to_owned();
    let failed = registrar.handle_request(at(1).unix, "cdn", &Request::get(&location));
    let body: Value = serde_json::from_slice(&failed.body).unwrap();
    assert_eq!((failed.status, &body["status"], &body["reason"]), (200, &json!("failed"), &json!("the CA refuses")));
    assert_eq!(failed.header("retry-after"), None);

    // The delegate's side of answers that go wrong.
    let outcome = |first: Received, second: Option<Received>| {
        let mut registrant = registrant();
        registrant.handle_timeout(at(0));
        let post = exchange(&mut registrant);
        registrant.handle_response(at(0), post.id, &first);
        if let Some(second) = second {
            let Err(Some(wake)) = registrant.poll_event() else { panic!() };
            registrant.handle_timeout(Now::new(wake, at(0).unix));
            let get = exchange(&mut registrant);
            registrant.handle_response(Now::new(wake, at(0).unix), get.id, &second);
        }
        match registrant.poll_event() {
            Ok(RegistrantEvent::Ended(outcome)) => outcome,
            other => panic!("{other:?}"),
        }
    };
    let created = || Received::new(201, [("location", format!("{IDO}/star/delegation/1"))], "");
    let failed = Received::new(200, [("x", "y")], r#"{"status":"failed","reason":"no"}"#);
    assert_eq!(outcome(created(), Some(failed)), Outcome::Failed(Some("no".into())));
    for status in [400, 404] {
        assert_eq!(outcome(created(), Some(Received::new(status, [("x", "y")], ""))), Outcome::Gone);
    }
    assert_eq!(outcome(received("star-request-02-error"), None), Outcome::Refused(400));
    assert!(matches!(outcome(Received::new(201, [("x", "y")], ""), None), Outcome::InvalidMessage(_)));
    let elsewhere = Received::new(201, [("location", "https://evil.example/1")], "");
    assert!(matches!(outcome(elsewhere, None), Outcome::Url { .. }));
    assert!(matches!(outcome(received("star-request-02-created"), None), Outcome::Url { .. }), "the draft shows http");
    // Nobody there: it is given up in time.
    let mut registrant = registrant();
    let mut tries = 0;
    let end = loop {
        match registrant.poll_event() {
            Ok(RegistrantEvent::Exchange(_)) => tries += 1,
            Ok(RegistrantEvent::Ended(outcome)) => break outcome,
            Ok(_) => {}
            Err(wake) => registrant.handle_timeout(Now::new(wake.unwrap(), at(0).unix)),
        }
    };
    assert_eq!(end, Outcome::TimedOut(Some("the server did not answer in time".into())));
    assert!((3..30).contains(&tries), "{tries}");
}

#[test]
fn metadata_of_cdns_says_which_order_to_make() {
    let names = || vec![Identifier::dns("abc.ido.example").unwrap()];
    let decode = |body: &[u8], spelling| AcmeDelegationMethod::decode(body, spelling, &LIMITS);
    let star = decode(&file("rfc9115/cdni-acme-delegation-method-star.json"), Spelling::Strict).unwrap();
    let order = star.order(names());
    let agreed = order.auto_renewal.unwrap();
    assert_eq!((agreed.lifetime, agreed.lifetime_adjust, agreed.allow_certificate_get), (345_600, 259_200, Some(true)));
    assert_eq!(
        (agreed.start, agreed.end),
        (Some(UnixTime::from_secs(1_665_417_434)), UnixTime::from_secs(1_665_676_634))
    );
    assert_eq!(
        (order.not_before, order.delegation.as_deref()),
        (None, Some("https://acme.ucdn.example/delegation/ogfr"))
    );
    let plain = decode(&file("rfc9115/cdni-acme-delegation-method-nonstar.json"), Spelling::Strict).unwrap();
    let order = plain.order(names());
    let window = (Some(UnixTime::from_secs(1_570_982_234)), Some(UnixTime::from_secs(1_665_417_434)));
    assert_eq!(((order.not_before, order.not_after), order.allow_certificate_get), (window, Some(true)));
    assert!(NewOrder::decode(&order.encode(), &LIMITS).is_ok());
    for method in [star, plain] {
        assert_eq!(decode(&method.encode(), Spelling::Strict), Ok(method));
    }
    let of = |value: Value| {
        octets(&json!({"generic-metadata-type": "MI.ACMEDelegationMethod", "generic-metadata-value": value}))
    };
    let url = "https://acme.ucdn.example/delegation/1";
    for (bad, place) in [
        (json!({"time-window": {"start": 1, "end": 2}}), "acme-delegation"),
        (json!({"acme-delegation": url}), "time-window"),
        (json!({"acme-delegation": url, "time-window": {"start": 1}}), "time-window.end"),
        (json!({"acme-delegation": url, "time-window": {"start": 2, "end": 2}}), "time-window.end"),
        (json!({"acme-delegation": url, "time-window": {"start": 1, "end": 2}, "lifetime": 5}), "lifetime-adjust"),
        (json!({"acme-delegation": url, "time-window": {"start": 1, "end": 2}, "lifetime-adjust": 5}), "lifetime"),
        (json!({"Acme-delegation": url, "time-window": {"start": 1, "end": 2}}), "acme-delegation"),
        (
            json!({"acme-delegation": url, "time-window": {"start": "2020-01-01T00:00:00Z", "end": 2}}),
            "time-window.start",
        ),
    ] {
        let error = decode(&of(bad.clone()), Spelling::Strict).unwrap_err();
        assert_eq!(error.path(), format!("metadata.generic-metadata-value.{place}"), "{bad}");
    }
    assert!(decode(br#"{"generic-metadata-type":"MI.Other","generic-metadata-value":{}}"#, Spelling::Strict).is_err());
    // As drafts spelt it.
    let draft = of(
        json!({"Acme-delegation": url, "TimeWindow": {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"},
        "Lifetime": 10, "LifetimeAdjust": 5, "STAR-method": true}),
    );
    assert!(decode(&draft, Spelling::Strict).is_err());
    let method = decode(&draft, Spelling::Drafts).unwrap();
    assert_eq!((method.end.as_secs() - method.start.as_secs(), method.renewal.unwrap().lifetime), (86_400, 10));
    let twice = of(json!({"acme-delegation": url, "Acme-Delegation": url, "time-window": {"start": 1, "end": 2}}));
    assert!(decode(&twice, Spelling::Drafts).is_err());
}
