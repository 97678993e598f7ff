//! serde's types through all dialects and text.

use std::collections::BTreeMap;

use jsonbcd::{Decoder, Dialect, Encoder, Error, ErrorKind, Value, text};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

fn same<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    for dialect in [Dialect::B, Dialect::C, Dialect::D] {
        let octets = Encoder::new().with_dialect(dialect).to_vec(value).unwrap();
        assert_eq!(&jsonbcd::from_slice::<T>(&octets).unwrap(), value, "{octets:02x?}");
        let canonical = Decoder::new().with_dialect(dialect).with_canonical(true);
        assert_eq!(&canonical.from_slice::<T>(&octets).unwrap(), value, "{octets:02x?}");
    }
    let octets = text::to_vec(value).unwrap();
    assert_eq!(&text::from_slice::<T>(&octets).unwrap(), value, "{}", String::from_utf8_lossy(&octets));
    assert_eq!(&jsonbcd::from_slice::<T>(&octets).unwrap(), value);
    assert_eq!(&serde_json::from_slice::<T>(&octets).unwrap(), value, "what is written is json to others");
    let octets = text::to_reference_vec(value).unwrap();
    assert_eq!(&text::from_slice::<T>(&octets).unwrap(), value, "{}", String::from_utf8_lossy(&octets));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Variants {
    Unit,
    Newtype(u16),
    Nested(Option<Box<Self>>),
    Tuple(u8, String),
    Struct { a: i64, b: Option<bool> },
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Name {
    First,
    Second,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Newtype(Vec<u8>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    variants: Vec<Variants>,
    tuple: (u8, i8, char, String),
    unit: Unit,
    newtype: Newtype,
    floats: [f64; 3],
    small: f32,
    wide: (i128, u128),
    option: Option<Option<u8>>,
    numbered: BTreeMap<u32, String>,
    negative: BTreeMap<i8, ()>,
    named: BTreeMap<Name, Vec<Name>>,
    truths: BTreeMap<bool, char>,
    nothing: (),
    #[serde(flatten)]
    more: BTreeMap<String, u64>,
}

#[test]
fn every_shape_of_serde_survives() {
    same(&Everything {
        variants: vec![
            Variants::Unit,
            Variants::Newtype(65535),
            Variants::Nested(Some(Box::new(Variants::Nested(None)))),
            Variants::Tuple(1, "two".into()),
            Variants::Struct { a: i64::MIN, b: None },
            Variants::Struct { a: i64::MAX, b: Some(true) },
        ],
        tuple: (255, -128, '😀', "\"\\\u{1}\u{7f}é".into()),
        unit: Unit,
        newtype: Newtype(vec![0, 1, 255]),
        floats: [0.1, -1e300, 5e-324],
        small: 0.1,
        wide: (i128::MIN, u128::MAX),
        option: Some(Some(1)),
        numbered: BTreeMap::from([(0, "a".into()), (u32::MAX, "b".into())]),
        negative: BTreeMap::from([(-1, ())]),
        named: BTreeMap::from([(Name::First, vec![Name::Second, Name::First])]),
        truths: BTreeMap::from([(true, 'x')]),
        nothing: (),
        more: BTreeMap::from([("Index".into(), 1)]),
    });
    same(&"top".to_owned());
    same(&17u8);
    same(&Variants::Unit);
    same(&Variants::Newtype(1));
}

#[test]
fn a_variant_is_one_member() {
    let read = |octets: &[u8]| jsonbcd::from_slice::<Variants>(octets);
    assert_eq!(read(b"{\x80\x07Newtype\xa0\x01}").unwrap(), Variants::Newtype(1));
    assert_eq!(read(b"{\"Newtype\":1}").unwrap(), Variants::Newtype(1));
    assert_eq!(read(b"{\"Unit\":null}").unwrap(), Variants::Unit);
    for bad in [
        &b"{}"[..],
        b"{\x80\x07Newtype\xa0\x01\x80\x04Unit\xb2}",
        b"{\"Newtype\":1,\"Unit\":null}",
        b"[\x80\x04Unit]",
        b"\xa0\x01",
        b"\x88\x04Unit",
        b"\x80\x07Newtype",
        b"\x80\x04unit",
        b"{\x80\x05Other\xa0\x01}",
    ] {
        assert!(read(bad).is_err(), "{bad:02x?}");
    }
    // A name that is a code is a name.
    assert_eq!(read(b"\xc4\x00\x80\x04Unit{\xc0\x00\xb2}").unwrap(), Variants::Unit);
    assert_eq!(jsonbcd::from_slice::<[Variants; 1]>(b"[\xc8\x00\x80\x04Unit]").unwrap(), [Variants::Unit]);
}

#[test]
fn a_list_is_an_array_even_with_one_element() {
    assert_eq!(jsonbcd::to_vec(&["a"]).unwrap(), b"[\x80\x01a]");
    assert_eq!(text::to_string(&["a"]).unwrap(), "[\"a\"]");
    assert_eq!(jsonbcd::from_slice::<Vec<&str>>(b"[\x80\x01a]").unwrap(), ["a"]);
    assert!(jsonbcd::from_slice::<Vec<&str>>(b"\x80\x01a").is_err());
    assert!(jsonbcd::from_slice::<Vec<BTreeMap<&str, u8>>>(b"{\x80\x01a\xa0\x01}").is_err());
    assert!(text::from_str::<Vec<BTreeMap<&str, u8>>>("{\"a\":1}").is_err());
}

#[test]
fn optionals_that_are_skipped_leave_nothing() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Optional {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
    }
    assert_eq!(jsonbcd::to_vec(&Optional { port: None }).unwrap(), b"{}");
    assert_eq!(text::to_string(&Optional { port: None }).unwrap(), "{}");
    for octets in [&b"{}"[..], b"{\"port\":null}", b"{\x80\x04port\xb2}", b"{\x80\x04port null}"] {
        assert_eq!(jsonbcd::from_slice::<Optional>(octets).unwrap(), Optional { port: None });
    }
    for octets in [&b"{\"port\":1}"[..], b"{\x80\x04port\xa0\x01}", b"{\x80\x04port\xc8\x00\x80\x011}"] {
        assert_eq!(jsonbcd::from_slice::<Optional>(octets).is_ok(), !octets.contains(&0xc8));
    }
}

#[test]
fn strings_and_octets_are_borrowed_when_they_stand_in_one_piece() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Borrowed<'a> {
        name: &'a str,
        data: &'a [u8],
    }
    let octets = b"{\x80\x04name\x80\x02ab\x80\x04data\x88\x02cd}";
    let read: Borrowed<'_> = jsonbcd::from_slice(octets).unwrap();
    assert_eq!(read, Borrowed { name: "ab", data: b"cd" });
    assert!(octets.as_ptr_range().contains(&read.name.as_ptr()) && octets.as_ptr_range().contains(&read.data.as_ptr()));
    assert!(text::from_str::<[&str; 1]>("[\"ab\"]").is_ok());
    for pieces in
        [&b"{\x80\x04name\x84\x01a\x80\x01b\x80\x04data\x88\x02cd}"[..], b"{\"name\":\"\\u0061b\",\"data\":\x88\x00}"]
    {
        assert!(jsonbcd::from_slice::<Borrowed<'_>>(pieces).is_err(), "there is nothing to borrow");
    }
}

