//! Words of the protocol, each kept as it came when it is not one of them: transports, policies, algorithms.
//! draft-hallambaker-omnibroker-08 section 5.1.8, draft-hallambaker-wsconnect-08 section 3.3.

use std::fmt;
use std::str::FromStr;

use super::name::by_text;
use super::structure::plain;
use crate::crypto::{Authentication, Encryption};

/// A word that this crate does not know, as it was spelled.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unknown(Box<Word>);

/// Behind a pointer of its own: words that nobody knows are rare, and their room would be in every connection.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Word(Box<str>);

impl Unknown {
    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0.0
    }
}

impl fmt::Debug for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

macro_rules! words {
    ($($(#[$meta:meta])* pub enum $name:ident { $($(#[$word_meta:meta])* $variant:ident = $word:literal,)* })*) => {
        $($(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$word_meta])* $variant,)*
            /// Another word, kept as it is. Made by reading alone, so that it is never one of the words above.
            Other(Unknown),
        }

        impl $name {
            /// The word on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Other(word) => word.as_str(),
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)*
                    other => Self::Other(Unknown(Box::new(Word(other.into())))),
                }
            }
        }

        impl FromStr for $name {
            type Err = std::convert::Infallible;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                Ok(word.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        by_text!($name);
        plain!($name);)*
    };
}

words! {
    /// What secures a connection that a broker proposes. A connection without the member is [`Transport::Raw`].
    pub enum Transport {
        /// Nothing: plain TCP or UDP.
        Raw = "RAW",
        /// TLS.
        Tls = "TLS",
        /// IPsec.
        Ipsec = "IPSEC",
    }

    /// What the client may do about the security of the transport. The drafts leave the language open; these three
    /// are the words seen in examples and their kin.
    pub enum TransportPolicy {
        /// TLS must be used.
        TlsRequired = "TLS=Required",
        /// TLS can be used.
        TlsOptional = "TLS=Optional",
        /// TLS cannot be used.
        TlsNone = "TLS=None",
    }

    /// What the application's protocol demands; each protocol has its own words.
    pub enum ProtocolPolicy {
        /// The one word seen in examples.
        Strict = "Strict",
    }

    /// How an instance of a service is reached (SXS-08 section 3.3.6).
    pub enum InstanceTransport {
        /// Requests over HTTP.
        Http = "HTTP",
        /// UYFM datagrams.
        Udp = "UDP",
        /// Through DNS queries. Older drafts had it; it has no definition any more.
        Dns = "DNS",
    }
}

/// Algorithms are words too; what they mean is said in [`crate::crypto`].
macro_rules! labels {
    ($($ty:ty),*) => {
        $(impl serde::Serialize for $ty {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.label())
            }
        }

        impl<'de> serde::Deserialize<'de> for $ty {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;

                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $ty;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("the label of an algorithm")
                    }

                    fn visit_str<E: serde::de::Error>(self, label: &str) -> Result<$ty, E> {
                        Ok(<$ty>::from_label(label))
                    }
                }

                deserializer.deserialize_str(Visitor)
            }
        })*
    };
}

labels!(Authentication, Encryption);
plain!(Authentication, Encryption);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_known_and_others_are_kept() {
        assert_eq!(Transport::from("TLS"), Transport::Tls);
        assert_eq!(Transport::from("tls").as_str(), "tls");
        assert!(matches!(Transport::from("QUIC"), Transport::Other(word) if word.as_str() == "QUIC"));
        assert_eq!(TransportPolicy::from("TLS=Optional"), TransportPolicy::TlsOptional);
        assert_eq!(TransportPolicy::from("TLS=Optional;OCSP").as_str(), "TLS=Optional;OCSP");
        assert_eq!(ProtocolPolicy::Strict.to_string(), "Strict");
    }
}
