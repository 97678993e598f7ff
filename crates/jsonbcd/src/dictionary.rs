//! Dictionaries of JSON-C: codes and what they stand for, agreed on beforehand and named by a digest.
//! draft-hallambaker-jsonbcd section 5.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::code;
use crate::error::{Error, ErrorKind, Limit, Result};
use crate::lexer::{Lexer, Piece};
use crate::options::Limits;
use crate::{Decoder, Sink, Writer};

/// What a code of a dictionary stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "strings and data are what a code can replace")]
pub enum Entry {
    /// A string, or the name of a member.
    Str(Box<str>),
    /// Octets.
    Data(Box<[u8]>),
}

impl Entry {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Str(text) => text.len(),
            Self::Data(octets) => octets.len(),
        }
    }
}

/// Codes and what they stand for.
///
/// ```
/// use jsonbcd::dictionary::{Dictionary, Entry};
///
/// let dictionary = Dictionary::decode(b"\xc4\x21\x80\x05Hello")?;
/// assert_eq!(dictionary.get(0x21), Some(&Entry::Str("Hello".into())));
/// assert_eq!(dictionary.encode(), b"\xc4\x21\x80\x05Hello");
/// # Ok::<(), jsonbcd::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dictionary(BTreeMap<u32, Entry>);

impl Dictionary {
    /// One without codes.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Gives each of these names a code, counting from `first`, in this order. Codes below 256 cost two octets, others
    /// below 65,536 three.
    pub fn of_names<'n>(first: u32, names: impl IntoIterator<Item = &'n str>) -> Self {
        Self((first..).zip(names).map(|(code, name)| (code, Entry::Str(name.into()))).collect())
    }

    /// Reads the form whose digest names it: definitions one behind the other (`C4 21 80 05 …`), and nothing else.
    ///
    /// # Errors
    ///
    /// When there is anything else, a code twice, or more than [`Limits::codes`] and [`Limits::code_octets`] admit.
    pub fn decode(octets: &[u8]) -> Result<Self> {
        let decoder = Decoder::new();
        let limits: Limits = decoder.rules.limits;
        let mut lexer = Lexer::new(octets, &decoder.rules);
        let mut dictionary = Self::new();
        let mut total = 0usize;
        while let Some(first) = lexer.first() {
            if first & 0xfc != code::DEFINE {
                return Err(lexer.unexpected("a definition"));
            }
            let code = lexer.code_number()?;
            let entry = match lexer.first() {
                Some(0x80..=0x87) => {
                    let piece = lexer.binary_string()?;
                    Entry::Str(lexer.owned_text(piece)?.into_boxed_str())
                }
                Some(0x88..=0x8f) => match lexer.data()? {
                    Piece::Borrowed(octets) => Entry::Data(octets.into()),
                    Piece::Scratch => Entry::Data(lexer.scratch.as_slice().into()),
                },
                _ => return Err(lexer.unexpected("a binary string or data")),
            };
            total = total.saturating_add(entry.len());
            if total > limits.code_octets {
                return Err(lexer.error(ErrorKind::Limit(Limit::CodeOctets)));
            }
            if dictionary.0.len() >= limits.codes {
                return Err(lexer.error(ErrorKind::Limit(Limit::Codes)));
            }
            if dictionary.0.insert(code, entry).is_some() {
                return Err(lexer.error(ErrorKind::RedefinedCode(code)));
            }
        }
        Ok(dictionary)
    }

    /// Writes the form whose digest names it, codes ascending, each as short as it can be.
    pub fn encode(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        let mut writer = Writer::new(&mut octets);
        for (code, entry) in self.iter() {
            writer.define(code, entry).expect("a vector is never full");
        }
        octets
    }

    /// Gives a code a meaning; returns the one it had.
    pub fn insert(&mut self, code: u32, entry: Entry) -> Option<Entry> {
        self.0.insert(code, entry)
    }

    /// What a code stands for.
    pub fn get(&self, code: u32) -> Option<&Entry> {
        self.0.get(&code)
    }

    /// All codes, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Entry)> {
        self.0.iter().map(|(&code, entry)| (code, entry))
    }

    /// How many codes it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The dictionaries that a reader knows, by the octets that documents name them by. Nothing is ever fetched.
///
/// The drafts disagree about what these octets are (an object identifier and a digest in the first, a fingerprint of
/// another format later), and all of the examples are wrong. So they are opaque here: register a dictionary under
/// whatever its documents say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dictionaries(BTreeMap<Box<[u8]>, Arc<Dictionary>>);

impl Dictionaries {
    /// None.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Registers one; returns the one that was registered under these octets.
    pub fn register(&mut self, digest: &[u8], dictionary: impl Into<Arc<Dictionary>>) -> Option<Arc<Dictionary>> {
        self.0.insert(digest.into(), dictionary.into())
    }

    /// The one that is registered under these octets.
    pub fn get(&self, digest: &[u8]) -> Option<&Arc<Dictionary>> {
        self.0.get(digest)
    }
}

/// A dictionary that a document begins with loading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    pub(crate) offset: u32,
    pub(crate) digest: Box<[u8]>,
    pub(crate) names: BTreeMap<Box<str>, u32>,
}

impl Loaded {
    /// The dictionary under this digest, its codes counted from `offset`.
    ///
    /// # Errors
    ///
    /// When the digest is longer than 255 octets, or a code with the offset beyond 32 bits.
    pub fn new(digest: &[u8], offset: u32, dictionary: &Dictionary) -> Result<Self> {
        if digest.len() > 255 {
            return Err(Error::new(ErrorKind::NotRepresentable("a digest of more than 255 octets")));
        }
        let mut names = BTreeMap::new();
        for (code, entry) in dictionary.iter() {
            let code = offset.checked_add(code);
            let code = code.ok_or_else(|| Error::new(ErrorKind::NotRepresentable("a code of more than 32 bits")))?;
            if let Entry::Str(text) = entry {
                names.entry(text.clone()).or_insert(code);
            }
        }
        Ok(Self { offset, digest: digest.into(), names })
    }

    pub(crate) fn write(&self, writer: &mut Writer<impl Sink>) -> Result<()> {
        writer.dictionary(self.offset, &self.digest)
    }
}
