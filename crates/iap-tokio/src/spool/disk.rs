//! The durable store: one SQLite file in WAL mode, below a directory that one process holds.
//!
//! Rows hold up to 64 KiB of packed records under a checksum, so that a commit of 256 records costs three inserts and
//! a delivered group one delete. What is written in one call of [`Disk::commit`] is one transaction.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, params};

use super::index::{CachedRow, Index, NewRow};
use super::pack;
use super::record::Spooled;
use super::reserve::Reserve;
use super::{Checkpoint, DeadLetter, Durability, SpoolConfig, SpoolError, time_from_ms};

/// The format that this version reads and writes.
const FORMAT: i64 = 1;
/// Marks an SQLite file as a spool: "iapS".
const APPLICATION_ID: i64 = 0x6961_7053;
const MARK: &str = "iap-spool ";

const SCHEMA: &str = "
    CREATE TABLE rows (first INTEGER PRIMARY KEY, count INTEGER NOT NULL, octets INTEGER NOT NULL,
        time_ms INTEGER NOT NULL, crc INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
    CREATE TABLE settled (first INTEGER PRIMARY KEY, end INTEGER NOT NULL) STRICT;
    CREATE TABLE checkpoints (source TEXT PRIMARY KEY, position BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE dead_letters (seq INTEGER PRIMARY KEY, status INTEGER NOT NULL, time_ms INTEGER NOT NULL,
        octets INTEGER NOT NULL, crc INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO counters VALUES ('next_seq', 1);";

/// A row to be stored.
#[derive(Clone, Debug)]
pub(super) struct StoredRow {
    pub(super) first: u64,
    pub(super) count: u32,
    pub(super) octets: u64,
    pub(super) time_ms: u64,
    pub(super) data: Bytes,
}

/// A record that becomes a dead letter.
#[derive(Clone, Debug)]
pub(super) struct Dying {
    pub(super) seq: u64,
    pub(super) status: u16,
    pub(super) time_ms: u64,
    /// The record itself; the durable store looks it up instead.
    pub(super) record: Option<Spooled>,
}

/// Everything that one transaction does.
#[derive(Debug, Default)]
pub(super) struct Work<'a> {
    pub(super) rows: &'a [StoredRow],
    pub(super) checkpoints: &'a [Checkpoint],
    pub(super) removed: &'a [Range<u64>],
    /// Rows below this number are dropped.
    pub(super) drop_below: u64,
    pub(super) partial: Option<&'a [Range<u64>]>,
    pub(super) dying: &'a [Dying],
    /// Dead letters that leave.
    pub(super) undead: &'a [u64],
    pub(super) next_seq: u64,
}

/// The dead letters that a store holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dead {
    pub(super) count: u64,
    pub(super) octets: u64,
    /// How many were dropped since opening, for their limits.
    pub(super) dropped: u64,
}

#[derive(Debug)]
pub(super) struct Disk {
    db: Connection,
    path: PathBuf,
    dead: Dead,
    max_dead: Dead,
    reserve: Reserve,
    /// Locked for as long as it is open.
    _lock: File,
}

/// What was found on opening.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) disk: Disk,
    pub(super) source: Source,
    pub(super) index: Index,
    pub(super) checkpoints: Vec<Checkpoint>,
}

