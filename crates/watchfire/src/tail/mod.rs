//! Reading a growing file by name, through every kind of rotation, without losing or repeating a line.
//!
//! [`Tail`] is the reader: synchronous, one call per step, no clock. [`spawn`] puts it on a thread of its own and
//! hands over [`Batch`]es. With each batch comes the [`Position`] behind it; whoever takes the lines stores the
//! position together with them (same transaction, or lines first), and after a restart reading goes on right there.
//!
//! A *rotation* is one of: renamed and created anew; copied and truncated; deleted and created later; a symbolic link
//! that points elsewhere. A file that was rotated away is read to its end first, and so are the ones that came and
//! went in between, as long as they lie beside the file under its name plus a number or date. Compressed ones are not
//! read: let logrotate use `delaycompress`.
//!
//! What no reader can see: octets that the writer appends between the copy and the truncation of *copytruncate*.

mod chain;
mod follow;
mod framing;
mod position;
mod stream;
mod thread;

use std::path::PathBuf;

use bytes::Bytes;

pub use follow::{Step, Tail};
pub use framing::Framing;
pub use position::Position;
pub use thread::{Tailer, spawn};

/// What to read and how.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TailOptions {
    /// The file; `-` is standard input. FIFOs and other streams are read too, without positions.
    pub path: PathBuf,
    /// Stay at the end, through rotation. Otherwise reading ends at the end of the file, whose last line counts even
    /// without a line feed.
    pub follow: bool,
    /// Lines or records.
    pub framing: Framing,
    /// The longest line or record, in octets, without its line feed or length.
    pub limit: usize,
    /// The most lines of a batch.
    pub batch_lines: usize,
    /// A batch ends when its lines together have this many octets.
    pub batch_octets: usize,
}

impl TailOptions {
    /// Lines of at most 1 MiB, up to 512 lines or 1 MiB per batch, once.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            follow: false,
            framing: Framing::Lines,
            limit: 1 << 20,
            batch_lines: 512,
            batch_octets: 1 << 20,
        }
    }
}

/// Lines that follow each other in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Batch {
    /// The lines, in order, without their line feeds.
    pub lines: Vec<Line>,
    /// Lines that were too long, in order.
    pub skipped: Vec<Skipped>,
    /// Where reading goes on after this batch; `None` for streams, which cannot be read again.
    pub position: Option<Position>,
}

/// One line or record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Line {
    /// Where it starts in its file or stream, in octets.
    pub offset: u64,
    /// The octets as they are, whether UTF-8 or not; shares memory with the other lines of its batch.
    pub octets: Bytes,
}

/// A line that was longer than the limit and is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// Where it starts in its file or stream, in octets.
    pub offset: u64,
    /// How long it was, in octets.
    pub length: u64,
}

/// Why reading stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TailError {
    /// The file cannot be opened or read.
    #[error("{path}: {what}")]
    Io {
        /// The file.
        path: String,
        /// The system's words.
        what: String,
    },
    /// A record announces more octets than allowed; where the next one starts cannot be trusted any more.
    #[error("{path}: record at octet {offset} announces {length} octets, the limit is {limit}: is this input framed?")]
    RecordTooLong {
        /// The file.
        path: String,
        /// Where the record starts.
        offset: u64,
        /// What it announces.
        length: u32,
        /// The limit.
        limit: usize,
    },
    /// The input ends within a record.
    #[error("{path}: the input ends within the record at octet {offset}")]
    RecordCut {
        /// The file.
        path: String,
        /// Where the record starts.
        offset: u64,
    },
}

#[cfg(test)]
mod tests;
