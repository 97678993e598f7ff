//! Instructions that IAP and IDMEF take, counted by valgrind: the same on a busy machine and on an idle one.
//!
//! `cargo bench -p watchfire-benches --bench iap_instructions` prints them; `benches/README.md` holds the last table
//! and says what each peer does less of. Each function is called once before it is counted, so that what is looked up
//! once in a process (which vector instructions there are) is not counted as its own.
#![allow(missing_docs, reason = "the macros make items without documentation")]
#![allow(unused_qualifications, clippy::exhaustive_structs, clippy::exhaustive_enums, reason = "as above")]

mod corpus;

use std::hint::black_box;

use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig, OutputFormat};
use iap_proto::message::{Connect, ContentHeader, Response, SetupRequest};
use iap_proto::{MediaType, Receiver, ReceiverEvent, Sender, Status};
use idmef::Message;
use idmef::eve::Converter;
use watchfire_core::{Machine as _, Output, StreamMachine as _};

use corpus::{NOW, warm};

// --- the header of content -----------------------------------------------------------------------------------------

#[library_benchmark(setup = warm::content_header)]
#[bench::canonical(corpus::content())]
#[bench::reordered(corpus::content_reordered())]
fn content_header(octets: Vec<u8>) -> (Vec<u8>, ContentHeader) {
    let (header, _) = ContentHeader::decode(black_box(&octets)).expect("a header");
    (octets, header)
}

#[library_benchmark(setup = warm::httparse)]
#[bench::canonical(corpus::content())]
#[bench::reordered(corpus::content_reordered())]
fn httparse_headers(octets: Vec<u8>) -> (Vec<u8>, usize) {
    let mut headers = [httparse::EMPTY_HEADER; 4];
    let read = black_box(httparse::parse_headers(black_box(&octets), &mut headers));
    let Ok(httparse::Status::Complete((len, headers))) = read else { panic!("headers") };
    black_box(headers);
    (octets, len)
}

#[library_benchmark(setup = corpus::header_and_buffer)]
#[bench::canonical(860)]
fn content_header_encode((header, mut out): (ContentHeader, Vec<u8>)) -> (ContentHeader, Vec<u8>) {
    black_box(&header).encode(iap_proto::Dialect::V0_3, &mut out);
    (header, out)
}

// --- setup messages --------------------------------------------------------------------------------------------------

#[library_benchmark(setup = warm::setup_request)]
#[bench::connect(corpus::connect(0))]
#[bench::connect_two_via(corpus::connect(2))]
fn setup_request_decode(octets: Vec<u8>) -> (Vec<u8>, SetupRequest) {
    let (request, _) = SetupRequest::decode(black_box(&octets)).expect("a request");
    (octets, request)
}

#[library_benchmark(setup = corpus::connect_and_buffer)]
#[bench::connect(0)]
#[bench::connect_two_via(2)]
fn setup_request_encode((connect, mut out): (Connect, Vec<u8>)) -> (Connect, Vec<u8>) {
    black_box(&connect).encode(&mut out);
    (connect, out)
}

#[library_benchmark(setup = warm::response)]
#[bench::ok(corpus::response(0))]
#[bench::ok_two_via(corpus::response(2))]
fn response_decode(octets: Vec<u8>) -> (Vec<u8>, Response) {
    let (response, _) = Response::decode(black_box(&octets)).expect("a response");
    (octets, response)
}

#[library_benchmark(setup = corpus::response_and_buffer)]
#[bench::ok(0)]
#[bench::ok_two_via(2)]
fn response_encode((response, mut out): (Response, Vec<u8>)) -> (Response, Vec<u8>) {
    black_box(&response).encode(&mut out);
    (response, out)
}

// --- the data phase --------------------------------------------------------------------------------------------------

