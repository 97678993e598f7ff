//! What the brokers of one service share: accounts and their PINs, the keys that seal tickets, and the bindings that
//! have ended, in PostgreSQL.
//!
//! A PIN is taken by one `DELETE`: of all brokers, one has it. A new key is written some time before the first broker
//! seals with it, so that by then all of them can open what it seals.

use std::fmt;
use std::time::Duration;

use obp_proto::service_connect::Pin;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Transaction};
use watchfire_core::UnixTime;
use zeroize::{Zeroize as _, Zeroizing};

use super::accounts::{MOST_PINS, Summary, check_name, folded, is_pin, too_many_pins, unknown};
use crate::exit::Failure;
use crate::store::{PostgresServer, StoreError, is_read_only, make_tables};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS obp_state (version bigint NOT NULL, changes bigint NOT NULL);
    CREATE TABLE IF NOT EXISTS obp_account (
        folded text PRIMARY KEY,
        name text NOT NULL
    );
    CREATE TABLE IF NOT EXISTS obp_pin (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        account text NOT NULL REFERENCES obp_account ON DELETE CASCADE,
        pin text NOT NULL,
        expires bigint NOT NULL,
        UNIQUE (account, pin)
    );
    CREATE TABLE IF NOT EXISTS obp_key (
        id bigint PRIMARY KEY CHECK (id BETWEEN 0 AND 4294967295),
        seals_from bigint NOT NULL,
        octets bytea NOT NULL CHECK (length(octets) = 32)
    );
    CREATE TABLE IF NOT EXISTS obp_ended (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        binding bytea NOT NULL UNIQUE CHECK (length(binding) = 16),
        until bigint NOT NULL
    );
    CREATE INDEX IF NOT EXISTS obp_ended_until ON obp_ended (until);";

const TABLES: [&str; 6] = ["obp_state", "obp_account", "obp_pin", "obp_key", "obp_ended", "obp_ended_until"];

const BEGIN: &str = "INSERT INTO obp_state SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM obp_state)";

/// The schema that this program knows.
const VERSION: i64 = 1;

/// Taken while tables are made, keys are rotated, and bindings end: then one after the other.
const LOCK: i64 = 0x7761_7463_686f_6270;

/// For each call. Devices wait for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long before it seals a key is there, at most; for short lifetimes it is a quarter of them.
const LEAD: i64 = 600;

/// A database that several brokers share.
pub struct Shared {
    server: PostgresServer,
    client: tokio::sync::Mutex<Option<Client>>,
    /// For a connection, and for each call.
    patience: Duration,
}

/// A key as it stands in the database.
#[non_exhaustive]
pub struct SharedKey {
    /// Its number.
    pub id: u32,
    /// From when on it seals, in seconds since 1970.
    pub seals_from: i64,
    /// The key itself.
    pub octets: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("name", &self.server.name()).finish_non_exhaustive()
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedKey").field("id", &self.id).field("seals_from", &self.seals_from).finish_non_exhaustive()
    }
}

impl Shared {
    /// Connects, and makes the tables when they are missing.
    ///
    /// # Errors
    /// No connection, no rights, or tables of a later version of this program.
    pub(crate) async fn open(server: PostgresServer) -> Result<Self, Failure> {
        let client = tokio::sync::Mutex::new(None);
        let this = Self { server, client, patience: PATIENCE };
        this.call(async |client| {
            let transaction = locked(client).await?;
            make_tables(&transaction, &TABLES, SCHEMA).await?;
            transaction.batch_execute(BEGIN).await?;
            let version: i64 = transaction.query_one("SELECT version FROM obp_state", &[]).await?.get(0);
            transaction.commit().await?;
            Ok(version)
        })
        .await
        .and_then(|found| match found > VERSION {
            true => Err(StoreError::NewerSchema { store: this.server.name().to_owned(), found, known: VERSION }.into()),
            false => Ok(()),
        })?;
        Ok(this)
    }

