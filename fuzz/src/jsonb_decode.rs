//! Documents of JSON, JSON-B, JSON-C and JSON-D, whole and in pieces, to values and back.

use jsonbcd::stream::{Reader, Step, ValueBuilder};
use jsonbcd::{Commas, Decoder, Dialect, Encoder, Error, Limits, Profile, Value, text};

const LIMITS: Limits = Limits::DEFAULT.with_depth(32).with_item(4096).with_digits(100).with_expansion(65_536);

/// Reads `data`: an octet that says how, and a document.
pub fn run(data: &[u8]) {
    let Some((&how, octets)) = data.split_first() else { return };
    let decoder = decoder(how);
    let whole = decoder.from_slice::<Value>(octets);
    for len in [1, 7, octets.len().max(1)] {
        let pieces = in_pieces(&decoder, octets, len);
        match (&whole, &pieces) {
            (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces),
            (Err(_), Err(_)) => {}
            _ => panic!("whole {whole:?}, in pieces of {len} {pieces:?}"),
        }
    }
    let ignored = decoder.from_slice::<serde::de::IgnoredAny>(octets);
    match &whole {
        Ok(value) => {
            assert!(ignored.is_ok(), "{ignored:?}");
            again(value);
            if is_canonical(how) {
                let written = Encoder::new().with_profile(profile(how)).to_vec(value);
                assert_eq!(written.as_deref(), Ok(octets), "a canonical document is what is written");
            }
        }
        Err(error) => {
            let offset = error.offset().expect("errors of reading have one");
            assert!(offset <= octets.len(), "{error} is behind the end, {}", octets.len());
            assert!(!error.to_string().is_empty());
        }
    }
    // Types, with their short cuts.
    let _ = decoder.from_slice::<Vec<(Option<u8>, i16, String)>>(octets);
    let _ = decoder.from_slice::<std::collections::BTreeMap<String, f64>>(octets);
    let _ = decoder.from_slice::<Vec<&str>>(octets);
    same_as_others(octets);
}

fn decoder_dialect(how: u8) -> Dialect {
    match how >> 6 {
        0 => Dialect::Json,
        1 => Dialect::B,
        2 => Dialect::C,
        _ => Dialect::D,
    }
}

fn profile(how: u8) -> Profile {
    if how & 0x20 == 0 { Profile::Bcd16Plus } else { Profile::Bcd01 }
}

/// Canonical reading of JSON-B. (Which names have codes is the writer's choice, so that JSON-C has several forms.)
fn is_canonical(how: u8) -> bool {
    how & 0x0f == 0x0c
}

/// The lowest four bits choose a leniency.
fn decoder(how: u8) -> Decoder {
    let decoder = Decoder::new().with_dialect(decoder_dialect(how)).with_profile(profile(how)).with_limits(LIMITS);
    if is_canonical(how) {
        return decoder.with_dialect(Dialect::B).with_canonical(true);
    }
    let decoder = if how & 1 == 0 { decoder } else { decoder.with_commas(Commas::Lenient) };
    decoder
        .with_raw_controls(how & 2 != 0)
        .with_definitions_anywhere(how & 4 != 0)
        .with_lenient_base64(how & 8 != 0)
        .with_binary_only(how & 0x10 != 0)
}

/// By the incremental reader. Only white space may follow.
fn in_pieces(decoder: &Decoder, octets: &[u8], len: usize) -> Result<Value, Error> {
    let mut reader = Reader::new(decoder.clone());
    let mut builder = ValueBuilder::new();
    let mut value = None;
    for piece in octets.chunks(len) {
        reader.feed(piece)?;
        loop {
            match reader.step()? {
                Step::Event(event) => value = builder.push(event)?,
                Step::Incomplete { needed } => {
                    assert!(needed > 0);
                    break;
                }
                Step::End => break,
            }
        }
    }
    reader.finish();
    while let Step::Event(event) = reader.step()? {
        value = builder.push(event)?;
    }
    assert!(reader.position() <= octets.len());
    match value {
        Some(value) if reader.rest().is_empty() => Ok(value),
        _ => Err(decoder.from_slice::<Value>(octets).expect_err("something is left, or missing")),
    }
}

