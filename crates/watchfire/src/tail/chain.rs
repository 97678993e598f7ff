//! Which files to read, and in which order, to get from a position to the file of today.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::position::{Position, modified};

/// A folder is not searched beyond this many entries.
const FOLDER_LIMIT: usize = 10_000;

/// A file to read from an offset on.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) offset: u64,
}

/// Where to go on from a position.
#[derive(Debug)]
pub(super) struct Route {
    /// The file; what follows it is asked for at its end, since much may happen until then.
    pub(super) leg: Option<Leg>,
    /// Whether the file of the position was found, so that nothing between was lost.
    pub(super) found: bool,
}

/// Finds the position again after a restart, or after the file was `truncated` under the reader: then what its copy
/// holds comes before what it holds now.
pub(super) fn resume(path: &Path, position: &Position, truncated: bool) -> io::Result<Route> {
    let today = open(path)?;
    if let Some((file, meta)) = &today
        && !truncated
        && position.same_file(meta)
        && position.matches(file)?
    {
        let leg = Leg { file: file.try_clone()?, path: path.to_owned(), offset: position.offset };
        return Ok(Route { leg: Some(leg), found: true });
    }
    let entries = entries(path);
    let emptied = truncated.then_some((position.device, position.inode));
    if let Some((file, entry)) = find(&entries, position, emptied)? {
        let leg = Leg { file, path: entry.path.clone(), offset: position.offset };
        return Ok(Route { leg: Some(leg), found: true });
    }
    // Unknown what the file was called: of the same age counts as read.
    let after = Key { modified: position.modified, rank: Rank::Newest };
    let younger = first_younger(&entries, &after, today.as_ref().map(|(_, meta)| meta));
    let today = today.map(|(file, _)| Leg { file, path: path.to_owned(), offset: 0 });
    // Of a file that nothing was taken from, the copy is a younger file and nothing is missing.
    let found = position.offset == 0 && younger.is_some();
    Ok(Route { leg: younger.or(today), found })
}

/// What follows a file that was read to its end and is no longer the one at `path`. `None` while nothing has been
/// written to a successor: until then the writer may still hold the old one.
pub(super) fn successor(path: &Path, current: &File) -> io::Result<Option<Leg>> {
    let Some((file, meta)) = open(path)? else { return Ok(None) };
    let own = current.metadata()?;
    if (own.dev(), own.ino()) == (meta.dev(), meta.ino()) {
        return Ok(None);
    }
    let entries = entries(path);
    let rank = entries.iter().find(|entry| entry.is(&own)).map_or(Rank::Newest, |entry| entry.key.rank.clone());
    let after = Key { modified: modified(&own), rank };
    let younger = first_younger(&entries, &after, Some(&meta));
    Ok(younger.or_else(|| (meta.len() > 0).then(|| Leg { file, path: path.to_owned(), offset: 0 })))
}

/// Whether a rotated file beside `path` was written to after the position was taken.
pub(super) fn has_younger(path: &Path, position: &Position) -> bool {
    let after = Key { modified: position.modified, rank: Rank::Newest };
    first_younger(&entries(path), &after, None).is_some()
}

