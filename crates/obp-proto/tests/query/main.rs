//! Client and broker of queries: each by itself, and against each other over bad networks.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod broker_http;
mod broker_udp;
mod client;
mod kit;
mod pair;
