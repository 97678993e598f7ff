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

use watchfire_hyper::ConnectionCounters;

pub use health::Health;
pub(crate) use http::{MetricsSite, bind_all, bind_optional, cannot_listen, try_bind};
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
    families: Arc<Mutex<Families>>,
    /// Each with the service that it belongs to.
    refreshes: Arc<Mutex<Vec<(u64, Refresh)>>>,
    scope: u64,
}

type Families = BTreeMap<&'static str, Family>;
type Refresh = Box<dyn Fn(&Registry) + Send + Sync>;

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Registry").field(&self.families).finish()
    }
}

#[derive(Debug, Clone)]
struct Family {
    help: &'static str,
    kind: &'static str,
    /// By their labels as they are written.
    series: BTreeMap<String, Series>,
}

impl Family {
    /// One like this, without series.
    fn empty(&self) -> Self {
        Self { help: self.help, kind: self.kind, series: BTreeMap::new() }
    }

    fn add(&mut self, other: Self) {
        for (labels, series) in other.series {
            let sum = match self.series.get(&labels) {
                Some(own) => own.plus(&series),
                None => series,
            };
            self.series.insert(labels, sum);
        }
    }
}

/// Clones share the number.
#[derive(Debug, Clone)]
enum Series {
    Counter(Counter),
    Gauge(Gauge),
    /// What it is together with that of another service.
    Extreme(Gauge, fn(i64, i64) -> i64),
    Histogram(Histogram),
}

impl Series {
    /// The two as one number, of its own.
    fn plus(&self, other: &Self) -> Self {
        let gauge = |value| Gauge(Arc::new(AtomicI64::new(value)));
        match (self, other) {
            (Self::Counter(a), Self::Counter(b)) => {
                Self::Counter(Counter(Arc::new(AtomicU64::new(a.value().wrapping_add(b.value())))))
            }
            (Self::Gauge(a), Self::Gauge(b)) => Self::Gauge(gauge(a.value().saturating_add(b.value()))),
            (Self::Extreme(a, of), Self::Extreme(b, _)) => Self::Extreme(gauge(of(a.value(), b.value())), *of),
            // Histograms are counted in where things happen. Else two kinds of things, as below.
            _ => self.clone(),
        }
    }
}

