//! `watchfire lurk`

mod ca;
mod cancel;
mod ndc;

use clap::Subcommand;

pub use ca::CaArgs;
pub use cancel::CancelArgs;
pub use ndc::{KeyType, NdcArgs, SubjectRule};

/// The commands of ACME and its delegation.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum LurkCommand {
    /// A laboratory CA: ACME with certificates that renew themselves (STAR)
    Ca(Box<CaArgs>),
    /// Obtain certificates for names of somebody else, keep them fresh and install them
    Ndc(Box<NdcArgs>),
    /// Stop an order that renews itself
    Cancel(CancelArgs),
}
