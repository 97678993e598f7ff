//! STAR: certificates that the CA renews by itself until it is told to stop. [RFC 8739](https://www.rfc-editor.org/rfc/rfc8739)
//!
//! [`AutoRenewal`] is what client and CA agree on, [`Schedule`] the arithmetic that follows from it. On the side of the
//! CA [`StarOrder`] is one order and [`StarBook`] any number of them; on the side of whoever fetches the certificates
//! [`RollTimer`] says when to look.
//!
//! All of it counts in whole seconds of [`UnixTime`](watchfire_core::UnixTime), because certificates do.

mod auto_renewal;
mod book;
mod fetch;
mod order;
mod schedule;
mod timer;

pub use auto_renewal::{Adjusted, AutoRenewal, StarMeta, StarPolicy, StarRefusal};
pub use book::{StarBook, StarEvent, StarId};
pub use fetch::{CertificateHeaders, cache_max_age, etag, is_not_modified};
pub use order::{CancelError, Served, StarOrder, StarSnapshot, StarState, Task};
pub use schedule::{Fraction, Schedule, ScheduleError, Slot};
pub use timer::{Look, RollTimer};
