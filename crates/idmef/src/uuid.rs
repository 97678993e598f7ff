//! Identifiers that are the same for the same event.

use sha2::{Digest as _, Sha256};

/// A UUID of version 8 ([RFC 9562 section 5.8](https://www.rfc-editor.org/rfc/rfc9562#section-5.8)) made from the
/// SHA-256 of the parts, each with its length before it, so that no two lists of parts are hashed alike.
pub(crate) fn uuid<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut octets = [0; 16];
    octets.copy_from_slice(&digest[..16]);
    let mut bits = u128::from_be_bytes(octets);
    bits = bits & !(0xf << 76) | (8 << 76);
    bits = bits & !(0b11 << 62) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_and_variant_are_set_and_parts_do_not_run_together() {
        let id = uuid(["a", "b"]);
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'8');
        assert!(b"89ab".contains(&id.as_bytes()[19]));
        assert_ne!(id, uuid(["ab", ""]));
        assert_eq!(id, uuid(["a", "b"]));
    }
}