/// Opens a regular file; `None` when there is none.
pub(super) fn open(path: &Path) -> io::Result<Option<(File, Metadata)>> {
    match File::open(path) {
        Ok(file) => {
            let meta = file.metadata()?;
            Ok(meta.is_file().then_some((file, meta)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The age of a rotated file: by the time of its last write, then by its name, for file systems with coarse clocks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    modified: i64,
    rank: Rank,
}

/// The age that a name tells, older first: `.3` is older than `.2`, a later date is younger than an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Number(i64),
    Date(Vec<u8>),
    Newest,
}

struct Entry {
    path: PathBuf,
    meta: Metadata,
    key: Key,
    /// Whether its name says that it is a rotated form of the file.
    rotated: bool,
}

impl Entry {
    fn is(&self, meta: &Metadata) -> bool {
        (self.meta.dev(), self.meta.ino()) == (meta.dev(), meta.ino())
    }
}

/// The regular files beside `path` and beside what it links to.
fn entries(path: &Path) -> Vec<Entry> {
    let mut places = vec![path.to_owned()];
    places.extend(std::fs::canonicalize(path).ok().filter(|real| real != path));
    let mut found: Vec<Entry> = Vec::new();
    for place in places {
        let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let base = place.file_name().unwrap_or_default();
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().take(FOLDER_LIMIT) {
            let Ok(meta) = entry.metadata() else { continue };
            if !meta.is_file() {
                continue;
            }
            let rank = rotated(base, &entry.file_name());
            let key = Key { modified: modified(&meta), rank: rank.clone().unwrap_or(Rank::Newest) };
            match found.iter_mut().find(|known| known.is(&meta)) {
                Some(known) if !known.rotated && rank.is_some() => {
                    *known = Entry { path: entry.path(), meta, key, rotated: true }
                }
                Some(_) => {}
                None => found.push(Entry { path: entry.path(), meta, key, rotated: rank.is_some() }),
            }
        }
    }
    found
}

/// The age that `name` tells when it is `base` plus a number or date.
fn rotated(base: &OsStr, name: &OsStr) -> Option<Rank> {
    let suffix = name.as_bytes().strip_prefix(base.as_bytes())?;
    let (separator, rest) = suffix.split_first()?;
    if !matches!(separator, b'.' | b'-' | b'_') || !rest.first()?.is_ascii_digit() {
        return None;
    }
    if !rest.iter().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_' | b':' | b'T' | b'Z')) {
        return None;
    }
    let number =
        std::str::from_utf8(rest).ok().filter(|rest| rest.len() <= 5).and_then(|rest| rest.parse::<i64>().ok());
    Some(number.map_or_else(|| Rank::Date(rest.to_vec()), |number| Rank::Number(-number)))
}

/// The file of the position: the same inode with the same content, or else the youngest copy of that content.
fn find<'e>(
    entries: &'e [Entry],
    position: &Position,
    not: Option<(u64, u64)>,
) -> io::Result<Option<(File, &'e Entry)>> {
    let same = entries.iter().filter(|entry| position.same_file(&entry.meta));
    let mut copies: Vec<&Entry> = entries.iter().filter(|entry| entry.rotated && position.offset > 0).collect();
    copies.sort_by(|a, b| b.key.cmp(&a.key));
    for entry in same.chain(copies).filter(|entry| not != Some((entry.meta.dev(), entry.meta.ino()))) {
        if let Some((file, _)) = open(&entry.path)?
            && position.matches(&file)?
        {
            return Ok(Some((file, entry)));
        }
    }
    Ok(None)
}

/// The oldest rotated file that is younger than `after` and not empty.
fn first_younger(entries: &[Entry], after: &Key, today: Option<&Metadata>) -> Option<Leg> {
    let mut younger: Vec<&Entry> = entries
        .iter()
        .filter(|entry| entry.rotated && entry.key > *after && entry.meta.len() > 0)
        .filter(|entry| today.is_none_or(|today| !entry.is(today)))
        .collect();
    younger.sort_by(|a, b| a.key.cmp(&b.key));
    younger.into_iter().find_map(|entry| {
        let (file, _) = open(&entry.path).ok()??;
        Some(Leg { file, path: entry.path.clone(), offset: 0 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_and_dates_are_rotated_forms() {
        let rank = |name: &str| rotated(OsStr::new("eve.json"), OsStr::new(name));
        for name in ["eve.json.1", "eve.json-20240101", "eve.json-20240101-1700000000", "eve.json.2024-01-01T12:00:00Z"]
        {
            assert!(rank(name).is_some(), "{name}");
        }
        for name in
            ["eve.json", "eve.json.1.gz", "eve.json.bak", "eve.json.", "eve-tls.json", "eve.json.new", "x.json.1"]
        {
            assert!(rank(name).is_none(), "{name}");
        }
        assert!(rank("eve.json.3") < rank("eve.json.2"));
        assert!(rank("eve.json.10") < rank("eve.json.9"));
        assert!(rank("eve.json-20240101") < rank("eve.json-20240102"));
    }
}
