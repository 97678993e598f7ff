//! From alerts to requests: what is proposed to an operator, or asked for at once.
//!
//! Alerts about one target, from sources of one peer, are one case: by RFC 9132 a request takes the place of an earlier
//! one for the same target, so all sources of a target must be in one request. Sources that come later are added, and
//! asked for together with the others every few seconds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dots_callhome::body::{Lifetime, List, PortRange, Prefix, Scope};
use dots_tokio::CallHomeClient;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::eve::Alert;
use super::rules::{Action, Rule, Rules};
use super::{ask, lock};
use crate::exit::Failure;
use crate::metrics::{Counter, Registry};

/// Cases at a time; the one that has been quiet for longest gives way.
const CASES: usize = 4096;
/// Sources of a case. More make a request that fits no datagram.
const SOURCES: usize = 48;
/// Between two requests for one case, when sources come in one by one.
const AGAIN: Duration = Duration::from_secs(5);
/// How long a case is kept without an alert.
const KEPT: Duration = Duration::from_secs(3600);
/// Alerts that are older were there before we were.
const STALE: Duration = Duration::from_secs(600);

/// Whose alerts are one case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    peer: String,
    target: IpAddr,
    protocol: Option<u8>,
    port: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Too few alerts yet.
    Counting,
    /// An operator is asked.
    Proposed,
    /// The peer is asked: under which mid.
    Asked(u32),
    /// The operator does not want it.
    Dismissed,
}

#[derive(Debug)]
struct Case {
    id: u64,
    key: Key,
    rule: String,
    action: Action,
    lifetime: Duration,
    signature: String,
    sources: BTreeSet<IpAddr>,
    /// Sources that found no room.
    beyond: u64,
    /// Those that the peer was asked to stop.
    asked: BTreeSet<IpAddr>,
    asked_at: Option<Timestamp>,
    /// The latest alerts, as many as make an attack.
    recent: VecDeque<Timestamp>,
    alerts: u64,
    first: Timestamp,
    last: Timestamp,
    /// When we last heard of it, by our own clock.
    heard: Timestamp,
    stage: Stage,
}

impl Case {
    fn scope(&self) -> Scope {
        let mut scope = Scope::default();
        scope.target_prefix = List::one(Prefix::host(self.key.target));
        scope.source_prefix = self.sources.iter().copied().map(Prefix::host).collect();
        scope.lifetime = Some(Lifetime::Seconds(u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX)));
        if let Some(protocol) = self.key.protocol {
            scope.target_protocol.push(protocol);
        }
        if let Some(lower) = self.key.port {
            scope.target_port_range.push(PortRange { lower, upper: None });
        }
        scope
    }

    fn shown(&self) -> Value {
        let mut members = super::shown::members(&self.scope());
        let more = [
            ("id", json!(self.id)),
            ("peer", json!(self.key.peer)),
            ("rule", json!(self.rule)),
            ("signature", json!(self.signature)),
            ("alerts", json!(self.alerts)),
            ("sources-beyond", json!(self.beyond)),
            ("first-seen", json!(self.first.to_string())),
            ("last-seen", json!(self.last.to_string())),
        ];
        members.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
        Value::Object(members)
    }
}

/// A request that a rule makes at once.
#[derive(Debug)]
struct Ask {
    key: Key,
    scope: Scope,
}

/// All cases.
#[derive(Debug)]
pub struct Book {
    rules: Rules,
    cases: Mutex<Cases>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Cases {
    by_key: BTreeMap<Key, Case>,
    next: u64,
}

#[derive(Debug)]
struct Counts {
    alerts: Counter,
    unmatched: Counter,
    homeless: Counter,
    stale: Counter,
    proposed: Counter,
    asked: Counter,
    failed: Counter,
}

impl Counts {
    fn new(registry: &Registry) -> Self {
        let count = |name, help| registry.counter(name, help, &[]);
        Self {
            alerts: count("watchfire_dots_alerts_total", "Alerts of Suricata's that were read."),
            unmatched: count(
                "watchfire_dots_alerts_unmatched_total",
                "Alerts that no rule is for, or that one ignores.",
            ),
            homeless: count("watchfire_dots_alerts_homeless_total", "Alerts whose source is no peer's."),
            stale: count("watchfire_dots_alerts_stale_total", "Alerts that were too old when they were read."),
            proposed: count("watchfire_dots_proposals_total", "Proposals made to an operator."),
            asked: count("watchfire_dots_rule_requests_total", "Requests that a rule made at once."),
            failed: count("watchfire_dots_rule_failures_total", "Requests of rules that could not be made."),
        }
    }
}

impl Book {
    /// By these rules.
    pub fn new(rules: Rules, registry: &Registry) -> Arc<Self> {
        Arc::new(Self { rules, cases: Mutex::default(), counts: Counts::new(registry) })
    }

