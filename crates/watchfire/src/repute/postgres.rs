//! Entries in PostgreSQL: one table, which may be written to by other programs too, and a counter that says when.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Transaction};

use super::row::Row;
use super::snapshot::{Builder, Loaded, Snapshot};
use super::write::{Message, Replace, Written};
use crate::exit::Failure;
use crate::store::{ANSWER, Access, LONG_ANSWER, PostgresServer, StoreError, make_tables};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS reputon (
        application text NOT NULL,
        rated text NOT NULL,
        assertion text NOT NULL,
        rater text NOT NULL DEFAULT '',
        identity text NOT NULL DEFAULT '',
        code text NOT NULL DEFAULT '',
        rating double precision NOT NULL CHECK (rating BETWEEN 0 AND 1),
        confidence double precision CHECK (confidence BETWEEN 0 AND 1),
        normal_rating double precision CHECK (normal_rating BETWEEN 0 AND 1),
        sample_size bigint CHECK (sample_size >= 0),
        generated bigint CHECK (generated >= 0),
        expires bigint CHECK (expires >= 0),
        extensions text,
        PRIMARY KEY (application, rated, assertion, rater, identity, code)
    );
    CREATE TABLE IF NOT EXISTS reputon_version (version bigint NOT NULL);
    INSERT INTO reputon_version SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM reputon_version);
    CREATE OR REPLACE FUNCTION reputon_changed() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN UPDATE reputon_version SET version = version + 1; RETURN NULL; END $$;
    CREATE OR REPLACE TRIGGER reputon_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON reputon
        FOR EACH STATEMENT EXECUTE FUNCTION reputon_changed();";

const COLUMNS: &str = "application, rated, assertion, rater, identity, code, rating, confidence, normal_rating, \
                       sample_size, generated, expires, extensions";

/// Held by an import from its beginning to its end, also so that two do not both make the tables.
const LOCK: i64 = 0x7761_7463_6872_6570;

/// How often an import looks whether another one has ended.
const TURN: Duration = Duration::from_secs(1);

/// A database that is read, and watched for changes.
pub(super) struct Source {
    server: PostgresServer,
    client: Option<Client>,
    version: Option<i64>,
}

impl Source {
    pub(super) fn new(server: PostgresServer) -> Self {
        Self { server, client: None, version: None }
    }

    /// The snapshot, if the database has changed since the last time.
    pub(super) async fn load(&mut self, even_so: bool) -> Result<Option<Snapshot>, Failure> {
        let client = match self.client.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            // All of it is one statement.
            None => self.server.connect_patiently(Access::Read).await?,
        };
        let failed = |error: StoreError| match &error {
            StoreError::Unusable { .. } => {
                Failure::from(error).remedy("fill it with `watchfire repute import`, which makes the tables")
            }
            _ => Failure::from(error),
        };
        let version = client.query_one("SELECT version FROM reputon_version", &[]);
        let row = self.server.in_time(ANSWER, version).await.map_err(failed)?;
        let version: i64 = row.get(0);
        if self.version == Some(version) && !even_so {
            self.client = Some(client);
            return Ok(None);
        }
        let builder = Builder::new();
        let (mut loader, mut loaded) = (builder.loader(), Loaded::default());
        let none: [&(dyn ToSql + Sync); 0] = [];
        let select = format!("SELECT {COLUMNS} FROM reputon");
        let rows = self.server.in_time(ANSWER, client.query_raw(&select, none)).await?;
        let mut rows = pin!(rows);
        while let Some(row) = self.server.in_time(ANSWER, futures_util::TryStreamExt::try_next(&mut rows)).await? {
            let row = row_of(&row).map_err(|error| self.server.failed(&error))?;
            row.load(&mut loader, &mut loaded).map_err(|what| Failure::usage(what).at(self.server.name()))?;
        }
        self.version = Some(version);
        self.client = Some(client);
        loaded.shrink();
        let shapes = loader.end();
        Ok(Some(builder.finish(vec![(loaded, shapes)])))
    }
}

fn row_of(row: &tokio_postgres::Row) -> Result<Row, tokio_postgres::Error> {
    Ok(Row {
        application: row.try_get(0)?,
        rated: row.try_get(1)?,
        assertion: row.try_get(2)?,
        rater: row.try_get(3)?,
        identity: row.try_get(4)?,
        code: row.try_get(5)?,
        rating: row.try_get(6)?,
        confidence: row.try_get(7)?,
        normal_rating: row.try_get(8)?,
        sample_size: row.try_get(9)?,
        generated: row.try_get(10)?,
        expires: row.try_get(11)?,
        extensions: row.try_get(12)?,
    })
}

