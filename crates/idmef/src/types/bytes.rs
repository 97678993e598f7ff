//! BYTE and BYTE[]. [RFC 4765 section 3.2.4](https://www.rfc-editor.org/rfc/rfc4765#section-3.2.4)

use super::{Value, text_type};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use std::borrow::Cow;

/// Padded base64 out; padding, or its absence, in.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Octets, which XML and JSON carry in base64.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[expect(clippy::exhaustive_structs, reason = "octets and nothing else")]
pub struct ByteString(pub Vec<u8>);

impl From<Vec<u8>> for ByteString {
    fn from(octets: Vec<u8>) -> Self {
        Self(octets)
    }
}

impl From<&[u8]> for ByteString {
    fn from(octets: &[u8]) -> Self {
        Self(octets.to_vec())
    }
}

impl AsRef<[u8]> for ByteString {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Value for ByteString {
    const TYPE: &'static str = "BYTE[]";

    fn parse(text: Cow<'_, str>, _strict: bool) -> Option<Self> {
        if !text.bytes().any(|b| b.is_ascii_whitespace()) {
            return BASE64.decode(&*text).ok().map(Self);
        }
        // Writers that wrap lines are many.
        let joined: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        BASE64.decode(joined).ok().map(Self)
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Owned(BASE64.encode(&self.0))
    }
}

impl Value for u8 {
    const TYPE: &'static str = "BYTE";

    fn parse(text: Cow<'_, str>, strict: bool) -> Option<Self> {
        match *ByteString::parse(text, strict)?.0 {
            [byte] => Some(byte),
            _ => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Owned(BASE64.encode([*self]))
    }
}

text_type!(ByteString, "BYTE[]");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_may_be_wrapped_and_unpadded() {
        assert_eq!("aGVs\n  bG8=".parse(), Ok(ByteString(b"hello".to_vec())));
        assert_eq!("aGVsbG8".parse(), Ok(ByteString(b"hello".to_vec())));
        assert_eq!(ByteString(b"hello".to_vec()).text(), "aGVsbG8=");
        assert!("a".parse::<ByteString>().is_err());
        assert!("a*==".parse::<ByteString>().is_err());
    }

    #[test]
    fn a_byte_is_exactly_one() {
        assert_eq!(u8::parse("QQ==".into(), true), Some(b'A'));
        assert_eq!(u8::parse("QUE=".into(), true), None);
        assert_eq!(u8::parse("".into(), true), None);
    }
}
