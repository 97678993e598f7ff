//! The server of a CA under any client, clock and issuer.

use std::sync::Arc;

use acme_lurk::acme::server::{Ca, CaConfig, CaEvent, CaLimits, Request, Response};
use acme_lurk::acme::{Problem, ProblemType};
use acme_lurk::csr::CsrPlan;
use acme_lurk::jose::{KeyRef, sign};
use acme_lurk::star::{Adjusted, Fraction, StarMeta, StarPolicy};
use acme_lurk::base64url;
use arbitrary::{Arbitrary, Unstructured};
use serde_json::Value;
use watchfire_core::UnixTime;

use super::Anyone;

const BASE: &str = "https://ca.example/acme";

#[derive(Debug, Arbitrary)]
enum Step {
    Wait(i32),
    Get(u8),
    Raw(u8, Vec<u8>),
    Account(u8),
    Post { client: u8, url: u8, payload: u8 },
    Json { client: u8, url: u8, payload: Vec<u8> },
    Answer(bool),
}

/// The octets are what happens.
pub fn run(data: &[u8]) {
    let Ok((trusted, steps)) = <(bool, Vec<Step>)>::arbitrary(&mut Unstructured::new(data)) else { return };
    let policy = StarPolicy::new(StarMeta::new(5, 100_000, true)).with_adjusted(Adjusted::Always);
    let limits = CaLimits::default().with_nonces(16).with_totals(4, 8).with_open_orders(3);
    let config = CaConfig::builder(BASE)
        .with_trusted_identifiers(trusted)
        .with_star(policy, Fraction::HALF)
        .with_certificate_get(true)
        .with_limits(limits)
        .build()
        .expect("a configuration");
    let mut ca = Ca::new(Arc::new(config), Arc::new(Anyone::new(0)), [5; 32]);
    let mut now = UnixTime::from_secs(1_700_000_000);
    let mut urls: Vec<String> = [
        "/directory",
        "/new-nonce",
        "/new-account",
        "/new-order",
        "/revoke-cert",
        "/key-change",
        "/renewal-info/AA.AQ",
    ]
    .map(|path| format!("{BASE}{path}"))
    .to_vec();
    let mut events = Vec::new();
    for step in steps.into_iter().take(48) {
        let request = match &step {
            Step::Wait(secs) => {
                now = UnixTime::from_secs(now.as_secs().saturating_add(i64::from(*secs) % 200_000));
                ca.handle_timeout(now);
                None
            }
            Step::Answer(yes) => {
                answer(&mut ca, now, &mut events, *yes);
                None
            }
            Step::Get(url) => Some((pick(&urls, *url), None)),
            Step::Raw(url, body) => Some((pick(&urls, *url), Some(body.clone()))),
            Step::Account(client) => {
                let url = format!("{BASE}/new-account");
                let signer = Anyone::new(client % 4);
                let body = signed(&mut ca, now, &signer, KeyRef::Jwk(&signer.0), &url, b"{}");
                Some((url, Some(body)))
            }
            Step::Post { client, url, payload } => {
                let url = pick(&urls, *url);
                let payload = canned(*payload);
                Some((url.clone(), Some(by_account(&mut ca, now, &urls, *client, &url, &payload))))
            }
            Step::Json { client, url, payload } => {
                let url = pick(&urls, *url);
                Some((url.clone(), Some(by_account(&mut ca, now, &urls, *client, &url, payload))))
            }
        };
        if let Some((url, body)) = request {
            let is_post = body.is_some();
            let response = match &body {
                Some(body) => ca.handle_request(now, &Request::post(&url, body)),
                None => ca.handle_request(now, &Request::get(&url)),
            };
            looks_right(&response, is_post);
            collect(&mut urls, &response);
        }
        for turn in 0.. {
            assert!(turn < 64, "events are bounded");
            let Some(event) = ca.poll_event() else { break };
            events.push(event);
        }
        let (accounts, orders) = ca.len();
        assert!(accounts <= 4 && orders <= 8, "limits hold");
        assert!(ca.wake().is_some() || orders == 0, "every order ends");
    }
}

fn pick(urls: &[String], at: u8) -> String {
    urls[usize::from(at) % urls.len()].clone()
}

