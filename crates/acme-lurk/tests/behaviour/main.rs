//! What the crate does, part by part, with the vectors of `tests/vectors/acme-lurk`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![cfg(feature = "ring")]

mod bad_days;
mod bounds;
mod client;
mod client_kit;
mod compat;
mod delegation;
mod jose;
mod lab;
mod messages;
mod proxy;
mod relay;
mod rendezvous;
mod restart;
mod server;
mod server_kit;
mod star;
mod support;
mod template;
mod withdrawal;
