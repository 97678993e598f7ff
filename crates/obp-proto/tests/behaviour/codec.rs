//! What is refused, what is kept, what is written.

use obp_proto::error::Limit;
use obp_proto::message::{
    Advice, CertificateId, Connection, Credential, CredentialType, Identifier, InvalidRequest, List, OpenPinRequest,
    Port, QueryConnectRequest, QueryConnectResponse, Transport, UnbindRequest, ValidateRequest, ValidateResponse,
};
use obp_proto::{DecodeErrorKind, DecodeOptions, Encoding, Limits, Message, Status};

use crate::support::{decode, exchange};

fn kind(text: &str) -> DecodeErrorKind {
    decode(text).unwrap_err().kind().clone()
}

fn with(text: &str, options: DecodeOptions) -> Result<Message, obp_proto::DecodeError> {
    Message::decode_with(text.as_bytes(), Encoding::Json, &options)
}

fn connect(text: &str) -> QueryConnectRequest {
    match decode(text) {
        Ok(Message::QueryConnectRequest(request)) => request,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_is_an_object_with_one_member() {
    assert_eq!(kind("{}"), DecodeErrorKind::EmptyEnvelope);
    assert_eq!(kind(r#"{"PollRequest": {}, "UnbindRequest": {}}"#), DecodeErrorKind::SecondMember);
    assert_eq!(kind(r#"{"PollRequest": {}, "PollRequest": {}}"#), DecodeErrorKind::SecondMember);
    for text in
        ["[]", "[{}]", "3", "\"PollRequest\"", "null", "", "{", r#"{"PollRequest": []}"#, r#"{"PollRequest": 1}"#]
    {
        assert!(matches!(kind(text), DecodeErrorKind::Encoding(_)), "{text}");
    }
    let behind = decode(r#"{"PollRequest": {}} x"#).unwrap_err();
    assert_eq!(behind.offset(), Some(20), "{behind}");
}

#[test]
fn names_are_matched_with_their_case() {
    let unknown = kind(r#"{"queryconnectrequest": {}}"#);
    assert_eq!(unknown, DecodeErrorKind::UnknownMessage("queryconnectrequest".into()));
    // A member in another case is another member: kept, not read.
    let request = connect(r#"{"QueryConnectRequest": {"proveit": true}}"#);
    assert_eq!((request.prove_it, request.extra.len()), (None, 1));
}

#[test]
fn an_unknown_message_is_named_and_answered_not_implemented() {
    let error = decode(r#"{"AdvertiseRequest": {"Service": [{"a": [1, 2]}]}}"#).unwrap_err();
    assert_eq!(error.kind(), &DecodeErrorKind::UnknownMessage("AdvertiseRequest".into()));
    assert_eq!(error.status(), Status::NOT_IMPLEMENTED);
    // Malformed is malformed, whatever its name.
    let malformed = decode(r#"{"AdvertiseRequest": {"Service": [}}"#).unwrap_err();
    assert_eq!(malformed.status(), Status::SYNTAX);
    // A name of any length does not fill the log.
    let long = decode(&format!(r#"{{"{}": {{}}}}"#, "ä".repeat(1000))).unwrap_err();
    assert!(long.to_string().chars().count() < 120, "{long}");
}

#[test]
fn unknown_members_are_kept_in_order_or_denied() {
    let text = concat!(
        r#"{"QueryConnectRequest":{"Identifier":{"Name":"a.example","Zone":[1,-2,{"x":null}]},"ProveIt":true,"#,
        r#""Alpha":"ä\n","Beta":1.5,"Gamma":{},"Delta":18446744073709551615}}"#
    );
    let message = decode(text).unwrap();
    assert_eq!(String::from_utf8(message.encode(Encoding::Json).unwrap()).unwrap(), text);
    for encoding in [Encoding::JsonB, Encoding::JsonC] {
        let octets = message.encode(encoding).unwrap();
        assert_eq!(Message::decode(&octets, encoding, &Limits::default()).unwrap(), message);
    }
    let denied = with(text, DecodeOptions::new().with_deny_unknown(true)).unwrap_err();
    assert_eq!(denied.kind(), &DecodeErrorKind::UnknownField("Zone".into()));
    assert_eq!(denied.path(), "QueryConnectRequest.Identifier");
    assert!(with(r#"{"PollRequest": {}}"#, DecodeOptions::new().with_deny_unknown(true)).is_ok());
}

#[test]
fn an_unknown_member_with_a_known_name_cannot_be_written() {
    let mut message = QueryConnectRequest::default();
    message.extra.set("Zone", jsonbcd::Value::Bool(true));
    message.extra.set("Zone", jsonbcd::Value::Null);
    assert_eq!(message.extra.len(), 1);
    assert!(Message::from(message.clone()).encode(Encoding::Json).is_ok());
    message.extra.set("ProveIt", jsonbcd::Value::Null);
    for encoding in Encoding::ALL {
        let error = Message::from(message.clone()).encode(encoding).unwrap_err();
        assert!(error.to_string().contains("ProveIt"), "{error}");
    }
    let mut message = UnbindRequest::default();
    message.extra.set("NaN", jsonbcd::Value::Float(f64::NAN));
    assert!(Message::from(message.clone()).encode(Encoding::Json).is_err(), "JSON has no form for it");
    assert!(Message::from(message).encode(Encoding::JsonB).is_ok());
}

#[test]
fn a_member_that_stands_twice_is_refused_wherever_it_is() {
    for (text, path) in [
        (r#"{"QueryConnectRequest": {"ProveIt": true, "ProveIt": true}}"#, "QueryConnectRequest"),
        (r#"{"QueryConnectRequest": {"Policy": [], "Policy": []}}"#, "QueryConnectRequest"),
        (r#"{"QueryConnectRequest": {"Identifier": {"Name": "a", "Name": "a"}}}"#, "QueryConnectRequest.Identifier"),
        (r#"{"QueryConnectRequest": {"x": 1, "x": 1}}"#, "QueryConnectRequest"),
        (r#"{"QueryConnectRequest": {"x": {"y": 1, "y": 1}}}"#, "QueryConnectRequest"),
        (r#"{"QueryConnectRequest": {"Polic\u0079": [], "Policy": []}}"#, "QueryConnectRequest"),
    ] {
        let error = decode(text).unwrap_err();
        assert!(error.to_string().contains("stands twice"), "{text}: {error}");
        assert_eq!(error.status(), Status::SYNTAX);
        assert_eq!(error.path(), path, "{text}");
    }
}

#[test]
fn arrays_are_arrays_even_of_one_element() {
    let bare = [
        r#"{"ValidateRequest": {"Credential": {"Data": "AQ"}}}"#,
        r#"{"ValidateRequest": {"Policy": "dv"}}"#,
        r#"{"TicketRequest": {"Service": "omni-query"}}"#,
    ];
    for text in bare {
        assert!(decode(text).is_err(), "{text}");
        let message = with(text, DecodeOptions::new().with_bare_for_array(true)).unwrap();
        let written = String::from_utf8(message.encode(Encoding::Json).unwrap()).unwrap();
        assert!(written.contains(":[{\"Data\":\"AQ\"}]") || written.contains(":[\""), "{written}");
        assert_eq!(decode(&written).unwrap(), message);
    }
    // Arrays are read as ever by the lenient reader, and its errors say where.
    let lenient = DecodeOptions::new().with_bare_for_array(true);
    assert_eq!(
        with(r#"{"ValidateRequest": {"Policy": ["dv"]}}"#, lenient),
        decode(r#"{"ValidateRequest": {"Policy": ["dv"]}}"#)
    );
    let error = with(r#"{"ValidateRequest": {"Credential": {"Data": 1}}}"#, lenient).unwrap_err();
    assert_eq!(error.path(), "ValidateRequest.Credential[0].Data");
    assert!(with(r#"{"ValidateRequest": {"Policy": 3}}"#, lenient).is_err());
}

#[test]
fn integers_are_integers_that_fit() {
    for (text, path) in [
        (r#"{"ValidateRequest": {"Index": 1.5}}"#, "ValidateRequest.Index"),
        (r#"{"ValidateRequest": {"Index": 1.0}}"#, "ValidateRequest.Index"),
        (r#"{"ValidateRequest": {"Index": 1e2}}"#, "ValidateRequest.Index"),
        (r#"{"ValidateRequest": {"Index": -1}}"#, "ValidateRequest.Index"),
        (r#"{"ValidateRequest": {"Index": 4294967296}}"#, "ValidateRequest.Index"),
        (r#"{"ValidateRequest": {"Index": "1"}}"#, "ValidateRequest.Index"),
        (r#"{"ValidateRequest": {"Index": null}}"#, "ValidateRequest.Index"),
        (r#"{"ValidateResponse": {"Status": 9223372036854775808}}"#, "ValidateResponse.Status"),
        (r#"{"ValidateResponse": {"Status": 1e3}}"#, "ValidateResponse.Status"),
    ] {
        assert_eq!(decode(text).unwrap_err().path(), path, "{text}");
    }
    for status in [0, -5, 200, 99_999, i64::MAX, i64::MIN] {
        let message = Message::from(ValidateResponse::new(Status::new(status)));
        for encoding in Encoding::ALL {
            let octets = message.encode(encoding).unwrap();
            assert_eq!(Message::decode(&octets, encoding, &Limits::default()).unwrap(), message, "{status}");
        }
    }
}

#[test]
fn octets_are_base64url_with_white_space_and_padding_let_pass() {
    let data =
        |text: &str, options| match with(&format!(r#"{{"PollRequest": {{"TransactionID": "{text}"}}}}"#), options) {
            Ok(Message::PollRequest(poll)) => Some(poll.transaction_id.unwrap().into_vec()),
            Ok(other) => panic!("{other:?}"),
            Err(_) => None,
        };
    let plain = DecodeOptions::new();
    for text in ["-_8", "-_8=", "\n-_8", "-\t_ 8\r\n", "-_\\n8"] {
        assert_eq!(data(text, plain), Some(vec![0xfb, 0xff]), "{text:?}");
    }
    assert_eq!(data("", plain), Some(vec![]));
    for text in ["+/8", "-_8*", "A", "-_8ü"] {
        assert_eq!(data(text, plain), None, "{text:?}");
    }
    assert_eq!(data("+/8=", plain.with_lenient_base64(true)), Some(vec![0xfb, 0xff]));
    let written = decode(r#"{"PollRequest": {"TransactionID": "-_8="}}"#).unwrap().encode(Encoding::Json).unwrap();
    assert_eq!(written, br#"{"PollRequest":{"TransactionID":"-_8"}}"#, "never padded");
}

#[test]
fn booleans_are_booleans() {
    assert_eq!(connect(r#"{"QueryConnectRequest": {"ProveIt": false}}"#).prove_it, Some(false));
    for wrong in ["\"true\"", "1", "null", "True"] {
        assert!(decode(&format!(r#"{{"QueryConnectRequest": {{"ProveIt": {wrong}}}}}"#)).is_err(), "{wrong}");
    }
}

#[test]
fn absent_members_are_not_written_and_null_is_not_read() {
    let written = Message::from(OpenPinRequest::default()).encode(Encoding::Json).unwrap();
    assert_eq!(written, br#"{"OpenPINRequest":{}}"#);
    let mut empty = OpenPinRequest::default();
    empty.service = List::present(vec![]);
    let written = Message::from(empty).encode(Encoding::Json).unwrap();
    assert_eq!(written, br#"{"OpenPINRequest":{"Service":[]}}"#);
    let error = decode(r#"{"OpenPINRequest": {"Account": null}}"#).unwrap_err();
    assert_eq!(error.path(), "OpenPINRequest.Account");
}

#[test]
fn text_is_utf_8_with_the_escapes_of_json() {
    let name = |text: &str| match decode(&format!(r#"{{"OpenPINRequest": {{"DeviceName": "{text}"}}}}"#)) {
        Ok(Message::OpenPinRequest(request)) => request.device_name,
        _ => None,
    };
    assert_eq!(name(r"\u041f\uD83D\uDE00\/\b\\").as_deref(), Some("П😀/\u{8}\\"));
    assert_eq!(name(r"\ud83d"), None, "half of a pair");
    assert_eq!(name(r"\x"), None);
    assert_eq!(name("\u{1}"), None, "a raw control character");
    for octets in [
        &b"{\"PollRequest\": {\"\xff\": 1}}"[..],
        b"{\"PollRequest\": {\"a\": \"\xc3\"}}",
        b"\xef\xbb\xbf{\"PollRequest\": {}}",
    ] {
        assert!(Message::decode(octets, Encoding::Json, &Limits::default()).is_err(), "{octets:?}");
    }
}

#[test]
fn dates_are_written_with_z() {
    let text = r#"{"TicketResponse": {"Service": [{"Expires": "2014-05-21T20:05:56+00:00"}]}}"#;
    let written = String::from_utf8(decode(text).unwrap().encode(Encoding::Json).unwrap()).unwrap();
    assert!(written.contains(r#""Expires":"2014-05-21T20:05:56Z""#), "{written}");
    let error = decode(&text.replace("+00:00", "+02:00")).unwrap_err();
    assert_eq!(error.path(), "TicketResponse.Service[0].Expires");
    assert!(error.to_string().contains("UTC"), "{error}");
}

#[test]
fn every_limit_holds() {
    let limit = |text: &str, limits| match Message::decode(text.as_bytes(), Encoding::Json, &limits) {
        Err(error) => match error.kind() {
            DecodeErrorKind::Limit(limit) => Some(*limit),
            other => panic!("{other:?}"),
        },
        Ok(_) => None,
    };
    let limits = Limits::default();
    let text = r#"{"QueryConnectRequest": {"Policy": ["a", "b", "c"], "x": [[1]], "y": 2}}"#;
    assert_eq!(limit(text, limits), None);
    assert_eq!(limit(text, limits.with_message(text.len())), None);
    assert_eq!(limit(text, limits.with_message(text.len() - 1)), Some(Limit::Message));
    assert_eq!(limit(text, limits.with_items(2)), Some(Limit::Items));
    assert_eq!(limit(text, limits.with_items(3)), None);
    assert_eq!(limit(text, limits.with_depth(4)), None);
    assert_eq!(limit(text, limits.with_depth(3)), Some(Limit::Depth));
    assert_eq!(limit(text, limits.with_unknown_fields(1)), Some(Limit::UnknownFields));
    assert_eq!(limit(text, limits.with_values(5)), Some(Limit::Values));
    assert_eq!(limit(text, limits.with_string(0)), Some(Limit::String));
    let deep = format!(r#"{{"PollRequest": {{"x": {}{}}}}}"#, "[".repeat(1000), "]".repeat(1000));
    assert_eq!(limit(&deep, limits), Some(Limit::Depth));
}

#[test]
fn an_announced_length_is_not_allocated() {
    // A string of four gigabytes, of which one octet is there; and an array that never ends.
    for octets in [
        &b"{\x80\x0bPollRequest{\x80\x0dTransactionID\x8a\xff\xff\xff\xff\x01"[..],
        b"{\x80\x0bPollRequest{\x80\x01x[[[[",
    ] {
        for encoding in [Encoding::JsonB, Encoding::JsonC] {
            assert!(Message::decode(octets, encoding, &Limits::default()).is_err());
        }
    }
}

#[test]
fn an_identifier_needs_a_name_and_a_purpose() {
    let error = decode(r#"{"QueryConnectRequest": {"Identifier": {"Port": 80}}}"#).unwrap_err();
    assert_eq!(error.kind(), &DecodeErrorKind::MissingField("Name"));
    assert_eq!(error.path(), "QueryConnectRequest.Identifier");
    let target = |text: &str| connect(text).target().map(|identifier| identifier.name.to_string());
    assert_eq!(target(r#"{"QueryConnectRequest": {}}"#), Err(InvalidRequest::NoIdentifier));
    assert_eq!(
        target(r#"{"QueryConnectRequest": {"Identifier": {"Name": "a.example"}}}"#),
        Err(InvalidRequest::NoServiceNorPort)
    );
    for rest in [r#""Port": 1"#, r#""Service": "_http""#, r#""Service": "_http._tcp", "Port": 65535, "Account": "al""#]
    {
        let text = format!(r#"{{"QueryConnectRequest": {{"Identifier": {{"Name": "a.example", {rest}}}}}}}"#);
        assert_eq!(target(&text).as_deref(), Ok("a.example"), "{rest}");
    }
    assert_eq!(InvalidRequest::NoIdentifier.status(), Status::SYNTAX);
}

#[test]
fn the_draft_s_own_validation_lacks_the_purpose_and_passes() {
    let (_, Message::ValidateRequest(request)) = exchange("validate-request") else { panic!() };
    let [identifier] = &request.service.as_ref().unwrap().identifier[..] else { panic!() };
    assert!(!identifier.is_complete());
    assert_eq!(request.check(), Ok(()));
}

#[test]
fn an_account_makes_it_a_peer() {
    let peer = Identifier::new("example.com".parse().unwrap())
        .with_account("alice")
        .with_service("_xmpp-client".parse().unwrap());
    let message = Message::from(QueryConnectRequest::new(peer));
    let written = message.encode(Encoding::Json).unwrap();
    assert_eq!(
        String::from_utf8(written).unwrap(),
        r#"{"QueryConnectRequest":{"Identifier":{"Name":"example.com","Account":"alice","Service":"_xmpp-client"}}}"#
    );
}

#[test]
fn names_and_ports_and_addresses_are_checked_where_they_stand() {
    for (member, path) in [
        (r#""Identifier": {"Name": "bücher.example", "Port": 80}"#, "Identifier.Name"),
        (r#""Identifier": {"Name": "", "Port": 80}"#, "Identifier.Name"),
        (r#""Identifier": {"Name": "a", "Port": 0}"#, "Identifier.Port"),
        (r#""Identifier": {"Name": "a", "Port": 65536}"#, "Identifier.Port"),
        (r#""Identifier": {"Name": "a", "Port": -1}"#, "Identifier.Port"),
        (r#""Identifier": {"Name": "a", "Service": "http"}"#, "Identifier.Service"),
    ] {
        let error = decode(&format!(r#"{{"QueryConnectRequest": {{{member}}}}}"#)).unwrap_err();
        assert_eq!(error.path(), format!("QueryConnectRequest.{path}"), "{member}: {error}");
    }
    let connection = |members: &str| {
        decode(&format!(r#"{{"QueryConnectResponse": {{"Status": 200, "Connection": [{{}}, {{{members}}}]}}}}"#))
    };
    for (member, name) in [
        (r#""IPAddress": "fe80::1%eth0""#, "IPAddress"),
        (r#""IPAddress": "[::1]""#, "IPAddress"),
        (r#""IPAddress": "10.1.2.3:80""#, "IPAddress"),
        (r#""IPAddress": "10.1.2""#, "IPAddress"),
        (r#""IPAddress": "010.1.2.3""#, "IPAddress"),
        (r#""IPAddress": "a.example""#, "IPAddress"),
        (r#""IPPort": 0"#, "IPPort"),
        (r#""IPPort": 65536"#, "IPPort"),
    ] {
        let error = connection(member).unwrap_err();
        assert_eq!(error.path(), format!("QueryConnectResponse.Connection[1].{name}"), "{member}");
    }
    for good in ["10.1.2.3", "2001:db8::1", "::ffff:10.1.2.3"] {
        let message = connection(&format!(r#""IPAddress": "{good}", "IPPort": 65535"#)).unwrap();
        let written = String::from_utf8(message.encode(Encoding::Json).unwrap()).unwrap();
        assert!(written.contains(good), "{written}");
    }
}

#[test]
fn a_transport_that_is_absent_is_raw_and_an_unknown_one_is_kept_and_not_used() {
    let text = |transport: &str| {
        format!(
            r#"{{"QueryConnectResponse":{{"Status":200,"Connection":[{{"IPAddress":"10.0.0.1","IPPort":1{transport}}}]}}}}"#
        )
    };
    for (member, transport, usable) in [
        ("", Transport::Raw, true),
        (r#","Transport":"RAW""#, Transport::Raw, true),
        (r#","Transport":"TLS""#, Transport::Tls, true),
        (r#","Transport":"IPSEC""#, Transport::Ipsec, true),
        (r#","Transport":"QUIC""#, Transport::from("QUIC"), false),
        (r#","Transport":"TLS","TransportPolicy":"TLS=Maybe","ProtocolPolicy":"alpn=h2""#, Transport::Tls, true),
    ] {
        let message = decode(&text(member)).unwrap();
        assert_eq!(String::from_utf8(message.encode(Encoding::Json).unwrap()).unwrap(), text(member), "kept");
        let Message::QueryConnectResponse(response) = message else { panic!() };
        assert_eq!((response.connection[0].transport(), response.connection[0].is_usable()), (&transport, usable));
    }
    assert!(!Connection::default().is_usable());
}

#[test]
fn connections_keep_their_order() {
    let mut response = QueryConnectResponse::new(Status::SUCCESS);
    response.connection =
        (1..=9).rev().map(|port| Connection::new("10.0.0.1".parse().unwrap(), Port::try_from(port).unwrap())).collect();
    let message = Message::from(response);
    for encoding in Encoding::ALL {
        let read = Message::decode(&message.encode(encoding).unwrap(), encoding, &Limits::default()).unwrap();
        let Message::QueryConnectResponse(read) = read else { panic!() };
        let ports: Vec<u16> = read.connection.iter().map(|connection| connection.ip_port.unwrap().get()).collect();
        assert_eq!(ports, [9, 8, 7, 6, 5, 4, 3, 2, 1]);
    }
}

#[test]
fn the_index_chooses_among_answers_and_a_failure_asks_for_the_next() {
    let mut request = QueryConnectRequest::new(Identifier::new("a".parse().unwrap()).with_port(Port::HTTP));
    assert_eq!(request.wanted(2), Ok(0));
    for (index, wanted) in [(0, Ok(0)), (1, Ok(0)), (2, Ok(1)), (3, Err(InvalidRequest::IndexOutOfRange))] {
        request.index = Some(index);
        assert_eq!(request.wanted(2), wanted, "{index}");
    }
    assert_eq!(request.wanted(0), Err(InvalidRequest::IndexOutOfRange));
    request.index = None;
    let mut response = QueryConnectResponse::new(Status::SUCCESS);
    assert_eq!(request.after_failure(&response), None, "the broker says nothing of more");
    response.count = Some(2);
    let next = request.after_failure(&response).unwrap();
    assert_eq!((next.index, &next.identifier), (Some(2), &request.identifier));
    response.index = Some(2);
    assert_eq!(next.after_failure(&response), None, "that was the last");
    response.index = Some(u32::MAX);
    assert_eq!(next.after_failure(&response), None);
}

#[test]
fn something_must_be_validated() {
    let check = |text: &str| match decode(text).unwrap() {
        Message::ValidateRequest(request) => request.check(),
        other => panic!("{other:?}"),
    };
    assert_eq!(check(r#"{"ValidateRequest": {}}"#), Err(InvalidRequest::NothingToValidate));
    assert_eq!(
        check(r#"{"ValidateRequest": {"Credential": [], "CertificateID": []}}"#),
        Err(InvalidRequest::NothingToValidate)
    );
    assert_eq!(check(r#"{"ValidateRequest": {"Credential": [{}, {}]}}"#), Ok(()));
    assert_eq!(check(r#"{"ValidateRequest": {"CertificateID": [{"Data": "AQ"}]}}"#), Ok(()));
}

#[test]
fn credentials_are_told_by_type_or_look() {
    let of = |media_type: Option<&str>, data: &[u8]| {
        let mut credential = Credential::certificate(data);
        credential.media_type = media_type.map(str::to_owned);
        credential.credential_type()
    };
    let der = [0x30, 0x82, 2, 0xd0, 0x30];
    for (media_type, data, expected) in [
        (None, &der[..], CredentialType::Certificate),
        (None, b"-----BEGIN CERTIFICATE-----", CredentialType::Unknown),
        (None, b"", CredentialType::Unknown),
        (Some("application/pkix-cert"), b"", CredentialType::Certificate),
        (Some("Application/PKIX-Cert; x=y"), b"", CredentialType::Certificate),
        (Some("application/x-x509-server-cert"), b"", CredentialType::Certificate),
        (Some("application/pkix-pkipath"), &der, CredentialType::PkiPath),
        (Some("application/x-pem-file"), b"", CredentialType::Pem),
        (Some("text/plain"), &der, CredentialType::Unknown),
    ] {
        assert_eq!(of(media_type, data), expected, "{media_type:?}");
    }
}

#[test]
fn certificate_ids_are_those_of_ocsp() {
    let mut id = CertificateId::ocsp([0x30, 0x00]);
    assert_eq!(id.as_ocsp(), Some(&[0x30, 0][..]));
    id.media_type = None;
    assert_eq!(id.as_ocsp(), Some(&[0x30, 0][..]));
    id.media_type = Some("application/x-other".into());
    assert_eq!(id.as_ocsp(), None);
    assert_eq!(CertificateId::default().as_ocsp(), None);
}

#[test]
fn detail_about_single_credentials_travels_only_as_an_unknown_member() {
    let mut response = ValidateResponse::new(Status::DANGER);
    assert_eq!(
        Message::from(response.clone()).encode(Encoding::Json).unwrap(),
        br#"{"ValidateResponse":{"Status":412,"StatusDescription":"Danger"}}"#,
        "off unless asked for"
    );
    response.extra.set("Credential", jsonbcd::Value::Array(vec![jsonbcd::Value::String("expired".into())]));
    let octets = Message::from(response.clone()).encode(Encoding::Json).unwrap();
    assert_eq!(Message::decode(&octets, Encoding::Json, &Limits::default()).unwrap(), response.into());
}

#[test]
fn advice_is_a_media_type_and_octets() {
    let mut response = QueryConnectResponse::new(Status::SUCCESS);
    response.advice = Some(Advice::new(Advice::DNSSEC_CHAIN, [1, 2]));
    let octets = Message::from(response).encode(Encoding::Json).unwrap();
    let text = String::from_utf8(octets).unwrap();
    assert!(text.ends_with(r#""Advice":{"Type":"application/dnssec-chain","Data":"AQI"}}}"#), "{text}");
}

#[test]
fn content_types_name_encodings() {
    for encoding in Encoding::ALL {
        assert_eq!(Encoding::from_content_type(encoding.content_type()), Some(encoding));
        assert_eq!(Encoding::from_content_type(&encoding.media_type().to_uppercase()), Some(encoding));
    }
    assert_eq!(Encoding::Json.content_type(), "application/json;charset=UTF-8");
    for none in ["", "application/json-d", "application/json; charset=iso-8859-1", "text/json", "application"] {
        assert_eq!(Encoding::from_content_type(none), None, "{none}");
    }
}

#[test]
fn json_text_is_read_as_json_b_and_json_c_but_not_the_other_way() {
    let message = Message::from(ValidateRequest::new("a.example".parse().unwrap(), [vec![1, 2, 3]]));
    let text = message.encode(Encoding::Json).unwrap();
    let json_b = message.encode(Encoding::JsonB).unwrap();
    let json_c = message.encode(Encoding::JsonC).unwrap();
    let read = |octets: &[u8], encoding| Message::decode(octets, encoding, &Limits::default());
    assert_eq!(read(&text, Encoding::JsonC), Ok(message.clone()));
    assert_eq!(read(&text, Encoding::JsonB), Ok(message.clone()));
    assert_eq!(read(&json_b, Encoding::JsonC), Ok(message));
    assert!(read(&json_b, Encoding::Json).is_err());
    assert!(json_c == json_b || read(&json_c, Encoding::JsonB).is_err());
}
