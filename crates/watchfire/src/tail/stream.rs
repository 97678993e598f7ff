//! Standard input, FIFOs and other streams: no positions, no rotation.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A stream, opened when it is first read from.
pub(super) enum Stream {
    Stdin,
    /// A FIFO or device by name; opening a FIFO waits for its writer.
    Closed,
    Open(File),
}

impl Stream {
    pub(super) fn new(path: &Path) -> Self {
        if path == Path::new("-") { Self::Stdin } else { Self::Closed }
    }

    pub(super) fn read(&mut self, path: &Path, into: &mut [u8]) -> io::Result<usize> {
        if matches!(self, Self::Closed) {
            *self = Self::Open(File::open(path)?);
        }
        match self {
            Self::Stdin => io::stdin().lock().read(into),
            Self::Open(file) => file.read(into),
            Self::Closed => Ok(0),
        }
    }
}
