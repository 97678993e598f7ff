//! JSON's tokens and the two layouts.

use alloc::format;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Style;
use crate::error::{Error, ErrorKind, Result};
use crate::integer::Integer;
use crate::sink::Sink;

/// Writes tokens, and what the layout puts between them.
#[derive(Debug)]
pub(super) struct Printer<S> {
    sink: S,
    style: Style,
    indent: usize,
}

impl<S: Sink> Printer<S> {
    pub(super) fn new(sink: S, style: Style) -> Self {
        Self { sink, style, indent: 0 }
    }

    #[inline]
    pub(super) fn put(&mut self, octets: &[u8]) -> Result<()> {
        self.sink.put(octets)
    }

    /// `{` or `[`.
    #[inline]
    pub(super) fn open(&mut self, octet: u8) -> Result<()> {
        self.indent = self.indent.saturating_add(1);
        self.sink.put_octet(octet)
    }

    /// `}` or `]`, which stand where the last item ended.
    #[inline]
    pub(super) fn close(&mut self, octet: u8) -> Result<()> {
        self.indent = self.indent.saturating_sub(1);
        self.sink.put_octet(octet)
    }

    fn line(&mut self) -> Result<()> {
        self.sink.put_octet(b'\n')?;
        (0..self.indent).try_for_each(|_| self.sink.put(b"  "))
    }

    /// What stands before an element.
    #[inline]
    pub(super) fn element(&mut self, first: bool) -> Result<()> {
        if first {
            return Ok(());
        }
        self.sink.put_octet(b',')?;
        if self.style == Style::Reference { self.line() } else { Ok(()) }
    }

    /// A name, what stands before it, and its colon.
    #[inline]
    pub(super) fn name(&mut self, name: &str, first: bool) -> Result<()> {
        if !first {
            self.sink.put_octet(b',')?;
        }
        if self.style == Style::Reference {
            self.line()?;
            self.string(name)?;
            return self.sink.put(b": ");
        }
        self.string(name)?;
        self.sink.put_octet(b':')
    }

    /// A string, with escapes where JSON wants them and nowhere else.
    pub(super) fn string(&mut self, text: &str) -> Result<()> {
        self.sink.put_octet(b'"')?;
        let mut rest = text.as_bytes();
        let special = |octet: &u8| *octet < 0x20 || matches!(octet, b'"' | b'\\');
        while let Some(at) = rest.iter().position(special) {
            let (plain, behind) = rest.split_at(at);
            self.sink.put(plain)?;
            let Some((&octet, behind)) = behind.split_first() else { break };
            rest = behind;
            match octet {
                b'"' => self.sink.put(b"\\\"")?,
                b'\\' => self.sink.put(b"\\\\")?,
                b'\n' => self.sink.put(b"\\n")?,
                b'\r' => self.sink.put(b"\\r")?,
                b'\t' => self.sink.put(b"\\t")?,
                0x08 => self.sink.put(b"\\b")?,
                0x0c => self.sink.put(b"\\f")?,
                _ => self.sink.put(format!("\\u{octet:04x}").as_bytes())?,
            }
        }
        self.sink.put(rest)?;
        self.sink.put_octet(b'"')
    }

    /// Octets as base64url in a string.
    pub(super) fn data(&mut self, octets: &[u8]) -> Result<()> {
        // Both are multiples of three, so that no piece but the last has a remainder.
        const LINE: usize = 48;
        const PIECE: usize = 480;
        let piece = if self.style == Style::Reference { LINE } else { PIECE };
        let mut memory = [0; PIECE / 3 * 4];
        self.sink.put_octet(b'"')?;
        for octets in octets.chunks(piece) {
            if self.style == Style::Reference {
                self.sink.put_octet(b'\n')?;
            }
            let len = URL_SAFE_NO_PAD
                .encode_slice(octets, &mut memory)
                .map_err(|_| Error::new(ErrorKind::NotRepresentable("a piece too large for its buffer")))?;
            self.sink.put(memory.get(..len).unwrap_or_default())?;
        }
        self.sink.put_octet(b'"')
    }

    pub(super) fn unsigned(&mut self, mut value: u64) -> Result<()> {
        let mut digits = [0u8; 20];
        let mut start = digits.len();
        loop {
            start = start.saturating_sub(1);
            if let Some(digit) = digits.get_mut(start) {
                *digit = b'0' | u8::try_from(value % 10).unwrap_or_default();
            }
            value /= 10;
            if value == 0 {
                return self.sink.put(digits.get(start..).unwrap_or_default());
            }
        }
    }

    pub(super) fn signed(&mut self, value: i64) -> Result<()> {
        if value < 0 {
            self.sink.put_octet(b'-')?;
        }
        self.unsigned(value.unsigned_abs())
    }

    pub(super) fn integer(&mut self, value: &Integer) -> Result<()> {
        self.sink.put(format!("{value}").as_bytes())
    }

    /// A float, with as few digits as tell it from all others, and with a point or an exponent, so that it stays one.
    pub(super) fn float(&mut self, value: f64) -> Result<()> {
        if !value.is_finite() {
            return Err(Error::new(ErrorKind::NotRepresentable("nan and infinity in json")));
        }
        self.sink.put(format!("{value:?}").as_bytes())
    }

    /// The same, of as few digits as a binary32 needs.
    pub(super) fn short_float(&mut self, value: f32) -> Result<()> {
        if !value.is_finite() {
            return self.float(value.into());
        }
        self.sink.put(format!("{value:?}").as_bytes())
    }
}
