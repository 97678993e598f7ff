//! What is done around every back end: mitigations are kept on disk, counted and timed, and their number is bounded.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use async_trait::async_trait;
use dots_callhome::body::Lifetime;
use dots_callhome::{Counters, MitigationId};
use dots_tokio::server::{Mitigator, MitigatorError, Order, Report};

use crate::dots::lock;
use crate::dots::state::{Kept, State};
use crate::metrics::{Counter, Health, Histogram, Registry};

/// When whoever finds no room may come again, in seconds.
const COME_AGAIN: u32 = 30;

/// A back end with all that is around it.
pub struct Desk {
    back_end: Arc<dyn Mitigator>,
    state: Option<State>,
    /// How many may be in force, and are.
    room: usize,
    taken: AtomicUsize,
    /// What was counted for each that is in force; what was dropped by others is in the counters already.
    counted: Mutex<BTreeMap<MitigationId, Counters>>,
    metrics: Metrics,
    health: Health,
}

struct Metrics {
    failed: [Counter; 3],
    done: [Counter; 3],
    seconds: Histogram,
    octets: Counter,
    packets: Counter,
}

impl Metrics {
    fn new(registry: &Registry) -> Self {
        let calls = ["start", "refresh", "stop"];
        let failed = "Calls of what stops traffic that failed; each is tried again while it is wanted.";
        let done = "Calls of what stops traffic that were done.";
        let of = |name, help| calls.map(|call| registry.counter(name, help, &[("call", call)]));
        Self {
            failed: of("watchfire_dots_enforce_failures_total", failed),
            done: of("watchfire_dots_enforce_calls_total", done),
            seconds: registry.histogram(
                "watchfire_dots_enforce_seconds",
                "Time from when a mitigation is to be in force until it is.",
                &[],
                Histogram::SECONDS,
            ),
            octets: registry.counter("watchfire_dots_dropped_octets_total", "Octets dropped, as far as counted.", &[]),
            packets: registry.counter(
                "watchfire_dots_dropped_packets_total",
                "Packets dropped, as far as counted.",
                &[],
            ),
        }
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("taken", &self.taken).finish_non_exhaustive()
    }
}

impl Desk {
    /// Around this back end.
    pub fn new(
        back_end: Arc<dyn Mitigator>,
        state: Option<State>,
        room: usize,
        registry: &Registry,
        health: &Health,
    ) -> Self {
        Self {
            back_end,
            state,
            room,
            taken: AtomicUsize::new(0),
            counted: Mutex::default(),
            metrics: Metrics::new(registry),
            health: health.clone(),
        }
    }

    /// Keeps it on disk. That it cannot is no reason not to stop an attack, but one to be heard.
    async fn keep(&self, order: &Order) {
        let Some(state) = &self.state else { return };
        let until = match order.lifetime {
            Lifetime::Seconds(seconds) => Some(jiff::Timestamp::now().as_second().saturating_add(i64::from(seconds))),
            Lifetime::Indefinite => None,
        };
        let scope = order.request.scope().clone();
        let kept = Kept { peer: order.peer.clone(), cuid: order.cuid.clone(), mid: order.mid, scope, until };
        self.note(state.keep(kept).await);
    }

    fn note(&self, written: std::io::Result<()>) {
        if let Err(error) = &written {
            tracing::error!(%error, "mitigations cannot be kept on disk: a restart would forget the latest");
        }
        self.health.set("dots state", written.map_err(|error| format!("cannot be written: {error}")));
    }

    fn outcome(&self, call: usize, outcome: &Result<(), MitigatorError>) {
        let metrics = &self.metrics;
        let counters = if outcome.is_ok() { &metrics.done } else { &metrics.failed };
        if let Some(counter) = counters.get(call) {
            counter.increment();
        }
        self.health.set("dots enforcement", outcome.clone().map_err(|error| error.to_string()));
    }
}

#[async_trait]
impl Mitigator for Desk {
    async fn start(&self, order: &Order) -> Result<(), MitigatorError> {
        let began = Instant::now();
        if lock(&self.counted).insert(order.id, Counters::default()).is_none() {
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
        // Side by side: the disk must not make the attack last longer.
        let (outcome, ()) = tokio::join!(self.back_end.start(order), self.keep(order));
        if outcome.is_ok() {
            self.metrics.seconds.observe(began.elapsed().as_secs_f64());
        }
        self.outcome(0, &outcome);
        outcome
    }

    async fn refresh(&self, order: &Order) -> Result<(), MitigatorError> {
        let (outcome, ()) = tokio::join!(self.back_end.refresh(order), self.keep(order));
        self.outcome(1, &outcome);
        outcome
    }

    async fn stop(&self, order: &Order) -> Result<(), MitigatorError> {
        let outcome = self.back_end.stop(order).await;
        self.outcome(2, &outcome);
        outcome?;
        if lock(&self.counted).remove(&order.id).is_some() {
            self.taken.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(state) = &self.state {
            self.note(state.forget(&order.peer, &order.cuid, order.mid).await);
        }
        Ok(())
    }

    async fn report(&self, order: &Order) -> Result<Report, MitigatorError> {
        let report = self.back_end.report(order).await?;
        if let Some(counters) = report.counters
            && let Some(before) = lock(&self.counted).get_mut(&order.id)
        {
            self.metrics.octets.add(counters.bytes.saturating_sub(before.bytes));
            self.metrics.packets.add(counters.pkts.saturating_sub(before.pkts));
            *before = counters;
        }
        Ok(report)
    }

    fn busy(&self) -> Option<u32> {
        let full = self.taken.load(Ordering::Relaxed) >= self.room;
        full.then_some(COME_AGAIN).or_else(|| self.back_end.busy())
    }
}
