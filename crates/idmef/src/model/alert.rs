//! Alert and its three kinds. [RFC 4765 section 4.2.2](https://www.rfc-editor.org/rfc/rfc4765#section-4.2.2)

use super::{AdditionalData, Analyzer, Assessment, Classification, Source, Target};
use crate::types::{ByteString, Ident, Integer, Time};
use crate::xml::class;

/// Something was detected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Unique among the messages of the analyzer.
    pub messageid: Ident,
    /// The analyzer that sends the alert; nested, the ones that it had it from.
    pub analyzer: Analyzer,
    /// When the alert was made.
    pub create_time: Time,
    /// When the events were seen, if that was another time.
    pub detect_time: Option<Time>,
    /// What time it is on the analyzer, at sending.
    pub analyzer_time: Option<Time>,
    /// Where the events came from.
    pub source: Vec<Source>,
    /// What they were aimed at.
    pub target: Vec<Target>,
    /// What it was.
    pub classification: Classification,
    /// How bad it is.
    pub assessment: Option<Assessment>,
    /// More, for alerts of three kinds.
    pub kind: Option<AlertKind>,
    /// Anything else.
    pub additional_data: Vec<AdditionalData>,
}

impl Alert {
    /// An alert with nothing but what must be there.
    pub fn new(analyzer: Analyzer, create_time: impl Into<Time>, classification: Classification) -> Self {
        Self {
            messageid: Ident::default(),
            analyzer,
            create_time: create_time.into(),
            detect_time: None,
            analyzer_time: None,
            source: Vec::new(),
            target: Vec::new(),
            classification,
            assessment: None,
            kind: None,
            additional_data: Vec::new(),
        }
    }
}

class! {
    Alert {
        attributes { "messageid" => messageid }
        elements {
            "Analyzer" => analyzer,
            "CreateTime" => create_time,
            "DetectTime" => detect_time,
            "AnalyzerTime" => analyzer_time,
            "Source" => source,
            "Target" => target,
            "Classification" => classification,
            "Assessment" => assessment,
        }
        choice kind: AlertKind {
            "ToolAlert" => Tool,
            "OverflowAlert" => Overflow,
            "CorrelationAlert" => Correlation,
        }
        then { "AdditionalData" => additional_data }
    }
}

/// What an alert is about, when it is one of three things.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the DTD of version 1.0 knows these three")]
pub enum AlertKind {
    /// The use of an attack tool or of a malicious program.
    Tool(ToolAlert),
    /// A buffer overflow.
    Overflow(OverflowAlert),
    /// The correlation of earlier alerts.
    Correlation(CorrelationAlert),
}

/// An attack tool and the alerts that tell of its use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ToolAlert {
    /// The reason why the alerts were put together, such as the name of the tool.
    pub name: String,
    /// The command that the tool was asked to run.
    pub command: Option<String>,
    /// The alerts; at least one.
    pub alertident: Vec<AlertIdent>,
}

class! {
    ToolAlert, rules tool_rules {
        elements { "name" => name, "command" => command, "alertident" => alertident }
    }
}

fn tool_rules(it: &ToolAlert) -> Result<(), &'static str> {
    if it.alertident.is_empty() { Err("no alertident") } else { Ok(()) }
}

/// A buffer overflow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OverflowAlert {
    /// The program that the overflow was to run.
    pub program: String,
    /// How many octets it was.
    pub size: Option<Integer>,
    /// Some or all of the octets.
    pub buffer: Option<ByteString>,
}

class! {
    OverflowAlert {
        elements { "program" => program, "size" => size, "buffer" => buffer }
    }
}

/// Earlier alerts that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CorrelationAlert {
    /// Why they do.
    pub name: String,
    /// The alerts; at least one.
    pub alertident: Vec<AlertIdent>,
}

class! {
    CorrelationAlert, rules correlation_rules {
        elements { "name" => name, "alertident" => alertident }
    }
}

fn correlation_rules(it: &CorrelationAlert) -> Result<(), &'static str> {
    if it.alertident.is_empty() { Err("no alertident") } else { Ok(()) }
}

/// alertident: names an earlier alert.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AlertIdent {
    /// Who sent it; absent when it was the sender of this one.
    pub analyzerid: Option<String>,
    /// Its messageid.
    pub alertident: String,
}

impl From<&str> for AlertIdent {
    fn from(messageid: &str) -> Self {
        Self { analyzerid: None, alertident: messageid.to_owned() }
    }
}

class! {
    AlertIdent {
        attributes { "analyzerid" => analyzerid }
        text alertident
    }
}
