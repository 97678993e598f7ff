//! What the spool promises, tried out.

mod basics;
mod crash;
mod limits;
mod model;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Record, Spool, SpoolConfig, SpoolError, Spooled};

/// A directory that is removed afterwards.
#[derive(Debug)]
pub(super) struct TempDir(PathBuf);

impl TempDir {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("iap-spool-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Opens a spool that another handle may only just have let go.
pub(super) fn open(path: &Path, config: &SpoolConfig) -> Spool {
    let start = Instant::now();
    loop {
        match Spool::open(path, config.clone()) {
            Err(SpoolError::Locked { .. }) if start.elapsed() < Duration::from_secs(20) => {
                std::thread::sleep(Duration::from_millis(2));
            }
            outcome => return outcome.unwrap(),
        }
    }
}

/// A record that can be told from others.
pub(super) fn record(number: u64, length: usize) -> Record {
    let mut body = format!("{number} ").into_bytes();
    body.resize(length.max(body.len()), b'.');
    let content_type = if number.is_multiple_of(5) { "application/idmef+xml" } else { "application/json" };
    Record::new(content_type, body)
}

pub(super) fn records(numbers: std::ops::Range<u64>, length: usize) -> Vec<Record> {
    numbers.map(|number| record(number, length)).collect()
}

/// The number that [`record`] was given.
pub(super) fn number_of(record: &Record) -> u64 {
    let text = std::str::from_utf8(record.body()).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Everything that is unsettled, by a fresh reader.
pub(super) async fn all(spool: &Spool) -> Vec<Spooled> {
    let depth = usize::try_from(spool.stats().depth).unwrap();
    let mut reader = spool.reader();
    let mut out = Vec::new();
    while out.len() < depth {
        out.extend(reader.next_batch(1000, 1 << 20).await.unwrap());
    }
    out
}

pub(super) async fn numbers(spool: &Spool) -> Vec<u64> {
    all(spool).await.iter().map(|one| number_of(&one.record)).collect()
}
