//! JSON, JSON-B, JSON-C and JSON-D as serde's values.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod access;
mod dispatch;
mod key;

use alloc::borrow::Cow;
use alloc::boxed::Box;

use serde::de::{Error as _, Unexpected, Visitor};

use crate::base64url;
use crate::code;
use crate::decoder::Decoder;
use crate::dictionary::Entry;
use crate::error::{Error, ErrorKind, Limit, Result};
use crate::integer::Integer;
use crate::lexer::{Lexer, Number, Piece};
use crate::options::{Commas, Dialect};
use crate::table::{Definition, Found, Table};
use access::{MapAccess, RawAccess, SeqAccess};

/// The name under which [`Value`](crate::Value) asks a deserializer of this crate for what serde has no name for.
pub(crate) const LOSSLESS: &str = "$jsonbcd::value";

const VALUE: &str = "a value";

/// Reads values for serde; [`Decoder`] says how.
#[derive(Debug)]
pub struct Deserializer<'de, 'o> {
    lexer: Lexer<'de, 'o>,
    options: &'o Decoder,
    /// How many more values there may be.
    values: usize,
    /// Strings and data of fewer octets than this, in one segment whose length has one octet, need no further look.
    short: usize,
    depth: u16,
    /// The last value was an object, an array or text: a comma is due behind it.
    comma: bool,
    /// Binary integers, and lengths, of one and two octets need no further look.
    plain: bool,
    table: Option<Box<Table<'de>>>,
}

/// A string that was read, where it is.
enum Text<'de> {
    Borrowed(&'de str),
    Scratch,
}

impl<'de, 'o> Deserializer<'de, 'o> {
    #[inline]
    pub(crate) fn new(input: &'de [u8], options: &'o Decoder) -> Self {
        let rules = &options.rules;
        let binary = rules.dialect != Dialect::Json;
        Self {
            lexer: Lexer::new(input, rules),
            options,
            values: rules.limits.values,
            short: if binary { rules.limits.item.saturating_add(1) } else { 0 },
            depth: rules.limits.depth,
            comma: false,
            plain: binary && !rules.canonical,
            table: None,
        }
    }

    /// Whether only text is read.
    #[inline]
    fn is_text(&self) -> bool {
        self.options.rules.dialect == Dialect::Json
    }

    /// How much of the input is read.
    pub fn offset(&self) -> usize {
        self.lexer.offset()
    }

    /// Sees to it that nothing but white space is left.
    ///
    /// # Errors
    ///
    /// When something is.
    #[inline]
    pub fn end(&mut self) -> Result<()> {
        self.lexer.skip_space()?;
        match self.lexer.first() {
            None => Ok(()),
            Some(found) => Err(self.lexer.error(ErrorKind::Trailing { found })),
        }
    }

    /// The first octet of the next item, white space and definitions before it passed.
    #[inline]
    fn peek(&mut self, expected: &'static str) -> Result<u8> {
        match self.lexer.first() {
            Some(octet @ b'!'..0xc4) => Ok(octet),
            _ => self.peek_further(expected),
        }
    }

    #[inline(never)]
    fn peek_further(&mut self, expected: &'static str) -> Result<u8> {
        let mut defined = None;
        loop {
            self.lexer.skip_space()?;
            match self.lexer.first() {
                Some(0xc4..=0xc7) => {
                    defined.get_or_insert_with(|| self.lexer.offset());
                    self.define()?;
                }
                Some(code::DICTIONARY) => {
                    defined.get_or_insert_with(|| self.lexer.offset());
                    self.load()?;
                }
                Some(octet) => {
                    return match defined {
                        Some(at) if !matches!(octet, b'{' | b'[') && !self.options.definitions_anywhere => {
                            Err(Error::at(ErrorKind::MisplacedDefinition, at))
                        }
                        _ => Ok(octet),
                    };
                }
                None => return Err(self.lexer.unexpected(expected)),
            }
        }
    }

    /// A definition, of which the lexer stands at the code; gives what was defined.
    #[cold]
    fn define(&mut self) -> Result<u32> {
        let at = self.lexer.offset();
        let code = self.lexer.code_number()?;
        let definition = match self.lexer.first() {
            Some(0x80..=0x87) => match self.lexer.binary_string()? {
                Piece::Borrowed(octets) => Definition::Str(Cow::Borrowed(self.lexer.utf8(octets)?)),
                piece @ Piece::Scratch => Definition::Str(Cow::Owned(self.lexer.owned_text(piece)?)),
            },
            Some(0x88..=0x8f) => match self.lexer.data()? {
                Piece::Borrowed(octets) => Definition::Data(Cow::Borrowed(octets)),
                piece @ Piece::Scratch => Definition::Data(Cow::Owned(self.lexer.owned(piece))),
            },
            _ => return Err(self.lexer.unexpected("a binary string or data, which a code is defined as")),
        };
        let limits = &self.options.rules.limits;
        self.table.get_or_insert_default().define(code, definition, limits).map_err(|kind| Error::at(kind, at))?;
        Ok(code)
    }

