//! The server: from a request to a look-up, and from what was found to a response.
//! [RFC 7072 section 3](https://www.rfc-editor.org/rfc/rfc7072#section-3)
//!
//! It keeps nothing between calls, so any number of threads can share one.

mod config;
mod dispatch;
mod limiter;
mod query_string;
mod respond;

pub use config::{ServerConfig, ServerConfigBuilder};
pub use dispatch::{Batch, Dispatch, Lookup, Server};
pub use limiter::{RateLimit, RateLimiter};
