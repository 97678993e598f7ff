//! Analyzer and Process. [RFC 4765 sections 4.2.4.1 and 4.2.7.4](https://www.rfc-editor.org/rfc/rfc4765#section-4.2.4.1)

use super::Node;
use crate::types::{Ident, Integer};
use crate::xml::class;

/// A sensor, a manager, or whatever else sends messages.
///
/// A relay puts itself outside of what it received: its own `Analyzer` holds the sender's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Analyzer {
    /// Unique among the analyzers of a site. Required as soon as messages or parts of them have identifiers.
    pub analyzerid: Ident,
    /// A name that people know it by.
    pub name: Option<String>,
    /// Who made it.
    pub manufacturer: Option<String>,
    /// What product it is.
    pub model: Option<String>,
    /// Which version of it.
    pub version: Option<String>,
    /// What sort of software or hardware it is, such as `NIDS`.
    pub class: Option<String>,
    /// The name of its operating system.
    pub ostype: Option<String>,
    /// The version of its operating system.
    pub osversion: Option<String>,
    /// The machine it runs on.
    pub node: Option<Node>,
    /// The process it is.
    pub process: Option<Process>,
    /// The analyzer that it had the message from.
    pub analyzer: Option<Box<Self>>,
}

impl Analyzer {
    /// This analyzer and the ones behind it, outermost first: the way that a message came.
    pub fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |analyzer| analyzer.analyzer.as_deref())
    }
}

class! {
    Analyzer or Default {
        attributes {
            "analyzerid" => analyzerid,
            "name" => name,
            "manufacturer" => manufacturer,
            "model" => model,
            "version" => version,
            "class" => class,
            "ostype" => ostype,
            "osversion" => osversion,
        }
        elements { "Node" => node, "Process" => process, "Analyzer" => analyzer }
    }
}

/// A running program.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Process {
    /// Its identifier in this message.
    pub ident: Ident,
    /// The name of the program, without path.
    pub name: String,
    /// Its process number.
    pub pid: Option<Integer>,
    /// The path of the program.
    pub path: Option<String>,
    /// Its arguments, the program not among them.
    pub arg: Vec<String>,
    /// Its environment, `NAME=value` each.
    pub env: Vec<String>,
}

class! {
    Process {
        attributes { "ident" => ident }
        elements { "name" => name, "pid" => pid, "path" => path, "arg" => arg, "env" => env }
    }
}
