//! The state of a name owner's server in PostgreSQL, for several instances of which one serves.
//!
//! Who holds an advisory lock of the database leads: it alone reads the records, listens, and asks the CA. The others
//! wait for the lock, which is free as soon as the leader's connection is gone. Records are written over the connection
//! that holds the lock, so that nobody writes who does not lead. A leader whose connection broke takes the lock again
//! and goes on, unless somebody else has led since: then it ends.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use acme_lurk::Record;
use acme_lurk_hyper::Going;
use acme_lurk_hyper::keep::{KeepError, Keeper};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::exit::Failure;
use crate::service::Context;
use crate::store::{PostgresServer, StoreError, make_tables};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS ido_state (
        version bigint NOT NULL,
        epoch bigint NOT NULL,
        account text NOT NULL,
        url text NOT NULL
    );
    CREATE TABLE IF NOT EXISTS ido_record (
        name text PRIMARY KEY,
        value bytea NOT NULL
    );";

/// The schema that this program knows.
const VERSION: i64 = 1;

/// Held by who leads.
const LOCK: i64 = 0x7761_7463_6869_646f;

/// A connection that is silent is missed soon: the lock of a machine that is gone must become free. TCP tells the server
/// when nobody answers, also while an answer of its own is under way. Behind a tunnel somebody always answers; but who
/// leads asks every second, so the server (version 14 and later) ends a session that asks nothing.
const ALIVE: &str = "SELECT set_config(name, value, false) FROM pg_settings JOIN (VALUES \
    ('tcp_keepalives_idle', '5'), ('tcp_keepalives_interval', '2'), ('tcp_keepalives_count', '3'), \
    ('tcp_user_timeout', '11000'), ('idle_session_timeout', '11000'), \
    ('idle_in_transaction_session_timeout', '11000')) AS wanted (setting_name, value) ON name = setting_name";

/// For one call.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often who waits tries to lead, and who leads looks whether it still does.
const PACE: Duration = Duration::from_secs(1);

/// So many records are read or written at a time.
const PIECE: i64 = 1000;

/// So many octets are written at a time, or one record: a line that is slow takes them within [`PATIENCE`].
const PIECE_OCTETS: usize = 1 << 20;

/// So many calls share one transaction at most.
const GROUP: usize = 256;

/// What has been kept: names and values.
pub type Known = Vec<(String, Vec<u8>)>;

/// Who the instances are: the same for all of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct Identity {
    /// The thumbprint of the key of the account at the CA.
    pub account: String,
    /// How the service's URLs begin.
    pub url: String,
}

/// The records of who leads.
#[derive(Debug)]
pub struct SharedRecords {
    jobs: mpsc::UnboundedSender<Job>,
}

#[derive(Debug)]
struct Job {
    records: Vec<Record>,
    done: oneshot::Sender<Result<(), KeepError>>,
}

impl Keeper for SharedRecords {
    fn keep(&self, records: Vec<Record>) -> Going<'static, Result<(), KeepError>> {
        let (done, told) = oneshot::channel();
        let sent = self.jobs.send(Job { records, done });
        Box::pin(async move {
            let ended = || KeepError("another instance leads now".into());
            sent.map_err(|_| ended())?;
            told.await.map_err(|_| ended())?
        })
    }
}

/// Waits until this instance leads. Gives the records, all that was kept, and what is cancelled when another instance
/// leads instead.
///
/// # Errors
/// A database that cannot be reached at the start or is not for this program, or that has the state of another service.
pub(crate) async fn lead(
    server: PostgresServer,
    identity: &Identity,
    context: &Context,
) -> Result<(SharedRecords, Known, CancellationToken), Failure> {
    let server = Server { server };
    let mut session = Some(server.session().await?);
    let mut is_told = false;
    let (client, epoch) = loop {
        let tried = match session.take() {
            Some(client) => server.take_lock(client).await,
            None => match server.session().await {
                Ok(client) => server.take_lock(client).await,
                Err(error) => Err(error),
            },
        };
        match tried {
            Ok((client, true)) => {
                let epoch = server.begin(&client, identity).await?;
                break (client, epoch);
            }
            Ok((client, false)) => session = Some(client),
            Err(failure) => tracing::warn!("the database of the other instances does not answer: {failure}"),
        }
        if !is_told {
            is_told = true;
            context.health.set("lurk-ido", Err("stands by: another instance serves".into()));
            tracing::info!(store = server.server.name(), "stands by: another instance serves");
        }
        tokio::time::sleep(PACE).await;
    };
    let known = server.known(&client).await?;
    tracing::info!(store = server.server.name(), epoch, "leads");
    context.health.set("lurk-ido", Ok(()));
    let (jobs, queue) = mpsc::unbounded_channel();
    let lost = CancellationToken::new();
    let writer = Writer { server, session: Some(client), epoch, pending: BTreeMap::new(), lost: lost.clone() };
    tokio::spawn(writer.run(queue));
    Ok((SharedRecords { jobs }, known, lost))
}

