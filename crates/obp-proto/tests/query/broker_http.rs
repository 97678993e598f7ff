//! The broker over HTTP: what is refused and how, who is let in, and how answers are signed.

use bytes::Bytes;
use obp_proto::broker::{Broker, BrokerEvent, BrokerLimits, BrokerTransmit, Question, RateLimit};
use obp_proto::crypto::RustCrypto;
use obp_proto::http::{QUERY_PATH, RequestHead, Response, Security};
use obp_proto::message::{Cryptographic, ErrorResponse, UnbindRequest};
use obp_proto::session::{Expected, Profile, Required, SessionHeader, SessionKey, Signer};
use obp_proto::ticket::{Scope, TicketKind};
use obp_proto::{Encoding, HttpMapping, Message, Status};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use watchfire_core::{Instant, Machine as _, UnixTime};

use crate::kit::*;

const NOW: Instant = Instant::ZERO;
const TIME: u64 = 1_400_520_000;

fn body() -> Bytes {
    Message::from(query()).encode(Encoding::Json).unwrap().into()
}

fn key() -> Cryptographic {
    cryptographic(&content(), 1)
}

/// Signs `body` freshly, as a client does.
fn sign(key: &Cryptographic, profile: Profile, time: u64, seed: u8, body: &[u8]) -> (String, Expected) {
    let signer = Signer::new(&RustCrypto, key).unwrap();
    signer.sign(profile, time, &mut StdRng::from_seed([seed; 32]), body)
}

fn post<'a>(sessions: &[&'a str]) -> RequestHead<'a> {
    let head = RequestHead::new("POST", QUERY_PATH).with_header("Content-Type", "application/json;charset=UTF-8");
    sessions.iter().fold(head, |head, session| head.with_header("Session", session))
}

/// Hands a request in, answers what is asked, and returns the response and whether anything was asked.
fn exchange(
    broker: &mut Broker,
    now: Instant,
    head: &RequestHead<'_>,
    body: Bytes,
    security: Security,
) -> (Response, bool) {
    let request = broker.handle_request(now, head, body, security);
    let (mut transmits, events, _) = drain(broker, now);
    let asked = !events.is_empty();
    assert!(transmits.is_empty() || !asked, "answered before asked");
    answer_all(broker, events);
    transmits.extend(drain(broker, now).0);
    let [BrokerTransmit::Response { id, response }] = &transmits[..] else { panic!("{transmits:?}") };
    assert_eq!(*id, request);
    assert_eq!(response.header("cache-control"), Some("no-store"), "no cache may keep it");
    (response.clone(), asked)
}

fn status(response: &Response) -> Status {
    let encoding = Encoding::from_content_type(response.header("content-type").unwrap()).unwrap();
    Message::decode(&response.body, encoding, &Default::default()).unwrap().status().unwrap()
}

#[test]
fn requests_that_are_none_are_refused_by_http() {
    let mut broker = broker();
    let (session, _) = sign(&key(), Profile::Strict, TIME, 1, &body());
    let with = |method: &'static str, path: &'static str, content_type: &'static str| {
        let head = RequestHead::new(method, path).with_header("SESSION", &session);
        if content_type.is_empty() { head } else { head.with_header("content-type", content_type) }
    };
    let json = "application/json";
    for (head, expected) in [
        (with("GET", QUERY_PATH, json), 405),
        (with("PUT", QUERY_PATH, json), 405),
        (with("post", QUERY_PATH, json), 405),
        (with("POST", "/", json), 404),
        (with("POST", "/.well-known/omni-query/x", json), 404),
        (with("POST", "/.well-known/omni-query//", json), 404),
        (with("POST", "/.well-known/omni-publish/", json), 404),
        (with("POST", QUERY_PATH, ""), 415),
        (with("POST", QUERY_PATH, "text/html"), 415),
        (with("POST", QUERY_PATH, "application/json; charset=iso-8859-1"), 415),
        (with("POST", QUERY_PATH, json).with_header("Content-Type", json), 400),
    ] {
        let (response, asked) = exchange(&mut broker, NOW, &head, body(), Security::Tls);
        assert_eq!((response.status, asked), (expected, false), "{head:?}");
        assert_eq!(response.header("allow"), (expected == 405).then_some("POST"));
        assert_eq!(status(&response), Status::new(expected.into()));
    }
    let (response, _) =
        exchange(&mut broker, NOW, &with("POST", QUERY_PATH, json), vec![b' '; 65_537].into(), Security::Tls);
    assert_eq!(response.status, 413);
}

