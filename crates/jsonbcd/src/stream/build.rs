//! Events to a [`Value`].

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::Event;
use crate::error::{Error, ErrorKind, Result};
use crate::value::{Object, Value};

/// Puts a value together from the events of a [`Reader`](super::Reader), without recursion.
///
/// ```
/// use jsonbcd::Decoder;
/// use jsonbcd::stream::{Reader, Step, ValueBuilder};
///
/// let mut reader = Reader::new(Decoder::new());
/// let mut builder = ValueBuilder::new();
/// let mut value = None;
/// for piece in [&b"[1, \"t"[..], b"wo\"", b"]"] {
///     reader.feed(piece)?;
///     while let Step::Event(event) = reader.step()? {
///         value = builder.push(event)?;
///     }
/// }
/// assert_eq!(value, Some(jsonbcd::from_slice(b"[1,\"two\"]")?));
/// # Ok::<(), jsonbcd::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct ValueBuilder {
    open: Vec<Open>,
    /// The name of the member whose value comes next, of each object that is open.
    names: Vec<String>,
}

#[derive(Debug)]
enum Open {
    Array(Vec<Value>),
    Object(Vec<(String, Value)>),
}

impl ValueBuilder {
    /// Has seen nothing.
    pub const fn new() -> Self {
        Self { open: Vec::new(), names: Vec::new() }
    }

    /// Takes an event; gives the value when it is whole.
    ///
    /// # Errors
    ///
    /// When a name stands twice in an object. Events in an order that no reader gives are
    /// [`ErrorKind::NotRepresentable`].
    pub fn push(&mut self, event: Event<'_>) -> Result<Option<Value>> {
        let value = match event {
            Event::ObjectStart => {
                self.open.push(Open::Object(Vec::new()));
                return Ok(None);
            }
            Event::ArrayStart => {
                self.open.push(Open::Array(Vec::new()));
                return Ok(None);
            }
            Event::Name(name) => {
                self.names.push(name.into());
                return Ok(None);
            }
            Event::ObjectEnd | Event::ArrayEnd => self.close()?,
            Event::String(text) => text.into(),
            Event::Data(octets) => octets.into(),
            Event::Integer(value) => Value::Integer(value),
            Event::Float(value) => Value::Float(value),
            Event::Scalar(value) => Value::Scalar(value),
            Event::Bool(value) => Value::Bool(value),
            Event::Null => Value::Null,
        };
        match self.open.last_mut() {
            None => return Ok(Some(value)),
            Some(Open::Array(elements)) => elements.push(value),
            Some(Open::Object(members)) => members.push((self.names.pop().ok_or_else(misuse)?, value)),
        }
        Ok(None)
    }

    fn close(&mut self) -> Result<Value> {
        match self.open.pop().ok_or_else(misuse)? {
            Open::Array(elements) => Ok(Value::Array(elements)),
            Open::Object(members) => {
                let object = Object::from_members(members);
                let duplicate = |name: String| Error::new(ErrorKind::DuplicateName(Box::from(name)));
                object.map(Value::Object).map_err(|error| duplicate(error.0))
            }
        }
    }
}

#[cold]
fn misuse() -> Error {
    Error::new(ErrorKind::NotRepresentable("events in an order that no document has"))
}
