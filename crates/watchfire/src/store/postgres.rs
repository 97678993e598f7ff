//! PostgreSQL: one connection that writes, one more per query.
//!
//! As with SQLite, the writer inserts all batches that wait by one statement. A connection that breaks is made again
//! with growing pauses; until then every batch is answered [`StoreError::Unavailable`] at once, so that senders are
//! told to come again instead of waiting.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};
use watchfire_core::Backoff;

use super::server::{ANSWER, LONG_ANSWER, Server, is_read_only};
use super::{
    Access, AlertRecord, AlertStore, AlertStream, BoxFuture, Filter, Insertion, Retention, StoreError, make_tables,
    network,
};

/// What makes each version of the schema from the one before.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE alert (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        received bigint NOT NULL,
        peer text NOT NULL,
        content_type text NOT NULL,
        sha256 bytea NOT NULL,
        key bytea NOT NULL,
        parsed boolean NOT NULL,
        body bytea NOT NULL
    );
    CREATE UNIQUE INDEX alert_key ON alert (key);
    CREATE INDEX alert_received ON alert (received, id);
    CREATE TABLE alert_source (
        addr inet NOT NULL,
        alert bigint NOT NULL,
        PRIMARY KEY (addr, alert)
    );
    CREATE INDEX alert_source_alert ON alert_source (alert);
    COMMENT ON COLUMN alert.received IS 'microseconds since 1970';
"];

const INSERT: &str = "
    WITH fresh AS (
        INSERT INTO alert (received, peer, content_type, sha256, key, parsed, body)
        SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::boolean[], $7::bytea[])
        ON CONFLICT (key) DO NOTHING
        RETURNING id, key
    ), sources AS (
        INSERT INTO alert_source (addr, alert)
        SELECT source.addr, fresh.id
        FROM unnest($8::bytea[], $9::inet[]) AS source (key, addr) JOIN fresh USING (key)
    )
    SELECT key FROM fresh";

/// Taken while the schema is made, so that two programs that start together do not both make it.
const LOCK: i64 = 0x7761_7463_6866_6972;
/// So many alerts, or octets of them, are inserted together at most, one batch more or less.
const GROUP: (usize, usize) = (4096, 16 << 20);
/// So many batches may wait for the writer.
const QUEUE: usize = 1024;
/// So many rows are fetched, or dropped, at a time.
const CHUNK: i32 = 500;

/// Held by who drops old alerts.
pub(super) const PRUNE_LOCK: i64 = 0x7761_7463_6870_7275;
/// The longest time to drop what is too old or too much; what is left then goes the next time.
const PRUNE_PATIENCE: Duration = Duration::from_secs(7200);

/// A store in a database.
pub struct PostgresStore {
    server: Arc<Server>,
    writer: Option<mpsc::Sender<Job>>,
}

type Answer = oneshot::Sender<Result<Vec<Insertion>, StoreError>>;
type Job = (Vec<Arc<AlertRecord>>, Answer);

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("server", &self.server.name()).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Connects. With [`Access::Write`] the tables are made when missing.
    ///
    /// # Errors
    /// No connection, no rights, a newer schema.
    pub(crate) async fn open(server: Server, access: Access) -> Result<Self, StoreError> {
        let server = Arc::new(server);
        let mut client = server.connect_to(access).await?;
        if access == Access::Read {
            server.check_schema(&client).await?;
            return Ok(Self { server, writer: None });
        }
        server.migrate(&mut client).await?;
        let (writer, jobs) = mpsc::channel(QUEUE);
        let seed = watchfire_hyper::seed().unwrap_or_default();
        let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(15), seed);
        tokio::spawn(Writer { server: server.clone(), session: None, retry_at: None, backoff }.run(client, jobs));
        Ok(Self { server, writer: Some(writer) })
    }
}

