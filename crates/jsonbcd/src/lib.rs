#![doc = include_str!("../README.md")]
#![no_std]

#[cfg(feature = "std")]
extern crate std;

extern crate alloc;

pub mod base64url;
mod code;
mod de;
mod decoder;
pub mod dictionary;
mod encoder;
mod error;
pub mod frame;
mod integer;
mod lexer;
pub mod octets;
mod options;
mod scalar;
mod ser;
mod sink;
pub mod stream;
mod table;
pub mod text;
mod value;
mod writer;

pub use de::Deserializer;
pub use decoder::Decoder;
pub use encoder::Encoder;
pub use error::{Error, ErrorKind, Limit, Result};
pub use integer::{Integer, ParseIntegerError};
pub use options::{Commas, Dialect, Limits, Profile};
pub use scalar::Scalar;
pub use ser::Serializer;
#[cfg(feature = "std")]
pub use sink::IoSink;
pub use sink::{Sink, SliceSink};
pub use value::{DuplicateName, Object, Value};
pub use writer::Writer;

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

static ENCODER: Encoder = Encoder::new();
static DECODER: Decoder = Decoder::new();

/// Writes a value as JSON-B, in its canonical form.
///
/// # Errors
///
/// As [`Encoder::to_vec`].
#[inline]
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    ENCODER.to_vec(value)
}

/// Appends a value as JSON-B to a sink: a vector, a slice, or with a feature something else.
///
/// # Errors
///
/// As [`Encoder::to_writer`].
#[inline]
pub fn to_writer<T: Serialize + ?Sized>(sink: impl Sink, value: &T) -> Result<()> {
    ENCODER.to_writer(sink, value)
}

/// Reads a value from JSON-B, or any other of the four dialects.
///
/// # Errors
///
/// As [`Decoder::from_slice`].
#[inline]
pub fn from_slice<'de, T: Deserialize<'de>>(input: &'de [u8]) -> Result<T> {
    DECODER.from_slice(input)
}
