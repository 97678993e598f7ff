//! Commas, colons, names, definitions: where things may stand.

use jsonbcd::{Commas, Decoder, Dialect, Encoder, ErrorKind, Object, Value};

use crate::support::{kind, read, read_with};

fn lenient() -> Decoder {
    Decoder::new().with_commas(Commas::Lenient)
}

#[test]
fn commas_stand_behind_text_arrays_and_objects_and_nothing_else() {
    for octets in [
        &b"[1,2]"[..],
        b"[\xa0\x01\xa0\x02]",
        b"[1,\xa0\x02]",
        b"[\xa0\x01 2]",
        b"[[],[]]",
        b"[{},\xa0\x01{}]",
        b"[\"a\",\x80\x01b\x88\x01c\"d\"]",
        b"[null,\xb2 null]",
        b"{\"a\":1,\"b\":2}",
        b"{\x80\x01a\xa0\x01\x80\x01b\xa0\x02}",
        b"{\x80\x01a[],\x80\x01b{},\"c\":\xb0 \"d\":4}",
    ] {
        let value = read(octets).unwrap();
        assert_eq!(read_with(&lenient(), octets).unwrap(), value, "what is strictly right is leniently the same");
    }
}

#[test]
fn missing_and_surplus_commas_are_refused_or_not_minded() {
    for (octets, error) in [
        (&b"[1 2]"[..], ErrorKind::MissingComma),
        (b"[[][]]", ErrorKind::MissingComma),
        (b"[{}{}]", ErrorKind::MissingComma),
        (b"[{}\xa0\x01]", ErrorKind::MissingComma),
        (b"[\"a\"\x80\x01b]", ErrorKind::MissingComma),
        (b"{\x80\x01a[]\x80\x01b[]}", ErrorKind::MissingComma),
        (b"[\xa0\x01,\xa0\x02]", ErrorKind::SurplusComma),
        (b"[\xa0\x01,2]", ErrorKind::SurplusComma),
        (b"{\x80\x01a\xa0\x01,\x80\x01b\xa0\x02}", ErrorKind::SurplusComma),
        (b"[\xa0\x01,]", ErrorKind::SurplusComma),
    ] {
        assert_eq!(kind(read(octets)), error, "{octets:02x?}");
        assert!(read_with(&lenient(), octets).is_ok(), "{octets:02x?}");
    }
    for octets in [&b"[1,]"[..], b"{\"a\":1,}", b"[[],]"] {
        assert!(matches!(kind(read(octets)), ErrorKind::Unexpected { .. }), "{octets:02x?}");
        assert!(read_with(&lenient(), octets).is_ok(), "{octets:02x?}");
    }
    for octets in [&b"[,]"[..], b"[,1]", b"[1,,2]", b"{,}", b"{\"a\",1}", b"[1,,]", b"[],"] {
        assert!(read(octets).is_err(), "{octets:02x?}");
        assert!(read_with(&lenient(), octets).is_err(), "{octets:02x?}");
    }
}

#[test]
fn a_type_that_takes_only_some_elements_does_not_hide_the_others() {
    assert_eq!(jsonbcd::from_slice::<(u8, u8)>(b"[1,2]").unwrap(), (1, 2));
    assert!(jsonbcd::from_slice::<(u8, u8)>(b"[1,2,3]").is_err());
    assert!(jsonbcd::from_slice::<(u8, u8)>(b"[\xa0\x01\xa0\x02\xa0\x03]").is_err());
    assert_eq!(lenient().from_slice::<(u8, u8)>(b"[1,2,]").unwrap(), (1, 2));
}

#[test]
fn text_names_have_a_colon_and_binary_names_have_none() {
    for octets in
        [&b"{\"a\":1}"[..], b"{ \"a\" : 1 }", b"{\x80\x01a 1}", b"{\x81\x00\x01a 1}", b"{\x84\x01a\x80\x00 1}"]
    {
        assert_eq!(read(octets).unwrap()["a"], 1.into(), "{octets:02x?}");
    }
    for octets in [&b"{\"a\" 1}"[..], b"{\x80\x01a:1}", b"{\"a\"\xa0\x01}", b"{\"a\"::1}", b"{a:1}", b"{1:1}"] {
        assert!(matches!(kind(read(octets)), ErrorKind::Unexpected { .. }), "{octets:02x?}");
        assert!(read_with(&lenient(), octets).is_err(), "{octets:02x?}");
    }
    for octets in [&b"{\x88\x01a 1}"[..], b"{\xa0\x01 1}", b"{\xb0 1}", b"{null:1}", b"{[]:1}"] {
        assert!(matches!(kind(read(octets)), ErrorKind::Unexpected { .. }), "{octets:02x?}");
    }
}

