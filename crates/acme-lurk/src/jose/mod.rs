//! Requests are signed: flattened JWS with the header fields of ACME, and nothing that could be read in two ways.
//! [RFC 8555 section 6.2](https://www.rfc-editor.org/rfc/rfc8555#section-6.2),
//! [RFC 7515](https://www.rfc-editor.org/rfc/rfc7515),
//! [RFC 7638](https://www.rfc-editor.org/rfc/rfc7638).

mod algorithm;
mod eab;
mod fields;
mod header;
mod jwk;
mod jws;
mod plain;

pub use algorithm::{Algorithm, MacAlgorithm};
pub use eab::{MacKey, sign_external_account, verify_external_account};
pub use header::{Header, KeyRef, Purpose};
pub use jws::{Jws, JwsError, sign};
