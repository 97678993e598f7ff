//! Everything that grows has a limit, and lengths that are announced cost nothing.

use std::collections::BTreeMap;

use jsonbcd::stream::{Reader, Step};
use jsonbcd::{Decoder, Encoder, ErrorKind, Limit, Limits, Value, text};

use crate::support::{kind, read, read_with};

fn limited(limits: Limits) -> Decoder {
    Decoder::new().with_limits(limits)
}

fn exceeded(decoder: &Decoder, octets: &[u8], limit: Limit) {
    assert_eq!(kind(read_with(decoder, octets)), ErrorKind::Limit(limit), "{octets:02x?}");
}

#[test]
fn nesting_is_limited_in_every_way_of_reading() {
    let nested = |depth: usize, open: &[u8], inside: &[u8], close: &[u8]| {
        [open.repeat(depth), inside.to_vec(), close.repeat(depth)].concat()
    };
    let decoder = limited(Limits::DEFAULT.with_depth(32));
    for (open, inside, close) in [
        (&b"["[..], &b""[..], &b"]"[..]),
        (b"{\x80\x01a", b"\xb2", b"}"),
        (b"{\"a\":", b"1", b"}"),
        (b"[{\"a\":", b"1", b"}]"),
    ] {
        let levels = if open.len() > 5 { 16 } else { 32 };
        assert!(read_with(&decoder, &nested(levels, open, inside, close)).is_ok());
        exceeded(&decoder, &nested(levels + 1, open, inside, close), Limit::Depth);
        // A bomb: far more than any stack holds.
        let bomb = nested(1_000_000, open, inside, close);
        for decoder in [decoder.clone(), Decoder::new().lenient()] {
            let error = decoder.from_slice::<Value>(&bomb).unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::Limit(Limit::Depth));
            let error = decoder.from_slice::<serde::de::IgnoredAny>(&bomb).unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::Limit(Limit::Depth));
        }
    }
    // The default is what an ordinary stack holds, also without optimization.
    assert!(read(&nested(128, b"[", b"", b"]")).is_ok());
    exceeded(&Decoder::new(), &nested(129, b"[", b"", b"]"), Limit::Depth);
}

#[test]
fn nesting_is_limited_in_writing() {
    let mut value = Value::Null;
    for _ in 0..33 {
        value = Value::Array(vec![value]);
    }
    let limit = ErrorKind::Limit(Limit::Depth);
    assert!(jsonbcd::to_vec(&value).is_ok());
    assert_eq!(*Encoder::new().with_depth(32).to_vec(&value).unwrap_err().kind(), limit);
    assert_eq!(*text::Encoder::new().with_depth(32).to_vec(&value).unwrap_err().kind(), limit);
    assert!(text::Encoder::new().with_depth(33).to_vec(&value).is_ok());
    let deep = BTreeMap::from([("a", BTreeMap::from([("b", 1)]))]);
    assert_eq!(*Encoder::new().with_depth(1).to_vec(&deep).unwrap_err().kind(), limit);
    // Siblings are not deep.
    assert!(Encoder::new().with_depth(2).to_vec(&vec![vec![1u8]; 100]).is_ok());
}

