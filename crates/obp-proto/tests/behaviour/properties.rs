//! Whatever comes.

use std::sync::Arc;

use obp_proto::service_connect::{ConnectBroker, ConnectClient, Response};
use obp_proto::{DecodeOptions, Encoding, Limits, Message};
use proptest::prelude::*;
use watchfire_core::{ExchangeMachine as _, Instant, Machine as _, Output};

use crate::nodes::{broker_config, client_config, keys, unix};
use crate::support::vector;

/// JSON of any shape, small.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        "\\PC{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map("\\PC{0,4}", inner, 0..4)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A message of the examples, with members that nobody knows.
fn extended() -> impl Strategy<Value = String> {
    const NAMES: &[&str] = &[
        "query-connect-request",
        "query-connect-response",
        "validate-response",
        "poll-request",
        "bind-request-anonymous",
    ];
    let extras = prop::collection::btree_map("X[a-z]{1,6}", any_json(), 0..5);
    (prop::sample::select(NAMES), extras).prop_map(|(name, extras)| {
        let mut message: serde_json::Value =
            serde_json::from_slice(&vector(&format!("exchanges/{name}.json"))).unwrap();
        let body = message.as_object_mut().unwrap().values_mut().next().unwrap().as_object_mut().unwrap();
        body.extend(extras);
        message.to_string()
    })
}

proptest! {
    #[test]
    fn unknown_members_survive_every_encoding(text in extended()) {
        let read = |octets: &[u8], encoding| Message::decode(octets, encoding, &Limits::default()).unwrap();
        let message = read(text.as_bytes(), Encoding::Json);
        for encoding in Encoding::ALL {
            let octets = message.encode(encoding).unwrap();
            prop_assert_eq!(&read(&octets, encoding), &message);
            let mut appended = b"x".to_vec();
            message.encode_to(encoding, &mut appended).unwrap();
            prop_assert_eq!(&appended[1..], &octets[..]);
        }
        // The same values in legal JSON.
        let written = message.encode(Encoding::Json).unwrap();
        let ours: serde_json::Value = serde_json::from_slice(&written).unwrap();
        let theirs: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn a_broken_message_is_an_error_and_never_a_panic(
        name in prop::sample::select(&["validate-request", "ticket-response", "open-pin-request", "query-connect-response"][..]),
        encoding in prop::sample::select(&Encoding::ALL[..]),
        at: prop::sample::Index,
        octet: u8,
        cut: prop::sample::Index,
        lenient: bool,
    ) {
        let (_, message) = crate::support::exchange(name);
        let mut octets = message.encode(encoding).unwrap();
        let at = at.index(octets.len());
        octets[at] = octet;
        let options = DecodeOptions::new().with_bare_for_array(lenient).with_lenient_commas(lenient);
        if let Ok(read) = Message::decode_with(&octets, encoding, &options) {
            // What is read can be written, and then means the same.
            let again = read.encode(encoding).unwrap();
            prop_assert_eq!(Message::decode(&again, encoding, &Limits::default()).unwrap(), read);
        }
        let whole = message.encode(encoding).unwrap();
        let cut = cut.index(whole.len());
        let error = Message::decode_with(&whole[..cut], encoding, &options).unwrap_err();
        prop_assert!(error.offset().is_some_and(|offset| offset <= cut), "{}", error);
    }

    #[test]
    fn any_octets_are_no_reason_to_panic(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        for encoding in Encoding::ALL {
            let _ = Message::decode(&octets, encoding, &Limits::default());
        }
    }

    #[test]
    fn the_client_takes_any_response(octets in prop::collection::vec(any::<u8>(), 0..100), http: u16, text in extended()) {
        for body in [octets, text.into_bytes()] {
            let mut machine = ConnectClient::bind(Arc::new(client_config()), [1; 32], Instant::ZERO);
            let Output::Event(obp_proto::service_connect::ConnectClientEvent::Request(request)) =
                machine.poll_output(Instant::ZERO) else { panic!() };
            let result = machine.handle_response(Instant::ZERO, request.id, Response::new(http, body));
            prop_assert_eq!(result.is_err(), machine.is_finished());
        }
    }

    #[test]
    fn the_broker_answers_any_request(octets in prop::collection::vec(any::<u8>(), 0..100), text in extended()) {
        let mut machine = ConnectBroker::new(Arc::new(broker_config()), keys(), [1; 32], Instant::ZERO);
        for body in [octets, text.into_bytes()] {
            let id = machine.handle_request(Instant::ZERO, unix(Instant::ZERO), None, Encoding::Json, &body);
            match machine.poll_output(Instant::ZERO) {
                Output::Transmit(reply) => prop_assert_eq!(reply.id, id),
                Output::Event(_) => {}
                Output::Timeout(_) => prop_assert!(false, "neither answered nor asked about"),
            }
        }
    }
}
