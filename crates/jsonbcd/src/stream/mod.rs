//! Documents that arrive in pieces: [`Reader`] gives events as soon as their octets are there.
//!
//! ```
//! use jsonbcd::Decoder;
//! use jsonbcd::stream::{Event, Reader, Step};
//!
//! let mut reader = Reader::new(Decoder::new());
//! reader.feed(b"{\x80\x04Port\xa1\x01")?;
//! assert_eq!(reader.step()?, Step::Event(Event::ObjectStart));
//! assert_eq!(reader.step()?, Step::Event(Event::Name("Port")));
//! assert_eq!(reader.step()?, Step::Incomplete { needed: 1 });
//! reader.feed(b"\xbb}")?;
//! assert_eq!(reader.step()?, Step::Event(Event::Integer(443.into())));
//! assert_eq!(reader.step()?, Step::Event(Event::ObjectEnd));
//! assert_eq!(reader.step()?, Step::End);
//! # Ok::<(), jsonbcd::Error>(())
//! ```
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod build;
mod extent;

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::ops::Range;

pub use build::ValueBuilder;

use crate::code;
use crate::decoder::Decoder;
use crate::dictionary::Entry;
use crate::error::{Error, ErrorKind, Limit, Result};
use crate::integer::Integer;
use crate::lexer::{Lexer, Number, Piece};
use crate::options::{Commas, Dialect};
use crate::scalar::Scalar;
use crate::table::{Definition, Found, Table};
use extent::{Extent, extent};

