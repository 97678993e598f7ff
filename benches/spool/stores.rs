//! The peers, each behind the same three verbs. All are configured for little memory; none for speed at its cost.

use std::io::Write as _;
use std::path::Path;

use fjall::{Database as Fjall, Keyspace, KeyspaceCreateOptions, PersistMode};
use redb::{ReadableDatabase as _, TableDefinition};
use rusqlite::{Connection, params};

/// What a store says when it cannot; only ever printed.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// A row: key, value.
pub(crate) type Row = (u64, Vec<u8>);

/// The durable queue that every peer is asked to be.
pub(crate) trait Store {
    /// Adds rows with rising keys; durable on return.
    fn append(&mut self, rows: &[Row]) -> Outcome;
    /// Reads up to `limit` rows from key `from` on, in order.
    fn scan(&mut self, from: u64, limit: usize) -> Outcome<Vec<Row>>;
    /// Removes every row below `end`; durable on return.
    fn delete_below(&mut self, end: u64) -> Outcome;
}

/// The names that `open` knows. `+pack` anywhere: one row per commit or 64 KiB instead of one per record.
pub(crate) const NAMES: [&str; 10] = [
    "file",
    "sqlite-full",
    "sqlite-full+pack",
    "sqlite-normal",
    "sqlite-normal+pack",
    "redb",
    "redb+pack",
    "redb-quick",
    "fjall",
    "fjall+pack",
];

/// Opens or creates the store of that name in `dir`.
pub(crate) fn open(name: &str, dir: &Path) -> Outcome<Box<dyn Store>> {
    std::fs::create_dir_all(dir).map_err(text)?;
    Ok(match name.split('+').next().unwrap_or(name) {
        "file" => Box::new(Plain::open(dir)?),
        "sqlite-full" => Box::new(Sqlite::open(dir, "FULL")?),
        "sqlite-normal" => Box::new(Sqlite::open(dir, "NORMAL")?),
        "redb" => Box::new(Redb::open(dir, false)?),
        "redb-quick" => Box::new(Redb::open(dir, true)?),
        "fjall" => Box::new(FjallStore::open(dir, name.ends_with("+pack"))?),
        other => return Err(format!("no such store: {other}")),
    })
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Not a store but the floor: append to a file, fdatasync. Nothing else can be durable sooner.
struct Plain(std::fs::File);

impl Plain {
    fn open(dir: &Path) -> Outcome<Self> {
        std::fs::OpenOptions::new().append(true).create(true).open(dir.join("log")).map(Self).map_err(text)
    }
}

impl Store for Plain {
    fn append(&mut self, rows: &[Row]) -> Outcome {
        let mut octets = Vec::new();
        for (key, value) in rows {
            octets.extend_from_slice(&key.to_be_bytes());
            octets.extend_from_slice(value);
        }
        self.0.write_all(&octets).and_then(|()| self.0.sync_data()).map_err(text)
    }
    fn scan(&mut self, _from: u64, _limit: usize) -> Outcome<Vec<Row>> {
        Err("the floor cannot read".to_owned())
    }
    fn delete_below(&mut self, _end: u64) -> Outcome {
        Err("the floor cannot delete".to_owned())
    }
}

struct Sqlite(Connection);

impl Sqlite {
    fn open(dir: &Path, synchronous: &str) -> Outcome<Self> {
        let db = Connection::open(dir.join("spool.sqlite")).map_err(text)?;
        db.execute_batch(&format!(
            "PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;
             PRAGMA synchronous = {synchronous}; PRAGMA cache_size = -4096; PRAGMA mmap_size = 0;
             PRAGMA journal_size_limit = 4194304;
             CREATE TABLE IF NOT EXISTS records (seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;"
        ))
        .map_err(text)?;
        Ok(Self(db))
    }
}

impl Store for Sqlite {
    fn append(&mut self, rows: &[Row]) -> Outcome {
        let work = self.0.transaction().map_err(text)?;
        {
            let mut insert = work.prepare_cached("INSERT INTO records (seq, body) VALUES (?1, ?2)").map_err(text)?;
            for (key, value) in rows {
                insert.execute(params![*key as i64, value]).map_err(text)?;
            }
        }
        work.commit().map_err(text)
    }
    fn scan(&mut self, from: u64, limit: usize) -> Outcome<Vec<Row>> {
        let mut select = self
            .0
            .prepare_cached("SELECT seq, body FROM records WHERE seq >= ?1 ORDER BY seq LIMIT ?2")
            .map_err(text)?;
        let rows = select
            .query_map(params![from as i64, limit as i64], |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?)))
            .map_err(text)?;
        rows.collect::<Result<_, _>>().map_err(text)
    }
    fn delete_below(&mut self, end: u64) -> Outcome {
        let work = self.0.transaction().map_err(text)?;
        work.prepare_cached("DELETE FROM records WHERE seq < ?1").map_err(text)?.execute([end as i64]).map_err(text)?;
        work.commit().map_err(text)
    }
}

