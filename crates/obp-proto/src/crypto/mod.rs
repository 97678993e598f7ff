//! The cryptography that OBP needs, behind one trait.
//!
//! The protocol names algorithms by [`Authentication`] and [`Encryption`] labels (draft-hallambaker-wsconnect-08
//! section 6.1). A [`Provider`] computes them; [`RustCrypto`] is the one that comes with the crate. Keys are prepared
//! once ([`Provider::mac_key`] and its sisters) and used for every message under the same ticket, because preparing
//! one costs as much as a short message.

mod label;
mod mac;
mod provider;
#[cfg(feature = "rust-crypto")]
mod rust_crypto;

pub use label::{Authentication, Cipher, Encryption, HashAlgorithm, KeySchedule};
pub use mac::Mac;
pub use provider::{CbcKey, CryptoError, GcmKey, IV_LEN, MacKey, NONCE_LEN, Provider, TAG_LEN};
#[cfg(feature = "rust-crypto")]
pub use rust_crypto::RustCrypto;
