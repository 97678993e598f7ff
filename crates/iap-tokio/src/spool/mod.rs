//! The sensor's spool: a durable queue between the intake of alerts and the connection to the manager.
//!
//! # What it promises
//!
//! * **Accepted means kept.** When [`Spool::append`] resolves, the records, and the position of the intake that they
//!   came from, are on disk ([`Durability`] says against what). After a crash the spool holds everything that was
//!   accepted and not settled, in order. An append that fails accepted nothing, including the intake's position.
//! * **At least once.** A record leaves when it is settled: delivered, or refused for good and set aside as a dead
//!   letter. Settlements are written together, some 100 ms later; those that a crash forgets are sent again, and the
//!   manager knows them by their message number.
//! * **No silent loss.** What limits drop is counted by reason in [`Stats::dropped`] and logged.
//! * **Nothing is repaired by forgetting.** A damaged store is an error that says so; it is never reset. A full disk
//!   fails appends until there is space again, while reading and settling go on.
//!
//! One process has one spool open: the directory is locked.
//!
//! # Example
//!
//! ```
//! use iap_tokio::spool::{Checkpoint, Record, Settled, Spool, SpoolConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), iap_tokio::spool::SpoolError> {
//! let spool = Spool::in_memory(SpoolConfig::default())?; // or Spool::open("/var/spool/sensor", ..)
//!
//! // The intake: records and how far it has read, in one step.
//! let alert = Record::new("application/json", r#"{"alert":{"signature_id":2000001}}"#);
//! let position = Checkpoint { source: "/var/log/suricata/eve.json".into(), position: b"inode 7, offset 812".into() };
//! spool.append(vec![alert], Some(position)).await?;
//!
//! // The sender: reads ahead as far as its window allows, and settles as the answers come.
//! let mut reader = spool.reader();
//! for one in reader.next_batch(64, 1 << 20).await? {
//!     println!("{} octets of {}", one.record.body().len(), one.record.content_type());
//!     spool.settle(one.seq, Settled::Delivered);
//! }
//! assert_eq!(spool.stats().depth, 0);
//! spool.close().await
//! # }
//! ```
//!
//! # On disk
//!
//! SQLite in WAL mode (`spool.sqlite`), a file `lock` that also says the format, and `reserve`, 8 MiB set aside so that
//! a spool on a full disk can still be emptied. Rows hold up to 64 KiB of records
//! under a CRC-32C; `benches/spool` has the comparison that led here. While 1 GiB waits, the spool itself takes
//! some ten megabytes of memory.

mod backend;
mod config;
mod disk;
mod error;
mod handle;
mod index;
mod pack;
mod reader;
mod record;
mod reserve;
mod state;
mod stats;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

pub use self::config::{Durability, OnFull, SpoolConfig};
pub use self::error::SpoolError;
pub use self::reader::Reader;
pub use self::record::{Accepted, Checkpoint, DeadLetter, Record, Settled, Spooled};
pub use self::stats::{Dropped, Latency, Stats};

use self::backend::{Backend, Memory};
use self::disk::{Disk, Found};
use self::handle::Handle;
use self::index::Index;
use self::state::{Append, Op, Reply, Shared, State};

/// A handle of a spool; clones share it. See the [module](self) for what it promises.
///
/// When the last handle and [`Reader`] is dropped without [`Spool::close`], the spool still writes its settlements,
/// in the background; the directory is free again when that is done.
#[derive(Clone, Debug)]
pub struct Spool {
    handle: Arc<Handle>,
}

