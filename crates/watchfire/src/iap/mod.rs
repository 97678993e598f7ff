//! The Intrusion Alert Protocol's services, on top of the library crates.

use crate::config::ServiceArgs;
use crate::exit::Failure;
use crate::service::Context;

/// Runs one service until it ends by itself or `context.shutdown` is cancelled and it has drained.
///
/// # Errors
/// Whatever keeps it from starting or going on.
pub async fn serve(args: ServiceArgs, _context: Context) -> Result<(), Failure> {
    Err(Failure::usage(format!("{}: not part of this build yet", args.name())))
}
