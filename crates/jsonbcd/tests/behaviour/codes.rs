//! JSON-C: codes, definitions, dictionaries.

use jsonbcd::dictionary::{Dictionaries, Dictionary, Entry, Loaded};
use jsonbcd::{Decoder, Dialect, Encoder, ErrorKind, Limit, Limits, Value, text};

use crate::support::{kind, read, read_with};

#[test]
fn a_code_that_is_not_defined_is_an_error_where_it_stands() {
    for (octets, offset) in [(&b"[\xc0\x20]"[..], 1), (b"{\xc0\x20\xa0\x01}", 1), (b"[\xa0\x01\xc1\x00\x20]", 3)] {
        let error = read(octets).unwrap_err();
        assert_eq!((error.kind(), error.offset()), (&ErrorKind::UndefinedCode(0x20), Some(offset)), "{octets:02x?}");
    }
    // Also when it is defined behind.
    assert_eq!(kind(read(b"[\xc0\x20\xc8\x20\x80\x01a]")), ErrorKind::UndefinedCode(0x20));
}

#[test]
fn the_width_of_a_code_does_not_matter() {
    let value = read(b"[\xc8\x20\x80\x05Hello\xc0\x20\xc1\x00\x20\xc2\x00\x00\x00\x20]").unwrap();
    assert_eq!(value, Value::Array(vec!["Hello".into(); 4]));
    let value = read(b"[\xca\x00\x00\x00\x20\x88\x01a\xc0\x20]").unwrap();
    assert_eq!(value, Value::Array(vec![vec![b'a'].into(); 2]));
}

#[test]
fn one_kind_of_definition_says_nothing_and_the_other_inserts() {
    assert_eq!(read(b"\xc4\x21\x80\x01a[]").unwrap(), Value::Array(vec![]));
    assert_eq!(read(b"[\xc8\x21\x80\x01a]").unwrap(), Value::Array(vec!["a".into()]));
    // Before an object or array anywhere, and white space before these.
    let value =
        read(b"\xc4\x00\x80\x01a {\xc0\x00 \xc5\x00\x01\x80\x01b \xc4\x02\x88\x01c [\xc0\x01\xc0\x02]}").unwrap();
    assert_eq!(value["a"], Value::Array(vec!["b".into(), vec![b'c'].into()]));
}

#[test]
fn definitions_stand_before_objects_and_arrays_only_unless_reading_is_lenient() {
    let anywhere = Decoder::new().with_definitions_anywhere(true);
    for octets in [
        &b"[\xc4\x00\x80\x01a\xc0\x00]"[..],
        b"{\xc4\x00\x80\x01a\x80\x01b\xa0\x01}",
        b"{\x80\x01b\xc4\x00\x80\x01a\xa0\x01}",
        b"[\xa0\x01\xc4\x00\x80\x01a]",
        b"[1\xc4\x00\x80\x01a,2]",
    ] {
        let error = read(octets).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::MisplacedDefinition, "{octets:02x?}");
        assert_eq!(error.offset(), octets.iter().position(|&octet| octet == 0xc4));
        assert!(read_with(&anywhere, octets).is_ok(), "{octets:02x?}");
    }
    assert!(read(b"[1,\xc4\x00\x80\x01a[]]").is_ok());
    assert!(read(b"[1\xc4\x00\x80\x01a[]]").is_err(), "the comma is still due");
}

#[test]
fn a_code_is_defined_once() {
    for octets in [
        &b"[\xc8\x00\x80\x01a\xc8\x00\x80\x01a]"[..],
        b"[\xc8\x00\x80\x01a\xc9\x00\x00\x80\x01b]",
        b"\xc4\x00\x80\x01a\xc4\x00\x80\x01a[]",
    ] {
        assert_eq!(kind(read(octets)), ErrorKind::RedefinedCode(0), "{octets:02x?}");
    }
    // Each document has codes of its own.
    assert!(read(b"[\xc8\x00\x80\x01a]").is_ok());
    assert!(read(b"[\xc0\x00]").is_err());
}