#[test]
fn the_path_is_taken_with_and_without_its_last_slash_and_the_type_in_any_case() {
    let mut broker = broker();
    for (n, (path, content_type)) in [
        ("/.well-known/omni-query/", "application/json;charset=UTF-8"),
        ("/.well-known/omni-query", "application/json"),
        ("/.well-known/omni-query", "Application/JSON; Charset=\"utf-8\""),
    ]
    .into_iter()
    .enumerate()
    {
        let (session, expected) = sign(&key(), Profile::Strict, TIME, n as u8, &body());
        let head =
            RequestHead::new("POST", path).with_header("content-type", content_type).with_header("session", &session);
        let (response, asked) = exchange(&mut broker, NOW, &head, body(), Security::Clear);
        assert_eq!((response.status, asked), (200, true), "{path} {content_type}");
        assert_eq!(expected.check(response.headers("session"), &response.body), Ok(Some(TIME)));
    }
}

#[test]
fn binary_encodings_are_chosen_by_content_type_and_accept() {
    let request = Message::from(query());
    for (n, (asked, accept, answered)) in [
        (Encoding::JsonB, "", Encoding::JsonB),
        (Encoding::JsonC, "", Encoding::JsonC),
        (Encoding::Json, "application/json-b", Encoding::JsonB),
        (Encoding::JsonB, "text/html, application/json;q=0.5, application/json-b", Encoding::Json),
        (Encoding::JsonB, "application/json;q=0, */*", Encoding::JsonB),
        (Encoding::JsonB, "application/json;q=0.000, APPLICATION/JSON-C", Encoding::JsonC),
        (Encoding::Json, "text/html", Encoding::Json),
    ]
    .into_iter()
    .enumerate()
    {
        let mut broker = broker();
        let body = Bytes::from(request.encode(asked).unwrap());
        let (session, expected) = sign(&key(), Profile::Strict, TIME, n as u8, &body);
        let head = RequestHead::new("POST", QUERY_PATH)
            .with_header("content-type", asked.content_type())
            .with_header("accept", accept)
            .with_header("session", &session);
        let (response, _) = exchange(&mut broker, NOW, &head, body.clone(), Security::Tls);
        assert_eq!(response.header("content-type"), Some(answered.content_type()), "{asked} {accept}");
        assert_eq!(expected.check(response.headers("session"), &response.body), Ok(Some(TIME)));
        assert_eq!(Message::decode(&response.body, answered, &Default::default()).unwrap(), answer_to(&request));
        let mut config = broker_config();
        config.binary_over_http = false;
        let (response, _) = exchange(&mut broker_with(config), NOW, &head, body, Security::Tls);
        assert_eq!(response.status, if asked == Encoding::Json { 200 } else { 415 });
    }
}

#[test]
fn whatever_is_wrong_with_ticket_or_mac_the_refusal_is_the_same() {
    let mut broker = broker();
    let good = key();
    let mut forged = good.clone();
    forged.ticket = vec![1; 80].into();
    let mut wrong_secret = good.clone();
    wrong_secret.secret = vec![8; 32].into();
    let mut expired = content();
    expired.expires = WALL;
    let mut management = content();
    management.scope = Scope::Management;
    let mut temporary = content();
    temporary.kind = TicketKind::Temporary { client_challenge: vec![1; 16], server_challenge: vec![2; 16] };
    let mut refusals = Vec::new();
    for key in
        [forged, wrong_secret, cryptographic(&expired, 2), cryptographic(&management, 3), cryptographic(&temporary, 4)]
    {
        let (session, _) = sign(&key, Profile::Strict, TIME, 1, &body());
        refusals.push(exchange(&mut broker, NOW, &post(&[&session]), body(), Security::Tls));
    }
    refusals.push(exchange(&mut broker, NOW, &post(&[]), body(), Security::Tls));
    let (first, asked) = &refusals[0];
    assert_eq!((first.status, *asked, status(first)), (401, false, Status::TICKET_NOT_RECOGNIZED));
    assert_eq!(first.header("session"), None);
    for refusal in &refusals {
        assert_eq!(refusal, &refusals[0]);
    }
    assert_eq!((broker.stats().bad_ticket, broker.stats().bad_mac), (4, 1));
}

