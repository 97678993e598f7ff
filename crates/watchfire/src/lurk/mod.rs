//! `watchfire lurk`: certificates for names that somebody else owns.

pub mod account;
pub mod audit;
pub mod ca;
pub mod cancel;
mod console;
pub mod delegations;
pub mod front;
pub mod ido;
pub mod ndc;
pub mod peer;
pub mod records;
pub mod relay;
pub mod rendezvous;
pub mod shared;
mod template;

use crate::cli::LurkCommand;
use crate::exit::Failure;

/// Runs a command that is no service.
///
/// # Errors
/// Whatever kept it from being done.
pub async fn run(command: LurkCommand, json: bool) -> Result<(), Failure> {
    match command {
        LurkCommand::Cancel(args) => cancel::run(&args, json).await,
        LurkCommand::Put(args) => rendezvous::put(&args).await,
        LurkCommand::Get(args) => rendezvous::get(&args, json).await,
        LurkCommand::Template(command) => template::run(&command, json),
        LurkCommand::Ca(_) | LurkCommand::Ido(_) | LurkCommand::Relay(_) | LurkCommand::Ndc(_) => {
            Err(Failure::usage("a service is no single command"))
        }
    }
}