/// Writes what comes, all of it or nothing.
pub(super) async fn write(
    server: PostgresServer,
    replace: Option<&Replace>,
    mut rows: mpsc::Receiver<Message>,
) -> Result<Option<Written>, Failure> {
    let mut client = server.connect_patiently(Access::Write).await?;
    let transaction = server.in_time(ANSWER, client.transaction()).await?;
    let mut is_told = false;
    loop {
        let lock = transaction.query_one("SELECT pg_try_advisory_xact_lock($1)", &[&LOCK]);
        if server.in_time(ANSWER, lock).await?.get(0) {
            break;
        }
        if !is_told {
            is_told = true;
            tracing::info!("waits for another import into the same database");
        }
        tokio::time::sleep(TURN).await;
    }
    server.in_time(LONG_ANSWER, make_tables(&transaction, &["reputon", "reputon_version"], SCHEMA)).await?;
    let mut removed = 0;
    if let Some(Replace { application, rater }) = replace {
        let delete = "DELETE FROM reputon WHERE application = $1 AND rater = $2";
        removed = server.in_time(LONG_ANSWER, transaction.execute(delete, &[application, rater])).await?;
    }
    let mut is_whole = false;
    while let Some(message) = rows.recv().await {
        match message {
            Message::Rows(rows) => server.in_time(LONG_ANSWER, put(&transaction, &rows)).await?,
            Message::Whole => is_whole = true,
        }
    }
    if !is_whole {
        server.in_time(ANSWER, transaction.rollback()).await?;
        return Ok(None);
    }
    let count = transaction.query_one("SELECT count(*) FROM reputon", &[]);
    let stored: i64 = server.in_time(LONG_ANSWER, count).await?.get(0);
    server.in_time(LONG_ANSWER, transaction.commit()).await?;
    Ok(Some(Written { removed, stored: u64::try_from(stored).unwrap_or(0) }))
}

async fn put(transaction: &Transaction<'_>, rows: &[Row]) -> Result<(), tokio_postgres::Error> {
    // One statement cannot touch a row twice: of those that say the same the last one counts.
    let last: HashMap<[&str; 6], usize> = rows.iter().enumerate().map(|(index, row)| (row.key(), index)).collect();
    let rows: Vec<&Row> = rows
        .iter()
        .enumerate()
        .filter(|(index, row)| last.get(&row.key()) == Some(index))
        .map(|(_, row)| row)
        .collect();
    fn column<'r, T>(rows: &[&'r Row], value: impl Fn(&'r Row) -> T) -> Vec<T> {
        rows.iter().map(|row| value(row)).collect()
    }
    let insert = format!(
        "INSERT INTO reputon ({COLUMNS}) SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], \
         $5::text[], $6::text[], $7::float8[], $8::float8[], $9::float8[], $10::int8[], $11::int8[], $12::int8[], \
         $13::text[]) ON CONFLICT (application, rated, assertion, rater, identity, code) DO UPDATE SET \
         rating = excluded.rating, confidence = excluded.confidence, normal_rating = excluded.normal_rating, \
         sample_size = excluded.sample_size, generated = excluded.generated, expires = excluded.expires, \
         extensions = excluded.extensions"
    );
    transaction
        .execute(
            &insert,
            &[
                &column(&rows, |row| row.application.as_str()),
                &column(&rows, |row| row.rated.as_str()),
                &column(&rows, |row| row.assertion.as_str()),
                &column(&rows, |row| row.rater.as_str()),
                &column(&rows, |row| row.identity.as_str()),
                &column(&rows, |row| row.code.as_str()),
                &column(&rows, |row| row.rating),
                &column(&rows, |row| row.confidence),
                &column(&rows, |row| row.normal_rating),
                &column(&rows, |row| row.sample_size),
                &column(&rows, |row| row.generated),
                &column(&rows, |row| row.expires),
                &column(&rows, |row| row.extensions.as_deref()),
            ],
        )
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use watchfire_testkit::servers::Postgres;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_may_make_no_tables_uses_those_that_are_there() {
        let Some(database) = Postgres::start() else { return };
        let mut url = database.url();
        for _ in 0..2 {
            let server = || PostgresServer::new(&url.parse().unwrap(), None).unwrap();
            let (to, rows) = mpsc::channel(1);
            to.send(Message::Whole).await.unwrap();
            drop(to);
            let replace = Replace { application: "email-id".into(), rater: "a".into() };
            assert!(write(server(), Some(&replace), rows).await.unwrap().is_some());
            assert!(Source::new(server()).load(false).await.unwrap().is_some());
            // The second time as somebody who may make nothing.
            url = crate::testing::bounded_user(&database).await;
        }
    }
}
