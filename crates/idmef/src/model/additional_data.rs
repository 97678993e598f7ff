//! AdditionalData. [RFC 4765 sections 4.2.4.6 and 5](https://www.rfc-editor.org/rfc/rfc4765#section-4.2.4.6)

use crate::error::{EncodeError, InvalidMessage};
use crate::types::{ByteString, DateTime, Integer, NtpStamp, Portlist, Real, Value, XmlText};
use crate::xml::{Cursor, Element, Fault, Writer, duplicate};

/// What has no place elsewhere in the model.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AdditionalData {
    /// What the data is; up to the sender.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub meaning: Option<String>,
    /// The data, and its type.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub data: Data,
}

/// A value of one of the eleven types.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[allow(clippy::exhaustive_enums, reason = "the DTD of version 1.0 knows these eleven")]
pub enum Data {
    /// `boolean`.
    Boolean(bool),
    /// `byte`: one octet, in base64.
    Byte(u8),
    /// `character`.
    Character(char),
    /// `date-time`.
    DateTime(DateTime),
    /// `integer`.
    Integer(Integer),
    /// `ntpstamp`.
    #[cfg_attr(feature = "serde", serde(rename = "ntpstamp"))]
    NtpStamp(NtpStamp),
    /// `portlist`.
    Portlist(Portlist),
    /// `real`.
    Real(Real),
    /// `string`, the default.
    String(String),
    /// `byte-string`: octets, in base64.
    ByteString(ByteString),
    /// `xmltext`: XML in a vocabulary of the sender's.
    #[cfg_attr(feature = "serde", serde(rename = "xmltext"))]
    XmlText(XmlText),
}

impl AdditionalData {
    /// Data with its meaning.
    pub fn new(meaning: impl Into<String>, data: impl Into<Data>) -> Self {
        Self { meaning: Some(meaning.into()), data: data.into() }
    }
}

impl Data {
    /// The name of the type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "boolean",
            Self::Byte(_) => "byte",
            Self::Character(_) => "character",
            Self::DateTime(_) => "date-time",
            Self::Integer(_) => "integer",
            Self::NtpStamp(_) => "ntpstamp",
            Self::Portlist(_) => "portlist",
            Self::Real(_) => "real",
            Self::String(_) => "string",
            Self::ByteString(_) => "byte-string",
            Self::XmlText(_) => "xmltext",
        }
    }

    /// The value as XML shows it.
    pub fn to_text(&self) -> std::borrow::Cow<'_, str> {
        match self {
            Self::Boolean(value) => value.text(),
            Self::Byte(value) => value.text(),
            Self::Character(value) => value.text(),
            Self::DateTime(value) => value.text(),
            Self::Integer(value) => value.text(),
            Self::NtpStamp(value) => value.text(),
            Self::Portlist(value) => value.text(),
            Self::Real(value) => value.text(),
            Self::String(value) => value.text(),
            Self::ByteString(value) => value.text(),
            Self::XmlText(value) => value.as_str().into(),
        }
    }

    /// Reads the element that the cursor has just opened as data of the type `name`; `None` if there is no such type.
    fn read(cursor: &mut Cursor<'_>, name: &str) -> Result<Option<Self>, Fault> {
        Ok(Some(match name {
            "boolean" => Self::Boolean(cursor.value("boolean")?),
            "byte" => Self::Byte(cursor.value("byte")?),
            "character" => Self::Character(cursor.value("character")?),
            "date-time" => Self::DateTime(cursor.value("date-time")?),
            "integer" => Self::Integer(cursor.value("integer")?),
            "ntpstamp" => Self::NtpStamp(cursor.value("ntpstamp")?),
            "portlist" => Self::Portlist(cursor.value("portlist")?),
            "real" => Self::Real(cursor.value("real")?),
            "string" => Self::String(cursor.value("string")?),
            "byte-string" => Self::ByteString(cursor.value("byte-string")?),
            "xmltext" => Self::XmlText(XmlText::normalized(&cursor.fragment()?)),
            // The RFC's prose and its example 7.8 say `xml`.
            "xml" if !cursor.is_strict() => Self::XmlText(XmlText::normalized(&cursor.fragment()?)),
            _ => return Ok(None),
        }))
    }

    /// Text that stands in `AdditionalData` without an element around it, as it did before the RFC.
    fn from_bare(text: &str, kind: &str) -> Option<Self> {
        let text = text.into();
        Some(match kind {
            "boolean" => Self::Boolean(Value::parse(text, false)?),
            "byte" => Self::Byte(Value::parse(text, false)?),
            "character" => Self::Character(Value::parse(text, false)?),
            "date-time" => Self::DateTime(Value::parse(text, false)?),
            "integer" => Self::Integer(Value::parse(text, false)?),
            "ntpstamp" => Self::NtpStamp(Value::parse(text, false)?),
            "portlist" => Self::Portlist(Value::parse(text, false)?),
            "real" => Self::Real(Value::parse(text, false)?),
            "byte-string" => Self::ByteString(Value::parse(text, false)?),
            _ => Self::String(text.into_owned()),
        })
    }
}

