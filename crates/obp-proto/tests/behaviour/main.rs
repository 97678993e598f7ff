//! What the messages, the codec and service-connect do, seen from outside.
#![cfg(feature = "rust-crypto")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod codec;
mod connect_broker;
mod connect_client;
mod connect_pair;
mod nodes;
mod properties;
mod statuses;
mod support;
mod vectors;
