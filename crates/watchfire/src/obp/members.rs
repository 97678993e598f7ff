//! The accounts there are, in memory, for the look that every question takes.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use tokio::sync::Mutex;

use super::directory::{AccountsUrl, Directory};
use crate::exit::Failure;

/// The names of all accounts, as they were at the last look. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Members {
    directory: Directory,
    url: AccountsUrl,
    anonymous: bool,
    names: Arc<RwLock<Names>>,
    /// When the last look for somebody unknown began.
    looked: Arc<Mutex<Option<Instant>>>,
}

#[derive(Debug, Default)]
struct Names {
    all: BTreeSet<String>,
    seen: Option<Seen>,
}

/// By what a change is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    File(Option<(std::time::SystemTime, u64)>),
    Shared(i64),
}

impl Members {
    /// Reads them. With `anonymous` whoever has no account is one of them too.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn load(directory: Directory, url: &AccountsUrl, anonymous: bool) -> Result<Self, Failure> {
        let this = Self { directory, url: url.clone(), anonymous, names: Arc::default(), looked: Arc::default() };
        this.refresh().await?;
        if this.names.read().unwrap_or_else(PoisonError::into_inner).all.is_empty() && !anonymous {
            tracing::warn!(accounts = %url, "there is no account yet; add one with `watchfire obp account add`");
        }
        Ok(this)
    }

    /// Reads them again if they have changed.
    ///
    /// # Errors
    /// When they cannot be read; they stay as they were.
    pub async fn refresh(&self) -> Result<(), Failure> {
        let seen = self.names.read().unwrap_or_else(PoisonError::into_inner).seen;
        let (all, seen) = match (&self.directory, &self.url) {
            (Directory::File(file), AccountsUrl::File(path)) => {
                let stamp = Seen::File(stamp(path));
                if seen == Some(stamp) {
                    return Ok(());
                }
                let all = file.names();
                // The same mistake is not said again until the file changes.
                self.names.write().unwrap_or_else(PoisonError::into_inner).seen = Some(stamp);
                (all?, stamp)
            }
            (Directory::Shared(shared), _) => {
                let seen = seen.and_then(|seen| if let Seen::Shared(changes) = seen { Some(changes) } else { None });
                let Some((all, changes)) = shared.names(seen).await? else { return Ok(()) };
                (all, Seen::Shared(changes))
            }
            _ => return Ok(()),
        };
        let all = all.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = Names { all, seen: Some(seen) };
        Ok(())
    }

    /// Whether there is this account; the empty one is nobody's.
    pub fn knows(&self, account: &str) -> bool {
        if account.is_empty() {
            return self.anonymous;
        }
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        if account.bytes().any(|octet| octet.is_ascii_uppercase()) {
            return names.all.contains(&account.to_ascii_lowercase());
        }
        names.all.contains(account)
    }

    /// Whether there is this account now: one that is unknown may have been added a moment ago, and bound by another
    /// broker. However many ask, the database is asked by one at a time.
    pub async fn knows_now(&self, account: &str) -> bool {
        if self.knows(account) {
            return true;
        }
        if account.is_empty() || matches!(self.directory, Directory::File(_)) {
            return false;
        }
        let asked = Instant::now();
        let mut looked = self.looked.lock().await;
        if looked.is_none_or(|looked| looked < asked) {
            *looked = Some(Instant::now());
            if let Err(error) = self.refresh().await {
                tracing::debug!("an account is unknown, and the database does not say more: {error}");
            }
        }
        drop(looked);
        self.knows(account)
    }

    /// Whether devices without an account may bind.
    pub fn admits_anybody(&self) -> bool {
        self.anonymous
    }
}

fn stamp(path: &Path) -> Option<(std::time::SystemTime, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}
