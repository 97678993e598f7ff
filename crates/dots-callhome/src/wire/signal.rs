//! Messages about the connection itself, on streams only. RFC 8323 section 5.

use super::code::Code;
use super::message::{Message, MessageBuf, Token};
use super::option::OptionNumber;

/// Capabilities and settings: the first message each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "two settings are defined")]
pub struct Csm {
    /// The largest message its sender takes. 1152 when it does not say.
    pub max_message_size: u32,
    /// Whether its sender can take bodies in parts.
    pub block_wise: bool,
}

impl Default for Csm {
    fn default() -> Self {
        Self { max_message_size: 1152, block_wise: false }
    }
}

impl Csm {
    /// The message.
    pub fn to_message(self) -> MessageBuf {
        let mut message = MessageBuf::new(Code::CSM, Token::default());
        if self.max_message_size != Self::default().max_message_size {
            message.push_uint(OptionNumber(2), u64::from(self.max_message_size));
        }
        if self.block_wise {
            message.push_option(OptionNumber(4), &[]);
        }
        message
    }
}

/// What a signalling message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// 7.01.
    Csm(Csm),
    /// 7.02: answer by a pong with the same token.
    Ping,
    /// 7.03.
    Pong,
    /// 7.04: the peer wants us to go, and not to come back for so many seconds.
    Release {
        /// Seconds to stay away.
        hold_off: Option<u32>,
    },
    /// 7.05: the peer goes.
    Abort {
        /// The CSM option that it could not take.
        bad_csm_option: Option<u16>,
    },
}

/// Why a signalling message cannot be taken: the connection is aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSignal {
    /// A critical option that is not defined for this signal.
    #[error("{code} with critical option {number}")]
    CriticalOption {
        /// The signal.
        code: Code,
        /// The option.
        number: u16,
    },
    /// A code of class 7 that is not defined.
    #[error("unknown signal {0}")]
    Unknown(Code),
}

impl Signal {
    /// Reads a message of class 7.
    ///
    /// # Errors
    /// When it has a critical option that is not known, or its code is not defined.
    pub fn decode(message: &Message<'_>) -> Result<Self, InvalidSignal> {
        let code = message.code;
        let uint32 = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let mut signal = match code {
            Code::CSM => Self::Csm(Csm::default()),
            Code::PING => Self::Ping,
            Code::PONG => Self::Pong,
            Code::RELEASE => Self::Release { hold_off: None },
            Code::ABORT => Self::Abort { bad_csm_option: None },
            other => return Err(InvalidSignal::Unknown(other)),
        };
        for option in message.options {
            match (&mut signal, option.number.0, option.uint()) {
                (Self::Csm(csm), 2, Some(size)) => csm.max_message_size = uint32(size),
                (Self::Csm(csm), 4, _) => csm.block_wise = true,
                (Self::Release { hold_off }, 4, Some(seconds)) => *hold_off = Some(uint32(seconds)),
                (Self::Abort { bad_csm_option }, 2, Some(number)) => {
                    *bad_csm_option = Some(u16::try_from(number).unwrap_or(u16::MAX));
                }
                (_, number, _) if option.number.is_critical() => {
                    return Err(InvalidSignal::CriticalOption { code, number });
                }
                _ => {}
            }
        }
        Ok(signal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tcp;

    fn read(octets: &[u8]) -> Result<Signal, InvalidSignal> {
        let (message, used) = tcp::decode(octets, 1152).unwrap().unwrap();
        assert_eq!(used, octets.len());
        Signal::decode(&message)
    }

    #[test]
    fn signals_are_read() {
        assert_eq!(read(&[0x00, 0xe1]), Ok(Signal::Csm(Csm::default())));
        let csm = Csm { max_message_size: 8192, block_wise: true };
        assert_eq!(read(&[0x40, 0xe1, 0x22, 0x20, 0x00, 0x20]), Ok(Signal::Csm(csm)));
        assert_eq!(read(&[0x20, 0xe4, 0x41, 0x1e]), Ok(Signal::Release { hold_off: Some(30) }));
        assert_eq!(read(&[0x20, 0xe5, 0x21, 0x02]), Ok(Signal::Abort { bad_csm_option: Some(2) }));
        assert_eq!(read(&[0x02, 0xe2, 1, 2]), Ok(Signal::Ping));
        let mut out = Vec::new();
        csm.to_message().encode_tcp(&mut out);
        assert_eq!(out, [0x40, 0xe1, 0x22, 0x20, 0x00, 0x20]);
    }

    #[test]
    fn unknown_critical_options_are_refused_and_elective_ones_ignored() {
        assert_eq!(read(&[0x10, 0xe1, 0x10]), Err(InvalidSignal::CriticalOption { code: Code::CSM, number: 1 }));
        assert_eq!(read(&[0x10, 0xe1, 0x60]), Ok(Signal::Csm(Csm::default())));
        assert_eq!(read(&[0x00, 0xe9]), Err(InvalidSignal::Unknown(Code::new(7, 9))));
    }
}