fn nonce(ca: &mut Ca, now: UnixTime) -> String {
    let url = format!("{BASE}/new-nonce");
    ca.handle_request(now, &Request::get(&url)).header("replay-nonce").expect("there is one").to_owned()
}

fn signed(ca: &mut Ca, now: UnixTime, signer: &Anyone, key: KeyRef<'_>, url: &str, payload: &[u8]) -> Vec<u8> {
    let nonce = nonce(ca, now);
    sign(signer, key, Some(&nonce), url, payload).expect("it always signs")
}

fn by_account(ca: &mut Ca, now: UnixTime, urls: &[String], client: u8, url: &str, payload: &[u8]) -> Vec<u8> {
    let accounts: Vec<&String> =
        urls.iter().filter(|url| url.contains("/acct/") && !url.ends_with("/orders")).collect();
    let kid = accounts.get(usize::from(client) % accounts.len().max(1)).map_or(BASE, |kid| kid.as_str());
    signed(ca, now, &Anyone::new(client % 4), KeyRef::Kid(kid), url, payload)
}

/// Payloads that go a long way.
fn canned(number: u8) -> Vec<u8> {
    let name = ["a.example", "*.b.example"][usize::from(number / 64) % 2];
    let order = |rest: &str| format!(r#"{{"identifiers":[{{"type":"dns","value":"{name}"}}]{rest}}}"#).into_bytes();
    match number % 16 {
        0..=2 => Vec::new(),
        3 | 4 => b"{}".to_vec(),
        5 | 6 => order(""),
        7 | 8 => {
            order(r#","auto-renewal":{"end-date":"2023-11-15T00:00:00Z","lifetime":500,"allow-certificate-get":true}"#)
        }
        9 => order(r#","allow-certificate-get":true,"notAfter":"2023-11-16T00:00:00Z""#),
        10..=12 => {
            let csr = CsrPlan::for_names([name]).build(&Anyone::new(9)).expect("it always signs");
            format!(r#"{{"csr":"{}"}}"#, base64url::encode(csr)).into_bytes()
        }
        13 => br#"{"status":"canceled"}"#.to_vec(),
        14 => br#"{"status":"deactivated"}"#.to_vec(),
        _ => br#"{"certificate":"MAA","reason":1}"#.to_vec(),
    }
}

fn answer(ca: &mut Ca, now: UnixTime, events: &mut Vec<CaEvent>, yes: bool) {
    let problem = || Problem::new(ProblemType::ServerInternal, "no");
    match events.pop() {
        Some(CaEvent::Validate { id, .. }) => {
            let _ = ca.validated(now, &id, if yes { Ok(()) } else { Err(problem()) });
            assert!(ca.validated(now, &id, Ok(())).is_err(), "once");
        }
        Some(CaEvent::Issue(issuance)) => {
            assert!(issuance.not_before < issuance.not_after);
            assert!(ca.issued(now, &issuance.order, issuance.index, b"no certificate").is_err());
            if ca.issue_failed(now, &issuance.order, issuance.index, problem()).is_ok() {
                assert!(ca.issue_failed(now, &issuance.order, issuance.index, problem()).is_err(), "once");
            }
        }
        _ => {}
    }
}

fn looks_right(response: &Response, is_post: bool) {
    assert!(
        matches!(response.status, 200 | 201 | 204 | 304 | 400 | 401 | 403 | 404 | 405 | 409 | 415 | 429 | 503),
        "{response:?}"
    );
    assert!(!is_post || response.header("replay-nonce").is_some());
    if response.status >= 400 {
        let body: Value = serde_json::from_slice(&response.body).expect("problems are JSON");
        assert_eq!(body["status"], response.status);
        assert!(body["type"].as_str().is_some_and(|kind| kind.starts_with("urn:ietf:params:acme:error:")));
    }
}

/// Goes where responses lead.
fn collect(urls: &mut Vec<String>, response: &Response) {
    let mut found: Vec<String> = response.header("location").map(str::to_owned).into_iter().collect();
    if let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(&response.body) {
        for value in body.values() {
            let list = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
            for value in list {
                let url = value.get("url").unwrap_or(&value);
                found.extend(url.as_str().filter(|url| url.starts_with(BASE)).map(str::to_owned));
            }
        }
    }
    for url in found {
        if !urls.contains(&url) && urls.len() < 200 {
            urls.push(url);
        }
    }
}
