//! XML in and out. [RFC 4765 sections 3.2 and 8](https://www.rfc-editor.org/rfc/rfc4765#section-8)

mod attributes;
mod chars;
mod class;
mod cursor;
mod decoder;
mod encoder;
mod fragment;
mod namespaces;
mod source;
mod writer;

pub use decoder::Decoder;
pub use encoder::Encoder;

#[cfg(feature = "serde")]
pub(crate) use class::Attribute;
pub(crate) use class::{Element, Slot, class, duplicate, finish, in_order, read_text, required, write_text};
pub(crate) use cursor::{Cursor, Fault};
pub(crate) use fragment::check as check_fragment;
pub(crate) use writer::Writer;

/// The namespace of IDMEF elements.
pub const NAMESPACE: &str = "http://iana.org/idmef";
