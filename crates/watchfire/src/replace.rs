//! Private files that are written anew, whole or not at all, and stay the file of whoever has to read them.
//!
//! A service often has a user of its own, and `root` calls the commands that change its files. What `root` writes
//! belongs to the one who owned it before, or who owns the folder: else the service could not read it any more.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::pki::files::{folder_of, sync_folder};

/// Writes a file for its owner alone (mode 0600) by way of a new one beside it, `PATH.PROCESS-NUMBER.new`, which nobody
/// else writes. When this returns, it is on the disk. Of several that do so at once, the last one's is what stays.
pub(crate) fn replace_private(path: &Path, octets: &[u8]) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let new = beside(path, &format!(".{}-{number}.new", std::process::id()));
    let made = match make_private(&new, path) {
        // A process that had our number was killed here. It may be a link: that is not followed, it goes.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(&new).and_then(|()| make_private(&new, path))
        }
        made => made,
    };
    let mut file = made?;
    let written = (|| {
        file.write_all(octets)?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    })();
    match &written {
        Ok(()) => sync_folder(path),
        Err(_) => drop(std::fs::remove_file(&new)),
    }
    written
}

/// Waits until no other process works on what belongs to this file; nobody else does while what is returned lives.
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    let beside = beside(path, ".lock");
    let file = match make_private(&beside, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => File::open(&beside)?,
        made => made?,
    };
    file.lock()?;
    Ok(file)
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
        replace_private(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // What cannot take the place leaves nothing behind.
        let taken = folder.path().join("taken");
        std::fs::create_dir(&taken).unwrap();
        assert!(replace_private(&taken, b"new").is_err());
        assert!(taken.is_dir());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn several_at_once_replace_a_file_whole() {
        let folder = TempDir::new("replace-several");
        let path = folder.path().join("secret");
        std::thread::scope(|threads| {
            for writer in 0..8_u8 {
                let path = &path;
                threads.spawn(move || {
                    for _ in 0..50 {
                        replace_private(path, &[writer; 4096]).unwrap();
                    }
                });
            }
        });
        let left = std::fs::read(&path).unwrap();
        assert!(left.len() == 4096 && left.iter().all(|octet| *octet == left[0]));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
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
