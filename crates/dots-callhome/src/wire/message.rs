//! What a message is on both transports: a code, a token, options and a payload.

use core::fmt;

use super::code::Code;
use super::option::{self, CONTENT_FORMAT_DOTS, OptionNumber, Options};

/// Matches answers to requests: zero to eight octets (RFC 7252 section 5.3.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Token {
    octets: [u8; 8],
    len: u8,
}

impl Token {
    /// The token with these octets; `None` when there are more than eight.
    pub fn new(octets: &[u8]) -> Option<Self> {
        let mut token = Self { octets: [0; 8], len: u8::try_from(octets.len()).ok()? };
        token.octets.get_mut(..octets.len())?.copy_from_slice(octets);
        Some(token)
    }

    /// Its octets.
    pub fn as_octets(&self) -> &[u8] {
        self.octets.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// How many there are.
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(")?;
        self.as_octets().iter().try_for_each(|octet| write!(f, "{octet:02x}"))?;
        f.write_str(")")
    }
}

/// A message that was read. It borrows from the octets; options and payload were checked for their form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message<'a> {
    /// Method, response code, signal, or none.
    pub code: Code,
    /// The token.
    pub token: Token,
    /// The options, in order.
    pub options: Options<'a>,
    /// The payload; empty when there is none.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The value of the first option with this number.
    pub fn option(&self, number: OptionNumber) -> Option<&'a [u8]> {
        self.options.take_while(|option| option.number <= number).find(|o| o.number == number).map(|o| o.value)
    }

    /// The number in the first option with this number, if it is one.
    pub fn option_uint(&self, number: OptionNumber) -> Option<u64> {
        self.option(number).and_then(option::read_uint)
    }

    /// Whether the payload says that it is `application/dots+cbor`.
    pub fn is_dots(&self) -> bool {
        self.option_uint(OptionNumber::CONTENT_FORMAT) == Some(u64::from(CONTENT_FORMAT_DOTS))
    }
}

/// A message to be sent, for either transport.
///
/// ```
/// use dots_callhome::wire::{Code, MessageBuf, OptionNumber, Token, udp};
///
/// let mut hb = MessageBuf::new(Code::PUT, Token::new(&[0x4a, 0x01]).unwrap());
/// for segment in [".well-known", "dots", "hb"] {
///     hb.push_option(OptionNumber::URI_PATH, segment.as_bytes());
/// }
/// hb.set_dots_payload(&[0xa1, 0x18, 0x31, 0xa1, 0x18, 0x33, 0xf5]);
/// let mut datagram = Vec::new();
/// hb.encode_udp(udp::Type::Non, 0x1239, &mut datagram);
/// assert_eq!(datagram.len(), 37);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageBuf {
    code: Code,
    token: Token,
    // Options, marker, payload: what stands behind the token on both transports.
    body: Vec<u8>,
    options: usize,
    last: u16,
}

impl MessageBuf {
    /// A message without options or payload.
    pub fn new(code: Code, token: Token) -> Self {
        Self { code, token, body: Vec::new(), options: 0, last: 0 }
    }

    /// A copy of a message that was read.
    pub fn copy_of(message: &Message<'_>) -> Self {
        let mut copy = Self::new(message.code, message.token);
        message.options.for_each(|option| copy.push_option(option.number, option.value));
        copy.set_payload(message.payload);
        copy
    }

    /// The code.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The token.
    pub const fn token(&self) -> Token {
        self.token
    }

    /// The same message under another token.
    #[must_use]
    pub fn with_token(mut self, token: Token) -> Self {
        self.token = token;
        self
    }

    /// Adds an option behind all others with the same number or a lower one. Values beyond 65535 octets are cut.
    pub fn push_option(&mut self, number: OptionNumber, value: &[u8]) {
        let payload = self.body.split_off(self.options);
        if number.0 >= self.last {
            option::put(&mut self.body, number.0.saturating_sub(self.last), value);
            self.last = number.0;
        } else {
            let old = core::mem::take(&mut self.body);
            let (mut at, mut new) = (0, Some((number, value)));
            for option in Options::checked(&old) {
                if let Some((number, value)) = new.take_if(|(number, _)| option.number > *number) {
                    option::put(&mut self.body, number.0.saturating_sub(at), value);
                    at = number.0;
                }
                option::put(&mut self.body, option.number.0.saturating_sub(at), option.value);
                at = option.number.0;
            }
        }
        self.options = self.body.len();
        self.body.extend_from_slice(&payload);
    }

