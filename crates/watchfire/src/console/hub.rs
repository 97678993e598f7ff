//! Where services put what happened, and say what may be looked at.
//!
//! A hub is part of what the services of a process share. Until a console is served it keeps nothing of what happens:
//! [`Hub::tell`] is then one look at an atomic. Afterwards it keeps the newest of each panel, within bounds, under
//! numbers that rise over all panels; whoever follows remembers the number that he has come to, so that no follower
//! makes the hub hold anything, and a slow one merely finds that something is missing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iap_tokio::manager::Overview;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::items::{DotsState, Happened, Panel, Rater, StarOrder};
use super::ring::Ring;
use super::sensors::{SensorStats, Sensors};
use crate::store::{AlertRecord, AlertStore};

/// No more than this many of each kind of source are looked at: a process has a handful.
const SOURCES: usize = 256;

/// How much a hub keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubLimits {
    /// Alerts. 2000.
    pub alerts: usize,
    /// Octets of each panel together, estimated. 32 MiB.
    pub octets: usize,
    /// Entries of each other panel. 500.
    pub entries: usize,
    /// Sensors that are counted. 1000.
    pub sensors: usize,
}

impl Default for HubLimits {
    fn default() -> Self {
        Self { alerts: 2000, octets: 32 << 20, entries: 500, sensors: 1000 }
    }
}

/// What the services of a process let a console see. Clones share it.
#[derive(Debug, Clone)]
pub struct Hub(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    is_on: AtomicBool,
    state: Mutex<State>,
    news: watch::Sender<u64>,
}

struct State {
    last: u64,
    rings: [Ring<Happened>; Panel::ALL.len()],
    totals: [u64; Panel::ALL.len()],
    vetoes: u64,
    sensors: Sensors,
    sources: Sources,
}

/// What may be looked at.
#[derive(Clone, Default)]
pub(super) struct Sources {
    services: Vec<Ending<(String, String)>>,
    stores: Vec<Ending<Arc<dyn AlertStore>>>,
    managers: Vec<Ending<Overview>>,
    raters: Vec<Ending<Rater>>,
    dots: Vec<Ending<Look<DotsState>>>,
    star: Vec<Ending<Look<Vec<StarOrder>>>>,
}

/// Says how something stands.
type Look<T> = Arc<dyn Fn() -> T + Send + Sync>;

/// Something that is there until its service ends.
#[derive(Clone)]
struct Ending<T> {
    until: CancellationToken,
    what: T,
}

impl Sources {
    /// What runs: its name, and where.
    pub(super) fn services(&self) -> impl Iterator<Item = &(String, String)> {
        going(&self.services)
    }

    /// Where alerts are kept.
    pub(super) fn stores(&self) -> Vec<Arc<dyn AlertStore>> {
        going(&self.stores).cloned().collect()
    }

    /// Who has sensors.
    pub(super) fn managers(&self) -> Vec<Overview> {
        going(&self.managers).cloned().collect()
    }

    /// Who can be asked.
    pub(super) fn raters(&self) -> Vec<Rater> {
        going(&self.raters).cloned().collect()
    }

    /// Holds nothing any more of what has ended.
    fn forget_ended(&mut self) {
        let Self { services, stores, managers, raters, dots, star } = self;
        forget(services);
        forget(stores);
        forget(managers);
        forget(raters);
        forget(dots);
        forget(star);
    }

    /// What the DOTS services have.
    pub(super) fn dots(&self) -> Vec<DotsState> {
        going(&self.dots).map(|state| state()).collect()
    }

    /// The orders of all who have some.
    pub(super) fn orders(&self) -> Vec<StarOrder> {
        going(&self.star).flat_map(|orders| orders()).collect()
    }
}

fn going<T>(list: &[Ending<T>]) -> impl Iterator<Item = &T> {
    list.iter().filter(|entry| !entry.until.is_cancelled()).map(|entry| &entry.what)
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new(HubLimits::default())
    }
}

/// What came after a number.
#[derive(Debug)]
pub(super) struct News {
    /// Oldest first.
    pub(super) items: Vec<(u64, Happened)>,
    /// Where to go on.
    pub(super) last: u64,
    /// Whether something in between was forgotten already.
    pub(super) is_missing: bool,
}

/// How much happened since the console is served.
#[derive(Debug, Clone, Copy)]
pub(super) struct Totals {
    pub(super) panels: [u64; Panel::ALL.len()],
    pub(super) vetoes: u64,
}

impl Hub {
    /// A hub that keeps nothing yet.
    pub fn new(limits: HubLimits) -> Self {
        let state = State {
            last: 0,
            rings: rings(&limits),
            totals: Default::default(),
            vetoes: 0,
            sensors: Sensors::new(limits.sensors),
            sources: Sources::default(),
        };
        let news = watch::Sender::new(0);
        Self(Arc::new(Inner { is_on: AtomicBool::new(false), state: Mutex::new(state), news }))
    }

