//! Documents in pieces.

use jsonbcd::stream::{Event, Reader, Step, ValueBuilder};
use jsonbcd::{Decoder, ErrorKind};

use crate::support::{hex, read_in_pieces};

const MIXED: &[u8] = b"\xc4\x07\x80\x03abc{\xc0\x07[1.5e3,\"t\\u00e9\\n\",true,false,null,-12],\"x\" : \x84\x02ab\x81\x00\x01c\
    \x80\x01y[\xc9\x00\x08\x88\x01d\x88\x01e\xc0\x08],\x80\x01d\x92\x3f\xf0\x00\x00\x00\x00\x00\x00\xb4\x01t\xa7\x00\x01\x05\
    \xc0\x08\xb2}";

#[test]
fn the_events_are_those_of_the_document() {
    let mut reader = Reader::new(Decoder::new());
    let octets = b"{\x80\x01a[1,\"b\",\x88\x01c\x92\x00\x00\x00\x00\x00\x00\x00\x00\xb0\xb2]}rest";
    reader.feed(octets).unwrap();
    for event in [
        Event::ObjectStart,
        Event::Name("a"),
        Event::ArrayStart,
        Event::Integer(1.into()),
        Event::String("b"),
        // A comma stands behind text, and then data.
        Event::Data(b"c"),
        Event::Float(0.0),
        Event::Bool(true),
        Event::Null,
        Event::ArrayEnd,
        Event::ObjectEnd,
    ] {
        assert_eq!(reader.step().unwrap(), Step::Event(event));
    }
    assert_eq!(reader.step().unwrap(), Step::End);
    assert_eq!(reader.step().unwrap(), Step::End);
    assert_eq!(reader.rest(), b"rest");
    assert_eq!(reader.position(), octets.len() - 4);
}

#[test]
fn wherever_it_is_cut_it_is_the_same() {
    let decoder = Decoder::new();
    let whole = decoder.from_slice(MIXED);
    // The last member's name is a code of data.
    assert_eq!(*whole.clone().map(|_: jsonbcd::Value| ()).unwrap_err().kind(), ErrorKind::DataAsName(8));
    let good = [&MIXED[..MIXED.len() - 4], b"}"].concat();
    let whole = decoder.from_slice(&good).unwrap();
    for len in 1..=good.len() {
        assert_eq!(read_in_pieces(&decoder, &good, len).unwrap(), whole, "{len}");
    }
    for cut in 0..good.len() {
        let error = read_in_pieces(&decoder, &good[..cut], 7).unwrap_err();
        let whole = decoder.from_slice::<jsonbcd::Value>(&good[..cut]).unwrap_err();
        assert!(error.needed().is_some() && whole.needed().is_some(), "{cut}: {error} and {whole}");
    }
}

#[test]
fn what_is_needed_is_never_more_than_what_is_missing() {
    let good = [&MIXED[..MIXED.len() - 4], b"}"].concat();
    for cut in 0..good.len() {
        let mut reader = Reader::new(Decoder::new());
        reader.feed(&good[..cut]).unwrap();
        let needed = loop {
            match reader.step().unwrap() {
                Step::Event(_) => {}
                Step::Incomplete { needed } => break needed,
                Step::End => panic!("an end at {cut}"),
            }
        };
        assert!(needed >= 1 && needed <= good.len() - cut, "{needed} at {cut}");
    }
    // And exact where a length was announced.
    for (octets, missing) in
        [("5b 80 05 61", 4), ("5b 81 01 00 61", 255), ("5b a3", 8), ("5b 92 00", 7), ("5b a7 00 03", 3)]
    {
        let mut reader = Reader::new(Decoder::new());
        reader.feed(&hex(octets)).unwrap();
        assert!(matches!(reader.step(), Ok(Step::Event(_))));
        assert_eq!(reader.step().unwrap(), Step::Incomplete { needed: missing }, "{octets}");
    }
}

