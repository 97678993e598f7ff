#![doc = include_str!("../README.md")]

mod basic;
mod body;
mod clock;
#[cfg(feature = "client")]
mod connector;
#[cfg(feature = "server")]
mod events;
#[cfg(feature = "server")]
mod limits;
#[cfg(feature = "server")]
mod lines;
mod network;
#[cfg(feature = "client")]
mod response;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod stream;

pub use basic::{BasicCredentials, InvalidCredentials};
pub use body::{BodyError, read_body};
pub use clock::{Clock, seed};
#[cfg(feature = "client")]
pub use connector::{Connector, NotAllowed, Wire};
#[cfg(feature = "server")]
pub use events::{ConnectionCounters, ConnectionEvent};
#[cfg(feature = "server")]
pub use limits::ConnectionLimits;
pub use network::network;
#[cfg(feature = "client")]
pub use response::{causes, is_coded};
#[cfg(feature = "server")]
pub use server::{Peer, Security, Server, Site};