#[test]
fn headers_that_are_none_are_answered_400() {
    let mut broker = broker();
    let long = format!("Value=AQ; Id={}", "A".repeat(5468)); // 4101 octets
    for session in ["", "Value=AQ", "Value=AQ; Id=Ag; Id=Ag", "Value=!; Id=Ag", &long] {
        let (response, asked) = exchange(&mut broker, NOW, &post(&[session]), body(), Security::Tls);
        assert_eq!((response.status, asked), (400, false), "{session:.40}");
    }
    let (session, _) = sign(&key(), Profile::Strict, TIME, 1, &body());
    let many = vec![session.as_str(); RequestHead::MAX_SESSIONS + 1];
    let (response, _) = exchange(&mut broker, NOW, &post(&many), body(), Security::Tls);
    assert_eq!(response.status, 400);
}

#[test]
fn the_seed_profile_is_taken_where_the_transport_protects() {
    for (security, allowed) in [(Security::Tls, true), (Security::Loopback, true), (Security::Clear, false)] {
        let mut broker = broker();
        for _ in 0..2 {
            let (session, expected) = sign(&key(), Profile::Seed, TIME, 1, &body());
            let (response, asked) = exchange(&mut broker, NOW, &post(&[&session]), body(), security);
            assert_eq!(asked, allowed, "{security:?}");
            assert_eq!(status(&response), if allowed { Status::SUCCESS } else { Status::REFUSED });
            assert_eq!(expected.check(response.headers("session"), &response.body), Ok(None), "signed all the same");
        }
        assert_eq!(broker.stats().replayed, if allowed { 0 } else { 2 });
    }
    let mut config = broker_config();
    config.seed_profile = false;
    let (session, _) = sign(&key(), Profile::Seed, TIME, 1, &body());
    let (response, asked) = exchange(&mut broker_with(config), NOW, &post(&[&session]), body(), Security::Tls);
    assert_eq!((asked, status(&response)), (false, Status::REFUSED));
}

#[test]
fn a_strict_request_is_taken_once_and_in_its_time() {
    let mut broker = broker();
    let (session, expected) = sign(&key(), Profile::Strict, TIME, 1, &body());
    let (response, asked) = exchange(&mut broker, NOW, &post(&[&session]), body(), Security::Clear);
    assert_eq!((response.status, asked), (200, true));
    assert_eq!(expected.check(response.headers("session"), &response.body), Ok(Some(TIME)));
    for security in [Security::Clear, Security::Tls] {
        let (response, asked) = exchange(&mut broker, NOW, &post(&[&session]), body(), security);
        assert_eq!((response.status, asked), (401, false), "played back");
    }
    // Out of its time: refused, signed, and told ours.
    let (session, expected) = sign(&key(), Profile::Strict, TIME - 301, 2, &body());
    let (response, asked) = exchange(&mut broker, NOW, &post(&[&session]), body(), Security::Clear);
    assert_eq!((response.status, asked), (401, false));
    assert_eq!(expected.check(response.headers("session"), &response.body), Ok(Some(TIME)));
    // Another body under the same header is nobody's.
    let (session, _) = sign(&key(), Profile::Strict, TIME, 3, &body());
    let (response, _) =
        exchange(&mut broker, NOW, &post(&[&session]), [&body()[..], b" "].concat().into(), Security::Clear);
    assert_eq!((response.status, response.header("session")), (401, None));
    assert_eq!((broker.stats().accepted, broker.stats().replayed, broker.stats().bad_mac), (1, 3, 1));
}

#[test]
fn counts_work_instead_of_times() {
    let mut broker = broker();
    let key = key();
    let session_key = SessionKey::new(&RustCrypto, key.secret.expose(), &key.authentication).unwrap();
    for (stream, count, taken) in
        [(0, 1, true), (0, 1, false), (0, 7, true), (0, 6, false), (1, 1, true), (16, 1, false)]
    {
        let header = SessionHeader::new(key.ticket.as_bytes()).with_count(stream, count);
        let session = session_key.sign(header, &body()).to_string();
        let (response, asked) = exchange(&mut broker, NOW, &post(&[&session]), body(), Security::Clear);
        assert_eq!(asked, taken, "{stream} {count}");
        let echo = SessionHeader::parse(response.header("session").unwrap()).unwrap();
        assert_eq!((echo.stream(), echo.count()), (Some(stream), Some(count)));
        assert!(session_key.verify(&echo, &response.body));
    }
}