struct Server {
    server: PostgresServer,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("name", &self.server.name()).finish_non_exhaustive()
    }
}

impl Server {
    async fn in_time<T>(&self, call: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Failure> {
        Ok(self.server.in_time(PATIENCE, call).await?)
    }

    /// All records, some at a time: one answer with all of them may take any time.
    async fn known(&self, client: &Client) -> Result<Known, Failure> {
        let mut known = Known::new();
        loop {
            // No name is empty.
            let last = known.last().map_or("", |(name, _)| name.as_str());
            let select = "SELECT name, value FROM ido_record WHERE name > $1 ORDER BY name LIMIT $2";
            let rows = self.in_time(client.query(select, &[&last, &PIECE])).await?;
            known.extend(rows.iter().map(|row| (row.get(0), row.get(1))));
            if rows.len() < PIECE as usize {
                return Ok(known);
            }
        }
    }

    async fn session(&self) -> Result<Client, Failure> {
        let client = self.server.connect().await?;
        self.in_time(client.batch_execute(ALIVE)).await?;
        Ok(client)
    }

    /// The connection, and whether it holds the lock now.
    async fn take_lock(&self, client: Client) -> Result<(Client, bool), Failure> {
        let taken = self.in_time(client.query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK])).await?.get(0);
        Ok((client, taken))
    }

    /// Begins to lead: makes the tables when they are missing, and counts.
    async fn begin(&self, client: &Client, identity: &Identity) -> Result<i64, Failure> {
        self.in_time(make_tables(client, &["ido_state", "ido_record"], SCHEMA)).await?;
        let insert = "INSERT INTO ido_state SELECT $1, 0, $2, $3 WHERE NOT EXISTS (SELECT 1 FROM ido_state)";
        self.in_time(client.execute(insert, &[&VERSION, &identity.account, &identity.url])).await?;
        let row = self.in_time(client.query_one("SELECT version, account, url FROM ido_state", &[])).await?;
        let found: i64 = row.get(0);
        if found > VERSION {
            return Err(StoreError::NewerSchema { store: self.server.name().to_owned(), found, known: VERSION }.into());
        }
        if row.get::<_, &str>(1) != identity.account {
            let failure =
                Failure::usage("the orders there are those of another account at the CA").at(self.server.name());
            return Err(failure.remedy("give every instance the same account.key in its --dir"));
        }
        if row.get::<_, &str>(2) != identity.url {
            let failure =
                Failure::usage(format!("the orders there are at {}", row.get::<_, &str>(2))).at(self.server.name());
            return Err(failure.remedy("give every instance the same --url"));
        }
        let count = "UPDATE ido_state SET epoch = epoch + 1 RETURNING epoch";
        Ok(self.in_time(client.query_one(count, &[])).await?.get(0))
    }
}

/// Names and values; none of what is gone.
type Pending = BTreeMap<String, Option<Vec<u8>>>;

