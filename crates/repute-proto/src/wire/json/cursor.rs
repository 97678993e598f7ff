//! A reader of JSON that borrows strings, keeps the text of numbers, and never goes deeper than its limit.

use std::borrow::Cow;

use crate::error::Limit;
use crate::reputon::Score;
use crate::wire::member::Member;
use crate::wire::{DecodeError, DecodeErrorKind};

/// A place in a JSON text.
pub(super) struct Cursor<'a> {
    whole: usize,
    rest: &'a str,
    depth: usize,
    /// The names of the objects that are open, in one list.
    names: Vec<Cow<'a, str>>,
    /// What is open: for an object where its names start.
    open: Vec<Option<usize>>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str, depth: usize) -> Self {
        Self { whole: text.len(), rest: text, depth, names: Vec::new(), open: Vec::new() }
    }

    /// How many octets are read.
    #[inline]
    pub(super) fn offset(&self) -> usize {
        self.whole.wrapping_sub(self.rest.len())
    }

    /// How many octets are not read.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    #[cold]
    pub(super) fn ill_formed(&self, what: &'static str) -> DecodeError {
        DecodeErrorKind::IllFormed(what).at(self.offset())
    }

    /// The next octet behind white space, not taken.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        let first = self.rest.as_bytes().first().copied()?;
        if first > b' ' {
            return Some(first);
        }
        let is_space = |octet: &u8| matches!(octet, b' ' | b'\t' | b'\n' | b'\r');
        let spaces = self.rest.bytes().take_while(is_space).count();
        self.skip(spaces);
        self.rest.as_bytes().first().copied()
    }

    /// Goes on by so many ASCII characters.
    #[inline]
    fn skip(&mut self, octets: usize) {
        self.rest = self.rest.get(octets..).unwrap_or("");
    }

    /// Takes this octet, behind white space.
    #[inline]
    pub(super) fn take(&mut self, octet: u8) -> bool {
        let found = self.peek() == Some(octet);
        if found {
            self.skip(1);
        }
        found
    }

    #[inline]
    pub(super) fn expect(&mut self, octet: u8, what: &'static str) -> Result<(), DecodeError> {
        if self.take(octet) { Ok(()) } else { Err(self.ill_formed(what)) }
    }

    /// A string and the colon behind it.
    #[inline]
    pub(super) fn name(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        if self.peek() != Some(b'"') {
            return Err(self.ill_formed("a name was expected"));
        }
        let name = self.string()?;
        self.expect(b':', "a colon was expected")?;
        Ok(name)
    }

    /// The name of a member that the format defines, and its colon, if it is written without spaces and escapes;
    /// else nothing is taken, and [`Self::name`] reads what stands there.
    #[inline]
    pub(super) fn known_name(&mut self) -> Option<Member> {
        self.peek();
        let (member, rest) = Member::at_start(self.rest.strip_prefix('"')?)?;
        self.rest = rest;
        Some(member)
    }

    /// A score as nearly all are written; else nothing is taken, and [`Self::number`] reads what stands there.
    #[inline]
    pub(super) fn score(&mut self) -> Option<Score<'a>> {
        let (score, rest) = Score::at_start(self.rest)?;
        self.rest = rest;
        Some(score)
    }

    /// A whole number of at most nineteen digits; else nothing is taken, and [`Self::number`] reads what stands there.
    #[inline]
    pub(super) fn count(&mut self) -> Option<u64> {
        let octets = self.rest.as_bytes();
        let (mut rest, mut count) = (octets, 0_u64);
        while let [digit @ b'0'..=b'9', behind @ ..] = rest {
            count = count.wrapping_mul(10).wrapping_add(u64::from(digit & 0xf));
            rest = behind;
        }
        let len = octets.len().wrapping_sub(rest.len());
        let is_led_by_zero = len > 1 && octets.first() == Some(&b'0');
        // Nineteen digits fit into 64 bits.
        if !(1..=19).contains(&len) || is_led_by_zero || matches!(rest, [b'.' | b'e' | b'E', ..]) {
            return None;
        }
        self.skip(len);
        Some(count)
    }

    /// A string, behind white space.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        self.expect(b'"', "a string was expected")?;
        let end = plain(self.rest.as_bytes());
        let Some((text, rest)) = end.and_then(|end| self.rest.split_at_checked(end)) else {
            return Err(self.ill_formed("a string without end"));
        };
        match rest.strip_prefix('"') {
            Some(rest) => {
                self.rest = rest;
                Ok(Cow::Borrowed(text))
            }
            None => {
                self.rest = rest;
                self.escaped(text).map(Cow::Owned)
            }
        }
    }

    /// The rest of a string that has escapes.
    fn escaped(&mut self, start: &str) -> Result<String, DecodeError> {
        let mut text = start.to_owned();
        loop {
            let end = plain(self.rest.as_bytes());
            let Some((part, rest)) = end.and_then(|end| self.rest.split_at_checked(end)) else {
                return Err(self.ill_formed("a string without end"));
            };
            text.push_str(part);
            self.rest = rest;
            if let Some(rest) = rest.strip_prefix('"') {
                self.rest = rest;
                return Ok(text);
            }
            let Some(escape) = rest.strip_prefix('\\') else {
                return Err(self.ill_formed("a control character in a string"));
            };
            let mut characters = escape.chars();
            let character = match characters.next() {
                Some(same @ ('"' | '\\' | '/')) => same,
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('u') => {
                    let (character, rest) = unicode(escape).ok_or_else(|| self.ill_formed("a bad \\u escape"))?;
                    self.rest = rest;
                    text.push(character);
                    continue;
                }
                _ => return Err(self.ill_formed("a bad escape")),
            };
            text.push(character);
            self.rest = characters.as_str();
        }
    }

    /// A number as it is written, and whether it is whole without fraction and exponent.
    #[inline]
    pub(super) fn number(&mut self) -> Result<(&'a str, bool), DecodeError> {
        let Some((len, whole)) = number_len(self.rest.as_bytes()) else {
            return Err(self.ill_formed("a number was expected"));
        };
        let (number, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, ""));
        self.rest = rest;
        Ok((number, whole))
    }

    fn literal(&mut self) -> Result<(), DecodeError> {
        let rest = ["true", "false", "null"].into_iter().find_map(|word| self.rest.strip_prefix(word));
        self.rest = rest.ok_or_else(|| self.ill_formed("a value was expected"))?;
        Ok(())
    }

    /// Any value, as it is written. When an object in it repeats a name, that is the error, and the cursor is behind
    /// the value; behind every other error it is useless.
    pub(super) fn value(&mut self) -> Result<&'a str, DecodeError> {
        self.peek();
        let start = self.rest;
        self.open.clear();
        self.names.clear();
        let mut repeated = None;
        'value: loop {
            match self.peek() {
                Some(b'"') => drop(self.string()?),
                Some(b'-' | b'0'..=b'9') => drop(self.number()?),
                Some(bracket @ (b'{' | b'[')) => {
                    self.skip(1);
                    if self.open.len() >= self.depth {
                        return Err(DecodeErrorKind::Limit(Limit::Depth).at(self.offset()));
                    }
                    let is_object = bracket == b'{';
                    self.open.push(is_object.then_some(self.names.len()));
                    if is_object && self.peek() != Some(b'}') {
                        let name = self.name()?;
                        self.names.push(name);
                        continue 'value;
                    }
                    if !is_object && self.peek() != Some(b']') {
                        continue 'value;
                    }
                }
                Some(_) => self.literal()?,
                None => return Err(self.ill_formed("the text ends in a value")),
            }
            // Behind a value: what it stands in goes on or ends.
            while let Some(level) = self.open.last().copied() {
                match (self.peek(), level) {
                    (Some(b','), Some(_)) => {
                        self.skip(1);
                        let name = self.name()?;
                        self.names.push(name);
                        continue 'value;
                    }
                    (Some(b','), None) => {
                        self.skip(1);
                        continue 'value;
                    }
                    (Some(b'}'), Some(names)) => {
                        if let Err(error) = self.repeated(names) {
                            repeated.get_or_insert(error);
                        }
                        self.skip(1);
                    }
                    (Some(b']'), None) => self.skip(1),
                    _ => return Err(self.ill_formed("a comma or a closing bracket was expected")),
                }
                self.open.pop();
            }
            // Told only now, at the end of the value, so that whoever can do without the value goes on from here.
            if let Some(error) = repeated {
                return Err(error);
            }
            let len = start.len().saturating_sub(self.rest.len());
            return Ok(start.get(..len).unwrap_or(start));
        }
    }

    /// Refuses equal names from this one on, and forgets them.
    fn repeated(&mut self, from: usize) -> Result<(), DecodeError> {
        let mut names = self.names.split_off(from.min(self.names.len()));
        names.sort_unstable();
        match names.windows(2).find(|pair| pair.first() == pair.last()).and_then(<[_]>::first) {
            Some(name) => Err(DecodeErrorKind::Repeated(name.clone().into_owned()).at(self.offset())),
            None => Ok(()),
        }
    }
}

