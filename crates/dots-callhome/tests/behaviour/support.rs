//! A client and a server on a virtual clock, with a link between them that can be bad.

use std::sync::Arc;

use dots_callhome::body::{Lifetime, List, Prefix, Scope, Status};
use dots_callhome::wire::{Message, MessageBuf, tcp, udp};
use dots_callhome::{
    AnySource, Client, ClientConfig, ClientEvent, Judgement, MitigationRequest, NotFollowed, Refusal, Server,
    ServerConfig, ServerEvent, ServerPolicy, SessionId, Transport,
};
use watchfire_core::{Duration, Instant, Machine, Output, StreamMachine};

pub const ID: SessionId = SessionId(1);
pub const PEER: &str = "client.example";

/// Chances without a library: SplitMix64.
#[derive(Debug, Clone)]
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn percent(&mut self, p: u64) -> bool {
        self.below(100) < p
    }
}

#[derive(Debug, Default)]
pub struct Policy {
    pub domain: Vec<Prefix>,
    pub judgement: Option<Judgement>,
    pub refusal: Option<Refusal>,
    pub most: Option<Lifetime>,
    pub gateway: bool,
}

impl ServerPolicy for Policy {
    fn owns_source(&self, source: &Prefix) -> bool {
        self.domain.is_empty() || self.domain.iter().any(|prefix| prefix.contains(source))
    }
    fn authorize(&self, _: &str, _: &MitigationRequest) -> Result<(), Refusal> {
        self.refusal.clone().map_or(Ok(()), Err)
    }
    fn judge(&self, _: &str, _: &MitigationRequest) -> Judgement {
        self.judgement.unwrap_or(Judgement::Attack)
    }
    fn grant(&self, _: &str, asked: Lifetime) -> Lifetime {
        self.most.unwrap_or(asked)
    }
    fn trusts_gateway(&self, _: &str) -> bool {
        self.gateway
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Bad {
    pub loss: u64,
    pub duplicates: u64,
    pub delay: Duration,
    /// Up to so much later, by chance: so datagrams overtake each other.
    pub jitter: Duration,
    /// Pieces of streams.
    pub piece: usize,
}

pub const GOOD: Bad =
    Bad { loss: 0, duplicates: 0, delay: Duration::from_millis(20), jitter: Duration::ZERO, piece: usize::MAX };

pub struct World {
    pub now: Instant,
    pub client: Client<AnySource>,
    pub server: Server<Policy>,
    pub to_server: Bad,
    pub to_client: Bad,
    /// Whether filters are installed at once.
    pub enforce: Option<bool>,
    /// What the server's dialer says to a redirection.
    pub follow: Result<(), NotFollowed>,
    pub client_events: Vec<(Instant, ClientEvent)>,
    pub server_events: Vec<(Instant, ServerEvent)>,
    /// Who said what, when: `true` for the client.
    pub said: Vec<(Instant, bool, Vec<u8>)>,
    pub transport: Transport,
    travelling: Vec<(Instant, u64, bool, Vec<u8>)>,
    order: u64,
    last: [Instant; 2],
    chance: Chance,
}

impl World {
    pub fn new(transport: Transport) -> Self {
        Self::with(transport, ServerConfig::default(), Policy::default(), 1)
    }

    pub fn with(transport: Transport, config: ServerConfig, policy: Policy, seed: u64) -> Self {
        let now = Instant::ZERO;
        let client = ClientConfig::builder("dz6pHjaADkaFTbjr0JGBpw", "server.example").build().unwrap();
        let seeds = |n: u8| core::array::from_fn(|at| n.wrapping_mul(31).wrapping_add(at as u8) ^ seed as u8);
        let mut world = Self {
            now,
            client: Client::new(Arc::new(client), AnySource, seeds(1), now),
            server: Server::new(Arc::new(config), policy, seeds(2), now),
            to_server: GOOD,
            to_client: GOOD,
            enforce: Some(true),
            follow: Ok(()),
            client_events: Vec::new(),
            server_events: Vec::new(),
            said: Vec::new(),
            transport,
            travelling: Vec::new(),
            order: 0,
            last: [now; 2],
            chance: Chance(seed),
        };
        world.connect();
        world
    }

    pub fn connect(&mut self) {
        self.travelling.clear();
        self.client.session_up(self.now, self.transport);
        self.server.session_up(self.now, ID, PEER, self.transport);
        self.drain();
    }

    pub fn bad(&mut self, bad: Bad) {
        (self.to_server, self.to_client) = (bad, bad);
    }

    fn post(&mut self, from_client: bool, octets: &[u8]) {
        self.said.push((self.now, from_client, octets.to_vec()));
        let bad = if from_client { self.to_server } else { self.to_client };
        if self.transport == Transport::Stream {
            for piece in octets.chunks(bad.piece.min(octets.len().max(1))) {
                let last = &mut self.last[usize::from(from_client)];
                *last = (*last).max(self.now + bad.delay);
                self.order += 1;
                self.travelling.push((*last, self.order, from_client, piece.to_vec()));
            }
            return;
        }
        let copies = if self.chance.percent(bad.duplicates) { 2 } else { 1 };
        for _ in 0..copies {
            if self.chance.percent(bad.loss) {
                continue;
            }
            let jitter = self.chance.below(bad.jitter.as_micros() as u64 + 1);
            self.order += 1;
            let at = self.now + bad.delay + Duration::from_micros(jitter);
            self.travelling.push((at, self.order, from_client, octets.to_vec()));
        }
    }

    /// Lets both say all; gives when they want to be called.
    pub fn drain(&mut self) -> Option<Instant> {
        let client = loop {
            match self.client.poll_output(self.now) {
                Output::Transmit(octets) => self.post(true, &octets),
                Output::Event(event) => self.client_events.push((self.now, event)),
                Output::Timeout(at) => break at,
            }
        };
        let server = loop {
            match self.server.poll_output(self.now) {
                Output::Transmit((_, octets)) => self.post(false, &octets),
                Output::Event(event) => {
                    if let (ServerEvent::Enforce { id, .. }, Some(installed)) = (&event, self.enforce) {
                        self.server.enforced(self.now, *id, installed).unwrap();
                    }
                    if let ServerEvent::Redirect { session, .. } = event {
                        self.server.redirected(self.now, session, self.follow).unwrap();
                        assert!(self.server.redirected(self.now, session, Ok(())).is_err(), "once");
                    }
                    self.server_events.push((self.now, event));
                }
                Output::Timeout(at) => break at,
            }
        };
        [client, server].into_iter().flatten().min()
    }

    pub fn run(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut still = 0;
        loop {
            let wake = self.drain();
            let arrival = self.travelling.iter().map(|(at, ..)| *at).min();
            let Some(next) = [wake, arrival].into_iter().flatten().min().filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            still = if next <= self.now { still + 1 } else { 0 };
            assert!(still < 10_000, "running in circles at {:?}", self.now);
            self.now = self.now.max(next);
            self.travelling.sort_by_key(|(at, order, ..)| (*at, *order));
            while self.travelling.first().is_some_and(|(at, ..)| *at <= self.now) {
                let (_, _, from_client, octets) = self.travelling.remove(0);
                if from_client {
                    let _ = self.server.handle_input(self.now, ID, &octets);
                } else {
                    let _ = self.client.handle_input(self.now, &octets);
                }
                self.drain();
            }
            if wake.is_some_and(|wake| wake <= self.now) {
                self.client.handle_timeout(self.now).unwrap();
                self.server.handle_timeout(self.now).unwrap();
            }
        }
    }

    /// Runs until the client said something that fits; gives when.
    pub fn until(&mut self, seconds: u64, fits: impl Fn(&ClientEvent) -> bool) -> Option<Instant> {
        let from = self.client_events.len();
        let end = self.now + Duration::from_secs(seconds);
        while self.now < end {
            self.run(1);
            if let Some((at, _)) = self.client_events[from..].iter().find(|(_, event)| fits(event)) {
                return Some(*at);
            }
        }
        None
    }

    pub fn statuses(&self, of: u32) -> Vec<Status> {
        let mut statuses = Vec::new();
        for (_, event) in &self.client_events {
            if let ClientEvent::Status { scope } = event
                && scope.mid == Some(of)
                && let Some(status) = scope.status
                && statuses.last() != Some(&status)
            {
                statuses.push(status);
            }
        }
        statuses
    }

    /// Requests sent, by method and last segment of the path.
    pub fn requests(&self, by_client: bool) -> Vec<(Instant, String)> {
        let own = self.said.iter().filter(|(_, client, _)| *client == by_client);
        own.filter_map(|(at, _, octets)| {
            let message = parse(self.transport, octets)?;
            let message = message.as_message();
            if !message.code.is_request() {
                return None;
            }
            let path: Vec<_> = message.options.filter(|o| o.number.0 == 11).map(|o| o.value.to_vec()).collect();
            Some((*at, format!("{} {}", message.code, String::from_utf8(path[2].clone()).unwrap())))
        })
        .collect()
    }
}

pub fn parse(transport: Transport, octets: &[u8]) -> Option<MessageBuf> {
    let message: Message<'_> = match transport {
        Transport::Datagram => udp::decode(octets).ok()?.message,
        Transport::Stream => tcp::decode(octets, 1 << 20).ok()??.0,
    };
    Some(MessageBuf::copy_of(&message))
}

pub fn scope(target: &str, source: &str) -> Scope {
    let mut scope = Scope::default();
    scope.target_prefix = List::one(target.parse().unwrap());
    scope.source_prefix = List::one(source.parse().unwrap());
    scope.lifetime = Some(Lifetime::DEFAULT);
    scope
}

pub fn attack() -> Scope {
    scope("2001:db8:c000::/128", "2001:db8:123::1/128")
}

pub const BOTH: [Transport; 2] = [Transport::Datagram, Transport::Stream];
