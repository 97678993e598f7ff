//! A chain of nodes, the connections between them, and the clock.

use std::collections::VecDeque;

use watchfire_core::{Duration, Eof, Instant};

use super::end::End;
use super::relay::Relay;

/// What a fuzzer's octets decide: sizes, delays, moods. They are used again and again.
pub(super) struct Chaos<'a> {
    octets: &'a [u8],
    at: usize,
    unit: Duration,
}

impl<'a> Chaos<'a> {
    pub(super) fn new(octets: &'a [u8], tempo: u8) -> Self {
        let unit = [1_000, 50, 100_000, 1_500_000][usize::from(tempo % 4)];
        Self { octets, at: 0, unit: Duration::from_micros(unit) }
    }

    /// The next octet; zero if there are none.
    pub(super) fn draw(&mut self) -> u8 {
        let Some(octet) = self.octets.get(self.at % self.octets.len().max(1)) else { return 0 };
        // Each round differs from the one before it.
        let round = self.at / self.octets.len();
        self.at += 1;
        octet.wrapping_add(u8::try_from(round % 251).expect("below 251").wrapping_mul(29))
    }

    pub(super) fn delay(&mut self) -> Duration {
        self.unit * u32::from(self.draw() % 16)
    }

    fn piece(&mut self) -> usize {
        match self.draw() {
            0..64 => usize::MAX,
            64..128 => 1,
            octet => usize::from(octet - 127),
        }
    }
}

/// What travels.
#[derive(Debug)]
enum Item {
    Octets(Vec<u8>),
    End(Eof),
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Wire {
    travelling: VecDeque<(Instant, Item)>,
    last_arrival: Instant,
    sent: usize,
    /// Breaks after so many octets.
    cut_after: Option<usize>,
    /// Nothing is taken any more.
    over: bool,
}

impl Wire {
    /// Sends octets off. Says whether the wire broke.
    fn send(&mut self, now: Instant, octets: &[u8], chaos: &mut Chaos<'_>) -> bool {
        if self.over {
            return false;
        }
        let left = self.cut_after.map_or(usize::MAX, |limit| limit - self.sent);
        let breaks = octets.len() >= left;
        let mut rest = &octets[..octets.len().min(left)];
        self.sent += rest.len();
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(chaos.piece().min(rest.len()));
            rest = tail;
            self.push(now + chaos.delay(), Item::Octets(piece.to_vec()));
        }
        breaks
    }

    fn push(&mut self, at: Instant, item: Item) {
        self.last_arrival = self.last_arrival.max(at);
        self.travelling.push_back((self.last_arrival, item));
    }

    fn end(&mut self, now: Instant, eof: Eof) {
        if !self.over {
            self.over = true;
            self.push(now, Item::End(eof));
        }
    }
}

/// What a node wants done to a connection: the one to its left (towards who dialled) or to its right.
#[derive(Debug)]
pub(super) enum Said {
    Octets(usize, Vec<u8>),
    /// It sends no more.
    Shut(usize),
    /// It breaks the connection off.
    Break(usize),
}

/// The side of a node.
pub(super) const LEFT: usize = 0;
/// The other side.
pub(super) const RIGHT: usize = 1;

pub(super) enum Node {
    End(Box<End>),
    Relay(Box<Relay>),
}

impl Node {
    pub(super) fn into_end(self) -> Option<End> {
        match self {
            Self::End(end) => Some(*end),
            Self::Relay(_) => None,
        }
    }

    fn poll(&mut self, now: Instant, chaos: &mut Chaos<'_>) -> Vec<Said> {
        match self {
            Self::End(end) => end.poll(now, chaos),
            Self::Relay(relay) => relay.poll(now),
        }
    }

    fn input(&mut self, now: Instant, side: usize, octets: &[u8]) {
        match self {
            Self::End(end) => end.input(now, octets),
            Self::Relay(relay) => relay.input(now, side, octets),
        }
    }

    fn eof(&mut self, now: Instant, side: usize, eof: Eof) {
        match self {
            Self::End(end) => end.eof(now, eof),
            Self::Relay(relay) => relay.eof(now, side, eof),
        }
    }

    fn wake(&self) -> Option<Instant> {
        match self {
            Self::End(end) => end.wake(),
            Self::Relay(relay) => relay.wake(),
        }
    }