/// What was read can be written in the largest dialect, and in the others if they have a form for it.
fn again(value: &Value) {
    for (dialect, profile) in [
        (Dialect::D, Profile::Bcd16Plus),
        (Dialect::D, Profile::Bcd01),
        (Dialect::C, Profile::Bcd01),
        (Dialect::B, Profile::Bcd16Plus),
    ] {
        match Encoder::new().with_dialect(dialect).with_profile(profile).to_vec(value) {
            Ok(octets) => {
                let decoder = Decoder::new().with_dialect(dialect).with_profile(profile).with_canonical(true);
                let read =
                    decoder.from_slice::<Value>(&octets).unwrap_or_else(|error| panic!("{error}: {octets:02x?}"));
                // Small floats of JSON-D become binary64 in smaller dialects.
                assert!(&read == value || dialect != Dialect::D, "{value:?} {read:?}");
            }
            Err(error) => assert_ne!(dialect, Dialect::D, "{error}: {value:?}"),
        }
    }
    if let Ok(text) = text::to_vec(value) {
        let lenient = Limits::DEFAULT.with_digits(usize::MAX);
        let read = Decoder::text().with_limits(lenient).from_slice::<Value>(&text);
        assert!(read.is_ok(), "{read:?}: {}", String::from_utf8_lossy(&text));
        let printed = text::to_reference_vec(value).expect("what can be written can be printed");
        let allowed = Decoder::text().with_raw_controls(true).with_limits(lenient);
        assert!(allowed.from_slice::<Value>(&printed).is_ok(), "{}", String::from_utf8_lossy(&printed));
    }
}

/// JSON is to us what it is to others, but for names that stand twice and numbers beyond 64 bits.
fn same_as_others(octets: &[u8]) {
    let Ok(theirs) = serde_json::from_slice::<serde_json::Value>(octets) else {
        let ours = text::from_slice::<Value>(octets);
        assert!(ours.is_err() || !is_plain(octets), "{ours:?}");
        return;
    };
    match text::from_slice::<Value>(octets) {
        Ok(ours) => {
            if let Ok(ours) = serde_json::to_value(&ours) {
                assert!(ours == theirs || !is_plain(octets), "{ours} {theirs}");
            }
        }
        Err(error) => {
            let known = ["stands twice", "limit exceeded"].iter().any(|known| error.to_string().contains(known));
            assert!(known, "{error}: {theirs}");
        }
    }
}

/// Without numbers that are too large for others, and without nesting that is.
fn is_plain(octets: &[u8]) -> bool {
    let digits = octets.split(|octet| !octet.is_ascii_digit()).map(<[u8]>::len).max();
    digits.unwrap_or_default() < 19 && octets.len() < 120
}

/// Any document, for seeds.
pub fn read(octets: &[u8]) -> Result<Value, Error> {
    Decoder::new().lenient().from_slice(octets)
}

/// The document in the binary dialects.
pub fn written(value: &Value) -> Vec<(&'static str, Vec<u8>)> {
    let dialects = [("b", Dialect::B), ("c", Dialect::C)];
    let written = dialects.map(|(name, dialect)| (name, Encoder::new().with_dialect(dialect).to_vec(value)));
    written.into_iter().filter_map(|(name, octets)| Some((name, octets.ok()?))).collect()
}

/// Documents with one of everything.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let documents: [(&str, &[u8]); 12] = [
        ("mixed", b"\xc0{\"Status\":\xa0\xc8\"StatusDescription\":\x80\x07Success}"),
        ("integers", b"\xc0[\xa0\x01\xa1\x01\x00\xa2\x00\x01\x00\x00\xa3\0\0\0\x01\0\0\0\0\xa8\x01\xab\xff\xff\xff\xff\xff\xff\xff\xff]"),
        ("large", b"\xc0[\xa4\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\xa7\x00\x09\x01\0\0\0\0\0\0\0\0\xaf\x00\x02\x01\x02]"),
        ("first-bignum", b"\xe0[\xa5\x00\x09\x01\0\0\0\0\0\0\0\0\xad\x00\x01\x42]"),
        ("floats", b"\xc0[\x90\x3c\x00\x91\x3f\x80\x00\x00\x92\x3f\xf0\0\0\0\0\0\0\x96\x22\x50\x00\x01\x95\0\x01\x02\x03\x04\x05\x06\x07\x08\x09]"),
        ("segments", b"\xc0[\x84\x05Hello\x80\x00\x8c\x01a\x8d\x00\x01b\x88\x00\xb0\xb1\xb2]"),
        ("codes", b"\xc4\xc4\x21\x80\x05Hello{\xc0\x21[\xc8\x22\x88\x02ab\xc1\x00\x22],\xb4\x01a\xb0}"),
        ("text", b"\x00{\"a\\u00e9\\ud83d\\ude00\" : [1.5e3, -0, true, false, null, \"\\n\"], \"b\\\"\\\\\":{}}"),
        ("canonical", b"\x4c{\x80\x01a[\xa0\x01\xa9\x01\x00],\x80\x01b{}}"),
        ("wider-integer", b"\x4c[\xa1\x00\xff]"),
        ("wider-length", b"\x4c[\x81\x00\x01a]"),
        ("lengths", &lengths()),
    ];
    documents.into_iter().map(|(name, octets)| (name, octets.to_vec())).collect()
}

/// Strings, data and integers around what one octet holds.
fn lengths() -> Vec<u8> {
    let mut octets = b"\xc0[\xa0\xff\xa1\x01\x00".to_vec();
    octets.extend(
        [b"\x80\xfe", &[b'a'; 254][..], b"\x80\xff", &[b'a'; 255], b"\x89\x01\x00", &[b'a'; 256], b"]"].concat(),
    );
    octets
}
