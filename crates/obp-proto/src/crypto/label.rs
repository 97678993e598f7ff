//! Algorithm labels: what a binding names, and what the names mean (draft-hallambaker-wsconnect-08 section 6.1).

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// A hash function under HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum HashAlgorithm {
    /// SHA-256: 32 octets.
    Sha256,
    /// SHA-384: 48 octets.
    Sha384,
    /// SHA-512: 64 octets.
    Sha512,
}

impl HashAlgorithm {
    /// Octets of the digest, and so of the untruncated HMAC.
    pub const fn output_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// How messages are authenticated. Unknown labels survive a round trip, and are never selected.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Authentication {
    /// `HS256`: HMAC-SHA-256, whole.
    Hs256,
    /// `HS384`: HMAC-SHA-384, whole.
    Hs384,
    /// `HS512`: HMAC-SHA-512, whole.
    Hs512,
    /// `HS256T128`: HMAC-SHA-256, the first 16 octets in datagrams. In the `Session` header the examples show it whole.
    Hs256T128,
    /// Another label.
    Other(Box<str>),
}

impl Authentication {
    /// The labels that this crate computes, strongest first.
    pub const KNOWN: [Self; 4] = [Self::Hs512, Self::Hs384, Self::Hs256, Self::Hs256T128];

    /// Reads a label; case matters.
    pub fn from_label(label: &str) -> Self {
        match label {
            "HS256" => Self::Hs256,
            "HS384" => Self::Hs384,
            "HS512" => Self::Hs512,
            "HS256T128" => Self::Hs256T128,
            other => Self::Other(other.into()),
        }
    }

    /// The label as it stands in messages.
    pub fn label(&self) -> &str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Hs256T128 => "HS256T128",
            Self::Other(label) => label,
        }
    }

    /// The hash function; none for a label that this crate does not know.
    pub const fn hash(&self) -> Option<HashAlgorithm> {
        match self {
            Self::Hs256 | Self::Hs256T128 => Some(HashAlgorithm::Sha256),
            Self::Hs384 => Some(HashAlgorithm::Sha384),
            Self::Hs512 => Some(HashAlgorithm::Sha512),
            Self::Other(_) => None,
        }
    }

    /// Octets of the MAC in a datagram, which is also the least that a `Session` header may carry; none for an unknown
    /// label.
    pub const fn mac_len(&self) -> Option<usize> {
        match self {
            Self::Hs256T128 => Some(16),
            _ => match self.hash() {
                Some(hash) => Some(hash.output_len()),
                None => None,
            },
        }
    }

    /// The number inside tickets; none for an unknown label.
    pub(crate) const fn code(&self) -> Option<u8> {
        match self {
            Self::Hs256 => Some(0),
            Self::Hs384 => Some(1),
            Self::Hs512 => Some(2),
            Self::Hs256T128 => Some(3),
            Self::Other(_) => None,
        }
    }

    /// The label of a number inside a ticket.
    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Hs256),
            1 => Some(Self::Hs384),
            2 => Some(Self::Hs512),
            3 => Some(Self::Hs256T128),
            _ => None,
        }
    }
}

impl fmt::Display for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl FromStr for Authentication {
    type Err = Infallible;

    fn from_str(label: &str) -> Result<Self, Infallible> {
        Ok(Self::from_label(label))
    }
}

/// A block cipher in a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cipher {
    /// AES in cipher block chaining with PKCS #7 padding; authenticated by an HMAC around it.
    Cbc,
    /// AES in Galois/counter mode, which authenticates by itself.
    Gcm,
}

/// Where the keys of a datagram come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeySchedule {
    /// As in 2014: the shared secret is both the cipher's key and the MAC's, in both directions.
    Shared,
    /// HKDF-SHA-256 derives a key for each purpose and direction from the shared secret.
    Derived,
}

/// How datagrams are encrypted. Unknown labels survive a round trip, and are never selected.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Encryption {
    /// `A128CBC`: AES-128-CBC under the secret itself, as the 2014 drafts do it.
    A128Cbc,
    /// `A256CBC`: AES-256-CBC likewise.
    A256Cbc,
    /// `A128GCM`: AES-128-GCM under keys derived for each direction.
    A128Gcm,
    /// `A256GCM`: AES-256-GCM likewise.
    A256Gcm,
    /// `A128CBC-HKDF`: AES-128-CBC under derived keys. A label of this crate: the drafts left the derivation open.
    A128CbcHkdf,
    /// `A256CBC-HKDF`: AES-256-CBC likewise.
    A256CbcHkdf,
    /// Another label.
    Other(Box<str>),
}

