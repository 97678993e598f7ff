//! What an OmniBroker knows.

#[cfg(feature = "broker")]
mod cache;
#[cfg(feature = "broker")]
mod clock;
#[cfg(feature = "broker")]
pub mod connect;
#[cfg(feature = "broker")]
mod der;
#[cfg(feature = "broker")]
mod flight;
#[cfg(feature = "broker")]
mod name;
#[cfg(feature = "broker")]
pub mod policy;
#[cfg(feature = "verify")]
pub mod proof;
#[cfg(feature = "broker")]
pub mod sources;
#[cfg(feature = "broker")]
mod status;
#[cfg(feature = "broker")]
pub mod validate;

#[cfg(feature = "broker")]
pub use clock::{Clock, ManualClock, SystemClock};
#[cfg(feature = "broker")]
pub use name::{DomainName, NameError};
#[cfg(feature = "broker")]
pub use status::Status;
