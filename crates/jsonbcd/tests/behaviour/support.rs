//! Short ways to say things.

use jsonbcd::stream::{Reader, Step, ValueBuilder};
use jsonbcd::{Decoder, Error, ErrorKind, Value};

/// Octets from hexadecimal digits and spaces.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|octet| !octet.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// What it is read as, which is the same whole and octet by octet.
pub(crate) fn read_with(decoder: &Decoder, octets: &[u8]) -> Result<Value, Error> {
    let whole = decoder.from_slice::<Value>(octets);
    let pieces = read_in_pieces(decoder, octets, 1);
    assert_eq!(whole.as_ref().ok(), pieces.as_ref().ok(), "{octets:02x?}: {whole:?} {pieces:?}");
    whole
}

pub(crate) fn read(octets: &[u8]) -> Result<Value, Error> {
    read_with(&Decoder::new(), octets)
}

/// By the incremental reader, in pieces of so many octets. White space alone may follow.
pub(crate) fn read_in_pieces(decoder: &Decoder, octets: &[u8], len: usize) -> Result<Value, Error> {
    let mut reader = Reader::new(decoder.clone());
    let mut builder = ValueBuilder::new();
    let mut value = None;
    for piece in octets.chunks(len.max(1)) {
        reader.feed(piece)?;
        while let Step::Event(event) = reader.step()? {
            value = builder.push(event)?;
        }
    }
    reader.finish();
    while let Step::Event(event) = reader.step()? {
        value = builder.push(event)?;
    }
    match reader.rest().first() {
        Some(_) => Err(decoder.from_slice::<Value>(octets).unwrap_err()),
        None => Ok(value.unwrap()),
    }
}

pub(crate) fn kind(result: Result<Value, Error>) -> ErrorKind {
    match result {
        Ok(value) => panic!("it was read: {value:?}"),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            error.kind().clone()
        }
    }
}

pub(crate) fn vector(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/obp/");
    std::fs::read(format!("{folder}{name}")).unwrap()
}