    /// A dictionary, of which the lexer stands at the code.
    #[cold]
    fn load(&mut self) -> Result<()> {
        let at = self.lexer.offset();
        self.lexer.need(Dialect::C)?;
        self.lexer.bump();
        let offset = self.lexer.unsigned(2)?;
        let len = self.lexer.unsigned(0)?;
        let digest = self.lexer.take(usize::try_from(len).unwrap_or(usize::MAX))?;
        let known = self.options.dictionaries.as_ref().and_then(|known| known.get(digest));
        let Some(dictionary) = known else { return Err(Error::at(ErrorKind::UnknownDictionary, at)) };
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        let limits = &self.options.rules.limits;
        self.table.get_or_insert_default().load(offset, dictionary.clone(), limits).map_err(|kind| Error::at(kind, at))
    }

    /// What stands behind a reference, or a definition that is also inserted: a string, or data.
    #[cold]
    fn referred(&mut self) -> Result<Referred<'de>> {
        let at = self.lexer.offset();
        let code = match self.lexer.first() {
            Some(0xc8..=0xcb) => self.define()?,
            _ => self.lexer.code_number()?,
        };
        let found = self
            .table
            .get_or_insert_default()
            .insert(code, &self.options.rules.limits)
            .map_err(|kind| Error::at(kind, at))?;
        let scratch = &mut self.lexer.scratch;
        let (octets, is_text) = match found {
            Found::Here(Definition::Str(Cow::Borrowed(text))) => return Ok(Referred::Text(Text::Borrowed(text))),
            Found::Here(Definition::Data(Cow::Borrowed(octets))) => {
                return Ok(Referred::Data(Piece::Borrowed(octets), code));
            }
            Found::Here(Definition::Str(text)) => (text.as_bytes(), true),
            Found::Here(Definition::Data(octets)) => (&**octets, false),
            Found::Loaded(Entry::Str(text)) => (text.as_bytes(), true),
            Found::Loaded(Entry::Data(octets)) => (&**octets, false),
        };
        scratch.clear();
        scratch.extend_from_slice(octets);
        Ok(if is_text { Referred::Text(Text::Scratch) } else { Referred::Data(Piece::Scratch, code) })
    }

    /// Such a piece as text.
    #[inline]
    fn text(&self, piece: Piece<'de>) -> Result<Text<'de>> {
        match piece {
            Piece::Borrowed(octets) => self.lexer.utf8(octets).map(Text::Borrowed),
            Piece::Scratch => Ok(Text::Scratch),
        }
    }

    /// A member's name, and the colon behind it if it is text. `octet` stands here.
    fn name(&mut self, octet: u8) -> Result<Text<'de>> {
        match octet {
            b'"' => {
                self.lexer.text_allowed()?;
                self.lexer.bump();
                let piece = self.lexer.text_string()?;
                let text = self.text(piece)?;
                self.lexer.skip_space()?;
                self.lexer.expect(b':', "a colon behind a name in text")?;
                Ok(text)
            }
            0x80..=0x87 => {
                let piece = self.lexer.binary_string()?;
                self.text(piece)
            }
            0xb4..=0xb7 => {
                self.lexer.need(Dialect::B)?;
                if self.options.rules.canonical {
                    return Err(self.lexer.error(ErrorKind::NotCanonical("a name with a code that no draft has")));
                }
                let octets = self.lexer.segment(0)?;
                self.lexer.utf8(octets).map(Text::Borrowed)
            }
            0xc0..=0xc3 | 0xc8..=0xcb => {
                let at = self.lexer.offset();
                match self.referred()? {
                    Referred::Text(text) => Ok(text),
                    Referred::Data(_, code) => Err(Error::at(ErrorKind::DataAsName(code), at)),
                }
            }
            _ => Err(self.lexer.unexpected("the name of a member")),
        }
    }

    /// Passes what stands between a value and what follows it, of which `octet` is the first. Gives the first octet of
    /// the next item, or of the end.
    #[inline]
    fn separate(&mut self, octet: u8, end: u8) -> Result<u8> {
        let due = self.comma;
        if octet != b',' {
            if octet == end || !due || self.options.commas == Commas::Lenient {
                return Ok(octet);
            }
            return Err(self.lexer.error(ErrorKind::MissingComma));
        }
        let strict = self.options.commas == Commas::Strict;
        if !due && strict {
            return Err(self.lexer.error(ErrorKind::SurplusComma));
        }
        self.lexer.bump();
        let octet = self.peek(VALUE)?;
        if octet == end && strict {
            return Err(self.lexer.unexpected("another item behind the comma"));
        }
        Ok(octet)
    }

    /// Goes one deeper.
    #[inline]
    fn enter(&mut self) -> Result<()> {
        match self.depth.checked_sub(1) {
            Some(depth) => {
                self.depth = depth;
                self.comma = false;
                self.lexer.bump();
                Ok(())
            }
            None => Err(self.lexer.error(ErrorKind::Limit(Limit::Depth))),
        }
    }

    /// One element or member more, of at most so many in its array or object.
    #[inline]
    fn count(&mut self, left: &mut usize) -> Result<()> {
        if *left == 0 || self.values == 0 {
            return Err(self.too_many(*left));
        }
        *left = left.wrapping_sub(1);
        self.values = self.values.wrapping_sub(1);
        Ok(())
    }

    #[cold]
    fn too_many(&self, left: usize) -> Error {
        self.lexer.error(ErrorKind::Limit(if left == 0 { Limit::Members } else { Limit::Values }))
    }

    /// Comes out of an array or object, of which nothing but the end may be left.
    #[inline]
    fn leave(&mut self, end: u8, expected: &'static str) -> Result<()> {
        if self.lexer.first() != Some(end) {
            self.find_end(end, expected)?;
        }
        self.lexer.bump();
        self.depth = self.depth.saturating_add(1);
        self.comma = true;
        Ok(())
    }

    #[inline(never)]
    fn find_end(&mut self, end: u8, expected: &'static str) -> Result<()> {
        let mut octet = self.peek(expected)?;
        if octet == b',' && self.options.commas == Commas::Lenient {
            self.lexer.bump();
            octet = self.peek(expected)?;
        }
        if octet == end { Ok(()) } else { Err(self.lexer.unexpected(expected)) }
    }

    fn visit_array<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        self.enter()?;
        let value = visitor.visit_seq(SeqAccess::new(self))?;
        self.leave(b']', "the end of the array")?;
        Ok(value)
    }

    /// An object, of which these may be the names.
    fn visit_object<V: Visitor<'de>>(&mut self, visitor: V, names: &'static [&'static str]) -> Result<V::Value> {
        self.enter()?;
        let value = visitor.visit_map(MapAccess::new(self, names))?;
        self.leave(b'}', "the end of the object")?;
        Ok(value)
    }

    #[inline]
    fn visit_text<V: Visitor<'de>>(&mut self, text: Text<'de>, visitor: V) -> Result<V::Value> {
        match text {
            Text::Borrowed(text) => visitor.visit_borrowed_str(text),
            Text::Scratch => visitor.visit_str(self.lexer.scratch_str()?),
        }
    }

    fn visit_data<V: Visitor<'de>>(&mut self, piece: Piece<'de>, visitor: V) -> Result<V::Value> {
        match piece {
            Piece::Borrowed(octets) => visitor.visit_borrowed_bytes(octets),
            Piece::Scratch => visitor.visit_byte_buf(core::mem::take(&mut self.lexer.scratch)),
        }
    }

    /// A string, of which `octet` stands here; or nothing when it begins something else.
    #[inline]
    fn string(&mut self, octet: u8) -> Result<Option<Text<'de>>> {
        let piece = match octet {
            0x80..=0x87 => self.lexer.binary_string()?,
            b'"' => {
                self.lexer.text_allowed()?;
                self.lexer.bump();
                self.lexer.text_string()?
            }
            _ => return Ok(None),
        };
        self.comma = octet < 0x80;
        self.text(piece).map(Some)
    }

    /// A number that is not a float of JSON-D, of which `octet` stands here; or nothing.
    fn number(&mut self, octet: u8) -> Result<Option<Number>> {
        let number = match octet {
            b'-' | b'0'..=b'9' => {
                self.lexer.text_allowed()?;
                self.lexer.text_number()?
            }
            code::BINARY64 | 0xa0..=0xaf => self.lexer.binary_number()?,
            _ => return Ok(None),
        };
        self.comma = octet < 0x80;
        Ok(Some(number))
    }

    /// `null`, if it stands here.
    #[inline]
    fn null(&mut self, octet: u8) -> Result<bool> {
        match octet {
            code::NULL => {
                self.lexer.need(Dialect::B)?;
                self.lexer.bump();
                self.comma = false;
                Ok(true)
            }
            b'n' => {
                self.lexer.word("null")?;
                self.comma = true;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Whatever stands here. What serde has no name for reaches those who ask for it as an enumeration.
    fn visit_any<V: Visitor<'de>>(&mut self, visitor: V, lossless: bool) -> Result<V::Value> {
        let octet = self.peek(VALUE)?;
        match octet {
            b'{' => return self.visit_object(visitor, &[]),
            b'[' => return self.visit_array(visitor),
            _ => {}
        }
        if let Some(text) = self.string(octet)? {
            return self.visit_text(text, visitor);
        }
        if let Some(number) = self.number(octet)? {
            return match number {
                Number::Unsigned(value) => visitor.visit_u64(value),
                Number::Signed(value) => visitor.visit_i64(value),
                Number::Float(value) => visitor.visit_f64(value),
                Number::Large(value) => visit_large(&value, visitor, lossless),
            };
        }
        self.comma = octet < 0x80;
        match octet {
            0x88..=0x8f => {
                let piece = self.lexer.data()?;
                self.visit_data(piece, visitor)
            }
            code::TRUE | code::FALSE => {
                self.lexer.need(Dialect::B)?;
                self.lexer.bump();
                visitor.visit_bool(octet == code::TRUE)
            }
            b't' => self.lexer.word("true").and_then(|()| visitor.visit_bool(true)),
            b'f' => self.lexer.word("false").and_then(|()| visitor.visit_bool(false)),
            code::NULL | b'n' => self.null(octet).and_then(|_| visitor.visit_unit()),
            0x90..=0x9f => {
                let scalar = self.lexer.scalar()?;
                match scalar.to_f64() {
                    _ if lossless => visitor.visit_enum(RawAccess { code: scalar.code(), octets: scalar.octets() }),
                    Some(value) => visitor.visit_f64(value),
                    None => Err(Error::new(ErrorKind::NotRepresentable(
                        "a float beyond binary64, except as jsonbcd::Value or jsonbcd::Scalar",
                    ))),
                }
            }
            0xc0..=0xc3 | 0xc8..=0xcb => match self.referred()? {
                Referred::Text(text) => self.visit_text(text, visitor),
                Referred::Data(piece, _) => self.visit_data(piece, visitor),
            },
            0x80.. => Err(self.lexer.error(ErrorKind::UnassignedCode(octet))),
            _ => Err(self.lexer.unexpected(VALUE)),
        }
    }

    /// An integer, or whatever the visitor makes of something else.
    #[inline]
    fn visit_integer<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        // The commonest integers by far.
        let (value, rest) = match self.lexer.rest() {
            [code::P_INT8, value, rest @ ..] if self.plain => (u64::from(*value), rest),
            [code::P_INT16, a, b, rest @ ..] if self.plain => (u64::from(u16::from_be_bytes([*a, *b])), rest),
            _ => return self.visit_any(visitor, false),
        };
        self.lexer.resume(rest);
        self.comma = false;
        visitor.visit_u64(value)
    }

    /// A float: any number, as near as can be.
    fn visit_float<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        let octet = self.peek(VALUE)?;
        if !matches!(octet, b'-' | b'0'..=b'9' | 0xa0..=0xaf) {
            return self.visit_any(visitor, false);
        }
        match self.number(octet)? {
            Some(Number::Large(value)) => visitor.visit_f64(value.to_f64()),
            Some(Number::Unsigned(value)) => visitor.visit_u64(value),
            Some(Number::Signed(value)) => visitor.visit_i64(value),
            Some(Number::Float(value)) => visitor.visit_f64(value),
            None => Err(self.lexer.unexpected("a number")),
        }
    }

    /// What stands in one segment with this code, whose length has one octet: nearly all strings, and short data.
    #[inline]
    fn short(&self, code: u8) -> Option<(&'de [u8], &'de [u8])> {
        match self.lexer.rest() {
            [first, len, rest @ ..] if *first == code && usize::from(*len) < self.short => {
                rest.split_at_checked(usize::from(*len))
            }
            _ => None,
        }
    }

    /// The same with a length of two octets, as certificates have.
    #[inline]
    fn longer(&self, code: u8) -> Option<(&'de [u8], &'de [u8])> {
        match self.lexer.rest() {
            [first, a, b, rest @ ..] if *first == code | 1 && self.plain => {
                let len = usize::from(u16::from_be_bytes([*a, *b]));
                if len < self.short { rest.split_at_checked(len) } else { None }
            }
            _ => None,
        }
    }

    /// A name among these, of which `next` is where to look first; nothing when it is another one, or no short string.
    /// Comparing is faster than looking whether it is UTF-8, and names mostly come in their order.
    #[inline]
    fn known_name(&mut self, names: &'static [&'static str], next: &mut usize) -> Option<&'static str> {
        let (octets, rest) = self.short(code::STRING_TERM)?;
        let candidates = names.get(*next..).unwrap_or_default();
        for (at, &name) in candidates.iter().enumerate() {
            if name.len() == octets.len() && name.as_bytes() == octets {
                *next = next.saturating_add(at).saturating_add(1);
                self.lexer.resume(rest);
                return Some(name);
            }
        }
        None
    }

    #[inline]
    fn short_string(&mut self) -> Result<Option<&'de str>> {
        let Some((octets, rest)) = self.short(code::STRING_TERM) else { return Ok(None) };
        self.lexer.resume(rest);
        self.comma = false;
        self.lexer.utf8(octets).map(Some)
    }

    #[inline]
    fn visit_string<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        match self.short_string()? {
            Some(text) => visitor.visit_borrowed_str(text),
            None => self.visit_other_string(visitor),
        }
    }

    fn visit_other_string<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        let octet = self.peek(VALUE)?;
        if let Some(text) = self.string(octet)? {
            return self.visit_text(text, visitor);
        }
        let refused = |octets: &[u8], visitor: &V| Err(Error::invalid_type(Unexpected::Bytes(octets), visitor));
        match octet {
            // Types that take strings also take octets that look like one. They shall not.
            0x88..=0x8f => {
                self.lexer.data()?;
                refused(&[], &visitor)
            }
            0xc0..=0xc3 | 0xc8..=0xcb => {
                self.comma = false;
                match self.referred()? {
                    Referred::Text(text) => self.visit_text(text, visitor),
                    Referred::Data(..) => refused(&[], &visitor),
                }
            }
            _ => self.visit_any(visitor, false),
        }
    }

    #[inline]
    fn visit_bytes<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        if let Some((octets, rest)) = self.short(code::DATA_TERM).or_else(|| self.longer(code::DATA_TERM)) {
            self.lexer.resume(rest);
            self.comma = false;
            return visitor.visit_borrowed_bytes(octets);
        }
        self.visit_other_bytes(visitor)
    }

    fn visit_other_bytes<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        let octet = self.peek(VALUE)?;
        if let 0x88..=0x8f = octet {
            let piece = self.lexer.data()?;
            self.comma = false;
            return self.visit_data(piece, visitor);
        }
        let at = self.lexer.offset();
        let text = match octet {
            0xc0..=0xc3 | 0xc8..=0xcb => {
                self.comma = false;
                match self.referred()? {
                    Referred::Data(piece, _) => return self.visit_data(piece, visitor),
                    Referred::Text(text) => text,
                }
            }
            _ => match self.string(octet)? {
                Some(text) => text,
                None => return self.visit_any(visitor, false),
            },
        };
        let text = match text {
            Text::Borrowed(text) => text,
            Text::Scratch => self.lexer.scratch_str()?,
        };
        let decoded = base64url::decode(text, self.options.lenient_base64);
        visitor.visit_byte_buf(decoded.map_err(|_| Error::at(ErrorKind::Base64, at))?)
    }

    /// Passes a value of which nothing is wanted.
    fn visit_ignored<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        let octet = self.peek(VALUE)?;
        match octet {
            0x90 | 0x91 | 0x93..=0x9f => {
                self.comma = false;
                self.lexer.scalar()?;
                visitor.visit_unit()
            }
            b'-' | b'0'..=b'9' | code::BINARY64 | 0xa0..=0xaf => {
                self.number(octet)?;
                visitor.visit_unit()
            }
            _ => self.visit_any(visitor, false),
        }
    }
}

/// What a reference stands for.
enum Referred<'de> {
    Text(Text<'de>),
    Data(Piece<'de>, u32),
}

/// An integer beyond 64 bits.
#[cold]
fn visit_large<'de, V: Visitor<'de>>(value: &Integer, visitor: V, lossless: bool) -> Result<V::Value> {
    if let Some(value) = value.as_i128() {
        return visitor.visit_i128(value);
    }
    if let Some(value) = value.as_u128() {
        return visitor.visit_u128(value);
    }
    if lossless {
        let code = if value.is_negative() { code::N_INT8 } else { code::P_INT8 };
        return visitor.visit_enum(RawAccess { code, octets: &value.magnitude() });
    }
    Err(Error::new(ErrorKind::NotRepresentable(
        "an integer of more than 128 bits, except as jsonbcd::Value or jsonbcd::Integer",
    )))
}
