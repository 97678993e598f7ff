//! The Intrusion Alert Protocol's services, on top of the library crates.
//!
//! The way of one alert, from Suricata to the store and back:
//!
//! 1. [`intake`] takes the line from the [tail reader](crate::tail), makes IDMEF of it, and puts it into the spool,
//!    together with how far the file has been read.
//! 2. `iap_tokio::sensor::deliver` takes it from the spool and gives it to the machine, which frames it;
//!    `iap_tokio::wire` writes it.
//! 3. `iap_tokio::manager::receive` reads it, checks it, and hands it over.
//! 4. [`keep`] stores it, in one transaction with what came at the same time, and writes it to the outputs.
//! 5. The answer goes back the same way, and the spool lets go of the alert.

pub mod intake;
pub mod keep;
pub mod manager;
pub mod proxy;
pub mod sensor;
mod tls;

use crate::cli::Compat;
use crate::exit::Failure;

impl From<Compat> for iap_proto::Compat {
    fn from(compat: Compat) -> Self {
        match compat {
            Compat::Strict => Self::strict(),
            Compat::Default => Self::tolerant(),
            Compat::Liberal => Self::liberal(),
        }
    }
}

/// A host name or address as the protocol writes it: IPv6 in brackets.
///
/// # Errors
/// When it is neither.
pub(crate) fn host(name: &str) -> Result<iap_proto::Host, Failure> {
    let text = if name.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{name}]") } else { name.to_owned() };
    text.parse().map_err(|error| Failure::usage(format!("`{name}` is {error}")))
}
