//! CoAP octets: messages over UDP (RFC 7252 section 3) and over TCP (RFC 8323 section 3), without copying and without
//! recursion. Nothing is allocated by an announced length.

mod block;
mod code;
mod error;
mod message;
mod option;
mod signal;
pub mod tcp;
pub mod udp;

pub use block::Block;
pub use code::Code;
pub use error::{DecodeError, DecodeErrorKind};
pub use message::{Message, MessageBuf, Token};
pub use option::{CONTENT_FORMAT_DOTS, CoapOption, OptionNumber, Options, read_uint};
pub use signal::{Csm, InvalidSignal, Signal};
