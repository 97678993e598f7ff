//! DNSBL: reputation over the DNS, as mail servers have asked for it for decades.
//! [RFC 5782](https://www.rfc-editor.org/rfc/rfc5782)
//!
//! Just as much of the DNS as a list needs: a query with one question is read, and its answer is written behind it. Names
//! and addresses are looked up by the caller; [`Responder::respond`] is a function of octets and of what he finds.

mod name;
mod question;
mod responder;
mod zone;

pub use question::{Edns, Key, Question, Unanswerable};
pub use responder::{Listing, Outcome, Responder, Transport};
pub use zone::{InvalidZone, Zone};

use std::net::IpAddr;

use name::Labels;

/// The name to ask a list for: the address backwards, or the name, in front of the zone.
/// [RFC 5782 sections 2.1 and 2.4](https://www.rfc-editor.org/rfc/rfc5782#section-2.1)
///
/// ```
/// use repute_proto::dnsbl::query_name;
/// assert_eq!(query_name("192.0.2.99", "bad.example.net"), "99.2.0.192.bad.example.net");
/// assert_eq!(query_name("example.org", "bad.example.net."), "example.org.bad.example.net");
/// ```
pub fn query_name(subject: &str, zone: &str) -> String {
    let zone = zone.trim_end_matches('.');
    match subject.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.{zone}")
        }
        Ok(IpAddr::V6(address)) => {
            let mut name = String::with_capacity(zone.len().saturating_add(64));
            for octet in address.octets().iter().rev() {
                for nibble in [octet & 0xf, octet >> 4] {
                    name.extend(char::from_digit(nibble.into(), 16));
                    name.push('.');
                }
            }
            name + zone
        }
        Err(_) => format!("{}.{zone}", subject.trim_end_matches('.')),
    }
}
