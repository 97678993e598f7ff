//! Random requests of two clients as messages on a clock, beside the rules written down a second time and in another
//! way: RFC 9132 sections 4.4.1 to 4.4.4. The answers, the reports, and which filters are in force must be what they say.

use std::collections::BTreeMap;
use std::sync::Arc;

use dots_callhome::body::{Body, ConflictCause, Direction, Lifetime, PortRange, Prefix, Scope, Status};
use dots_callhome::wire::{Code, MessageBuf, OptionNumber, Token, udp};
use dots_callhome::{MitigationId, Server, ServerConfig, ServerEvent, SessionId, Transport};
use watchfire_core::{Duration, Instant, Machine, Output};

use crate::support::{Chance, Policy, scope};

/// What a client may ask for.
#[derive(Debug, Clone, PartialEq)]
struct Parameters {
    target: Prefix,
    port: Option<u16>,
    protocol: Option<u8>,
}

impl Parameters {
    fn any(chance: &mut Chance) -> Self {
        // A small tree, so that they often contain each other.
        let targets = ["203.0.113.0/24", "203.0.113.0/25", "203.0.113.128/25", "203.0.113.7/32", "2001:db8::/32"];
        Self {
            target: targets[chance.below(5) as usize].parse().unwrap(),
            port: chance.percent(30).then(|| 80 + chance.below(2) as u16),
            protocol: chance.percent(30).then(|| if chance.percent(50) { 6 } else { 17 }),
        }
    }

    fn to_scope(&self, lifetime: u32) -> Scope {
        let source = if self.target.is_ipv4() { "192.0.2.1/32" } else { "2001:db8:1::1/128" };
        let mut scope = scope(&self.target.to_string(), source);
        scope.lifetime = Some(Lifetime::Seconds(lifetime));
        scope.target_port_range = self.port.map(|lower| PortRange { lower, upper: None }).into_iter().collect();
        scope.target_protocol = self.protocol.into_iter().collect();
        scope
    }

    /// Whether some packet is meant by both: nothing said is everything.
    fn overlaps(&self, other: &Self) -> bool {
        fn agree<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
            a.is_none() || b.is_none() || a == b
        }
        (self.target.contains(&other.target) || other.target.contains(&self.target))
            && agree(self.port, other.port)
            && agree(self.protocol, other.protocol)
    }
}

#[derive(Debug, Clone)]
struct Entry {
    parameters: Parameters,
    /// When it ends by itself.
    until: u64,
    terminating: bool,
    /// How long it terminates next time.
    period: u64,
}

/// The rules, in seconds: by client and mid.
#[derive(Debug, Default)]
struct Model(BTreeMap<(u64, u32), Entry>);

impl Model {
    fn advance(&mut self, now: u64) {
        for entry in self.0.values_mut() {
            // An end may be followed by the next one within the same step.
            if !entry.terminating && entry.until <= now {
                (entry.terminating, entry.until) = (true, entry.until + entry.period);
            }
        }
        self.0.retain(|_, entry| !entry.terminating || entry.until > now);
    }

    /// What must be answered.
    fn put(&mut self, now: u64, (client, mid): (u64, u32), parameters: &Parameters, lifetime: u64) -> Code {
        if let Some(entry) = self.0.get_mut(&(client, mid)) {
            if entry.parameters != *parameters {
                return Code::BAD_REQUEST;
            }
            if entry.terminating {
                entry.period = (entry.period * 2).min(300);
            }
            (entry.until, entry.terminating) = (now + lifetime, false);
            return Code::CHANGED;
        }
        let own = |(of, _): &(u64, u32), entry: &Entry| *of == client && entry.parameters.overlaps(parameters);
        if self.0.iter().any(|(name, entry)| own(name, entry) && name.1 > mid && !entry.terminating) {
            return Code::CONFLICT;
        }
        self.0.retain(|name, entry| !own(name, entry));
        let entry = Entry { parameters: parameters.clone(), until: now + lifetime, terminating: false, period: 120 };
        self.0.insert((client, mid), entry);
        Code::CREATED
    }