    /// Takes an alert, and asks at once if a rule says so. Alerts from before our time are passed over with `fresh`.
    pub fn take(&self, client: &CallHomeClient, alert: &Alert, fresh: bool) {
        if let Some(ask) = self.file(alert, fresh, Timestamp::now()) {
            self.ask(client, ask);
        }
    }

    fn file(&self, alert: &Alert, fresh: bool, now: Timestamp) -> Option<Ask> {
        self.counts.alerts.increment();
        let at = alert.at.unwrap_or(now);
        if fresh && now.duration_since(at) > jiff::SignedDuration::try_from(STALE).unwrap_or_default() {
            self.counts.stale.increment();
            return None;
        }
        let Some((_, rule)) = self.rules.of(alert).filter(|(_, rule)| rule.action != Action::Ignore) else {
            self.counts.unmatched.increment();
            return None;
        };
        let Some(peer) = self.rules.peer_of(alert.source).filter(|_| alert.source.is_ipv4() == alert.target.is_ipv4())
        else {
            self.counts.homeless.increment();
            return None;
        };
        let key = Key {
            peer: peer.to_owned(),
            target: alert.target,
            protocol: alert.protocol.filter(|_| rule.ports),
            port: alert.target_port.filter(|_| rule.ports),
        };
        let mut cases = lock(&self.cases);
        cases.make_room(&key, now);
        let next = cases.next + 1;
        let case = cases.by_key.entry(key.clone()).or_insert_with(|| Case {
            id: next,
            key: key.clone(),
            rule: rule.name.clone(),
            action: rule.action,
            lifetime: rule.lifetime,
            signature: alert.signature.chars().filter(|c| !c.is_control()).take(200).collect(),
            sources: BTreeSet::new(),
            beyond: 0,
            asked: BTreeSet::new(),
            asked_at: None,
            recent: VecDeque::new(),
            alerts: 0,
            first: at,
            last: at,
            heard: now,
            stage: Stage::Counting,
        });
        let is_new = case.id == next && case.alerts == 0;
        case.heard = now;
        case.count(alert.source, at, rule);
        if case.stage == Stage::Counting && case.is_attack(rule) && case.action == Action::Propose {
            case.stage = Stage::Proposed;
            self.counts.proposed.increment();
            tracing::warn!(id = case.id, peer = case.key.peer, target = %case.key.target, rule = case.rule,
                "an attack: `watchfire dots confirm` asks for its end");
        }
        let due = case.stage == Stage::Counting && case.is_attack(rule) && case.action == Action::Mitigate;
        let ask = due.then(|| case.ask_now(now));
        if is_new {
            cases.next = next;
        }
        ask
    }

    /// Asks for what has come since, and forgets what has been quiet for long. Called every second or so.
    pub fn tick(&self, client: &CallHomeClient) {
        let now = Timestamp::now();
        let mut due = Vec::new();
        {
            let mut cases = lock(&self.cases);
            cases.forget(now);
            for case in cases.by_key.values_mut() {
                let Stage::Asked(mid) = case.stage else { continue };
                let waited = case.asked_at.is_none_or(|at| past(now, at, AGAIN));
                if waited && case.action == Action::Mitigate && case.asked != case.sources {
                    due.push(case.ask_now(now));
                } else if waited
                    && client.mitigations(&case.key.peer).is_ok_and(|all| all.iter().all(|one| one.mid != mid))
                {
                    // It is over. A new attack begins to count anew.
                    case.stage = Stage::Counting;
                    case.recent.clear();
                    case.sources.clear();
                    case.asked.clear();
                }
            }
        }
        due.into_iter().for_each(|ask| self.ask(client, ask));
    }

