//! JSON as text, and octets in it.

use jsonbcd::text::{self, Style};
use jsonbcd::{Decoder, ErrorKind, Value};
use serde::{Deserialize, Serialize};

use crate::support::{kind, read_with};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Credential {
    #[serde(with = "jsonbcd::octets")]
    data: Vec<u8>,
}

fn credential(data: &[u8]) -> Credential {
    Credential { data: data.to_vec() }
}

#[test]
fn octets_are_unpadded_base64url_in_text_and_octets_in_binary() {
    for (octets, text) in [(&b""[..], ""), (&[0xfb], "-w"), (&[0xfb, 0xff], "-_8"), (&[0xfb, 0xff, 0], "-_8A")] {
        let json = format!("{{\"data\":\"{text}\"}}");
        assert_eq!(text::to_string(&credential(octets)).unwrap(), json);
        assert_eq!(text::from_str::<Credential>(&json).unwrap(), credential(octets));
        let binary = jsonbcd::to_vec(&credential(octets)).unwrap();
        assert_eq!(binary[7], 0x88);
        assert_eq!(jsonbcd::from_slice::<Credential>(&binary).unwrap(), credential(octets));
    }
    let long: Vec<u8> = (0..=255).cycle().take(2000).collect();
    let json = text::to_string(&credential(&long)).unwrap();
    assert_eq!(json, format!("{{\"data\":\"{}\"}}", jsonbcd::base64url::encode(&long)));
}

#[test]
fn white_space_and_padding_are_passed_over_and_the_other_alphabet_if_asked_for() {
    for good in ["-_8", "-_8=", "\\n-_8\\n", " - _ 8 ", "\\t-_\\r\\n8=", "-_8=\\n"] {
        let json = format!("{{\"data\":\"{good}\"}}");
        assert_eq!(text::from_str::<Credential>(&json).unwrap(), credential(&[0xfb, 0xff]), "{good}");
    }
    for bad in ["+/8", "-_8===", "-=_8", "-_9", "-", "-_8A-", "?", "é", "\\u0000"] {
        let json = format!("{{\"data\":\"{bad}\"}}");
        let error = text::from_str::<Credential>(&json).unwrap_err();
        assert_eq!((error.kind(), error.offset()), (&ErrorKind::Base64, Some(8)), "{bad}");
    }
    let lenient = Decoder::text().with_lenient_base64(true);
    for good in ["+/8", "-/8=", "+_8"] {
        let json = format!("{{\"data\":\"{good}\"}}");
        assert_eq!(lenient.from_slice::<Credential>(json.as_bytes()).unwrap(), credential(&[0xfb, 0xff]));
    }
}

#[test]
fn text_where_octets_are_due_is_decoded_in_binary_documents_too() {
    for octets in [
        &b"{\x80\x04data\x80\x03-_8}"[..],
        b"{\"data\":\"-_8\"}",
        b"{\"data\":\"\\u002d_8\"}",
        b"{\x80\x04data\x84\x01-\x80\x02_8}",
        b"{\x80\x04data\x88\x02\xfb\xff}",
        b"{\x80\x04data\x8c\x01\xfb\x88\x01\xff}",
        b"\xc4\x00\x80\x03-_8{\x80\x04data\xc0\x00}",
        b"\xc4\x00\x88\x02\xfb\xff{\x80\x04data\xc0\x00}",
    ] {
        assert_eq!(jsonbcd::from_slice::<Credential>(octets).unwrap(), credential(&[0xfb, 0xff]), "{octets:02x?}");
    }
    // But not the other way round: octets are no text, whatever they look like.
    assert!(jsonbcd::from_slice::<[String; 1]>(b"[\x88\x01a]").is_err());
    assert!(jsonbcd::from_slice::<[char; 1]>(b"[\x88\x01a]").is_err());
    assert!(jsonbcd::from_slice::<Credential>(b"{\x80\x04data\xa0\x01}").is_err());
}

#[test]
fn raw_controls_are_taken_if_allowed_and_only_those_three() {
    let allowed = Decoder::text().with_raw_controls(true);
    for control in 0..0x20u8 {
        let octets = [b"[\"a", &[control][..], b"b\"]"].concat();
        assert_eq!(kind(read_with(&Decoder::text(), &octets)), ErrorKind::Control(control));
        assert_eq!(Decoder::text().from_slice::<Value>(&octets).unwrap_err().offset(), Some(3));
        if matches!(control, b'\t' | b'\n' | b'\r') {
            let value = read_with(&allowed, &octets).unwrap();
            assert_eq!(value[0].as_str().unwrap().as_bytes()[1], control);
            assert!(text::from_slice::<Value>(&text::to_vec(&value).unwrap()).is_ok(), "written as an escape");
        } else {
            assert_eq!(kind(read_with(&allowed, &octets)), ErrorKind::Control(control));
        }
        // Also behind an escape, and in names.
        let octets = [b"{\"\\u0061", &[control][..], b"b\":1}"].concat();
        assert!(read_with(&Decoder::text(), &octets).is_err());
        assert_eq!(read_with(&allowed, &octets).is_ok(), matches!(control, b'\t' | b'\n' | b'\r'));
    }
    assert!(read_with(&Decoder::text(), b"[\"\x7f\"]").is_ok());
}

