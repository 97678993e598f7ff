//! Objects whose members are plain strings, which is what nearly every signed request is made of: read in one pass.
//!
//! What is not so plain (escapes, other characters than ASCII, other values, names that are not known or stand twice,
//! anything that is wrong) is left to the parser, which decides about it. Whatever is read here the parser reads alike.

use std::borrow::Cow;
use std::str;

use crate::limits::Limits;

/// Members in an object that is read here, and JSON values in it, at most.
const MEMBERS: usize = 8;

/// Gives each member's name and value to `put`, which says whether it takes it. None when the parser has to look.
pub(super) fn members<'a>(
    octets: &'a [u8],
    limits: &Limits,
    mut put: impl FnMut(&'a [u8], &'a [u8]) -> bool,
) -> Option<()> {
    if limits.depth == 0 || limits.members < MEMBERS || limits.values <= MEMBERS || octets.len() > limits.body {
        return None;
    }
    let mut rest = spaces(octets).strip_prefix(b"{")?;
    for _ in 0..MEMBERS {
        let (name, after) = string(spaces(rest))?;
        let (value, after) = string(spaces(spaces(after).strip_prefix(b":")?))?;
        if !put(name, value) {
            return None;
        }
        match spaces(after).split_first()? {
            (b',', more) => rest = more,
            (b'}', more) => return spaces(more).is_empty().then_some(()),
            _ => return None,
        }
    }
    None
}

/// Takes a value into a slot that has none yet.
pub(super) fn take<'a>(slot: &mut Option<&'a [u8]>, value: &'a [u8]) -> bool {
    slot.replace(value).is_none()
}

/// A value as text, which it is: only ASCII gets here.
pub(super) fn text(value: &[u8]) -> Option<Cow<'_, str>> {
    str::from_utf8(value).ok().map(Cow::Borrowed)
}

fn spaces(octets: &[u8]) -> &[u8] {
    match octets {
        [b' ' | b'\t' | b'\n' | b'\r', ..] => {
            let begin = octets.iter().position(|octet| !matches!(octet, b' ' | b'\t' | b'\n' | b'\r'));
            octets.get(begin.unwrap_or(octets.len())..).unwrap_or_default()
        }
        _ => octets,
    }
}

/// A string of printable ASCII without escapes, and what is behind it.
fn string(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let octets = octets.strip_prefix(b"\"")?;
    let (words, _) = octets.as_chunks::<8>();
    let plain = words.iter().take_while(|word| is_plain(u64::from_le_bytes(**word))).count() * 8;
    let ends = |octet: &u8| *octet == b'"' || *octet == b'\\' || !(b' '..0x80).contains(octet);
    let length = plain + octets.get(plain..)?.iter().position(ends)?;
    let (text, rest) = octets.split_at_checked(length)?;
    Some((text, rest.strip_prefix(b"\"")?))
}

/// Whether eight octets are all printable ASCII, and neither a quote nor a backslash.
const fn is_plain(word: u64) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = EACH * 0x80;
    // Below 0x21 then: what is below 0x20, and the quote.
    let low = (word ^ (EACH * 0x02)).wrapping_sub(EACH * 0x21);
    let backslash = (word ^ (EACH * 0x5c)).wrapping_sub(EACH);
    (low | backslash | word) & HIGH == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, limits: &Limits) -> Option<Vec<(String, String)>> {
        let mut found = Vec::new();
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
        let done = members(json.as_bytes(), limits, |name, value| {
            found.push((text(name), text(value)));
            true
        });
        done.map(|()| found)
    }

    #[test]
    fn plain_objects_are_read_and_all_others_left() {
        let long = "a".repeat(100);
        let json = format!("\n{{ \"a\" :\t\"\",\r\"{long}\":\"{long}\" }} ");
        let pairs = [("a".to_owned(), String::new()), (long.clone(), long.clone())];
        assert_eq!(read(&json, &Limits::DEFAULT).unwrap(), pairs);
        for limits in [Limits::DEFAULT.with_depth(0), Limits::DEFAULT.with_members(7), Limits::DEFAULT.with_values(8)] {
            assert_eq!(read(&json, &limits), None);
        }
        assert_eq!(read(&json, &Limits::DEFAULT.with_body(json.len() - 1)), None);
        assert!(read(&json, &Limits::DEFAULT.with_body(json.len())).is_some());
        for bad in ["\\u0041", "\u{7f}\u{80}", "\u{1f}", "a\nb", "é"] {
            for before in [0, 1, 15, 16, 17, 31] {
                let json = format!("{{\"a\":\"{}{bad}{long}\"}}", &long[..before]);
                assert_eq!(read(&json, &Limits::DEFAULT), None, "{json:?}");
            }
        }
        let nine: Vec<String> = (0..9).map(|n| format!("\"{n}\":\"\"")).collect();
        assert!(read(&format!("{{{}}}", nine[..8].join(",")), &Limits::DEFAULT).is_some());
        assert_eq!(read(&format!("{{{}}}", nine.join(",")), &Limits::DEFAULT), None);
        for other in ["", "{", "{}", "[]", "{\"a\"}", "{\"a\":1}", "{\"a\":{}}", "{\"a\":\"b\",}", "{\"a\":\"b\"} x"] {
            assert_eq!(read(other, &Limits::DEFAULT), None, "{other}");
        }
        for end in 1..json.trim_end().len() {
            assert_eq!(read(&json[..end], &Limits::DEFAULT), None, "{end}");
        }
    }
}