impl Registry {
    /// The counter of this name and these labels; made when there is none yet. Names of counters end in `_total`.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Counter {
        match self.series(name, help, "counter", labels, || Series::Counter(Counter::default())) {
            Series::Counter(counter) => counter,
            // The same name for two kinds of things is our own mistake; what is counted there is not shown.
            _ => Counter::default(),
        }
    }

    /// The gauge of this name and these labels.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Gauge {
        match self.series(name, help, "gauge", labels, || Series::Gauge(Gauge::default())) {
            Series::Gauge(gauge) => gauge,
            _ => Gauge::default(),
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
            _ => make(),
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

    /// Sets a gauge without labels; of several services the highest counts, not the sum.
    pub fn highest(&self, name: &'static str, help: &'static str, number: u64) {
        self.extreme(name, help, number, i64::max);
    }

    /// Sets a gauge without labels; of several services the lowest counts, not the sum.
    pub fn lowest(&self, name: &'static str, help: &'static str, number: u64) {
        self.extreme(name, help, number, i64::min);
    }

    fn extreme(&self, name: &'static str, help: &'static str, number: u64, of: fn(i64, i64) -> i64) {
        if let Series::Extreme(gauge, _) =
            self.series(name, help, "gauge", &[], || Series::Extreme(Gauge::default(), of))
        {
            gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
        }
    }

    /// Sets the counters of an HTTP server's connections, of these names: taken, refused, without TLS.
    pub fn connections(&self, names: [&'static str; 3], counters: &ConnectionCounters) {
        let [taken, refused, handshakes_failed] = names;
        self.total(taken, "Connections that were taken.", &counters.taken);
        self.total(refused, "Connections beyond the limit of their address.", &counters.refused);
        self.total(handshakes_failed, "TLS handshakes that failed.", &counters.handshakes_failed);
    }

    /// A handle for a service that may end before the others, until [`forget`](Self::forget). It counts in the same
    /// series.
    #[must_use]
    pub fn service(&self) -> Self {
        Self { scope: next_scope(), ..self.clone() }
    }

    /// Calls this at each look with an empty registry, to take over what is counted elsewhere. What several services
    /// put into one series is added up.
    pub fn at_each_look(&self, refresh: impl Fn(&Self) + Send + Sync + 'static) {
        lock(&self.refreshes).push((self.scope, Box::new(refresh)));
    }

    /// Takes over a last time what the service has counted elsewhere, and holds nothing of it any more. Its gauges are
    /// gone.
    pub fn forget(&self) {
        // Under the lock for as long as it takes: between the two, a look would see the counters fall.
        let mut refreshes = lock(&self.refreshes);
        for (_, refresh) in refreshes.extract_if(.., |(scope, _)| *scope == self.scope) {
            let families = Self::looked_at(&refresh);
            let mut all = lock(&self.families);
            for (name, family) in families {
                if family.kind == "counter" {
                    all.entry(name).or_insert_with(|| family.empty()).add(family);
                }
            }
        }
    }

    /// Looks, for those who are told of something by it.
    pub fn refresh(&self) {
        for (_, refresh) in lock(&self.refreshes).iter() {
            refresh(&Self::default());
        }
    }

    /// What one service has counted elsewhere.
    fn looked_at(refresh: &Refresh) -> Families {
        let registry = Self::default();
        refresh(&registry);
        std::mem::take(&mut lock(&registry.families))
    }

    /// What is counted here and what is counted elsewhere.
    fn all(&self) -> Families {
        let refreshes = lock(&self.refreshes);
        let looks: Vec<Families> = refreshes.iter().map(|(_, refresh)| Self::looked_at(refresh)).collect();
        // After the looks, which may count here too.
        let mut all = lock(&self.families).clone();
        for (name, family) in looks.into_iter().flatten() {
            all.entry(name).or_insert_with(|| family.empty()).add(family);
        }
        all
    }

    /// All of it in the text format of Prometheus, version 0.0.4.
    pub fn render(&self) -> String {
        let mut out = String::new();
        for (name, family) in self.all() {
            let _ = writeln!(out, "# HELP {name} {}", family.help.replace('\\', "\\\\").replace('\n', "\\n"));
            let _ = writeln!(out, "# TYPE {name} {}", family.kind);
            for (labels, series) in &family.series {
                match series {
                    Series::Counter(counter) => line(&mut out, name, labels, &counter.value().to_string()),
                    Series::Gauge(gauge) | Series::Extreme(gauge, _) => {
                        line(&mut out, name, labels, &gauge.value().to_string())
                    }
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

    #[test]
    fn what_services_of_a_kind_count_is_added_up() {
        let registry = Registry::default();
        let services: Vec<Registry> = [(3, 1), (4, 0)]
            .map(|(count, is_well)| {
                let service = registry.service();
                service.at_each_look(move |registry| {
                    registry.total("a_total", "How many.", &AtomicU64::new(count));
                    registry.level("b", "How many now.", usize::try_from(count).unwrap());
                    registry.highest("c", "The oldest.", count);
                    registry.lowest("d", "Whether all are well.", is_well);
                });
                service
            })
            .into();
        registry.counter("a_total", "How many.", &[]).add(10);
        let values = || {
            let text = registry.render();
            text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(values(), "a_total 17, b 7, c 4, d 0");
        assert_eq!(values(), "a_total 17, b 7, c 4, d 0", "a look changes nothing");
        services[1].forget();
        assert_eq!(values(), "a_total 17, b 3, c 3, d 1");
        services[0].forget();
        assert_eq!(values(), "a_total 17", "counters stay");
    }
}
