//! One item at a time into a [`Sink`], each as short as it can be: the canonical form. draft-hallambaker-jsonbcd
//! sections 3 to 6.

use crate::code;
use crate::dictionary::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::integer::Integer;
use crate::options::{Dialect, Profile};
use crate::scalar::Scalar;
use crate::sink::Sink;

/// Writes items of JSON-B, JSON-C and JSON-D, and the commas between them.
///
/// It writes what it is told: that objects and arrays are closed, and that names stand where names belong, is its
/// caller's to see to. With [`Encoder`](crate::Encoder) serde does.
///
/// ```
/// use jsonbcd::Writer;
///
/// let mut octets = Vec::new();
/// let mut writer = Writer::new(&mut octets);
/// writer.object_start()?;
/// writer.name("Port")?;
/// writer.unsigned(80)?;
/// writer.object_end()?;
/// assert_eq!(octets, b"{\x80\x04Port\xa0\x50}");
/// # Ok::<(), jsonbcd::Error>(())
/// ```
#[derive(Debug)]
pub struct Writer<S> {
    pub(crate) sink: S,
    /// A comma is due before the next item.
    comma: bool,
    pub(crate) dialect: Dialect,
    pub(crate) profile: Profile,
}

impl<S: Sink> Writer<S> {
    /// Writes JSON-B with the codes of later drafts, and what other dialects have when it is called for by name.
    pub const fn new(sink: S) -> Self {
        Self::with_profile(sink, Dialect::B, Profile::Bcd16Plus)
    }

    /// Writes integers of more than 64 bits as that dialect and profile have them.
    pub const fn with_profile(sink: S, dialect: Dialect, profile: Profile) -> Self {
        Self { sink, comma: false, dialect, profile }
    }

    /// The sink.
    pub fn into_inner(self) -> S {
        self.sink
    }

    #[inline(always)]
    fn begin(&mut self) -> Result<()> {
        if self.comma {
            self.comma = false;
            self.sink.put_octet(b',')?;
        }
        Ok(())
    }

    /// Begins an object.
    ///
    /// # Errors
    ///
    /// Those of the sink, as in every function here.
    #[inline]
    pub fn object_start(&mut self) -> Result<()> {
        self.begin()?;
        self.sink.put_octet(b'{')
    }

    /// Ends an object.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    #[inline]
    pub fn object_end(&mut self) -> Result<()> {
        self.comma = true;
        self.sink.put_octet(b'}')
    }

    /// Begins an array.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    #[inline]
    pub fn array_start(&mut self) -> Result<()> {
        self.begin()?;
        self.sink.put_octet(b'[')
    }

    /// Ends an array.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    #[inline]
    pub fn array_end(&mut self) -> Result<()> {
        self.comma = true;
        self.sink.put_octet(b']')
    }

    /// The name of a member.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    #[inline(always)]
    pub fn name(&mut self, name: &str) -> Result<()> {
        self.begin()?;
        self.sized(code::STRING_TERM, name.as_bytes())
    }

