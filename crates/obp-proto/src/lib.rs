#![doc = include_str!("../README.md")]

pub mod broker;
pub mod client;
pub mod codec;
pub mod crypto;
pub mod error;
pub mod http;
pub mod limits;
pub mod message;
pub mod order;
pub mod service_connect;
pub mod session;
pub mod status;
pub mod ticket;
pub mod uyfm;

pub use codec::{DecodeOptions, Encoding};
pub use error::{DecodeError, DecodeErrorKind, EncodeError, Error};
pub use limits::Limits;
pub use message::Message;
pub use status::{HttpMapping, Status};
pub use watchfire_core::ConfigError;
