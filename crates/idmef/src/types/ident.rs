//! Identifiers whose default is `0`. [RFC 4765 section 3.2.9](https://www.rfc-editor.org/rfc/rfc4765#section-3.2.9)

use super::Value;
use std::borrow::Cow;
use std::fmt;

/// A `messageid`, `analyzerid` or `ident`: any text, with `0` meaning "none given".
///
/// The default takes no memory, and is neither written to XML nor to JSON.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Ident(Option<Box<str>>);

impl Ident {
    /// The identifier as XML shows it; `0` when none was given.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("0")
    }

    /// Whether none was given.
    pub fn is_unset(&self) -> bool {
        self.0.is_none()
    }
}

impl<T: Into<Box<str>>> From<T> for Ident {
    fn from(text: T) -> Self {
        let text = text.into();
        Self((&*text != "0").then_some(text))
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl PartialEq<str> for Ident {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Ident {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl Value for Ident {
    const TYPE: &'static str = "STRING";

    fn parse(text: Cow<'_, str>, _strict: bool) -> Option<Self> {
        Some(match text {
            Cow::Borrowed(text) => Self::from(text),
            Cow::Owned(text) => Self::from(text),
        })
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.as_str())
    }

    fn is_default(&self) -> bool {
        self.is_unset()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Ident {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Ident {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<str>::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_the_absence_of_an_identifier() {
        assert_eq!(Ident::from("0"), Ident::default());
        assert_eq!(Ident::default(), "0");
        assert!(!Ident::from("").is_unset());
        assert_eq!(Ident::from("abc").to_string(), "abc");
    }
}
