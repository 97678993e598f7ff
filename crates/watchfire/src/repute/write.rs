//! Writing entries to a store: all of an import, or nothing of it.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use repute_proto::{Decoder, wire::Digits};
use tokio::sync::mpsc;

use super::data::DataUrl;
use super::import::LINE;
use super::row::Row;
use super::{postgres, sqlite};
use crate::exit::{Failure, file_failure};
use crate::replace::Owner;
use crate::store::PostgresServer;
use crate::values::StoreUrl;

/// What comes from an import.
#[derive(Debug)]
pub(super) enum Message {
    /// Some entries.
    Rows(Vec<Row>),
    /// These were all, and all were good: without it nothing is kept.
    Whole,
}

/// Whose entries go before the new ones come.
#[derive(Debug, Clone)]
pub(super) struct Replace {
    pub(super) application: String,
    pub(super) rater: String,
}

/// What was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    /// Entries that went first.
    pub(super) removed: u64,
    /// Entries that are there now.
    pub(super) stored: u64,
}

/// Writes what comes to a store; `None` when that was not all.
pub(super) async fn write(
    url: &DataUrl,
    password_file: Option<&Path>,
    replace: Option<Replace>,
    rows: mpsc::Receiver<Message>,
) -> Result<Option<Written>, Failure> {
    let blocking = |work: Box<dyn FnOnce() -> Result<Option<Written>, Failure> + Send>| async {
        let ended = tokio::task::spawn_blocking(work).await;
        ended.map_err(|error| Failure::usage(format!("the import broke down: {error}")))?
    };
    match url {
        DataUrl::File(path) => {
            let path = path.clone();
            blocking(Box::new(move || write_file(&path, replace.as_ref(), rows))).await
        }
        DataUrl::Store(StoreUrl::Sqlite(path)) => {
            let path = path.clone();
            blocking(Box::new(move || sqlite::write(&path, replace.as_ref(), rows))).await
        }
        DataUrl::Store(StoreUrl::Postgres(url)) => {
            let server = PostgresServer::new(url, password_file)?;
            postgres::write(server, replace.as_ref(), rows).await
        }
    }
}

/// Writes a new file beside the old one and puts it in its place.
fn write_file(
    path: &Path,
    replace: Option<&Replace>,
    rows: mpsc::Receiver<Message>,
) -> Result<Option<Written>, Failure> {
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
        let failure = Failure::usage("entries cannot be added to a JSON document").at(path.display());
        return Err(failure.remedy("name a file that ends in .ndjson"));
    }
    // A link stays one: what it leads to is replaced.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let path = target.as_path();
    let old = std::fs::metadata(path).ok();
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        return Err(Failure::usage("not a file: nothing can take its place").at(path.display()));
    }
    let (draft_path, draft) = draft(path)?;
    let failed = |error: std::io::Error| file_failure("write the entries", &draft_path, &error);
    // Who may not read the old entries may not read the new ones.
    let allowed = old.map_or(Ok(()), |old| draft.set_permissions(old.permissions())).map_err(failed);
    let filled = allowed.and_then(|()| fill(path, (&draft_path, &draft), replace, rows));
    let Ok(Some(written)) = filled else {
        let _ = std::fs::remove_file(&draft_path);
        return filled;
    };
    std::fs::rename(&draft_path, path).map_err(failed)?;
    // The name is on disk when its folder is.
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    }
    Ok(Some(written))
}

