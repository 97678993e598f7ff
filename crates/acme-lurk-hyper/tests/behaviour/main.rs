//! The adapter over real sockets of the loopback.
#![allow(clippy::unwrap_used, reason = "tests")]

mod challenges;
mod exchanges;
mod keeping;
mod laboratory;
