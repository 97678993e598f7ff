//! The attributes of a start tag, stricter than the tokenizer and without an allocation per element.

use super::chars::{self, Reference};
use super::cursor::Fault;
use crate::error::{InvalidMessage, PeerIncompatible};
use crate::limits::{Limit, Limits};
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
    let octets = text.as_bytes();
    let bad = |what, at: usize| Err(Fault::new(InvalidMessage::IllFormed(what), offset + at));
    let mut at = 0;
    loop {
        let spaces = skip_space(octets, at);
        if spaces == octets.len() {
            return Ok(());
        }
        if spaces == at {
            return bad("no white space before an attribute", at);
        }
        let start = spaces;
        at = find(octets, start, |b| b == b'=' || is_space(b));
        let name = &text[start..at];
        if !chars::is_name(name) {
            return bad("not the name of an attribute", start);
        }
        // Names differ in their first octet more often than not: look at it before calling for the rest.
        let same = |known: &str| known.as_bytes().first() == name.as_bytes().first() && known == name;
        if into.iter().map(|known| known.name).any(same) {
            return bad("attribute given twice", start);
        }
        if into.len() == limits.attributes {
            return Err(Fault::limit(Limit::Attributes, offset + start));
        }
        at = skip_space(octets, at);
        if octets.get(at) != Some(&b'=') {
            return bad("attribute without a value", start);
        }
        at = skip_space(octets, at + 1);
        let Some(&quote @ (b'"' | b'\'')) = octets.get(at) else {
            return bad("attribute value without quotes", at);
        };
        let value = at + 1;
        let (mut has_less, mut has_reference) = (false, false);
        at = find(octets, value, |b| {
            has_less |= b == b'<';
            has_reference |= b == b'&';
            b == quote
        });
        if at == octets.len() {
            return bad("attribute value without an end", value);
        }
        let raw = RawAttribute { name, value: &text[value..at], offset: offset + value };
        if raw.value.len() > limits.text {
            return Err(Fault::limit(Limit::Text, raw.offset));
        }
        if has_less {
            return bad("< in an attribute value", value);
        }
        if has_reference {
            expand(raw.value, raw.offset)?;
        }
        into.push(raw);
        at += 1;
    }
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r')
}

fn skip_space(octets: &[u8], from: usize) -> usize {
    find(octets, from, |b| !is_space(b))
}

/// The first place from `from` on where the octet is wanted, or the end.
fn find(octets: &[u8], from: usize, mut wanted: impl FnMut(u8) -> bool) -> usize {
    let rest = octets.get(from..).unwrap_or(&[]);
    from + rest.iter().position(|&b| wanted(b)).unwrap_or(rest.len())
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