#[test]
fn definitions_are_of_binary_strings_and_data_only() {
    for octets in
        [&b"[\xc8\x00\xa0\x01]"[..], b"[\xc8\x00\"a\"]", b"[\xc8\x00[]]", b"[\xc8\x00\xc0\x00]", b"\xc4\x00[]"]
    {
        assert!(matches!(kind(read(octets)), ErrorKind::Unexpected { .. }), "{octets:02x?}");
    }
    let chunked = b"[\xc8\x00\x84\x01a\x80\x01b\xc0\x00]";
    assert_eq!(read(chunked).unwrap(), Value::Array(vec!["ab".into(); 2]));
    assert_eq!(jsonbcd::from_slice::<Vec<String>>(chunked).unwrap(), ["ab", "ab"]);
    assert_eq!(kind(read(b"[\xc8\x00\x80\x01\xff]")), ErrorKind::Utf8);
}

#[test]
fn codes_of_data_are_no_names() {
    assert_eq!(kind(read(b"{\xc8\x00\x88\x01a\xa0\x01}")), ErrorKind::DataAsName(0));
    assert_eq!(kind(read(b"\xc4\x00\x88\x01a{\xc0\x00\xa0\x01}")), ErrorKind::DataAsName(0));
    assert!(jsonbcd::from_slice::<Vec<String>>(b"[\xc8\x00\x88\x01a]").is_err());
}

#[test]
fn referred_strings_can_be_borrowed() {
    let strings: Vec<&str> = jsonbcd::from_slice(b"[\xc8\x00\x80\x05Hello\xc0\x00]").unwrap();
    assert_eq!(strings, ["Hello", "Hello"]);
}

#[test]
fn tables_are_bounded() {
    let limited = |limits| Decoder::new().with_limits(limits);
    let codes = limited(Limits::DEFAULT.with_codes(2, 1000));
    assert!(read_with(&codes, b"[\xc8\x00\x80\x01a\xc8\x01\x80\x01a]").is_ok());
    assert_eq!(
        kind(read_with(&codes, b"[\xc8\x00\x80\x01a\xc8\x01\x80\x01a\xc8\x02\x80\x01a]")),
        ErrorKind::Limit(Limit::Codes)
    );
    let octets = limited(Limits::DEFAULT.with_codes(100, 3));
    assert!(read_with(&octets, b"[\xc8\x00\x80\x02aa\xc8\x01\x80\x01a]").is_ok());
    assert_eq!(
        kind(read_with(&octets, b"[\xc8\x00\x80\x02aa\xc8\x01\x80\x02aa]")),
        ErrorKind::Limit(Limit::CodeOctets)
    );
    let expansion = limited(Limits::DEFAULT.with_expansion(6));
    assert!(read_with(&expansion, b"[\xc8\x00\x80\x02aa\xc0\x00\xc0\x00]").is_ok());
    assert_eq!(
        kind(read_with(&expansion, b"[\xc8\x00\x80\x02aa\xc0\x00\xc0\x00\xc0\x00]")),
        ErrorKind::Limit(Limit::Expansion)
    );
}

#[test]
fn a_bomb_of_references_goes_off_nowhere() {
    // 60 kB of definition, referred to 100,000 times: 6 GB.
    let mut bomb = [&b"\xc4\x00\x81\xea\x60"[..], &[b'a'; 60_000], b"["].concat();
    bomb.extend(std::iter::repeat_n(*b"\xc0\x00", 100_000).flatten());
    bomb.push(b']');
    assert_eq!(*Decoder::new().from_slice::<Value>(&bomb).unwrap_err().kind(), ErrorKind::Limit(Limit::Expansion));
}

