//! From XML to a document: any order of elements, unknown ones passed over, no document types and no entities.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::errors::{Error as XmlError, IllFormedError};
use quick_xml::events::{BytesStart, Event};

use crate::error::Limit;
use crate::limits::Limits;
use crate::reputon::{ExtensionValue, Reputation};
use crate::wire::member::{COUNT, Draft, Kind, Member, SCORE};
use crate::wire::{DecodeError, DecodeErrorKind, Strictness};

/// Reads a document.
pub(crate) fn read<'a>(body: &'a [u8], limits: &Limits, strictness: Strictness) -> Result<Reputation<'a>, DecodeError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    match (declared(body), std::str::from_utf8(body)) {
        (Declared::Utf8, Ok(text)) => document(text, limits, strictness),
        (Declared::Ascii, Ok(text)) if strictness == Strictness::Lenient || text.is_ascii() => {
            document(text, limits, strictness)
        }
        (Declared::Latin1, _) => {
            let text: String = body.iter().copied().map(char::from).collect();
            Ok(document(&text, limits, strictness)?.into_owned())
        }
        (Declared::Utf8 | Declared::Ascii, Err(error)) => Err(DecodeErrorKind::NotUtf8.at(error.valid_up_to())),
        (Declared::Other, _) | (Declared::Ascii, Ok(_)) => Err(DecodeErrorKind::XmlEncoding.at(0)),
    }
}

enum Declared {
    Utf8,
    Ascii,
    Latin1,
    Other,
}

/// The encoding in the XML declaration.
fn declared(body: &[u8]) -> Declared {
    let declaration = body.strip_prefix(b"<?xml").and_then(|rest| {
        let end = rest.iter().take(200).position(|octet| *octet == b'>')?;
        rest.get(..end)
    });
    let declaration = declaration.and_then(|octets| std::str::from_utf8(octets).ok()).unwrap_or("");
    let Some((_, encoding)) = declaration.split_once("encoding") else { return Declared::Utf8 };
    let encoding = encoding.trim_start().trim_start_matches('=').trim_start();
    let name = encoding.split(['"', '\'']).nth(1).unwrap_or("");
    let is = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    if is(&["utf-8", "utf8"]) {
        Declared::Utf8
    } else if is(&["us-ascii", "ascii"]) {
        Declared::Ascii
    } else if is(&["iso-8859-1", "latin1"]) {
        Declared::Latin1
    } else {
        Declared::Other
    }
}

/// The reputon that is being read.
pub(super) struct Open<'a> {
    pub(super) draft: Draft<'a>,
    pub(super) start: usize,
    pub(super) members: usize,
    pub(super) bad: Option<DecodeError>,
}

/// A member that is being read: its local name, its text so far, and whether there are elements in it.
pub(super) struct Leaf<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) member: Option<Member>,
    pub(super) text: Cow<'a, str>,
    pub(super) start: usize,
    pub(super) nests: bool,
}

