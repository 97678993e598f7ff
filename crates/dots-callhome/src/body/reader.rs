//! Reading CBOR, with every limit in one place.

use core::net::IpAddr;

use minicbor::data::Type;
use minicbor::decode::Decoder;

use super::error::{BodyError, BodyErrorKind};
use super::key;
use super::list::List;
use super::prefix::Prefix;

/// Levels of maps and arrays.
pub const MAX_DEPTH: usize = 16;
/// Items in one body, keys and values both counted; in a report, in each mitigation of it.
pub const MAX_ITEMS: usize = 4096;
/// Mitigations in a report, unless [another limit](super::Body::decode_report) is given.
pub const MAX_SCOPES: usize = 4096;
/// Octets in one text.
pub const MAX_TEXT: usize = 2048;
/// Elements of one list; prefixes in particular.
pub const MAX_PREFIXES: usize = 256;
/// Keys of one map that are not known.
const MAX_EXTRAS: usize = 64;

/// Who says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there are two")]
pub enum Direction {
    /// Whoever asks. Empty values are errors, and so are keys that belong into the path.
    Request,
    /// Whoever answers. Empty lists and nulls are as good as nothing; keys of the path are skipped.
    Response,
}

/// A member that is not interpreted here, kept as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extra {
    /// Its key: one that need not be understood.
    pub key: u32,
    /// Its value: one well-formed CBOR item.
    pub value: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Reader<'a> {
    decoder: Decoder<'a>,
    direction: Direction,
    depth: usize,
    items: usize,
    scopes: usize,
}

pub(super) type Result<T, E = BodyError> = core::result::Result<T, E>;

impl<'a> Reader<'a> {
    /// `scopes`: how many mitigations a server may report.
    pub(super) fn new(octets: &'a [u8], direction: Direction, scopes: usize) -> Self {
        Self { decoder: Decoder::new(octets), direction, depth: 0, items: 0, scopes }
    }

    pub(super) fn direction(&self) -> Direction {
        self.direction
    }

    #[cold]
    pub(super) fn error(&self, kind: BodyErrorKind) -> BodyError {
        BodyError { kind, offset: self.decoder.position() }
    }

    fn cbor<T>(&self, result: core::result::Result<T, minicbor::decode::Error>) -> Result<T> {
        result.map_err(|error| {
            let wrong_type = error.is_type_mismatch();
            self.error(if wrong_type { BodyErrorKind::UnexpectedType } else { BodyErrorKind::Malformed })
        })
    }

    #[inline]
    fn count(&mut self) -> Result<()> {
        self.items = self.items.saturating_add(1);
        if self.items > MAX_ITEMS { Err(self.error(BodyErrorKind::TooMany)) } else { Ok(()) }
    }

    fn peek(&self) -> Option<u8> {
        self.decoder.input().get(self.decoder.position()).copied()
    }

    /// The number in the head of an item of this major type, in its usual short forms; everything else is left to
    /// minicbor, which also finds the right error.
    #[inline(always)]
    fn quick(&mut self, major: u8) -> Option<u64> {
        let at = self.decoder.position();
        let head = self.decoder.input().get(at..)?;
        let (number, used) = match *head {
            [first, ..] if first >> 5 != major => return None,
            [first, ..] if first & 31 < 24 => (u64::from(first & 31), 1),
            [first, one, ..] if first & 31 == 24 => (u64::from(one), 2),
            [first, one, two, ..] if first & 31 == 25 => (u64::from(u16::from_be_bytes([one, two])), 3),
            _ => return None,
        };
        self.decoder.set_position(at.saturating_add(used));
        Some(number)
    }

    #[inline]
    fn unsigned(&mut self) -> Result<u64> {
        match self.quick(0) {
            Some(number) => Ok(number),
            None => {
                let number = self.decoder.u64();
                self.cbor(number)
            }
        }
    }

    pub(super) fn skip_dots_tag(&mut self) -> Result<()> {
        if self.peek().is_some_and(|octet| octet >> 5 == 6) {
            let tag = self.decoder.tag();
            if self.cbor(tag)?.as_u64() != 271 {
                return Err(self.error(BodyErrorKind::UnexpectedType));
            }
        }
        Ok(())
    }

