use std::time::{Duration, Instant};

use bytes::Bytes;
use watchfire_testkit::servers::Postgres;

use super::record::tests::xml;
use super::*;
use crate::testing::{SilentPostgres, TempDir, bounded_user, plain};
use crate::values::StoreUrl;

fn opaque(received: i64, peer: &str, body: &str) -> Arc<AlertRecord> {
    Arc::new(AlertRecord::new(received, peer, "x/y", Bytes::from(body.to_owned()), None))
}

fn alert(received: i64, id: usize, source: &str) -> Arc<AlertRecord> {
    let body = xml(id, source);
    let message = AlertRecord::parse(body.as_bytes()).map(Arc::new);
    assert!(message.is_some());
    Arc::new(AlertRecord::new(received, "sensor-1", "application/x-idef-alert", Bytes::from(body), message))
}

async fn all(store: &dyn AlertStore, filter: Filter) -> Vec<AlertRecord> {
    let mut stream = store.query(filter).await.unwrap();
    let mut found = Vec::new();
    while let Some(record) = stream.next().await {
        found.push(record.unwrap());
    }
    found
}

async fn times(store: &dyn AlertStore, filter: Filter) -> Vec<i64> {
    all(store, filter).await.iter().map(|record| record.received).collect()
}

/// What every store must do. Leaves alerts behind, for a look after a restart.
async fn suite(store: &Arc<dyn AlertStore>) {
    use Insertion::{Duplicate, Inserted};
    let store_ref = store.as_ref();
    assert_eq!(times(store_ref, Filter::default()).await, Vec::<i64>::new());
    let batch = vec![
        alert(30, 1, "192.0.2.1"),
        opaque(10, "a", "\u{0}binary"),
        opaque(10, "a", "\u{0}binary"),
        opaque(20, "b", "\u{0}binary"),
        alert(40, 2, "2001:db8::bad"),
        alert(50, 3, "198.51.100.7"),
    ];
    let first = store.insert_batch(batch.clone()).await.unwrap();
    assert_eq!(first, [Inserted, Inserted, Duplicate, Inserted, Inserted, Inserted]);
    assert_eq!(store.insert_batch(batch.clone()).await.unwrap(), [Duplicate; 6]);
    assert_eq!(store.insert_batch(Vec::new()).await.unwrap(), []);

    // What comes out is what went in, oldest first.
    let found = all(store_ref, Filter::default()).await;
    let mut wanted: Vec<&AlertRecord> = [0, 1, 3, 4, 5].map(|at| batch[at].as_ref()).to_vec();
    wanted.sort_by_key(|record| record.received);
    assert_eq!(found.iter().collect::<Vec<_>>(), wanted);

    let since = |at| Filter { since: Some(at), ..Filter::default() };
    let source = |net: &str| Filter { source: Some(crate::values::parse_cidr(net).unwrap()), ..Filter::default() };
    assert_eq!(times(store_ref, since(30)).await, [30, 40, 50]);
    assert_eq!(times(store_ref, since(51)).await, Vec::<i64>::new());
    let until = |at| Filter { until: Some(at), ..Filter::default() };
    assert_eq!(times(store_ref, until(30)).await, [10, 20]);
    assert_eq!(times(store_ref, Filter { limit: Some(1), ..until(30) }).await, [20]);
    assert_eq!(times(store_ref, Filter { until: Some(40), ..since(30) }).await, [30]);
    assert_eq!(times(store_ref, Filter { until: Some(50), ..source("0.0.0.0/0") }).await, [30]);
    assert_eq!(times(store_ref, source("192.0.2.0/24")).await, [30]);
    assert_eq!(times(store_ref, source("0.0.0.0/0")).await, [30, 50]);
    assert_eq!(times(store_ref, source("2001:db8::/32")).await, [40]);
    assert_eq!(times(store_ref, source("192.0.2.2/31")).await, Vec::<i64>::new());
    assert_eq!(times(store_ref, source("::/0")).await, [40], "those of IPv4 are others");
    assert_eq!(times(store_ref, source("::/80")).await, Vec::<i64>::new());
    assert_eq!(times(store_ref, source("::ffff:192.0.2.0/120")).await, [30], "but written so they are those");
    assert_eq!(times(store_ref, source("::ffff:0:0/96")).await, [30, 50]);
    assert_eq!(times(store_ref, Filter { limit: Some(2), ..Filter::default() }).await, [40, 50]);
    assert_eq!(times(store_ref, Filter { limit: Some(99), ..Filter::default() }).await, [10, 20, 30, 40, 50]);
    assert_eq!(times(store_ref, Filter { limit: Some(1), ..source("0.0.0.0/0") }).await, [50]);
    assert_eq!(
        times(store_ref, Filter { limit: Some(1), since: Some(41), ..source("192.0.2.1") }).await,
        Vec::<i64>::new()
    );

    // Many callers at once with overlapping batches: each alert once.
    let callers = (0..8).map(|caller| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut inserted = 0;
            for batch in 0..20 {
                let records = (0..16).map(|n| opaque(1000 + n, "p", &format!("{} {n}", (batch + caller) % 20)));
                let answers = store.insert_batch(records.collect()).await.unwrap();
                inserted += answers.iter().filter(|answer| **answer == Inserted).count();
            }
            inserted
        })
    });
    let mut inserted = 0;
    for caller in callers.collect::<Vec<_>>() {
        inserted += caller.await.unwrap();
    }
    assert_eq!(inserted, 320);
    assert_eq!(times(store_ref, since(1000)).await.len(), 320);

    // Dropped by age, then by size, the oldest first; the index of sources goes along.
    assert_eq!(store.prune(Retention::default()).await, Ok(0));
    assert_eq!(store.prune(Retention { before: Some(40), octets: None }).await, Ok(3));
    assert_eq!(times(store_ref, source("0.0.0.0/0")).await, [50]);
    let kept = all(store_ref, since(1010)).await;
    let octets = kept.iter().map(|record| record.body.len() as u64).sum();
    let dropped = store.prune(Retention { before: None, octets: Some(octets) }).await.unwrap();
    assert_eq!(dropped, 322 - kept.len() as u64);
    assert_eq!(all(store_ref, Filter::default()).await, kept);
    assert_eq!(times(store_ref, source("0.0.0.0/0")).await, Vec::<i64>::new());
    // Large ones as well.
    let large = opaque(5000, "large", &"x".repeat(3 << 20));
    assert_eq!(store.insert_batch(vec![large.clone()]).await.unwrap(), [Inserted]);
    assert_eq!(all(store_ref, since(5000)).await, [large.as_ref().clone()]);
}

