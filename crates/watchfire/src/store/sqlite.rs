//! SQLite: one file, one writing thread, many readers.
//!
//! The writer takes all batches that wait and commits them together: the cost of forcing the disk is shared. With
//! `synchronous=FULL` in WAL mode a commit that has returned survives a power cut.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ipnet::IpNet;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, params};
use tokio::sync::{mpsc, oneshot};

use super::{
    Access, AlertRecord, AlertStore, AlertStream, BoxFuture, Filter, Insertion, Retention, StoreError, network,
};
use crate::pki::files;

/// What makes each version of the schema from the one before.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE alert (
        id INTEGER PRIMARY KEY,
        received INTEGER NOT NULL,
        peer TEXT NOT NULL,
        content_type TEXT NOT NULL,
        sha256 BLOB NOT NULL,
        key BLOB NOT NULL,
        parsed INTEGER NOT NULL,
        sources BLOB NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX alert_key ON alert (key);
    CREATE INDEX alert_received ON alert (received);
    CREATE TABLE alert_source (
        addr BLOB NOT NULL,
        alert INTEGER NOT NULL,
        PRIMARY KEY (addr, alert)
    ) STRICT, WITHOUT ROWID;
"];

/// So many alerts are committed together at most, one batch more or less.
const GROUP: usize = 8192;
/// So many batches may wait for the writer.
const QUEUE: usize = 1024;
/// So many alerts are dropped in one transaction.
const PRUNE_CHUNK: u32 = 2000;

/// A store in a file.
pub struct SqliteStore {
    path: PathBuf,
    writer: Option<mpsc::Sender<Job>>,
}

enum Job {
    Insert(Vec<Arc<AlertRecord>>, oneshot::Sender<Result<Vec<Insertion>, StoreError>>),
    Prune(Retention, oneshot::Sender<Result<u64, StoreError>>),
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the file; with [`Access::Write`] it is made when missing, with [`Access::Read`] nothing can be inserted.
    ///
    /// # Errors
    /// Missing folder, no database, a newer schema.
    pub fn open(path: &Path, access: Access) -> Result<Self, StoreError> {
        let names = Names(path.to_owned());
        if access == Access::Read {
            let connection = names.read()?;
            names.check_schema(&connection)?;
            return Ok(Self { path: path.to_owned(), writer: None });
        }
        let connection = names.write()?;
        let (writer, jobs) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("sqlite".into())
            .spawn(move || Writer { connection, names }.run(jobs))
            .map_err(|error| StoreError::Failed { store: path.display().to_string(), what: error.to_string() })?;
        Ok(Self { path: path.to_owned(), writer: Some(writer) })
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job) -> Result<T, StoreError> {
        let closed = || StoreError::Failed {
            store: self.path.display().to_string(),
            what: if self.writer.is_some() { "the writer has ended" } else { "opened for reading only" }.into(),
        };
        let (answer, answered) = oneshot::channel();
        let writer = self.writer.as_ref().ok_or_else(closed)?;
        writer.send(job(answer)).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

impl AlertStore for SqliteStore {
    fn insert_batch(&self, batch: Vec<Arc<AlertRecord>>) -> BoxFuture<'_, Result<Vec<Insertion>, StoreError>> {
        Box::pin(self.ask(|answer| Job::Insert(batch, answer)))
    }

    fn query(&self, filter: Filter) -> BoxFuture<'_, Result<AlertStream, StoreError>> {
        let names = Names(self.path.clone());
        Box::pin(async move {
            let (sender, rows) = mpsc::channel(256);
            tokio::task::spawn_blocking(move || {
                if let Err(error) = names.stream(&filter, &sender) {
                    let _ = sender.blocking_send(Err(error));
                }
            });
            Ok(AlertStream { rows })
        })
    }

    fn prune(&self, retention: Retention) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.ask(move |answer| Job::Prune(retention, answer)))
    }
}

