//! The client's machine: everything that can come, in every state.

use std::sync::Arc;

use obp_proto::crypto::{Authentication, Encryption, HashAlgorithm, RustCrypto};
use obp_proto::error::{ApiMisuse, Error, ExchangeFailure, PeerIncompatible, PeerMisbehaved};
use obp_proto::message::{
    Binary, Cryptographic, ErrorResponse, ImageLink, List, OpenPinResponse, QueryConnectResponse, TicketResponse,
    UnbindRequest, UnbindResponse,
};
use obp_proto::service_connect::{Binding, ConnectClient, ConnectClientConfig, ConnectClientEvent, Request, Response};
use obp_proto::{Encoding, Message, Status};
use watchfire_core::{Duration, ExchangeMachine, Instant, Machine, Output};

use crate::nodes::{account, body, client_config, instance, pin};
use obp_proto::message::InstanceTransport;

const NOW: Instant = Instant::from_secs(1);

fn key() -> Cryptographic {
    Cryptographic::new(vec![9; 32], Encryption::A128Cbc, Authentication::Hs256, [8; 80])
}

fn binding() -> Binding {
    let mut binding = Binding::default();
    binding.cryptographic = [key()].into();
    binding.service = tickets().service;
    binding
}

fn tickets() -> TicketResponse {
    let mut response = TicketResponse::new(Status::SUCCESS);
    let mut with_key = instance("omni-query", 443, InstanceTransport::Http);
    with_key.cryptographic = Some(key());
    response.service = [with_key].into();
    response
}

fn pending(min_retry: Option<u32>) -> TicketResponse {
    let mut response = TicketResponse::new(Status::PENDING);
    response.transaction_id = Some([5; 16].into());
    response.min_retry = min_retry;
    response
}

/// All events, and the next time-out.
fn drain(machine: &mut ConnectClient) -> (Vec<ConnectClientEvent>, Option<Instant>) {
    let mut events = Vec::new();
    loop {
        match machine.poll_output(NOW) {
            Output::Transmit(never) => match never {},
            Output::Event(event) => events.push(event),
            Output::Timeout(at) => return (events, at),
        }
    }
}

