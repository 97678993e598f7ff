//! How to write: [`Encoder`].

use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::Serialize;

use crate::dictionary::Loaded;
use crate::error::Result;
use crate::options::{Dialect, Limits, Profile};
use crate::ser::Serializer;
use crate::sink::Sink;

/// Writes values as JSON-B, or as a larger dialect; always in the canonical form: shortest lengths and integers, no
/// chunks, no text, commas only behind objects and arrays.
///
/// ```
/// use jsonbcd::{Dialect, Encoder};
///
/// let pairs = [[("Name", 1)], [("Name", 2)]].map(std::collections::BTreeMap::from);
/// assert_eq!(Encoder::new().to_vec(&pairs)?, b"[{\x80\x04Name\xa0\x01},{\x80\x04Name\xa0\x02}]");
/// // JSON-C defines the name when it comes first, and then refers to it.
/// let compressed = Encoder::new().with_dialect(Dialect::C).to_vec(&pairs)?;
/// assert_eq!(compressed, b"[{\xc8\x00\x80\x04Name\xa0\x01},{\xc0\x00\xa0\x02}]");
/// # Ok::<(), jsonbcd::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Encoder {
    pub(crate) dialect: Dialect,
    pub(crate) profile: Profile,
    pub(crate) depth: u16,
    pub(crate) reference_names: bool,
    pub(crate) dictionary: Option<Arc<Loaded>>,
}

impl Encoder {
    /// Writes JSON-B with the codes of later drafts.
    pub const fn new() -> Self {
        Self {
            dialect: Dialect::B,
            profile: Profile::Bcd16Plus,
            depth: Limits::DEFAULT.depth,
            reference_names: false,
            dictionary: None,
        }
    }

    /// Writes another dialect. From C on names that repeat are replaced by codes; in D `f32` takes four octets and
    /// integers up to 128 bits sixteen. [`Dialect::Json`] is written by [`text`](crate::text), and here the same as B.
    pub const fn with_dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// Writes big numbers with the codes of that revision.
    pub const fn with_profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Refuses to nest deeper than this. Default 128.
    pub const fn with_depth(mut self, depth: u16) -> Self {
        self.depth = depth;
        self
    }

    /// Writes names with the codes B4 to B7, for the author's programs of 2022. No draft has these.
    pub const fn with_reference_names(mut self, on: bool) -> Self {
        self.reference_names = on;
        self
    }

    /// Begins documents with loading this dictionary, and writes its codes for the names in it (JSON-C and JSON-D).
    pub fn with_dictionary(mut self, dictionary: impl Into<Arc<Loaded>>) -> Self {
        self.dictionary = Some(dictionary.into());
        self
    }

    /// Writes a value.
    ///
    /// # Errors
    ///
    /// When it nests too deep, or has something that has no form here: a map with keys that are no names, an integer
    /// of more than 65,535 octets.
    pub fn to_vec<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>> {
        let mut octets = Vec::with_capacity(256);
        self.to_writer(&mut octets, value)?;
        Ok(octets)
    }

    /// Appends a value to a sink: a vector that is used again and again costs no allocation.
    ///
    /// # Errors
    ///
    /// As [`to_vec`](Self::to_vec), and those of the sink. Then part of the value may have been written.
    #[inline]
    pub fn to_writer<T: Serialize + ?Sized>(&self, sink: impl Sink, value: &T) -> Result<()> {
        let mut serializer = Serializer::new(sink, self)?;
        value.serialize(&mut serializer)
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}
