//! Files of the authority: written whole or not at all, private ones private from their first moment.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::exit::{Failure, file_failure};

/// No certificate, key or list is larger than this.
const FILE_LIMIT: u64 = 16 << 20;

/// Reads a file of certificates or keys, refusing to be fed without end.
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    File::open(path)?.take(FILE_LIMIT + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > FILE_LIMIT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 16 MiB"));
    }
    Ok(octets)
}

/// Makes the folder, for the owner alone, when it is missing.
pub(crate) fn make_folder(dir: &Path) -> Result<(), Failure> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| file_failure("make the folder", dir, &error))
}

/// Says no before anything is written.
pub(super) fn refuse_existing(paths: &[&Path], force: bool) -> Result<(), Failure> {
    for path in paths {
        if !force && std::fs::symlink_metadata(path).is_ok() {
            return Err(exists(path));
        }
    }
    Ok(())
}

pub(crate) fn write_private(path: &Path, text: &str, force: bool) -> Result<(), Failure> {
    write(path, text.as_bytes(), 0o600, force)
}

pub(crate) fn write_public(path: &Path, octets: &[u8], force: bool) -> Result<(), Failure> {
    write(path, octets, 0o644, force)
}

/// Notes a certificate in the list of what was issued: serial in hexadecimal, expiry in seconds since 1970, name.
pub(super) fn record(path: &Path, serial: &[u8], not_after: i64, name: &str) -> Result<(), Failure> {
    let line = format!("{} {not_after} {name}\n", hex(serial));
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(line.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|error| file_failure("write the list of certificates", path, &error))
}

/// The serials issued under `name`.
pub(super) fn recorded(path: &Path, name: &str) -> Result<Vec<Vec<u8>>, Failure> {
    let octets = match read_bounded(path) {
        Ok(octets) => octets,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(file_failure("read the list of certificates", path, &error)),
    };
    let text = String::from_utf8_lossy(&octets);
    let serials = text.lines().filter_map(|line| {
        let mut words = line.splitn(3, ' ');
        let (serial, _, found) = (words.next()?, words.next()?, words.next()?);
        (found == name).then(|| unhex(serial))?
    });
    Ok(serials.collect())
}

fn write(path: &Path, octets: &[u8], mode: u32, force: bool) -> Result<(), Failure> {
    let failed = |error: &io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => file_failure("write", path, error),
    };
    let mut hidden = path.file_name().unwrap_or_default().to_os_string();
    hidden.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(hidden);
    let outcome = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(octets)?;
        file.sync_all()?;
        if force {
            std::fs::rename(&temporary, path)
        } else {
            // Unlike a rename, a link fails when the name is taken.
            std::fs::hard_link(&temporary, path)
        }
    })();
    let _ = std::fs::remove_file(&temporary);
    outcome.map_err(|error| failed(&error))?;
    sync_folder(path);
    Ok(())
}

/// Makes an empty file with these rights, where there is none: before a library makes it with those that the umask leaves.
/// What stands in the way is said by who opens the file then.
pub(crate) fn make_empty(path: &Path, mode: u32) {
    let _ = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
}

/// Makes the new name itself durable; file systems that cannot do it are no reason to fail.
pub(crate) fn sync_folder(path: &Path) {
    let _ = File::open(folder_of(path)).and_then(|folder| folder.sync_all());
}

/// The folder that a file is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn exists(path: &Path) -> Failure {
    Failure::usage("exists already").at(path.display()).remedy("choose another name, or replace it with --force")
}

/// Lower-case hexadecimal.
pub(crate) fn hex(octets: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    octets.iter().flat_map(|octet| [DIGITS[usize::from(octet >> 4)], DIGITS[usize::from(octet & 15)]]).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0 && !digits.is_empty())?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
