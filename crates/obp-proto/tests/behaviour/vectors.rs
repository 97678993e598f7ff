//! The drafts' own examples, octet for octet.

use obp_proto::crypto::{Authentication, Encryption, HashAlgorithm, RustCrypto};
use obp_proto::message::{
    Binary, Connection, CredentialType, Identifier, InstanceTransport, Port, ProtocolPolicy, QueryConnectRequest,
    QueryConnectResponse, Transport, TransportPolicy, ValidateRequest, ValidateResponse,
};
use obp_proto::{DecodeErrorKind, DecodeOptions, Encoding, Limits, Message, Status};
use sha2::Digest as _;

use crate::support::{derived, exchange, hex, vector};

const ALL: [(&str, usize); 15] = [
    ("query-connect-request", 123),
    ("query-connect-response", 371),
    ("validate-request", 1126),
    ("validate-response", 81),
    ("bind-request-anonymous", 226),
    ("ticket-response-anonymous", 578),
    ("open-pin-request", 368),
    ("open-pin-response", 511),
    ("ticket-request", 153),
    ("ticket-response", 1762),
    ("unbind-request", 24),
    ("unbind-response", 79),
    ("bind-request-out-of-band", 224),
    ("ticket-response-incomplete", 162),
    ("poll-request", 22),
];

#[test]
fn every_example_is_read_and_written_back_octet_for_octet() {
    for (name, len) in ALL {
        let (body, message) = exchange(name);
        assert_eq!(body.len(), len, "{name}");
        let written = message.encode_reference().unwrap();
        assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(&body), "{name}");
    }
}

#[test]
fn every_example_survives_every_encoding() {
    for (name, _) in ALL {
        let (_, message) = exchange(name);
        for encoding in Encoding::ALL {
            let octets = message.encode(encoding).unwrap();
            assert_eq!(Message::decode(&octets, encoding, &Limits::default()).unwrap(), message, "{name} {encoding}");
        }
    }
}

/// The messages of the examples, made by hand.
fn by_hand() -> [(&'static str, &'static str, Message); 4] {
    let request = QueryConnectRequest::new(
        Identifier::new("Example.com".parse().unwrap()).with_service("_http".parse().unwrap()).with_port(Port::HTTP),
    );
    let mut response = QueryConnectResponse::new(Status::SUCCESS);
    let mut tls = Connection::new("10.3.2.1".parse().unwrap(), Port::HTTPS).with_transport(Transport::Tls);
    tls.transport_policy = Some(TransportPolicy::TlsOptional);
    tls.protocol_policy = Some(ProtocolPolicy::Strict);
    let mut raw = Connection::new("10.3.2.1".parse().unwrap(), Port::HTTP);
    raw.protocol_policy = Some(ProtocolPolicy::Strict);
    response.connection = [tls, raw].into();
    let validate = ValidateRequest::new("example.com".parse().unwrap(), [vector("seed-certificate.der")]);
    [
        ("query-connect-request", "V-B1", request.into()),
        ("query-connect-response", "V-B2", response.into()),
        ("validate-request", "V-B3", validate.into()),
        ("validate-response", "V-B4", ValidateResponse::new(Status::VALID).into()),
    ]
}

#[test]
fn messages_made_by_hand_are_those_of_the_draft_in_text_and_in_json_b() {
    for (name, derived_name, message) in by_hand() {
        let (body, read) = exchange(name);
        assert_eq!(message, read, "{name}");
        assert_eq!(message.encode_reference().unwrap(), body, "{name}");
        let json_b = message.encode(Encoding::JsonB).unwrap();
        assert_eq!(json_b, derived(derived_name), "{name}");
        assert_eq!(Message::decode(&json_b, Encoding::JsonB, &Limits::default()).unwrap(), message, "{name}");
    }
    let lengths = ["V-B1", "V-B2", "V-B3", "V-B4"].map(|name| derived(name).len());
    assert_eq!(lengths, [82, 241, 817, 60]);
}

#[test]
fn minimal_json_is_as_short_as_it_can_be() {
    let lengths = by_hand().map(|(_, _, message)| message.encode(Encoding::Json).unwrap().len());
    assert_eq!(lengths, [89, 262, 1064, 65]);
}

#[test]
fn the_certificate_in_the_validation_is_the_one_of_the_draft() {
    let (_, Message::ValidateRequest(request)) = exchange("validate-request") else { panic!() };
    let der = request.credential[0].data.as_ref().unwrap().as_bytes();
    assert_eq!(der.len(), 724);
    assert_eq!(der, vector("seed-certificate.der"));
    assert_eq!(sha2::Sha256::digest(der)[..], hex("632cef4d4ca0050e3d636b9c108c123ddf7e728734daf5b88a045f046a63b2d3"));
    assert_eq!(request.credential[0].credential_type(), CredentialType::Certificate);
    assert_eq!(request.names().map(|name| name.as_str()).collect::<Vec<_>>(), ["example.com"]);
    request.check().unwrap();
}