impl AlertStore for PostgresStore {
    fn insert_batch(&self, batch: Vec<Arc<AlertRecord>>) -> BoxFuture<'_, Result<Vec<Insertion>, StoreError>> {
        Box::pin(async move {
            let closed = || StoreError::Failed {
                store: self.server.name().to_owned(),
                what: if self.writer.is_some() { "the writer has ended" } else { "opened for reading only" }.into(),
            };
            let (answer, answered) = oneshot::channel();
            let writer = self.writer.as_ref().ok_or_else(closed)?;
            writer.send((batch, answer)).await.map_err(|_| closed())?;
            answered.await.map_err(|_| closed())?
        })
    }

    fn query(&self, filter: Filter) -> BoxFuture<'_, Result<AlertStream, StoreError>> {
        Box::pin(async move {
            let client = self.server.connect_to(Access::Read).await?;
            self.server.check_schema(&client).await?;
            let (sender, rows) = mpsc::channel(256);
            let server = self.server.clone();
            tokio::spawn(async move {
                if let Err(error) = stream(&server, client, &filter, &sender).await {
                    let _ = sender.send(Err(error)).await;
                }
            });
            Ok(AlertStream { rows })
        })
    }

    fn prune(&self, retention: Retention) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let client = self.server.connect_patiently(Access::Write).await?;
            self.server.in_time(PRUNE_PATIENCE, prune(&client, &retention)).await
        })
    }
}

/// The tables of alerts.
impl Server {
    async fn prepare(&self, client: &Client) -> Result<Statement, StoreError> {
        self.in_time(ANSWER, client.prepare(INSERT)).await
    }

    async fn migrate(&self, client: &mut Client) -> Result<(), StoreError> {
        let known = MIGRATIONS.len() as i64;
        let migrated = async {
            let transaction = client.transaction().await?;
            transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
            let schema = "CREATE TABLE watchfire_schema (version bigint NOT NULL)";
            make_tables(&transaction, &["watchfire_schema"], schema).await?;
            let version: i64 =
                transaction.query_one("SELECT coalesce(max(version), 0) FROM watchfire_schema", &[]).await?.get(0);
            if version < known {
                for migration in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(0)) {
                    transaction.batch_execute(migration).await?;
                }
                transaction.execute("DELETE FROM watchfire_schema", &[]).await?;
                transaction.execute("INSERT INTO watchfire_schema VALUES ($1)", &[&known]).await?;
                transaction.commit().await?;
            }
            Ok(version)
        };
        match self.in_time(LONG_ANSWER, migrated).await? {
            found if found > known => Err(StoreError::NewerSchema { store: self.name().to_owned(), found, known }),
            _ => Ok(()),
        }
    }

    async fn check_schema(&self, client: &Client) -> Result<(), StoreError> {
        let known = MIGRATIONS.len() as i64;
        let version = client.query_one("SELECT coalesce(max(version), 0) FROM watchfire_schema", &[]);
        let found: i64 = self.in_time(ANSWER, version).await?.get(0);
        match found {
            found if found > known => Err(StoreError::NewerSchema { store: self.name().to_owned(), found, known }),
            found if found < known => {
                let what = format!("has schema version {found}; start the manager once to bring it to {known}");
                Err(StoreError::Unusable { store: self.name().to_owned(), what })
            }
            _ => Ok(()),
        }
    }
}

struct Writer {
    server: Arc<Server>,
    session: Option<(Client, Statement)>,
    retry_at: Option<(Instant, StoreError)>,
    backoff: Backoff,
}

impl Writer {
    async fn run(mut self, client: Client, mut jobs: mpsc::Receiver<Job>) {
        if let Ok(statement) = self.server.prepare(&client).await {
            self.session = Some((client, statement));
        }
        while let Some(job) = jobs.recv().await {
            let weigh = |job: &Job| job.0.iter().map(|record| record.body.len()).sum::<usize>();
            let (mut count, mut octets) = (job.0.len(), weigh(&job));
            let mut group = vec![job];
            while count < GROUP.0 && octets < GROUP.1 {
                let Ok(job) = jobs.try_recv() else { break };
                count += job.0.len();
                octets += weigh(&job);
                group.push(job);
            }
            let outcome = self.insert(&group).await;
            for (at, (batch, answer)) in group.into_iter().enumerate() {
                // A caller that has gone away does not want to know.
                let _ = answer.send(match &outcome {
                    Ok(insertions) => Ok(insertions.get(at).cloned().unwrap_or_default()),
                    Err(error) => Err(error.clone()),
                });
                drop(batch);
            }
        }
    }