fn document<'a>(text: &'a str, limits: &Limits, strictness: Strictness) -> Result<Reputation<'a>, DecodeError> {
    let is_forbidden = |octet: u8| octet < 0x20 && !matches!(octet, b'\t' | b'\n' | b'\r');
    if text.bytes().fold(false, |found, octet| found | is_forbidden(octet)) {
        let at = text.bytes().position(is_forbidden).unwrap_or(0);
        return Err(DecodeErrorKind::IllFormed("a character that XML forbids").at(at));
    }
    // What servers write needs no general reader; whatever else there is, is read again from the start.
    if let Some(document) = super::plain::read(text, limits, strictness) {
        return Ok(document);
    }
    let mut xml = Reader::from_str(text);
    xml.config_mut().expand_empty_elements = true;
    let mut document = Reputation::default();
    let mut depth = 0_usize;
    let (mut has_root, mut has_xml) = (false, false);
    let mut open: Option<Open<'a>> = None;
    let mut leaf: Option<Leaf<'a>> = None;
    loop {
        // Documents are in memory: positions are those of slices.
        let at = usize::try_from(xml.buffer_position()).unwrap_or(usize::MAX);
        let event = xml.read_event().map_err(|error| DecodeErrorKind::IllFormed(what(&error)).at(at))?;
        match event {
            Event::Start(tag) => {
                depth = depth.saturating_add(1);
                if depth > limits.depth {
                    return Err(DecodeErrorKind::Limit(Limit::Depth).at(at));
                }
                let name = local(text, at, &tag)?;
                match (depth, &mut open, &mut leaf) {
                    (1, ..) if !has_root && name.eq_ignore_ascii_case("reputation") => has_root = true,
                    (1, ..) => return Err(DecodeErrorKind::IllFormed("the root must be reputation").at(at)),
                    (2, ..) if name.eq_ignore_ascii_case("reputon") => {
                        let index = document.count();
                        if index >= limits.reputons {
                            return Err(DecodeErrorKind::Limit(Limit::Reputons).at(at));
                        }
                        open = Some(Open { draft: Draft::default(), start: at, members: 0, bad: None });
                    }
                    (3, Some(reputon), _) => {
                        reputon.members = reputon.members.saturating_add(1);
                        if reputon.members > limits.members {
                            let error = DecodeErrorKind::Limit(Limit::Members).at(at);
                            reputon.bad.get_or_insert(error);
                        } else {
                            let name = folded(name);
                            let member = Member::from_name(&name);
                            leaf = Some(Leaf { name, member, text: Cow::Borrowed(""), start: at, nests: false });
                        }
                    }
                    (_, _, Some(leaf)) => leaf.nests = true,
                    // Elements of others.
                    _ => {}
                }
            }
            Event::Text(piece) => {
                if let Some(leaf) = leaf.as_mut().filter(|_| depth == 3) {
                    add(&mut leaf.text, piece.into_inner());
                } else if is_structure(depth, &open) && !piece.bytes().all(|octet| octet.is_ascii_whitespace()) {
                    return Err(DecodeErrorKind::IllFormed("text where only elements belong").at(at));
                }
            }
            Event::CData(piece) => match leaf.as_mut().filter(|_| depth == 3) {
                Some(leaf) => add(&mut leaf.text, piece.into_inner()),
                None if !is_structure(depth, &open) => {}
                None => return Err(DecodeErrorKind::IllFormed("text where only elements belong").at(at)),
            },
            Event::GeneralRef(reference) => {
                let character = resolve(&reference).ok_or_else(|| DecodeErrorKind::Entity.at(at))?;
                match leaf.as_mut().filter(|_| depth == 3) {
                    Some(leaf) => leaf.text.to_mut().push(character),
                    None if !is_structure(depth, &open) => {}
                    None => return Err(DecodeErrorKind::IllFormed("text where only elements belong").at(at)),
                }
            }
            Event::End(_) => {
                depth = depth.saturating_sub(1);
                if depth == 2 {
                    if let (Some(leaf), Some(reputon)) = (leaf.take(), open.as_mut()) {
                        let start = leaf.start;
                        if let Err(kind) = member(&mut reputon.draft, leaf) {
                            reputon.bad.get_or_insert_with(|| kind.at(start));
                        }
                    }
                } else if depth == 1
                    && let Some(reputon) = open.take()
                {
                    close(reputon, at, &mut document, limits, strictness);
                }
            }
            Event::Decl(_) if at == 0 && !has_xml => has_xml = true,
            Event::Decl(_) => return Err(DecodeErrorKind::IllFormed("a misplaced XML declaration").at(at)),
            Event::Comment(_) => {}
            Event::PI(instruction) if instruction.target() == "xml-stylesheet" => {}
            Event::PI(_) => return Err(DecodeErrorKind::IllFormed("a processing instruction").at(at)),
            Event::DocType(_) => return Err(DecodeErrorKind::Entity.at(at)),
            Event::Empty(_) => return Err(DecodeErrorKind::IllFormed("an empty element").at(at)),
            Event::Eof if depth > 0 => return Err(DecodeErrorKind::IllFormed("an element without end").at(at)),
            Event::Eof if !has_root => return Err(DecodeErrorKind::IllFormed("no element at all").at(at)),
            Event::Eof => return Ok(document),
        }
    }
}

/// Whether only elements belong here: outside of the root, in it, and in a reputon; not in what is passed over.
fn is_structure(depth: usize, open: &Option<Open<'_>>) -> bool {
    depth < 2 || (depth == 2 && open.is_some())
}

/// The name of the tag that starts here, without prefix. Its attributes are looked at only for being well-formed.
fn local<'a>(text: &'a str, at: usize, tag: &BytesStart<'_>) -> Result<&'a str, DecodeError> {
    let len = tag.name().as_ref().len();
    let start = at.saturating_add(1);
    let name = text.get(start..start.saturating_add(len)).unwrap_or("");
    let name = name.rsplit_once(':').map_or(name, |(_, local)| local);
    if name.is_empty()
        || !name
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.') || octet >= 0x80)
    {
        return Err(DecodeErrorKind::IllFormed("not the name of an element").at(at));
    }
    if tag.len() > len && tag.attributes().any(|attribute| attribute.is_err()) {
        return Err(DecodeErrorKind::IllFormed("a bad attribute").at(at));
    }
    Ok(name)
}

fn folded(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|octet| octet.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

fn add<'a>(text: &mut Cow<'a, str>, piece: Cow<'a, str>) {
    if text.is_empty() {
        *text = piece;
    } else {
        text.to_mut().push_str(&piece);
    }
}

