//! From JSON to a document. [RFC 7071 section 6.2.2](https://www.rfc-editor.org/rfc/rfc7071#section-6.2.2)

use std::borrow::Cow;

use super::cursor::Cursor;
use crate::error::Limit;
use crate::limits::Limits;
use crate::reputon::{ExtensionValue, Reputation};
use crate::wire::member::{COUNT, Draft, Kind, Member, SCORE};
use crate::wire::{DecodeError, DecodeErrorKind, Dialect, Strictness};

/// The name of a member of a reputon.
enum Name<'a> {
    Known(Member),
    Extension(Cow<'a, str>),
}

impl<'a> From<Cow<'a, str>> for Name<'a> {
    fn from(name: Cow<'a, str>) -> Self {
        Member::from_name(&name).map_or(Self::Extension(name), Self::Known)
    }
}

/// How reputons of this document are read.
struct Reader<'a, 'l> {
    cursor: Cursor<'a>,
    limits: &'l Limits,
    strictness: Strictness,
    /// Whether names of members are read in any case, as the drafts had them.
    folds: bool,
    /// The rater of reputons that name none.
    rater: Option<&'a str>,
}

/// Reads a document.
pub(crate) fn read<'a>(
    body: &'a [u8],
    limits: &Limits,
    dialect: Dialect,
    strictness: Strictness,
) -> Result<Reputation<'a>, DecodeError> {
    let text = std::str::from_utf8(body).map_err(|error| DecodeErrorKind::NotUtf8.at(error.valid_up_to()))?;
    // Editors put it there; no parser of the time did.
    let text = if strictness == Strictness::Lenient { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
    let cursor = Cursor::new(text, limits.depth);
    let mut reader = Reader { cursor, limits, strictness, folds: dialect != Dialect::Rfc7072, rater: None };
    let shift = body.len().saturating_sub(text.len());
    let document = reader.document(text, dialect).map_err(|error| shifted(error, shift))?;
    Ok(Reputation {
        rejected: document.rejected.into_iter().map(|(index, error)| (index, shifted(error, shift))).collect(),
        ..document
    })
}

/// Reads one reputon in an object of its own, which also says the application.
pub(crate) fn read_line<'a>(
    body: &'a [u8],
    limits: &Limits,
    strictness: Strictness,
    rater: &'a str,
) -> Result<Reputation<'a>, DecodeError> {
    let text = std::str::from_utf8(body).map_err(|error| DecodeErrorKind::NotUtf8.at(error.valid_up_to()))?;
    let cursor = Cursor::new(text, limits.depth);
    let mut reader = Reader { cursor, limits, strictness, folds: false, rater: Some(rater) };
    let mut document = Reputation::default();
    reader.one(&mut document)?;
    reader.cursor.peek();
    if !reader.cursor.is_at_end() {
        return Err(reader.cursor.ill_formed("something follows the reputon"));
    }
    if let Some((_, error)) = document.rejected.pop() {
        return Err(error);
    }
    for reputon in &mut document.reputons {
        let Some(at) = reputon.extensions.iter().position(|extension| extension.name == "application") else {
            continue;
        };
        let value = reputon.extensions.remove(at).value;
        let wrong = DecodeErrorKind::WrongType { name: "application", wanted: "a string" };
        document.application = Some(value.into_text().ok_or_else(|| wrong.at(0))?);
    }
    Ok(document)
}

fn shifted(error: DecodeError, by: usize) -> DecodeError {
    DecodeError { offset: error.offset.saturating_add(by), ..error }
}

/// One JSON value as that of an extension, under default limits.
pub(crate) fn value(text: &str) -> Option<ExtensionValue<'_>> {
    let mut cursor = Cursor::new(text, Limits::default().depth);
    let value = extension_value(&mut cursor).ok()?;
    cursor.peek();
    cursor.is_at_end().then_some(value)
}