fn request(machine: &mut ConnectClient) -> Request {
    let (events, _) = drain(machine);
    match events.into_iter().next_back() {
        Some(ConnectClientEvent::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn ok(message: impl Into<Message>) -> Response {
    Response::new(200, body(message)).with_authenticated(true)
}

/// What a broker that knows the PIN says to this OpenPINRequest.
fn opened(request: &Request) -> OpenPinResponse {
    let Ok(Message::OpenPinRequest(open)) =
        Message::decode(&request.body, Encoding::Json, &obp_proto::Limits::default())
    else {
        panic!()
    };
    let provider = RustCrypto::shared();
    let challenge = open.challenge.unwrap();
    let pin = pin();
    let kpc = provider.hmac(HashAlgorithm::Sha256, challenge.as_bytes(), &[pin.expose()]);
    let proof = provider.hmac(HashAlgorithm::Sha256, kpc.as_bytes(), &[key().secret.expose(), &request.body]);
    let mut response = OpenPinResponse::default();
    response.status = Some(Status::PIN_REQUIRED);
    response.challenge = Some([4; 16].into());
    response.challenge_response = Some(proof.as_bytes().into());
    response.cryptographic = Some(key());
    response
}

/// Every state that waits for a response, reached anew, with the request that is out.
fn states(config: &Arc<ConnectClientConfig>) -> Vec<(&'static str, ConnectClient, Request)> {
    let config = || Arc::clone(config);
    let mut open = ConnectClient::bind_by_pin(config(), &account(), pin(), [1; 32], NOW);
    let open_request = request(&mut open);
    let mut ticket = ConnectClient::bind_by_pin(config(), &account(), pin(), [1; 32], NOW);
    let asked = request(&mut ticket);
    ticket.handle_response(NOW, asked.id, ok(opened(&asked))).unwrap();
    let ticket_request = request(&mut ticket);
    let mut bind = ConnectClient::bind(config(), [1; 32], NOW);
    let bind_request = request(&mut bind);
    let mut poll = ConnectClient::bind(config(), [1; 32], NOW);
    let asked = request(&mut poll);
    poll.handle_response(NOW, asked.id, ok(pending(None))).unwrap();
    let (_, at) = drain(&mut poll);
    poll.handle_timeout(at.unwrap()).unwrap();
    let poll_request = request(&mut poll);
    let mut refresh = ConnectClient::refresh(config(), binding(), NOW).unwrap();
    let refresh_request = request(&mut refresh);
    let mut unbind = ConnectClient::unbind(config(), binding(), NOW).unwrap();
    let unbind_request = request(&mut unbind);
    vec![
        ("open", open, open_request),
        ("ticket", ticket, ticket_request),
        ("bind", bind, bind_request),
        ("poll", poll, poll_request),
        ("refresh", refresh, refresh_request),
        ("unbind", unbind, unbind_request),
    ]
}

/// How a machine took a response.
fn outcome(machine: &mut ConnectClient, request: &Request, response: Response) -> String {
    let result = machine.handle_response(NOW, request.id, response);
    let (events, at) = drain(machine);
    let last = events.last().map(|event| match event {
        ConnectClientEvent::Closed { error } => format!("{error:?}"),
        ConnectClientEvent::Request(_) => "Request".into(),
        ConnectClientEvent::Pending { .. } => "Pending".into(),
        ConnectClientEvent::Bound(_) => "Bound".into(),
        ConnectClientEvent::Unbound => "Unbound".into(),
        other => format!("{other:?}"),
    });
    let closed = matches!(events.last(), Some(ConnectClientEvent::Closed { .. }));
    assert_eq!(result.is_err(), closed, "an error is told twice, by the call and by the last event");
    let ended = closed || matches!(events.last(), Some(ConnectClientEvent::Bound(_) | ConnectClientEvent::Unbound));
    assert_eq!(machine.is_finished(), ended);
    assert_eq!(at.is_none(), ended);
    assert_eq!(machine.timeout_reason().is_empty(), ended);
    last.unwrap_or_default()
}

#[test]
fn every_response_in_every_state() {
    let config = Arc::new(client_config());
    let refused = |code: i64| format!("Refused(Status({code}))");
    for (name, response, expected) in [
        ("200 tickets", ok(tickets()), ["?", "Bound", "Bound", "Bound", "Bound", "?"]),
        ("200 unbound", ok(UnbindResponse::new(Status::SUCCESS)), ["?", "?", "?", "?", "?", "Unbound"]),
        (
            "282 tickets",
            ok(pending(Some(10))),
            ["?", "Pending", "Pending", "Pending", "PeerMisbehaved(UnexpectedStatus(Status(282)))", "?"],
        ),
        (
            "350 tickets",
            ok(TicketResponse::new(Status::INCOMPLETE)),
            ["?", "Pending", "Pending", "Pending", &refused(350), "?"],
        ),
        ("403 tickets", ok(TicketResponse::new(Status::REFUSED)), [&*refused(403); 6]),
        ("401 error", ok(ErrorResponse::new(Status::AUTHENTICATION)), [&*refused(401); 6]),
        (
            "an empty error",
            ok(ErrorResponse::default()),
            [&*refused(500), &refused(500), &refused(500), "Pending", &refused(500), &refused(500)],
        ),
        (
            "429 tickets",
            ok(TicketResponse::new(Status::TOO_MANY)),
            [&*refused(429), &refused(429), &refused(429), "Pending", &refused(429), &refused(429)],
        ),
        ("no message, 404", Response::new(404, "<html>").with_encoding(None), [&*refused(404); 6]),
        (
            "no message, 503",
            Response::new(503, ""),
            [&*refused(503), &refused(503), &refused(503), "Pending", &refused(503), &refused(503)],
        ),
        ("a request", ok(UnbindRequest::default()), ["?"; 6]),
        ("a query's answer", ok(QueryConnectResponse::new(Status::SUCCESS)), ["?"; 6]),
        ("a query's refusal", ok(QueryConnectResponse::new(Status::REFUSED)), [&*refused(403); 6]),
    ] {
        for ((state, mut machine, request), expected) in states(&config).into_iter().zip(expected) {
            let got = outcome(&mut machine, &request, response.clone());
            match expected {
                "?" => assert!(got.contains("UnexpectedMessage"), "{name} in {state}: {got}"),
                expected => assert_eq!(got, expected, "{name} in {state}"),
            }
        }
    }
    for (state, mut machine, request) in states(&config) {
        let got = outcome(&mut machine, &request, Response::new(200, "{"));
        assert!(got.starts_with("InvalidMessage"), "{state}: {got}");
    }
    for (state, mut machine, request) in states(&config) {
        let got = outcome(&mut machine, &request, ok(tickets()).with_encoding(None));
        assert_eq!(got, format!("{:?}", Error::from(PeerIncompatible::MediaType)), "{state}");
    }
}

#[test]
fn responses_to_signed_requests_must_be_signed() {
    let config = Arc::new(client_config());
    for (state, mut machine, request) in states(&config) {
        let signed = matches!(state, "ticket" | "refresh" | "unbind");
        assert_eq!(request.credentials.is_some(), signed, "{state}");
        let message: Message =
            if state == "unbind" { UnbindResponse::new(Status::SUCCESS).into() } else { tickets().into() };
        let got = outcome(&mut machine, &request, Response::new(200, body(message)));
        assert_eq!(got == format!("{:?}", Error::from(PeerMisbehaved::NotAuthenticated)), signed, "{state}: {got}");
    }
    // A refusal ends the attempt whoever says it.
    for (state, mut machine, request) in states(&config) {
        let got = outcome(&mut machine, &request, Response::new(401, body(ErrorResponse::new(Status::AUTHENTICATION))));
        assert_eq!(got, "Refused(Status(401))", "{state}");
    }
}

#[test]
fn failures_and_silence_end_everything_but_polls() {
    let config = Arc::new(client_config());
    for (state, mut machine, request) in states(&config) {
        let result = machine.handle_failure(NOW, request.id, ExchangeFailure::Broken);
        let (events, at) = drain(&mut machine);
        if state == "poll" {
            assert_eq!((result, at.is_some()), (Ok(()), true));
            assert!(matches!(events[..], [ConnectClientEvent::Pending { .. }]));
        } else {
            let error = Error::Unreachable(ExchangeFailure::Broken);
            assert_eq!(result, Err(error.clone()), "{state}");
            assert_eq!(events, [ConnectClientEvent::Closed { error }]);
        }
    }
    for (state, mut machine, request) in states(&config) {
        let (_, at) = drain(&mut machine);
        let at = at.unwrap();
        assert_eq!(machine.timeout_reason(), "response to service-connect");
        machine.handle_timeout(NOW).unwrap(); // early is harmless
        assert!(drain(&mut machine).0.is_empty());
        let result = machine.handle_timeout(at);
        let (events, _) = drain(&mut machine);
        if state == "poll" {
            assert!(result.is_ok() && matches!(events[..], [ConnectClientEvent::Pending { .. }]), "{events:?}");
        } else {
            assert_eq!(result, Err(Error::Unreachable(ExchangeFailure::TimedOut)), "{state}");
        }
        // What comes late is ignored; what was never asked for is the driver's mistake.
        assert_eq!(machine.handle_response(at, request.id, ok(tickets())), Ok(()), "{state}");
        assert_eq!(machine.handle_failure(at, request.id, ExchangeFailure::Broken), Ok(()), "{state}");
        assert!(drain(&mut machine).0.is_empty(), "{state}");
    }
}

#[test]
fn an_exchange_that_was_never_asked_for_is_the_drivers_mistake() {
    let config = Arc::new(client_config());
    let mut many = ConnectClient::bind(Arc::clone(&config), [1; 32], NOW);
    let first = request(&mut many);
    many.handle_response(NOW, first.id, ok(pending(None))).unwrap();
    let (_, at) = drain(&mut many);
    many.handle_timeout(at.unwrap()).unwrap();
    let second = request(&mut many);
    let mut one = ConnectClient::bind(config, [1; 32], NOW);
    let _ = request(&mut one);
    assert_eq!(one.handle_response(NOW, second.id, ok(tickets())), Err(ApiMisuse::UnknownId.into()));
    assert!(!one.is_finished(), "nothing changed");
}

#[test]
fn the_broker_must_prove_that_it_knows_the_pin() {
    let config = Arc::new(client_config());
    let wrong_length = |len| PeerMisbehaved::ChallengeLength(len);
    type Change = fn(&mut OpenPinResponse);
    let cases: [(Change, PeerMisbehaved); 14] = [
        (|r| r.challenge_response = Some([0; 32].into()), PeerMisbehaved::WrongProof),
        (|r| r.challenge_response = Some(Binary::default()), PeerMisbehaved::WrongProof),
        (
            |r| r.challenge_response = r.challenge_response.take().map(|p| p.as_bytes()[..16].into()),
            PeerMisbehaved::WrongProof,
        ),
        (|r| r.challenge_response = None, PeerMisbehaved::MissingField("ChallengeResponse")),
        (|r| r.challenge = None, PeerMisbehaved::MissingField("Challenge")),
        (|r| r.challenge = Some([4; 15].into()), wrong_length(15)),
        (|r| r.challenge = Some([4; 81].into()), wrong_length(81)),
        (|r| r.cryptographic = None, PeerMisbehaved::MissingField("Cryptographic")),
        (|r| r.cryptographic.as_mut().unwrap().secret = vec![1; 32].into(), PeerMisbehaved::WrongProof),
        (|r| r.cryptographic.as_mut().unwrap().secret = vec![1; 15].into(), PeerMisbehaved::KeyLength(15)),
        (|r| r.cryptographic.as_mut().unwrap().authentication = Authentication::Hs384, PeerMisbehaved::WrongProof),
        (
            |r| r.cryptographic.as_mut().unwrap().authentication = Authentication::from_label("X"),
            PeerMisbehaved::NotOffered,
        ),
        (|r| r.cryptographic.as_mut().unwrap().encryption = Encryption::from_label("X"), PeerMisbehaved::NotOffered),
        (|r| r.status = Some(Status::SUCCESS), PeerMisbehaved::UnexpectedStatus(Status::SUCCESS)),
    ];
    for (change, expected) in cases {
        let mut machine = ConnectClient::bind_by_pin(Arc::clone(&config), &account(), pin(), [1; 32], NOW);
        let asked = request(&mut machine);
        let mut response = opened(&asked);
        change(&mut response);
        assert_eq!(outcome(&mut machine, &asked, ok(response)), format!("{:?}", Error::from(expected)));
    }
    // The number of the older draft, and none at all, do as well.
    for status in [Some(Status::PASSCODE), None] {
        let mut machine = ConnectClient::bind_by_pin(Arc::clone(&config), &account(), pin(), [1; 32], NOW);
        let asked = request(&mut machine);
        let mut response = opened(&asked);
        response.status = status;
        assert_eq!(outcome(&mut machine, &asked, ok(response)), "Request", "{status:?}");
    }
}

#[test]
fn our_own_challenge_is_not_answered() {
    let mut machine = ConnectClient::bind_by_pin(Arc::new(client_config()), &account(), pin(), [1; 32], NOW);
    let asked = request(&mut machine);
    let Ok(Message::OpenPinRequest(open)) = Message::decode(&asked.body, Encoding::Json, &obp_proto::Limits::default())
    else {
        panic!()
    };
    let challenge = open.challenge.unwrap();
    assert!((16..=80).contains(&challenge.as_bytes().len()));
    let mut response = opened(&asked);
    response.challenge = Some(challenge);
    assert_eq!(outcome(&mut machine, &asked, ok(response)), format!("{:?}", Error::from(PeerMisbehaved::WrongProof)));
}

#[test]
fn images_to_compare_are_shown() {
    let mut machine = ConnectClient::bind_by_pin(Arc::new(client_config()), &account(), pin(), [1; 32], NOW);
    let asked = request(&mut machine);
    let mut response = opened(&asked);
    let mut image = ImageLink::default();
    image.algorithm = Some("PNG".into());
    response.verification_image = [image.clone()].into();
    machine.handle_response(NOW, asked.id, ok(response)).unwrap();
    let (events, _) = drain(&mut machine);
    assert!(
        matches!(&events[..], [ConnectClientEvent::Images(images), ConnectClientEvent::Request(_)] if *images == [image])
    );
}

#[test]
fn tickets_with_keys_that_were_not_offered_are_refused() {
    let mut config = client_config();
    config.encryption = vec![Encryption::A128Cbc];
    let config = Arc::new(config);
    for (change, expected) in [
        (Encryption::A256Gcm, Error::from(PeerMisbehaved::NotOffered)),
        (Encryption::from_label("A128CBC-2"), PeerMisbehaved::NotOffered.into()),
    ] {
        let mut machine = ConnectClient::bind(Arc::clone(&config), [1; 32], NOW);
        let asked = request(&mut machine);
        let mut response = tickets();
        response.service[0].cryptographic.as_mut().unwrap().encryption = change;
        assert_eq!(outcome(&mut machine, &asked, ok(response)), format!("{expected:?}"));
    }
    let mut machine = ConnectClient::bind(config, [1; 32], NOW);
    let asked = request(&mut machine);
    let mut nothing = tickets();
    nothing.service = List::ABSENT;
    let expected = Error::from(PeerIncompatible::NoUsableInstance);
    assert_eq!(outcome(&mut machine, &asked, ok(nothing)), format!("{expected:?}"));
}

#[test]
fn a_refresh_without_a_new_key_of_its_own_keeps_the_old_one() {
    let mut machine = ConnectClient::refresh(Arc::new(client_config()), binding(), NOW).unwrap();
    let asked = request(&mut machine);
    assert_eq!(machine.binding(), Some(&binding()));
    machine.handle_response(NOW, asked.id, ok(tickets())).unwrap();
    let (events, _) = drain(&mut machine);
    let [ConnectClientEvent::Bound(renewed)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(renewed.management(), binding().management());
}

#[test]
fn after_the_end_nothing_of_the_binding_is_left() {
    let mut machine = ConnectClient::unbind(Arc::new(client_config()), binding(), NOW).unwrap();
    let asked = request(&mut machine);
    assert!(machine.binding().is_some());
    assert_eq!(asked.credentials.as_ref().map(|key| &key.secret), Some(&key().secret));
    machine.handle_response(NOW, asked.id, ok(UnbindResponse::new(Status::SUCCESS))).unwrap();
    assert_eq!(drain(&mut machine).0, [ConnectClientEvent::Unbound]);
    assert!(machine.binding().is_none() && machine.is_finished());
    let shown = format!("{machine:?}");
    assert!(!shown.contains("Cryptographic"), "{shown}");
}

#[test]
fn polls_name_the_last_transaction_and_keep_the_servers_pace() {
    let mut machine = ConnectClient::bind(Arc::new(client_config()), [1; 32], NOW);
    let asked = request(&mut machine);
    machine.handle_response(NOW, asked.id, ok(pending(Some(60)))).unwrap();
    let (events, at) = drain(&mut machine);
    assert_eq!(events, [ConnectClientEvent::Pending { retry: Duration::from_secs(60) }]);
    assert_eq!((at, machine.timeout_reason()), (Some(NOW + Duration::from_secs(60)), "next poll of service-connect"));
    let at = at.unwrap();
    machine.handle_timeout(Instant::from_micros(at.as_micros() - 1)).unwrap();
    assert!(drain(&mut machine).0.is_empty(), "not before its time");
    machine.handle_timeout(at).unwrap();
    let poll = request(&mut machine);
    assert_eq!(&poll.body[..], br#"{"PollRequest":{"TransactionID":"BQUFBQUFBQUFBQUFBQUFBQ"}}"#);
    // A new name replaces the old one, none leaves it, and so does none of MinRetry.
    let mut renamed = pending(None);
    renamed.transaction_id = Some([6; 16].into());
    machine.handle_response(at, poll.id, ok(renamed)).unwrap();
    let (_, next) = drain(&mut machine);
    assert_eq!(next, Some(at + Duration::from_secs(60)));
    machine.handle_timeout(next.unwrap()).unwrap();
    let poll = request(&mut machine);
    assert_eq!(&poll.body[..], br#"{"PollRequest":{"TransactionID":"BgYGBgYGBgYGBgYGBgYGBg"}}"#);
    machine.handle_response(next.unwrap(), poll.id, ok(TicketResponse::new(Status::INCOMPLETE))).unwrap();
    let (_, last) = drain(&mut machine);
    machine.handle_timeout(last.unwrap()).unwrap();
    assert_eq!(request(&mut machine).body, poll.body);
}

#[test]
fn the_request_is_laid_out_as_in_the_example() {
    let mut config = client_config();
    config.services = ["sxs-confirm-user", "omni-query"].map(str::to_owned).to_vec();
    config.encryption = ["A128CBC", "A256CBC", "A128GCM", "A256GCM"].map(Encryption::from_label).to_vec();
    config.authentication = ["HS256", "HS384", "HS512", "HS256T128"].map(Authentication::from_label).to_vec();
    let mut machine = ConnectClient::bind_by_pin(Arc::new(config), &account(), pin(), [1; 32], NOW);
    let asked = request(&mut machine);
    let (_, Message::OpenPinRequest(example)) = crate::support::exchange("open-pin-request") else { panic!() };
    let Ok(Message::OpenPinRequest(ours)) = Message::decode(&asked.body, Encoding::Json, &obp_proto::Limits::default())
    else {
        panic!()
    };
    let mut expected = example;
    expected.challenge.clone_from(&ours.challenge);
    expected.have_passcode = Some(true); // which the example forgot
    assert_eq!(ours, expected);
}
