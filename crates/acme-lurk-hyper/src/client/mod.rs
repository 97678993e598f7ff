//! A client: the machine of [`acme_lurk::acme::client`] with connections, time, and somebody who meets challenges.

mod driver;
mod pool;

pub use driver::{Client, ClientBuilder};
pub use pool::{Pool, PoolCounters, PoolLimits};
