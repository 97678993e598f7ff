//! Every octet sequence that the drafts print.

use jsonbcd::dictionary::{Dictionaries, Dictionary};
use jsonbcd::{Decoder, Encoder, ErrorKind, Integer, Profile, Value, Writer};

use crate::support::{hex, kind, read, read_with};

/// Each as the only element of an array, because documents are arrays and objects.
fn element(octets: &str) -> Value {
    read(&[b"[", hex(octets).as_slice(), b"]"].concat()).unwrap()[0].clone()
}

#[test]
fn every_printed_sequence_is_read_as_it_says() {
    for (octets, value) in [
        ("A0 2A", Value::from(42)),
        ("A1 00 2A", 42.into()),
        ("A2 00 00 00 2A", 42.into()),
        ("A3 00 00 00 00 00 00 00 2A", 42.into()),
        ("80 05 48 65 6c 6c 6f", "Hello".into()),
        ("81 00 05 48 65 6c 6c 6f", "Hello".into()),
        ("84 05 48 65 6c 6c 6f 80 00", "Hello".into()),
        ("92 3f f0 00 00 00 00 00 00", 1.0.into()),
        ("92 40 24 00 00 00 00 00 00", 10.0.into()),
        // 3.14159265359
        ("92 40 09 21 fb 54 44 2e ea", f64::from_bits(0x4009_21fb_5444_2eea).into()),
        ("92 bf f0 00 00 00 00 00 00", (-1.0).into()),
        ("B0", true.into()),
        ("B1", false.into()),
        ("B2", Value::Null),
        ("C8 20 80 05 48 65 6c 6c 6f", "Hello".into()),
    ] {
        assert_eq!(element(octets), value, "{octets}");
    }
}

#[test]
fn the_bignum_example_is_66_whatever_the_draft_says() {
    // It prints 42, and means the octet 42 by it, which is 66.
    let first = Decoder::new().with_profile(Profile::Bcd01);
    assert_eq!(read_with(&first, &hex("5b a5 00 01 42 5d")).unwrap()[0], 66.into());
    assert_eq!(element("A7 00 01 42"), 66.into());
}

#[test]
fn what_can_be_written_so_is_written_so() {
    for octets in [
        "5b A0 2A 5d",
        "5b 80 05 48 65 6c 6c 6f 5d",
        "5b 92 3f f0 00 00 00 00 00 00 5d",
        "5b 92 40 24 00 00 00 00 00 00 5d",
        "5b 92 40 09 21 fb 54 44 2e ea 5d",
        "5b 92 bf f0 00 00 00 00 00 00 5d",
        "5b B0 B1 B2 5d",
        "5b A8 01 A9 01 00 AA 00 01 00 00 AB 00 00 00 01 00 00 00 00 5d",
    ] {
        let octets = hex(octets);
        let canonical = Decoder::new().with_canonical(true);
        let value = read_with(&canonical, &octets).unwrap();
        assert_eq!(Encoder::new().to_vec(&value).unwrap(), octets);
    }
}

#[test]
fn codes_are_defined_and_inserted_as_printed() {
    // C4 defines and says nothing; C8 defines and says; the width of a code does not matter.
    let octets = [&hex("C4 21 80 05 48 65 6c 6c 6f")[..], b"[", &hex("C0 21 C1 00 21 C2 00 00 00 21"), b"]"].concat();
    assert_eq!(read(&octets).unwrap(), Value::Array(vec!["Hello".into(); 3]));
    let octets = [b"[", &hex("C8 20 80 05 48 65 6c 6c 6f C0 20 C1 00 20")[..], b"]"].concat();
    assert_eq!(read(&octets).unwrap(), Value::Array(vec!["Hello".into(); 3]));
}

#[test]
fn dictionaries_are_loaded_by_both_printed_forms() {
    let dictionary = Dictionary::decode(&hex("C4 21 80 05 48 65 6c 6c 6f")).unwrap();
    let empty = hex("e3b0c442 98fc1c14 9afbf4c8 996fb924 27ae41e4 649b934c a495991b 7852b855");
    // The first draft names digests by an object identifier and the digest; it prints 1B for their length, 2B.
    let named = [hex("06 09 60 86 48 01 65 03 04 02 01"), empty.clone()].concat();
    let mut known = Dictionaries::new();
    known.register(&named, dictionary.clone());
    known.register(&empty, dictionary);
    let decoder = Decoder::new().with_dictionaries(known);
    for digest in [named, empty] {
        let mut octets = Vec::new();
        let mut writer = Writer::new(&mut octets);
        writer.dictionary(256, &digest).unwrap();
        writer.array_start().unwrap();
        writer.reference(256 + 0x21).unwrap();
        writer.array_end().unwrap();
        assert!(octets.starts_with(&hex("D0 00 00 01 00")));
        assert_eq!(read_with(&decoder, &octets).unwrap()[0], "Hello".into());
        assert_eq!(kind(read(&octets)), ErrorKind::UnknownDictionary);
    }
    // With the length that is printed the digest is cut, and what is cut off is no document.
    let cut = [hex("D0 00 00 01 00 1B 06 09 60 86 48 01 65 03 04 02 01"), vec![0xe3; 32], b"[]".to_vec()].concat();
    assert_eq!(kind(read_with(&decoder, &cut)), ErrorKind::UnknownDictionary);
}

