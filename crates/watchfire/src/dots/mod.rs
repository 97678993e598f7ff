//! DOTS Call Home's services and commands, on top of `dots-tokio`.
//!
//! [`client`] is the operator that sees attacks and asks, with its interface in [`api`] and Suricata as a detector in
//! [`proposals`]; [`server`] is the network where they come from, with what stops traffic in [`enforce`] and what
//! survives a restart in [`state`]. [`command`] talks to the interface.

pub mod api;
pub mod ask;
pub mod client;
pub mod codec;
pub mod command;
mod console;
pub mod discover;
pub mod enforce;
pub mod eve;
pub mod policy;
pub mod proposals;
pub mod rules;
mod security;
pub mod server;
pub mod shown;
pub mod state;

use crate::cli::DotsCommand;
use crate::exit::Failure;

/// Runs one of the commands that are no service.
///
/// # Errors
/// As the command says.
pub async fn run(command: DotsCommand, json: bool) -> Result<(), Failure> {
    match command {
        DotsCommand::Mitigate(args) => command::mitigate(&args, json).await,
        DotsCommand::Withdraw(args) => command::withdraw(&args, json).await,
        DotsCommand::Status(args) => command::status(&args, json).await,
        DotsCommand::Proposals(args) => command::proposals(&args, json).await,
        DotsCommand::Confirm(args) => command::confirm(&args, json).await,
        DotsCommand::Dismiss(args) => command::dismiss(&args, json).await,
        DotsCommand::Consents(args) => command::consents(&args, json).await,
        DotsCommand::Agree(args) => command::agree(&args, json).await,
        DotsCommand::Refuse(args) => command::refuse(&args, json).await,
        DotsCommand::Codec(command) => codec::run(command),
        DotsCommand::CallHomeClient(_) | DotsCommand::CallHomeServer(_) => {
            Err(Failure::usage("a service is no single command"))
        }
    }
}

/// What is guarded by a mutex here stays sound when a thread panics.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
