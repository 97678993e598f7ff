//! `watchfire repute`: raters, and those who ask them.

pub mod blocklist;
pub mod codes;
pub mod data;
mod datagrams;
pub mod dnsbl;
pub mod file;
pub mod import;
pub mod place;
mod postgres;
pub mod query;
pub mod row;
pub mod serve;
pub mod snapshot;
mod sqlite;
mod template;
mod turnstile;
mod write;

use crate::cli::ReputeCommand;
use crate::exit::Failure;

/// Runs a command that is no service.
///
/// # Errors
/// Whatever kept it from being done.
pub async fn run(command: ReputeCommand, json: bool) -> Result<(), Failure> {
    match command {
        ReputeCommand::Import(args) => import::run(&args, json).await,
        ReputeCommand::Template(command) => template::run(&command, json),
        ReputeCommand::Query(args) => query::run(&args, json).await,
        // They are services.
        ReputeCommand::Serve(_) | ReputeCommand::Dnsbl(_) => Ok(()),
    }
}
