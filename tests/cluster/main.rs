//! Several instances of a service that share what they know: PostgreSQL and NATS JetStream, from Debian's packages.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../obp/authority.rs"]
#[allow(dead_code, reason = "the OmniBroker's own tests use all of it")]
mod authority;
mod balancer;
mod brokers;
mod encrypted;
#[path = "../lurk/lab.rs"]
#[allow(dead_code, reason = "the tests of delegation use all of it")]
mod lab;
mod nats;
mod owners;
mod raters;
mod stream;
mod together;
