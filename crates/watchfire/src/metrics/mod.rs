//! Counters for Prometheus, and whether the process is well.
//!
//! A [`Registry`] holds everything that is counted; handles are atomic numbers, as cheap as it gets. Labels are fixed
//! when a series is made; the only open-ended one is the peer, and its number of values is bounded.

mod health;
mod http;
pub mod process;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use health::Health;
pub(crate) use http::{MetricsSite, cannot_listen, try_bind};
pub use http::{Page, Site, bind, serve};

/// A number that only grows.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Takes over a count that is kept elsewhere.
    pub fn set(&self, count: u64) {
        self.0.store(count, Ordering::Relaxed);
    }

    /// The number now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds; negative numbers subtract.
    pub fn add(&self, difference: i64) {
        self.0.fetch_add(difference, Ordering::Relaxed);
    }

    /// The number now.
    pub fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often values fell into which range.
#[derive(Debug, Clone)]
pub struct Histogram(Arc<Buckets>);

#[derive(Debug)]
struct Buckets {
    /// Upper bounds, ascending.
    bounds: &'static [f64],
    /// One per bound, and one for what is above all.
    counts: Vec<AtomicU64>,
    /// The sum in millionths.
    sum: AtomicU64,
}

impl Histogram {
    /// Bounds for spans of time in seconds, from a millisecond to half a minute.
    pub const SECONDS: &'static [f64] = &[0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0];
    /// Bounds for numbers of things in a batch.
    pub const COUNTS: &'static [f64] = &[1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0];

    /// Counts a value; negative ones and NaN count as zero.
    pub fn observe(&self, value: f64) {
        let value = if value > 0.0 { value } else { 0.0 };
        let at = self.0.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.0.bounds.len());
        if let Some(count) = self.0.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.0.sum.fetch_add((value * 1e6) as u64, Ordering::Relaxed);
    }
}

/// Counters by peer. Beyond the limit further peers share the label `other`.
#[derive(Debug, Clone)]
pub struct PeerCounter {
    registry: Registry,
    name: &'static str,
    help: &'static str,
    limit: usize,
    known: Arc<Mutex<BTreeMap<String, Counter>>>,
}

impl PeerCounter {
    /// The counter of a peer.
    pub fn of(&self, peer: &str) -> Counter {
        let mut known = lock(&self.known);
        if let Some(counter) = known.get(peer) {
            return counter.clone();
        }
        let label = if known.len() < self.limit { peer } else { "other" };
        let counter = self.registry.counter(self.name, self.help, &[("peer", label)]);
        if known.len() < self.limit {
            known.insert(peer.to_owned(), counter.clone());
        }
        counter
    }
}

/// Everything that is counted in this process. Clones share it.
#[derive(Clone, Default)]
pub struct Registry {
    families: Arc<Mutex<BTreeMap<&'static str, Family>>>,
    /// Each with the service that it belongs to.
    refreshes: Arc<Mutex<Vec<(u64, Refresh)>>>,
    scope: u64,
}

type Refresh = Arc<dyn Fn(&Registry) + Send + Sync>;

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Registry").field(&self.families).finish()
    }
}

#[derive(Debug)]
struct Family {
    help: &'static str,
    kind: &'static str,
    /// By their labels as they are written.
    series: BTreeMap<String, Series>,
}

#[derive(Debug, Clone)]
enum Series {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

impl Registry {
    /// The counter of this name and these labels; made when there is none yet. Names of counters end in `_total`.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Counter {
        match self.series(name, help, "counter", labels, || Series::Counter(Counter::default())) {
            Series::Counter(counter) => counter,
            // The same name for two kinds of things is our own mistake; what is counted there is not shown.
            Series::Gauge(_) | Series::Histogram(_) => Counter::default(),
        }
    }

