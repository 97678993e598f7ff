//! The content of `xmltext`: a checked fragment of XML.

use super::cursor::Cursor;
use crate::error::DecodeError;
use crate::limits::Limits;

/// How deep in a document the content of an `xmltext` starts: inside of message, alert, data and `xmltext`.
const OUTSIDE: usize = 4;

/// Whether `text` is the well-formed content of an element, within the default limits.
pub(crate) fn check(text: &str) -> Result<(), DecodeError> {
    let default = Limits::default();
    let limits = Limits { depth: default.depth - OUTSIDE, ..default };
    let result = if text.len() > limits.text {
        Err(super::cursor::Fault::limit(crate::Limit::Text, limits.text))
    } else {
        Cursor::new(text, &limits, false).and_then(|mut cursor| cursor.skip_fragment())
    };
    result.map_err(|fault| DecodeError { kind: fault.kind, offset: fault.offset, element: "xmltext" })
}
