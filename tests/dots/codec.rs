//! `dots codec` over the vectors, both ways.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;
use watchfire_tests::watchfire;

fn codec(direction: &str, input: &[u8]) -> (i32, Vec<u8>, String) {
    let mut child = watchfire(&["dots", "codec", direction])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn octets(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/dots/vectors.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn every_body_there_and_back() {
    let vectors = vectors();
    let mut count = 0;
    for vector in vectors["cbor"].as_array().unwrap() {
        let (Some(hex), true) = (vector["cbor"].as_str(), vector["json"].is_object()) else { continue };
        count += 1;
        let name = &vector["name"];
        let (code, cbor, error) = codec("encode", vector["json"].to_string().as_bytes());
        assert_eq!(code, 0, "{name}: {error}");
        assert_eq!(cbor, octets(hex), "{name}");
        let (code, json, error) = codec("decode", &cbor);
        assert_eq!(code, 0, "{name}: {error}");
        let json: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json, vector["json"], "{name}");
    }
    assert!(count >= 10, "only {count} vectors");
}

#[test]
fn what_is_no_body_is_refused_with_its_place() {
    for (direction, input, why) in [
        ("decode", &b""[..], "octet 0"),
        ("decode", b"\xff", "octet"),
        ("decode", b"\xa1\x01\xa1\x02", "octet"),
        ("encode", b"{", "line 1"),
        ("encode", b"{\"nonsense\":1}", "nonsense"),
        ("encode", b"{\"ietf-dots-signal-channel:heartbeat\":{\"peer-hb-status\":7}}", "peer-hb-status"),
    ] {
        let (code, out, error) = codec(direction, input);
        assert!(code == 4 && out.is_empty() && error.contains(why), "{direction} {input:?}: {code} {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}
