//! The OmniBroker Protocol (draft-hallambaker-omnibroker-08) without IO.

pub mod broker;
pub mod client;
pub mod crypto;
pub mod message;
pub mod service_connect;
pub mod session;
pub mod ticket;
pub mod uyfm;
