//! Octets as text: RFC 4648 section 5 without padding, as JSON carries what JSON-B carries as data.

use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The text is not base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not base64url")]
#[non_exhaustive]
pub struct NotBase64Url;

/// Writes octets as base64url without padding.
///
/// ```
/// assert_eq!(jsonbcd::base64url::encode(&[0xfb, 0xff]), "-_8");
/// ```
pub fn encode(octets: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

/// Reads base64url. White space anywhere and padding at the end are passed over; `lenient` also takes `+` and `/`.
///
/// ```
/// use jsonbcd::base64url::decode;
///
/// assert_eq!(decode("-_\n8=", false).unwrap(), [0xfb, 0xff]);
/// assert!(decode("+/8", false).is_err());
/// assert_eq!(decode("+/8", true).unwrap(), [0xfb, 0xff]);
/// ```
///
/// # Errors
///
/// When there is anything else in it, when a single character is left over, or when bits are that belong to no octet.
pub fn decode(text: &str, lenient: bool) -> Result<Vec<u8>, NotBase64Url> {
    let plain = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
    if text.bytes().all(|octet| plain(&octet)) {
        return URL_SAFE_NO_PAD.decode(text).map_err(|_| NotBase64Url);
    }
    let mut filtered = Vec::with_capacity(text.len());
    let mut padding = 0u8;
    for octet in text.bytes() {
        match octet {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'=' if padding < 2 => padding += 1,
            _ if padding > 0 => return Err(NotBase64Url),
            b'+' if lenient => filtered.push(b'-'),
            b'/' if lenient => filtered.push(b'_'),
            _ => filtered.push(octet),
        }
    }
    URL_SAFE_NO_PAD.decode(filtered).map_err(|_| NotBase64Url)
}
