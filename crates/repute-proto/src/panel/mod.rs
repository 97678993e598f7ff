//! Several raters asked at once, within a time, and their answers put together.
//!
//! [RFC 7070 section 5.3](https://www.rfc-editor.org/rfc/rfc7070#section-5.3) names this as what fixed scales are for.
//! What is known locally comes first; a rater that fails to answer says nothing about the subject.

mod combine;
mod local;
mod machine;

pub use combine::{Combined, Opinion, Standing, Verdict, Weighing, combine};
pub use local::{List, LocalLists};
pub use machine::{ConsultationId, Panel, PanelEvent, Rater};
