//! XMLTEXT. [RFC 4765 section 5.2](https://www.rfc-editor.org/rfc/rfc4765#section-5.2)

use crate::error::DecodeError;
use std::fmt;

/// A well-formed piece of XML: the content of an `xmltext` element, in somebody's own vocabulary.
///
/// It is kept as it is written, without the white space around it and with line ends as `\n`. It holds no document
/// type declaration and no reference to entities other than XML's five, so that it is safe to write back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct XmlText(String);

impl XmlText {
    /// Checks that `text` is well-formed content, at most as long and as deep as the default
    /// [`Limits`](crate::Limits) allow.
    ///
    /// ```
    /// use idmef::XmlText;
    /// let geo = XmlText::new("<v:latitude xmlns:v='urn:x'>38.89</v:latitude>")?;
    /// assert!(geo.as_str().contains("38.89"));
    /// assert!(XmlText::new("</xmltext><evil/>").is_err());
    /// # Ok::<(), idmef::DecodeError>(())
    /// ```
    pub fn new(text: &str) -> Result<Self, DecodeError> {
        let text = Self::normalized(text);
        crate::xml::check_fragment(&text.0)?;
        Ok(text)
    }

    /// The fragment.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Of text that is known to be well-formed.
    pub(crate) fn normalized(text: &str) -> Self {
        let text = super::trim(text);
        Self(if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text.to_owned() })
    }
}

impl fmt::Display for XmlText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for XmlText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for XmlText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
