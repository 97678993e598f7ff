//! IDMEF (RFC 4765).

mod error;
#[cfg(feature = "eve")]
pub mod eve;
#[cfg(feature = "serde")]
pub mod json;
mod limits;
mod model;
mod types;
#[cfg(any(feature = "eve", feature = "v2"))]
mod uuid;
#[cfg(feature = "v2")]
pub mod v2;
mod xml;

pub use error::{DecodeError, DecodeErrorKind, EncodeError, InvalidMessage, PeerIncompatible};
pub use limits::{Limit, Limits};
pub use model::*;
pub use types::{ByteString, DateTime, Ident, Integer, NtpStamp, ParseError, PortRange, Portlist, Real, Time, XmlText};
pub use xml::{Decoder, Encoder, NAMESPACE};
