//! Private files that are written anew, whole or not at all, and stay the file of whoever has to read them.
//!
//! A service often has a user of its own, and `root` calls the commands that change its files. What `root` writes
//! belongs to the one who owned it before, or who owns the folder: else the service could not read it any more.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use crate::pki::files::{folder_of, sync_folder};

/// Writes a file for its owner alone (mode 0600) by way of a new one beside it, `PATH.new`. When this returns, it is on
/// the disk. One at a time may do so for the same path.
pub(crate) fn replace_private(path: &Path, octets: &[u8]) -> io::Result<()> {
    let new = beside(path, ".new");
    // What was left behind may belong to somebody else, or be a link.
    let _ = std::fs::remove_file(&new);
    let written = make_private(&new, path).and_then(|mut file| {
        file.write_all(octets)?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    });
    match &written {
        Ok(()) => sync_folder(path),
        Err(_) => drop(std::fs::remove_file(&new)),
    }
    written
}

/// Makes a file for its owner alone that is not there yet; it belongs to whoever owns `like`.
pub(crate) fn make_private(path: &Path, like: &Path) -> io::Result<File> {
    let owner = Owner::of(like);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    owner.take(&file)?;
    Ok(file)
}

/// Whose a file is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner(Option<(u32, u32)>);

impl Owner {
    /// Whoever owns this file, or its folder where it is not there.
    pub(crate) fn of(path: &Path) -> Self {
        let found = std::fs::metadata(path).or_else(|_| std::fs::metadata(folder_of(path)));
        Self(found.ok().map(|found| (found.uid(), found.gid())))
    }

    /// Gives it a file that this process has just made, if it may. Not one that was there before: that might be another
    /// file than its name says.
    pub(crate) fn take(self, file: &File) -> io::Result<()> {
        let found = file.metadata()?;
        let Some((user, group)) = self.0.filter(|owner| *owner != (found.uid(), found.gid())) else { return Ok(()) };
        match fchown(file, Some(user), Some(group)) {
            // Who is not root has a file of its own.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            changed => changed,
        }
    }
}

/// The path with something added to its last part.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;
    use crate::testing::TempDir;

    fn owner(path: &Path) -> (u32, u32) {
        let found = std::fs::metadata(path).unwrap();
        (found.uid(), found.gid())
    }

    #[test]
    fn a_file_is_replaced_whole_or_stays() {
        let folder = TempDir::new("replace");
        let path = folder.path().join("secret");
        std::fs::write(&path, "old, and for everybody").unwrap();
        // A link that somebody left in the way is not followed.
        let elsewhere = folder.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, beside(&path, ".new")).unwrap();
        replace_private(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!elsewhere.exists());
        // What cannot take the place leaves nothing behind.
        let taken = folder.path().join("taken");
        std::fs::create_dir(&taken).unwrap();
        assert!(replace_private(&taken, b"new").is_err());
        assert!(taken.is_dir() && !beside(&taken, ".new").exists());
    }

    #[test]
    fn what_root_writes_belongs_to_whom_it_belonged_before() {
        let folder = TempDir::new("replace-owner");
        if chown(folder.path(), Some(4321), Some(1234)).is_err() {
            eprintln!("SKIPPED: what_root_writes_belongs_to_whom_it_belonged_before: needs root");
            return;
        }
        let path = folder.path().join("secret");
        replace_private(&path, b"one").unwrap();
        assert_eq!(owner(&path), (4321, 1234), "the folder's");
        chown(&path, Some(77), Some(88)).unwrap();
        replace_private(&path, b"two").unwrap();
        assert_eq!(owner(&path), (77, 88), "the file's");
    }
}
