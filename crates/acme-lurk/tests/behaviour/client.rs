//! The client, from an account to the certificate, with servers that are slow, strict, broken or hostile.

use std::sync::Arc;

use acme_lurk::acme::client::{
    Answer, Client, ClientError, ClientEvent, ClientLimits, Obtain, PeerIncompatible, PeerMisbehaved, Received,
};
use acme_lurk::acme::server::{CaConfig, CaConfigBuilder, CaLimits};
use acme_lurk::acme::{ChallengeKind, NewAccount, NewOrder, Order, OrderStatus, ProblemType};
use acme_lurk::certificate::Certificate;
use acme_lurk::crypto::Signer as _;
use acme_lurk::csr::CsrPlan;
use acme_lurk::jose::{MacAlgorithm, MacKey};
use acme_lurk::star::{AutoRenewal, Fraction, StarMeta, StarPolicy};
use acme_lurk::{ApiMisuse, Limit};
use acme_lurk::{Limits, base64url};
use serde_json::{Value, json};
use watchfire_core::{Duration, Instant, Output, UnixTime};

use crate::client_kit::{Fate, Net, client, client_with, config, registered};
use crate::server_kit::{BASE, START, World, names};
use crate::support::{octets, signer};

fn net(config: CaConfigBuilder) -> Net {
    Net::new(World::new(config))
}

fn star() -> CaConfigBuilder {
    CaConfig::builder(BASE).with_star(StarPolicy::new(StarMeta::new(10, 1_000_000, true)), Fraction::HALF)
}

fn csr(names: &[&str]) -> Vec<u8> {
    CsrPlan::for_names(names.iter().copied()).build(&signer()).unwrap()
}

fn obtain(name: &str) -> Obtain {
    Obtain::new(names(&[name]), csr(&[name]))
}

fn star_order(name: &str, end: i64) -> NewOrder {
    let agreed = AutoRenewal::new(UnixTime::from_secs(START + end), 20).with_certificate_get(true);
    names(&[name]).with_auto_renewal(agreed)
}

/// The protected header of a request.
fn header(body: &[u8]) -> Value {
    let jws: Value = serde_json::from_slice(body).unwrap();
    serde_json::from_slice(&base64url::decode(jws["protected"].as_str().unwrap()).unwrap()).unwrap()
}

#[test]
fn a_certificate_is_obtained_from_the_account_on() {
    let mut net = net(CaConfig::builder(BASE));
    let mut client = registered(&mut net);
    let call = client.obtain(net.now(), obtain("a.example")).unwrap();
    let Ok(Answer::Obtained { url, order, certificate: Some(fetched) }) = net.answer(&mut client, call) else {
        panic!()
    };
    assert_eq!(order.status, OrderStatus::Valid);
    let leaf = Certificate::decode(&fetched.chain[0], &Limits::DEFAULT).unwrap();
    assert!(leaf.is_for_names(&["a.example".to_owned()]));
    // What happened on the way, in this order.
    let kinds: Vec<&str> = net.events.iter().map(event_name).collect();
    assert_eq!(kinds, ["answered", "placed", "provision", "clean up", "answered"]);
    let Some(ClientEvent::Placed { url: placed, .. }) = net.events.get(1) else { panic!() };
    assert_eq!(*placed, url);
    let Some(ClientEvent::Provision(provision)) = net.events.get(2) else { panic!() };
    assert_eq!(provision.kind, ChallengeKind::Dns01);
    assert!(provision.key_authorization.ends_with(&client.signer().public_key().thumbprint_text()));
    // Every signed request is for the URL as the server has spelt it, and never for a challenge before it is provisioned.
    for exchange in net.seen.iter().filter(|exchange| exchange.method == "POST") {
        let header = header(&exchange.body);
        assert_eq!(header["url"], exchange.url);
        assert_ne!(header.get("kid").is_some(), header.get("jwk").is_some());
        assert!(exchange.headers.contains(&("content-type", "application/jose+json".to_owned())));
    }
    // ARI for it, and its end.
    let call = client.renewal_info(net.now(), &leaf).unwrap();
    let Ok(Answer::RenewalInfo { info, retry_after }) = net.answer(&mut client, call) else { panic!() };
    assert!(info.start > leaf.not_before() && info.end < leaf.not_after() && retry_after.is_some());
    let call = client.revoke(net.now(), fetched.chain[0].clone(), 1, None).unwrap();
    assert_eq!(net.answer(&mut client, call), Ok(Answer::Revoked));
    assert_eq!(client.pending(), 0);
    assert!(matches!(client.poll_output(net.now()), Output::Timeout(None)));
}

