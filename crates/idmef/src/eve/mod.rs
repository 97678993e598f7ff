//! Suricata EVE alert lines to IDMEF.
//!
//! ```
//! # #[cfg(feature = "eve")] {
//! use idmef::eve::Converter;
//!
//! let converter = Converter::suricata("sensor-01").without_eve();
//! let line = br#"{"timestamp":"2023-11-14T22:13:20.006999+0000","event_type":"alert","src_ip":"192.0.2.50",
//!     "src_port":40001,"dest_ip":"198.51.100.10","dest_port":80,"proto":"TCP","alert":{"action":"allowed","gid":1,
//!     "signature_id":1000001,"rev":3,"signature":"phf attempt","category":"Web Application Attack","severity":1}}"#;
//! let message = converter.convert(line)?.expect("an alert");
//! assert!(message.encode()?.contains("<Classification text=\"phf attempt\" ident=\"1:1000001\"/>"));
//! assert_eq!(converter.convert(br#"{"event_type":"flow"}"#)?, None);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Who is the source
//!
//! Suricata's `src_ip` is the sender of the packet that matched. When a rule matches an answer of a server
//! (`direction` is `to_client`), that is the server, often the victim. Which side attacked, only the rule's author
//! knows; if the rule has a `target` keyword, EVE repeats it (`alert.source`, `alert.target`), and these are taken.
//! Otherwise [`Sense::Packet`], the default, keeps what Suricata says, and [`Sense::Initiator`] makes the side that
//! opened the flow the source. `direction` is kept in either case.
//!
//! # What becomes of the members
//!
//! | EVE | IDMEF |
//! | --- | --- |
//! | `timestamp` | CreateTime and DetectTime, in UTC |
//! | `src_ip`, `src_port`, `dest_ip`, `dest_port`, `proto` | Node and Service of Source and Target; addresses in canonical form |
//! | `in_iface` | `interface` of Source and Target |
//! | `vlan` | `vlan-num` of the addresses (the outermost) |
//! | `app_proto` | `protocol` of the service on the server's side |
//! | `http.hostname`, `url`, `http_method` | WebService on the server's side: URL, script, arguments, method |
//! | `files` | File of the Target, with sizes and checksums |
//! | `alert.signature`, `gid`, `signature_id` | `text` and `ident` of the Classification |
//! | `alert.metadata.cve`, CVE numbers in the signature, `alert.references` | Reference |
//! | `alert.severity` 1, 2, 3, 4 and more | severity of the Impact: high, medium, low, info |
//! | `alert.category` | text and type of the Impact; `Successful ...` also its completion |
//! | `alert.action` `blocked`, `verdict.action` `drop` or `reject` | Action `block-installed`; completion `failed` |
//! | `payload`, `packet` | AdditionalData, byte-string |
//! | all else, and `http`, `files`, `app_proto`, `in_iface`, `vlan` once more | AdditionalData whose meaning is the path of the member: `tls.sni`, `flow.start`, `metadata.flowbits` |
//! | the whole line | AdditionalData `eve`, byte-string |
//!
//! `messageid` is a UUID (version 8) made from the time of the event and the SHA-256 of analyzerid, timestamp, flow_id, addresses, ports,
//! protocol, gid, signature_id, rev, pcap_cnt and tx_id: the same line read again gives the same identifier.
//!
//! # Limits
//!
//! A line may have 1 MiB ([`Converter::with_max_line`]); `serde_json` bounds its depth to 128. Of a member given
//! twice the last counts, but `event_type` must not be given twice. However the line is made, the message is within
//! the default [`Limits`](crate::Limits) of a reader: texts are cut at 8 KiB, binary data of more than 47 KiB and
//! members beyond 128 or 64 KiB in all are left out, and AdditionalData `omitted` names what was.

mod category;
mod error;
mod line;
mod map;

pub use error::{EveError, EveErrorKind};

use crate::model::{Analyzer, Message};
use line::Line;

/// Which side of a connection becomes the Source, when the rule does not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Sense {
    /// The sender of the packet that matched, as in EVE.
    #[default]
    Packet,
    /// The side that opened the flow.
    Initiator,
}

/// Turns lines into messages; made once, used for every line.
#[derive(Debug, Clone)]
pub struct Converter {
    analyzer: Analyzer,
    include_eve: bool,
    sense: Sense,
    max_line: usize,
}

impl Converter {
    /// Of alerts of this analyzer.
    pub fn new(analyzer: Analyzer) -> Self {
        Self { analyzer, include_eve: true, sense: Sense::Packet, max_line: 1 << 20 }
    }

    /// Of alerts of a Suricata that has nothing to be said of but its analyzerid.
    pub fn suricata(analyzerid: &str) -> Self {
        Self::new(Analyzer {
            analyzerid: analyzerid.into(),
            name: Some("suricata".to_owned()),
            manufacturer: Some("OISF".to_owned()),
            model: Some("Suricata".to_owned()),
            class: Some("NIDS".to_owned()),
            ..Analyzer::default()
        })
    }

    /// Leaves out the line itself.
    pub fn without_eve(mut self) -> Self {
        self.include_eve = false;
        self
    }

    /// Says which side becomes the Source.
    pub fn with_sense(mut self, sense: Sense) -> Self {
        self.sense = sense;
        self
    }

    /// Accepts lines of at most `octets`.
    pub fn with_max_line(mut self, octets: usize) -> Self {
        self.max_line = octets;
        self
    }

    /// The message of an alert line; `None` for a line of another event type.
    ///
    /// # Errors
    ///
    /// A line that is too long, is not a JSON object, has no `event_type`, or is an alert without `alert` or without
    /// a `timestamp` that is one. Whatever else is wrong in an alert is kept as it is or left out.
    pub fn convert(&self, line: &[u8]) -> Result<Option<Message>, EveError> {
        let Some(line) = Line::read(line, self.max_line)? else {
            return Ok(None);
        };
        map::alert(self, &line).map(|alert| Some(Message { lang: Some("en".to_owned()), ..alert.into() }))
    }
}