    /// Begins to keep what happens.
    pub(crate) fn turn_on(&self, limits: &HubLimits) {
        let mut state = self.lock();
        // A second console of the process shares what the first one has.
        if !self.0.is_on.swap(true, Ordering::AcqRel) {
            state.rings = rings(limits);
            state.sensors = Sensors::new(limits.sensors);
        }
    }

    /// Whether a console is served.
    pub fn is_on(&self) -> bool {
        self.0.is_on.load(Ordering::Acquire)
    }

    /// Keeps what happened; `what` is only called when a console is served.
    pub fn tell(&self, what: impl FnOnce() -> Happened) {
        if self.is_on() {
            self.keep(std::iter::once(what()));
        }
    }

    /// Keeps alerts; as [`tell`](Self::tell) for each.
    pub fn tell_alerts(&self, records: &[Arc<AlertRecord>]) {
        if self.is_on() {
            self.keep(records.iter().map(|record| Happened::Alert(Arc::clone(record))));
        }
    }

    fn keep(&self, items: impl Iterator<Item = Happened>) {
        let mut state = self.lock();
        let before = state.last;
        for item in items {
            state.keep(item);
        }
        if state.last != before {
            // Within the lock, so that the number never falls behind a newer one.
            self.0.news.send_replace(state.last);
        }
    }

    /// Says that a service runs until then, and where it listens or what it does.
    pub fn runs(&self, until: &CancellationToken, service: impl Into<String>, place: impl Into<String>) {
        let entry = (service.into(), place.into());
        self.source(|sources| add_ending(&mut sources.services, until, entry));
    }

    /// Lets alerts of a store be shown until then.
    pub fn has_store(&self, until: &CancellationToken, store: Arc<dyn AlertStore>) {
        self.source(|sources| add_ending(&mut sources.stores, until, store));
    }

    /// Lets the sensors of a manager be shown until then.
    pub fn has_manager(&self, until: &CancellationToken, overview: Overview) {
        self.source(|sources| add_ending(&mut sources.managers, until, overview));
    }

    /// Lets a rater be asked until then.
    pub fn has_rater(&self, until: &CancellationToken, rater: Rater) {
        self.source(|sources| add_ending(&mut sources.raters, until, rater));
    }

    /// Holds nothing any more of services that have ended.
    pub fn forget_ended(&self) {
        self.source(Sources::forget_ended);
    }

    /// Lets sessions and mitigations be shown until then.
    pub fn has_dots(&self, until: &CancellationToken, state: impl Fn() -> DotsState + Send + Sync + 'static) {
        self.source(|sources| add_ending(&mut sources.dots, until, Arc::new(state)));
    }

    /// Lets orders be shown until then.
    pub fn has_orders(&self, until: &CancellationToken, orders: impl Fn() -> Vec<StarOrder> + Send + Sync + 'static) {
        self.source(|sources| add_ending(&mut sources.star, until, Arc::new(orders)));
    }

    fn source(&self, add: impl FnOnce(&mut Sources)) {
        add(&mut self.lock().sources);
    }

    pub(super) fn sources(&self) -> Sources {
        self.lock().sources.clone()
    }

    /// The number of the newest.
    pub(super) fn last(&self) -> u64 {
        self.lock().last
    }

    /// Tells of numbers as they rise.
    pub(super) fn follow(&self) -> watch::Receiver<u64> {
        self.0.news.subscribe()
    }

    /// Up to `most` of what came after a number, over all panels.
    pub(super) fn after(&self, number: u64, most: usize) -> News {
        let state = self.lock();
        let is_missing = state.rings.iter().any(|ring| ring.has_forgotten(number));
        let of_ring = |ring: &Ring<Happened>| -> Vec<(u64, Happened)> {
            ring.after(number).take(most).map(|(number, item)| (number, item.clone())).collect()
        };
        let mut items: Vec<_> = state.rings.iter().flat_map(of_ring).collect();
        let end = state.last;
        drop(state);
        items.sort_unstable_by_key(|(number, _)| *number);
        items.truncate(most);
        let last = if items.len() < most { end } else { items.last().map_or(end, |(number, _)| *number) };
        News { items, last, is_missing }
    }

    /// All that is kept of a panel, newest first.
    pub(super) fn kept(&self, panel: Panel, after: u64) -> Vec<(u64, Happened)> {
        let state = self.lock();
        let ring = state.rings.get(panel as usize);
        ring.map(|ring| ring.after(after).rev().map(|(number, item)| (number, item.clone())).collect())
            .unwrap_or_default()
    }

    /// What `look` finds in the newest entry of a panel in which it finds something.
    pub fn newest<T>(&self, panel: Panel, look: impl FnMut(&Happened) -> Option<T>) -> Option<T> {
        let state = self.lock();
        state.rings.get(panel as usize)?.after(0).rev().map(|(_, item)| item).find_map(look)
    }

    pub(super) fn totals(&self) -> Totals {
        let state = self.lock();
        Totals { panels: state.totals, vetoes: state.vetoes }
    }

