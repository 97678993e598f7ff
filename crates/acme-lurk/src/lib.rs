#![doc = include_str!("../README.md")]

pub mod acme;
pub mod base64url;
pub mod cdni;
pub mod certificate;
pub mod compat;
pub mod crypto;
pub mod csr;
pub mod delegation;
mod der;
pub mod error;
pub mod jose;
mod json;
pub mod limits;
pub mod names;
mod now;
mod record;
pub mod rendezvous;
pub mod star;
pub mod template;
pub mod time;
pub mod url;

pub use error::{ApiMisuse, DecodeError, DecodeErrorKind, Limit};
pub use limits::Limits;
pub use now::Now;
pub use record::Record;
pub use watchfire_core::ConfigError;
