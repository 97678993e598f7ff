#![doc = include_str!("../README.md")]

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "client")]
pub mod connector;
#[cfg(feature = "client")]
pub mod race;
#[cfg(feature = "reqwest")]
pub mod resolver;
#[cfg(feature = "server")]
pub mod server;

pub use obp_proto;
