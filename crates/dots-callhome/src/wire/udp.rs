//! A message as a datagram. RFC 7252 section 3.

use super::code::Code;
use super::error::{DecodeError, DecodeErrorKind};
use super::message::{Message, MessageBuf, Token};
use super::option;

/// What the message layer does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_enums, reason = "two bits")]
pub enum Type {
    /// Confirmable: repeated until acknowledged.
    Con,
    /// Non-confirmable.
    Non,
    /// Acknowledges a confirmable message; may carry the answer.
    Ack,
    /// Rejects a message.
    Rst,
}

/// A datagram that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Datagram<'a> {
    /// Its type.
    pub kind: Type,
    /// Tells duplicates, and which message an acknowledgement is for.
    pub message_id: u16,
    /// The message.
    pub message: Message<'a>,
}

/// Reads a datagram.
///
/// # Errors
/// When it is no CoAP message of version 1.
#[inline]
pub fn decode(octets: &[u8]) -> Result<Datagram<'_>, DecodeError> {
    let Some((&[first, code, high, low], rest)) = octets.split_first_chunk::<4>() else {
        return Err(DecodeErrorKind::Truncated.at(octets.len()));
    };
    if first >> 6 != 1 {
        return Err(DecodeErrorKind::Version.at(0));
    }
    let kind = match first >> 4 & 3 {
        0 => Type::Con,
        1 => Type::Non,
        2 => Type::Ack,
        _ => Type::Rst,
    };
    let (code, message_id) = (Code::from_code(code), u16::from_be_bytes([high, low]));
    let token_len = usize::from(first & 15);
    if token_len > 8 {
        return Err(DecodeErrorKind::TokenLength.at(0));
    }
    if code == Code::EMPTY && (octets.len() != 4 || token_len != 0) {
        return Err(DecodeErrorKind::NotEmpty.at(4));
    }
    let Some((token, rest)) = rest.split_at_checked(token_len) else {
        return Err(DecodeErrorKind::Truncated.at(octets.len()));
    };
    let token = Token::new(token).ok_or(DecodeErrorKind::TokenLength.at(0))?;
    let (options, payload) = option::split(rest, token_len.saturating_add(4))?;
    Ok(Datagram { kind, message_id, message: Message { code, token, options, payload } })
}

/// The empty message of this type: an acknowledgement, a reset, or a ping.
pub const fn empty(kind: Type, message_id: u16) -> [u8; 4] {
    let [high, low] = message_id.to_be_bytes();
    [head(kind, 0), 0, high, low]
}

const fn head(kind: Type, token_len: u8) -> u8 {
    0x40 | (kind as u8) << 4 | token_len
}

