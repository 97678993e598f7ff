//! JSON as text: RFC 8259, compact or exactly as the author's reference programs print it.
//!
//! Octets (serde's bytes, data in JSON-B) are base64url without padding, in strings. Reading is
//! [`Decoder::text`](crate::Decoder::text), whose options it shares; types see a format that humans read.
//!
//! ```
//! use jsonbcd::{Value, text};
//!
//! let value: Value = text::from_str(r#"{"Port": 80, "Data": [1, 2.5, null]}"#)?;
//! assert_eq!(text::to_string(&value)?, r#"{"Port":80,"Data":[1,2.5,null]}"#);
//! assert_eq!(text::to_reference_vec(&value)?, b"{\n  \"Port\": 80,\n  \"Data\": [1,\n    2.5,\n    null]}");
//! # Ok::<(), jsonbcd::Error>(())
//! ```

mod print;
mod ser;

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::decoder::Decoder;
use crate::error::{Error, ErrorKind, Result};
use crate::options::Limits;
use crate::sink::Sink;

pub use ser::Serializer;

/// How text is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[allow(clippy::exhaustive_enums, reason = "there are these two")]
pub enum Style {
    /// Without white space. Always legal JSON.
    #[default]
    Compact,
    /// As the reference programs print: members on lines of their own, two spaces for each level, elements behind the
    /// first too, and a raw LF inside strings before every 48 octets of binary: **not legal JSON** where there are
    /// octets. For those who check authentication codes over such text.
    Reference,
}

/// Writes values as JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoder {
    pub(crate) style: Style,
    pub(crate) depth: u16,
}

impl Encoder {
    /// Writes compactly.
    pub const fn new() -> Self {
        Self { style: Style::Compact, depth: Limits::DEFAULT.depth }
    }

    /// Writes as the reference programs do.
    pub const fn reference() -> Self {
        Self::new().with_style(Style::Reference)
    }

    /// Writes in this style.
    pub const fn with_style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    /// Refuses to nest deeper than this. Default 128.
    pub const fn with_depth(mut self, depth: u16) -> Self {
        self.depth = depth;
        self
    }

    /// Writes a value.
    ///
    /// # Errors
    ///
    /// When it nests too deep, or has something that JSON has no form for: a float that is no number or infinite, a
    /// float of JSON-D beyond binary64, a map with keys that are no names.
    pub fn to_vec<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>> {
        let mut octets = Vec::with_capacity(256);
        self.to_writer(&mut octets, value)?;
        Ok(octets)
    }

    /// Writes a value as a string.
    ///
    /// # Errors
    ///
    /// As [`to_vec`](Self::to_vec).
    pub fn to_string<T: Serialize + ?Sized>(&self, value: &T) -> Result<String> {
        String::from_utf8(self.to_vec(value)?).map_err(|_| Error::new(ErrorKind::Utf8))
    }

    /// Appends a value to a sink.
    ///
    /// # Errors
    ///
    /// As [`to_vec`](Self::to_vec), and those of the sink. Then part of the value may have been written.
    pub fn to_writer<T: Serialize + ?Sized>(&self, sink: impl Sink, value: &T) -> Result<()> {
        value.serialize(&mut Serializer::new(sink, *self))
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes a value as compact JSON.
///
/// # Errors
///
/// As [`Encoder::to_vec`].
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    Encoder::new().to_string(value)
}

/// Writes a value as compact JSON.
///
/// # Errors
///
/// As [`Encoder::to_vec`].
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    Encoder::new().to_vec(value)
}

/// Appends a value as compact JSON.
///
/// # Errors
///
/// As [`Encoder::to_writer`].
pub fn to_writer<T: Serialize + ?Sized>(sink: impl Sink, value: &T) -> Result<()> {
    Encoder::new().to_writer(sink, value)
}

/// Writes a value exactly as the reference programs print it: see [`Style::Reference`].
///
/// # Errors
///
/// As [`Encoder::to_vec`].
pub fn to_reference_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    Encoder::reference().to_vec(value)
}

/// Reads a value from legal JSON text, which must be all of the input.
///
/// # Errors
///
/// As [`Decoder::from_slice`].
pub fn from_slice<'de, T: Deserialize<'de>>(input: &'de [u8]) -> Result<T> {
    static DECODER: Decoder = Decoder::text();
    DECODER.from_slice(input)
}

/// Reads a value from legal JSON text.
///
/// # Errors
///
/// As [`Decoder::from_slice`].
pub fn from_str<'de, T: Deserialize<'de>>(input: &'de str) -> Result<T> {
    from_slice(input.as_bytes())
}
