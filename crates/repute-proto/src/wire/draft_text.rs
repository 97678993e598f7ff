//! The text form of the drafts of 2011: one `NAME: value` line for each member, one reputon for each document.
//! draft-ietf-repute-media-type-00 section 3.1
//!
//! Values are read as the drafts' own examples have them, with spaces and without quotes, and quoted strings too. It is
//! for archives: no server of this crate offers it.

use std::borrow::Cow;

use bytes::BufMut;

use super::member::{COUNT, Draft, Kind, Member};
use super::{DecodeError, DecodeErrorKind, EncodeError, Strictness};
use crate::error::Limit;
use crate::limits::Limits;
use crate::reputon::{ExtensionValue, Reputon};

/// Reads the one reputon of a text.
///
/// # Errors
/// When a line is none, a member is repeated, missing or out of range, or the text exceeds [`Limits::reputon`].
pub fn decode<'a>(text: &'a str, limits: &Limits) -> Result<Reputon<'a>, DecodeError> {
    Limits::check(Limit::Reputon, text.len(), limits.reputon)
        .map_err(|limit| DecodeErrorKind::Limit(limit).at(limits.reputon))?;
    let mut draft = Draft::default();
    let mut at = 0_usize;
    let mut members = 0_usize;
    for line in text.split_inclusive('\n') {
        let start = at;
        at = at.saturating_add(line.len());
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        members = members.saturating_add(1);
        Limits::check(Limit::Members, members, limits.members)
            .map_err(|limit| DecodeErrorKind::Limit(limit).at(start))?;
        let (name, value) =
            line.split_once(':').ok_or_else(|| DecodeErrorKind::IllFormed("a line without colon").at(start))?;
        member(&mut draft, name.trim(), value.trim()).map_err(|kind| kind.at(start))?;
    }
    draft.finish(Strictness::Lenient).map_err(|kind| kind.at(0))
}

fn member<'a>(draft: &mut Draft<'a>, name: &'a str, value: &'a str) -> Result<(), DecodeErrorKind> {
    let name = name.to_ascii_lowercase();
    let Some(member) = Member::from_name(&name) else {
        return draft.extension(name.into(), ExtensionValue::text(value), false);
    };
    draft.first(member)?;
    match member.kind() {
        Kind::Text => {
            let value = super::unquote(value);
            if value.is_empty() {
                return Err(DecodeErrorKind::Missing(member.name()));
            }
            draft.text(member, value);
            Ok(())
        }
        Kind::Score => draft.score(member, Cow::Borrowed(value)),
        Kind::Count => {
            let wrong = |_| DecodeErrorKind::OutOfRange { name: member.name(), wanted: COUNT };
            draft.count(member, value.parse().map_err(wrong)?);
            Ok(())
        }
    }
}

/// Writes one reputon, lines ending in CR LF.
///
/// # Errors
/// When a value has a line break or another control character.
pub fn encode(reputon: &Reputon<'_>, out: &mut impl BufMut) -> Result<(), EncodeError> {
    line("RATER", &reputon.rater, out)?;
    if let Some(authenticity) = &reputon.rater_authenticity {
        line("RATER-AUTHENTICITY", &authenticity.to_string(), out)?;
    }
    line("ASSERTION", &reputon.assertion, out)?;
    for extension in &reputon.extensions {
        if let Some(value) = extension.value.as_text().or_else(|| extension.value.as_json()) {
            if extension.name.contains(':') {
                return Err(EncodeError::Character("the name of an extension"));
            }
            line(&extension.name.to_ascii_uppercase(), value, out)?;
        }
    }
    line("RATED", &reputon.rated, out)?;
    line("RATING", &reputon.rating.to_string(), out)?;
    if let Some(samples) = reputon.sample_size {
        line("SAMPLE-SIZE", &samples.to_string(), out)?;
    }
    Ok(())
}

fn line(name: &str, value: &str, out: &mut impl BufMut) -> Result<(), EncodeError> {
    if name.chars().chain(value.chars()).any(char::is_control) {
        return Err(EncodeError::Character("a line"));
    }
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value.as_bytes());
    out.put_slice(b"\r\n");
    Ok(())
}
