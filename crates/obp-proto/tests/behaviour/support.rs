//! Vectors and small things that several tests need.

use std::path::PathBuf;

use obp_proto::{Encoding, Limits, Message};

pub(crate) fn vector_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/obp").join(name)
}

pub(crate) fn vector(name: &str) -> Vec<u8> {
    std::fs::read(vector_path(name)).unwrap()
}

pub(crate) fn derived(name: &str) -> Vec<u8> {
    let all: serde_json::Value = serde_json::from_slice(&vector("derived.json")).unwrap();
    hex(all[name].as_str().unwrap())
}

pub(crate) fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// The body of a recorded exchange, and what it means.
pub(crate) fn exchange(name: &str) -> (Vec<u8>, Message) {
    let body = vector(&format!("exchanges/{name}.json"));
    let message = Message::decode(&body, Encoding::Json, &Limits::default()).unwrap();
    (body, message)
}

pub(crate) fn decode(text: &str) -> Result<Message, obp_proto::DecodeError> {
    Message::decode(text.as_bytes(), Encoding::Json, &Limits::default())
}
