//! Data types. [RFC 4765 section 3.2](https://www.rfc-editor.org/rfc/rfc4765#section-3.2)

mod bytes;
mod datetime;
mod ident;
mod ntp;
mod number;
mod portlist;
mod time;
mod value;
mod xmltext;

#[cfg(feature = "eve")]
pub(crate) use bytes::BASE64;
pub use bytes::ByteString;
pub use datetime::DateTime;
pub use ident::Ident;
pub use ntp::NtpStamp;
pub use number::{Integer, Real};
pub use portlist::{PortRange, Portlist};
pub use time::Time;
pub use xmltext::XmlText;

pub(crate) use value::{Value, is_space, trim};

/// A text is not a value of the data type it was read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {expected}")]
pub struct ParseError {
    expected: &'static str,
}

impl ParseError {
    pub(crate) const fn new(expected: &'static str) -> Self {
        Self { expected }
    }

    /// The data type that was expected, in the words of RFC 4765: `DATETIME`, `PORTLIST`, ...
    pub const fn expected(&self) -> &'static str {
        self.expected
    }
}

/// `FromStr` by `Value::parse`, and JSON as a string.
macro_rules! text_type {
    ($type:ty, $expected:literal) => {
        impl std::str::FromStr for $type {
            type Err = crate::types::ParseError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let text = crate::types::trim(text).into();
                crate::types::Value::parse(text, false).ok_or(crate::types::ParseError::new($expected))
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&crate::types::Value::text(self))
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use text_type;
