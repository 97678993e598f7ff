//! Call Home clients and servers over loopback.
#![cfg(feature = "ring")]
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "tests")]

mod backend;
mod credentials;
mod hostile;
mod lines;
mod pairs;
mod peers;
mod relay;
mod support;
