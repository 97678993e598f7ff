//! How to read: [`Decoder`].

use alloc::sync::Arc;

use serde::Deserialize;

use crate::de::Deserializer;
use crate::dictionary::Dictionaries;
use crate::error::{Error, ErrorKind, Limit, Result};
use crate::lexer::Rules;
use crate::options::{Commas, Dialect, Limits, Profile};

/// Reads documents: of all four dialects at once, because each contains the one before it.
///
/// ```
/// use jsonbcd::{Decoder, Dialect, Limits, Profile};
///
/// let decoder = Decoder::new()
///     .with_dialect(Dialect::B)
///     .with_profile(Profile::Bcd01)
///     .with_limits(Limits::DEFAULT.with_depth(32).with_input(65_536));
/// let numbers: Vec<u32> = decoder.from_slice(b"[\xa0\x2a 43, 44]")?;
/// assert_eq!(numbers, [42, 43, 44]);
/// # Ok::<(), jsonbcd::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Decoder {
    pub(crate) rules: Rules,
    pub(crate) commas: Commas,
    /// Definitions of codes may stand before any item.
    pub(crate) definitions_anywhere: bool,
    pub(crate) lenient_base64: bool,
    pub(crate) dictionaries: Option<Arc<Dictionaries>>,
}

impl Decoder {
    /// Reads JSON-D, and so everything, with the codes of later drafts and strictly.
    pub const fn new() -> Self {
        Self {
            rules: Rules {
                dialect: Dialect::D,
                profile: Profile::Bcd16Plus,
                binary_only: false,
                canonical: false,
                raw_controls: false,
                limits: Limits::DEFAULT,
            },
            commas: Commas::Strict,
            definitions_anywhere: false,
            lenient_base64: false,
            dictionaries: None,
        }
    }

    /// Reads JSON text only. Types see a format that humans read.
    pub const fn text() -> Self {
        Self::new().with_dialect(Dialect::Json)
    }

    /// Reads this dialect and what it contains. [`Dialect::Json`] makes types see a format that humans read.
    pub const fn with_dialect(mut self, dialect: Dialect) -> Self {
        self.rules.dialect = dialect;
        self
    }

    /// Reads big numbers with the codes of that revision.
    pub const fn with_profile(mut self, profile: Profile) -> Self {
        self.rules.profile = profile;
        self
    }

    /// Keeps other limits.
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.rules.limits = limits;
        self
    }

    /// Asks for commas as the grammar does, or does not mind them.
    pub const fn with_commas(mut self, commas: Commas) -> Self {
        self.commas = commas;
        self
    }

    /// Refuses strings and numbers in text: the drafts' JSON-B0 and JSON-C0 instead of JSON-B1 and JSON-C1.
    pub const fn with_binary_only(mut self, on: bool) -> Self {
        self.rules.binary_only = on;
        self
    }

    /// Refuses every form but the one that [`Encoder`](crate::Encoder) writes, so that equal values are equal octets:
    /// shortest lengths and integers, no chunks, no text, no white space, exact commas, names as strings or codes.
    /// (The order of members, and which names have codes, stay the writer's choice.)
    pub const fn with_canonical(mut self, on: bool) -> Self {
        self.rules.canonical = on;
        self
    }

    /// Takes raw TAB, LF and CR inside text strings, which JSON forbids and OmniBroker's examples have.
    pub const fn with_raw_controls(mut self, on: bool) -> Self {
        self.rules.raw_controls = on;
        self
    }

    /// Takes `+` and `/` in base64url.
    pub const fn with_lenient_base64(mut self, on: bool) -> Self {
        self.lenient_base64 = on;
        self
    }

    /// Takes definitions of codes before any item instead of objects and arrays only.
    pub const fn with_definitions_anywhere(mut self, on: bool) -> Self {
        self.definitions_anywhere = on;
        self
    }

    /// Takes everything that can be understood: commas, raw controls, both alphabets of base64, definitions anywhere.
    pub const fn lenient(self) -> Self {
        self.with_commas(Commas::Lenient)
            .with_raw_controls(true)
            .with_lenient_base64(true)
            .with_definitions_anywhere(true)
    }

    /// Knows these dictionaries.
    pub fn with_dictionaries(mut self, dictionaries: impl Into<Arc<Dictionaries>>) -> Self {
        self.dictionaries = Some(dictionaries.into());
        self
    }

    /// Reads a value, which must be all of the input. Strings and data in one segment can be borrowed from it.
    ///
    /// # Errors
    ///
    /// When the input is no such document, or the type refuses it. [`Error::offset`] says where.
    #[inline]
    pub fn from_slice<'de, T: Deserialize<'de>>(&self, input: &'de [u8]) -> Result<T> {
        if input.len() > self.rules.limits.input {
            return Err(Error::at(ErrorKind::Limit(Limit::Input), self.rules.limits.input));
        }
        let mut deserializer = self.deserializer(input);
        match T::deserialize(&mut deserializer) {
            Ok(value) => deserializer.end().map(|()| value),
            Err(error) => Err(error.or_at(deserializer.offset())),
        }
    }

    /// Reads a value that owns all it has.
    ///
    /// # Errors
    ///
    /// As [`from_slice`](Self::from_slice), and those of the reader. No more is read than [`Limits::input`] admits.
    #[cfg(feature = "std")]
    pub fn from_reader<T: serde::de::DeserializeOwned>(&self, reader: impl std::io::Read) -> Result<T> {
        use std::io::Read as _;
        let mut input = alloc::vec::Vec::new();
        let most = u64::try_from(self.rules.limits.input).unwrap_or(u64::MAX).saturating_add(1);
        reader.take(most).read_to_end(&mut input).map_err(|error| Error::new(ErrorKind::Io(error.kind())))?;
        self.from_slice(&input)
    }

    /// The deserializer itself, to read several values or none of this crate's types.
    #[inline]
    pub fn deserializer<'de>(&self, input: &'de [u8]) -> Deserializer<'de, '_> {
        Deserializer::new(input, self)
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}