fn event_name(event: &ClientEvent) -> &'static str {
    match event {
        ClientEvent::Placed { .. } => "placed",
        ClientEvent::Provision(_) => "provision",
        ClientEvent::CleanUp(_) => "clean up",
        ClientEvent::Answered { .. } => "answered",
        _ => "other",
    }
}

#[test]
fn accounts_are_made_found_changed_and_given_up() {
    let mac = MacKey::new(MacAlgorithm::Hs256, &[7; 32]);
    let terms = "https://ca.example/terms";
    let mut net =
        net(CaConfig::builder(BASE).with_external_account("front-desk", mac.clone()).with_terms_of_service(terms));
    let key: Arc<dyn acme_lurk::crypto::Signer> = Arc::new(signer());
    let mut client = client_with(config(), Arc::clone(&key));
    let call = client.find_account(net.now()).unwrap();
    let refused = net.answer(&mut client, call).unwrap_err();
    assert_eq!(refused.problem().unwrap().kind, ProblemType::AccountDoesNotExist);
    let mut asked = NewAccount::default();
    asked.terms_of_service_agreed = true;
    asked.contact = Some(vec!["mailto:a@ido.example".into()]);
    let call = client.new_account(net.now(), asked.clone(), None).unwrap();
    assert_eq!(
        net.answer(&mut client, call).unwrap_err().problem().unwrap().kind,
        ProblemType::ExternalAccountRequired
    );
    let call = client.new_account(net.now(), asked, Some(("front-desk".into(), mac))).unwrap();
    let Ok(Answer::Account { url, account }) = net.answer(&mut client, call) else { panic!() };
    assert_eq!(account.contact, ["mailto:a@ido.example"]);
    // Another client with the same key finds it.
    let mut other = client_with(config(), key);
    let call = other.find_account(net.now()).unwrap();
    assert!(matches!(net.answer(&mut other, call), Ok(Answer::Account { url: found, .. }) if found == url));
    let mut change = NewAccount::default();
    change.contact = Some(Vec::new());
    let call = client.update_account(net.now(), change).unwrap();
    assert!(matches!(net.answer(&mut client, call), Ok(Answer::Account { account, .. }) if account.contact.is_empty()));
    // A new key. The answer is lost, and the client finds out.
    for fates in [vec![], vec![Fate::AnswerLost], vec![Fate::Lost]] {
        net.fates = fates.into();
        let new = Arc::new(signer());
        let call = client.change_key(net.now(), new.clone()).unwrap();
        assert_eq!(net.answer(&mut client, call), Ok(Answer::KeyChanged));
        assert_eq!(client.signer().public_key(), new.public_key());
        let call = client.read_account(net.now()).unwrap();
        assert!(matches!(net.answer(&mut client, call), Ok(Answer::Account { url: found, .. }) if found == url));
    }
    // The old key is worth nothing any more.
    let call = other.read_account(net.now()).unwrap();
    assert!(net.answer(&mut other, call).unwrap_err().problem().is_some());
    let call = client.deactivate_account(net.now()).unwrap();
    assert!(net.answer(&mut client, call).is_ok());
    let call = client.read_account(net.now()).unwrap();
    assert_eq!(net.answer(&mut client, call).unwrap_err().problem().unwrap().kind, ProblemType::Unauthorized);
}

#[test]
fn without_account_nothing_is_signed_for_one() {
    let mut net = net(CaConfig::builder(BASE));
    let mut client = client();
    let call = client.read_order(net.now(), format!("{BASE}/order/x")).unwrap();
    assert_eq!(net.answer(&mut client, call), Err(ClientError::ApiMisuse(ApiMisuse::NoAccount)));
    // One that is on its way is waited for.
    let account = client.new_account(net.now(), NewAccount::default(), None).unwrap();
    let order = client.new_order(net.now(), names(&["a.example"])).unwrap();
    assert!(net.answer(&mut client, account).is_ok());
    assert!(matches!(net.answer(&mut client, order), Ok(Answer::Order { .. })));
}

