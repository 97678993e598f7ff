//! Media types, IAP's extension point. draft-ietf-idwg-iap-01 sections 1.7 and 3.4.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

/// An Internet media type, with its parameters if it has any. At most 255 octets.
///
/// Compared without regard to case; written as it was given.
#[derive(Clone)]
pub struct MediaType(Text);

#[derive(Clone)]
enum Text {
    Known(&'static str),
    Other(Arc<str>),
}

impl MediaType {
    /// `application/x-idef-alert`, which every IAP entity must accept (section 1.7). Today's body is IDMEF 1.0 XML.
    pub const IDEF_ALERT: Self = Self(Text::Known("application/x-idef-alert"));
    /// `application/xml`: IDMEF in the later drafts.
    pub const XML: Self = Self(Text::Known("application/xml"));
    /// `application/idmef+xml`, in private use.
    pub const IDMEF_XML: Self = Self(Text::Known("application/idmef+xml"));
    /// `application/json`: IDMEFv2, or Suricata EVE.
    pub const JSON: Self = Self(Text::Known("application/json"));
    /// `application/octet-stream`.
    pub const OCTET_STREAM: Self = Self(Text::Known("application/octet-stream"));

    pub(crate) const KNOWN: [Self; 5] = [Self::IDEF_ALERT, Self::XML, Self::IDMEF_XML, Self::JSON, Self::OCTET_STREAM];

    /// As written.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Known(text) => text,
            Text::Other(text) => text,
        }
    }

    /// Type and subtype, without parameters.
    pub fn essence(&self) -> &str {
        let text = self.as_str();
        text.split_once(';').map_or(text, |(essence, _)| essence).trim_end_matches([' ', '\t'])
    }

    /// Whether type and subtype are the same, whatever the parameters.
    pub fn is_same_essence(&self, other: &Self) -> bool {
        self.essence().eq_ignore_ascii_case(other.essence())
    }

    /// Whether white space after the end of a body of this type means nothing, as in XML and JSON: what
    /// [padding](crate::Padding) relies on.
    pub fn ignores_trailing_space(&self) -> bool {
        let essence = self.essence();
        let ends = |suffix: &str| {
            essence
                .len()
                .checked_sub(suffix.len())
                .and_then(|at| essence.get(at..))
                .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        };
        self.is_same_essence(&Self::IDEF_ALERT) || ends("/xml") || ends("+xml") || ends("/json") || ends("+json")
    }
}

/// Why a text is not a [`MediaType`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a media type such as application/x-idef-alert of at most 255 octets")]
#[non_exhaustive]
pub struct InvalidMediaType;

/// `token "/" token *( ";" parameter )`; parameters may hold any printable ASCII but are not looked into.
impl FromStr for MediaType {
    type Err = InvalidMediaType;

    fn from_str(text: &str) -> Result<Self, InvalidMediaType> {
        if let Some(known) = Self::KNOWN.into_iter().find(|known| known.as_str() == text) {
            return Ok(known);
        }
        let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
        let token = |t: &str| !t.is_empty() && t.bytes().all(is_token);
        let printable = |c: u8| matches!(c, b'\t' | 0x20..=0x7e);
        let valid = essence.trim_end_matches([' ', '\t']).split_once('/').is_some_and(|(main, sub)| token(main) && token(sub))
                && parameters.bytes().all(printable)
                // On the wire it would be lost as white space at the end of the line.
                && !text.ends_with([' ', '\t'])
                && text.len() <= 255;
        if valid { Ok(Self(Text::Other(text.into()))) } else { Err(InvalidMediaType) }
    }
}

/// RFC 2616 section 2.2 `token`.
pub(crate) fn is_token(c: u8) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(
            c,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

impl PartialEq for MediaType {
    fn eq(&self, other: &Self) -> bool {
        self.as_str().eq_ignore_ascii_case(other.as_str())
    }
}

impl Eq for MediaType {}

impl Hash for MediaType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().bytes().for_each(|c| state.write_u8(c.to_ascii_lowercase()));
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(text: &str) -> MediaType {
        text.parse().unwrap()
    }

    #[test]
    fn accepts_types_and_parameters() {
        for good in ["application/x-idef-alert", "Text/XML; charset=\"utf-8\"", "a/b;", "application/idmefv2+json"] {
            assert_eq!(media(good).as_str(), good);
        }
        for bad in ["", "a", "a/", "/b", "a/b/c", "a b/c", "a/b;\0", "ä/b", "a/b ", "a/b; ", "a/b;c\t"] {
            assert!(bad.parse::<MediaType>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn compares_without_case_and_parameters() {
        assert_eq!(media("Application/X-IDEF-Alert"), MediaType::IDEF_ALERT);
        assert!(media("application/xml; charset=utf-8").is_same_essence(&MediaType::XML));
        assert_ne!(media("application/xml; charset=utf-8"), MediaType::XML);
    }

    #[test]
    fn knows_where_trailing_space_is_harmless() {
        for padded in ["application/x-idef-alert", "text/xml", "application/idmef+XML;v=1", "application/json"] {
            assert!(media(padded).ignores_trailing_space(), "{padded}");
        }
        for opaque in ["application/octet-stream", "text/plain", "x/xmlish", "j/n"] {
            assert!(!media(opaque).ignores_trailing_space(), "{opaque}");
        }
    }
}
