//! Public keys: those of accounts and those in certification requests.

use std::fmt;

/// Bits of an RSA key at least. Smaller ones are broken.
pub const MIN_RSA_BITS: usize = 2048;

/// A public key whose parts have the right lengths. Whether a point is on its curve is for a
/// [`Verifier`](super::Verifier) to say.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicKey(Kind);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Kind {
    Ec { curve: Curve, point: Vec<u8> },
    Ed25519([u8; 32]),
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

/// What [`PublicKey`] has inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyParts<'a> {
    /// A point on a curve.
    Ec {
        /// The curve.
        curve: Curve,
        /// The point, uncompressed: 4, x, y.
        point: &'a [u8],
    },
    /// Ed25519 (RFC 8037).
    Ed25519(&'a [u8; 32]),
    /// RSA, both numbers big-endian without leading zeros.
    Rsa {
        /// The modulus.
        n: &'a [u8],
        /// The exponent.
        e: &'a [u8],
    },
}

/// A curve of ECDSA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Curve {
    /// secp256r1.
    P256,
    /// secp384r1.
    P384,
    /// secp521r1; only in certification requests.
    P521,
}

impl Curve {
    /// Octets of a coordinate.
    pub const fn coordinate_len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// The name in a JWK (RFC 7518 section 6.2.1.1).
    pub const fn jwk_name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }
}

impl PublicKey {
    /// A point on a curve: 4, x, y.
    ///
    /// # Errors
    /// [`KeyError::Point`] when the form or the length is another.
    pub fn ec(curve: Curve, point: &[u8]) -> Result<Self, KeyError> {
        let len = curve.coordinate_len().saturating_mul(2).saturating_add(1);
        if point.len() != len || point.first() != Some(&4) {
            return Err(KeyError::Point);
        }
        Ok(Self(Kind::Ec { curve, point: point.to_vec() }))
    }

    /// A point on a curve by its coordinates, each of full length.
    ///
    /// # Errors
    /// [`KeyError::Point`] when a length is another.
    pub fn ec_coordinates(curve: Curve, x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        if x.len() != curve.coordinate_len() || y.len() != x.len() {
            return Err(KeyError::Point);
        }
        Self::ec(curve, &[&[4], x, y].concat())
    }

    /// An Ed25519 key.
    ///
    /// # Errors
    /// [`KeyError::Point`] unless it is 32 octets long.
    pub fn ed25519(key: &[u8]) -> Result<Self, KeyError> {
        key.try_into().map(|key| Self(Kind::Ed25519(key))).map_err(|_| KeyError::Point)
    }

    /// An RSA key by two big-endian numbers. Leading zeros are stripped (RFC 8555 section 8.1).
    ///
    /// # Errors
    /// When the modulus is even or outside [`MIN_RSA_BITS`] to `max_bits`, or the exponent is none that is in use.
    pub fn rsa(n: &[u8], e: &[u8], max_bits: usize) -> Result<Self, KeyError> {
        let (n, e) = (strip(n), strip(e));
        let bits = bit_len(n);
        if bits < MIN_RSA_BITS || bits > max_bits {
            return Err(KeyError::RsaBits { bits, max: max_bits });
        }
        let is_odd = |number: &[u8]| number.last().is_some_and(|octet| octet & 1 == 1);
        // Beyond 4 octets an exponent is either a mistake or an attempt to make us compute.
        if !is_odd(n) || !is_odd(e) || e.len() > 4 || e == [1] {
            return Err(KeyError::RsaNumbers);
        }
        Ok(Self(Kind::Rsa { n: n.to_vec(), e: e.to_vec() }))
    }

    /// Its numbers.
    pub fn parts(&self) -> KeyParts<'_> {
        match &self.0 {
            Kind::Ec { curve, point } => KeyParts::Ec { curve: *curve, point },
            Kind::Ed25519(key) => KeyParts::Ed25519(key),
            Kind::Rsa { n, e } => KeyParts::Rsa { n, e },
        }
    }

    /// Bits of the modulus, if it is an RSA key.
    pub fn rsa_bits(&self) -> Option<usize> {
        match &self.0 {
            Kind::Rsa { n, .. } => Some(bit_len(n)),
            _ => None,
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Ec { curve, .. } => write!(f, "PublicKey({})", curve.jwk_name()),
            Kind::Ed25519(_) => f.write_str("PublicKey(Ed25519)"),
            Kind::Rsa { n, .. } => write!(f, "PublicKey(RSA {})", bit_len(n)),
        }
    }
}

/// Why octets are no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It has members of a private key. Whoever sent that should forget the key.
    #[error("this is a private key: it is not secret any more, and will not be taken")]
    Private,
    /// Wrong length or form, or the point is not on its curve.
    #[error("this is no point of the curve")]
    Point,
    /// An RSA modulus that is too small or too large.
    #[error("RSA keys must have 2048 to {max} bits; this one has {bits}")]
    RsaBits {
        /// How many it has.
        bits: usize,
        /// How many it may have.
        max: usize,
    },
    /// An RSA modulus or exponent that cannot be one.
    #[error("this is no modulus and exponent of RSA")]
    RsaNumbers,
    /// A kind of key that is not known here.
    #[error("keys of this kind are not known: {0:?}")]
    Unknown(String),
}

fn strip(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn bit_len(number: &[u8]) -> usize {
    let zeros = number.first().map_or(0, |first| usize::try_from(first.leading_zeros()).unwrap_or(0));
    number.len().saturating_mul(8).saturating_sub(zeros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_their_lengths() {
        assert!(PublicKey::ec(Curve::P256, &[4; 65]).is_ok());
        for (len, first) in [(65, 2), (64, 4), (66, 4), (0, 0), (97, 4)] {
            let mut point = vec![9; len];
            if let Some(octet) = point.first_mut() {
                *octet = first;
            }
            assert_eq!(PublicKey::ec(Curve::P256, &point), Err(KeyError::Point), "{len} {first}");
        }
        assert_eq!(PublicKey::ec_coordinates(Curve::P384, &[1; 48], &[1; 47]), Err(KeyError::Point));
        assert_eq!(PublicKey::ed25519(&[1; 31]), Err(KeyError::Point));
    }

    #[test]
    fn rsa_keys_are_neither_too_small_nor_too_large() {
        let n = |bits: usize| [vec![0x80], vec![0x11; bits / 8 - 1]].concat();
        let e = [0, 1, 0, 1];
        let key = PublicKey::rsa(&[vec![0, 0], n(2048)].concat(), &e, 4096).unwrap();
        assert_eq!(key.parts(), KeyParts::Rsa { n: &n(2048), e: &[1, 0, 1] }, "leading zeros are stripped");
        assert_eq!(key.rsa_bits(), Some(2048));
        for bits in [512, 2040, 4104] {
            assert_eq!(PublicKey::rsa(&n(bits), &e, 4096), Err(KeyError::RsaBits { bits, max: 4096 }));
        }
        assert!(PublicKey::rsa(&[], &e, 4096).is_err());
        for e in [&[1][..], &[2], &[], &[0], &[1, 0, 0, 0, 1]] {
            assert_eq!(PublicKey::rsa(&n(2048), e, 4096), Err(KeyError::RsaNumbers), "{e:?}");
        }
    }
}