#[test]
fn lengths_that_are_lies_are_errors_and_cost_nothing() {
    for code in [0x80u8, 0x84, 0x88, 0x8c, 0xb4] {
        let name = code == 0xb4;
        for len in [1u64 << 20, 1 << 32, 1 << 62, u64::MAX] {
            let octets = [if name { &b"{"[..] } else { b"[" }, &[code | 3], &len.to_be_bytes(), b"a"].concat();
            let error = read(&octets).unwrap_err();
            match error.kind() {
                ErrorKind::Incomplete { needed } => assert_eq!(*needed, (1 << 20) - 1),
                ErrorKind::Limit(Limit::Item) => assert!(len > 1 << 24),
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(matches!(kind(read(b"[\xa7\xff\xff\x01")), ErrorKind::Incomplete { needed: 65534 }));
    // No less from an incremental reader, which could be tempted to make room.
    let mut reader = Reader::new(limited(Limits::DEFAULT.with_item(1 << 40)));
    reader.feed(&[b"[\x83", &(1u64 << 39).to_be_bytes()[..], b"a"].concat()).unwrap();
    assert!(matches!(reader.step(), Ok(Step::Event(_))));
    assert_eq!(reader.step().unwrap(), Step::Incomplete { needed: (1 << 39) - 1 });
    assert!(format!("{reader:?}").len() < 2000);
}

#[test]
fn items_are_limited() {
    let decoder = limited(Limits::DEFAULT.with_item(4));
    for good in [
        &b"[\x80\x04abcd]"[..],
        b"[\"abcd\"]",
        b"[\"\\u0061bcd\"]",
        b"[\x84\x02ab\x80\x02cd]",
        b"{\"abcd\":1}",
        b"[\x88\x04abcd]",
    ] {
        assert!(read_with(&decoder, good).is_ok(), "{good:02x?}");
    }
    for bad in [
        &b"[\x80\x05abcde]"[..],
        b"[\"abcde\"]",
        b"[\"\\nabcd\"]",
        b"[\x84\x02ab\x80\x03cde]",
        b"[\x8c\x02ab\x88\x03cde]",
        b"{\"abcde\":1}",
        b"{\x80\x05abcde\xb0}",
        b"{\xb4\x05abcde\xb0}",
        b"[\x88\x05abcde]",
        b"[\xa7\x00\x05abcde]",
        b"[\xc8\x00\x80\x05abcde]",
    ] {
        exceeded(&decoder, bad, Limit::Item);
        // Neither do types see it, by whatever way they are read.
        assert!(decoder.from_slice::<serde::de::IgnoredAny>(bad).is_err());
    }
    assert!(decoder.from_slice::<Vec<&str>>(b"[\x80\x05abcde]").is_err());
}

#[test]
fn members_and_values_are_limited() {
    let members = limited(Limits::DEFAULT.with_members(2));
    assert!(read_with(&members, b"[[1,2],{\"a\":1,\"b\":2}]").is_ok());
    exceeded(&members, b"[1,2,3]", Limit::Members);
    exceeded(&members, b"[\xb0\xb0\xb0]", Limit::Members);
    exceeded(&members, b"{\"a\":1,\"b\":2,\"c\":3}", Limit::Members);
    exceeded(&members, b"[[],[],[]]", Limit::Members);
    exceeded(&members, b"[[\xb0\xb0\xb0]]", Limit::Members);
    let values = limited(Limits::DEFAULT.with_values(4));
    assert!(read_with(&values, b"[[1,2],3]").is_ok());
    exceeded(&values, b"[[1,2],3,4]", Limit::Values);
    exceeded(&values, b"{\"a\":{\"b\":{\"c\":{\"d\":{\"e\":1}}}}}", Limit::Values);
}

#[test]
fn numbers_in_text_are_limited() {
    let decoder = limited(Limits::DEFAULT.with_digits(5));
    for good in ["[12345]", "[-12345]", "[1.234]", "[1e123]", "[-1e12]"] {
        assert!(read_with(&decoder, good.as_bytes()).is_ok(), "{good}");
    }
    for bad in ["[123456]", "[-123456]", "[1.2345]", "[1e1234]", "[0.00000000000000000]"] {
        exceeded(&decoder, bad.as_bytes(), Limit::Digits);
    }
    // Ten megabytes of digits are refused soon.
    let digits = [&b"["[..], &b"9".repeat(10 << 20), b"]"].concat();
    assert_eq!(*Decoder::new().from_slice::<Value>(&digits).unwrap_err().kind(), ErrorKind::Limit(Limit::Digits));
}

#[test]
fn documents_are_limited() {
    let decoder = limited(Limits::DEFAULT.with_input(8));
    assert!(read_with(&decoder, b"[\"abcd\"]").is_ok());
    exceeded(&decoder, b"[\"abcde\"]", Limit::Input);
    // Segments without content cannot go on for ever.
    let mut reader = Reader::new(decoder);
    reader.feed(b"[").unwrap();
    assert!(matches!(reader.step(), Ok(Step::Event(_))));
    let error = (0..10).find_map(|_| reader.feed(b"\x84\x00").and_then(|()| reader.step().map(drop)).err()).unwrap();
    assert_eq!(*error.kind(), ErrorKind::Limit(Limit::Input));
}

#[test]
fn sinks_that_are_full_say_so() {
    let mut memory = [0; 8];
    for len in 0..8 {
        let mut sink = jsonbcd::SliceSink::new(&mut memory[..len]);
        let error = jsonbcd::to_writer(&mut sink, "abcdefg").unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::SinkFull);
        assert_eq!(error.offset(), None);
    }
}

#[cfg(feature = "std")]
#[test]
fn readers_are_limited() {
    let decoder = limited(Limits::DEFAULT.with_input(8));
    assert!(decoder.from_reader::<Value>(&b"[\"abcd\"]"[..]).is_ok());
    let endless = std::io::repeat(b' ');
    assert_eq!(*decoder.from_reader::<Value>(endless).unwrap_err().kind(), ErrorKind::Limit(Limit::Input));
}

#[cfg(feature = "std")]
#[test]
fn writers_that_fail_say_so() {
    struct Broken;
    impl std::io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let error = jsonbcd::to_writer(jsonbcd::IoSink(Broken), &[1]).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Io(std::io::ErrorKind::BrokenPipe));
}
