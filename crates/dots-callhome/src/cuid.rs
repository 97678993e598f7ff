//! Client identifiers. RFC 9132 section 4.4.1.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// The cuid of whoever has this identity: the DER of the SubjectPublicKeyInfo in its certificate, its raw public key, or
/// its PSK identity. 22 characters.
///
/// ```
/// assert_eq!(dots_callhome::cuid(b"dots-client-1"), "z85PF07F0YiHmas-fJkqRg");
/// ```
pub fn cuid(identity: &[u8]) -> String {
    let digest = Sha256::digest(identity);
    URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or_default())
}

/// Another cuid, for when the first is taken: 16 octets of chance instead of a digest.
pub(crate) fn random_cuid(chance: [u8; 16]) -> String {
    URL_SAFE_NO_PAD.encode(chance)
}

#[cfg(test)]
mod tests {
    #[test]
    fn cuids_are_those_of_the_vectors() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/dots/vectors.json");
        let vectors: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for vector in vectors["cuid"].as_array().unwrap() {
            let hex = vector["hex"].as_str().unwrap();
            let octets: Vec<u8> =
                (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
            assert_eq!(super::cuid(&octets), vector["cuid"].as_str().unwrap());
        }
    }
}
