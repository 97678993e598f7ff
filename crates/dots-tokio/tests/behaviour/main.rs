//! Call Home clients and servers over loopback.
#![cfg(feature = "ring")]
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "tests")]

mod aiocoap;
mod backend;
mod credentials;
mod hostile;
mod libcoap;
mod lines;
mod pairs;
mod peers;
mod relay;
mod renewal;
mod support;