/// White space as XML schema's token has it: none around, single spaces inside.
fn collapse(text: Cow<'_, str>) -> Cow<'_, str> {
    let is_space = |character: char| matches!(character, ' ' | '\t' | '\n' | '\r');
    let text = match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_matches(is_space)),
        Cow::Owned(text) => Cow::Owned(text.trim_matches(is_space).to_owned()),
    };
    let mut last = b'x';
    let mut is_token = true;
    for octet in text.bytes() {
        is_token &= !(matches!(octet, b'\t' | b'\n' | b'\r') || (octet == b' ' && last == b' '));
        last = octet;
    }
    if is_token {
        return text;
    }
    let words: Vec<&str> = text.split(is_space).filter(|word| !word.is_empty()).collect();
    Cow::Owned(words.join(" "))
}

pub(super) fn member<'a>(draft: &mut Draft<'a>, leaf: Leaf<'a>) -> Result<(), DecodeErrorKind> {
    if leaf.nests {
        return match leaf.member {
            Some(member) => Err(DecodeErrorKind::WrongType { name: member.name(), wanted: "text alone" }),
            // An element of others.
            None => Ok(()),
        };
    }
    let text = collapse(leaf.text);
    let Some(member) = leaf.member else {
        if leaf.name != "extension" {
            return draft.extension(leaf.name, value(text), false);
        }
        let Some((name, rest)) = text.split_once(':') else {
            return Err(DecodeErrorKind::WrongType { name: "extension", wanted: "a name, a colon and a value" });
        };
        let (name, rest) = (name.trim().to_ascii_lowercase(), rest.trim());
        return match &text {
            Cow::Borrowed(text) => {
                let rest = text.split_once(':').map_or("", |(_, rest)| rest.trim());
                draft.extension(name.into(), value(rest.into()), false)
            }
            Cow::Owned(_) => draft.extension(name.into(), value(rest.to_owned().into()), false),
        };
    };
    draft.first(member)?;
    match member.kind() {
        Kind::Text if text.is_empty() => Err(DecodeErrorKind::Missing(member.name())),
        Kind::Text => {
            draft.text(member, text);
            Ok(())
        }
        Kind::Score => {
            if text.bytes().all(|octet| octet.is_ascii_digit() || matches!(octet, b'.' | b'+' | b'-')) {
                draft.score(member, text)
            } else {
                Err(DecodeErrorKind::OutOfRange { name: member.name(), wanted: SCORE })
            }
        }
        Kind::Count => {
            let count = text.parse();
            draft.count(member, count.map_err(|_| DecodeErrorKind::OutOfRange { name: member.name(), wanted: COUNT })?);
            Ok(())
        }
    }
}

/// Numbers are numbers in JSON too.
fn value(text: Cow<'_, str>) -> ExtensionValue<'_> {
    match text {
        Cow::Borrowed(text) if is_number(text) => ExtensionValue::checked(text),
        Cow::Owned(text) if is_number(&text) => ExtensionValue::checked(&text).into_owned(),
        text => ExtensionValue::text(text),
    }
}

fn is_number(text: &str) -> bool {
    let is_decimal = !text.is_empty() && text.len() <= 19 && text.bytes().all(|octet| octet.is_ascii_digit());
    is_decimal && (text == "0" || !text.starts_with('0'))
}

pub(super) fn close<'a>(
    open: Open<'a>,
    end: usize,
    document: &mut Reputation<'a>,
    limits: &Limits,
    strictness: Strictness,
) {
    let index = document.count();
    let start = open.start;
    let result = if end.saturating_sub(start) > limits.reputon {
        Err(DecodeErrorKind::Limit(Limit::Reputon).at(start))
    } else if let Some(error) = open.bad {
        Err(error)
    } else if open.draft.is_empty() {
        document.empty = document.empty.saturating_add(1);
        return;
    } else {
        open.draft.finish(strictness).map_err(|kind| kind.at(start))
    };
    match result {
        Ok(reputon) => document.reputons.push(reputon),
        Err(error) => document.rejected.push((index, error)),
    }
}

/// A built-in entity, or a character by its number; nothing else has a meaning without a document type.
fn resolve(reference: &str) -> Option<char> {
    match reference {
        "amp" => Some('&'),
        "apos" => Some('\''),
        "gt" => Some('>'),
        "lt" => Some('<'),
        "quot" => Some('"'),
        _ => {
            let number = reference.strip_prefix('#')?;
            let number = match number.strip_prefix('x') {
                Some(hex) if hex.bytes().all(|octet| octet.is_ascii_hexdigit()) => u32::from_str_radix(hex, 16).ok()?,
                None if number.bytes().all(|octet| octet.is_ascii_digit()) => number.parse().ok()?,
                _ => return None,
            };
            let character = char::from_u32(number)?;
            let is_allowed = matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
                || character >= '\u{10000}';
            is_allowed.then_some(character)
        }
    }
}

fn what(error: &XmlError) -> &'static str {
    match error {
        XmlError::Syntax(_) => "markup without an end",
        XmlError::IllFormed(IllFormedError::MismatchedEndTag { .. } | IllFormedError::UnmatchedEndTag(_)) => {
            "an end tag that matches no start tag"
        }
        XmlError::IllFormed(_) => "not XML",
        _ => "cannot be read",
    }
}
