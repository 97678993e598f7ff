//! What the crate does, seen from outside. File names say about what.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on fails")]
#![allow(clippy::arithmetic_side_effects, clippy::unreachable, reason = "an overflow fails the test")]

mod client;
mod codec;
mod codec_properties;
#[cfg(feature = "dnsbl")]
mod dnsbl;
mod panel;
mod server;
mod support;
mod targets;
mod templates;
mod vectors;
