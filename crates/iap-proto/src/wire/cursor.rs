//! Reading the words of one line. White space between them is as strict as [`Compat`](crate::Compat) says.

use nom::bytes::complete::{tag, tag_no_case, take_while, take_while_m_n};
use nom::combinator::{map_opt, verify};
use nom::sequence::{preceded, separated_pair};
use nom::{IResult, Parser};

use super::head::Line;
use super::{DecodeError, DecodeErrorKind, Syntax};
use crate::message::{Host, MediaType, Status, Version, is_token};

type Parsed<'a, T> = IResult<&'a [u8], T, ()>;

fn is_space(c: u8) -> bool {
    matches!(c, b' ' | b'\t')
}

fn number(max_digits: usize) -> impl Fn(&[u8]) -> Parsed<'_, u64> {
    move |input| {
        map_opt(take_while_m_n(1, max_digits, |c: u8| c.is_ascii_digit()), |digits: &[u8]| {
            digits
                .iter()
                .try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit.checked_sub(b'0')?)))
        })
        .parse(input)
    }
}

fn small(input: &[u8]) -> Parsed<'_, u16> {
    map_opt(number(3), |value| u16::try_from(value).ok()).parse(input)
}

fn dotted(input: &[u8]) -> Parsed<'_, Version> {
    separated_pair(small, tag("."), small).map(|(major, minor)| Version { major, minor }).parse(input)
}

fn version(input: &[u8]) -> Parsed<'_, Version> {
    preceded(tag_no_case("IAP/"), dotted).parse(input)
}

fn status(input: &[u8]) -> Parsed<'_, Status> {
    map_opt(verify(take_while(|c: u8| c.is_ascii_digit()), |digits: &[u8]| digits.len() == 3), |digits: &[u8]| {
        Status::new(u16::try_from(number(3)(digits).ok()?.1).ok()?)
    })
    .parse(input)
}

/// A line being read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    line: Line<'a>,
    rest: &'a [u8],
    syntax: &'a Syntax,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(line: Line<'a>, syntax: &'a Syntax) -> Self {
        let mut rest = line.text;
        if syntax.compat.extra_white_space {
            while let Some((&last, head)) = rest.split_last() {
                if !is_space(last) {
                    break;
                }
                rest = head;
            }
        }
        Self { line: Line { text: rest, offset: line.offset }, rest, syntax }
    }

    /// An error where the cursor stands.
    pub(super) fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        let read = self.line.text.len().saturating_sub(self.rest.len());
        DecodeError::new(kind, self.line.offset.saturating_add(read))
    }

    fn apply<T>(&mut self, mut parser: impl FnMut(&'a [u8]) -> Parsed<'a, T>) -> Option<T> {
        let (rest, value) = parser(self.rest).ok()?;
        self.rest = rest;
        Some(value)
    }

    /// `IAP/0.3`, if it stands here.
    pub(super) fn version(&mut self) -> Option<Version> {
        self.apply(version)
    }

    /// `0.3`.
    pub(super) fn dotted(&mut self) -> Result<Version, DecodeError> {
        self.apply(dotted).ok_or_else(|| self.error(DecodeErrorKind::Version))
    }

    /// This word, in any case, if it stands here.
    pub(super) fn keyword(&mut self, word: &'static str) -> bool {
        self.apply(|input| tag_no_case(word).parse(input)).is_some()
    }

    /// `name` and a colon, if they stand here, and the space behind them.
    pub(super) fn header(&mut self, name: &'static str) -> Result<bool, DecodeError> {
        let found = self.apply(|input| (tag_no_case(name), tag(":")).parse(input)).is_some();
        if found {
            self.space_after_colon()?;
        }
        Ok(found)
    }

    /// Any header's name, and the space behind its colon.
    pub(super) fn any_header(&mut self) -> Result<&'a [u8], DecodeError> {
        let name = self
            .apply(|input| (take_while_m_n(1, usize::MAX, is_token), tag(":")).map(|(name, _)| name).parse(input))
            .ok_or_else(|| self.error(DecodeErrorKind::Header))?;
        self.space_after_colon()?;
        Ok(name)
    }

    fn space_after_colon(&mut self) -> Result<(), DecodeError> {
        let at = *self;
        let spaces = self.skip_spaces();
        let compat = self.syntax.compat;
        let fine = match spaces {
            0 => compat.no_space_after_colon || self.rest.is_empty(),
            1 => compat.extra_white_space || at.rest.first() == Some(&b' '),
            _ => compat.extra_white_space,
        };
        if fine { Ok(()) } else { Err(at.error(DecodeErrorKind::WhiteSpace)) }
    }

    /// The white space between two words.
    pub(super) fn space(&mut self) -> Result<(), DecodeError> {
        let at = *self;
        let spaces = self.skip_spaces();
        let fine = if self.syntax.compat.extra_white_space {
            spaces > 0
        } else {
            spaces == 1 && at.rest.first() == Some(&b' ')
        };
        if fine { Ok(()) } else { Err(at.error(DecodeErrorKind::WhiteSpace)) }
    }

    fn skip_spaces(&mut self) -> usize {
        self.apply(take_while(is_space)).map_or(0, <[u8]>::len)
    }

    /// Everything up to white space or the end.
    pub(super) fn word(&mut self) -> &'a [u8] {
        self.apply(take_while(|c| !is_space(c))).unwrap_or_default()
    }

    /// Everything that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// A host.
    pub(super) fn host(&mut self) -> Result<Host, DecodeError> {
        let at = *self;
        text(self.word()).and_then(|word| word.parse().ok()).ok_or_else(|| at.error(DecodeErrorKind::Host))
    }

    /// A host with or without a port.
    pub(super) fn host_and_port(&mut self) -> Result<(Host, Option<u16>), DecodeError> {
        let at = *self;
        let word = text(self.word()).ok_or_else(|| at.error(DecodeErrorKind::Host))?;
        // The last colon is a port's, unless it stands inside the brackets of an IPv6 address.
        let (host, port) = match word.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (word, None),
        };
        let host = host.parse().map_err(|_| at.error(DecodeErrorKind::Host))?;
        let digits = |port: &&str| port.bytes().all(|c| c.is_ascii_digit());
        let port = port
            .map(|port| {
                let value = Some(port).filter(digits).and_then(|port| port.parse().ok());
                value.ok_or_else(|| at.error(DecodeErrorKind::Port))
            })
            .transpose()?;
        Ok((host, port))
    }

    /// Three digits.
    pub(super) fn status(&mut self) -> Result<Status, DecodeError> {
        self.apply(status).ok_or_else(|| self.error(DecodeErrorKind::Status))
    }

    /// A number of at most 19 digits.
    pub(super) fn length(&mut self) -> Result<u64, DecodeError> {
        self.apply(number(19)).ok_or_else(|| self.error(DecodeErrorKind::Length))
    }

    /// A media type, which may hold spaces between its parameters.
    pub(super) fn media_type(&mut self) -> Result<MediaType, DecodeError> {
        let at = *self;
        text(self.rest()).and_then(|rest| rest.parse().ok()).ok_or_else(|| at.error(DecodeErrorKind::MediaType))
    }

    /// Whether the line is read to its end.
    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Nothing more may stand in the line.
    pub(super) fn end(self, kind: DecodeErrorKind) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error(kind)) }
    }
}

fn text(octets: &[u8]) -> Option<&str> {
    std::str::from_utf8(octets).ok()
}
