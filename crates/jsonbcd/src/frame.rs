//! Frames around octets of any kind, as later drafts have them for records and logs: read forward, and some of them
//! backward. Never inside a document. draft-hallambaker-jsonbcd-21 section 7.
//!
//! ```
//! use jsonbcd::frame::{self, Frames, Kind};
//!
//! let mut log = Vec::new();
//! frame::write(&mut log, Kind::TwoWay, b"first")?;
//! frame::write(&mut log, Kind::TwoWay, b"second")?;
//! assert_eq!(log, b"\xf4\x05first\x05\xf4\xf4\x06second\x06\xf4");
//!
//! let latest_first: Vec<_> = Frames::new(&log).rev().collect::<Result<_, _>>()?;
//! assert_eq!(latest_first[0].content, b"second");
//! # Ok::<(), jsonbcd::Error>(())
//! ```
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::code;
use crate::error::{Error, ErrorKind, Result};
use crate::sink::Sink;

/// Which ways a frame can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the draft defines these")]
pub enum Kind {
    /// Forward only: F0 to F3.
    OneWay,
    /// Forward and backward: F4 to F7, with the length again behind the content, in reverse.
    TwoWay,
}

/// A frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Frame<'a> {
    /// Which ways it can be read.
    pub kind: Kind,
    /// What it holds.
    pub content: &'a [u8],
}

/// A code and a length: the code's lowest two bits say how wide.
#[derive(Debug, Clone, Copy)]
struct Head {
    octets: [u8; 9],
    len: usize,
}

impl Head {
    fn new(kind: Kind, content: usize) -> Self {
        let code = if kind == Kind::OneWay { code::UFRAME } else { code::BFRAME };
        let content = u64::try_from(content).unwrap_or(u64::MAX);
        let (width, bits) = match content {
            0..=0xff => (1usize, 0),
            0x100..=0xffff => (2, 1),
            0x1_0000..=0xffff_ffff => (4, 2),
            _ => (8, 3),
        };
        let mut octets = [0; 9];
        for (place, octet) in
            octets.iter_mut().zip(content.to_be_bytes().into_iter().skip(8usize.saturating_sub(width)))
        {
            *place = octet;
        }
        octets.rotate_right(1);
        if let Some(first) = octets.first_mut() {
            *first = code | bits;
        }
        Self { octets, len: width.saturating_add(1) }
    }

    fn as_slice(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }
}

/// Appends a frame, its length as short as it can be.
///
/// # Errors
///
/// Those of the sink.
pub fn write(mut sink: impl Sink, kind: Kind, content: &[u8]) -> Result<()> {
    let head = Head::new(kind, content.len());
    sink.put(head.as_slice())?;
    sink.put(content)?;
    if kind == Kind::TwoWay {
        let mut reversed = head;
        if let Some(octets) = reversed.octets.get_mut(..head.len) {
            octets.reverse();
        }
        sink.put(reversed.as_slice())?;
    }
    Ok(())
}

/// How many octets the length has behind this code, if it is one of a frame.
fn width(code: u8) -> Option<usize> {
    (code & 0xf8 == code::UFRAME).then(|| 1 << (code & 3))
}

fn number(octets: impl Iterator<Item = u8>) -> usize {
    let value = octets.fold(0u64, |value, octet| value << 8 | u64::from(octet));
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// Reads the frame that the input begins with; gives how many octets it has too. Nothing is copied.
///
/// # Errors
///
/// [`ErrorKind::Incomplete`] when there is more to come, [`ErrorKind::Unexpected`] when it is no frame,
/// [`ErrorKind::Frame`] when its two lengths differ.
pub fn read(input: &[u8]) -> Result<(Frame<'_>, usize)> {
    let incomplete =
        |needed: usize| Error::at(ErrorKind::Incomplete { needed: needed.saturating_sub(input.len()) }, input.len());
    let Some(&code) = input.first() else { return Err(incomplete(1)) };
    let Some(width) = width(code) else {
        return Err(Error::at(ErrorKind::Unexpected { found: code, expected: "the code of a frame" }, 0));
    };
    let head_len = width.saturating_add(1);
    let Some((head, rest)) = input.split_at_checked(head_len) else { return Err(incomplete(head_len)) };
    let len = number(head.iter().skip(1).copied());
    let kind = if code < code::BFRAME { Kind::OneWay } else { Kind::TwoWay };
    let tail_len = if kind == Kind::TwoWay { head_len } else { 0 };
    let whole = head_len.saturating_add(len).saturating_add(tail_len);
    let Some((content, rest)) = rest.split_at_checked(len) else { return Err(incomplete(whole)) };
    let Some(tail) = rest.get(..tail_len) else { return Err(incomplete(whole)) };
    if kind == Kind::TwoWay && !head.iter().eq(tail.iter().rev()) {
        return Err(Error::at(ErrorKind::Frame, head_len.saturating_add(len)));
    }
    Ok((Frame { kind, content }, whole))
}

/// Reads the frame that the input ends with, from its end; gives how many octets it has too.
///
/// # Errors
///
/// As [`read`]. Frames that are read forward only cannot be told from their end: they are [`ErrorKind::Unexpected`] or
/// [`ErrorKind::Frame`].
pub fn read_back(input: &[u8]) -> Result<(Frame<'_>, usize)> {
    let incomplete = |needed: usize| Error::at(ErrorKind::Incomplete { needed: needed.saturating_sub(input.len()) }, 0);
    let Some(&code) = input.last() else { return Err(incomplete(1)) };
    let Some(width) = width(code).filter(|_| code >= code::BFRAME) else {
        let kind = ErrorKind::Unexpected { found: code, expected: "the code of a frame that can be read backward" };
        return Err(Error::at(kind, input.len().saturating_sub(1)));
    };
    let tail_len = width.saturating_add(1);
    let Some(tail) = input.len().checked_sub(tail_len).and_then(|at| input.get(at..)) else {
        return Err(incomplete(tail_len));
    };
    let len = number(tail.iter().rev().skip(1).copied());
    let whole = tail_len.saturating_mul(2).saturating_add(len);
    let Some(start) = input.len().checked_sub(whole) else { return Err(incomplete(whole)) };
    match read(input.get(start..).unwrap_or_default()) {
        Ok((frame, found)) if found == whole && frame.kind == Kind::TwoWay => Ok((frame, whole)),
        _ => Err(Error::at(ErrorKind::Frame, start)),
    }
}

/// The frames of a log: from the front, and with [`rev`](Iterator::rev) from the back. It ends behind the first error.
#[derive(Debug, Clone)]
pub struct Frames<'a> {
    rest: &'a [u8],
    /// Offset of `rest` in the log.
    offset: usize,
}

impl<'a> Frames<'a> {
    /// Of this log, which holds nothing else.
    pub const fn new(log: &'a [u8]) -> Self {
        Self { rest: log, offset: 0 }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some(match read(self.rest) {
            Ok((frame, len)) => {
                self.rest = self.rest.get(len..).unwrap_or_default();
                self.offset = self.offset.saturating_add(len);
                Ok(frame)
            }
            Err(error) => {
                self.rest = &[];
                Err(error.behind(self.offset))
            }
        })
    }
}

impl DoubleEndedIterator for Frames<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some(match read_back(self.rest) {
            Ok((frame, len)) => {
                self.rest = self.rest.get(..self.rest.len().saturating_sub(len)).unwrap_or_default();
                Ok(frame)
            }
            Err(error) => {
                self.rest = &[];
                Err(error.behind(self.offset))
            }
        })
    }
}

impl core::iter::FusedIterator for Frames<'_> {}
