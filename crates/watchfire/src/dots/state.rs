//! What a Call Home server must not forget: the mitigations in force, in one file that is replaced as a whole.
//!
//! `DIR/mitigations.json`, mode 0600. A write is forced to disk, and so is the name. Several changes at a time become
//! one write. A file that cannot be understood is an error, and is left as it is.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use dots_callhome::body::{Body, Lifetime, Scope};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lock;
use crate::exit::{Failure, file_failure};

/// No file of ours is larger: a thousand requests of 64 KiB.
const LIMIT: u64 = 64 << 20;

const VERSION: u32 = 1;

/// One mitigation that is, or was to be, in force.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Kept {
    /// Who asked, as (D)TLS proved.
    pub peer: String,
    /// Under which name.
    pub cuid: String,
    /// Under which number.
    pub mid: u32,
    /// For what.
    pub scope: Scope,
    /// Until when, in seconds since 1970; `None` for ever.
    pub until: Option<i64>,
}

impl Kept {
    /// What is left of its lifetime; `None` when it is over.
    pub fn lifetime(&self, now: i64) -> Option<Lifetime> {
        let Some(until) = self.until else { return Some(Lifetime::Indefinite) };
        let left = u32::try_from(until.saturating_sub(now)).ok().filter(|left| *left > 0);
        left.map(Lifetime::Seconds)
    }

    fn key(&self) -> Key {
        (self.peer.clone(), self.cuid.clone(), self.mid)
    }
}

type Key = (String, String, u32);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    peer: String,
    cuid: String,
    mid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
    request: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    mitigations: Vec<Record>,
}

/// The file. Clones share it.
#[derive(Debug, Clone)]
pub struct State {
    path: Arc<Path>,
    wanted: Arc<Mutex<Wanted>>,
    written: Arc<Mutex<u64>>,
    // Held as long as we live, so that no other process writes.
    _lock: Arc<File>,
}

#[derive(Debug, Default)]
struct Wanted {
    records: BTreeMap<Key, Kept>,
    changes: u64,
}

