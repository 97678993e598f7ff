//! The client by itself: what it tries in which order, and what it believes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use obp_proto::client::{Client, ClientConfig, ClientEvent, HttpTarget, QueryId};
use obp_proto::crypto::RustCrypto;
use obp_proto::error::{Error, ExchangeFailure, Limit, PeerIncompatible, PeerMisbehaved};
use obp_proto::http::{Request, RequestHead, Response, Security};
use obp_proto::message::{InstanceConnection, InstanceTransport, QueryConnectResponse};
use obp_proto::service_connect::ExchangeId;
use obp_proto::uyfm::{Padding, RequestPacket};
use obp_proto::{Message, Status};
use watchfire_core::{Datagram, DatagramMachine as _, ExchangeMachine as _, Instant, Machine as _, Output, UnixTime};

use crate::kit::*;

const NOW: Instant = Instant::ZERO;

fn millis(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn config() -> ClientConfig {
    ClientConfig::builder(RustCrypto::shared()).build().unwrap()
}

/// Calls the client at each of its time-outs until it fails; what was sent when, and why it failed.
fn run_dry(client: &mut Client) -> (Vec<(u64, String)>, Option<Error>) {
    let (mut sent, mut now, mut failed) = (Vec::new(), NOW, None);
    loop {
        let at = loop {
            match client.poll_output(now) {
                Output::Transmit(Datagram { to, .. }) => sent.push((now.as_micros() / 1000, to.to_string())),
                Output::Event(ClientEvent::Failed { error, .. }) => failed = Some(error),
                Output::Event(ClientEvent::Exchange { to, .. }) => {
                    sent.push((now.as_micros() / 1000, format!("http {}", to.address)));
                }
                Output::Event(ClientEvent::Resolve { id, name }) => {
                    sent.push((now.as_micros() / 1000, format!("resolve {name}")));
                    client.resolved(now, id, &[IpAddr::from([203, 0, 113, 1]), IpAddr::from([192, 0, 2, 1])]);
                }
                Output::Event(ClientEvent::CancelExchange { .. } | ClientEvent::Rebind) => {}
                Output::Event(event) => panic!("{event:?}"),
                Output::Timeout(at) => break at,
            }
        };
        let Some(at) = at else { return (sent, failed) };
        now = now.max(at);
        client.handle_timeout(now).unwrap();
    }
}

fn texts(sent: &[(u64, String)]) -> Vec<(u64, &str)> {
    sent.iter().map(|(at, what)| (*at, what.as_str())).collect()
}

#[test]
fn datagrams_are_sent_again_with_backoff_then_the_next_instance_then_http() {
    let instances = [http("192.0.2.3:8080", 0), udp("192.0.2.2:9090", 2), udp("192.0.2.1:9090", 1)];
    let mut client = client(instances);
    client.query(NOW, query()).unwrap();
    let (sent, failed) = run_dry(&mut client);
    let expected = [
        (0, "192.0.2.1:9090"),
        (400, "192.0.2.1:9090"),
        (1200, "192.0.2.1:9090"),
        (2800, "192.0.2.2:9090"),
        (3200, "192.0.2.2:9090"),
        (4000, "192.0.2.2:9090"),
        (5600, "http 192.0.2.3:8080"),
    ];
    assert_eq!(texts(&sent), expected);
    assert_eq!(failed, Some(Error::Unreachable(ExchangeFailure::TimedOut)));
    assert_eq!(client.stats().fail_overs, 3);
}

#[test]
fn the_name_is_used_only_when_the_address_fails() {
    let mut instance = udp("192.0.2.1:9090", 1);
    instance.name = Some("broker.example.com".parse().unwrap());
    let mut client = client([instance, http("192.0.2.3:8080", 0)]);
    client.query(NOW, query()).unwrap();
    let (sent, _) = run_dry(&mut client);
    let expected = [
        (0, "192.0.2.1:9090"),
        (400, "192.0.2.1:9090"),
        (1200, "192.0.2.1:9090"),
        (2800, "resolve broker.example.com"),
        (2800, "203.0.113.1:9090"), // the address that failed is not tried again
        (3200, "203.0.113.1:9090"),
        (4000, "203.0.113.1:9090"),
        (5600, "http 192.0.2.3:8080"),
    ];
    assert_eq!(texts(&sent), expected);
}

#[test]
fn a_query_ends_at_its_deadline_whatever_is_tried() {
    let mut config = config();
    config.total_timeout = watchfire_core::Duration::from_secs(2);
    let mut client = client_with(config, [udp("192.0.2.1:9090", 1), udp("192.0.2.2:9090", 2)]);
    client.query(NOW, query()).unwrap();
    let (sent, failed) = run_dry(&mut client);
    assert_eq!((sent.len(), failed), (3, Some(Error::TimedOut("answer of the broker"))));
    assert_eq!(client.poll_output(millis(9999)), Output::Timeout(None));
}

#[test]
fn weight_decides_among_equals_and_a_silent_instance_comes_last_for_a_while() {
    let weighted = |address: &str, weight: u16| {
        let mut instance = udp(address, 1);
        instance.weight = Some(weight);
        instance
    };
    let mut client = client([weighted("192.0.2.1:9090", 10), weighted("192.0.2.2:9090", 30)]);
    let mut first = BTreeMap::new();
    for _ in 0..1000 {
        let id = client.query(NOW, query()).unwrap();
        let (sent, _) = drain_client(&mut client, NOW);
        *first.entry(sent[0].to.to_string()).or_insert(0) += 1;
        client.cancel(id);
    }
    let heavy = first["192.0.2.2:9090"];
    assert!((680..820).contains(&heavy), "three of four: {heavy}");
    // Let one query find that the first one it asks is silent.
    client.query(NOW, query()).unwrap();
    let (sent, _) = drain_client(&mut client, NOW);
    let silent = sent[0].to;
    for at in [400, 1200, 2800] {
        client.handle_timeout(millis(at)).unwrap();
    }
    let _ = drain_client(&mut client, millis(2800));
    for _ in 0..50 {
        client.query(millis(2900), query()).unwrap();
        assert_ne!(drain_client(&mut client, millis(2900)).0[0].to, silent);
    }
}

/// A broker's answer to the datagrams sent.
fn answer_datagrams(broker: &mut obp_proto::broker::Broker, now: Instant, sent: &[Datagram]) -> Vec<bytes::Bytes> {
    for datagram in sent {
        broker.handle_datagram(now, CLIENT.parse().unwrap(), &datagram.payload).unwrap();
    }
    let (_, events, _) = drain(broker, now);
    answer_all(broker, events);
    let payload = |transmit| match transmit {
        obp_proto::broker::BrokerTransmit::Datagram(datagram) => datagram.payload,
        other => panic!("{other:?}"),
    };
    drain(broker, now).0.into_iter().map(payload).collect()
}

#[test]
fn an_answer_counts_from_where_it_was_asked_and_to_what_was_asked() {
    let (mut client, mut broker) = (client([udp("192.0.2.1:9090", 1)]), broker());
    let one = client.query(NOW, query_for("one.example")).unwrap();
    let (sent_one, _) = drain_client(&mut client, NOW);
    let two = client.query(NOW, query_for("two.example")).unwrap();
    let (sent_two, _) = drain_client(&mut client, NOW);
    let answer_two = answer_datagrams(&mut broker, NOW, &sent_two);
    let answer_one = answer_datagrams(&mut broker, NOW, &sent_one);
    // From elsewhere it is nothing.
    client.handle_datagram(NOW, "192.0.2.66:9090".parse().unwrap(), &answer_one[0]).unwrap();
    assert_eq!((client.len(), client.stats().bad_mac), (2, 1));
    for (answer, id, name) in [(&answer_two, two, "two.example"), (&answer_one, one, "one.example")] {
        client.handle_datagram(NOW, sent_one[0].to, &answer[0]).unwrap();
        let (_, events) = drain_client(&mut client, NOW);
        assert_eq!(events, [ClientEvent::Answer { id, message: answer_to(&query_for(name).into()) }]);
    }
    // A copy is nothing any more.
    client.handle_datagram(NOW, sent_one[0].to, &answer_one[0]).unwrap();
    assert_eq!(drain_client(&mut client, NOW).1, []);
    let again = client.query(NOW, query_for("one.example")).unwrap();
    let _ = drain_client(&mut client, NOW);
    client.handle_datagram(NOW, sent_one[0].to, &answer_one[0]).unwrap();
    assert_eq!(client.stats().unexpected, 1, "an old answer to the same question is no answer: LastMac differs");
    assert_eq!(client.len(), 1);
    client.cancel(again);
    assert!(client.is_empty());
}

#[test]
fn a_late_datagram_is_an_answer_while_http_is_being_tried() {
    let (mut client, mut broker) = (client([udp("192.0.2.1:9090", 1), http("192.0.2.3:8080", 0)]), broker());
    let id = client.query(NOW, query()).unwrap();
    let (sent, _) = drain_client(&mut client, NOW);
    for at in [400, 1200, 2800] {
        client.handle_timeout(millis(at)).unwrap();
    }
    let (_, events) = drain_client(&mut client, millis(2800));
    let [ClientEvent::Exchange { id: exchange, .. }] = &events[..] else { panic!("{events:?}") };
    let answer = answer_datagrams(&mut broker, millis(2900), &sent);
    client.handle_datagram(millis(2900), sent[0].to, &answer[0]).unwrap();
    let (_, events) = drain_client(&mut client, millis(2900));
    assert_eq!(events[0], ClientEvent::CancelExchange { id: *exchange });
    assert!(matches!(events[1], ClientEvent::Answer { id: answered, .. } if answered == id));
    client.handle_response(millis(2900), *exchange, Response::new(200, "")).unwrap();
}

fn exchange_of(client: &mut Client, now: Instant) -> (ExchangeId, HttpTarget, Request) {
    let (_, mut events) = drain_client(client, now);
    match events.pop() {
        Some(ClientEvent::Exchange { id, to, request }) => (id, to, request),
        other => panic!("{other:?}"),
    }
}

/// What a broker answers to a request over HTTP.
fn answer_request(broker: &mut obp_proto::broker::Broker, now: Instant, request: &Request) -> Response {
    let head = RequestHead::new("POST", request.path);
    let head = request.headers.iter().fold(head, |head, (name, value)| head.with_header(name, value));
    broker.handle_request(now, &head, request.body.clone(), Security::Clear);
    let (mut transmits, events, _) = drain(broker, now);
    answer_all(broker, events);
    transmits.extend(drain(broker, now).0);
    match transmits.pop() {
        Some(obp_proto::broker::BrokerTransmit::Response { response, .. }) => response,
        other => panic!("{other:?}"),
    }
}

/// One query over HTTP whose response is changed by `change`; what the client says to it.
fn over_http(config: ClientConfig, change: impl FnOnce(&mut Response)) -> Result<Message, Error> {
    let (mut client, mut broker) = (client_with(config, [http("192.0.2.3:8080", 0)]), broker());
    client.query(NOW, query()).unwrap();
    let (exchange, _, request) = exchange_of(&mut client, NOW);
    assert_eq!(request.path, "/.well-known/omni-query/");
    assert!(request.headers.contains(&("cache-control", "no-store".into())));
    assert!(request.headers.contains(&("content-type", "application/json;charset=UTF-8".into())));
    let mut response = answer_request(&mut broker, NOW, &request);
    change(&mut response);
    client.handle_response(NOW, exchange, response).unwrap();
    let said = drain_client(&mut client, NOW).1.into_iter().find_map(|event| match event {
        ClientEvent::Answer { message, .. } => Some(Ok(message)),
        ClientEvent::Failed { error, .. } => Some(Err(error)),
        _ => None,
    });
    said.unwrap()
}

#[test]
fn responses_over_http_must_be_signed_and_repeat_the_nonce() {
    let good = Ok(answer_to(&query().into()));
    let not_authenticated = Err(Error::from(PeerMisbehaved::NotAuthenticated));
    assert_eq!(over_http(config(), |_| {}), good);
    assert_eq!(over_http(config(), |response| response.status = 599), good, "the signed message counts");
    let unsign = |response: &mut Response| response.headers.retain(|(name, _)| *name != "session");
    assert_eq!(over_http(config(), unsign), not_authenticated);
    assert_eq!(
        over_http(config(), |response| response.body = [&response.body[..], b" "].concat().into()),
        not_authenticated
    );
    let other_nonce = |response: &mut Response| {
        // An authentic response to another request.
        let (mut client, mut broker) = (client([http("192.0.2.3:8080", 0)]), broker());
        for _ in 0..2 {
            client.query(NOW, query()).unwrap();
        }
        let (_, _, request) = exchange_of(&mut client, NOW);
        *response = answer_request(&mut broker, NOW, &request);
    };
    assert_eq!(over_http(config(), other_nonce), not_authenticated);
    // A signature that does not repeat the nonce, as one under the other profile.
    let seed_profile = |response: &mut Response| {
        let key = cryptographic(&content(), 2);
        let session =
            obp_proto::session::SessionKey::new(&RustCrypto, key.secret.expose(), &key.authentication).unwrap();
        let header = obp_proto::session::SessionHeader::new(key.ticket.as_bytes());
        let signed = session.sign(header, &response.body).to_string();
        unsign(response);
        response.headers.push(("session", signed));
    };
    assert_eq!(over_http(config(), seed_profile), not_authenticated);
    // Brokers of 2014 sign nothing: taken over TLS, when told to.
    let mut lenient = config();
    lenient.require_response_mac = false;
    assert_eq!(over_http(lenient.clone(), unsign), good);
    lenient.tls = false;
    assert_eq!(over_http(lenient, unsign), not_authenticated);
}

#[test]
fn a_ticket_that_is_not_recognised_asks_for_a_new_binding() {
    let (mut client, mut broker) = (client([http("192.0.2.3:8080", 0)]), broker());
    broker.revoke(NOW, [3; 16], UnixTime::from_secs(i64::MAX)).unwrap();
    let id = client.query(NOW, query()).unwrap();
    let (exchange, _, request) = exchange_of(&mut client, NOW);
    let response = answer_request(&mut broker, NOW, &request);
    assert_eq!(response.status, 401);
    client.handle_response(NOW, exchange, response).unwrap();
    let failed = ClientEvent::Failed { id, error: Error::Refused(Status::TICKET_NOT_RECOGNIZED) };
    assert_eq!(drain_client(&mut client, NOW).1, [failed, ClientEvent::Rebind]);
    // Without a good ticket nothing is sent; and it is not said twice.
    let id = client.query(NOW, query()).unwrap();
    let failed = ClientEvent::Failed { id, error: Error::Refused(Status::TICKET_NOT_RECOGNIZED) };
    assert_eq!(drain_client(&mut client, NOW), (vec![], vec![failed]));
    client.rebind(NOW, binding([udp("192.0.2.1:9090", 1)])).unwrap();
    client.query(NOW, query()).unwrap();
    assert_eq!(drain_client(&mut client, NOW).0.len(), 1);
}

#[test]
fn expired_tickets_are_not_used() {
    let mut short = udp("192.0.2.1:9090", 1);
    short.expires = Some(date(100));
    let mut client = client([short]);
    client.query(Instant::from_secs(99), query()).unwrap();
    assert_eq!(drain_client(&mut client, Instant::from_secs(99)).0.len(), 1);
    client.query(Instant::from_secs(100), query()).unwrap();
    let (sent, events) = drain_client(&mut client, Instant::from_secs(100));
    assert!(sent.is_empty() && events.contains(&ClientEvent::Rebind));
}

#[test]
fn a_client_with_a_wrong_clock_takes_the_brokers_time_and_tries_again() {
    for wrong in [-100_000, 100_000] {
        let wall = UnixTime::from_secs(WALL.as_secs() + wrong);
        let mut client = Client::new(config(), binding([http("192.0.2.3:8080", 0)]), [5; 32], NOW, wall).unwrap();
        let mut broker = broker();
        let id = client.query(NOW, query()).unwrap();
        let (exchange, _, request) = exchange_of(&mut client, NOW);
        let response = answer_request(&mut broker, NOW, &request);
        assert_eq!(response.status, 401);
        client.handle_response(NOW, exchange, response).unwrap();
        let (exchange, _, request) = exchange_of(&mut client, NOW);
        let response = answer_request(&mut broker, NOW, &request);
        client.handle_response(NOW, exchange, response).unwrap();
        let (_, events) = drain_client(&mut client, NOW);
        assert!(matches!(events[..], [ClientEvent::Answer { id: answered, .. }] if answered == id), "{events:?}");
    }
}

#[test]
fn an_exchange_that_fails_is_tried_under_the_name_and_then_elsewhere() {
    let mut named = http("192.0.2.3:8080", 0);
    named.name = Some("broker.example.com".parse().unwrap());
    let mut client = client([named, http("192.0.2.4:8080", 1)]);
    client.query(NOW, query()).unwrap();
    let (exchange, to, _) = exchange_of(&mut client, NOW);
    assert_eq!(
        (to.address.to_string(), to.name.unwrap().to_string(), to.tls),
        ("192.0.2.3:8080".into(), "broker.example.com".into(), true)
    );
    client.handle_failure(NOW, exchange, ExchangeFailure::Connect).unwrap();
    let (_, events) = drain_client(&mut client, NOW);
    let [ClientEvent::Resolve { id, .. }] = &events[..] else { panic!("{events:?}") };
    client.resolved(NOW, *id, &[]);
    let (_, to, _) = exchange_of(&mut client, NOW);
    assert_eq!(to.address.to_string(), "192.0.2.4:8080");
    client.resolved(NOW, *id, &[IpAddr::from([1, 2, 3, 4])]);
    assert_eq!(drain_client(&mut client, NOW), (vec![], vec![]), "a second answer to a look-up is ignored");
}

#[test]
fn failures_of_connections_are_reported_by_index() {
    let mut client = client([udp("192.0.2.1:9090", 1)]);
    let request = query();
    let mut response = QueryConnectResponse::new(Status::SUCCESS);
    (response.index, response.count) = (Some(1), Some(2));
    assert!(client.report_failure(NOW, &request, &response).unwrap().is_some());
    let mut broker = broker();
    let (sent, _) = drain_client(&mut client, NOW);
    broker.handle_datagram(NOW, CLIENT.parse().unwrap(), &sent[0].payload).unwrap();
    let asked = {
        let (_, events, _) = drain(&mut broker, NOW);
        answer_all(&mut broker, events)
    };
    let Message::QueryConnectRequest(asked) = &asked[0].1 else { panic!("{asked:?}") };
    assert_eq!((asked.index, &asked.identifier), (Some(2), &request.identifier));
    response.index = Some(2);
    assert_eq!(client.report_failure(NOW, &request, &response), Ok(None), "there is no other answer");
}

#[test]
fn a_replaced_ticket_is_used_from_then_on_and_can_be_saved() {
    let (mut client, mut broker) = (client([udp("192.0.2.1:9090", 1)]), broker());
    let ticket_of = |sent: &[Datagram]| RequestPacket::parse(&sent[0].payload).unwrap().ticket.to_vec();
    let mut tickets = Vec::new();
    for from in ["198.51.100.7:1", "203.0.113.9:1", "203.0.113.9:1"] {
        client.query(NOW, query()).unwrap();
        let (sent, _) = drain_client(&mut client, NOW);
        tickets.push(ticket_of(&sent));
        broker.handle_datagram(NOW, from.parse().unwrap(), &sent[0].payload).unwrap();
        let (_, events, _) = drain(&mut broker, NOW);
        answer_all(&mut broker, events);
        for transmit in drain(&mut broker, NOW).0 {
            let obp_proto::broker::BrokerTransmit::Datagram(datagram) = transmit else { panic!() };
            client.handle_datagram(NOW, sent[0].to, &datagram.payload).unwrap();
        }
        let (_, events) = drain_client(&mut client, NOW);
        let changed = events.contains(&ClientEvent::BindingChanged);
        assert_eq!((changed, events.len()), (tickets.len() == 2, if tickets.len() == 2 { 2 } else { 1 }));
    }
    assert_eq!(tickets[0], tickets[1]);
    assert_ne!(tickets[1], tickets[2]);
    let saved = client.binding().service[0].cryptographic.as_ref().unwrap();
    assert_eq!(saved.ticket.as_bytes(), tickets[2]);
    assert_eq!(client.stats().replaced, 1);
}

#[test]
fn what_does_not_fit_a_datagram_goes_over_http() {
    let mut client = client([udp("192.0.2.1:9090", 1), http("192.0.2.3:8080", 0)]);
    let chain = [vec![0x30; 2000]];
    let request = obp_proto::message::ValidateRequest::new("example.com".parse().unwrap(), chain);
    client.query(NOW, request.clone()).unwrap();
    let (sent, events) = drain_client(&mut client, NOW);
    assert!(sent.is_empty() && matches!(events[..], [ClientEvent::Exchange { .. }]));
    // Without HTTP, the caller is told.
    let mut client = self::client([udp("192.0.2.1:9090", 1)]);
    let id = client.query(NOW, request).unwrap();
    let failed = ClientEvent::Failed { id, error: Error::LimitExceeded(Limit::Message) };
    assert_eq!(drain_client(&mut client, NOW).1, [failed]);
}

#[test]
fn requests_are_padded_to_classes() {
    let lens = |padding: Padding| -> Vec<usize> {
        let mut config = config();
        config.padding = padding;
        let mut client = client_with(config, [udp("192.0.2.1:9090", 1)]);
        let len = |name: &str| {
            client.query(NOW, query_for(name)).unwrap();
            drain_client(&mut client, NOW).0[0].payload.len()
        };
        let mut lens: Vec<usize> =
            ["a.example", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example", "b.c.d.example"].map(len).into();
        lens.sort_unstable();
        lens.dedup();
        lens
    };
    assert_eq!(lens(Padding::Multiple(512)).len(), 1);
    assert_eq!(lens(Padding::To(1100)).len(), 1);
    assert!(lens(Padding::None).len() > 1);
}

#[test]
fn a_binding_without_a_usable_instance_is_refused() {
    let new =
        |instances: Vec<InstanceConnection>| Client::new(config(), binding(instances), [5; 32], NOW, WALL).map(drop);
    let refused = Err(Error::PeerIncompatible(PeerIncompatible::NoUsableInstance));
    assert_eq!(new(vec![]), refused);
    let (mut other, mut keyless, mut dns) = (udp("192.0.2.1:1", 1), udp("192.0.2.1:1", 1), udp("192.0.2.1:1", 1));
    other.service = Some("omni-publish".into());
    keyless.cryptographic = None;
    dns.transport = Some(InstanceTransport::Dns);
    let mut unknown = udp("192.0.2.1:1", 1);
    unknown.cryptographic.as_mut().unwrap().encryption = "ROT13".parse().unwrap();
    assert_eq!(new(vec![other, keyless, dns, unknown]), refused);
    assert_eq!(new(vec![udp("192.0.2.1:1", 1)]), Ok(()));
}

#[test]
fn misuse_and_limits_change_nothing() {
    let mut config = config();
    config.max_queries = 2;
    let mut client = client_with(config, [udp("192.0.2.1:9090", 1)]);
    let wrong = client.query(NOW, QueryConnectResponse::new(Status::SUCCESS));
    assert!(matches!(wrong, Err(Error::ApiMisuse(_))));
    assert!(matches!(client.query_dns(NOW, vec![]), Err(Error::ApiMisuse(_))));
    let ids: Vec<Result<QueryId, Error>> = (0..3).map(|_| client.query(NOW, query())).collect();
    assert_eq!(ids[2], Err(Error::LimitExceeded(Limit::Unanswered)));
    assert_eq!((client.len(), drain_client(&mut client, NOW).0.len()), (2, 2));
}

#[test]
fn dns_messages_are_asked_and_answered() {
    let (mut client, mut broker) = (client([udp("192.0.2.1:9090", 1), http("192.0.2.3:8080", 0)]), broker());
    let id = client.query_dns(NOW, vec!["question".into()]).unwrap();
    let (sent, _) = drain_client(&mut client, NOW);
    broker.handle_datagram(NOW, CLIENT.parse().unwrap(), &sent[0].payload).unwrap();
    let (_, events, _) = drain(&mut broker, NOW);
    let obp_proto::broker::BrokerEvent::Query { id: query, .. } = events[0] else { panic!() };
    broker.respond_dns(query, &["answer".into()]).unwrap();
    let (transmits, ..) = drain(&mut broker, NOW);
    let obp_proto::broker::BrokerTransmit::Datagram(datagram) = &transmits[0] else { panic!() };
    client.handle_datagram(NOW, sent[0].to, &datagram.payload).unwrap();
    assert_eq!(drain_client(&mut client, NOW).1, [ClientEvent::DnsAnswer { id, messages: vec!["answer".into()] }]);
}