impl Disk {
    /// Opens the spool in `path`, creating it if there is nothing.
    pub(super) fn open(path: &Path, config: &SpoolConfig, group_ms: u64) -> Result<Found, SpoolError> {
        let io = |what: &'static str| move |error: std::io::Error| SpoolError::io(path, what, &error);
        create_dir(path).map_err(io("cannot create the directory"))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let lock = options.open(path.join("lock")).map_err(io("cannot open the file `lock`"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SpoolError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(SpoolError::io(path, "cannot lock the file `lock`", &error)),
        }
        let mut mark = String::new();
        let read = (&lock).take(64).read_to_string(&mut mark);
        read.map_err(io("cannot read the file `lock`"))?;
        let file = path.join("spool.sqlite");
        let marked = check_mark(path, &file, &mark)?;

        let sqlite = |error: rusqlite::Error| SpoolError::sqlite(path, &error);
        let db = Connection::open(&file).map_err(sqlite)?;
        db.busy_timeout(Duration::from_secs(5)).map_err(sqlite)?;
        prepare(path, &db, config.durability)?;
        if !marked {
            let mark = format!("{MARK}{FORMAT}\n");
            (&lock).write_all(mark.as_bytes()).and_then(|()| lock.sync_all()).map_err(io("cannot write `lock`"))?;
            #[cfg(unix)]
            File::open(path).and_then(|dir| dir.sync_all()).map_err(io("cannot flush the directory"))?;
        }
        let (index, checkpoints, dead) = load(path, &db, config, group_ms)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let source = Connection::open_with_flags(&file, flags).map_err(sqlite)?;
        source.busy_timeout(Duration::from_secs(5)).map_err(sqlite)?;
        source.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -256;").map_err(sqlite)?;
        let max_dead = Dead { count: config.max_dead_letters, octets: config.max_dead_letter_bytes, ..Dead::default() };
        let source = Source { db: source, path: path.to_owned() };
        let reserve = Reserve::open(path);
        let disk = Self { db, path: path.to_owned(), dead, max_dead, reserve, _lock: lock };
        Ok(Found { disk, source, index, checkpoints })
    }

    /// Does all of `work` or nothing.
    pub(super) fn commit(&mut self, work: &Work<'_>) -> Result<(), SpoolError> {
        let grows = !work.rows.is_empty();
        if grows && !self.reserve.restore() && !self.has_pages(work)? {
            return Err(SpoolError::DiskFull { path: self.path.clone() });
        }
        let outcome = self.try_commit(work);
        if grows || !matches!(outcome, Err(SpoolError::DiskFull { .. })) {
            return outcome;
        }
        // Once the log's content has moved to the store, the log's own space is enough for a removal.
        if self.empty_log() {
            return self.try_commit(work);
        }
        if self.reserve.give_up() && self.empty_log() {
            tracing::warn!(spool = %self.path.display(), "disk full: the spool's reserve is used up to remove records");
            return self.try_commit(work);
        }
        outcome
    }

    /// Whether `work` fits into pages that the store has already.
    fn has_pages(&self, work: &Work<'_>) -> Result<bool, SpoolError> {
        let free = self.db.query_row("PRAGMA freelist_count", [], |row| row.get::<_, i64>(0));
        let free = free.map_err(|error| SpoolError::sqlite(&self.path, &error))? as usize;
        let octets: usize = work.rows.iter().map(|row| row.data.len()).sum();
        // A row begins in a page that it shares, and ends in one that it does not fill.
        Ok(free > octets / 4000 + 2 * work.rows.len() + 64)
    }

    fn empty_log(&self) -> bool {
        let busy = self.db.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get::<_, i64>(0));
        busy == Ok(0)
    }