/// Writes the old entries that stay, and the new ones.
fn fill(
    path: &Path,
    (draft_path, draft): (&Path, &File),
    replace: Option<&Replace>,
    mut rows: mpsc::Receiver<Message>,
) -> Result<Option<Written>, Failure> {
    let failed = |error: std::io::Error| file_failure("write the entries", draft_path, &error);
    let mut out = BufWriter::with_capacity(1 << 20, draft);
    let (mut removed, mut stored) = (0, 0);
    match File::open(path) {
        Ok(old) => {
            let mut old = BufReader::with_capacity(1 << 20, old);
            let mut line = Vec::new();
            let mut number = 0;
            loop {
                line.clear();
                let read = old.by_ref().take(LINE as u64 + 1).read_until(b'\n', &mut line);
                if read.map_err(|error| file_failure("read", path, &error))? == 0 {
                    break;
                }
                number += 1;
                if line.len() > LINE {
                    let failure = Failure::usage(format!("the line is longer than {LINE} octets"));
                    return Err(failure.at(format!("{}:{number}", path.display())));
                }
                if line.trim_ascii().is_empty() {
                    continue;
                }
                if let Some(replace) = replace {
                    let entry = Decoder::new().decode_line(&line, "").map_err(|error| {
                        Failure::usage(error.kind.to_string()).at(format!("{}:{number}", path.display()))
                    })?;
                    let is_same = entry.application.as_deref() == Some(&replace.application)
                        && entry.reputons.first().is_some_and(|reputon| reputon.rater == replace.rater);
                    if is_same {
                        removed += 1;
                        continue;
                    }
                }
                stored += 1;
                out.write_all(line.trim_ascii_end()).and_then(|()| out.write_all(b"\n")).map_err(failed)?;
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(file_failure("read the entries", path, &error)),
    }
    let mut is_whole = false;
    let mut octets = Vec::new();
    while let Some(message) = rows.blocking_recv() {
        let Message::Rows(rows) = message else {
            is_whole = true;
            continue;
        };
        for row in rows {
            octets.clear();
            let reputon = row.reputon().map_err(Failure::usage)?;
            reputon.encode_line(Some(&row.application), Digits::AsReceived, &mut octets);
            octets.push(b'\n');
            out.write_all(&octets).map_err(failed)?;
            stored += 1;
        }
    }
    out.flush().map_err(failed)?;
    drop(out);
    if !is_whole {
        return Ok(None);
    }
    draft.sync_all().map_err(failed)?;
    Ok(Some(Written { removed, stored }))
}

/// The file that will take the place of `path`, locked: two imports at one time would undo each other.
fn draft(path: &Path) -> Result<(PathBuf, File), Failure> {
    let mut name = path.as_os_str().to_owned();
    name.push(".importing");
    let draft_path = PathBuf::from(name);
    let failed = |error: std::io::Error| file_failure("write the entries", &draft_path, &error);
    let taken = || Failure::usage("another import is under way").at(path.display()).remedy("wait until it has ended");
    let owner = Owner::of(path);
    let draft = match OpenOptions::new().write(true).create_new(true).open(&draft_path) {
        Ok(made) => {
            owner.take(&made).map_err(failed)?;
            made
        }
        // One that broke off left it, or one is under way.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            OpenOptions::new().write(true).open(&draft_path).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => taken(),
                _ => failed(error),
            })?
        }
        Err(error) => return Err(failed(error)),
    };
    draft.try_lock().map_err(|_| taken())?;
    // It may have been put in place between the two calls.
    let is_same =
        std::fs::metadata(&draft_path).and_then(|there| Ok(there.ino() == draft.metadata()?.ino())).unwrap_or(false);
    if !is_same {
        return Err(taken());
    }
    draft.set_len(0).map_err(failed)?;
    Ok((draft_path, draft))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::chown;

    use super::*;
    use crate::testing::TempDir;

    #[tokio::test]
    async fn what_root_imports_is_still_the_service_s_to_read() {
        let folder = TempDir::new("import-root");
        if chown(folder.path(), Some(4321), Some(1234)).is_err() {
            eprintln!("SKIPPED: what_root_imports_is_still_the_service_s_to_read: needs root");
            return;
        }
        for (place, name) in [("", "entries.ndjson"), ("sqlite:", "entries.db")] {
            let path = folder.path().join(name);
            let url: DataUrl = format!("{place}{}", path.display()).parse().unwrap();
            for _ in 0..2 {
                let (to, rows) = mpsc::channel(1);
                to.send(Message::Whole).await.unwrap();
                drop(to);
                assert!(write(&url, None, None, rows).await.unwrap().is_some());
                let found = std::fs::metadata(&path).unwrap();
                assert_eq!((found.uid(), found.gid()), (4321, 1234), "{name}");
            }
        }
    }
}