/// SQLite's own words, without the path that stands before them anyway.
pub(crate) fn what_of_sqlite(path: &Path, error: &rusqlite::Error) -> String {
    let text = error.to_string();
    text.strip_suffix(&format!(": {}", path.display())).unwrap_or(&text).to_owned()
}

/// What to do about an error of SQLite.
pub(crate) fn remedy_of_sqlite(path: &Path, error: &rusqlite::Error) -> Option<&'static str> {
    match error.sqlite_error_code()? {
        _ if path.is_dir() => Some("it is a folder: name a file"),
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly => {
            Some("check that its folder is there, and the owner and mode of both")
        }
        ErrorCode::NotADatabase => Some("name a file of SQLite, or for writing one that is not there yet"),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Some("another program writes to it; try again"),
        ErrorCode::DiskFull => Some("make room on the disk"),
        ErrorCode::DatabaseCorrupt => Some("put back a copy of it"),
        ErrorCode::SystemIoFailure => Some("check the disk, and that it is a file"),
        _ => None,
    }
}

/// Opens connections, and names the file in errors.
struct Names(PathBuf);

impl Names {
    fn failed(&self, error: &rusqlite::Error) -> StoreError {
        let (store, mut what) = (self.0.display().to_string(), what_of_sqlite(&self.0, error));
        if let Some(remedy) = remedy_of_sqlite(&self.0, error) {
            what.push_str(&format!("; {remedy}"));
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full { store, what },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Unavailable { store, what },
            Some(
                ErrorCode::CannotOpen | ErrorCode::NotADatabase | ErrorCode::ReadOnly | ErrorCode::PermissionDenied,
            ) => StoreError::Unusable { store, what },
            _ => StoreError::Failed { store, what },
        }
    }

    fn open(&self, flags: OpenFlags) -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(&self.0, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        Ok(connection)
    }

    fn read(&self) -> Result<Connection, StoreError> {
        if !self.0.exists() {
            let what = "no such file; name the store that the manager writes to".into();
            return Err(StoreError::Unusable { store: self.0.display().to_string(), what });
        }
        // The log of a running manager can only be joined for writing; a copy on a read-only disk has none.
        self.open(OpenFlags::SQLITE_OPEN_READ_WRITE)
            .and_then(|connection| connection.pragma_update(None, "query_only", true).map(|()| connection))
            .or_else(|_| self.open(OpenFlags::SQLITE_OPEN_READ_ONLY))
            .map_err(|error| self.failed(&error))
    }

