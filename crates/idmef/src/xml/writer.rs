//! Elements, attributes and text onto quick-xml's writer, which never sees a character that XML forbids.

use super::chars;
use super::class::Attribute;
use crate::error::EncodeError;
use crate::types::{Value, is_space};
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};
use std::borrow::Cow;

/// How deep elements may nest: what a reader with default limits accepts.
const MAX_DEPTH: usize = 32;

/// Writes a document in the order it is told.
pub(crate) struct Writer<'a> {
    xml: quick_xml::Writer<&'a mut Vec<u8>>,
    prefix: &'static str,
    /// The start tag not yet written: name and attributes, without angle brackets.
    tag: String,
    name_length: usize,
    pending: bool,
    depth: usize,
}

impl<'a> Writer<'a> {
    /// Writes behind what `out` holds; element names get `prefix`.
    pub(crate) fn new(out: &'a mut Vec<u8>, prefix: &'static str) -> Self {
        let xml = quick_xml::Writer::new(out);
        Self { xml, prefix, tag: String::with_capacity(256), name_length: 0, pending: false, depth: 0 }
    }

    /// Opens an element.
    pub(crate) fn start(&mut self, name: &'static str) -> Result<(), EncodeError> {
        self.flush();
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(EncodeError { element: name, problem: "more than 32 elements inside one another" });
        }
        self.tag.clear();
        self.tag.push_str(self.prefix);
        self.tag.push_str(name);
        self.name_length = self.tag.len();
        self.pending = true;
        Ok(())
    }

    /// An attribute of the element just opened; a default is not written.
    pub(crate) fn attribute(&mut self, name: &str, value: &impl Attribute) {
        if let Some(value) = value.written() {
            self.raw_attribute(name, &value);
        }
    }

    /// An attribute of the element just opened.
    pub(crate) fn raw_attribute(&mut self, name: &str, value: &str) {
        self.tag.push(' ');
        self.tag.push_str(name);
        self.tag.push_str("=\"");
        escape(value, true, &mut self.tag);
        self.tag.push('"');
    }

    /// The text of the element just opened.
    pub(crate) fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        // A reader trims; what it must not trim has to be marked.
        if text.starts_with(is_space) || text.ends_with(is_space) {
            self.raw_attribute("xml:space", "preserve");
        }
        self.flush();
        self.tag.clear();
        escape(text, false, &mut self.tag);
        self.event(Kind::Text);
    }

    /// Text that is XML already.
    pub(crate) fn fragment(&mut self, text: &str) {
        self.flush();
        let text = BytesText::from_escaped(text);
        self.xml.write_event(Event::Text(text)).expect("writing to memory does not fail");
    }

    /// Closes the element.
    pub(crate) fn end(&mut self, name: &'static str) {
        self.depth -= 1;
        if self.pending {
            self.pending = false;
            self.event(Kind::Empty);
        } else if self.prefix.is_empty() {
            self.write(Event::End(BytesEnd::new(name)));
        } else {
            self.write(Event::End(BytesEnd::new([self.prefix, name].concat())));
        }
    }

    /// An element that holds a value only.
    pub(crate) fn leaf(&mut self, name: &'static str, value: &impl Value) -> Result<(), EncodeError> {
        self.start(name)?;
        self.text(&value.text());
        self.end(name);
        Ok(())
    }

    fn flush(&mut self) {
        if self.pending {
            self.pending = false;
            self.event(Kind::Start);
        }
    }

    fn event(&mut self, kind: Kind) {
        let tag = std::mem::take(&mut self.tag);
        let text = Cow::Borrowed(&*tag);
        self.write(match kind {
            Kind::Start => Event::Start(BytesStart::from_content(text, self.name_length)),
            Kind::Empty => Event::Empty(BytesStart::from_content(text, self.name_length)),
            Kind::Text => Event::Text(BytesText::from_escaped(text)),
        });
        self.tag = tag;
    }

    fn write(&mut self, event: Event<'_>) {
        self.xml.write_event(event).expect("writing to memory does not fail");
    }
}

enum Kind {
    Start,
    Empty,
    Text,
}

/// Escapes what would be markup, and white space that a reader would change; what XML forbids becomes U+FFFD.
fn escape(text: &str, attribute: bool, out: &mut String) {
    let mut rest = text;
    loop {
        let (before, from) = rest.split_at(plain_run(rest.as_bytes()));
        out.push_str(before);
        let mut chars = from.chars();
        match chars.next() {
            None => return,
            Some('&') => out.push_str("&amp;"),
            Some('<') => out.push_str("&lt;"),
            Some('>') => out.push_str("&gt;"),
            Some('"') if attribute => out.push_str("&quot;"),
            Some('\r') => out.push_str("&#13;"),
            Some('\n') if attribute => out.push_str("&#10;"),
            Some('\t') if attribute => out.push_str("&#9;"),
            Some(c) if chars::is_char(c) => out.push(c),
            Some(_) => out.push(char::REPLACEMENT_CHARACTER),
        }
        rest = chars.as_str();
    }
}

/// Octets that may not be written as they are.
const fn is_special(b: u8) -> bool {
    (b < 0x20) | (b == b'&') | (b == b'<') | (b == b'>') | (b == b'"') | (b == 0xef)
}

/// The same as a table, which is quicker octet by octet.
static SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut octet = 0;
    while octet < table.len() {
        table[octet] = is_special(octet as u8);
        octet += 1;
    }
    table
};

/// How many octets at the front are written as they are.
fn plain_run(octets: &[u8]) -> usize {
    const PIECE: usize = 16;
    // A whole piece at once, without a branch for each octet, is what the compiler turns into vector instructions.
    let pieces = octets.chunks_exact(PIECE);
    let plain = pieces.take_while(|piece| !piece.iter().fold(false, |found, &b| found | is_special(b))).count() * PIECE;
    let rest = &octets[plain..];
    plain + rest.iter().position(|&b| SPECIAL[usize::from(b)]).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_runs_end_before_what_is_special() {
        for special in [b'&', b'<', b'>', b'"', b'\n', 0, 0x1f, 0xef] {
            for at in 0..70 {
                let mut octets = [b'a'; 70];
                octets[at] = special;
                assert_eq!(plain_run(&octets), at);
                assert_eq!(plain_run(&octets[..at]), at);
            }
        }
    }

    #[test]
    fn what_is_escaped() {
        let escaped = |text, attribute| {
            let mut out = String::new();
            escape(text, attribute, &mut out);
            out
        };
        assert_eq!(escaped("a<b>&\"'\r\n\t", false), "a&lt;b&gt;&amp;\"'&#13;\n\t");
        assert_eq!(escaped("a<b>&\"'\r\n\t", true), "a&lt;b&gt;&amp;&quot;'&#13;&#10;&#9;");
        assert_eq!(escaped("\0x\u{b}\u{1b}[31m\u{fffe}\u{fffd}é\u{7f}", true), "�x��[31m��é\u{7f}");
    }
}