    fn ask(&self, client: &CallHomeClient, ask: Ask) {
        let peer = ask::canonical(client, &ask.key.peer);
        // It may not have called yet: then it is asked when it does.
        let asked = client.expect(&peer).and_then(|()| client.mitigate(&peer, ask.scope));
        match asked {
            Ok(mid) => {
                self.counts.asked.increment();
                tracing::warn!(peer, mid, target = %ask.key.target, "asked to stop an attack, by rule");
                if let Some(case) = lock(&self.cases).by_key.get_mut(&ask.key) {
                    case.stage = Stage::Asked(mid);
                }
            }
            Err(error) => {
                self.counts.failed.increment();
                tracing::error!(peer, %error, target = %ask.key.target, "cannot ask to stop an attack");
            }
        }
    }

    /// What waits for an operator, oldest first.
    pub fn list(&self) -> Vec<Value> {
        let cases = lock(&self.cases);
        let mut proposed: Vec<&Case> = cases.by_key.values().filter(|case| case.stage == Stage::Proposed).collect();
        proposed.sort_by_key(|case| case.id);
        proposed.into_iter().map(Case::shown).collect()
    }

    /// Asks for what a proposal says.
    ///
    /// # Errors
    /// When there is none of this number, or as [`ask::mitigate`].
    pub async fn confirm(&self, client: &CallHomeClient, id: u64, wait: Duration) -> Result<Value, Failure> {
        let ask = {
            let mut cases = lock(&self.cases);
            cases.proposed(id)?.ask_now(Timestamp::now())
        };
        let before = client.mitigations(&ask.key.peer).map(|all| all.len()).unwrap_or_default();
        let outcome = ask::mitigate(client, &ask.key.peer, None, ask.scope, wait).await;
        let mid = outcome.as_ref().ok().and_then(|one| one["mid"].as_u64()).and_then(|mid| u32::try_from(mid).ok());
        // It may have been asked though nobody has answered yet.
        let after = client.mitigations(&ask.key.peer).unwrap_or_default();
        let mid = mid.or_else(|| after.iter().map(|one| one.mid).max().filter(|_| after.len() > before));
        if let (Some(case), Some(mid)) = (lock(&self.cases).by_key.get_mut(&ask.key), mid) {
            case.stage = Stage::Asked(mid);
        }
        outcome
    }

    /// Drops a proposal; alerts about it are not proposed again while they go on.
    ///
    /// # Errors
    /// When there is none of this number.
    pub fn dismiss(&self, id: u64) -> Result<Value, Failure> {
        let mut cases = lock(&self.cases);
        let case = cases.proposed(id)?;
        case.stage = Stage::Dismissed;
        Ok(case.shown())
    }
}

/// Whether so long has passed.
fn past(now: Timestamp, since: Timestamp, span: Duration) -> bool {
    now.duration_since(since) >= jiff::SignedDuration::try_from(span).unwrap_or(jiff::SignedDuration::MAX)
}

impl Case {
    fn count(&mut self, source: IpAddr, at: Timestamp, rule: &Rule) {
        self.alerts += 1;
        self.first = self.first.min(at);
        self.last = self.last.max(at);
        if self.sources.len() < SOURCES {
            self.sources.insert(source);
        } else if !self.sources.contains(&source) {
            self.beyond += 1;
        }
        self.recent.push_back(at);
        while self.recent.len() > rule.alerts as usize {
            self.recent.pop_front();
        }
    }

    fn is_attack(&self, rule: &Rule) -> bool {
        let (Some(first), Some(last)) = (self.recent.front(), self.recent.back()) else { return false };
        self.recent.len() >= rule.alerts as usize
            && last.duration_since(*first) <= jiff::SignedDuration::try_from(rule.within).unwrap_or_default()
    }

    fn ask_now(&mut self, now: Timestamp) -> Ask {
        self.asked = self.sources.clone();
        self.asked_at = Some(now);
        Ask { key: self.key.clone(), scope: self.scope() }
    }
}

impl Cases {
    fn proposed(&mut self, id: u64) -> Result<&mut Case, Failure> {
        let found = self.by_key.values_mut().find(|case| case.id == id && case.stage == Stage::Proposed);
        found.ok_or_else(|| Failure::refused(format!("no proposal {id}")).remedy("see `watchfire dots proposals`"))
    }

