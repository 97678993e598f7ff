//! A client and a server, a link that loses, repeats and delays as the script says, sessions that break; then a good link.

use std::collections::BTreeSet;
use std::sync::Arc;

use dots_callhome::body::{Lifetime, Scope};
use dots_callhome::{
    AnySource, Client, ClientConfig, Server, ServerConfig, ServerEvent, SessionId, Transport,
};
use watchfire_core::{Duration, Instant, Machine, Output, StreamMachine};

use super::Bytes;

const ID: SessionId = SessionId(1);
const CUID: &str = "cuid";

struct Pair {
    client: Client<AnySource>,
    server: Server<AnySource>,
    transport: Transport,
    now: Instant,
    /// When it arrives, in which order, whether it goes to the server, what.
    travelling: Vec<(Instant, u64, bool, Vec<u8>)>,
    order: u64,
    spent: usize,
}

/// Runs the script in `data`.
pub fn run(data: &[u8]) {
    let mut script = Bytes(data);
    let mut withdrawn = BTreeSet::new();
    let transport = if script.byte() & 1 == 0 { Transport::Datagram } else { Transport::Stream };
    let now = Instant::ZERO;
    let mut pair = Pair {
        client: Client::new(Arc::new(ClientConfig::builder(CUID, "server").build().unwrap()), AnySource, [1; 32], now),
        server: Server::new(Arc::new(ServerConfig::default()), AnySource, [2; 32], now),
        transport,
        now,
        travelling: Vec::new(),
        order: 0,
        spent: 0,
    };
    pair.connect();
    while !script.is_empty() {
        match script.byte() % 8 {
            0..=2 => {
                let bits = script.byte();
                let mut scope = Scope::default();
                let target = format!("198.51.{}.{}/{}", bits & 3, bits >> 2 & 1, 23 + (bits >> 3 & 3) * 3);
                scope.target_prefix.push(target.parse().expect("a prefix"));
                scope.source_prefix.push("192.0.2.1/32".parse().expect("a prefix"));
                // Short ones end while there is no session.
                let lifetime = u32::from(bits >> 5);
                scope.lifetime = (lifetime > 0).then(|| Lifetime::Seconds(30 << lifetime));
                let _ = pair.client.request_mitigation(pair.now, scope);
            }
            3 => {
                let mids: Vec<u32> = pair.client.mitigations().map(|(mid, ..)| mid).collect();
                if let Some(mid) = mids.get(usize::from(script.byte()) % mids.len().max(1)) {
                    if pair.client.withdraw(pair.now, *mid).is_ok() {
                        withdrawn.insert(*mid);
                    }
                }
            }
            4 => {
                pair.client.session_down(pair.now);
                pair.server.session_down(pair.now, ID);
                pair.travelling.clear();
                pair.go(Duration::from_secs(u64::from(script.byte())), &mut Bytes(&[]));
                pair.connect();
            }
            _ => {
                let time = Duration::from_millis(1 << (script.byte() & 15));
                pair.go(time, &mut script);
            }
        }
    }
    // A session that broke on the way is replaced; then nothing is lost any more.
    if !pair.client.has_session() || !pair.server.has_session_with("client") {
        pair.connect();
    }
    pair.go(Duration::from_secs(800), &mut Bytes(&[]));
    let wanted: Vec<u32> = pair.server.mitigations().iter().filter(|(_, row)| row.is_wanted()).map(|(_, r)| r.mid).collect();
    // What was withdrawn is still listed while the server winds it up.
    let asked: Vec<u32> = pair.client.mitigations().map(|(mid, ..)| mid).filter(|mid| !withdrawn.contains(mid)).collect();
    for mid in &asked {
        assert!(wanted.contains(mid), "{mid} is asked for, and the server does not have it: {wanted:?}");
    }
    for mid in &wanted {
        assert!(asked.contains(mid), "the server has {mid}, and nobody asks for it: {asked:?}");
    }
}

impl Pair {
    fn connect(&mut self) {
        self.travelling.clear();
        self.client.session_up(self.now, self.transport);
        self.server.session_up(self.now, ID, "client", self.transport);
    }

    fn post(&mut self, to_server: bool, octets: &[u8], fate: &mut Bytes<'_>) {
        self.spent += 1;
        assert!(self.spent < 20_000, "they talk too much");
        let fate = fate.byte();
        let copies = match fate & 7 {
            1 | 2 if self.transport == Transport::Datagram => 0,
            3 if self.transport == Transport::Datagram => 2,
            _ => 1,
        };
        for copy in 0..copies {
            self.order += 1;
            let late = if self.transport == Transport::Datagram { u64::from(fate >> 3) * 20 * (copy + 1) } else { 0 };
            let at = self.now + Duration::from_millis(10 + late);
            self.travelling.push((at, self.order, to_server, octets.to_vec()));
        }
    }

    fn go(&mut self, time: Duration, fate: &mut Bytes<'_>) {
        let end = self.now + time;
        let mut still = 0;
        loop {
            let client = loop {
                match self.client.poll_output(self.now) {
                    Output::Transmit(octets) => self.post(true, &octets, fate),
                    Output::Event(_) => {}
                    Output::Timeout(at) => break at,
                }
            };
            let server = loop {
                match self.server.poll_output(self.now) {
                    Output::Transmit((_, octets)) => self.post(false, &octets, fate),
                    Output::Event(ServerEvent::Enforce { id, .. }) => {
                        let _ = self.server.enforced(self.now, id, true);
                    }
                    Output::Event(_) => {}
                    Output::Timeout(at) => break at,
                }
            };
            let arrival = self.travelling.iter().map(|(at, ..)| *at).min();
            let next = [client, server, arrival].into_iter().flatten().min().filter(|at| *at <= end);
            let Some(next) = next else { return self.now = end };
            still = if next <= self.now { still + 1 } else { 0 };
            assert!(still < 1_000, "running in circles");
            self.now = self.now.max(next);
            let now = self.now;
            self.travelling.sort_by_key(|(at, order, ..)| (*at, *order));
            if self.travelling.first().is_some_and(|(at, ..)| *at <= now) {
                let (_, _, to_server, octets) = self.travelling.remove(0);
                if to_server {
                    let _ = self.server.handle_input(now, ID, &octets);
                } else {
                    let _ = self.client.handle_input(now, &octets);
                }
                continue;
            }
            self.client.handle_timeout(now).expect("never");
            self.server.handle_timeout(now).expect("never");
        }
    }
}

/// Scripts that go all the way.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for transport in 0..2u8 {
        seeds.push((format!("ask-{transport}"), vec![transport, 0, 9, 5, 15]));
        seeds.push((format!("ask-withdraw-{transport}"), vec![transport, 0, 9, 5, 15, 3, 0, 5, 15]));
        seeds.push((format!("reconnect-{transport}"), vec![transport, 0, 9, 5, 15, 4, 30, 0, 17, 5, 12]));
        seeds.push((format!("lapse-{transport}"), vec![transport, 0, 41, 5, 15, 4, 255, 5, 15, 1, 66, 4, 200, 5, 15]));
        let lossy = [0, 9, 5, 15, 1, 2, 11, 3, 1, 25, 0, 1, 0, 18, 5, 14, 2, 2, 1, 1, 90, 3, 1, 5, 15, 1, 1, 0];
        seeds.push((format!("lossy-{transport}"), [&[transport][..], &lossy].concat()));
        seeds.push((format!("override-{transport}"), vec![transport, 0, 0, 5, 12, 1, 24, 5, 12, 2, 8, 3, 1, 5, 15]));
    }
    seeds
}
