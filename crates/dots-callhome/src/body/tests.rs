use serde_json::Value;

use super::*;

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/dots/vectors.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn read(hex: &str) -> Result<Body, BodyErrorKind> {
    Body::decode(&unhex(hex), Direction::Request).map_err(|error| error.kind)
}

#[test]
fn every_body_of_the_figures_is_read_and_written_byte_for_byte() {
    let vectors = vectors();
    let bodies = vectors["cbor"].as_array().unwrap();
    assert_eq!(bodies.len(), 21);
    for vector in bodies {
        let octets = unhex(vector["cbor"].as_str().unwrap());
        for direction in [Direction::Request, Direction::Response] {
            let body = Body::decode(&octets, direction).unwrap();
            assert_eq!(body.to_vec(), octets, "{}", vector["name"]);
        }
    }
}

#[test]
fn every_body_of_the_figures_is_the_same_in_json() {
    for vector in vectors()["cbor"].as_array().unwrap() {
        let octets = unhex(vector["cbor"].as_str().unwrap());
        let json = &vector["json"];
        assert_eq!(Body::decode(&octets, Direction::Response).unwrap().to_json(), *json, "{}", vector["name"]);
        assert_eq!(to_cbor(json), octets, "{}", vector["name"]);
        assert_eq!(Body::from_json(json.to_string().as_bytes()).unwrap().to_vec(), octets);
    }
}

fn to_cbor(json: &Value) -> Vec<u8> {
    json::to_cbor(json.to_string().as_bytes()).unwrap()
}

#[test]
fn unknown_keys_are_equal_in_whatever_order_they_come() {
    // A redirection with the keys 32812 and 40966, in both orders.
    let [rising, falling] = ["a1182ea31980056161 19802c01 19a00602", "a1182ea31980056161 19a00602 19802c01"]
        .map(|hex| Body::decode(&unhex(&hex.replace(' ', "")), Direction::Response).unwrap());
    assert_eq!(rising, falling);
    assert_eq!(Body::decode(&falling.to_vec(), Direction::Response), Ok(rising));
}

#[test]
fn null_of_an_unknown_key_stays_whoever_says_it() {
    let octets = unhex("a1181ea218a1f618c81828");
    let [asked, said] = [Direction::Request, Direction::Response].map(|direction| Body::decode(&octets, direction));
    assert_eq!(asked, said);
    assert_eq!(said.unwrap().to_vec(), octets);
}

#[test]
fn what_must_be_refused_is_refused_with_its_reason() {
    assert_eq!(
        read("a101a10281a306816f3139382e35312e3130302e372f33320e190e10187f00"),
        Err(BodyErrorKind::UnknownKey(127))
    );
    assert_eq!(read("bf019fffff"), Err(BodyErrorKind::UnexpectedType));
    assert_eq!(read("a11831a11833f500"), Err(BodyErrorKind::Trailing));
    let deep = format!("a11880{}00", "81".repeat(64));
    assert_eq!(read(&deep), Err(BodyErrorKind::TooDeep));
    assert_eq!(read(&"81".repeat(64)), Err(BodyErrorKind::UnexpectedType));
    assert_eq!(read("a0"), Err(BodyErrorKind::NoRoot));
    assert_eq!(read("a201a10281a00131"), Err(BodyErrorKind::DuplicateKey(1)));
    assert_eq!(read("a201a10281a01831a11833f5"), Err(BodyErrorKind::SecondRoot));
    assert_eq!(read("a101a10280"), Err(BodyErrorKind::Empty(2)));
    assert_eq!(read("a101a0"), Err(BodyErrorKind::Missing(2)));
    assert_eq!(read("a101a10281a10680"), Err(BodyErrorKind::Empty(6)));
    assert_eq!(read("a101a10281a10b8160"), Err(BodyErrorKind::Empty(11)));
    assert_eq!(read("a101a10281a20e010e01"), Err(BodyErrorKind::DuplicateKey(14)));
    assert_eq!(read("a101a10281a10e21"), Err(BodyErrorKind::Range(14)));
    assert_eq!(read("a101a10281a10461 61".replace(' ', "").as_str()), Err(BodyErrorKind::Misplaced(4)));
    assert_eq!(read("a101a10281a10781a2085009 10".replace(' ', "").as_str()), Err(BodyErrorKind::UnexpectedType));
    assert_eq!(read("a101a10281a10781a20818500901"), Err(BodyErrorKind::Range(9)));
    assert_eq!(read("a101a10281a10781a10901"), Err(BodyErrorKind::Missing(8)));
    assert_eq!(read("a101a10281a10a8119 0100".replace(' ', "").as_str()), Err(BodyErrorKind::Range(10)));
    assert_eq!(read("a101a10281a10681613a"), Err(BodyErrorKind::Prefix(InvalidPrefix::Form)));
    assert_eq!(read("a11831a0"), Err(BodyErrorKind::Missing(51)));
    for cut in 1..73 {
        let whole = unhex(vectors()["cbor"][0]["cbor"].as_str().unwrap());
        assert_eq!(
            Body::decode(&whole[..cut], Direction::Request).unwrap_err().kind,
            BodyErrorKind::Malformed,
            "{cut}"
        );
    }
}

