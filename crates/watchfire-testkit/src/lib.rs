//! Tests of sans-IO machines: two nodes, a virtual clock and a bad link between them.
//!
//! A [`Pair`] moves whichever side is due next, hands octets over the [`Link`]s as these let them through, and writes
//! down what each side said. The same seed gives the same [`Trace`].
//!
//! And of what is written about machines: [`spec`] checks the tables of a crate's SPEC.md. And of what is around them:
//! [`servers`] starts servers of other projects.

mod driven;
mod link;
mod loopback;
mod pair;
pub mod servers;
pub mod spec;

pub use driven::Driven;
pub use link::{Link, LinkConfig};
pub use loopback::own_loopback;
pub use pair::{Node, Pair, Said, Stop, Trace, TraceEntry};