#[test]
fn a_number_ends_where_something_else_begins_or_the_input_ends() {
    let mut reader = Reader::new(Decoder::new());
    reader.feed(b"12").unwrap();
    assert_eq!(reader.step().unwrap(), Step::Incomplete { needed: 1 });
    reader.feed(b"3").unwrap();
    assert_eq!(reader.step().unwrap(), Step::Incomplete { needed: 1 });
    reader.finish();
    assert_eq!(reader.step().unwrap(), Step::Event(Event::Integer(123.into())));
    assert_eq!(reader.step().unwrap(), Step::End);
    let mut reader = Reader::new(Decoder::new());
    reader.feed(b"12 ").unwrap();
    assert_eq!(reader.step().unwrap(), Step::Event(Event::Integer(12.into())));
    assert_eq!(reader.step().unwrap(), Step::End);
}

#[test]
fn an_error_is_the_end_and_says_where_in_the_document() {
    let mut reader = Reader::new(Decoder::new());
    for piece in [&b"[1, "[..], b"2, ", b"\xa0\x01", b"\xf0\x00]"] {
        reader.feed(piece).unwrap();
        while let Ok(Step::Event(_)) = reader.step() {}
    }
    let error = reader.step().unwrap_err();
    assert_eq!((error.kind(), error.offset()), (&ErrorKind::UnassignedCode(0xf0), Some(9)));
    reader.feed(b"]").unwrap();
    assert_eq!(reader.step().unwrap_err(), error);
    let mut reader = Reader::new(Decoder::new());
    reader.feed(b"[1,").unwrap();
    while let Ok(Step::Event(_)) = reader.step() {}
    reader.finish();
    let error = reader.step().unwrap_err();
    assert_eq!((error.kind(), error.offset()), (&ErrorKind::Incomplete { needed: 1 }, Some(3)));
}

#[test]
fn octets_that_trickle_in_cost_no_more_than_octets_at_once() {
    // A string, a name and a run of segments of a megabyte each. If each octet made the reader look at all of them
    // again, this would take hours.
    let len = 1 << 20;
    let text = [b"[\"", &b"a".repeat(len)[..], b"\"]"].concat();
    let escapes = [b"[\"", &b"\\\\".repeat(len / 2)[..], b"\"]"].concat();
    let segments = [b"[", &b"\x84\x00".repeat(len / 2)[..], b"\x80\x00]"].concat();
    let long = [&b"[\x82\x00\x10\x00\x00"[..], &b"a".repeat(len), b"]"].concat();
    for octets in [text, escapes, segments, long] {
        let whole: jsonbcd::Value = Decoder::new().from_slice(&octets).unwrap();
        assert_eq!(read_in_pieces(&Decoder::new(), &octets, 1).unwrap(), whole);
    }
}

#[test]
fn what_was_read_is_not_kept() {
    let mut reader = Reader::new(Decoder::new());
    reader.feed(b"[").unwrap();
    let item = [b"\x81\x01\x00", &[b'a'; 256][..]].concat();
    for _ in 0..1000 {
        reader.feed(&item).unwrap();
        while let Ok(Step::Event(_)) = reader.step() {}
    }
    assert_eq!(reader.position(), 1 + 259 * 1000);
    assert!(reader.rest().is_empty());
    assert!(format!("{reader:?}").len() < 5000);
}

#[test]
fn builders_refuse_what_no_reader_says() {
    assert!(ValueBuilder::new().push(Event::ObjectEnd).is_err());
    let mut builder = ValueBuilder::new();
    assert_eq!(builder.push(Event::ObjectStart).unwrap(), None);
    assert!(builder.push(Event::Null).is_err());
    let mut builder = ValueBuilder::new();
    let twice = [Event::ObjectStart, Event::Name("a"), Event::Null, Event::Name("a"), Event::Null, Event::ObjectEnd];
    let error = twice.into_iter().find_map(|event| builder.push(event).err()).unwrap();
    assert_eq!(*error.kind(), ErrorKind::DuplicateName("a".into()));
}

/// Elsewhere it is passed; behind a canonical document it would be a second form of it.
#[test]
fn white_space_behind_a_canonical_document_stays() {
    for (canonical, rest) in [(true, &b" \n"[..]), (false, b"")] {
        let mut reader = Reader::new(Decoder::new().with_canonical(canonical));
        reader.feed(b"[] \n").unwrap();
        reader.finish();
        while let Step::Event(_) = reader.step().unwrap() {}
        assert_eq!(reader.rest(), rest);
    }
    assert!(Decoder::new().with_canonical(true).from_slice::<jsonbcd::Value>(b"[] \n").is_err());
}