#[test]
fn comprehension_follows_the_range_of_the_key() {
    // A scope with one unknown key: (CBOR head of the key, whether it must be understood).
    for (head, key, required) in [
        ("00", 0, true),
        ("1836", 54, true),
        ("187f", 127, true),
        ("1880", 128, false),
        ("18ff", 255, false),
        ("190100", 256, true),
        ("193fff", 16383, true),
        ("194000", 16384, false),
        ("197fff", 32767, false),
        ("198010", 32784, false),
        ("19c000", 49152, false),
        ("19ffff", 65535, false),
        ("1a00010000", 65536, true),
    ] {
        let read = read(&format!("a101a10281a2{head}800e01"));
        if required {
            assert_eq!(read, Err(BodyErrorKind::UnknownKey(key)));
        } else {
            let Ok(body) = read else { panic!("{key}: {read:?}") };
            // And what was ignored is still there.
            let again = Body::decode(&body.to_vec(), Direction::Request).unwrap();
            assert_eq!(again, body);
            let Body::Mitigation(scopes) = body else { panic!() };
            assert_eq!((u64::from(scopes[0].extra[0].key), &scopes[0].extra[0].value[..]), (key, &[0x80][..]));
        }
    }
}

#[test]
fn the_self_describing_tag_is_accepted_and_other_tags_are_not() {
    assert_eq!(read("d9010fa11831a11833f5"), Ok(Body::Heartbeat { peer_hb_status: true }));
    assert_eq!(read("d90110a11831a11833f5"), Err(BodyErrorKind::UnexpectedType));
}

#[test]
fn any_order_indefinite_lengths_and_long_integers_are_read() {
    let plain = read("a101a10281a206816a31302e302e302e302f380e190e10");
    assert!(plain.is_ok(), "{plain:?}");
    // bf 01 bf 02 9f bf 0e 1b…0e10 06 9f 7f 65 "10.0." 65 "0.0/8" ff ff ff ff ff ff
    let odd = read("bf01bf029fbf0e1b0000000000000e10069f7f6531302e302e65302e302f38ffffffffffff");
    assert_eq!(odd, plain);
}

#[test]
fn servers_may_say_nothing_in_many_words() {
    // As go-dots does: empty lists and nulls.
    let octets = unhex("a101a10281a4050706800bf6078 0".replace(' ', "").as_str());
    let body = Body::decode(&octets, Direction::Response).unwrap();
    assert_eq!(body, Body::from(Scope { mid: Some(7), ..Scope::default() }));
    assert!(Body::decode(&octets, Direction::Request).is_err());
}

#[test]
fn decimals_of_other_exponents_are_read() {
    // config { mitigating { ack-timeout { current-value-decimal c4 82 20 14 (2.0) } } }
    for (value, hundredths) in [("c4822014", 200), ("c48221 18c8", 200), ("c482001 0", 1600), ("c482221907d0", 200)] {
        let octets = unhex(&format!("a1181ea11820a11827a1182b{value}").replace(' ', ""));
        let Body::Config(config) = Body::decode(&octets, Direction::Request).unwrap() else { panic!() };
        let timeout = config.mitigating.unwrap().ack_timeout.unwrap();
        assert_eq!(timeout.current, Some(Decimal::from_hundredths(hundredths)));
    }
    for bad in ["c4822220", "c48221", "c582211864", "c4821b7fffffffffffffff01", "1864", "c482381f01"] {
        assert!(Body::decode(&unhex(&format!("a1181ea11820a11827a1182b{bad}")), Direction::Request).is_err(), "{bad}");
    }
}

