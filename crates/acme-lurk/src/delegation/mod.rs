//! Certificates for names that somebody else owns. [RFC 9115](https://www.rfc-editor.org/rfc/rfc9115)
//!
//! [`Ndc`] is the machine of the delegate: it finds its delegation at the name owner's server, orders, keeps the
//! certificate fresh, and says when it is late or was taken back. [`Ido`] is that of the name owner: it serves its
//! delegates, and is a client of the CA. With delegations that are passed on it is a proxy between a delegate and another
//! name owner. Where the CA does not speak STAR it can stand in for it ([`Emulation`], which is ours and no RFC's).
//!
//! A driver of a delegate, without its HTTP:
//!
//! ```
//! use acme_lurk::Now;
//! use acme_lurk::delegation::{Ndc, NdcEvent};
//! use watchfire_core::{Instant, Output};
//!
//! /// After each call into the delegate. Gives when to call `handle_timeout`.
//! fn drive(ndc: &mut Ndc, now: Now, disk: &mut Vec<u8>, exchanges: &mut Vec<acme_lurk::acme::client::Exchange>) -> Option<Instant> {
//!     loop {
//!         // First what must not be lost ...
//!         if let Some(snapshot) = ndc.take_snapshot() {
//!             *disk = snapshot;
//!         }
//!         // ... then what others may see.
//!         match ndc.poll_output(now) {
//!             // Make it, and call `handle_response` or `handle_failure`.
//!             Output::Event(NdcEvent::Exchange(exchange)) => exchanges.push(exchange),
//!             Output::Event(NdcEvent::Install(certificate)) => {
//!                 println!("{}", String::from_utf8_lossy(&certificate.to_pem()));
//!                 ndc.installed(now);
//!             }
//!             Output::Event(NdcEvent::Ended(why)) => println!("{why}"),
//!             Output::Event(other) => println!("{other:?}"),
//!             Output::Timeout(at) => return at,
//!             Output::Transmit(never) => match never {},
//!         }
//!     }
//! }
//! ```

mod ido;
mod ndc;

pub use ido::{
    Audit, DelegationRule, Emulation, Ido, IdoConfig, IdoConfigBuilder, IdoEvent, IdoLimits, OrderSummary, Serving,
};
pub use ndc::{Installation, Ndc, NdcConfig, NdcConfigBuilder, NdcEnd, NdcError, NdcEvent, Unfit, WrongCertificate};