/// A list of objects, their strings by name; other members are passed over.
pub(crate) fn string_objects(
    body: &[u8],
    limits: &Limits,
    most: usize,
) -> Result<Vec<Vec<(String, String)>>, DecodeError> {
    let text = std::str::from_utf8(body).map_err(|error| DecodeErrorKind::NotUtf8.at(error.valid_up_to()))?;
    let cursor = Cursor::new(text, limits.depth);
    let mut reader = Reader { cursor, limits, strictness: Strictness::Strict, folds: false, rater: None };
    let mut objects = Vec::new();
    reader.cursor.expect(b'[', "an array was expected")?;
    let mut more = !reader.cursor.take(b']');
    while more {
        let at = reader.cursor.offset();
        if objects.len() >= most {
            return Err(DecodeErrorKind::Limit(Limit::Queries).at(at));
        }
        objects.push(reader.strings()?);
        more = reader.goes_on(b']')?;
    }
    reader.cursor.peek();
    if reader.cursor.is_at_end() { Ok(objects) } else { Err(reader.cursor.ill_formed("something follows the array")) }
}

fn extension_value<'a>(cursor: &mut Cursor<'a>) -> Result<ExtensionValue<'a>, DecodeError> {
    Ok(match cursor.peek() {
        Some(b'"') => ExtensionValue::text(cursor.string()?),
        _ => ExtensionValue::checked(cursor.value()?),
    })
}

