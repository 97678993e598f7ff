//! A source with memory: caching by lifetime with negative, failed and stale answers, single flight, aliases followed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use watchfire_core::Instant;

use super::{Lookup, Outcome, Query, RecordKind, Records, Security, Source, SourceError};
use crate::cache::{Cache, Hit};
use crate::clock::Clock;
use crate::flight::Flights;
use crate::name::DomainName;

/// How long things are kept. Lifetimes that records name are held between these bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResolverConfig {
    /// Record sets kept (default 100 000). Ready answers are kept beside them, and need them only when they run out.
    pub capacity: usize,
    /// Shortest life of an answer (default 1 s).
    pub min_ttl: Duration,
    /// Longest life of an answer (default a day).
    pub max_ttl: Duration,
    /// Longest life of a "no" (default 3 h, RFC 2308 section 5).
    pub max_negative_ttl: Duration,
    /// How long a failure is remembered (default 5 s, RFC 9520 section 3.2).
    pub failure_ttl: Duration,
    /// How long an answer is kept beyond its life, for when the sources fail (default a day; zero turns it off).
    pub stale: Duration,
    /// How long a stale answer counts once it had to be used (default 30 s, RFC 8767 section 4).
    pub stale_hold: Duration,
    /// How long the sources are waited for when there is a stale answer (default 1.8 s, RFC 8767 section 5).
    pub stale_patience: Duration,
    /// Longest chain of aliases (default 8).
    pub max_aliases: usize,
}

impl Default for ResolverConfig {
    fn default() -> Self {
        Self {
            capacity: 100_000,
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(86_400),
            max_negative_ttl: Duration::from_secs(3 * 3600),
            failure_ttl: Duration::from_secs(5),
            stale: Duration::from_secs(86_400),
            stale_hold: Duration::from_secs(30),
            stale_patience: Duration::from_millis(1800),
            max_aliases: 8,
        }
    }
}

/// What became of a question after every alias.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolved {
    /// The names on the way: the one asked for first, the one that owns the records last.
    pub names: Vec<DomainName>,
    /// The records, or none of that kind.
    pub records: Option<Records>,
    /// The last name does not exist at all.
    pub non_existent: bool,
    /// Secure only when every step is.
    pub security: Security,
    /// Until when all of it holds.
    pub until: Instant,
    /// The evidence of each step, when it was asked for and the step is secure.
    pub evidence: Vec<Arc<[u8]>>,
}

impl Resolved {
    /// The name that owns the records.
    #[must_use]
    pub fn owner(&self) -> &DomainName {
        self.names.last().expect("the name that was asked for is always there")
    }
}

/// What is kept; until when, the cache knows.
type Kept = Result<Arc<Lookup>, SourceError>;
type Answer = Result<(Arc<Lookup>, Instant), SourceError>;

/// A source with memory; cheap to clone.
#[derive(Debug, Clone)]
pub struct Resolver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Arc<dyn Source>,
    clock: Arc<dyn Clock>,
    config: ResolverConfig,
    cache: Cache<Query, Kept>,
    flights: Flights<Query, Answer>,
    asked: AtomicU64,
    stale: AtomicU64,
}

impl Resolver {
    /// Memory over `source`.
    #[must_use]
    pub fn new(source: Arc<dyn Source>, clock: Arc<dyn Clock>, config: ResolverConfig) -> Self {
        let cache = Cache::new(config.capacity);
        Self(Arc::new(Inner {
            source,
            clock,
            config,
            cache,
            flights: Flights::default(),
            asked: AtomicU64::new(0),
            stale: AtomicU64::new(0),
        }))
    }

    /// Asks and follows the aliases.
    ///
    /// # Errors
    /// [`SourceError`] when the sources failed and nothing stale is left.
    pub async fn resolve(&self, name: &DomainName, kind: RecordKind, evidence: bool) -> Result<Resolved, SourceError> {
        let mut names = vec![name.clone()];
        let mut proof = Vec::new();
        let mut security = Security::Secure;
        let mut until = Instant::FAR_FUTURE;
        loop {
            let here = names.last().expect("it starts with one").clone();
            let (lookup, fresh_until) = self.ask(Query::new(here, kind, evidence)).await?;
            security = security.min(lookup.security);
            until = until.min(fresh_until);
            proof.extend(lookup.evidence.clone());
            for alias in &lookup.aliases {
                if names.contains(alias) || names.len() > self.0.config.max_aliases {
                    return Err(SourceError::AliasLoop);
                }
                names.push(alias.clone());
            }
            let records = match &lookup.outcome {
                Outcome::Continue if lookup.aliases.is_empty() => return Err(SourceError::ServerFailure),
                Outcome::Continue => continue,
                Outcome::Found(records) => Some(records.clone()),
                Outcome::NoData | Outcome::NonExistent => None,
            };
            let non_existent = lookup.outcome == Outcome::NonExistent;
            return Ok(Resolved { names, records, non_existent, security, until, evidence: proof });
        }
    }

