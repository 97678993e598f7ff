//! Two nodes on a virtual clock.

use bytes::Bytes;
use watchfire_core::{Eof, Instant};

use crate::link::{Link, LinkConfig};

/// What a node said when asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Said {
    /// Send these octets.
    Octets(Bytes),
    /// Something for the trace.
    Note(String),
    /// Nothing more; call again at this instant.
    Wait(Option<Instant>),
    /// Nothing more, ever. The connection is closed in good order.
    Done,
}

/// One side of a [`Pair`]: a machine, or a chain of machines, and the application behind it.
pub trait Node {
    /// The next thing to say.
    fn poll(&mut self, now: Instant) -> Said;
    /// Octets arrived.
    fn input(&mut self, now: Instant, octets: &[u8]);
    /// The stream ended.
    fn eof(&mut self, now: Instant, eof: Eof);
    /// The instant of the last [`Said::Wait`] has come.
    fn timeout(&mut self, now: Instant);
}

/// One line of a [`Trace`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct TraceEntry {
    /// When.
    pub at: Instant,
    /// Which side: 0 or 1.
    pub side: usize,
    /// What.
    pub said: Said,
}

/// All that both sides said, in order.
pub type Trace = Vec<TraceEntry>;

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums)]
pub enum Stop {
    /// Both sides are done.
    Done,
    /// Nobody waits for anything any more.
    Idle,
    /// The clock came to the end given.
    Late,
    /// So many steps that something must be running in circles.
    Runaway,
}

/// Two nodes, joined by two links.
#[derive(Debug)]
pub struct Pair<A, B> {
    /// Side 0.
    pub a: A,
    /// Side 1.
    pub b: B,
    /// The clock.
    pub now: Instant,
    /// What was said.
    pub trace: Trace,
    links: [Link; 2],
    wake: [Option<Instant>; 2],
    done: [bool; 2],
    eof_told: [bool; 2],
}

impl<A: Node, B: Node> Pair<A, B> {
    /// Joins `a` and `b` by two links of this kind, at instant zero.
    pub fn new(a: A, b: B, link: LinkConfig, seed: u64) -> Self {
        Self::with_links(a, b, [link.clone(), link], seed)
    }

    /// Joins `a` and `b` by two links, the first for what side 0 says.
    pub fn with_links(a: A, b: B, [forth, back]: [LinkConfig; 2], seed: u64) -> Self {
        let links = [Link::new(forth, seed), Link::new(back, !seed)];
        Self {
            a,
            b,
            now: Instant::ZERO,
            trace: Trace::new(),
            links,
            wake: [None; 2],
            done: [false; 2],
            eof_told: [false; 2],
        }
    }

    fn node(&mut self, side: usize) -> &mut dyn Node {
        if side == 0 { &mut self.a } else { &mut self.b }
    }

    /// Lets `side` say all it has to say.
    fn drain(&mut self, side: usize) {
        for _ in 0..100_000 {
            let now = self.now;
            let said = self.node(side).poll(now);
            match &said {
                Said::Octets(octets) => self.links[side].send(now, octets.clone()),
                Said::Note(_) => {}
                Said::Wait(at) => {
                    self.wake[side] = *at;
                    return;
                }
                Said::Done => {
                    self.wake[side] = None;
                    if self.done[side] {
                        return;
                    }
                    self.done[side] = true;
                }
            }
            self.trace.push(TraceEntry { at: now, side, said });
        }
        panic!("side {side} never stops talking");
    }

    /// Runs until both are done, nothing is left to happen, or the clock reads `end`.
    pub fn run_until(&mut self, end: Instant) -> Stop {
        for _ in 0..10_000_000u32 {
            self.drain(0);
            self.drain(1);
            if self.done == [true, true] {
                return Stop::Done;
            }
            let mut moved = false;
            for side in 0..2 {
                let (from, now) = (1 - side, self.now);
                while let Some(octets) = self.links[from].receive(now) {
                    moved = true;
                    if !self.done[side] {
                        self.node(side).input(now, &octets);
                        self.drain(side);
                    }
                }
                let cut = self.links[0].is_cut() || self.links[1].is_cut();
                let closed = self.done[from] && self.links[from].next_arrival().is_none();
                if (cut || closed) && !self.eof_told[side] && !self.done[side] {
                    self.eof_told[side] = true;
                    moved = true;
                    self.node(side).eof(now, if cut { Eof::Truncated } else { Eof::Closed });
                    self.drain(side);
                }
                if !self.done[side] && self.wake[side].is_some_and(|at| at <= now) {
                    moved = true;
                    self.node(side).timeout(now);
                    self.drain(side);
                }
            }
            if moved {
                continue;
            }
            let next = self.links.iter().filter_map(Link::next_arrival).chain(self.wake.into_iter().flatten()).min();
            match next {
                None => return Stop::Idle,
                Some(at) if at > end => {
                    self.now = end;
                    return Stop::Late;
                }
                Some(at) => self.now = self.now.max(at),
            }
        }
        Stop::Runaway
    }

    /// Octets sent by each side.
    pub fn octets_sent(&self) -> [usize; 2] {
        [self.links[0].sent(), self.links[1].sent()]
    }
}