#[test]
fn a_buffer_is_appended_to_and_can_be_used_again() {
    let mut buffer = b"before".to_vec();
    jsonbcd::to_writer(&mut buffer, &1u8).unwrap();
    text::to_writer(&mut buffer, &2u8).unwrap();
    assert_eq!(buffer, b"before\xa0\x012");
    let capacity = buffer.capacity();
    buffer.clear();
    jsonbcd::to_writer(&mut buffer, "ab").unwrap();
    assert_eq!((&buffer[..], buffer.capacity()), (&b"\x80\x02ab"[..], capacity));
}

#[cfg(feature = "std")]
#[test]
fn readers_and_writers_of_std_are_taken() {
    let mut file = Vec::new();
    jsonbcd::to_writer(jsonbcd::IoSink(&mut file), "ab").unwrap();
    assert_eq!(file, b"\x80\x02ab");
    assert_eq!(Decoder::new().from_reader::<String>(&file[..]).unwrap(), "ab");
}

#[cfg(feature = "bytes")]
#[test]
fn bytes_are_a_sink() {
    let mut buffer = bytes::BytesMut::new();
    jsonbcd::to_writer(&mut buffer, "ab").unwrap();
    assert_eq!(&buffer[..], b"\x80\x02ab");
}

#[test]
fn several_values_can_follow_each_other() {
    let decoder = Decoder::new();
    let mut deserializer = decoder.deserializer(b"{\x80\x01a\xa0\x01} [2] \x80\x01b");
    let first = BTreeMap::<&str, u8>::deserialize(&mut deserializer).unwrap();
    assert_eq!(first["a"], 1);
    assert!(deserializer.end().is_err());
    assert_eq!(<[u8; 1]>::deserialize(&mut deserializer).unwrap(), [2]);
    assert_eq!(<&str>::deserialize(&mut deserializer).unwrap(), "b");
    assert!(deserializer.end().is_ok());
}