    /// The gauge of this name and these labels.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Gauge {
        match self.series(name, help, "gauge", labels, || Series::Gauge(Gauge::default())) {
            Series::Gauge(gauge) => gauge,
            Series::Counter(_) | Series::Histogram(_) => Gauge::default(),
        }
    }

    /// The histogram of this name and these labels, with these ascending upper bounds.
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
        bounds: &'static [f64],
    ) -> Histogram {
        let make = || {
            let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
            Histogram(Arc::new(Buckets { bounds, counts, sum: AtomicU64::new(0) }))
        };
        match self.series(name, help, "histogram", labels, || Series::Histogram(make())) {
            Series::Histogram(histogram) => histogram,
            Series::Counter(_) | Series::Gauge(_) => make(),
        }
    }

    /// Counters by peer, with at most `limit` peers told apart.
    pub fn peer_counter(&self, name: &'static str, help: &'static str, limit: usize) -> PeerCounter {
        PeerCounter { registry: self.clone(), name, help, limit, known: Arc::default() }
    }

    fn series(
        &self,
        name: &'static str,
        help: &'static str,
        kind: &'static str,
        labels: &[(&str, &str)],
        make: impl FnOnce() -> Series,
    ) -> Series {
        let mut families = lock(&self.families);
        let family = families.entry(name).or_insert_with(|| Family { help, kind, series: BTreeMap::new() });
        debug_assert_eq!(family.kind, kind, "{name} is used for two kinds of metrics");
        family.series.entry(written(labels)).or_insert_with(make).clone()
    }

    /// Sets a counter without labels to what is counted elsewhere.
    pub fn total(&self, name: &'static str, help: &'static str, value: &AtomicU64) {
        self.counter(name, help, &[]).set(value.load(Ordering::Relaxed));
    }

    /// Sets a gauge without labels to how many there are.
    pub fn level(&self, name: &'static str, help: &'static str, number: usize) {
        self.gauge(name, help, &[]).set(i64::try_from(number).unwrap_or(i64::MAX));
    }

    /// A handle for a service that may end before the others, until [`forget`](Self::forget). It counts in the same
    /// series.
    #[must_use]
    pub fn service(&self) -> Self {
        Self { scope: next_scope(), ..self.clone() }
    }

    /// Calls this before each look, to take over what is counted elsewhere.
    pub fn at_each_look(&self, refresh: impl Fn(&Self) + Send + Sync + 'static) {
        lock(&self.refreshes).push((self.scope, Arc::new(refresh)));
    }

    /// Takes over a last time what the service has counted elsewhere, and holds nothing of it any more.
    pub fn forget(&self) {
        let own: Vec<_> = lock(&self.refreshes).extract_if(.., |(scope, _)| *scope == self.scope).collect();
        own.iter().for_each(|(_, refresh)| refresh(self));
    }

    /// Takes over what is counted elsewhere, now.
    pub fn refresh(&self) {
        // Not under the lock: the functions count.
        let all = lock(&self.refreshes).clone();
        all.iter().for_each(|(_, refresh)| refresh(self));
    }

    /// All of it in the text format of Prometheus, version 0.0.4.
    pub fn render(&self) -> String {
        self.refresh();
        let mut out = String::new();
        for (name, family) in lock(&self.families).iter() {
            let _ = writeln!(out, "# HELP {name} {}", family.help.replace('\\', "\\\\").replace('\n', "\\n"));
            let _ = writeln!(out, "# TYPE {name} {}", family.kind);
            for (labels, series) in &family.series {
                match series {
                    Series::Counter(counter) => line(&mut out, name, labels, &counter.value().to_string()),
                    Series::Gauge(gauge) => line(&mut out, name, labels, &gauge.value().to_string()),
                    Series::Histogram(histogram) => histogram.render(&mut out, name, labels),
                }
            }
        }
        out
    }
}

impl Histogram {
    fn render(&self, out: &mut String, name: &str, labels: &str) {
        let mut total = 0;
        let bounds = self.0.bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(&self.0.counts) {
            total += count.load(Ordering::Relaxed);
            let separator = if labels.is_empty() { "" } else { "," };
            let labels = format!("{labels}{separator}le=\"{bound}\"");
            line(out, &format!("{name}_bucket"), &labels, &total.to_string());
        }
        let sum = self.0.sum.load(Ordering::Relaxed) as f64 / 1e6;
        line(out, &format!("{name}_sum"), labels, &sum.to_string());
        line(out, &format!("{name}_count"), labels, &total.to_string());
    }
}

fn line(out: &mut String, name: &str, labels: &str, value: &str) {
    let _ =
        if labels.is_empty() { writeln!(out, "{name} {value}") } else { writeln!(out, "{name}{{{labels}}} {value}") };
}

fn written(labels: &[(&str, &str)]) -> String {
    let escape = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect::<Vec<_>>().join(",")
}

/// A number that tells what belongs to one service of the process; 0 is what belongs to none.
fn next_scope() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// What is guarded here stays sound when a thread panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let registry = Registry::default();
        let counter = registry.counter("a_total", "How many\nof a.", &[("service", "x\"\\\n")]);
        counter.add(2);
        registry.counter("a_total", "How many\nof a.", &[("service", "x\"\\\n")]).increment();
        registry.gauge("b", "Level.", &[]).set(-3);
        let histogram = registry.histogram("c_seconds", "Time.", &[("k", "v")], &[0.5, 1.0]);
        for value in [0.25, 0.5, 0.75, 2.0, f64::NAN] {
            histogram.observe(value);
        }
        assert_eq!(
            registry.render(),
            "# HELP a_total How many\\nof a.\n# TYPE a_total counter\na_total{service=\"x\\\"\\\\\\n\"} 3\n\
             # HELP b Level.\n# TYPE b gauge\nb -3\n\
             # HELP c_seconds Time.\n# TYPE c_seconds histogram\n\
             c_seconds_bucket{k=\"v\",le=\"0.5\"} 3\nc_seconds_bucket{k=\"v\",le=\"1\"} 4\nc_seconds_bucket{k=\"v\",le=\"+Inf\"} 5\n\
             c_seconds_sum{k=\"v\"} 3.5\nc_seconds_count{k=\"v\"} 5\n"
        );
    }

    #[test]
    fn peers_beyond_the_limit_share_a_label() {
        let registry = Registry::default();
        let peers = registry.peer_counter("p_total", "By peer.", 3);
        for n in 0..10 {
            peers.of(&format!("peer-{n}")).increment();
        }
        peers.of("peer-1").increment();
        let text = registry.render();
        assert_eq!(text.lines().count(), 2 + 4, "{text}");
        assert!(text.contains("p_total{peer=\"peer-1\"} 2") && text.contains("p_total{peer=\"other\"} 7"), "{text}");
    }

    #[test]
    fn what_a_service_let_be_looked_at_goes_with_it() {
        let registry = Registry::default();
        let service = registry.service();
        let held = Arc::new(AtomicU64::new(7));
        let kept = Arc::clone(&held);
        service.at_each_look(move |registry| registry.total("a_total", "How many.", &kept));
        assert!(registry.render().contains("a_total 7"));
        held.store(9, Ordering::Relaxed);
        service.forget();
        assert!(registry.render().contains("a_total 9"), "the last word counts");
        assert_eq!(Arc::strong_count(&held), 1, "and nothing is held");
    }
}
