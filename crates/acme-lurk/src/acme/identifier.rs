//! What a certificate is for. [RFC 8555 section 9.7.7](https://www.rfc-editor.org/rfc/rfc8555#section-9.7.7)

use std::fmt;

use jsonbcd::{Object, Value};

use crate::error::{DecodeError, DecodeErrorKind, Limit};
use crate::json::Members;
use crate::limits::Limits;
use crate::names;

/// A kind of identifier.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum IdentifierKind {
    /// A DNS name.
    Dns,
    /// Another kind, by its name.
    Other(String),
}

/// An identifier.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identifier {
    kind: IdentifierKind,
    value: Box<str>,
}

impl Identifier {
    /// A DNS name, in the form in which names are compared; none if it is none.
    pub fn dns(name: &str) -> Option<Self> {
        names::normalize(name).map(|value| Self { kind: IdentifierKind::Dns, value: value.into() })
    }

    /// Its kind.
    pub const fn kind(&self) -> &IdentifierKind {
        &self.kind
    }

    /// Its value. DNS names are in lower case.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether it stands for all names one level below another.
    pub fn is_wildcard(&self) -> bool {
        self.kind == IdentifierKind::Dns && self.value.starts_with("*.")
    }

    /// The identifier that is authorized for it: without the star.
    pub fn base(&self) -> Self {
        let value = self.value.strip_prefix("*.").filter(|_| self.is_wildcard()).unwrap_or(&self.value);
        Self { kind: self.kind.clone(), value: value.into() }
    }

    /// Reads one; `place` is where it stands.
    ///
    /// # Errors
    /// When it is no object of type and value, or a DNS name that is none.
    pub fn from_value(value: Value, place: &str) -> Result<Self, DecodeError> {
        let mut members = Members::of(value, place)?;
        let kind = members.required_text("type")?;
        let value = members.required_text("value")?;
        match kind.as_str() {
            "dns" => Self::dns(&value).ok_or_else(|| {
                members.error("value", DecodeErrorKind::Expected("a DNS name in ASCII, without dot at the end"))
            }),
            _ => Ok(Self { kind: IdentifierKind::Other(kind), value: value.into() }),
        }
    }

    /// The object.
    pub fn to_object(&self) -> Object {
        let mut object = Object::new();
        let kind = match &self.kind {
            IdentifierKind::Dns => "dns",
            IdentifierKind::Other(kind) => kind,
        };
        object.insert("type", kind);
        object.insert("value", &*self.value);
        object
    }

    /// The identifiers of an order: one at least, none twice.
    pub(crate) fn read_all(members: &mut Members, limits: &Limits) -> Result<Vec<Self>, DecodeError> {
        let place = members.place("identifiers");
        let values = members.array("identifiers")?.ok_or_else(|| members.missing("identifiers"))?;
        if values.len() > limits.identifiers {
            return Err(DecodeErrorKind::Limit(Limit::Identifiers(limits.identifiers)).at(place));
        }
        let mut identifiers = Vec::with_capacity(values.len());
        for (at, value) in values.into_iter().enumerate() {
            let place = format!("{place}[{at}]");
            let identifier = Self::from_value(value, &place)?;
            if identifiers.contains(&identifier) {
                return Err(DecodeErrorKind::Expected("another identifier than those before it").at(place));
            }
            identifiers.push(identifier);
        }
        if identifiers.is_empty() {
            return Err(DecodeErrorKind::Expected("an array with something in it").at(place));
        }
        Ok(identifiers)
    }

    pub(crate) fn write_all<'a>(identifiers: impl IntoIterator<Item = &'a Self>) -> Value {
        Value::Array(identifiers.into_iter().map(|identifier| Value::Object(identifier.to_object())).collect())
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.value)
    }
}
