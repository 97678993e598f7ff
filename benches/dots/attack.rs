//! The request that the benchmarks of DOTS send: that of RFC 9066 figure 10.

use dots_callhome::wire::{Code, MessageBuf, OptionNumber, Token};

/// RFC 9066 figure 10: one target, one source, an hour. 56 octets.
pub(super) const CALL_HOME: &str = "a101a10281a3068173323030313a6462383a633030303a3a2f3132380e190e101980008173323030313a\
                                    6462383a3132333a3a312f313238";
/// Octets from their digits.
pub(super) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

/// A PUT with this body.
pub(super) fn request(body: &[u8]) -> MessageBuf {
    let mut put = MessageBuf::new(Code::PUT, Token::default());
    for segment in [".well-known", "dots", "mitigate", "cuid=dz6pHjaADkaFTbjr0JGBpw", "mid=123"] {
        put.push_option(OptionNumber::URI_PATH, segment.as_bytes());
    }
    put.set_dots_payload(body);
    put
}