    /// One question, from memory if possible.
    async fn ask(&self, query: Query) -> Answer {
        let inner = &self.0;
        let stale = match inner.cache.get(&query, inner.clock.now()) {
            Some(Hit::Fresh(kept, until)) => return kept.map(|lookup| (lookup, until)),
            Some(Hit::Stale(kept)) => kept.ok(),
            None => None,
        };
        let flight = inner.flights.join(&query, || Arc::clone(inner).fetch(query.clone()));
        let Some(stale) = stale else { return flight.await };
        // The work goes on behind a stale answer, so that the next one finds a fresh one.
        let waited = tokio::spawn(flight);
        match tokio::time::timeout(inner.config.stale_patience, waited).await {
            Ok(Ok(Ok(fresh))) => Ok(fresh),
            // A forged answer is no failure that an old one may cover up.
            Ok(Ok(Err(SourceError::Bogus))) => Err(SourceError::Bogus),
            _ => {
                inner.stale.fetch_add(1, Ordering::Relaxed);
                Ok((stale, inner.clock.now() + inner.config.stale_hold))
            }
        }
    }

    /// Questions that went to the source.
    #[must_use]
    pub fn questions(&self) -> u64 {
        self.0.asked.load(Ordering::Relaxed)
    }

    /// Answers given beyond their life because the sources failed.
    #[must_use]
    pub fn stale_answers(&self) -> u64 {
        self.0.stale.load(Ordering::Relaxed)
    }

    /// Answers in memory.
    #[must_use]
    pub fn cached(&self) -> usize {
        self.0.cache.len()
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }
}