#[test]
fn line_feeds_inside_strings_are_read_unless_text_is_strict() {
    let (body, _) = exchange("validate-request");
    let strict = DecodeOptions::new().with_strict_text(true);
    let error = Message::decode_with(&body, Encoding::Json, &strict).unwrap_err();
    assert!(matches!(error.kind(), DecodeErrorKind::Encoding(jsonbcd::ErrorKind::Control(10))), "{error}");
    assert_eq!(error.path(), "ValidateRequest.Credential[0].Data");
    // What we write passes, and does before any other reader of JSON.
    let written = exchange("validate-request").1.encode(Encoding::Json).unwrap();
    Message::decode_with(&written, Encoding::Json, &strict).unwrap();
    serde_json::from_slice::<serde_json::Value>(&written).unwrap();
}

#[test]
fn codes_over_the_examples_are_those_in_their_session_headers() {
    for (key, name, code) in [
        ("2tFPA7RVgbcAv7WZC0hl0w", "query-connect-request", "5_AlS4yMTeE82T6ZP9qAZN7TOhXtvqZ__zsLOmCxNrQ"),
        ("2tFPA7RVgbcAv7WZC0hl0w", "validate-request", "ebgTLvWjZFeTMnowmomslUu9rPvzAPAciO11QK26NQg"),
        ("p8eVWYPS0YrOVr0dILrcTg", "unbind-request", "RplcOyyQc_E4PcbNmL1vpt9xLOIdAXHNxqeBD_RHaJY"),
        ("p8eVWYPS0YrOVr0dILrcTg", "ticket-request", "oNHs-K49eAGTa6JFgAP0_fBiV3OPIHah4eqoMYGkIeo"),
    ] {
        let key: Binary = serde_json::from_value(key.into()).unwrap();
        let message = exchange(name).1;
        let code_of =
            RustCrypto::shared().hmac(HashAlgorithm::Sha256, key.as_bytes(), &[&message.encode_reference().unwrap()]);
        assert_eq!(Binary::from(code_of.as_bytes()).to_base64url(), code, "{name}");
    }
}

#[test]
fn the_binding_in_the_example_means_what_it_says() {
    let (_, Message::TicketResponse(response)) = exchange("ticket-response") else { panic!() };
    assert_eq!(response.status, Some(Status::SUCCESS));
    let [management] = &response.cryptographic[..] else { panic!() };
    assert_eq!(management.protocol.as_deref(), Some("sxs-connect"));
    assert_eq!(management.authentication, Authentication::Hs256);
    assert_eq!(management.ticket.as_bytes().len(), 80);
    let instances: Vec<String> = response.service.iter().map(ToString::to_string).collect();
    assert_eq!(
        instances,
        [
            "sxs-confirm-user at localhost:8080 over HTTP",
            "omni-query at localhost:8080 over HTTP",
            "omni-query at localhost:9090 over UDP"
        ]
    );
    let udp = &response.service[2];
    assert_eq!((udp.priority, udp.weight), (Some(100), Some(100)));
    assert_eq!(udp.transport, Some(InstanceTransport::Udp));
    let key = udp.cryptographic.as_ref().unwrap();
    assert_eq!((&key.encryption, &key.authentication), (&Encryption::A128Cbc, &Authentication::Hs256T128));
    assert_eq!(key.secret.expose(), hex("781b74c3b62b2bbb5d08b0002cb3b7a6"));
}

#[test]
fn an_array_that_is_there_and_empty_is_written_back() {
    let (_, Message::TicketResponse(anonymous)) = exchange("ticket-response-anonymous") else { panic!() };
    assert!(anonymous.cryptographic.is_empty());
    let (_, Message::TicketResponse(pending)) = exchange("ticket-response-incomplete") else { panic!() };
    assert!(pending.cryptographic.is_empty() && pending.status.unwrap().is_pending());
    assert_ne!(anonymous.cryptographic, pending.cryptographic, "one is present, the other absent");
}

#[test]
fn text_and_binary_mix_where_the_grammar_lets_them() {
    // Text names with colons, binary values, no comma: wrapped in an envelope.
    let body = hex("7b2256616c6964617465526573706f6e7365223a7b22537461747573223aa0c822537461747573446573637269707469\
6f6e223a8007537563636573737d7d");
    let message = Message::decode(&body, Encoding::JsonB, &Limits::default()).unwrap();
    assert_eq!(message, ValidateResponse::new(Status::VALID).into());
    // Text where octets are due is base64url in the binary encodings too.
    let text = br#"{"PollRequest": {"TransactionID": "_-8"}}"#;
    let Message::PollRequest(poll) = Message::decode(text, Encoding::JsonB, &Limits::default()).unwrap() else {
        panic!()
    };
    assert_eq!(poll.transaction_id, Some([0xff, 0xef].into()));
}
