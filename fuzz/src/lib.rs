//! Bodies of the fuzz targets. Each is a function of octets that panics when something is wrong, so that a fuzzer, a
//! test and a debugger run the same.
#![forbid(unsafe_code)]

pub mod eve_json;
pub mod iap_decode;
pub mod iap_pair;
pub mod iap_session;
pub mod idmef_xml;

/// A fuzz target.
pub type Target = fn(&[u8]);

/// Every target and its name, which is that of its folders of seeds and regressions.
pub const TARGETS: [(&str, Target); 5] = [
    ("iap_decode", iap_decode::run),
    ("iap_session", iap_session::run),
    ("iap_pair", iap_pair::run),
    ("idmef_xml", idmef_xml::run),
    ("eve_json", eve_json::run),
];
