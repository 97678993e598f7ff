//! Octets: which encoding a media type names, and what the octets mean.
//! [RFC 7071 section 3](https://www.rfc-editor.org/rfc/rfc7071#section-3); draft-ietf-repute-media-type-01 section 3

mod decoder;
#[cfg(feature = "draft-text")]
pub mod draft_text;
mod error;
pub(crate) mod json;
mod member;
mod xml;

pub use decoder::{Decoder, Strictness};
pub use error::{DecodeError, DecodeErrorKind, EncodeError};

use bytes::BufMut;
use std::borrow::Cow;

use crate::reputon::Reputation;

/// Whose rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Dialect {
    /// Whatever a message is in; RFC 7072 where this side has to choose.
    #[default]
    Auto,
    /// The drafts of January 2012: XML, `scheme` in templates, older names of assertions.
    Draft2012,
    /// RFC 7070 to 7073.
    Rfc7072,
}

impl std::str::FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(name: &str) -> Result<Self, UnknownDialect> {
        match name {
            "auto" => Ok(Self::Auto),
            "draft2012" => Ok(Self::Draft2012),
            "rfc7072" => Ok(Self::Rfc7072),
            _ => Err(UnknownDialect),
        }
    }
}

/// A name that is no dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("not a dialect: auto, draft2012 and rfc7072 are")]
pub struct UnknownDialect;

/// An encoding of reputons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Format {
    /// `application/reputon+json` of RFC 7071: an object with `application` and `reputons`.
    Json,
    /// `application/reputon+json; app=...` of draft 02: an object whose members are all named `reputon`.
    Draft02Json,
    /// The reputon itself, as OpenDKIM had it in 2012 and 2013.
    FlatJson,
    /// `application/reputon; app=...`, the XML of draft 01.
    Xml,
}

impl Format {
    /// The media type to send with a body of this format. [RFC 7071 section 3](https://www.rfc-editor.org/rfc/rfc7071#section-3):
    /// the published one has no parameters.
    pub fn media_type(self, application: Option<&str>) -> Cow<'static, str> {
        let (name, application) = match self {
            Self::Json => ("application/reputon+json", None),
            Self::Draft02Json => ("application/reputon+json", application),
            Self::FlatJson | Self::Xml => ("application/reputon", application),
        };
        match application {
            Some(application) => Cow::Owned(format!("{name}; app=\"{application}\"")),
            None => Cow::Borrowed(name),
        }
    }

    /// Writes a document.
    ///
    /// # Errors
    /// When the format cannot hold it.
    pub fn encode(self, reputation: &Reputation<'_>, digits: Digits, out: &mut impl BufMut) -> Result<(), EncodeError> {
        match self {
            Self::Json => json::write_rfc7071(reputation, digits, out),
            Self::Draft02Json => json::write_draft02(reputation, digits, out),
            Self::FlatJson => json::write_flat(reputation, digits, out),
            Self::Xml => xml::write(reputation, digits, out),
        }
    }
}

/// How many digits of a rating are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Digits {
    /// At most three decimals, as RFC 7071 asks of senders.
    #[default]
    Three,
    /// The text that was received, for archives and gateways that must not change it.
    AsReceived,
}

/// A media type's parts that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MediaType<'a> {
    /// `type/subtype`, as it is written.
    pub(crate) essence: &'a str,
    /// The parameter `app`, without quotes.
    pub(crate) app: Option<Cow<'a, str>>,
    /// The parameter `format` of the drafts of 2011.
    pub(crate) format: Option<Cow<'a, str>>,
}

impl<'a> MediaType<'a> {
    /// Reads the value of a Content-Type field. Parameters that cannot be read are passed over.
    pub(crate) fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';');
        let essence = parts.next().unwrap_or("").trim();
        let mut media = Self { essence, app: None, format: None };
        for part in parts {
            let Some((name, value)) = part.split_once('=') else { continue };
            let value = unquote(value.trim());
            if name.trim().eq_ignore_ascii_case("app") {
                media.app.get_or_insert(value);
            } else if name.trim().eq_ignore_ascii_case("format") {
                media.format.get_or_insert(value);
            }
        }
        media
    }

    pub(crate) fn is(&self, essence: &str) -> bool {
        self.essence.eq_ignore_ascii_case(essence)
    }
}

/// A token, or what a quoted string says.
fn unquote(value: &str) -> Cow<'_, str> {
    let Some(inside) = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) else {
        return Cow::Borrowed(value);
    };
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    let mut text = String::with_capacity(inside.len());
    let mut characters = inside.chars();
    while let Some(character) = characters.next() {
        text.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_read() {
        let media = MediaType::parse("Application/Reputon ; APP=\"email\\-id\"; format=xml; x");
        assert!(media.is("application/reputon"));
        assert_eq!((media.app.as_deref(), media.format.as_deref()), (Some("email-id"), Some("xml")));
        assert_eq!(MediaType::parse("").essence, "");
    }

    #[test]
    fn the_published_media_type_has_no_parameters() {
        assert_eq!(Format::Json.media_type(Some("email-id")), "application/reputon+json");
        assert_eq!(Format::Xml.media_type(Some("email-id")), "application/reputon; app=\"email-id\"");
    }
}