impl Spool {
    /// Opens the spool in the directory `path`, or creates it there (with access for the owner only). Takes time: it
    /// reads the list of what is spooled, some 0.1 s per GiB, and may wait for the disk.
    ///
    /// # Errors
    /// [`SpoolError::Locked`], [`SpoolError::Format`], [`SpoolError::Corrupt`], [`SpoolError::InvalidConfig`],
    /// [`SpoolError::DiskFull`] or [`SpoolError::Io`].
    pub fn open(path: impl AsRef<Path>, config: SpoolConfig) -> Result<Self, SpoolError> {
        config.check()?;
        let path = path.as_ref();
        let Found { disk, source, index, checkpoints } = Disk::open(path, &config, group_ms(&config))?;
        let (reads, wishes) = mpsc::channel();
        let io = |error: std::io::Error| SpoolError::io(path, "cannot start a thread", &error);
        let reading = writer::start_reading(source, wishes).map_err(io)?;
        let shared = Shared::new(index, checkpoints, config, path.display().to_string(), Some(reads));
        shared.lock().counters.dead = disk.dead();
        Self::start(shared, Backend::Disk(Box::new(disk)), Some(reading)).map_err(io)
    }

    /// A spool of the same behaviour that is gone when the process ends.
    ///
    /// # Errors
    /// [`SpoolError::InvalidConfig`]; [`SpoolError::Io`] if no thread can be started.
    pub fn in_memory(config: SpoolConfig) -> Result<Self, SpoolError> {
        config.check()?;
        let index = Index::new(1, config.group_octets(), group_ms(&config), usize::MAX);
        let backend = Backend::Memory(Memory::new(&config));
        let shared = Shared::new(index, Vec::new(), config, "(in memory)".to_owned(), None);
        Self::start(shared, backend, None)
            .map_err(|error| SpoolError::io("(in memory)".as_ref(), "cannot start a thread", &error))
    }

    fn start(shared: Shared, backend: Backend, reading: Option<std::thread::JoinHandle<()>>) -> std::io::Result<Self> {
        let shared = Arc::new(shared);
        writer::start_writing(Arc::clone(&shared), backend, reading)?;
        Ok(Self { handle: Handle::new(shared) })
    }

    /// Takes records in, and with them how far their intake has come: both or neither. Resolves when they are
    /// durable; concurrent appends share a commit. With [`OnFull::Block`] it waits for room, and so do all later
    /// appends. An append without records only stores the checkpoint.
    ///
    /// Dropping the future while it waits for room takes the append back; dropped later, the records are in.
    ///
    /// # Errors
    /// Nothing of the append was accepted. [`SpoolError::is_transient`] tells whether to repeat it.
    pub async fn append(&self, records: Vec<Record>, checkpoint: Option<Checkpoint>) -> Result<Accepted, SpoolError> {
        let config = &self.handle.shared().config;
        let mut octets = 0;
        for (position, record) in records.iter().enumerate() {
            let (body, content_type) = (record.body.len(), record.content_type.len());
            if body > config.max_record {
                return Err(SpoolError::RecordTooLarge { position, octets: body, limit: config.max_record });
            }
            if !(1..=255).contains(&content_type) {
                return Err(SpoolError::ContentType { position, octets: content_type });
            }
            octets += pack::charge(body);
        }
        if octets > config.max_bytes && config.on_full != OnFull::DropNewest {
            return Err(SpoolError::BatchTooLarge { octets, limit: config.max_bytes });
        }
        let rows = pack::pack(&records, config.group_octets());
        drop(records);
        self.ask(|state, reply| {
            if let Some(checkpoint) = &checkpoint {
                let known = state.checkpoints.contains_key(&checkpoint.source);
                let too_many = !known && state.checkpoints.len() >= 4096;
                if checkpoint.source.len() > 4096 || checkpoint.position.len() > 65_536 || too_many {
                    return Err(SpoolError::Checkpoint);
                }
            }
            state.appends.push_back(Append { rows, octets, dropped: 0, checkpoint, reply });
            Ok(())
        })
        .await
    }

    /// How far an intake had come at the last accepted append that said so.
    #[must_use]
    pub fn checkpoint(&self, source: &str) -> Option<Vec<u8>> {
        self.handle.shared().lock().checkpoints.get(source).cloned()
    }

