//! What the codec does, seen from outside.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod codes;
mod frames;
mod grammar;
mod limits;
mod numbers;
mod properties;
mod segments;
mod sequences;
mod stream;
mod support;
mod text;
mod types;
mod vectors;
