//! Taking responsibility: an alert is answered 200 when it is in the store, and written to the outputs.

use std::sync::Arc;

use iap_proto::Status;
use iap_tokio::manager::{Alert, Handover};

use crate::console::Hub;
use crate::metrics::{Counter, Health, Histogram, PeerCounter};
use crate::output::Outputs;
use crate::service::Context;
use crate::store::{AlertRecord, AlertStore, Insertion};

/// Peers told apart in the metrics.
const PEERS: usize = 1000;

/// Store and outputs of a manager.
#[derive(Debug, Clone)]
pub struct Keeper {
    store: Option<Arc<dyn AlertStore>>,
    outputs: Outputs,
    /// Nothing here can hold a body that is not IDMEF.
    only_idmef: bool,
    health: Health,
    hub: Hub,
    counts: Counts,
}

#[derive(Debug, Clone)]
struct Counts {
    kept: PeerCounter,
    duplicates: Counter,
    invalid: Counter,
    failures: Counter,
    batch: Histogram,
    seconds: Histogram,
}

impl Keeper {
    /// Keeps alerts in these. With `only_idmef` (XML files and nothing else) other bodies are refused, as there is no
    /// place that would have them.
    pub fn new(store: Option<Arc<dyn AlertStore>>, outputs: Outputs, only_idmef: bool, context: &Context) -> Self {
        let metrics = &context.metrics;
        let counts = Counts {
            kept: metrics.peer_counter("watchfire_iap_alerts_kept_total", "Alerts stored or written.", PEERS),
            duplicates: metrics.counter("watchfire_iap_alerts_known_total", "Alerts that the store had already.", &[]),
            invalid: metrics.counter(
                "watchfire_iap_alerts_invalid_total",
                "Alerts whose JSON is none, or that an output cannot hold.",
                &[],
            ),
            failures: metrics.counter("watchfire_iap_keep_failures_total", "Batches that could not be kept.", &[]),
            batch: metrics.histogram("watchfire_iap_batch_alerts", "Alerts kept at once.", &[], Histogram::COUNTS),
            seconds: metrics.histogram(
                "watchfire_iap_keep_seconds",
                "Time to keep a batch durably.",
                &[],
                Histogram::SECONDS,
            ),
        };
        Self { store, outputs, only_idmef, health: context.health.clone(), hub: context.hub.clone(), counts }
    }

    /// All or nothing of a batch, as far as the store goes.
    async fn keep(&self, records: Vec<Arc<AlertRecord>>) -> Result<(), String> {
        let fresh = match &self.store {
            None => records.clone(),
            Some(store) => {
                let insertions = store.insert_batch(records.clone()).await.map_err(|error| error.to_string())?;
                let fresh: Vec<_> = records
                    .iter()
                    .zip(insertions)
                    .filter(|(_, insertion)| *insertion == Insertion::Inserted)
                    .map(|(record, _)| Arc::clone(record))
                    .collect();
                self.counts.duplicates.add((records.len() - fresh.len()) as u64);
                fresh
            }
        };
        for record in &fresh {
            self.counts.kept.of(&record.peer).increment();
        }
        let shown = if self.hub.is_on() { fresh.clone() } else { Vec::new() };
        let written = self.outputs.hand_on(fresh, &records).await.map_err(|error| error.to_string());
        // What only the outputs would keep comes again when they failed.
        if written.is_ok() || self.store.is_some() {
            self.hub.tell_alerts(&shown);
        }
        written
    }
}

impl Handover for Keeper {
    async fn hand_over(&self, alerts: Vec<Alert>) -> Vec<Status> {
        let began = std::time::Instant::now();
        let mut statuses = Vec::with_capacity(alerts.len());
        let mut records = Vec::with_capacity(alerts.len());
        for alert in alerts {
            if !is_json_if_it_says_so(&alert) {
                tracing::warn!(peer = %alert.peer, content_type = %alert.content_type, "alert refused: not JSON");
                self.counts.invalid.increment();
                statuses.push(Status::BAD_REQUEST);
                continue;
            }
            if self.only_idmef && alert.message.is_none() {
                tracing::warn!(peer = %alert.peer, content_type = %alert.content_type, "alert refused: not IDMEF, and there is only XML output");
                self.counts.invalid.increment();
                statuses.push(Status::UNSUPPORTED_MEDIA_TYPE);
                continue;
            }
            let received = alert.received.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let received = i64::try_from(received.as_micros()).unwrap_or(i64::MAX);
            let peer = alert.peer.display();
            let content_type = alert.content_type.as_str();
            let record = AlertRecord::with_key(received, peer, content_type, alert.body, alert.message, &alert.key);
            if self.outputs.is_too_large(&record) {
                let octets = record.body.len();
                tracing::warn!(peer = %record.peer, octets, "alert refused: larger than the output's stream takes");
                self.counts.invalid.increment();
                statuses.push(Status::CONTENT_TOO_LARGE);
                continue;
            }
            statuses.push(Status::OK);
            records.push(Arc::new(record));
        }
        let count = records.len();
        if count == 0 {
            return statuses;
        }
        let kept = self.keep(records).await;
        if let Err(problem) = &kept {
            // Once, not for every batch of an hour-long full disk.
            if self.health.is_well("keeping alerts") {
                tracing::error!("alerts cannot be kept, sensors are asked to come back later: {problem}");
            }
            self.counts.failures.increment();
            statuses.iter_mut().filter(|status| **status == Status::OK).for_each(|status| {
                *status = Status::SERVICE_UNAVAILABLE;
            });
        } else {
            self.counts.batch.observe(count as f64);
            self.counts.seconds.observe(began.elapsed().as_secs_f64());
        }
        self.health.set("keeping alerts", kept);
        statuses
    }
}

/// A body that says it is JSON must be; whether it is IDMEFv2, EVE or anything else is its reader's business.
fn is_json_if_it_says_so(alert: &Alert) -> bool {
    let essence = alert.content_type.essence().to_ascii_lowercase();
    let json = essence.ends_with("/json") || essence.ends_with("+json");
    !json || serde_json::from_slice::<serde::de::IgnoredAny>(&alert.body).is_ok()
}
