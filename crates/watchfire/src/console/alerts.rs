//! Alerts: those of the stores, those that came lately, and one of them whole.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use super::filter::{Filter, rank};
use super::hub::Hub;
use super::items::{Happened, Panel};
use super::rows::{self, Row, rows};
use crate::alerts::severity_of;
use crate::pki::hex;
use crate::store::{self, AlertRecord};

/// Rows of an answer, at most.
const ROWS: usize = 500;
/// Bars of the time line.
const BARS: usize = 60;
/// The most of a body that is given as text, in octets.
const RAW: usize = 1 << 20;
/// The shortest span of a bar, in microseconds.
const SHORTEST: i64 = 1_000_000;
/// The time line of no particular time: an hour.
const SPAN: i64 = 3_600_000_000;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    pub(super) filter: Filter,
    /// Rows, at most [`ROWS`].
    pub(super) limit: Option<usize>,
    /// Only what came after this number, and is still remembered.
    pub(super) after: Option<u64>,
}

impl Asked {
    /// Reads a query.
    ///
    /// # Errors
    /// A value that is none, or a name that is not known.
    pub(super) fn read(query: &str) -> Result<Self, String> {
        let mut asked = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if asked.filter.take(&name, &value)? {
                continue;
            }
            match &*name {
                "limit" => asked.limit = Some(value.parse().map_err(|_| "limit: write a number".to_owned())?),
                "after" => asked.after = Some(value.parse().map_err(|_| "after: write a number".to_owned())?),
                _ => {
                    return Err("no such filter: there are source, target, text, severity, sensor, since, until".into());
                }
            }
        }
        Ok(asked)
    }
}

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    /// Newest first.
    rows: Vec<Row>,
    /// Alerts that the filter admits, among those that were looked at.
    matched: usize,
    /// Alerts that were looked at.
    scanned: usize,
    /// Whether there were more than are looked at.
    is_cut: bool,
    /// Whether a store keeps alerts for longer than this process remembers them.
    is_stored: bool,
    /// The number up to which this is; see `after`.
    last: u64,
    line: Line,
}

/// Alerts by time.
#[derive(Debug, Serialize)]
struct Line {
    /// The beginning of the first bar, in microseconds since 1970.
    start: i64,
    /// The span of a bar.
    width: i64,
    /// By severity: none, info, low, medium, high.
    bars: Vec<[u32; 5]>,
}

impl Line {
    fn new(filter: &Filter, now: i64) -> Self {
        let end = filter.until.unwrap_or(now).min(now.saturating_add(SHORTEST));
        let span = filter.since.map_or(SPAN, |since| end.saturating_sub(since)).max(SHORTEST * BARS as i64);
        let width = (span / BARS as i64).saturating_add(1);
        // On whole widths, so that bars do not change with each look.
        let start = end.div_euclid(width).saturating_sub(BARS as i64 - 1).saturating_mul(width);
        Self { start, width, bars: vec![[0; 5]; BARS] }
    }

    fn count(&mut self, received: i64, rank: u8) {
        let at = usize::try_from(received.saturating_sub(self.start).div_euclid(self.width));
        if let Some(count) = at.ok().and_then(|at| self.bars.get_mut(at)?.get_mut(usize::from(rank))) {
            *count = count.saturating_add(1);
        }
    }
}

/// Looks for alerts, with bounds.
#[derive(Debug)]
pub(super) struct Alerts {
    hub: Hub,
    /// Alerts that are looked at for one answer.
    most: usize,
    /// Looks at stores, at one time.
    looks: Semaphore,
}

impl Alerts {
    pub(super) fn new(hub: Hub, most: usize, looks: usize) -> Self {
        Self { hub, most: most.max(1), looks: Semaphore::new(looks.max(1)) }
    }