    async fn insert(&mut self, group: &[Job]) -> Result<Vec<Vec<Insertion>>, StoreError> {
        self.reconnect().await?;
        let Some((client, statement)) = &self.session else {
            return Err(StoreError::Unavailable { store: self.server.name().to_owned(), what: "not connected".into() });
        };
        let Ok(outcome) = tokio::time::timeout(ANSWER, insert(client, statement, group)).await else {
            let what = "no answer in time".to_owned();
            self.session = None;
            return Err(StoreError::Unavailable { store: self.server.name().to_owned(), what });
        };
        if outcome.as_ref().is_err_and(|error| client.is_closed() || is_read_only(error)) {
            self.session = None;
        }
        outcome.map_err(|error| self.server.failed(&error))
    }

    /// Connects again when that is due.
    async fn reconnect(&mut self) -> Result<(), StoreError> {
        if self.session.as_ref().is_some_and(|(client, _)| !client.is_closed()) {
            return Ok(());
        }
        self.session = None;
        if let Some((at, error)) = &self.retry_at
            && Instant::now() < *at
        {
            return Err(error.clone());
        }
        let connected = async {
            let client = self.server.connect().await?;
            let statement = self.server.prepare(&client).await?;
            Ok((client, statement))
        };
        match connected.await {
            Ok(session) => {
                tracing::info!(store = self.server.name(), "connected again");
                self.session = Some(session);
                self.retry_at = None;
                self.backoff.reset();
                Ok(())
            }
            Err(error) => {
                let error: StoreError = error;
                tracing::warn!(%error, "cannot reach the store; senders are told to come again");
                self.retry_at = Some((Instant::now() + self.backoff.next_delay(), error.clone()));
                Err(error)
            }
        }
    }
}

async fn insert(
    client: &Client,
    statement: &Statement,
    group: &[Job],
) -> Result<Vec<Vec<Insertion>>, tokio_postgres::Error> {
    let records: Vec<&AlertRecord> = group.iter().flat_map(|(batch, _)| batch).map(AsRef::as_ref).collect();
    macro_rules! column {
        ($record:ident => $value:expr) => {
            records.iter().map(|$record| $value).collect::<Vec<_>>()
        };
    }
    let received = column!(record => record.received);
    let peer = column!(record => record.peer.as_str());
    let content_type = column!(record => record.content_type.as_str());
    let sha256 = column!(record => record.sha256.as_slice());
    let key = column!(record => &*record.key);
    let parsed = column!(record => record.message.is_some());
    let body = column!(record => record.body.as_ref());
    // One alert twice in a group must not bring its sources twice.
    let mut seen = HashSet::new();
    let sources = records.iter().filter(|record| seen.insert(&record.key));
    let (source_key, source_addr): (Vec<&[u8]>, Vec<IpAddr>) =
        sources.flat_map(|record| record.sources.iter().map(|addr| (&*record.key, *addr))).unzip();
    let values: [&(dyn ToSql + Sync); 9] =
        [&received, &peer, &content_type, &sha256, &key, &parsed, &body, &source_key, &source_addr];
    let rows = client.query(statement, &values).await?;
    let mut fresh: HashSet<&[u8]> = rows.iter().map(|row| row.get::<_, &[u8]>(0)).collect();
    let insertions = group.iter().map(|(batch, _)| {
        let insertion = |record: &Arc<AlertRecord>| {
            if fresh.remove(&*record.key) { Insertion::Inserted } else { Insertion::Duplicate }
        };
        batch.iter().map(insertion).collect()
    });
    Ok(insertions.collect())
}