    /// Calls the database, over a new connection when there is none that works.
    async fn call<T>(
        &self,
        work: impl AsyncFnOnce(&mut Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Failure> {
        let late =
            || StoreError::Unavailable { store: self.server.name().to_owned(), what: "no answer in time".into() };
        // Whoever is before may wait for a connection and for an answer.
        let mut held = tokio::time::timeout(2 * self.patience, self.client.lock()).await.map_err(|_| late())?;
        let mut client = match held.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => {
                let connecting = tokio::time::timeout(self.patience, self.server.connect());
                connecting.await.map_err(|_| late())??
            }
        };
        // A connection that did not answer in time is not used again: its answer might still come.
        let outcome = tokio::time::timeout(self.patience, work(&mut client)).await.map_err(|_| late())?;
        if !outcome.as_ref().is_err_and(is_read_only) {
            *held = Some(client);
        }
        outcome.map_err(|error| self.server.failed(&error).into())
    }

    /// The names of all accounts, folded, if they have changed since `seen`; and what to say the next time.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn names(&self, seen: Option<i64>) -> Result<Option<(Vec<String>, i64)>, Failure> {
        self.call(async |client| {
            let changes: i64 = client.query_one("SELECT changes FROM obp_state", &[]).await?.get(0);
            if seen == Some(changes) {
                return Ok(None);
            }
            // Read after the number: what is changed in between is looked at again.
            let rows = client.query("SELECT folded FROM obp_account", &[]).await?;
            Ok(Some((rows.iter().map(|row| row.get(0)).collect(), changes)))
        })
        .await
    }