/// How many octets stand before the first quote, backslash or control character: eight at a time.
#[inline]
fn plain(octets: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // The high bit of each octet that is below `n`, or is 0: the lowest such bit is never wrong.
    let below = |word: u64, n: u64| word.wrapping_sub(ONES.wrapping_mul(n)) & !word & HIGHS;
    let mut rest = octets;
    let mut before = 0_usize;
    while let Some((chunk, behind)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let quote = below(word ^ ONES.wrapping_mul(u64::from(b'"')), 1);
        let backslash = below(word ^ ONES.wrapping_mul(u64::from(b'\\')), 1);
        let found = below(word, 0x20) | quote | backslash;
        if found != 0 {
            let index = found.trailing_zeros() >> 3;
            return usize::try_from(index).ok().map(|index| before.wrapping_add(index));
        }
        before = before.wrapping_add(8);
        rest = behind;
    }
    let end = rest.iter().position(|octet| matches!(octet, b'"' | b'\\') || *octet < 0x20)?;
    Some(before.wrapping_add(end))
}

/// The octets of the number at the start, and whether it is whole.
#[inline]
fn number_len(octets: &[u8]) -> Option<(usize, bool)> {
    #[inline]
    fn digits(octets: &[u8]) -> usize {
        octets.iter().take_while(|octet| octet.is_ascii_digit()).count()
    }
    let rest = octets.strip_prefix(b"-").unwrap_or(octets);
    let count = digits(rest);
    if count == 0 || (count > 1 && rest.first() == Some(&b'0')) {
        return None;
    }
    let mut rest = rest.get(count..)?;
    let mut whole = true;
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        rest = fraction.get(count..).filter(|_| count > 0)?;
        whole = false;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', digits @ ..] => digits,
            digits => digits,
        };
        let count = digits(exponent);
        rest = exponent.get(count..).filter(|_| count > 0)?;
        whole = false;
    }
    Some((octets.len().wrapping_sub(rest.len()), whole))
}