struct Writer {
    server: Server,
    session: Option<Client>,
    epoch: i64,
    /// What could not be written: it goes with the next ones.
    pending: Pending,
    lost: CancellationToken,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::UnboundedReceiver<Job>) {
        loop {
            let first = tokio::select! {
                job = queue.recv() => match job {
                    Some(job) => Some(job),
                    None => return,
                },
                () = tokio::time::sleep(PACE) => None,
            };
            let mut waiting = Vec::new();
            let mut next = first;
            while let Some(job) = next {
                self.pending.extend(job.records.into_iter().map(|record| (record.name, record.value)));
                waiting.push(job.done);
                next = (waiting.len() < GROUP).then(|| queue.try_recv().ok()).flatten();
            }
            let outcome = self.write().await;
            if self.lost.is_cancelled() {
                // Who waits is told by what is dropped here.
                return;
            }
            if let Err(failure) = &outcome {
                tracing::error!(records = self.pending.len(), "cannot write: {failure}");
                self.session = None;
            }
            let outcome = outcome.map_err(|failure| KeepError(failure.to_string()));
            for done in waiting {
                let _ = done.send(outcome.clone());
            }
        }
    }

    /// Writes what is pending, a piece at a time: what a long outage has left comes through a slow line too. Should it end in
    /// between, what is there is good: none of it was promised, and accounts come before their orders. Without any, looks
    /// whether the connection is there.
    async fn write(&mut self) -> Result<(), Failure> {
        if self.session.as_ref().is_none_or(Client::is_closed) {
            self.session = None;
            self.session = self.again().await?;
        }
        let Some(client) = &mut self.session else { return Ok(()) };
        if self.pending.is_empty() {
            return self.server.in_time(client.batch_execute("SELECT 1")).await;
        }
        while let Some(mut piece) = take_piece(&mut self.pending) {
            if let Err(failure) = self.server.in_time(put(client, &piece)).await {
                self.pending.append(&mut piece);
                return Err(failure);
            }
        }
        Ok(())
    }

    /// A new connection with the lock, if nobody else has led since.
    async fn again(&mut self) -> Result<Option<Client>, Failure> {
        let (client, is_ours) = self.server.take_lock(self.server.session().await?).await?;
        let lasting = if is_ours {
            let row = self.server.in_time(client.query_one("SELECT epoch FROM ido_state", &[])).await?;
            row.get::<_, i64>(0) == self.epoch
        } else {
            // The server may not have missed our old connection yet; whoever leads has counted.
            let row = self.server.in_time(client.query_one("SELECT epoch FROM ido_state", &[])).await?;
            if row.get::<_, i64>(0) == self.epoch {
                let store = self.server.server.name().to_owned();
                return Err(StoreError::Unavailable { store, what: "the lock is not free yet".into() }.into());
            }
            false
        };
        if lasting {
            tracing::info!(store = self.server.server.name(), "connected again, and leads still");
            return Ok(Some(client));
        }
        tracing::error!(store = self.server.server.name(), "another instance leads now");
        self.lost.cancel();
        Ok(None)
    }
}

/// The first records, as many as are written at a time; none if there are none.
fn take_piece(pending: &mut Pending) -> Option<Pending> {
    let mut octets = 0_usize;
    let mut fits = |(at, (name, value)): (usize, (&String, &Option<Vec<u8>>))| {
        octets = octets.saturating_add(name.len() + value.as_ref().map_or(0, Vec::len));
        at == 0 || (at < PIECE as usize && octets <= PIECE_OCTETS)
    };
    let count = pending.iter().enumerate().take_while(|one| fits(*one)).count();
    let rest = pending.keys().nth(count).cloned().map(|first| pending.split_off(&first)).unwrap_or_default();
    (count > 0).then(|| std::mem::replace(pending, rest))
}

/// Writes records in one transaction.
async fn put(client: &mut Client, records: &Pending) -> Result<(), tokio_postgres::Error> {
    let (mut names, mut values, mut gone): (Vec<&str>, Vec<&[u8]>, Vec<&str>) = Default::default();
    for (name, value) in records {
        match value {
            Some(value) => {
                names.push(name);
                values.push(value);
            }
            None => gone.push(name),
        }
    }
    let transaction = client.transaction().await?;
    let put = "INSERT INTO ido_record SELECT * FROM unnest($1::text[], $2::bytea[]) \
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    transaction.execute(put, &[&names, &values]).await?;
    transaction.execute("DELETE FROM ido_record WHERE name = ANY($1)", &[&gone]).await?;
    transaction.commit().await
}

#[cfg(test)]
mod tests {
    use watchfire_testkit::servers::Postgres;

    use super::*;
    use crate::signals::Reload;

    fn identity(account: &str) -> Identity {
        Identity { account: account.into(), url: "https://ido.example".into() }
    }

    async fn leading(server: &Postgres, account: &str) -> Result<(SharedRecords, Known, CancellationToken), Failure> {
        let context = Context::new(true, CancellationToken::new(), Reload::manual().1);
        let server = PostgresServer::new(&server.url().parse().unwrap(), None).unwrap();
        lead(server, &identity(account), &context).await
    }