    /// All accounts, without their secrets.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn list(&self, now: i64) -> Result<Vec<Summary>, Failure> {
        let sql = "SELECT name, count(pin) FROM obp_account LEFT JOIN obp_pin ON account = folded AND expires > $1 \
                   GROUP BY folded, name ORDER BY folded";
        let rows = self.call(async |client| client.query(sql, &[&now]).await).await?;
        let summary =
            |row: &Row| Summary { name: row.get(0), pins: usize::try_from(row.get::<_, i64>(1)).unwrap_or(usize::MAX) };
        Ok(rows.iter().map(summary).collect())
    }

    /// The PINs of an account that are good now, the newest last; none when there is no such account.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn pins(&self, name: &str, now: i64) -> Result<Option<Vec<Zeroizing<String>>>, Failure> {
        let sql = "SELECT pin FROM obp_account LEFT JOIN obp_pin ON account = folded AND expires > $2 \
                   WHERE folded = $1 ORDER BY id";
        let rows = self.call(async |client| client.query(sql, &[&folded(name), &now]).await).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        Ok(Some(rows.iter().filter_map(|row| row.get::<_, Option<String>>(0)).map(Zeroizing::new).collect()))
    }

    /// Adds an account if it is new, and a PIN that is good until a moment.
    ///
    /// # Errors
    /// A name that cannot be one, too many PINs, or a database that cannot be asked.
    pub async fn add(&self, name: &str, pin: Option<(&str, i64)>, now: i64) -> Result<(), Failure> {
        check_name(name)?;
        let key = folded(name);
        let added = self
            .call(async |client| {
                let transaction = client.transaction().await?;
                let insert = "INSERT INTO obp_account (folded, name) VALUES ($1, $2) ON CONFLICT DO NOTHING";
                if transaction.execute(insert, &[&key, &name]).await? > 0 {
                    changed(&transaction).await?;
                }
                // Whoever else adds a PIN to this account waits.
                transaction.query("SELECT 1 FROM obp_account WHERE folded = $1 FOR UPDATE", &[&key]).await?;
                if let Some((pin, expires)) = pin {
                    let drop = "DELETE FROM obp_pin WHERE account = $1 AND expires <= $2";
                    transaction.execute(drop, &[&key, &now]).await?;
                    let count = "SELECT count(*) FROM obp_pin WHERE account = $1";
                    let count: i64 = transaction.query_one(count, &[&key]).await?.get(0);
                    if usize::try_from(count).unwrap_or(usize::MAX) >= MOST_PINS {
                        return Ok(false);
                    }
                    let insert = "INSERT INTO obp_pin (account, pin, expires) VALUES ($1, $2, $3)";
                    transaction.execute(insert, &[&key, &pin, &expires]).await?;
                }
                transaction.commit().await?;
                Ok(true)
            })
            .await?;
        if added { Ok(()) } else { Err(too_many_pins(name)) }
    }

    /// Takes a PIN away for good, however it is grouped: at one of all the brokers this is true.
    ///
    /// # Errors
    /// When the database cannot be asked. The PIN may be gone then: it is not good any more.
    pub async fn use_pin(&self, name: &str, pin: &Pin, now: i64) -> Result<bool, Failure> {
        let Some(mut texts) = self.pins(name, now).await? else { return Ok(false) };
        texts.retain(|text| is_pin(text, pin));
        let texts: Vec<&str> = texts.iter().map(|text| text.as_str()).collect();
        // Whoever deletes it has it; that it was read a moment ago says nothing.
        let sql = "DELETE FROM obp_pin WHERE account = $1 AND pin = ANY($2) AND expires > $3";
        Ok(self.call(async |client| client.execute(sql, &[&folded(name), &texts, &now]).await).await? > 0)
    }

    /// Removes an account.
    ///
    /// # Errors
    /// When there is no such account, or the database cannot be asked.
    pub async fn remove(&self, name: &str) -> Result<(), Failure> {
        let removed = self.call(async |client| {
            let transaction = client.transaction().await?;
            let removed = transaction.execute("DELETE FROM obp_account WHERE folded = $1", &[&folded(name)]).await?;
            changed(&transaction).await?;
            transaction.commit().await?;
            Ok(removed)
        });
        if removed.await? > 0 { Ok(()) } else { Err(unknown(name, self.server.name())) }
    }

    /// All keys, oldest first, after one was added if the newest has sealed for nearly as long as it may (`lifetime`, in
    /// seconds, which is also how long its tickets are good), and those were dropped whose tickets have all expired.
    ///
    /// # Errors
    /// When the database cannot be asked, or the system has no randomness.
    pub async fn keys(&self, lifetime: i64, now: i64) -> Result<Vec<SharedKey>, Failure> {
        let mut octets = Zeroizing::new([0; 32]);
        getrandom::fill(&mut octets[..]).map_err(|error| Failure::usage(format!("no randomness: {error}")))?;
        let all = self.call(async |client| client.query(KEYS, &[]).await).await?;
        if next(&sealing(&all), lifetime, now).is_none() && over(&sealing(&all), lifetime, now).is_empty() {
            return Ok(all.iter().map(key).collect());
        }
        let all = self.call(async |client| {
            let transaction = locked(client).await?;
            // Another broker may have been here meanwhile.
            let all = sealing(&transaction.query(KEYS, &[]).await?);
            for id in over(&all, lifetime, now) {
                transaction.execute("DELETE FROM obp_key WHERE id = $1", &[&id]).await?;
            }
            if let Some((id, from)) = next(&all, lifetime, now) {
                let insert = "INSERT INTO obp_key (id, seals_from, octets) VALUES ($1, $2, $3)";
                transaction.execute(insert, &[&id, &from, &&octets[..]]).await?;
            }
            let all = transaction.query(KEYS, &[]).await?;
            transaction.commit().await?;
            Ok(all)
        });
        Ok(all.await?.iter().map(key).collect())
    }

    /// Remembers a binding that has ended.
    ///
    /// # Errors
    /// When the database cannot be asked. It may have been written even so.
    pub async fn end(&self, binding: [u8; 16], until: UnixTime) -> Result<(), Failure> {
        self.call(async |client| {
            // One transaction after the other: so numbers are seen in their order.
            let transaction = locked(client).await?;
            // Who has seen it before sees it again when it has to be remembered for longer.
            let insert = "INSERT INTO obp_ended (binding, until) VALUES ($1, $2) ON CONFLICT (binding) \
                          DO UPDATE SET until = excluded.until, id = DEFAULT WHERE obp_ended.until < excluded.until";
            transaction.execute(insert, &[&&binding[..], &until.as_secs()]).await?;
            transaction.commit().await
        })
        .await
    }

    /// The bindings that have ended since the one of this number, which have to be remembered still; and the number of
    /// the last.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn ended(&self, since: i64, now: i64) -> Result<(Vec<([u8; 16], UnixTime)>, i64), Failure> {
        let sql = "SELECT id, binding, until FROM obp_ended WHERE id > $1 AND until > $2 ORDER BY id";
        let rows = self.call(async |client| client.query(sql, &[&since, &now]).await).await?;
        let last = rows.last().map_or(since, |row| row.get(0));
        let one = |row: &Row| Some((row.get::<_, &[u8]>(1).try_into().ok()?, UnixTime::from_secs(row.get(2))));
        Ok((rows.iter().filter_map(one).collect(), last))
    }

    /// Forgets what need not be remembered any more.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn tidy(&self, now: i64) -> Result<(), Failure> {
        for sql in ["DELETE FROM obp_ended WHERE until <= $1", "DELETE FROM obp_pin WHERE expires <= $1"] {
            self.call(async |client| client.execute(sql, &[&now]).await).await?;
        }
        Ok(())
    }
}

const KEYS: &str = "SELECT id, seals_from, octets FROM obp_key ORDER BY seals_from, id";

/// A transaction that no other of its kind is beside.
async fn locked(client: &mut Client) -> Result<Transaction<'_>, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    Ok(transaction)
}

/// Tells all brokers that there are other accounts now.
async fn changed(transaction: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
    let none: [&(dyn ToSql + Sync); 0] = [];
    transaction.execute("UPDATE obp_state SET changes = changes + 1", &none).await.map(drop)
}

