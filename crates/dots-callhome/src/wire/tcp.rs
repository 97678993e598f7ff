//! A message on a stream. RFC 8323 section 3.

use super::code::Code;
use super::error::{DecodeError, DecodeErrorKind};
use super::message::{Message, MessageBuf, Token};
use super::option;

/// Reads the message that begins the stream; gives it and how long it is, or `None` when more octets are needed.
///
/// `max` is the largest whole message taken; a longer one is refused as soon as its length is known.
///
/// # Errors
/// When what begins there is no message, or is longer than `max`.
pub fn decode(octets: &[u8], max: usize) -> Result<Option<(Message<'_>, usize)>, DecodeError> {
    let Some((&first, rest)) = octets.split_first() else { return Ok(None) };
    let token_len = usize::from(first & 15);
    if token_len > 8 {
        return Err(DecodeErrorKind::TokenLength.at(0));
    }
    let (extended, base) = match first >> 4 {
        13 => (1, 13u64),
        14 => (2, 269),
        15 => (4, 65805),
        small => (0, u64::from(small)),
    };
    let Some((extension, rest)) = rest.split_at_checked(extended) else { return Ok(None) };
    let len = option::read_uint(extension).unwrap_or_default().saturating_add(base);
    let len = usize::try_from(len).map_err(|_| DecodeErrorKind::Limit(crate::Limit::Message).at(1))?;
    let head = extended.saturating_add(2).saturating_add(token_len);
    let whole = head.saturating_add(len);
    if whole > max {
        return Err(DecodeErrorKind::Limit(crate::Limit::Message).at(1));
    }
    let Some((&code, rest)) = rest.split_first() else { return Ok(None) };
    let Some((token, rest)) = rest.split_at_checked(token_len) else { return Ok(None) };
    let Some((body, _)) = rest.split_at_checked(len) else { return Ok(None) };
    let token = Token::new(token).ok_or(DecodeErrorKind::TokenLength.at(0))?;
    let (options, payload) = option::split(body, head)?;
    Ok(Some((Message { code: Code::from_code(code), token, options, payload }, whole)))
}

impl MessageBuf {
    /// Writes it as it stands on a stream behind what is in `out`.
    pub fn encode_tcp(&self, out: &mut Vec<u8>) {
        let len = self.body().len();
        let token_len = self.token().len();
        out.reserve(self.tcp_len());
        match len {
            0..=12 => out.push((len as u8) << 4 | token_len),
            13..=268 => out.extend_from_slice(&[13 << 4 | token_len, len.saturating_sub(13) as u8]),
            269..=65804 => {
                out.push(14 << 4 | token_len);
                out.extend_from_slice(&(len.saturating_sub(269) as u16).to_be_bytes());
            }
            _ => {
                out.push(15 << 4 | token_len);
                out.extend_from_slice(&(len.saturating_sub(65805) as u32).to_be_bytes());
            }
        }
        out.push(self.code().code());
        out.extend_from_slice(self.token().as_octets());
        out.extend_from_slice(self.body());
    }

    /// How long it is on a stream.
    pub fn tcp_len(&self) -> usize {
        let extended = match self.body().len() {
            0..=12 => 0,
            13..=268 => 1,
            269..=65804 => 2,
            _ => 4,
        };
        self.body().len().saturating_add(usize::from(self.token().len())).saturating_add(2).saturating_add(extended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_form_is_read_and_written() {
        for len in [0usize, 1, 11, 12, 13, 267, 268, 269, 270, 65804, 65805, 70000] {
            let mut message = MessageBuf::new(Code::CONTENT, Token::new(&[1, 2, 3]).unwrap());
            message.set_payload(&vec![9; len]);
            let mut out = Vec::new();
            message.encode_tcp(&mut out);
            assert_eq!(out.len(), message.tcp_len());
            let (read, used) = decode(&out, 100_000).unwrap().unwrap();
            assert_eq!((read, used), (message.as_message(), out.len()));
            assert_eq!(decode(&out, out.len()).unwrap().unwrap().1, out.len(), "as long as is permitted");
            assert_eq!(decode(&out[..out.len() - 1], 100_000).unwrap(), None);
            assert_eq!(decode(&out, out.len() - 1).unwrap_err().kind, DecodeErrorKind::Limit(crate::Limit::Message));
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_it_arrives() {
        assert_eq!(
            decode(&[0xf0, 0xff, 0xff, 0xff, 0xff], 8192).unwrap_err().kind,
            DecodeErrorKind::Limit(crate::Limit::Message)
        );
        assert_eq!(decode(&[0xf0, 0xff, 0xff, 0xff], 8192).unwrap(), None);
        assert_eq!(decode(&[0x09, 0x01], 8192).unwrap_err().kind, DecodeErrorKind::TokenLength);
    }

    #[test]
    fn tokens_of_every_length_stand_behind_the_code() {
        for len in 0..=8u8 {
            let token = Token::new(&[9, 8, 7, 6, 5, 4, 3, 2][..usize::from(len)]).unwrap();
            for payload in [0usize, 20, 300, 66_000] {
                let mut message = MessageBuf::new(Code::GET, token);
                message.set_payload(&vec![1; payload]);
                let mut out = Vec::new();
                message.encode_tcp(&mut out);
                assert_eq!((out[0] & 15, out.len()), (len, message.tcp_len()));
                assert_eq!(decode(&out, 100_000).unwrap(), Some((message.as_message(), out.len())));
            }
        }
    }
}