    fn record(name: &str, value: Option<&str>) -> Record {
        Record { name: name.into(), value: value.map(|text| text.as_bytes().to_vec()) }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_leads_and_what_it_kept_is_the_next_one_s() {
        let Some(mut server) = Postgres::start() else { return };
        let (records, known, lost) = leading(&server, "a").await.unwrap();
        assert!(known.is_empty());
        records.keep(vec![record("a", Some("1")), record("b", Some("2"))]).await.unwrap();
        records.keep(vec![record("b", None), record("a", Some("3"))]).await.unwrap();
        let waiting = tokio::time::timeout(PACE * 3, leading(&server, "a")).await;
        assert!(waiting.is_err(), "there is one already");

        // The database goes and comes: nothing is lost, and it leads still.
        server.stop();
        assert!(records.keep(vec![record("c", Some("4"))]).await.is_err());
        server.restart();
        let began = std::time::Instant::now();
        while records.keep(Vec::new()).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(30));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(!lost.is_cancelled());

        // It ends, and the next one has all of it.
        drop(records);
        let (records, mut known, _) = leading(&server, "a").await.unwrap();
        known.sort();
        assert_eq!(known, [("a".to_owned(), b"3".to_vec()), ("c".to_owned(), b"4".to_vec())]);
        drop(records);
        let error = leading(&server, "other").await.map(drop).unwrap_err().to_string();
        assert!(error.contains("account.key"), "{error}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_may_make_no_tables_uses_those_that_are_there() {
        let Some(server) = Postgres::start() else { return };
        drop(leading(&server, "a").await.unwrap());
        let url = crate::testing::bounded_user(&server).await;
        let context = Context::new(true, CancellationToken::new(), Reload::manual().1);
        let server = PostgresServer::new(&url.parse().unwrap(), None).unwrap();
        let (records, _, _) = lead(server, &identity("a"), &context).await.unwrap();
        records.keep(vec![record("a", Some("1"))]).await.unwrap();
        records.keep(vec![record("a", Some("2"))]).await.unwrap();
        records.keep(vec![record("a", None)]).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_was_overtaken_writes_nothing_more() {
        let Some(server) = Postgres::start() else { return };
        let (first, _, lost) = leading(&server, "a").await.unwrap();
        first.keep(vec![record("a", Some("1"))]).await.unwrap();
        // Its connection is cut, and another one is quicker.
        let config: tokio_postgres::Config = server.url().parse().unwrap();
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'; \
                   UPDATE ido_state SET epoch = epoch + 1";
        client.batch_execute(cut).await.unwrap();
        tokio::time::timeout(Duration::from_secs(30), lost.cancelled()).await.unwrap();
        assert!(first.keep(vec![record("a", Some("2"))]).await.is_err());
        let row = client.query_one("SELECT value FROM ido_record WHERE name = 'a'", &[]).await.unwrap();
        assert_eq!(row.get::<_, Vec<u8>>(0), b"1");
    }

    #[test]
    fn much_is_written_in_pieces() {
        let record = |number: usize, octets: usize| (format!("{number:05}"), Some(vec![0; octets]));
        let sizes = |records: Vec<(String, Option<Vec<u8>>)>| {
            let mut pending: Pending = records.into_iter().collect();
            std::iter::from_fn(|| take_piece(&mut pending)).map(|piece| piece.len()).collect::<Vec<_>>()
        };
        assert_eq!(sizes((0..2500).map(|number| record(number, 1)).collect()), [1000, 1000, 500]);
        let half = PIECE_OCTETS / 2;
        assert_eq!(sizes(vec![record(0, half * 3), record(1, half), record(2, half), record(3, 5)]), [1, 1, 2]);
        assert_eq!(sizes((0..1500).map(|number| (number.to_string(), None)).collect()), [1000, 500]);
    }

    /// As after a long outage: all of it at once would take longer than any call may.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_takes_long_is_written_all_the_same() {
        let Some(server) = Postgres::start() else { return };
        let (records, _, _) = leading(&server, "a").await.unwrap();
        let config: tokio_postgres::Config = server.url().parse().unwrap();
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
                    'BEGIN PERFORM pg_sleep(0.002); RETURN NULL; END'; \
                    CREATE TRIGGER slow AFTER INSERT ON ido_record FOR EACH ROW EXECUTE FUNCTION slow()";
        client.batch_execute(slow).await.unwrap();
        let many = usize::try_from(PATIENCE.as_millis()).unwrap() / 2 + 1;
        records.keep((0..many).map(|number| record(&number.to_string(), Some("1"))).collect()).await.unwrap();
        let row = client.query_one("SELECT count(*) FROM ido_record", &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), i64::try_from(many).unwrap());
    }

    #[test]
    fn who_is_silent_leads_no_more_and_learns_of_it() {
        let Some(server) = Postgres::start() else { return };
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (one, other) = (runtime(), runtime());
        let (first, _, lost) = one.block_on(leading(&server, "a")).unwrap();
        // Nothing of the first runs now: its connection is there, and says nothing.
        let next =
            other.block_on(async { tokio::time::timeout(Duration::from_secs(120), leading(&server, "a")).await });
        let _next = next.expect("the lock becomes free").unwrap();
        one.block_on(async { tokio::time::timeout(Duration::from_secs(60), lost.cancelled()).await }).unwrap();
        assert!(one.block_on(first.keep(vec![record("a", Some("1"))])).is_err());
    }
}
