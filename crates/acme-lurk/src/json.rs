//! JSON documents as objects whose members are taken out one by one, with errors that say where they are.

use jsonbcd::{Decoder, Object, Value};

use crate::error::{DecodeError, DecodeErrorKind, Limit};
use crate::limits::Limits;
use crate::time;
use watchfire_core::UnixTime;

/// A reader of JSON text within these limits. No name may stand twice in an object.
pub(crate) const fn decoder(limits: &Limits) -> Decoder {
    Decoder::text().with_limits(limits.of_json())
}

/// The members of an object that are not read yet.
#[derive(Debug)]
pub(crate) struct Members {
    place: String,
    object: Object,
}

impl Members {
    /// Reads a document that must be an object.
    pub(crate) fn decode(octets: &[u8], place: &str, limits: &Limits) -> Result<Self, DecodeError> {
        if octets.len() > limits.body {
            return Err(DecodeErrorKind::Limit(Limit::Body(limits.body)).at(place));
        }
        let value = decoder(limits).from_slice::<Value>(octets);
        Self::of(value.map_err(|error| DecodeErrorKind::Json(error).at(place))?, place)
    }

    /// The members of a value that must be an object.
    pub(crate) fn of(value: Value, place: impl Into<String>) -> Result<Self, DecodeError> {
        let place = place.into();
        match value {
            Value::Object(object) => Ok(Self { place, object }),
            _ => Err(DecodeErrorKind::Expected("an object").at(place)),
        }
    }

    /// Where the member of this name is.
    pub(crate) fn place(&self, name: &str) -> String {
        format!("{}.{name}", self.place)
    }

    pub(crate) fn error(&self, name: &str, kind: DecodeErrorKind) -> DecodeError {
        kind.at(self.place(name))
    }

    pub(crate) fn missing(&self, name: &str) -> DecodeError {
        self.error(name, DecodeErrorKind::Missing)
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.object.remove(name)
    }

    fn typed<T>(
        &mut self,
        name: &str,
        expected: &'static str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<Option<T>, DecodeError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.error(name, DecodeErrorKind::Expected(expected)))
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, DecodeError> {
        self.typed(name, "a string", text)
    }

    pub(crate) fn required_text(&mut self, name: &str) -> Result<String, DecodeError> {
        self.text(name)?.ok_or_else(|| self.missing(name))
    }

    pub(crate) fn boolean(&mut self, name: &str) -> Result<Option<bool>, DecodeError> {
        self.typed(name, "true or false", |value| value.as_bool())
    }

    /// A whole number that is not negative, written as one.
    pub(crate) fn integer(&mut self, name: &str) -> Result<Option<u64>, DecodeError> {
        self.typed(name, "a whole number that is not negative", |value| value.as_u64())
    }

    pub(crate) fn time(&mut self, name: &str) -> Result<Option<UnixTime>, DecodeError> {
        self.typed(name, "a time as in RFC 3339", |value| time::parse_rfc3339(value.as_str()?))
    }

    pub(crate) fn members(&mut self, name: &str) -> Result<Option<Self>, DecodeError> {
        self.take(name).map(|value| Self::of(value, self.place(name))).transpose()
    }

    pub(crate) fn array(&mut self, name: &str) -> Result<Option<Vec<Value>>, DecodeError> {
        self.typed(name, "an array", |value| match value {
            Value::Array(elements) => Some(elements),
            _ => None,
        })
    }

    /// Nothing may be left.
    pub(crate) fn closed(self) -> Result<(), DecodeError> {
        match self.object.iter().next() {
            Some((name, _)) => Err(DecodeErrorKind::Unknown(name.to_owned()).at(self.place)),
            None => Ok(()),
        }
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// Puts a member behind the others if there is a value.
pub(crate) fn put<T: Into<Value>>(object: &mut Object, name: &str, value: Option<T>) {
    if let Some(value) = value {
        object.insert(name, value);
    }
}

/// An object as text. Objects that this crate makes have nothing that JSON could not say.
pub(crate) fn encode(object: &Object) -> Vec<u8> {
    jsonbcd::text::to_vec(&ObjectRef(object)).expect("objects of ACME are shallow and have no binary values")
}

struct ObjectRef<'a>(&'a Object);

impl serde::Serialize for ObjectRef<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}