/// The character of an escape at its `u`, with the second half of a pair, and what follows.
fn unicode(escape: &str) -> Option<(char, &str)> {
    let hex = |text: &str| {
        let (digits, rest) = text.split_at_checked(4)?;
        let is_hex = digits.bytes().all(|octet| octet.is_ascii_hexdigit());
        is_hex.then(|| u16::from_str_radix(digits, 16).ok()).flatten().map(|unit| (unit, rest.len()))
    };
    let tail = |len: usize| escape.get(escape.len().checked_sub(len)?..);
    let (first, left) = hex(escape.strip_prefix('u')?)?;
    let rest = tail(left)?;
    let single = char::decode_utf16([first]).next()?;
    match single {
        Ok(character) => Some((character, rest)),
        Err(_) => {
            let (second, left) = hex(rest.strip_prefix("\\u")?)?;
            let character = char::decode_utf16([first, second]).next()?.ok()?;
            Some((character, tail(left)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn the_end_of_a_string_is_found_wherever_it_is() {
        for special in 0..=255_u8 {
            let ends = matches!(special, b'"' | b'\\') || special < 0x20;
            for before in 0..20 {
                let mut octets = vec![b'a'; before];
                octets.extend([special, 0xc3, 0xa9, b'!', 0x7f, b'~', b'#', b'[', b']', b' ', 0x80]);
                assert_eq!(plain(&octets), ends.then_some(before), "{special} behind {before}");
                octets.push(b'"');
                assert_eq!(plain(&octets), Some(if ends { before } else { octets.len() - 1 }));
            }
        }
        assert_eq!(plain(b""), None);
    }
}
