//! Octets in types with derived serde: data in JSON-B, base64url in text.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, PartialEq, Debug)]
//! struct Credential<'a> {
//!     #[serde(with = "jsonbcd::octets")]
//!     data: Vec<u8>,
//!     // Read without a copy. Only binary can do that.
//!     #[serde(serialize_with = "jsonbcd::octets::serialize")]
//!     chain: &'a [u8],
//! }
//!
//! let credential = Credential { data: vec![0xca, 0xfe], chain: &[0xba, 0xbe] };
//! assert_eq!(jsonbcd::text::to_string(&credential)?, r#"{"data":"yv4","chain":"ur4"}"#);
//! let octets = jsonbcd::to_vec(&credential)?;
//! assert_eq!(octets, b"{\x80\x04data\x88\x02\xca\xfe\x80\x05chain\x88\x02\xba\xbe}");
//! assert_eq!(jsonbcd::from_slice::<Credential>(&octets)?, credential);
//! # Ok::<(), jsonbcd::Error>(())
//! ```

use alloc::vec::Vec;
use core::fmt;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::ser::Serializer;

/// Writes octets as such.
///
/// # Errors
///
/// Those of the serializer.
pub fn serialize<T: AsRef<[u8]> + ?Sized, S: Serializer>(octets: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(octets.as_ref())
}

/// Reads octets, into whatever can be made of a vector.
///
/// # Errors
///
/// When something else stands there.
pub fn deserialize<'de, T: From<Vec<u8>>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct OctetsVisitor;
    impl<'de> Visitor<'de> for OctetsVisitor {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("octets")
        }

        fn visit_bytes<E: de::Error>(self, value: &[u8]) -> Result<Vec<u8>, E> {
            Ok(value.to_vec())
        }

        fn visit_byte_buf<E: de::Error>(self, value: Vec<u8>) -> Result<Vec<u8>, E> {
            Ok(value)
        }

        /// Formats without octets have arrays of numbers.
        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<u8>, A::Error> {
            let mut octets = Vec::new();
            while let Some(octet) = elements.next_element()? {
                octets.push(octet);
            }
            Ok(octets)
        }
    }
    deserializer.deserialize_byte_buf(OctetsVisitor).map(T::from)
}
