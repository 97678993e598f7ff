#![doc = include_str!("../README.md")]
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::unreachable)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic))]

pub mod body;
mod cuid;
mod liveness;
mod params;
mod path;
mod policy;
mod request;
pub mod wire;

pub use cuid::cuid;
pub use liveness::{Liveness, Side};
pub use params::{Ranges, SessionConfig, SessionParams};
pub use path::{InvalidPath, MitigatePath, Resource, resource};
pub use policy::{AnySource, ClientPolicy, Judgement, Refusal, ServerPolicy, nat64, split_request};
pub use request::{InvalidRequest, MitigationRequest, Profile};
