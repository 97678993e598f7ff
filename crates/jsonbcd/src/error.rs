//! Errors: what is wrong, where, and what was due there instead.

use alloc::boxed::Box;
use alloc::string::ToString;
use core::fmt;

/// Why something could not be read or written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    kind: ErrorKind,
    offset: Option<usize>,
}

impl Error {
    #[cold]
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self(Box::new(Inner { kind, offset: None }))
    }

    #[cold]
    pub(crate) fn at(kind: ErrorKind, offset: usize) -> Self {
        Self(Box::new(Inner { kind, offset: Some(offset) }))
    }

    /// Gives an offset to an error that has none, such as those of types that refuse a value.
    #[cold]
    pub(crate) fn or_at(mut self, offset: usize) -> Self {
        self.0.offset.get_or_insert(offset);
        self
    }

    /// The same when so many octets stand before what the offset counts from.
    pub(crate) fn behind(mut self, octets: usize) -> Self {
        self.0.offset = self.0.offset.map(|offset| offset.saturating_add(octets));
        self
    }

    /// What is wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// How many octets of the input stand before the place where it is wrong. When a type refused a value this is the
    /// end of that value. `None` when writing.
    pub fn offset(&self) -> Option<usize> {
        self.0.offset
    }

    /// If the input is merely too short: how many octets are needed at least before it makes sense to try again.
    pub fn needed(&self) -> Option<usize> {
        match self.0.kind {
            ErrorKind::Incomplete { needed } => Some(needed),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.offset {
            Some(offset) => write!(f, "{} (octet {offset})", self.0.kind),
            None => write!(f, "{}", self.0.kind),
        }
    }
}

impl core::error::Error for Error {}

impl serde::de::Error for Error {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(ErrorKind::Refused(message.to_string().into_boxed_str()))
    }

    #[cold]
    fn duplicate_field(field: &'static str) -> Self {
        Self::new(ErrorKind::DuplicateName(field.into()))
    }
}

impl serde::ser::Error for Error {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(ErrorKind::Refused(message.to_string().into_boxed_str()))
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input ends too early.
    #[error("the input ends where at least {needed} more octets are due")]
    Incomplete {
        /// How many are due at least; one where only reading on can tell.
        needed: usize,
    },
    /// Something else is due here.
    #[error("found {found:#04x} where {expected} is due")]
    Unexpected {
        /// The octet that stands here.
        found: u8,
        /// What should.
        expected: &'static str,
    },
    /// Octets behind the end of the document.
    #[error("{found:#04x} behind the end of the document")]
    Trailing {
        /// The first of them.
        found: u8,
    },
    /// The octet is the code of nothing in the profile that was chosen. CC, CD and CE ("tag dictionary definition") are
    /// the codes of something whose meaning no draft gives.
    #[error("code {0:#04x} is not assigned")]
    UnassignedCode(u8),
    /// The lexeme belongs to a larger dialect than was allowed, or to text where only binary lexemes are.
    #[error("{found:#04x} begins something that is not allowed in {dialect}")]
    NotInDialect {
        /// The octet that begins it.
        found: u8,
        /// What is allowed.
        dialect: &'static str,
    },
    /// A string is not UTF-8.
    #[error("a string is not utf-8")]
    Utf8,
    /// An escape that JSON does not know, or half a surrogate pair.
    #[error("an escape in a string that stands for no character")]
    Escape,
    /// A raw control character inside a text string.
    #[error("control character {0:#04x} inside a string; it must be escaped")]
    Control(u8),
    /// A text number that is none.
    #[error("a number is malformed: {0}")]
    Number(&'static str),
    /// A text number that no binary64 can hold.
    #[error("a number is beyond what can be held")]
    NumberRange,
    /// A text string where octets are due is not base64url.
    #[error("a string is not base64url")]
    Base64,
    /// A run of string chunks ends with data, or one of data chunks with a string.
    #[error("{found:#04x} inside a run of chunks of {expected}")]
    MixedChunks {
        /// The octet that stands there.
        found: u8,
        /// What the run is of.
        expected: &'static str,
    },
    /// A comma is missing: it is required behind objects, arrays and text.
    #[error("a comma is due behind an object, an array or a text value")]
    MissingComma,
    /// A comma where none belongs: behind a binary value.
    #[error("no comma may stand behind a binary value")]
    SurplusComma,
    /// The same member name twice in an object.
    #[error("the name {0:?} stands twice in an object")]
    DuplicateName(Box<str>),
    /// A code is used before it is defined.
    #[error("code {0:#x} is not defined")]
    UndefinedCode(u32),
    /// A code is defined twice.
    #[error("code {0:#x} is already defined")]
    RedefinedCode(u32),
    /// No dictionary is registered under this digest.
    #[error("no dictionary is registered under the digest given")]
    UnknownDictionary,
    /// A definition stands before something else than an object or an array.
    #[error("definitions may stand only before an object or an array")]
    MisplacedDefinition,
    /// A code stands for data where a name is due.
    #[error("code {0:#x} stands for data where a name is due")]
    DataAsName(u32),
    /// One of [`Limits`](crate::Limits) is exceeded.
    #[error("limit exceeded: {0}")]
    Limit(Limit),
    /// Well-formed, but not the one canonical form that was asked for.
    #[error("not canonical: {0}")]
    NotCanonical(&'static str),
    /// The value has no form in the dialect that is written or in the type that is read.
    #[error("cannot be represented: {0}")]
    NotRepresentable(&'static str),
    /// A frame's end does not mirror its beginning.
    #[error("the end of a frame does not mirror its beginning")]
    Frame,
    /// A type refused a value, in its words.
    #[error("{0}")]
    Refused(Box<str>),
    /// The sink is full.
    #[error("the sink is full")]
    SinkFull,
    /// The writer behind the sink failed.
    #[cfg(feature = "std")]
    #[error("writing failed: {0}")]
    Io(std::io::ErrorKind),
}

/// Which of [`Limits`](crate::Limits).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::input`](crate::Limits::input).
    #[error("octets of input")]
    Input,
    /// [`Limits::depth`](crate::Limits::depth).
    #[error("nesting depth")]
    Depth,
    /// [`Limits::item`](crate::Limits::item).
    #[error("octets of a string or data item")]
    Item,
    /// [`Limits::digits`](crate::Limits::digits).
    #[error("digits of a number")]
    Digits,
    /// [`Limits::members`](crate::Limits::members).
    #[error("members of one array or object")]
    Members,
    /// [`Limits::values`](crate::Limits::values).
    #[error("values in the document")]
    Values,
    /// [`Limits::codes`](crate::Limits::codes).
    #[error("defined codes")]
    Codes,
    /// [`Limits::code_octets`](crate::Limits::code_octets).
    #[error("octets of defined codes")]
    CodeOctets,
    /// [`Limits::expansion`](crate::Limits::expansion).
    #[error("octets inserted for codes")]
    Expansion,
    /// [`Limits::dictionaries`](crate::Limits::dictionaries).
    #[error("dictionaries")]
    Dictionaries,
}

/// What can go wrong here.
pub type Result<T> = core::result::Result<T, Error>;
