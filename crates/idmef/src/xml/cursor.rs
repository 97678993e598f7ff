//! A walk over a document's events that keeps every limit and every rule of well-formedness.

use super::attributes::{self, RawAttribute};
use super::namespaces::{Namespace, Scope};
use super::{chars, class::Attribute};
use crate::error::{DecodeErrorKind, InvalidMessage, PeerIncompatible};
use crate::limits::{Limit, Limits};
use crate::types::{Value, trim};
use quick_xml::Reader;
use quick_xml::errors::{Error as XmlError, IllFormedError, SyntaxError};
use quick_xml::events::Event;
use std::borrow::Cow;

/// An error before its offset is told in octets of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: DecodeErrorKind,
    pub(crate) offset: usize,
    pub(crate) element: &'static str,
}

impl Fault {
    pub(crate) fn new(kind: impl Into<DecodeErrorKind>, offset: usize) -> Self {
        Self { kind: kind.into(), offset, element: "" }
    }

    pub(crate) fn limit(limit: Limit, offset: usize) -> Self {
        Self::new(DecodeErrorKind::LimitExceeded(limit), offset)
    }
}

/// What a step of the walk found; comments and processing instructions are passed over.
enum Step<'a> {
    Start,
    End,
    Text(Cow<'a, str>),
    Done,
}

/// The walk. `child` and `content` come in the order of the document; each must be called until the element ends.
pub(crate) struct Cursor<'a> {
    xml: Reader<&'a [u8]>,
    text: &'a str,
    /// Whether there is a carriage return, or the end of a CDATA section, anywhere in it.
    has_return: bool,
    has_cdata_end: bool,
    limits: &'a Limits,
    strict: bool,
    /// Elements that are open.
    depth: usize,
    /// Whether text may stand outside of any element.
    is_fragment: bool,
    elements: usize,
    /// Where the current event starts.
    at: usize,
    /// The qualified name of the element that was opened last.
    name: &'a str,
    /// Its attributes.
    attributes: Vec<RawAttribute<'a>>,
    scope: Scope<'a>,
    /// Depths at which xml:space changed, and to what.
    space: Vec<(usize, bool)>,
    class: &'static str,
}

impl<'a> Cursor<'a> {
    /// At the start of a document, or of a fragment of one.
    pub(crate) fn new(text: &'a str, limits: &'a Limits, strict: bool) -> Result<Self, Fault> {
        if let Some(offset) = chars::find_forbidden(text) {
            return Err(Fault::new(InvalidMessage::IllFormed("character that XML forbids"), offset));
        }
        let mut xml = Reader::from_str(text);
        xml.config_mut().expand_empty_elements = true;
        xml.config_mut().check_comments = true;
        Ok(Self {
            xml,
            text,
            has_return: text.contains('\r'),
            has_cdata_end: text.contains("]]>"),
            limits,
            strict,
            depth: 0,
            is_fragment: false,
            elements: 0,
            at: 0,
            name: "",
            attributes: Vec::with_capacity(8),
            scope: Scope::default(),
            space: Vec::new(),
            class: "document",
        })
    }

    /// Whether only what the DTD allows is accepted.
    pub(crate) fn is_strict(&self) -> bool {
        self.strict
    }

