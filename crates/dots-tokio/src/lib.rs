#![doc = include_str!("../README.md")]
// Without a back end for DTLS there is little use for what prepares its handshakes.
#![cfg_attr(not(any(feature = "dimpl", feature = "openssl")), allow(dead_code, unused_imports))]

pub mod client;
mod clock;
mod config;
mod context;
mod error;
mod hello;
mod identity;
mod limits;
mod link;
pub mod security;
pub mod server;
mod tls;
mod told;
mod trust;

pub use client::CallHomeClient;
pub use config::{Backend, SecurityConfig};
pub use context::Security;
pub use dots_callhome;
pub use error::{AuthError, ConfigError, RequestError, SecurityError, StartError};
pub use identity::{Identity, Proof};
pub use server::CallHomeServer;

/// A seed nobody can guess, for tokens, message numbers and back-off.
fn random_seed() -> [u8; 32] {
    let mut seed = [0; 32];
    // Security makes sure at its start that there is randomness; a failure later costs only what DTLS and TLS protect
    // anyway.
    let _ = getrandom::fill(&mut seed);
    seed
}