impl MessageBuf {
    /// Writes it as a datagram behind what is in `out`.
    pub fn encode_udp(&self, kind: Type, message_id: u16, out: &mut Vec<u8>) {
        let [high, low] = message_id.to_be_bytes();
        out.reserve(self.udp_len());
        out.extend_from_slice(&[head(kind, self.token().len()), self.code().code(), high, low]);
        out.extend_from_slice(self.token().as_octets());
        out.extend_from_slice(self.body());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(octets: &[u8]) -> DecodeErrorKind {
        decode(octets).unwrap_err().kind
    }

    #[test]
    fn what_is_no_message_is_refused_with_its_reason() {
        assert_eq!(kind_of(&[]), DecodeErrorKind::Truncated);
        assert_eq!(kind_of(&[0x40, 1, 0]), DecodeErrorKind::Truncated);
        assert_eq!(kind_of(&[0x80, 1, 0, 0]), DecodeErrorKind::Version);
        assert_eq!(kind_of(&[0x49, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), DecodeErrorKind::TokenLength);
        assert_eq!(kind_of(&[0x42, 1, 0, 0, 1]), DecodeErrorKind::Truncated);
        assert_eq!(kind_of(&[0x40, 0, 0, 0, 1]), DecodeErrorKind::NotEmpty);
        assert_eq!(kind_of(&[0x40, 1, 0, 0, 0xff]), DecodeErrorKind::EmptyPayload);
        assert_eq!(kind_of(&[0x40, 1, 0, 0, 0xf0]), DecodeErrorKind::ReservedNibble);
        assert_eq!(kind_of(&[0x40, 1, 0, 0, 0x0f]), DecodeErrorKind::ReservedNibble);
        assert_eq!(kind_of(&[0x40, 1, 0, 0, 0xb5, b'a']), DecodeErrorKind::Truncated);
        assert_eq!(kind_of(&[0x40, 1, 0, 0, 0xe0, 0xff, 0xff]), DecodeErrorKind::OptionNumber);
        let mut many = vec![0x40, 1, 0, 0];
        many.extend([0x10; 65]);
        assert_eq!(kind_of(&many), DecodeErrorKind::Limit(crate::Limit::Options));
    }

    #[test]
    fn options_of_every_size_survive() {
        for number in [1, 12, 13, 268, 269, 270, 65535] {
            for len in [0, 12, 13, 268, 269, 300] {
                let mut message = MessageBuf::new(Code::GET, Token::default());
                message.push_option(option::OptionNumber(number), &vec![7; len]);
                message.set_payload(b"x");
                let mut out = Vec::new();
                message.encode_udp(Type::Con, 1, &mut out);
                let read = decode(&out).unwrap();
                assert_eq!(read.message, message.as_message(), "{number} {len}");
                assert_eq!(read.message.option(option::OptionNumber(number)).unwrap().len(), len);
            }
        }
    }

    #[test]
    fn every_type_and_length_of_token_is_read_as_it_was_written() {
        for (kind, first) in [(Type::Con, 0x40), (Type::Non, 0x50), (Type::Ack, 0x60), (Type::Rst, 0x70)] {
            assert_eq!(empty(kind, 0x1234), [first, 0, 0x12, 0x34]);
            let octets = empty(kind, 0x1234);
            let read = decode(&octets).unwrap();
            assert_eq!((read.kind, read.message_id, read.message.code), (kind, 0x1234, Code::EMPTY));
            for len in 0..=8u8 {
                let token = Token::new(&[9, 8, 7, 6, 5, 4, 3, 2][..usize::from(len)]).unwrap();
                let (mut out, message) = (Vec::new(), MessageBuf::new(Code::GET, token));
                message.encode_udp(kind, 7, &mut out);
                assert_eq!((out[0], out.len()), (first | len, message.udp_len()));
                let read = decode(&out).unwrap();
                assert_eq!((read.kind, read.message_id, read.message), (kind, 7, message.as_message()));
            }
        }
        // The empty message has neither token nor anything else, however little of it is there.
        for octets in [&[0x41, 0, 0, 0][..], &[0x41, 0, 0, 0, 1], &[0x40, 0, 0, 0, 0xff, 1]] {
            assert_eq!(kind_of(octets), DecodeErrorKind::NotEmpty);
        }
        assert_eq!(kind_of(&[0x00, 1, 0, 0]), DecodeErrorKind::Version);
        assert_eq!(kind_of(&[0xc0, 1, 0, 0]), DecodeErrorKind::Version);
    }

    #[test]
    fn sixty_four_options_are_taken() {
        let mut most = vec![0x40, 1, 0, 0];
        most.extend([0x10; 64]);
        let read = decode(&most).unwrap();
        assert_eq!(read.message.options.count(), 64);
        assert_eq!(read.message.options.as_octets(), &most[4..]);
    }

    #[test]
    fn options_pushed_in_any_order_stand_in_order() {
        let mut message = MessageBuf::new(Code::GET, Token::default());
        for (number, value) in [(14, "m"), (11, "a"), (15, "q"), (11, "b"), (6, ""), (60, "s"), (12, "f")] {
            message.push_option(option::OptionNumber(number), value.as_bytes());
        }
        let numbers: Vec<_> = message.as_message().options.map(|o| (o.number.0, o.value.to_vec())).collect();
        let expected: Vec<(u16, Vec<u8>)> = [(6, ""), (11, "a"), (11, "b"), (12, "f"), (14, "m"), (15, "q"), (60, "s")]
            .map(|(n, v)| (n, v.as_bytes().to_vec()))
            .to_vec();
        assert_eq!(numbers, expected);
    }
}
