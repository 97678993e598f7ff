//! DOTS Call Home end to end: the program as its users run it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod codec;
mod consent;
mod detector;
mod discovery;
mod flowspec;
mod identity;
mod interface;
mod namespaces;
mod pair;
mod renewal;
mod restart;
mod site;
