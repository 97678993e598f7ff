//! What the messages, the codec and service-connect do, seen from outside.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod codec;
mod support;
mod vectors;