    fn try_commit(&mut self, work: &Work<'_>) -> Result<(), SpoolError> {
        let path = &self.path;
        let sqlite = |error: rusqlite::Error| SpoolError::sqlite(path, &error);
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sqlite)?;
        let mut dead = self.dead;
        let done = (|| {
            let db = &*transaction;
            bury(db, work.dying, &mut dead)?;
            for seq in work.undead {
                let octets = db
                    .prepare_cached("DELETE FROM dead_letters WHERE seq = ?1 RETURNING octets")?
                    .query_row([*seq as i64], |row| row.get::<_, i64>(0))
                    .optional()?;
                if let Some(octets) = octets {
                    dead.count -= 1;
                    dead.octets -= octets as u64;
                }
            }
            limit_dead(db, &mut dead, &self.max_dead)?;
            if work.drop_below > 0 {
                db.prepare_cached("DELETE FROM rows WHERE first < ?1")?.execute([work.drop_below as i64])?;
            }
            for range in work.removed {
                db.prepare_cached("DELETE FROM rows WHERE first >= ?1 AND first < ?2")?
                    .execute([range.start as i64, range.end as i64])?;
            }
            if let Some(ranges) = work.partial {
                db.prepare_cached("DELETE FROM settled")?.execute([])?;
                let mut insert = db.prepare_cached("INSERT INTO settled (first, end) VALUES (?1, ?2)")?;
                for range in ranges {
                    insert.execute([range.start as i64, range.end as i64])?;
                }
            }
            let mut insert = db.prepare_cached(
                "INSERT INTO rows (first, count, octets, time_ms, crc, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for row in work.rows {
                let crc = pack::checksum(&row.data);
                insert.execute(params![
                    row.first as i64,
                    row.count,
                    row.octets as i64,
                    row.time_ms as i64,
                    crc,
                    &row.data[..]
                ])?;
            }
            for checkpoint in work.checkpoints {
                db.prepare_cached("INSERT OR REPLACE INTO checkpoints (source, position) VALUES (?1, ?2)")?
                    .execute(params![checkpoint.source, checkpoint.position])?;
            }
            // Only rows tell the next number otherwise, and rows go.
            if work.drop_below > 0 || !work.removed.is_empty() {
                db.prepare_cached("UPDATE counters SET value = ?1 WHERE name = 'next_seq'")?
                    .execute([work.next_seq as i64])?;
            }
            Ok(())
        })();
        done.map_err(sqlite)?;
        transaction.commit().map_err(sqlite)?;
        self.dead = dead;
        Ok(())
    }

    pub(super) fn dead(&self) -> Dead {
        self.dead
    }

    /// Up to `limit` dead letters with numbers above `after`, in order.
    pub(super) fn dead_letters(&self, after: u64, limit: usize) -> Result<Vec<DeadLetter>, SpoolError> {
        let sqlite = |error: rusqlite::Error| SpoolError::sqlite(&self.path, &error);
        let mut select = self
            .db
            .prepare_cached(
                "SELECT seq, status, time_ms, crc, data FROM dead_letters WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )
            .map_err(sqlite)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut rows = select.query([after.min(i64::MAX as u64) as i64, limit]).map_err(sqlite)?;
        let mut letters = Vec::new();
        while let Some(row) = rows.next().map_err(sqlite)? {
            let seq = row.get::<_, i64>(0).map_err(sqlite)? as u64;
            let data: Vec<u8> = row.get(4).map_err(sqlite)?;
            let intact = row.get::<_, u32>(3).map_err(sqlite)? == pack::checksum(&data);
            let mut record = None;
            let unpacked = pack::unpack(seq, 1, &data.into(), |one| record = Some(one.record));
            let Some(record) = record.filter(|_| intact && unpacked.is_ok()) else {
                return Err(SpoolError::corrupt(&self.path, format!("dead letter {seq} is not as it was written")));
            };
            let time = time_from_ms(row.get::<_, i64>(2).map_err(sqlite)? as u64);
            letters.push(DeadLetter { seq, status: row.get(1).map_err(sqlite)?, time, record });
        }
        Ok(letters)
    }

    /// Gives some unused pages back to the file system; whether there may be more to give.
    pub(super) fn tidy(&self) -> Result<bool, SpoolError> {
        let sqlite = |error: rusqlite::Error| SpoolError::sqlite(&self.path, &error);
        let number = |pragma| self.db.query_row(pragma, [], |row| row.get::<_, i64>(0)).map_err(sqlite);
        let (free, all) = (number("PRAGMA freelist_count")?, number("PRAGMA page_count")?);
        // Four megabytes stay for what comes next, and a half-full file is not worth the moving.
        if free < 1024 || free < all / 2 {
            return Ok(false);
        }
        let mut vacuum = self.db.prepare("PRAGMA incremental_vacuum(2048)").map_err(sqlite)?;
        let mut steps = vacuum.query([]).map_err(sqlite)?;
        while steps.next().map_err(sqlite)?.is_some() {}
        // The file itself becomes shorter when the log moves into it.
        number("PRAGMA wal_checkpoint(PASSIVE)")?;
        Ok(true)
    }

    /// Moves the log into the store, so that the next opening need not.
    pub(super) fn close(self) -> Result<(), SpoolError> {
        let close = self.db.close().map_err(|(_, error)| error);
        close.map_err(|error| SpoolError::sqlite(&self.path, &error))
    }
}

/// The reading side, with a connection of its own: reads do not wait for a commit.
#[derive(Debug)]
pub(super) struct Source {
    db: Connection,
    path: PathBuf,
}

impl Source {
    /// The rows that start in `range`.
    pub(super) fn read(&self, range: &Range<u64>) -> Result<Vec<CachedRow>, SpoolError> {
        read_rows(&self.db, &self.path, range)
    }
}

impl Disk {
    /// The rows that start in `range`.
    pub(super) fn read(&self, range: &Range<u64>) -> Result<Vec<CachedRow>, SpoolError> {
        read_rows(&self.db, &self.path, range)
    }
}