// One read with so many contents; every one of them is answered 200, and the answers are taken.
#[library_benchmark(setup = corpus::receiver_and_input)]
#[bench::contents_64(64)]
#[bench::contents_1(1)]
fn receiver((mut receiver, input): (Receiver, Vec<u8>)) -> (Receiver, Vec<u8>, Vec<ReceiverEvent>, usize) {
    let mut events = Vec::with_capacity(64);
    let mut answers = 0;
    receiver.handle_input(NOW, black_box(&input)).expect("contents");
    loop {
        match receiver.poll_output(NOW) {
            Output::Event(event) => {
                if let ReceiverEvent::Content { id, .. } = &event {
                    receiver.respond(NOW, *id, Status::OK).expect("it was handed out");
                }
                events.push(event);
            }
            Output::Transmit(octets) => answers += octets.len(),
            Output::Timeout(_) => return (receiver, input, events, answers),
        }
    }
}

// So many alerts sent in one write, and their answers in one read.
#[library_benchmark(setup = corpus::sender_and_answers)]
#[bench::alerts_64(64)]
#[bench::alerts_1(1)]
fn sender((mut sender, body, answers, count): (Sender, Vec<u8>, Vec<u8>, usize)) -> (Sender, Vec<u8>, Vec<u8>, usize) {
    let mut said = 0;
    for _ in 0..count {
        sender.send_alert(NOW, &MediaType::IDEF_ALERT, black_box(&body)).expect("the window is open");
    }
    while let Output::Transmit(octets) = sender.poll_output(NOW) {
        said += octets.len();
    }
    sender.handle_input(NOW, black_box(&answers)).expect("answers");
    while let Output::Event(event) = sender.poll_output(NOW) {
        black_box(event);
    }
    (sender, body, answers, said)
}

// --- IDMEF -----------------------------------------------------------------------------------------------------------

#[library_benchmark(setup = warm::idmef)]
#[bench::alert_860(corpus::alert())]
#[bench::rfc_phf(corpus::rfc_phf())]
fn idmef_decode(octets: Vec<u8>) -> (Vec<u8>, Message) {
    let message = Message::decode(black_box(&octets)).expect("a message");
    (octets, message)
}

// The floor: events and nothing else, no attributes, no text.
#[library_benchmark(setup = warm::quick_xml)]
#[bench::alert_860(corpus::alert())]
#[bench::rfc_phf(corpus::rfc_phf())]
fn quick_xml_events(octets: Vec<u8>) -> (Vec<u8>, usize) {
    let events = corpus::events(black_box(&octets));
    (octets, events)
}

#[library_benchmark(setup = warm::message)]
#[bench::alert_860(corpus::alert())]
#[bench::rfc_phf(corpus::rfc_phf())]
fn idmef_encode(message: Message) -> (Message, String) {
    let xml = black_box(&message).encode().expect("a message that can be written");
    (message, xml)
}

// --- EVE -------------------------------------------------------------------------------------------------------------

#[library_benchmark(setup = warm::eve)]
#[bench::with_line(Converter::suricata("sensor-01"))]
#[bench::without_line(Converter::suricata("sensor-01").without_eve())]
fn eve_to_idmef_xml((converter, line): (Converter, Vec<u8>)) -> (Converter, Vec<u8>, String) {
    let message = converter.convert(black_box(&line)).expect("a line").expect("an alert");
    let xml = message.encode().expect("a message that can be written");
    (converter, line, xml)
}

library_benchmark_group!(name = header, benchmarks = [content_header, httparse_headers, content_header_encode]);
library_benchmark_group!(
    name = setup,
    benchmarks = [setup_request_decode, setup_request_encode, response_decode, response_encode]
);
library_benchmark_group!(name = data, benchmarks = [receiver, sender]);
library_benchmark_group!(name = xml, benchmarks = [idmef_decode, quick_xml_events, idmef_encode]);
library_benchmark_group!(name = eve, benchmarks = [eve_to_idmef_xml]);

main!(
    config = LibraryBenchmarkConfig::default()
        .tool(Callgrind::default().format([EventKind::Ir]))
        .output_format(OutputFormat::default().truncate_description(Some(40))),
    library_benchmark_groups = [header, setup, data, xml, eve]
);
