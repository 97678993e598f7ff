#![doc = include_str!("../README.md")]

mod admission;
mod clock;
mod ending;
pub mod manager;
pub mod proxy;
pub mod sensor;
mod setup;
pub mod spool;
pub mod tls;
mod urgent;
mod wire;

pub use iap_proto;
#[cfg(feature = "idmef")]
pub use idmef;
pub use ipnet::IpNet;
pub use manager::Manager;
pub use proxy::Proxy;
pub use sensor::Sensor;
pub use setup::{Endpoint, SetupError};

/// A seed nobody can guess, for back-off.
fn random_seed() -> [u8; 32] {
    let mut seed = [0; 32];
    // Without the system's randomness the waits are only less spread.
    let _ = getrandom::fill(&mut seed);
    seed
}
