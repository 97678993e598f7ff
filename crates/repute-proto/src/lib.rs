#![doc = include_str!("../README.md")]
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::unreachable)]

pub mod client;
#[cfg(feature = "dnsbl")]
pub mod dnsbl;
mod error;
mod lifetime;
mod limits;
pub mod panel;
pub mod reputon;
pub mod server;
pub mod template;
pub mod vocabulary;
pub mod wire;

pub use client::{Client, ClientConfig, ClientConfigBuilder, ClientEvent, InvalidQuery, Query};
pub use error::Limit;
pub use lifetime::{Lifetime, LifetimePolicy, lifetime};
pub use limits::Limits;
pub use panel::{List, LocalLists, Panel, PanelEvent, Rater, Verdict, Weighing};
pub use reputon::{Extension, ExtensionValue, InvalidJson, OutOfRange, Reputation, Reputon, Score};
pub use server::{Dispatch, Lookup, Server, ServerConfig, ServerConfigBuilder};
pub use template::{
    Credentials, Lint, Policy, Refusal, Scheme, Service, ServiceError, Target, Template, TemplateError,
    TemplateErrorKind, TemplateFile, Value, Variables,
};
pub use vocabulary::{
    Application, Applications, Assertion, Identity, InvalidApplication, InvalidSubject, Subject, SubjectSyntax,
    UnknownIdentity,
};
pub use watchfire_core::ConfigError;
pub use wire::{
    DecodeError, DecodeErrorKind, Decoder, Dialect, Digits, EncodeError, Format, Strictness, UnknownDialect,
};