    fn write(&self) -> Result<Connection, StoreError> {
        // Its log and index get the same rights.
        files::make_empty(&self.0, 0o640);
        let mut connection = self
            .open(OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
            .map_err(|error| self.failed(&error))?;
        let known = MIGRATIONS.len() as i64;
        let prepared = (|| {
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "cache_size", -65_536)?;
            // Keys come in no order, so pages of their index change again and again: the later they are moved from
            // the log (64 MiB) to the file, the fewer times.
            connection.pragma_update(None, "wal_autocheckpoint", 16_384)?;
            let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            transaction
                .execute_batch("CREATE TABLE IF NOT EXISTS watchfire_schema (version INTEGER NOT NULL) STRICT")?;
            let version = version(&transaction)?;
            if version <= known {
                for migration in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(0)) {
                    transaction.execute_batch(migration)?;
                }
                transaction.execute("DELETE FROM watchfire_schema", ())?;
                transaction.execute("INSERT INTO watchfire_schema VALUES (?1)", [known])?;
                transaction.commit()?;
            }
            Ok(version)
        })();
        match prepared.map_err(|error| self.failed(&error))? {
            found if found > known => {
                Err(StoreError::NewerSchema { store: self.0.display().to_string(), found, known })
            }
            _ => Ok(connection),
        }
    }

    fn check_schema(&self, connection: &Connection) -> Result<(), StoreError> {
        let store = || self.0.display().to_string();
        let found = version(connection).map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => self.failed(&error),
            _ => StoreError::Unusable { store: store(), what: format!("not a store of alerts: {error}") },
        })?;
        let known = MIGRATIONS.len() as i64;
        match found {
            found if found > known => Err(StoreError::NewerSchema { store: store(), found, known }),
            found if found < known => {
                let what = format!("has schema version {found}; start the manager once to bring it to {known}");
                Err(StoreError::Unusable { store: store(), what })
            }
            _ => Ok(()),
        }
    }

    fn stream(&self, filter: &Filter, rows: &mpsc::Sender<Result<AlertRecord, StoreError>>) -> Result<(), StoreError> {
        let connection = self.read()?;
        self.check_schema(&connection)?;
        let streamed = (|| {
            let transaction = connection.unchecked_transaction()?;
            let mut conditions = vec!["received >= ?1 AND received < ?6".to_owned()];
            let source = filter.source.map(network);
            let (low, high) = source.map(range).unwrap_or_default();
            if let Some(source) = source {
                // Those of IPv4 stand there as mapped ones, within networks of IPv6 in which they are not.
                let plain = match source {
                    IpNet::V4(_) => "",
                    IpNet::V6(_) => " AND substr(addr, 1, 12) <> x'00000000000000000000ffff'",
                };
                let found = format!("SELECT alert FROM alert_source WHERE addr BETWEEN ?2 AND ?3{plain}");
                conditions.push(format!("id IN ({found})"));
            } else {
                // Keeps the numbers of the parameters.
                conditions.push("?2 = ?3".into());
            }
            let matching = conditions.join(" AND ");
            let (since, until) = (filter.since.unwrap_or(i64::MIN), filter.until.unwrap_or(i64::MAX));
            let mut cutoff = (i64::MIN, i64::MIN);
            if let Some(limit) = filter.limit {
                if limit == 0 {
                    return Ok(());
                }
                let sql = format!(
                    "SELECT received, id FROM alert WHERE {matching} ORDER BY received DESC, id DESC LIMIT 1 OFFSET ?4 + ?5"
                );
                let skip = i64::try_from(limit - 1).unwrap_or(i64::MAX);
                cutoff = transaction
                    .query_row(&sql, params![since, low, high, skip, 0, until], |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()?
                    .unwrap_or(cutoff);
            }
            // Numbers only, should they have to be sorted; bodies are fetched one by one.
            let sql =
                format!("SELECT id FROM alert WHERE {matching} AND (received, id) >= (?4, ?5) ORDER BY received, id");
            let mut ids = transaction.prepare(&sql)?;
            let mut one =
                transaction.prepare("SELECT received, peer, content_type, parsed, body FROM alert WHERE id = ?1")?;
            let mut ids = ids.query(params![since, low, high, cutoff.0, cutoff.1, until])?;
            while let Some(row) = ids.next()? {
                let record = one.query_row([row.get::<_, i64>(0)?], |row| {
                    let body = Bytes::from(row.get::<_, Vec<u8>>(4)?);
                    let message = row.get::<_, bool>(3)?.then(|| AlertRecord::parse(&body)).flatten().map(Arc::new);
                    let (peer, content_type): (String, String) = (row.get(1)?, row.get(2)?);
                    Ok(AlertRecord::new(row.get(0)?, peer, content_type, body, message))
                })?;
                if rows.blocking_send(Ok(record)).is_err() {
                    break;
                }
            }
            Ok(())
        })();
        streamed.map_err(|error| self.failed(&error))
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT coalesce(max(version), 0) FROM watchfire_schema", (), |row| row.get(0))
}

struct Writer {
    connection: Connection,
    names: Names,
}

impl Writer {
    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut held = None;
        while let Some(job) = held.take().or_else(|| jobs.blocking_recv()) {
            let (batch, answer) = match job {
                Job::Prune(retention, answer) => {
                    let _ = answer.send(self.prune(&retention).map_err(|error| self.names.failed(&error)));
                    continue;
                }
                Job::Insert(batch, answer) => (batch, answer),
            };
            let mut count = batch.len();
            let mut group = vec![(batch, answer)];
            while count < GROUP {
                match jobs.try_recv() {
                    Ok(Job::Insert(batch, answer)) => {
                        count += batch.len();
                        group.push((batch, answer));
                    }
                    Ok(prune) => {
                        held = Some(prune);
                        break;
                    }
                    Err(_) => break,
                }
            }
            match self.insert(&group) {
                Ok(answers) => {
                    for ((_, answer), insertions) in group.into_iter().zip(answers) {
                        // A caller that has gone away does not want to know.
                        let _ = answer.send(Ok(insertions));
                    }
                }
                Err(error) => {
                    let error = self.names.failed(&error);
                    for (_, answer) in group {
                        let _ = answer.send(Err(error.clone()));
                    }
                }
            }
        }
    }

    #[allow(clippy::type_complexity)]
    fn insert(
        &mut self,
        group: &[(Vec<Arc<AlertRecord>>, oneshot::Sender<Result<Vec<Insertion>, StoreError>>)],
    ) -> rusqlite::Result<Vec<Vec<Insertion>>> {
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let mut answers = Vec::with_capacity(group.len());
        {
            let mut alert = transaction.prepare_cached(
                "INSERT INTO alert (received, peer, content_type, sha256, key, parsed, sources, body) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (key) DO NOTHING",
            )?;
            let mut source =
                transaction.prepare_cached("INSERT OR IGNORE INTO alert_source (addr, alert) VALUES (?1, ?2)")?;
            for (batch, _) in group {
                let mut insertions = Vec::with_capacity(batch.len());
                for record in batch {
                    let sources: Vec<u8> = record.sources.iter().flat_map(|addr| octets(*addr)).collect();
                    let changed = alert.execute(params![
                        record.received,
                        record.peer,
                        record.content_type,
                        record.sha256.as_slice(),
                        &*record.key,
                        record.message.is_some(),
                        sources,
                        record.body.as_ref(),
                    ])?;
                    if changed == 0 {
                        insertions.push(Insertion::Duplicate);
                        continue;
                    }
                    let id = transaction.last_insert_rowid();
                    for addr in sources.chunks(16) {
                        source.execute(params![addr, id])?;
                    }
                    insertions.push(Insertion::Inserted);
                }
                answers.push(insertions);
            }
        }
        transaction.commit()?;
        Ok(answers)
    }

    fn prune(&mut self, retention: &Retention) -> rusqlite::Result<u64> {
        let mut surplus = match retention.octets {
            Some(allowed) => {
                let total: i64 =
                    self.connection
                        .query_row("SELECT coalesce(sum(length(body)), 0) FROM alert", (), |row| row.get(0))?;
                u64::try_from(total).unwrap_or(0).saturating_sub(allowed)
            }
            None => 0,
        };
        let before = retention.before.unwrap_or(i64::MIN);
        let mut dropped = 0;
        loop {
            let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let oldest: Vec<(i64, i64, u64, Vec<u8>)> = transaction
                .prepare_cached("SELECT id, received, length(body), sources FROM alert ORDER BY received, id LIMIT ?1")?
                .query_map([PRUNE_CHUNK], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)? as u64, row.get(3)?))
                })?
                .collect::<Result<_, _>>()?;
            let mut victims = Vec::new();
            for (id, received, length, sources) in oldest {
                if received >= before && surplus == 0 {
                    break;
                }
                surplus = surplus.saturating_sub(length);
                victims.push((id, sources));
            }
            {
                let mut source =
                    transaction.prepare_cached("DELETE FROM alert_source WHERE addr = ?1 AND alert = ?2")?;
                let mut alert = transaction.prepare_cached("DELETE FROM alert WHERE id = ?1")?;
                for (id, sources) in &victims {
                    for addr in sources.chunks(16) {
                        source.execute(params![addr, id])?;
                    }
                    alert.execute([id])?;
                }
            }
            transaction.commit()?;
            dropped += victims.len() as u64;
            if victims.len() < PRUNE_CHUNK as usize {
                return Ok(dropped);
            }
        }
    }
}

