//! Certificates for names that somebody else owns. [RFC 9115](https://www.rfc-editor.org/rfc/rfc9115)
//!
//! [`Ndc`] is the machine of the delegate: it finds its delegation at the name owner's server, orders, keeps the
//! certificate fresh, and says when it is late or was taken back.

mod ndc;

pub use ndc::{Installation, Ndc, NdcConfig, NdcEnd, NdcError, NdcEvent, Unfit, WrongCertificate};
