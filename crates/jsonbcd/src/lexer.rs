//! One lexeme at a time, of text and of binary. draft-hallambaker-jsonbcd sections 3 to 6, RFC 8259.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use alloc::string::String;
use alloc::vec::Vec;

use crate::code;
use crate::error::{Error, ErrorKind, Limit, Result};
use crate::integer::Integer;
use crate::options::{Dialect, Limits, Profile};
use crate::scalar::Scalar;

/// What may be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) dialect: Dialect,
    pub(crate) profile: Profile,
    /// Strings and numbers in binary only: the drafts' JSON-B0 and JSON-C0.
    pub(crate) binary_only: bool,
    /// Only what our writer writes.
    pub(crate) canonical: bool,
    /// Raw TAB, LF and CR inside text strings.
    pub(crate) raw_controls: bool,
    pub(crate) limits: Limits,
}

/// The octets of a string or of data: borrowed, or put together in [`Lexer::scratch`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Piece<'a> {
    Borrowed(&'a [u8]),
    Scratch,
}

/// A number as read.
#[derive(Debug, Clone)]
pub(crate) enum Number {
    Unsigned(u64),
    Signed(i64),
    /// Beyond 64 bits.
    Large(Integer),
    Float(f64),
}

/// Reads lexemes from the front of what is left.
#[derive(Debug)]
pub(crate) struct Lexer<'a, 'o> {
    rest: &'a [u8],
    /// Offset of the end of `rest`.
    end: usize,
    pub(crate) scratch: Vec<u8>,
    pub(crate) rules: &'o Rules,
}

impl<'a, 'o> Lexer<'a, 'o> {
    #[inline]
    pub(crate) fn new(input: &'a [u8], rules: &'o Rules) -> Self {
        Self { rest: input, end: input.len(), scratch: Vec::new(), rules }
    }

    /// The offset of what is left.
    pub(crate) fn offset(&self) -> usize {
        self.end.saturating_sub(self.rest.len())
    }

    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Goes on from `rest`, which is an end of what was left.
    #[inline]
    pub(crate) fn resume(&mut self, rest: &'a [u8]) {
        self.rest = rest;
    }

