//! Where a lexeme ends in input that may end before it. What was looked at is not looked at again when more has
//! arrived, so that octets which trickle in cost no more than octets at once.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::code;
use crate::lexer::Rules;
use crate::options::Profile;
use crate::scalar::Scalar;

/// How far a lexeme reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// So many octets. The lexer may still find that it is none.
    Whole(usize),
    /// So many more octets are needed at least.
    Needs(usize),
}

/// The extent of the lexeme that `input` begins with. `scanned` is how much of it was seen before, zero at first.
pub(super) fn extent(input: &[u8], scanned: &mut usize, rules: &Rules) -> Extent {
    let Some(&first) = input.first() else { return Extent::Needs(1) };
    let newer = rules.profile == Profile::Bcd16Plus;
    match first {
        b'"' => text_string(input, scanned),
        b'-' | b'0'..=b'9' => text_number(input, scanned, rules.limits.digits),
        b't' | b'n' => whole(input, 4),
        b'f' => whole(input, 5),
        0x80..=0x8f => segments(input, 0, scanned, rules),
        0xb4..=0xb7 => match head(input, 0) {
            Ok((head, len)) if len <= rules.limits.item => whole(input, head.saturating_add(len)),
            Ok((head, _)) => Extent::Whole(head),
            Err(needed) => Extent::Needs(needed),
        },
        code::BINARY64 => whole(input, 9),
        0x90..=0x9f => whole(input, Scalar::width(first).unwrap_or_default().saturating_add(1)),
        0xa0..=0xa3 | 0xa8..=0xab => whole(input, width(first).saturating_add(1)),
        code::P_INT128 | code::N_INT128 => whole(input, 17),
        code::A5 if newer => whole(input, 33),
        code::A6 if newer => whole(input, 65),
        code::A7 | code::AF if newer => big(input, rules.limits.item),
        code::A5 | code::AD if !newer => big(input, rules.limits.item),
        0xc0..=0xc2 => whole(input, width(first).saturating_add(1)),
        0xc4..=0xc6 | 0xc8..=0xca => {
            let head = width(first).saturating_add(1);
            match input.get(head) {
                None => Extent::Needs(head.saturating_add(3).saturating_sub(input.len())),
                Some(0x80..=0x8f) => segments(input, head, scanned, rules),
                Some(_) => Extent::Whole(head.saturating_add(1)),
            }
        }
        code::DICTIONARY => match input.get(5) {
            None => Extent::Needs(6usize.saturating_sub(input.len())),
            Some(&len) => whole(input, usize::from(len).saturating_add(6)),
        },
        _ => Extent::Whole(1),
    }
}

fn whole(input: &[u8], len: usize) -> Extent {
    match len.checked_sub(input.len()) {
        None | Some(0) => Extent::Whole(len),
        Some(needed) => Extent::Needs(needed),
    }
}

/// How many octets the number behind a code has.
fn width(code: u8) -> usize {
    1 << (code & 3)
}

/// The code and the length that stand at `at`: where these end, and the length. Or how many octets are missing.
fn head(input: &[u8], at: usize) -> Result<(usize, usize), usize> {
    let Some(&code) = input.get(at) else { return Err(2) };
    let start = at.saturating_add(1);
    let end = start.saturating_add(width(code));
    let Some(octets) = input.get(start..end) else { return Err(end.saturating_sub(input.len())) };
    let len = octets.iter().fold(0u64, |value, &octet| value << 8 | u64::from(octet));
    Ok((end, usize::try_from(len).unwrap_or(usize::MAX)))
}

fn big(input: &[u8], limit: usize) -> Extent {
    let Some(&[_, a, b]) = input.get(..3) else { return Extent::Needs(3usize.saturating_sub(input.len())) };
    let len = usize::from(u16::from_be_bytes([a, b]));
    if len > limit { Extent::Whole(3) } else { whole(input, len.saturating_add(3)) }
}

/// All segments of a string or of data, of which the first stands at `at`.
fn segments(input: &[u8], at: usize, scanned: &mut usize, rules: &Rules) -> Extent {
    let start = input.get(at).copied().unwrap_or_default() & 0xf8;
    *scanned = (*scanned).max(at);
    loop {
        let Some(&code) = input.get(*scanned) else { return Extent::Needs(2) };
        if code & 0xf8 != start {
            return Extent::Whole(scanned.saturating_add(1));
        }
        let (head, len) = match head(input, *scanned) {
            Ok(found) => found,
            Err(needed) => return Extent::Needs(needed),
        };
        // What is seen already is at least what the segments before it hold: the lexer knows exactly.
        if len > rules.limits.item {
            return Extent::Whole(head);
        }
        let end = head.saturating_add(len);
        if end > input.len() {
            return Extent::Needs(end.saturating_sub(input.len()));
        }
        if code & 4 == 0 {
            return Extent::Whole(end);
        }
        *scanned = end;
    }
}

fn text_string(input: &[u8], scanned: &mut usize) -> Extent {
    *scanned = (*scanned).max(1);
    loop {
        let rest = input.get(*scanned..).unwrap_or_default();
        let Some(found) = memchr::memchr2(b'"', b'\\', rest) else {
            *scanned = input.len().max(*scanned);
            return Extent::Needs(scanned.saturating_add(1).saturating_sub(input.len()));
        };
        let at = scanned.saturating_add(found);
        if input.get(at) == Some(&b'"') {
            return Extent::Whole(at.saturating_add(1));
        }
        // The octet behind a backslash ends nothing, whether it is here or not.
        *scanned = at.saturating_add(2);
    }
}

fn text_number(input: &[u8], scanned: &mut usize, limit: usize) -> Extent {
    let part = |octet: &u8| matches!(octet, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    let rest = input.get(*scanned..).unwrap_or_default();
    let end = rest.iter().position(|octet| !part(octet));
    *scanned = scanned.saturating_add(end.unwrap_or(rest.len()));
    match end {
        Some(_) => Extent::Whole(*scanned),
        // Longer than any that is allowed: the lexer says so.
        None if *scanned > limit.saturating_add(1) => Extent::Whole(*scanned),
        None => Extent::Needs(1),
    }
}
