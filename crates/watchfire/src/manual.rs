//! `completions` and `man`: made from the definitions of the command line.

use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::{Failure, file_failure};
use crate::out;

/// Prints the completion script of a shell.
///
/// # Errors
/// When standard output cannot be written to.
pub fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "watchfire", &mut script);
    out::octets(&script)
}

/// Writes one page per command into `dir`, which is made when missing.
///
/// # Errors
/// When a file cannot be written.
pub fn pages(dir: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
        .map_err(|error| file_failure("write the manual", dir, &error))
}