    fn delete(&mut self, now: u64, name: (u64, u32)) {
        if let Some(entry) = self.0.get_mut(&name).filter(|entry| !entry.terminating) {
            (entry.terminating, entry.until) = (true, now + entry.period);
        }
    }

    fn others_overlap(&self, client: u64, parameters: &Parameters) -> bool {
        self.0.iter().any(|((of, _), e)| *of != client && !e.terminating && e.parameters.overlaps(parameters))
    }
}

struct Real {
    server: Server<Policy>,
    now: Instant,
    message_id: u16,
    /// Filters in force, by their mitigation.
    filters: BTreeMap<MitigationId, (u64, u32)>,
}

impl Real {
    fn new() -> Self {
        let mut server = Server::new(Arc::new(ServerConfig::default()), Policy::default(), [3; 32], Instant::ZERO);
        for client in [0, 1] {
            server.session_up(Instant::ZERO, SessionId(client), &format!("peer{client}"), Transport::Datagram);
        }
        Self { server, now: Instant::ZERO, message_id: 0, filters: BTreeMap::new() }
    }

    /// Lets it say all; gives the messages to a client.
    fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut said = Vec::new();
        loop {
            match self.server.poll_output(self.now) {
                Output::Transmit((_, octets)) => said.push(octets.to_vec()),
                Output::Event(ServerEvent::Enforce { id, .. }) => {
                    let row = self.server.mitigations().get(id).unwrap();
                    let client = u64::from(row.peer == "peer1");
                    self.filters.insert(id, (client, row.mid));
                    self.server.enforced(self.now, id, true).unwrap();
                }
                Output::Event(ServerEvent::Lift { id }) => drop(self.filters.remove(&id)),
                Output::Event(_) => {}
                Output::Timeout(_) => return said,
            }
        }
    }

    fn advance(&mut self, to: Instant) {
        while self.now < to {
            // Sessions that are silent for too long would be lost.
            for client in [0, 1] {
                self.message_id = self.message_id.wrapping_add(1);
                let ping = udp::empty(udp::Type::Con, self.message_id);
                self.server.handle_input(self.now, SessionId(client), &ping).unwrap();
            }
            self.drain();
            let Output::Timeout(wake) = self.server.poll_output(self.now) else { panic!("drained") };
            let soon = (self.now + Duration::from_secs(60)).min(to);
            self.now = wake.map_or(soon, |wake| wake.clamp(self.now, soon));
            self.server.handle_timeout(self.now).unwrap();
            self.drain();
        }
    }

    fn ask(&mut self, code: Code, (client, mid): (u64, u32), body: Option<Scope>) -> (Code, Option<Scope>) {
        let (cuid, mid) = (format!("cuid=c{client}"), format!("mid={mid}"));
        self.message_id = self.message_id.wrapping_add(1);
        let token = Token::new(&self.message_id.to_be_bytes()).unwrap();
        let mut message = MessageBuf::new(code, token);
        for segment in [".well-known", "dots", "mitigate", &cuid, &mid] {
            message.push_option(OptionNumber::URI_PATH, segment.as_bytes());
        }
        body.into_iter().for_each(|scope| message.set_dots_payload(&Body::from(scope).to_vec()));
        let mut octets = Vec::new();
        message.encode_udp(udp::Type::Non, self.message_id, &mut octets);
        self.server.handle_input(self.now, SessionId(client), &octets).unwrap();
        let said = self.drain();
        // Heartbeats may be among it.
        let answers: Vec<_> = said.iter().map(|octets| udp::decode(octets).unwrap().message).collect();
        let answer = answers.iter().find(|message| message.code.is_response() && message.token == token).unwrap();
        let scope = answer.is_dots().then(|| match Body::decode(answer.payload, Direction::Response) {
            Ok(Body::Mitigation(mut scopes)) => scopes.remove(0),
            other => panic!("{other:?}"),
        });
        (answer.code, scope)
    }
}

