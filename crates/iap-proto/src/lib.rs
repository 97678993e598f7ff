#![doc = include_str!("../README.md")]
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::unreachable)]

mod channel;
mod compat;
mod config;
mod error;
mod initiator;
pub mod message;
mod proxy;
mod receiver;
mod responder;
mod sender;
pub mod wire;

pub use channel::{Channel, CloseReason, Step};
pub use compat::Compat;
pub use config::{Config, ConfigBuilder, Limits, Padding, Timeouts};
pub use error::{ApiMisuse, Error, Limit, PeerIncompatible, PeerMisbehaved};
pub use initiator::{Initiator, InitiatorEvent};
pub use message::{
    DataRole, Dialect, Host, InvalidHost, InvalidMediaType, MediaType, Party, Side, Status, TlsRole, Verdict,
};
pub use proxy::{Proxy, ProxyEvent, ProxyTransmit};
pub use receiver::{Receiver, ReceiverEvent};
pub use responder::{Responder, ResponderEvent};
pub use sender::{MessageId, Sender, SenderEvent};
pub use watchfire_core::ConfigError;
