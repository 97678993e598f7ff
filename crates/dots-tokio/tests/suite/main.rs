//! Call Home clients and servers over loopback.
#![cfg(feature = "ring")]
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "tests")]

mod credentials;
mod lines;
mod pairs;
mod relay;
mod support;