async fn stream(
    server: &Server,
    mut client: Client,
    filter: &Filter,
    rows: &mpsc::Sender<Result<AlertRecord, StoreError>>,
) -> Result<(), StoreError> {
    let level = tokio_postgres::IsolationLevel::RepeatableRead;
    let begin = client.build_transaction().read_only(true).isolation_level(level).start();
    let transaction = server.in_time(ANSWER, begin).await?;
    let (since, until) = (filter.since.unwrap_or(i64::MIN), filter.until.unwrap_or(i64::MAX));
    let source = filter.source.map(|net| network(net).to_string());
    let mut conditions = vec!["received >= $1 AND received < $2"];
    let mut values: Vec<&(dyn ToSql + Sync)> = vec![&since, &until];
    if let Some(source) = &source {
        conditions.push("id IN (SELECT alert FROM alert_source WHERE addr <<= $3::text::inet)");
        values.push(source);
    }
    let matching = conditions.join(" AND ");
    let cutoff: Option<Row>;
    let (first_received, first_id): (i64, i64);
    let mut after = String::new();
    if let Some(limit) = filter.limit {
        if limit == 0 {
            return Ok(());
        }
        let skip = i64::try_from(limit - 1).unwrap_or(i64::MAX);
        let sql = format!(
            "SELECT received, id FROM alert WHERE {matching} ORDER BY received DESC, id DESC OFFSET {skip} LIMIT 1"
        );
        cutoff = server.in_time(ANSWER, transaction.query_opt(&sql, &values)).await?;
        if let Some(row) = &cutoff {
            (first_received, first_id) = (row.get(0), row.get(1));
            let at = values.len();
            after = format!(" AND (received, id) >= (${}, ${})", at + 1, at + 2);
            values.extend([&first_received as &(dyn ToSql + Sync), &first_id]);
        }
    }
    let sql = format!(
        "SELECT received, peer, content_type, parsed, body FROM alert WHERE {matching}{after} ORDER BY received, id"
    );
    let statement = server.in_time(ANSWER, transaction.prepare(&sql)).await?;
    let portal = server.in_time(ANSWER, transaction.bind(&statement, &values)).await?;
    loop {
        let piece = server.in_time(ANSWER, transaction.query_portal(&portal, CHUNK)).await?;
        let last = piece.len() < CHUNK as usize;
        for row in piece {
            let body = Bytes::from(row.get::<_, Vec<u8>>(4));
            let message = row.get::<_, bool>(3).then(|| AlertRecord::parse(&body)).flatten().map(Arc::new);
            let (peer, content_type): (String, String) = (row.get(1), row.get(2));
            if rows.send(Ok(AlertRecord::new(row.get(0), peer, content_type, body, message))).await.is_err() {
                return Ok(());
            }
        }
        if last {
            return Ok(());
        }
    }
}

/// Drops nothing while another instance does: each would drop the same surplus once more, in other alerts.
async fn prune(client: &Client, retention: &Retention) -> Result<u64, tokio_postgres::Error> {
    if !client.query_one("SELECT pg_try_advisory_lock($1)", &[&PRUNE_LOCK]).await?.get::<_, bool>(0) {
        return Ok(0);
    }
    let mut dropped = 0;
    // What is too old goes first: it needs no sum, which may fail.
    if let Some(before) = retention.before {
        dropped += drop_oldest(client, |received, _| received < before).await?;
    }
    if let Some(allowed) = retention.octets {
        let row = client.query_one("SELECT coalesce(sum(length(body)), 0)::bigint FROM alert", &[]).await?;
        let mut surplus = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0).saturating_sub(allowed);
        let goes = |_, octets| {
            let goes = surplus > 0;
            surplus = surplus.saturating_sub(octets);
            goes
        };
        dropped += drop_oldest(client, goes).await?;
    }
    client.execute("SELECT pg_advisory_unlock($1)", &[&PRUNE_LOCK]).await?;
    Ok(dropped)
}

/// Drops alerts from the oldest on, until one stays; `goes` is told when one was received, and the octets of its body.
async fn drop_oldest(client: &Client, mut goes: impl FnMut(i64, u64) -> bool) -> Result<u64, tokio_postgres::Error> {
    let mut dropped = 0;
    loop {
        let sql = "SELECT id, received, length(body) FROM alert ORDER BY received, id LIMIT $1";
        let oldest = client.query(sql, &[&i64::from(CHUNK)]).await?;
        let gone = oldest.iter().take_while(|row| goes(row.get(1), u64::try_from(row.get::<_, i32>(2)).unwrap_or(0)));
        let victims: Vec<i64> = gone.map(|row| row.get(0)).collect();
        if !victims.is_empty() {
            let sql =
                "WITH gone AS (DELETE FROM alert_source WHERE alert = ANY($1)) DELETE FROM alert WHERE id = ANY($1)";
            dropped += client.execute(sql, &[&victims]).await?;
        }
        if victims.len() < CHUNK as usize {
            return Ok(dropped);
        }
    }
}
