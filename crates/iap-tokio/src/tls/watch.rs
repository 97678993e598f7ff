//! Reloading when a file changes.

use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;

use super::context::Tls;

/// A running watch; dropping it ends the watch.
#[derive(Debug)]
#[must_use = "dropping the watcher ends the watch"]
pub struct Watcher {
    task: JoinHandle<()>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Tls {
    /// Looks at all files of the configuration every so often, and [reloads](Tls::reload) when one has another time,
    /// length or inode than before. Results go to the log and to [`reloads`](Tls::reloads).
    ///
    /// Looking is cheap and works on every file system; it also sees renames over a file and changed symbolic links.
    /// A change that does not load (a new certificate whose key is still to come) is tried again at the next change. An
    /// interval below 10 ms counts as 10 ms. Must be called within a tokio runtime. The watch does not keep the
    /// [`Tls`] alive.
    pub fn watch(&self, interval: Duration) -> Watcher {
        let inner = self.downgrade();
        let mut seen = self.stamps();
        let interval = interval.max(Duration::from_millis(10));
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                let Some(tls) = Self::upgrade(&inner) else { return };
                let before = seen.clone();
                let look = tokio::task::spawn_blocking(move || {
                    let stamps = tls.stamps();
                    if stamps != before {
                        log(&tls.reload());
                    }
                    stamps
                });
                match look.await {
                    Ok(stamps) => seen = stamps,
                    // The runtime is going down.
                    Err(_) => return,
                }
            }
        });
        Watcher { task }
    }

    /// Taken before the files are read, so that a change during the reading is seen next time.
    fn stamps(&self) -> Vec<Option<Stamp>> {
        self.state().config.files().map(Stamp::of).collect()
    }
}

fn log(result: &Result<Vec<super::Warning>, super::ConfigError>) {
    match result {
        Ok(warnings) => {
            tracing::info!("TLS files changed and were reloaded");
            for warning in warnings {
                tracing::warn!("{warning}");
            }
        }
        Err(error) => tracing::error!("TLS files changed but cannot be used; the old ones stay in force: {error}"),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&meta);
        #[cfg(not(unix))]
        let inode = 0;
        Some(Self { modified: meta.modified().ok(), length: meta.len(), inode })
    }
}
