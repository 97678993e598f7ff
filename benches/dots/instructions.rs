//! Instructions that reading and writing a mitigation request takes, beside minicbor's derive and coap-lite, counted by
//! valgrind.
//!
//! `cargo bench -p watchfire-benches --bench dots_instructions` prints them; `benches/README.md` holds the last table.
//! Each function is called once before it is counted.
#![allow(missing_docs, reason = "the macros make items without documentation")]
#![allow(unused_qualifications, clippy::exhaustive_structs, clippy::exhaustive_enums, reason = "as above")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

mod attack;
mod corpus;

use std::hint::black_box;

use dots_callhome::body::Body;
use dots_callhome::wire::udp;
use dots_callhome::{MitigationRequest, Profile, Resource, resource};
use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig, OutputFormat};

use corpus::{Derived, Typed};

/// RFC 9066 figure 10.
fn call_home() -> Vec<u8> {
    attack::unhex(attack::CALL_HOME)
}

/// RFC 9132 figure 8.
fn base() -> Vec<u8> {
    attack::unhex(corpus::BASE)
}

fn read_ours(octets: &[u8]) -> Body {
    corpus::body(octets)
}

fn read_texts(octets: &[u8]) -> usize {
    black_box(corpus::derived::<&str>(octets)).mitigation_scope.scope.len()
}

fn read_typed(octets: &[u8]) -> Derived<Typed> {
    corpus::derived(octets)
}

/// Called before it is counted.
fn warm<T>(octets: Vec<u8>, call: impl Fn(&[u8]) -> T) -> Vec<u8> {
    black_box(call(&octets));
    octets
}

#[library_benchmark]
#[bench::call_home(warm(call_home(), read_ours))]
#[bench::base(warm(base(), read_ours))]
fn decode(octets: Vec<u8>) -> (Vec<u8>, Body) {
    let body = read_ours(black_box(&octets));
    (octets, body)
}

#[library_benchmark]
#[bench::call_home(warm(call_home(), read_texts))]
#[bench::base(warm(base(), read_texts))]
fn decode_minicbor(octets: Vec<u8>) -> (Vec<u8>, usize) {
    let count = read_texts(black_box(&octets));
    (octets, count)
}

#[library_benchmark]
#[bench::call_home(warm(call_home(), read_typed))]
#[bench::base(warm(base(), read_typed))]
fn decode_minicbor_typed(octets: Vec<u8>) -> (Vec<u8>, Derived<Typed>) {
    let body = read_typed(black_box(&octets));
    (octets, body)
}

/// The value, and a vector that need not grow.
fn to_write<T>(value: T, write: impl Fn(&T, &mut Vec<u8>)) -> (T, Vec<u8>) {
    let mut out = Vec::with_capacity(256);
    write(&value, &mut out);
    out.clear();
    (value, out)
}

fn write_ours(body: &Body, out: &mut Vec<u8>) {
    body.encode(out);
}

fn write_texts(body: &Derived<&'static str>, out: &mut Vec<u8>) {
    minicbor::encode(body, out).unwrap();
}

fn write_typed(body: &Derived<Typed>, out: &mut Vec<u8>) {
    minicbor::encode(body, out).unwrap();
}

fn texts(octets: Vec<u8>) -> Derived<&'static str> {
    corpus::derived(octets.leak())
}

#[library_benchmark]
#[bench::call_home(to_write(read_ours(&call_home()), write_ours))]
#[bench::base(to_write(read_ours(&base()), write_ours))]
fn encode((body, mut out): (Body, Vec<u8>)) -> (Body, Vec<u8>) {
    write_ours(black_box(&body), &mut out);
    (body, out)
}

#[library_benchmark]
#[bench::call_home(to_write(texts(call_home()), write_texts))]
#[bench::base(to_write(texts(base()), write_texts))]
fn encode_minicbor((body, mut out): (Derived<&'static str>, Vec<u8>)) -> (Derived<&'static str>, Vec<u8>) {
    write_texts(black_box(&body), &mut out);
    (body, out)
}

#[library_benchmark]
#[bench::call_home(to_write(read_typed(&call_home()), write_typed))]
#[bench::base(to_write(read_typed(&base()), write_typed))]
fn encode_minicbor_typed((body, mut out): (Derived<Typed>, Vec<u8>)) -> (Derived<Typed>, Vec<u8>) {
    write_typed(black_box(&body), &mut out);
    (body, out)
}

fn message_ours(datagram: &[u8]) -> usize {
    udp::decode(datagram).unwrap().message.payload.len()
}

fn message_theirs(datagram: &[u8]) -> coap_lite::Packet {
    coap_lite::Packet::from_bytes(datagram).unwrap()
}

/// What a server does with a datagram before it asks its policy.
fn checked(datagram: &[u8]) -> MitigationRequest {
    let message = udp::decode(datagram).unwrap().message;
    let Ok(Resource::Mitigate(path)) = resource(&message) else { panic!("no mitigation") };
    black_box(path);
    MitigationRequest::from_message(&message, Profile::Rfc9066).unwrap()
}

#[library_benchmark]
#[bench::call_home(warm(corpus::datagram(&call_home()), message_ours))]
fn message(datagram: Vec<u8>) -> (Vec<u8>, usize) {
    let length = message_ours(black_box(&datagram));
    (datagram, length)
}

#[library_benchmark]
#[bench::call_home(warm(corpus::datagram(&call_home()), message_theirs))]
fn message_coap_lite(datagram: Vec<u8>) -> (Vec<u8>, coap_lite::Packet) {
    let packet = message_theirs(black_box(&datagram));
    (datagram, packet)
}

#[library_benchmark]
#[bench::call_home(warm(corpus::datagram(&call_home()), checked))]
fn request(datagram: Vec<u8>) -> (Vec<u8>, MitigationRequest) {
    let request = checked(black_box(&datagram));
    (datagram, request)
}

library_benchmark_group!(name = reading, benchmarks = [decode, decode_minicbor, decode_minicbor_typed]);
library_benchmark_group!(name = writing, benchmarks = [encode, encode_minicbor, encode_minicbor_typed]);
library_benchmark_group!(name = messages, benchmarks = [message, message_coap_lite, request]);

main!(
    config = LibraryBenchmarkConfig::default()
        .tool(Callgrind::default().format([EventKind::Ir]))
        .output_format(OutputFormat::default().truncate_description(Some(40))),
    library_benchmark_groups = [reading, writing, messages]
);
