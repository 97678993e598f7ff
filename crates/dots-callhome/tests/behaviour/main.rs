//! How the machines behave with each other, over links that lose, delay and repeat, on a virtual clock.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::field_reassign_with_default,
    unreachable_pub,
    reason = "a test that cannot go on fails"
)]

mod answers;
mod bounds;
mod codec;
mod dialer;
mod dissector;
mod left;
mod lifecycle;
mod loss;
mod oracle;
mod peers;
mod refresh;
mod reports;
mod rules;
mod session;
mod support;