#[test]
fn nonces_that_are_refused_are_replaced_by_that_of_the_error() {
    // One nonce is kept by the server: every other one is forgotten.
    let mut net = net(CaConfig::builder(BASE).with_limits(CaLimits::default().with_nonces(1)));
    let mut client = registered(&mut net);
    let stale = client.read_directory(net.now()).unwrap();
    assert!(net.answer(&mut client, stale).is_ok());
    // Somebody else takes the server's only nonce.
    net.world.nonce();
    let call = client.new_order(net.now(), names(&["a.example"])).unwrap();
    assert!(net.answer(&mut client, call).is_ok());
    let posts: Vec<_> = net.seen.iter().filter(|exchange| exchange.url.ends_with("/new-order")).collect();
    assert_eq!(posts.len(), 2, "refused once, then taken");
    // A server that always refuses is not asked for ever; each time with the nonce of the answer before.
    let refusal = |nonce: &str| {
        let problem = json!({"type": "urn:ietf:params:acme:error:badNonce", "detail": "no"});
        Received::new(400, [("replay-nonce", nonce)], octets(&problem))
    };
    net.canned = ["AAAA", "BBBB", "CCCC", "DDDD"].map(refusal).into();
    net.seen.clear();
    let call = client.new_order(net.now(), names(&["b.example"])).unwrap();
    assert_eq!(net.answer(&mut client, call).unwrap_err().problem().unwrap().kind, ProblemType::BadNonce);
    let nonces: Vec<Value> = net.seen.iter().skip(1).map(|exchange| header(&exchange.body)["nonce"].clone()).collect();
    assert_eq!(nonces, ["AAAA", "BBBB", "CCCC"]);
    // What is no nonce is passed over, and another one fetched.
    net.seen.clear();
    net.canned = [refusal("no nonce!")].into();
    let call = client.new_order(net.now(), names(&["c.example"])).unwrap();
    assert!(net.answer(&mut client, call).is_ok());
    assert!(net.seen.iter().any(|exchange| exchange.method == "HEAD"));
}

#[test]
fn what_fails_for_a_while_is_tried_again_and_not_for_ever() {
    let mut net = net(CaConfig::builder(BASE));
    // Neither the directory nor a nonce at first, and then answers that are lost.
    net.fates = [Fate::Lost, Fate::AnswerLost, Fate::Made, Fate::Lost, Fate::Made, Fate::AnswerLost].into();
    let mut client = client();
    let call = client.new_account(net.now(), NewAccount::default(), None).unwrap();
    assert!(net.answer(&mut client, call).is_ok());
    assert!(net.instant > Instant::ZERO);
    // A server in trouble says when to come back; proxies answer in HTML.
    let begin = net.instant;
    net.canned = [Received::new(503, [("retry-after", "7")], "<html>"), Received::new(429, [("x", "y")], "")].into();
    let call = client.new_order(net.now(), names(&["a.example"])).unwrap();
    assert!(net.answer(&mut client, call).is_ok());
    assert!(net.instant >= begin + Duration::from_secs(7));
    // Longer than a call may take: said at once.
    net.canned = [Received::new(429, [("retry-after", "100000")], "")].into();
    let begin = net.instant;
    let call = client.new_order(net.now(), names(&["a.example"])).unwrap();
    assert!(matches!(net.answer(&mut client, call), Err(ClientError::Problem(_))));
    assert!(net.instant < begin + Duration::from_secs(60));
    // Nobody there at all.
    net.fates = vec![Fate::Lost; 1000].into();
    let begin = net.instant;
    let call = client.new_order(net.now(), names(&["a.example"])).unwrap();
    let Err(ClientError::TimedOut(Some(detail))) = net.answer(&mut client, call) else { panic!() };
    assert!(detail.contains("no route"), "{detail}");
    assert!(net.instant <= begin + Duration::from_secs(60));
    let tries = net.seen.len();
    assert!(tries < 60, "{tries}");
}

