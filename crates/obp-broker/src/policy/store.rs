//! The policy in force, and its files watched: a good change takes effect, a bad one changes nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use super::decide::Policy;
use super::file::{PolicyError, RuleSet};
use super::rpz::ResponsePolicyZone;

/// What a look at the files brought.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reload {
    /// No file changed.
    Unchanged,
    /// The new policy is in force; so many rules and zone triggers.
    InForce {
        /// Rules of the policy file.
        rules: usize,
        /// Triggers of all zones.
        triggers: usize,
        /// Triggers of kinds that a broker cannot see.
        ignored: usize,
    },
}

/// Holds the policy in force. Readers take an [`Arc`] of it; [`PolicyStore::reload`] puts another in its place.
#[derive(Debug)]
pub struct PolicyStore {
    current: RwLock<Arc<Policy>>,
    generation: AtomicU64,
    file: Option<PathBuf>,
    seen: Mutex<Vec<(PathBuf, Option<Stamp>)>>,
}

/// Enough of a file's state to tell that it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    length: u64,
    #[cfg(unix)]
    inode: u64,
}

impl PolicyStore {
    /// A store of a policy that was made in the program.
    #[must_use]
    pub fn of(policy: Policy) -> Self {
        Self {
            current: RwLock::new(Arc::new(policy)),
            generation: AtomicU64::new(0),
            file: None,
            seen: Mutex::default(),
        }
    }

    /// Reads the policy file and the zones that it names; paths of zones are relative to the file's directory.
    ///
    /// # Errors
    /// [`PolicyError`] with file, line and remedy.
    pub fn open(file: &Path) -> Result<Self, PolicyError> {
        let stamps = vec![(file.to_owned(), stamp(file))];
        let (policy, zones) = load(file)?;
        let store = Self::of(policy);
        let mut seen = stamps;
        seen.extend(zones);
        Ok(Self { file: Some(file.to_owned()), seen: Mutex::new(seen), ..store })
    }

    /// The policy in force.
    #[must_use]
    pub fn current(&self) -> Arc<Policy> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts the policies that were in force: answers made under an older one are not to be used.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Puts a policy in force.
    pub fn replace(&self, policy: Policy) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Looks whether a file changed and reads all of them again if so. Blocks on files: call it from a blocking task.
    ///
    /// # Errors
    /// [`PolicyError`] with file, line and remedy; the policy in force stays, and the same error does not come again
    /// until a file changes once more.
    pub fn reload(&self) -> Result<Reload, PolicyError> {
        let Some(file) = &self.file else { return Ok(Reload::Unchanged) };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now: Vec<_> = seen.iter().map(|(path, _)| (path.clone(), stamp(path))).collect();
        if *seen == now {
            return Ok(Reload::Unchanged);
        }
        *seen = now;
        let first = (file.clone(), stamp(file));
        let (policy, zones) = load(file)?;
        *seen = std::iter::once(first).chain(zones).collect();
        let outcome = Reload::InForce {
            rules: policy.rules().len(),
            triggers: policy.zones().iter().map(ResponsePolicyZone::len).sum(),
            ignored: policy.zones().iter().map(|zone| zone.ignored).sum(),
        };
        self.replace(policy);
        Ok(outcome)
    }

    /// Looks at the files every `period`, for ever; what happened goes to the log. Run it as a task and abort it at
    /// the end.
    pub async fn watch(self: Arc<Self>, period: std::time::Duration) {
        let mut ticks = tokio::time::interval(period.max(std::time::Duration::from_millis(50)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let store = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || store.reload()).await {
                Ok(Ok(Reload::Unchanged)) => {}
                Ok(Ok(Reload::InForce { rules, triggers, ignored })) => {
                    tracing::info!(rules, triggers, ignored, "the new policy is in force");
                }
                Ok(Err(error)) => tracing::error!(%error, "the old policy stays in force"),
                Err(error) => tracing::error!(%error, "reading the policy failed; the old policy stays in force"),
            }
        }
    }
}

