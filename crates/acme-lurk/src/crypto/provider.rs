//! What a library of cryptography has to offer.

use std::fmt;

use super::{Curve, KeyError, PublicKey};

/// A signature algorithm with its key type and the form of its signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// ECDSA with the hash that suits the curve, r and s side by side: the form of JOSE.
    EcdsaFixed(Curve),
    /// The same as a DER sequence of two integers: the form of X.509.
    EcdsaDer(Curve),
    /// Ed25519.
    Ed25519,
    /// RSASSA-PKCS1-v1_5 with a hash of the SHA-2 family of so many bits: 256, 384 or 512.
    RsaPkcs1(u16),
    /// RSASSA-PSS with that hash for all three of its purposes, and a salt as long as the hash.
    RsaPss(u16),
}

/// Checks signatures.
pub trait Verifier: fmt::Debug + Send + Sync {
    /// Whether it can check these.
    fn supports(&self, scheme: Scheme) -> bool;

    /// Looks whether a key can be one: above all, whether a point is on its curve.
    ///
    /// # Errors
    /// [`KeyError::Point`] and its like.
    fn check_key(&self, key: &PublicKey) -> Result<(), KeyError>;

    /// Checks a signature.
    ///
    /// # Errors
    /// When it is wrong, and when key and scheme do not belong together or are not known.
    fn verify(&self, scheme: Scheme, key: &PublicKey, message: &[u8], signature: &[u8]) -> Result<(), VerifyError>;
}

/// A private key that signs, and does not show itself.
pub trait Signer: fmt::Debug + Send + Sync {
    /// How it signs. Those of requests sign in the forms of JOSE.
    fn scheme(&self) -> Scheme;

    /// The public half.
    fn public_key(&self) -> &PublicKey;

    /// Signs.
    ///
    /// # Errors
    /// When the hardware or the randomness behind it fails.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// Why a signature does not count. Says nothing about the octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// It is not a signature of this message under this key.
    #[error("the signature is not one of this message under this key")]
    Signature,
    /// The key is not of the kind that the algorithm takes.
    #[error("the key is not of the kind that the algorithm takes")]
    KeyMismatch,
    /// The algorithm is not available here.
    #[error("this algorithm is not available here")]
    Unsupported,
}

/// The signer could not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the signer failed: {0}")]
#[allow(clippy::exhaustive_structs, reason = "implementations make it")]
pub struct SignError(pub String);