#[test]
fn an_answer_that_never_comes_is_given_up() {
    let mut net = net(CaConfig::builder(BASE));
    let mut client = registered(&mut net);
    let call = client.new_order(net.now(), names(&["a.example"])).unwrap();
    let Output::Event(ClientEvent::Exchange(exchange)) = client.poll_output(net.now()) else { panic!() };
    let Output::Timeout(Some(at)) = client.poll_output(net.now()) else { panic!() };
    assert_eq!((at, client.timeout_reason()), (net.instant + Duration::from_secs(30), "an exchange"));
    net.pass(at);
    client.handle_timeout(net.now());
    assert_eq!(client.poll_output(net.now()), Output::Event(ClientEvent::Abandon(exchange.id)));
    // What it brings after all is not looked at.
    client.handle_response(net.now(), exchange.id, Received::new(201, [("location", "https://x/")], "{}"));
    assert!(matches!(net.answer(&mut client, call), Ok(Answer::Order { .. })));
}

#[test]
fn servers_that_break_the_rules_are_told_from_those_that_refuse() {
    let mut net = net(CaConfig::builder(BASE));
    let mut client = registered(&mut net);
    let order = |identifier: &str| {
        json!({"status": "ready", "identifiers": [{"type": "dns", "value": identifier}],
        "authorizations": [], "finalize": format!("{BASE}/order/1/finalize")})
    };
    let location = format!("{BASE}/order/1");
    let made = |body: &Value| Received::new(201, [("location", location.as_str())], octets(body));
    let mut wrong = |answer: Received, wanted: Obtain| {
        net.canned = [answer].into();
        let call = client.obtain(net.now(), wanted).unwrap();
        let error = net.answer(&mut client, call).unwrap_err();
        net.canned.clear();
        error
    };
    let misbehaved = |what| ClientError::PeerMisbehaved(what);
    let other = misbehaved(PeerMisbehaved::OtherOrder("its identifiers are others"));
    assert_eq!(wrong(made(&order("b.example")), obtain("a.example")), other);
    let lost = Received::new(201, [("x", "y")], octets(&order("a.example")));
    assert_eq!(wrong(lost, obtain("a.example")), misbehaved(PeerMisbehaved::NoHeader("Location")));
    let redirect = Received::new(302, [("location", "https://evil.example/")], "");
    assert_eq!(wrong(redirect, obtain("a.example")), misbehaved(PeerMisbehaved::Status(302)));
    assert!(matches!(
        wrong(Received::new(201, [("location", location.as_str())], "{"), obtain("a.example")),
        ClientError::InvalidMessage(_)
    ));
    // A request signed for us does not go to somebody else.
    let mut elsewhere = order("a.example");
    elsewhere["finalize"] = json!("https://evil.example/finalize");
    let error = wrong(made(&elsewhere), obtain("a.example"));
    assert!(matches!(error, ClientError::PeerMisbehaved(PeerMisbehaved::Url { .. })), "{error}");
    let plain = Received::new(
        201,
        [("location", "http://ca.example/order/1")],
        octets(&json!({
        "status": "processing", "identifiers": [{"type": "dns", "value": "a.example"}], "finalize": "https://ca.example/f"})),
    );
    assert!(matches!(wrong(plain, obtain("a.example")), ClientError::PeerMisbehaved(PeerMisbehaved::Url { .. })));
    // Too large, whatever the driver let through.
    let huge = Received::new(201, [("location", location.as_str())], vec![b' '; 65_537]);
    assert!(matches!(wrong(huge, obtain("a.example")), ClientError::Exchange(_)));
    // A list that goes in circles.
    let list =
        Received::new(200, [("link", format!("<{BASE}/list>;rel=\"next\""))], octets(&json!({"delegations": []})));
    let account = json!({"status": "valid", "delegations": format!("{BASE}/list")});
    net.canned = [vec![Received::new(200, [("x", "y")], octets(&account))], vec![list; 200]].concat().into();
    let call = client.delegations(net.now()).unwrap();
    assert_eq!(net.answer(&mut client, call), Err(misbehaved(PeerMisbehaved::EndlessList)));
    net.canned.clear();
    let call = client.delegations(net.now()).unwrap();
    let nothing = PeerIncompatible::NoResource("delegations");
    assert_eq!(net.answer(&mut client, call), Err(ClientError::PeerIncompatible(nothing)));
}

