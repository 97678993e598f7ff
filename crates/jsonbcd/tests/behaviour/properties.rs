//! What must hold for any value and for any octets.

use jsonbcd::{Commas, Decoder, Dialect, Encoder, Integer, Object, Profile, Scalar, Value, text};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::support::read_in_pieces;

fn integers() -> impl Strategy<Value = Integer> {
    prop_oneof![
        any::<i8>().prop_map(Integer::from),
        any::<i64>().prop_map(Integer::from),
        any::<u64>().prop_map(Integer::from),
        any::<i128>().prop_map(Integer::from),
        (any::<bool>(), vec(any::<u8>(), 0..60))
            .prop_map(|(negative, octets)| Integer::from_magnitude(negative, &octets)),
    ]
}

fn scalars() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        any::<[u8; 2]>().prop_map(Scalar::Binary16),
        any::<[u8; 4]>().prop_map(Scalar::Binary32),
        any::<[u8; 16]>().prop_map(Scalar::Binary128),
        any::<[u8; 10]>().prop_map(Scalar::Intel80),
        any::<[u8; 4]>().prop_map(Scalar::Decimal32),
        any::<[u8; 8]>().prop_map(Scalar::Decimal64),
        any::<[u8; 16]>().prop_map(Scalar::Decimal128),
    ]
}

fn strings() -> impl Strategy<Value = String> {
    prop_oneof![".{0,12}", "[a-c]{1,2}", "\\PC{250,300}", "[\u{0}-\u{20}\"\\\\]{0,6}"]
}

/// Values that JSON can hold.
fn json_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        integers().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(Value::from),
        strings().prop_map(Value::from),
    ];
    nested(leaf)
}

/// All values.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        integers().prop_map(Value::from),
        any::<u64>().prop_map(|bits| Value::from(f64::from_bits(bits))),
        scalars().prop_map(Value::from),
        strings().prop_map(Value::from),
        vec(any::<u8>(), 0..300).prop_map(Value::from),
    ];
    nested(leaf)
}

fn nested(leaf: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            btree_map(strings(), inner, 0..6)
                .prop_map(|members| { Object::from_members(members.into_iter().collect()).unwrap().into() }),
        ]
    })
}

/// Octets that look like documents.
fn documents() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        4 => proptest::sample::select(&b"{}[],:\"\\ \n1-0e."[..]).prop_map(|octet| vec![octet]),
        1 => proptest::sample::select(&["true", "false", "null", "\"a\"", "\"b\":", "\\u00e9"][..])
            .prop_map(|text| text.as_bytes().to_vec()),
        4 => (0x80u8..0x90, 0u8..4, vec(any::<u8>(), 0..4))
            .prop_map(|(code, len, octets)| [&[code, len][..], &octets].concat()),
        2 => (0x90u8..=0xff, vec(any::<u8>(), 0..3)).prop_map(|(code, octets)| [&[code][..], &octets].concat()),
        2 => (0u8..4, 0xc0u8..0xcc, Just(b"\x80\x01a")).prop_map(|(code, tag, rest)| [&[tag & 0xfc, code][..], rest].concat()),
        1 => vec(any::<u8>(), 0..4),
    ];
    vec(token, 0..16).prop_map(|tokens| tokens.concat())
}