/// 16 octets for either family, so that networks are ranges.
fn octets(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(addr) => addr.to_ipv6_mapped().octets(),
        IpAddr::V6(addr) => addr.octets(),
    }
}

fn range(net: IpNet) -> (Vec<u8>, Vec<u8>) {
    (octets(net.network()).to_vec(), octets(net.broadcast()).to_vec())
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::testing::TempDir;

    fn record(n: usize) -> Arc<AlertRecord> {
        Arc::new(AlertRecord::new(n as i64, "s", "x/y", Bytes::from(vec![n as u8; 4000 + n]), None))
    }

    #[tokio::test]
    async fn a_full_disk_stores_nothing_by_halves() {
        let dir = TempDir::new("sqlite");
        let path = dir.path().join("a.db");
        let store = SqliteStore::open(&path, Access::Write).unwrap();
        store.insert_batch(vec![record(0)]).await.unwrap();
        drop(store);
        // The limit belongs to the connection: build the writer by hand.
        let names = Names(path.clone());
        let connection = names.write().unwrap();
        let pages: i64 = connection.query_row("PRAGMA page_count", (), |row| row.get(0)).unwrap();
        connection.pragma_update(None, "max_page_count", pages + 20).unwrap();
        let (writer, jobs) = mpsc::channel(1);
        let thread = std::thread::spawn(move || Writer { connection, names }.run(jobs));
        let store = SqliteStore { path: path.clone(), writer: Some(writer) };
        let error = store.insert_batch((1..200).map(record).collect()).await.unwrap_err();
        assert!(matches!(&error, StoreError::Full { .. }) && error.is_retriable(), "{error}");
        let mut stream = store.query(Filter::default()).await.unwrap();
        assert!(stream.next().await.unwrap().is_ok());
        assert!(stream.next().await.is_none());
        // The writer goes on with what fits.
        assert_eq!(store.insert_batch(vec![record(1)]).await, Ok(vec![Insertion::Inserted]));
        drop(store);
        thread.join().unwrap();
    }

    #[test]
    fn files_that_are_not_ours_are_refused_with_a_reason() {
        let dir = TempDir::new("sqlite");
        let path = dir.path().join("a.db");
        let reason = |access| SqliteStore::open(&path, access).unwrap_err();
        assert!(reason(Access::Read).to_string().contains("no such file"));
        std::fs::write(&path, vec![b'x'; 5000]).unwrap();
        assert!(matches!(reason(Access::Read), StoreError::Unusable { .. }));
        assert!(matches!(reason(Access::Write), StoreError::Unusable { .. }));
        std::fs::remove_file(&path).unwrap();
        drop(SqliteStore::open(&path, Access::Write).unwrap());
        Connection::open(&path).unwrap().execute("UPDATE watchfire_schema SET version = 99", ()).unwrap();
        for access in [Access::Read, Access::Write] {
            let known = MIGRATIONS.len() as i64;
            assert!(matches!(reason(access), StoreError::NewerSchema { found: 99, known: k, .. } if k == known));
        }
        let everybody = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o007;
        assert_eq!(everybody(&path), 0, "alerts are not for everybody");
        let nowhere = dir.path().join("none/a.db");
        assert!(matches!(SqliteStore::open(&nowhere, Access::Write), Err(StoreError::Unusable { .. })));
    }

    /// The rate with batches of 64 from 8 callers; `cargo test --release -- --ignored --nocapture rate` prints it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "a measurement"]
    async fn rate() {
        let dir = TempDir::new("sqlite-rate");
        let store = Arc::new(SqliteStore::open(&dir.path().join("a.db"), Access::Write).unwrap());
        super::super::tests::measure("sqlite", store).await;
    }
}