#[test]
fn an_order_that_changes_is_not_pursued() {
    let mut net = net(CaConfig::builder(BASE));
    let mut client = registered(&mut net);
    let order = |status: &str, authorizations: Value| {
        let body = json!({"status": status, "identifiers": [{"type": "dns", "value": "a.example"}],
            "authorizations": authorizations, "finalize": format!("{BASE}/f")});
        Received::new(200, [("location", format!("{BASE}/order/1"))], octets(&body))
    };
    let (one, two) =
        (json!([format!("{BASE}/1"), format!("{BASE}/2")]), json!([format!("{BASE}/2"), format!("{BASE}/1")]));
    net.canned = [order("processing", one.clone()), order("processing", two), order("processing", json!([]))].into();
    let call = client.obtain(net.now(), obtain("a.example")).unwrap();
    let changed = Err(ClientError::PeerMisbehaved(PeerMisbehaved::OrderChanged));
    assert_eq!(net.answer(&mut client, call), changed, "another order of the list is none, one less is one");
    assert!(net.canned.is_empty());
}

#[test]
fn star_is_refused_before_challenges_where_it_is_dropped() {
    // The CA passes over what it does not know.
    let mut net = net(CaConfig::builder(BASE));
    let mut client = registered(&mut net);
    let wanted = || Obtain::new(star_order("a.example", 60), csr(&["a.example"]));
    let call = client.obtain(net.now(), wanted()).unwrap();
    let dropped = Err(ClientError::PeerIncompatible(PeerIncompatible::NoAutoRenewal));
    assert_eq!(net.answer(&mut client, call), dropped);
    assert!(!net.events.iter().any(|event| matches!(event, ClientEvent::Provision(_))));
    assert!(!net.seen.iter().any(|exchange| exchange.url.contains("/chall/")));
    // One that speaks STAR, but does not let everybody fetch.
    let policy = StarPolicy::new(StarMeta::new(10, 1_000_000, false));
    net.world = World::new(CaConfig::builder(BASE).with_star(policy, Fraction::HALF));
    let mut client = registered(&mut net);
    let call = client.obtain(net.now(), wanted()).unwrap();
    let refused = Err(ClientError::PeerIncompatible(PeerIncompatible::NoCertificateGet));
    assert_eq!(net.answer(&mut client, call), refused);
}

#[test]
fn a_star_order_is_obtained_fetched_and_canceled() {
    let mut net = net(star());
    let mut client = registered(&mut net);
    let wanted = Obtain::new(star_order("a.example", 60), csr(&["a.example"])).without_download();
    let call = client.obtain(net.now(), wanted).unwrap();
    let Ok(Answer::Obtained { url, order, certificate: None }) = net.answer(&mut client, call) else { panic!() };
    let star = order.star_certificate.unwrap();
    // Without account, and with what is known.
    let call = client.fetch(net.now(), &star, None).unwrap();
    let Ok(Answer::Certificate(first)) = net.answer(&mut client, call) else { panic!() };
    let leaf = Certificate::decode(&first.chain[0], &Limits::DEFAULT).unwrap();
    assert!(first.hints.agree_with(leaf.not_before(), leaf.not_after()) && first.max_age.is_some());
    let call = client.fetch(net.now(), &star, first.etag.clone()).unwrap();
    assert_eq!(net.answer(&mut client, call), Ok(Answer::NotModified));
    let (posts, gets): (Vec<_>, Vec<_>) = net.seen.iter().filter(|e| e.url == star).partition(|e| e.method == "POST");
    assert_eq!((posts.len(), gets.len()), (0, 2));
    let call = client.certificate(net.now(), &star).unwrap();
    assert!(matches!(net.answer(&mut client, call), Ok(Answer::Certificate(_))), "the owner may POST-as-GET");
    // The cancellation whose answer is lost is as good as one that is heard.
    net.fates = [Fate::AnswerLost].into();
    let call = client.cancel(net.now(), &url).unwrap();
    let Ok(Answer::Order { order, .. }) = net.answer(&mut client, call) else { panic!() };
    assert_eq!(order.status, OrderStatus::Canceled);
    let call = client.fetch(net.now(), &star, None).unwrap();
    let refused = net.answer(&mut client, call).unwrap_err();
    assert_eq!(refused.problem().unwrap().kind, ProblemType::AutoRenewalCanceled);
    // An order that is not valid is not canceled.
    let call = client.new_order(net.now(), star_order("b.example", 60)).unwrap();
    let Ok(Answer::Order { url, .. }) = net.answer(&mut client, call) else { panic!() };
    let call = client.cancel(net.now(), &url).unwrap();
    let refused = net.answer(&mut client, call).unwrap_err();
    assert_eq!(refused.problem().unwrap().kind, ProblemType::AutoRenewalCancellationInvalid);
}