impl Element for AdditionalData {
    fn decode(cursor: &mut Cursor<'_>, _name: &'static str) -> Result<Self, Fault> {
        let outer = cursor.enter("AdditionalData");
        let at = cursor.fault(InvalidMessage::Missing("the typed element"));
        let (mut kind, mut meaning) = (std::borrow::Cow::Borrowed("string"), None);
        for index in 0..cursor.attribute_count() {
            let raw = cursor.attribute(index);
            match raw.name {
                "type" => kind = cursor.expand(raw)?,
                "meaning" => meaning = cursor.read(raw, "meaning")?,
                _ => {}
            }
        }
        let mut data = None;
        let mut bare = String::new();
        while let Some(child) = cursor.child_or_text(&mut bare)? {
            if data.is_some() {
                return Err(duplicate(cursor, "the typed element"));
            }
            if cursor.is_strict() && child != kind {
                return Err(cursor.fault(InvalidMessage::Unexpected));
            }
            data = Data::read(cursor, child)?;
            if data.is_none() {
                if cursor.is_strict() {
                    return Err(cursor.fault(InvalidMessage::Unexpected));
                }
                // A type that is not known may be a later one: keep what it holds.
                data = Some(Data::XmlText(XmlText::normalized(&cursor.fragment()?)));
            }
        }
        let bare = crate::types::trim(&bare);
        let data = match data {
            Some(data) => data,
            None if cursor.is_strict() => return Err(at),
            None => {
                let name = "AdditionalData";
                let invalid = InvalidMessage::InvalidValue { name, expected: "value of its type" };
                Data::from_bare(bare, &kind).ok_or_else(|| Fault { kind: invalid.into(), ..at })?
            }
        };
        cursor.leave(outer);
        Ok(Self { meaning, data })
    }

    fn encode(&self, writer: &mut Writer<'_>, name: &'static str) -> Result<(), EncodeError> {
        let kind = self.data.type_name();
        writer.start(name)?;
        writer.raw_attribute("type", kind);
        writer.attribute("meaning", &self.meaning);
        writer.start(kind)?;
        match &self.data {
            Data::XmlText(text) => writer.fragment(text.as_str()),
            other => writer.text(&other.to_text()),
        }
        writer.end(kind);
        writer.end(name);
        Ok(())
    }
}

macro_rules! from_value {
    ($($variant:ident $type:ty)*) => {
        $(impl From<$type> for Data {
            fn from(value: $type) -> Self {
                Self::$variant(value)
            }
        })*
    };
}
from_value!(Boolean bool DateTime DateTime Integer Integer NtpStamp NtpStamp Portlist Portlist);
from_value!(Real Real String String ByteString ByteString XmlText XmlText);

impl From<&str> for Data {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}