    /// Adds an option whose value is a number, in the shortest form.
    pub fn push_uint(&mut self, number: OptionNumber, value: u64) {
        let octets = value.to_be_bytes();
        let skip = usize::try_from(value.leading_zeros() / 8).unwrap_or(8);
        self.push_option(number, octets.get(skip..).unwrap_or_default());
    }

    /// Replaces the payload. Without octets there is no payload.
    pub fn set_payload(&mut self, payload: &[u8]) {
        self.body.truncate(self.options);
        if !payload.is_empty() {
            self.body.push(0xff);
            self.body.extend_from_slice(payload);
        }
    }

    /// Replaces the payload by DOTS octets, and says so by a Content-Format option.
    pub fn set_dots_payload(&mut self, payload: &[u8]) {
        self.push_uint(OptionNumber::CONTENT_FORMAT, u64::from(CONTENT_FORMAT_DOTS));
        self.set_payload(payload);
    }

    /// The message as a reader would see it.
    pub fn as_message(&self) -> Message<'_> {
        let (options, payload) = self.body.split_at_checked(self.options).unwrap_or_default();
        let payload = payload.get(1..).unwrap_or_default();
        Message { code: self.code, token: self.token, options: Options::checked(options), payload }
    }

    /// Octets behind the token.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// How long it is as a datagram.
    pub fn udp_len(&self) -> usize {
        self.body.len().saturating_add(usize::from(self.token.len())).saturating_add(4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_at_most_eight_octets() {
        let token = Token::new(&[0x4a, 0x01]).unwrap();
        assert_eq!((token.as_octets(), token.len(), token.is_empty()), (&[0x4a, 0x01][..], 2, false));
        assert_eq!((Token::default().len(), Token::default().is_empty()), (0, true));
        assert_eq!(format!("{token:?}"), "Token(4a01)");
        assert!(Token::new(&[0; 8]).is_some());
        assert!([9, 255, 256, 264].iter().all(|&len| Token::new(&vec![0; len]).is_none()));
    }

    #[test]
    fn the_first_option_of_a_number_is_found_and_numbers_are_as_short_as_can_be() {
        let mut message = MessageBuf::new(Code::PUT, Token::default());
        for (number, value) in [(11, "a"), (11, "b"), (60, "z"), (6, "o")] {
            message.push_option(OptionNumber(number), value.as_bytes());
        }
        let read = message.as_message();
        assert_eq!(read.option(OptionNumber::URI_PATH), Some(&b"a"[..]));
        assert_eq!(read.option(OptionNumber::SIZE1), Some(&b"z"[..]));
        assert_eq!(read.option(OptionNumber::CONTENT_FORMAT), None);
        for (value, octets) in
            [(0u64, &[][..]), (1, &[1]), (255, &[255]), (256, &[1, 0]), (0x1_0000, &[1, 0, 0]), (u64::MAX, &[255; 8])]
        {
            let mut message = MessageBuf::new(Code::GET, Token::default());
            message.push_uint(OptionNumber::SIZE1, value);
            assert_eq!(message.as_message().option(OptionNumber::SIZE1), Some(octets));
            assert_eq!(message.as_message().option_uint(OptionNumber::SIZE1), Some(value));
        }
        assert_eq!(option::read_uint(&[0; 9]), None, "more than a number has room for");
    }

    #[test]
    fn a_payload_is_that_of_dots_when_its_format_says_so() {
        let mut message = MessageBuf::new(Code::PUT, Token::default());
        message.set_payload(&[0xa0]);
        assert!(!message.as_message().is_dots());
        let mut other = message.clone();
        other.push_uint(OptionNumber::CONTENT_FORMAT, 60);
        assert!(!other.as_message().is_dots());
        message.set_dots_payload(&[0xa1]);
        assert!(message.as_message().is_dots());
        assert_eq!(message.as_message().payload, [0xa1]);
        message.set_payload(&[]);
        assert_eq!((message.as_message().payload, message.udp_len()), (&[][..], 7), "no marker without a payload");
        let token = Token::new(&[1]).unwrap();
        assert_eq!(MessageBuf::copy_of(&message.clone().with_token(token).as_message()).token(), token);
    }
}
