//! What machines keep over a restart: records in SQLite, one file for each service.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use acme_lurk::Record;
use acme_lurk_hyper::Going;
use acme_lurk_hyper::keep::{KeepError, Keeper};
use rusqlite::{Connection, OpenFlags, params};
use tokio::sync::oneshot;

use crate::exit::Failure;
use crate::pki::files;

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS record (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID";

/// So many calls share one transaction at most.
const GROUP: usize = 256;

/// The records of a file. One thread writes for all callers, so that forcing the disk is shared.
#[derive(Debug)]
pub struct Records {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    records: Vec<Record>,
    done: oneshot::Sender<Result<(), KeepError>>,
}

impl Records {
    /// Opens the file, made when missing, and reads all of it. Nobody else can open it meanwhile.
    ///
    /// # Errors
    /// When it cannot be opened or is something else, or another program has it.
    #[allow(clippy::type_complexity, reason = "names and values")]
    pub fn open(path: &Path) -> Result<(Self, Vec<(String, Vec<u8>)>), Failure> {
        let failed = |error: rusqlite::Error| failed(path, &error);
        let connection = open(path).map_err(failed)?;
        let read = || -> rusqlite::Result<Vec<(String, Vec<u8>)>> {
            let mut select = connection.prepare("SELECT name, value FROM record")?;
            select.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        let all = read().map_err(failed)?;
        let (jobs, queue) = mpsc::channel();
        let path = path.to_owned();
        let writer = std::thread::Builder::new().name("records".into()).spawn(move || write(connection, &path, &queue));
        writer.map_err(|error| Failure::usage(format!("cannot start a thread: {error}")))?;
        Ok((Self { jobs }, all))
    }
}

impl Keeper for Records {
    fn keep(&self, records: Vec<Record>) -> Going<'static, Result<(), KeepError>> {
        let (done, told) = oneshot::channel();
        let sent = self.jobs.send(Job { records, done });
        Box::pin(async move {
            let ended = || KeepError("the writer has ended".into());
            sent.map_err(|_| ended())?;
            told.await.map_err(|_| ended())?
        })
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    files::make_empty(path, 0o600);
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    // Two services with the same orders would renew everything twice.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA}; COMMIT"))?;
    Ok(connection)
}

fn failed(path: &Path, error: &rusqlite::Error) -> Failure {
    let failure = Failure::usage(error.to_string()).at(format!("sqlite:{}", path.display()));
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            failure.remedy("another service has this folder: stop it, or choose another folder")
        }
        Some(rusqlite::ErrorCode::DiskFull) => failure.remedy("make room on the disk"),
        Some(rusqlite::ErrorCode::NotADatabase) => failure.remedy("restore it from a backup, or move it away"),
        _ => failure,
    }
}

fn write(mut connection: Connection, path: &Path, queue: &mpsc::Receiver<Job>) {
    // What could not be written: it goes with the next ones.
    let mut pending: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
    while let Ok(first) = queue.recv() {
        let mut waiting = Vec::new();
        let mut next = Some(first);
        while let Some(job) = next {
            pending.extend(job.records.into_iter().map(|record| (record.name, record.value)));
            waiting.push(job.done);
            next = (waiting.len() < GROUP).then(|| queue.try_recv().ok()).flatten();
        }
        let outcome = put(&mut connection, &pending);
        match &outcome {
            Ok(()) => pending.clear(),
            Err(error) => tracing::error!(file = %path.display(), records = pending.len(), "cannot write: {error}"),
        }
        let outcome = outcome.map_err(|error| KeepError(error.to_string()));
        for done in waiting {
            let _ = done.send(outcome.clone());
        }
    }
}

fn put(connection: &mut Connection, records: &BTreeMap<String, Option<Vec<u8>>>) -> rusqlite::Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    {
        let insert = "INSERT INTO record (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";
        let (mut insert, mut delete) =
            (transaction.prepare_cached(insert)?, transaction.prepare_cached("DELETE FROM record WHERE name = ?1")?);
        for (name, value) in records {
            match value {
                Some(value) => insert.execute(params![name, value])?,
                None => delete.execute([name])?,
            };
        }
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::testing::TempDir;

    fn record(name: &str, value: Option<&str>) -> Record {
        Record { name: name.into(), value: value.map(|text| text.as_bytes().to_vec()) }
    }

    #[tokio::test]
    async fn what_was_kept_is_there_again_and_nobody_else_can_have_it() {
        let dir = TempDir::new("lurk-records");
        let path = dir.path().join("state.db");
        let (records, all) = Records::open(&path).unwrap();
        assert!(all.is_empty());
        records.keep(vec![record("a", Some("1")), record("b", Some("2"))]).await.unwrap();
        let calls: Vec<_> = (0..100).map(|n| records.keep(vec![record("c", Some(&n.to_string()))])).collect();
        for call in calls {
            call.await.unwrap();
        }
        records.keep(vec![record("b", None), record("a", Some("3"))]).await.unwrap();
        let failure = Records::open(&path).map(drop).unwrap_err().to_string();
        assert!(failure.contains("another service has this folder"), "{failure}");
        for file in ["state.db", "state.db-wal"] {
            let mode = std::fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        drop(records);
        // The writer ends when it has nobody left.
        let mut reopened = Records::open(&path);
        while reopened.is_err() {
            tokio::task::yield_now().await;
            reopened = Records::open(&path);
        }
        let kept: Vec<(String, Vec<u8>)> = reopened.unwrap().1;
        assert_eq!(kept, [("a".to_owned(), b"3".to_vec()), ("c".to_owned(), b"99".to_vec())]);
        std::fs::write(dir.path().join("other.db"), "this is something else, and long enough to be seen as such")
            .unwrap();
        let failure = Records::open(&dir.path().join("other.db")).map(drop).unwrap_err().to_string();
        assert!(failure.contains("restore it from a backup"), "{failure}");
    }
}
