//! From octets to a message.

use super::Element;
use super::cursor::{Cursor, Fault};
use super::encoder::is_language;
use super::source::Source;
use crate::error::{DecodeError, InvalidMessage, PeerIncompatible};
use crate::limits::Limits;
use crate::model::{Item, Message};

/// Reads messages from XML: lenient, unless told to be strict, and never beyond its [`Limits`].
///
/// Lenient, it takes what senders in the field write: elements in the namespace of IDMEF or in none, children in any
/// order, unknown elements and attributes (passed over), text in `AdditionalData` without a typed element inside,
/// `<xml>` for `<xmltext>`, `<permission>` for `<Permission>`. A required text, `Analyzer` or `Classification` that
/// is absent is read as an empty one; a required time is not made up.
///
/// Strict, it takes what the DTD allows and nothing else: namespace, XML declaration, order, required members,
/// enumerations without extensions.
///
/// ```
/// let prelude = b"<IDMEF-Message><Heartbeat><Analyzer analyzerid='7'/>\
///     <CreateTime ntpstamp='0xbc722ebe.0x00000000'>2000-03-09T14:07:58Z</CreateTime></Heartbeat></IDMEF-Message>";
/// assert!(idmef::Decoder::new().decode(prelude).is_ok());
/// let error = idmef::Decoder::new().strict().decode(prelude).unwrap_err();
/// assert_eq!(error.to_string(), "octet 0, in document: XML declaration is missing");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Decoder {
    limits: Limits,
    strict: bool,
}

impl Decoder {
    /// A lenient reader with default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts only documents that follow the DTD.
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Accepts documents up to these limits.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Reads a document. White space behind the root, such as padding, is no error.
    pub fn decode(&self, octets: &[u8]) -> Result<Message, DecodeError> {
        let error = |kind, offset, element: &'static str| DecodeError { kind, offset, element };
        let source = Source::new(octets, self.limits.size).map_err(|(kind, at)| error(kind, at, "document"))?;
        let mut class = "document";
        self.message(&source.text, &mut class).map_err(|fault| {
            let element = if fault.element.is_empty() { class } else { fault.element };
            error(fault.kind, source.octet(fault.offset), element)
        })
    }

    fn message(&self, text: &str, class: &mut &'static str) -> Result<Message, Fault> {
        let mut cursor = Cursor::new(text, &self.limits, self.strict)?;
        let message = read(&mut cursor);
        *class = cursor.class();
        message
    }
}

fn read(cursor: &mut Cursor<'_>) -> Result<Message, Fault> {
    cursor.root()?;
    let document = cursor.enter("IDMEF-Message");
    let mut message = Message::default();
    let mut versioned = false;
    for index in 0..cursor.attribute_count() {
        let raw = cursor.attribute(index);
        match raw.name {
            "version" if raw.value != "1.0" => return Err(Fault::new(PeerIncompatible::IdmefVersion, raw.offset)),
            "version" => versioned = true,
            "xml:lang" => message.lang = is_language(raw.value).then(|| raw.value.to_owned()),
            _ => {}
        }
    }
    if cursor.is_strict() && !versioned {
        return Err(cursor.fault(InvalidMessage::Missing("version")));
    }
    while let Some(child) = cursor.child()? {
        match child {
            "Alert" => message.items.push(Item::Alert(Element::decode(cursor, "Alert")?)),
            "Heartbeat" => message.items.push(Item::Heartbeat(Element::decode(cursor, "Heartbeat")?)),
            _ => cursor.unknown()?,
        }
    }
    cursor.leave(document);
    cursor.end()?;
    Ok(message)
}