    /// Alerts of the stores and of memory, newest first.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub(super) async fn find(&self, asked: &Asked) -> Result<Found, String> {
        let now = jiff::Timestamp::now().as_microsecond();
        let last = self.hub.last();
        let sources = self.hub.sources();
        let mut found = Found {
            rows: Vec::new(),
            matched: 0,
            scanned: 0,
            is_cut: false,
            is_stored: !sources.stores().is_empty(),
            last,
            line: Line::new(&asked.filter, now),
        };
        let limit = asked.limit.unwrap_or(ROWS).min(ROWS);
        let mut seen = BTreeSet::new();
        let take = |found: &mut Found, record: &AlertRecord, asked: &Asked| {
            found.scanned += 1;
            for row in rows(record, &asked.filter) {
                found.matched += 1;
                let item = record.message.as_ref().and_then(|message| message.items.get(row.item));
                let severity = match item {
                    Some(idmef::Item::Alert(alert)) => rank(severity_of(alert)),
                    _ => 0,
                };
                found.line.count(row.received, severity);
                found.rows.push(row);
            }
            // Rows are asked for newest first, and stores give the oldest first.
            if found.rows.len() > limit.saturating_mul(2).max(ROWS) {
                newest(&mut found.rows, limit);
            }
        };
        for (_, item) in self.hub.kept(Panel::Alerts, asked.after.unwrap_or(0)) {
            if let Happened::Alert(record) = item
                && seen.insert(rows::id(&record))
            {
                take(&mut found, &record, asked);
            }
        }
        if asked.after.is_none() {
            let Ok(_place) = self.looks.acquire().await else { return Ok(found) };
            for store in sources.stores() {
                let source = match &asked.filter.source {
                    Some(super::filter::End::Net(net)) => Some(*net),
                    _ => None,
                };
                let (since, until) = (asked.filter.since, asked.filter.until);
                let query = store::Filter { since, until, source, limit: Some(self.most as u64) };
                let mut stream = store.query(query).await.map_err(|error| error.to_string())?;
                let mut count = 0;
                while let Some(record) = stream.next().await {
                    let record = record.map_err(|error| error.to_string())?;
                    count += 1;
                    if seen.insert(rows::id(&record)) {
                        take(&mut found, &record, asked);
                    }
                }
                found.is_cut |= count >= self.most;
            }
        }
        newest(&mut found.rows, limit);
        Ok(found)
    }

    /// One alert, whole; none when nobody knows it.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub(super) async fn detail(&self, id: &str) -> Result<Option<Detail>, String> {
        for (_, item) in self.hub.kept(Panel::Alerts, 0) {
            if let Happened::Alert(record) = item
                && rows::id(&record) == id
            {
                return Ok(Some(detail(&record)));
            }
        }
        let Some(received) = rows::received(id) else { return Ok(None) };
        let Ok(_place) = self.looks.acquire().await else { return Ok(None) };
        for store in self.hub.sources().stores() {
            let until = Some(received.saturating_add(1));
            let query = store::Filter { since: Some(received), until, ..store::Filter::default() };
            let mut stream = store.query(query).await.map_err(|error| error.to_string())?;
            while let Some(record) = stream.next().await {
                let record = record.map_err(|error| error.to_string())?;
                if rows::id(&record) == id {
                    return Ok(Some(detail(&record)));
                }
            }
        }
        Ok(None)
    }
}

fn newest(rows: &mut Vec<Row>, limit: usize) {
    rows.sort_by(|a, b| (b.received, &b.id, a.item).cmp(&(a.received, &a.id, b.item)));
    rows.truncate(limit);
}

/// One alert, whole.
#[derive(Debug, Serialize)]
pub(super) struct Detail {
    id: String,
    received: i64,
    sensor: String,
    content_type: String,
    octets: usize,
    sha256: String,
    rows: Vec<Row>,
    /// In the order of the model.
    idmef: Option<Box<RawValue>>,
    raw: Option<String>,
    /// Where it is not text.
    base64: Option<String>,
    is_cut: bool,
}

