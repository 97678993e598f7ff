//! A CA: the machine of [`acme_lurk::acme::server`], somebody who looks at challenges, and somebody who makes certificates.

mod authority;
mod notice;
mod site;

pub use authority::{Authority, AuthorityError};
pub use notice::{CaCounters, CaNotice};
pub use site::{CaBuilder, CaSite};

use acme_lurk::acme::Problem;
use acme_lurk::acme::server::Issuance;

use crate::Going;

/// Makes certificates.
pub trait Issuer: Send + Sync + 'static {
    /// Makes one, DER: with the key of the request, the names and the validity that are asked for, and a serial number
    /// that was never used.
    fn issue<'a>(&'a self, issuance: &'a Issuance) -> Going<'a, Result<Vec<u8>, Problem>>;
}