    /// The name of a member with the codes B4 to B7, which only the author's later programs have, and no draft.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    pub fn reference_name(&mut self, name: &str) -> Result<()> {
        self.begin()?;
        self.sized(code::TAG_STRING, name.as_bytes())
    }

    /// A string.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    #[inline]
    pub fn string(&mut self, text: &str) -> Result<()> {
        self.begin()?;
        self.sized(code::STRING_TERM, text.as_bytes())
    }

    /// Octets.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    #[inline]
    pub fn data(&mut self, octets: &[u8]) -> Result<()> {
        self.begin()?;
        self.sized(code::DATA_TERM, octets)
    }

    /// A segment of a string. More segments must follow, and [`string`](Self::string) ends them: it may be empty.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    pub fn string_chunk(&mut self, text: &str) -> Result<()> {
        self.begin()?;
        self.sized(code::STRING_CHUNK, text.as_bytes())
    }

    /// A segment of data. More segments must follow, and [`data`](Self::data) ends them: it may be empty.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    pub fn data_chunk(&mut self, octets: &[u8]) -> Result<()> {
        self.begin()?;
        self.sized(code::DATA_CHUNK, octets)
    }

    /// A string in segments of at most so many octets. No character is ever divided: each segment holds one at least.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    pub fn string_in_chunks(&mut self, text: &str, max: usize) -> Result<()> {
        let mut rest = text;
        while rest.len() > max.max(1) {
            let first = rest.chars().next().map_or(0, char::len_utf8);
            let at = rest.floor_char_boundary_of(max.max(1)).max(first);
            let (chunk, behind) = rest.split_at(at);
            if behind.is_empty() {
                break;
            }
            self.string_chunk(chunk)?;
            rest = behind;
        }
        self.string(rest)
    }

    /// A code, a length as short as it can be, and octets.
    #[inline(always)]
    fn sized(&mut self, code: u8, octets: &[u8]) -> Result<()> {
        match u8::try_from(octets.len()) {
            Ok(len) => self.sink.put_headed([code, len], octets),
            Err(_) => self.long(code, octets),
        }
    }

    fn long(&mut self, code: u8, octets: &[u8]) -> Result<()> {
        let len = u64::try_from(octets.len()).unwrap_or(u64::MAX);
        self.numbered(code, len)?;
        self.sink.put(octets)
    }

    /// A code with its width, and a number of 1, 2, 4 or 8 octets.
    #[inline]
    fn numbered(&mut self, code: u8, number: u64) -> Result<()> {
        if let Ok(number) = u8::try_from(number) {
            self.sink.put(&[code, number])
        } else if let Ok(number) = u16::try_from(number) {
            let [a, b] = number.to_be_bytes();
            self.sink.put(&[code | 1, a, b])
        } else if let Ok(number) = u32::try_from(number) {
            let [a, b, c, d] = number.to_be_bytes();
            self.sink.put(&[code | 2, a, b, c, d])
        } else {
            let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
            self.sink.put(&[code | 3, a, b, c, d, e, f, g, h])
        }
    }

    /// An integer that is not negative.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    #[inline]
    pub fn unsigned(&mut self, value: u64) -> Result<()> {
        self.begin()?;
        self.numbered(code::P_INT8, value)
    }

    /// An integer.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    #[inline]
    pub fn signed(&mut self, value: i64) -> Result<()> {
        self.begin()?;
        self.numbered(if value < 0 { code::N_INT8 } else { code::P_INT8 }, value.unsigned_abs())
    }

    /// An integer of any size: in the short forms up to 64 bits, beyond that as a big number, or in JSON-D in 128 bits.
    ///
    /// # Errors
    ///
    /// Those of the sink, and when it has more than 65,535 octets.
    pub fn integer(&mut self, value: &Integer) -> Result<()> {
        self.magnitude(value.is_negative(), &value.magnitude())
    }

    /// An integer by its sign and magnitude, which begins with no zero.
    pub(crate) fn magnitude(&mut self, negative: bool, magnitude: &[u8]) -> Result<()> {
        self.begin()?;
        let sign = if negative { code::N_INT8 } else { code::P_INT8 };
        if magnitude.len() <= 8 {
            let value = magnitude.iter().fold(0, |value, &octet| value << 8 | u64::from(octet));
            return self.numbered(if value == 0 { code::P_INT8 } else { sign }, value);
        }
        if self.dialect == Dialect::D && magnitude.len() <= 16 {
            let value = magnitude.iter().fold(0, |value, &octet| value << 8 | u128::from(octet));
            self.sink.put_octet(sign | 4)?;
            return self.sink.put(&value.to_be_bytes());
        }
        let Ok(len) = u16::try_from(magnitude.len()) else {
            return Err(Error::new(ErrorKind::NotRepresentable("an integer of more than 65535 octets")));
        };
        let [a, b] = len.to_be_bytes();
        let code = match (self.profile, negative) {
            (Profile::Bcd01, false) => code::A5,
            (Profile::Bcd01, true) => code::AD,
            (Profile::Bcd16Plus, false) => code::A7,
            (Profile::Bcd16Plus, true) => code::AF,
        };
        self.sink.put(&[code, a, b])?;
        self.sink.put(magnitude)
    }

    /// A binary64, all bits as they are.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    pub fn float(&mut self, value: f64) -> Result<()> {
        self.begin()?;
        let [a, b, c, d, e, f, g, h] = value.to_bits().to_be_bytes();
        self.sink.put(&[code::BINARY64, a, b, c, d, e, f, g, h])
    }

    /// A float of JSON-D.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    pub fn scalar(&mut self, value: &Scalar) -> Result<()> {
        self.begin()?;
        self.sink.put_octet(value.code())?;
        self.sink.put(value.octets())
    }

    /// True or false.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    #[inline]
    pub fn boolean(&mut self, value: bool) -> Result<()> {
        self.begin()?;
        self.sink.put_octet(if value { code::TRUE } else { code::FALSE })
    }

    /// Null.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    #[inline]
    pub fn null(&mut self) -> Result<()> {
        self.begin()?;
        self.sink.put_octet(code::NULL)
    }

    /// What a code stands for (JSON-C).
    ///
    /// # Errors
    ///
    /// Those of the sink.
    pub fn reference(&mut self, code: u32) -> Result<()> {
        self.begin()?;
        self.numbered(code::REFERENCE, u64::from(code))
    }

    /// Defines a code (JSON-C). Readers that are strict take it before an object or an array only.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    pub fn define(&mut self, code: u32, entry: &Entry) -> Result<()> {
        self.begin()?;
        self.numbered(code::DEFINE, u64::from(code))?;
        match entry {
            Entry::Str(text) => self.sized(code::STRING_TERM, text.as_bytes()),
            Entry::Data(octets) => self.sized(code::DATA_TERM, octets),
        }
    }

    /// Defines a code as a string that also stands here, as a value or as a name (JSON-C).
    ///
    /// # Errors
    ///
    /// Those of the sink.
    pub fn define_and_insert(&mut self, code: u32, text: &str) -> Result<()> {
        self.begin()?;
        self.numbered(code::DEFINE_INSERT, u64::from(code))?;
        self.sized(code::STRING_TERM, text.as_bytes())
    }

    /// Loads a dictionary, its codes counted from `offset` (JSON-C).
    ///
    /// # Errors
    ///
    /// Those of the sink, and when the digest is longer than 255 octets.
    pub fn dictionary(&mut self, offset: u32, digest: &[u8]) -> Result<()> {
        self.begin()?;
        let Ok(len) = u8::try_from(digest.len()) else {
            return Err(Error::new(ErrorKind::NotRepresentable("a digest of more than 255 octets")));
        };
        let [a, b, c, d] = offset.to_be_bytes();
        self.sink.put(&[code::DICTIONARY, a, b, c, d, len])?;
        self.sink.put(digest)
    }
}

/// `str::floor_char_boundary`, which is younger than our oldest compiler.
trait Boundary {
    fn floor_char_boundary_of(&self, at: usize) -> usize;
}

impl Boundary for str {
    fn floor_char_boundary_of(&self, at: usize) -> usize {
        (0..=at).rev().find(|&at| self.is_char_boundary(at)).unwrap_or_default()
    }
}