    pub(super) fn sensors(&self, now: i64) -> Vec<(String, SensorStats)> {
        self.lock().sensors.all(now)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn keep(&mut self, item: Happened) {
        self.last += 1;
        match &item {
            Happened::Alert(record) => self.sensors.count(record),
            Happened::Answer(answer) if answer.is_veto() => self.vetoes += 1,
            _ => {}
        }
        let (panel, octets) = (item.panel() as usize, item.octets());
        if let (Some(ring), Some(total)) = (self.rings.get_mut(panel), self.totals.get_mut(panel)) {
            *total += 1;
            ring.push(self.last, octets, item);
        }
    }
}

fn rings(limits: &HubLimits) -> [Ring<Happened>; Panel::ALL.len()] {
    Panel::ALL.map(|panel| {
        let most = if panel == Panel::Alerts { limits.alerts } else { limits.entries };
        Ring::new(most, limits.octets)
    })
}

/// What has ended makes room.
fn add_ending<T>(list: &mut Vec<Ending<T>>, until: &CancellationToken, what: T) {
    forget(list);
    if list.len() < SOURCES {
        list.push(Ending { until: until.clone(), what });
    }
}

fn forget<T>(list: &mut Vec<Ending<T>>) {
    list.retain(|entry| !entry.until.is_cancelled());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::items::StarChange;

    fn star(number: usize) -> Happened {
        let change = StarChange {
            time: String::new(),
            role: "lurk ido",
            order: number.to_string(),
            what: "issued".into(),
            detail: String::new(),
        };
        Happened::Star(Arc::new(change))
    }

    fn alert() -> Arc<AlertRecord> {
        Arc::new(AlertRecord::now("s", "x/y", bytes::Bytes::from_static(b"abc")))
    }

    #[test]
    fn nothing_is_kept_or_made_before_a_console_is_served() {
        let hub = Hub::default();
        hub.tell(|| panic!("nobody looks"));
        hub.tell_alerts(&[alert()]);
        assert_eq!(hub.last(), 0);
        hub.turn_on(&HubLimits::default());
        hub.tell(|| star(1));
        hub.tell_alerts(&[alert(), alert()]);
        assert_eq!(hub.last(), 3);
        assert_eq!((hub.totals().panels[Panel::Alerts as usize], hub.totals().panels[Panel::Star as usize]), (2, 1));
    }

    #[test]
    fn a_follower_gets_all_panels_in_order_and_is_told_what_is_missing() {
        let hub = Hub::default();
        hub.turn_on(&HubLimits { alerts: 4, entries: 100, ..HubLimits::default() });
        for number in 0..10 {
            hub.tell(|| star(number));
            hub.tell_alerts(&[alert()]);
        }
        let news = hub.after(0, 256);
        assert!(news.is_missing && news.last == 20 && news.items.len() == 14);
        assert!(news.items.is_sorted_by_key(|(number, _)| *number));
        let mut cursor = 12;
        let mut seen = Vec::new();
        while cursor < hub.last() {
            let news = hub.after(cursor, 3);
            assert!(!news.is_missing && news.items.len() <= 3);
            seen.extend(news.items.into_iter().map(|(number, _)| number));
            cursor = news.last;
        }
        assert_eq!(seen, (13..=20).collect::<Vec<_>>());
        assert!(hub.after(20, 3).items.is_empty());
    }

    #[test]
    fn limits_hold() {
        let hub = Hub::default();
        hub.turn_on(&HubLimits { alerts: 5, octets: 10_000, entries: 2, sensors: 1 });
        (0..100).for_each(|number| hub.tell(|| star(number)));
        let big = |peer: &str| Arc::new(AlertRecord::now(peer, "x/y", bytes::Bytes::from(vec![0; 1000])));
        (0..100).for_each(|number| hub.tell_alerts(&[big(&number.to_string())]));
        assert_eq!(hub.kept(Panel::Star, 0).len(), 2);
        assert_eq!(hub.kept(Panel::Alerts, 0).len(), 1, "ten thousand octets");
        assert_eq!(hub.sensors(0).len(), 1);
        let (until, ended) = (CancellationToken::new(), CancellationToken::new());
        (0..1000).for_each(|number| hub.runs(if number < 10 { &ended } else { &until }, number.to_string(), ""));
        assert_eq!(hub.sources().services().count(), SOURCES);
        ended.cancel();
        assert_eq!(hub.sources().services().count(), SOURCES - 10, "what has ended is not shown");
        hub.has_rater(
            &ended,
            Rater { name: String::new(), applications: Arc::new(Vec::new), ask: Arc::new(|_, _| Vec::new()) },
        );
        assert!(hub.sources().raters().is_empty() && hub.lock().sources.raters.len() == 1);
        hub.forget_ended();
        assert!(hub.lock().sources.raters.is_empty(), "nor held");
        hub.runs(&until, "last", "");
        assert_eq!(hub.sources().services().last().unwrap().0, "last", "and makes room");
    }
}
