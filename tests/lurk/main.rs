//! ACME with delegation end to end: the program as its users run it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod ca;
mod clients;
mod delegation;
mod lab;
mod pebble;
mod relay;
mod stock;
mod template;
