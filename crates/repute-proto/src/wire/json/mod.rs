//! JSON: RFC 7071 section 6.2 and the two forms that came before it.
//! [RFC 8259](https://www.rfc-editor.org/rfc/rfc8259)

mod cursor;
mod read;
mod write;

pub(crate) use read::{read, read_line, string_objects, value};
pub(crate) use write::{quoted, write_draft02, write_flat, write_line, write_rfc7071};
