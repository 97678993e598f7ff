//! Instructions that JSON-B takes, beside other formats of serde, counted by valgrind.
//!
//! `cargo bench -p watchfire-benches --bench jsonbcd_instructions` prints them; `benches/jsonbcd/README.md` holds the
//! last table. Each function is called once before it is counted.
#![allow(missing_docs, reason = "the macros make items without documentation")]
#![allow(unused_qualifications, clippy::exhaustive_structs, clippy::exhaustive_enums, reason = "as above")]

mod corpus;

use std::hint::black_box;

use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig, OutputFormat};

use corpus::{CIBORIUM, Codec, JSONBCD, MINICBOR, Message, RMP, SERDE_JSON, TEXT};

/// The codec, the message, and a vector that need not grow.
fn to_encode(codec: Codec, message: Message) -> (Codec, Message, Vec<u8>) {
    let mut out = Vec::with_capacity(8192);
    (codec.encode)(&message, &mut out);
    out.clear();
    (codec, message, out)
}

fn to_decode(codec: Codec, message: Message) -> (Codec, Vec<u8>) {
    (codec, codec.octets(&message))
}

fn borrowed(message: Message) -> Vec<u8> {
    let octets = JSONBCD.octets(&message);
    black_box(corpus::borrowed(&octets));
    octets
}

fn rmp_borrowed(message: Message) -> Vec<u8> {
    let octets = RMP.octets(&message);
    black_box(corpus::rmp_borrowed(&octets));
    octets
}

#[library_benchmark(setup = to_encode)]
#[bench::response_jsonbcd(JSONBCD, corpus::response())]
#[bench::response_rmp(RMP, corpus::response())]
#[bench::response_minicbor(MINICBOR, corpus::response())]
#[bench::response_ciborium(CIBORIUM, corpus::response())]
#[bench::response_text(TEXT, corpus::response())]
#[bench::response_serde_json(SERDE_JSON, corpus::response())]
#[bench::request_jsonbcd(JSONBCD, corpus::request())]
#[bench::request_rmp(RMP, corpus::request())]
#[bench::request_minicbor(MINICBOR, corpus::request())]
#[bench::request_ciborium(CIBORIUM, corpus::request())]
#[bench::request_text(TEXT, corpus::request())]
#[bench::request_serde_json(SERDE_JSON, corpus::request())]
fn encode((codec, message, mut out): (Codec, Message, Vec<u8>)) -> (Message, Vec<u8>) {
    (codec.encode)(black_box(&message), &mut out);
    (message, out)
}

#[library_benchmark(setup = to_decode)]
#[bench::response_jsonbcd(JSONBCD, corpus::response())]
#[bench::response_rmp(RMP, corpus::response())]
#[bench::response_minicbor(MINICBOR, corpus::response())]
#[bench::response_ciborium(CIBORIUM, corpus::response())]
#[bench::response_text(TEXT, corpus::response())]
#[bench::response_serde_json(SERDE_JSON, corpus::response())]
#[bench::request_jsonbcd(JSONBCD, corpus::request())]
#[bench::request_rmp(RMP, corpus::request())]
#[bench::request_minicbor(MINICBOR, corpus::request())]
#[bench::request_ciborium(CIBORIUM, corpus::request())]
#[bench::request_text(TEXT, corpus::request())]
#[bench::request_serde_json(SERDE_JSON, corpus::request())]
fn decode((codec, octets): (Codec, Vec<u8>)) -> (Vec<u8>, Message) {
    let message = (codec.decode)(black_box(&octets));
    (octets, message)
}

#[library_benchmark]
#[bench::jsonbcd(borrowed(corpus::request()))]
fn decode_borrowed(octets: Vec<u8>) -> Vec<u8> {
    black_box(corpus::borrowed(black_box(&octets)));
    octets
}

#[library_benchmark]
#[bench::rmp(rmp_borrowed(corpus::request()))]
fn decode_borrowed_rmp(octets: Vec<u8>) -> Vec<u8> {
    black_box(corpus::rmp_borrowed(black_box(&octets)));
    octets
}

library_benchmark_group!(name = writing, benchmarks = [encode]);
library_benchmark_group!(name = reading, benchmarks = [decode, decode_borrowed, decode_borrowed_rmp]);

main!(
    config = LibraryBenchmarkConfig::default()
        .tool(Callgrind::default().format([EventKind::Ir]))
        .output_format(OutputFormat::default().truncate_description(Some(40))),
    library_benchmark_groups = [writing, reading]
);
