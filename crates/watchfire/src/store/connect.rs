//! From a URL to a store.

use std::path::Path;
use std::sync::Arc;

use super::{AlertStore, PostgresServer, PostgresStore, SqliteStore};
use crate::exit::Failure;
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
        StoreUrl::Postgres(url) => {
            let server = PostgresServer::new(url, password_file)?;
            Ok(Arc::new(PostgresStore::open(server, access).await?))
        }
    }
}
