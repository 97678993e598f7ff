//! Where entries come from, and the snapshot of them that is served while the next one is read.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Mutex;

use super::snapshot::Snapshot;
use super::{file, postgres, sqlite};
use crate::exit::{Failure, file_failure};
use crate::metrics::{Histogram, Registry};
use crate::service::Context;
use crate::store::PostgresServer;
use crate::values::{PostgresUrl, StoreUrl, has_scheme};

/// How often a source is looked at.
const WATCH: Duration = Duration::from_secs(2);

/// A source of entries: a file, `sqlite:PATH`, or `postgres://USER@HOST/DATABASE`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DataUrl {
    /// A file: one JSON document if its name ends in `.json`, else an entry in each line.
    File(PathBuf),
    /// A database.
    Store(StoreUrl),
}

impl DataUrl {
    /// Makes a relative path start at `base`.
    pub fn rebase(&mut self, base: &Path) {
        match self {
            Self::File(path) => *path = base.join(&*path),
            Self::Store(url) => url.rebase(base),
        }
    }
}

impl fmt::Display for DataUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Store(url) => write!(f, "{url}"),
        }
    }
}

impl FromStr for DataUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(url) => return Ok(Self::Store(url)),
            Err(why) if PostgresUrl::is_one(text) => return Err(why),
            Err(_) => {}
        }
        if text.is_empty() || has_scheme(text) {
            let wanted =
                "write a file's name (./NAME if there is a colon in it), sqlite:PATH or postgres://USER@HOST/DATABASE";
            return Err(wanted.into());
        }
        Ok(Self::File(text.into()))
    }
}

/// Entries that are served: always a whole snapshot, the latest that could be read.
pub struct Data {
    current: RwLock<Arc<Snapshot>>,
    source: Mutex<Source>,
    url: DataUrl,
    generation: AtomicU64,
    failures: AtomicU64,
    /// Microseconds that the last reading took.
    took: AtomicU64,
    /// Where that is counted, once there are metrics.
    read_seconds: OnceLock<Histogram>,
    is_stale: AtomicU64,
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Data").field("url", &self.url).finish_non_exhaustive()
    }
}

enum Source {
    File(FileSource),
    Sqlite(Option<sqlite::Source>),
    Postgres(Box<postgres::Source>),
}

type Stamp = (SystemTime, u64, u64);

struct FileSource {
    path: PathBuf,
    stamp: Option<Stamp>,
}

fn stamp(path: &Path) -> Result<Stamp, Failure> {
    let meta = std::fs::metadata(path).and_then(|meta| Ok((meta.modified()?, meta.len(), meta.ino())));
    meta.map_err(|error| file_failure("read the entries", path, &error))
}

impl Source {
    /// The snapshot, if there is another than the last time, or `even_so`.
    async fn load(&mut self, even_so: bool) -> Result<Option<Snapshot>, Failure> {
        let broken = |error: tokio::task::JoinError| Failure::usage(format!("reading broke down: {error}"));
        match self {
            Self::File(source) => {
                let before = stamp(&source.path)?;
                if source.stamp == Some(before) && !even_so {
                    return Ok(None);
                }
                let path = source.path.clone();
                let read = tokio::task::spawn_blocking(move || file::load(&path)).await.map_err(broken)?;
                // A file that changed meanwhile is read again at the next look; so is one that was wrong, when it changes.
                let is_same = stamp(&source.path).is_ok_and(|after| after == before);
                source.stamp = is_same.then_some(before);
                read.map(Some)
            }
            Self::Sqlite(slot) => {
                let Some(mut source) = slot.take() else { return Ok(None) };
                let work = tokio::task::spawn_blocking(move || {
                    let loaded = source.load(even_so);
                    (source, loaded)
                });
                let (source, loaded) = work.await.map_err(broken)?;
                *slot = Some(source);
                loaded
            }
            Self::Postgres(source) => source.load(even_so).await,
        }
    }
}

impl Data {
    /// Reads a source.
    ///
    /// # Errors
    /// When it cannot be read, or something in it is wrong.
    pub async fn open(url: &DataUrl, password_file: Option<&Path>) -> Result<Arc<Self>, Failure> {
        let mut source = match url {
            DataUrl::File(path) => Source::File(FileSource { path: path.clone(), stamp: None }),
            DataUrl::Store(StoreUrl::Sqlite(path)) => Source::Sqlite(Some(sqlite::Source::new(path))),
            DataUrl::Store(StoreUrl::Postgres(url)) => {
                Source::Postgres(Box::new(postgres::Source::new(PostgresServer::new(url, password_file)?)))
            }
        };
        let began = Instant::now();
        let snapshot = source.load(true).await?.unwrap_or_else(Snapshot::empty);
        let data = Self {
            current: RwLock::new(Arc::new(snapshot)),
            source: Mutex::new(source),
            url: url.clone(),
            generation: AtomicU64::new(1),
            failures: AtomicU64::new(0),
            took: AtomicU64::new(0),
            read_seconds: OnceLock::new(),
            is_stale: AtomicU64::new(0),
        };
        data.note(began);
        Ok(Arc::new(data))
    }