#[test]
fn answers_reports_and_filters_are_those_of_the_rules_under_random_requests() {
    let mut seen: BTreeMap<Code, u32> = BTreeMap::new();
    for seed in 0..150 {
        let (mut chance, mut real, mut model) = (Chance(seed), Real::new(), Model::default());
        let mut now = 0;
        for step in 0..80 {
            let place = format!("seed {seed} step {step} at {now}");
            if chance.percent(50) {
                now += [1, 10, 60, 130][chance.below(4) as usize];
                real.advance(Instant::from_secs(now));
                model.advance(now);
            }
            let name = (chance.below(2), chance.below(6) as u32);
            match chance.below(10) {
                0..=5 => {
                    // Often the same again, as refreshments are.
                    let known = model.0.get(&name).filter(|_| chance.percent(60)).map(|e| e.parameters.clone());
                    let parameters = known.unwrap_or_else(|| Parameters::any(&mut chance));
                    let lifetime = 30 + chance.below(300) as u32;
                    let conflict = model.others_overlap(name.0, &parameters);
                    let expected = model.put(now, name, &parameters, u64::from(lifetime));
                    let (code, answer) = real.ask(Code::PUT, name, Some(parameters.to_scope(lifetime)));
                    assert_eq!(code, expected, "{place}: {name:?} {parameters:?}");
                    *seen.entry(code).or_default() += 1;
                    match answer {
                        Some(scope) if code.is_success() => {
                            assert_eq!(scope.lifetime, Some(Lifetime::Seconds(lifetime)), "{place}");
                            assert_eq!(scope.mid, Some(name.1));
                            assert_eq!(scope.conflict.is_some(), code == Code::CREATED && conflict, "{place}");
                        }
                        Some(scope) => {
                            let conflict = scope.conflict.unwrap();
                            assert_eq!(conflict.cause, Some(ConflictCause::OverlappingTargets), "{place}");
                            let higher = conflict.scope.unwrap().mid.unwrap();
                            let known = &model.0[&(name.0, higher)];
                            assert!(higher > name.1 && known.parameters.overlaps(&parameters), "{place}");
                        }
                        None => assert_eq!(code, Code::BAD_REQUEST, "{place}"),
                    }
                }
                6 | 7 => {
                    model.delete(now, name);
                    assert_eq!(real.ask(Code::DELETE, name, None), (Code::DELETED, None), "{place}");
                }
                _ => {
                    let (code, report) = real.ask(Code::GET, name, None);
                    match (model.0.get(&name), report) {
                        (Some(entry), Some(report)) => {
                            assert_eq!(code, Code::CONTENT, "{place}");
                            let expected =
                                if entry.terminating { Status::ClientWithdrawn } else { Status::SuccessfullyMitigated };
                            assert_eq!(report.status, Some(expected), "{place}");
                            assert_eq!(report.target_prefix[..], [entry.parameters.target], "{place}");
                            if !entry.terminating {
                                let left = Lifetime::Seconds((entry.until - now) as u32);
                                assert_eq!(report.lifetime, Some(left), "{place}");
                            }
                        }
                        // What is over is remembered for a moment.
                        (None, Some(report)) => assert_eq!(report.status, Some(Status::Terminated), "{place}"),
                        (None, None) => assert_eq!(code, Code::NOT_FOUND, "{place}"),
                        (Some(entry), None) => panic!("{place}: {name:?} {entry:?} is unknown: {code}"),
                    }
                }
            }
            let mut filters: Vec<_> = real.filters.values().copied().collect();
            filters.sort_unstable();
            let expected: Vec<_> = model.0.keys().copied().collect();
            assert_eq!(filters, expected, "{place}: filters in force");
        }
        // And in the end all of them are gone.
        real.advance(Instant::from_secs(now + 1000) + Duration::from_millis(1));
        assert_eq!(real.filters.len(), 0, "seed {seed}");
    }
    // Every answer was among them, often.
    for code in [Code::CREATED, Code::CHANGED, Code::CONFLICT, Code::BAD_REQUEST] {
        assert!(seen[&code] > 100, "{seen:?}");
    }
}
