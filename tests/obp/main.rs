//! OmniBroker end to end: the program as its users run it, in front of a real authoritative server.
#![allow(clippy::unwrap_used, reason = "tests")]

mod authority;
mod binding;
mod dns;
mod files;
mod questions;
mod site;