#[test]
fn escapes_stand_for_characters_and_pairs_for_one() {
    for (text, string) in [
        (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
        (r#""\u0000\u001f\u00E9\u20ac""#, "\0\u{1f}é€"),
        (r#""\ud83d\ude00""#, "😀"),
        (r#""\uD800\uDC00\uDBFF\uDFFF""#, "\u{10000}\u{10ffff}"),
        (r#""a\u0062c😀é""#, "abc😀é"),
    ] {
        assert_eq!(read_with(&Decoder::text(), text.as_bytes()).unwrap(), string.into(), "{text}");
        assert_eq!(serde_json::from_str::<String>(text).unwrap(), string);
    }
    for bad in [
        r#""\ud83d""#,
        r#""\ude00""#,
        r#""\ud83d\u0041""#,
        r#""\ud83dx""#,
        r#""\ud83d\n""#,
        r#""\u12g4""#,
        r#""\x41""#,
        r#""\u+123""#,
        r#""\'""#,
    ] {
        assert!(serde_json::from_str::<String>(bad).is_err());
        assert_eq!(kind(read_with(&Decoder::text(), bad.as_bytes())), ErrorKind::Escape, "{bad}");
    }
    assert!(Decoder::text().from_slice::<Value>(br#""\u12"#).unwrap_err().needed().is_some());
}

#[test]
fn text_is_utf8_and_nothing_else() {
    for bad in [&b"\"\xff\""[..], b"\"\xc0\x80\"", b"\"\xed\xa0\x80\"", b"\"\\n\xff\"", b"{\"\xff\":1}"] {
        assert_eq!(kind(read_with(&Decoder::text(), bad)), ErrorKind::Utf8, "{bad:02x?}");
    }
    // No byte order mark, no UTF-16.
    assert!(Decoder::text().from_slice::<Value>(b"\xef\xbb\xbf[]").is_err());
    assert!(Decoder::text().from_slice::<Value>(b"\xfe\xff\x00[\x00]").is_err());
    assert!(Decoder::text().from_slice::<Value>(b"[\x00]\x00").is_err());
}

#[test]
fn malformed_numbers_and_words_are_refused() {
    for bad in [
        "01", "-", "-a", "1.", "1.e1", "1e", "1e+", ".5", "+1", "0x1", "1e999", "-1e999", "NaN", "Infinity", "tru",
        "nul", "True", "truex", "00", "-01", "1_000",
    ] {
        assert!(serde_json::from_str::<serde_json::Value>(bad).is_err(), "{bad}");
        assert!(read_with(&Decoder::text(), bad.as_bytes()).is_err(), "{bad}");
        let inside = format!("[{bad}]");
        assert!(read_with(&Decoder::text(), inside.as_bytes()).is_err(), "{inside}");
    }
    for good in ["0", "-0", "1e5", "1E-5", "0.5", "-0.0", "123456789012345678901234567890", "1e-999"] {
        let value = read_with(&Decoder::text(), good.as_bytes()).unwrap();
        assert_eq!(value.as_f64(), serde_json::from_str::<f64>(good).ok(), "{good}");
    }
}

#[test]
fn the_reference_layout_is_the_drafts() {
    #[derive(Serialize)]
    enum Message {
        UnbindRequest {},
        Pair(u8, u8),
        Plain,
    }
    for (message, printed) in [
        (Message::UnbindRequest {}, "{\n  \"UnbindRequest\": {}}"),
        (Message::Pair(1, 2), "{\n  \"Pair\": [1,\n    2]}"),
        (Message::Plain, "\"Plain\""),
    ] {
        assert_eq!(text::to_reference_vec(&message).unwrap(), printed.as_bytes());
    }
    assert_eq!(text::to_reference_vec(&Value::Array(vec![])).unwrap(), b"[]");
    // An LF before every 48 octets, and none where there are no octets.
    for (len, lines) in [(0, 0), (1, 1), (48, 1), (49, 2), (96, 2), (97, 3)] {
        let printed = text::to_reference_vec(&credential(&vec![0; len])).unwrap();
        let inside = &printed[b"{\n  \"data\": ".len()..];
        assert_eq!(inside.iter().filter(|&&octet| octet == b'\n').count(), lines, "{len}");
        assert_eq!(inside.starts_with(b"\"\n"), lines > 0);
        let allowed = Decoder::text().with_raw_controls(true);
        assert_eq!(allowed.from_slice::<Credential>(&printed).unwrap().data.len(), len);
    }
    assert_eq!(Style::default(), Style::Compact);
}

#[test]
fn types_are_told_which_format_they_are_in() {
    struct Probe;
    impl Serialize for Probe {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let readable = serializer.is_human_readable();
            serializer.serialize_bool(readable)
        }
    }
    assert_eq!(text::to_string(&Probe).unwrap(), "true");
    assert_eq!(jsonbcd::to_vec(&Probe).unwrap(), [0xb1]);
    let address: std::net::Ipv4Addr = text::from_str("\"10.3.2.1\"").unwrap();
    let octets = jsonbcd::to_vec(&address).unwrap();
    assert_eq!(octets, b"[\xa0\x0a\xa0\x03\xa0\x02\xa0\x01]");
    assert_eq!(jsonbcd::from_slice::<std::net::Ipv4Addr>(&octets).unwrap(), address);
}