#[test]
fn unassigned_codes_are_refused_where_they_stand() {
    let assigned_in_both = |code: u8| {
        matches!(code, 0x80..=0x92 | 0x94..=0x98 | 0xa0..=0xa4 | 0xa8..=0xac | 0xb0..=0xb2 | 0xc0..=0xc2 | 0xc4..=0xc6
            | 0xc8..=0xca | 0xd0)
    };
    for (profile, more) in [(Profile::Bcd01, &[0xa5, 0xad][..]), (Profile::Bcd16Plus, &[0xa5, 0xa6, 0xa7, 0xaf])] {
        let decoder = Decoder::new().with_profile(profile);
        for code in 0x80..=0xff {
            if assigned_in_both(code) || more.contains(&code) {
                continue;
            }
            // Enough behind it for whatever it might be.
            let octets = [b"[\xa0\x01", &[code][..], &[0; 80]].concat();
            let error = read_with(&decoder, &octets).unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::UnassignedCode(code), "{profile:?}");
            assert_eq!(error.offset(), Some(3), "{code:02x}");
        }
    }
}

#[test]
fn frames_are_never_inside_documents() {
    for code in 0xf0..=0xf7u8 {
        for octets in [&[code, 0][..], &[b'[', code, 0, b']'], &[b'{', code, 0, b'}']] {
            assert!(read(octets).is_err(), "{octets:02x?}");
        }
    }
}

#[test]
fn numbers_lengths_and_codes_begin_with_the_most_significant_octet() {
    assert_eq!(element("A1 01 02"), 0x0102.into());
    assert_eq!(element("A2 01 02 03 04"), 0x0102_0304.into());
    assert_eq!(element("A3 01 02 03 04 05 06 07 08"), 0x0102_0304_0506_0708_i64.into());
    assert_eq!(element("A4 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 02"), ((1u128 << 120) + 2).into());
    assert_eq!(element("A7 00 02 01 02"), 0x0102.into());
    assert_eq!(element("92 3f f8 00 00 00 00 00 00"), 1.5.into());
    let long = [&hex("89 01 02")[..], &[7; 0x0102]].concat();
    assert_eq!(read(&[b"[", &long[..], b"]"].concat()).unwrap()[0], vec![7; 0x0102].into());
    // A code of two octets is one number.
    let octets = [&hex("C5 01 02 80 01 61")[..], b"[", &hex("C1 01 02"), b"]"].concat();
    assert_eq!(read(&octets).unwrap()[0], "a".into());
    assert_eq!(
        kind(read(&[&hex("C5 01 02 80 01 61")[..], b"[", &hex("C1 02 01"), b"]"].concat())),
        ErrorKind::UndefinedCode(0x0201)
    );
}

#[test]
fn big_numbers_are_those_of_the_profile() {
    let first = Decoder::new().with_profile(Profile::Bcd01);
    let later = Decoder::new();
    let big = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    for (negative, first_code, later_code) in [(false, 0xa5, 0xa7), (true, 0xad, 0xaf)] {
        let value = Integer::from_magnitude(negative, &big);
        let octets = |code: u8| [b"[", &[code, 0, 9][..], &big, b"]"].concat();
        assert_eq!(read_with(&first, &octets(first_code)).unwrap()[0], value.clone().into());
        assert_eq!(read_with(&later, &octets(later_code)).unwrap()[0], value.clone().into());
        assert_eq!(kind(read_with(&first, &octets(later_code))), ErrorKind::UnassignedCode(later_code));
        assert!(read_with(&later, &octets(first_code)).is_err());
        let value = Value::Array(vec![value.into()]);
        let writer = Encoder::new().with_profile(Profile::Bcd01);
        assert_eq!(writer.to_vec(&value).unwrap(), octets(first_code));
        assert_eq!(Encoder::new().to_vec(&value).unwrap(), octets(later_code));
    }
    // A5 and A6 of later drafts.
    for (code, len) in [(0xa5, 32), (0xa6, 64)] {
        let magnitude = vec![0x55; len];
        let octets = [b"[", &[code][..], &magnitude, b"]"].concat();
        let value = Integer::from_magnitude(false, &magnitude);
        assert_eq!(read_with(&later, &octets).unwrap()[0], value.into());
        assert!(read_with(&first, &octets).is_err());
    }
}