fn key(row: &Row) -> SharedKey {
    let mut octets = Zeroizing::new([0; 32]);
    let mut read: Vec<u8> = row.get(2);
    // The table has no others.
    if read.len() == octets.len() {
        octets.copy_from_slice(&read);
    }
    read.zeroize();
    SharedKey { id: u32::try_from(row.get::<_, i64>(0)).unwrap_or(u32::MAX), seals_from: row.get(1), octets }
}

/// Numbers, and from when on they seal.
fn sealing(rows: &[Row]) -> Vec<(i64, i64)> {
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// The number of a key that is due, and from when on it is to seal. The first one seals at once.
fn next(keys: &[(i64, i64)], lifetime: i64, now: i64) -> Option<(i64, i64)> {
    let Some((_, newest)) = keys.last() else { return Some((1, now)) };
    let lead = LEAD.min(lifetime / 4);
    let due = newest.saturating_add(lifetime);
    let id = keys.iter().map(|(id, _)| *id).max().unwrap_or(0) + 1;
    (due.saturating_sub(lead) <= now).then(|| (id & 0xffff_ffff, due.max(now.saturating_add(lead))))
}

/// The keys all of whose tickets have expired: the one after them seals for a lifetime by now.
fn over(keys: &[(i64, i64)], lifetime: i64, now: i64) -> Vec<i64> {
    let followed = keys.iter().zip(keys.iter().skip(1));
    followed.filter(|(_, (_, from))| from.saturating_add(lifetime) <= now).map(|((id, _), _)| *id).collect()
}

#[cfg(test)]
mod tests {
    use watchfire_testkit::servers::Postgres;

    use super::*;

    const DAY: i64 = 86_400;

    fn pin(text: &str) -> Pin {
        text.parse().unwrap()
    }

    async fn open(server: &Postgres) -> Shared {
        Shared::open(PostgresServer::new(&server.url().parse().unwrap(), None).unwrap()).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_may_make_no_tables_uses_those_that_are_there() {
        let Some(server) = Postgres::start() else { return };
        open(&server).await;
        let url = crate::testing::bounded_user(&server).await;
        let shared = Shared::open(PostgresServer::new(&url.parse().unwrap(), None).unwrap()).await.unwrap();
        shared.add("alice@example.com", Some(("1111", 100)), 10).await.unwrap();
        assert!(shared.use_pin("alice@example.com", &pin("11-11"), 10).await.unwrap());
        assert_eq!(shared.keys(DAY, 10).await.unwrap().len(), 1);
        shared.end([1; 16], UnixTime::from_secs(50)).await.unwrap();
        shared.tidy(60).await.unwrap();
        shared.remove("alice@example.com").await.unwrap();
    }

    #[test]
    fn a_key_is_there_before_it_seals_and_until_its_tickets_have_expired() {
        assert_eq!(next(&[], 30 * DAY, 5), Some((1, 5)));
        assert_eq!(next(&[(1, 0)], 30 * DAY, 30 * DAY - LEAD - 1), None);
        assert_eq!(next(&[(1, 0)], 30 * DAY, 30 * DAY - LEAD), Some((2, 30 * DAY)));
        assert_eq!(next(&[(1, 0)], 30 * DAY, 99 * DAY), Some((2, 99 * DAY + LEAD)), "after a long pause");
        assert_eq!(next(&[(1, 0)], 60, 45), Some((2, 60)));
        let keys = [(1, 0), (2, 30 * DAY), (3, 60 * DAY)];
        assert!(over(&keys, 30 * DAY, 60 * DAY - 1).is_empty());
        assert_eq!(over(&keys, 30 * DAY, 60 * DAY), [1]);
        assert!(over(&keys[2..], 30 * DAY, 999 * DAY).is_empty(), "one stays");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_pin_is_good_at_one_of_many_brokers() {
        let Some(server) = Postgres::start() else { return };
        let one = open(&server).await;
        assert_eq!(one.names(None).await.unwrap().unwrap().0, Vec::<String>::new());
        one.add("Alice@example.com", Some(("1111", 100)), 10).await.unwrap();
        one.add("alice@example.com", Some(("2222", 50)), 10).await.unwrap();
        one.add("bob@example.com", None, 10).await.unwrap();
        let pins = |now| one.pins("ALICE@example.com", now);
        let texts =
            |pins: Option<Vec<Zeroizing<String>>>| pins.unwrap().iter().map(|pin| pin.to_string()).collect::<Vec<_>>();
        assert_eq!(texts(pins(10).await.unwrap()), ["1111", "2222"], "the newest last");
        assert_eq!(texts(pins(60).await.unwrap()), ["1111"]);
        assert_eq!(texts(one.pins("bob@example.com", 10).await.unwrap()), Vec::<String>::new());
        assert_eq!(one.pins("nobody@example.com", 10).await.unwrap(), None);
        let summary = one.list(60).await.unwrap();
        assert_eq!(
            summary.iter().map(|one| (one.name.as_str(), one.pins)).collect::<Vec<_>>(),
            [("Alice@example.com", 1), ("bob@example.com", 0)]
        );

        // Many brokers at once: one of them has it.
        let mut brokers = Vec::new();
        for _ in 0..8 {
            let broker = open(&server).await;
            brokers.push(tokio::spawn(
                async move { broker.use_pin("alice@example.com", &pin("11-11"), 10).await.unwrap() },
            ));
        }
        let mut taken = 0;
        for broker in brokers {
            taken += usize::from(broker.await.unwrap());
        }
        assert_eq!(taken, 1);
        assert!(!one.use_pin("bob@example.com", &pin("2222"), 10).await.unwrap(), "somebody else's");
        assert!(!one.use_pin("alice@example.com", &pin("2222"), 50).await.unwrap(), "too late");

        for n in 0..MOST_PINS {
            one.add("bob@example.com", Some((&format!("{n:04}"), 100)), 10).await.unwrap();
        }
        assert!(one.add("bob@example.com", Some(("9999", 100)), 10).await.is_err());
        one.add("bob@example.com", Some(("9999", 200)), 150).await.unwrap();
        assert!(one.add("two words", None, 10).await.is_err());
        // Who holds the connection does not hold everybody up.
        let mut impatient = open(&server).await;
        impatient.patience = Duration::from_millis(10);
        let held = impatient.client.lock().await;
        let waited = tokio::time::timeout(Duration::from_secs(60), impatient.names(None)).await;
        assert!(waited.expect("it ends").unwrap_err().to_string().contains("no answer in time"));
        drop(held);
        let (_, changes) = one.names(None).await.unwrap().unwrap();
        assert_eq!(one.names(Some(changes)).await.unwrap(), None);
        open(&server).await.remove("ALICE@example.com").await.unwrap();
        assert_eq!(one.names(Some(changes)).await.unwrap().unwrap().0, ["bob@example.com"]);
        assert!(one.remove("alice@example.com").await.unwrap_err().to_string().contains("no account"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn keys_and_ended_bindings_are_everybody_s() {
        let Some(mut server) = Postgres::start() else { return };
        let (one, two) = (open(&server).await, open(&server).await);
        let octets = |keys: &[SharedKey]| keys.iter().map(|key| (key.id, *key.octets)).collect::<Vec<_>>();
        let (first, second) = tokio::join!(one.keys(60, 0), two.keys(60, 0));
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!((first.len(), octets(&first)), (1, octets(&second)), "made once");
        let ids = |keys: Vec<SharedKey>| keys.iter().map(|key| (key.id, key.seals_from)).collect::<Vec<_>>();
        assert_eq!(ids(one.keys(60, 44).await.unwrap()), [(1, 0)]);
        assert_eq!(ids(two.keys(60, 45).await.unwrap()), [(1, 0), (2, 60)]);
        assert_eq!(ids(one.keys(60, 50).await.unwrap()), [(1, 0), (2, 60)]);
        assert_eq!(ids(one.keys(60, 120).await.unwrap()), [(2, 60), (3, 135)]);

        let until = UnixTime::from_secs;
        one.end([1; 16], until(100)).await.unwrap();
        assert_eq!(two.ended(0, 10).await.unwrap(), (vec![([1; 16], until(100))], 1));
        // Ended again where that was not known yet: remembered for longer, and never for less.
        one.end([1; 16], until(150)).await.unwrap();
        let (found, last) = two.ended(1, 10).await.unwrap();
        assert_eq!(found, [([1; 16], until(150))]);
        one.end([1; 16], until(120)).await.unwrap();
        assert_eq!(two.ended(last, 10).await.unwrap(), (vec![], last));
        // What cannot be written is said to be so, and is not written later.
        server.stop();
        assert!(one.end([2; 16], until(200)).await.is_err());
        server.restart();
        assert_eq!(one.ended(last, 10).await.unwrap(), (vec![], last));
        two.end([2; 16], until(200)).await.unwrap();
        let (found, last) = one.ended(last, 10).await.unwrap();
        assert_eq!(found, [([2; 16], until(200))]);
        assert_eq!(two.ended(last, 10).await.unwrap(), (vec![], last));
        two.tidy(150).await.unwrap();
        assert_eq!(two.ended(0, 10).await.unwrap().0, [([2; 16], until(200))]);
    }
}
