//! IDMEF (RFC 4765).

mod error;
#[cfg(feature = "serde")]
pub mod json;
mod limits;
mod model;
mod types;
mod xml;

pub use error::{DecodeError, DecodeErrorKind, EncodeError, InvalidMessage, PeerIncompatible};
pub use limits::{Limit, Limits};
pub use model::*;
pub use types::{ByteString, DateTime, Ident, Integer, NtpStamp, ParseError, PortRange, Portlist, Real, Time, XmlText};
pub use xml::{Decoder, Encoder, NAMESPACE};
