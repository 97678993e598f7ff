#![doc = include_str!("../README.md")]

#[cfg(feature = "ca")]
pub mod ca;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "client")]
pub mod delegate;
#[cfg(feature = "client")]
pub mod journal;
#[cfg(feature = "server")]
pub mod keep;
#[cfg(any(feature = "ca", feature = "client"))]
mod ledger;
#[cfg(feature = "client")]
pub mod owner;
#[cfg(feature = "relay")]
pub mod relay;
#[cfg(feature = "client")]
pub mod respond;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "ca")]
pub mod validate;
#[cfg(feature = "server")]
mod written;

pub use acme_lurk;

use std::future::Future;
use std::pin::Pin;

/// Something under way.
pub type Going<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

#[cfg(all(any(feature = "ca", feature = "client"), feature = "ring"))]
fn provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::ring::default_provider()
}

#[cfg(all(any(feature = "ca", feature = "client"), feature = "aws-lc-rs", not(feature = "ring")))]
fn provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}