#[test]
fn macs_are_whole_unless_told_otherwise() {
    let (session, expected) = sign(&key(), Profile::Strict, TIME, 1, &body());
    for (truncate, len) in [(false, 32), (true, 16)] {
        let mut config = broker_config();
        config.truncate_macs = truncate;
        let (response, _) = exchange(&mut broker_with(config), NOW, &post(&[&session]), body(), Security::Tls);
        let header = SessionHeader::parse(response.header("session").unwrap()).unwrap();
        assert_eq!(header.value().len(), len);
        assert!(expected.check(response.headers("session"), &response.body).is_ok(), "both are taken");
    }
    // And so are both in requests.
    let session_key = SessionKey::new(&RustCrypto, key().secret.expose(), &key().authentication).unwrap();
    let header = SessionHeader::new(key().ticket.as_bytes()).with_nonce(&[1]).with_time(TIME);
    let session = session_key.sign_truncated(header, &body()).to_string();
    assert!(exchange(&mut broker(), NOW, &post(&[&session]), body(), Security::Clear).1);
}

#[test]
fn of_several_headers_as_many_verify_as_required() {
    let alice = key();
    let mut other = content();
    other.secret = vec![4; 32].into();
    other.account = "bob@example.com".into();
    let bob = cryptographic(&other, 5);
    let mut mallory = bob.clone();
    mallory.secret = vec![5; 32].into();
    for (required, second, taken) in [
        (Required::Any, &mallory, true),
        (Required::AtLeast(2), &mallory, false),
        (Required::All, &mallory, false),
        (Required::AtLeast(2), &bob, true),
        (Required::All, &bob, true),
    ] {
        let mut config = broker_config();
        config.required = required;
        let mut broker = broker_with(config);
        let (one, expected_one) = sign(&alice, Profile::Strict, TIME, 1, &body());
        let (two, expected_two) = sign(second, Profile::Strict, TIME, 2, &body());
        let (response, asked) = exchange(&mut broker, NOW, &post(&[&one, &two]), body(), Security::Clear);
        assert_eq!(asked, taken, "{required:?}");
        assert_eq!(expected_one.check(response.headers("session"), &response.body).is_ok(), taken);
        let both = std::ptr::eq(second, &bob);
        assert_eq!(expected_two.check(response.headers("session"), &response.body).is_ok(), taken && both);
    }
}

#[test]
fn messages_that_are_no_queries_are_answered_by_their_status() {
    let unbind = Message::from(UnbindRequest::default()).encode(Encoding::Json).unwrap();
    for (n, (body, expected)) in [
        (&b"{"[..], 400),
        (b"{\"QueryConnectRequest\": {}, \"ValidateRequest\": {}}", 400),
        (b"{\"AdvertiseRequest\": {}}", 501),
        (&unbind, 501),
    ]
    .into_iter()
    .enumerate()
    {
        let mut broker = broker();
        let (session, expected_session) = sign(&key(), Profile::Strict, TIME, n as u8, body);
        let (response, asked) = exchange(&mut broker, NOW, &post(&[&session]), body.to_vec().into(), Security::Tls);
        assert_eq!((response.status, asked), (expected, false));
        assert_eq!(status(&response), Status::new(expected.into()));
        assert!(expected_session.check(response.headers("session"), &response.body).is_ok());
    }
}

#[test]
fn what_concerns_the_name_is_said_inside_of_a_200() {
    for (mapping, expected) in [(HttpMapping::Body, 200), (HttpMapping::Reference, 404)] {
        let mut config = broker_config();
        config.http_mapping = mapping;
        let mut broker = broker_with(config);
        let (session, _) = sign(&key(), Profile::Strict, TIME, 1, &body());
        let id = broker.handle_request(NOW, &post(&[&session]), body(), Security::Tls);
        let _ = drain(&mut broker, NOW);
        let answer = obp_proto::message::QueryConnectResponse::new(Status::NON_EXISTENT_DOMAIN);
        broker.respond(id, &answer.into()).unwrap();
        let (transmits, ..) = drain(&mut broker, NOW);
        let [BrokerTransmit::Response { response, .. }] = &transmits[..] else { panic!("{transmits:?}") };
        assert_eq!((response.status, status(response)), (expected, Status::NON_EXISTENT_DOMAIN));
    }
}