impl Encryption {
    /// The labels that this crate computes, best first.
    pub const KNOWN: [Self; 6] =
        [Self::A256Gcm, Self::A128Gcm, Self::A256CbcHkdf, Self::A128CbcHkdf, Self::A256Cbc, Self::A128Cbc];

    /// Reads a label; case matters.
    pub fn from_label(label: &str) -> Self {
        match label {
            "A128CBC" => Self::A128Cbc,
            "A256CBC" => Self::A256Cbc,
            "A128GCM" => Self::A128Gcm,
            "A256GCM" => Self::A256Gcm,
            "A128CBC-HKDF" => Self::A128CbcHkdf,
            "A256CBC-HKDF" => Self::A256CbcHkdf,
            other => Self::Other(other.into()),
        }
    }

    /// The label as it stands in messages.
    pub fn label(&self) -> &str {
        match self {
            Self::A128Cbc => "A128CBC",
            Self::A256Cbc => "A256CBC",
            Self::A128Gcm => "A128GCM",
            Self::A256Gcm => "A256GCM",
            Self::A128CbcHkdf => "A128CBC-HKDF",
            Self::A256CbcHkdf => "A256CBC-HKDF",
            Self::Other(label) => label,
        }
    }

    /// The cipher; none for a label that this crate does not know.
    pub const fn cipher(&self) -> Option<Cipher> {
        match self {
            Self::A128Cbc | Self::A256Cbc | Self::A128CbcHkdf | Self::A256CbcHkdf => Some(Cipher::Cbc),
            Self::A128Gcm | Self::A256Gcm => Some(Cipher::Gcm),
            Self::Other(_) => None,
        }
    }

    /// Octets of the cipher's key; none for an unknown label.
    pub const fn key_len(&self) -> Option<usize> {
        match self {
            Self::A128Cbc | Self::A128Gcm | Self::A128CbcHkdf => Some(16),
            Self::A256Cbc | Self::A256Gcm | Self::A256CbcHkdf => Some(32),
            Self::Other(_) => None,
        }
    }

    /// Where its keys come from; none for an unknown label.
    pub const fn schedule(&self) -> Option<KeySchedule> {
        match self {
            Self::A128Cbc | Self::A256Cbc => Some(KeySchedule::Shared),
            Self::A128Gcm | Self::A256Gcm | Self::A128CbcHkdf | Self::A256CbcHkdf => Some(KeySchedule::Derived),
            Self::Other(_) => None,
        }
    }

    /// The number inside tickets; none for an unknown label. Below 128 they are those of the reference code.
    pub(crate) const fn code(&self) -> Option<u8> {
        match self {
            Self::A128Cbc => Some(0),
            Self::A256Cbc => Some(1),
            Self::A128Gcm => Some(2),
            Self::A256Gcm => Some(3),
            Self::A128CbcHkdf => Some(128),
            Self::A256CbcHkdf => Some(129),
            Self::Other(_) => None,
        }
    }

    /// The label of a number inside a ticket.
    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::A128Cbc),
            1 => Some(Self::A256Cbc),
            2 => Some(Self::A128Gcm),
            3 => Some(Self::A256Gcm),
            128 => Some(Self::A128CbcHkdf),
            129 => Some(Self::A256CbcHkdf),
            _ => None,
        }
    }
}

impl fmt::Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl FromStr for Encryption {
    type Err = Infallible;

    fn from_str(label: &str) -> Result<Self, Infallible> {
        Ok(Self::from_label(label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_codes_round_trip() {
        for label in Authentication::KNOWN {
            assert_eq!(Authentication::from_label(label.label()), label);
            assert_eq!(Authentication::from_code(label.code().unwrap()), Some(label.clone()));
            assert!(label.mac_len().unwrap() <= label.hash().unwrap().output_len());
        }
        for label in Encryption::KNOWN {
            assert_eq!(Encryption::from_label(label.label()), label);
            assert_eq!(Encryption::from_code(label.code().unwrap()), Some(label.clone()));
            assert!(label.cipher().is_some() && label.key_len().is_some() && label.schedule().is_some());
        }
    }

    #[test]
    fn unknown_labels_are_kept_and_mean_nothing() {
        let unknown = Authentication::from_label("hs256");
        assert_eq!(unknown.to_string(), "hs256");
        assert_eq!((unknown.hash(), unknown.mac_len(), unknown.code()), (None, None, None));
        let unknown = Encryption::from_label("A512XTS");
        assert_eq!(unknown.to_string(), "A512XTS");
        assert_eq!((unknown.cipher(), unknown.key_len(), unknown.schedule()), (None, None, None));
        assert_eq!(Authentication::from_code(4), None);
        assert_eq!(Encryption::from_code(4), None);
    }
}
