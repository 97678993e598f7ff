//! Bodies of the fuzz targets. Each is a function of octets that panics when something is wrong, so that a fuzzer, a
//! test and a debugger run the same.
#![forbid(unsafe_code)]

pub mod dnsbl_query;
pub mod dots;
pub mod eve_json;
pub mod iap_decode;
pub mod iap_pair;
pub mod iap_session;
pub mod idmef_xml;
pub mod jsonb_decode;
pub mod jsonc_tables;
pub mod lurk;
pub mod obp_message;
pub mod obp_session;
pub mod repute_session;
pub mod reputon_json;
pub mod reputon_xml;
pub mod session_header;
pub mod template;
pub mod uyfm_datagram;

/// A fuzz target.
pub type Target = fn(&[u8]);

/// Every target and its name, which is that of its folders of seeds and regressions.
pub const TARGETS: [(&str, Target); 31] = [
    ("iap_decode", iap_decode::run),
    ("iap_session", iap_session::run),
    ("iap_pair", iap_pair::run),
    ("idmef_xml", idmef_xml::run),
    ("eve_json", eve_json::run),
    ("jsonb_decode", jsonb_decode::run),
    ("jsonc_tables", jsonc_tables::run),
    ("obp_message", obp_message::run),
    ("obp_session", obp_session::run),
    ("session_header", session_header::run),
    ("uyfm_datagram", uyfm_datagram::run),
    ("reputon_json", reputon_json::run),
    ("reputon_xml", reputon_xml::run),
    ("template", template::run),
    ("repute_session", repute_session::run),
    ("dnsbl_query", dnsbl_query::run),
    ("coap_udp", dots::coap::udp),
    ("coap_tcp", dots::coap::tcp),
    ("dots_cbor", dots::body::cbor),
    ("dots_json", dots::body::json),
    ("dots_hello", dots::hello::run),
    ("dots_session", dots::session::run),
    ("dots_pair", dots::pair::run),
    ("jws", lurk::jws::run),
    ("order_json", lurk::message::run),
    ("csr_template", lurk::csr::template),
    ("csr_check", lurk::csr::check),
    ("star_schedule", lurk::star::run),
    ("ca_session", lurk::ca::run),
    ("relay_query", lurk::relay::run),
    ("ido_session", lurk::ido::run),
];

/// Many inputs as one file: each behind its length, two octets.
pub fn pack(inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut packed = Vec::new();
    for input in inputs {
        let len = u16::try_from(input.len()).expect("inputs are shorter than 64 KiB");
        packed.extend_from_slice(&len.to_be_bytes());
        packed.extend_from_slice(input);
    }
    packed
}

/// The inputs that were packed.
pub fn unpack(mut packed: &[u8]) -> Vec<&[u8]> {
    let mut inputs = Vec::new();
    while let Some((len, rest)) = packed.split_first_chunk() {
        let (input, rest) = rest.split_at(usize::from(u16::from_be_bytes(*len)));
        inputs.push(input);
        packed = rest;
    }
    inputs
}
