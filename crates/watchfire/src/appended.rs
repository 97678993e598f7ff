//! Files that lines are appended to: outputs, audit logs. One that was moved away or deleted (logrotate) is made anew before
//! the next write. What fails half-way is taken back, so that no line is glued to half of another one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A file that whole lines are appended to.
#[derive(Debug)]
pub(crate) struct Appended {
    path: PathBuf,
    file: Option<File>,
    /// It ends in half a line.
    is_torn: bool,
}

impl Appended {
    /// Opens the file, made when missing, for its owner and group.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut appended = Self { path: path.to_owned(), file: None, is_torn: false };
        appended.reopen()?;
        Ok(appended)
    }

    /// Opens it anew before the next write.
    pub(crate) fn close(&mut self) {
        self.file = None;
    }

    /// Appends lines, and forces them to disk if `sync`: all of them or, as far as the system lets us, none.
    pub(crate) fn append(&mut self, lines: &[u8], sync: bool) -> io::Result<()> {
        if self.is_moved() {
            self.reopen()?;
        }
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        let meta = file.metadata()?;
        let mut written = if self.is_torn { file.write_all(b"\n") } else { Ok(()) };
        written = written.and_then(|()| file.write_all(lines));
        if sync {
            written = written.and_then(|()| file.sync_data());
        }
        match written {
            Ok(()) => self.is_torn = false,
            // Should even that fail, the next line starts behind the half one.
            Err(_) if meta.is_file() => self.is_torn |= file.set_len(meta.len()).is_err(),
            Err(_) => {}
        }
        written
    }

    /// Whether the name stands for another file than the one that is open.
    fn is_moved(&self) -> bool {
        let Some(file) = &self.file else { return true };
        match (file.metadata(), std::fs::metadata(&self.path)) {
            (Ok(open), Ok(named)) => (open.dev(), open.ino()) != (named.dev(), named.ino()),
            _ => true,
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = None;
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(&self.path)?;
        let meta = file.metadata()?;
        self.is_torn = meta.is_file() && meta.len() > 0 && !ends_a_line(&self.path)?;
        self.file = Some(file);
        Ok(())
    }
}

fn ends_a_line(path: &Path) -> io::Result<bool> {
    let (mut file, mut last) = (File::open(path)?, [0]);
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn no_line_is_glued_to_half_of_another() {
        let dir = TempDir::new("appended");
        let path = dir.path().join("log");
        std::fs::write(&path, "whole\nha").unwrap();
        let mut file = Appended::open(&path).unwrap();
        file.append(b"one\ntwo\n", true).unwrap();
        file.append(b"three\n", false).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\nha\none\ntwo\nthree\n");

        // Away, and made anew.
        std::fs::rename(&path, dir.path().join("log.1")).unwrap();
        file.append(b"four\n", true).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "four\n");
        file.close();
        file.append(b"five\n", true).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "four\nfive\n");
    }
}