    pub(super) fn finish(&self) -> Result<()> {
        if self.peek().is_some() { Err(self.error(BodyErrorKind::Trailing)) } else { Ok(()) }
    }

    /// Whether nothing is said here: null, from a server.
    fn null(&mut self) -> bool {
        let null = self.direction == Direction::Response && self.peek() == Some(0xf6);
        if null {
            self.decoder.set_position(self.decoder.position().saturating_add(1));
        }
        null
    }

    fn enter(&mut self) -> Result<()> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH { Err(self.error(BodyErrorKind::TooDeep)) } else { self.count() }
    }

    /// Whether there is another element: `left` counts down, or the break code is looked for.
    #[inline]
    fn more(&mut self, left: &mut Option<u64>) -> bool {
        match left {
            Some(0) => false,
            Some(left) => {
                *left = left.saturating_sub(1);
                true
            }
            None if self.peek() == Some(0xff) => {
                self.decoder.set_position(self.decoder.position().saturating_add(1));
                false
            }
            None => true,
        }
    }

    /// Reads a map. `member` is called with each key and reads its value, or says that it does not know the key; what
    /// need not be known goes to `extra`.
    #[inline]
    pub(super) fn map(
        &mut self,
        extra: &mut Vec<Extra>,
        mut member: impl FnMut(&mut Self, u32) -> Result<bool>,
    ) -> Result<()> {
        if self.null() {
            return Ok(());
        }
        self.enter()?;
        let mut left = match self.quick(5) {
            Some(len) => Some(len),
            None => {
                let len = self.decoder.map();
                self.cbor(len)?
            }
        };
        let (mut seen, mut seen_high) = (0u64, 0u32);
        while self.more(&mut left) {
            self.count()?;
            let wide = self.unsigned()?;
            let key = u32::try_from(wide).unwrap_or(u32::MAX);
            let duplicate = match key {
                0..=63 => {
                    let bit = 1u64.wrapping_shl(key);
                    let before = seen;
                    seen |= bit;
                    before & bit != 0
                }
                32768..=32799 => {
                    let bit = 1u32.wrapping_shl(key & 31);
                    let before = seen_high;
                    seen_high |= bit;
                    before & bit != 0
                }
                _ => extra.iter().any(|extra| extra.key == key),
            };
            if duplicate {
                return Err(self.error(BodyErrorKind::DuplicateKey(key)));
            }
            // What is not interpreted stays as it came, null or not.
            let uninterpreted = matches!(key, 64..=32767 | 32800..) && !key::is_comprehension_required(wide);
            if uninterpreted || !self.null() && !member(self, key)? {
                self.unknown(wide, key, extra)?;
            }
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(())
    }

    #[cold]
    fn unknown(&mut self, wide: u64, key: u32, extra: &mut Vec<Extra>) -> Result<()> {
        if matches!(key, key::CDID | key::CUID | key::SID) {
            if self.direction == Direction::Request {
                return Err(self.error(BodyErrorKind::Misplaced(key)));
            }
            return self.skip();
        }
        if key::is_comprehension_required(wide) {
            return Err(self.error(BodyErrorKind::UnknownKey(wide)));
        }
        if extra.len() >= MAX_EXTRAS {
            return Err(self.error(BodyErrorKind::TooMany));
        }
        let start = self.decoder.position();
        self.skip()?;
        let value = self.decoder.input().get(start..self.decoder.position()).unwrap_or_default();
        // In the order in which they are written: the order of a map says nothing.
        let at = extra.partition_point(|earlier| earlier.key < key);
        extra.insert(at, Extra { key, value: value.to_vec() });
        Ok(())
    }

    /// Reads an array; `element` reads each one. Empty only from a server.
    #[inline]
    pub(super) fn array(&mut self, key: u32, element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.array_of(key, MAX_PREFIXES, element)
    }

    /// Reads the mitigations of a body. A server has many, so there the items of each are counted for themselves.
    #[inline]
    pub(super) fn scopes(&mut self, key: u32, mut scope: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        if self.direction == Direction::Request {
            return self.array(key, scope);
        }
        self.array_of(key, self.scopes, |reader| {
            let before = reader.items;
            scope(reader)?;
            reader.items = before;
            Ok(())
        })
    }

    #[inline]
    fn array_of(&mut self, key: u32, most: usize, mut element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.enter()?;
        let mut left = match self.quick(4) {
            Some(len) => Some(len),
            None => {
                let len = self.decoder.array();
                self.cbor(len)?
            }
        };
        let mut count = 0usize;
        while self.more(&mut left) {
            count = count.saturating_add(1);
            if count > most {
                return Err(self.error(BodyErrorKind::TooMany));
            }
            element(self)?;
        }
        if count == 0 && self.direction == Direction::Request {
            return Err(self.error(BodyErrorKind::Empty(key)));
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(())
    }

    /// Reads an array into a list where it stands: what is large is not moved.
    pub(super) fn list<T>(
        &mut self,
        key: u32,
        list: &mut List<T>,
        mut element: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<()> {
        self.array(key, |reader| {
            list.push(element(reader)?);
            Ok(())
        })
    }

    /// A list of prefixes: the same, and quickly for those of IPv6 in their usual form.
    pub(super) fn prefixes(&mut self, key: u32, list: &mut List<Prefix>) -> Result<()> {
        self.array(key, |reader| {
            let start = reader.decoder.position();
            if let Some(prefix) = reader.quick_prefix() {
                reader.count()?;
                list.push(prefix);
                return Ok(());
            }
            // Another form, or something is wrong with it.
            reader.decoder.set_position(start);
            list.push(reader.prefix()?);
            Ok(())
        })
    }

    /// A number of at most `max`.
    #[inline]
    pub(super) fn uint(&mut self, key: u32, max: u64) -> Result<u64> {
        self.count()?;
        let number = self.unsigned()?;
        if number > max { Err(self.error(BodyErrorKind::Range(key))) } else { Ok(number) }
    }

    pub(super) fn u8(&mut self, key: u32) -> Result<u8> {
        self.uint(key, u64::from(u8::MAX)).map(|number| u8::try_from(number).unwrap_or(u8::MAX))
    }

    pub(super) fn u16(&mut self, key: u32) -> Result<u16> {
        self.uint(key, u64::from(u16::MAX)).map(|number| u16::try_from(number).unwrap_or(u16::MAX))
    }

    pub(super) fn u32(&mut self, key: u32) -> Result<u32> {
        self.uint(key, u64::from(u32::MAX)).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
    }

    pub(super) fn u64(&mut self, key: u32) -> Result<u64> {
        self.uint(key, u64::MAX)
    }

    pub(super) fn bool(&mut self) -> Result<bool> {
        self.count()?;
        let value = self.decoder.bool();
        self.cbor(value)
    }

    /// A number that may be -1: `None` for it.
    pub(super) fn uint_or_minus_one(&mut self, key: u32) -> Result<Option<u32>> {
        if self.peek().is_some_and(|octet| octet >> 5 == 1) {
            self.count()?;
            let number = self.decoder.i64();
            return match self.cbor(number)? {
                -1 => Ok(None),
                _ => Err(self.error(BodyErrorKind::Range(key))),
            };
        }
        self.u32(key).map(Some)
    }

    /// A decimal fraction in hundredths (RFC 8949 section 3.4.4).
    pub(super) fn hundredths(&mut self, key: u32) -> Result<u64> {
        self.count()?;
        let tag = self.decoder.tag();
        let len = if self.cbor(tag)?.as_u64() == 4 { self.decoder.array() } else { Ok(None) };
        if !matches!(self.cbor(len)?, Some(2)) {
            return Err(self.error(BodyErrorKind::UnexpectedType));
        }
        let (exponent, mantissa) = (self.decoder.i64(), self.decoder.i64());
        let exponent = self.cbor(exponent)?.saturating_add(2);
        let mantissa = u64::try_from(self.cbor(mantissa)?).ok();
        let power = u32::try_from(exponent.unsigned_abs()).ok().and_then(|power| 10u64.checked_pow(power));
        let value = match (mantissa, power) {
            (Some(mantissa), Some(power)) if exponent >= 0 => mantissa.checked_mul(power),
            (Some(mantissa), Some(power)) => mantissa.checked_div(power),
            _ => None,
        };
        value.filter(|&value| i64::try_from(value).is_ok()).ok_or_else(|| self.error(BodyErrorKind::Range(key)))
    }

    /// A text as octets, if it is in one piece.
    fn text_slice(&mut self) -> Result<Option<&'a [u8]>> {
        self.count()?;
        if self.peek() == Some(0x7f) {
            return Ok(None);
        }
        let text = self.decoder.str();
        let text = self.cbor(text)?;
        if text.len() > MAX_TEXT {
            return Err(self.error(BodyErrorKind::TooLong));
        }
        Ok(Some(text.as_bytes()))
    }

    pub(super) fn text(&mut self, key: u32) -> Result<String> {
        let text = match self.text_slice()? {
            Some(text) => String::from_utf8(text.to_vec()).map_err(|_| self.error(BodyErrorKind::Text))?,
            None => self.pieces()?,
        };
        if text.is_empty() && self.direction == Direction::Request {
            return Err(self.error(BodyErrorKind::Empty(key)));
        }
        Ok(text)
    }

    /// A text of indefinite length.
    #[cold]
    fn pieces(&mut self) -> Result<String> {
        let mut whole = String::new();
        let mut pieces = 0usize;
        let mut overflow = false;
        let outcome = (|| {
            for piece in self.decoder.str_iter()? {
                let piece = piece?;
                pieces = pieces.saturating_add(1);
                overflow |= whole.len().saturating_add(piece.len()) > MAX_TEXT || pieces > MAX_PREFIXES;
                if overflow {
                    break;
                }
                whole.push_str(piece);
            }
            Ok(())
        })();
        self.cbor(outcome)?;
        if overflow { Err(self.error(BodyErrorKind::TooLong)) } else { Ok(whole) }
    }

    #[inline(always)]
    fn quick_prefix(&mut self) -> Option<Prefix> {
        let len = usize::try_from(self.quick(3)?).ok()?;
        let at = self.decoder.position();
        let end = at.saturating_add(len);
        // Only ASCII makes a prefix, so the text need not be checked for UTF-8.
        let prefix = Prefix::plain_v6(self.decoder.input().get(at..end)?)?;
        self.decoder.set_position(end);
        Some(prefix)
    }

    fn prefix(&mut self) -> Result<Prefix> {
        let parsed = match self.text_slice()? {
            Some(text) => Prefix::decode(text),
            None => Prefix::decode(self.pieces()?.as_bytes()),
        };
        parsed.map_err(|invalid| self.error(BodyErrorKind::Prefix(invalid)))
    }

    pub(super) fn address(&mut self, key: u32) -> Result<IpAddr> {
        let text = self.text(key)?;
        text.parse().map_err(|_| self.error(BodyErrorKind::Text))
    }

    /// Passes over one item, however nested, without recursion.
    fn skip(&mut self) -> Result<()> {
        // What is left on each level; `None` until the break code.
        let mut left = [Some(0u64); MAX_DEPTH];
        let mut level = 0usize;
        loop {
            self.count()?;
            let kind = self.decoder.datatype();
            let mut entered = None;
            match self.cbor(kind)? {
                Type::Array | Type::ArrayIndef => {
                    let len = self.decoder.array();
                    entered = Some(self.cbor(len)?);
                }
                Type::Map | Type::MapIndef => {
                    let len = self.decoder.map();
                    let len = self.cbor(len)?;
                    if len.is_some_and(|len| len > MAX_ITEMS as u64) {
                        return Err(self.error(BodyErrorKind::TooMany));
                    }
                    entered = Some(len.map(|len| len.saturating_mul(2)));
                }
                Type::Tag => {
                    let tag = self.decoder.tag();
                    self.cbor(tag)?;
                    entered = Some(Some(1));
                }
                Type::Break => return Err(self.error(BodyErrorKind::Malformed)),
                _ => {
                    let skipped = self.decoder.skip();
                    self.cbor(skipped)?;
                }
            }
            if let Some(len) = entered {
                level = level.saturating_add(1);
                *left.get_mut(level).ok_or_else(|| self.error(BodyErrorKind::TooDeep))? = len;
            }
            // Leave all levels that are complete.
            loop {
                let place = left.get_mut(level).ok_or(BodyError { kind: BodyErrorKind::TooDeep, offset: 0 })?;
                if level == 0 {
                    return Ok(());
                }
                if self.more(place) {
                    break;
                }
                level = level.saturating_sub(1);
            }
        }
    }
}
