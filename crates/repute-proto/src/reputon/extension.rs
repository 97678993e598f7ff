//! What a reputon says beyond the members of the format.
//! [RFC 7071 section 6.1](https://www.rfc-editor.org/rfc/rfc7071#section-6.1)

use std::borrow::Cow;

use crate::wire::json;

/// One extension: a name that the application gives a meaning, and a value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extension<'a> {
    /// The name, as it was received.
    pub name: Cow<'a, str>,
    /// The value.
    pub value: ExtensionValue<'a>,
}

impl<'a> Extension<'a> {
    /// An extension of this name and value.
    pub fn new(name: impl Into<Cow<'a, str>>, value: ExtensionValue<'a>) -> Self {
        Self { name: name.into(), value }
    }

    /// The same, holding what it borrowed.
    pub fn into_owned(self) -> Extension<'static> {
        Extension { name: Cow::Owned(self.name.into_owned()), value: self.value.into_owned() }
    }
}

/// The value of an extension: a text, or any other JSON value as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionValue<'a>(Repr<'a>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Repr<'a> {
    Text(Cow<'a, str>),
    /// Checked JSON that is no string.
    Json(Cow<'a, str>),
}

/// A text that is not one JSON value, or nests too deep or has a repeated name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("not one JSON value without repeated names")]
pub struct InvalidJson;

impl<'a> ExtensionValue<'a> {
    /// A text.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self(Repr::Text(text.into()))
    }

    /// A number.
    pub fn number(number: u64) -> Self {
        Self(Repr::Json(Cow::Owned(number.to_string())))
    }

    /// What a JSON text says, kept as it is written.
    ///
    /// # Errors
    /// When it is not exactly one JSON value, nests deeper than [`crate::Limits::depth`] by default, or repeats a
    /// name in an object.
    pub fn json(text: &'a str) -> Result<Self, InvalidJson> {
        json::value(text).ok_or(InvalidJson)
    }

    /// Octets that the reader has checked to be one JSON value that is no string.
    pub(crate) const fn checked(json: &'a str) -> Self {
        Self(Repr::Json(Cow::Borrowed(json)))
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.0 {
            Repr::Text(text) => Some(text),
            Repr::Json(_) => None,
        }
    }

    /// The text itself, if it is one.
    pub(crate) fn into_text(self) -> Option<Cow<'a, str>> {
        match self.0 {
            Repr::Text(text) => Some(text),
            Repr::Json(_) => None,
        }
    }

    /// The value as JSON: a text as a string with its escapes.
    pub fn to_json(&self) -> Cow<'_, str> {
        match &self.0 {
            Repr::Text(text) => Cow::Owned(json::quoted(text)),
            Repr::Json(json) => Cow::Borrowed(json),
        }
    }

    /// The unsigned number, be it a JSON number or the decimal text that XML has.
    pub fn as_u64(&self) -> Option<u64> {
        let (Repr::Text(text) | Repr::Json(text)) = &self.0;
        let is_digits = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
        is_digits.then(|| text.parse().ok()).flatten()
    }

    /// The JSON text of a value that is no string.
    pub(crate) fn as_json(&self) -> Option<&str> {
        match &self.0 {
            Repr::Text(_) => None,
            Repr::Json(json) => Some(json),
        }
    }

    /// The same, holding what it borrowed.
    pub fn into_owned(self) -> ExtensionValue<'static> {
        ExtensionValue(match self.0 {
            Repr::Text(text) => Repr::Text(Cow::Owned(text.into_owned())),
            Repr::Json(json) => Repr::Json(Cow::Owned(json.into_owned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_one_json_value_and_nothing_else() {
        for good in ["1", "[1,{\"a\":null}]", "true", "{}"] {
            assert_eq!(ExtensionValue::json(good).unwrap().as_json(), Some(good));
        }
        assert_eq!(ExtensionValue::json("\"a\\u00e9\"").unwrap().as_text(), Some("aé"));
        for bad in ["", "1 2", "{\"a\":1,\"a\":2}", "[", "nul", "\"", "01"] {
            assert_eq!(ExtensionValue::json(bad), Err(InvalidJson), "{bad}");
        }
        let deep = "[".repeat(5000);
        assert_eq!(ExtensionValue::json(&deep), Err(InvalidJson));
    }

    #[test]
    fn numbers_are_read_from_json_and_from_text() {
        assert_eq!(ExtensionValue::text("250").as_u64(), Some(250));
        assert_eq!(ExtensionValue::json("250").unwrap().as_u64(), Some(250));
        for none in ["-1", "1.0", "18446744073709551616", "[1]"] {
            assert_eq!(ExtensionValue::json(none).unwrap().as_u64(), None, "{none}");
        }
    }
}