fn read_rows(db: &Connection, path: &Path, range: &Range<u64>) -> Result<Vec<CachedRow>, SpoolError> {
    let sqlite = |error: rusqlite::Error| SpoolError::sqlite(path, &error);
    let mut select = db
        .prepare_cached("SELECT first, count, crc, data FROM rows WHERE first >= ?1 AND first < ?2 ORDER BY first")
        .map_err(sqlite)?;
    let mut rows = select.query([range.start as i64, range.end as i64]).map_err(sqlite)?;
    let mut out = Vec::new();
    while let Some(row) = rows.next().map_err(sqlite)? {
        let first = row.get::<_, i64>(0).map_err(sqlite)? as u64;
        let data: Vec<u8> = row.get(3).map_err(sqlite)?;
        if pack::checksum(&data) != row.get::<_, u32>(2).map_err(sqlite)? {
            return Err(SpoolError::corrupt(path, format!("the row of record {first} is not as it was written")));
        }
        out.push(CachedRow { first, count: row.get(1).map_err(sqlite)?, data: data.into() });
    }
    Ok(out)
}

fn create_dir(path: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    // Alerts tell what an attacker would like to know.
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Whether the directory was a spool before, by the mark in its lock file; an error if it says so but the store is
/// gone: an empty spool must never stand in for a lost one.
fn check_mark(path: &Path, file: &Path, mark: &str) -> Result<bool, SpoolError> {
    if mark.is_empty() {
        return Ok(false);
    }
    let format = mark.strip_prefix(MARK).and_then(|format| format.trim_end().parse::<i64>().ok());
    match format {
        Some(FORMAT) => {}
        Some(found) => return Err(SpoolError::Format { path: path.to_owned(), found, supported: FORMAT }),
        None => return Err(SpoolError::corrupt(path, "the file `lock` is not that of a spool")),
    }
    match fs::metadata(file) {
        Ok(meta) if meta.len() > 0 => Ok(true),
        Ok(_) => Err(SpoolError::corrupt(path, "the file `spool.sqlite` is empty")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(SpoolError::corrupt(path, "the file `spool.sqlite` is missing"))
        }
        Err(error) => Err(SpoolError::io(path, "cannot look at the file `spool.sqlite`", &error)),
    }
}

fn prepare(path: &Path, db: &Connection, durability: Durability) -> Result<(), SpoolError> {
    let sqlite = |error: rusqlite::Error| SpoolError::sqlite(path, &error);
    let number = |query| db.query_row(query, [], |row| row.get::<_, i64>(0)).map_err(sqlite);
    let application = number("PRAGMA application_id")?;
    let found = number("PRAGMA user_version")?;
    let fresh = application == 0 && found == 0 && number("SELECT count(*) FROM sqlite_schema")? == 0;
    if !fresh && application != APPLICATION_ID {
        return Err(SpoolError::corrupt(path, "the file `spool.sqlite` is some other program's database"));
    }
    if !fresh && found != FORMAT {
        return Err(SpoolError::Format { path: path.to_owned(), found, supported: FORMAT });
    }
    let synchronous = match durability {
        Durability::PowerLoss => "FULL",
        Durability::ProcessKill => "NORMAL",
    };
    // The order matters: page size and vacuum mode only count before the first table.
    db.execute_batch(&format!(
        "PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;
         PRAGMA synchronous = {synchronous}; PRAGMA cache_size = -2048; PRAGMA mmap_size = 0;
         PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 8388608;"
    ))
    .map_err(sqlite)?;
    if fresh {
        let stamp = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT};");
        db.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} {stamp} COMMIT;")).map_err(sqlite)?;
    }
    Ok(())
}