#[test]
fn the_reference_programs_names_are_read_and_written_only_when_asked_for() {
    let octets = b"{\xb4\x01a\xa0\x01\xb5\x00\x01b\xa0\x02\xb6\x00\x00\x00\x01c\xa0\x03}";
    let value = read(octets).unwrap();
    assert_eq!(value["c"], 3.into());
    let written = jsonbcd::to_vec(&value).unwrap();
    assert!(written.starts_with(b"{\x80\x01a"));
    let reference = Encoder::new().with_reference_names(true).to_vec(&value).unwrap();
    assert_eq!(reference, b"{\xb4\x01a\xa0\x01\xb4\x01b\xa0\x02\xb4\x01c\xa0\x03}");
    assert_eq!(read(&reference).unwrap(), value);
    // Only in the place of a name, and in no canonical document.
    assert_eq!(kind(read(b"[\xb4\x01a]")), ErrorKind::UnassignedCode(0xb4));
    assert_eq!(kind(read(b"{\x80\x01a\xb4\x01a}")), ErrorKind::UnassignedCode(0xb4));
    let canonical = Decoder::new().with_canonical(true);
    assert!(matches!(kind(read_with(&canonical, octets)), ErrorKind::NotCanonical(_)));
}

#[test]
fn names_that_stand_twice_are_refused() {
    for octets in [
        &b"{\"a\":1,\"a\":2}"[..],
        b"{\x80\x01a\xa0\x01\x80\x01a\xa0\x01}",
        b"{\x80\x01a\xa0\x01\"a\":2}",
        b"{\"\\u0061\":1,\"a\":2}",
        b"[{\x80\x01a\xa0\x01\xc8\x00\x80\x01a\xa0\x01}]",
    ] {
        let error = read(octets).unwrap_err();
        assert!(error.to_string().contains("stands twice"), "{error}");
    }
    let many = (0..100).map(|number| (format!("{number}"), Value::Null));
    let mut members: Vec<_> = many.collect();
    assert!(Object::from_members(members.clone()).is_ok());
    members.push(("17".into(), Value::Null));
    assert_eq!(Object::from_members(members).unwrap_err().0, "17");
    #[derive(Debug, serde::Deserialize)]
    struct Typed {
        #[allow(dead_code)]
        a: u8,
    }
    let error = jsonbcd::from_slice::<Typed>(b"{\x80\x01a\xa0\x01\x80\x01a\xa0\x01}").unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::DuplicateName("a".into()));
    let error = jsonbcd::text::from_str::<Typed>("{\"a\":1,\"a\":1}").unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::DuplicateName("a".into()));
}

#[test]
fn each_dialect_refuses_what_is_beyond_it() {
    let needs: [(&[u8], Dialect); 13] = [
        (b"[1]", Dialect::Json),
        (b"{\"a\":\"b\"}", Dialect::Json),
        (b"[\xa0\x01]", Dialect::B),
        (b"[\x80\x01a]", Dialect::B),
        (b"{\x80\x01a 1}", Dialect::B),
        (b"[\x88\x01a]", Dialect::B),
        (b"[\xb0\xb1\xb2]", Dialect::B),
        (b"[\x92\0\0\0\0\0\0\0\0]", Dialect::B),
        (b"[\xa7\x00\x01\x01]", Dialect::B),
        (b"[\xc8\x00\x80\x01a]", Dialect::C),
        (b"\xc4\x00\x80\x01a[]", Dialect::C),
        (b"[\xa4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0]", Dialect::D),
        (b"[\x90\0\0]", Dialect::D),
    ];
    for (octets, needed) in needs {
        for dialect in [Dialect::Json, Dialect::B, Dialect::C, Dialect::D] {
            let decoder = Decoder::new().with_dialect(dialect);
            let read = read_with(&decoder, octets);
            if dialect >= needed {
                assert!(read.is_ok(), "{octets:02x?} in {dialect:?}: {read:?}");
            } else {
                assert!(matches!(kind(read), ErrorKind::NotInDialect { .. }), "{octets:02x?} in {dialect:?}");
            }
        }
    }
}