async fn many(store: &Arc<dyn AlertStore>) {
    for batch in 0..40 {
        let records = (0..500).map(|n| opaque(10_000 + batch * 500 + n, "many", &format!("{batch} {n}"))).collect();
        store.insert_batch(records).await.unwrap();
    }
    let found = times(store.as_ref(), Filter { since: Some(10_000), ..Filter::default() }).await;
    assert_eq!(found, (10_000..30_000).collect::<Vec<i64>>());
    // A reader that loses interest ends the query.
    let mut stream = store.query(Filter::default()).await.unwrap();
    assert!(stream.next().await.is_some());
}

async fn open(url: &str, access: Access) -> Result<Arc<dyn AlertStore>, crate::exit::Failure> {
    super::open(&url.parse::<StoreUrl>().unwrap(), None, access).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    let dir = TempDir::new("store");
    let url = format!("sqlite:{}", dir.path().join("alerts.db").display());
    let store = open(&url, Access::Write).await.unwrap();
    suite(&store).await;
    many(&store).await;
    let before = all(store.as_ref(), Filter::default()).await;
    drop(store);
    let store = open(&url, Access::Write).await.unwrap();
    let again = before.iter().take(10).cloned().map(Arc::new).collect();
    assert_eq!(store.insert_batch(again).await.unwrap(), [Insertion::Duplicate; 10]);
    let reader = open(&url, Access::Read).await.unwrap();
    assert_eq!(all(reader.as_ref(), Filter::default()).await, before);
    assert!(reader.insert_batch(Vec::new()).await.unwrap_err().to_string().contains("reading only"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    let Some(mut server) = Postgres::start() else { return };
    let url = server.url();
    let error = open(&url, Access::Read).await.unwrap_err().to_string();
    assert!(error.contains("watchfire_schema"), "{error}");
    let store = open(&url, Access::Write).await.unwrap();
    suite(&store).await;
    many(&store).await;
    let before = all(store.as_ref(), Filter::default()).await;

    // Gone: said at once and as retriable. Back: goes on, nothing lost, nothing twice.
    server.stop();
    let error = store.insert_batch(vec![opaque(60_000, "late", "late")]).await.unwrap_err();
    assert!(error.is_retriable(), "{error}");
    server.restart();
    let deadline = Instant::now() + Duration::from_secs(20);
    let answer = loop {
        match store.insert_batch(vec![opaque(60_000, "late", "late")]).await {
            Ok(answer) => break answer,
            Err(error) => assert!(Instant::now() < deadline && error.is_retriable(), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(answer, [Insertion::Inserted]);
    let again = before.iter().take(10).cloned().map(Arc::new).collect();
    assert_eq!(store.insert_batch(again).await.unwrap(), [Insertion::Duplicate; 10]);
    let reader = open(&url, Access::Read).await.unwrap();
    assert_eq!(all(reader.as_ref(), Filter::default()).await.len(), before.len() + 1);

    plain(&url).await.execute("UPDATE watchfire_schema SET version = 99", &[]).await.unwrap();
    for access in [Access::Read, Access::Write] {
        let error = open(&url, access).await.unwrap_err().to_string();
        assert!(error.contains("version 99"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_make_no_tables_uses_those_that_are_there() {
    let Some(server) = Postgres::start() else { return };
    let bounded = bounded_user(&server).await;
    let error = open(&bounded, Access::Write).await.unwrap_err().to_string();
    assert!(error.contains("42501") && error.contains("grant this user the rights"), "{error}");
    open(&server.url(), Access::Write).await.unwrap();
    bounded_user(&server).await;
    let store = open(&bounded, Access::Write).await.unwrap();
    let batch = vec![opaque(10, "a", "1"), alert(20, 2, "192.0.2.1")];
    assert_eq!(store.insert_batch(batch).await.unwrap(), [Insertion::Inserted; 2]);
    assert_eq!(store.prune(Retention { before: Some(20), octets: None }).await, Ok(1));
    assert_eq!(times(store.as_ref(), Filter::default()).await, [20]);
}

fn folder(server: &Postgres) -> String {
    server.url().split("host=").nth(1).unwrap().split('&').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_say_nothing_hide_none_that_does() {
    let Some(server) = Postgres::start() else { return };
    let silent = [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let ports = silent.iter().map(|silent| silent.local_addr().unwrap().port().to_string()).collect::<Vec<_>>();
    let (hosts, ports) = ("host=127.0.0.1&".repeat(silent.len()), ports.join(","));
    let url = format!("postgres:///postgres?{hosts}host={}&port={ports},5432&user=watchfire", folder(&server));
    let store = open(&url, Access::Write).await.unwrap();
    assert_eq!(store.insert_batch(vec![opaque(10, "a", "1")]).await.unwrap(), [Insertion::Inserted]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_leave_a_host_that_takes_no_writes() {
    let (Some(one), Some(other)) = (Postgres::start(), Postgres::start()) else { return };
    for server in [&one, &other] {
        open(&server.url(), Access::Write).await.unwrap();
    }
    let both = format!("postgres:///postgres?host={}&host={}&port=5432&user=watchfire", folder(&one), folder(&other));
    let store = open(&both, Access::Write).await.unwrap();
    assert_eq!(store.insert_batch(vec![opaque(10, "a", "1")]).await.unwrap(), [Insertion::Inserted]);
    let (first, second) =
        (open(&one.url(), Access::Read).await.unwrap(), open(&other.url(), Access::Read).await.unwrap());
    assert_eq!(times(first.as_ref(), Filter::default()).await, [10], "the first, while it takes writes");

    // The first becomes what a standby is.
    let admin = plain(&one.url()).await;
    admin.batch_execute("ALTER SYSTEM SET default_transaction_read_only = on").await.unwrap();
    admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    for at in 20.. {
        assert!(Instant::now() < deadline);
        match store.insert_batch(vec![opaque(at, "a", &at.to_string())]).await {
            Ok(_) if times(second.as_ref(), Filter::default()).await == [at] => break,
            Ok(_) => {}
            Err(error) => assert!(error.is_retriable(), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // So does one that starts now; who reads, or says so, has the first.
    let store = open(&both, Access::Write).await.unwrap();
    assert_eq!(store.insert_batch(vec![opaque(15, "a", "15")]).await.unwrap(), [Insertion::Inserted]);
    assert!(times(second.as_ref(), Filter::default()).await.contains(&15));
    let reader = open(&both, Access::Read).await.unwrap();
    assert!(!times(reader.as_ref(), Filter::default()).await.contains(&15));
    let any = open(&format!("{both}&target_session_attrs=any"), Access::Write).await.unwrap();
    let error = any.insert_batch(vec![opaque(16, "a", "16")]).await.unwrap_err();
    assert!(error.is_retriable() && error.to_string().contains("25006"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_instance_at_a_time_drops_and_what_is_too_old_goes_without_a_sum() {
    let Some(server) = Postgres::start() else { return };
    let (url, at_most) = (server.url(), |octets| Retention { before: None, octets: Some(octets) });
    let store = open(&url, Access::Write).await.unwrap();
    let batch = (10..60).map(|at| opaque(at, "a", &format!("{at:04}"))).collect();
    store.insert_batch(batch).await.unwrap();
    let other = plain(&url).await;
    other.execute("SELECT pg_advisory_lock($1)", &[&postgres::PRUNE_LOCK]).await.unwrap();
    assert_eq!(store.prune(at_most(40)).await, Ok(0), "somebody else is at it");
    assert_eq!(all(store.as_ref(), Filter::default()).await.len(), 50);
    other.execute("SELECT pg_advisory_unlock($1)", &[&postgres::PRUNE_LOCK]).await.unwrap();
    assert_eq!(store.prune(at_most(80)).await, Ok(30));
    assert_eq!(store.prune(at_most(80)).await, Ok(0), "the lock is free again");

    // A sum that takes too long.
    let broken = "CREATE FUNCTION broken(bigint, integer) RETURNS bigint LANGUAGE plpgsql AS \
                      $$ BEGIN RAISE EXCEPTION 'too long'; END $$; \
                  CREATE AGGREGATE public.sum(integer) (SFUNC = broken, STYPE = bigint, INITCOND = '0'); \
                  ALTER ROLE watchfire SET search_path = public, pg_catalog";
    other.batch_execute(broken).await.unwrap();
    let error = store.prune(Retention { before: Some(50), octets: Some(4) }).await.unwrap_err();
    assert!(error.to_string().contains("too long"), "{error}");
    assert_eq!(times(store.as_ref(), Filter::default()).await, (50..60).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_server_that_says_nothing_more_is_not_waited_for_for_ever() {
    for (answers, access) in [(0, Access::Read), (1, Access::Read), (1, Access::Write), (2, Access::Write)] {
        let server = SilentPostgres::start(answers);
        let url = server.url();
        let opening = tokio::spawn(async move { open(&url, access).await.map(drop) });
        server.asked().await;
        // Nothing but time passes from here on.
        tokio::time::pause();
        let opened = tokio::time::timeout(Duration::from_secs(86_400), opening).await;
        tokio::time::resume();
        let error = opened.expect("it is given up").unwrap().unwrap_err();
        assert!(error.to_string().contains("no answer in time"), "{answers}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn postgres_rate() {
    let Some(server) = Postgres::start() else { return };
    measure("postgres", open(&server.url(), Access::Write).await.unwrap()).await;
}

/// Inserts 200,000 alerts of 860 octets with one source each, in batches of 64 from 8 and from 32 callers.
pub(super) async fn measure(name: &str, store: Arc<dyn AlertStore>) {
    const TOTAL: usize = 200_000;
    const BATCH: usize = 64;
    for (round, callers) in [8, 32].into_iter().enumerate() {
        let batches: Vec<Vec<Vec<Arc<AlertRecord>>>> = (0..callers)
            .map(|caller| {
                (0..TOTAL / callers / BATCH)
                    .map(|batch| {
                        let record = |n: usize| {
                            let id = format!("{round} {caller} {batch} {n} ");
                            let body = Bytes::from(format!("{id}{}", "x".repeat(860 - id.len())));
                            let mut record =
                                AlertRecord::new(batch as i64, "sensor-1", "application/x-idef-alert", body, None);
                            record.sources = vec![std::net::Ipv4Addr::from((batch * 64 + n) as u32).into()];
                            Arc::new(record)
                        };
                        (0..BATCH).map(record).collect()
                    })
                    .collect()
            })
            .collect();
        let count: usize = batches.iter().flatten().map(Vec::len).sum();
        let start = Instant::now();
        let tasks: Vec<_> = batches
            .into_iter()
            .map(|batches| {
                let store = store.clone();
                tokio::spawn(async move {
                    for batch in batches {
                        let answers = store.insert_batch(batch).await.unwrap();
                        assert!(answers.iter().all(|answer| *answer == Insertion::Inserted));
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let spent = start.elapsed();
        println!(
            "{name}: {count} alerts of 860 octets, batches of {BATCH} from {callers} callers: {spent:.2?}, {:.0} alerts/s",
            count as f64 / spent.as_secs_f64()
        );
    }
    let start = Instant::now();
    let mut stream = store.query(Filter::default()).await.unwrap();
    let mut count = 0;
    while let Some(record) = stream.next().await {
        record.unwrap();
        count += 1;
    }
    println!(
        "{name}: read {count} alerts in {:.2?}, {:.0} alerts/s",
        start.elapsed(),
        count as f64 / start.elapsed().as_secs_f64()
    );
}
