//! What the server names things with: 128 random bits, that nobody guesses, and that stand in a URL as base64url.

use std::fmt;

use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::base64url;
use crate::error::{DecodeError, DecodeErrorKind};

/// 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id([u8; 16]);

impl Id {
    pub(crate) fn random(random: &mut StdRng) -> Self {
        Self(random.random())
    }

    /// The one that stands so in a URL; none if it cannot be one.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let mut octets = [0; 18];
        let octets = base64url::decode_to(text, &mut octets)?;
        octets.try_into().ok().map(Self)
    }

    /// The one that stands so in a record, at this place.
    pub(crate) fn from_record(text: &str, place: impl Into<String>) -> Result<Self, DecodeError> {
        Self::from_text(text).ok_or_else(|| DecodeErrorKind::Expected("128 bits as base64url").at(place))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(self.0))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $visibility:vis $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $visibility struct $name(pub(crate) Id);

        impl $name {
            pub(crate) fn from_text(text: &str) -> Option<Self> {
                Id::from_text(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

id! {
    /// Names an order: the last part of its URL.
    pub OrderId
}
id! {
    /// Names a challenge: the last part of its URL.
    pub ChallengeId
}
id! {
    /// Names an account: the last part of its URL.
    pub(crate) AccountId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stands_in_a_url_and_is_read_again() {
        let id = Id([0xfb; 16]);
        assert_eq!(id.to_string(), "-_v7-_v7-_v7-_v7-_v7-w");
        assert_eq!(Id::from_text(&id.to_string()), Some(id));
        for other in ["", "-_v7", "-_v7-_v7-_v7-_v7-_v7-x", "-_v7-_v7-_v7-_v7-_v7-_v", "-_v7-_v7-_v7-_v7-_v7-_v7", "é"]
        {
            assert_eq!(Id::from_text(other), None, "{other:?}");
        }
    }
}
