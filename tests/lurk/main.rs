//! ACME with delegation end to end: the program as its users run it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod ca;
mod clients;
mod delegation;
mod killed;
mod lab;
mod nginx;
mod pebble;
mod relay;
mod stock;
mod template;
mod update;
