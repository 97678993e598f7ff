//! IDMEF-Message and Heartbeat. [RFC 4765 sections 4.2.1 and 4.2.3](https://www.rfc-editor.org/rfc/rfc4765#section-4.2.1)

use super::{AdditionalData, Alert, Analyzer};
use crate::error::{DecodeError, EncodeError};
use crate::types::{Ident, Integer, Time};
use crate::xml::{Decoder, Encoder, class};

/// A document: alerts and heartbeats in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// The language of the texts, as xml:lang of the root says it: letters, digits and hyphens. Anything else is
    /// neither read nor written.
    pub lang: Option<String>,
    /// The alerts and heartbeats.
    pub items: Vec<Item>,
}

/// One member of a [`Message`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the DTD of version 1.0 knows these two")]
pub enum Item {
    /// Something was detected.
    Alert(Box<Alert>),
    /// The analyzer lives.
    Heartbeat(Box<Heartbeat>),
}

impl Message {
    /// Reads a document leniently, within the default [`Limits`](crate::Limits); see [`Decoder`] for other ways.
    ///
    /// # Errors
    ///
    /// Octets that are not an IDMEF document, that hold a document type declaration, or that go beyond a limit.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        Decoder::new().decode(octets)
    }

    /// Writes a document in UTF-8 with default namespace and XML declaration; see [`Encoder`] for other ways.
    ///
    /// Text is never an error: a character that XML 1.0 forbids (control characters but tab and line ends, U+FFFE,
    /// U+FFFF) is written as U+FFFD. So whatever a hostile sender brings into a signature, a host name or a URL, the
    /// message can be sent and read.
    ///
    /// # Errors
    ///
    /// A class that the DTD does not allow, such as a `Node` with neither name nor address; see [`EncodeError`].
    pub fn encode(&self) -> Result<String, EncodeError> {
        Encoder::new().encode(self)
    }

    /// The alerts.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.items.iter().filter_map(|item| match item {
            Item::Alert(alert) => Some(&**alert),
            Item::Heartbeat(_) => None,
        })
    }

    /// The heartbeats.
    pub fn heartbeats(&self) -> impl Iterator<Item = &Heartbeat> {
        self.items.iter().filter_map(|item| match item {
            Item::Heartbeat(heartbeat) => Some(&**heartbeat),
            Item::Alert(_) => None,
        })
    }
}

impl From<Alert> for Message {
    fn from(alert: Alert) -> Self {
        Self { lang: None, items: vec![Item::Alert(Box::new(alert))] }
    }
}

impl From<Heartbeat> for Message {
    fn from(heartbeat: Heartbeat) -> Self {
        Self { lang: None, items: vec![Item::Heartbeat(Box::new(heartbeat))] }
    }
}

impl Item {
    /// The identifier of the alert or heartbeat.
    pub fn messageid(&self) -> &Ident {
        match self {
            Self::Alert(alert) => &alert.messageid,
            Self::Heartbeat(heartbeat) => &heartbeat.messageid,
        }
    }

    /// Who sent it: the outermost analyzer.
    pub fn analyzer(&self) -> &Analyzer {
        match self {
            Self::Alert(alert) => &alert.analyzer,
            Self::Heartbeat(heartbeat) => &heartbeat.analyzer,
        }
    }

    /// When it was made.
    pub fn create_time(&self) -> &Time {
        match self {
            Self::Alert(alert) => &alert.create_time,
            Self::Heartbeat(heartbeat) => &heartbeat.create_time,
        }
    }
}

/// A sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Unique among the messages of the analyzer.
    pub messageid: Ident,
    /// The analyzer that lives; nested, the ones behind it.
    pub analyzer: Analyzer,
    /// When the heartbeat was made.
    pub create_time: Time,
    /// Seconds from one heartbeat to the next.
    pub heartbeat_interval: Option<Integer>,
    /// What time it is on the analyzer.
    pub analyzer_time: Option<Time>,
    /// Anything else.
    pub additional_data: Vec<AdditionalData>,
}

impl Heartbeat {
    /// A heartbeat with nothing but what must be there.
    pub fn new(analyzer: Analyzer, create_time: impl Into<Time>) -> Self {
        Self {
            messageid: Ident::default(),
            analyzer,
            create_time: create_time.into(),
            heartbeat_interval: None,
            analyzer_time: None,
            additional_data: Vec::new(),
        }
    }
}

class! {
    Heartbeat {
        attributes { "messageid" => messageid }
        elements {
            "Analyzer" => analyzer,
            "CreateTime" => create_time,
            "HeartbeatInterval" => heartbeat_interval,
            "AnalyzerTime" => analyzer_time,
            "AdditionalData" => additional_data,
        }
    }
}
