//! Binding a device to an account at a broker: service-connect. draft-hallambaker-wsconnect-08.

mod account;
mod binding;
mod broker;
mod client;
mod config;
mod exchange;
mod negotiate;
mod pin;
mod poll;

pub use account::{AccountName, InvalidAccount};
pub use binding::Binding;
pub use broker::{ConnectBroker, ConnectBrokerEvent, ConnectReply, ConnectRequestId, TransactionId};
pub use client::{ConnectClient, ConnectClientEvent};
pub use config::{
    ConnectBrokerConfig, ConnectBrokerConfigBuilder, ConnectClientConfig, ConnectClientConfigBuilder, Device,
};
pub use exchange::{ExchangeId, Request, Response};
pub use pin::{InvalidPin, MAX_CHALLENGE, MIN_CHALLENGE, Pin, ServerProof};
pub use poll::interval as poll_interval;

/// The path of the service on its host, for POST.
pub const PATH: &str = "/.well-known/sxs-connect/";
