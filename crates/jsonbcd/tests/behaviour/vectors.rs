//! The messages of OmniBroker's examples: as text exactly as printed, as JSON-B as derived.

use jsonbcd::{Commas, Decoder, Dialect, ErrorKind, Object, Profile, Value, text};

use crate::support::{hex, kind, read, read_with, vector};

const EXAMPLES: [(&str, &str, usize, usize); 4] = [
    ("query-connect-request", "V-B1", 123, 82),
    ("query-connect-response", "V-B2", 371, 241),
    ("validate-request", "V-B3", 1126, 817),
    ("validate-response", "V-B4", 81, 60),
];

fn derived(name: &str) -> Vec<u8> {
    let all: serde_json::Value = serde_json::from_slice(&vector("derived.json")).unwrap();
    hex(all[name].as_str().unwrap())
}

fn example(name: &str) -> Vec<u8> {
    vector(&format!("exchanges/{name}.json"))
}

/// As OmniBroker peers are read.
fn tolerant() -> Decoder {
    Decoder::text().with_raw_controls(true)
}

/// The value, its member `Data` octets instead of text.
fn with_octets(mut value: Value) -> Value {
    fn walk(value: &mut Value) {
        match value {
            Value::Array(elements) => elements.iter_mut().for_each(walk),
            Value::Object(object) => {
                let mut walked = Object::new();
                for (name, mut value) in core::mem::take(object) {
                    walk(&mut value);
                    if let (Some(text), "Data") = (value.as_str(), name.as_str()) {
                        value = jsonbcd::base64url::decode(text, false).unwrap().into();
                    }
                    walked.insert(name, value);
                }
                *object = walked;
            }
            _ => {}
        }
    }
    walk(&mut value);
    value
}

#[test]
fn the_examples_are_read_and_printed_octet_for_octet() {
    for (name, _, len, _) in EXAMPLES {
        let printed = example(name);
        assert_eq!(printed.len(), len);
        let value = with_octets(read_with(&tolerant(), &printed).unwrap());
        assert_eq!(text::to_reference_vec(&value).unwrap(), printed, "{name}");
    }
}

#[test]
fn the_bodies_of_service_connect_are_printed_octet_for_octet() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/obp/exchanges");
    let mut same = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let printed = std::fs::read(entry.unwrap().path()).unwrap();
        let value: Value = tolerant().from_slice(&printed).unwrap();
        // Whatever has a line feed is octets; what else is octets cannot be told without its schema, nor need it be.
        let wrapped = printed.split(|&octet| octet == b'"').any(|part| part.starts_with(b"\n") && part.len() > 64);
        if !wrapped && !printed.windows(2).any(|pair| pair == b"\"\n") {
            assert_eq!(text::to_reference_vec(&value).unwrap(), printed);
            same += 1;
        }
    }
    assert!(same >= 6, "{same}");
}

#[test]
fn the_examples_in_json_b_are_as_derived() {
    for (name, id, _, len) in EXAMPLES {
        let expected = derived(id);
        assert_eq!(expected.len(), len);
        let value = with_octets(tolerant().from_slice(&example(name)).unwrap());
        assert_eq!(jsonbcd::to_vec(&value).unwrap(), expected, "{name}");
        let first = Decoder::new().with_dialect(Dialect::B).with_profile(Profile::Bcd01).with_canonical(true);
        assert_eq!(read_with(&first, &expected).unwrap(), value, "{name}");
    }
}

#[test]
fn the_commas_that_the_authors_programs_leave_out_are_not_missed_in_lenient_reading() {
    for (id, len) in [("V-B2", 240), ("V-B3", 816)] {
        let with = derived(id);
        let value = read(&with).unwrap();
        let without: Vec<u8> = {
            let at = with.windows(2).position(|pair| pair == b"},").unwrap() + 1;
            [&with[..at], &with[at + 1..]].concat()
        };
        assert_eq!(without.len(), len);
        assert_eq!(kind(read(&without)), ErrorKind::MissingComma);
        let lenient = Decoder::new().with_commas(Commas::Lenient);
        assert_eq!(read_with(&lenient, &without).unwrap(), value);
    }
}

#[test]
fn text_and_binary_mix() {
    // V-B5.
    let octets = hex("7b 22 53 74 61 74 75 73 22 3a a0 c8 22 53 74 61 74 75 73 44 65 73 63 72 69 70 74 69 6f 6e 22 3a
        80 07 53 75 63 63 65 73 73 7d");
    let value = read(&octets).unwrap();
    assert_eq!(value["Status"].as_u64(), Some(200));
    assert_eq!(value["StatusDescription"].as_str(), Some("Success"));
    let only = Decoder::new().with_binary_only(true);
    assert!(matches!(kind(read_with(&only, &octets)), ErrorKind::NotInDialect { found: b'"', .. }));
}

#[test]
fn the_certificate_of_the_example_is_in_it() {
    let value: Value = tolerant().from_slice(&example("validate-request")).unwrap();
    let data = value["ValidateRequest"]["Credential"][0]["Data"].as_str().unwrap();
    assert!(data.starts_with('\n'));
    let certificate = vector("seed-certificate.der");
    assert_eq!(certificate.len(), 724);
    assert_eq!(jsonbcd::base64url::decode(data, false).unwrap(), certificate);
    // Strictly, raw line feeds are no JSON.
    let strict = Decoder::text().from_slice::<Value>(&example("validate-request")).unwrap_err();
    assert_eq!(*strict.kind(), ErrorKind::Control(b'\n'));
    assert!(serde_json::from_slice::<serde_json::Value>(&example("validate-request")).is_err());
}
