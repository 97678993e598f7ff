//! Octets: base64url strings in text, themselves in the binary encodings. draft-hallambaker-omnibroker-08 section 7.1.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::structure::plain;

/// Octets that anybody may see.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Binary(Box<[u8]>);

impl Binary {
    /// The octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The octets by themselves.
    pub fn into_vec(self) -> Vec<u8> {
        self.0.into_vec()
    }

    /// As base64url without padding: the form of HTTP headers.
    pub fn to_base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.0)
    }
}

impl From<Vec<u8>> for Binary {
    fn from(octets: Vec<u8>) -> Self {
        Self(octets.into())
    }
}

impl From<&[u8]> for Binary {
    fn from(octets: &[u8]) -> Self {
        Self(octets.into())
    }
}

impl<const N: usize> From<[u8; N]> for Binary {
    fn from(octets: [u8; N]) -> Self {
        Self(octets.into())
    }
}

impl AsRef<[u8]> for Binary {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The first octets and how many there are.
impl fmt::Debug for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for octet in self.0.iter().take(8) {
            write!(f, "{octet:02x}")?;
        }
        match self.0.len() {
            0..=8 => Ok(()),
            more => write!(f, "… ({more} octets)"),
        }
    }
}

/// Octets that nobody else may see: wiped when dropped, compared in constant time, not printed.
///
/// What the codec held of them while it read or wrote is not wiped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The octets. Do not copy them without need.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many octets there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<u8>> for Secret {
    fn from(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }
}

impl From<&[u8]> for Secret {
    fn from(octets: &[u8]) -> Self {
        octets.to_vec().into()
    }
}

/// In constant time, but for the length.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} octets)", self.len())
    }
}

struct Octets<T>(std::marker::PhantomData<fn() -> T>);

impl<T: From<Vec<u8>>> serde::de::Visitor<'_> for Octets<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("octets")
    }

    fn visit_bytes<E: serde::de::Error>(self, octets: &[u8]) -> Result<T, E> {
        Ok(octets.to_vec().into())
    }

    fn visit_byte_buf<E: serde::de::Error>(self, octets: Vec<u8>) -> Result<T, E> {
        Ok(octets.into())
    }

    /// For formats without octets, and for text where octets are due.
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        let bare: Vec<u8> = text.bytes().filter(|octet| !octet.is_ascii_whitespace() && *octet != b'=').collect();
        let octets = URL_SAFE_NO_PAD.decode(bare).map_err(|_| E::custom("not base64url"))?;
        Ok(octets.into())
    }
}

macro_rules! by_octets {
    ($($ty:ty: $octets:ident),*) => {
        $(impl serde::Serialize for $ty {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(self.$octets())
            }
        }

        impl<'de> serde::Deserialize<'de> for $ty {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_byte_buf(Octets(std::marker::PhantomData))
            }
        })*
    };
}

by_octets!(Binary: as_bytes, Secret: expose);
plain!(Binary, Secret);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_compared_and_not_shown() {
        let secret = Secret::from(vec![1, 2, 3]);
        assert_eq!(secret, Secret::from(&[1, 2, 3][..]));
        assert_ne!(secret, Secret::from(vec![1, 2, 4]));
        assert_ne!(secret, Secret::from(vec![1, 2]));
        assert_eq!(format!("{secret:?}"), "Secret(3 octets)");
    }

    #[test]
    fn octets_show_where_they_begin() {
        assert_eq!(format!("{:?}", Binary::from([0xab, 1])), "ab01");
        assert_eq!(format!("{:?}", Binary::from([7; 20])), "0707070707070707… (20 octets)");
        assert_eq!(Binary::from([0xfb, 0xff]).to_base64url(), "-_8");
    }
}