fn decoders() -> impl Strategy<Value = Decoder> {
    (any::<[bool; 6]>(), 0..4usize).prop_map(|([first, lenient, canonical, raw, anywhere, binary], dialect)| {
        Decoder::new()
            .with_dialect([Dialect::Json, Dialect::B, Dialect::C, Dialect::D][dialect])
            .with_profile(if first { Profile::Bcd01 } else { Profile::Bcd16Plus })
            .with_commas(if lenient { Commas::Lenient } else { Commas::Strict })
            .with_canonical(canonical && !lenient && !raw)
            .with_raw_controls(raw)
            .with_definitions_anywhere(anywhere)
            .with_binary_only(binary && dialect > 0)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_value_survives_in_json_d(value in values(), first in any::<bool>()) {
        let profile = if first { Profile::Bcd01 } else { Profile::Bcd16Plus };
        let octets = Encoder::new().with_dialect(Dialect::D).with_profile(profile).to_vec(&value).unwrap();
        let decoder = Decoder::new().with_profile(profile);
        prop_assert_eq!(&decoder.from_slice::<Value>(&octets).unwrap(), &value);
        let canonical = decoder.with_canonical(true);
        prop_assert_eq!(&canonical.from_slice::<Value>(&octets).unwrap(), &value);
    }

    #[test]
    fn json_survives_in_every_dialect_and_as_text(value in json_values()) {
        for dialect in [Dialect::B, Dialect::C] {
            let octets = Encoder::new().with_dialect(dialect).to_vec(&value).unwrap();
            let canonical = Decoder::new().with_dialect(dialect).with_canonical(true);
            prop_assert_eq!(&canonical.from_slice::<Value>(&octets).unwrap(), &value);
        }
        let compact = text::to_string(&value).unwrap();
        prop_assert_eq!(&text::from_str::<Value>(&compact).unwrap(), &value, "{}", compact);
        let reference = text::to_reference_vec(&value).unwrap();
        prop_assert_eq!(&text::from_slice::<Value>(&reference).unwrap(), &value);
        // Others read it too: what is written is legal.
        prop_assert!(serde_json::from_str::<serde_json::Value>(&compact).is_ok(), "{}", compact);
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&reference).is_ok());
    }

    #[test]
    fn json_is_read_as_by_the_json_reader(value in json_values(), pretty in any::<bool>()) {
        // Integers of more than 64 bits are floats to serde_json, so only smaller ones are compared.
        let ours = text::to_string(&value).unwrap();
        let theirs: serde_json::Value = serde_json::from_str(&ours).unwrap();
        let printed = if pretty { serde_json::to_vec_pretty(&theirs) } else { serde_json::to_vec(&theirs) }.unwrap();
        for decoder in [Decoder::new(), Decoder::text(), Decoder::new().lenient()] {
            let read: Value = decoder.from_slice(&printed).unwrap();
            prop_assert_eq!(serde_json::to_value(&read).unwrap(), theirs.clone());
            prop_assert_eq!(decoder.from_slice::<serde_json::Value>(&printed).unwrap(), theirs.clone());
        }
    }

    #[test]
    fn text_is_json_to_us_exactly_when_it_is_to_others(octets in documents()) {
        // But for names that stand twice, and for integers of more than 64 bits.
        let ours = text::from_slice::<Value>(&octets);
        let theirs = serde_json::from_slice::<serde_json::Value>(&octets);
        match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(&serde_json::to_value(ours).unwrap(), theirs),
            (Err(error), Ok(_)) => prop_assert!(error.to_string().contains("stands twice"), "{} {:?}", error, octets),
            (Ok(ours), Err(error)) => prop_assert!(false, "{:?} {}", ours, error),
            (Err(_), Err(_)) => {}
        }
    }

    #[test]
    fn pieces_are_read_as_the_whole(octets in documents(), decoder in decoders(), len in 1..9usize) {
        let octets = if octets.len() % 2 == 0 { octets } else { [b"[", &octets[..], b"]"].concat() };
        let whole = decoder.from_slice::<Value>(&octets);
        let pieces = read_in_pieces(&decoder, &octets, len);
        match (&whole, &pieces) {
            (Ok(whole), Ok(pieces)) => prop_assert_eq!(whole, pieces),
            (Err(_), Err(_)) => {}
            _ => prop_assert!(false, "{:?} {:?}", whole, pieces),
        }
    }

    #[test]
    fn what_is_read_can_be_written_and_read_again(octets in documents(), decoder in decoders()) {
        if let Ok(value) = decoder.from_slice::<Value>(&octets) {
            let again = Encoder::new().with_dialect(Dialect::D).to_vec(&value).unwrap();
            prop_assert_eq!(Decoder::new().from_slice::<Value>(&again).unwrap(), value);
        }
    }

    #[test]
    fn canonical_documents_are_what_is_written(octets in documents()) {
        let canonical = Decoder::new().with_dialect(Dialect::B).with_canonical(true);
        if let Ok(value) = canonical.from_slice::<Value>(&octets) {
            prop_assert_eq!(jsonbcd::to_vec(&value).unwrap(), octets);
        }
    }

    #[test]
    fn errors_point_into_the_input(octets in documents(), decoder in decoders()) {
        if let Err(error) = decoder.from_slice::<Value>(&octets) {
            prop_assert!(error.offset().unwrap() <= octets.len(), "{}", error);
        }
        let _ = decoder.from_slice::<serde::de::IgnoredAny>(&octets);
        let _ = decoder.from_slice::<(Option<u8>, f64, String, Vec<i32>)>(&octets);
    }

    #[test]
    fn integers_are_the_same_in_decimal(value in integers()) {
        prop_assert_eq!(&value.to_string().parse::<Integer>().unwrap(), &value);
        if let Some(small) = value.as_i128() {
            prop_assert_eq!(value.to_string(), small.to_string());
        }
        let again = Integer::from_magnitude(value.is_negative(), &value.magnitude());
        prop_assert_eq!(again, value);
    }
}
