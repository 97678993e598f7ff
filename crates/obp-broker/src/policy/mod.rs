//! What the broker's owner wants answered, refused or upgraded: rules, response policy zones, live reloading.
//!
//! This part is pure: texts go in, decisions come out. Only [`PolicyStore`] touches files.
//!
//! # Order
//! 1. The `[[rule]]` entries, from the top; the first that matches decides, and `allow` also exempts from what follows.
//! 2. The response policy zones in the order in which the file lists them; the first zone with a matching trigger
//!    decides, and within a zone an exact name goes before a wildcard, a name before an address, a longer prefix
//!    before a shorter one.
//!
//! One denied address denies the whole answer: an answer with a hole in it would tell which address was taken out.

mod decide;
mod file;
mod rpz;
mod store;

pub use decide::{Decision, Policy};
pub use file::{Action, PolicyError, Rule, RuleSet, Subject};
pub use rpz::{ResponsePolicyZone, ZoneAction};
pub use store::{PolicyStore, Reload};