    /// The class being read, for errors.
    pub(crate) fn class(&self) -> &'static str {
        self.class
    }

    /// Says that `class` is read from here on; returns what was, for `leave`.
    pub(crate) fn enter(&mut self, class: &'static str) -> &'static str {
        std::mem::replace(&mut self.class, class)
    }

    /// The class of `enter` is read.
    pub(crate) fn leave(&mut self, outer: &'static str) {
        self.class = outer;
    }

    /// An error at the current event.
    pub(crate) fn fault(&self, kind: impl Into<DecodeErrorKind>) -> Fault {
        Fault::new(kind, self.at)
    }

    /// Reads the prolog and opens the root, which must be an IDMEF-Message.
    pub(crate) fn root(&mut self) -> Result<(), Fault> {
        if self.text.starts_with("<?xml") {
            let offset = self.at;
            match self.xml.read_event() {
                Ok(Event::Decl(_)) => self.declaration()?,
                Ok(_) => return Err(Fault::new(InvalidMessage::IllFormed("not an XML declaration"), offset)),
                Err(error) => return Err(self.syntax(&error)),
            }
        } else if self.strict {
            return Err(Fault::new(InvalidMessage::Missing("XML declaration"), 0));
        }
        loop {
            match self.step()? {
                Step::Start => break,
                Step::Text(text) if trim(&text).is_empty() => {}
                Step::Text(_) => return Err(self.fault(InvalidMessage::IllFormed("text before the root"))),
                Step::End | Step::Done => return Err(self.fault(InvalidMessage::IllFormed("no root element"))),
            }
        }
        let (namespace, local) = self.namespace();
        match namespace {
            Namespace::Idmef => {}
            Namespace::None if !self.strict => {}
            _ => return Err(self.fault(InvalidMessage::Namespace)),
        }
        if local == "IDMEF-Message" { Ok(()) } else { Err(self.fault(InvalidMessage::NotIdmef)) }
    }

    /// After the root: only white space, comments and processing instructions may follow.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        loop {
            match self.step()? {
                Step::Done => return Ok(()),
                Step::Text(text) if trim(&text).is_empty() => {}
                _ => return Err(self.fault(InvalidMessage::IllFormed("content behind the root"))),
            }
        }
    }

    /// The local name of the next child that is IDMEF's; `None` at the end of the element.
    pub(crate) fn child(&mut self) -> Result<Option<&'a str>, Fault> {
        loop {
            match self.step()? {
                Step::Start => match self.namespace() {
                    (Namespace::Idmef, local) => return Ok(Some(local)),
                    (Namespace::None, local) if !self.strict => return Ok(Some(local)),
                    _ if self.strict => return Err(self.fault(InvalidMessage::Namespace)),
                    _ => self.skip()?,
                },
                Step::Text(text) if self.strict && !trim(&text).is_empty() => {
                    return Err(self.fault(InvalidMessage::Unexpected));
                }
                Step::Text(_) => {}
                Step::End => return Ok(None),
                Step::Done => return Err(self.unclosed()),
            }
        }
    }

    /// As [`Self::child`], but text beside the children is collected; `None` at the end of the element.
    pub(crate) fn child_or_text(&mut self, text: &mut String) -> Result<Option<&'a str>, Fault> {
        loop {
            match self.step()? {
                Step::Start => match self.namespace() {
                    (Namespace::Idmef, local) => return Ok(Some(local)),
                    (Namespace::None, local) if !self.strict => return Ok(Some(local)),
                    _ if self.strict => return Err(self.fault(InvalidMessage::Namespace)),
                    _ => self.skip()?,
                },
                Step::Text(more) if self.strict && !trim(&more).is_empty() => {
                    return Err(self.fault(InvalidMessage::Unexpected));
                }
                Step::Text(more) if text.len() + more.len() > self.limits.text => {
                    return Err(self.fault(DecodeErrorKind::LimitExceeded(Limit::Text)));
                }
                Step::Text(more) => text.push_str(&more),
                Step::End => return Ok(None),
                Step::Done => return Err(self.unclosed()),
            }
        }
    }

    /// Passes over a child that the class does not know, or refuses it.
    pub(crate) fn unknown(&mut self) -> Result<(), Fault> {
        if self.strict { Err(self.fault(InvalidMessage::Unexpected)) } else { self.skip() }
    }

    /// The text of the current element up to its end tag, trimmed unless xml:space says to preserve it.
    pub(crate) fn content(&mut self) -> Result<Cow<'a, str>, Fault> {
        let preserve = self.preserves();
        let start = self.at;
        let mut content = Cow::Borrowed("");
        loop {
            match self.step()? {
                Step::Text(more) if content.is_empty() => content = more,
                Step::Text(more) => content.to_mut().push_str(&more),
                Step::Start => self.unknown()?,
                Step::End => break,
                Step::Done => return Err(self.unclosed()),
            }
            if content.len() > self.limits.text {
                return Err(Fault::limit(Limit::Text, start));
            }
        }
        Ok(match content {
            _ if preserve => content,
            Cow::Borrowed(text) => Cow::Borrowed(trim(text)),
            Cow::Owned(text) if trim(&text).len() == text.len() => Cow::Owned(text),
            Cow::Owned(text) => Cow::Owned(trim(&text).to_owned()),
        })
    }

    /// The text of the current element as a value of type `T`; an error names it `name`.
    pub(crate) fn value<T: Value>(&mut self, name: &'static str) -> Result<T, Fault> {
        let start = self.at;
        let content = self.content()?;
        let invalid = InvalidMessage::InvalidValue { name, expected: T::TYPE };
        T::parse(content, self.strict).ok_or_else(|| Fault::new(invalid, start))
    }

    /// How many attributes the element has that was opened last.
    pub(crate) fn attribute_count(&self) -> usize {
        self.attributes.len()
    }

    /// One of these attributes, below `attribute_count`.
    pub(crate) fn attribute(&self, index: usize) -> RawAttribute<'a> {
        self.attributes[index]
    }

    /// The value of an attribute as type `T`; an error names it `name`.
    pub(crate) fn read<T: Attribute>(&self, raw: RawAttribute<'a>, name: &'static str) -> Result<T, Fault> {
        let value = attributes::expand(raw.value, raw.offset)?;
        let invalid = InvalidMessage::InvalidValue { name, expected: T::TYPE };
        T::read(value, self.strict).ok_or_else(|| Fault::new(invalid, raw.offset))
    }

    /// The value of an attribute as text.
    pub(crate) fn expand(&self, raw: RawAttribute<'a>) -> Result<Cow<'a, str>, Fault> {
        attributes::expand(raw.value, raw.offset)
    }

    /// Passes over the current element and all in it.
    pub(crate) fn skip(&mut self) -> Result<(), Fault> {
        let outside = self.depth - 1;
        while self.depth > outside {
            if let Step::Done = self.step()? {
                return Err(self.unclosed());
            }
        }
        Ok(())
    }

    /// Passes over a fragment to its end; all that was opened must be closed.
    pub(crate) fn skip_fragment(&mut self) -> Result<(), Fault> {
        self.is_fragment = true;
        loop {
            if let Step::Done = self.step()? {
                return if self.depth == 0 { Ok(()) } else { Err(self.unclosed()) };
            }
        }
    }

    /// The content of the current element as it is written, up to its end tag, able to stand alone: prefixes that it
    /// uses and that are declared further out are declared on its outermost elements.
    pub(crate) fn fragment(&mut self) -> Result<String, Fault> {
        let start = self.position();
        let outside = self.depth - 1;
        let prefixes: Vec<_> = self.scope.prefixes().filter(|(prefix, _)| *prefix != "xml").collect();
        // Behind the name of each outermost element, and which prefixes it declares itself.
        let mut outermost: Vec<(usize, Vec<&str>)> = Vec::new();
        loop {
            match self.step()? {
                Step::Start if self.depth == outside + 2 && !prefixes.is_empty() => {
                    let own = self.attributes.iter().filter_map(|a| a.name.strip_prefix("xmlns:")).collect();
                    outermost.push((self.at + 1 + self.name.len(), own));
                }
                Step::Done => return Err(self.unclosed()),
                Step::End if self.depth == outside => break,
                _ => {}
            }
            if self.position() - start > self.limits.text {
                return Err(Fault::limit(Limit::Text, start));
            }
        }
        let end = self.at.max(start);
        let inside = &self.text[start..end];
        // Which element uses a prefix is not looked into: declaring one too many is harmless.
        let used: Vec<_> = prefixes.into_iter().filter(|(prefix, _)| uses(inside, prefix)).collect();
        let (mut out, mut copied) = (String::with_capacity(inside.len()), start);
        for (at, own) in outermost {
            out.push_str(&self.text[copied..at]);
            copied = at;
            for (prefix, uri) in used.iter().filter(|(prefix, _)| !own.contains(prefix)) {
                out.push_str(" xmlns:");
                out.push_str(prefix);
                out.push_str("=\"");
                out.push_str(&uri.replace('"', "&quot;"));
                out.push('"');
            }
            if out.len() > self.limits.text {
                return Err(Fault::limit(Limit::Text, start));
            }
        }
        out.push_str(&self.text[copied..end]);
        Ok(out)
    }

    fn step(&mut self) -> Result<Step<'a>, Fault> {
        loop {
            self.at = self.position();
            let event = match self.xml.read_event() {
                Ok(event) => event,
                Err(error) => return Err(self.syntax(&error)),
            };
            match event {
                Event::Start(_) => {
                    self.open()?;
                    return Ok(Step::Start);
                }
                Event::End(_) => {
                    self.depth -= 1;
                    self.scope.close(self.depth);
                    while self.space.last().is_some_and(|(depth, _)| *depth > self.depth) {
                        self.space.pop();
                    }
                    return Ok(Step::End);
                }
                Event::Text(text) => {
                    let text = text.into_inner();
                    if let Some(at) = self.has_cdata_end.then(|| text.find("]]>")).flatten() {
                        return Err(Fault::new(InvalidMessage::IllFormed("]]> in text"), self.at + at));
                    }
                    return self.text(text);
                }
                Event::CData(text) => {
                    if self.depth == 0 && !self.is_fragment {
                        return Err(self.fault(InvalidMessage::IllFormed("CDATA outside of the root")));
                    }
                    return self.text(text.into_inner());
                }
                Event::GeneralRef(reference) => {
                    if self.depth == 0 && !self.is_fragment {
                        return Err(self.fault(InvalidMessage::IllFormed("reference outside of the root")));
                    }
                    let c = attributes::resolve(&reference, self.at)?;
                    return Ok(Step::Text(Cow::Owned(c.to_string())));
                }
                Event::Comment(_) => {}
                Event::PI(instruction) => {
                    if !chars::is_name(instruction.target()) || instruction.target().eq_ignore_ascii_case("xml") {
                        return Err(self.fault(InvalidMessage::IllFormed("misplaced XML declaration")));
                    }
                }
                Event::Decl(_) => return Err(self.fault(InvalidMessage::IllFormed("misplaced XML declaration"))),
                Event::DocType(_) => return Err(self.fault(PeerIncompatible::Doctype)),
                Event::Empty(_) => return Err(self.fault(InvalidMessage::IllFormed("empty element"))),
                Event::Eof => return Ok(Step::Done),
            }
        }
    }

    fn text(&self, text: Cow<'a, str>) -> Result<Step<'a>, Fault> {
        // White space between elements may be long: padding is made of it.
        if text.len() > self.limits.text && self.depth > 0 {
            return Err(self.fault(DecodeErrorKind::LimitExceeded(Limit::Text)));
        }
        Ok(Step::Text(if self.has_return { text.replace("\r\n", "\n").replace('\r', "\n").into() } else { text }))
    }

    /// A start tag was read: count it, take its name and its attributes.
    fn open(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        self.elements += 1;
        if self.depth > self.limits.depth {
            return Err(self.fault(DecodeErrorKind::LimitExceeded(Limit::Depth)));
        }
        if self.elements > self.limits.elements {
            return Err(self.fault(DecodeErrorKind::LimitExceeded(Limit::Elements)));
        }
        let tag = self.text.get(self.at + 1..self.position() - 1).unwrap_or("");
        let tag = tag.strip_suffix('/').unwrap_or(tag);
        let length = tag.bytes().position(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).unwrap_or(tag.len());
        let (name, behind) = tag.split_at(length);
        if !chars::is_name(name) {
            return Err(self.fault(InvalidMessage::IllFormed("not the name of an element")));
        }
        self.name = name;
        attributes::scan(behind, self.at + 1 + length, self.limits, &mut self.attributes)?;
        for attribute in &self.attributes {
            if attribute.name.starts_with("xml") {
                self.scope.declare(self.depth, attribute);
                if attribute.name == "xml:space" {
                    self.space.push((self.depth, attribute.value == "preserve"));
                }
            }
        }
        Ok(())
    }

    fn namespace(&self) -> (Namespace, &'a str) {
        let (prefix, local) = match self.name.bytes().position(|b| b == b':') {
            Some(colon) => (&self.name[..colon], &self.name[colon + 1..]),
            None => ("", self.name),
        };
        (self.scope.resolve(prefix), local)
    }

    fn preserves(&self) -> bool {
        self.space.last().is_some_and(|(_, preserve)| *preserve)
    }

    fn position(&self) -> usize {
        // Never more than the length of a document in memory.
        self.xml.buffer_position() as usize
    }

    fn declaration(&mut self) -> Result<(), Fault> {
        let end = self.position();
        let inner = self.text.get(5..end - 2).unwrap_or("");
        attributes::scan(inner, 5, self.limits, &mut self.attributes)?;
        let bad = InvalidMessage::IllFormed("XML declaration");
        let mut names = ["version", "encoding", "standalone"].iter();
        for (index, attribute) in self.attributes.iter().enumerate() {
            if !names.any(|name| *name == attribute.name) || (index == 0 && attribute.name != "version") {
                return Err(Fault::new(bad, attribute.offset));
            }
            let wrong = match attribute.name {
                "version" if attribute.value != "1.0" => Some(PeerIncompatible::XmlVersion),
                "encoding" if !is_known_encoding(attribute.value) => Some(PeerIncompatible::Encoding),
                _ => None,
            };
            if let Some(wrong) = wrong {
                return Err(Fault::new(wrong, attribute.offset));
            }
        }
        if self.attributes.is_empty() { Err(Fault::new(bad, 0)) } else { Ok(()) }
    }

    fn unclosed(&self) -> Fault {
        self.fault(InvalidMessage::IllFormed("the document ends inside an element"))
    }

    fn syntax(&self, error: &XmlError) -> Fault {
        let what = match error {
            XmlError::Syntax(SyntaxError::InvalidBangMarkup) => "unknown markup",
            XmlError::Syntax(_) => "markup without an end",
            XmlError::IllFormed(IllFormedError::MismatchedEndTag { .. } | IllFormedError::UnmatchedEndTag(_)) => {
                "end tag that matches no start tag"
            }
            XmlError::IllFormed(IllFormedError::DoubleHyphenInComment) => "two hyphens in a comment",
            XmlError::IllFormed(IllFormedError::UnclosedReference) => "reference without an end",
            // A DOCTYPE is refused whatever is wrong with it.
            XmlError::IllFormed(IllFormedError::MissingDoctypeName) => return self.fault(PeerIncompatible::Doctype),
            _ => "markup",
        };
        let start = self.text.get(self.at..).unwrap_or("");
        if start.get(..9).is_some_and(|start| start.eq_ignore_ascii_case("<!doctype")) {
            return self.fault(PeerIncompatible::Doctype);
        }
        Fault::new(InvalidMessage::IllFormed(what), self.xml.error_position() as usize)
    }
}

fn uses(text: &str, prefix: &str) -> bool {
    text.match_indices(prefix).any(|(at, _)| text[at + prefix.len()..].starts_with(':'))
}

fn is_known_encoding(name: &str) -> bool {
    ["UTF-8", "UTF8", "UTF-16"].iter().any(|known| known.eq_ignore_ascii_case(name))
}
