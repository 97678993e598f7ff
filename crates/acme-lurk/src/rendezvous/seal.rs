//! The sealed mode: the relay keeps what it cannot read. Ours: the draft leaves it to what is above.
//!
//! A sealed chunk is a nonce of 12 octets, the encrypted data, and a tag of 16 octets. Every chunk has a key of its own.

use std::fmt;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

use crate::base64url;

const NONCE: usize = 12;
const TAG: usize = 16;

/// Octets that a chunk grows by when it is sealed.
pub const SEAL_OVERHEAD: usize = NONCE + TAG;

/// How a chunk is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SealAlgorithm {
    /// `A256GCM`: AES in GCM with a key of 256 bits, named as in
    /// [RFC 7518 section 5.1](https://www.rfc-editor.org/rfc/rfc7518#section-5.1).
    #[default]
    A256Gcm,
}

impl SealAlgorithm {
    /// The name in a notification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::A256Gcm => "A256GCM",
        }
    }

    /// The algorithm of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        (name == Self::A256Gcm.name()).then_some(Self::A256Gcm)
    }
}

/// The key of one sealed chunk. It does not show itself, is compared in constant time, and is wiped when dropped.
#[derive(Clone)]
pub struct SealKey(Zeroizing<[u8; 32]>);

/// What does not open with this key: it is another key, or the octets are not those that were sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it does not open with this key")]
#[allow(clippy::exhaustive_structs, reason = "more must not be said")]
pub struct InvalidSeal;

impl SealKey {
    /// A key of these octets, which nobody may be able to guess, and which no other chunk may have.
    pub fn new(octets: [u8; 32]) -> Self {
        Self(Zeroizing::new(octets))
    }

    /// The key that a notification has as base64url; none if it is not 32 octets.
    pub fn from_base64url(text: &str) -> Option<Self> {
        let octets = Zeroizing::new(base64url::decode(text)?);
        <[u8; 32]>::try_from(octets.as_slice()).ok().map(Self::new)
    }

    /// The same as base64url.
    pub fn to_base64url(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(43));
        base64url::encode_to(self.0.as_slice(), &mut text);
        text
    }

    /// Seals octets. With the same key, no nonce may be used for other octets.
    pub fn seal(&self, nonce: [u8; NONCE], octets: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(octets.len().saturating_add(SEAL_OVERHEAD));
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(octets);
        let data = sealed.get_mut(NONCE..).unwrap_or_default();
        let tag = self.cipher().encrypt_inout_detached(&nonce.into(), &[], data.into());
        sealed.extend_from_slice(&tag.expect("chunks are far shorter than the 64 GiB that GCM takes"));
        sealed
    }

    /// Opens what was sealed.
    ///
    /// # Errors
    /// When it was not sealed with this key, or is not as it was; nothing of it is given out then.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, InvalidSeal> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE>().ok_or(InvalidSeal)?;
        let (data, tag) = rest.split_last_chunk::<TAG>().ok_or(InvalidSeal)?;
        let mut octets = data.to_vec();
        let buffer = octets.as_mut_slice().into();
        if self.cipher().decrypt_inout_detached(&(*nonce).into(), &[], buffer, &(*tag).into()).is_err() {
            octets.zeroize();
            return Err(InvalidSeal);
        }
        Ok(octets)
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&(*self.0).into())
    }
}

impl PartialEq for SealKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl Eq for SealKey {}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let pair = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(pair).collect()
    }

    /// The specification of GCM, McGrew and Viega, test case 15.
    #[test]
    fn sealing_is_aes_256_gcm() {
        let key = hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
        let key = SealKey::new(key.try_into().unwrap());
        let nonce: [u8; 12] = hex("cafebabefacedbaddecaf888").try_into().unwrap();
        let plain = hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
                         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255");
        let sealed = key.seal(nonce, &plain);
        let wanted = hex("522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
                          8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad\
                          b094dac5d93471bdec1a502270e3cc6c");
        assert_eq!(sealed, [&nonce[..], &wanted].concat());
        assert_eq!(key.open(&sealed), Ok(plain));
    }

    #[test]
    fn what_was_changed_or_sealed_with_another_key_does_not_open() {
        let (key, other) = (SealKey::new([1; 32]), SealKey::new([2; 32]));
        let sealed = key.seal([7; 12], b"Hello World");
        assert_eq!(sealed.len(), 11 + SEAL_OVERHEAD);
        assert_eq!(key.open(&sealed).as_deref(), Ok(&b"Hello World"[..]));
        assert_eq!(other.open(&sealed), Err(InvalidSeal));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(&changed), Err(InvalidSeal), "octet {at}");
            assert_eq!(key.open(&sealed[..at]), Err(InvalidSeal), "cut off at {at}");
        }
        assert_eq!(key.open(&key.seal([0; 12], b"")).as_deref(), Ok(&[][..]));
    }

    #[test]
    fn keys_are_32_octets_and_not_shown() {
        let key = SealKey::new([9; 32]);
        let text = key.to_base64url();
        assert_eq!((text.len(), SealKey::from_base64url(&text)), (43, Some(key.clone())));
        for bad in ["", "AAAA", &format!("{}A", *text), &format!("{}=", *text)] {
            assert_eq!(SealKey::from_base64url(bad), None);
        }
        assert_eq!(format!("{key:?}"), "SealKey(..)");
        assert_ne!(key, SealKey::new([8; 32]));
        assert_eq!(SealAlgorithm::from_name("A256GCM"), Some(SealAlgorithm::A256Gcm));
        assert_eq!(SealAlgorithm::from_name("A128GCM"), None);
    }
}