#[test]
fn certificates_are_only_fetched_from_where_they_may_be() {
    let net = net(CaConfig::builder(BASE));
    let mut client = client();
    for url in ["http://ca.example/x", "https://127.0.0.1/x", "https://169.254.169.254/", "file:///etc/passwd", ""] {
        let refused = client.fetch(net.now(), url, None);
        assert!(matches!(refused, Err(ClientError::PeerMisbehaved(PeerMisbehaved::Url { .. }))), "{url}");
    }
    assert!(client.fetch(net.now(), "https://other.example/x", None).is_ok());
}

#[test]
fn an_order_is_found_again_wherever_it_stands() {
    // Cut off after each exchange in turn, and resumed by another client with the same key.
    let mut reached = 0;
    for cut in 0.. {
        let mut net = net(CaConfig::builder(BASE));
        let key: Arc<dyn acme_lurk::crypto::Signer> = Arc::new(signer());
        let mut client = client_with(config(), Arc::clone(&key));
        let call = client.new_account(net.now(), NewAccount::default(), None).unwrap();
        assert!(net.answer(&mut client, call).is_ok());
        let account = client.account().unwrap().to_owned();
        let wanted = obtain("a.example");
        client.obtain(net.now(), wanted.clone()).unwrap();
        let (url, finished) = interrupted(&mut net, &mut client, cut);
        drop(client);
        if finished {
            break;
        }
        let Some(url) = url else { continue };
        reached += 1;
        let mut client = client_with(config(), key).with_account(account);
        let call = client.obtain(net.now(), wanted.resume(url)).unwrap();
        let obtained = net.answer(&mut client, call);
        assert!(matches!(obtained, Ok(Answer::Obtained { certificate: Some(_), .. })), "cut {cut}: {obtained:?}");
    }
    assert!(reached >= 5, "{reached} places to be cut off at");
}

/// Runs a client for so many exchanges. Gives the URL of the order if there is one, and whether all is done.
fn interrupted(net: &mut Net, client: &mut Client, exchanges: usize) -> (Option<String>, bool) {
    let (mut url, mut made) = (None, 0);
    loop {
        match client.poll_output(net.now()) {
            Output::Event(ClientEvent::Exchange(exchange)) => {
                let received = net.exchange(&exchange).unwrap();
                net.work();
                if made == exchanges {
                    return (url, false);
                }
                made += 1;
                client.handle_response(net.now(), exchange.id, received);
            }
            Output::Event(ClientEvent::Placed { url: placed, .. }) => url = Some(placed),
            Output::Event(ClientEvent::Provision(provision)) => client.provisioned(net.now(), provision.id),
            Output::Event(ClientEvent::Answered { .. }) => return (url, true),
            Output::Timeout(Some(at)) => {
                net.pass(at);
                client.handle_timeout(net.now());
            }
            _ => {}
        }
    }
}

