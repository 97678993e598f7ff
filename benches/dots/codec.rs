//! Nanoseconds for the body of a mitigation request, beside minicbor's derive; for its CoAP message, beside coap-lite;
//! and for the way from a datagram to a request that is checked.
//!
//! `cargo bench -p watchfire-benches --bench dots_codec -- SECONDS` prints the table of `benches/README.md`.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

mod attack;
mod corpus;

use std::hint::black_box;
use std::time::Duration;

use corpus::Typed;
use dots_callhome::body::{Body, Direction};
use dots_callhome::wire::udp;
use dots_callhome::{MitigationRequest, Profile, Resource, resource};
use minicbor::{Decode, Encode};
use watchfire_benches::{Case, measure, seconds};

/// A case that does the same with the same octets, again and again.
fn each<T>(octets: &[u8], run: impl Fn(&[u8]) -> T + 'static) -> Case {
    let octets = octets.to_vec();
    Case::new(move |runs| {
        for _ in 0..runs {
            black_box(run(black_box(&octets)));
        }
    })
}

fn encode_ours(octets: &[u8]) -> Case {
    let body = corpus::body(octets);
    let out = std::cell::RefCell::new(Vec::with_capacity(256));
    Case::new(move |runs| {
        let mut out = out.borrow_mut();
        for _ in 0..runs {
            out.clear();
            black_box(&body).encode(&mut out);
            black_box(&*out);
        }
    })
}

fn encode_derived<P: Encode<()> + Decode<'static, ()> + 'static>(octets: &[u8]) -> Case {
    let octets: &'static [u8] = octets.to_vec().leak();
    let body = corpus::derived::<P>(octets);
    let out = std::cell::RefCell::new(Vec::with_capacity(256));
    Case::new(move |runs| {
        let mut out = out.borrow_mut();
        for _ in 0..runs {
            out.clear();
            minicbor::encode(black_box(&body), &mut *out).unwrap();
            black_box(&*out);
        }
    })
}

fn decode_derived(octets: &[u8]) -> Case {
    each(octets, |octets| black_box(corpus::derived::<&str>(octets)).mitigation_scope.scope.len())
}

/// What a server does with a datagram before it asks its policy.
fn validated(datagram: &[u8]) -> MitigationRequest {
    let message = udp::decode(datagram).unwrap().message;
    let Ok(Resource::Mitigate(path)) = resource(&message) else { panic!("no mitigation") };
    black_box(path);
    MitigationRequest::from_message(&message, Profile::Rfc9066).unwrap()
}

fn main() {
    let (call_home, base) = (attack::unhex(attack::CALL_HOME), attack::unhex(corpus::BASE));
    let datagram = corpus::datagram(&call_home);
    for octets in [&call_home, &base] {
        assert_eq!(corpus::body(octets).to_vec(), *octets);
        assert_eq!(minicbor::to_vec(corpus::derived::<Typed>(octets)).unwrap(), *octets);
        assert_eq!(minicbor::to_vec(corpus::derived::<&str>(octets)).unwrap(), *octets);
    }
    assert_eq!(coap_lite::Packet::from_bytes(&datagram).unwrap().payload, call_home);
    assert_eq!(validated(&datagram).targets().len(), 1);

    let decode = |octets: &[u8]| Body::decode(octets, Direction::Request).unwrap();
    let typed = |octets: &[u8]| corpus::derived::<Typed>(octets);
    let (borrowed, owned) =
        ("minicbor derive, prefixes stay texts", "minicbor derive, prefixes by the standard library");
    let parsed = |octets: &[u8]| udp::decode(octets).map(|read| read.message.payload.len());
    let coap_lite = |octets: &[u8]| coap_lite::Packet::from_bytes(octets).unwrap();
    // What, octets, ours, who else, the aim.
    let mut rows = [
        (
            "read the body of RFC 9066 figure 10, typed and checked",
            &call_home,
            each(&call_home, decode),
            vec![(borrowed, decode_derived(&call_home)), (owned, each(&call_home, typed))],
            "1.1",
        ),
        (
            "read the body of RFC 9132 figure 8",
            &base,
            each(&base, decode),
            vec![(borrowed, decode_derived(&base)), (owned, each(&base, typed))],
            "1.1",
        ),
        (
            "write the body of figure 10",
            &call_home,
            encode_ours(&call_home),
            vec![(borrowed, encode_derived::<&str>(&call_home)), (owned, encode_derived::<Typed>(&call_home))],
            "1.1",
        ),
        (
            "write the body of figure 8",
            &base,
            encode_ours(&base),
            vec![(borrowed, encode_derived::<&str>(&base)), (owned, encode_derived::<Typed>(&base))],
            "1.1",
        ),
        (
            "read the CoAP message of figure 10",
            &datagram,
            each(&datagram, parsed),
            vec![("coap-lite", each(&datagram, coap_lite))],
            "0.3",
        ),
        ("datagram of figure 10 to a checked request", &datagram, each(&datagram, validated), vec![], "500 ns"),
    ];
    let cases = rows
        .iter_mut()
        .flat_map(|(_, _, ours, others, _)| std::iter::once(ours).chain(others.iter_mut().map(|(_, case)| case)));
    measure(cases, Duration::from_secs(seconds(10)));
    println!("| what | octets | ns, best | median | beside it | ns, best | median | ratio of the best | aim |");
    println!("| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: |");
    for (name, octets, ours, others, aim) in &rows {
        let start = format!("| {name} | {} | {:.0} | {:.0} |", octets.len(), ours.least(), ours.median());
        if others.is_empty() {
            println!("{start} | | | | {aim} |");
        }
        for (other, case) in others {
            let ratio = ours.least() / case.least();
            println!("{start} {other} | {:.0} | {:.0} | {ratio:.2} | {aim} |", case.least(), case.median());
        }
    }
}
