//! `watchfire lurk`

mod ca;
mod cancel;
mod ido;
mod ndc;
mod relay;
mod template;

use clap::Subcommand;

pub use ca::CaArgs;
pub use cancel::CancelArgs;
pub use ido::IdoArgs;
pub use ndc::{KeyType, NdcArgs, SubjectRule};
pub use relay::{GetArgs, PutArgs, RelayArgs};
pub use template::{CsrTemplateCommand, TemplateCheckArgs, TemplateLintArgs};

/// The commands of ACME and its delegation.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum LurkCommand {
    /// A laboratory CA: ACME with certificates that renew themselves (STAR)
    Ca(Box<CaArgs>),
    /// The server of a name owner: lets others have certificates for its names, and takes them back
    Ido(Box<IdoArgs>),
    /// Obtain certificates for names of somebody else, keep them fresh and install them
    Ndc(Box<NdcArgs>),
    /// Stop an order that renews itself
    Cancel(CancelArgs),
    /// Keep chunks of octets for those who cannot reach each other
    Relay(Box<RelayArgs>),
    /// Put a file into a relay, and print the notification for whoever shall get it
    Put(Box<PutArgs>),
    /// Get what a notification tells of
    Get(Box<GetArgs>),
    /// Look at CSR templates (RFC 9115), and at requests that shall fit them
    #[command(subcommand)]
    Template(CsrTemplateCommand),
}