impl Inner {
    async fn fetch(self: Arc<Self>, query: Query) -> Answer {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let result = self.source.lookup(&query).await;
        let now = self.clock.now();
        match result {
            Ok(lookup) => {
                let longest = match lookup.outcome {
                    Outcome::Found(_) | Outcome::Continue => self.config.max_ttl,
                    Outcome::NoData | Outcome::NonExistent => self.config.max_negative_ttl,
                };
                let life = Duration::from_secs(lookup.ttl.into()).min(longest).max(self.config.min_ttl);
                let lookup = Arc::new(lookup);
                self.cache.insert(query, Ok(Arc::clone(&lookup)), now, life, self.config.stale);
                Ok((lookup, now + life))
            }
            Err(error) => {
                match self.cache.get(&query, now) {
                    // What is stale stays, and counts again for a while.
                    Some(Hit::Stale(Ok(_))) if error != SourceError::Bogus => {
                        self.cache.hold(&query, now, self.config.stale_hold)
                    }
                    Some(Hit::Fresh(..)) => {}
                    _ => self.cache.insert(query, Err(error), now, self.config.failure_ttl, Duration::ZERO),
                }
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;

    use watchfire_core::UnixTime;

    use super::*;
    use crate::clock::ManualClock;
    use crate::sources::BoxFuture;

    /// Answers from a table, counts, and fails on command.
    #[derive(Debug, Default)]
    struct Table {
        answers: Mutex<HashMap<(String, RecordKind), Result<Lookup, SourceError>>>,
        asked: AtomicU64,
        slow: Duration,
    }

    impl Table {
        fn put(&self, name: &str, kind: RecordKind, answer: Result<Lookup, SourceError>) {
            self.answers.lock().unwrap().insert((name.to_owned(), kind), answer);
        }
    }

    impl Source for Table {
        fn lookup<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<Lookup, SourceError>> {
            Box::pin(async move {
                self.asked.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(self.slow).await;
                let key = (query.name.as_str().to_owned(), query.kind);
                self.answers.lock().unwrap().get(&key).cloned().unwrap_or(Err(SourceError::ServerFailure))
            })
        }
    }

    fn name(text: &str) -> DomainName {
        DomainName::parse(text).unwrap()
    }

    fn a(last: u8, ttl: u32) -> Lookup {
        let address = std::net::Ipv4Addr::new(192, 0, 2, last);
        Lookup::new(Outcome::Found(Records::A(Box::new([address]))), Security::Insecure, ttl)
    }

    fn over(table: Table) -> (Arc<Table>, Arc<ManualClock>, Resolver) {
        let (table, clock) = (Arc::new(table), Arc::new(ManualClock::at(UnixTime::from_secs(1_700_000_000))));
        let resolver = Resolver::new(table.clone(), clock.clone(), ResolverConfig::default());
        (table, clock, resolver)
    }

    async fn ask(resolver: &Resolver, text: &str) -> Result<Resolved, SourceError> {
        resolver.resolve(&name(text), RecordKind::A, false).await
    }

    #[tokio::test(start_paused = true)]
    async fn answers_live_as_long_as_they_say() {
        let (table, clock, resolver) = over(Table::default());
        table.put("a.test", RecordKind::A, Ok(a(1, 60)));
        table.put("no.test", RecordKind::A, Ok(Lookup::new(Outcome::NonExistent, Security::Insecure, 30)));
        ask(&resolver, "a.test").await.unwrap();
        assert!(ask(&resolver, "no.test").await.unwrap().non_existent);
        clock.advance(Duration::from_secs(29));
        ask(&resolver, "a.test").await.unwrap();
        ask(&resolver, "no.test").await.unwrap();
        assert_eq!(resolver.questions(), 2);
        clock.advance(Duration::from_secs(2));
        ask(&resolver, "no.test").await.unwrap();
        assert_eq!(resolver.questions(), 3, "the negative answer is over");
        clock.advance(Duration::from_secs(30));
        table.put("a.test", RecordKind::A, Ok(a(2, 60)));
        let records = ask(&resolver, "a.test").await.unwrap().records;
        assert_eq!(records, Some(Records::A(Box::new([std::net::Ipv4Addr::new(192, 0, 2, 2)]))));
        assert_eq!(resolver.questions(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn stale_answers_stand_in_for_failing_sources() {
        let (table, clock, resolver) = over(Table::default());
        table.put("a.test", RecordKind::A, Ok(a(1, 60)));
        ask(&resolver, "a.test").await.unwrap();
        clock.advance(Duration::from_secs(61));
        table.put("a.test", RecordKind::A, Err(SourceError::TimedOut));
        let stale = ask(&resolver, "a.test").await.unwrap();
        assert_eq!(stale.until, clock.now() + Duration::from_secs(30));
        assert_eq!((resolver.stale_answers(), resolver.questions()), (1, 2));
        ask(&resolver, "a.test").await.unwrap();
        assert_eq!(resolver.questions(), 2, "not asked again at once");
        clock.advance(Duration::from_secs(31));
        table.put("a.test", RecordKind::A, Ok(a(3, 60)));
        ask(&resolver, "a.test").await.unwrap();
        assert_eq!((resolver.stale_answers(), resolver.questions()), (1, 3));
        clock.advance(Duration::from_secs(61));
        table.put("a.test", RecordKind::A, Err(SourceError::Bogus));
        assert_eq!(ask(&resolver, "a.test").await, Err(SourceError::Bogus), "forgery is not covered up");
        clock.advance(Duration::from_secs(6));
        table.put("a.test", RecordKind::A, Ok(a(4, 60)));
        ask(&resolver, "a.test").await.unwrap();
        assert_eq!((resolver.stale_answers(), resolver.questions()), (1, 5));
        clock.advance(Duration::from_secs(2 * 86_400));
        table.put("a.test", RecordKind::A, Err(SourceError::TimedOut));
        assert_eq!(ask(&resolver, "a.test").await, Err(SourceError::TimedOut), "too old");
        assert_eq!(ask(&resolver, "a.test").await, Err(SourceError::TimedOut));
        assert_eq!(resolver.questions(), 6, "failures are remembered");
        clock.advance(Duration::from_secs(6));
        assert_eq!(ask(&resolver, "a.test").await, Err(SourceError::TimedOut));
        assert_eq!(resolver.questions(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_source_does_not_hold_up_a_stale_answer() {
        let (table, clock, resolver) = over(Table { slow: Duration::from_secs(4), ..Table::default() });
        table.put("a.test", RecordKind::A, Ok(a(1, 60)));
        ask(&resolver, "a.test").await.unwrap();
        clock.advance(Duration::from_secs(61));
        let began = tokio::time::Instant::now();
        ask(&resolver, "a.test").await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_millis(1800));
        tokio::time::sleep(Duration::from_secs(4)).await;
        ask(&resolver, "a.test").await.unwrap();
        assert_eq!((resolver.stale_answers(), resolver.questions()), (1, 2), "the work went on");
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_question_flies_once() {
        let (table, _, resolver) = over(Table { slow: Duration::from_secs(1), ..Table::default() });
        table.put("a.test", RecordKind::A, Ok(a(1, 60)));
        let all = futures_util::future::join_all((0..50).map(|_| ask(&resolver, "a.test"))).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(table.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn aliases_are_followed_and_loops_are_not() {
        let (table, _, resolver) = over(Table::default());
        let alias = |to: &str| Ok(Lookup::new(Outcome::Continue, Security::Secure, 60).with_aliases([name(to)]));
        table.put("www.test", RecordKind::A, alias("b.test"));
        table.put("b.test", RecordKind::A, alias("c.test"));
        table.put("c.test", RecordKind::A, Ok(a(1, 5)));
        let resolved = ask(&resolver, "www.test").await.unwrap();
        assert_eq!(resolved.names, [name("www.test"), name("b.test"), name("c.test")]);
        assert_eq!(resolved.security, Security::Insecure, "as weak as the weakest step");
        assert_eq!(resolved.until, resolver.clock().now() + Duration::from_secs(5));
        table.put("x.test", RecordKind::A, alias("y.test"));
        table.put("y.test", RecordKind::A, alias("x.test"));
        assert_eq!(ask(&resolver, "x.test").await, Err(SourceError::AliasLoop));
        for n in 0..20 {
            table.put(&format!("n{n}.test"), RecordKind::A, alias(&format!("n{}.test", n + 1)));
        }
        assert_eq!(ask(&resolver, "n0.test").await, Err(SourceError::AliasLoop), "too long");
    }
}
