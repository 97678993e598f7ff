//! From octets to characters: UTF-8, or UTF-16 with a byte order mark.

use crate::error::{InvalidMessage, PeerIncompatible};
use crate::{DecodeErrorKind, Limit};
use std::borrow::Cow;

/// The characters of a document, and what it takes to say where in the octets one of them was.
pub(crate) struct Source<'a> {
    /// The characters, without byte order mark.
    pub(crate) text: Cow<'a, str>,
    /// What the byte order mark said.
    pub(crate) encoding: Encoding,
}

/// How the octets encode characters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// UTF-8 without a mark.
    Utf8,
    /// UTF-8 after a mark.
    Utf8Marked,
    /// UTF-16, either end first, after a mark.
    Utf16,
}

impl<'a> Source<'a> {
    /// Decodes octets; an error comes with its offset in them.
    pub(crate) fn new(octets: &'a [u8], limit: usize) -> Result<Self, (DecodeErrorKind, usize)> {
        if octets.len() > limit {
            return Err((DecodeErrorKind::LimitExceeded(Limit::Size), limit));
        }
        let (octets, encoding) = match octets {
            [0xff, 0xfe, rest @ ..] => return utf16(rest, u16::from_le_bytes),
            [0xfe, 0xff, rest @ ..] => return utf16(rest, u16::from_be_bytes),
            [0xef, 0xbb, 0xbf, rest @ ..] => (rest, Encoding::Utf8Marked),
            _ => (octets, Encoding::Utf8),
        };
        let start = if encoding == Encoding::Utf8Marked { 3 } else { 0 };
        if octets.first() == Some(&0) || octets.get(1) == Some(&0) {
            // UTF-16 without a mark has a zero there, other documents have `<?` or `<I`.
            return Err((PeerIncompatible::Encoding.into(), start));
        }
        match std::str::from_utf8(octets) {
            Ok(text) => Ok(Self { text: Cow::Borrowed(text), encoding }),
            Err(error) => Err((InvalidMessage::IllFormed("not UTF-8").into(), start + error.valid_up_to())),
        }
    }

    /// Where in the octets the character at `offset` of the text is.
    pub(crate) fn octet(&self, offset: usize) -> usize {
        let offset = offset.min(self.text.len());
        match self.encoding {
            Encoding::Utf8 => offset,
            Encoding::Utf8Marked => offset + 3,
            Encoding::Utf16 => {
                let units: usize = self.text.get(..offset).unwrap_or("").chars().map(char::len_utf16).sum();
                2 + 2 * units
            }
        }
    }
}

fn utf16<'a>(octets: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Source<'a>, (DecodeErrorKind, usize)> {
    let pairs = octets.chunks_exact(2);
    let odd = !pairs.remainder().is_empty();
    let mut text = String::with_capacity(octets.len());
    let mut offset = 2;
    for c in char::decode_utf16(pairs.map(|pair| unit([pair[0], pair[1]]))) {
        let Ok(c) = c else {
            return Err((InvalidMessage::IllFormed("not UTF-16").into(), offset));
        };
        offset += 2 * c.len_utf16();
        text.push(c);
    }
    if odd {
        return Err((InvalidMessage::IllFormed("not UTF-16").into(), offset));
    }
    Ok(Source { text: Cow::Owned(text), encoding: Encoding::Utf16 })
}
