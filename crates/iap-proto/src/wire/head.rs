//! Finding the end of a message head, and its lines. RFC 2616 section 2.2 for CRLF, without its folding.

use super::{DecodeError, DecodeErrorKind, Syntax};
use crate::error::Limit;
use crate::message::is_token;

/// Finds the end of a head (lines that end with CRLF, then an empty line) in a buffer that grows. Looks at each octet
/// once, whatever the pieces, and refuses what cannot become a head as soon as it is there.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeadFramer {
    scanned: usize,
    line_start: usize,
    lines: usize,
}

impl HeadFramer {
    /// How long the head at the front of `buffer` is, if its end is in. `buffer` must start with what it held at the
    /// last call.
    ///
    /// `content` is true for the head of a content message: only there the empty line may be
    /// [missing](crate::Compat::missing_blank_line).
    ///
    /// # Errors
    /// Bare CR or LF, control characters, folding, limits.
    pub fn find_end(&mut self, buffer: &[u8], content: bool, syntax: &Syntax) -> Result<Option<usize>, DecodeError> {
        let blank_line_optional = content && syntax.compat.missing_blank_line;
        while let Some(&octet) = buffer.get(self.scanned) {
            let fail = |kind| Err(DecodeError::new(kind, self.scanned));
            let at_line_start = self.scanned == self.line_start;
            match octet {
                b'\r' => match buffer.get(self.scanned.saturating_add(1)) {
                    None => return Ok(None),
                    Some(b'\n') => {
                        self.scanned = self.scanned.saturating_add(2);
                        if at_line_start {
                            return Ok(Some(self.scanned));
                        }
                        self.line_start = self.scanned;
                        self.lines = self.lines.saturating_add(1);
                        if self.lines > syntax.limits.lines {
                            return Err(DecodeError::new(DecodeErrorKind::Limit(Limit::Lines), self.scanned));
                        }
                        continue;
                    }
                    Some(_) => return fail(DecodeErrorKind::BareCarriageReturn),
                },
                _ if at_line_start && blank_line_optional && self.lines >= 2 && !is_token(octet) => {
                    return Ok(Some(self.scanned));
                }
                b'\n' => return fail(DecodeErrorKind::BareLineFeed),
                b' ' | b'\t' if at_line_start => return fail(DecodeErrorKind::FoldedLine),
                b'\t' | b' '..=b'~' | 0x80.. => {}
                _ => return fail(DecodeErrorKind::ControlCharacter),
            }
            self.scanned = self.scanned.saturating_add(1);
            // The CRLF counts, so a line that fills the limit without it is too long already.
            if self.scanned.saturating_sub(self.line_start).saturating_add(2) > syntax.limits.line {
                return Err(DecodeError::new(DecodeErrorKind::Limit(Limit::Line), self.scanned));
            }
        }
        Ok(None)
    }
}

/// The end of a head that must be complete.
pub(super) fn complete(input: &[u8], content: bool, syntax: &Syntax) -> Result<usize, DecodeError> {
    HeadFramer::default()
        .find_end(input, content, syntax)?
        .ok_or_else(|| DecodeError::new(DecodeErrorKind::Incomplete, input.len()))
}

/// A line without its CRLF, and where it starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) text: &'a [u8],
    pub(super) offset: usize,
}

/// The lines of a framed head, up to its empty line.
pub(super) fn lines(head: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut offset = 0;
    let mut rest = head;
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\r', rest)?;
        let (text, tail) = rest.split_at_checked(end)?;
        rest = tail.get(2..)?;
        let line = Line { text, offset };
        offset = offset.saturating_add(end).saturating_add(2);
        (!text.is_empty()).then_some(line)
    })
}
