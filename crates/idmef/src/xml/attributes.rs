//! The attributes of a start tag, stricter than the tokenizer and without an allocation per element.

use super::chars::{self, Reference};
use super::cursor::Fault;
use crate::error::{InvalidMessage, PeerIncompatible};
use crate::limits::{Limit, Limits};
use crate::types::trim;
use std::borrow::Cow;

/// One attribute, its value as written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawAttribute<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: &'a str,
    /// Where in the document the value starts.
    pub(crate) offset: usize,
}

/// Reads the attributes behind the name in a tag into `into`, which is emptied first. `offset` is where in the
/// document `text` starts.
pub(crate) fn scan<'a>(
    text: &'a str,
    offset: usize,
    limits: &Limits,
    into: &mut Vec<RawAttribute<'a>>,
) -> Result<(), Fault> {
    into.clear();
    let bad = |what, rest: &str| Fault::new(InvalidMessage::IllFormed(what), offset + text.len() - rest.len());
    let mut rest = text;
    loop {
        let next = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        if next.is_empty() {
            return Ok(());
        }
        if next.len() == rest.len() {
            return Err(bad("no white space before an attribute", rest));
        }
        let Some((name, value)) = next.split_once('=') else {
            return Err(bad("attribute without a value", next));
        };
        let name = trim(name);
        if !chars::is_name(name) {
            return Err(bad("not the name of an attribute", next));
        }
        if into.iter().any(|known| known.name == name) {
            return Err(bad("attribute given twice", next));
        }
        if into.len() == limits.attributes {
            return Err(Fault::limit(Limit::Attributes, offset + text.len() - next.len()));
        }
        let value = value.trim_start_matches([' ', '\t', '\n', '\r']);
        let quoted = value.strip_prefix('"').and_then(|value| value.split_once('"'));
        let quoted = quoted.or_else(|| value.strip_prefix('\'').and_then(|value| value.split_once('\'')));
        let Some((inner, behind)) = quoted else {
            return Err(bad("attribute value without quotes", value));
        };
        let start = offset + text.len() - behind.len() - 1 - inner.len();
        check(inner, start, limits)?;
        into.push(RawAttribute { name, value: inner, offset: start });
        rest = behind;
    }
}

fn check(value: &str, offset: usize, limits: &Limits) -> Result<(), Fault> {
    if value.len() > limits.text {
        return Err(Fault::limit(Limit::Text, offset));
    }
    if let Some(at) = value.find('<') {
        return Err(Fault::new(InvalidMessage::IllFormed("< in an attribute value"), offset + at));
    }
    if value.contains('&') { expand(value, offset).map(drop) } else { Ok(()) }
}

/// The value that an attribute value means: references resolved, white space turned into spaces.
pub(crate) fn expand(value: &str, offset: usize) -> Result<Cow<'_, str>, Fault> {
    if !value.bytes().any(|b| matches!(b, b'&' | b'\t' | b'\n' | b'\r')) {
        return Ok(Cow::Borrowed(value));
    }
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find(['&', '\t', '\n', '\r']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        if let Some(reference) = from.strip_prefix('&') {
            let here = offset + value.len() - from.len();
            let Some((name, behind)) = reference.split_once(';') else {
                return Err(Fault::new(InvalidMessage::IllFormed("reference without an end"), here));
            };
            out.push(resolve(name, here)?);
            rest = behind;
        } else {
            out.push(' ');
            rest = from.strip_prefix("\r\n").unwrap_or_else(|| &from[1..]);
        }
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

/// The character of a reference, or why there is none.
pub(crate) fn resolve(name: &str, offset: usize) -> Result<char, Fault> {
    match chars::resolve(name) {
        Reference::Char(c) => Ok(c),
        Reference::Entity => Err(Fault::new(PeerIncompatible::Entity, offset)),
        Reference::Invalid => Err(Fault::new(InvalidMessage::IllFormed("not a reference to a character"), offset)),
    }
}