const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");

/// `quick`: commits also save the allocator's state, so that opening after a crash need not walk the file.
struct Redb {
    db: redb::Database,
    quick: bool,
}

impl Redb {
    fn open(dir: &Path, quick: bool) -> Outcome<Self> {
        let db = redb::Builder::new().set_cache_size(4 << 20).create(dir.join("spool.redb")).map_err(text)?;
        let work = db.begin_write().map_err(text)?;
        work.open_table(TABLE).map_err(text)?;
        work.commit().map_err(text)?;
        Ok(Self { db, quick })
    }
}

impl Store for Redb {
    fn append(&mut self, rows: &[Row]) -> Outcome {
        let mut work = self.db.begin_write().map_err(text)?;
        work.set_quick_repair(self.quick);
        {
            let mut table = work.open_table(TABLE).map_err(text)?;
            for (key, value) in rows {
                table.insert(*key, value.as_slice()).map_err(text)?;
            }
        }
        work.commit().map_err(text)
    }
    fn scan(&mut self, from: u64, limit: usize) -> Outcome<Vec<Row>> {
        let work = self.db.begin_read().map_err(text)?;
        let table = work.open_table(TABLE).map_err(text)?;
        let rows = table.range(from..).map_err(text)?.take(limit);
        rows.map(|row| row.map(|(key, value)| (key.value(), value.value().to_vec())).map_err(text)).collect()
    }
    fn delete_below(&mut self, end: u64) -> Outcome {
        let mut work = self.db.begin_write().map_err(text)?;
        work.set_quick_repair(self.quick);
        work.open_table(TABLE).map_err(text)?.retain_in(..end, |_, _| false).map_err(text)?;
        work.commit().map_err(text)
    }
}

struct FjallStore {
    db: Fjall,
    records: Keyspace,
    /// Everything below was deleted: a range from 0 would walk over all tombstones again each time.
    deleted: u64,
}

impl FjallStore {
    fn open(dir: &Path, pack: bool) -> Outcome<Self> {
        let db = Fjall::builder(dir.join("spool.fjall"))
            .cache_size(4 << 20)
            .max_journaling_size(64 << 20)
            .worker_threads(1)
            .open()
            .map_err(text)?;
        let options = || {
            let options = KeyspaceCreateOptions::default().max_memtable_size(4 << 20);
            if pack { options.with_kv_separation(Some(fjall::KvSeparationOptions::default())) } else { options }
        };
        let records = db.keyspace("records", options).map_err(text)?;
        Ok(Self { db, records, deleted: 0 })
    }
}

impl Store for FjallStore {
    fn append(&mut self, rows: &[Row]) -> Outcome {
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        for (key, value) in rows {
            batch.insert(&self.records, key.to_be_bytes(), value.as_slice());
        }
        batch.commit().map_err(text)
    }
    fn scan(&mut self, from: u64, limit: usize) -> Outcome<Vec<Row>> {
        self.records
            .range(from.to_be_bytes()..)
            .take(limit)
            .map(|guard| {
                let (key, value) = guard.into_inner().map_err(text)?;
                let key = key.as_ref().try_into().map_err(|_| "a key is not 8 octets".to_owned())?;
                Ok((u64::from_be_bytes(key), value.to_vec()))
            })
            .collect()
    }
    fn delete_below(&mut self, end: u64) -> Outcome {
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        for guard in self.records.range(self.deleted.to_be_bytes()..end.to_be_bytes()) {
            batch.remove(&self.records, guard.key().map_err(text)?);
        }
        self.deleted = end;
        batch.commit().map_err(text)
    }
}
