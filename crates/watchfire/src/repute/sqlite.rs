//! Entries in SQLite: one table, which may be written to by other programs too.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Statement, params};
use tokio::sync::mpsc;

use super::row::Row;
use super::snapshot::{Builder, Loaded, Snapshot};
use super::write::{Message, Replace, Written};
use crate::exit::{Failure, file_failure};
use crate::pki::files::sync_folder;
use crate::replace::{Owner, beside};
use crate::store::{remedy_of_sqlite, what_of_sqlite};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS reputon (
        application TEXT NOT NULL,
        rated TEXT NOT NULL,
        assertion TEXT NOT NULL,
        rater TEXT NOT NULL DEFAULT '',
        identity TEXT NOT NULL DEFAULT '',
        code TEXT NOT NULL DEFAULT '',
        rating REAL NOT NULL CHECK (rating BETWEEN 0 AND 1),
        confidence REAL CHECK (confidence BETWEEN 0 AND 1),
        normal_rating REAL CHECK (normal_rating BETWEEN 0 AND 1),
        sample_size INTEGER CHECK (sample_size >= 0),
        generated INTEGER CHECK (generated >= 0),
        expires INTEGER CHECK (expires >= 0),
        extensions TEXT,
        PRIMARY KEY (application, rated, assertion, rater, identity, code)
    ) STRICT, WITHOUT ROWID;";

const INSERT: &str = "INSERT OR REPLACE INTO reputon VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";

/// A database that is read, and watched for changes.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    watch: Option<Watch>,
}

#[derive(Debug)]
struct Watch {
    connection: Connection,
    inode: u64,
    version: i64,
}

fn failed(path: &Path, error: &rusqlite::Error) -> Failure {
    let failure = Failure::usage(what_of_sqlite(path, error)).at(format!("sqlite:{}", path.display()));
    match remedy_of_sqlite(path, error) {
        Some(remedy) => failure.remedy(remedy),
        None => failure,
    }
}

fn open(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

impl Source {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), watch: None }
    }

    /// The snapshot, if the database has changed since the last time.
    pub(super) fn load(&mut self, even_so: bool) -> Result<Option<Snapshot>, Failure> {
        let path = self.path.clone();
        let failed = |error: rusqlite::Error| failed(&path, &error);
        let inode = std::fs::metadata(&path).map_err(|error| file_failure("read the entries", &path, &error))?.ino();
        if self.watch.as_ref().is_none_or(|watch| watch.inode != inode) {
            // The log of one who writes can only be joined for writing; a copy on a read-only disk has none.
            let connection = open(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)
                .and_then(|connection| connection.pragma_update(None, "query_only", true).map(|()| connection))
                .or_else(|_| open(&path, OpenFlags::SQLITE_OPEN_READ_ONLY))
                .map_err(failed)?;
            self.watch = Some(Watch { connection, inode, version: -1 });
        }
        let Some(watch) = &mut self.watch else { return Ok(None) };
        let version: i64 =
            watch.connection.pragma_query_value(None, "data_version", |row| row.get(0)).map_err(failed)?;
        if version == watch.version && !even_so {
            return Ok(None);
        }
        let builder = Builder::new();
        let (mut loader, mut loaded) = (builder.loader(), Loaded::default());
        let mut select = watch
            .connection
            .prepare("SELECT * FROM reputon")
            .map_err(|error| failed(error).remedy("fill it with `watchfire repute import`, which makes the table"))?;
        let mut rows = select.query(()).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let row = row_of(row).map_err(failed)?;
            row.load(&mut loader, &mut loaded)
                .map_err(|what| Failure::usage(what).at(format!("sqlite:{}", path.display())))?;
        }
        drop(rows);
        drop(select);
        watch.version = version;
        loaded.shrink();
        let shapes = loader.end();
        Ok(Some(builder.finish(vec![(loaded, shapes)])))
    }
}

fn row_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        application: row.get("application")?,
        assertion: row.get("assertion")?,
        rated: row.get("rated")?,
        rater: row.get("rater")?,
        identity: row.get("identity")?,
        code: row.get("code")?,
        rating: row.get("rating")?,
        confidence: row.get("confidence")?,
        normal_rating: row.get("normal_rating")?,
        sample_size: row.get("sample_size")?,
        generated: row.get("generated")?,
        expires: row.get("expires")?,
        extensions: row.get("extensions")?,
    })
}

/// Writes what comes, all of it or nothing. A database that is new is there when all of it is.
pub(super) fn write(
    path: &Path,
    replace: Option<&Replace>,
    rows: mpsc::Receiver<Message>,
) -> Result<Option<Written>, Failure> {
    if std::fs::symlink_metadata(path).is_ok() {
        return write_into(path, path, replace, rows);
    }
    let draft = beside(path, &format!(".{}.new", std::process::id()));
    let cannot_write = |error: std::io::Error| file_failure("write the entries", path, &error);
    // SQLite makes what goes with it the same owner's.
    let made = File::options().write(true).create_new(true).open(&draft);
    let owned = made.and_then(|made| Owner::of(path).take(&made)).map_err(cannot_write);
    let written = owned.and_then(|()| write_into(&draft, path, replace, rows));
    let placed = match written {
        // Unlike a rename, a link fails when somebody else has made it meanwhile.
        Ok(Some(written)) => std::fs::hard_link(&draft, path).map(|()| Some(written)).map_err(cannot_write),
        failed => failed,
    };
    for ending in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(beside(&draft, ending));
    }
    sync_folder(path);
    placed
}

/// Writes into a database at `path`, which `shown` stands for in errors.
fn write_into(
    path: &Path,
    shown: &Path,
    replace: Option<&Replace>,
    mut rows: mpsc::Receiver<Message>,
) -> Result<Option<Written>, Failure> {
    let failed = |error: rusqlite::Error| failed(shown, &error);
    let mut connection =
        open(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE).map_err(failed)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    connection.pragma_update(None, "cache_size", -65_536).map_err(failed)?;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(failed)?;
    transaction.execute_batch(SCHEMA).map_err(failed)?;
    let mut removed = 0;
    if let Some(Replace { application, rater }) = replace {
        let delete = "DELETE FROM reputon WHERE application = ?1 AND rater = ?2";
        removed = transaction.execute(delete, [application, rater]).map_err(failed)? as u64;
    }
    let mut insert = transaction.prepare(INSERT).map_err(failed)?;
    let mut is_whole = false;
    while let Some(message) = rows.blocking_recv() {
        match message {
            Message::Rows(rows) => rows.iter().try_for_each(|row| put(&mut insert, row)).map_err(failed)?,
            Message::Whole => is_whole = true,
        }
    }
    drop(insert);
    if !is_whole {
        transaction.rollback().map_err(failed)?;
        return Ok(None);
    }
    let stored: i64 = transaction.query_row("SELECT count(*) FROM reputon", (), |row| row.get(0)).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(Some(Written { removed, stored: u64::try_from(stored).unwrap_or(0) }))
}

fn put(insert: &mut Statement<'_>, row: &Row) -> rusqlite::Result<()> {
    insert.execute(params![
        row.application,
        row.rated,
        row.assertion,
        row.rater,
        row.identity,
        row.code,
        row.rating,
        row.confidence,
        row.normal_rating,
        row.sample_size,
        row.generated,
        row.expires,
        row.extensions
    ])?;
    Ok(())
}