    #[inline]
    pub(crate) fn first(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Passes the octet that [`first`](Self::first) saw.
    #[inline]
    pub(crate) fn bump(&mut self) {
        if let Some((_, rest)) = self.rest.split_first() {
            self.rest = rest;
        }
    }

    /// An error where the lexer stands.
    #[cold]
    pub(crate) fn error(&self, kind: ErrorKind) -> Error {
        Error::at(kind, self.offset())
    }

    /// An error because of the octet where the lexer stands, or because there is none.
    #[cold]
    pub(crate) fn unexpected(&self, expected: &'static str) -> Error {
        self.error(match self.first() {
            Some(found) => ErrorKind::Unexpected { found, expected },
            None => ErrorKind::Incomplete { needed: 1 },
        })
    }

    /// Passes exactly this octet.
    #[inline]
    pub(crate) fn expect(&mut self, octet: u8, expected: &'static str) -> Result<()> {
        match self.rest.split_first() {
            Some((&first, rest)) if first == octet => {
                self.rest = rest;
                Ok(())
            }
            _ => Err(self.unexpected(expected)),
        }
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        match self.rest.split_at_checked(len) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.error(ErrorKind::Incomplete { needed: len.saturating_sub(self.rest.len()) })),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        match self.rest.split_first_chunk() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(self.error(ErrorKind::Incomplete { needed: N.saturating_sub(self.rest.len()) })),
        }
    }

    /// Big-endian, in 1, 2, 4 or 8 octets.
    pub(crate) fn unsigned(&mut self, width: u8) -> Result<u64> {
        Ok(match width & 3 {
            0 => u64::from(self.array::<1>().map(|[octet]| octet)?),
            1 => u64::from(u16::from_be_bytes(self.array()?)),
            2 => u64::from(u32::from_be_bytes(self.array()?)),
            _ => u64::from_be_bytes(self.array()?),
        })
    }

    /// Passes white space of text.
    #[inline]
    pub(crate) fn skip_space(&mut self) -> Result<()> {
        let Some(b'\t' | b'\n' | b'\r' | b' ') = self.first() else { return Ok(()) };
        if self.rules.canonical {
            return Err(self.error(ErrorKind::NotCanonical("white space")));
        }
        let text = self.rest.iter().position(|octet| !matches!(octet, b'\t' | b'\n' | b'\r' | b' '));
        self.rest = text.and_then(|text| self.rest.get(text..)).unwrap_or_default();
        Ok(())
    }

    /// Refuses what is beyond the dialect.
    #[inline]
    pub(crate) fn need(&self, dialect: Dialect) -> Result<()> {
        if self.rules.dialect >= dialect { Ok(()) } else { Err(self.beyond()) }
    }

    #[cold]
    fn beyond(&self) -> Error {
        self.error(ErrorKind::NotInDialect {
            found: self.first().unwrap_or_default(),
            dialect: self.rules.dialect.name(),
        })
    }

    /// Refuses strings and numbers in text where they must be binary.
    #[inline]
    pub(crate) fn text_allowed(&self) -> Result<()> {
        if !(self.rules.binary_only || self.rules.canonical) {
            return Ok(());
        }
        Err(self.error(if self.rules.canonical {
            ErrorKind::NotCanonical("text")
        } else {
            ErrorKind::NotInDialect { found: self.first().unwrap_or_default(), dialect: "binary lexemes" }
        }))
    }

    /// A string in binary, all its segments. The lexer stands at its first code.
    #[inline]
    pub(crate) fn binary_string(&mut self) -> Result<Piece<'a>> {
        self.segments(code::STRING_TERM, "strings")
    }

    /// Data, all its segments. The lexer stands at its first code.
    #[inline]
    pub(crate) fn data(&mut self) -> Result<Piece<'a>> {
        self.segments(code::DATA_TERM, "data")
    }

    fn segments(&mut self, term: u8, what: &'static str) -> Result<Piece<'a>> {
        self.need(Dialect::B)?;
        if self.first().is_some_and(|first| first & 0xfc == term) {
            return self.segment(0).map(Piece::Borrowed);
        }
        if self.rules.canonical {
            return Err(self.error(ErrorKind::NotCanonical("chunks")));
        }
        self.scratch.clear();
        loop {
            let last = match self.first() {
                Some(first) if first & 0xfc == term => true,
                Some(first) if first & 0xf8 == term => false,
                Some(found) => return Err(self.error(ErrorKind::MixedChunks { found, expected: what })),
                None => return Err(self.error(ErrorKind::Incomplete { needed: 2 })),
            };
            let segment = self.segment(self.scratch.len())?;
            self.scratch.extend_from_slice(segment);
            if last {
                return Ok(Piece::Scratch);
            }
        }
    }

    /// One segment of which the code stands here, when so many octets came before it.
    pub(crate) fn segment(&mut self, before: usize) -> Result<&'a [u8]> {
        let at = self.rest;
        let width = self.first().unwrap_or_default() & 3;
        self.bump();
        let len = self.unsigned(width)?;
        if self.rules.canonical && wider_than_needed(width, len) {
            self.rest = at;
            return Err(self.error(ErrorKind::NotCanonical("a length wider than needed")));
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if before.saturating_add(len) > self.rules.limits.item {
            self.rest = at;
            return Err(self.error(ErrorKind::Limit(Limit::Item)));
        }
        self.take(len)
    }

    /// The octets of such a piece as text.
    #[inline]
    pub(crate) fn utf8(&self, octets: &'a [u8]) -> Result<&'a str> {
        match core::str::from_utf8(octets) {
            Ok(text) => Ok(text),
            Err(error) => {
                let behind = octets.len().saturating_sub(error.valid_up_to());
                Err(Error::at(ErrorKind::Utf8, self.offset().saturating_sub(behind)))
            }
        }
    }

    /// What was put together, as text.
    #[inline]
    pub(crate) fn scratch_str(&self) -> Result<&str> {
        core::str::from_utf8(&self.scratch).map_err(|_| self.error(ErrorKind::Utf8))
    }

    /// A string in text, behind its first quotation mark, which was passed.
    pub(crate) fn text_string(&mut self) -> Result<Piece<'a>> {
        let Some(end) = memchr::memchr2(b'"', b'\\', self.rest) else { return Err(self.endless()) };
        let (plain, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
        self.controls(plain)?;
        if plain.len() > self.rules.limits.item {
            return Err(self.error(ErrorKind::Limit(Limit::Item)));
        }
        if let Some((b'"', rest)) = rest.split_first() {
            self.rest = rest;
            return Ok(Piece::Borrowed(plain));
        }
        self.scratch.clear();
        self.unescape()?;
        Ok(Piece::Scratch)
    }

    /// The string has no end: because of something in it, or because it is not all there yet.
    #[cold]
    fn endless(&self) -> Error {
        match self.controls(self.rest) {
            Err(error) => error,
            Ok(()) if self.rest.len() > self.rules.limits.item => self.error(ErrorKind::Limit(Limit::Item)),
            Ok(()) => Error::at(ErrorKind::Incomplete { needed: 1 }, self.end),
        }
    }

    /// Refuses raw control characters, where the first stands.
    fn controls(&self, plain: &[u8]) -> Result<()> {
        if !plain.iter().fold(false, |any, &octet| any | (octet < 0x20)) {
            return Ok(());
        }
        let raw = self.rules.raw_controls;
        let refused = |octet: &u8| *octet < 0x20 && !(raw && matches!(octet, b'\t' | b'\n' | b'\r'));
        match plain.iter().position(refused).and_then(|at| Some((at, plain.get(at)?))) {
            None => Ok(()),
            Some((at, &octet)) => Err(Error::at(ErrorKind::Control(octet), self.offset().saturating_add(at))),
        }
    }

    /// The string into `scratch`, up to its end.
    fn unescape(&mut self) -> Result<()> {
        loop {
            let Some(end) = memchr::memchr2(b'"', b'\\', self.rest) else { return Err(self.endless()) };
            let (plain, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
            self.controls(plain)?;
            if self.scratch.len().saturating_add(plain.len()) > self.rules.limits.item {
                return Err(self.error(ErrorKind::Limit(Limit::Item)));
            }
            self.scratch.extend_from_slice(plain);
            self.rest = rest;
            if self.first() == Some(b'"') {
                self.bump();
                return Ok(());
            }
            let character = self.escape()?;
            self.scratch.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }

    /// The character that an escape stands for. The lexer stands at its backslash.
    fn escape(&mut self) -> Result<char> {
        let start = self.offset();
        let wrong = || Error::at(ErrorKind::Escape, start);
        let [_, kind] = self.array()?;
        Ok(match kind {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hexadecimal(wrong)?;
                let code = if first & 0xfc00 == 0xd800 {
                    for due in *b"\\u" {
                        match self.first() {
                            Some(found) if found == due => self.bump(),
                            Some(_) => return Err(wrong()),
                            None => return Err(self.unexpected("the second half of a surrogate pair")),
                        }
                    }
                    let second = self.hexadecimal(wrong)?;
                    if second & 0xfc00 != 0xdc00 {
                        return Err(wrong());
                    }
                    ((first & 0x3ff) << 10 | second & 0x3ff).saturating_add(0x1_0000)
                } else {
                    first
                };
                char::from_u32(code).ok_or_else(wrong)?
            }
            _ => return Err(wrong()),
        })
    }

    fn hexadecimal(&mut self, wrong: impl Fn() -> Error) -> Result<u32> {
        (0..4).try_fold(0, |value: u32, _| {
            let Some(digit) = self.first() else { return Err(self.unexpected("a hexadecimal digit")) };
            let digit = char::from(digit).to_digit(16).ok_or_else(&wrong)?;
            self.bump();
            Ok(value << 4 | digit)
        })
    }

    /// A number in text. The lexer stands at its minus or first digit.
    pub(crate) fn text_number(&mut self) -> Result<Number> {
        let at = self.rest;
        let error = |this: &mut Self, kind| {
            let place = this.offset();
            Err(Error::at(kind, place))
        };
        let negative = self.first() == Some(b'-');
        if negative {
            self.bump();
        }
        let mut value = 0u64;
        let mut fits = true;
        let mut digits = 0usize;
        let whole = self.rest;
        while let Some(digit @ b'0'..=b'9') = self.first() {
            match value.checked_mul(10).and_then(|value| value.checked_add(u64::from(digit & 15))) {
                Some(next) => value = next,
                None => fits = false,
            }
            self.bump();
            digits = digits.saturating_add(1);
            if digits > self.rules.limits.digits {
                return error(self, ErrorKind::Limit(Limit::Digits));
            }
        }
        if digits == 0 {
            return match self.first() {
                None => error(self, ErrorKind::Incomplete { needed: 1 }),
                Some(_) => error(self, ErrorKind::Number("no digit behind the minus")),
            };
        }
        if digits > 1 && whole.first() == Some(&b'0') {
            return error(self, ErrorKind::Number("a leading zero"));
        }
        if matches!(self.first(), Some(b'.' | b'e' | b'E')) {
            return self.float(at);
        }
        match (negative, fits) {
            (false, true) => Ok(Number::Unsigned(value)),
            // JSON has a minus zero and integers have none.
            (true, true) if value == 0 => Ok(Number::Float(-0.0)),
            (true, true) if value <= 1 << 63 => Ok(Number::Signed(0i64.wrapping_sub_unsigned(value))),
            _ => Ok(Number::Large(Integer::from_digits(negative, whole.get(..digits).unwrap_or_default()))),
        }
    }

    /// The rest of a number with a fraction or an exponent, which began at `at`.
    fn float(&mut self, at: &'a [u8]) -> Result<Number> {
        if self.first() == Some(b'.') {
            self.bump();
            self.digits("no digit behind the point")?;
        }
        if let Some(b'e' | b'E') = self.first() {
            self.bump();
            if let Some(b'+' | b'-') = self.first() {
                self.bump();
            }
            self.digits("no digit in the exponent")?;
        }
        let len = at.len().saturating_sub(self.rest.len());
        if len > self.rules.limits.digits {
            return Err(self.error(ErrorKind::Limit(Limit::Digits)));
        }
        let text = at.get(..len).and_then(|text| core::str::from_utf8(text).ok()).unwrap_or_default();
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Number::Float(value)),
            _ => Err(self.error(ErrorKind::NumberRange)),
        }
    }

    fn digits(&mut self, none: &'static str) -> Result<()> {
        let count = self.rest.iter().position(|octet| !octet.is_ascii_digit()).unwrap_or(self.rest.len());
        if count == 0 {
            return Err(match self.first() {
                None => self.error(ErrorKind::Incomplete { needed: 1 }),
                Some(_) => self.error(ErrorKind::Number(none)),
            });
        }
        self.take(count).map(|_| ())
    }

    /// `true`, `false` or `null` in text.
    pub(crate) fn word(&mut self, word: &'static str) -> Result<()> {
        if self.rules.canonical {
            return Err(self.error(ErrorKind::NotCanonical("text")));
        }
        for &octet in word.as_bytes() {
            self.expect(octet, word)?;
        }
        Ok(())
    }

    /// A number in binary that is not a [`Scalar`]. The lexer stands at its code.
    pub(crate) fn binary_number(&mut self) -> Result<Number> {
        let at = self.rest;
        let code = self.first().unwrap_or_default();
        self.need(Dialect::B)?;
        let newer = self.rules.profile == Profile::Bcd16Plus;
        match code {
            code::BINARY64 => {
                self.bump();
                return Ok(Number::Float(f64::from_be_bytes(self.array()?)));
            }
            0xa0..=0xa3 | 0xa8..=0xab => {
                self.bump();
                let value = self.unsigned(code)?;
                if self.rules.canonical && (wider_than_needed(code & 3, value) || (code >= code::N_INT8 && value == 0))
                {
                    self.rest = at;
                    return Err(self.error(ErrorKind::NotCanonical("an integer wider than needed, or minus zero")));
                }
                return Ok(match 0i64.checked_sub_unsigned(value) {
                    _ if code < code::N_INT8 || value == 0 => Number::Unsigned(value),
                    Some(value) => Number::Signed(value),
                    None => Number::Large(Integer::from_magnitude(true, &value.to_be_bytes())),
                });
            }
            _ => {}
        }
        let negative = code & 8 != 0;
        let (magnitude, dialect) = match code {
            code::P_INT128 | code::N_INT128 => (self.fixed(16)?, Dialect::D),
            code::A5 if newer => (self.fixed(32)?, Dialect::D),
            code::A6 if newer => (self.fixed(64)?, Dialect::D),
            code::A7 | code::AF if newer => (self.big()?, Dialect::B),
            code::A5 | code::AD if !newer => (self.big()?, Dialect::B),
            _ => return Err(self.error(ErrorKind::UnassignedCode(code))),
        };
        if self.rules.canonical {
            self.canonical_integer(at, code, magnitude)?;
        }
        let behind = core::mem::replace(&mut self.rest, at);
        self.need(dialect)?;
        self.rest = behind;
        Ok(match (negative, u64_of(magnitude)) {
            (_, Some(0)) => Number::Unsigned(0),
            (false, Some(value)) => Number::Unsigned(value),
            (true, Some(value)) if value <= 1 << 63 => Number::Signed(0i64.wrapping_sub_unsigned(value)),
            _ => Number::Large(Integer::from_magnitude(negative, magnitude)),
        })
    }

    /// Behind the code, so many octets.
    fn fixed(&mut self, len: usize) -> Result<&'a [u8]> {
        self.bump();
        self.take(len)
    }

    /// Behind the code, a length of two octets and as many.
    fn big(&mut self) -> Result<&'a [u8]> {
        let at = self.rest;
        self.bump();
        let len = usize::from(u16::from_be_bytes(self.array()?));
        if len > self.rules.limits.item {
            self.rest = at;
            return Err(self.error(ErrorKind::Limit(Limit::Item)));
        }
        self.take(len)
    }

    /// Whether our writer would have written this magnitude with this code.
    fn canonical_integer(&mut self, at: &'a [u8], code: u8, magnitude: &[u8]) -> Result<()> {
        let start = magnitude.iter().position(|&octet| octet != 0).unwrap_or(magnitude.len());
        let significant = magnitude.len().saturating_sub(start);
        let fixed = matches!(code, code::P_INT128 | code::N_INT128);
        let fits = if self.rules.dialect == Dialect::D {
            if fixed { significant > 8 } else { start == 0 && significant > 16 }
        } else {
            start == 0 && significant > 8
        };
        let digest = self.rules.profile == Profile::Bcd16Plus && matches!(code, code::A5 | code::A6);
        if fits && !digest {
            return Ok(());
        }
        self.rest = at;
        Err(self.error(ErrorKind::NotCanonical("an integer wider than needed")))
    }

    /// A float of JSON-D. The lexer stands at its code.
    pub(crate) fn scalar(&mut self) -> Result<Scalar> {
        let code = self.first().unwrap_or_default();
        let Some(width) = Scalar::width(code) else {
            return Err(self.error(ErrorKind::UnassignedCode(code)));
        };
        self.need(Dialect::D)?;
        self.bump();
        let octets = self.take(width)?;
        Scalar::from_code(code, octets).ok_or_else(|| self.error(ErrorKind::UnassignedCode(code)))
    }

    /// The number of a JSON-C code: behind its tag, in 1, 2 or 4 octets. The lexer stands at the tag.
    pub(crate) fn code_number(&mut self) -> Result<u32> {
        let tag = self.first().unwrap_or_default();
        if tag & 3 == 3 {
            return Err(self.error(ErrorKind::UnassignedCode(tag)));
        }
        self.need(Dialect::C)?;
        let at = self.rest;
        self.bump();
        let value = self.unsigned(tag)?;
        if self.rules.canonical && wider_than_needed(tag & 3, value) {
            self.rest = at;
            return Err(self.error(ErrorKind::NotCanonical("a code wider than needed")));
        }
        Ok(u32::try_from(value).unwrap_or(u32::MAX))
    }

    /// An owned copy of a piece.
    pub(crate) fn owned_text(&mut self, piece: Piece<'a>) -> Result<String> {
        match piece {
            Piece::Borrowed(octets) => self.utf8(octets).map(String::from),
            Piece::Scratch => self.scratch_str().map(String::from),
        }
    }

    /// An owned copy of a piece.
    pub(crate) fn owned(&mut self, piece: Piece<'a>) -> Vec<u8> {
        match piece {
            Piece::Borrowed(octets) => octets.to_vec(),
            Piece::Scratch => core::mem::take(&mut self.scratch),
        }
    }
}

/// Whether a number of that width code (0 to 3: 1, 2, 4, 8 octets) fits the width below.
fn wider_than_needed(width: u8, value: u64) -> bool {
    match width & 3 {
        0 => false,
        1 => value <= 0xff,
        2 => value <= 0xffff,
        _ => value <= 0xffff_ffff,
    }
}

/// Big-endian octets of any length, if 64 bits hold them.
fn u64_of(magnitude: &[u8]) -> Option<u64> {
    let start = magnitude.iter().position(|&octet| octet != 0).unwrap_or(magnitude.len());
    let significant = magnitude.get(start..)?;
    (significant.len() <= 8).then(|| significant.iter().fold(0, |value, &octet| value << 8 | u64::from(octet)))
}