#[test]
fn typed_short_cuts_keep_to_the_dialect() {
    let text = Decoder::text();
    for octets in [&b"[\xa0\x01]"[..], b"[\xa8\x01]"] {
        assert!(matches!(text.from_slice::<Vec<u8>>(octets).unwrap_err().kind(), ErrorKind::NotInDialect { .. }));
    }
    assert!(text.from_slice::<Vec<&str>>(b"[\x80\x01a]").is_err());
    assert!(text.from_slice::<std::collections::BTreeMap<&str, u8>>(b"{\x80\x01a 1}").is_err());
    assert!(text.from_slice::<Vec<Option<u8>>>(b"[\xb2]").is_err());
}

#[test]
fn binary_only_refuses_strings_and_numbers_in_text() {
    let only = Decoder::new().with_binary_only(true);
    for octets in [&b"[1]"[..], b"[-1.5]", b"[\"a\"]", b"{\"a\":\xa0\x01}"] {
        assert!(matches!(kind(read_with(&only, octets)), ErrorKind::NotInDialect { .. }));
    }
    assert!(only.from_slice::<Vec<u8>>(b"[1]").is_err());
    assert!(read_with(&only, b"{\x80\x01a [true, null] }").is_ok());
}

#[test]
fn canonical_reading_takes_one_form_only() {
    let canonical = Decoder::new().with_canonical(true).with_dialect(Dialect::C);
    for octets in [
        &b"{\x80\x01a\xa0\x01}"[..],
        b"[[],{},\x92\0\0\0\0\0\0\0\0]",
        b"{\xc8\x00\x80\x04Name[],\x80\x01b{\xc0\x00\xa0\x01}}",
        b"[\xa7\x00\x09\x01\0\0\0\0\0\0\0\0]",
    ] {
        let value = read_with(&canonical, octets).unwrap();
        let dialect = if octets.contains(&0xc8) { Dialect::C } else { Dialect::B };
        assert_eq!(Encoder::new().with_dialect(dialect).to_vec(&value).unwrap(), octets);
    }
    for octets in [
        &b"{\x81\x00\x01a\xa0\x01}"[..],
        b"[\xa1\x00\x01]",
        b"[\xa8\x00]",
        b"[\x84\x01a\x80\x00]",
        b"[\x8c\x01a\x88\x00]",
        b"[ \xa0\x01]",
        b"[1]",
        b"[true]",
        b"[\"a\"]",
        b"{\"a\":\xa0\x01}",
        b"[\xa7\x00\x01\x01]",
        b"[\xa7\x00\x0a\x00\x01\0\0\0\0\0\0\0\0]",
        b"[\xc9\x00\x00\x80\x01a]",
        b"[\xa0\x01] ",
    ] {
        assert!(matches!(kind(read_with_whole(&canonical, octets)), ErrorKind::NotCanonical(_)), "{octets:02x?}");
    }
    let floats = Decoder::new().with_canonical(true);
    assert!(matches!(kind(read_with(&floats, &[&b"[\xa4"[..], &[0; 16], b"]"].concat())), ErrorKind::NotCanonical(_)));
}

/// White space behind the document is its own to the incremental reader, and part of the input to the other.
fn read_with_whole(decoder: &Decoder, octets: &[u8]) -> Result<Value, jsonbcd::Error> {
    if octets.last() == Some(&b' ') { decoder.from_slice(octets) } else { read_with(decoder, octets) }
}

#[test]
fn nothing_may_stand_behind_the_document() {
    assert!(read(b" [] \r\n\t").is_ok());
    for octets in [&b"[]x"[..], b"[][]", b"[] \xa0\x01", b"{}}"] {
        assert!(matches!(*Decoder::new().from_slice::<Value>(octets).unwrap_err().kind(), ErrorKind::Trailing { .. }));
    }
}
