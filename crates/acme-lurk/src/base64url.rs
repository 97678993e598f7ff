//! base64url as JOSE and ACME want it: no padding, no white space, no stray bits.
//! [RFC 7515 section 2](https://www.rfc-editor.org/rfc/rfc7515#section-2).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Octets as base64url.
pub fn encode(octets: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

/// Appends octets as base64url.
pub fn encode_to(octets: impl AsRef<[u8]>, text: &mut String) {
    URL_SAFE_NO_PAD.encode_string(octets, text);
}

/// The octets that a text stands for; none if it has padding, other characters, or bits left over.
pub fn decode(text: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The same, written to the beginning of a place that is long enough.
pub(crate) fn decode_to(text: impl AsRef<[u8]>, place: &mut [u8]) -> Option<&[u8]> {
    let length = URL_SAFE_NO_PAD.decode_slice(text, place).ok()?;
    place.get(..length)
}

/// Whether a text has one octet or more, all of them of the alphabet.
pub fn is_alphabet(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_exact_is_refused() {
        assert_eq!(decode("-_8"), Some(vec![0xfb, 0xff]));
        for bad in ["-_8=", "-_9", "+/8", " -_8", "-_8\n", "A", "AAAAA"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
        assert_eq!(encode([0xfb, 0xff]), "-_8");
        assert!(is_alphabet("a-_9") && !is_alphabet("") && !is_alphabet("a=") && !is_alphabet("a b"));
    }
}