#[test]
fn an_application_that_is_late_is_replaced_by_504() {
    let mut broker = broker();
    let (session, expected) = sign(&key(), Profile::Strict, TIME, 1, &body());
    let id = broker.handle_request(NOW, &post(&[&session]), body(), Security::Tls);
    let (_, _, wake) = drain(&mut broker, NOW);
    assert_eq!(wake, Some(Instant::from_secs(5)));
    assert_eq!(broker.timeout_reason(), "answer of the application");
    broker.handle_timeout(Instant::from_millis(4_999)).unwrap();
    assert_eq!(broker.pending(), 1);
    broker.handle_timeout(Instant::from_secs(5)).unwrap();
    let (transmits, events, wake) = drain(&mut broker, NOW);
    assert_eq!((events, wake), (vec![BrokerEvent::Cancelled { id }], None));
    let [BrokerTransmit::Response { response, .. }] = &transmits[..] else { panic!("{transmits:?}") };
    assert_eq!(status(response), Status::TIME_OUT);
    assert!(expected.check(response.headers("session"), &response.body).is_ok());
    assert!(broker.respond(id, &answer_to(&query().into())).is_err(), "too late");
    assert_eq!(broker.stats().timed_out, 1);
}

#[test]
fn wrong_answers_are_refused_and_cancelled_queries_forgotten() {
    let mut broker = broker();
    let (session, _) = sign(&key(), Profile::Strict, TIME, 1, &body());
    let id = broker.handle_request(NOW, &post(&[&session]), body(), Security::Tls);
    for wrong in [query().into(), Message::from(obp_proto::message::ValidateResponse::new(Status::VALID))] {
        assert!(broker.respond(id, &wrong).is_err());
    }
    assert!(broker.respond_dns(id, &[]).is_err());
    assert!(broker.respond_octets(id, Status::SUCCESS, Bytes::new()).is_err());
    broker.cancel(id);
    broker.cancel(id);
    let (transmits, events, _) = drain(&mut broker, NOW);
    assert!(transmits.is_empty() && events.contains(&BrokerEvent::Cancelled { id }) && broker.pending() == 0);
}

#[test]
fn service_connect_is_handed_on_with_its_ticket_and_its_octets() {
    let mut management = content();
    management.scope = Scope::Management;
    let key = cryptographic(&management, 1);
    let body = Bytes::from_static(b"{ \"UnbindRequest\": {} }");
    let head = |session: Option<&'static str>| {
        let head = RequestHead::new("POST", "/.well-known/sxs-connect").with_header("content-type", "application/json");
        session.into_iter().fold(head, |head, session| head.with_header("session", session))
    };
    let (session, expected) = sign(&key, Profile::Strict, TIME, 1, &body);
    let session: &'static str = session.leak();
    let mut broker = broker();
    let id = broker.handle_request(NOW, &head(Some(session)), body.clone(), Security::Tls);
    let (_, events, _) = drain(&mut broker, NOW);
    let [BrokerEvent::Connect { client: Some(client), body: octets, encoding: Encoding::Json, .. }] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((client.account(), client.binding(), octets), ("alice@example.com", &[3; 16], &body));
    broker.respond_octets(id, Status::SUCCESS, Bytes::from_static(b"{ }")).unwrap();
    let (transmits, ..) = drain(&mut broker, NOW);
    let [BrokerTransmit::Response { response, .. }] = &transmits[..] else { panic!("{transmits:?}") };
    assert_eq!((response.status, &response.body[..]), (200, &b"{ }"[..]));
    assert!(expected.check(response.headers("session"), &response.body).is_ok());
    // Without ticket it is for the others to decide; with a bad one, or one for queries, it is refused.
    broker.handle_request(NOW, &head(None), body.clone(), Security::Tls);
    assert!(matches!(&drain(&mut broker, NOW).1[..], [BrokerEvent::Connect { client: None, .. }]));
    let (wrong, _) = sign(&self::key(), Profile::Strict, TIME, 2, &body);
    let (response, asked) = exchange(&mut broker, NOW, &head(Some(wrong.leak())), body.clone(), Security::Tls);
    assert_eq!((response.status, asked), (401, false));
    // Keys never travel in the clear.
    let (response, asked) = exchange(&mut broker, NOW, &head(None), body, Security::Clear);
    assert_eq!((response.status, asked), (403, false));
}

