//! `watchfire lurk`: certificates for names that somebody else owns.

pub mod account;
pub mod ca;
pub mod cancel;
pub mod ndc;
pub mod peer;
pub mod records;

use crate::cli::LurkCommand;
use crate::exit::Failure;

/// Runs a command that is no service.
///
/// # Errors
/// Whatever kept it from being done.
pub async fn run(command: LurkCommand, json: bool) -> Result<(), Failure> {
    match command {
        LurkCommand::Cancel(args) => cancel::run(&args, json).await,
        LurkCommand::Ca(_) | LurkCommand::Ndc(_) => Err(Failure::usage("a service is no single command")),
    }
}
