//! The signatures that ACME needs, behind two traits.
//!
//! A [`Signer`] holds a private key and never shows it; a [`Verifier`] checks signatures of requests and of
//! certification requests. [`Ring`] and [`RingSigner`] are those that come with the crate; hardware and other
//! libraries implement the traits. Hashes and MACs need no choice and are not behind them.
//!
//! The machines of this crate are deterministic; signatures are whatever the signer makes (ECDSA wants randomness, which
//! is the signer's affair).

mod key;
mod provider;
#[cfg(feature = "ring")]
mod ring_provider;

pub use key::{Curve, KeyError, KeyParts, MIN_RSA_BITS, PublicKey};
pub use provider::{Scheme, SignError, Signer, Verifier, VerifyError};
#[cfg(feature = "ring")]
pub use ring_provider::{Ring, RingSigner};
