//! Where reading goes on: a file by device and inode, an offset, and what the file looked like, since inodes are
//! used again and files are truncated.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// How many octets at the start of a file identify it.
const HEAD: u64 = 256;
/// How many octets before the offset identify the place.
const TAIL: u64 = 64;

/// A place in a file, good for finding it again after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Position {
    /// The device of the file.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
    /// How many octets have been taken.
    pub offset: u64,
    /// When the file had last been written to, in nanoseconds since 1970, as far as was known.
    pub modified: i64,
    /// SHA-256 over the first (up to 256) and the last (up to 64) octets before the offset, in hexadecimal.
    pub fingerprint: String,
}

impl Position {
    /// The place behind what `trace` has seen of an open file.
    pub(super) fn of(file: &File, offset: u64, trace: &Trace) -> io::Result<Self> {
        let meta = file.metadata()?;
        let (device, inode) = (meta.dev(), meta.ino());
        Ok(Self { device, inode, offset, modified: modified(&meta), fingerprint: trace.fingerprint() })
    }

    /// Whether `file` holds, before the offset, what had been read.
    pub(super) fn matches(&self, file: &File) -> io::Result<bool> {
        Ok(Trace::read(file, self.offset)?.is_some_and(|trace| trace.fingerprint() == self.fingerprint))
    }

    /// Whether it is the file that the metadata belongs to, going by names of the system alone.
    pub(super) fn same_file(&self, meta: &std::fs::Metadata) -> bool {
        (self.device, self.inode) == (meta.dev(), meta.ino())
    }

    /// Reads a position that [`Position::save`] wrote; `None` when there is none yet.
    ///
    /// # Errors
    /// When the file cannot be read or does not hold a position.
    pub fn load(path: &Path) -> io::Result<Option<Self>> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Writes the position so that a crash leaves either the former or this one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        use std::io::Write as _;
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".new");
        let temporary = path.with_file_name(name);
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_data()?;
        std::fs::rename(&temporary, path)
    }
}

/// The time of the last write, in nanoseconds since 1970.
pub(super) fn modified(meta: &std::fs::Metadata) -> i64 {
    meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec())
}

/// What stands in a file before an offset: its first and its last octets. Kept up from what is read, not read again,
/// so that a truncation in between cannot falsify it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Trace {
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Trace {
    /// The trace of the first `offset` octets of a file; `None` when it is shorter.
    pub(super) fn read(file: &File, offset: u64) -> io::Result<Option<Self>> {
        let mut trace = Self { head: vec![0; offset.min(HEAD) as usize], tail: vec![0; offset.min(TAIL) as usize] };
        for (from, part) in [(0, &mut trace.head), (offset - offset.min(TAIL), &mut trace.tail)] {
            match file.read_exact_at(part, from) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(trace))
    }

    /// More octets lie behind.
    pub(super) fn extend(&mut self, octets: &[u8]) {
        let room = (HEAD as usize).saturating_sub(self.head.len());
        self.head.extend_from_slice(octets.get(..room).unwrap_or(octets));
        let kept = (TAIL as usize).saturating_sub(octets.len()).min(self.tail.len());
        self.tail.drain(..self.tail.len() - kept);
        self.tail.extend_from_slice(&octets[octets.len().saturating_sub(TAIL as usize)..]);
    }

    fn fingerprint(&self) -> String {
        crate::pki::hex(&Sha256::new().chain_update(&self.head).chain_update(&self.tail).finalize())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::TempDir;

    proptest! {
        #[test]
        fn a_trace_that_is_kept_up_equals_one_that_is_read(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..90), 0..12)) {
            let dir = TempDir::new("trace");
            let path = dir.path().join("f");
            std::fs::write(&path, parts.concat()).unwrap();
            let file = File::open(&path).unwrap();
            let (mut trace, mut offset) = (Trace::default(), 0);
            for part in &parts {
                trace.extend(part);
                offset += part.len() as u64;
                prop_assert_eq!(Some(trace.clone()), Trace::read(&file, offset).unwrap());
            }
            prop_assert_eq!(Trace::read(&file, offset + 1).unwrap(), None);
        }
    }

    #[test]
    fn saved_positions_read_back() {
        let dir = TempDir::new("position");
        let path = dir.path().join("position.json");
        assert_eq!(Position::load(&path).unwrap(), None);
        let position = Position { device: 1, inode: u64::MAX, offset: 3, modified: -4, fingerprint: "ab".into() };
        position.save(&path).unwrap();
        assert_eq!(Position::load(&path).unwrap(), Some(position));
        std::fs::write(&path, "{").unwrap();
        assert!(Position::load(&path).is_err());
    }
}