#[test]
fn what_cannot_be_provisioned_is_given_up_and_taken_back() {
    let mut net = net(CaConfig::builder(BASE));
    let mut client = registered(&mut net);
    let two = Obtain::new(names(&["a.example", "b.example"]), csr(&["b.example", "a.example"]));
    let call = client.obtain(net.now(), two).unwrap();
    let mut provisions = Vec::new();
    let error = loop {
        match client.poll_output(net.now()) {
            Output::Event(ClientEvent::Exchange(exchange)) => {
                let received = net.exchange(&exchange).unwrap();
                client.handle_response(net.now(), exchange.id, received);
            }
            Output::Event(ClientEvent::Provision(provision)) => {
                provisions.push(provision.clone());
                if provisions.len() == 2 {
                    client.provision_failed(net.now(), provision.id, "the DNS is down");
                }
            }
            Output::Event(ClientEvent::CleanUp(provision)) => provisions.retain(|known| known.id != provision.id),
            Output::Event(ClientEvent::Answered { id, result: Err(error) }) if id == call => break error,
            Output::Event(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(error.to_string().ends_with("could not be provisioned: the DNS is down"), "{error}");
    assert!(provisions.is_empty(), "all that was provisioned is taken back");
    // None of the challenges that are wanted is offered.
    net.world = World::new(CaConfig::builder(BASE).with_challenges([ChallengeKind::Http01]));
    let mut client = registered(&mut net);
    let call = client.obtain(net.now(), obtain("a.example").with_challenges([ChallengeKind::Dns01])).unwrap();
    let error = net.answer(&mut client, call).unwrap_err();
    assert!(matches!(error, ClientError::PeerIncompatible(PeerIncompatible::NoChallenge { .. })), "{error}");
    // A request for other names is not even ordered.
    let wrong = Obtain::new(names(&["a.example"]), csr(&["b.example"]));
    assert_eq!(client.obtain(net.now(), wrong).unwrap_err(), ClientError::ApiMisuse(ApiMisuse::OtherNames));
}

#[test]
fn there_are_limits_to_what_waits() {
    let mut net = net(CaConfig::builder(BASE).with_trusted_identifiers(true));
    let limits = ClientLimits::default().with_work(2, 5);
    let mut client = client_with(config().with_limits(limits), Arc::new(signer()));
    let account = client.new_account(net.now(), NewAccount::default(), None).unwrap();
    assert!(net.answer(&mut client, account).is_ok());
    for _ in 0..5 {
        client.new_order(net.now(), names(&["a.example"])).unwrap();
    }
    let more = client.new_order(net.now(), names(&["a.example"]));
    assert_eq!(more.unwrap_err(), ClientError::LimitExceeded(Limit::Calls(5)));
    let mut waiting = Vec::new();
    while let Output::Event(event) = client.poll_output(net.now()) {
        let ClientEvent::Exchange(exchange) = event else { panic!() };
        waiting.push(exchange);
    }
    assert_eq!(waiting.len(), 2, "two exchanges at a time");
    for exchange in waiting {
        let received = net.exchange(&exchange).unwrap();
        client.handle_response(net.now(), exchange.id, received);
    }
    let last = loop {
        match client.poll_output(net.now()) {
            Output::Event(ClientEvent::Exchange(exchange)) => {
                let received = net.exchange(&exchange).unwrap();
                client.handle_response(net.now(), exchange.id, received);
            }
            Output::Event(_) => {}
            Output::Timeout(at) => break at,
            Output::Transmit(never) => match never {},
        }
    };
    assert_eq!((last, client.pending(), net.world.ca.len().1), (None, 0, 5));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut net = net(CaConfig::builder(BASE));
        net.fates = [Fate::Lost, Fate::AnswerLost, Fate::Made, Fate::AnswerLost, Fate::Lost].into();
        let mut client = registered(&mut net);
        let call = client.obtain(net.now(), obtain("a.example")).unwrap();
        assert!(net.answer(&mut client, call).is_ok());
        (net.instant, net.seen.iter().map(|exchange| exchange.url.len()).collect::<Vec<_>>())
    };
    assert_eq!(run(), run());
}

#[test]
fn finalize_twice_is_answered_by_what_became_of_the_order() {
    let mut net = net(CaConfig::builder(BASE).with_trusted_identifiers(true));
    let mut client = registered(&mut net);
    // The request gets there, its answer does not; the server has not made the certificate yet.
    let call = client.obtain(net.now(), obtain("a.example")).unwrap();
    net.fates = [Fate::Made, Fate::AnswerLost].into();
    assert!(matches!(net.answer(&mut client, call), Ok(Answer::Obtained { .. })));
    let finals = net.seen.iter().filter(|exchange| exchange.url.ends_with("/finalize")).count();
    assert_eq!(finals, 2);
    // A server that does not take it twice is asked what became of the order.
    let body = |status: &str| {
        let mut order = Order::new(OrderStatus::Ready, names(&["a.example"]).identifiers, format!("{BASE}/f"));
        order.status = if status == "ready" { OrderStatus::Ready } else { OrderStatus::Valid };
        order.certificate = (status == "valid").then(|| format!("{BASE}/c"));
        Received::new(200, [("location", format!("{BASE}/o"))], order.encode())
    };
    let late = octets(&json!({"type": "urn:ietf:params:acme:error:orderNotReady", "detail": "it is processing"}));
    net.canned = [body("ready"), Received::new(403, [("replay-nonce", "AAAA")], late), body("valid")].into();
    let call = client.obtain(net.now(), obtain("a.example").without_download()).unwrap();
    assert!(matches!(net.answer(&mut client, call), Ok(Answer::Obtained { certificate: None, .. })));
}
