//! IDMEF: intrusion alerts and heartbeats as [RFC 4765](https://www.rfc-editor.org/rfc/rfc4765) has them.
//!
//! The whole model as typed data, a bounded XML reader, and a writer whose documents follow the RFC's DTD whatever
//! text they carry. With features: one JSON object per message, Suricata's EVE in, IDMEFv2 out. No IO, no clock, no
//! threads; the transport is somebody else's, for example IAP's.
//!
//! ```
//! use idmef::{Alert, Analyzer, Classification, DateTime, Impact, Message, Node, Severity, Source};
//! use std::net::Ipv4Addr;
//!
//! let analyzer = Analyzer { analyzerid: "hq-dmz-analyzer01".into(), ..Default::default() };
//! let time: DateTime = "2000-03-09T10:01:25.93464-05:00".parse()?;
//! let mut alert = Alert::new(analyzer, time, Classification::from("Teardrop <detected>"));
//! alert.messageid = "abc123456789".into();
//! alert.source.push(Source { node: Some(Node::from(std::net::IpAddr::from(Ipv4Addr::new(192, 0, 2, 50)))), ..Default::default() });
//! alert.assessment = Some(idmef::Assessment {
//!     impact: Some(Impact { severity: Some(Severity::High), ..Default::default() }),
//!     ..Default::default()
//! });
//!
//! let xml = Message::from(alert).encode()?;
//! assert!(xml.contains("<CreateTime ntpstamp=\"0xbc723b45.0xef449129\">2000-03-09T10:01:25.93464-05:00</CreateTime>"));
//! assert!(xml.contains("<Classification text=\"Teardrop &lt;detected&gt;\"/>"));
//!
//! let message = Message::decode(xml.as_bytes())?;
//! for alert in message.alerts() {
//!     println!("{} {} {}", alert.analyzer.analyzerid, alert.messageid, alert.classification.text);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Promises
//!
//! 1. What is written is read back equal, also by a strict reader with default [`Limits`] as far as it fits them.
//! 2. Text cannot break a document: see [`Message::encode`] for what becomes of characters that XML forbids.
//! 3. No input makes a reader panic, recurse without a limit, or take more memory than a small multiple of the
//!    document. Document type declarations and entities are refused, always.
//! 4. An error says what, in which class, and at which octet of the input.
//! 5. Words that enumerations do not know survive; unknown elements and attributes are passed over (or, strictly,
//!    refused).
//!
//! # Limits
//!
//! | [`Limits`] | default | of |
//! | --- | --- | --- |
//! | `size` | 1 MiB | the document as received, padding included |
//! | `depth` | 32 | elements inside one another; the writer has the same |
//! | `attributes` | 64 | one element |
//! | `elements` | 16384 | the document |
//! | `text` | 64 KiB | the text of an element, an attribute value, the content of an `xmltext` |
//!
//! # Where the RFC contradicts itself
//!
//! | | contradiction | written | read |
//! | --- | --- | --- | --- |
//! | a | figure 2 and the DTD order the children of Alert differently | the DTD's order | any order; strictly the DTD's |
//! | b | example 7.3.3 has `permission`, the DTD `Permission` | `Permission` | both; strictly `Permission` |
//! | c | section 5.2 and example 7.8 have `xml`, the DTD `xmltext` | `xmltext` | both; strictly `xmltext` |
//! | d | drafts put text into AdditionalData without an element around it | the element | both; strictly the element |
//! | e | Service is `name` or `port` in the prose, both in either order in the DTD | `name`, `port` | either order |
//! | f | Confidence is `numeric` by default, also when empty | empty | an absent value |
//! | g | the DTD fixes `xmlns`, the examples use a prefix | default namespace; [`Encoder::prefixed`] | any prefix; leniently no namespace |
//! | h | `analyzerid` is optional, but required by identifiers | as given | [`lint`] tells |
//! | i | REAL may have a comma, DATETIME hour 24 | neither | both |
//! | j | example 7.8 has attributes that the DTD lacks | none | passed over |
//!
//! # Features
//!
//! | feature | what |
//! | --- | --- |
//! | `serde` | `Serialize` and `Deserialize` for all of the model, by the shape that the module `json` tells |
//! | `eve` | the module `eve`: Suricata EVE alert lines to messages |
//! | `v2` | the module `v2`: IDMEFv2 (draft, revision 2.D.V08) out |
//!
//! # Not kept
//!
//! Comments, processing instructions, attributes that the DTD does not know, `xml:lang` other than the root's, white
//! space around text that is not marked by `xml:space`, the notation of numbers (`0x1F`, `62,50`), and fraction
//! digits of a second beyond the 18th.
//!
//! MSRV 1.88.

mod error;
#[cfg(feature = "eve")]
pub mod eve;
#[cfg(feature = "serde")]
pub mod json;
mod limits;
mod lint;
mod model;
mod types;
#[cfg(any(feature = "eve", feature = "v2"))]
mod uuid;
#[cfg(feature = "v2")]
pub mod v2;
mod xml;

pub use error::{DecodeError, DecodeErrorKind, EncodeError, InvalidMessage, PeerIncompatible};
pub use limits::{Limit, Limits};
pub use lint::{Warning, lint};
pub use model::*;
pub use types::{ByteString, DateTime, Ident, Integer, NtpStamp, ParseError, PortRange, Portlist, Real, Time, XmlText};
pub use xml::{Decoder, Encoder, NAMESPACE};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