impl State {
    /// Opens the folder, made when it is missing, and reads what was kept there.
    ///
    /// # Errors
    /// A folder that another process uses, or a file that cannot be read or understood. It is left as it is.
    pub fn open(dir: &Path) -> Result<(Self, Vec<Kept>), Failure> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|error| file_failure("make the folder", dir, &error))?;
        let lock_path = dir.join("lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock_path);
        let lock = lock.map_err(|error| file_failure("open the lock", &lock_path, &error))?;
        lock.try_lock().map_err(|_| {
            Failure::usage("another process uses this folder").at(dir.display()).remedy("give each its own --state")
        })?;
        let path = dir.join("mitigations.json");
        let kept = read(&path)?;
        let records = kept.iter().map(|one| (one.key(), one.clone())).collect();
        let state = Self {
            path: path.into(),
            wanted: Arc::new(Mutex::new(Wanted { records, changes: 0 })),
            written: Arc::default(),
            _lock: Arc::new(lock),
        };
        Ok((state, kept))
    }

    /// Keeps a mitigation, in place of what was kept under its name. On disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written; what was kept before still is.
    pub async fn keep(&self, kept: Kept) -> io::Result<()> {
        self.change(|records| drop(records.insert(kept.key(), kept))).await
    }

    /// Forgets a mitigation.
    ///
    /// # Errors
    /// As [`keep`](Self::keep).
    pub async fn forget(&self, peer: &str, cuid: &str, mid: u32) -> io::Result<()> {
        self.change(|records| drop(records.remove(&(peer.to_owned(), cuid.to_owned(), mid)))).await
    }

    async fn change(&self, change: impl FnOnce(&mut BTreeMap<Key, Kept>)) -> io::Result<()> {
        let mine = {
            let mut wanted = lock(&self.wanted);
            change(&mut wanted.records);
            wanted.changes += 1;
            wanted.changes
        };
        let state = self.clone();
        tokio::task::spawn_blocking(move || state.write(mine))
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Writes all that is wanted by now, unless somebody has written change `mine` meanwhile.
    fn write(&self, mine: u64) -> io::Result<()> {
        let mut written = lock(&self.written);
        if *written >= mine {
            return Ok(());
        }
        let (content, changes) = {
            let wanted = lock(&self.wanted);
            let record = |one: &Kept| Record {
                peer: one.peer.clone(),
                cuid: one.cuid.clone(),
                mid: one.mid,
                until: one.until,
                request: Body::from(one.scope.clone()).to_json(),
            };
            let content = Content { version: VERSION, mitigations: wanted.records.values().map(record).collect() };
            (content, wanted.changes)
        };
        let octets = serde_json::to_vec_pretty(&content).map_err(io::Error::other)?;
        let new = self.path.with_extension("json.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&octets)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        *written = changes;
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<Kept>, Failure> {
    let damaged = |what: String| {
        let remedy =
            "put a good copy in its place, or move it away: what it held is then asked for again by the operator";
        Failure::usage(format!("damaged: {what}")).at(path.display()).remedy(remedy)
    };
    let mut octets = Vec::new();
    match File::open(path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut octets)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(file_failure("read", path, &error)),
        Ok(_) if octets.len() as u64 > LIMIT => return Err(damaged("larger than 64 MiB".to_owned())),
        Ok(_) => {}
    }
    let content: Content = serde_json::from_slice(&octets).map_err(|error| damaged(error.to_string()))?;
    if content.version != VERSION {
        return Err(damaged(format!("version {} is not known", content.version)));
    }
    let kept = |record: Record| {
        let name = format!("mitigation {} of {}", record.mid, record.peer);
        let text = record.request.to_string();
        let body = Body::from_json(text.as_bytes()).map_err(|error| damaged(format!("{name}: {error}")))?;
        let Body::Mitigation(scopes) = body else { return Err(damaged(format!("{name}: no request"))) };
        let [scope] = <[Scope; 1]>::try_from(scopes).map_err(|_| damaged(format!("{name}: not one scope")))?;
        Ok(Kept { peer: record.peer, cuid: record.cuid, mid: record.mid, scope, until: record.until })
    };
    content.mitigations.into_iter().map(kept).collect()
}

/// The folder's file, for messages.
pub fn file_of(dir: &Path) -> PathBuf {
    dir.join("mitigations.json")
}

#[cfg(test)]
mod tests {
    use dots_callhome::body::List;

    use super::*;
    use crate::testing::TempDir;

    fn kept(mid: u32, until: Option<i64>) -> Kept {
        let mut scope = Scope::default();
        scope.target_prefix = List::one("198.51.100.7/32".parse().unwrap());
        scope.source_prefix = List::one("192.0.2.1/32".parse().unwrap());
        scope.lifetime = Some(Lifetime::Seconds(60));
        Kept { peer: "isp".to_owned(), cuid: "c".to_owned(), mid, scope, until }
    }

    #[tokio::test]
    async fn what_is_kept_is_there_after_a_restart() {
        let dir = TempDir::new("dots-state");
        let folder = dir.path().join("s");
        {
            let (state, before) = State::open(&folder).unwrap();
            assert!(before.is_empty());
            let writes = (1..=20).map(|mid| state.keep(kept(mid, Some(i64::from(mid)))));
            futures_util::future::try_join_all(writes).await.unwrap();
            state.keep(kept(20, None)).await.unwrap();
            state.forget("isp", "c", 3).await.unwrap();
            let other = State::open(&folder).unwrap_err().to_string();
            assert!(other.contains("another process"), "{other}");
        }
        let (_, after) = State::open(&folder).unwrap();
        assert_eq!(after.len(), 19);
        assert_eq!(after.last(), Some(&kept(20, None)));
        assert_eq!(after[0].lifetime(0), Some(Lifetime::Seconds(1)));
        assert_eq!((after[0].lifetime(1), after[18].lifetime(1)), (None, Some(Lifetime::Indefinite)));
    }

    #[test]
    fn a_damaged_file_is_named_and_left() {
        let dir = TempDir::new("dots-damaged");
        for text in [
            "",
            "{",
            "{\"version\":2,\"mitigations\":[]}",
            "{\"version\":1,\"mitigations\":[{}]}",
            "{\"version\":1,\"mitigations\":[{\"peer\":\"p\",\"cuid\":\"c\",\"mid\":1,\"request\":{}}]}",
        ] {
            std::fs::write(file_of(dir.path()), text).unwrap();
            let failure = State::open(dir.path()).unwrap_err();
            assert!(failure.to_string().contains("mitigations.json: damaged"), "{failure}");
            assert_eq!(failure.blame().code(), 2);
            assert_eq!(std::fs::read_to_string(file_of(dir.path())).unwrap(), text);
        }
    }

    #[tokio::test]
    async fn what_cannot_be_written_leaves_what_was() {
        let dir = TempDir::new("dots-full");
        let (state, _) = State::open(dir.path()).unwrap();
        state.keep(kept(1, None)).await.unwrap();
        let before = std::fs::read(file_of(dir.path())).unwrap();
        // Nobody can write there, not even root.
        std::fs::create_dir(dir.path().join("mitigations.json.new")).unwrap();
        assert!(state.keep(kept(2, None)).await.is_err());
        assert_eq!(std::fs::read(file_of(dir.path())).unwrap(), before);
        std::fs::remove_dir(dir.path().join("mitigations.json.new")).unwrap();
        state.keep(kept(3, None)).await.unwrap();
        drop(state);
        assert_eq!(State::open(dir.path()).unwrap().1.len(), 3, "what could not be written before is there now");
    }
}
