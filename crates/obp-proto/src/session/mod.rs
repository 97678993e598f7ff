//! The `Session` header, which authenticates messages over HTTP (draft-hallambaker-httpsession-02; used by
//! draft-hallambaker-wsconnect-08 section 6.1).
//!
//! Two readings of what the MAC covers exist, and both are here as a [`Profile`]:
//!
//! - *seed*: the content of the message alone, as all examples compute it. Nothing keeps such a message from being
//!   played back, so a broker takes it only where the transport does;
//! - *strict*: the header itself too, which then carries what makes the message fresh: a nonce and a time, or a count.
//!
//! A header is strict when it has one of these attributes. None can be taken away or added without the key.

mod clock;
mod exchange;
mod header;
mod replay;
mod sign;
#[cfg(all(test, feature = "rust-crypto"))]
mod tests;

pub use clock::Clock;
pub use exchange::{Expected, ResponseError, Signer};
pub use header::{HeaderError, SessionHeader};
pub use replay::{ReplayError, ReplayGuard, ReplayLimits};
pub use sign::{Profile, Required, SessionKey};

/// The name of the header, in the lower case that HTTP/2 wants.
pub const HEADER_NAME: &str = "session";