fn load(
    path: &Path,
    db: &Connection,
    config: &SpoolConfig,
    group_ms: u64,
) -> Result<(Index, Vec<Checkpoint>, Dead), SpoolError> {
    let sqlite = |error: rusqlite::Error| SpoolError::sqlite(path, &error);
    let mut index = Index::new(1, config.group_octets(), group_ms, config.cache_bytes);
    let mut select =
        db.prepare("SELECT first, count, octets, time_ms, length(data) FROM rows ORDER BY first").map_err(sqlite)?;
    let mut rows = select.query([]).map_err(sqlite)?;
    while let Some(row) = rows.next().map_err(sqlite)? {
        let number = |column| row.get::<_, i64>(column).map_err(sqlite);
        let (first, count) = (number(0)?, number(1)?);
        // A packed record takes five octets and its body: nothing is believed beyond that.
        let room = number(4)?;
        let row = (u64::try_from(first).ok().filter(|first| *first >= index.next_seq()))
            .zip(u32::try_from(count).ok().filter(|count| *count > 0 && i64::from(*count) <= room / 5))
            .zip(u64::try_from(number(2)?).ok().filter(|octets| *octets <= 4 * room as u64));
        let Some(((first, count), octets)) = row else {
            return Err(SpoolError::corrupt(path, format!("row {first} has impossible numbers")));
        };
        index.push(NewRow { first, count, octets, time_ms: number(3)?.max(0) as u64, data: None });
    }
    let next_seq = "SELECT max((SELECT value FROM counters WHERE name = 'next_seq'),
        (SELECT coalesce(max(seq) + 1, 1) FROM dead_letters))";
    let next_seq = db.query_row(next_seq, [], |row| row.get::<_, i64>(0)).map_err(sqlite)?;
    index.skip_to(next_seq.max(1) as u64);

    let mut select = db.prepare("SELECT first, end FROM settled").map_err(sqlite)?;
    let mut rows = select.query([]).map_err(sqlite)?;
    while let Some(row) = rows.next().map_err(sqlite)? {
        let (first, end) = (row.get::<_, i64>(0).map_err(sqlite)?, row.get::<_, i64>(1).map_err(sqlite)?);
        // Dropping the oldest leaves what was said about them behind.
        let start = first.max(0).max(index.head() as i64);
        if end - start > index.depth() as i64 {
            return Err(SpoolError::corrupt(path, format!("the settled records {first} to {end} cannot be")));
        }
        for seq in start as u64..end.max(start) as u64 {
            index.settle(seq);
        }
    }
    for span in index.inexact() {
        // A damaged row is told to the reader that comes to it.
        if let Ok(rows) = read_rows(db, path, &span) {
            index.learn(span.start, rows.iter().flat_map(|row| pack::charges(&row.data)).collect());
        }
    }
    let mut select = db.prepare("SELECT source, position FROM checkpoints").map_err(sqlite)?;
    let checkpoints = select
        .query_map([], |row| Ok(Checkpoint { source: row.get(0)?, position: row.get(1)? }))
        .and_then(Iterator::collect)
        .map_err(sqlite)?;
    let dead = db
        .query_row("SELECT count(*), coalesce(sum(octets), 0) FROM dead_letters", [], |row| {
            Ok(Dead { count: row.get::<_, i64>(0)? as u64, octets: row.get::<_, i64>(1)? as u64, dropped: 0 })
        })
        .map_err(sqlite)?;
    Ok((index, checkpoints, dead))
}

/// Moves records to the dead letters. Their rows are deleted by somebody else, when all of the row is settled.
fn bury(db: &Connection, dying: &[Dying], dead: &mut Dead) -> rusqlite::Result<()> {
    let mut row: Option<CachedRow> = None;
    for one in dying {
        let here = |row: &CachedRow| (row.first..row.first + u64::from(row.count)).contains(&one.seq);
        if !row.as_ref().is_some_and(here) {
            let query = "SELECT first, count, data FROM rows WHERE first <= ?1 ORDER BY first DESC LIMIT 1";
            row = db
                .prepare_cached(query)?
                .query_row([one.seq as i64], |row| {
                    let data: Vec<u8> = row.get(2)?;
                    Ok(CachedRow { first: row.get::<_, i64>(0)? as u64, count: row.get(1)?, data: data.into() })
                })
                .optional()?;
        }
        let mut record = None;
        if let Some(row) = row.as_ref().filter(|row| here(row)) {
            let _ = pack::unpack(row.first, row.count, &row.data, |spooled| {
                if spooled.seq == one.seq {
                    record = Some(spooled.record);
                }
            });
        }
        let Some(record) = record else {
            tracing::error!(seq = one.seq, "a rejected record is not in the spool and cannot be set aside");
            continue;
        };
        let packed = pack::pack(&[record], usize::MAX).pop().unwrap_or_default();
        let crc = pack::checksum(&packed.data);
        db.prepare_cached(
            "INSERT OR REPLACE INTO dead_letters (seq, status, time_ms, octets, crc, data)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            one.seq as i64,
            one.status,
            one.time_ms as i64,
            packed.octets as i64,
            crc,
            packed.data
        ])?;
        dead.count += 1;
        dead.octets += packed.octets;
    }
    Ok(())
}

fn limit_dead(db: &Connection, dead: &mut Dead, limit: &Dead) -> rusqlite::Result<()> {
    while dead.count > limit.count || dead.octets > limit.octets {
        let octets = db
            .prepare_cached(
                "DELETE FROM dead_letters WHERE seq = (SELECT min(seq) FROM dead_letters) RETURNING octets",
            )?
            .query_row([], |row| row.get::<_, i64>(0))
            .optional()?;
        let Some(octets) = octets else { break };
        dead.count -= 1;
        dead.octets -= octets as u64;
        dead.dropped += 1;
    }
    Ok(())
}
