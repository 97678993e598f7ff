//! What an OmniBroker knows.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "broker")]
mod cache;
#[cfg(feature = "broker")]
mod clock;
#[cfg(feature = "broker")]
mod flight;
#[cfg(feature = "broker")]
mod name;
#[cfg(feature = "broker")]
pub mod policy;
#[cfg(feature = "broker")]
pub mod sources;

#[cfg(feature = "broker")]
pub use clock::{Clock, ManualClock, SystemClock};
#[cfg(feature = "broker")]
pub use name::{DomainName, NameError};
