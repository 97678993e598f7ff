//! A message authentication code, compared in constant time.

use std::fmt;

use subtle::ConstantTimeEq as _;

/// An HMAC of 32 to 64 octets, or a GCM tag of 16. There is no `==`: [`matches`](Self::matches) takes the same time
/// wherever the octets differ.
#[derive(Clone, Copy)]
pub struct Mac {
    octets: [u8; Self::MAX],
    len: u8,
}

impl Mac {
    /// The longest there is: HMAC-SHA-512.
    pub const MAX: usize = 64;

    /// Takes the octets of a MAC; what is beyond [`Self::MAX`] is cut off.
    pub fn new(octets: &[u8]) -> Self {
        let mut mac = Self { octets: [0; Self::MAX], len: 0 };
        for (to, from) in mac.octets.iter_mut().zip(octets) {
            *to = *from;
            mac.len += 1;
        }
        mac
    }

    /// All octets.
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The first `len` octets; all when there are fewer.
    pub fn truncated(&self, len: usize) -> &[u8] {
        self.octets.get(..len.min(usize::from(self.len))).unwrap_or_default()
    }

    /// Whether `other` is this MAC, or its beginning and at least `min` octets long. Takes a time that depends on
    /// lengths alone.
    #[must_use]
    pub fn matches(&self, other: &[u8], min: usize) -> bool {
        // `ct_eq` of slices of different lengths is false at once, which tells the length alone.
        !other.is_empty() && other.len() >= min && bool::from(self.truncated(other.len()).ct_eq(other))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mac({} octets)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_whole_and_truncated_but_not_below_the_minimum() {
        let mac = Mac::new(&[7; 32]);
        assert!(mac.matches(&[7; 32], 16));
        assert!(mac.matches(&[7; 16], 16));
        assert!(!mac.matches(&[7; 15], 16));
        assert!(!mac.matches(&[7; 33], 16));
        assert!(!mac.matches(&[], 0));
        for at in 0..32 {
            let mut wrong = [7; 32];
            wrong[at] ^= 1;
            assert!(!mac.matches(&wrong, 16), "octet {at}");
        }
    }

    #[test]
    fn keeps_its_octets_to_itself() {
        assert_eq!(format!("{:?}", Mac::new(&[7; 32])), "Mac(32 octets)");
        assert_eq!(Mac::new(&[1; 100]).as_bytes().len(), Mac::MAX);
        assert_eq!(Mac::new(&[1, 2, 3]).truncated(2), &[1, 2]);
    }
}
