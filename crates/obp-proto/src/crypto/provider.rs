//! What a library of cryptography has to offer.

use std::fmt;
use std::sync::Arc;

use super::{HashAlgorithm, Mac};

/// Octets of an initialisation vector of AES-CBC.
pub const IV_LEN: usize = 16;
/// Octets of a nonce of AES-GCM.
pub const NONCE_LEN: usize = 12;
/// Octets of a tag of AES-GCM.
pub const TAG_LEN: usize = 16;

/// Why a computation could not be done. Says nothing about the octets, lest it become an oracle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// A key of a length that the cipher does not take.
    #[error("no key of this cipher is {0} octets long")]
    KeyLength(usize),
    /// The octets do not decrypt: altered, or encrypted under another key.
    #[error("the octets do not decrypt under this key")]
    Decrypt,
    /// More octets are asked for than the derivation gives.
    #[error("{0} octets are more than the key derivation gives")]
    DerivedLength(usize),
}

/// A source of the algorithms. Implement it to use another library, or hardware; the machines take an
/// `Arc<dyn Provider>`.
pub trait Provider: Send + Sync + fmt::Debug {
    /// Prepares a key for many HMACs. HMAC takes keys of any length.
    fn mac_key(&self, hash: HashAlgorithm, key: &[u8]) -> Arc<dyn MacKey>;

    /// One HMAC over the concatenation of `parts`.
    fn hmac(&self, hash: HashAlgorithm, key: &[u8], parts: &[&[u8]]) -> Mac {
        self.mac_key(hash, key).sign(parts)
    }

    /// Prepares a key for AES-CBC: 16 octets or 32.
    ///
    /// # Errors
    /// [`CryptoError::KeyLength`].
    fn cbc_key(&self, key: &[u8]) -> Result<Arc<dyn CbcKey>, CryptoError>;

    /// Prepares a key for AES-GCM: 16 octets or 32.
    ///
    /// # Errors
    /// [`CryptoError::KeyLength`].
    fn gcm_key(&self, key: &[u8]) -> Result<Arc<dyn GcmKey>, CryptoError>;

    /// HKDF-SHA-256 (RFC 5869) without salt: fills `out` from `secret`, for the purpose that `info` names.
    ///
    /// # Errors
    /// [`CryptoError::DerivedLength`] beyond 255 * 32 octets.
    fn hkdf_sha256(&self, secret: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), CryptoError>;
}

/// A key prepared for HMAC. Implementations wipe it when dropped.
pub trait MacKey: Send + Sync + fmt::Debug {
    /// The HMAC over the concatenation of `parts`, untruncated.
    fn sign(&self, parts: &[&[u8]]) -> Mac;
}

/// A key prepared for AES-CBC with PKCS #7 padding. Implementations wipe it when dropped.
pub trait CbcKey: Send + Sync + fmt::Debug {
    /// Encrypts `buffer` from octet `from` on, in place; it grows by 1 to 16 octets of padding.
    fn encrypt(&self, iv: &[u8; IV_LEN], buffer: &mut Vec<u8>, from: usize);

    /// Decrypts all of `buffer` in place and takes the padding off. Only ever called with what a MAC has verified.
    ///
    /// # Errors
    /// [`CryptoError::Decrypt`] when the length or the padding is wrong; `buffer` is worthless then.
    fn decrypt(&self, iv: &[u8; IV_LEN], buffer: &mut Vec<u8>) -> Result<(), CryptoError>;
}

/// A key prepared for AES-GCM. Implementations wipe it when dropped.
pub trait GcmKey: Send + Sync + fmt::Debug {
    /// Encrypts `buffer` in place and returns the tag over `aad` and the ciphertext.
    fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], buffer: &mut [u8]) -> [u8; TAG_LEN];

    /// Verifies the tag, then decrypts `buffer` in place.
    ///
    /// # Errors
    /// [`CryptoError::Decrypt`] when the tag is wrong; `buffer` is unchanged then.
    fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError>;
}
