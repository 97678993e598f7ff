//! Standard output: results, one line at a time.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::Failure;

/// Whether services run, which have more to end than their output.
static SERVES: AtomicBool = AtomicBool::new(false);

/// From now on a reader that goes away is an error, so that services drain.
pub fn serves() {
    SERVES.store(true, Ordering::Relaxed);
}

/// Writes one line. A reader that has gone away (`| head`) ends the program quietly, as it would any filter, but not
/// where [services](serves) run.
///
/// # Errors
/// When standard output cannot be written to.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let outcome = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    outcome.or_else(|error| failed(&error))
}

/// Writes octets that end in a line feed already.
///
/// # Errors
/// When standard output cannot be written to.
pub fn octets(octets: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(octets).and_then(|()| out.flush()).or_else(|error| failed(&error))
}

/// What an error at standard output is: the end, quietly, where only its reader has gone away.
pub(crate) fn failed(error: &io::Error) -> Result<(), Failure> {
    if error.kind() == io::ErrorKind::BrokenPipe && !SERVES.load(Ordering::Relaxed) {
        std::process::exit(0);
    }
    Err(Failure::usage(format!("cannot write to standard output: {error}")))
}
