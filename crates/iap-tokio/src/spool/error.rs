//! What can go wrong with a spool, each with the place and what to do about it.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the spool could not do what was asked. Whatever the error, what was accepted before is kept.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// Another process (or another [`Spool`](super::Spool) in this one) holds the directory.
    #[error(
        "spool {}: in use by another sensor (its file `lock` is locked); stop that one or configure another directory",
        .path.display()
    )]
    Locked {
        /// The spool's directory.
        path: PathBuf,
    },
    /// The directory holds a store of a format that this version does not know, or no spool at all.
    #[error(
        "spool {}: format {found} is not the format {supported} of this version; open it with the version that wrote it",
        .path.display()
    )]
    Format {
        /// The spool's directory.
        path: PathBuf,
        /// The format number found there.
        found: i64,
        /// The format number of this version.
        supported: i64,
    },
    /// The store is damaged. Nothing has been deleted or reset.
    #[error(
        "spool {}: damaged: {detail}; nothing was changed: copy the directory, recover it with \
         `sqlite3 spool.sqlite .recover`, or move it aside to start with an empty spool",
        .path.display()
    )]
    Corrupt {
        /// The spool's directory.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// No space left on the device: nothing of this call was accepted. It may be repeated; it succeeds as soon as
    /// there is space.
    #[error("spool {}: no space left on the device; nothing was accepted, free some space and repeat", .path.display())]
    DiskFull {
        /// The spool's directory.
        path: PathBuf,
    },
    /// The operating system refused something: nothing of this call was accepted. It may be repeated.
    #[error("spool {}: {detail}", .path.display())]
    Io {
        /// The spool's directory.
        path: PathBuf,
        /// What was refused and why.
        detail: String,
    },
    /// One record is larger than [`SpoolConfig::with_max_record`](super::SpoolConfig::with_max_record) allows.
    #[error("record {position} of the append has {octets} octets, more than the limit of {limit}")]
    RecordTooLarge {
        /// Its position in the append, from 0.
        position: usize,
        /// Octets of its body.
        octets: usize,
        /// The limit in octets.
        limit: usize,
    },
    /// A content type is empty or longer than 255 octets.
    #[error("record {position} of the append has a content type of {octets} octets, not of 1 to 255")]
    ContentType {
        /// Its position in the append, from 0.
        position: usize,
        /// Octets of its content type.
        octets: usize,
    },
    /// The append as a whole could never fit under [`SpoolConfig::with_max_bytes`](super::SpoolConfig::with_max_bytes).
    #[error("an append of {octets} octets can never fit into a spool of {limit}; append fewer records at once")]
    BatchTooLarge {
        /// Octets of its bodies.
        octets: u64,
        /// The spool's limit in octets.
        limit: u64,
    },
    /// A requeue does not fit under the limit now.
    #[error("no room: the spool holds {octets} of at most {limit} octets")]
    Full {
        /// Octets of the bodies in the spool.
        octets: u64,
        /// The spool's limit in octets.
        limit: u64,
    },
    /// A checkpoint's source is longer than 4096 octets, its position longer than 65536, or there are more than 4096
    /// sources.
    #[error("a checkpoint may have a source of 4096 octets, a position of 65536, and there may be 4096 sources")]
    Checkpoint,
    /// A value of the configuration is out of range.
    #[error("spool configuration: {0}")]
    InvalidConfig(&'static str),
    /// The spool was closed.
    #[error("the spool is closed")]
    Closed,
}

impl SpoolError {
    /// Whether the same call may succeed later without anything else being changed in the program: the device was
    /// full or refused, or there was no room.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::DiskFull { .. } | Self::Io { .. } | Self::Full { .. } | Self::Locked { .. })
    }

    pub(super) fn io(path: &Path, what: &str, error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::StorageFull {
            return Self::DiskFull { path: path.to_owned() };
        }
        Self::Io { path: path.to_owned(), detail: format!("{what}: {error}") }
    }

    pub(super) fn sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt { path, detail: error.to_string() }
            }
            _ => Self::Io { path, detail: error.to_string() },
        }
    }

    pub(super) fn corrupt(path: &Path, detail: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), detail: detail.into() }
    }
}