    fn timeout(&mut self, now: Instant) {
        match self {
            Self::End(end) => end.timeout(now),
            Self::Relay(relay) => relay.timeout(now),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::End(end) => end.is_over(),
            Self::Relay(relay) => relay.is_over(),
        }
    }
}

pub(super) struct Network {
    nodes: Vec<Node>,
    /// Between each node and the next: to the right, to the left.
    wires: Vec<[Wire; 2]>,
    /// Whether a break loses what is on its way.
    drops: bool,
}

impl Network {
    pub(super) fn new(nodes: Vec<Node>, cuts: [[u16; 2]; 3], drops: bool) -> Self {
        let wire = |cut: u16| Wire { cut_after: (cut > 0).then_some(usize::from(cut)), ..Wire::default() };
        let wires = cuts.into_iter().take(nodes.len() - 1).map(|[right, left]| [wire(right), wire(left)]).collect();
        Self { nodes, wires, drops }
    }

    /// Runs until every node is over. It must come to that by itself.
    pub(super) fn run(mut self, chaos: &mut Chaos<'_>) -> Vec<Node> {
        let mut now = Instant::ZERO;
        for _ in 0..200_000 {
            for at in 0..self.nodes.len() {
                self.settle(at, now, chaos);
            }
            if self.nodes.iter().all(Node::is_over) {
                return self.nodes;
            }
            let arrival = self.next_arrival();
            let wake = self.nodes.iter().filter(|node| !node.is_over()).filter_map(Node::wake).min();
            match (arrival, wake) {
                (None, None) => panic!("everybody waits for somebody"),
                (Some((at, hop, direction)), wake) if wake.is_none_or(|wake| at <= wake) => {
                    now = now.max(at);
                    self.deliver(now, hop, direction);
                }
                (_, Some(wake)) => {
                    now = now.max(wake);
                    for node in self.nodes.iter_mut().filter(|node| !node.is_over()) {
                        if node.wake().is_some_and(|wake| wake <= now) {
                            node.timeout(now);
                        }
                    }
                }
                (Some(_), None) => unreachable!("taken by the arm before"),
            }
        }
        panic!("it goes on for ever");
    }

    /// Does all that a node wants done.
    fn settle(&mut self, at: usize, now: Instant, chaos: &mut Chaos<'_>) {
        for said in self.nodes[at].poll(now, chaos) {
            let (side, effect) = match said {
                Said::Octets(side, octets) => (side, Some(octets)),
                Said::Shut(side) | Said::Break(side) if at + side == 0 || at + side > self.wires.len() => {
                    panic!("node {at} has no side {side}")
                }
                Said::Shut(side) => {
                    self.wires[at + side - 1][1 - side].end(now, Eof::Closed);
                    continue;
                }
                Said::Break(side) => (side, None),
            };
            let hop = at + side - 1;
            let breaks = match effect {
                // To the right is wire 0 of the hop, and to the left wire 1.
                Some(octets) => self.wires[hop][1 - side].send(now, &octets, chaos),
                None => true,
            };
            if breaks {
                for wire in &mut self.wires[hop] {
                    if self.drops && !wire.over {
                        wire.travelling.clear();
                    }
                    wire.end(now, Eof::Truncated);
                }
            }
        }
    }

    fn next_arrival(&self) -> Option<(Instant, usize, usize)> {
        let wires = self.wires.iter().enumerate();
        let fronts = wires.flat_map(|(hop, pair)| {
            pair.iter().enumerate().filter_map(move |(way, wire)| Some((wire.travelling.front()?.0, hop, way)))
        });
        fronts.min()
    }

    fn deliver(&mut self, now: Instant, hop: usize, way: usize) {
        let (_, item) = self.wires[hop][way].travelling.pop_front().expect("it was looked at");
        // What goes right arrives at the next node, from its left.
        let (to, side) = if way == 0 { (hop + 1, LEFT) } else { (hop, RIGHT) };
        let node = &mut self.nodes[to];
        if node.is_over() {
            return;
        }
        match item {
            Item::Octets(octets) => node.input(now, side, &octets),
            Item::End(eof) => node.eof(now, side, eof),
        }
    }
}