#[test]
fn unknown_values_of_every_enumeration_survive() {
    let scope = Scope {
        status: Some(Status::Other(99)),
        attack_status: Some(AttackStatus::Other(2_147_483_647)),
        conflict: Some(Box::new(ConflictInformation {
            status: Some(ConflictStatus::Other(4)),
            cause: Some(ConflictCause::OverlappingPipes),
            ..ConflictInformation::default()
        })),
        acl_list: List::one(Acl { name: "a".into(), acl_type: None, activation: Some(ActivationType::Other(9)) }),
        ..Scope::default()
    };
    let body = Body::from(scope);
    assert_eq!(Body::decode(&body.to_vec(), Direction::Response).unwrap(), body);
    let json = body.to_json().to_string();
    assert!(json.contains("\"status\":\"99\"") && json.contains("overlapping-pipes"), "{json}");
    assert_eq!(Body::from_json(json.as_bytes()).unwrap(), body);
}

#[test]
fn json_errors_say_where() {
    let error = |text: &str| Body::from_json(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(error("{"), "line 1, column 1: not json");
    assert_eq!(error(r#"{"x":1}"#), "unknown member \"x\"");
    assert_eq!(error(r#"{"heartbeat":{"peer-hb-status":1}}"#), "member \"peer-hb-status\" must be true or false");
    assert_eq!(error("[]"), "member \"\" must be an object");
    assert!(error(r#"{"heartbeat":{}}"#).starts_with("missing key 51"));
    // go-dots writes counters as numbers.
    let body = Body::from_json(br#"{"mitigation-scope":{"scope":[{"bytes-dropped":7,"retry-timer":"9"}]}}"#);
    assert!(body.is_err(), "retry-timer is no member of scope");
    assert!(Body::from_json(br#"{"mitigation-scope":{"scope":[{"bytes-dropped":7}]}}"#).is_ok());
}

#[test]
fn robust_block_and_telemetry_members_survive_json() {
    // max-payloads {36: 10} in mitigating-config, telemetry key 204 in a scope.
    let config = unhex("a1181ea11820a1198008a118240a");
    let body = Body::decode(&config, Direction::Request).unwrap();
    let json = body.to_json();
    assert_eq!(
        json["ietf-dots-signal-channel:signal-config"]["mitigating-config"]["ietf-dots-robust-trans:max-payloads"]["current-value"],
        10
    );
    assert_eq!(Body::from_json(json.to_string().as_bytes()).unwrap(), body);
    let telemetry = Body::decode(&unhex("a101a10281a118cc81f5"), Direction::Request).unwrap();
    let json = telemetry.to_json();
    assert_eq!(json["ietf-dots-signal-channel:mitigation-scope"]["scope"][0]["cbor:204"], "81f5");
    assert_eq!(Body::from_json(json.to_string().as_bytes()).unwrap(), telemetry);
}

#[test]
fn members_out_of_place_keep_their_octets_in_json() {
    // Found by the fuzz target `dots_cbor`: upper-type in a scope, as a list, and as a number in a long form.
    for value in ["81613 1", "1805"] {
        let octets = unhex(&format!("a101a10281a1198004{value}").replace(' ', ""));
        let body = Body::decode(&octets, Direction::Request).unwrap();
        assert_eq!(Body::from_json(body.to_json().to_string().as_bytes()).unwrap(), body);
    }
}

#[test]
fn the_table_of_keys_is_in_order_and_its_names_are_unambiguous() {
    assert!(key::TABLE.windows(2).all(|rows| rows[0].0 < rows[1].0));
    assert_eq!((1..=53).filter(|&key| key::name(key).is_none()).count(), 0);
    let mut names: Vec<_> = key::TABLE.iter().map(|row| row.1).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), key::TABLE.len());
    assert!(key::is_telemetry(204) && !key::is_telemetry(211));
}

proptest::proptest! {
    #[test]
    fn octets_never_panic_and_what_is_read_is_written_alike(octets: Vec<u8>) {
        for direction in [Direction::Request, Direction::Response] {
            if let Ok(body) = Body::decode(&octets, direction) {
                proptest::prop_assert_eq!(Body::decode(&body.to_vec(), Direction::Response), Ok(body));
            }
        }
    }
}
