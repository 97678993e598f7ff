//! From a URL to a store.

use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::{AlertStore, PostgresStore, SqliteStore, StoreError};
use crate::exit::{Failure, file_failure};
use crate::values::StoreUrl;

/// What the store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Access {
    /// To insert: made when missing, brought to today's schema.
    Write,
    /// To look: must be there.
    Read,
}

/// Opens the store. A password of PostgreSQL is taken from `password_file` (its first line), else from the URL, else
/// from the variable `PGPASSWORD`.
///
/// # Errors
/// Unreadable password file, or whatever the store says.
pub async fn open(
    url: &StoreUrl,
    password_file: Option<&Path>,
    access: Access,
) -> Result<Arc<dyn AlertStore>, Failure> {
    match url {
        StoreUrl::Sqlite(path) => Ok(Arc::new(SqliteStore::open(path, access)?)),
        StoreUrl::Postgres(text) => {
            let config = postgres_config(text, url, password_file)?;
            Ok(Arc::new(PostgresStore::open(config, url.to_string(), access).await?))
        }
    }
}

/// How a database is reached, with its password.
pub(crate) fn postgres_config(
    text: &str,
    url: &StoreUrl,
    password_file: Option<&Path>,
) -> Result<tokio_postgres::Config, Failure> {
    let password = password(password_file)?;
    let mut config: tokio_postgres::Config = text.parse().map_err(|error| {
        let what = format!("not a connection string: {error}");
        StoreError::Unusable { store: url.to_string(), what }
    })?;
    if let Some(password) = password
        && (password_file.is_some() || config.get_password().is_none())
    {
        config.password(password.as_bytes());
    }
    Ok(config)
}

fn password(file: Option<&Path>) -> Result<Option<Zeroizing<String>>, Failure> {
    let Some(path) = file else { return Ok(std::env::var("PGPASSWORD").ok().map(Zeroizing::new)) };
    let octets = crate::pki::read_bounded(path).map_err(|error| file_failure("read the password", path, &error))?;
    let octets = Zeroizing::new(octets);
    let text = std::str::from_utf8(&octets).map_err(|_| Failure::usage("not UTF-8").at(path.display()))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Some(Zeroizing::new(line.to_owned()))),
        _ => Err(Failure::usage("the first line is empty").at(path.display()).remedy("write the password there")),
    }
}