    /// A reader at the oldest unsettled record.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.handle))
    }

    /// Says how a record's stay ended; in any order, and without waiting: it is written later, together with others.
    /// `false` if the record was settled or dropped before.
    pub fn settle(&self, seq: u64, outcome: Settled) -> bool {
        self.handle.shared().settle([(seq, outcome)]) == 1
    }

    /// Settles many records at once, which is cheaper; returns how many were not settled or dropped before.
    pub fn settle_all(&self, outcomes: impl IntoIterator<Item = (u64, Settled)>) -> u64 {
        self.handle.shared().settle(outcomes)
    }

    /// Waits until all settlements so far are on disk.
    ///
    /// # Errors
    /// What kept them from being written; they are not lost, and are tried again.
    pub async fn flush(&self) -> Result<(), SpoolError> {
        self.ask(|state, reply| {
            state.flushes.push(reply);
            Ok(())
        })
        .await
    }

    /// Up to `limit` dead letters whose numbers are above `after` (0 for the first), in order.
    ///
    /// # Errors
    /// [`SpoolError::Closed`], or that they cannot be read.
    pub async fn dead_letters(&self, after: u64, limit: usize) -> Result<Vec<DeadLetter>, SpoolError> {
        self.ask(|state, reply| {
            state.ops.push_back(Op::DeadLetters { after, limit, reply });
            Ok(())
        })
        .await
    }

    /// Puts dead letters back, behind all records that wait, with new numbers. Returns how many there were under
    /// these numbers. All of them or, with an error, none.
    ///
    /// # Errors
    /// [`SpoolError::Full`] if they do not fit; otherwise as for [`Spool::append`].
    pub async fn requeue(&self, seqs: Vec<u64>) -> Result<u64, SpoolError> {
        self.ask(|state, reply| {
            state.ops.push_back(Op::Requeue { seqs, reply });
            Ok(())
        })
        .await
    }

    /// Counters and what the spool holds now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let state = self.handle.shared().lock();
        let counters = state.counters.clone();
        let age = state.index.oldest_ms().map(|oldest| Duration::from_millis(now_ms().saturating_sub(oldest)));
        Stats {
            depth: state.index.depth(),
            bytes: state.index.octets(),
            oldest_age: age,
            cached_bytes: state.index.cached(),
            appended: counters.appended,
            delivered: counters.delivered,
            dead_lettered: counters.dead_lettered,
            dead_letters: counters.dead.count,
            dead_letter_bytes: counters.dead.octets,
            requeued: counters.requeued,
            dropped: counters.dropped,
            waiting: state.appends.len(),
            commits: counters.commits,
            failed_commits: counters.failed_commits,
            commit_latency: counters.latency,
        }
    }

    /// Writes what is not written, closes the files and frees the directory. Appends that still wait for room fail
    /// with [`SpoolError::Closed`]; so does everything afterwards, on all handles.
    ///
    /// # Errors
    /// That settlements could not be written: their records will be sent again after the next opening.
    pub async fn close(&self) -> Result<(), SpoolError> {
        let closed = self.ask(|state, reply| {
            state.closing = true;
            state.closers.push(reply);
            Ok(())
        });
        match closed.await {
            // Somebody else was quicker.
            Err(SpoolError::Closed) => Ok(()),
            outcome => outcome,
        }
    }

    /// Hands something to the writer and waits for its answer.
    async fn ask<T>(&self, put: impl FnOnce(&mut State, Reply<T>) -> Result<(), SpoolError>) -> Result<T, SpoolError> {
        let (reply, answer) = oneshot::channel();
        {
            let shared = self.handle.shared();
            let mut state = shared.lock();
            if state.closing {
                return Err(SpoolError::Closed);
            }
            put(&mut state, reply)?;
            shared.wake(&state);
        }
        answer.await.map_err(|_| SpoolError::Closed)?
    }
}

/// How long the records of one group may be apart, in milliseconds.
fn group_ms(config: &SpoolConfig) -> u64 {
    config.max_age.map_or(u64::MAX, |age| u64::try_from(age.as_millis() / 8).unwrap_or(u64::MAX))
}

/// Milliseconds since 1970 by the system's clock, 0 before.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn time_from_ms(time_ms: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(time_ms)).unwrap_or(UNIX_EPOCH)
}
