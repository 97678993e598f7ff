//! The adapter over real sockets of the loopback.
#![cfg(all(feature = "ca", feature = "client", feature = "relay", feature = "ring"))]
#![allow(clippy::unwrap_used, reason = "tests")]

mod challenges;
mod exchanges;
mod keeping;
mod laboratory;
mod owner;
mod relay;
