use dots_callhome::wire::{MessageBuf, tcp, udp};
use dots_callhome::{InvalidRequest, MitigationRequest, Profile, resource};
use serde_json::Value;

pub fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/dots/vectors.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn every_message_is_read_and_written_byte_for_byte_in_both_framings() {
    let (mut datagrams, mut frames) = (0, 0);
    for vector in vectors()["coap"].as_array().unwrap() {
        if let Some(hex) = vector["udp"].as_str() {
            let octets = unhex(hex);
            let read = udp::decode(&octets).unwrap();
            let mut out = Vec::new();
            MessageBuf::copy_of(&read.message).encode_udp(read.kind, read.message_id, &mut out);
            assert_eq!(out, octets, "{}", vector["name"]);
            datagrams += 1;
        }
        if let Some(hex) = vector["tcp"].as_str() {
            let octets = unhex(hex);
            let (mut at, mut out) = (0, Vec::new());
            while let Some((message, used)) = tcp::decode(&octets[at..], 1152).unwrap() {
                MessageBuf::copy_of(&message).encode_tcp(&mut out);
                at += used;
                frames += 1;
            }
            assert_eq!(out, octets, "{}", vector["name"]);
        }
    }
    assert_eq!((datagrams, frames), (17, 14));
}

#[test]
fn paths_of_all_request_vectors_are_resources() {
    for vector in vectors()["coap"].as_array().unwrap() {
        let Some(hex) = vector["udp"].as_str() else { continue };
        let octets = unhex(hex);
        let message = udp::decode(&octets).unwrap().message;
        assert_eq!(resource(&message).is_ok(), message.code.is_request(), "{}", vector["name"]);
    }
}

#[test]
fn negative_vectors_are_refused_and_tolerable_ones_taken() {
    for vector in vectors()["negative"].as_array().unwrap() {
        let mut put = MessageBuf::new(dots_callhome::wire::Code::PUT, Default::default());
        put.set_dots_payload(&unhex(vector["cbor"].as_str().unwrap()));
        let read = MitigationRequest::from_message(&put.as_message(), Profile::Base);
        let text = read.as_ref().err().map(ToString::to_string).unwrap_or_default();
        match vector["name"].as_str().unwrap() {
            "unknown-comprehension-required" => assert!(text.contains("key 127"), "{text}"),
            "telemetry-key-ignored" => assert!(read.is_ok(), "{text}"),
            "two-scopes" => assert_eq!(read, Err(InvalidRequest::Scopes(2))),
            "lifetime-zero" => assert_eq!(read, Err(InvalidRequest::ZeroLifetime)),
            "mid-in-body" => assert_eq!(read, Err(InvalidRequest::Forbidden("mid"))),
            "dots-tag" => assert_eq!(read, Err(InvalidRequest::WrongBody)),
            "indefinite-length" | "trailing-bytes" | "deep-nesting" => {
                assert!(matches!(read, Err(InvalidRequest::Body(_))))
            }
            other => panic!("no rule for {other}"),
        }
    }
}