#[test]
fn repeated_names_become_codes() {
    let encoder = Encoder::new().with_dialect(Dialect::C);
    let value: Value = text::from_str(
        r#"{"Connection":[{"IPAddress":"10.3.2.1","IPPort":443},{"IPAddress":"10.3.2.1","IPPort":80,"ab":1}],"ab":1}"#,
    )
    .unwrap();
    let octets = encoder.to_vec(&value).unwrap();
    assert_eq!(
        octets,
        [
            &b"{\xc8\x00\x80\x0aConnection[{\xc8\x01\x80\x09IPAddress\x80\x0810.3.2.1\xc8\x02\x80\x06IPPort\xa1\x01\xbb},"[..],
            b"{\xc0\x01\x80\x0810.3.2.1\xc0\x02\xa0\x50\x80\x02ab\xa0\x01}],\x80\x02ab\xa0\x01}",
        ]
        .concat()
    );
    assert_eq!(read(&octets).unwrap(), value);
    // Names in strings' places stay strings.
    let names: Value = text::from_str(r#"{"abc":"abc","def":"abc"}"#).unwrap();
    assert_eq!(encoder.to_vec(&names).unwrap(), b"{\xc8\x00\x80\x03abc\x80\x03abc\xc8\x01\x80\x03def\x80\x03abc}");
    // No more codes than fit an octet.
    let many: Value = Value::Array(
        (0..2)
            .map(|_| {
                let mut object = jsonbcd::Object::new();
                (0..300).for_each(|number| drop(object.insert(format!("name {number}"), number)));
                object.into()
            })
            .collect(),
    );
    let octets = encoder.to_vec(&many).unwrap();
    assert!(!octets.windows(4).any(|code| code == b"\xc9\x01\x00\x80"));
    assert_eq!(read(&octets).unwrap(), many);
}

#[test]
fn dictionaries_are_agreed_on_and_bounded() {
    let dictionary = Dictionary::of_names(0, ["Status", "StatusDescription", "ValidateResponse"]);
    assert_eq!(Dictionary::decode(&dictionary.encode()).unwrap(), dictionary);
    let digest = b"any octets that both sides know it by";
    let mut known = Dictionaries::new();
    assert_eq!(known.register(digest, dictionary.clone()), None);
    let decoder = Decoder::new().with_dictionaries(known);
    let encoder =
        Encoder::new().with_dialect(Dialect::C).with_dictionary(Loaded::new(digest, 256, &dictionary).unwrap());
    let value: Value =
        text::from_str(r#"{"ValidateResponse":{"Status":200,"StatusDescription":"Success","Policy":[]}}"#).unwrap();
    let octets = encoder.to_vec(&value).unwrap();
    let head = [&b"\xd0\x00\x00\x01\x00"[..], &[37], digest].concat();
    assert_eq!(
        octets,
        [&head[..], b"{\xc1\x01\x02{\xc1\x01\x00\xa0\xc8\xc1\x01\x01\x80\x07Success\xc8\x00\x80\x06Policy[]}}",]
            .concat()
    );
    assert_eq!(read_with(&decoder, &octets).unwrap(), value);
    assert_eq!(decoder.from_slice::<serde_json::Value>(&octets).unwrap()["ValidateResponse"]["Status"], 200);
    assert_eq!(kind(read(&octets)), ErrorKind::UnknownDictionary);
    // The offset is added, and what is defined cannot be defined again.
    assert_eq!(kind(read_with(&decoder, &[&head[..], b"[\xc0\x00]"].concat())), ErrorKind::UndefinedCode(0));
    let again = [&head[..], b"[\xc9\x01\x00\x80\x01a]"].concat();
    assert_eq!(kind(read_with(&decoder, &again)), ErrorKind::RedefinedCode(256));
    let twice = [&head[..], &head, b"[]"].concat();
    assert_eq!(kind(read_with(&decoder, &twice)), ErrorKind::RedefinedCode(256));
    let before = [b"\xc5\x01\x00\x80\x01a", &head[..], b"[]"].concat();
    assert_eq!(kind(read_with(&decoder, &before)), ErrorKind::RedefinedCode(256));
    // So many and no more.
    let none = decoder.clone().with_limits(Limits::DEFAULT.with_dictionaries(0));
    assert_eq!(kind(read_with(&none, &octets)), ErrorKind::Limit(Limit::Dictionaries));
    // Before objects and arrays only, as all definitions.
    let inside = [&b"["[..], &head, b"\xa0\x01]"].concat();
    assert_eq!(kind(read_with(&decoder, &inside)), ErrorKind::MisplacedDefinition);
}

#[test]
fn dictionaries_that_are_none_are_refused() {
    for octets in [&b"\xc8\x00\x80\x01a"[..], b"\xc4\x00", b"\xc4\x00\xa0\x01", b"\xc4\x00\x80\x05a", b"[]"] {
        assert!(Dictionary::decode(octets).is_err(), "{octets:02x?}");
    }
    let twice = Dictionary::decode(b"\xc4\x00\x80\x01a\xc4\x00\x80\x01a").unwrap_err();
    assert_eq!(*twice.kind(), ErrorKind::RedefinedCode(0));
    let mut dictionary = Dictionary::new();
    assert!(dictionary.is_empty());
    dictionary.insert(u32::MAX, Entry::Data([1, 2].into()));
    assert_eq!(dictionary.encode(), b"\xc6\xff\xff\xff\xff\x88\x02\x01\x02");
    assert!(Loaded::new(b"", 1, &dictionary).is_err(), "a code of 33 bits");
    assert!(Loaded::new(&[0; 256], 0, &dictionary).is_err(), "a digest of 256 octets");
}