#[test]
fn what_grows_is_bounded() {
    let config = broker_config().into_builder().with_limits(BrokerLimits::default().with_pending(2)).build().unwrap();
    let mut broker = broker_with(config);
    for n in 0..4 {
        let (session, expected) = sign(&key(), Profile::Strict, TIME, n, &body());
        broker.handle_request(NOW, &post(&[&session]), body(), Security::Clear);
        let (transmits, events, _) = drain(&mut broker, NOW);
        assert_eq!((transmits.len(), events.len()), if n < 2 { (0, 1) } else { (1, 0) });
        if let [BrokerTransmit::Response { response, .. }] = &transmits[..] {
            assert_eq!(response.status, 429);
            assert!(expected.check(response.headers("session"), &response.body).is_ok());
        }
    }
    assert_eq!((broker.pending(), broker.stats().overloaded), (2, 2));
}

#[test]
fn each_ticket_has_its_rate() {
    let mut broker = broker_with(
        broker_config().into_builder().with_rate(Some(RateLimit { per_second: 2, burst: 3 })).build().unwrap(),
    );
    let mut ask = |millis: u64, seed: u8| {
        let (session, _) = sign(&key(), Profile::Strict, TIME, seed, &body());
        exchange(&mut broker, Instant::from_millis(millis), &post(&[&session]), body(), Security::Clear).0.status
    };
    assert_eq!(
        [0, 0, 0, 0]
            .map({
                let mut n = 0;
                move |_| {
                    n += 1;
                    n
                }
            })
            .map(|n| ask(0, n)),
        [200, 200, 200, 429]
    );
    assert_eq!(ask(499, 5), 429);
    assert_eq!(ask(500, 6), 200);
    assert_eq!(ask(500, 7), 429);
    assert_eq!([8, 9, 10, 11].map(|n| ask(100_000, n)), [200, 200, 200, 429], "never more than the burst");
    assert_eq!(broker.stats().rate_limited, 4);
}

#[test]
fn tickets_of_retired_keys_and_revoked_bindings_are_unknown() {
    let mut broker = broker();
    let ask = |broker: &mut Broker, seed: u8| {
        let (session, _) = sign(&key(), Profile::Strict, TIME, seed, &body());
        exchange(broker, NOW, &post(&[&session]), body(), Security::Clear).0.status
    };
    assert_eq!(ask(&mut broker, 1), 200);
    broker.rotate_ticket_key(2, &[8; 32]).unwrap();
    assert_eq!(ask(&mut broker, 2), 200, "an older key still opens");
    broker.retire_ticket_key(1).unwrap();
    assert_eq!(ask(&mut broker, 3), 401);

    let mut broker = broker_with(
        broker_config().into_builder().with_limits(BrokerLimits::default().with_revoked(1)).build().unwrap(),
    );
    assert_eq!(ask(&mut broker, 1), 200);
    broker.revoke(NOW, [3; 16], UnixTime::from_secs(WALL.as_secs() + 10)).unwrap();
    assert_eq!(ask(&mut broker, 2), 401);
    assert!(broker.revoke(NOW, [4; 16], WALL).is_err(), "no room");
    broker.revoke(Instant::from_secs(11), [4; 16], UnixTime::from_secs(WALL.as_secs() + 99)).unwrap();
}

#[test]
fn questions_tell_who_asks() {
    let mut broker = broker();
    let (session, _) = sign(&key(), Profile::Strict, TIME, 1, &body());
    broker.handle_request(NOW, &post(&[&session]), body(), Security::Tls);
    let (_, events, _) = drain(&mut broker, NOW);
    let [BrokerEvent::Query { client, question: Question::Message(message), .. }] = &events[..] else { panic!() };
    assert_eq!((client.account(), client.scope()), ("alice@example.com", Scope::Query));
    assert_eq!(*message, Message::from(query()));
    assert_ne!(Message::from(ErrorResponse::new(Status::SUCCESS)), *message);
}
