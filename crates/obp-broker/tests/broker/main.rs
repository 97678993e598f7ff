//! The broker's knowledge against an authoritative server in the same process, whose zones are signed as they are
//! loaded.
#![allow(clippy::unwrap_used, reason = "tests")]

mod connect;
mod dns;
mod foreign;
mod prove;
mod server;
mod validate;
