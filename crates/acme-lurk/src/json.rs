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

    pub(crate) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, DecodeError> {
        self.typed(name, "an array of strings", |value| match value {
            Value::Array(elements) => elements.into_iter().map(text).collect(),
            _ => None,
        })
    }

    /// A URL that is short enough. It is kept as it is: URLs are capabilities, and compared as strings.
    pub(crate) fn url(&mut self, name: &str, limits: &Limits) -> Result<Option<String>, DecodeError> {
        let Some(url) = self.text(name)? else { return Ok(None) };
        check_url(&url, limits).map_err(|kind| self.error(name, kind))?;
        Ok(Some(url))
    }

    pub(crate) fn urls(&mut self, name: &str, limits: &Limits) -> Result<Option<Vec<String>>, DecodeError> {
        let Some(urls) = self.texts(name)? else { return Ok(None) };
        urls.iter().try_for_each(|url| check_url(url, limits)).map_err(|kind| self.error(name, kind))?;
        Ok(Some(urls))
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

    /// What is left.
    pub(crate) fn rest(self) -> Object {
        self.object
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

fn check_url(url: &str, limits: &Limits) -> Result<(), DecodeErrorKind> {
    if url.len() > limits.url {
        return Err(DecodeErrorKind::Limit(Limit::Url(limits.url)));
    }
    if url.is_empty() || !url.bytes().all(|octet| octet.is_ascii_graphic()) {
        return Err(DecodeErrorKind::Expected("a URL, of ASCII without spaces"));
    }
    Ok(())
}

/// Puts a member behind the others if there is a value.
pub(crate) fn put<T: Into<Value>>(object: &mut Object, name: &str, value: Option<T>) {
    if let Some(value) = value {
        object.insert(name, value);
    }
}

pub(crate) fn texts<'a>(texts: impl IntoIterator<Item = &'a String>) -> Value {
    Value::Array(texts.into_iter().map(|text| Value::from(text.as_str())).collect())
}

/// Puts members behind the others that are not there yet.
pub(crate) fn put_others(object: &mut Object, others: &Object) {
    for (name, value) in others.iter() {
        if object.get(name).is_none() {
            object.insert(name, value.clone());
        }
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