#[test]
fn errors_say_what_and_where() {
    #[derive(Debug, Deserialize)]
    struct Request {
        #[serde(rename = "Port")]
        #[allow(dead_code)]
        port: u16,
    }
    let refused = |octets: &[u8]| -> Error { jsonbcd::from_slice::<Request>(octets).unwrap_err() };
    let error = refused(b"{\x80\x04Port\xa2\x00\x01\x00\x00}");
    assert!(matches!(error.kind(), ErrorKind::Refused(_)));
    assert_eq!(error.offset(), Some(12));
    assert_eq!(error.to_string(), "invalid value: integer `65536`, expected u16 (octet 12)");
    let error = refused(b"{\x80\x04Port\x80\x0280}");
    assert_eq!(error.to_string(), "invalid type: string \"80\", expected u16 (octet 11)");
    assert!(refused(b"{}").to_string().starts_with("missing field `Port`"));
    let error = refused(b"{\x80\x04Port}");
    assert_eq!(error.to_string(), "found 0x7d where a value is due (octet 7)");
    let error = refused(b"{\x80\x04Port\xa1\x01");
    assert_eq!((error.needed(), error.offset()), (Some(1), Some(8)));
    assert_eq!(error.to_string(), "the input ends where at least 1 more octets are due (octet 8)");
}

#[test]
fn keys_that_are_no_names_are_refused() {
    let by_pair = BTreeMap::from([((1, 2), 3)]);
    for error in [jsonbcd::to_vec(&by_pair).unwrap_err(), text::to_vec(&by_pair).unwrap_err()] {
        assert!(matches!(error.kind(), ErrorKind::NotRepresentable(_)));
    }
    assert!(jsonbcd::from_slice::<BTreeMap<u8, u8>>(b"{\x80\x03256\xa0\x01}").is_err());
    assert!(jsonbcd::from_slice::<BTreeMap<u8, u8>>(b"{\x80\x01a\xa0\x01}").is_err());
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Credential {
    #[serde(with = "jsonbcd::octets")]
    data: Vec<u8>,
}

#[test]
fn octets_are_read_from_whatever_a_format_has_for_them() {
    let credential = Credential { data: vec![0xca, 0xfe] };
    // Formats without octets have arrays of numbers, or strings.
    let array = serde_json::to_string(&credential).unwrap();
    assert_eq!(array, r#"{"data":[202,254]}"#);
    assert_eq!(serde_json::from_str::<Credential>(&array).unwrap(), credential);
    assert_eq!(serde_json::from_str::<Credential>(r#"{"data":"yv4"}"#).unwrap().data, b"yv4");
    let value = text::from_str::<Value>(r#"{"data":"yv4"}"#).unwrap();
    assert_eq!(value["data"].as_str(), Some("yv4"));
    let error = jsonbcd::from_slice::<Credential>(b"{\x80\x04data\xa0\x07}").unwrap_err();
    assert!(error.to_string().contains("octets"), "{error}");
}

#[test]
fn values_are_looked_into() {
    let mut value: Value = text::from_str(r#"{"a":[true,-5,"b",2.5],"c":null}"#).unwrap();
    assert_eq!(value["a"][0].as_bool(), Some(true));
    assert_eq!(value["a"][1].as_i64(), Some(-5));
    assert_eq!(value["a"][1].as_u64(), None);
    assert_eq!(value["a"][2].as_str(), Some("b"));
    assert_eq!(value["a"][3].as_f64(), Some(2.5));
    assert!(value["c"].is_null() && value["d"].is_null() && value[3].is_null());
    let Value::Object(object) = &mut value else { panic!("an object") };
    assert_eq!(object.insert("c", 1), Some(Value::Null));
    assert_eq!(object.insert("d", vec![1u8]), None);
    assert_eq!(object.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "c", "d"]);
    *object.get_mut("c").unwrap() = 2.into();
    assert_eq!(object.remove("c"), Some(2.into()));
    assert_eq!((object.len(), object.is_empty(), object.remove("c")), (2, false, None));
    assert_ne!(Value::from(0.0), Value::from(-0.0));
    assert_eq!(Value::from(f64::NAN), Value::from(f64::NAN));
    assert_ne!(Value::from(1), Value::from(1.0));
}
