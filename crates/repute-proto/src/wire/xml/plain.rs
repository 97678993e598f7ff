//! The XML that servers write: elements without attributes, texts without references, in the usual order of nesting.
//!
//! Nothing here decides that a document is bad: at the first octet that is not plain, `None` sends it to the general
//! reader. A test and a fuzz target hold that both read the same.

use std::borrow::Cow;

use super::read::{Leaf, Open, close, member};
use crate::limits::Limits;
use crate::reputon::Reputation;
use crate::wire::Strictness;
use crate::wire::member::{Draft, Member};

struct Cursor<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn at(&self) -> usize {
        self.text.len().wrapping_sub(self.rest.len())
    }

    #[inline]
    fn space(&mut self) {
        let spaces = self.rest.bytes().take_while(|octet| matches!(octet, b' ' | b'\n' | b'\r' | b'\t')).count();
        self.rest = self.rest.get(spaces..).unwrap_or("");
    }

    #[inline]
    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// `<name>text</name>`, where the text is plain.
    #[inline]
    fn element(&mut self) -> Option<(&'a str, &'a str)> {
        let rest = self.rest.strip_prefix('<')?;
        let len = rest.bytes().position(|octet| !(octet.is_ascii_lowercase() || octet == b'-'))?;
        let (name, rest) = rest.split_at_checked(len)?;
        let rest = rest.strip_prefix('>')?;
        let len = rest.bytes().position(|octet| matches!(octet, b'<' | b'&'))?;
        let (text, rest) = rest.split_at_checked(len)?;
        let rest = rest.strip_prefix("</")?.strip_prefix(name)?.strip_prefix('>')?;
        // A name begins with a letter; a text never holds what ends CDATA.
        let is_plain = name.bytes().next()?.is_ascii_lowercase() && !text.contains('>');
        self.rest = rest;
        is_plain.then_some((name, text))
    }
}

pub(super) fn read<'a>(text: &'a str, limits: &Limits, strictness: Strictness) -> Option<Reputation<'a>> {
    let mut cursor = Cursor { text, rest: text };
    if cursor.take("<?xml version=\"1.0\"") {
        let _ = cursor.take(" encoding=\"US-ASCII\"") || cursor.take(" encoding=\"UTF-8\"");
        if !cursor.take("?>") {
            return None;
        }
    }
    cursor.space();
    if !cursor.take("<reputation>") || limits.depth < 3 {
        return None;
    }
    let mut document = Reputation::default();
    document.reputons.reserve((text.len() / 192).min(limits.reputons).min(1024));
    loop {
        cursor.space();
        let start = cursor.at();
        if cursor.take("</reputation>") {
            cursor.space();
            return cursor.rest.is_empty().then_some(document);
        }
        if !cursor.take("<reputon>") || document.count() >= limits.reputons {
            return None;
        }
        let mut open = Open { draft: Draft::default(), start, members: 0, bad: None };
        loop {
            cursor.space();
            let start = cursor.at();
            if cursor.take("</reputon>") {
                close(open, start, &mut document, limits, strictness);
                break;
            }
            let (name, text) = cursor.element()?;
            open.members = open.members.saturating_add(1);
            if open.members > limits.members {
                return None;
            }
            let leaf = Leaf {
                name: Cow::Borrowed(name),
                member: Member::from_name(name),
                text: Cow::Borrowed(text),
                start,
                nests: false,
            };
            if let Err(kind) = member(&mut open.draft, leaf) {
                open.bad.get_or_insert_with(|| kind.at(start));
            }
        }
    }
}
