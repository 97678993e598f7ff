#![doc = include_str!("../README.md")]
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::unreachable)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic))]

pub mod body;
mod client;
mod cuid;
mod dialer;
mod endpoint;
mod error;
mod limits;
mod liveness;
mod params;
mod path;
mod policy;
mod request;
mod server;
mod session;
mod table;
pub mod wire;

pub use client::{Client, ClientConfig, ClientConfigBuilder, ClientEvent, Refused, Unreadable};
pub use cuid::cuid;
pub use dialer::{AttemptId, Dialer, DialerConfig, DialerConfigBuilder, DialerEvent, NotFollowed};
pub use endpoint::{Stats, Transport};
pub use error::{ApiMisuse, Error, Limit, PeerMisbehaved};
pub use limits::Limits;
pub use liveness::{Liveness, Side};
pub use params::{Ranges, SessionConfig, SessionParams};
pub use path::{InvalidPath, MitigatePath, Resource, resource};
pub use policy::{AnySource, ClientPolicy, Judgement, Refusal, ServerPolicy, nat64, split_request};
pub use request::{InvalidRequest, MitigationRequest, Profile};
pub use server::{Server, ServerConfig, ServerConfigBuilder, ServerEvent, SessionId};
pub use table::{Change, Counters, Mitigation, MitigationId, OtherClients, Put, Rules, Table};
pub use watchfire_core::ConfigError;
