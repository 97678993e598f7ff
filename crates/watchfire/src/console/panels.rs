//! What the other pages show, as JSON.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Serialize;
use serde_json::{Value, json};

use super::hub::Hub;
use super::items::{Happened, Panel};
use super::lookup::applications;
use super::rows::cut;
use super::sensors::SensorStats;
use crate::metrics::Health;

/// Sensors of an answer.
const SENSORS: usize = 2000;
/// Connections of a sensor in an answer.
const CONNECTIONS: usize = 8;

/// One sensor.
#[derive(Debug, Default, Serialize)]
struct Sensor {
    name: String,
    connections: Vec<Connection>,
    stats: Option<SensorStats>,
}

#[derive(Debug, Serialize)]
struct Connection {
    address: SocketAddr,
    /// Since when, in microseconds since 1970.
    since: i64,
}

/// Who is connected, and who has sent something.
pub(super) fn sensors(hub: &Hub) -> Value {
    let now = jiff::Timestamp::now().as_microsecond();
    let mut all: BTreeMap<String, Sensor> = BTreeMap::new();
    for overview in hub.sources().managers() {
        for connection in overview() {
            let name = connection.peer.display().to_string();
            let sensor = all.entry(name).or_default();
            if sensor.connections.len() < CONNECTIONS {
                let since = jiff::Timestamp::try_from(connection.since).map_or(0, jiff::Timestamp::as_microsecond);
                sensor.connections.push(Connection { address: connection.address, since });
            }
        }
    }
    for (name, stats) in hub.sensors(now) {
        all.entry(name).or_default().stats = Some(stats);
    }
    let count = all.len();
    let shown: Vec<Sensor> =
        all.into_iter().take(SENSORS).map(|(name, sensor)| Sensor { name: cut(&name), ..sensor }).collect();
    json!({ "sensors": shown, "count": count, "now": now, "has_manager": !hub.sources().managers().is_empty() })
}

/// What brokers answered, newest first.
pub(super) fn answers(hub: &Hub) -> Value {
    let totals = hub.totals();
    json!({
        "answers": values(hub, Panel::Answers),
        "total": totals.panels[Panel::Answers as usize],
        "vetoes": totals.vetoes,
    })
}

/// What was looked up, newest first, and whom can be asked.
pub(super) fn reputations(hub: &Hub) -> Value {
    let raters = hub.sources().raters();
    let names: Vec<&str> = raters.iter().map(|rater| rater.name.as_str()).collect();
    json!({ "answers": values(hub, Panel::Reputations), "raters": names, "applications": applications(&raters) })
}

/// Sessions and mitigations as they stand, and what changed, newest first.
pub(super) fn dots(hub: &Hub) -> Value {
    let states = hub.sources().dots();
    json!({ "states": states, "changes": values(hub, Panel::Dots) })
}

/// Orders as they stand, and what came of them, newest first.
pub(super) fn star(hub: &Hub) -> Value {
    let orders = hub.sources().orders();
    let now = jiff::Timestamp::now().as_second();
    json!({ "orders": orders, "changes": values(hub, Panel::Star), "now": now })
}

/// What runs here, and how much happened.
pub(super) fn overview(hub: &Hub, health: &Health, since: i64) -> Value {
    let sources = hub.sources();
    let totals = hub.totals();
    let connected: usize = sources.managers().iter().map(|overview| overview().len()).sum();
    let (dots, orders) = (sources.dots(), sources.orders());
    let sessions = dots.iter().flat_map(|state| &state.sessions).filter(|one| one.session.is_some()).count();
    let mitigations: usize = dots.iter().map(|state| state.mitigations.len()).sum();
    let services: Vec<Value> =
        sources.services().map(|(name, place)| json!({ "name": name, "place": place })).collect();
    let problems: Vec<String> = health.ready().err().map_or_else(Vec::new, |lines| lines.lines().map(cut).collect());
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "since": since,
        "now": jiff::Timestamp::now().as_microsecond(),
        "services": services,
        "problems": problems,
        "alerts": totals.panels[Panel::Alerts as usize],
        "connected": connected,
        "answers": totals.panels[Panel::Answers as usize],
        "vetoes": totals.vetoes,
        "reputations": totals.panels[Panel::Reputations as usize],
        "raters": sources.raters().len(),
        "sessions": sessions,
        "mitigations": mitigations,
        "orders": orders.len(),
        "has": {
            "alerts": !sources.managers().is_empty(),
            "answers": sources.services().any(|(name, _)| name.starts_with("obp-broker")),
            "reputations": !sources.raters().is_empty(),
            "dots": !dots.is_empty(),
            "star": sources.services().any(|(name, _)| name == "lurk-ido" || name == "lurk-ndc"),
        },
    })
}

fn values(hub: &Hub, panel: Panel) -> Vec<Value> {
    let value = |item: &Happened| match item {
        Happened::Answer(answer) => serde_json::to_value(answer.as_ref()).ok(),
        Happened::Reputation(answer) => serde_json::to_value(answer.as_ref()).ok(),
        Happened::Dots(change) => serde_json::to_value(change.as_ref()).ok(),
        Happened::Star(change) => serde_json::to_value(change.as_ref()).ok(),
        Happened::Alert(_) => None,
    };
    hub.kept(panel, 0).iter().filter_map(|(_, item)| value(item)).collect()
}