    fn make_room(&mut self, key: &Key, now: Timestamp) {
        if self.by_key.len() < CASES || self.by_key.contains_key(key) {
            return;
        }
        self.forget(now);
        if self.by_key.len() >= CASES
            && let Some(quiet) =
                self.by_key.values().min_by_key(|case| (case.heard, case.id)).map(|case| case.key.clone())
        {
            self.by_key.remove(&quiet);
        }
    }

    fn forget(&mut self, now: Timestamp) {
        self.by_key.retain(|_, case| matches!(case.stage, Stage::Asked(_)) || !past(now, case.heard, KEPT));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(rules: &str) -> Arc<Book> {
        let peer = "[[peer]]\nname = \"home\"\nsources = [\"192.0.2.0/24\"]\n";
        let path = crate::testing::TempDir::new("dots-rules");
        let file = path.path().join("r.toml");
        std::fs::write(&file, format!("{peer}{rules}")).unwrap();
        Book::new(Rules::load(&file).unwrap(), &Registry::default())
    }

    fn alert(source: &str, second: i64) -> Alert {
        Alert {
            signature_id: 1,
            signature: "x\u{1b}".to_owned(),
            category: String::new(),
            severity: None,
            source: source.parse().unwrap(),
            target: "198.51.100.7".parse().unwrap(),
            target_port: Some(53),
            protocol: Some(17),
            at: Some(Timestamp::from_second(second).unwrap()),
        }
    }

    fn now(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn enough_alerts_in_time_are_proposed_once() {
        let book = book("[[rule]]\nname = \"r\"\naction = \"propose\"\nalerts = 3\nwithin = \"2s\"\nports = true\n");
        for (source, second) in [("192.0.2.1", 100), ("192.0.2.2", 103)] {
            assert!(book.file(&alert(source, second), true, now(104)).is_none());
        }
        assert!(book.list().is_empty(), "too few");
        for second in [104, 105, 105] {
            book.file(&alert("192.0.2.3", second), true, now(105));
        }
        let list = book.list();
        assert_eq!(list.len(), 1);
        let one = &list[0];
        assert_eq!((one["peer"].as_str(), one["alerts"].as_u64()), (Some("home"), Some(5)));
        let sources = one["ietf-dots-call-home:source-prefix"].as_array().unwrap();
        assert_eq!(sources.len(), 3);
        assert_eq!((&one["target-protocol"][0], &one["target-port-range"][0]["lower-port"]), (&17.into(), &53.into()));
        assert_eq!(one["signature"], "x");
        let id = one["id"].as_u64().unwrap();
        book.dismiss(id).unwrap();
        assert!(book.dismiss(id).is_err() && book.list().is_empty());
        for second in [106, 106, 106] {
            book.file(&alert("192.0.2.3", second), true, now(106));
        }
        assert!(book.list().is_empty(), "the operator has said no");
    }

    #[test]
    fn old_alerts_and_sources_of_nobody_are_passed_over() {
        let book = book("[[rule]]\nname = \"r\"\naction = \"mitigate\"\n");
        assert!(book.file(&alert("192.0.2.1", 0), true, now(10_000)).is_none(), "stale");
        assert!(book.file(&alert("203.0.113.1", 10_000), true, now(10_000)).is_none(), "nobody's");
        assert!(book.file(&alert("192.0.2.1", 0), false, now(10_000)).is_some(), "a file of the past");
        assert_eq!((book.counts.stale.value(), book.counts.homeless.value()), (1, 1));
    }

    #[test]
    fn cases_and_sources_are_bounded() {
        let book = book("[[rule]]\nname = \"r\"\naction = \"propose\"\nalerts = 9999\n");
        for n in 0..CASES + 50 {
            let mut alert = alert("192.0.2.1", 100 + n as i64);
            alert.target = IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
            book.file(&alert, false, now(100));
        }
        assert_eq!(lock(&book.cases).by_key.len(), CASES);
        for n in 0..=255u8 {
            book.file(&alert(&format!("192.0.2.{n}"), 100_000), false, now(100));
        }
        let cases = lock(&book.cases);
        let case = cases.by_key.values().find(|case| case.sources.len() > 1).unwrap();
        assert_eq!((case.sources.len(), case.beyond), (SOURCES, 256 - SOURCES as u64));
    }
}
