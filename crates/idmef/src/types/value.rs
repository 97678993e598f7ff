//! What every data type can do: be read from text, be written as text.

use std::borrow::Cow;

/// A value that XML carries as the text of an element or of an attribute.
pub(crate) trait Value: Sized {
    /// The name of the data type in RFC 4765, for errors.
    const TYPE: &'static str;

    /// Reads the text, which is trimmed already; `None` when it is not in the type's lexical space.
    /// `strict` admits only what the DTD lists.
    fn parse(text: Cow<'_, str>, strict: bool) -> Option<Self>;

    /// The text to write.
    fn text(&self) -> Cow<'_, str>;

    /// Whether the value is the default that the DTD gives its attribute, which is then not written.
    fn is_default(&self) -> bool {
        false
    }

    /// What stands for a required value that is absent, when reading leniently.
    fn missing() -> Option<Self> {
        None
    }
}

/// Without XML white space at both ends.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// White space as XML has it: four characters.
pub(crate) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

impl Value for String {
    const TYPE: &'static str = "STRING";

    fn parse(text: Cow<'_, str>, _strict: bool) -> Option<Self> {
        Some(text.into_owned())
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Borrowed(self)
    }

    fn missing() -> Option<Self> {
        Some(Self::new())
    }
}

impl Value for bool {
    const TYPE: &'static str = "BOOLEAN";

    fn parse(text: Cow<'_, str>, strict: bool) -> Option<Self> {
        match &*text {
            "true" => Some(true),
            "false" => Some(false),
            "1" if !strict => Some(true),
            "0" if !strict => Some(false),
            _ => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Borrowed(if *self { "true" } else { "false" })
    }
}

impl Value for char {
    const TYPE: &'static str = "CHARACTER";

    fn parse(text: Cow<'_, str>, _strict: bool) -> Option<Self> {
        let mut chars = text.chars();
        let first = chars.next()?;
        chars.next().is_none().then_some(first)
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Owned(self.to_string())
    }
}