impl<'a> Reader<'a, '_> {
    fn document(&mut self, text: &'a str, dialect: Dialect) -> Result<Reputation<'a>, DecodeError> {
        let mut document = Reputation::default();
        self.cursor.expect(b'{', "an object was expected")?;
        let mut names: Vec<Cow<'a, str>> = Vec::new();
        let (mut reputons, mut is_flat) = (false, false);
        let mut more = !self.cursor.take(b'}');
        while more {
            let at = self.cursor.offset();
            let name = self.member_name()?;
            match name.as_ref() {
                // The drafts repeat this name, once for each reputon.
                "reputon" if dialect != Dialect::Rfc7072 => {
                    reputons = true;
                    self.one(&mut document)?;
                }
                "application" => match self.cursor.peek() {
                    Some(b'"') => document.application = Some(self.cursor.string()?),
                    _ => return Err(DecodeErrorKind::WrongType { name: "application", wanted: "a string" }.at(at)),
                },
                "reputons" => {
                    reputons = true;
                    self.list(&mut document)?;
                }
                "rater" | "assertion" | "rated" | "rating" if dialect != Dialect::Rfc7072 && !reputons => {
                    is_flat = true;
                    break;
                }
                _ => drop(self.cursor.value()?),
            }
            if name != "reputon" || dialect == Dialect::Rfc7072 {
                if names.contains(&name) {
                    return Err(DecodeErrorKind::Repeated(name.into_owned()).at(at));
                }
                Limits::check(Limit::Members, names.len().saturating_add(1), self.limits.members)
                    .map_err(|limit| DecodeErrorKind::Limit(limit).at(at))?;
                names.push(name);
            }
            more = self.goes_on(b'}')?;
        }
        if is_flat {
            // The object is the reputon: it is read again as one.
            self.cursor = Cursor::new(text, self.limits.depth);
            document = Reputation::default();
            self.one(&mut document)?;
            reputons = true;
        }
        self.cursor.peek();
        if !self.cursor.is_at_end() {
            return Err(self.cursor.ill_formed("something follows the document"));
        }
        if dialect == Dialect::Rfc7072
            || (!reputons && !names.is_empty())
            || names.iter().any(|name| name == "reputons")
        {
            for (name, missing) in [("application", document.application.is_none()), ("reputons", !reputons)] {
                if missing {
                    return Err(DecodeErrorKind::Missing(name).at(0));
                }
            }
        }
        Ok(document)
    }

    /// One of [`string_objects`]; a list of strings counts as its items between commas.
    fn strings(&mut self) -> Result<Vec<(String, String)>, DecodeError> {
        let mut strings: Vec<(String, String)> = Vec::new();
        self.cursor.expect(b'{', "an object was expected")?;
        let mut more = !self.cursor.take(b'}');
        while more {
            let at = self.cursor.offset();
            let name = self.cursor.name()?.into_owned();
            if strings.iter().any(|(known, _)| *known == name) {
                return Err(DecodeErrorKind::Repeated(name).at(at));
            }
            if strings.len() >= self.limits.members {
                return Err(DecodeErrorKind::Limit(Limit::Members).at(at));
            }
            match self.cursor.peek() {
                Some(b'"') => strings.push((name, self.cursor.string()?.into_owned())),
                Some(b'[') => {
                    self.cursor.take(b'[');
                    let mut items: Vec<Cow<'a, str>> = Vec::new();
                    let mut another = !self.cursor.take(b']');
                    while another {
                        items.push(self.cursor.string()?);
                        another = self.goes_on(b']')?;
                    }
                    strings.push((name, items.join(",")));
                }
                _ => drop(self.cursor.value()?),
            }
            more = self.goes_on(b'}')?;
        }
        Ok(strings)
    }

    fn list(&mut self, document: &mut Reputation<'a>) -> Result<(), DecodeError> {
        if self.cursor.peek() != Some(b'[') {
            let error = DecodeErrorKind::WrongType { name: "reputons", wanted: "an array" };
            return Err(error.at(self.cursor.offset()));
        }
        self.cursor.expect(b'[', "an array was expected")?;
        // By what has arrived, never by what is announced: reputons are rarely shorter than this.
        document.reputons.reserve((self.cursor.left() / 128).min(self.limits.reputons).min(1024));
        let mut more = !self.cursor.take(b']');
        while more {
            self.one(document)?;
            more = self.goes_on(b']')?;
        }
        Ok(())
    }

    fn one(&mut self, document: &mut Reputation<'a>) -> Result<(), DecodeError> {
        let index = document.count();
        if index >= self.limits.reputons {
            return Err(DecodeErrorKind::Limit(Limit::Reputons).at(self.cursor.offset()));
        }
        if let Err(error) = self.reputon(document)? {
            document.rejected.push((index, error));
        }
        Ok(())
    }

    /// Whether a comma follows, rather than this bracket.
    #[inline]
    fn goes_on(&mut self, bracket: u8) -> Result<bool, DecodeError> {
        match self.cursor.peek() {
            Some(b',') => Ok(self.cursor.take(b',')),
            Some(found) if found == bracket => Ok(!self.cursor.take(bracket)),
            _ => Err(self.cursor.ill_formed("a comma or a closing bracket was expected")),
        }
    }

    #[inline]
    fn member_name(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        let name = self.cursor.name()?;
        // Without a way out of the loop, so that the compiler looks at many octets at once.
        if self.folds && name.bytes().fold(false, |found, octet| found | octet.is_ascii_uppercase()) {
            let folded = name.to_ascii_lowercase();
            // Only names that the format defines: those of extensions are others' business.
            if Member::from_name(&folded).is_some() || matches!(folded.as_str(), "reputon" | "application" | "reputons")
            {
                return Ok(Cow::Owned(folded));
            }
        }
        Ok(name)
    }

    /// Passes over a value that is lost anyway.
    fn pass(&mut self) -> Result<(), DecodeError> {
        match self.cursor.value() {
            Ok(_) | Err(DecodeError { kind: DecodeErrorKind::Repeated(_), .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// One reputon: an outer error ends the document, an inner one the reputon.
    fn reputon(&mut self, document: &mut Reputation<'a>) -> Result<Result<(), DecodeError>, DecodeError> {
        if self.cursor.peek() != Some(b'{') {
            let at = self.cursor.offset();
            self.pass()?;
            return Ok(Err(DecodeErrorKind::WrongType { name: "reputon", wanted: "an object" }.at(at)));
        }
        let start = self.cursor.offset();
        self.cursor.take(b'{');
        let mut draft = Draft::default();
        let mut bad: Option<DecodeError> = None;
        let mut count = 0_usize;
        let mut more = !self.cursor.take(b'}');
        while more {
            let name = match self.cursor.known_name() {
                Some(member) => Name::Known(member),
                None => Name::from(self.member_name()?),
            };
            self.cursor.peek();
            let at = self.cursor.offset();
            count = count.wrapping_add(1);
            if count > self.limits.members {
                // From here on nothing of it is kept.
                self.pass()?;
                bad.get_or_insert_with(|| DecodeErrorKind::Limit(Limit::Members).at(at));
            } else if let Err(kind) = self.member(&mut draft, name)? {
                bad.get_or_insert_with(|| kind.at(at));
            }
            more = self.goes_on(b'}')?;
        }
        let size = self.cursor.offset().wrapping_sub(start);
        if size > self.limits.reputon {
            return Ok(Err(DecodeErrorKind::Limit(Limit::Reputon).at(start)));
        }
        if let Some(error) = bad {
            return Ok(Err(error));
        }
        if draft.is_empty() {
            document.empty = document.empty.saturating_add(1);
            return Ok(Ok(()));
        }
        if let Some(rater) = self.rater {
            draft.assume_rater(rater);
        }
        Ok(draft.finish(self.strictness).map(|reputon| document.reputons.push(reputon)).map_err(|kind| kind.at(start)))
    }

    /// One member: an outer error ends the document, an inner one the reputon.
    #[inline]
    fn member(&mut self, draft: &mut Draft<'a>, name: Name<'a>) -> Result<Result<(), DecodeErrorKind>, DecodeError> {
        let member = match name {
            Name::Known(member) => member,
            Name::Extension(name) => {
                return match extension_value(&mut self.cursor) {
                    Ok(value) => Ok(draft.extension(name, value, false)),
                    Err(DecodeError { kind: kind @ DecodeErrorKind::Repeated(_), .. }) => Ok(Err(kind)),
                    Err(error) => Err(error),
                };
            }
        };
        let first = draft.first(member);
        let next = self.cursor.peek();
        let result = match (member.kind(), next) {
            (Kind::Text, Some(b'"')) => {
                draft.text(member, self.cursor.string()?);
                Ok(())
            }
            (Kind::Score, Some(b'-' | b'0'..=b'9')) => {
                if let Some(score) = self.cursor.score() {
                    draft.put_score(member, score);
                    return Ok(first);
                }
                let (number, _) = self.cursor.number()?;
                draft.score(member, Cow::Borrowed(number))
            }
            (Kind::Count, Some(b'-' | b'0'..=b'9')) => {
                if let Some(count) = self.cursor.count() {
                    draft.count(member, count);
                    return Ok(first);
                }
                let (number, whole) = self.cursor.number()?;
                let count = match number.parse() {
                    Ok(count) => Some(count),
                    Err(_) if whole || self.strictness == Strictness::Strict => None,
                    Err(_) => integral(number),
                };
                match count {
                    Some(count) => {
                        draft.count(member, count);
                        Ok(())
                    }
                    None => Err(DecodeErrorKind::OutOfRange { name: member.name(), wanted: COUNT }),
                }
            }
            (kind, _) => {
                let wanted = match kind {
                    Kind::Text => "a string",
                    Kind::Score => SCORE,
                    Kind::Count => COUNT,
                };
                match self.cursor.value() {
                    Ok(_) => Err(DecodeErrorKind::WrongType { name: member.name(), wanted }),
                    Err(DecodeError { kind: kind @ DecodeErrorKind::Repeated(_), .. }) => return Ok(Err(kind)),
                    Err(error) => return Err(error),
                }
            }
        };
        Ok(first.and(result))
    }
}

/// What a number such as `5e1` or `1.0` says, if that is a whole number.
fn integral(number: &str) -> Option<u64> {
    let value: f64 = number.parse().ok()?;
    // Above 2^53 not every whole number has a float of its own.
    let is_exact = value.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&value);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    is_exact.then_some(value as u64)
}
