//! The XML of the drafts. draft-ietf-repute-media-type-01 section 3.2

mod plain;
mod read;
mod write;

pub(super) use read::read;
pub(super) use write::write;
