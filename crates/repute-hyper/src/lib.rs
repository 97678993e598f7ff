#![doc = include_str!("../README.md")]

#[cfg(feature = "client")]
pub mod client;
#[cfg(any(feature = "client", feature = "server"))]
mod clock;
#[cfg(feature = "server")]
pub mod server;

pub use repute_proto;
