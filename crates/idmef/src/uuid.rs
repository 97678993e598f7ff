//! Identifiers that are the same for the same event.

use sha2::{Digest as _, Sha256};

/// A UUID of version 8 ([RFC 9562 section 5.8](https://www.rfc-editor.org/rfc/rfc9562#section-5.8)) made from the
/// SHA-256 of the parts, each with its length before it, so that no two lists of parts are hashed alike.
#[cfg(feature = "v2")]
pub(crate) fn uuid<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    written(digest(parts))
}

/// The same with the milliseconds since 1970 in its first 48 bits, as in version 7: events that follow each other have
/// identifiers that follow each other, which keeps the indexes of those who store them in order. 74 bits of the
/// digest are left.
#[cfg(feature = "eve")]
pub(crate) fn uuid_at<'a>(time: &crate::DateTime, parts: impl IntoIterator<Item = &'a str>) -> String {
    let (seconds, nanos) = time.to_unix();
    let millis = u128::try_from(seconds).unwrap_or(0) * 1000 + u128::from(nanos / 1_000_000);
    written(digest(parts) & (u128::MAX >> 48) | millis << 80)
}

fn digest<'a>(parts: impl IntoIterator<Item = &'a str>) -> u128 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut octets = [0; 16];
    octets.copy_from_slice(&digest[..16]);
    u128::from_be_bytes(octets)
}

/// With version and variant set.
fn written(mut bits: u128) -> String {
    bits = bits & !(0xf << 76) | (8 << 76);
    bits = bits & !(0b11 << 62) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(all(test, feature = "eve", feature = "v2"))]
mod tests {
    use super::*;

    #[test]
    fn identifiers_with_a_time_follow_it() {
        let at = |text: &str| uuid_at(&text.parse().unwrap(), ["a"]);
        let (early, late) = (at("2023-11-14T22:13:20.006Z"), at("2023-11-14T22:13:20.007Z"));
        assert!(early < late);
        assert_eq!(&early[..13], "018bcfe5-6806");
        assert_eq!(early[14..], late[14..]);
        assert_eq!(early.as_bytes()[14], b'8');
        assert!(at("1969-12-31T23:59:59Z").starts_with("00000000-0000-8"));
        assert_ne!(early, uuid_at(&"2023-11-14T22:13:20.006Z".parse().unwrap(), ["b"]));
    }

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
