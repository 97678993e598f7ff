//! Certificates for names that somebody else owns. [RFC 9115](https://www.rfc-editor.org/rfc/rfc9115)
//!
//! [`Ndc`] is the machine of the delegate: it finds its delegation at the name owner's server, orders, keeps the
//! certificate fresh, and says when it is late or was taken back. [`Ido`] is that of the name owner: it serves its
//! delegates, and is a client of the CA. With delegations that are passed on it is a proxy between a delegate and another
//! name owner. Where the CA does not speak STAR it can stand in for it ([`Emulation`], which is ours and no RFC's).

mod ido;
mod ndc;

pub use ido::{
    Audit, DelegationRule, Emulation, Ido, IdoConfig, IdoEvent, IdoLimits, IdoMisuse, OrderSummary, Serving,
};
pub use ndc::{Installation, Ndc, NdcConfig, NdcEnd, NdcError, NdcEvent, Unfit, WrongCertificate};