type Stamped = Vec<(PathBuf, Option<Stamp>)>;

fn load(file: &Path) -> Result<(Policy, Stamped), PolicyError> {
    let shown = file.display().to_string();
    let text = read(file, RuleSet::MAX_FILE)
        .map_err(|error| PolicyError::new(&shown, 0, error, "give the path of a policy file that can be read"))?;
    let set = RuleSet::parse(&text, &shown)?;
    let directory = file.parent().unwrap_or_else(|| Path::new(""));
    let mut zones = Vec::new();
    let mut stamps = Vec::new();
    for (path, line) in &set.zones {
        let path = directory.join(path);
        stamps.push((path.clone(), stamp(&path)));
        let text = read(&path, ResponsePolicyZone::MAX_FILE).map_err(|error| {
            let what = format!("{}: {error}", path.display());
            PolicyError::new(&shown, *line, what, "give a path relative to this file's directory")
        })?;
        zones.push(ResponsePolicyZone::parse(&text, &path.display().to_string())?);
    }
    Ok((Policy::new(set, zones), stamps))
}

fn read(path: &Path, limit: usize) -> Result<String, String> {
    use std::io::Read;
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let read = file.take(limit as u64 + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if read > limit { Err(format!("larger than {limit} octets")) } else { Ok(text) }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    Some(Stamp {
        modified: meta.modified().ok()?,
        length: meta.len(),
        #[cfg(unix)]
        inode: std::os::unix::fs::MetadataExt::ino(&meta),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::DomainName;
    use crate::policy::Decision;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("obp-broker-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        /// Replaces a file as editors do, so that the inode tells the change even within the clock's grain.
        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            let fresh = self.0.join(format!("{name}.new"));
            fs::write(&fresh, text).unwrap();
            fs::rename(&fresh, &path).unwrap();
            path
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_good_change_takes_effect_and_a_bad_one_does_not() {
        let scratch = Scratch::new("reload");
        scratch.write("a.zone", "$ORIGIN a.\nzoned.example CNAME .\n");
        let rule = "[[rule]]\nname = \"one.example\"\naction = \"deny\"\n";
        let file = scratch.write("policy.toml", &format!("rpz = [\"a.zone\"]\n{rule}"));
        let store = PolicyStore::open(&file).unwrap();
        let of = |text| store.current().for_name(None, &DomainName::parse(text).unwrap());
        assert!(matches!(of("one.example"), Decision::Deny(_)));
        assert!(matches!(of("zoned.example"), Decision::Deny(_)));
        assert_eq!(store.reload(), Ok(Reload::Unchanged));

        scratch.write("a.zone", "$ORIGIN a.\nother.example CNAME .\n");
        assert_eq!(store.reload(), Ok(Reload::InForce { rules: 1, triggers: 1, ignored: 0 }));
        assert_eq!(of("zoned.example"), Decision::Pass);
        assert_eq!(store.generation(), 1);

        scratch.write("a.zone", "$ORIGIN a.\n\nother.example CNAME . .\n");
        let error = store.reload().unwrap_err();
        assert!(error.file.ends_with("a.zone") && error.line == 3, "{error}");
        assert!(matches!(of("other.example"), Decision::Deny(_)), "the old policy stays in force");
        assert_eq!(store.generation(), 1);
        assert_eq!(store.reload(), Ok(Reload::Unchanged), "one complaint per change");

        fs::remove_file(scratch.0.join("a.zone")).unwrap();
        let error = store.reload().unwrap_err();
        assert!(error.file.ends_with("policy.toml") && error.line == 1, "{error}");
        scratch.write("a.zone", "$ORIGIN a.\nback.example CNAME .\n");
        assert!(matches!(store.reload(), Ok(Reload::InForce { .. })));
        assert!(matches!(of("back.example"), Decision::Deny(_)));
    }
}