/// What stands in a document. References to codes are what they stand for.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::exhaustive_enums, reason = "a reader must know all of them")]
pub enum Event<'a> {
    /// An object begins.
    ObjectStart,
    /// It ends. That no name stood twice is for its reader to see, as [`ValueBuilder`] does.
    ObjectEnd,
    /// An array begins.
    ArrayStart,
    /// It ends.
    ArrayEnd,
    /// The name of a member, whose value comes next.
    Name(&'a str),
    /// A string.
    String(&'a str),
    /// Octets.
    Data(&'a [u8]),
    /// An integer.
    Integer(Integer),
    /// A binary64, or a number with a fraction or an exponent.
    Float(f64),
    /// Another float of JSON-D.
    Scalar(Scalar),
    /// True or false.
    Bool(bool),
    /// Null.
    Null,
}

/// What a reader says.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
#[allow(clippy::exhaustive_enums, reason = "these are all that can happen")]
pub enum Step<'a> {
    /// Something was read.
    Event(Event<'a>),
    /// Nothing more can be read before so many octets at least have come.
    Incomplete {
        /// How many.
        needed: usize,
    },
    /// The document is at its end. Octets behind it are [`Reader::rest`].
    End,
}

/// What may stand next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// A value: the document's, or a member's.
    Value,
    /// An element or the end, at the beginning of an array or behind an element.
    Element { first: bool },
    /// An element, because there was a comma; in lenient reading also the end.
    NextElement,
    /// A name or the end, at the beginning of an object or behind a member.
    Name { first: bool },
    /// A name, because there was a comma; in lenient reading also the end.
    NextName,
    /// The colon behind a name in text.
    Colon,
    /// Nothing.
    Over,
}

/// What was read, before it is borrowed.
enum Ready {
    Event(Event<'static>),
    /// Octets in the buffer.
    Here(Kind, Range<usize>),
    /// Octets that were put together.
    Scratch(Kind),
    /// What a code stands for.
    Code(Kind, u32),
    Incomplete(usize),
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Name,
    String,
    Data,
}

/// An array or object that is not yet at its end.
#[derive(Debug)]
struct Open {
    object: bool,
    /// How many more members it may have.
    left: usize,
}

/// Reads one document in pieces. It holds what is not read yet and, of what is being read, one item: never more than
/// [`Limits::input`](crate::Limits::input) in all.
///
/// After an error it is over: every further step gives the error again.
#[derive(Debug)]
pub struct Reader {
    options: Decoder,
    buffer: Vec<u8>,
    /// How much of the buffer is read.
    start: usize,
    /// Offset of the buffer in the document.
    offset: usize,
    /// How much of the next item was looked at.
    scanned: usize,
    scratch: Vec<u8>,
    stack: Vec<Open>,
    due: Due,
    comma: bool,
    /// Where a definition stands that must be followed by an object or an array.
    defined: Option<usize>,
    values: usize,
    table: Table<'static>,
    finished: bool,
    failed: Option<Error>,
}

impl Reader {
    /// Reads what this decoder reads.
    pub fn new(options: Decoder) -> Self {
        Self {
            values: options.rules.limits.values,
            options,
            buffer: Vec::new(),
            start: 0,
            offset: 0,
            scanned: 0,
            scratch: Vec::new(),
            stack: Vec::new(),
            due: Due::Value,
            comma: false,
            defined: None,
            table: Table::default(),
            finished: false,
            failed: None,
        }
    }

    /// Takes octets. Step until [`Step::Incomplete`] before feeding more, or they are all held.
    ///
    /// # Errors
    ///
    /// When the document is longer than [`Limits::input`](crate::Limits::input).
    pub fn feed(&mut self, octets: &[u8]) -> Result<()> {
        if self.due != Due::Over {
            let limit = self.options.rules.limits.input;
            let held = self.offset.saturating_add(self.buffer.len());
            if held.saturating_add(octets.len()) > limit {
                let error = Error::at(ErrorKind::Limit(Limit::Input), limit);
                self.failed = Some(error.clone());
                return Err(error);
            }
        }
        // What was read is dropped when it is more than what was not, so that nothing is moved often.
        if self.start > self.buffer.len().saturating_sub(self.start) {
            self.buffer.drain(..self.start);
            self.offset = self.offset.saturating_add(self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(octets);
        Ok(())
    }

    /// There is no more input. What is incomplete now is an error, and a number in text at the end is at its end.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// How much of the document is read.
    pub fn position(&self) -> usize {
        self.offset.saturating_add(self.start)
    }

    /// What was fed and is not read: behind [`Step::End`] what follows the document.
    pub fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// What comes next.
    ///
    /// # Errors
    ///
    /// When it is no such document.
    pub fn step(&mut self) -> Result<Step<'_>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let at = self.position();
        match self.advance() {
            Ok(ready) => self.borrow(ready, at),
            Err(error) => {
                let error = error.or_at(self.position());
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    fn borrow(&mut self, ready: Ready, at: usize) -> Result<Step<'_>> {
        let (kind, octets) = match ready {
            Ready::Event(event) => return Ok(Step::Event(event)),
            Ready::Incomplete(needed) => return Ok(Step::Incomplete { needed }),
            Ready::End => return Ok(Step::End),
            Ready::Here(kind, range) => (kind, self.buffer.get(range).unwrap_or_default()),
            Ready::Scratch(kind) => (kind, self.scratch.as_slice()),
            Ready::Code(kind, code) => (
                kind,
                match self.table.get(code) {
                    Some(Found::Here(Definition::Str(text))) => text.as_bytes(),
                    Some(Found::Here(Definition::Data(octets))) => octets,
                    Some(Found::Loaded(Entry::Str(text))) => text.as_bytes(),
                    Some(Found::Loaded(Entry::Data(octets))) => octets,
                    None => &[],
                },
            ),
        };
        if kind == Kind::Data {
            return Ok(Step::Event(Event::Data(octets)));
        }
        match core::str::from_utf8(octets) {
            Ok(text) if kind == Kind::Name => Ok(Step::Event(Event::Name(text))),
            Ok(text) => Ok(Step::Event(Event::String(text))),
            Err(_) => {
                let error = Error::at(ErrorKind::Utf8, at);
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Where the next octet stands.
    fn here(&self, kind: ErrorKind) -> Error {
        Error::at(kind, self.position())
    }

    fn unexpected(&self, found: u8, expected: &'static str) -> Error {
        self.here(ErrorKind::Unexpected { found, expected })
    }

    fn pass(&mut self, octets: usize) {
        self.start = self.start.saturating_add(octets);
        self.scanned = 0;
    }

    fn advance(&mut self) -> Result<Ready> {
        loop {
            self.skip_space()?;
            if self.due == Due::Over {
                return Ok(Ready::End);
            }
            let Some(&octet) = self.rest().first() else { return self.incomplete(1) };
            if matches!(octet, 0xc4..=0xc7 | code::DICTIONARY) && self.due != Due::Colon {
                let at = self.position();
                if let Some(needed) = self.define()? {
                    return self.incomplete(needed);
                }
                self.defined.get_or_insert(at);
                continue;
            }
            if let Some(at) = self.defined
                && !matches!(octet, b'{' | b'[')
                && !self.options.definitions_anywhere
            {
                return Err(Error::at(ErrorKind::MisplacedDefinition, at));
            }
            if let Some(ready) = self.item(octet)? {
                return Ok(ready);
            }
        }
    }

    fn skip_space(&mut self) -> Result<()> {
        let space = |octet: &&u8| matches!(octet, b'\t' | b'\n' | b'\r' | b' ');
        let spaces = self.rest().iter().take_while(space).count();
        if spaces == 0 {
            return Ok(());
        }
        match (self.options.rules.canonical, self.due) {
            // Behind a canonical document it is no part of it, and stays.
            (true, Due::Over) => {}
            (true, _) => return Err(self.here(ErrorKind::NotCanonical("white space"))),
            (false, _) => self.pass(spaces),
        }
        Ok(())
    }

    fn incomplete(&self, needed: usize) -> Result<Ready> {
        if self.finished {
            let end = self.offset.saturating_add(self.buffer.len());
            return Err(Error::at(ErrorKind::Incomplete { needed }, end));
        }
        Ok(Ready::Incomplete(needed))
    }

    /// What stands at the front, by what is due. Nothing when it was a separator.
    fn item(&mut self, octet: u8) -> Result<Option<Ready>> {
        let strict = self.options.commas == Commas::Strict;
        let (end, first, next) = match self.due {
            Due::Value => return self.value(octet).map(Some),
            Due::Colon => {
                if octet != b':' {
                    return Err(self.unexpected(octet, "a colon behind a name in text"));
                }
                self.pass(1);
                self.due = Due::Value;
                return Ok(None);
            }
            Due::Over => return Ok(Some(Ready::End)),
            Due::Element { first } => (b']', first, false),
            Due::Name { first } => (b'}', first, false),
            Due::NextElement => (b']', false, true),
            Due::NextName => (b'}', false, true),
        };
        if octet == end {
            if next && strict {
                return Err(self.unexpected(octet, "another item behind the comma"));
            }
            return self.close(end).map(Some);
        }
        if !first && !next {
            if octet == b',' {
                if strict && !self.comma {
                    return Err(self.here(ErrorKind::SurplusComma));
                }
                self.pass(1);
                self.defined = None;
                self.due = if end == b']' { Due::NextElement } else { Due::NextName };
                return Ok(None);
            }
            if strict && self.comma {
                return Err(self.here(ErrorKind::MissingComma));
            }
        }
        let ready = if end == b']' { self.value(octet)? } else { self.name(octet)? };
        if !matches!(ready, Ready::Incomplete(_)) {
            self.count()?;
        }
        Ok(Some(ready))
    }

    /// One element or member more. The container is the one below what was just opened.
    fn count(&mut self) -> Result<()> {
        let inner = matches!(self.due, Due::Element { first: true } | Due::Name { first: true });
        let at = self.stack.len().checked_sub(if inner { 2 } else { 1 });
        let open = at.and_then(|at| self.stack.get_mut(at));
        if let Some(open) = open {
            match open.left.checked_sub(1) {
                Some(left) => open.left = left,
                None => return Err(self.here(ErrorKind::Limit(Limit::Members))),
            }
        }
        match self.values.checked_sub(1) {
            Some(values) => self.values = values,
            None => return Err(self.here(ErrorKind::Limit(Limit::Values))),
        }
        Ok(())
    }

    /// A value is at its end.
    fn over(&mut self, comma: bool) {
        self.comma = comma;
        self.due = match self.stack.last() {
            None => Due::Over,
            Some(open) if open.object => Due::Name { first: false },
            Some(_) => Due::Element { first: false },
        };
    }

    fn open(&mut self, object: bool) -> Result<Ready> {
        let limits = &self.options.rules.limits;
        if self.stack.len() >= usize::from(limits.depth) {
            return Err(self.here(ErrorKind::Limit(Limit::Depth)));
        }
        self.stack.push(Open { object, left: limits.members });
        self.pass(1);
        self.defined = None;
        self.due = if object { Due::Name { first: true } } else { Due::Element { first: true } };
        Ok(Ready::Event(if object { Event::ObjectStart } else { Event::ArrayStart }))
    }

    fn close(&mut self, end: u8) -> Result<Ready> {
        self.stack.pop();
        self.pass(1);
        self.defined = None;
        self.over(true);
        Ok(Ready::Event(if end == b'}' { Event::ObjectEnd } else { Event::ArrayEnd }))
    }

    /// A lexer over the next item, or how many octets of it are missing.
    fn lex<T>(
        &mut self,
        read: impl FnOnce(&mut Lexer<'_, '_>, &mut Table<'static>, &Decoder) -> Result<T>,
    ) -> Result<core::result::Result<(T, usize), usize>> {
        let mut scanned = self.scanned;
        let found = extent(self.rest(), &mut scanned, &self.options.rules);
        self.scanned = scanned;
        let len = match found {
            Extent::Whole(len) => len,
            Extent::Needs(_) if self.finished => self.rest().len(),
            Extent::Needs(needed) => return Ok(Err(needed)),
        };
        let base = self.position();
        let item = self.buffer.get(self.start..self.start.saturating_add(len)).unwrap_or_default();
        let mut lexer = Lexer::new(item, &self.options.rules);
        lexer.scratch = core::mem::take(&mut self.scratch);
        let result = read(&mut lexer, &mut self.table, &self.options);
        let read = lexer.offset();
        self.scratch = lexer.scratch;
        let value = result.map_err(|error| error.behind(base))?;
        self.pass(read);
        self.defined = None;
        Ok(Ok((value, read)))
    }

    /// A definition or a dictionary; gives how many octets are missing, if any are.
    fn define(&mut self) -> Result<Option<usize>> {
        let defined = self.defined;
        let found = self.lex(|lexer, table, options| {
            if lexer.first() == Some(code::DICTIONARY) {
                return load(lexer, table, options);
            }
            definition(lexer, table, options).map(|_| ())
        })?;
        self.defined = defined;
        Ok(found.err())
    }

    /// A string or data, of which `octet` stands here.
    fn piece(&mut self, octet: u8, kind: Kind) -> Result<Ready> {
        if matches!(octet, 0xc0..=0xc3 | 0xc8..=0xcb) {
            return self.referred(octet, kind);
        }
        let start = self.start;
        let found = self.lex(|lexer, _, options| {
            let piece = match octet {
                b'"' => {
                    lexer.text_allowed()?;
                    lexer.bump();
                    lexer.text_string()?
                }
                0x88..=0x8f => lexer.data()?,
                0x80..=0x87 => lexer.binary_string()?,
                _ => {
                    lexer.need(Dialect::B)?;
                    if options.rules.canonical {
                        return Err(lexer.error(ErrorKind::NotCanonical("a name with a code that no draft has")));
                    }
                    Piece::Borrowed(lexer.segment(0)?)
                }
            };
            Ok(match piece {
                Piece::Borrowed(octets) => Some(octets.len()),
                Piece::Scratch => None,
            })
        })?;
        let (len, read) = match found {
            Ok(found) => found,
            Err(needed) => return self.incomplete(needed),
        };
        Ok(match len {
            // The content ends where the item does, but for a quotation mark.
            Some(len) => {
                let end = start.saturating_add(read).saturating_sub(usize::from(octet == b'"'));
                Ready::Here(kind, end.saturating_sub(len)..end)
            }
            None => Ready::Scratch(kind),
        })
    }

    /// A code instead of a string or data.
    fn referred(&mut self, octet: u8, kind: Kind) -> Result<Ready> {
        let found = self.lex(|lexer, table, options| {
            let code = if octet < 0xc8 { lexer.code_number()? } else { definition(lexer, table, options)? };
            let found = table.insert(code, &options.rules.limits).map_err(|error| Error::at(error, 0))?;
            let data = matches!(found, Found::Here(Definition::Data(_)) | Found::Loaded(Entry::Data(_)));
            if data && kind == Kind::Name {
                return Err(Error::at(ErrorKind::DataAsName(code), 0));
            }
            Ok((code, data))
        })?;
        match found {
            Ok(((code, data), _)) => Ok(Ready::Code(if data { Kind::Data } else { kind }, code)),
            Err(needed) => self.incomplete(needed),
        }
    }

    fn name(&mut self, octet: u8) -> Result<Ready> {
        if !matches!(octet, b'"' | 0x80..=0x87 | 0xb4..=0xb7 | 0xc0..=0xc3 | 0xc8..=0xcb) {
            return Err(self.unexpected(octet, "the name of a member"));
        }
        let ready = self.piece(octet, Kind::Name)?;
        if !matches!(ready, Ready::Incomplete(_)) {
            self.due = if octet == b'"' { Due::Colon } else { Due::Value };
        }
        Ok(ready)
    }

    fn value(&mut self, octet: u8) -> Result<Ready> {
        let ready = match octet {
            b'{' => return self.open(true),
            b'[' => return self.open(false),
            b'"' | 0x80..=0x87 | 0xc0..=0xc3 | 0xc8..=0xcb => self.piece(octet, Kind::String)?,
            0x88..=0x8f => self.piece(octet, Kind::Data)?,
            _ => match self.lex(|lexer, _, _| plain(lexer, octet))? {
                Ok((event, _)) => Ready::Event(event),
                Err(needed) => self.incomplete(needed)?,
            },
        };
        if !matches!(ready, Ready::Incomplete(_)) {
            self.over(octet < 0x80);
        }
        Ok(ready)
    }
}

/// A number, a boolean or null.
fn plain(lexer: &mut Lexer<'_, '_>, octet: u8) -> Result<Event<'static>> {
    let number = match octet {
        b'-' | b'0'..=b'9' => {
            lexer.text_allowed()?;
            lexer.text_number()?
        }
        code::BINARY64 | 0xa0..=0xaf => lexer.binary_number()?,
        0x90..=0x9f => return lexer.scalar().map(Event::Scalar),
        code::TRUE | code::FALSE | code::NULL => {
            lexer.need(Dialect::B)?;
            lexer.bump();
            return Ok(if octet == code::NULL { Event::Null } else { Event::Bool(octet == code::TRUE) });
        }
        b't' => return lexer.word("true").map(|()| Event::Bool(true)),
        b'f' => return lexer.word("false").map(|()| Event::Bool(false)),
        b'n' => return lexer.word("null").map(|()| Event::Null),
        0x80.. => return Err(lexer.error(ErrorKind::UnassignedCode(octet))),
        _ => return Err(lexer.unexpected("a value")),
    };
    Ok(match number {
        Number::Unsigned(value) => Event::Integer(value.into()),
        Number::Signed(value) => Event::Integer(value.into()),
        Number::Large(value) => Event::Integer(value),
        Number::Float(value) => Event::Float(value),
    })
}

/// A definition, which is copied into the table; gives the code.
fn definition(lexer: &mut Lexer<'_, '_>, table: &mut Table<'static>, options: &Decoder) -> Result<u32> {
    let code = lexer.code_number()?;
    let definition = match lexer.first() {
        Some(0x80..=0x87) => {
            let piece = lexer.binary_string()?;
            Definition::Str(Cow::Owned(lexer.owned_text(piece)?))
        }
        Some(0x88..=0x8f) => {
            let piece = lexer.data()?;
            Definition::Data(Cow::Owned(lexer.owned(piece)))
        }
        _ => return Err(lexer.unexpected("a binary string or data, which a code is defined as")),
    };
    table.define(code, definition, &options.rules.limits).map_err(|kind| Error::at(kind, 0))?;
    Ok(code)
}

/// A dictionary, which is looked up among those that the decoder knows.
fn load(lexer: &mut Lexer<'_, '_>, table: &mut Table<'static>, options: &Decoder) -> Result<()> {
    lexer.need(Dialect::C)?;
    lexer.bump();
    let offset = lexer.unsigned(2)?;
    let len = lexer.unsigned(0)?;
    let digest = lexer.take(usize::try_from(len).unwrap_or(usize::MAX))?;
    let known = options.dictionaries.as_ref().and_then(|known| known.get(digest));
    let Some(dictionary) = known else { return Err(Error::at(ErrorKind::UnknownDictionary, 0)) };
    let offset = u32::try_from(offset).unwrap_or(u32::MAX);
    table.load(offset, dictionary.clone(), &options.rules.limits).map_err(|kind| Error::at(kind, 0))
}