fn detail(record: &AlertRecord) -> Detail {
    let raw = record.body.get(..RAW).unwrap_or(&record.body);
    let (text, base64) = match std::str::from_utf8(raw) {
        Ok(text) => (Some(text), None),
        // Cut in the middle of a character.
        Err(error) if error.error_len().is_none() && raw.len() == RAW => {
            (raw.get(..error.valid_up_to()).and_then(|raw| std::str::from_utf8(raw).ok()), None)
        }
        Err(_) => (None, Some(STANDARD.encode(raw))),
    };
    Detail {
        id: rows::id(record),
        received: record.received,
        sensor: record.peer.clone(),
        content_type: record.content_type.clone(),
        octets: record.body.len(),
        sha256: hex(&record.sha256),
        rows: rows(record, &Filter::default()),
        idmef: record.message.as_deref().and_then(|message| serde_json::value::to_raw_value(message).ok()),
        raw: text.map(str::to_owned),
        base64,
        is_cut: record.body.len() > RAW,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::console::hub::HubLimits;
    use crate::store::tests_support::xml;
    use crate::testing::TempDir;

    fn record(second: i64, id: usize) -> Arc<AlertRecord> {
        let body = Bytes::from(xml(id, "192.0.2.1"));
        let message = AlertRecord::parse(&body).map(Arc::new);
        Arc::new(AlertRecord::new(second * 1_000_000, "sensor-1", "application/x-idef-alert", body, message))
    }

    #[tokio::test]
    async fn stores_and_memory_are_one_list() {
        let dir = TempDir::new("console-alerts");
        let url = format!("sqlite:{}", dir.path().join("a.db").display()).parse().unwrap();
        let store = store::open(&url, None, store::Access::Write).await.unwrap();
        let hub = Hub::default();
        hub.turn_on(&HubLimits { alerts: 3, ..HubLimits::default() });
        hub.has_store(&CancellationToken::new(), Arc::clone(&store));
        let now = jiff::Timestamp::now().as_second();
        let records: Vec<_> = (0..10).map(|id| record(now - 100 + id, id as usize)).collect();
        store.insert_batch(records.clone()).await.unwrap();
        hub.tell_alerts(&records);
        let alerts = Alerts::new(hub.clone(), 1000, 1);
        let found = alerts.find(&Asked::read("").unwrap()).await.unwrap();
        assert_eq!((found.rows.len(), found.matched, found.scanned, found.last), (10, 10, 10, 10));
        assert!(found.rows.is_sorted_by(|a, b| a.received > b.received) && found.is_stored && !found.is_cut);
        assert_eq!(found.line.bars.iter().map(|bar| bar[4]).sum::<u32>(), 10);
        let some = alerts.find(&Asked::read("limit=2&text=m4").unwrap()).await.unwrap();
        assert_eq!((some.rows.len(), some.matched), (1, 1));
        assert_eq!(alerts.find(&Asked::read("after=9").unwrap()).await.unwrap().rows.len(), 1);
        assert_eq!(Alerts::new(hub, 4, 1).find(&Asked::default()).await.unwrap().scanned, 4, "bounded");
        for row in &found.rows {
            let detail = alerts.detail(&row.id).await.unwrap().unwrap();
            let detail = serde_json::to_value(detail).unwrap();
            assert_eq!(detail["idmef"]["Alert"][0]["Source"][0]["Node"]["Address"][0]["address"], "192.0.2.1");
            assert!(detail["raw"].as_str().unwrap().starts_with("<IDMEF-Message"));
        }
        for unknown in ["1-00", "x", "99999999999999999999-1"] {
            assert!(alerts.detail(unknown).await.unwrap().is_none());
        }
    }

    #[tokio::test]
    async fn without_a_store_memory_is_all() {
        let hub = Hub::default();
        hub.turn_on(&HubLimits::default());
        let opaque = Arc::new(AlertRecord::now("s", "x/y", Bytes::from_static(b"\xff\0")));
        hub.tell_alerts(&[Arc::clone(&opaque)]);
        let alerts = Alerts::new(hub, 10, 1);
        let found = alerts.find(&Asked::default()).await.unwrap();
        assert!(!found.is_stored && found.rows.len() == 1);
        let detail = alerts.detail(&found.rows[0].id).await.unwrap().unwrap();
        assert!(detail.raw.is_none() && detail.base64.as_deref() == Some("/wA=") && detail.idmef.is_none());
    }

    #[test]
    fn queries_are_read_or_refused() {
        let asked = Asked::read("source=192.0.2.0%2F24&text=a+b&limit=7&after=3").unwrap();
        assert_eq!((asked.limit, asked.after, asked.filter.text.as_deref()), (Some(7), Some(3), Some("a b")));
        for bad in ["limit=x", "after=-1", "what=ever", "severity=huge"] {
            assert!(Asked::read(bad).is_err(), "{bad}");
        }
        for extreme in ["since=-9223372036854775808", "since=9223372036854775807&until=-9223372036854775808"] {
            let asked = Asked::read(extreme).unwrap();
            let mut line = Line::new(&asked.filter, 0);
            line.count(i64::MIN, 0);
            line.count(i64::MAX, 4);
            assert_eq!(line.bars.len(), BARS, "no overflow");
        }
    }
}
