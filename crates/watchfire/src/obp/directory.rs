//! Where the accounts of a broker are: a file of its own, or a database that several brokers share.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use obp_proto::service_connect::Pin;
use zeroize::Zeroizing;

use super::accounts::{Accounts, Summary};
use super::shared::Shared;
use crate::exit::Failure;
use crate::store::PostgresServer;
use crate::values::{PostgresUrl, has_scheme};

/// `FILE.toml`, or `postgres://USER@HOST/DATABASE`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AccountsUrl {
    /// A file.
    File(PathBuf),
    /// A database.
    Shared(PostgresUrl),
}

impl AccountsUrl {
    /// Makes a relative path start at `base`.
    pub fn rebase(&mut self, base: &Path) {
        match self {
            Self::File(path) => *path = base.join(&*path),
            Self::Shared(url) => url.rebase(base),
        }
    }
}

impl fmt::Display for AccountsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Shared(url) => url.fmt(f),
        }
    }
}

impl FromStr for AccountsUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            _ if PostgresUrl::is_one(text) => text.parse().map(Self::Shared),
            _ if text.is_empty() || has_scheme(text) => {
                Err("write a file's name (./NAME if there is a colon in it) or postgres://USER@HOST/DATABASE".into())
            }
            _ => Ok(Self::File(text.into())),
        }
    }
}

/// Accounts and their PINs. Cheap to clone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Directory {
    /// In a file.
    File(Accounts),
    /// In a database.
    Shared(Arc<Shared>),
}

impl Directory {
    /// Opens it. A password of the database is taken as for `--store`.
    ///
    /// # Errors
    /// A database that cannot be opened. A file need not be there yet.
    pub async fn open(url: &AccountsUrl, password_file: Option<&Path>) -> Result<Self, Failure> {
        match url {
            AccountsUrl::File(path) => Ok(Self::File(Accounts::at(path))),
            AccountsUrl::Shared(url) => {
                let server = PostgresServer::new(url, password_file)?;
                Ok(Self::Shared(Arc::new(Shared::open(server).await?)))
            }
        }
    }

    /// All accounts, without their secrets.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn list(&self, now: jiff::Timestamp) -> Result<Vec<Summary>, Failure> {
        match self {
            Self::File(file) => file.list(now),
            Self::Shared(shared) => shared.list(now.as_second()).await,
        }
    }

    /// The PINs of an account that are good now, the newest last; none when there is no such account.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn pins(&self, name: &str, now: jiff::Timestamp) -> Result<Option<Vec<Zeroizing<String>>>, Failure> {
        match self {
            Self::File(file) => file.pins(name, now),
            Self::Shared(shared) => shared.pins(name, now.as_second()).await,
        }
    }

    /// Adds an account if it is new, and a PIN that is good until a moment.
    ///
    /// # Errors
    /// A name that cannot be one, too many PINs, or a place that cannot be written to.
    pub async fn add(
        &self,
        name: &str,
        pin: Option<(&str, jiff::Timestamp)>,
        now: jiff::Timestamp,
    ) -> Result<(), Failure> {
        match self {
            Self::File(file) => file.add(name, pin, now),
            Self::Shared(shared) => {
                let pin = pin.map(|(pin, expires)| (pin, expires.as_second()));
                shared.add(name, pin, now.as_second()).await
            }
        }
    }

    /// Takes a PIN away for good, however it is grouped. False when it was not there any more.
    ///
    /// # Errors
    /// When the place cannot be read or written to.
    pub async fn use_pin(&self, name: &str, pin: &Pin, now: jiff::Timestamp) -> Result<bool, Failure> {
        match self {
            Self::File(file) => file.use_pin(name, pin, now),
            Self::Shared(shared) => shared.use_pin(name, pin, now.as_second()).await,
        }
    }

    /// Removes an account.
    ///
    /// # Errors
    /// When there is no such account, or the place cannot be written to.
    pub async fn remove(&self, name: &str) -> Result<(), Failure> {
        match self {
            Self::File(file) => file.remove(name),
            Self::Shared(shared) => shared.remove(name).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_or_a_database() {
        assert_eq!("a.toml".parse(), Ok(AccountsUrl::File("a.toml".into())));
        let mut url: AccountsUrl = "postgres://wf:secret@db/obp".parse().unwrap();
        url.rebase(Path::new("/etc"));
        assert_eq!(url.to_string(), "postgres://wf@db/obp");
        for bad in ["", "sqlite:a.db", "mysql://db/obp"] {
            assert!(bad.parse::<AccountsUrl>().is_err(), "{bad} was taken");
        }
    }
}