    fn note(&self, began: Instant) {
        let took = began.elapsed();
        self.took.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if let Some(histogram) = self.read_seconds.get() {
            histogram.observe(took.as_secs_f64());
        }
        let snapshot = self.snapshot();
        tracing::info!(
            data = %self.url,
            entries = snapshot.entries(),
            octets = snapshot.octets(),
            milliseconds = took.as_millis() as u64,
            "entries read"
        );
    }

    /// The latest snapshot. Whoever holds it keeps it in memory.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many snapshots there have been.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Reads the source again if it has changed, or `even_so`; whether there is another snapshot.
    ///
    /// # Errors
    /// When it cannot be read; the old snapshot stays.
    pub async fn refresh(&self, even_so: bool) -> Result<bool, Failure> {
        let began = Instant::now();
        match self.source.lock().await.load(even_so).await {
            Ok(None) => Ok(false),
            Ok(Some(snapshot)) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
                self.generation.fetch_add(1, Ordering::Release);
                self.is_stale.store(0, Ordering::Relaxed);
                self.note(began);
                Ok(true)
            }
            Err(failure) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                self.is_stale.store(1, Ordering::Relaxed);
                Err(failure)
            }
        }
    }

    /// Reads the source again whenever it has changed, until shutdown; also on SIGHUP.
    pub async fn keep_fresh(self: Arc<Self>, context: Context) {
        let mut reload = context.reload.clone();
        let mut said = String::new();
        loop {
            let even_so = tokio::select! {
                () = context.shutdown.cancelled() => return,
                () = reload.requested() => true,
                () = tokio::time::sleep(WATCH) => false,
            };
            let refreshed = tokio::select! {
                () = context.shutdown.cancelled() => return,
                refreshed = self.refresh(even_so) => refreshed,
            };
            match refreshed {
                Ok(_) => said.clear(),
                Err(failure) => {
                    let told = failure.to_string();
                    // Once for each mistake, not every two seconds.
                    if even_so || told != said {
                        tracing::error!("the old entries stay: {told}");
                    }
                    said = told;
                }
            }
        }
    }

    /// Shows what there is among the metrics.
    pub fn count(self: &Arc<Self>, registry: &Registry) {
        let help = "How long it took to read the source.";
        let read_seconds = registry.histogram("watchfire_repute_read_seconds", help, &[], Histogram::SECONDS);
        read_seconds.observe(self.took.load(Ordering::Relaxed) as f64 / 1e6);
        let _ = self.read_seconds.set(read_seconds);
        let this = Arc::clone(self);
        registry.at_each_look(move |registry| {
            let snapshot = this.snapshot();
            let gauge =
                |name, help, value: u64| registry.gauge(name, help, &[]).set(i64::try_from(value).unwrap_or(i64::MAX));
            gauge("watchfire_repute_entries", "Entries that are served.", snapshot.entries() as u64);
            gauge("watchfire_repute_entries_octets", "Memory that they take.", snapshot.octets() as u64);
            let stale = this.is_stale.load(Ordering::Relaxed);
            let help = "1 while a source cannot be read and older entries are served.";
            registry.highest("watchfire_repute_stale", help, stale);
            let failures = this.failures.load(Ordering::Relaxed);
            let help = "Times that the source could not be read again.";
            registry.counter("watchfire_repute_read_failures_total", help, &[]).set(failures);
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::signals::Reload;
    use crate::testing::SilentPostgres;

    fn of(server: &SilentPostgres) -> Arc<Data> {
        let url: DataUrl = server.url().parse().unwrap();
        let source = PostgresServer::new(&server.url().parse().unwrap(), None).unwrap();
        let source = Source::Postgres(Box::new(postgres::Source::new(source)));
        Arc::new(Data {
            current: RwLock::new(Arc::new(Snapshot::empty())),
            source: Mutex::new(source),
            url,
            generation: AtomicU64::new(1),
            failures: AtomicU64::new(0),
            took: AtomicU64::new(0),
            read_seconds: OnceLock::new(),
            is_stale: AtomicU64::new(0),
        })
    }

    #[tokio::test]
    async fn a_database_that_says_nothing_more_is_not_waited_for_for_ever() {
        for answers in 0..=2 {
            let server = SilentPostgres::start(answers);
            let data = of(&server);
            let reading = tokio::spawn(async move { data.refresh(false).await });
            server.asked().await;
            // Nothing but time passes from here on.
            tokio::time::pause();
            let read = tokio::time::timeout(Duration::from_secs(86_400), reading).await;
            tokio::time::resume();
            let error = read.expect("it is given up").unwrap().unwrap_err();
            assert!(error.to_string().contains("no answer in time"), "{answers}: {error}");
        }
    }

    #[tokio::test]
    async fn the_end_does_not_wait_for_a_database() {
        let server = SilentPostgres::start(2);
        let (shutdown, (ask, reload)) = (CancellationToken::new(), Reload::manual());
        let context = Context::new(true, shutdown.clone(), reload);
        let fresh = tokio::spawn(of(&server).keep_fresh(context));
        ask.send(1).unwrap();
        server.asked().await;
        tokio::time::pause();
        shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(1), fresh).await.expect("it ends").unwrap();
    }
}
